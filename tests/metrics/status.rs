//! `classhub status`: what it prints of a running hub, and what it says where there is none.
//!
//! Owns: the command, run as a person runs it, and what else may answer at an address. Refuses to know: the layout, which its own file tests.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use super::common::{Hub, ROOM, chat, classhub};

/// The exit code, and what it printed where.
fn status(args: &[&str]) -> (Option<i32>, String, String) {
    let output = classhub().arg("status").args(args).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn told(args: &[&str]) -> String {
    let (code, told, says) = status(args);
    assert_eq!((code, &*says), (Some(0), ""), "{told}");
    told
}

/// It fails with one line that has all of these.
#[track_caller]
fn refused(address: SocketAddr, parts: &[&str]) {
    let (code, told, says) = status(&["--addr", &address.to_string()]);
    assert_eq!((code, &*told), (Some(1), ""), "{says}");
    assert!(says.starts_with("classhub: ") && says.lines().count() == 1, "{says}");
    assert!(says.contains(&address.to_string()) && parts.iter().all(|part| says.contains(part)), "{says}");
    assert!(says.bytes().all(|byte| byte == b'\n' || byte >= b' '), "{says:?}");
}

#[test]
fn a_running_hub_is_told_of() {
    let hub = Hub::start("");
    let (mut anna, mut bert) = (hub.join("anna"), hub.join("bert"));
    assert_eq!(anna.recv_json()["msg"], "Join successfully");
    anna.say("hello");
    bert.hear("hello");
    bert.send_json(&chat("nowhere", "hello?"));
    bert.recv_failure("not_joined");
    let told = told(&["--addr", &hub.addr.to_string()]);
    let begin = format!("classhub {} at {}, running ", env!("CARGO_PKG_VERSION"), hub.addr);
    assert!(told.starts_with(&begin), "{told}");
    for line in [
        "connections   2 open (0 of them TLS), 0 coming, ",
        "rooms         1 of 128\n",
        "members       2, and 0 whose connection broke\n",
        "messages      4, 0.0 a second just now\n",
        "deliveries    3, 0.0 a second just now\n",
        "refusals      1: not_joined 1\n",
        "closes        none\n",
        "limits met    none\n",
        "slow readers  none\n",
    ] {
        assert!(told.contains(&format!("\n{line}")), "{line}: {told}");
    }
    assert!(!told.contains('?') && !told.contains(ROOM), "{told}");
}

#[test]
fn the_file_of_a_hub_says_where_it_is() {
    let hub = Hub::start("");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("status-{}.toml", std::process::id()));
    let file = path.to_str().expect("a path of plain letters");
    std::fs::write(&path, format!("listen = [\"0.0.0.0:{}\"]\n", hub.addr.port())).expect("the folder can be written");
    assert!(told(&["--config", file]).contains(&format!(" at {}, running ", hub.addr)));
    std::fs::write(&path, "listen = [\"0.0.0.0:0\"]\n").expect("the folder can be written");
    let (code, _, says) = status(&["--config", file]);
    assert!(code == Some(1) && says.contains("say where the hub is, with --addr"), "{says}");
    std::fs::remove_file(&path).expect("it was written");
}

#[test]
fn a_hub_that_shows_nothing_or_is_full_is_told_apart() {
    let hub = Hub::start("[http]\nmetrics = \"off\"\n");
    refused(hub.addr, &["http.metrics = \"loopback\""]);
    let hub = Hub::start("[limits]\nconnections = 1\n");
    let _held = hub.connect();
    refused(hub.addr, &["is full", "limits.connections"]);
}

/// Somebody at a free port who answers whoever comes with these bytes, after having read the request.
fn other(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _request = stream.read(&mut [0; 4096]);
            let _sent = stream.write_all(answer);
        }
    });
    address
}

#[test]
fn where_there_is_no_hub_it_says_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    refused(nobody, &["nobody answers", "is the hub running?", "--addr", "--config"]);
    for answer in [
        &b""[..],
        b"hello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\n\r\nno",
        b"HTTP/1.1 403 Forbidden\r\n\r\n\x1b[31mno",
        b"HTTP/1.1 200 OK\r\n\r\nclasshub_build_info{version=\"\x1b[31m\"} 1\n",
        b"HTTP/1.1 200 OK\r\n\r\nup 1\n",
        b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe",
    ] {
        refused(other(answer), &["no classhub hub"]);
    }
    refused(other(b"HTTP/1.1 403 Forbidden\r\n\r\nhttp.metrics"), &["its own machine", "http.metrics = \"any\""]);
}

#[test]
fn it_waits_for_nobody_for_ever() {
    // The system takes the connection, and nobody does.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    refused(silent.local_addr().expect("it has one"), &["does not answer within 3 s"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    refused(address, &["no classhub hub"]);
}

#[cfg(feature = "tls")]
#[test]
fn an_address_for_tls_is_told_so() {
    // What a listener for TLS says to whoever speaks plain HTTP there is in the tests of TLS.
    refused(other(b"HTTP/1.1 400 Bad Request\r\n\r\nThis port speaks HTTPS"), &["speaks TLS", "tls.listen"]);
}

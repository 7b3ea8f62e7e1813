//! Sockets that are handed over.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Client, Hub, PATIENCE, Response, classhub, classhub_words, tcp};
use crate::{handing_over, has, listener};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Knocks, and has said what it wants before anybody opens.
fn knock(address: SocketAddr) -> TcpStream {
    let mut stream = tcp(address);
    stream.write_all(HEALTH).expect("the kernel takes it");
    stream
}

#[track_caller]
fn is_served(mut stream: TcpStream) {
    let response = Response::read(&mut stream);
    assert_eq!((response.status, response.text()), (200, "ok"));
}

#[test]
fn a_socket_named_http_stands_for_what_the_configuration_says() {
    let (socket, address) = listener();
    let (elsewhere, not_there) = listener();
    drop(elsewhere);
    let hub = Hub::start_as(handing_over(socket, "http"), &format!("listen = [\"{not_there}\"]\n"));
    assert_eq!(hub.addr, address);
    drop(hub.join("a"));
    assert!(TcpStream::connect(not_there).is_err(), "it listens there too");
    assert!(hub.lines().iter().all(|line| !line.contains("WARN")), "{:?}", hub.lines());
}

#[cfg(feature = "tls")]
#[test]
fn a_socket_named_tls_stands_for_the_listeners_of_tls_alone() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("handed-over-{}", std::process::id()));
    let made = classhub().args(["cert", "--name", "board.local", "--out"]).arg(&folder).stdout(Stdio::null()).status();
    assert!(made.expect("the hub starts").success());
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let config = format!("[tls]\ncert = {cert:?}\nkey = {key:?}\nlisten = [\"127.0.0.1:1\"]\n");
    let (socket, address) = listener();
    let hub = Hub::start_as(handing_over(socket, "tls"), &config);
    assert_eq!(hub.secure_addr(), address);
    assert_ne!(hub.addr, address);
    is_served(knock(hub.addr));
    // Whoever speaks plain there is told so.
    assert_eq!(Response::read(&mut knock(address)).status, 400);
    std::fs::remove_dir_all(folder).expect("it was there");
}

#[test]
fn a_socket_named_tls_for_a_hub_without_a_certificate_is_closed_and_told() {
    let (socket, address) = listener();
    let hub = Hub::start_as(handing_over(socket, "tls"), "");
    hub.wait_for_line("there is no certificate (tls.cert)");
    assert!(TcpStream::connect(address).is_err(), "somebody waits there");
    is_served(knock(hub.addr));
}

#[test]
fn a_socket_of_another_name_is_closed_and_told() {
    let (socket, address) = listener();
    let hub = Hub::start_as(handing_over(socket, "web"), "");
    let line = hub.wait_for_line("WARN");
    assert!(line.contains("\"web\"") && line.contains("FileDescriptorName="), "{line}");
    assert!(TcpStream::connect(address).is_err(), "somebody waits there");
    is_served(knock(hub.addr));
}

#[test]
fn a_socket_that_does_not_listen_is_refused_by_name() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    let output = handing_over(udp, "http").stderr(Stdio::piped()).output().expect("the hub starts");
    let says = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{says}");
    assert_eq!(says.lines().count(), 1, "{says}");
    assert!(says.contains("the socket named http") && says.contains("TCP"), "{says}");
}

#[test]
fn what_was_meant_for_another_process_is_left_alone() {
    // As after a shell that was meant, and has begun a hub.
    let mut command = classhub();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
    let hub = Hub::start_as(command, "");
    is_served(knock(hub.addr));
    assert!(hub.lines().iter().all(|line| !line.contains("web")), "{:?}", hub.lines());
}

/// More than a class, and all of them in the moment in which there is no hub.
#[test]
fn a_restart_refuses_nobody() {
    let (socket, address) = listener();
    let again = || handing_over(socket.try_clone().expect("a descriptor is to be had"), "http");
    let mut hub = Hub::start_as(again(), "");
    let member = hub.join("a");
    for signal in [Signal::TERM, Signal::KILL, Signal::TERM] {
        kill_process(hub.pid(), signal).expect("it runs");
        let before = knock(address);
        hub.wait();
        let waiting: Vec<TcpStream> = (0..100).map(|_| knock(address)).collect();
        hub = Hub::start_as(again(), "");
        waiting.into_iter().for_each(is_served);
        // It may have been accepted by the one that ended; it was not refused.
        drop(before);
    }
    drop(member);
    drop(Client::connect(address));
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.0), Signal::KILL);
        let _gone = self.0.wait();
    }
}

#[test]
fn systemds_own_tool_hands_over_what_the_hub_takes() {
    if !has("systemd-socket-activate") {
        return;
    }
    let free = || {
        let (socket, address) = listener();
        drop(socket);
        SocketAddr::new([127, 77, 2, 1].into(), address.port())
    };
    let [first, second] = [free(), free()];
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &first.to_string(), "-l", &second.to_string(), "--fdname=http:http"]);
    let child = command.args(classhub_words()).stdin(Stdio::null()).spawn();
    // The hub replaces the tool, as soon as somebody knocks.
    let _hub = Ended(child.expect("it is there"));
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(second).is_err() {
        assert!(Instant::now() < until, "nobody listens");
        std::thread::yield_now();
    }
    is_served(knock(first));
    is_served(knock(second));
}

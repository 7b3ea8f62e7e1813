//! TLS over real sockets, of the real binary.
//!
//! Owns: a client of the TLS library's own, and what other programs say where they are there. Refuses to know: records.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use classhub::host::certificates::issue;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned};

use super::common::{
    Client, Hub, NO_RATES, ROOM, Response, chat, data, join, narrow_tcp, resume, resume_token, seq, tcp, upgrade_head,
};
use super::{client_config, folder, issued, localhost, order};

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A configuration for a hub with the certificates in this folder.
fn config(folder: &Path, more: &str) -> String {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    format!("tls.listen = [\"127.0.0.1:0\"]\ntls.cert = {cert:?}\ntls.key = {key:?}\n{more}")
}

fn secure(stream: TcpStream, config: &Arc<ClientConfig>) -> Secure {
    StreamOwned::new(ClientConnection::new(config.clone(), localhost()).expect("it is whole"), stream)
}

#[track_caller]
fn connect(hub: &Hub, config: &Arc<ClientConfig>) -> Client<Secure> {
    Client::upgrade(secure(tcp(hub.secure_addr()), config), &upgrade_head("/ws", ""))
}

#[track_caller]
fn get(hub: &Hub, config: &Arc<ClientConfig>, target: &str) -> Response {
    let mut stream = secure(tcp(hub.secure_addr()), config);
    let host = hub.secure_addr();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("the hub reads");
    Response::read(&mut stream)
}

#[test]
fn both_versions_join_talk_and_close() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, ""));
    let mut plain = hub.join("plain");
    for (version, negotiated) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let trusting = client_config(&folder, &[version]);
        for (n, kind) in [HandshakeKind::Full, HandshakeKind::Resumed].into_iter().enumerate() {
            let mut client = connect(&hub, &trusting);
            let id = format!("{negotiated:?} {n}");
            client.join(ROOM, &id);
            assert_eq!(data(&plain.recv_json())["newJoinMember"]["id"], *id);
            client.say("from TLS");
            plain.hear("from TLS");
            plain.say("from plain");
            client.hear("from plain");
            let tls = &client.stream.conn;
            assert_eq!((tls.protocol_version(), tls.alpn_protocol()), (Some(negotiated), Some(&b"http/1.1"[..])));
            // Whoever comes back shows a ticket, and nobody signs anything.
            assert!(tls.handshake_kind() == Some(kind) || negotiated == ProtocolVersion::TLSv1_3, "{kind:?}");
            client.close();
            assert_eq!(data(&plain.recv_json())["newLeaveMember"]["id"], *id);
        }
    }
}

#[test]
fn the_metrics_are_there_and_tell_the_two_ways_apart() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, ""));
    let trusting = client_config(&folder, &[&TLS13, &TLS12]);
    let (mut plain, mut secure) = (hub.join("plain"), connect(&hub, &trusting));
    secure.join(ROOM, "secure");
    assert_eq!(plain.recv_json()["msg"], "Join successfully");
    let shown = get(&hub, &trusting, "/metrics");
    assert_eq!(shown.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for (transport, state, count) in [("plain", "open", 1), ("tls", "open", 1), ("tls", "request", 1)] {
        let line = format!("\nclasshub_connections{{transport=\"{transport}\",state=\"{state}\"}} {count}\n");
        assert!(shown.text().contains(&line), "{line}: {}", shown.text());
    }
    assert!(shown.text().contains("\nclasshub_connections_accepted_total{transport=\"tls\"} 2\n"));
}

#[test]
fn the_page_is_there_and_leads_to_itself() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, ""));
    let trusting = client_config(&folder, &[&TLS13, &TLS12]);
    let secure_addr = hub.secure_addr();
    let page = get(&hub, &trusting, "/");
    assert_eq!(page.body, hub.http("GET / HTTP/1.1\r\nHost: a\r\n\r\n").body);
    assert_eq!(get(&hub, &trusting, "/addresses.json").text(), format!("{{\"urls\":[\"https://{secure_addr}\"]}}\n"));
    let code = classhub::page::qr::Qr::of(&format!("https://{secure_addr}/")).expect("a short text").svg();
    assert!(get(&hub, &trusting, "/qr.svg").text() == code);

    // Over plain HTTP it is told how to get there, by the name by which it was asked.
    let trust = hub.http("GET /trust HTTP/1.1\r\nHost: board.local:9000\r\n\r\n");
    assert_eq!((trust.status, trust.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    let address = format!("https://board.local:{}/", secure_addr.port());
    assert!(trust.text().contains(&format!("<a href=\"{address}\">{address}</a>")), "{}", trust.text());
    assert!(!trust.text().contains(['{', '}']), "everything is filled in");
    let authority = hub.http("GET /ca.pem HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(authority.header("Content-Type"), Some("application/x-x509-ca-cert"));
    let served = CertificateDer::from_pem_slice(&authority.body).expect("it is a certificate");
    assert_eq!(served, CertificateDer::from_pem_file(folder.join("ca.pem")).expect("it is there"));
    let wrong = hub.http("GET /trust HTTP/1.1\r\nHost: <script>\r\n\r\n");
    assert_eq!(wrong.status, 400);
    let ipv6 = hub.http("GET /trust HTTP/1.1\r\nHost: [fd00::1]\r\n\r\n");
    assert!(ipv6.text().contains(&format!("https://[fd00::1]:{}/", secure_addr.port())));

    // Without TLS there is nothing to trust.
    let plain = Hub::start("");
    for path in ["/trust", "/ca.pem"] {
        assert_eq!(plain.http(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 404, "{path}");
    }
}

#[test]
fn a_class_of_both_hears_the_same_in_the_same_order() {
    const EACH: usize = 12;
    // So little that nobody is too slow who reads nothing until all is said.
    const ROUNDS: usize = 15;
    let folder = issued();
    let hub = Hub::start(&config(&folder, NO_RATES));
    let trusting = client_config(&folder, &[&TLS13, &TLS12]);
    let mut plain: Vec<Client> = (0..EACH).map(|n| hub.join(&format!("plain {n}"))).collect();
    let mut under_tls: Vec<Client<Secure>> = (0..EACH).map(|_| connect(&hub, &trusting)).collect();
    for (n, client) in under_tls.iter_mut().enumerate() {
        client.join(ROOM, &format!("tls {n}"));
    }
    for round in 0..ROUNDS {
        for n in 0..EACH {
            plain[n].send_json(&chat(ROOM, &format!("plain {n} {round} {}", "x".repeat(round * 20))));
            under_tls[n].send_json(&chat(ROOM, &format!("tls {n} {round} {}", "y".repeat(round * 20))));
        }
    }
    let said = 2 * EACH * ROUNDS;
    let heard = |client: &mut dyn FnMut() -> serde_json::Value| {
        let mut talk = Vec::new();
        while talk.len() < said {
            let frame = client();
            if frame["msg"] == "Chat successfully" {
                talk.push((seq(&frame), data(&frame)["content"].clone()));
            }
        }
        talk
    };
    let first = heard(&mut || plain[0].recv_json());
    for client in &mut plain[1..] {
        assert_eq!(heard(&mut || client.recv_json()), first);
    }
    for client in &mut under_tls {
        assert_eq!(heard(&mut || client.recv_json()), first);
    }
}

#[test]
fn an_upgrade_has_them_come_back_unseen() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, "[heartbeat]\nlinger_s = 60\n"));
    let mut plain = hub.join("plain");
    for (n, version) in [&TLS13, &TLS12].into_iter().enumerate() {
        let trusting = client_config(&folder, &[version]);
        let mut client = connect(&hub, &trusting);
        let reply = client.join(ROOM, "secure");
        if n == 0 {
            plain.recv_json();
        }
        hub.upgrade(n + 1);
        client.expect_close(1001);
        let mut back = connect(&hub, &trusting);
        let reply = back.join_with(&resume(ROOM, "secure", &resume_token(&reply), seq(&reply)));
        assert!(data(&reply).get("members").is_none(), "{reply}");
        back.say("nobody has seen it");
        plain.hear("nobody has seen it");
        if n == 0 {
            back.close();
            plain.recv_json();
            connect(&hub, &trusting).join(ROOM, "secure");
            plain.recv_json();
        }
    }
}

#[test]
fn tls_that_is_new_with_an_upgrade_is_had_or_done_without() {
    let folder = issued();
    let hub = Hub::start("");
    let mut plain = hub.join("plain");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let taken_addr = taken.local_addr().expect("it listens");
    let wanted = config(&folder, "").replace("127.0.0.1:0", &taken_addr.to_string());
    hub.configure(&wanted);
    hub.upgrade(1);
    let line = hub.wait_for_line("the hub goes on without TLS");
    assert!(line.starts_with("ERROR") && line.contains("another program does already"), "{line}");
    plain.say("still here");
    // Nobody is there any more who has it.
    drop(taken);
    hub.upgrade(2);
    plain.say("and still");
    let trusting = client_config(&folder, &[&TLS13]);
    let mut client = Client::upgrade(secure(tcp(taken_addr), &trusting), &upgrade_head("/ws", ""));
    client.join(ROOM, "secure");
    plain.recv_json();
    plain.say("by both");
    client.hear("by both");
}

#[test]
fn readers_that_never_read_are_closed_and_cost_their_bound() {
    const READERS: usize = 32;
    let folder = issued();
    let hub = Hub::start(&config(&folder, NO_RATES));
    let trusting = client_config(&folder, &[&TLS13]);
    let mut readers: Vec<Client<Secure>> = (0..READERS)
        .map(|n| {
            let stream = secure(narrow_tcp(hub.secure_addr()), &trusting);
            let mut client = Client::upgrade(stream, &upgrade_head("/ws", ""));
            client.join(ROOM, &format!("reader {n}"));
            client
        })
        .collect();
    let mut speaker = hub.connect();
    speaker.send_json(&join(ROOM, "speaker"));
    speaker.recv_json();
    let before_kib = hub.resident_kib();
    let text = "z".repeat(12_000);
    let mut most_kib = 0;
    for _ in 0..200 {
        speaker.send_json(&chat(ROOM, &text));
        loop {
            let frame = speaker.recv_json();
            if frame["msg"] == "Chat successfully" {
                break;
            }
        }
        most_kib = most_kib.max(hub.resident_kib());
    }
    let grown_kib = most_kib.saturating_sub(before_kib);
    println!("{READERS} readers that never read: {grown_kib} KiB more");
    // The room's log twice over, and a record for each.
    assert!(grown_kib < 2048 + 40 * READERS as u64, "{grown_kib} KiB");
    for reader in &mut readers {
        let mut last = None;
        while let Some(frame) = reader.recv_or_end() {
            last = Some(frame);
        }
        assert_eq!(last.and_then(|frame| frame.close_code()), Some(4002));
    }
}

#[test]
fn what_is_no_tls_and_what_nobody_trusts_disturbs_nobody() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, ""));
    let trusting = client_config(&folder, &[&TLS13]);
    let mut anna = connect(&hub, &trusting);
    anna.join(ROOM, "anna");

    let mut stream = tcp(hub.secure_addr());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: board:9443\r\n\r\n").expect("the hub reads");
    let response = Response::read(&mut stream);
    assert_eq!(response.status, 400);
    assert!(response.text().contains("https://") && response.text().contains("请"));

    let mut stream = tcp(hub.secure_addr());
    stream.write_all(&[0; 40_000]).expect("the hub reads");
    let mut answer = Vec::new();
    // An alert, or a reset that overtook it.
    let _reset = stream.read_to_end(&mut answer);

    // Another authority's client goes, and so does one that wants to be sure of another protocol.
    let stranger = client_config(&issued(), &[&TLS13]);
    let error = secure(tcp(hub.secure_addr()), &stranger).write_all(b"x").expect_err("nobody trusts it");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let mut only_h2 = (*trusting).clone();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    let error = secure(tcp(hub.secure_addr()), &Arc::new(only_h2)).write_all(b"x").expect_err("it is HTTP/1.1 here");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");

    // A name that the certificate has not is the client's to refuse.
    let other = ServerName::try_from("other.example").expect("it is a name");
    let tls = ClientConnection::new(trusting.clone(), other).expect("it is whole");
    let error = StreamOwned::new(tls, tcp(hub.secure_addr())).write_all(b"x").expect_err("another name");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");

    anna.say("undisturbed");
    anna.close();
}

#[test]
fn a_full_hub_closes_without_a_word() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, "limits.connections = 1\n"));
    let trusting = client_config(&folder, &[&TLS13]);
    let mut anna = connect(&hub, &trusting);
    anna.join(ROOM, "anna");
    let mut stream = tcp(hub.secure_addr());
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0)), "an end, and no plain 503");
    // Whoever comes in plain text is told as ever.
    assert_eq!(hub.http("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 503);
    anna.say("all the same");
}

/// In real time, once: the deadline counts from the connection.
#[test]
fn a_slow_handshake_is_cut() {
    let folder = issued();
    let hub = Hub::start(&config(&folder, ""));
    let began = Instant::now();
    let mut stream = tcp(hub.secure_addr());
    let mut tls = ClientConnection::new(client_config(&folder, &[&TLS13]), localhost()).expect("it is whole");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("memory takes everything");
    for byte in &hello[..20] {
        stream.write_all(&[*byte]).expect("the hub reads");
        thread::sleep(Duration::from_millis(300));
    }
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0)), "an end");
    let took = began.elapsed();
    assert!((9..13).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn certificates_are_swapped_under_a_talking_class() {
    let (first, second) = (issued(), issued());
    let hub = Hub::start(&config(&first, NO_RATES));
    let (trusts_first, trusts_second) = (client_config(&first, &[&TLS13]), client_config(&second, &[&TLS13]));
    let mut class: Vec<Client<Secure>> = (0..10).map(|_| connect(&hub, &trusts_first)).collect();
    for (n, client) in class.iter_mut().enumerate() {
        client.join(ROOM, &format!("{n}"));
    }
    // Everybody has seen everybody come.
    let read_joins = |class: &mut Vec<Client<Secure>>| {
        let count = class.len();
        for (n, client) in class.iter_mut().enumerate() {
            (n + 1..count).for_each(|_| drop(client.recv_json()));
        }
    };
    read_joins(&mut class);
    let talk = |class: &mut Vec<Client<Secure>>, text: &str| {
        class[0].send_json(&chat(ROOM, text));
        class.iter_mut().for_each(|client| drop(client.hear(text)));
    };
    talk(&mut class, "before");

    // A wrong file changes nothing and says why.
    fs::write(first.join("key.pem"), "not a key").expect("it is ours");
    let line = hub.reload_and_tell();
    assert!(line.contains("not reloaded, the hub goes on as before: "), "{line}");
    assert!(line.contains("tls.key (line 3): ") && line.contains("key.pem has no private key in it"), "{line}");
    talk(&mut class, "after a wrong file");
    connect(&hub, &trusts_first).close();

    for name in ["cert.pem", "key.pem"] {
        fs::copy(second.join(name), first.join(name)).expect("it is ours");
    }
    let line = hub.reload_and_tell();
    assert!(line.contains("reloaded: whoever connects from now on is shown another certificate, SHA-256 "), "{line}");
    assert!(hub.reload_and_tell().ends_with("reloaded: nothing has changed"));
    talk(&mut class, "after a right one");
    connect(&hub, &trusts_second).close();
    let error = secure(tcp(hub.secure_addr()), &client_config(&first, &[&TLS13])).write_all(b"x").expect_err("swapped");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    let served = hub.http("GET /ca.pem HTTP/1.1\r\nHost: a\r\n\r\n").body;
    let served = CertificateDer::from_pem_slice(&served).expect("it is a certificate");
    assert_eq!(served, CertificateDer::from_pem_file(second.join("ca.pem")).expect("it is there"));
    talk(&mut class, "and on");
}

/// What TLS adds to a member who says nothing, and the sum that `classhub check` prints has to cover.
#[test]
fn an_idle_member_under_tls_costs_a_part_of_its_bound() {
    const MEMBERS: usize = 500;
    classhub::host::descriptors::raise(MEMBERS as u64).expect("the test holds 500 sockets open");
    let folder = issued();
    let hub = Hub::start(&config(&folder, ""));
    for version in [&TLS13, &TLS12] {
        let trusting = client_config(&folder, &[version]);
        let mut before = connect(&hub, &trusting);
        // A room of its own each: on a slow machine whoever came before leaves the room while this one is in it.
        before.join(&format!("{version:?}"), "before");
        let before_kib = hub.resident_kib();
        let mut members = Vec::new();
        for n in 0..MEMBERS {
            let mut client = connect(&hub, &trusting);
            client.join(&format!("E{:05}", n / 50), &format!("{version:?}53rf5h9ue6jk8r3h8{n:04}"));
            members.push(client);
        }
        // Whatever was under way for the last of them is done when the hub has answered somebody else.
        before.fence();
        let bytes = hub.resident_kib().saturating_sub(before_kib) * 1024 / MEMBERS as u64;
        println!("{version:?}: a member: {bytes} bytes");
        let bound = classhub::limits::TLS_STATE_BYTES;
        assert!(bytes < bound, "{version:?}: a member takes {bytes} bytes of {bound}");
        drop(members);
        drop(before);
    }
}

// ---- Other programs -----------------------------------------------------------------------------

#[test]
fn openssl_and_python_believe_it() {
    let folder = folder();
    issue(&order(&folder)).expect("the folder is empty");
    let hub = Hub::start(&config(&folder, ""));
    let port = hub.secure_addr().port();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();

    if run(Command::new("openssl").args(["verify", "-x509_strict", "-CAfile", &path("ca.pem"), &path("cert.pem")])) {
        for version in ["-tls1_2", "-tls1_3"] {
            let to = format!("127.0.0.1:{port}");
            let mut client = Command::new("openssl");
            client.args(["s_client", "-connect", &to, "-CAfile", &path("ca.pem"), "-verify_return_error", version]);
            assert!(run(client.args(["-verify_ip", "127.0.0.1", "-alpn", "http/1.1"])));
        }
        let mut old = Command::new("openssl");
        old.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
        let status = old.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(!status.expect("it ran before").success(), "1.1 is not spoken");
    }
    let program = "import socket, ssl, sys\n\
        context = ssl.create_default_context(cafile=sys.argv[1])\n\
        for name in ('localhost', '127.0.0.1'):\n\
        \x20   with context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[2]))), server_hostname=name) as s:\n\
        \x20       s.sendall(b'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n\
        \x20       assert s.recv(4096).startswith(b'HTTP/1.1 200 OK'), name\n\
        \x20       assert s.unwrap() is not None\n";
    run(Command::new("python3").args(["-c", program, &path("ca.pem"), &port.to_string()]));
}

/// Runs a program to its success; false where it is not there.
#[track_caller]
fn run(command: &mut Command) -> bool {
    match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("NOT TESTED: there is no {:?} here", command.get_program());
            false
        }
        output => {
            let output = output.expect("it can be started");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {said}");
            true
        }
    }
}

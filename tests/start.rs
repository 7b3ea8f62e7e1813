//! What the hub says when it starts, to a person at a terminal and to a journal.
//!
//! Owns: a terminal, and what stands on it. Refuses to know: how a code is drawn (its own file tests that), and what is logged later.
#![cfg(target_os = "linux")]

mod common;

use std::{
    fs::File,
    io::{BufRead, BufReader, PipeReader, Read, pipe},
    net::{Ipv4Addr, SocketAddr},
    os::{fd::AsFd, unix::fs::MetadataExt},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

use classhub::{host::addresses, page::qr::Qr};
use common::{Client, Hub, PATIENCE, Response, classhub, tcp};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

#[test]
fn a_journal_is_told_where_and_shown_no_code() {
    let hub = Hub::start("");
    assert_eq!(hub.wait_for_line("/join"), format!("to show on a projector: http://{}/join", hub.addr));
    assert_eq!(hub.lines()[0], format!("listening on http://{}", hub.addr));
    assert!(hub.lines().iter().all(|line| line.is_ascii() && !line.contains('\x1b')), "{:?}", hub.lines());
}

/// A hub whose standard error is a pipe that the journal is said to read: that of `JOURNAL_STREAM`, or one beside it.
fn for_journal(args: &[&str], beside: u64) -> (BufReader<PipeReader>, Killed) {
    let (reader, writer) = pipe().expect("Linux has pipes");
    let file = File::from(writer.as_fd().try_clone_to_owned().expect("it is open"));
    let metadata = file.metadata().expect("it is open");
    let mut command = classhub();
    command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino() + beside));
    command.args(args).stdin(Stdio::null()).stderr(writer);
    let hub = Killed(command.spawn().expect("the hub starts"));
    (BufReader::new(reader), hub)
}

/// The next line that begins and ends so, or, at the end, what was there instead.
#[track_caller]
fn line(lines: &mut BufReader<PipeReader>, begin: &str, end: &str) -> String {
    let mut read = String::new();
    loop {
        let from = read.len();
        assert!(lines.read_line(&mut read).expect("text") > 0, "no line {begin}…{end}:\n{read}");
        let line = read[from..].trim_end_matches('\n');
        if line.starts_with(begin) && line.ends_with(end) {
            return line.to_owned();
        }
    }
}

/// Has a request refused for its Host, as the log then tells; and stops the hub.
fn refuse_and_stop(port: u16, hub: &Killed) {
    let mut stream = tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").expect("the hub reads");
    assert_eq!(Response::read(&mut stream).status, 403);
    kill_process(Pid::from_child(&hub.0), Signal::TERM).expect("the hub runs");
}

#[track_caller]
fn port(listening: &str) -> u16 {
    listening.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port: {listening}"))
}

#[test]
fn lines_for_the_journal_begin_with_a_priority() {
    let (mut lines, hub) = for_journal(&["--listen", "127.0.0.1:0", "--log", "debug"], 0);
    let listening = line(&mut lines, "<6>listening on http://127.0.0.1:", "");
    line(&mut lines, "<6>to show on a projector: ", "/join");
    let mut client = Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port(&listening))));
    client.join("E00001", "anna");
    client.close();
    line(&mut lines, "<7>[classhub::net::exchange] connection ", "closed by the client");
    // A second hub there can't be: the journal has it as an error.
    let (mut of_second, _second) = for_journal(&["--listen", &format!("127.0.0.1:{}", port(&listening))], 0);
    line(&mut of_second, "<3>classhub: cannot listen on 127.0.0.1:", "(is a hub running?)");
    refuse_and_stop(port(&listening), &hub);
    line(&mut lines, "<4>refused a request for the Host \"a.example\", ", "write http.names = [\"a.example\"]");
    line(&mut lines, "<6>stopping: ", " connected");
    line(&mut lines, "<6>stopped", "");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "");
}

#[test]
fn lines_for_anybody_else_begin_with_a_word() {
    // The journal reads something, but not this: somebody has sent it elsewhere.
    let (mut lines, hub) = for_journal(&["--listen", "127.0.0.1:0"], 1);
    let listening = line(&mut lines, "listening on http://127.0.0.1:", "");
    refuse_and_stop(port(&listening), &hub);
    line(&mut lines, "WARN  [classhub::net::refusals] refused a request for the Host \"a.example\", ", "");
    line(&mut lines, "INFO  [classhub] stopped", "");
}

#[test]
fn a_terminal_is_shown_a_code_to_scan() {
    let (lines, _hub) = on_terminal("0.0.0.0:0");
    let listening: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("listening on ")).collect();
    let port: u16 = listening[0].strip_prefix("http://localhost:").and_then(|port| port.parse().ok()).expect("a port");

    // What it said is what it says when asked.
    let mut stream = tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    std::io::Write::write_all(&mut stream, b"GET /addresses.json HTTP/1.1\r\nHost: a\r\n\r\n").expect("the hub reads");
    let json: serde_json::Value = serde_json::from_slice(&Response::read(&mut stream).body).expect("JSON");
    let told = if listening.len() > 1 { &listening[1..] } else { &listening[..] };
    assert_eq!(json, serde_json::json!({ "urls": told }));

    let (last, shown) = lines.split_last().expect("there are lines");
    assert!(last.ends_with(&format!(" {}/join", told[0])), "{last}");
    if addresses::urls_for_others(&[SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))], &addresses::of_machine())
        .is_empty()
    {
        eprintln!("NOT TESTED: this machine has no network, and so there is no code");
        return;
    }
    let code = Qr::of(&format!("{}/", told[0])).expect("a short text").terminal();
    assert_eq!(shown[listening.len()..].join("\n"), format!("\n{code}"));
    assert!(last.contains("扫码") && last.contains("Scan"), "{last}");
}

#[test]
fn a_terminal_is_shown_no_code_that_leads_nowhere() {
    let (lines, _hub) = on_terminal("127.0.0.1:0");
    let url = lines[0].strip_prefix("listening on ").expect("an address");
    assert_eq!(lines[1..], [format!("to show on a projector: {url}/join")]);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a hub whose standard error is a terminal, and reads from there up to the line that names the projector's page.
#[track_caller]
fn on_terminal(listen: &str) -> (Vec<String>, Killed) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("Linux has terminals");
    grantpt(&controller).expect("it is ours");
    unlockpt(&controller).expect("it is ours");
    let name = ptsname(&controller, Vec::new()).expect("it has a name");
    let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it is ours");
    let mut command = classhub();
    command.args(["--listen", listen]).stdin(Stdio::null()).stderr(terminal);
    let hub = Killed(command.spawn().expect("the hub starts"));
    // The command holds the terminal too: without it, the hub's end is the reader's.
    drop(command);
    let (said, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(File::from(controller)).lines();
        lines.map_while(Result::ok).take_while(|line| said.send(line.clone()).is_ok()).for_each(drop);
    });
    let mut read = Vec::new();
    while !read.last().is_some_and(|line: &String| line.ends_with("/join")) {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line ends with /join: {read:?}"));
        // A terminal ends its lines with both.
        read.push(line.trim_end_matches('\r').to_owned());
    }
    (read, hub)
}

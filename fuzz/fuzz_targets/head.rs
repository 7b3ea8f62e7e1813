//! Any bytes as a request head.
//!
//! Owns: what every answer must look like (RFC 9112, RFC 9110), and what must have been asked for a 101 (RFC 6455, section 4.2.1), read out of the head
//! by a reader as plain as can be. Refuses to know: which answer is right for which path, which the hub's own tests say.
#![no_main]

use std::net::IpAddr;

use classhub::net::http::{Asker, Route, Site, route};
use libfuzzer_sys::fuzz_target;
use tungstenite::handshake::derive_accept_key;

const ALLOWED: &str = "https://school.example";

fuzz_target!(|head: &[u8]| {
    // What is asked for is never nothing.
    let metrics = || "classhub_rooms 0\n".to_owned();
    let asker = Asker { address: [127, 0, 0, 1].into(), metrics: &metrics };
    match route(head, &site(), &asker) {
        Route::Upgrade(response) => check_upgrade(head, &response),
        // Who is refused is also told of to the operator.
        Route::Refuse(response, _) => {
            check_response(head, &response);
            assert!(response.starts_with(b"HTTP/1.1 403 "));
        }
        Route::Respond(response) => check_response(head, &response),
    }
});

fn site() -> Site {
    let machine = || ["127.0.0.1", "192.168.1.5", "fd00::5"].map(|text| text.parse::<IpAddr>().unwrap()).into();
    let mut site = Site { bound: vec!["[::]:9000".parse().unwrap()], machine, ..Site::default() };
    site.allowed_origins.push(ALLOWED.into());
    site
}

/// The status line, the fields and the body of an answer, all of it well formed.
fn read(response: &[u8]) -> (u16, Vec<(&str, &str)>, &[u8]) {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a blank line ends the head");
    let head = std::str::from_utf8(&response[..end]).expect("a head is text");
    assert!(head.is_ascii());
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line comes first");
    let (code, words) = status.split_once(' ').expect("a code has its words");
    assert!(code.len() == 3 && !words.is_empty(), "{status}");
    let fields: Vec<_> = lines.map(|line| line.split_once(": ").expect("a field has a name and a value")).collect();
    for (n, (name, value)) in fields.iter().enumerate() {
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name}");
        assert!(!value.is_empty() && !value.contains(|c: char| c.is_control()), "{name}: {value:?}");
        assert!(fields[..n].iter().all(|(other, _)| !other.eq_ignore_ascii_case(name)), "{name} is there twice");
    }
    (code.parse().expect("a code is a number"), fields, &response[end + 4..])
}

fn value<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

fn check_response(head: &[u8], response: &[u8]) {
    let (code, fields, body) = read(response);
    let known = [200, 304, 400, 403, 404, 405, 426, 431];
    assert!(known.contains(&code), "{code}");
    assert_eq!(value(&fields, "X-Content-Type-Options"), Some("nosniff"));
    let connection = value(&fields, "Connection").unwrap();
    assert!(connection.split(", ").any(|word| word == "close"), "{connection}");
    assert_eq!(code == 405, value(&fields, "Allow").is_some());
    assert_eq!(code == 426, value(&fields, "Upgrade").is_some());
    assert_eq!(code == 426, value(&fields, "Sec-WebSocket-Version").is_some());
    if code == 304 {
        assert!(body.is_empty() && value(&fields, "Content-Length").is_none());
        assert!(String::from_utf8_lossy(head).to_ascii_lowercase().contains("if-none-match"));
        return;
    }
    let length: usize = value(&fields, "Content-Length").unwrap().parse().unwrap();
    assert!(length > 0 && value(&fields, "Content-Type").is_some());
    // Empty lines before a request mean nothing (RFC 9112, section 2.2).
    let line = head.iter().position(|byte| !b"\r\n".contains(byte)).map_or(&[][..], |at| &head[at..]);
    match line.starts_with(b"HEAD ") {
        true => assert!(body.is_empty(), "a body for a HEAD"),
        false => assert_eq!(body.len(), length),
    }
}

fn check_upgrade(head: &[u8], response: &[u8]) {
    let (code, fields, body) = read(response);
    assert!(code == 101 && body.is_empty());
    assert_eq!(value(&fields, "Upgrade"), Some("websocket"));
    assert_eq!(value(&fields, "Connection"), Some("Upgrade"));

    // A field's value may have bytes that are no text, which nothing here looks at.
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let line = lines.find(|line| !line.is_empty()).unwrap();
    let asked: Vec<(&str, &str)> =
        lines.take_while(|line| !line.is_empty()).map(|line| line.split_once(':').unwrap()).collect();
    let all = |name: &'static str| {
        asked.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let names = |name: &'static str, token: &str| {
        all(name).any(|list| list.split(',').any(|one| one.trim().eq_ignore_ascii_case(token)))
    };
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("a request line: {line}") };
    assert!(method == "GET" && version == "HTTP/1.1", "{line}");
    let path = target.split(['?', '#']).next().unwrap();
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => path,
    };
    assert!(path == "/ws" || path == "/", "{target}");
    assert!(names("Upgrade", "websocket") && names("Connection", "Upgrade"));
    assert!(all("Sec-WebSocket-Version").any(|version| version == "13"));
    let key = all("Sec-WebSocket-Key").next().unwrap();
    assert_eq!(value(&fields, "Sec-WebSocket-Accept"), Some(&*derive_accept_key(key.as_bytes())));
    let hosts: Vec<_> = all("Host").collect();
    assert_eq!(hosts.len(), 1);
    for origin in all("Origin") {
        let is_allowed = origin.eq_ignore_ascii_case(ALLOWED) || origin.eq_ignore_ascii_case(&format!("{ALLOWED}:443"));
        let (scheme, authority) = origin.split_once("://").unwrap();
        let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let bare = |authority: &str| {
            let authority = authority.to_ascii_lowercase();
            authority.strip_suffix(port).map(str::to_owned).unwrap_or(authority)
        };
        assert!(is_allowed || bare(authority) == bare(hosts[0]), "{origin} for {}", hosts[0]);
    }
}

//! Before the upgrade: every answer that PROTOCOL.md names, over real sockets, each read to its clean end.
//!
//! Owns: requests right and wrong, the routes, the way in, what need not be sent again, Origin, and that no reset eats an answer.
//! Refuses to know: what is said once a WebSocket is open. Sizes and periods of a head are in `limits.rs`, 503 too.

mod common;

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    thread,
};

use common::{Client, Hub, KEY, NO_RATES, ROOM, Response, cut, tcp, upgrade_head};

/// Sends a request head of these lines, and reads the answer. Panics where the connection does not end cleanly behind it.
#[track_caller]
fn ask(hub: &Hub, lines: &[&str]) -> Response {
    let response = hub.http(lines.join("\r\n") + "\r\n\r\n");
    check(&response, lines[0].starts_with("HEAD "));
    response
}

/// What every answer must have.
#[track_caller]
fn check(response: &Response, is_to_head: bool) {
    assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"), "{response:?}");
    let says_close = response.header("Connection").is_some_and(|value| value.split(", ").any(|one| one == "close"));
    assert!(says_close, "{response:?}");
    // RFC 9110, section 15.4.5: what is said of a body would be said of the one that the client has.
    let has_body = !is_to_head && response.status != 304;
    let length = response.header("Content-Length").map(|length| length.parse().expect("a length is a number"));
    assert_eq!(length.is_some(), response.status != 304, "{response:?}");
    assert_eq!(response.body.len(), length.filter(|_| has_body).unwrap_or(0), "{response:?}");
    let is_error = response.status >= 400;
    assert!(!is_error || is_to_head || response.text().trim().len() > 5, "an error says what is wrong: {response:?}");
}

/// Sends an upgrade with these fields beside or in place of the usual; the client, or the response that refused it.
#[track_caller]
fn upgrade(hub: &Hub, target: &str, change: &[(&str, Option<&str>)]) -> Result<Client, Response> {
    let mut fields = vec![
        ("Host", "hub.local:9000"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    for (name, value) in change {
        fields.retain(|(field, _)| field != name);
        fields.extend(value.map(|value| (*name, value)));
    }
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut stream = tcp(hub.addr);
    stream.write_all(format!("GET {target} HTTP/1.1\r\n{lines}\r\n").as_bytes()).expect("the hub reads");
    let upgraded = Client::upgraded(stream);
    if let Err(response) = &upgraded {
        check(response, false);
    }
    upgraded
}

#[track_caller]
fn refused(hub: &Hub, target: &str, change: &[(&str, Option<&str>)]) -> Response {
    match upgrade(hub, target, change) {
        Ok(_) => panic!("upgraded: {target} {change:?}"),
        Err(response) => response,
    }
}

#[track_caller]
fn upgraded(hub: &Hub, target: &str, change: &[(&str, Option<&str>)]) -> Client {
    match upgrade(hub, target, change) {
        Ok(mut client) => {
            client.fence();
            client
        }
        Err(response) => panic!("refused: {target} {change:?} {response:?}"),
    }
}

// ---- Routes -------------------------------------------------------------------------------------

#[test]
fn health() {
    let hub = Hub::start("");
    for target in ["/healthz", "/healthz?", "/healthz?verbose=1", "http://hub.local:9000/healthz"] {
        let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), "Host: a"]);
        assert_eq!((response.status, response.text()), (200, "ok"), "{target}");
    }
}

#[test]
fn the_page() {
    let hub = Hub::start("");
    let absolute = format!("http://{}/", hub.addr);
    let without_path = format!("http://{}", hub.addr);
    for target in ["/", "/?room=E00001", "/?a=/../b#c", &absolute, &without_path] {
        let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), "Host: a"]);
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.header("Content-Type"), Some("text/html; charset=utf-8"));
        assert!(response.text().trim_start().to_lowercase().starts_with("<!doctype html"));
        let policy = response.header("Content-Security-Policy").expect("a policy");
        assert_eq!(policy, classhub::page::CONTENT_SECURITY_POLICY);
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    }
    // Everything it asks for is there, with the same policy.
    let page = ask(&hub, &["GET / HTTP/1.1", "Host: a"]);
    let named: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|before| page.text().split(before).skip(1))
        .map(|rest| rest.split('"').next().expect("there is a first piece"))
        .collect();
    assert!(named.len() >= 3, "{named:?}");
    for path in named {
        let response = ask(&hub, &[&format!("GET {path} HTTP/1.1"), "Host: a"]);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.header("Content-Security-Policy").is_some());
    }
}

/// What goes with each part of the page, a code and the addresses too.
#[track_caller]
fn check_page(response: &Response) {
    assert_eq!(response.header("Content-Security-Policy"), Some(classhub::page::CONTENT_SECURITY_POLICY));
    assert_eq!(response.header("Referrer-Policy"), Some("no-referrer"));
    // A board has another address tomorrow, and another page after its next update.
    assert_eq!(response.header("Cache-Control"), Some("no-cache"));
}

#[test]
fn every_file_of_the_page() {
    let hub = Hub::start("");
    for asset in classhub::page::assets() {
        for query in ["", "?room=E00001"] {
            let response = ask(&hub, &[&format!("GET {}{query} HTTP/1.1", asset.path), "Host: a"]);
            assert_eq!(response.status, 200, "{}", asset.path);
            assert_eq!(response.header("Content-Type"), Some(asset.content_type));
            assert_eq!(response.header("ETag"), Some(asset.etag));
            assert_eq!(response.body, asset.body);
            check_page(&response);
        }
        assert!(asset.etag.len() > 2 && asset.etag.starts_with('"') && asset.etag.ends_with('"'), "{}", asset.etag);
    }
}

#[test]
fn what_a_client_has_is_not_sent_again() {
    let hub = Hub::start("");
    for asset in classhub::page::assets() {
        let tag = asset.etag;
        let weak = format!("If-None-Match: W/{tag}");
        let own = format!("If-None-Match: {tag}");
        let list = format!("if-none-match: \"a,b\" , W/\"c\",,{tag}");
        let others = "If-None-Match: \"other\", W/\"another\"";
        for method in ["GET", "HEAD"] {
            let first = format!("{method} {}?a=b HTTP/1.1", asset.path);
            for fields in [
                &[&own[..]][..],
                &[&weak],
                &[&list],
                &["If-None-Match: *"],
                &[others, &own],
                &["If-None-Match:", &weak],
            ] {
                let response = ask(&hub, &[&[&first, "Host: a"], fields].concat());
                assert_eq!(response.status, 304, "{first} {fields:?}");
                assert_eq!(response.header("ETag"), Some(tag));
                assert_eq!(response.header("Content-Type"), None);
                check_page(&response);
            }
            let unquoted = format!("If-None-Match: {}", tag.trim_matches('"'));
            let cut = format!("If-None-Match: {}", &tag[..tag.len() - 1]);
            let upper = format!("If-None-Match: {}", tag.to_uppercase());
            for field in
                [others, &unquoted, &cut, &upper, "If-None-Match:", "If-Match: *", "If-None-Match: \"*\"", "X: *"]
            {
                let response = ask(&hub, &[&first, "Host: a", field]);
                assert_eq!(response.status, 200, "{first} {field}");
                assert_eq!(response.header("ETag"), Some(tag));
            }
        }
    }
}

/// RFC 9110, section 13.2.1: it is a question for those that would be answered with 200, and here for the files of the page alone.
#[test]
fn everything_else_is_sent_again() {
    let hub = Hub::start("");
    for (first, status) in [
        ("GET /healthz HTTP/1.1", 200),
        ("GET /qr.svg HTTP/1.1", 200),
        ("GET /addresses.json HTTP/1.1", 200),
        ("GET /qr.svg?room= HTTP/1.1", 400),
        ("GET /nothing HTTP/1.1", 404),
        ("POST / HTTP/1.1", 405),
        ("GET /ws HTTP/1.1", 426),
    ] {
        let response = ask(&hub, &[first, "Host: a", "If-None-Match: *"]);
        assert_eq!((response.status, response.header("ETag")), (status, None), "{first}");
    }
    // A class that upgrades at `/` is not told that it has the page.
    upgraded(&hub, "/", &[("If-None-Match", Some("*"))]).close();
}

// ---- The way in ---------------------------------------------------------------------------------

/// The columns and rows of what is dark in a picture, without the quiet zone, and the width of the code.
#[track_caller]
fn modules(svg: &str) -> (Vec<(i32, i32)>, i32) {
    let width: i32 = cut_out(svg, "viewBox=\"0 0 ", " ").parse().expect("a width");
    let mut dark = Vec::new();
    for run in cut_out(svg, " d=\"", "\"").split_terminator('z') {
        let numbers: Vec<i32> =
            run.trim_start_matches('M').split([' ', 'h', 'v']).map(|n| n.parse().unwrap()).collect();
        let [x, y, run, 1, _] = numbers[..] else { panic!("{run}") };
        dark.extend((x..x + run).map(|x| (x - 4, y - 4)));
    }
    (dark, width - 8)
}

#[track_caller]
fn cut_out<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is not there: {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("{after} is not there: {text}")).0
}

/// That a picture is the code of `url`, as the library draws it.
#[track_caller]
fn assert_is_code_of(svg: &str, url: &str) {
    let code = qrcodegen::QrCode::encode_text(url, qrcodegen::QrCodeEcc::Medium).expect("a short text");
    let all = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
    let dark: Vec<_> = all.filter(|(x, y)| code.get_module(*x, *y)).collect();
    assert!(modules(svg) == (dark, code.size()), "not the code of {url}");
}

#[test]
fn a_code_leads_to_the_page() {
    let hub = Hub::start("");
    let long = "%E4%B8%89".repeat(21) + "x";
    for (target, host, url) in [
        ("/qr.svg", "board.local:9000", "http://board.local:9000/"),
        ("/qr.svg?", "10.0.0.1", "http://10.0.0.1/"),
        ("/qr.svg?room=E00001", "[fd00::1]:9000", "http://[fd00::1]:9000/?room=E00001"),
        ("/qr.svg?language=en&room=a+b%2B%63&room=", "board", "http://board/?room=a%20b%2Bc"),
        (&format!("/qr.svg?room={long}"), "board", &format!("http://board/?room={long}")),
        ("http://board.local:9000/qr.svg?room=a", "other", "http://board.local:9000/?room=a"),
    ] {
        let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), &format!("Host: {host}")]);
        assert_eq!((response.status, response.header("Content-Type")), (200, Some("image/svg+xml")), "{target}");
        assert_is_code_of(response.text(), url);
        check_page(&response);
        // What the policy would refuse, and what could be somebody else's words.
        for none in ["<script", "style", " on", "href", "board", "<text", "<title"] {
            assert!(!response.text().contains(none), "{none}");
        }
        let head = ask(&hub, &[&format!("HEAD {target} HTTP/1.1"), &format!("Host: {host}")]);
        assert_eq!(head.head, response.head);
    }
    // At the hub's own address too.
    let response = ask(&hub, &["GET /qr.svg?room=E00001 HTTP/1.1", &format!("Host: {}", hub.addr)]);
    assert_is_code_of(response.text(), &format!("http://{}/?room=E00001", hub.addr));
}

#[test]
fn a_code_that_cannot_be() {
    let hub = Hub::start("");
    let longer = format!("room={}", "x".repeat(65));
    let longer_in_bytes = format!("room={}", "%E4%B8%89".repeat(22));
    for (query, words) in [
        ("room=", "The room is empty."),
        ("room", "The room is empty."),
        ("a=b&room=&room=E00001", "The room is empty."),
        (&longer, "The room is longer than 64 bytes."),
        (&longer_in_bytes, "The room is longer than 64 bytes."),
        ("room=%FF", "The room is not UTF-8."),
        ("room=%ED%A0%80", "The room is not UTF-8."),
        ("room=100%", "The room has a % without two hexadecimal digits behind it."),
        ("room=%zz", "The room has a % without two hexadecimal digits behind it."),
    ] {
        let response = ask(&hub, &[&format!("GET /qr.svg?{query} HTTP/1.1"), "Host: a"]);
        assert_eq!((response.status, response.text().trim_end()), (400, words), "{query}");
    }
    let words = "The request's Host is no name or address.";
    for host in
        ["a b", "user@a", "a/b", "a?b", "a:b", "a:0", "a:65536", "::1", "[::1", "[x]", "<a>", "a\"b", "名", "a:80:80"]
    {
        let response = ask(&hub, &["GET /qr.svg HTTP/1.1", &format!("Host: {host}")]);
        assert_eq!((response.status, response.text().trim_end()), (400, words), "{host}");
    }
    for target in ["http://user@a/qr.svg", "http://a:/qr.svg", "http://a%20b/qr.svg"] {
        let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), "Host: a"]);
        assert_eq!((response.status, response.text().trim_end()), (400, words), "{target}");
    }
    // HTTP/1.0 may have no Host, another an empty one, and then there is nowhere to lead to.
    let words = "The request has no Host that a code could lead to.";
    for request in [
        &["GET /qr.svg HTTP/1.0"][..],
        &["GET /qr.svg HTTP/1.1", "Host: "],
        &["GET http:///qr.svg HTTP/1.1", "Host: a"],
    ] {
        let response = ask(&hub, request);
        assert_eq!((response.status, response.text().trim_end()), (400, words), "{request:?}");
    }
    let response = ask(&hub, &["POST /qr.svg?room= HTTP/1.1", "Host: a"]);
    assert_eq!((response.status, response.header("Allow")), (405, Some("GET, HEAD")));
}

#[test]
fn the_addresses() {
    let hub = Hub::start("");
    for target in ["/addresses.json", "/addresses.json?a=b"] {
        let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), "Host: a"]);
        assert_eq!((response.status, response.header("Content-Type")), (200, Some("application/json")), "{target}");
        let json: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        // It listens on this address alone, and so there is no better one.
        assert_eq!(json, serde_json::json!({"urls": [format!("http://{}", hub.addr)]}));
        check_page(&response);
        let head = ask(&hub, &[&format!("HEAD {target} HTTP/1.1"), "Host: a"]);
        assert_eq!(head.head, response.head);
    }
    let response = ask(&hub, &["DELETE /addresses.json HTTP/1.1", "Host: a"]);
    assert_eq!((response.status, response.header("Allow")), (405, Some("GET, HEAD")));
}

// ---- HEAD, and what there is not ----------------------------------------------------------------

#[test]
fn head_is_get_without_a_body() {
    let hub = Hub::start("");
    for path in ["/", "/healthz", "/app.js"] {
        let get = ask(&hub, &[&format!("GET {path} HTTP/1.1"), "Host: a"]);
        let head = ask(&hub, &[&format!("HEAD {path} HTTP/1.1"), "Host: a"]);
        assert_eq!((head.status, &head.head), (200, &get.head), "{path}");
    }
}

/// RFC 9110, section 9.3.2: no answer to HEAD has a body, an error no more than any other.
#[test]
fn no_answer_to_head_has_a_body() {
    let hub = Hub::start("");
    for (lines, status) in [
        (&["HEAD /ws HTTP/1.1", "Host: a"][..], 405),
        (&["HEAD /nothing HTTP/1.1", "Host: a"], 404),
        (&["HEAD / HTTP/1.1"], 400),
    ] {
        assert_eq!(ask(&hub, lines).status, status, "{lines:?}");
    }
}

#[test]
fn not_found() {
    let hub = Hub::start("");
    for target in
        ["/nothing", "/ws/", "/WS", "/healthz/", "//", "/..", "/../etc/passwd", "/%2e%2e/", "/index.html", "/ws%20"]
    {
        let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), "Host: a"]);
        assert_eq!(response.status, 404, "{target}");
    }
    // With an upgrade too: only `/ws` and `/` have one.
    for target in ["/nothing", "/wss", "/ws/x", "/healthz/ws"] {
        assert_eq!(refused(&hub, target, &[]).status, 404, "{target}");
    }
}

#[test]
fn methods() {
    let hub = Hub::start("");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get"] {
        for (path, allow) in [("/", "GET, HEAD"), ("/healthz", "GET, HEAD"), ("/app.js", "GET, HEAD"), ("/ws", "GET")] {
            let response = ask(&hub, &[&format!("{method} {path} HTTP/1.1"), "Host: a"]);
            assert_eq!((response.status, response.header("Allow")), (405, Some(allow)), "{method} {path}");
        }
    }
    // An upgrade is a GET.
    for path in ["/ws", "/"] {
        let request = upgrade_head(path, "").replacen("GET", "POST", 1);
        assert_eq!(hub.http(request).status, 405, "{path}");
    }
}

// ---- Bad requests -------------------------------------------------------------------------------

#[test]
fn hosts() {
    let hub = Hub::start("");
    for path in ["/", "/healthz", "/ws", "/nothing"] {
        let first = format!("GET {path} HTTP/1.1");
        assert_eq!(ask(&hub, &[&first]).status, 400, "{path}");
        assert_eq!(ask(&hub, &[&first, "Host: a", "host: a"]).status, 400, "{path}");
        assert_eq!(ask(&hub, &[&first, "Host: a", "X: y", "HOST: b"]).status, 400, "{path}");
    }
    assert_eq!(refused(&hub, "/ws", &[("Host", None)]).status, 400);
    assert_eq!(refused(&hub, "/ws", &[("host", Some("other"))]).status, 400);
    // HTTP/1.0 had none, and has no upgrade.
    assert_eq!(ask(&hub, &["GET /healthz HTTP/1.0"]).status, 200);
    assert_eq!(hub.http(upgrade_head("/ws", "").replacen("HTTP/1.1", "HTTP/1.0", 1)).status, 400);
}

#[test]
fn garbage() {
    let hub = Hub::start("");
    for bytes in [
        &b"\r\n\r\n"[..],
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 more\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET / SIP/2.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET nothing HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : space before the colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: NUL\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x00\x00\x00\x00\n\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"GET / HTTP/1.1\r\n: no name\r\nHost: a\r\n\r\n",
    ] {
        let response = hub.http(bytes);
        assert_eq!(response.status, 400, "{:?}", String::from_utf8_lossy(bytes));
        check(&response, false);
    }
    // And what only looks odd is none: lines may end without a carriage return, an empty line may stand before it all (RFC 9112,
    // section 2.2), values may have bytes that are not ASCII.
    for bytes in [
        &b"GET /healthz HTTP/1.1\nHost: a\n\n"[..],
        b"\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Name: 老三\r\n\r\n".as_bytes(),
        b"GET /healthz HTTP/1.1\r\nhOsT:a\r\nX-Empty:\r\n\r\n",
    ] {
        assert_eq!(hub.http(bytes).status, 200, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn handshakes() {
    let hub = Hub::start("");
    for path in ["/ws", "/"] {
        for key in [None, Some(""), Some("short"), Some("dGhlIHNhbXBsZSBub25jZQ"), Some("not base64 but 24 bytes!")] {
            assert_eq!(refused(&hub, path, &[("Sec-WebSocket-Key", key)]).status, 400, "{path} {key:?}");
        }
        for version in [None, Some("8"), Some("12"), Some("14"), Some("131"), Some("x"), Some("")] {
            let response = refused(&hub, path, &[("Sec-WebSocket-Version", version)]);
            let tells = response.header("Sec-WebSocket-Version");
            assert_eq!((response.status, tells), (426, Some("13")), "{path} {version:?}");
            // RFC 9110, section 15.5.22.
            assert_eq!(response.header("Upgrade"), Some("websocket"));
        }
        let case = [("Upgrade", Some("WebSocket")), ("Connection", Some("keep-alive, UPGRADE"))];
        upgraded(&hub, path, &case).close();
        upgraded(&hub, &format!("{path}?room=E00001&token=no"), &[]).close();
        upgraded(&hub, &format!("http://{}{path}", hub.addr), &[]).close();
        upgraded(&hub, &format!("http://{}{path}?a=b", hub.addr), &[]).close();
        // Offered, and not taken up (`Client` sees to it that nothing is chosen).
        let offers = [
            ("Sec-WebSocket-Extensions", Some("permessage-deflate; client_max_window_bits")),
            ("Sec-WebSocket-Protocol", Some("chat, superchat")),
        ];
        upgraded(&hub, path, &offers).close();
    }
}

/// RFC 9110, section 5.3: a list in several fields, or with other white space, is the same list. RFC 6455, section 4.2.1, asks for the token.
#[test]
fn a_list_of_tokens_may_be_written_in_any_way() {
    let hub = Hub::start("");
    for fields in [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive,\tUpgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
    ] {
        let head = upgrade_head("/ws", "").replace("Upgrade: websocket\r\nConnection: Upgrade\r\n", fields);
        assert!(head.contains(fields));
        let mut stream = tcp(hub.addr);
        stream.write_all(head.as_bytes()).expect("the hub reads");
        match Client::upgraded(stream) {
            Ok(client) => client.close(),
            Err(response) => panic!("refused: {fields:?} {response:?}"),
        }
    }
}

#[test]
fn no_upgrade_on_ws() {
    let hub = Hub::start("");
    let response = ask(&hub, &["GET /ws HTTP/1.1", "Host: a"]);
    assert_eq!((response.status, response.header("Sec-WebSocket-Version")), (426, Some("13")));
    for (name, value) in
        [("Upgrade", None), ("Upgrade", Some("h2c")), ("Connection", None), ("Connection", Some("keep-alive"))]
    {
        let response = refused(&hub, "/ws", &[(name, value)]);
        let tells = response.header("Sec-WebSocket-Version");
        assert_eq!((response.status, tells), (426, Some("13")), "{name} {value:?}");
    }
    // On `/` that is the page.
    let Err(response) = upgrade(&hub, "/", &[("Upgrade", None)]) else { panic!("nobody asked for it") };
    assert_eq!(response.status, 200);
}

// ---- Host ---------------------------------------------------------------------------------------

/// DNS rebinding: a name on the internet can be made to lead to the hub, and the page under it to speak to it as its own.
#[test]
fn a_hub_answers_to_its_own_names_alone() {
    let hub = Hub::start("[http]\nnames = [\"school.example\", \"Board.School.Example\"]\n");
    for host in [
        "10.0.0.1",
        "203.0.113.9:9000",
        "[fd00::1]:9000",
        "localhost:9000",
        "board",
        "board.local:9000",
        "board.lan",
        "board.home.arpa",
        "board.internal",
        "school.example:9000",
        "board.school.EXAMPLE.",
        "",
    ] {
        let response = ask(&hub, &["GET /healthz HTTP/1.1", &format!("Host: {host}")]);
        assert_eq!(response.status, 200, "{host}");
        if !host.is_empty() {
            let origin = format!("http://{host}");
            upgraded(&hub, "/ws", &[("Host", Some(host)), ("Origin", Some(&origin))]).close();
        }
    }
    for host in ["evil.example", "www.school.example:9000", "board.local.evil.example", "1.2.3", "board.localhost"] {
        for target in ["/", "/app.js", "/join", "/qr.svg", "/addresses.json", "/healthz", "/nothing", "/ws"] {
            let response = ask(&hub, &[&format!("GET {target} HTTP/1.1"), &format!("Host: {host}")]);
            let name = host.trim_end_matches(":9000");
            assert_eq!(response.status, 403, "{target} {host}");
            assert!(response.text().contains(&format!("the name {name}. ")), "{}", response.text());
            let line = format!("http.names = [\"school.example\", \"board.school.example\", \"{name}\"]\n");
            assert!(response.text().ends_with(&line), "{}", response.text());
        }
        // Whoever the page says that it is of.
        let origin = format!("http://{host}");
        assert_eq!(refused(&hub, "/ws", &[("Host", Some(host)), ("Origin", Some(&origin))]).status, 403);
        assert_eq!(refused(&hub, "/", &[("Host", Some(host))]).status, 403);
    }
    // Whom an absolute target asks is who is asked.
    assert_eq!(ask(&hub, &["GET http://evil.example/ HTTP/1.1", "Host: board"]).status, 403);
    assert_eq!(ask(&hub, &["GET http://board/ HTTP/1.1", "Host: evil.example"]).status, 200);
    assert_eq!(ask(&hub, &["HEAD / HTTP/1.1", "Host: evil.example"]).status, 403);
    assert_eq!(ask(&hub, &["GET / HTTP/1.0", "Host: evil.example"]).status, 403);
    // What is no request is told that first, and so is what is no name.
    assert_eq!(ask(&hub, &["GET nothing HTTP/1.1", "Host: evil.example"]).status, 400);
    for path in ["/", "/healthz", "/ws"] {
        assert_eq!(ask(&hub, &[&format!("GET {path} HTTP/1.1"), "Host: user@evil.example"]).status, 400, "{path}");
    }
}

#[test]
fn a_refusal_is_logged_once_with_the_line_that_would_end_it() {
    let mut hub = Hub::start("[http]\nallowed_origins = [\"http://a.example\"]\n");
    for _ in 0..3 {
        ask(&hub, &["GET / HTTP/1.1", "Host: b.example:9000", "Origin: http://c.example"]);
        let change = [("Host", Some("board.local")), ("Origin", Some("https://d.example"))];
        refused(&hub, "/ws", &change);
    }
    ask(&hub, &["GET / HTTP/1.1", "Host: B.example"]);
    let of_host = hub.wait_for_line("b.example");
    for part in ["WARN", "Host \"b.example\"", "Origin \"http://c.example\"", "http.names = [\"b.example\"]"] {
        assert!(of_host.contains(part), "{part}: {of_host}");
    }
    let of_origin = hub.wait_for_line("d.example");
    let line = "http.allowed_origins = [\"http://a.example\", \"https://d.example\"]";
    for part in ["WARN", "Origin \"https://d.example\"", "Host \"board.local\"", line] {
        assert!(of_origin.contains(part), "{part}: {of_origin}");
    }
    // The line is one that the configuration takes.
    classhub::host::config::Config::from_toml(line).expect("it is what was told");
    assert!(hub.stop().success());
    let warnings: Vec<String> = hub.lines().into_iter().filter(|line| line.contains("refused")).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[2].contains("7 requests were refused"), "{warnings:?}");
}

/// A hostile page has a new name each time, and fills no log.
#[test]
fn the_log_has_place_for_some() {
    let hub = Hub::start("");
    for n in 0..40 {
        ask(&hub, &["GET / HTTP/1.1", &format!("Host: {n}.example")]);
    }
    let last = hub.wait_for_line("only counted");
    assert!(last.contains("\"15.example\""), "{last}");
    assert_eq!(hub.lines().iter().filter(|line| line.contains("refused")).count(), 16);
}

// ---- Origin -------------------------------------------------------------------------------------

#[test]
fn origins() {
    let hub = Hub::start("[http]\nallowed_origins = [\"https://school.example\", \"http://other.example:8080\"]\n");
    for (host, origin) in [
        // Its own, with and without the port that the scheme has anyway.
        ("hub.local:9000", "http://hub.local:9000"),
        ("hub.local", "http://hub.local"),
        ("hub.local:80", "http://hub.local"),
        ("hub.local", "http://hub.local:80"),
        ("hub.local", "https://hub.local"),
        ("hub.local:443", "https://hub.local"),
        ("HUB.local:9000", "http://hub.LOCAL:9000"),
        ("192.168.1.7:9000", "http://192.168.1.7:9000"),
        ("[fe80::1]:9000", "http://[fe80::1]:9000"),
        ("[fe80::1]", "http://[fe80::1]"),
        ("[fe80::1]:80", "http://[fe80::1]"),
        ("[fe80::1]", "http://[fe80::1]:80"),
        ("[FE80::A]:9000", "http://[fe80::a]:9000"),
        // Listed, whatever the host.
        ("hub.local:9000", "https://school.example"),
        ("hub.local:9000", "https://school.example:443"),
        ("10.0.0.1", "http://other.example:8080"),
    ] {
        for path in ["/ws", "/"] {
            upgraded(&hub, path, &[("Host", Some(host)), ("Origin", Some(origin))]).close();
        }
    }
    for (host, origin) in [
        ("hub.local:9000", "http://evil.example"),
        ("hub.local:9000", "null"),
        ("hub.local:9000", ""),
        ("hub.local:9000", "http://hub.local"),
        ("hub.local:9000", "http://hub.local:9001"),
        ("hub.local:9000", "https://hub.local"),
        ("hub.local", "http://hub.local:9000"),
        ("hub.local", "http://hub.local:443"),
        ("hub.local", "https://hub.local:80"),
        ("hub.local", "http://hub.local.evil.example"),
        ("hub.local", "http://evil.example/hub.local"),
        ("hub.local", "http://hub.local@evil.example"),
        ("hub.local", "hub.local"),
        ("hub.local", "ftp://hub.local"),
        ("hub.local", "file://"),
        ("[fe80::1]:9000", "http://[fe80::2]:9000"),
        ("[fe80::1]:9000", "http://[fe80::1]"),
        ("hub.local:9000", "http://school.example"),
        ("hub.local:9000", "https://school.example:444"),
        ("hub.local:9000", "https://www.school.example"),
        ("hub.local:9000", "http://other.example"),
        ("hub.local:9000", "https://other.example:8080"),
    ] {
        for path in ["/ws", "/"] {
            let response = refused(&hub, path, &[("Host", Some(host)), ("Origin", Some(origin))]);
            assert_eq!(response.status, 403, "{path} {host} {origin}");
        }
    }
    // A native client has none, and a page that is only read may come from anywhere.
    upgraded(&hub, "/ws", &[]).close();
    assert_eq!(ask(&hub, &["GET / HTTP/1.1", "Host: a", "Origin: http://evil.example"]).status, 200);
    // Of two, both must be right.
    let two = [("Origin", Some("http://hub.local:9000")), ("origin", Some("http://evil.example"))];
    assert_eq!(refused(&hub, "/ws", &two).status, 403);
}

// ---- Ends ---------------------------------------------------------------------------------------

#[test]
fn no_reset_eats_an_answer() {
    let hub = Hub::start("");
    let body = vec![b'x'; 512 * 1024];
    let close_by = format!("Content-Length: {}", body.len());
    for (first, status) in [
        ("POST /healthz HTTP/1.1", 405),
        ("POST /ws HTTP/1.1", 405),
        ("GET /healthz HTTP/1.1", 200),
        ("GET / HTTP/1.1", 200),
        ("GET /ws HTTP/1.1", 426),
        ("POST /nothing HTTP/1.1", 404),
        ("nonsense", 400),
    ] {
        let request = [format!("{first}\r\nHost: a\r\n{close_by}\r\n\r\n").as_bytes(), &body].concat();
        // All of it is read, though nobody wants it: else what is left unread makes the kernel send a reset.
        let response = hub.http(&request);
        assert_eq!(response.status, status, "{first}");
        check(&response, false);
        // A body that comes only when the answer has been sent.
        let mut stream = tcp(hub.addr);
        stream.write_all(&request[..request.len() - body.len()]).expect("the hub reads");
        let late = thread::scope(|scope| {
            let mut writer = stream.try_clone().expect("a socket can be cloned");
            let body = &body;
            scope.spawn(move || writer.write_all(body).expect("the hub reads on"));
            Response::read(&mut stream)
        });
        assert_eq!(late.status, status, "{first}");
    }
}

#[test]
fn a_client_may_end_its_side_first() {
    let hub = Hub::start("");
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /app.js HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ] {
        let mut stream = tcp(hub.addr);
        stream.write_all(request.as_bytes()).expect("the hub reads");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        let response = Response::read(&mut stream);
        assert_eq!(response.status, status);
        check(&response, false);
    }
}

#[test]
fn a_request_may_come_in_any_pieces() {
    let hub = Hub::start("");
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
    for piece in [1, 2, 3, 7] {
        let mut stream = tcp(hub.addr);
        for bytes in request.chunks(piece) {
            stream.write_all(bytes).expect("the hub reads");
        }
        assert_eq!(Response::read(&mut stream).text(), "ok");
    }
}

#[test]
fn one_answer_a_connection() {
    let hub = Hub::start("");
    // What follows the first request is not read as another.
    let twice = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    assert_eq!(hub.http(twice).text(), "ok");
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &upgrade_head("/ws", "");
    assert_eq!(hub.http(smuggled).text(), "ok");
}

#[test]
fn half_requests_disturb_nobody() {
    let hub = Hub::start(&format!("{NO_RATES}connections = 8\n"));
    let mut anna = hub.join("anna");
    let gone = |bytes: &[u8], end: fn(TcpStream)| {
        let mut stream = tcp(hub.addr);
        stream.write_all(bytes).expect("the hub reads");
        end(stream);
    };
    // More than there are places: each is free again once whoever had it is gone.
    for n in 0..40 {
        gone(b"", if n % 2 == 0 { drop } else { cut });
        gone(b"GET /healthz HT", if n % 2 == 0 { cut } else { drop });
        anna.say(&format!("undisturbed {n}"));
    }
}

/// The one test that waits: 10 s for a head. What else comes in that time is in `limits.rs`, in virtual time.
#[test]
fn a_head_that_never_ends() {
    // Nothing of it, a part, and a part with all the time more behind it.
    let hub = Hub::start(NO_RATES);
    let mut anna = hub.join("anna");
    let starts = [&b""[..], b"GET / HTTP/1.1\r\nHost: a\r\n", b"\x16\x03\x01\x02\x00"];
    let waiting: Vec<_> = starts
        .into_iter()
        .map(|start| {
            let mut stream = tcp(hub.addr);
            stream.write_all(start).expect("the hub reads");
            thread::spawn(move || Response::read(&mut stream))
        })
        .collect();
    let mut n = 0;
    while !waiting.iter().all(thread::JoinHandle::is_finished) {
        anna.say(&format!("{ROOM} {n}"));
        thread::sleep(std::time::Duration::from_millis(100));
        n += 1;
    }
    for waiting in waiting {
        let response = waiting.join().expect("an answer, and a clean end");
        assert_eq!(response.status, 408);
        check(&response, false);
    }
}

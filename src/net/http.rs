//! HTTP, as far as the upgrade: from a request head to an answer.
//!
//! Owns: PROTOCOL.md's "Before the upgrade", the routes, and who may open a WebSocket from where (Origin). Refuses to know: connections, the
//! hub. It takes a head and gives bytes back; every answer but the upgrade ends the connection.

use tungstenite::error::ProtocolError;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::header::{CONNECTION, HeaderName, HeaderValue, ORIGIN, UPGRADE};
use tungstenite::http::{Method, Uri};

use crate::limits;
use crate::page;

/// What a request head leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// A 101: the connection goes on as a WebSocket.
    Upgrade(Vec<u8>),
    /// Any other response: it is the connection's last.
    Respond(Vec<u8>),
}

/// Routes a complete request head (RFC 9112, section 3). `allowed_origins` may open a WebSocket beside the hub's own.
#[must_use]
pub fn route(head: &[u8], allowed_origins: &[String]) -> Route {
    match answer(head, allowed_origins).unwrap_or_else(Answer::Response) {
        Answer::Upgrade(response) => Route::Upgrade(response),
        // Whatever is said to a HEAD, it has no body (RFC 9110, section 9.3.2).
        Answer::Response(response) if head.starts_with(b"HEAD ") => {
            Route::Respond(response.without_body().into_bytes())
        }
        Answer::Response(response) => Route::Respond(response.into_bytes()),
    }
}

enum Answer {
    Upgrade(Vec<u8>),
    Response(Response),
}

/// Every place is taken, or every place for one address.
#[must_use]
pub fn full(for_address: bool) -> Vec<u8> {
    let text = if for_address {
        "此地址的连接数已达上限,请稍后再试。\nToo many connections from this address. Please try again in a moment.\n"
    } else {
        "人满了,请稍后再试。\nEvery seat is taken. Please try again in a moment.\n"
    };
    Response::text("503 Service Unavailable", text).header("Retry-After", "5").into_bytes()
}

/// The head did not come in time.
#[must_use]
pub fn head_too_late() -> Vec<u8> {
    Response::text("408 Request Timeout", "The request did not arrive in time.\n").into_bytes()
}

/// The head is longer than [`limits::HEAD_BYTES`].
#[must_use]
pub fn head_too_long() -> Vec<u8> {
    Response::text("431 Request Header Fields Too Large", "The request's header is too long.\n").into_bytes()
}

fn answer(head: &[u8], allowed_origins: &[String]) -> Result<Answer, Response> {
    let mut fields = [httparse::EMPTY_HEADER; limits::HEAD_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            let text = "The request has too many header fields.\n";
            return Err(Response::text("431 Request Header Fields Too Large", text));
        }
        _ => return Err(bad("This is not an HTTP/1.1 request.\n")),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(bad("This is not an HTTP/1.1 request.\n"));
    };
    let host = host(parsed.headers, version)?;
    let path = path(target)?;
    let wants_upgrade = method == "GET" && field(parsed.headers, "Upgrade").any(|value| names(value, "websocket"));
    if path == "/ws" || path == "/" && wants_upgrade {
        if method != "GET" {
            return Err(
                Response::text("405 Method Not Allowed", "Only GET opens a WebSocket.\n").header("Allow", "GET")
            );
        }
        check_origin(parsed.headers, host, allowed_origins)?;
        return upgrade(parsed.headers, target, version);
    }
    let response = match path {
        "/healthz" => Response::text("200 OK", "ok"),
        _ => match page::find(path) {
            Some(asset) => Response::new("200 OK", asset.content_type, asset.body)
                .header("Content-Security-Policy", page::CONTENT_SECURITY_POLICY)
                .header("Referrer-Policy", "no-referrer")
                .header("Cache-Control", "no-cache"),
            None => return Err(Response::text("404 Not Found", "There is nothing here. 这里什么也没有。\n")),
        },
    };
    match method {
        "GET" | "HEAD" => Ok(Answer::Response(response)),
        _ => Err(Response::text("405 Method Not Allowed", "Only GET and HEAD are known here.\n")
            .header("Allow", "GET, HEAD")),
    }
}

/// The one `Host` of a request (RFC 9112, section 3.2); HTTP/1.0 may have none.
fn host<'a>(fields: &'a [httparse::Header<'a>], version: u8) -> Result<&'a str, Response> {
    let mut hosts = field(fields, "Host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host),
        (None, _) if version == 0 => Ok(""),
        (None, _) => Err(bad("The request has no Host.\n")),
        (Some(_), Some(_)) => Err(bad("The request has more than one Host.\n")),
    }
}

/// The path of an origin-form or absolute-form target, without its query.
fn path(target: &str) -> Result<&str, Response> {
    let path = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None if target.starts_with('/') => target,
        None => return Err(bad("The request's target is not a path.\n")),
    };
    Ok(path.split(['?', '#']).next().unwrap_or(path))
}

fn field<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let of_name = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    // A value that is not ASCII names nothing that we look for.
    of_name.map(|field| std::str::from_utf8(field.value).unwrap_or("?").trim())
}

/// Whether a list of tokens has this one.
fn names(list: &str, token: &str) -> bool {
    list.split(',').any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn bad(text: &'static str) -> Response {
    Response::text("400 Bad Request", text)
}

/// A browser says where its page is from; it must be from here, or from where the operator allows. Native clients say nothing.
fn check_origin(fields: &[httparse::Header], host: &str, allowed_origins: &[String]) -> Result<(), Response> {
    for origin in field(fields, ORIGIN.as_str()) {
        let own = parts_of(origin).is_some_and(|(scheme, authority)| {
            with_port(authority, scheme).eq_ignore_ascii_case(&with_port(host, scheme))
        });
        let listed = || allowed_origins.iter().any(|allowed| same_origin(allowed, origin));
        if !own && !listed() {
            let text = "A page from another site may not connect here. 不允许其他网站的页面连接。\n";
            return Err(Response::text("403 Forbidden", text));
        }
    }
    Ok(())
}

fn parts_of(origin: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    known.then_some((scheme, authority))
}

fn same_origin(one: &str, other: &str) -> bool {
    match (parts_of(one), parts_of(other)) {
        (Some((scheme, authority)), Some((other_scheme, other_authority))) => {
            scheme.eq_ignore_ascii_case(other_scheme)
                && with_port(authority, scheme).eq_ignore_ascii_case(&with_port(other_authority, scheme))
        }
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Host and port, the scheme's own port filled in. A browser leaves it out of both Origin and Host.
fn with_port(authority: &str, scheme: &str) -> String {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    if authority[after_host..].contains(':') {
        return authority.to_owned();
    }
    let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    format!("{authority}:{port}")
}

fn upgrade(fields: &[httparse::Header], target: &str, version: u8) -> Result<Answer, Response> {
    if version == 0 {
        return Err(bad("A WebSocket needs HTTP/1.1.\n"));
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = target.parse::<Uri>().map_err(|_| bad("The request's target is not a path.\n"))?;
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(bad("The request's header is not HTTP.\n")) };
        request.headers_mut().append(name, value);
    }
    // The library reads the first line of each; a list may be written in several (RFC 9110, section 5.3).
    for (name, token) in [(CONNECTION, "Upgrade"), (UPGRADE, "websocket")] {
        if field(fields, name.as_str()).any(|value| names(value, token)) {
            request.headers_mut().insert(name, HeaderValue::from_static(token));
        }
    }
    match create_response(&request) {
        Ok(response) => {
            let mut bytes = Vec::with_capacity(160);
            // A vector takes everything, and a response of the library's own making has only plain values.
            write_response(&mut bytes, &response).map_err(|_| bad("The request's header is not HTTP.\n"))?;
            Ok(Answer::Upgrade(bytes))
        }
        Err(tungstenite::Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        )) => Err(Response::text("426 Upgrade Required", "This is where WebSockets (version 13) are opened.\n")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")),
        Err(_) => Err(bad("This is not a WebSocket handshake (RFC 6455, section 4.2.1).\n")),
    }
}

/// A response, which is the connection's last.
struct Response {
    head: String,
    body: &'static [u8],
}

impl Response {
    fn new(status: &'static str, content_type: &str, body: &'static [u8]) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
             X-Content-Type-Options: nosniff\r\n",
            body.len()
        );
        Response { head, body }
    }

    fn text(status: &'static str, text: &'static str) -> Self {
        Response::new(status, "text/plain; charset=utf-8", text.as_bytes())
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(name);
        self.head.push_str(": ");
        self.head.push_str(value);
        self.head.push_str("\r\n");
        self
    }

    fn without_body(self) -> Self {
        Response { body: b"", ..self }
    }

    fn into_bytes(self) -> Vec<u8> {
        // Upgrade is named in Connection wherever it is sent (RFC 9110, section 7.8).
        let connection = if self.head.contains("\r\nUpgrade: ") { "Upgrade, close" } else { "close" };
        let Response { head, body } = self.header("Connection", connection);
        [head.as_bytes(), b"\r\n", body].concat()
    }
}

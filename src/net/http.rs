//! HTTP, as far as the upgrade: from a request head to an answer.
//!
//! Owns: PROTOCOL.md's "Before the upgrade", the routes, and what need not be sent again (RFC 9110, section 13). Refuses to know: connections, the
//! hub, who may ask for what (`access`), and how a WebSocket is opened (`handshake`). It takes a head and gives bytes back; every answer but the
//! upgrade ends the connection.

use std::net::{IpAddr, SocketAddr};

use super::access::{check_host, check_metrics, check_origin};
use super::fields::{field, names};
use super::handshake;
use super::refusals::Refusal;
use super::response::Response;
use super::target::{self, Target};
use crate::host::addresses;
use crate::host::metrics::{self, Access};
use crate::limits;
use crate::page::qr::Qr;
use crate::page::{self, Asset};
use crate::wire::reply::json;

/// What an answer may depend on beside the request.
#[derive(Clone, Debug)]
pub struct Site {
    /// Origins that may open a WebSocket beside the hub's own.
    pub allowed_origins: Vec<String>,
    /// Names by which it may be asked for, beside those of its own network, which every hub answers to: in lower case.
    pub names: Vec<String>,
    /// Where the hub listens, with real ports. [`super::Server`] says so once it does.
    pub bound: Vec<SocketAddr>,
    /// This is what is said over TLS.
    pub secure: bool,
    /// How to get from plain HTTP to TLS, where the hub speaks it.
    pub trust: Option<Trust>,
    /// Who may see `/metrics`.
    pub metrics: Access,
    /// Tells the machine's addresses. It is called when an answer needs them, since they come and go, and for no other.
    pub machine: fn() -> Vec<IpAddr>,
}

impl Site {
    /// What is allowed already of the kind that was refused.
    pub(super) fn listed(&self, refusal: &Refusal) -> &[String] {
        match refusal {
            Refusal::Host { .. } => &self.names,
            Refusal::Origin { .. } => &self.allowed_origins,
        }
    }
}

impl Default for Site {
    fn default() -> Self {
        let machine = addresses::of_machine;
        let (allowed_origins, names, bound) = (Vec::new(), Vec::new(), Vec::new());
        let metrics = Access::default();
        Site { allowed_origins, names, bound, secure: false, trust: None, metrics, machine }
    }
}

/// Who asks, and what is told to no other.
pub struct Asker<'a> {
    /// Where the connection comes from.
    pub address: IpAddr,
    /// Makes the text of `/metrics`. It is called where that is the answer.
    pub metrics: &'a dyn Fn() -> String,
}

/// What a device is told that is to trust the hub's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The port of `https`.
    pub port: u16,
    /// The certificate to trust, and its fingerprint; none where every device trusts it already.
    pub authority: Option<(String, String)>,
}

/// What a request head leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// A 101: the connection goes on as a WebSocket.
    Upgrade(Vec<u8>),
    /// Any other response: it is the connection's last.
    Respond(Vec<u8>),
    /// The same, to who may not be a page of ours: somebody should hear of it.
    Refuse(Vec<u8>, Refusal),
}

/// Routes a complete request head (RFC 9112, section 3).
#[must_use]
pub fn route(head: &[u8], site: &Site, asker: &Asker) -> Route {
    let mut response = match answer(head, site, asker).unwrap_or_else(Answer::Response) {
        Answer::Upgrade(response) => return Route::Upgrade(response),
        Answer::Response(response) => response,
    };
    let refusal = response.take_refusal();
    // Whatever is said to a HEAD, it has no body (RFC 9110, section 9.3.2).
    let response = if is_head(head) { response.without_body() } else { response };
    match refusal {
        Some(refusal) => Route::Refuse(response.into_bytes(), *refusal),
        None => Route::Respond(response.into_bytes()),
    }
}

/// Whether this is the head of a HEAD, even of one that can't be read any further. Empty lines before it mean nothing (RFC 9112, section 2.2).
fn is_head(head: &[u8]) -> bool {
    let start = head.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    head[start..].starts_with(b"HEAD ")
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

fn answer(head: &[u8], site: &Site, asker: &Asker) -> Result<Answer, Response> {
    let mut fields = [httparse::EMPTY_HEADER; limits::HEAD_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            let text = "The request has too many header fields.\n";
            return Err(Response::text("431 Request Header Fields Too Large", text));
        }
        _ => return Err(Response::bad("This is not an HTTP/1.1 request.\n")),
    }
    let (Some(method), Some(whole), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Response::bad("This is not an HTTP/1.1 request.\n"));
    };
    let host = host(parsed.headers, version)?;
    let target = Target::parse(whole).ok_or_else(|| Response::bad("The request's target is not a path.\n"))?;
    let host = target.authority.unwrap_or(host);
    let origins = || field(parsed.headers, "Origin");
    check_host(host, origins().next(), &site.names)?;
    let wants_upgrade = method == "GET" && field(parsed.headers, "Upgrade").any(|value| names(value, "websocket"));
    if target.path == "/ws" || target.path == "/" && wants_upgrade {
        if method != "GET" {
            return Err(
                Response::text("405 Method Not Allowed", "Only GET opens a WebSocket.\n").header("Allow", "GET")
            );
        }
        check_origin(origins(), host, &site.allowed_origins)?;
        return handshake::accept(parsed.headers, version).map(Answer::Upgrade);
    }
    let resource = match target.path {
        "/healthz" => Resource::Health,
        "/qr.svg" => Resource::Code,
        "/addresses.json" => Resource::Addresses,
        "/metrics" => {
            check_metrics(site.metrics, asker.address)?;
            Resource::Metrics
        }
        "/trust" if site.trust.is_some() => Resource::Trust,
        "/ca.pem" if authority(site).is_some() => Resource::Authority,
        path => match page::find(path) {
            Some(asset) => Resource::Asset(asset),
            None => return Err(Response::text("404 Not Found", "There is nothing here. 这里什么也没有。\n")),
        },
    };
    if method != "GET" && method != "HEAD" {
        return Err(Response::text("405 Method Not Allowed", "Only GET and HEAD are known here.\n")
            .header("Allow", "GET, HEAD"));
    }
    Ok(Answer::Response(match resource {
        Resource::Health => Response::text("200 OK", "ok"),
        Resource::Asset(asset) if has_already(parsed.headers, asset.etag) => {
            Response::not_modified().of_page().header("ETag", asset.etag)
        }
        Resource::Asset(asset) => {
            Response::new("200 OK", asset.content_type, asset.body).of_page().header("ETag", asset.etag)
        }
        Resource::Code => {
            Response::new("200 OK", "image/svg+xml", code(&target, host, site.secure)?.svg().into_bytes()).of_page()
        }
        Resource::Addresses => {
            let urls = json(&shown(site, target.authority.unwrap_or(host)));
            Response::new("200 OK", "application/json", format!("{{\"urls\":{urls}}}\n").into_bytes()).of_page()
        }
        Resource::Metrics => Response::new("200 OK", metrics::CONTENT_TYPE, (asker.metrics)().into_bytes())
            .header("Cache-Control", "no-store"),
        Resource::Trust => {
            Response::new("200 OK", page::TRUST.content_type, trust(site, &target, host)?.into_bytes()).of_page()
        }
        Resource::Authority => {
            let pem = authority(site).map_or("", |(pem, _)| pem).to_owned();
            Response::new("200 OK", "application/x-x509-ca-cert", pem.into_bytes()).of_page()
        }
    }))
}

/// What there is to GET.
enum Resource {
    Health,
    Asset(&'static Asset),
    Code,
    Addresses,
    Metrics,
    Trust,
    Authority,
}

fn authority(site: &Site) -> Option<&(String, String)> {
    site.trust.as_ref()?.authority.as_ref()
}

/// The page that says how a device comes to trust the hub: the address is the one by which this request came, but for scheme and port.
fn trust(site: &Site, target: &Target, host: &str) -> Result<String, Response> {
    let asked = target.authority.unwrap_or(host);
    if !target::is_authority(asked) {
        return Err(Response::bad("The request's Host is no name or address that leads here.\n"));
    }
    let (name, _) = target::parts(asked);
    let address = match site.trust.as_ref().map_or(443, |trust| trust.port) {
        443 => format!("https://{name}/"),
        port => format!("https://{name}:{port}/"),
    };
    // It may be broken where a phone is narrower than it is long.
    let fingerprint = authority(site).map_or("–".to_owned(), |(_, fingerprint)| fingerprint.replace(':', ":<wbr>"));
    // Neither has a mark of HTML in it: the one is checked above, the other is digits.
    Ok(page::trust().replace("{address}", &address).replace("{fingerprint}", &fingerprint))
}

type Urls = fn(&[SocketAddr], &[IpAddr]) -> Vec<String>;

/// Where to send others: the addresses by which they reach the hub. Where the machine tells of none, which may be since it tells the hub nothing, the one
/// by which this request came does as well, unless nobody else gets there; and then there is but what there is.
fn shown(site: &Site, asked: &str) -> Vec<String> {
    let machine = (site.machine)();
    let (for_others, all): (Urls, Urls) = if site.secure {
        (addresses::secure_urls_for_others, addresses::secure_urls)
    } else {
        (addresses::urls_for_others, addresses::urls)
    };
    let for_others = for_others(&site.bound, &machine);
    if !for_others.is_empty() {
        return for_others;
    }
    let listens_everywhere = site.bound.iter().any(|address| address.ip().is_unspecified());
    if listens_everywhere && target::is_authority(asked) && !target::is_loopback(asked) {
        return vec![format!("{}://{asked}", if site.secure { "https" } else { "http" })];
    }
    all(&site.bound, &machine)
}

/// The code that leads to the page, by the host by which this request came, and in a room where it names one.
fn code(target: &Target, host: &str, secure: bool) -> Result<Qr, Response> {
    if host.is_empty() {
        return Err(Response::bad("The request has no Host that a code could lead to.\n"));
    }
    let mut url = format!("{}://{host}/", if secure { "https" } else { "http" });
    if let Some(room) = room(target)? {
        url += "?room=";
        url += &target::encoded(&room);
    }
    // Both are far shorter than what a code can say.
    Qr::of(&url).ok_or_else(|| Response::bad("The address is too long for a code.\n"))
}

/// The room that a request names, by the rules of a join's `roomNumber`.
fn room(target: &Target) -> Result<Option<String>, Response> {
    let Some(value) = target.parameter("room") else { return Ok(None) };
    let value = value.map_err(|_| Response::bad("The room has a % without two hexadecimal digits behind it.\n"))?;
    let room = String::from_utf8(value).map_err(|_| Response::bad("The room is not UTF-8.\n"))?;
    match room.len() {
        0 => Err(Response::bad("The room is empty.\n")),
        1..=limits::ID_BYTES => Ok(Some(room)),
        _ => Err(Response::bad(format!("The room is longer than {} bytes.\n", limits::ID_BYTES))),
    }
}

/// Whether the client has what it asks for (RFC 9110, section 13.1.2): If-None-Match has the tag, weak or strong, or `*`. What is no list of tags
/// says nothing.
fn has_already(fields: &[httparse::Header], etag: &str) -> bool {
    field(fields, "If-None-Match").any(|list| list == "*" || has_tag(list, etag))
}

/// Whether a list of entity tags has this one. A tag may have commas in it.
fn has_tag(list: &str, etag: &str) -> bool {
    let mut rest = list.trim_start_matches([' ', '\t', ',']);
    while let Some((opaque, behind)) =
        rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"').and_then(|tag| tag.split_once('"'))
    {
        if etag.trim_matches('"') == opaque {
            return true;
        }
        let next = behind.trim_start_matches([' ', '\t']);
        // Behind a tag there is a comma or the end.
        rest = if next.starts_with(',') { next.trim_start_matches([' ', '\t', ',']) } else { "" };
    }
    false
}

/// The one `Host` of a request (RFC 9112, section 3.2); HTTP/1.0 may have none.
fn host<'a>(fields: &'a [httparse::Header<'a>], version: u8) -> Result<&'a str, Response> {
    let mut hosts = field(fields, "Host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Ok(host),
        (None, _) if version == 0 => Ok(""),
        (None, _) => Err(Response::bad("The request has no Host.\n")),
        (Some(_), Some(_)) => Err(Response::bad("The request has more than one Host.\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hub on all addresses of a board in a LAN.
    fn site() -> Site {
        let machine = || ["127.0.0.1", "192.168.1.5", "fe80::1", "fd00::5"].map(|text| text.parse().unwrap()).into();
        Site { bound: vec!["[::]:9000".parse().unwrap()], machine, ..Site::default() }
    }

    /// A request from elsewhere, or from this machine.
    fn route_from(address: &str, head: &[u8], site: &Site) -> Route {
        let metrics = || "figures\n".to_owned();
        super::route(head, site, &Asker { address: address.parse().unwrap(), metrics: &metrics })
    }

    fn route(head: &[u8], site: &Site) -> Route {
        route_from("192.168.1.9", head, site)
    }

    #[test]
    fn the_metrics_are_for_this_machine_unless_it_is_told_otherwise() {
        let get = |access: Access, address: &str, host: &str| {
            let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
            match route_from(address, head.as_bytes(), &Site { metrics: access, ..site() }) {
                Route::Respond(bytes) | Route::Refuse(bytes, _) => String::from_utf8(bytes).unwrap(),
                route @ Route::Upgrade(_) => panic!("{route:?}"),
            }
        };
        for own in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            let shown = get(Access::Loopback, own, "localhost:9000");
            assert!(shown.starts_with("HTTP/1.1 200 OK\r\n") && shown.ends_with("\r\n\r\nfigures\n"), "{own}: {shown}");
            assert!(shown.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{shown}");
            assert!(shown.contains("\r\nCache-Control: no-store\r\n"), "{shown}");
            let off = get(Access::Off, own, "localhost:9000");
            assert!(off.starts_with("HTTP/1.1 404 ") && off.contains("http.metrics = \"loopback\""), "{off}");
            // A page whose name leads here (DNS rebinding) is on this machine too.
            let rebound = get(Access::Loopback, own, "evil.example");
            assert!(rebound.starts_with("HTTP/1.1 403 ") && rebound.contains("http.names"), "{rebound}");
        }
        for other in ["192.168.1.9", "::ffff:192.168.1.9", "fe80::1", "::", "0.0.0.0"] {
            let refused = get(Access::Loopback, other, "localhost:9000");
            assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("http.metrics = \"any\""), "{refused}");
            assert!(get(Access::Any, other, "board.local").ends_with("\r\n\r\nfigures\n"), "{other}");
        }
    }

    #[test]
    fn the_metrics_are_made_for_who_gets_them() {
        let never = || panic!("they were made");
        let asker = |address: &str| Asker { address: address.parse().unwrap(), metrics: &never };
        let refused = super::route(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", &site(), &asker("10.0.0.1"));
        assert!(matches!(refused, Route::Respond(bytes) if bytes.starts_with(b"HTTP/1.1 403 ")));
        let post = super::route(b"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", &site(), &asker("127.0.0.1"));
        assert!(matches!(post, Route::Respond(bytes) if bytes.starts_with(b"HTTP/1.1 405 ")));
    }

    /// The head and the body of an answer.
    #[track_caller]
    fn respond(site: &Site, target: &str, host: &str) -> (String, String) {
        match route(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), site) {
            Route::Respond(bytes) => {
                let text = String::from_utf8(bytes).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                (head.to_owned(), body.to_owned())
            }
            route => panic!("{target}: {route:?}"),
        }
    }

    #[track_caller]
    fn assert_leads(site: &Site, target: &str, host: &str, url: &str) {
        let (head, body) = respond(site, target, host);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{target} {host}: {head} {body}");
        assert!(body == Qr::of(url).unwrap().svg(), "{target} {host}: not {url}");
    }

    #[test]
    fn a_code_leads_to_where_the_page_was_found() {
        for host in ["board.local:9000", "board", "10.1.2.3:80", "[fd00::7]:9000", "localhost:9000"] {
            assert_leads(&site(), "/qr.svg", host, &format!("http://{host}/"));
            assert_leads(&site(), "/qr.svg?a=b&room=E00001&room=no", host, &format!("http://{host}/?room=E00001"));
        }
        let encoded = "http://board/?room=%E4%B8%89%20%2B%26%3D";
        assert_leads(&site(), "/qr.svg?room=%E4%B8%89+%2B%26=", "board", encoded);
        // Whom an absolute target asks stands above the Host.
        assert_leads(&site(), "http://board:1/qr.svg?room=a", "other:2", "http://board:1/?room=a");
    }

    #[test]
    fn addresses_are_those_that_others_reach() {
        let body = |site| respond(&site, "/addresses.json", "a").1;
        assert_eq!(body(site()), "{\"urls\":[\"http://192.168.1.5:9000\",\"http://[fd00::5]:9000\"]}\n");
        let closed = Site { bound: vec!["127.0.0.1:80".parse().unwrap()], ..site() };
        assert_eq!(body(closed), "{\"urls\":[\"http://127.0.0.1\"]}\n");
    }

    #[test]
    fn where_the_machine_tells_of_none_they_are_the_one_that_was_asked() {
        let unknowing = Site { machine: Vec::new, ..site() };
        let body = |host| respond(&unknowing, "/addresses.json", host).1;
        for host in ["192.168.1.5:9000", "board.local", "[fd00::5]"] {
            assert_eq!(body(host), format!("{{\"urls\":[\"http://{host}\"]}}\n"));
        }
        // Nobody else gets to these, nor to what is no host at all.
        for host in ["localhost:9000", "127.0.0.1:9000", "[::1]:9000", "[::ffff:127.0.0.1]", "LocalHost.", ""] {
            assert_eq!(body(host), "{\"urls\":[\"http://localhost:9000\"]}\n", "{host}");
        }
        let secure = Site { secure: true, ..unknowing.clone() };
        assert_eq!(respond(&secure, "/addresses.json", "board").1, "{\"urls\":[\"https://board\"]}\n");
        let closed = Site { bound: vec!["127.0.0.1:80".parse().unwrap()], ..unknowing };
        assert_eq!(respond(&closed, "/addresses.json", "board").1, "{\"urls\":[\"http://127.0.0.1\"]}\n");
    }

    #[test]
    fn the_machine_is_not_asked_for_anything_else() {
        let site = Site { machine: || panic!("it was asked"), ..site() };
        for target in ["/", "/healthz", "/app.js", "/nothing", "/qr.svg", "/qr.svg?room=a", "/ws"] {
            respond(&site, target, "board:9000");
        }
        // Nor by who asks wrongly.
        for target in ["/qr.svg?room=", "/addresses.jso"] {
            respond(&site, target, "board:9000");
        }
        let post = b"POST /addresses.json HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(route(post, &site), Route::Respond(bytes) if bytes.starts_with(b"HTTP/1.1 405 ")));
    }

    #[test]
    fn a_head_is_one_behind_empty_lines_too() {
        let body = |head: &str| match route(head.as_bytes(), &site()) {
            Route::Respond(bytes) => String::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned(),
            other => panic!("{head:?}: {other:?}"),
        };
        for empty in ["", "\r\n", "\n", "\r\n\r\n"] {
            assert_eq!(body(&format!("{empty}GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")), "ok", "{empty:?}");
            assert_eq!(body(&format!("{empty}HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n")), "", "{empty:?}");
        }
    }

    #[test]
    fn nothing_is_upgraded_that_does_not_list_it() {
        for (connection, upgrades) in [
            ("Upgrade", true),
            ("keep-alive, Upgrade", true),
            ("upgrade,close", true),
            ("Upgrade HTTP/1.0", false),
            ("keep-alive Upgrade", false),
            ("close", false),
        ] {
            let head = format!(
                "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            match route(head.as_bytes(), &site()) {
                Route::Upgrade(_) => assert!(upgrades, "{connection}"),
                Route::Respond(response) => {
                    assert!(!upgrades && response.starts_with(b"HTTP/1.1 426 "), "{connection}");
                }
                Route::Refuse(..) => panic!("{connection}"),
            }
        }
    }

    /// The longest that a request can ask for fits into a code.
    #[test]
    fn a_code_is_never_too_long() {
        let host = "a".repeat(254) + ":65535";
        let room = "%00".repeat(limits::ID_BYTES);
        assert_leads(&site(), &format!("/qr.svg?room={room}"), &host, &format!("http://{host}/?room={room}"));
    }

    #[test]
    fn a_tag_is_found_in_a_list() {
        for list in [
            "\"a\"",
            "W/\"a\"",
            "\"b\", \"a\"",
            "\"b\",\"a\"",
            " , \"b\"\t,, W/\"c\" ,\"a\" ,",
            "\"\", \"a\"",
            "\"b,c\", \"a\"",
            "\"W/\", \"a\", d",
        ] {
            assert!(has_tag(list, "\"a\""), "{list}");
        }
        for list in [
            "",
            ",",
            "a",
            "\"a",
            "a\"",
            "'a'",
            "\"A\"",
            "\"b, \"a\"",
            "w/\"a\"",
            "W/ \"a\"",
            "\"b\" \"a\"",
            "\"b\"; \"a\"",
            "b, \"a\"",
            "\"a \"",
            "\"aa\"",
            "*",
        ] {
            assert!(!has_tag(list, "\"a\""), "{list}");
        }
    }
}

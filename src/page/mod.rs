//! The classroom page, embedded in the binary: a hub needs no other server beside it, and no file.
//!
//! Owns: the page's files with their paths, types and tags, what the page may load and reach, and the QR code that leads to it.
//! Refuses to know: HTTP (who asks, and with which headers an answer goes out), and the wire, which
//! only the page's own script speaks.

pub mod qr;
mod strip;

use strip::{Stripped, Syntax, strip};

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Where it is found, `/app.js` for example. The page itself is at `/`.
    pub path: &'static str,
    /// The `Content-Type` to serve it with.
    pub content_type: &'static str,
    /// What is served of the file: all but its comments and its indentation.
    pub body: &'static [u8],
    /// A strong entity tag of the body, quotes included (RFC 9110, section 8.8.3): another body has another.
    pub etag: &'static str,
}

/// The `Content-Security-Policy` to serve every [`Asset`] with: everything from this hub, nothing
/// inline, and from elsewhere pictures alone, over https: a member's `headImgUrl` may lie on the school's own server.
///
/// `'self'` ought to cover a WebSocket to the same host, and does in today's browsers; older ones
/// (Safari until 2022) read it as `http:` alone and would refuse the one connection that the page is
/// for. Tablets that old are what classrooms have. So `connect-src` names `ws:` and `wss:` whole: naming the host
/// would take a header made for each request, and a script that could abuse it cannot get onto the
/// page in the first place.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' https:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'";

const HTML: (&str, Syntax) = ("text/html; charset=utf-8", Syntax::Markup);
const CSS: (&str, Syntax) = ("text/css; charset=utf-8", Syntax::Style);
const SCRIPT: (&str, Syntax) = ("text/javascript; charset=utf-8", Syntax::Script);
const SVG: (&str, Syntax) = ("image/svg+xml", Syntax::Markup);

/// An [`Asset`] made of a file beside this one, while the hub is compiled.
macro_rules! asset {
    ($path:literal, $kind:ident, $file:literal) => {{
        const SOURCE: &[u8; include_bytes!($file).len()] = include_bytes!($file);
        const STRIPPED: Stripped<{ SOURCE.len() }> = strip(SOURCE, $kind.1);
        // Of its own length, so that the binary has no more of the file than that.
        static BODY: [u8; STRIPPED.left().len()] = *STRIPPED.left().first_chunk().expect("it has this length");
        const TAG: [u8; 18] = tag(STRIPPED.left());
        const ETAG: &str = match std::str::from_utf8(&TAG) {
            Ok(text) => text,
            Err(_) => panic!("a tag is ASCII"),
        };
        Asset { path: $path, content_type: $kind.0, body: &BODY, etag: ETAG }
    }};
}

static ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/join", HTML, "join.html"),
    asset!("/style.css", CSS, "style.css"),
    asset!("/app.js", SCRIPT, "app.js"),
    asset!("/attendance.js", SCRIPT, "attendance.js"),
    asset!("/element.js", SCRIPT, "element.js"),
    asset!("/hands.js", SCRIPT, "hands.js"),
    asset!("/hub.js", SCRIPT, "hub.js"),
    asset!("/join.js", SCRIPT, "join.js"),
    asset!("/memory.js", SCRIPT, "memory.js"),
    asset!("/outbox.js", SCRIPT, "outbox.js"),
    asset!("/people.js", SCRIPT, "people.js"),
    asset!("/poll.js", SCRIPT, "poll.js"),
    asset!("/receipts.js", SCRIPT, "receipts.js"),
    asset!("/room.js", SCRIPT, "room.js"),
    asset!("/standing.js", SCRIPT, "standing.js"),
    asset!("/talk.js", SCRIPT, "talk.js"),
    asset!("/words.js", SCRIPT, "words.js"),
    asset!("/icon.svg", SVG, "icon.svg"),
];

/// How a device comes to trust the hub's certificate. It is asked for once, if at all, and so is no part of the page that a class loads.
pub static TRUST: Asset = asset!("/trust", HTML, "trust.html");

/// The text of [`TRUST`], in which `{address}` stands for the hub's address over TLS, and `{fingerprint}` for the certificate's.
#[must_use]
pub fn trust() -> &'static str {
    // It is compiled from a file that a test reads as text.
    std::str::from_utf8(TRUST.body).unwrap_or_default()
}

/// The file at `path`, which is a path alone: whatever followed a `?` is the page's own affair.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Every file of the page.
#[must_use]
pub fn assets() -> &'static [Asset] {
    ASSETS
}

/// An entity tag: FNV-1a of 64 bits. It tells versions of one file apart, which nobody makes alike on purpose.
const fn tag(body: &[u8]) -> [u8; 18] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut n = 0;
    while n < body.len() {
        hash = (hash ^ body[n] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        n += 1;
    }
    let mut tag = [b'"'; 18];
    let mut digit = 0;
    while digit < 16 {
        tag[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 15];
        digit += 1;
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that takes longer to load than to read is no page for a slow board.
    const TOTAL_BYTES: usize = 60 * 1024;

    fn text(path: &str) -> &'static str {
        let asset = find(path).unwrap_or_else(|| panic!("{path} is not served"));
        std::str::from_utf8(asset.body).unwrap()
    }

    fn of_kind(kind: (&'static str, Syntax)) -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(move |asset| asset.content_type == kind.0)
    }

    fn scripts() -> impl Iterator<Item = &'static Asset> {
        of_kind(SCRIPT)
    }

    /// What stands between each `before` and the `after` that follows it.
    fn between<'a>(text: &'a str, before: &'a str, after: char) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).map(move |rest| rest.split(after).next().unwrap_or_default())
    }

    #[test]
    fn whatever_the_page_asks_for_is_served() {
        for page in of_kind(HTML) {
            let html = text(page.path);
            let named: Vec<_> = between(html, "src=\"", '"').chain(between(html, "href=\"", '"')).collect();
            assert!(named.len() >= 3, "{}: {named:?}", page.path);
            for path in named {
                let path = path.split(['?', '#']).next().unwrap_or_default();
                assert!(find(path).is_some() || path == "/qr.svg", "{} asks for {path}", page.path);
            }
        }
        for script in scripts() {
            for module in between(text(script.path), " from '.", '\'') {
                assert!(find(module).is_some(), "{} imports {module}", script.path);
            }
        }
    }

    #[test]
    fn nothing_else_is_served() {
        for path in ["", "/index.html", "/ws", "/mod.rs", "/app.js?", "app.js", "//"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn it_is_small() {
        let total: usize = ASSETS.iter().map(|asset| asset.body.len()).sum();
        println!("{total} bytes");
        assert!(total <= TOTAL_BYTES, "{total} bytes");
    }

    /// Beside the sum above: only who is about to trust the hub loads it, once.
    #[test]
    fn the_page_about_trust_is_small_and_like_the_others() {
        let html = trust();
        println!("{} bytes", html.len());
        assert!((1..=4096).contains(&html.len()), "{} bytes", html.len());
        assert!(html.contains("{address}") && html.contains("{fingerprint}"));
        assert!(!html.contains("<style") && !html.contains("style=\"") && !html.contains("<script"));
        for path in between(html, "src=\"", '"').chain(between(html, "href=\"", '"')) {
            assert!(find(path).is_some() || ["/ca.pem", "{address}"].contains(&path), "it asks for {path}");
        }
    }

    #[test]
    fn a_body_has_a_tag_of_its_own() {
        // The tables of FNV's authors.
        assert_eq!(&tag(b""), b"\"cbf29ce484222325\"");
        assert_eq!(&tag(b"a"), b"\"af63dc4c8601ec8c\"");
        assert_eq!(&tag(b"foobar"), b"\"85944171f73967e8\"");
        for asset in ASSETS {
            assert_eq!(asset.etag.as_bytes(), &tag(asset.body), "{}", asset.path);
            let alike = ASSETS.iter().filter(|other| other.etag == asset.etag).count();
            assert_eq!(alike, 1, "{}", asset.path);
        }
    }

    #[test]
    fn the_policy_begins_with_nothing_but_ours() {
        assert!(CONTENT_SECURITY_POLICY.starts_with("default-src 'self'; "));
        assert!(!CONTENT_SECURITY_POLICY.contains("unsafe") && !CONTENT_SECURITY_POLICY.contains('*'));
        // Pictures are the one thing that may come from elsewhere.
        let elsewhere = CONTENT_SECURITY_POLICY.split("; ").filter(|directive| directive.contains("https:"));
        assert_eq!(elsewhere.collect::<Vec<_>>(), ["img-src 'self' https:"]);
    }

    /// What the policy would refuse must not be there: it would work in no browser.
    #[test]
    fn nothing_is_inline_and_nothing_is_foreign() {
        for html in of_kind(HTML).map(|page| text(page.path)) {
            assert!(!html.contains("<style") && !html.contains("style=\""));
            for handler in [" onclick=", " onload=", " onerror=", " onsubmit=", " oninput="] {
                assert!(!html.contains(handler), "an inline handler:{handler}");
            }
            for script in html.split("<script").skip(1) {
                assert!(script.contains("src=\"/"), "an inline script");
            }
        }
        for asset in ASSETS {
            let text = text(asset.path).replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http://", "https://", "@import", "url("] {
                assert!(!text.contains(foreign), "{} has {foreign}", asset.path);
            }
        }
    }

    /// The one way in for what others write is `textContent`.
    #[test]
    fn no_script_makes_markup_of_text() {
        for script in scripts() {
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "DOMParser",
                "createContextualFragment",
            ] {
                assert!(!text(script.path).contains(sink), "{} uses {sink}", script.path);
            }
        }
    }

    #[test]
    fn every_word_on_the_page_is_in_the_list() {
        let words = text("/words.js");
        for html in of_kind(HTML).map(|page| text(page.path)) {
            for key in between(html, "data-say=\"", '"').chain(between(html, "data-label=\"", '"')).chain(between(
                html,
                "data-hint=\"",
                '"',
            )) {
                assert!(words.contains(&format!("\n{key}: ['")), "words.js lacks {key}");
            }
        }
    }

    /// Its bytes are few: no word stays behind that nobody says any more.
    #[test]
    fn every_word_in_the_list_is_said() {
        let others = ASSETS.iter().filter(|asset| asset.path != "/words.js").map(|asset| text(asset.path));
        let others = others.collect::<Vec<_>>().concat();
        // What a word begins or ends with, where the rest is put to it.
        let parts = ["state_", "closed_", "left_", "_missing"];
        let keys = text("/words.js").lines().filter_map(|line| line.trim_start().split_once(": ['"));
        for key in keys.map(|(key, _)| key) {
            let whole = others.contains(&format!("'{key}'")) || others.contains(&format!("\"{key}\""));
            let built = |part: &&str| key.starts_with(part) || key.ends_with(part);
            assert!(whole || parts.iter().any(built), "nobody says {key}");
        }
    }
}

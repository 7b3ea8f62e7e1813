//! The classroom page, embedded in the binary: a hub needs no other server beside it, and no file.
//!
//! Owns: the page's files with their paths and types, and what the page may load and reach.
//! Refuses to know: HTTP (who asks, and with which headers an answer goes out), and the wire, which
//! only the page's own script speaks.

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Where it is found, `/app.js` for example. The page itself is at `/`.
    pub path: &'static str,
    /// The `Content-Type` to serve it with.
    pub content_type: &'static str,
    /// The file.
    pub body: &'static [u8],
}

/// The `Content-Security-Policy` to serve every [`Asset`] with: everything from this hub, nothing
/// inline, nothing from elsewhere.
///
/// `'self'` ought to cover a WebSocket to the same host, and does in today's browsers; older ones
/// (Safari until 2022) read it as `http:` alone and would refuse the one connection that the page is
/// for. Tablets that old are what classrooms have. So `connect-src` names `ws:` and `wss:` whole: naming the host
/// would take a header made for each request, and a script that could abuse it cannot get onto the
/// page in the first place.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static ASSETS: [Asset; 8] = [
    Asset { path: "/", content_type: HTML, body: include_bytes!("index.html") },
    Asset { path: "/style.css", content_type: CSS, body: include_bytes!("style.css") },
    Asset { path: "/app.js", content_type: SCRIPT, body: include_bytes!("app.js") },
    Asset { path: "/hub.js", content_type: SCRIPT, body: include_bytes!("hub.js") },
    Asset { path: "/outbox.js", content_type: SCRIPT, body: include_bytes!("outbox.js") },
    Asset { path: "/receipts.js", content_type: SCRIPT, body: include_bytes!("receipts.js") },
    Asset { path: "/words.js", content_type: SCRIPT, body: include_bytes!("words.js") },
    Asset { path: "/icon.svg", content_type: SVG, body: include_bytes!("icon.svg") },
];

/// The file at `path`, which is a path alone: whatever followed a `?` is the page's own affair.
#[must_use]
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
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

    fn scripts() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(|asset| asset.content_type == SCRIPT)
    }

    /// What stands between each `before` and the `after` that follows it.
    fn between<'a>(text: &'a str, before: &'a str, after: char) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).map(move |rest| rest.split(after).next().unwrap_or_default())
    }

    #[test]
    fn whatever_the_page_asks_for_is_served() {
        let html = text("/");
        let named: Vec<_> = between(html, "src=\"", '"').chain(between(html, "href=\"", '"')).collect();
        assert!(named.len() >= 3, "{named:?}");
        for path in named {
            assert!(find(path).is_some(), "index.html asks for {path}");
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
        assert!(total < TOTAL_BYTES, "{total} bytes");
    }

    /// What the policy would refuse must not be there: it would work in no browser.
    #[test]
    fn nothing_is_inline_and_nothing_is_foreign() {
        let html = text("/");
        assert!(!html.contains("<style") && !html.contains("style=\""));
        for handler in [" onclick=", " onload=", " onerror=", " onsubmit=", " oninput="] {
            assert!(!html.contains(handler), "an inline handler:{handler}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.contains("src=\"/"), "an inline script");
        }
        for asset in &ASSETS {
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
        for key in between(text("/"), "data-say=\"", '"').chain(between(text("/"), "data-label=\"", '"')) {
            assert!(words.contains(&format!("\n  {key}: ['")), "words.js lacks {key}");
        }
    }
}

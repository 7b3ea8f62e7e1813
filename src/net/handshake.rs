//! The opening handshake (RFC 6455, section 4.2): from a request's header to a 101.
//!
//! Owns: what a request for a WebSocket must have, and the answer that makes it one. Refuses to know: routes, hosts, origins, and connections.

use httparse::Header;
use tungstenite::handshake::derive_accept_key;

use super::fields::{field, names};
use super::response::Response;

/// Everything of a 101 but its key, which comes behind it, and the end of the head.
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ";
const HEAD_END: &str = "\r\n\r\n";
/// SHA-1 in Base64.
const ACCEPT_KEY_BYTES: usize = 28;

/// A client's key: 16 bytes of its choice, in Base64 with padding (RFC 6455, section 4.1, number 7).
const NONCE_BYTES: usize = 16;

/// The 101 for a GET that asks for a WebSocket; else what is said to it instead. `version` is HTTP's minor version.
///
/// # Errors
///
/// A 400 where the request is of HTTP/1.0, or has no key that is one; a 426 where it lists no upgrade to a WebSocket, or another version than 13.
pub(super) fn accept(fields: &[Header], version: u8) -> Result<Vec<u8>, Response> {
    if version == 0 {
        return Err(Response::bad("A WebSocket needs HTTP/1.1.\n"));
    }
    // A list may be written in several lines (RFC 9110, section 5.3).
    let lists = |name, token| field(fields, name).any(|value| names(value, token));
    let is_upgrade = lists("Connection", "Upgrade") && lists("Upgrade", "websocket");
    if !is_upgrade || field(fields, "Sec-WebSocket-Version").next() != Some("13") {
        let text = "This is where WebSockets (version 13) are opened.\n";
        let response = Response::text("426 Upgrade Required", text);
        return Err(response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"));
    }
    let Some(key) = field(fields, "Sec-WebSocket-Key").next().filter(|key| is_key(key)) else {
        return Err(Response::bad("This is not a WebSocket handshake (RFC 6455, section 4.2.1).\n"));
    };
    let mut head = String::with_capacity(SWITCHING.len() + ACCEPT_KEY_BYTES + HEAD_END.len());
    head.push_str(SWITCHING);
    head.push_str(&derive_accept_key(key.as_bytes()));
    head.push_str(HEAD_END);
    Ok(head.into_bytes())
}

fn is_key(key: &str) -> bool {
    use base64ct::{Base64, Encoding as _};
    Base64::decode(key, &mut [0; NONCE_BYTES]).is_ok_and(|nonce| nonce.len() == NONCE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn accept_of(fields: &[(&str, &str)]) -> Result<String, String> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        accept(&fields, 1).map(text).map_err(|response| text(response.into_bytes()))
    }

    fn status(fields: &[(&str, &str)]) -> String {
        let answer = accept_of(fields).unwrap_or_else(|refused| refused);
        answer["HTTP/1.1 ".len()..][..3].to_owned()
    }

    #[test]
    fn the_answer_is_the_one_of_the_rfc() {
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        let answer = accept_of(&fields).unwrap();
        assert_eq!(
            answer,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
        assert_eq!(answer.capacity(), answer.len(), "its length was known");
        let parts = fields.map(|(name, value)| Header { name, value: value.as_bytes() });
        assert!(accept(&parts, 0).is_err(), "HTTP/1.0 has no upgrade");
    }

    #[test]
    fn a_list_may_be_in_several_lines_and_in_any_case() {
        let lines = [
            ("connection", "keep-alive"),
            ("CONNECTION", "x, UPGRADE"),
            ("upgrade", "h2c"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        assert_eq!(status(&lines), "101");
        for without in 0..lines.len() {
            let mut fields = lines.to_vec();
            fields.remove(without);
            let expected = match without {
                0 | 2 => "101",
                5 => "400",
                _ => "426",
            };
            assert_eq!(status(&fields), expected, "without {:?}", lines[without]);
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        let with = |key| {
            status(&[
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", key),
            ])
        };
        assert_eq!(with(KEY), "101");
        for wrong in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZXM=",
            "dGhlIHNhbXBsZSBub25jZXNz",
            "dGhlIHNhbXBsZSBub25-ZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
            "钥匙",
        ] {
            assert_eq!(with(wrong), "400", "{wrong:?}");
        }
    }
}

//! What a request asks for, and of whom: its target and its `Host`.
//!
//! Owns: the parts of a target (RFC 9112, section 3.2), what a query says, and what a host looks like. Refuses to know: what there is to ask for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name has at most 253 bytes in the DNS, and a port five digits.
const AUTHORITY_BYTES: usize = 260;

/// A target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Whom an absolute-form target asks; it stands above the `Host` (RFC 9112, section 3.2.2).
    pub authority: Option<&'a str>,
    pub path: &'a str,
    /// What stands behind `?`; nothing where there is none.
    query: &'a str,
}

impl<'a> Target<'a> {
    /// Takes an origin-form or absolute-form target apart; any other is for proxies, and `None`.
    pub fn parse(target: &'a str) -> Option<Target<'a>> {
        // Nobody sends a fragment; who does means what is before it.
        let target = target.split('#').next().unwrap_or(target);
        let (authority, rest) = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
            Some(rest) => {
                let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(authority), rest)
            }
            None if target.starts_with('/') => (None, target),
            None => return None,
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Some(Target { authority, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// The value of the first parameter of this name, as `URLSearchParams` would write it; an error where the value is none that it could have
    /// written.
    pub fn parameter(&self, name: &str) -> Option<Result<Vec<u8>, Malformed>> {
        let mut parameters = self.query.split('&').map(|one| one.split_once('=').unwrap_or((one, "")));
        let (_, value) = parameters.find(|(key, _)| decoded(key).is_ok_and(|key| key == name.as_bytes()))?;
        Some(decoded(value))
    }
}

/// A `%` without two hexadecimal digits behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Undoes percent-encoding, and the `+` that stands for a space in a query.
fn decoded(text: &str) -> Result<Vec<u8>, Malformed> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    let hex = |digit: Option<u8>| (digit? as char).to_digit(16);
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => (high << 4 | low) as u8,
                _ => return Err(Malformed),
            },
            byte => byte,
        });
    }
    Ok(out)
}

/// `text` as it may stand in a query: every byte percent-encoded but those that mean themselves everywhere (RFC 3986, section 2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// What every hub is called by, whatever else it is told: names that are given out in one's own network alone. A name on the internet can be made to
/// lead to the hub by whoever owns it, and so can the page that is opened under it (DNS rebinding).
const OWN_ENDINGS: [&str; 4] = [".local", ".lan", ".home.arpa", ".internal"];

/// Whether the host of an authority is one that any hub answers to: an address, one label (`localhost` too), or a name of a local network; or is one of
/// `names`.
pub(super) fn is_own(authority: &str, names: &[String]) -> bool {
    let (host, _) = parts(authority);
    if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    !name.contains('.') || OWN_ENDINGS.iter().any(|ending| name.ends_with(ending)) || names.contains(&name)
}

/// Whether an authority is of this machine alone: who is somewhere else and goes there stays at home.
pub(super) fn is_loopback(authority: &str) -> bool {
    let (host, _) = parts(authority);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse::<IpAddr>();
    match address {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost"),
    }
}

/// The host of an authority, without its port.
pub(super) fn host_of(authority: &str) -> &str {
    parts(authority).0
}

/// Whether `text` is a host, and a port where it has one, as a browser would write them: a name, an IPv4 address, or an IPv6 address in brackets.
/// RFC 3986 lets a name have nearly any character. None on a network has others than these, and what a name leads to is for phones to open.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = parts(text);
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
    };
    text.len() <= AUTHORITY_BYTES && is_host && port.is_none_or(is_port)
}

/// Host and port of an authority. The colons of an IPv6 address are in its brackets.
pub(super) fn parts(authority: &str) -> (&str, Option<&str>) {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_host..].find(':') {
        Some(at) => (&authority[..after_host + at], Some(&authority[after_host + at + 1..])),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_parts() {
        for (target, authority, path, query) in [
            ("/", None, "/", ""),
            ("/a/b?c=/d?e", None, "/a/b", "c=/d?e"),
            ("/?a#b?c", None, "/", "a"),
            ("//a/b", None, "//a/b", ""),
            ("http://a:1/b?c", Some("a:1"), "/b", "c"),
            ("https://a", Some("a"), "/", ""),
            ("http://a?b=/c", Some("a"), "/", "b=/c"),
            ("http://a#/b", Some("a"), "/", ""),
            ("http:///b", Some(""), "/b", ""),
        ] {
            assert_eq!(Target::parse(target), Some(Target { authority, path, query }), "{target}");
        }
        for target in ["", "*", "a:80", "?a", "ftp://a/", "#/"] {
            assert_eq!(Target::parse(target), None, "{target}");
        }
    }

    #[test]
    fn a_parameter_is_as_a_browser_writes_it() {
        let value = |target: &str| Target::parse(target).unwrap().parameter("room");
        for (target, bytes) in [
            ("/?room=E00001", &b"E00001"[..]),
            ("/?a=b&room=1+2%2B3%26&room=4", b"1 2+3&"),
            ("/?r%6fom=a=b", b"a=b"),
            ("/?room", b""),
            ("/?room=&room=a", b""),
            ("/?room=%E4%B8%89%fF%00", b"\xe4\xb8\x89\xff\0"),
            ("/?%=&room=a", b"a"),
        ] {
            assert_eq!(value(target), Some(Ok(bytes.to_vec())), "{target}");
        }
        for target in ["/?room=%", "/?room=a%2", "/?room=%2g", "/?room=%+1", "/?room=%%41"] {
            assert_eq!(value(target), Some(Err(Malformed)), "{target}");
        }
        for target in ["/", "/?", "/?Room=a", "/?room2=a", "/?a=room", "/room=a", "/#?room=a"] {
            assert_eq!(value(target), None, "{target}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        assert_eq!(encoded("aZ09-._~"), "aZ09-._~");
        assert_eq!(encoded("三 +&=%\0/?#\"<"), "%E4%B8%89%20%2B%26%3D%25%00%2F%3F%23%22%3C");
        let all: String = (0..300).filter_map(char::from_u32).collect();
        assert_eq!(decoded(&encoded(&all)), Ok(all.into_bytes()));
    }

    #[test]
    fn a_hub_answers_to_what_is_of_its_own_network_and_to_what_it_is_told() {
        let names = ["school.example".to_owned(), "a.b.example".to_owned()];
        for own in [
            "10.0.0.1",
            "203.0.113.9:9000",
            "[fd00::1]:9000",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "board",
            "board:9000",
            "board.local",
            "Board.LOCAL.:9000",
            "a.b.lan",
            "board.home.arpa",
            "board.internal:1",
            "school.example",
            "School.Example.:9000",
            "a.b.example",
        ] {
            assert!(is_own(own, &names), "{own}");
        }
        for other in [
            "evil.example",
            "www.school.example",
            "school.example.evil.example",
            "xschool.example",
            "evil.example:9000",
            "b.example",
            "local.example",
            "evil-local.example",
            "evil.localhost",
            "evil.arpa",
            "10.0.0.1.evil.example",
            "1.2.3",
            "1.2.3.4.5",
            "256.0.0.1",
            "board.local.evil.example",
            "board.locals",
        ] {
            assert!(!is_own(other, &names), "{other}");
        }
    }

    #[test]
    fn a_host_looks_like_one() {
        let long = "a".repeat(253) + ":65535";
        for host in [
            "board",
            "board.local",
            "board.local.",
            "a_b-c~d",
            "xn--fiq.local:9000",
            "10.0.0.1",
            "10.0.0.1:1",
            "[::1]",
            "[fd00::2]:9000",
            "[::ffff:10.0.0.1]:80",
            "A:65535",
            &long,
        ] {
            assert!(is_authority(host), "{host}");
        }
        let longer = "a".repeat(261);
        for host in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "a:b",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "user@a",
            "a@b:1",
            "a\\b",
            "a\"b",
            "<a>",
            "a%20b",
            "a,b",
            "名",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[a]",
            "[::1]a",
            "[::1]:",
            "a[::1]",
            "[fe80::1%25eth0]",
            "[[::1]]",
            "a\tb",
            "a\u{7f}",
            &longer,
        ] {
            assert!(!is_authority(host), "{host}");
        }
    }
}

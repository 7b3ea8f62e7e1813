//! Who was refused for what a browser says of itself: the `Host` that it asks for, the `Origin` of its page.
//!
//! Owns: the words for each in the log, with the line of the configuration that would let it in, and that each is there once. Refuses to know: what is
//! allowed (`http`), and who sent it.
//!
//! A page that is refused tries again every few seconds, and a hostile one with another name each time: what was logged is kept, up to
//! [`limits::REFUSALS_LOGGED`], and everything else is only counted.

use log::warn;

use super::target;
use crate::limits;

/// Longest value that is repeated, in characters; a name has at most 253.
const SHOWN_CHARS: usize = 260;

/// What was refused, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The hub does not answer to this `Host`.
    Host {
        /// Its name without a port.
        name: String,
        /// Where the page is from that asks, where it says so.
        origin: Option<String>,
    },
    /// A page of this `Origin` may not connect.
    Origin {
        /// Where the page is from.
        origin: String,
        /// Whom it asked for.
        host: String,
    },
}

impl Refusal {
    /// What tells it from another of its kind.
    fn value(&self) -> &str {
        match self {
            Refusal::Host { name, .. } => name,
            Refusal::Origin { origin, .. } => origin,
        }
    }

    fn is_as(&self, other: &Refusal) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
            && self.value().eq_ignore_ascii_case(other.value())
    }

    /// The line of the configuration that would let it in beside those that are `listed` for its kind; `None` where there can be none.
    pub(super) fn remedy(&self, listed: &[String]) -> Option<String> {
        let (key, value) = match self {
            Refusal::Host { name, .. } => ("names", name.trim_end_matches('.')),
            Refusal::Origin { origin, .. } => {
                let (scheme, authority) = origin.split_once("://")?;
                let is_page = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
                (is_page && target::is_authority(authority)).then_some(("allowed_origins", &**origin))?
            }
        };
        let value = value.to_ascii_lowercase();
        let all: Vec<_> = listed.iter().chain([&value]).map(|one| format!("\"{one}\"")).collect();
        Some(format!("http.{key} = [{}]", all.join(", ")))
    }

    /// The line of the log.
    fn told(&self, listed: &[String]) -> String {
        let what = match self {
            Refusal::Host { name, origin } => {
                let from = origin.as_ref().map(|origin| format!("from a page of the Origin {}", shown(origin)));
                let from = from.unwrap_or_else(|| "without an Origin".to_owned());
                format!(
                    "refused a request for the Host {}, {from}: this hub does not know itself by that name",
                    shown(name)
                )
            }
            Refusal::Origin { origin, host } => {
                let (origin, host) = (shown(origin), shown(host));
                format!("refused a page of the Origin {origin} that asked for the Host {host}: it is of another site")
            }
        };
        match self.remedy(listed) {
            Some(line) => format!("{what}; if it may come in, write {line}"),
            None => format!("{what}; there is no way to let it in"),
        }
    }
}

/// Somebody's text on one line, in quotes, and not more of it than fits.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        // The index is one of a character's start.
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// All refusals so far.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    logged: Vec<Refusal>,
    count: u64,
}

impl Refusals {
    /// Notes one, and logs it if it is the first of its value. `listed` is what the configuration has for its kind.
    pub fn add(&mut self, refusal: Refusal, listed: &[String]) {
        self.count += 1;
        if self.logged.len() >= limits::REFUSALS_LOGGED || self.logged.iter().any(|other| other.is_as(&refusal)) {
            return;
        }
        let is_last = self.logged.len() + 1 == limits::REFUSALS_LOGGED;
        warn!(
            "{}{}",
            refusal.told(listed),
            if is_last { " (whatever else is refused so is only counted from now on)" } else { "" }
        );
        self.logged.push(refusal);
    }

    /// How many there were, logged or not.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Refusal {
        Refusal::Host { name: name.into(), origin: None }
    }

    fn origin(origin: &str) -> Refusal {
        Refusal::Origin { origin: origin.into(), host: "board".into() }
    }

    #[test]
    fn a_refusal_says_both_values_and_what_would_let_it_in() {
        assert_eq!(
            host("School.Example.").told(&[]),
            "refused a request for the Host \"School.Example.\", without an Origin: this hub does not know itself by that name; \
             if it may come in, write http.names = [\"school.example\"]"
        );
        let from_page = Refusal::Host { name: "b.example".into(), origin: Some("http://b.example".into()) };
        let says = from_page.told(&["a.example".to_owned()]);
        assert!(says.contains("from a page of the Origin \"http://b.example\""), "{says}");
        assert!(says.ends_with("http.names = [\"a.example\", \"b.example\"]"), "{says}");
        assert_eq!(
            origin("https://School.example").told(&["http://a".to_owned()]),
            "refused a page of the Origin \"https://School.example\" that asked for the Host \"board\": it is of another site; \
             if it may come in, write http.allowed_origins = [\"http://a\", \"https://school.example\"]"
        );
        for none in ["null", "", "ftp://a", "http://", "http://a b", "http://a/b", "file://", "http://\"], x=[\""] {
            assert!(origin(none).told(&[]).ends_with("; there is no way to let it in"), "{none}");
        }
    }

    #[test]
    fn what_is_sent_stays_on_its_line() {
        let says = origin(&("\u{1b}[31m\r\nlie: \"".to_owned() + &"x".repeat(9000))).told(&[]);
        assert!(says.len() < 600 && says.lines().count() == 1 && !says.contains('\u{1b}'), "{says}");
    }

    #[test]
    fn each_is_logged_once_and_no_more_than_there_is_place_for() {
        let mut refusals = Refusals::default();
        for _ in 0..3 {
            for refusal in [host("a.example"), host("A.example"), origin("a.example")] {
                refusals.add(refusal, &[]);
            }
        }
        assert_eq!((refusals.logged.len(), refusals.count()), (2, 9));
        (0..1000).for_each(|n| refusals.add(host(&format!("{n}.example")), &[]));
        assert_eq!((refusals.logged.len(), refusals.count()), (limits::REFUSALS_LOGGED, 1009));
    }
}

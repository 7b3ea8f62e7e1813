//! The few facts of a certificate that the hub tells people, read from its DER.
//!
//! Owns: where in a certificate they stand (RFC 5280, section 4.1), and how dates are written there. Refuses to know: whether a certificate is to
//! be trusted, and all its extensions: the TLS library reads those.

/// What is read of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    issuer: Vec<u8>,
    subject: Vec<u8>,
    /// The key that it is about, as DER.
    pub key: Vec<u8>,
    /// Its last second, since 1970; 0 for one that ended before.
    pub ends_s: u64,
}

const INTEGER: u8 = 0x02;
const UTF8_STRING: u8 = 0x0C;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xA0;
/// `OBJECT IDENTIFIER 2.5.4.3`, a common name.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];

impl Facts {
    /// Reads a certificate; `None` where it is none.
    pub fn read(certificate: &[u8]) -> Option<Facts> {
        let mut outer = Der(Der(certificate).take(SEQUENCE)?.content);
        let mut fields = Der(outer.take(SEQUENCE)?.content);
        if fields.0.first() == Some(&VERSION) {
            fields.take(VERSION)?;
        }
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?.whole.to_vec();
        let mut validity = Der(fields.take(SEQUENCE)?.content);
        validity.next()?;
        let ends_s = seconds(&validity.next()?)?;
        let subject = fields.take(SEQUENCE)?.whole.to_vec();
        let key = fields.take(SEQUENCE)?.whole.to_vec();
        Some(Facts { issuer, subject, key, ends_s })
    }

    /// Whether it is the end of a chain.
    pub fn signs_itself(&self) -> bool {
        self.issuer == self.subject
    }

    /// The subject's name, where that is one common name and nothing else, as the hub's own authority has it.
    pub fn common_name(&self) -> Option<&str> {
        let mut names = Der(Der(&self.subject).take(SEQUENCE)?.content);
        let mut attribute = Der(Der(names.take(SET)?.content).take(SEQUENCE)?.content);
        attribute.0 = attribute.0.strip_prefix(&COMMON_NAME)?;
        let name = attribute.take(UTF8_STRING)?.content;
        (names.0.is_empty() && attribute.0.is_empty()).then(|| std::str::from_utf8(name).ok()).flatten()
    }
}

/// What is left of some DER.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// Its tag and length too.
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7F => (usize::from(short), rest),
            // No certificate is as long as three bytes can say.
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element { tag, content, whole })
    }

    fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }
}

/// A time as certificates have it (RFC 5280, section 4.1.2.5): `YYMMDDHHMMSSZ`, or with a year of four digits.
fn seconds(time: &Element<'_>) -> Option<u64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match time.tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (two(0)?, two(2)?);
    if rest.len() != 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + two(4)? * 3600 + two(6)? * 60 + two(8)?;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Days from 1970 to a date of our calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Counted from March, so that a leap day is a year's last; in eras of 400 years, which have 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a second since 1970, as `2026-11-26`.
pub(super) fn date(seconds: u64) -> String {
    let day = i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2);
    // The year is never more than one beside what its average length says.
    let mut year = 1970 + day * 400 / 146_097;
    while days(year, 1, 1) > day {
        year -= 1;
    }
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days(year, *month, 1) <= day).unwrap_or(1);
    format!("{year:04}-{month:02}-{:02}", day - days(year, month, 1) + 1)
}

/// A certificate as PEM (RFC 7468).
pub(super) fn pem(certificate: &[u8]) -> String {
    let text = base64(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for at in (0..text.len()).step_by(64) {
        pem += &text[at..text.len().min(at + 64)];
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_there = digit <= three.len();
            text.push(if is_there { DIGITS[(bits >> (18 - 6 * digit)) as usize & 63] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &str) -> Option<u64> {
        seconds(&Element { tag, content: text.as_bytes(), whole: &[] })
    }

    #[test]
    fn times_are_read_and_dates_written() {
        assert_eq!(time(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(UTC_TIME, "500101000000Z"), Some(0), "1950 is before 1970");
        assert_eq!(time(GENERALIZED_TIME, "20000229010203Z"), Some(951_786_123));
        assert_eq!(time(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for wrong in
            ["", "Z", "2000022901020Z", "20001329010203Z", "20000229010203", "2000022901+203Z", "20000229é0203Z"]
        {
            assert_eq!(time(GENERALIZED_TIME, wrong), None, "{wrong}");
        }
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_786_123, "2000-02-29"),
            (2_524_607_999, "2049-12-31"),
            (253_402_300_799, "9999-12-31"),
        ] {
            assert_eq!(date(seconds), text);
        }
        for day in 0..80_000 {
            let text = date(day * 86_400) + "000000Z";
            assert_eq!(time(GENERALIZED_TIME, &text.replace('-', "")), Some(day * 86_400), "{text}");
        }
    }

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    /// Whatever a file has in it is read or refused.
    #[test]
    fn no_bytes_panic() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64))| {
            let _ = Facts::read(&bytes);
            let _ = Facts::read(&[&[0x30, 0x83, 0, 0, 40, 0x30, 30][..], &bytes].concat());
        });
    }
}

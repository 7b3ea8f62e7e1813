//! What may be relayed byte for byte.
//!
//! Owns: the three rules that a `content` must keep beside being JSON, so that no other client's
//! parser chokes on what ours let pass: depth, surrogates, numbers. Refuses to know: what it means.

use crate::limits;

/// Checks `json`, which is one valid JSON value.
///
/// # Errors
/// What was expected, to stand behind the field's name.
pub fn check(json: &str) -> Result<(), &'static str> {
    let bytes = json.as_bytes();
    // What people type: a text without escapes breaks none of the rules. Going through a long one would cost more than all else that is done with it.
    if bytes.first() == Some(&b'"') && memchr::memchr(b'\\', bytes).is_none() {
        return Ok(());
    }
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > limits::CONTENT_DEPTH {
                    return Err("expected at most 32 nested levels");
                }
            }
            b']' | b'}' => depth -= 1,
            b'"' => at = check_string(bytes, at)?,
            b'-' | b'0'..=b'9' => {
                let start = at - 1;
                while bytes.get(at).is_some_and(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                    at += 1;
                }
                // Fifteen digits without an exponent are always within a double: most numbers need no parsing.
                if at - start > 15 || json[start..at].contains(['e', 'E']) {
                    let finite = json[start..at].parse::<f64>().is_ok_and(f64::is_finite);
                    if !finite {
                        return Err("expected numbers within the range of a double");
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// From behind the opening quote to behind the closing one.
fn check_string(bytes: &[u8], mut at: usize) -> Result<usize, &'static str> {
    const LONE: &str = "expected no lone surrogates";
    let mut high = false;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match rest {
            // Valid JSON ends its strings, so the empty rest is never reached; it ends the loop all the same.
            [] | [b'"', ..] => return if high { Err(LONE) } else { Ok(at + 1) },
            [b'\\', b'u', a, b, c, d, ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0);
                let unit = digit(a) << 12 | digit(b) << 8 | digit(c) << 4 | digit(d);
                match (high, unit) {
                    (false, 0xD800..=0xDBFF) => high = true,
                    (true, 0xDC00..=0xDFFF) => high = false,
                    (true, _) | (false, 0xDC00..=0xDFFF) => return Err(LONE),
                    _ => {}
                }
                at += 6;
            }
            _ if high => return Err(LONE),
            [b'\\', _, ..] => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_what_any_client_can_read() {
        for json in [
            "null",
            "-1.5e300",
            "\"\"",
            r#""\ud83d\ude00 \\ \" \u0000""#,
            r#"{"a":[1,2,{"b":"]]]}"}]}"#,
            "12345678901234567890",
            "\"老三\"",
            r#""\\ud800""#,
        ] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
    }

    #[test]
    fn thirty_two_levels_pass_and_one_more_does_not() {
        let nest = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(check(&nest(limits::CONTENT_DEPTH)), Ok(()));
        let error = check(&nest(limits::CONTENT_DEPTH + 1)).unwrap_err();
        assert!(error.contains(&limits::CONTENT_DEPTH.to_string()), "{error}");
        assert_eq!(check(&format!("[{}]", vec![nest(31); 40].join(","))), Ok(()));
    }

    #[test]
    fn lone_surrogates_are_refused() {
        for json in [
            r#""\ud800""#,
            r#""\ud800x""#,
            r#""\udc00""#,
            r#""\ud800\ud800\udc00""#,
            r#""\ud800\n""#,
            r#"{"\udfff":1}"#,
            r#"["ok","\uD83D"]"#,
        ] {
            assert!(check(json).is_err(), "{json}");
        }
    }

    #[test]
    fn numbers_beyond_a_double_are_refused() {
        assert!(check("1e400").is_err());
        assert!(check("[-1E999]").is_err());
        assert!(check(&"9".repeat(400)).is_err());
        assert_eq!(check("1e-400"), Ok(()));
    }
}

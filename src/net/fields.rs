//! A request's header fields (RFC 9110, section 5).
//!
//! Owns: how the values of one are found, and what is in a list. Refuses to know: which fields there are, and what they mean.

use httparse::Header;

/// The values of a field, line by line.
pub(super) fn field<'a>(fields: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    let of_name = fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    // A value that is not ASCII names nothing that we look for.
    of_name.map(|field| std::str::from_utf8(field.value).unwrap_or("?").trim())
}

/// Whether a list of tokens has this one.
pub(super) fn names(list: &str, token: &str) -> bool {
    list.split(',').any(|one| one.trim().eq_ignore_ascii_case(token))
}

//! One key of the file: where it stands, and its value as what it ought to be.
//!
//! Owns: lines and columns, the words for kinds of values, and the error that names key and line.
//! Refuses to know: which keys there are.

use std::fmt;
use std::num::IntErrorKind;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::limits::Limit;

/// Longest piece of a file that an error repeats, in characters.
const QUOTED_CHARS: usize = 48;

/// Why a configuration cannot be used. Displayed as one line that names the file (where there is
/// one), the key and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, for a configuration that came from one.
    pub file: Option<PathBuf>,
    /// The key as `limits.rooms`, or the table as `[tls]`; none where the file could not be read as TOML.
    pub key: Option<String>,
    /// Where in the file, from 1.
    pub line: Option<usize>,
    /// Where in the line, in characters from 1; only where no key is named.
    pub column: Option<usize>,
    /// What is wrong, and what was expected.
    pub says: String,
}

impl ConfigError {
    pub(super) fn of_file(says: impl Into<String>) -> ConfigError {
        ConfigError { file: None, key: None, line: None, column: None, says: says.into() }
    }

    pub(super) fn of_key(key: impl Into<String>, line: Option<usize>, says: impl Into<String>) -> ConfigError {
        ConfigError { key: Some(key.into()), line, ..ConfigError::of_file(says) }
    }

    /// The library's complaint about `text`, which is no TOML.
    pub(super) fn of_syntax(text: &str, error: &toml::de::Error) -> ConfigError {
        let start = error.span().map(|span| span.start);
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let is_word = start.is_some_and(|start| text.as_bytes().get(start).is_some_and(u8::is_ascii_alphabetic));
        // To the library `log = info` is a bad way to write infinity.
        let is_meant_as_text = is_word && message.starts_with("invalid float");
        let says = if is_meant_as_text { "text needs quotes; only numbers, true and false do not" } else { &message };
        ConfigError {
            line: start.map(|start| line_at(text, start)),
            column: start.map(|start| column_at(text, start)),
            ..ConfigError::of_file(says)
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        match (&self.key, self.line, self.column) {
            (Some(key), Some(line), _) => write!(f, "{key} (line {line}): ")?,
            (Some(key), None, _) => write!(f, "{key}: ")?,
            (None, Some(line), Some(column)) => write!(f, "line {line}, column {column}: ")?,
            (None, Some(line), None) => write!(f, "line {line}: ")?,
            (None, None, _) => {}
        }
        f.write_str(&self.says)
    }
}

impl std::error::Error for ConfigError {}

/// A key with its value, as it stands in the file.
pub(super) struct Entry<'t> {
    text: &'t str,
    /// The key with its tables, as `limits.rooms`; without the position in an array.
    pub path: String,
    /// The last piece of `path`.
    pub name: String,
    /// Where the key stands, from 1.
    pub line: usize,
    value: &'t DeValue<'t>,
}

/// The entries of the whole file, in the order of its lines, so that the first mistake is told first.
pub(super) fn entries_of_file<'t>(text: &'t str, root: &'t DeTable<'t>) -> Vec<Entry<'t>> {
    entries(text, "", root)
}

fn entries<'t>(text: &'t str, above: &str, table: &'t DeTable<'t>) -> Vec<Entry<'t>> {
    let mut entries: Vec<(usize, Entry<'t>)> = table
        .iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let name = written(key.get_ref());
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            (start, Entry { text, path, name, line: line_at(text, start), value: value.get_ref() })
        })
        .collect();
    entries.sort_unstable_by_key(|(start, _)| *start);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

impl<'t> Entry<'t> {
    /// An error at this key.
    pub fn wrong(&self, says: impl Into<String>) -> ConfigError {
        ConfigError::of_key(self.path.clone(), Some(self.line), says)
    }

    fn expected(&self, what: &str) -> ConfigError {
        self.wrong(format!("{what} is expected here, not {}", kind(self.value)))
    }

    pub fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// The entries below, if this is a table.
    pub fn table(&self) -> Result<Vec<Entry<'t>>, ConfigError> {
        match self.value {
            DeValue::Table(table) => Ok(entries(self.text, &self.path, table)),
            DeValue::Array(array) if array.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))) => {
                Err(self
                    .wrong(format!("there is one such table, so it is written [{}] with single brackets", self.path)))
            }
            _ => Err(self.expected(&format!("a table, [{}],", self.path))),
        }
    }

    /// The line and the entries of each table, if this is an array of tables.
    pub fn tables(&self) -> Result<Vec<(usize, Vec<Entry<'t>>)>, ConfigError> {
        let written = format!("there can be several, so each is written [[{}]] with double brackets", self.path);
        let DeValue::Array(array) = self.value else {
            return Err(self.wrong(written));
        };
        let one = |item: &'t Spanned<DeValue<'t>>| match item.get_ref() {
            DeValue::Table(table) => Ok((line_at(self.text, item.span().start), entries(self.text, &self.path, table))),
            _ => Err(self.wrong(written.clone())),
        };
        array.iter().map(one).collect()
    }

    /// A number within `limit`.
    pub fn number(&self, limit: Limit) -> Result<u32, ConfigError> {
        let Limit { min, max, .. } = limit;
        let DeValue::Integer(integer) = self.value else {
            return Err(self.expected(&format!("a whole number from {min} to {max}")));
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix());
        if number.as_ref().is_err_and(|error| *error.kind() == IntErrorKind::InvalidDigit) {
            let found = quoted(&integer.to_string());
            return Err(self.wrong(format!("a whole number from {min} to {max} is expected here, not {found}")));
        }
        // What does not even fit into 64 bits is outside as well.
        let number = number.ok().and_then(|n| u32::try_from(n).ok());
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.wrong(format!("{} is outside {min} to {max}", shortened(&integer.to_string()))))
    }

    pub fn switch(&self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    pub fn text(&self) -> Result<&'t str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.expected("text in quotes"))
    }

    /// Text of at most `bytes_max` bytes.
    pub fn short_text(&self, bytes_max: usize) -> Result<&'t str, ConfigError> {
        let text = self.text()?;
        if text.len() <= bytes_max {
            return Ok(text);
        }
        // Who counts letters finds far fewer.
        let hint = if text.is_ascii() { "" } else { " (a Chinese character takes 3)" };
        Err(self.wrong(format!("{} is {} bytes long; at most {bytes_max} fit{hint}", quoted(text), text.len())))
    }

    /// A list of texts, each through `read`, whose complaint is told with the line of that text.
    pub fn each_text<T>(&self, mut read: impl FnMut(&str) -> Result<T, String>) -> Result<Vec<T>, ConfigError> {
        let DeValue::Array(array) = self.value else {
            return Err(self.expected("a list of texts, [\"…\"],"));
        };
        let one = |item: &Spanned<DeValue<'_>>| {
            let value = item.get_ref();
            let text = value.as_str().ok_or_else(|| format!("text in quotes is expected here, not {}", kind(value)));
            text.and_then(&mut read).map_err(|says| {
                ConfigError::of_key(self.path.clone(), Some(line_at(self.text, item.span().start)), says)
            })
        };
        array.iter().map(one).collect()
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A key as it is written. One that needs quotes keeps them: it may hold a dot that divides nothing,
/// or a line's end, which would break the error in two.
fn written(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_bare { shortened(key) } else { quoted(key) }
}

/// Somebody's text as an error repeats it: in quotes, on one line, and not all of it if it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        // The index is one of a character's start.
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The line of a byte, from 1.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    1 + before(text, byte).iter().filter(|&&b| b == b'\n').count()
}

/// The place of a byte in its line, in characters from 1.
fn column_at(text: &str, byte: usize) -> usize {
    let is_start_of_character = |b: u8| b & 0xC0 != 0x80;
    let line = before(text, byte).rsplit(|&b| b == b'\n').next().unwrap_or_default();
    1 + line.iter().filter(|&&b| is_start_of_character(b)).count()
}

/// Bytes, not text: a span may end anywhere.
fn before(text: &str, byte: usize) -> &[u8] {
    let bytes = text.as_bytes();
    &bytes[..byte.min(bytes.len())]
}

//! One field of a message.
//!
//! Owns: how JSON of each kind is read, and the words for whoever wrote another kind: the field's path, and what was expected. Refuses to know: which fields there
//! are.
//!
//! An array is never taken for an object, and strings without escapes are borrowed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::failure::{Code, Failure};

/// A field as it lies there; `None` where it is missing, or null.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// An object's fields, as [`object`] reads them: a derived reader alone would take an array for an object.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// An object within an object: read with it, or to be read.
pub(super) trait Part<T> {
    fn read(self, field: &str) -> Result<T, Failure>;
}

impl<T> Part<T> for Object<T> {
    fn read(self, _: &str) -> Result<T, Failure> {
        Ok(self.0)
    }
}

impl<'a, T: Deserialize<'a>> Part<T> for &'a RawValue {
    fn read(self, field: &str) -> Result<T, Failure> {
        object(field, self.get())
    }
}

/// An integer within an object: read with it, or to be read.
pub(super) trait Integer: Copy {
    /// Its value; `None` for one below 0 or beyond 64 bits, however long.
    fn value(self, field: &str) -> Result<Option<u64>, Failure>;

    /// As it was written.
    fn text(self) -> String;
}

impl Integer for u64 {
    fn value(self, _: &str) -> Result<Option<u64>, Failure> {
        Ok(Some(self))
    }

    fn text(self) -> String {
        self.to_string()
    }
}

impl Integer for &RawValue {
    fn value(self, field: &str) -> Result<Option<u64>, Failure> {
        let text = self.get();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad(field, "an integer"));
        }
        Ok(text.parse().ok())
    }

    fn text(self) -> String {
        self.get().to_owned()
    }
}

pub(super) fn optional_switch(field: &str, raw: Raw<'_>) -> Result<Option<bool>, Failure> {
    match raw.map(RawValue::get) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(bad(field, "true or false")),
    }
}

pub(super) fn bad(field: &str, expected: &str) -> Failure {
    Failure::new(Code::BadJson, format!("{field}: expected {expected}"))
}

pub(super) fn unknown(field: &str, number: impl Integer) -> Failure {
    // A number can be as long as a message.
    let number: String = number.text().chars().take(24).collect();
    Failure::new(Code::UnknownType, format!("{field}: {number} is not spoken here"))
}

/// An object's fields. A derived reader would take an array for an object, field by field: the bracket decides first.
pub(super) fn object<'a, T: Deserialize<'a>>(field: &str, text: &'a str) -> Result<T, Failure> {
    let is_object = text.trim_ascii_start().starts_with('{');
    match serde_json::from_str(text) {
        Ok(object) if is_object => Ok(object),
        Err(error) if is_object || !error.is_data() => {
            Err(Failure::new(Code::BadJson, format!("{field}: expected a JSON object: {error}")))
        }
        _ => Err(bad(field, "an object")),
    }
}

pub(super) fn required<T>(field: &str, value: Option<T>, expected: &str) -> Result<T, Failure> {
    value.ok_or_else(|| bad(field, expected))
}

/// A string of at most `limit` bytes; a missing one reads as empty.
pub(super) fn string<'a>(field: &str, raw: Raw<'a>, limit: usize) -> Result<Cow<'a, str>, Failure> {
    Ok(optional_string(field, raw, limit)?.unwrap_or_default())
}

pub(super) fn not_empty<'a>(field: &str, raw: Raw<'a>, limit: usize) -> Result<Cow<'a, str>, Failure> {
    let string = string(field, raw, limit)?;
    if string.is_empty() { Err(bad(field, "a string that is not empty")) } else { Ok(string) }
}

pub(super) fn optional_string<'a>(field: &str, raw: Raw<'a>, limit: usize) -> Result<Option<Cow<'a, str>>, Failure> {
    let Some(text) = raw.map(RawValue::get) else { return Ok(None) };
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let string = match inner {
        None => return Err(bad(field, "a string")),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        // What can still be wrong with a JSON string is a lone surrogate.
        Some(_) => Cow::Owned(serde_json::from_str(text).map_err(|_| bad(field, "a string without lone surrogates"))?),
    };
    if string.len() > limit {
        let length = string.len();
        return Err(Failure::new(Code::TooLong, format!("{field}: {length} bytes, at most {limit} are allowed")));
    }
    Ok(Some(string))
}

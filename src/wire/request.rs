//! What a client may ask, read where it lies.
//!
//! Owns: the shape of every request (PROTOCOL.md, Connection; the specification's TextMsg), the limits of its
//! fields, and the words for each way of getting it wrong. Refuses to know: rooms, rates, what an answer will be.
//!
//! Each field is first found as a slice of JSON text and then read by a helper that knows its path: an error names
//! the field and what was expected, an array is never taken for an object, and strings without escapes are borrowed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content;
use super::member::Member;
use crate::limits;

/// A failure's `code`, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not a JSON object of this shape.
    BadJson,
    /// A msgType or dataType that is not spoken there.
    UnknownType,
    /// A field over its limit.
    TooLong,
    /// For a room that this connection is not in.
    NotJoined,
    /// Another id than the connection's own.
    Identity,
    /// The number is not configured, and rooms are not made on demand.
    NoSuchRoom,
    /// The room's table is full.
    RoomFull,
    /// The hub's table is full.
    HubFull,
    /// The connection's table is full.
    TooManyRooms,
    /// Too many messages or bytes.
    RateLimited,
}

impl Code {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::UnknownType => "unknown_type",
            Code::TooLong => "too_long",
            Code::NotJoined => "not_joined",
            Code::Identity => "identity",
            Code::NoSuchRoom => "no_such_room",
            Code::RoomFull => "room_full",
            Code::HubFull => "hub_full",
            Code::TooManyRooms => "too_many_rooms",
            Code::RateLimited => "rate_limited",
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people: what was wrong, and where.
    pub msg: Cow<'static, str>,
}

impl Failure {
    /// A failure with `code` and the words for it.
    #[must_use]
    pub fn new(code: Code, msg: impl Into<Cow<'static, str>>) -> Self {
        Failure { code, msg: msg.into() }
    }
}

/// What a client asks.
#[derive(Debug, PartialEq)]
pub enum Request<'a> {
    /// msgType 1: a sign of life, never answered.
    Heartbeat,
    /// msgType 2, dataType 1.
    Join {
        /// Who joins.
        from: Member<'a>,
        /// The room's number.
        room_number: Cow<'a, str>,
    },
    /// dataType 2, under msgType 2 or 3.
    Leave {
        /// The room's number.
        room_number: Cow<'a, str>,
    },
    /// msgType 3, dataType 3 (chat text) or 100 to 65,535 (application data).
    Say {
        /// The dataType.
        data_type: u16,
        /// The room's number.
        room_number: Cow<'a, str>,
        /// Who the request says it is from, where it says so.
        from_id: Option<Cow<'a, str>>,
        /// A JSON value, checked, to be relayed byte for byte.
        content: &'a str,
    },
}

/// A request as far as it could be read.
#[derive(Debug, PartialEq)]
pub struct Envelope<'a> {
    /// `extendFields.ref` as JSON text, quotes included: it comes back with the answer.
    pub reference: Option<&'a str>,
    /// What is asked, or what was wrong with it.
    pub request: Result<Request<'a>, Failure>,
}

impl<'a> Envelope<'a> {
    /// Reads one message.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        let mut reference = None;
        let request = read(text, &mut reference);
        Envelope { reference, request }
    }
}

type Raw<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextMsg<'a> {
    #[serde(borrow)]
    msg_type: Raw<'a>,
    #[serde(borrow)]
    text_data: Raw<'a>,
    #[serde(borrow)]
    extend_fields: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextData<'a> {
    #[serde(borrow)]
    data_type: Raw<'a>,
    #[serde(borrow)]
    data: Raw<'a>,
}

#[derive(Deserialize)]
struct ExtendFields<'a> {
    #[serde(borrow, rename = "ref")]
    reference: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    from: Raw<'a>,
    #[serde(borrow)]
    room_number: Raw<'a>,
    #[serde(borrow)]
    content: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct From<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    person_name: Raw<'a>,
    #[serde(borrow)]
    person_num: Raw<'a>,
    #[serde(borrow)]
    nick_name: Raw<'a>,
    #[serde(borrow)]
    head_img_url: Raw<'a>,
}

const FROM: &str = "textData.data.from";

fn read<'a>(text: &'a str, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure> {
    let message: TextMsg = object("the message", text)?;
    let msg_type = integer("msgType", required("msgType", message.msg_type, "an integer")?)?;
    if msg_type == Some(1) {
        return Ok(Request::Heartbeat);
    }
    if let Some(raw) = message.extend_fields {
        let fields: ExtendFields = object("extendFields", raw.get())?;
        if let Some(raw) = fields.reference {
            string("extendFields.ref", Some(raw), limits::ID_BYTES)?;
            *reference = Some(raw.get());
        }
    }
    if !matches!(msg_type, Some(2 | 3)) {
        return Err(unknown("msgType", message.msg_type));
    }
    let text_data: TextData = object("textData", required("textData", message.text_data, "an object")?.get())?;
    let data_type = integer("textData.dataType", required("textData.dataType", text_data.data_type, "an integer")?)?;
    let said = match (msg_type, data_type) {
        (Some(2), Some(1)) | (_, Some(2)) => None,
        (Some(3), Some(said @ (3 | 100..=65_535))) => Some(said as u16), // within a u16 by the pattern
        _ => return Err(unknown("textData.dataType", text_data.data_type)),
    };
    let data: Data = object("textData.data", required("textData.data", text_data.data, "an object")?.get())?;
    let room_number = not_empty("textData.data.roomNumber", data.room_number, limits::ID_BYTES)?;
    if let Some(data_type) = said {
        let from_id = match data.from {
            None => None,
            Some(raw) => optional_string(FROM_ID, object::<From>(FROM, raw.get())?.id, limits::ID_BYTES)?,
        };
        let content = content_of(data_type, data.content)?;
        return Ok(Request::Say { data_type, room_number, from_id, content });
    }
    if data_type == Some(2) {
        return Ok(Request::Leave { room_number });
    }
    let from: From = object(FROM, required(FROM, data.from, "an object")?.get())?;
    let from = Member {
        id: not_empty(FROM_ID, from.id, limits::ID_BYTES)?,
        person_name: string("textData.data.from.personName", from.person_name, limits::NAME_BYTES)?,
        person_num: string("textData.data.from.personNum", from.person_num, limits::ID_BYTES)?,
        nick_name: string("textData.data.from.nickName", from.nick_name, limits::NAME_BYTES)?,
        head_img_url: string("textData.data.from.headImgUrl", from.head_img_url, limits::URL_BYTES)?,
    };
    Ok(Request::Join { from, room_number })
}

const FROM_ID: &str = "textData.data.from.id";

fn content_of(data_type: u16, raw: Raw<'_>) -> Result<&str, Failure> {
    const FIELD: &str = "textData.data.content";
    let expected = if data_type == 3 { "a string" } else { "a JSON value other than null" };
    let text = required(FIELD, raw, expected)?.get();
    if data_type == 3 && !text.starts_with('"') {
        return Err(bad(FIELD, expected));
    }
    content::check(text).map_err(|expected| Failure::new(Code::BadJson, format!("{FIELD}: {expected}")))?;
    Ok(text)
}

fn bad(field: &str, expected: &str) -> Failure {
    Failure::new(Code::BadJson, format!("{field}: expected {expected}"))
}

fn unknown(field: &str, raw: Raw<'_>) -> Failure {
    // A number can be as long as a message.
    let number: String = raw.map_or("", RawValue::get).chars().take(24).collect();
    Failure::new(Code::UnknownType, format!("{field}: {number} is not spoken here"))
}

/// An object's fields. A derived reader would take an array for an object, field by field: the bracket decides first.
fn object<'a, T: Deserialize<'a>>(field: &str, text: &'a str) -> Result<T, Failure> {
    let is_object = text.trim_ascii_start().starts_with('{');
    match serde_json::from_str(text) {
        Ok(object) if is_object => Ok(object),
        Err(error) if is_object || !error.is_data() => {
            Err(Failure::new(Code::BadJson, format!("{field}: expected a JSON object: {error}")))
        }
        _ => Err(bad(field, "an object")),
    }
}

fn required<'a>(field: &str, raw: Raw<'a>, expected: &str) -> Result<&'a RawValue, Failure> {
    raw.ok_or_else(|| bad(field, expected))
}

/// An integer; `None` for one that no type has, however long.
fn integer(field: &str, raw: &RawValue) -> Result<Option<u32>, Failure> {
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(field, "an integer"));
    }
    Ok(text.parse().ok())
}

/// A string of at most `limit` bytes; a missing one reads as empty.
fn string<'a>(field: &str, raw: Raw<'a>, limit: usize) -> Result<Cow<'a, str>, Failure> {
    Ok(optional_string(field, raw, limit)?.unwrap_or_default())
}

fn not_empty<'a>(field: &str, raw: Raw<'a>, limit: usize) -> Result<Cow<'a, str>, Failure> {
    let string = string(field, raw, limit)?;
    if string.is_empty() { Err(bad(field, "a string that is not empty")) } else { Ok(string) }
}

fn optional_string<'a>(field: &str, raw: Raw<'a>, limit: usize) -> Result<Option<Cow<'a, str>>, Failure> {
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

//! What a client may ask, read where it lies.
//!
//! Owns: the shape of every request (PROTOCOL.md, Connection; the specification's TextMsg), the limits of its
//! fields, and the words for each way of getting it wrong. Refuses to know: rooms, rates, what an answer will be.
//!
//! Each field is first found as a slice of JSON text and then read by a helper that knows its path: an error names
//! the field and what was expected, an array is never taken for an object, and strings without escapes are borrowed.
//! A message in which every object stands where one belongs, as nearly all do, is gone through once for all its levels, which takes no memory
//! but for what is nested deep in a content; only one with which something is wrong is taken apart level by level, to tell what.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::content;
use super::member::Member;
use crate::limits;

/// The dataType of what people say to each other; the rest of what is said is for programs.
pub const CHAT_TEXT: u16 = 3;

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
    /// A token that is missing or wrong.
    Token,
    /// A passcode that is missing or wrong.
    Passcode,
    /// A key for sealed frames that the hub does not have, or another than the room's.
    Key,
    /// Plain, where everything has to be sealed.
    Encryption,
    /// For the room's owner alone.
    NotOwner,
    /// The room is quiet, and the speaker not its owner.
    Quiet,
    /// The room is locked, and the joiner new.
    Locked,
    /// The owner removed the joiner, and the time is not over.
    Removed,
    /// Nobody, or nobody but the owner, sits under this id.
    NoSuchMember,
    /// A receipt for a message that the room no longer holds.
    NoSuchMessage,
    /// Too many messages or bytes.
    RateLimited,
}

impl Code {
    /// All of them, in the order of PROTOCOL.md; each stands at its own number (`as usize`).
    pub const ALL: [Code; 20] = [
        Code::BadJson,
        Code::UnknownType,
        Code::TooLong,
        Code::NotJoined,
        Code::Identity,
        Code::NoSuchRoom,
        Code::RoomFull,
        Code::HubFull,
        Code::TooManyRooms,
        Code::Token,
        Code::Passcode,
        Code::Key,
        Code::Encryption,
        Code::NotOwner,
        Code::Quiet,
        Code::Locked,
        Code::Removed,
        Code::NoSuchMember,
        Code::NoSuchMessage,
        Code::RateLimited,
    ];

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
            Code::Token => "token",
            Code::Passcode => "passcode",
            Code::Key => "key",
            Code::Encryption => "encryption",
            Code::NotOwner => "not_owner",
            Code::Quiet => "quiet",
            Code::Locked => "locked",
            Code::Removed => "removed",
            Code::NoSuchMember => "no_such_member",
            Code::NoSuchMessage => "no_such_message",
            Code::RateLimited => "rate_limited",
        }
    }
}

// The last of the enumeration is the last of the list: none is missing, and the order is compared by a test.
const _: () = assert!(Code::ALL.len() == Code::RateLimited as usize + 1);

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
        /// What it shows of an earlier seat.
        resume: Resume<'a>,
        /// What it shows of being allowed to.
        credentials: Credentials<'a>,
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
    /// msgType 3, dataType 4: what holds in the room from now on.
    Rule {
        /// The room's number.
        room_number: Cow<'a, str>,
        /// What is to change.
        change: Change,
    },
    /// msgType 3, dataType 5: removes a member, or lets it back in.
    Remove {
        /// The room's number.
        room_number: Cow<'a, str>,
        /// Whom.
        id: Cow<'a, str>,
        /// How long it is kept out, in seconds, at most [`limits::REMOVED_FOR_S`]; 0 lets it back in.
        for_s: u32,
    },
    /// msgType 4, dataType 3: these messages have been received.
    Receipt {
        /// The room's number.
        room_number: Cow<'a, str>,
        /// Which messages.
        seqs: Seqs,
    },
    /// msgType 5, dataType 1: the room with all its members.
    Pull {
        /// The room's number.
        room_number: Cow<'a, str>,
    },
}

/// What an owner changes in a room (PROTOCOL.md, Moderation); what is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Nobody new gets in.
    pub locked: Option<bool>,
    /// Nobody but the owner may say chat text.
    pub quiet: Option<bool>,
}

/// What a join shows of an earlier seat (PROTOCOL.md, Recovery).
#[derive(Debug, Default, PartialEq)]
pub struct Resume<'a> {
    /// `resumeToken`: the seat's.
    pub token: Option<Cow<'a, str>>,
    /// `lastSeq`: the number of the last room frame that was seen. A number that no frame can have reads as the largest.
    pub last_seq: Option<u64>,
}

/// What a join shows of being allowed to (PROTOCOL.md, Authentication and Moderation). Of its length and kind only: a hub that asks for none of it
/// ignores what it says.
#[derive(Debug, Default, PartialEq)]
pub struct Credentials<'a> {
    /// `token`: what the school says of the joiner.
    pub token: Option<Cow<'a, str>>,
    /// `passcode`: what those who may enter the room know.
    pub passcode: Option<Cow<'a, str>>,
    /// `ownerPasscode`: what shows that the room is its own.
    pub owner_passcode: Option<Cow<'a, str>>,
}

/// Numbers of room frames, as a receipt names them.
#[derive(Debug, PartialEq)]
pub struct Seqs {
    /// Each once, in the order of the request, at most [`limits::RECEIPT_SEQS`]. A number that no frame can have reads as 0, which none has.
    pub numbers: Vec<u64>,
    /// Whether they came as an array, and go on as one.
    pub in_array: bool,
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
struct TextMsg<'a, T, E> {
    #[serde(borrow)]
    msg_type: Raw<'a>,
    text_data: Option<T>,
    extend_fields: Option<E>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextData<'a, D> {
    #[serde(borrow)]
    data_type: Raw<'a>,
    data: Option<D>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtendFields<'a> {
    #[serde(borrow, rename = "ref")]
    reference: Raw<'a>,
    #[serde(borrow)]
    resume_token: Raw<'a>,
    #[serde(borrow)]
    last_seq: Raw<'a>,
    #[serde(borrow)]
    token: Raw<'a>,
    #[serde(borrow)]
    passcode: Raw<'a>,
    #[serde(borrow)]
    owner_passcode: Raw<'a>,
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
    #[serde(borrow)]
    seq: Raw<'a>,
    #[serde(borrow)]
    locked: Raw<'a>,
    #[serde(borrow)]
    quiet: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow, rename = "forS")]
    for_s: Raw<'a>,
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

/// An object's fields, as [`object`] reads them: a derived reader alone would take an array for an object.
struct Object<T>(T);

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
trait Part<T> {
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

/// A message whose objects are read with it, and one whose objects are to be read.
type Whole<'a> = TextMsg<'a, Object<TextData<'a, Object<Data<'a>>>>, Object<ExtendFields<'a>>>;
type InParts<'a> = TextMsg<'a, &'a RawValue, &'a RawValue>;

const FROM: &str = "textData.data.from";

fn read<'a>(text: &'a str, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure> {
    match serde_json::from_str::<Object<Whole>>(text) {
        Ok(Object(message)) => judge::<_, _, Object<_>>(message, reference),
        Err(_) => read_in_parts(text, reference),
    }
}

fn read_in_parts<'a>(text: &'a str, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure> {
    judge::<_, _, &RawValue>(object::<InParts>("the message", text)?, reference)
}

fn judge<'a, T, E, D>(message: TextMsg<'a, T, E>, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure>
where
    T: Part<TextData<'a, D>>,
    E: Part<ExtendFields<'a>>,
    D: Part<Data<'a>>,
{
    let msg_type = integer("msgType", required("msgType", message.msg_type, "an integer")?)?;
    if msg_type == Some(1) {
        return Ok(Request::Heartbeat);
    }
    let extend_fields = match message.extend_fields {
        None => ExtendFields::default(),
        Some(part) => part.read("extendFields")?,
    };
    if let Some(raw) = extend_fields.reference {
        string("extendFields.ref", Some(raw), limits::ID_BYTES)?;
        *reference = Some(raw.get());
    }
    if !matches!(msg_type, Some(2..=5)) {
        return Err(unknown("msgType", message.msg_type));
    }
    let text_data = required("textData", message.text_data, "an object")?.read("textData")?;
    let data_type = integer("textData.dataType", required("textData.dataType", text_data.data_type, "an integer")?)?;
    let kind = match (msg_type, data_type) {
        (Some(2), Some(1)) => Kind::Join,
        (Some(2 | 3), Some(2)) => Kind::Leave,
        (Some(3), Some(said @ (3 | 100..=65_535))) => Kind::Say(said as u16), // within a u16 by the pattern
        (Some(3), Some(4)) => Kind::Rule,
        (Some(3), Some(5)) => Kind::Remove,
        (Some(4), Some(3)) => Kind::Receipt,
        (Some(5), Some(1)) => Kind::Pull,
        _ => return Err(unknown("textData.dataType", text_data.data_type)),
    };
    let data = required("textData.data", text_data.data, "an object")?.read("textData.data")?;
    let room_number = not_empty("textData.data.roomNumber", data.room_number, limits::ID_BYTES)?;
    Ok(match kind {
        Kind::Join => {
            let from = member(required(FROM, data.from, "an object")?)?;
            let (resume, credentials) = (resume(&extend_fields)?, credentials(&extend_fields)?);
            Request::Join { from, room_number, resume, credentials }
        }
        Kind::Leave => Request::Leave { room_number },
        Kind::Say(data_type) => {
            let from_id = match data.from {
                None => None,
                Some(raw) => optional_string(FROM_ID, object::<From>(FROM, raw.get())?.id, limits::ID_BYTES)?,
            };
            // Nobody has the empty id: whoever sends it has left it out.
            let from_id = from_id.filter(|id| !id.is_empty());
            Request::Say { data_type, room_number, from_id, content: content_of(data_type, data.content)? }
        }
        Kind::Rule => {
            let locked = optional_switch("textData.data.locked", data.locked)?;
            let quiet = optional_switch("textData.data.quiet", data.quiet)?;
            Request::Rule { room_number, change: Change { locked, quiet } }
        }
        Kind::Remove => {
            let id = not_empty("textData.data.id", data.id, limits::ID_BYTES)?;
            Request::Remove { room_number, id, for_s: for_s(data.for_s)? }
        }
        Kind::Receipt => Request::Receipt { room_number, seqs: seqs(data.seq)? },
        Kind::Pull => Request::Pull { room_number },
    })
}

/// What is asked, by its two types.
enum Kind {
    Join,
    Leave,
    Say(u16),
    Rule,
    Remove,
    Receipt,
    Pull,
}

fn member(raw: &RawValue) -> Result<Member<'_>, Failure> {
    let from: From = object(FROM, raw.get())?;
    Ok(Member {
        id: not_empty(FROM_ID, from.id, limits::ID_BYTES)?,
        person_name: string("textData.data.from.personName", from.person_name, limits::NAME_BYTES)?,
        person_num: string("textData.data.from.personNum", from.person_num, limits::ID_BYTES)?,
        nick_name: string("textData.data.from.nickName", from.nick_name, limits::NAME_BYTES)?,
        head_img_url: string("textData.data.from.headImgUrl", from.head_img_url, limits::URL_BYTES)?,
    })
}

fn resume<'a>(extend_fields: &ExtendFields<'a>) -> Result<Resume<'a>, Failure> {
    let token = optional_string("extendFields.resumeToken", extend_fields.resume_token, limits::RESUME_TOKEN_BYTES)?;
    let last_seq = match extend_fields.last_seq {
        None => None,
        Some(raw) => Some(integer("extendFields.lastSeq", raw)?.unwrap_or(u64::MAX)),
    };
    Ok(Resume { token, last_seq })
}

fn credentials<'a>(extend_fields: &ExtendFields<'a>) -> Result<Credentials<'a>, Failure> {
    let ExtendFields { token, passcode, owner_passcode, .. } = *extend_fields;
    Ok(Credentials {
        token: optional_string("extendFields.token", token, limits::TOKEN_BYTES)?,
        passcode: optional_string("extendFields.passcode", passcode, limits::PASSCODE_BYTES)?,
        owner_passcode: optional_string("extendFields.ownerPasscode", owner_passcode, limits::PASSCODE_BYTES)?,
    })
}

fn seqs(raw: Raw<'_>) -> Result<Seqs, Failure> {
    const FIELD: &str = "textData.data.seq";
    const EXPECTED: &str = "an integer, or an array of 1 to 64";
    const { assert!(limits::RECEIPT_SEQS == 64) };
    let raw = required(FIELD, raw, EXPECTED)?;
    let in_array = raw.get().starts_with('[');
    // Of an array only that its parts are JSON is known as yet.
    let parts = match in_array {
        true => serde_json::from_str(raw.get()).map_err(|_| bad(FIELD, EXPECTED))?,
        false => vec![raw],
    };
    if parts.is_empty() {
        return Err(bad(FIELD, EXPECTED));
    }
    if parts.len() > limits::RECEIPT_SEQS {
        let (count, most) = (parts.len(), limits::RECEIPT_SEQS);
        return Err(Failure::new(Code::TooLong, format!("{FIELD}: {count} numbers, at most {most} are allowed")));
    }
    let mut numbers = Vec::with_capacity(parts.len());
    for part in parts {
        let number = integer(FIELD, part).map_err(|_| bad(FIELD, EXPECTED))?.unwrap_or(0);
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Ok(Seqs { numbers, in_array })
}

const FROM_ID: &str = "textData.data.from.id";

fn content_of(data_type: u16, raw: Raw<'_>) -> Result<&str, Failure> {
    const FIELD: &str = "textData.data.content";
    let expected = if data_type == CHAT_TEXT { "a string" } else { "a JSON value other than null" };
    let text = required(FIELD, raw, expected)?.get();
    if data_type == CHAT_TEXT && !text.starts_with('"') {
        return Err(bad(FIELD, expected));
    }
    content::check(text).map_err(|expected| Failure::new(Code::BadJson, format!("{FIELD}: {expected}")))?;
    Ok(text)
}

fn for_s(raw: Raw<'_>) -> Result<u32, Failure> {
    const FIELD: &str = "textData.data.forS";
    const EXPECTED: &str = "an integer from 0 to 86400, in seconds";
    const { assert!(limits::REMOVED_FOR_S == 86_400) };
    let number = integer(FIELD, required(FIELD, raw, EXPECTED)?).map_err(|_| bad(FIELD, EXPECTED))?;
    let for_s = number.and_then(|number| u32::try_from(number).ok()).filter(|for_s| *for_s <= limits::REMOVED_FOR_S);
    for_s.ok_or_else(|| bad(FIELD, EXPECTED))
}

fn optional_switch(field: &str, raw: Raw<'_>) -> Result<Option<bool>, Failure> {
    match raw.map(RawValue::get) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(bad(field, "true or false")),
    }
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

fn required<T>(field: &str, value: Option<T>, expected: &str) -> Result<T, Failure> {
    value.ok_or_else(|| bad(field, expected))
}

/// An integer; `None` for one below 0 or beyond 64 bits, however long.
fn integer(field: &str, raw: &RawValue) -> Result<Option<u64>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The code and words of what was wrong with a message.
    fn wrong(message: &Value) -> (Code, String) {
        let failure = Envelope::read(&message.to_string()).request.unwrap_err();
        (failure.code, failure.msg.into_owned())
    }

    fn join() -> Value {
        let from = json!({"id": "a", "personName": "张三", "personNum": "1", "nickName": "三", "headImgUrl": "/h.jpg"});
        json!({"msgType": 2, "textData": {"dataType": 1, "data": {"from": from, "roomNumber": "E1"}}, "extendFields": {"ref": "r"}})
    }

    fn chat() -> Value {
        json!({"msgType": 3, "textData": {"dataType": 3, "data": {"roomNumber": "E1", "content": "hi"}}, "extendFields": {}})
    }

    #[test]
    fn each_code_stands_at_its_own_number() {
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| *code as usize == place));
    }

    #[test]
    fn a_join_is_read_where_it_lies() {
        let text = join().to_string();
        let Envelope { reference, request: Ok(Request::Join { from, room_number, .. }) } = Envelope::read(&text) else {
            panic!("not a join")
        };
        assert_eq!((reference, &*room_number, &*from.person_name), (Some("\"r\""), "E1", "张三"));
        for (name, value, _) in from.fields() {
            assert!(matches!(value, Cow::Borrowed(_)), "{name} was copied");
        }
    }

    /// What is put into messages below: of each kind, and of those that are taken for another.
    fn odd() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!(null)),
            Just(json!([])),
            Just(json!({})),
            Just(json!([3, {"roomNumber": "E1", "content": "hi"}])),
            Just(json!({"dataType": 3, "data": [null, "E1", "hi"]})),
            Just(json!({"roomNumber": "E1", "content": {"a": [{"b": [[1e300]]}]}})),
            Just(json!("E1")),
            Just(json!(1)),
            Just(json!(3)),
            Just(json!(-7.5)),
            Just(json!(true)),
        ]
    }

    proptest! {
        #[test]
        fn a_message_reads_the_same_at_once_and_in_parts(
            is_join in any::<bool>(),
            odd in prop::collection::vec((0usize..8, odd()), 0..3),
            slip in prop::option::of((0usize..300, 0usize..3)),
            again in prop::option::of(prop::sample::select(vec!["msgType", "textData", "extendFields"])),
        ) {
            let mut message = if is_join { join() } else { chat() };
            for (place, odd) in odd {
                let place = [
                    "/msgType", "/textData", "/extendFields", "/textData/dataType", "/textData/data",
                    "/textData/data/roomNumber", "/textData/data/content", "/textData/data/from",
                ][place];
                if let Some(value) = message.pointer_mut(place) {
                    *value = odd;
                }
            }
            let mut text = message.to_string();
            if let Some(name) = again {
                text = text.replacen('{', &format!(r#"{{"{name}":null,"#), 1);
            }
            if let Some((at, times)) = slip {
                // A letter is missing, or there are too many of it.
                let letters = text.chars().enumerate();
                text = letters.flat_map(|(n, letter)| std::iter::repeat_n(letter, if n == at { times } else { 1 })).collect();
            }
            let mut reference = None;
            let request = read_in_parts(&text, &mut reference);
            prop_assert_eq!(Envelope::read(&text), Envelope { reference, request }, "{}", text);
        }
    }

    #[test]
    fn null_reads_as_absent_and_unknown_fields_as_nothing() {
        let mut message = join();
        message["textData"]["data"]["from"] = json!({"id": "a", "personName": null, "nickName": null, "age": [1]});
        message["extendFields"] = json!({"ref": null, "token": null, "later": {"x": 1}});
        message["more"] = json!([[[]]]);
        let text = message.to_string();
        let Envelope { reference: None, request: Ok(Request::Join { from, .. }) } = Envelope::read(&text) else {
            panic!("not a join")
        };
        assert_eq!(from, Member { id: "a".into(), ..Member::default() });
        message["extendFields"] = Value::Null;
        assert!(Envelope::read(&message.to_string()).request.is_ok());
    }

    #[test]
    fn every_wrong_field_is_named_with_what_was_expected() {
        for (path, expected) in [
            ("/msgType", "msgType: expected an integer"),
            ("/textData", "textData: expected an object"),
            ("/extendFields", "extendFields: expected an object"),
            ("/extendFields/ref", "extendFields.ref: expected a string"),
            ("/textData/dataType", "textData.dataType: expected an integer"),
            ("/textData/data", "textData.data: expected an object"),
            ("/textData/data/roomNumber", "textData.data.roomNumber: expected a string"),
            ("/textData/data/from", "textData.data.from: expected an object"),
            ("/textData/data/from/id", "textData.data.from.id: expected a string"),
            ("/textData/data/from/personName", "textData.data.from.personName: expected a string"),
            ("/textData/data/from/personNum", "textData.data.from.personNum: expected a string"),
            ("/textData/data/from/nickName", "textData.data.from.nickName: expected a string"),
            ("/textData/data/from/headImgUrl", "textData.data.from.headImgUrl: expected a string"),
        ] {
            for bad in [json!([]), json!(true), json!([{"id": "a"}])] {
                let mut message = join();
                *message.pointer_mut(path).unwrap() = bad;
                assert_eq!(wrong(&message), (Code::BadJson, expected.to_string()));
            }
        }
        for bad in [json!([]), json!({}), json!(1), Value::Null] {
            let mut message = chat();
            message["textData"]["data"]["content"] = bad;
            assert_eq!(wrong(&message), (Code::BadJson, "textData.data.content: expected a string".to_string()));
        }
    }

    #[test]
    fn what_must_be_there_and_not_empty_is_asked_for() {
        for path in ["msgType", "textData"] {
            let mut message = join();
            message.as_object_mut().unwrap().remove(path);
            assert!(wrong(&message).1.starts_with(&format!("{path}: expected")));
        }
        for (field, empty) in [("/textData/data/from/id", json!("")), ("/textData/data/roomNumber", json!(""))] {
            let mut message = join();
            *message.pointer_mut(field).unwrap() = empty;
            assert!(wrong(&message).1.ends_with("expected a string that is not empty"));
        }
    }

    #[test]
    fn fields_are_measured_in_bytes() {
        for (path, limit) in [
            ("/textData/data/from/id", 64),
            ("/textData/data/from/personNum", 64),
            ("/textData/data/roomNumber", 64),
            ("/extendFields/ref", 64),
            ("/textData/data/from/personName", 96),
            ("/textData/data/from/nickName", 96),
            ("/textData/data/from/headImgUrl", 256),
        ] {
            let mut message = join();
            *message.pointer_mut(path).unwrap() = json!("老".repeat(limit / 3) + &"x".repeat(limit % 3));
            assert!(Envelope::read(&message.to_string()).request.is_ok(), "{path}");
            *message.pointer_mut(path).unwrap() = json!("老".repeat(limit / 3 + 1));
            let (code, msg) = wrong(&message);
            assert_eq!(code, Code::TooLong);
            assert!(msg.contains(path.rsplit('/').next().unwrap()) && msg.contains(&limit.to_string()), "{msg}");
        }
    }

    #[test]
    fn types_that_are_not_spoken_are_unknown_whatever_comes_with_them() {
        for types in [
            (4, 1),
            (4, 2),
            (4, 100),
            (5, 2),
            (5, 3),
            (6, 1),
            (0, 1),
            (-1, 1),
            (2, 3),
            (2, 100),
            (3, 1),
            (3, 6),
            (3, 99),
            (3, 65_536),
            (3, -3),
        ] {
            let message = json!({"msgType": types.0, "textData": {"dataType": types.1, "data": {"odd": true}}});
            assert_eq!(wrong(&message).0, Code::UnknownType, "{types:?}");
        }
        let huge = "9".repeat(400);
        let text = format!(r#"{{"msgType":{huge},"textData":{{}}}}"#);
        assert_eq!(Envelope::read(&text).request.unwrap_err().code, Code::UnknownType);
        for number in ["1.5", "1e400", "\"2\"", "2.0"] {
            let text = format!(r#"{{"msgType":{number}}}"#);
            assert_eq!(Envelope::read(&text).request.unwrap_err().code, Code::BadJson, "{number}");
        }
    }

    #[test]
    fn a_leave_is_taken_under_both_types_and_a_heartbeat_with_anything() {
        for msg_type in [2, 3] {
            let text =
                json!({"msgType": msg_type, "textData": {"dataType": 2, "data": {"roomNumber": "E1"}}}).to_string();
            assert_eq!(Envelope::read(&text).request, Ok(Request::Leave { room_number: "E1".into() }));
        }
        for text in [r#"{"msgType":1}"#, r#" { "textData":7, "msgType" : 1 , "extendFields":[] } "#] {
            assert_eq!(Envelope::read(text).request, Ok(Request::Heartbeat));
        }
    }

    #[test]
    fn content_is_a_slice_of_the_message() {
        let text = r#"{"msgType":3,"textData":{"dataType":100,"data":{"content": {"up" : true} ,"roomNumber":"E1","from":{"id":"a"}}}}"#;
        let Ok(Request::Say { data_type: 100, content, from_id, .. }) = Envelope::read(text).request else {
            panic!("not application data")
        };
        assert_eq!((content, from_id.as_deref()), (r#"{"up" : true}"#, Some("a")));
    }

    #[test]
    fn what_is_not_json_is_said_so_and_ten_thousand_brackets_harm_nobody() {
        let nested = "[".repeat(10_000);
        let closed = nested.clone() + &"]".repeat(10_000);
        let unknown = format!(r#"{{"msgType":1,"x":{closed}}}"#);
        assert_eq!(Envelope::read(&unknown).request, Ok(Request::Heartbeat));
        for text in [
            "",
            "null",
            "{",
            "{}x",
            "[1]",
            "\"\"",
            "{\"msgType\":1,}",
            "{\"msgType\":1}{",
            &nested,
            &closed,
            "{\"a\":\"\0\"}",
        ] {
            let failure = Envelope::read(text).request.unwrap_err();
            assert_eq!(failure.code, Code::BadJson, "{text}");
            assert!(failure.msg.len() < 200, "{}", failure.msg);
        }
        let twice = r#"{"msgType":1,"msgType":2}"#;
        assert!(Envelope::read(twice).request.unwrap_err().msg.contains("duplicate field `msgType`"));
    }

    #[test]
    fn a_join_shows_what_it_has_of_an_earlier_seat() {
        let resume_of = |fields: Value| {
            let mut message = join();
            message["extendFields"] = fields;
            let text = message.to_string();
            match Envelope::read(&text).request {
                Ok(Request::Join { resume: Resume { token, last_seq }, .. }) => {
                    Ok((token.map(Cow::into_owned), last_seq))
                }
                other => Err(other.unwrap_err()),
            }
        };
        assert_eq!(resume_of(json!({})), Ok((None, None)));
        assert_eq!(resume_of(json!({"resumeToken": null, "lastSeq": null})), Ok((None, None)));
        assert_eq!(resume_of(json!({"resumeToken": "1f.9d", "lastSeq": 7})), Ok((Some("1f.9d".into()), Some(7))));
        assert_eq!(resume_of(json!({"lastSeq": -1})), Ok((None, Some(u64::MAX))));
        for (field, wrong, code, says) in [
            ("lastSeq", json!("7"), Code::BadJson, "extendFields.lastSeq: expected an integer"),
            ("lastSeq", json!(7.5), Code::BadJson, "extendFields.lastSeq: expected an integer"),
            ("resumeToken", json!(7), Code::BadJson, "extendFields.resumeToken: expected a string"),
            (
                "resumeToken",
                json!("x".repeat(65)),
                Code::TooLong,
                "extendFields.resumeToken: 65 bytes, at most 64 are allowed",
            ),
        ] {
            assert_eq!(resume_of(json!({ field: wrong })), Err(Failure::new(code, says)));
            // They mean something in a join alone.
            let mut message = chat();
            message["extendFields"] = json!({ field: wrong });
            assert!(Envelope::read(&message.to_string()).request.is_ok());
        }
    }

    #[test]
    fn a_join_shows_what_lets_it_in_each_within_its_limit() {
        for (field, limit) in [("token", 2048), ("passcode", 64), ("ownerPasscode", 64)] {
            let shown = |value: Value| {
                let mut message = join();
                message["extendFields"] = json!({ field: value });
                let text = message.to_string();
                match Envelope::read(&text).request {
                    Ok(Request::Join { credentials: Credentials { token, passcode, owner_passcode }, .. }) => {
                        let all = [("token", token), ("passcode", passcode), ("ownerPasscode", owner_passcode)];
                        assert!(all.iter().all(|(name, value)| *name == field || value.is_none()), "{field}");
                        Ok(all.into_iter().find_map(|(_, value)| value).map(Cow::into_owned))
                    }
                    other => Err(other.unwrap_err()),
                }
            };
            let longest = "x".repeat(limit);
            assert_eq!(shown(Value::Null), Ok(None));
            assert_eq!(shown(json!("")), Ok(Some(String::new())));
            assert_eq!(shown(json!(longest)), Ok(Some(longest.clone())));
            let says = format!("extendFields.{field}: {} bytes, at most {limit} are allowed", limit + 1);
            assert_eq!(shown(json!(longest + "x")), Err(Failure::new(Code::TooLong, says)));
            for wrong in [json!(1234), json!(["a"]), json!({}), json!(true)] {
                let says = format!("extendFields.{field}: expected a string");
                assert_eq!(shown(wrong.clone()), Err(Failure::new(Code::BadJson, says)));
                // They mean something in a join alone.
                let mut message = chat();
                message["extendFields"] = json!({ field: wrong });
                assert!(Envelope::read(&message.to_string()).request.is_ok());
            }
        }
    }

    #[test]
    fn an_owner_says_what_changes_and_no_more() {
        let change_of = |data: Value| {
            let mut message = json!({"msgType": 3, "textData": {"dataType": 4, "data": data}});
            message["textData"]["data"]["roomNumber"] = json!("E1");
            match Envelope::read(&message.to_string()).request {
                Ok(Request::Rule { change: Change { locked, quiet }, .. }) => Ok((locked, quiet)),
                other => Err(other.unwrap_err()),
            }
        };
        assert_eq!(change_of(json!({"locked": true})), Ok((Some(true), None)));
        assert_eq!(change_of(json!({"quiet": false, "locked": null})), Ok((None, Some(false))));
        assert_eq!(change_of(json!({})), Ok((None, None)));
        for wrong in [json!(1), json!("true"), json!([])] {
            let says = "textData.data.locked: expected true or false";
            assert_eq!(change_of(json!({"locked": wrong})), Err(Failure::new(Code::BadJson, says)));
            let says = "textData.data.quiet: expected true or false";
            assert_eq!(change_of(json!({"quiet": wrong})), Err(Failure::new(Code::BadJson, says)));
        }
    }

    #[test]
    fn somebody_is_removed_by_id_for_a_day_at_most() {
        let removal_of = |id: Value, for_s: Value| {
            let data = json!({"roomNumber": "E1", "id": id, "forS": for_s});
            let message = json!({"msgType": 3, "textData": {"dataType": 5, "data": data}}).to_string();
            match Envelope::read(&message).request {
                Ok(Request::Remove { id, for_s, .. }) => Ok((id.into_owned(), for_s)),
                other => Err(other.unwrap_err()),
            }
        };
        for for_s in [0, 1, 86_400] {
            assert_eq!(removal_of(json!("a\n"), json!(for_s)), Ok(("a\n".to_owned(), for_s)));
        }
        let says = "textData.data.forS: expected an integer from 0 to 86400, in seconds";
        for wrong in [json!(-1), json!(86_401), json!(u64::MAX), json!(1.0), json!("1"), Value::Null] {
            assert_eq!(removal_of(json!("a"), wrong), Err(Failure::new(Code::BadJson, says)));
        }
        let says = "textData.data.id: expected a string that is not empty";
        for wrong in [json!(""), Value::Null] {
            assert_eq!(removal_of(wrong, json!(1)), Err(Failure::new(Code::BadJson, says)));
        }
        let says = "textData.data.id: 65 bytes, at most 64 are allowed";
        assert_eq!(removal_of(json!("x".repeat(65)), json!(1)), Err(Failure::new(Code::TooLong, says)));
    }

    #[test]
    fn a_receipt_names_one_message_or_up_to_64() {
        let seqs_of = |seq: Value| {
            let message = json!({"msgType": 4, "textData": {"dataType": 3, "data": {"roomNumber": "E1", "seq": seq}}})
                .to_string();
            match Envelope::read(&message).request {
                Ok(Request::Receipt { seqs, .. }) => Ok((seqs.numbers, seqs.in_array)),
                other => Err(other.unwrap_err()),
            }
        };
        assert_eq!(seqs_of(json!(17)), Ok((vec![17], false)));
        assert_eq!(seqs_of(json!([17])), Ok((vec![17], true)));
        assert_eq!(seqs_of(json!([3, 1, 3, 2, 1])), Ok((vec![3, 1, 2], true)));
        assert_eq!(seqs_of(json!(-1)), Ok((vec![0], false)));
        assert_eq!(seqs_of(json!((0..64).collect::<Vec<_>>())).map(|(seqs, _)| seqs.len()), Ok(64));
        let expected = "textData.data.seq: expected an integer, or an array of 1 to 64";
        for wrong in [json!([]), Value::Null, json!("1"), json!(1.0), json!([1, [2]]), json!([1, null]), json!({})] {
            assert_eq!(seqs_of(wrong), Err(Failure::new(Code::BadJson, expected)));
        }
        let too_long = "textData.data.seq: 65 numbers, at most 64 are allowed";
        assert_eq!(seqs_of(json!((0..65).collect::<Vec<_>>())), Err(Failure::new(Code::TooLong, too_long)));
    }

    #[test]
    fn the_ref_survives_whatever_else_is_wrong() {
        for mut message in [join(), chat()] {
            message["extendFields"] = json!({"ref": "\u{1}\"r"});
            message["textData"] = json!([]);
            assert_eq!(Envelope::read(&message.to_string()).reference, Some(r#""\u0001\"r""#));
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,200}") {
            let _read = Envelope::read(&text);
        }

        #[test]
        fn no_cut_or_flip_of_a_good_message_is_too_odd(at in 0usize..200, byte in any::<u8>()) {
            let mut bytes = join().to_string().into_bytes();
            let at = at % bytes.len();
            let cut = String::from_utf8_lossy(&bytes[..at]).into_owned();
            prop_assert!(Envelope::read(&cut).request.is_err());
            bytes[at] = byte;
            let _read = Envelope::read(&String::from_utf8_lossy(&bytes));
        }
    }
}

//! What a client may ask, read where it lies.
//!
//! Owns: the shape of every request (PROTOCOL.md, Connection; the specification's TextMsg), and the limits of its fields. Refuses to know: how a field is read
//! (`field`), rooms, rates, what an answer will be.
//!
//! Each field is first found as a slice of JSON text and then read by a helper that knows its path.
//! A message in which every object and number stands where one belongs, as nearly all do, is gone through once for all its levels, which takes no memory
//! but for what is nested deep in a content; only one with which something is wrong is taken apart level by level, to tell what.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content;
use super::failure::{Code, Failure};
use super::field::{
    Integer, Object, Part, Raw, bad, not_empty, object, optional_string, optional_switch, required, string, unknown,
};
use super::member::Member;
use crate::limits;

/// The dataType of what people say to each other; the rest of what is said is for programs.
pub const CHAT_TEXT: u16 = 3;

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextMsg<I, T, E> {
    msg_type: Option<I>,
    text_data: Option<T>,
    extend_fields: Option<E>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextData<I, D> {
    data_type: Option<I>,
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

/// A message whose parts are read with it, and one whose parts are to be read.
type Whole<'a> = TextMsg<u64, Object<TextData<u64, Object<Data<'a>>>>, Object<ExtendFields<'a>>>;
type InParts<'a> = TextMsg<&'a RawValue, &'a RawValue, &'a RawValue>;

const FROM: &str = "textData.data.from";

fn read<'a>(text: &'a str, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure> {
    match serde_json::from_str::<Object<Whole>>(text) {
        Ok(Object(message)) => judge::<_, _, _, Object<_>>(message, reference),
        Err(_) => read_in_parts(text, reference),
    }
}

fn read_in_parts<'a>(text: &'a str, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure> {
    judge::<_, _, _, &RawValue>(object::<InParts>("the message", text)?, reference)
}

fn judge<'a, I, T, E, D>(message: TextMsg<I, T, E>, reference: &mut Option<&'a str>) -> Result<Request<'a>, Failure>
where
    I: Integer,
    T: Part<TextData<I, D>>,
    E: Part<ExtendFields<'a>>,
    D: Part<Data<'a>>,
{
    let said_type = required("msgType", message.msg_type, "an integer")?;
    let msg_type = said_type.value("msgType")?;
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
        return Err(unknown("msgType", said_type));
    }
    let text_data = required("textData", message.text_data, "an object")?.read("textData")?;
    let data_type = required("textData.dataType", text_data.data_type, "an integer")?;
    let kind = match (msg_type, data_type.value("textData.dataType")?) {
        (Some(2), Some(1)) => Kind::Join,
        (Some(2 | 3), Some(2)) => Kind::Leave,
        (Some(3), Some(said @ (3 | 100..=65_535))) => Kind::Say(said as u16), // within a u16 by the pattern
        (Some(3), Some(4)) => Kind::Rule,
        (Some(3), Some(5)) => Kind::Remove,
        (Some(4), Some(3)) => Kind::Receipt,
        (Some(5), Some(1)) => Kind::Pull,
        _ => return Err(unknown("textData.dataType", data_type)),
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
        Some(raw) => Some(raw.value("extendFields.lastSeq")?.unwrap_or(u64::MAX)),
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
        let number = part.value(FIELD).map_err(|_| bad(FIELD, EXPECTED))?.unwrap_or(0);
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
    let number = required(FIELD, raw, EXPECTED)?.value(FIELD).map_err(|_| bad(FIELD, EXPECTED))?;
    let for_s = number.and_then(|number| u32::try_from(number).ok()).filter(|for_s| *for_s <= limits::REMOVED_FOR_S);
    for_s.ok_or_else(|| bad(FIELD, EXPECTED))
}

#[cfg(test)]
mod tests;

//! What the hub says, as the JSON of PROTOCOL.md.
//!
//! Owns: the shape of every reply and broadcast. Refuses to know: when one is due and who reads it. Members and rooms come as
//! pieces of JSON that their room has kept since they joined or changed, so that nothing is serialised twice; `room_fields` is such a piece,
//! `"number":…,"name":…,"desc":…,"owner":{…},"createTime":…`, without braces.

use serde::Serialize;

use super::close::LeaveReason;
use super::request::Failure;

/// The duplicate join's words: the specification's own, to the letter.
pub const DUPLICATE: &str = "连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!";

/// Where a frame stands in its room's series, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The frame's number, from 1.
    pub seq: u64,
    /// Milliseconds since 1970 by the hub's clock.
    pub time_ms: u64,
    /// The request's `ref` as JSON text, where it had one.
    pub reference: Option<&'a str>,
}

/// `value` as JSON text.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    // Strings, numbers and structs of them: no map with odd keys, no writer that fails.
    serde_json::to_string(value).expect("plain data is always JSON")
}

/// The joiner's own reply: the Room with everyone in it. `members` are pieces of JSON in join order, the joiner last.
pub fn join_successfully<'m>(
    out: &mut Vec<u8>,
    room_fields: &str,
    members: impl Iterator<Item = &'m str>,
    joiner: &str,
    stamp: Stamp,
) {
    successfully(out, "Join", 1, stamp, None, |out| {
        put(out, room_fields);
        put(out, r#","members":["#);
        for (n, member) in members.enumerate() {
            if n > 0 {
                out.push(b',');
            }
            put(out, member);
        }
        put(out, r#"],"newJoinMember":"#);
        put(out, joiner);
    });
}

/// What everyone else in the room sees of a join.
pub fn joined(out: &mut Vec<u8>, room_fields: &str, joiner: &str, stamp: Stamp) {
    successfully(out, "Join", 1, stamp, None, |out| {
        put(out, room_fields);
        put(out, r#","newJoinMember":"#);
        put(out, joiner);
    });
}

/// What everyone left in the room sees of a leave, and the leaver too where it asked.
pub fn left(out: &mut Vec<u8>, room_fields: &str, leaver: &str, reason: LeaveReason, stamp: Stamp) {
    successfully(out, "Leave", 2, stamp, Some(reason), |out| {
        put(out, room_fields);
        put(out, r#","newLeaveMember":"#);
        put(out, leaver);
    });
}

/// Chat text or application data, to everyone. `from`, `room_number` and `content` are JSON text.
pub fn said(out: &mut Vec<u8>, data_type: u16, from: &str, room_number: &str, content: &str, stamp: Stamp) {
    successfully(out, "Chat", data_type, stamp, None, |out| {
        put(out, r#""from":"#);
        put(out, from);
        put(out, r#","roomNumber":"#);
        put(out, room_number);
        put(out, r#","content":"#);
        put(out, content);
    });
}

/// A failure with its code.
pub fn failed(out: &mut Vec<u8>, failure: &Failure, reference: Option<&str>) {
    put(out, r#"{"status":0,"msg":"#);
    put(out, &json(&*failure.msg));
    put(out, r#","resultBody":"","code":""#);
    put(out, failure.code.as_str());
    out.push(b'"');
    if let Some(reference) = reference {
        put(out, r#","ref":"#);
        put(out, reference);
    }
    out.push(b'}');
}

/// The refusal of a second join under one id: three fields, as the specification shows it, and no more.
pub fn duplicate(out: &mut Vec<u8>) {
    put(out, r#"{"status":0,"msg":"#);
    put(out, &json(DUPLICATE));
    put(out, r#","resultBody":""}"#);
}

fn successfully(
    out: &mut Vec<u8>,
    what: &str,
    data_type: u16,
    stamp: Stamp,
    reason: Option<LeaveReason>,
    data: impl FnOnce(&mut Vec<u8>),
) {
    put(out, r#"{"status":1,"msg":""#);
    put(out, what);
    put(out, r#" successfully","resultBody":{"msgType":3,"textData":{"dataType":"#);
    put_number(out, u64::from(data_type));
    put(out, r#","data":{"#);
    data(out);
    put(out, r#"}},"extendFields":{"seq":"#);
    put_number(out, stamp.seq);
    put(out, r#","time":"#);
    put_number(out, stamp.time_ms);
    if let Some(reference) = stamp.reference {
        put(out, r#","ref":"#);
        put(out, reference);
    }
    if let Some(reason) = reason {
        put(out, r#","reason":""#);
        put(out, reason.as_str());
        out.push(b'"');
    }
    put(out, "}}}");
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Decimal digits, without the allocation that formatting into a String would be.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8; // a single digit
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Code;
    use serde_json::{Value, json};

    fn value(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    const STAMP: Stamp = Stamp { seq: 7, time_ms: u64::MAX, reference: Some(r#""a\"b""#) };

    #[test]
    fn every_frame_is_json_whatever_stands_in_it() {
        let room = r#""number":"E1""#;
        let member = r#"{"id":"\"}"}"#;
        let join = value(|out| join_successfully(out, room, [member, member].into_iter(), member, STAMP));
        assert_eq!(join["resultBody"]["textData"]["data"]["members"], json!([{"id": "\"}"}, {"id": "\"}"}]));
        assert_eq!(join["resultBody"]["extendFields"], json!({"seq": 7, "time": u64::MAX, "ref": "a\"b"}));
        let left = value(|out| left(out, room, member, LeaveReason::Lost, Stamp { reference: None, ..STAMP }));
        assert_eq!(left["resultBody"]["extendFields"], json!({"seq": 7, "time": u64::MAX, "reason": "lost"}));
        let said = value(|out| said(out, 100, member, r#""E1""#, "[null]", STAMP));
        assert_eq!(said["resultBody"]["textData"]["dataType"], 100);
        assert_eq!(said["resultBody"]["textData"]["data"]["content"], json!([null]));
    }

    #[test]
    fn a_failure_says_code_and_ref() {
        let failure = Failure::new(Code::TooLong, "a \"field\"");
        assert_eq!(
            value(|out| failed(out, &failure, Some("\"r\""))),
            json!({"status": 0, "msg": "a \"field\"", "resultBody": "", "code": "too_long", "ref": "r"})
        );
        assert_eq!(value(duplicate), json!({"status": 0, "msg": DUPLICATE, "resultBody": ""}));
    }

    #[test]
    fn numbers_of_every_length() {
        for number in [0, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}

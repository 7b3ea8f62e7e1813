//! What the hub says, as the JSON of PROTOCOL.md.
//!
//! Owns: the shape of every reply and broadcast. Refuses to know: when one is due and who reads it. Members and rooms come as
//! pieces of JSON that their room has kept since they joined or changed, so that nothing is serialised twice; `room_fields` is such a piece,
//! `"number":…,"name":…,"desc":…,"owner":{…},"createTime":…`, without braces.

use serde::Serialize;

use super::close::LeaveReason;
use super::failure::Failure;

/// The duplicate join's words: the specification's own, to the letter.
pub const DUPLICATE: &str = "连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!";

/// How what has been done is told, up to its dataType.
macro_rules! opening {
    ($what:literal, $msg_type:literal) => {
        concat!(
            r#"{"status":1,"msg":""#,
            $what,
            r#" successfully","resultBody":{"msgType":"#,
            $msg_type,
            r#","textData":{"dataType":"#
        )
    };
}

const JOINED: &str = opening!("Join", 3);
const LEFT: &str = opening!("Leave", 3);
const SAID: &str = opening!("Chat", 3);
const RULED: &str = opening!("Rule", 3);
const RECEIVED: &str = opening!("Receive", 4);
const PULLED: &str = opening!("Pull", 5);

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

/// What a joiner's own reply says of what it has seen before (PROTOCOL.md, Recovery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It showed nothing: it is told who is here.
    Nothing,
    /// It showed how far it had come, and the rest follows: it knows who is here.
    Replayed,
    /// It showed how far it had come, and not all of the rest can be had: it is told so, and who is here.
    Gap,
}

/// The joiner's own reply: the Room, with everyone in it but where a replay follows. `members` are pieces of JSON in join order.
pub fn join_successfully<'m>(
    out: &mut Vec<u8>,
    room_fields: &str,
    members: impl Iterator<Item = &'m str>,
    joiner: &str,
    stamp: Stamp,
    resume_token: &str,
    seen: Seen,
) {
    begin(out, JOINED, 1);
    put(out, room_fields);
    if seen != Seen::Replayed {
        put_members(out, members);
    }
    put(out, r#","newJoinMember":"#);
    put(out, joiner);
    put(out, r#"}},"extendFields":"#);
    put_stamp(out, stamp);
    put(out, r#","resumeToken":""#);
    put(out, resume_token);
    out.push(b'"');
    if seen == Seen::Gap {
        put(out, r#","gap":true"#);
    }
    put(out, "}}}");
}

/// The answer to a pull: the Room with everyone in it, and the number of its newest frame.
pub fn pulled<'m>(
    out: &mut Vec<u8>,
    room_fields: &str,
    members: impl Iterator<Item = &'m str>,
    seq: u64,
    reference: Option<&str>,
) {
    begin(out, PULLED, 1);
    put(out, room_fields);
    put_members(out, members);
    put(out, r#"}},"extendFields":{"seq":"#);
    put_number(out, seq);
    put_reference(out, reference);
    put(out, "}}}");
}

/// What a message's author is told by a receipt: who has received which of its messages. `from` and `room_number` are JSON text.
pub fn received(out: &mut Vec<u8>, from: &str, room_number: &str, seqs: &[u64], in_array: bool) {
    begin(out, RECEIVED, 3);
    put(out, r#""from":"#);
    put(out, from);
    put(out, r#","roomNumber":"#);
    put(out, room_number);
    put(out, r#","seq":"#);
    put(out, if in_array { "[" } else { "" });
    for (n, seq) in seqs.iter().enumerate() {
        put(out, if n > 0 { "," } else { "" });
        put_number(out, *seq);
    }
    put(out, if in_array { "]" } else { "" });
    put(out, "}}}}");
}

/// The author of a message, as [`said`] wrote it: the beginning of its Member, to the end of the id. `None` for every other frame.
#[must_use]
pub fn author(payload: &[u8]) -> Option<&[u8]> {
    let rest = payload.strip_prefix(SAID.as_bytes())?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let member = rest[digits..].strip_prefix(br#","data":{"from":"#)?;
    Some(&member[..id_end(member)?])
}

/// How the JSON text of a Member with this id begins, up to [`id_end`].
#[must_use]
pub fn member_beginning(id: &str) -> String {
    #[derive(Serialize)]
    struct Id<'a> {
        id: &'a str,
    }
    let mut text = json(&Id { id });
    text.pop(); // the brace
    text
}

/// Where the id of a Member ends, whose JSON text begins here; its quotation mark is the last byte of it. `None` where that is no Member.
#[must_use]
pub fn id_end(member: &[u8]) -> Option<usize> {
    let id = member.strip_prefix(MEMBER)?;
    let mut escaped = false;
    let end = id.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some(MEMBER.len() + end + 1)
}

/// How a Member begins.
const MEMBER: &[u8] = br#"{"id":""#;

/// What everyone else in the room sees of a join.
pub fn joined(out: &mut Vec<u8>, room_fields: &str, joiner: &str, stamp: Stamp) {
    successfully(out, JOINED, 1, stamp, None, |out| {
        put(out, room_fields);
        put(out, r#","newJoinMember":"#);
        put(out, joiner);
    });
}

/// What everyone left in the room sees of a leave, and the leaver too where it asked.
pub fn left(out: &mut Vec<u8>, room_fields: &str, leaver: &str, reason: LeaveReason, stamp: Stamp) {
    successfully(out, LEFT, 2, stamp, Some(reason), |out| {
        put(out, room_fields);
        put(out, r#","newLeaveMember":"#);
        put(out, leaver);
    });
}

/// What holds in a room from now on, to everyone. `room_fields` are without what else they would say of it.
pub fn ruled(out: &mut Vec<u8>, room_fields: &str, locked: bool, quiet: bool, stamp: Stamp) {
    successfully(out, RULED, 4, stamp, None, |out| {
        put(out, room_fields);
        put(out, r#","locked":"#);
        put(out, if locked { "true" } else { "false" });
        put(out, r#","quiet":"#);
        put(out, if quiet { "true" } else { "false" });
    });
}

/// That nobody keeps a member out any longer, to the owner alone. `room_number` is JSON text.
pub fn lifted(out: &mut Vec<u8>, room_number: &str, id: &str, reference: Option<&str>) {
    begin(out, RULED, 5);
    put(out, r#""roomNumber":"#);
    put(out, room_number);
    put(out, r#","id":"#);
    put(out, &json(id));
    put(out, r#","forS":0}}"#);
    if let Some(reference) = reference {
        put(out, r#","extendFields":{"ref":"#);
        put(out, reference);
        out.push(b'}');
    }
    put(out, "}}");
}

/// Chat text or application data, to everyone. `from`, `room_number` and `content` are JSON text.
pub fn said(out: &mut Vec<u8>, data_type: u16, from: &str, room_number: &str, content: &str, stamp: Stamp) {
    successfully(out, SAID, data_type, stamp, None, |out| {
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
    put_reference(out, reference);
    out.push(b'}');
}

/// The refusal of a second join under one id: three fields, as the specification shows it, and no more.
pub fn duplicate(out: &mut Vec<u8>) {
    put(out, r#"{"status":0,"msg":"#);
    put(out, &json(DUPLICATE));
    put(out, r#","resultBody":""}"#);
}

/// A broadcast: it has a place in the room's series.
fn successfully(
    out: &mut Vec<u8>,
    opening: &str,
    data_type: u16,
    stamp: Stamp,
    reason: Option<LeaveReason>,
    data: impl FnOnce(&mut Vec<u8>),
) {
    begin(out, opening, data_type);
    data(out);
    put(out, r#"}},"extendFields":"#);
    put_stamp(out, stamp);
    if let Some(reason) = reason {
        put(out, r#","reason":""#);
        put(out, reason.as_str());
        out.push(b'"');
    }
    put(out, "}}}");
}

/// Everything up to the fields of `data`.
fn begin(out: &mut Vec<u8>, opening: &str, data_type: u16) {
    put(out, opening);
    put_number(out, u64::from(data_type));
    put(out, r#","data":{"#);
}

/// `extendFields`, but for its closing brace.
fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    put(out, r#"{"seq":"#);
    put_number(out, stamp.seq);
    put(out, r#","time":"#);
    put_number(out, stamp.time_ms);
    put_reference(out, stamp.reference);
}

fn put_reference(out: &mut Vec<u8>, reference: Option<&str>) {
    if let Some(reference) = reference {
        put(out, r#","ref":"#);
        put(out, reference);
    }
}

fn put_members<'m>(out: &mut Vec<u8>, members: impl Iterator<Item = &'m str>) {
    put(out, r#","members":["#);
    for (n, member) in members.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        put(out, member);
    }
    out.push(b']');
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    put(out, itoa::Buffer::new().format(number));
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
        let two = || [member, member].into_iter();
        let extend = json!({"seq": 7, "time": u64::MAX, "ref": "a\"b", "resumeToken": "1.a"});
        let join = value(|out| join_successfully(out, room, two(), member, STAMP, "1.a", Seen::Nothing));
        assert_eq!(join["resultBody"]["textData"]["data"]["members"], json!([{"id": "\"}"}, {"id": "\"}"}]));
        assert_eq!(join["resultBody"]["extendFields"], extend);
        let join = value(|out| join_successfully(out, room, two(), member, STAMP, "1.a", Seen::Replayed));
        assert_eq!(
            join["resultBody"]["textData"]["data"],
            json!({"number": "E1", "newJoinMember": {"id": "\"}"}}),
            "who has seen the rest knows who is here"
        );
        assert_eq!(join["resultBody"]["extendFields"], extend);
        let join = value(|out| join_successfully(out, room, two(), member, STAMP, "1.a", Seen::Gap));
        assert_eq!(join["resultBody"]["extendFields"]["gap"], true);
        assert_eq!(join["resultBody"]["textData"]["data"]["members"].as_array().map(Vec::len), Some(2));
        let left = value(|out| left(out, room, member, LeaveReason::Lost, Stamp { reference: None, ..STAMP }));
        assert_eq!(left["resultBody"]["extendFields"], json!({"seq": 7, "time": u64::MAX, "reason": "lost"}));
        let said = value(|out| said(out, 100, member, r#""E1""#, "[null]", STAMP));
        assert_eq!(said["resultBody"]["textData"]["dataType"], 100);
        assert_eq!(said["resultBody"]["textData"]["data"]["content"], json!([null]));
    }

    #[test]
    fn a_pull_and_a_receipt_are_not_of_the_series() {
        let pulled = value(|out| pulled(out, r#""number":"E1""#, [r#"{"id":"a"}"#].into_iter(), 9, Some("\"r\"")));
        let data = json!({"number": "E1", "members": [{"id": "a"}]});
        let body =
            json!({"msgType": 5, "textData": {"dataType": 1, "data": data}, "extendFields": {"seq": 9, "ref": "r"}});
        assert_eq!(pulled, json!({"status": 1, "msg": "Pull successfully", "resultBody": body}));
        for (seqs, in_array, shown) in
            [(&[17][..], false, json!(17)), (&[17], true, json!([17])), (&[3, 1], true, json!([3, 1]))]
        {
            let received = value(|out| received(out, r#"{"id":"a"}"#, r#""E1""#, seqs, in_array));
            let data = json!({"from": {"id": "a"}, "roomNumber": "E1", "seq": shown});
            let body = json!({"msgType": 4, "textData": {"dataType": 3, "data": data}});
            assert_eq!(received, json!({"status": 1, "msg": "Receive successfully", "resultBody": body}));
        }
    }

    #[test]
    fn what_holds_is_of_the_series_and_a_lifting_is_not() {
        let ruled = value(|out| ruled(out, r#""number":"E1""#, true, false, STAMP));
        let data = json!({"number": "E1", "locked": true, "quiet": false});
        let body = json!({"msgType": 3, "textData": {"dataType": 4, "data": data}, "extendFields": {"seq": 7, "time": u64::MAX, "ref": "a\"b"}});
        assert_eq!(ruled, json!({"status": 1, "msg": "Rule successfully", "resultBody": body}));
        let data = json!({"roomNumber": "E1", "id": "a\"\\", "forS": 0});
        let mut body = json!({"msgType": 3, "textData": {"dataType": 5, "data": data}});
        let told = value(|out| lifted(out, r#""E1""#, "a\"\\", None));
        assert_eq!(told, json!({"status": 1, "msg": "Rule successfully", "resultBody": body}));
        body["extendFields"] = json!({"ref": "r"});
        let told = value(|out| lifted(out, r#""E1""#, "a\"\\", Some("\"r\"")));
        assert_eq!(told, json!({"status": 1, "msg": "Rule successfully", "resultBody": body}));
    }

    #[test]
    fn the_author_of_a_message_is_found_in_its_frame() {
        for id in ["a", "a\"b\\", "\\", "学号七", "\u{1}\n"] {
            let member = json!({"id": id, "personName": "\"id\":\"x\""}).to_string();
            let begins = format!(r#"{{"id":{}"#, json!(id));
            for data_type in [3, 100, 65_535] {
                let mut frame = Vec::new();
                said(&mut frame, data_type, &member, r#""E1""#, "{}", STAMP);
                assert_eq!(author(&frame), Some(begins.as_bytes()));
            }
            let mut frame = Vec::new();
            left(&mut frame, r#""number":"E1""#, &member, LeaveReason::Left, STAMP);
            assert_eq!(author(&frame), None);
            frame.clear();
            joined(&mut frame, r#""number":"E1""#, &member, STAMP);
            assert_eq!(author(&frame), None);
        }
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

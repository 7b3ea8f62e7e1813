//! What the hub writes, letter for letter.
//!
//! Owns: the JSON of its replies and broadcasts, written from PROTOCOL.md apart from the hub's own writer, fields in the order of that page, so
//! that a frame is compared as bytes. Refuses to know: when one is due.

use crate::client::Member;

pub const DUPLICATE: &str =
    r#"{"status":0,"msg":"连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!","resultBody":""}"#;

/// How a failure begins. Its words are the hub's own.
pub const FAILED: &str = r#"{"status":0,"msg":""#;

/// How a failure ends, from behind its words.
pub fn failure(code: &str, reference: Option<&str>) -> String {
    format!(r#"","resultBody":"","code":"{code}"{}}}"#, reference_field(reference))
}

/// `text` as JSON.
pub fn string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// A Member with all its fields.
pub fn member(member: &Member) -> String {
    let mut text = format!(r#"{{"id":{}"#, string(&member.id));
    for name in ["personName", "personNum", "nickName", "headImgUrl"] {
        let value = member.fields.iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value);
        text.push_str(&format!(r#","{name}":{}"#, string(value)));
    }
    text + "}"
}

/// A `ref` behind other fields, where there is one.
pub fn reference_field(reference: Option<&str>) -> String {
    reference.map_or(String::new(), |reference| format!(r#","ref":{}"#, string(reference)))
}

/// `extendFields` of what has a place in a room's series, without braces.
pub fn stamp(seq: u64, time_ms: u64, reference: Option<&str>) -> String {
    format!(r#""seq":{seq},"time":{time_ms}{}"#, reference_field(reference))
}

/// A success up to its `extendFields`. `data` is without braces.
pub fn success(what: &str, msg_type: u8, data_type: u16, data: &str) -> String {
    format!(
        r#"{{"status":1,"msg":"{what} successfully","resultBody":{{"msgType":{msg_type},"textData":{{"dataType":{data_type},"data":{{{data}}}}}"#
    )
}

/// A success with its `extendFields`, which are without braces.
pub fn extended(what: &str, msg_type: u8, data_type: u16, data: &str, extend: &str) -> String {
    let mut text = success(what, msg_type, data_type, data);
    text.reserve(extend.len() + 24);
    text.push_str(r#","extendFields":{"#);
    text.push_str(extend);
    text.push_str("}}}");
    text
}

/// What a text frame of so many bytes takes on the wire.
pub fn frame_bytes(payload: usize) -> usize {
    payload + if payload < 126 { 2 } else { 4 + 6 * usize::from(payload > 0xFFFF) }
}

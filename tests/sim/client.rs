//! What clients say, well and badly.
//!
//! Owns: requests as values, and as the JSON and the frames that carry them, in pieces as a network might deliver them. Refuses to know:
//! what comes of it.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::person::View;
use crate::rng::Rng;
use crate::text;

/// Who joins.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: String,
    /// The other four, by their names on the wire; those left out read as empty.
    pub fields: Vec<(&'static str, String)>,
}

const FIELDS: [(&str, usize); 4] = [("personName", 96), ("personNum", 64), ("nickName", 96), ("headImgUrl", 256)];

impl Member {
    /// A Member with some of the fields, short as most are or as long as they may be.
    pub fn random(rng: &mut Rng, id: &str) -> Self {
        let mut fields = Vec::new();
        for (name, bytes_max) in FIELDS {
            if rng.chance(60) {
                let bytes = if rng.chance(4) { bytes_max } else { rng.below(12) };
                fields.push((name, words(rng, bytes)));
            }
        }
        Member { id: id.to_owned(), fields }
    }

    fn request(&self) -> String {
        let mut json = format!(r#"{{"id":{}"#, text::string(&self.id));
        for (name, value) in &self.fields {
            json.push_str(&format!(r#","{name}":{}"#, text::string(value)));
        }
        json + "}"
    }
}

/// Text of exactly so many bytes, with what JSON has to escape in it.
fn words(rng: &mut Rng, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        let one = rng.pick(&["a", "b", "中", "é", "\"", "\\", "\n", "/", " ", "😀", "x", "y", "z"]);
        if text.len() + one.len() <= bytes { text.push_str(one) } else { text.push('.') }
    }
    text
}

/// What a join shows of an earlier seat.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    pub token: Option<Rc<str>>,
    pub last_seq: Option<i64>,
    /// What whoever asks knows of the room as of `last_seq`, to go on from where the rest follows.
    pub view: Option<Rc<View>>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask {
    Heartbeat,
    Join {
        room: String,
        member: Member,
        resume: Resume,
        owner_passcode: Option<String>,
    },
    Leave {
        room: String,
    },
    Say {
        room: String,
        data_type: u16,
        from: Option<String>,
        content: String,
    },
    /// What is to hold in the room.
    Rule {
        room: String,
        locked: Option<bool>,
        quiet: Option<bool>,
    },
    /// Somebody is to go and stay away for so long, or may come back.
    Remove {
        room: String,
        id: String,
        for_s: u32,
    },
    /// These messages were received; they came as an array or as one number.
    Receipt {
        room: String,
        seqs: Vec<i64>,
        in_array: bool,
    },
    Pull {
        room: String,
    },
    /// Something that cannot be read, and the code of the answer.
    Bad(&'static str),
}

/// A request, and what it wants to know its answer by.
#[derive(Clone, Debug)]
pub struct Request {
    pub reference: Option<String>,
    pub ask: Ask,
}

/// What a frame is to the hub.
#[derive(Clone, Debug)]
pub enum Said {
    /// The request head, no frame as yet.
    Head,
    /// More of the message follows.
    Fragment,
    /// It completes a message.
    Text(Request),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// It breaks the protocol, which has this close code.
    Fault(u16),
}

impl Said {
    /// Whether it can change more than what its own connection is told.
    pub fn is_public(&self) -> bool {
        use Ask::{Join, Leave, Receipt, Remove, Rule, Say};
        let Said::Text(Request { ask, .. }) = self else { return false };
        matches!(ask, Join { .. } | Leave { .. } | Say { .. } | Rule { .. } | Remove { .. } | Receipt { .. })
    }

    pub fn brief(&self) -> String {
        match self {
            Said::Text(Request { ask: Ask::Say { room, content, data_type, .. }, .. }) => {
                format!("say {room} {data_type} {}B", content.len())
            }
            Said::Text(Request { ask: Ask::Rule { room, locked, quiet }, .. }) => {
                format!("rule {room} locked {locked:?} quiet {quiet:?}")
            }
            Said::Text(Request { ask: Ask::Remove { room, id, for_s }, .. }) => {
                format!("remove {id:?} from {room} for {for_s} s")
            }
            Said::Text(Request { ask: Ask::Join { room, member, resume, owner_passcode }, .. }) => {
                let token = resume.token.as_deref().map_or(String::new(), |token| format!(", token {token}"));
                let last_seq = resume.last_seq.map_or(String::new(), |seq| format!(", last seq {seq}"));
                let passcode = owner_passcode.as_ref().map_or(String::new(), |word| format!(", passcode {word:?}"));
                format!("join {room} as {:?}{token}{last_seq}{passcode}", member.id)
            }
            Said::Text(Request { ask: Ask::Receipt { room, seqs, .. }, .. }) => {
                format!("receipt in {room} of {seqs:?}")
            }
            Said::Text(Request { ask: Ask::Pull { room }, .. }) => format!("pull {room}"),
            Said::Text(Request { ask: Ask::Leave { room }, .. }) => format!("leave {room}"),
            Said::Text(Request { ask: Ask::Bad(code), .. }) => format!("bad {code}"),
            Said::Text(Request { ask: Ask::Heartbeat, .. }) => "beat".into(),
            Said::Ping(_) => "ping".into(),
            other => format!("{other:?}"),
        }
    }
}

/// One frame on its way.
#[derive(Clone, Debug)]
pub struct Unit {
    pub bytes: Vec<u8>,
    pub said: Said,
}

impl Unit {
    /// The room that it is about.
    pub fn room(&self) -> &str {
        use Ask::{Bad, Heartbeat, Join, Leave, Pull, Receipt, Remove, Rule, Say};
        let Said::Text(Request { ask, .. }) = &self.said else { return "" };
        match ask {
            Join { room, .. } | Leave { room } | Say { room, .. } | Rule { room, .. } | Remove { room, .. } => room,
            Receipt { room, .. } | Pull { room } => room,
            Heartbeat | Bad(_) => "",
        }
    }

    /// Whether it must arrive in one piece: a fault shows as soon as the header does, and the model sees whole frames only.
    pub fn is_whole(&self) -> bool {
        matches!(self.said, Said::Fault(_))
    }
}

/// The request head of every client here.
pub const HEAD: &str = "GET /ws HTTP/1.1\r\nHost: classroom:9000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// What the answer to it must have (RFC 6455, section 1.3, has this very example).
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's frame, masked.
fn frame(rng: &mut Rng, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        usual @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(usual as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = (rng.next() as u32).to_be_bytes();
    bytes.extend_from_slice(&mask);
    bytes.reserve_exact(payload.len());
    bytes.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
    bytes
}

/// A message as frames: mostly one, now and then fragments with a ping between them.
pub fn message(rng: &mut Rng, text: &str, request: Request) -> Vec<Unit> {
    let bytes = text.as_bytes();
    let said = Said::Text(request);
    if bytes.len() < 3 || !rng.chance(6) {
        return vec![Unit { bytes: frame(rng, 0x81, bytes), said }];
    }
    let (one, two) = (rng.range(0, bytes.len()), rng.range(0, bytes.len()));
    let (one, two) = (one.min(two), one.max(two));
    let mut units = vec![Unit { bytes: frame(rng, 0x01, &bytes[..one]), said: Said::Fragment }];
    if rng.chance(40) {
        units.push(ping(rng));
    }
    units.push(Unit { bytes: frame(rng, 0x00, &bytes[one..two]), said: Said::Fragment });
    units.push(Unit { bytes: frame(rng, 0x80, &bytes[two..]), said });
    units
}

pub fn ping(rng: &mut Rng) -> Unit {
    let mut payload = vec![0; rng.pick(&[0, 1, 4, 125])];
    payload.fill_with(|| rng.next() as u8);
    Unit { bytes: frame(rng, 0x89, &payload), said: Said::Ping(payload) }
}

/// The answer to a ping, or one to none.
pub fn pong(rng: &mut Rng, payload: &[u8]) -> Unit {
    Unit { bytes: frame(rng, 0x8A, payload), said: Said::Pong }
}

/// A clean close. What the hub answers is the model's to know.
pub fn close(rng: &mut Rng) -> Unit {
    let code = rng.pick(&[None, Some(1000), Some(1001), Some(1001), Some(3001), Some(4999), Some(1005), Some(1011)]);
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&u16::to_be_bytes(code));
        payload.extend_from_slice(rng.pick(&["", "bye", "再见"]).as_bytes());
    }
    Unit { bytes: frame(rng, 0x88, &payload), said: Said::Close(code) }
}

/// A frame that breaks RFC 6455 or a limit.
pub fn fault(rng: &mut Rng, message_bytes: usize) -> Unit {
    let (bytes, code) = match rng.below(7) {
        0 => (frame(rng, 0x82, b"binary"), 1003),
        1 => (frame(rng, 0x81, b"\xff\xfe{}"), 1007),
        2 => (frame(rng, 0xC1, b"{}"), 1002),
        3 => (vec![0x81, 2, b'{', b'}'], 1002),
        4 => (frame(rng, 0x83, b""), 1002),
        5 => (frame(rng, 0x80, b"goes on, but never began"), 1002),
        _ => {
            // The header says it all.
            let mut header = vec![0x81, 0xFF];
            header.extend_from_slice(&(message_bytes as u64 + 1).to_be_bytes());
            header.extend_from_slice(&[1, 2, 3, 4]);
            (header, 1009)
        }
    };
    Unit { bytes, said: Said::Fault(code) }
}

fn extend(json: &mut Value, reference: Option<&String>) {
    if let Some(reference) = reference {
        json["extendFields"] = json!({ "ref": reference, "later": [null] });
    }
}

/// A `ref`, where there is to be one.
pub fn reference(rng: &mut Rng, serial: usize) -> Option<String> {
    match rng.below(10) {
        0..=4 => Some(format!("r{serial}")),
        5 => Some(format!("\"{serial}\" 中\\")),
        _ => None,
    }
}

pub fn heartbeat(rng: &mut Rng) -> Vec<Unit> {
    let text = rng.pick(&[r#"{"msgType":1}"#, r#" { "msgType" : 1 , "textData":null } "#]);
    message(rng, text, Request { reference: None, ask: Ask::Heartbeat })
}

pub fn join(
    rng: &mut Rng,
    room: &str,
    member: &Member,
    resume: Resume,
    owner_passcode: Option<String>,
    reference: Option<String>,
) -> Vec<Unit> {
    let mut extend = vec![r#""later":[null]"#.to_owned()];
    extend.extend(reference.as_ref().map(|reference| format!(r#""ref":{}"#, text::string(reference))));
    extend.extend(resume.token.as_ref().map(|token| format!(r#""resumeToken":{}"#, text::string(token))));
    extend.extend(resume.last_seq.map(|last_seq| format!(r#""lastSeq":{last_seq}"#)));
    extend.extend(owner_passcode.as_ref().map(|word| format!(r#""ownerPasscode":{}"#, text::string(word))));
    let text = format!(
        r#"{{"extendFields":{{{}}},"msgType":2,"textData":{{"data":{{"content":null,"from":{},"roomNumber":{},"unknown":{{"a":[]}}}},"dataType":1}}}}"#,
        extend.join(","),
        member.request(),
        text::string(room)
    );
    let ask = Ask::Join { room: room.to_owned(), member: member.clone(), resume, owner_passcode };
    message(rng, &text, Request { reference, ask })
}

pub fn leave(rng: &mut Rng, room: &str, reference: Option<String>) -> Vec<Unit> {
    let msg_type = rng.range(2, 3);
    let mut json = json!({"msgType": msg_type, "textData": {"dataType": 2, "data": {"roomNumber": room}}});
    extend(&mut json, reference.as_ref());
    let ask = Ask::Leave { room: room.to_owned() };
    message(rng, &json.to_string(), Request { reference, ask })
}

pub fn rule(
    rng: &mut Rng,
    room: &str,
    locked: Option<bool>,
    quiet: Option<bool>,
    reference: Option<String>,
) -> Vec<Unit> {
    let mut json = json!({"msgType": 3, "textData": {"dataType": 4, "data": {"roomNumber": room, "id": "nobody"}}});
    for (name, holds) in [("locked", locked), ("quiet", quiet)] {
        // What is to stay as it is may be left out, or said to be nothing.
        if holds.is_some() || rng.chance(50) {
            json["textData"]["data"][name] = json!(holds);
        }
    }
    extend(&mut json, reference.as_ref());
    let ask = Ask::Rule { room: room.to_owned(), locked, quiet };
    message(rng, &json.to_string(), Request { reference, ask })
}

pub fn remove(rng: &mut Rng, room: &str, id: &str, for_s: u32, reference: Option<String>) -> Vec<Unit> {
    let data = json!({"roomNumber": room, "id": id, "forS": for_s, "quiet": "not asked"});
    let mut json = json!({"msgType": 3, "textData": {"dataType": 5, "data": data}});
    extend(&mut json, reference.as_ref());
    let ask = Ask::Remove { room: room.to_owned(), id: id.to_owned(), for_s };
    message(rng, &json.to_string(), Request { reference, ask })
}

pub fn receipt(rng: &mut Rng, room: &str, seqs: Vec<i64>, reference: Option<String>) -> Vec<Unit> {
    let in_array = seqs.len() != 1 || rng.chance(50);
    let seq = if in_array { json!(seqs) } else { json!(seqs[0]) };
    let mut json =
        json!({"msgType": 4, "textData": {"dataType": 3, "data": {"roomNumber": room, "seq": seq, "from": null}}});
    extend(&mut json, reference.as_ref());
    message(rng, &json.to_string(), Request { reference, ask: Ask::Receipt { room: room.to_owned(), seqs, in_array } })
}

pub fn pull(rng: &mut Rng, room: &str, reference: Option<String>) -> Vec<Unit> {
    let mut json = json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": room}}});
    extend(&mut json, reference.as_ref());
    message(rng, &json.to_string(), Request { reference, ask: Ask::Pull { room: room.to_owned() } })
}

/// Chat or application data, with a content that nothing else here has: `serial` is in it. At most `bytes_max` as a message.
pub fn say(
    rng: &mut Rng,
    room: &str,
    from: Option<String>,
    serial: usize,
    bytes: usize,
    bytes_max: usize,
) -> Vec<Unit> {
    let reference = reference(rng, serial);
    let chat = rng.chance(70);
    let data_type = if chat { 3 } else { rng.pick(&[100, 101, 40_000, 65_535]) };
    let write = |filler: &str| {
        let content = match chat {
            true => format!("\"t{serial}; {filler}\""),
            false => format!("{{ \"t\":\"t{serial};\", \"n\" : [1.50, -0, 2e3,{{}},null] ,\"s\":\"{filler}\"}}"),
        };
        let from = from.as_ref().map_or(String::new(), |id| format!(r#""from":{{"id":{}}},"#, json!(id)));
        let extend = reference
            .as_ref()
            .map_or(String::new(), |reference| format!(r#","extendFields":{{"ref":{}}}"#, json!(reference)));
        let text = format!(
            r#"{{"msgType":3,"textData":{{"data":{{{from}"roomNumber":{},"content":{content}}},"dataType":{data_type}}}{extend}}}"#,
            json!(room)
        );
        (text, content)
    };
    let room_left = bytes_max - write("").0.len();
    let bytes = bytes.min(room_left);
    // Bytes that a hub which reads and writes content anew would change, over and over.
    let mut some = String::new();
    while some.len() < bytes.min(64) {
        some.push_str(rng.pick(&["plain text ", "中文", r"\u0041", r"\/", r"\ud83d\ude00", r"\n", "xxxxxxxxxxxxxxx "]));
    }
    let mut filler = some.repeat(bytes / some.len().max(1));
    filler.extend(std::iter::repeat_n('x', bytes - filler.len()));
    let (text, content) = write(&filler);
    assert!(text.len() <= bytes_max);
    message(rng, &text, Request { reference, ask: Ask::Say { room: room.to_owned(), data_type, from, content } })
}

/// A message that is no request.
pub fn bad(rng: &mut Rng, serial: usize) -> Vec<Unit> {
    let reference = reference(rng, serial);
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    let say = |data_type: i64, content: &str| {
        format!(
            r#"{{"msgType":3,"textData":{{"dataType":{data_type},"data":{{"roomNumber":"A","content":{content}}}}},"extendFields":{}}}"#,
            json!({ "ref": reference })
        )
    };
    let receipt = |seq: Value| {
        let data = json!({"roomNumber": "A", "seq": seq});
        json!({"msgType": 4, "textData": {"dataType": 3, "data": data}, "extendFields": {"ref": reference}}).to_string()
    };
    let resume = |field: &str, value: Value| {
        let data = json!({"roomNumber": "A", "from": {"id": "a"}});
        let extend = json!({"ref": reference, field: value});
        json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": extend}).to_string()
    };
    let moderation = |data_type: i64, field: &str, value: Value| {
        let mut data = json!({"roomNumber": "A", "id": "a", "forS": 1});
        data[field] = value;
        let text_data = json!({"dataType": data_type, "data": data});
        json!({"msgType": 3, "textData": text_data, "extendFields": {"ref": reference}}).to_string()
    };
    let (text, code, is_read) = match rng.below(22) {
        0 => ("no JSON at all".to_owned(), "bad_json", false),
        1 => ("[1]".to_owned(), "bad_json", false),
        2 => (r#"{"msgType":"2"}"#.to_owned(), "bad_json", false),
        3 => (json!({"msgType": 2, "extendFields": {"ref": reference}}).to_string(), "bad_json", true),
        4 => (json!({"msgType": 9, "extendFields": {"ref": reference}}).to_string(), "unknown_type", true),
        5 => (say(99, "1"), "unknown_type", true),
        6 => (say(100, &deep), "bad_json", true),
        7 => (say(3, r#""\ud800""#), "bad_json", true),
        8 => (receipt(json!([])), "bad_json", true),
        9 => (receipt(json!(vec![1; 65])), "too_long", true),
        10 => (receipt(json!("1")), "bad_json", true),
        11 => (resume("resumeToken", json!(7)), "bad_json", true),
        12 => (resume("resumeToken", json!("t".repeat(65))), "too_long", true),
        13 => (resume("lastSeq", json!("7")), "bad_json", true),
        14 => (resume(rng.pick(&["ownerPasscode", "passcode", "token"]), json!({})), "bad_json", true),
        15 => {
            // A token over its own limit may be over that of a message too.
            let field = rng.pick(&["ownerPasscode", "passcode"]);
            (resume(field, json!("p".repeat(65))), "too_long", true)
        }
        16 => (moderation(4, "locked", json!("true")), "bad_json", true),
        17 => (moderation(4, "quiet", json!(1)), "bad_json", true),
        18 => (moderation(5, "forS", rng.pick(&[json!(null), json!(-1), json!(86_401), json!(1.0)])), "bad_json", true),
        19 => (moderation(5, "id", rng.pick(&[json!(null), json!("")])), "bad_json", true),
        20 => (moderation(5, "id", json!("i".repeat(65))), "too_long", true),
        _ => {
            let room = "r".repeat(65);
            let data = json!({"roomNumber": room, "from": {"id": "a"}});
            let text =
                json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": {"ref": reference}});
            (text.to_string(), "too_long", true)
        }
    };
    let reference = reference.filter(|_| is_read);
    message(rng, &text, Request { reference, ask: Ask::Bad(code) })
}

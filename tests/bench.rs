//! What the bench relies on, and would not notice itself.
//!
//! Owns: that frames are counted however the stream is cut, and that what the generator looks for stands where it looks, in what the hub says.
//! Refuses to know: what anything costs.

#[allow(dead_code)]
#[path = "../benches/classroom/frames.rs"]
mod frames;
#[allow(dead_code)]
#[path = "../benches/classroom/wire.rs"]
mod wire;

use std::io::Cursor;

use classhub::wire::reply::{self, Stamp};
use frames::Frames;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket};

/// A server's frame of this opcode and so many bytes, each of which is `fill`.
fn frame(opcode: u8, length: usize, fill: u8) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match length {
        0..=125 => frame.push(length as u8),
        126..=0xffff => frame.extend([vec![126], (length as u16).to_be_bytes().to_vec()].concat()),
        _ => frame.extend([vec![127], (length as u64).to_be_bytes().to_vec()].concat()),
    }
    frame.resize(frame.len() + length, fill);
    frame
}

#[test]
fn frames_are_the_same_however_the_stream_is_cut() {
    let lengths = [0, 1, 125, 126, 300, 70_000, 0, 5];
    let stream: Vec<u8> = (0..).zip(lengths).flat_map(|(n, length)| frame(1 + n % 2, length, b'a' + n)).collect();
    for telling_bytes in [0, 1, 200] {
        let expected: Vec<(u8, Vec<u8>)> =
            (0..).zip(lengths).map(|(n, length)| (1 + n % 2, vec![b'a' + n; length.min(telling_bytes)])).collect();
        for cut in (1..64).chain([100, 130, 4_099, 69_999, stream.len()]) {
            let mut frames = Frames::default();
            frames.telling_bytes = telling_bytes;
            let mut heard = Vec::new();
            for part in stream.chunks(cut) {
                frames.take(part, |opcode, payload| heard.push((opcode, payload.to_vec())));
            }
            assert_eq!(heard, expected, "in parts of {cut}, of which {telling_bytes} bytes tell");
        }
    }
}

/// What a server makes of a client's frame.
fn text(frame: Vec<u8>) -> String {
    match WebSocket::from_raw_socket(Cursor::new(frame), Role::Server, None).read() {
        Ok(Message::Text(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_what_they_should_be() {
    let json = |frame| serde_json::from_str::<serde_json::Value>(&text(frame)).expect("it is JSON");
    for content_bytes in [8, 20, 128, 4096] {
        let mut chat = wire::chat(7, content_bytes);
        wire::set_number(&mut chat, 90_417);
        let chat = json(chat);
        let data = &chat["textData"]["data"];
        let content = data["content"].as_str().expect("it is a string");
        assert_eq!((content.len(), &content[..8]), (content_bytes, "00090417"));
        assert_eq!((&chat["msgType"], &data["roomNumber"]), (&3.into(), &"R0007".into()));
    }
    let types = |frame: Vec<u8>| {
        let text = text(frame).into_bytes();
        (text[wire::MSG_TYPE_AT], text[wire::DATA_TYPE_AT])
    };
    assert_eq!(types(wire::join(3, 7)), (b'2', b'1'));
    assert_eq!(types(wire::leave(7)), (b'3', b'2'));
    assert_eq!(types(wire::chat(7, 128)), (b'3', b'3'));
    assert_eq!(json(wire::join(3, 7))["textData"]["data"]["from"]["id"], wire::id(3).as_str());
    assert_eq!(json(wire::leave(7))["textData"]["data"]["roomNumber"], wire::room(7).as_str());
    assert_eq!(wire::room_index(wire::room(7).as_bytes()), Some(7));
}

#[test]
fn author_and_number_stand_where_the_hub_puts_them() {
    let stamp = Stamp { seq: 12_345, time_ms: 1_767_225_600_000, reference: None };
    let mut out = Vec::new();
    reply::said(&mut out, 3, &wire::member(42), r#""R0007""#, r#""00090417 and what follows""#, stamp);
    let at = out.iter().position(|byte| *byte == b'{').expect("it is JSON");
    assert_eq!(wire::author_and_number(&out[at..]), Some((wire::id(42).as_bytes(), 90_417)));
    assert_eq!(wire::author_and_number(&out[at + 1..]), None);
}

//! What the load generator says, byte for byte.
//!
//! Owns: the requests, all of one layout and a fixed length, and where in a reply the author and the number of a message stand.
//! Refuses to know: sockets, and who says what when.
//!
//! The lengths are fixed so that the generator need not parse, and the floor need not write JSON: both find what they look for by its place.

/// What every frame is masked with. A server has to unmask whatever it is, as long as it is not nothing.
pub const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// How a join begins, up to the Member.
pub const JOIN: &str = r#"{"msgType":2,"textData":{"dataType":1,"data":{"from":"#;
/// Between the Member and the room's number.
pub const ROOM: &str = r#","roomNumber":""#;
/// How a chat begins, up to the room's number.
pub const CHAT: &str = r#"{"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":""#;
/// How a leave begins, up to the room's number.
pub const LEAVE: &str = r#"{"msgType":3,"textData":{"dataType":2,"data":{"roomNumber":""#;
/// Between the room's number and the content.
pub const CONTENT: &str = r#"","content":""#;
/// How a chat ends.
pub const CHAT_END: &str = r#""}}}"#;
/// How the delivery of a chat begins, up to its author.
pub const SAID: &str =
    r#"{"status":1,"msg":"Chat successfully","resultBody":{"msgType":3,"textData":{"dataType":3,"data":{"from":"#;

/// Where in a request the digits of msgType and dataType stand.
pub const MSG_TYPE_AT: usize = 11;
/// Where the digit of dataType stands.
pub const DATA_TYPE_AT: usize = 36;

/// A Member as JSON.
pub const MEMBER_BYTES: usize = 110;
/// What comes before the id in a Member.
pub const ID_AT: usize = 7;
/// An id.
pub const ID_BYTES: usize = 6;
/// A room's number.
pub const ROOM_BYTES: usize = 5;
/// The number with which each content begins.
pub const NUMBER_BYTES: usize = 8;

/// Where the author's id stands in a delivery.
pub const AUTHOR_AT: usize = SAID.len() + ID_AT;
/// Where the number of the message stands in it.
pub const NUMBER_AT: usize = SAID.len() + MEMBER_BYTES + ROOM.len() + ROOM_BYTES + CONTENT.len();
/// As much of a delivery as tells both.
pub const TELLING_BYTES: usize = NUMBER_AT + NUMBER_BYTES;

/// The id of member `n`.
pub fn id(n: usize) -> String {
    format!("p{n:05}")
}

/// Member `n`.
pub fn member(n: usize) -> String {
    let json = format!(
        r#"{{"id":"{}","personName":"Pupil {n:05}","personNum":"XS{n:05}","nickName":"","headImgUrl":"/faces/{n:05}.jpg"}}"#,
        id(n)
    );
    assert_eq!(json.len(), MEMBER_BYTES, "{json}");
    json
}

/// The number of room `n`.
pub fn room(n: usize) -> String {
    format!("R{n:04}")
}

/// Which room has this number; `None` where it is not one of [`room`]'s.
pub fn room_index(number: &[u8]) -> Option<usize> {
    std::str::from_utf8(number.strip_prefix(b"R")?).ok()?.parse().ok()
}

/// The join of member `n` into a room.
pub fn join(n: usize, in_room: usize) -> Vec<u8> {
    frame(0x1, format!(r#"{JOIN}{}{ROOM}{}"}}}}}}"#, member(n), room(in_room)).as_bytes())
}

/// The leave from a room.
pub fn leave(of_room: usize) -> Vec<u8> {
    frame(0x1, format!(r#"{LEAVE}{}"}}}}}}"#, room(of_room)).as_bytes())
}

/// A chat whose content has so many bytes, the first of which are a number, to be set by [`set_number`].
pub fn chat(in_room: usize, content_bytes: usize) -> Vec<u8> {
    let words = "the quick brown fox jumps over the lazy dog, and ".bytes().cycle();
    let content: String = "0".repeat(NUMBER_BYTES)
        + &words.take(content_bytes.saturating_sub(NUMBER_BYTES)).map(char::from).collect::<String>();
    frame(0x1, format!("{CHAT}{}{CONTENT}{content}{CHAT_END}", room(in_room)).as_bytes())
}

/// Numbers a chat.
pub fn set_number(chat: &mut [u8], number: u32) {
    let at = CHAT.len() + ROOM_BYTES + CONTENT.len();
    let head = header_bytes(chat);
    let mut rest = number;
    for place in (at..at + NUMBER_BYTES).rev() {
        chat[head + place] = (b'0' + (rest % 10) as u8) ^ MASK[place % 4];
        rest /= 10;
    }
}

/// The author's id and the number of a delivery; `None` where it is another kind of frame.
pub fn author_and_number(payload: &[u8]) -> Option<(&[u8], u32)> {
    if payload.len() < TELLING_BYTES || !payload.starts_with(SAID.as_bytes()) {
        return None;
    }
    let digits = &payload[NUMBER_AT..NUMBER_AT + NUMBER_BYTES];
    let number = digits.iter().try_fold(0, |sum: u32, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')) // 8 digits fit
    })?;
    Some((&payload[AUTHOR_AT..AUTHOR_AT + ID_BYTES], number))
}

/// A client's close frame: it is going away.
pub fn close() -> Vec<u8> {
    frame(0x8, &1000u16.to_be_bytes())
}

/// The request for an upgrade. Its key is RFC 6455's own example: nobody here needs another.
pub fn upgrade(authority: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A whole frame from a client.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => panic!("a message of {length} bytes is more than any server here takes"),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// How many bytes come before the payload in a client's frame.
fn header_bytes(frame: &[u8]) -> usize {
    if frame[1] & 0x7f == 126 { 8 } else { 6 }
}

//! The floor: the socket work of a hub, and nothing else.
//!
//! Owns: accepting, reading each ready connection once a turn, and at the turn's end one write per member of all that its room was told in that turn.
//! Refuses to know: JSON, limits, rates, deadlines, tokens, history, and any client but the generator, whose requests have a fixed layout ([`crate::wire`]).
//!
//! What it says is as long as what the hub says and has the author, the number and the content in their places; a roster has the right length, and not
//! the right names. It is the yardstick for every server here: written to be as fast as the one poll loop can be, with the hub's own socket options.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};
use tungstenite::handshake::derive_accept_key;

use crate::wire::{self, CHAT, CONTENT, JOIN, MEMBER_BYTES, ROOM, ROOM_BYTES};

/// As the hub has them (src/limits.rs).
const READ_BYTES: usize = 16 * 1024;
const SEND_BUFFER_BYTES: usize = 64 * 1024;
const BACKLOG: i32 = 1024;
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

const LISTENER: Token = Token(usize::MAX);

// Parts of the replies. A time has thirteen digits, and so has this one.
const JOINED: &str =
    r#"{"status":1,"msg":"Join successfully","resultBody":{"msgType":3,"textData":{"dataType":1,"data":"#;
const LEFT: &str =
    r#"{"status":1,"msg":"Leave successfully","resultBody":{"msgType":3,"textData":{"dataType":2,"data":"#;
const STAMP: &str = r#"},"extendFields":{"seq":"#;
const TIME: &str = r#","time":1767225600000"#;
const RESUME: &str = r#","resumeToken":""#;
const RESUME_RANDOM: &str = ".0123456789abcdef0123456789abcdef";

struct Peer {
    stream: TcpStream,
    stage: Stage,
    /// The first bytes of a frame whose end has not come.
    begun: Vec<u8>,
    /// What its socket did not take.
    owed: Vec<u8>,
}

enum Stage {
    Head(Vec<u8>),
    Open,
    In(Seat),
    Closing,
}

struct Seat {
    room: usize,
    /// Its place in the room's list.
    place: usize,
    member: [u8; MEMBER_BYTES],
    /// Where in what this turn said to the room its own part begins.
    from: usize,
}

#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// As many Members as sit here, as JSON.
    roster: Vec<u8>,
    /// `{"number":…` to `"createTime":…`.
    fields: Vec<u8>,
    /// What this turn has said.
    said: Vec<u8>,
    seq: u64,
}

struct Floor {
    poll: Poll,
    listener: TcpListener,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    rooms: Vec<Room>,
    changed: Vec<usize>,
    scratch: Vec<u8>,
}

/// Runs until it is killed. Says where it listens.
pub fn run() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    let mut floor = Floor {
        poll: Poll::new()?,
        listener: TcpListener::from_std(socket.into()),
        peers: Vec::new(),
        free: Vec::new(),
        rooms: Vec::new(),
        changed: Vec::new(),
        scratch: Vec::new(),
    };
    floor.poll.registry().register(&mut floor.listener, LISTENER, Interest::READABLE)?;
    println!("listening on http://{}", floor.listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match floor.poll.poll(&mut events, None) {
            // Whoever traces it interrupts it.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept()?,
                Token(n) => {
                    if event.is_writable() {
                        floor.write_owed(n);
                    }
                    if event.is_readable() {
                        floor.read(n, &mut buffer);
                    }
                }
            }
        }
        floor.flush();
    }
}

impl Floor {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let n = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            self.poll.registry().register(&mut stream, Token(n), Interest::READABLE | Interest::WRITABLE)?;
            self.peers[n] = Some(Peer { stream, stage: Stage::Head(Vec::new()), begun: Vec::new(), owed: Vec::new() });
        }
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) {
        loop {
            let Some(Some(peer)) = self.peers.get_mut(n) else { return };
            let count = match peer.stream.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if count == 0 {
                self.leave(n, false);
                self.peers[n] = None;
                self.free.push(n);
                return;
            }
            self.take(n, &mut buffer[..count]);
            if count < buffer.len() {
                return;
            }
        }
    }

    fn take(&mut self, n: usize, bytes: &mut [u8]) {
        let Some(Some(peer)) = self.peers.get_mut(n) else { return };
        if let Stage::Head(head) = &mut peer.stage {
            head.extend_from_slice(bytes);
            if !head.ends_with(b"\r\n\r\n") {
                return;
            }
            let answer = upgraded(head);
            peer.stage = Stage::Open;
            peer.write(answer.as_bytes());
            return;
        }
        if peer.begun.is_empty() {
            return self.frames(n, bytes);
        }
        let mut begun = std::mem::take(&mut peer.begun);
        begun.extend_from_slice(bytes);
        self.frames(n, &mut begun);
    }

    fn frames(&mut self, n: usize, mut bytes: &mut [u8]) {
        while let Some((head, end)) = bounds(bytes) {
            let (frame, rest) = bytes.split_at_mut(end);
            let opcode = frame[0] & 0xf;
            let mask = [frame[head - 4], frame[head - 3], frame[head - 2], frame[head - 1]];
            let payload = &mut frame[head..];
            unmask(payload, mask);
            match opcode {
                0x1 => self.request(n, payload),
                0x8 => return self.close(n),
                _ => {}
            }
            bytes = rest;
        }
        if !bytes.is_empty()
            && let Some(Some(peer)) = self.peers.get_mut(n)
        {
            peer.begun = bytes.to_vec();
        }
    }

    /// The first byte of the types tells them apart, since there are three.
    fn request(&mut self, n: usize, payload: &[u8]) {
        match (payload[wire::MSG_TYPE_AT], payload[wire::DATA_TYPE_AT]) {
            (b'2', _) => self.join(n, payload),
            (_, b'2') => self.leave(n, true),
            _ => self.chat(n, payload),
        }
    }

    fn chat(&mut self, n: usize, payload: &[u8]) {
        let Some(Some(Peer { stage: Stage::In(seat), .. })) = self.peers.get(n) else { return };
        let room = &mut self.rooms[seat.room];
        if room.said.is_empty() {
            self.changed.push(seat.room);
        }
        room.seq += 1;
        let number = &payload[CHAT.len()..CHAT.len() + ROOM_BYTES];
        let content = &payload[CHAT.len() + ROOM_BYTES + CONTENT.len()..payload.len() - wire::CHAT_END.len()];
        let seq = Digits::of(room.seq);
        let parts = [
            wire::SAID.as_bytes(),
            &seat.member,
            ROOM.as_bytes(),
            number,
            CONTENT.as_bytes(),
            content,
            br#""}"#,
            STAMP.as_bytes(),
            seq.text(),
            TIME.as_bytes(),
            b"}}}",
        ];
        put(&mut room.said, &parts);
    }

    fn join(&mut self, n: usize, payload: &[u8]) {
        let at = JOIN.len() + MEMBER_BYTES + ROOM.len();
        let number = &payload[at..at + ROOM_BYTES];
        let (Some(index), Some(Some(peer))) = (wire::room_index(number), self.peers.get_mut(n)) else { return };
        if self.rooms.len() <= index {
            self.rooms.resize_with(index + 1, Room::default);
        }
        let room = &mut self.rooms[index];
        let mut member = [0; MEMBER_BYTES];
        member.copy_from_slice(&payload[JOIN.len()..JOIN.len() + MEMBER_BYTES]);
        if room.fields.is_empty() {
            for (text, value) in [
                (r#"{"number":""#, number),
                (r#"","name":""#, number),
                (r#"","desc":"","owner":"#, &member[..]),
                (r#","createTime":"#, b"1767225600000"),
            ] {
                room.fields.extend(text.as_bytes());
                room.fields.extend(value);
            }
        }
        if room.said.is_empty() {
            self.changed.push(index);
        }
        room.seq += 1;
        let seq = Digits::of(room.seq);
        let seq = seq.text();
        let join = [
            JOINED.as_bytes(),
            &room.fields,
            br#","newJoinMember":"#,
            &member,
            b"}",
            STAMP.as_bytes(),
            seq,
            TIME.as_bytes(),
            b"}}}",
        ];
        put(&mut room.said, &join);
        if !room.roster.is_empty() {
            room.roster.push(b',');
        }
        room.roster.extend_from_slice(&member);
        self.scratch.clear();
        let reply = [
            JOINED.as_bytes(),
            &room.fields,
            br#","members":["#,
            &room.roster,
            br#"],"newJoinMember":"#,
            &member,
            b"}",
            STAMP.as_bytes(),
            seq,
            TIME.as_bytes(),
            RESUME.as_bytes(),
            seq,
            RESUME_RANDOM.as_bytes(),
            br#""}}}"#,
        ];
        put(&mut self.scratch, &reply);
        peer.write(&self.scratch);
        let place = room.members.len();
        room.members.push(n);
        peer.stage = Stage::In(Seat { room: index, place, member, from: room.said.len() });
    }

    /// Ends a seat; whoever asked is told so too.
    fn leave(&mut self, n: usize, asked: bool) {
        let Some(Some(peer)) = self.peers.get_mut(n) else { return };
        let Stage::In(seat) = std::mem::replace(&mut peer.stage, Stage::Open) else { return };
        let room = &mut self.rooms[seat.room];
        if room.said.is_empty() {
            self.changed.push(seat.room);
        }
        room.seq += 1;
        let seq = Digits::of(room.seq);
        let reason: &[u8] = if asked { br#","reason":"left"}}}"# } else { br#","reason":"closed"}}}"# };
        let left = [
            LEFT.as_bytes(),
            &room.fields,
            br#","newLeaveMember":"#,
            &seat.member,
            b"}",
            STAMP.as_bytes(),
            seq.text(),
            TIME.as_bytes(),
            reason,
        ];
        put(&mut room.said, &left);
        if asked {
            peer.write(&room.said[seat.from..]);
        }
        room.roster.truncate(room.roster.len().saturating_sub(MEMBER_BYTES + 1));
        room.members.swap_remove(seat.place);
        if let Some(moved) = room.members.get(seat.place)
            && let Some(Some(Peer { stage: Stage::In(moved), .. })) = self.peers.get_mut(*moved)
        {
            moved.place = seat.place;
        }
    }

    /// Answers a close with its own, and waits for the end.
    fn close(&mut self, n: usize) {
        self.leave(n, false);
        let Some(Some(peer)) = self.peers.get_mut(n) else { return };
        peer.stage = Stage::Closing;
        peer.write(&[0x88, 2, 3, 232]);
        if peer.owed.is_empty() {
            drop(peer.stream.shutdown(Shutdown::Write));
        }
    }

    fn write_owed(&mut self, n: usize) {
        if let Some(Some(peer)) = self.peers.get_mut(n)
            && !peer.owed.is_empty()
        {
            let owed = std::mem::take(&mut peer.owed);
            peer.write(&owed);
            if matches!(peer.stage, Stage::Closing) && peer.owed.is_empty() {
                drop(peer.stream.shutdown(Shutdown::Write));
            }
        }
    }

    /// The end of the turn.
    fn flush(&mut self) {
        while let Some(changed) = self.changed.pop() {
            let room = &mut self.rooms[changed];
            for n in &room.members {
                let Some(Some(peer)) = self.peers.get_mut(*n) else { continue };
                if let Stage::In(seat) = &mut peer.stage {
                    let from = std::mem::take(&mut seat.from);
                    peer.write(&room.said[from..]);
                }
            }
            room.said.clear();
        }
    }
}

impl Peer {
    fn write(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while self.owed.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The end is read, sooner or later; until then it is owed for nothing.
                Err(_) => break,
            }
        }
        self.owed.extend_from_slice(bytes);
    }
}

/// The answer to an upgrade.
fn upgraded(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
}

/// Where the payload of a client's frame begins, and where it ends; `None` where it is not whole.
fn bounds(bytes: &[u8]) -> Option<(usize, usize)> {
    let [_, length, ..] = bytes else { return None };
    let (head, length) = match (length & 0x7f, bytes) {
        (126, [_, _, high, low, ..]) => (8, usize::from(*high) << 8 | usize::from(*low)),
        (126 | 127, _) => return None,
        (length, _) => (6, usize::from(length)),
    };
    (bytes.len() >= head + length).then_some((head, head + length))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let eight = [mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]];
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        chunk.iter_mut().zip(eight).for_each(|(byte, mask)| *byte ^= mask);
    }
    chunks.into_remainder().iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

/// Appends a text frame whose payload is these, one behind the other.
fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x81);
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A number as text, without an allocation.
struct Digits {
    digits: [u8; 20],
    from: usize,
}

impl Digits {
    fn of(mut number: u64) -> Digits {
        let mut digits = [b'0'; 20];
        let mut from = 20;
        while number > 0 || from == 20 {
            from -= 1;
            digits[from] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Digits { digits, from }
    }

    fn text(&self) -> &[u8] {
        &self.digits[self.from..]
    }
}

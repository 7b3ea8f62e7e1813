//! A class by hand: the real exchange over sockets that a test fills and drains, in time that a test decides.
//!
//! Owns: what the peer of a socket sees and does. Refuses to know: what ought to come of it.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use classhub::base::{Key, Now};
use classhub::hub::Settings;
use classhub::net::Stream;
use classhub::net::exchange::{Exchange, Options};
use classhub::wire::frame;
use serde_json::{Value, json};

/// What the peer of a socket sees and does.
#[derive(Default)]
pub struct Wire {
    pub input: Vec<u8>,
    /// The peer has ended its side.
    pub input_ended: bool,
    pub output: Vec<u8>,
    /// Bytes that the socket takes before it would block.
    pub room: usize,
    /// The peer reads on: whenever the hub has read from somebody, there is room for so many bytes again.
    pub drains: Option<usize>,
    reads_before: usize,
    /// The size of each write that was tried; 0 for one refused.
    pub writes: Vec<usize>,
    pub ended: bool,
}

#[derive(Clone)]
pub struct Socket {
    wire: Rc<RefCell<Wire>>,
    pub name: usize,
    /// Who read and wrote, in order, over all sockets.
    order: Rc<RefCell<Vec<(&'static str, usize)>>>,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        if wire.input.is_empty() && wire.input_ended {
            return Ok(0);
        }
        if wire.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.order.borrow_mut().push(("read", self.name));
        let count = wire.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&wire.input[..count]);
        wire.input.drain(..count);
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        if let Some(drains) = wire.drains {
            let reads = self.order.borrow().iter().filter(|(what, _)| *what == "read").count();
            if std::mem::replace(&mut wire.reads_before, reads) != reads {
                wire.room = drains;
            }
        }
        self.order.borrow_mut().push(("write", self.name));
        let count = wire.room.min(bytes.len());
        wire.writes.push(count);
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.room -= count;
        wire.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.wire.borrow_mut().ended = true;
        Ok(())
    }
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub const ENDLESS: usize = usize::MAX / 2;

pub struct Class {
    pub exchange: Exchange<Socket>,
    pub now: Now,
    /// Where whoever connects from now on is.
    pub address: IpAddr,
    pub members: Vec<(Key, Rc<RefCell<Wire>>)>,
    pub order: Rc<RefCell<Vec<(&'static str, usize)>>>,
}

/// Without rates, and with seats that end at once: what is tested here is what they would hide.
pub fn settings() -> Settings {
    Settings { messages_per_second: 0, bytes_per_second: 0, linger_s: 0, ..Settings::default() }
}

impl Class {
    pub fn new(options: Options, settings: Settings) -> Class {
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_600_000_000_000 };
        Class {
            exchange: Exchange::new(options, settings, [7; 32], now),
            now,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            members: Vec::new(),
            order: Rc::default(),
        }
    }

    /// A class whose members, named by their numbers, all sit in room `R` and have read everything.
    pub fn of(members: usize, settings: Settings) -> Class {
        let mut class = Class::new(Options::default(), settings);
        for _ in 0..members {
            let member = class.connect();
            class.join(member, "R");
        }
        class.turn();
        for member in 0..members {
            class.read(member);
        }
        class.order.borrow_mut().clear();
        class
    }

    /// The next one's socket.
    pub fn socket(&self) -> Socket {
        let wire = Rc::new(RefCell::new(Wire { room: ENDLESS, ..Wire::default() }));
        Socket { wire, name: self.members.len(), order: self.order.clone() }
    }

    /// The same socket again, for whoever has it next.
    pub fn socket_of(&self, member: usize) -> Socket {
        Socket { wire: self.members[member].1.clone(), name: member, order: self.order.clone() }
    }

    /// Connects, and says nothing yet.
    pub fn knock(&mut self) -> usize {
        let name = self.members.len();
        let socket = self.socket();
        let wire = socket.wire.clone();
        let (key, fits) = self.exchange.accept(self.now, socket, self.address);
        assert_eq!(fits, Ok(()));
        self.members.push((key, wire));
        name
    }

    pub fn connect(&mut self) -> usize {
        let name = self.knock();
        self.input(name, UPGRADE.as_bytes());
        self.turn();
        let head = std::mem::take(&mut self.wire(name).output);
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        name
    }

    pub fn wire(&self, member: usize) -> std::cell::RefMut<'_, Wire> {
        self.members[member].1.borrow_mut()
    }

    pub fn input(&mut self, member: usize, bytes: &[u8]) {
        self.wire(member).input.extend_from_slice(bytes);
        self.exchange.set_readable(self.members[member].0, false);
    }

    pub fn hang_up(&mut self, member: usize) {
        self.wire(member).input_ended = true;
        self.exchange.set_readable(self.members[member].0, true);
    }

    pub fn frame(&mut self, member: usize, first: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, first, |out| out.extend_from_slice(payload));
        // A client's frame is masked; a mask of zeros changes nothing.
        let header = bytes.len() - payload.len();
        bytes[1] |= 0x80;
        bytes.splice(header..header, [0; 4]);
        self.input(member, &bytes);
    }

    pub fn send(&mut self, member: usize, request: Value) {
        self.frame(member, frame::TEXT, request.to_string().as_bytes());
    }

    pub fn join(&mut self, member: usize, room: &str) {
        let data = json!({"from": {"id": member.to_string()}, "roomNumber": room});
        self.send(member, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
    }

    pub fn leave(&mut self, member: usize, room: &str) {
        self.send(member, json!({"msgType": 3, "textData": {"dataType": 2, "data": {"roomNumber": room}}}));
    }

    pub fn say(&mut self, member: usize, room: &str, content: &str) {
        let data = json!({"roomNumber": room, "content": content});
        self.send(member, json!({"msgType": 3, "textData": {"dataType": 3, "data": data}}));
    }

    pub fn turn(&mut self) {
        self.now = self.now.after_ms(1);
        while self.exchange.has_ready() {
            self.exchange.read_ready(self.now);
        }
        self.exchange.expire(self.now);
        self.exchange.finish(self.now);
    }

    /// Lets the member's socket take `room` more bytes, and the poll say so.
    pub fn make_room(&mut self, member: usize, room: usize) {
        self.wire(member).room = room;
        self.exchange.write(self.members[member].0);
        self.turn();
    }

    /// The frames that the member's socket took since the last look, as short words; all of them whole.
    pub fn read(&self, member: usize) -> Vec<String> {
        let word = |frame: Vec<u8>| match (frame[0], frame::payload(&frame)) {
            (frame::TEXT, payload) => word(&serde_json::from_slice(payload).unwrap()),
            (0x89, payload) => format!("ping {}", String::from_utf8_lossy(payload)),
            (0x8A, payload) => format!("pong {}", String::from_utf8_lossy(payload)),
            (0x88, payload) => format!("close {}", u16::from_be_bytes([payload[0], payload[1]])),
            (first, _) => panic!("a frame that starts with {first:#x}"),
        };
        self.frames(member).into_iter().map(word).collect()
    }

    /// The frames that the member's socket took since the last look; all of them whole.
    pub fn frames(&self, member: usize) -> Vec<Vec<u8>> {
        let output = std::mem::take(&mut self.wire(member).output);
        let mut at = 0;
        let mut frames = Vec::new();
        while at < output.len() {
            let length = frame::length(&output[at..]);
            assert!(at + length <= output.len(), "half a frame after {} whole ones", frames.len());
            frames.push(output[at..at + length].to_vec());
            at += length;
        }
        frames
    }

    pub fn log_bytes(&self) -> (u64, usize) {
        self.exchange.hub().log_bytes("R").unwrap()
    }
}

fn word(reply: &Value) -> String {
    let data = &reply["resultBody"]["textData"]["data"];
    match reply["msg"].as_str().unwrap() {
        "Chat successfully" => {
            let content = data["content"].as_str().unwrap();
            format!("{} {}", data["roomNumber"].as_str().unwrap(), content.split('.').next().unwrap())
        }
        "Join successfully" if data["members"].is_array() => format!("welcome {}", data["number"].as_str().unwrap()),
        "Join successfully" => format!("joined {}", data["newJoinMember"]["id"].as_str().unwrap()),
        "Leave successfully" => format!(
            "left {} {}",
            data["newLeaveMember"]["id"].as_str().unwrap(),
            reply["resultBody"]["extendFields"]["reason"].as_str().unwrap()
        ),
        "Rule successfully" => format!("rule {}", data["name"].as_str().unwrap()),
        _ => reply["code"].as_str().unwrap_or("duplicate").to_string(),
    }
}

/// A text that starts with `name` and is `bytes` long.
pub fn text(name: impl ToString, bytes: usize) -> String {
    format!("{:.<bytes$}", name.to_string())
}

pub fn numbered(room: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{room} {n}")).collect()
}

//! A class that talks, over sockets that take no memory while they are counted.
//!
//! Owns: what its members say in a turn, in which voice, and that each hears all of it. Refuses to know: what it costs.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use classhub::base::{Key, Now};
use classhub::hub::{SealKeySettings, Settings};
use classhub::net::Stream;
use classhub::net::exchange::{Exchange, Options};
use classhub::wire::frame;
use serde_json::{Value, json};

use crate::allocator::{Allocations, counted};

pub const MEMBERS: usize = 64;
/// Everyone says something once, and one of them twice.
pub const CHATS_PER_TURN: usize = MEMBERS + 1;
/// Slow enough for the usual rates, so that these are asked too. Two thousand turns take more than the heartbeat's time.
const TURN_MS: u64 = 125;
/// More than all that is said in one turn.
const OUTPUT_BYTES: usize = 256 * 1024;
/// What a slow member's socket takes before it would block: it ends inside a frame.
const SLOW_BYTES: usize = 5_000;
const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SEAL_KEY: SealKeySettings = SealKeySettings { id: 3, key: [9; 32] };

/// One socket, as its peer sees it. Both buffers have all the place that they will ever need.
struct Wire {
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes that the socket takes before it would block.
    room: usize,
}

struct Socket(Rc<RefCell<Wire>>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = &mut self.0.borrow_mut().input;
        if input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&input[..count]);
        input.drain(..count);
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wire = &mut *self.0.borrow_mut();
        let count = wire.room.min(bytes.len());
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        assert!(wire.output.len() + count <= wire.output.capacity(), "the test's own buffer would grow");
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
        Ok(())
    }
}

struct Member {
    key: Key,
    wire: Rc<RefCell<Wire>>,
    is_sealed: bool,
}

/// The class, all in one room.
pub struct Class {
    exchange: Exchange<Socket>,
    now: Now,
    members: Vec<Member>,
    cipher: Aes256Gcm,
    said: u64,
    sealed: u32,
    content: fn(usize) -> (u16, Value),
    /// Chats that every member has heard.
    pub heard: usize,
}

impl Class {
    /// A class of members who speak sealed where `is_sealed` says so, and each of whom says `content`, under its dataType.
    pub fn new(is_sealed: fn(usize) -> bool, content: fn(usize) -> (u16, Value)) -> Class {
        let now = Now { monotonic_ms: 1_000, wall_ms: 1_600_000_000_000 };
        let settings = Settings { seal_keys: vec![SEAL_KEY], ..Settings::default() };
        let mut class = Class {
            exchange: Exchange::new(Options::default(), settings, [7; 32], now),
            now,
            members: Vec::new(),
            cipher: Aes256Gcm::new(&SEAL_KEY.key.into()),
            said: 0,
            sealed: 0,
            content,
            heard: 0,
        };
        for n in 0..MEMBERS {
            let input = Vec::with_capacity(8 * 1024);
            let wire = Wire { input, output: Vec::with_capacity(OUTPUT_BYTES), room: usize::MAX };
            let wire = Rc::new(RefCell::new(wire));
            let (key, fits) =
                class.exchange.accept(now, Socket(wire.clone()), IpAddr::V4(Ipv4Addr::new(10, 0, 0, n as u8)));
            assert_eq!(fits, Ok(()));
            wire.borrow_mut().input.extend_from_slice(UPGRADE);
            class.members.push(Member { key, wire, is_sealed: is_sealed(n) });
            class.turn();
            let from = json!({"id": format!("pupil {n:02}"), "personName": "老三", "nickName": "Third"});
            let data = json!({"from": from, "roomNumber": "E00001"});
            class.put(n, &json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
            class.turn();
        }
        for member in &class.members {
            member.wire.borrow_mut().output.clear();
        }
        class
    }

    /// A frame of this member's, masked as a browser does it.
    fn put(&mut self, n: usize, message: &Value) {
        let text = message.to_string().into_bytes();
        let (first, payload) = match self.members[n].is_sealed {
            false => (frame::TEXT, text),
            true => {
                self.sealed += 1;
                let mut nonce = [0; 12];
                nonce[..4].copy_from_slice(&self.sealed.to_be_bytes());
                let beside = [1, SEAL_KEY.id, b'c'];
                let sealed = self.cipher.encrypt(&Nonce::from(nonce), Payload { msg: &text, aad: &beside });
                (frame::BINARY, [&beside[..2], &nonce, &sealed.expect("it is short")].concat())
            }
        };
        let input = &mut self.members[n].wire.borrow_mut().input;
        let length = u16::try_from(payload.len()).expect("what they say is short");
        match length {
            0..=125 => input.extend_from_slice(&[first, 0x80 | length as u8]),
            _ => input.extend_from_slice(&[&[first, 0x80 | 126], &length.to_be_bytes()[..]].concat()),
        }
        const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
        input.extend_from_slice(&MASK);
        input.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    fn say(&mut self, n: usize) {
        self.said += 1;
        let (data_type, content) = (self.content)(n);
        let data = json!({"roomNumber": "E00001", "content": content});
        let fields = json!({"ref": format!("{:08}", self.said)});
        let text_data = json!({"dataType": data_type, "data": data});
        self.put(n, &json!({"msgType": 3, "textData": text_data, "extendFields": fields}));
    }

    fn turn(&mut self) {
        self.exchange_turn(&mut Allocations::default());
    }

    fn exchange_turn(&mut self, allocations: &mut Allocations) {
        self.now = self.now.after_ms(TURN_MS);
        let Class { exchange, now, members, .. } = self;
        counted(allocations, || {
            for member in &*members {
                exchange.set_readable(member.key, false);
            }
            exchange.read_ready(*now);
            exchange.expire(*now);
            exchange.finish(*now);
        });
    }

    /// Everybody says something, and hears what everybody says: in frames that came whole, two at once or one in two reads, through sockets
    /// that take everything or would block in the middle. One sends a heartbeat as well.
    pub fn talk(&mut self, allocations: &mut Allocations) {
        (0..MEMBERS).for_each(|n| self.say(n));
        self.say(1);
        self.put(2, &json!({"msgType": 1}));
        let rest = self.members[3].wire.borrow_mut().input.split_off(100);
        self.members[4].wire.borrow_mut().room = SLOW_BYTES;
        self.exchange_turn(allocations);
        self.members[3].wire.borrow_mut().input.extend_from_slice(&rest);
        self.exchange_turn(allocations);
        self.members[4].wire.borrow_mut().room = usize::MAX;
        let (exchange, slow) = (&mut self.exchange, self.members[4].key);
        counted(allocations, || exchange.write(slow));
        self.hear();
    }

    /// Everyone was sent the same frames, as many as were said.
    fn hear(&mut self) {
        for is_sealed in [false, true] {
            let mut alike = self.members.iter().filter(|member| member.is_sealed == is_sealed);
            let Some(first) = alike.next() else { continue };
            let mut first = first.wire.borrow_mut();
            let (mut at, mut frames) = (0, 0);
            while at < first.output.len() {
                at += frame::length(&first.output[at..]);
                frames += 1;
            }
            assert_eq!((frames, at), (CHATS_PER_TURN, first.output.len()));
            for member in alike {
                let output = &mut member.wire.borrow_mut().output;
                assert!(*output == first.output, "a member hears something else");
                output.clear();
            }
            first.output.clear();
        }
        self.heard += CHATS_PER_TURN;
    }
}

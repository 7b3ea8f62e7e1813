//! A class that talks while something else goes on.
//!
//! Owns: fifty members in one room, all driven by the thread that asks for it, and the books: what each heard, in which order, and how long it
//! was on its way. Refuses to know: who else is connected, and what for. Whatever the room hears from others is in the one order as well.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;

use super::common::{CLOSE, Hub, PATIENCE, PING, ROOM, Raw, TEXT, chat, data, seq};

pub const MEMBERS: usize = 50;

/// One of them says something so often: all in turn, each twice a second.
const EVERY: Duration = Duration::from_millis(10);

pub struct Class {
    poll: Poll,
    members: Vec<Member>,
    /// What the room was told, as whoever heard it first has heard it; the first member's own join comes before that.
    heard: Vec<Heard>,
    said: Vec<Said>,
    /// Joins of others, and why those who left did.
    pub joined: u64,
    pub left: BTreeMap<String, u64>,
    /// Who of the class was closed, and how.
    pub lost: Option<String>,
    buffer: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    input: Vec<u8>,
    /// How many of `heard` it has heard.
    heard: usize,
}

struct Heard {
    payload: Box<[u8]>,
    /// Which of `said` it is.
    said: Option<usize>,
}

struct Said {
    at: Instant,
    deliveries: usize,
    /// From the moment before it was sent to the moment when the last of the class had it.
    took: Duration,
}

/// How long what the class said was on its way to the last of it.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // they are printed
pub struct Figures {
    pub said: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Class {
    /// A class that has just come in, one by one.
    pub fn start(hub: &Hub) -> Class {
        let poll = Poll::new().expect("a poll can be had");
        let mut class = Class {
            poll,
            members: Vec::new(),
            heard: Vec::new(),
            said: Vec::new(),
            joined: 0,
            left: BTreeMap::new(),
            lost: None,
            buffer: vec![0; 256 * 1024],
        };
        for number in 0..MEMBERS {
            let mut client = hub.connect();
            let reply = client.join(ROOM, &member_id(number));
            assert_eq!(seq(&reply), number as u64 + 1, "somebody else is in the room");
            let (stream, input) = client.into_parts();
            stream.set_nonblocking(true).expect("a socket has it");
            let mut stream = TcpStream::from_std(stream);
            class.poll.registry().register(&mut stream, Token(number), Interest::READABLE).expect("it is a socket");
            class.members.push(Member { stream, input, heard: number });
        }
        class.read_for(Duration::ZERO);
        class
    }

    /// Talks for so long, in messages with so many bytes more than their numbers, and waits until everybody has heard everything.
    pub fn talk(&mut self, period: Duration, more_bytes: usize) -> Figures {
        let first = self.said.len();
        let more = "x".repeat(more_bytes);
        let start = Instant::now();
        let mut due = start;
        while start.elapsed() < period && self.lost.is_none() {
            let now = Instant::now();
            if now >= due {
                self.say(&more);
                // Nothing is made up for: a class that was held up does not talk faster.
                due = now + EVERY;
            }
            self.read_for(due.saturating_duration_since(Instant::now()));
        }
        let until = Instant::now() + PATIENCE;
        while self.lost.is_none() && self.said.iter().any(|said| said.deliveries < MEMBERS) {
            assert!(Instant::now() < until, "not everybody heard everything: {}", self.missing());
            self.read_for(Duration::from_millis(10));
        }
        let mut took: Vec<Duration> = self.said[first..].iter().map(|said| said.took).collect();
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part).round() as usize];
        Figures { said: took.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }

    fn missing(&self) -> String {
        let all = self.said.len() * MEMBERS;
        let there: usize = self.said.iter().map(|said| said.deliveries).sum();
        format!("{there} of {all} deliveries")
    }

    /// The next member says the next number.
    fn say(&mut self, more: &str) {
        let number = self.said.len();
        let text = chat(ROOM, &format!("{number} {more}")).to_string();
        self.said.push(Said { at: Instant::now(), deliveries: 0, took: Duration::ZERO });
        let bytes = Raw::text(&text).bytes();
        let member = &mut self.members[number % MEMBERS];
        // A member's own send buffer takes far more than it ever has to say at once.
        match member.stream.write(&bytes) {
            Ok(sent) => assert_eq!(sent, bytes.len(), "the hub did not read for long"),
            Err(error) => self.lose(number % MEMBERS, &error.to_string()),
        }
    }

    /// Reads what comes within `period`, until something has come.
    fn read_for(&mut self, period: Duration) {
        let mut events = Events::with_capacity(MEMBERS);
        self.poll.poll(&mut events, Some(period)).expect("a poll with a period");
        let mut buffer = std::mem::take(&mut self.buffer);
        for event in &events {
            let number = event.token().0;
            while self.lost.is_none() {
                match self.members[number].stream.read(&mut buffer) {
                    Ok(0) => self.lose(number, "closed without a word"),
                    Ok(count) => self.take(number, &buffer[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => self.lose(number, &error.to_string()),
                }
            }
        }
        self.buffer = buffer;
    }

    fn lose(&mut self, number: usize, how: &str) {
        self.lost.get_or_insert_with(|| format!("member {number}: {how}"));
    }

    fn take(&mut self, number: usize, bytes: &[u8]) {
        let mut input = std::mem::take(&mut self.members[number].input);
        input.extend_from_slice(bytes);
        let mut parsed = 0;
        while let Some((opcode, start, end)) = frame(&input[parsed..]) {
            let payload = &input[parsed + start..parsed + end];
            parsed += end;
            match opcode {
                TEXT => self.hear(number, payload),
                // Somebody knocks under its id. Each says something often enough to show that it lives.
                PING => {}
                CLOSE => return self.lose(number, &String::from_utf8_lossy(payload)),
                _ => panic!("member {number} got a frame with opcode {opcode}"),
            }
        }
        input.drain(..parsed);
        self.members[number].input = input;
    }

    fn hear(&mut self, number: usize, payload: &[u8]) {
        let at = self.members[number].heard;
        self.members[number].heard += 1;
        if at == self.heard.len() {
            let said = self.note(payload);
            self.heard.push(Heard { payload: payload.into(), said });
        }
        let heard = &self.heard[at];
        assert!(
            *heard.payload == *payload,
            "member {number} heard, as number {at}, {} where others heard {}",
            String::from_utf8_lossy(payload),
            String::from_utf8_lossy(&heard.payload)
        );
        let Some(said) = heard.said else { return };
        let said = &mut self.said[said];
        said.deliveries += 1;
        said.took = said.at.elapsed();
    }

    /// What somebody is the first to hear. Says which of the class's own messages it is.
    fn note(&mut self, payload: &[u8]) -> Option<usize> {
        let frame: Value = serde_json::from_slice(payload).expect("JSON");
        assert_eq!(frame["status"], 1, "a member was refused: {frame}");
        // Numbered without gaps.
        assert_eq!(seq(&frame), self.heard.len() as u64 + 2, "{frame}");
        let data = data(&frame);
        match frame["msg"].as_str() {
            Some("Chat successfully") => {
                let number = data["content"].as_str()?.split(' ').next()?.parse().ok()?;
                (data["from"]["id"] == member_id(number % MEMBERS)).then_some(number)
            }
            Some("Join successfully") => {
                self.joined += 1;
                None
            }
            Some("Leave successfully") => {
                let reason = frame["resultBody"]["extendFields"]["reason"].as_str().expect("a reason");
                *self.left.entry(reason.to_owned()).or_default() += 1;
                None
            }
            _ => panic!("a frame that no room is told: {frame}"),
        }
    }
}

/// The id that a member of the class has.
pub fn member_id(number: usize) -> String {
    format!("member {number}")
}

/// The first frame's opcode, and where in `bytes` its payload starts and ends; `None` where it is not whole.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (start, length) = match *bytes {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 126, ..] => return None,
        [_, 127, ..] => panic!("a frame of more than 64 KiB"),
        [_, short, ..] => (2, usize::from(short)),
        _ => return None,
    };
    (bytes.len() >= start + length).then_some((bytes[0] & 0x0F, start, start + length))
}

//! A network in memory, and the strictest reader of it.
//!
//! Owns: both directions of each connection, what a socket takes before it would block, when it says that it takes more, and which bytes are
//! whole and valid frames of a server (RFC 6455, section 5). Refuses to know: what a frame says.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use classhub::net::Stream;

/// One connection, as whoever is outside of the hub sees it.
#[derive(Default)]
pub struct Wire {
    /// Sent by the client, and how much of it the hub has read.
    pub to_hub: Vec<u8>,
    pub read: usize,
    /// The client has ended its side.
    pub ended: bool,
    /// The connection is broken, in both directions.
    pub reset: bool,
    /// What the hub's socket holds at most before the client reads.
    pub capacity: usize,
    /// How much room there must be before a poll says that there is some.
    pub wakes_at: usize,
    /// What one write takes at most.
    pub write_max: usize,
    /// Taken from the hub and not yet read by the client.
    pub in_flight: usize,
    /// Taken from the hub and not yet looked at by the simulation.
    pub taken: Vec<u8>,
    /// A write was refused, and the hub was not told since that there is room.
    pub refused: bool,
    /// The hub may try a refused write once more without having been told, since it wants to know whether its client lives; and it has.
    pub may_retry: bool,
    pub was_retried: bool,
    /// A write went through after a refusal: whoever reads has made room for it.
    pub moved_on: bool,
    pub was_refused: bool,
    /// The hub has ended its side.
    pub shut_down: bool,
    /// The hub has been told of the end or of the break.
    pub end_was_seen: bool,
    /// The hub has given up the socket.
    pub dropped: bool,
    /// What the hub did that no socket should see.
    pub wrong: Option<&'static str>,
    pub calls: usize,
    /// How far the hub has come in what it read.
    pub reading: Reading,
    /// The socket goes on, though the process that has it ends.
    pub is_handed_over: bool,
}

/// Where in the client's stream the hub's reading has stopped.
#[derive(Default)]
pub struct Reading {
    /// The end of the request head has been read.
    has_head: bool,
    /// The last bytes of the head, then those of the header of the frame that is being read.
    header: Vec<u8>,
    payload_left: usize,
    /// Fragments came of a message, and not its last.
    in_message: bool,
}

impl Reading {
    fn feed(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.payload_left > 0 {
                let count = self.payload_left.min(bytes.len() - at);
                self.payload_left -= count;
                at += count;
                continue;
            }
            self.header.push(bytes[at]);
            at += 1;
            if !self.has_head {
                self.has_head = self.header.ends_with(b"\r\n\r\n");
                if self.has_head {
                    self.header.clear();
                }
            } else if let Some(payload) = payload_of(&self.header) {
                let (fin, opcode) = (self.header[0] & 0x80 != 0, self.header[0] & 0x0F);
                if opcode < 8 {
                    self.in_message = !fin;
                }
                self.payload_left = payload;
                self.header.clear();
            }
        }
    }

    /// Whether a next process could go on from here.
    pub fn is_between_messages(&self) -> bool {
        !self.has_head || self.header.is_empty() && self.payload_left == 0 && !self.in_message
    }
}

/// The payload that the whole header of a client's frame tells.
fn payload_of(header: &[u8]) -> Option<usize> {
    let length = usize::from(header.get(1)? & 0x7F);
    let extended = match length {
        127 => 8,
        126 => 2,
        _ => 0,
    };
    let mask = if header[1] & 0x80 == 0 { 0 } else { 4 };
    if header.len() < 2 + extended + mask {
        return None;
    }
    let told = header[2..2 + extended].iter().fold(0, |sum: usize, byte| sum.wrapping_shl(8) | usize::from(*byte));
    Some(if extended == 0 { length } else { told })
}

impl Wire {
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.in_flight)
    }

    /// Whether a poll would say that the socket can be written again.
    pub fn is_writable_anew(&self) -> bool {
        self.refused && (self.room() >= self.wakes_at.max(1) || self.reset)
    }

    /// How many bytes the hub has yet to read.
    pub fn unread(&self) -> usize {
        self.to_hub.len() - self.read
    }

    /// Nothing of what was sent and not yet read arrives any more.
    pub fn lose_unread(&mut self) {
        self.to_hub.clear();
        self.read = 0;
    }

    /// Now and then a call is interrupted by a signal, which means nothing.
    fn interrupted(&mut self) -> bool {
        self.calls += 1;
        self.calls.is_multiple_of(23)
    }
}

/// Which connection was read, and how many bytes that gave, in order.
pub type Journal = Rc<RefCell<Vec<(usize, usize)>>>;

/// The hub's end of a [`Wire`].
pub struct Socket {
    pub client: usize,
    pub wire: Rc<RefCell<Wire>>,
    pub journal: Journal,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        if wire.reset {
            wire.end_was_seen = true;
            return Err(ErrorKind::ConnectionReset.into());
        }
        if wire.unread() == 0 {
            if !wire.ended {
                return Err(ErrorKind::WouldBlock.into());
            }
            wire.end_was_seen = true;
            return Ok(0);
        }
        let count = buffer.len().min(wire.unread());
        buffer[..count].copy_from_slice(&wire.to_hub[wire.read..wire.read + count]);
        wire.read += count;
        wire.reading.feed(&buffer[..count]);
        if wire.unread() == 0 {
            wire.lose_unread();
        }
        self.journal.borrow_mut().push((self.client, count));
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.shut_down {
            wire.wrong = Some("wrote after it had ended its side");
        }
        if bytes.is_empty() {
            wire.wrong = Some("wrote nothing, for which a socket answers 0, as if it were broken");
        }
        if wire.reset {
            wire.end_was_seen = true;
            return Err(ErrorKind::BrokenPipe.into());
        }
        // A hub that does would do so for ever.
        assert!(!wire.refused || wire.may_retry, "a write to a blocked socket before the poll said that it takes more");
        if wire.interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        if wire.refused {
            wire.may_retry = false;
            wire.was_retried = true;
        }
        let count = bytes.len().min(wire.room()).min(wire.write_max);
        if count == 0 {
            wire.refused = true;
            wire.was_refused = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.refused = false;
        wire.moved_on |= std::mem::take(&mut wire.was_refused);
        wire.taken.extend_from_slice(&bytes[..count]);
        wire.in_flight += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let wire = &mut *self.wire.borrow_mut();
        if wire.reset {
            wire.end_was_seen = true;
            return Err(ErrorKind::NotConnected.into());
        }
        if wire.shut_down {
            wire.wrong = Some("ended its side twice");
        }
        wire.shut_down = true;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut wire = self.wire.borrow_mut();
        wire.dropped |= !wire.is_handed_over;
    }
}

/// A whole frame of the hub's.
pub enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(Option<u16>),
}

/// Takes frames out of a stream of bytes, and no nonsense.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<u8>,
    at: usize,
    /// All bytes ever fed.
    total: u64,
}

impl Frames {
    /// Takes all of `bytes`.
    pub fn feed(&mut self, bytes: &mut Vec<u8>) {
        self.total += bytes.len() as u64;
        if self.is_between_frames() {
            // Nothing to keep: the two only change places.
            self.bytes.clear();
            self.at = 0;
            std::mem::swap(&mut self.bytes, bytes);
            return;
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.append(bytes);
    }

    /// All bytes that were ever fed.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Where in the stream the last frame that was taken out ends.
    pub fn position(&self) -> u64 {
        self.total - (self.bytes.len() - self.at) as u64
    }

    pub fn is_between_frames(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The HTTP response that stands before all frames, up to its blank line.
    pub fn head(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end;
        Some(head)
    }

    /// The bytes that are no frames: the body of a refusal.
    pub fn skip_all(&mut self) {
        self.at = self.bytes.len();
    }

    /// The next whole frame; `None` where there is none yet.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, String> {
        let rest = &self.bytes[self.at..];
        let [first, second, ..] = *rest else { return Ok(None) };
        if second & 0x80 != 0 {
            return Err("a masked frame of a server, or no frame".into());
        }
        if !matches!(first, 0x81 | 0x88 | 0x89 | 0x8A) {
            return Err(format!("a frame that begins with {first:#x}"));
        }
        let (header, payload) = match second {
            127 => {
                let Some(length) = rest.get(2..10) else { return Ok(None) };
                (10, u64::from_be_bytes(length.try_into().unwrap()))
            }
            126 => {
                let Some(length) = rest.get(2..4) else { return Ok(None) };
                (4, u64::from(u16::from_be_bytes(length.try_into().unwrap())))
            }
            short => (2, u64::from(short)),
        };
        let shortest = if payload < 126 { 2 } else { 4 + 6 * usize::from(payload > 0xFFFF) };
        if header != shortest {
            return Err(format!("{payload} bytes of payload behind a header of {header}"));
        }
        if first != 0x81 && payload > 125 {
            return Err(format!("a control frame of {payload} bytes"));
        }
        if payload > 1 << 24 {
            return Err(format!("a frame of {payload} bytes, which nothing here explains"));
        }
        let end = header + payload as usize;
        let Some(payload) = rest.get(header..end) else { return Ok(None) };
        let frame = match first {
            0x81 => Frame::Text(payload),
            0x89 => Frame::Ping(payload),
            0x8A => Frame::Pong(payload),
            _ => match payload {
                [] => Frame::Close(None),
                [_] => return Err("a close frame with half a code".into()),
                [high, low, reason @ ..] => {
                    std::str::from_utf8(reason).map_err(|_| "a close reason that is not UTF-8")?;
                    Frame::Close(Some(u16::from_be_bytes([*high, *low])))
                }
            },
        };
        self.at += end;
        Ok(Some(frame))
    }
}

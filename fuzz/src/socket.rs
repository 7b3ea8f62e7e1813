//! A socket whose other end a fuzzer has, and what goes over it.
//!
//! Owns: both directions, what the system holds for a peer that does not read, and which bytes are whole and valid frames (RFC 6455, section 5).
//! Refuses to know: what a frame says.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use classhub::net::Stream;

/// Both directions, as the peer sees them.
#[derive(Default)]
pub struct Wire {
    pub to_hub: Vec<u8>,
    /// The peer has ended its side.
    pub ended: bool,
    /// The connection is broken.
    pub reset: bool,
    /// The peer does not read, and the system holds so much for it.
    pub capacity: Option<usize>,
    /// Written by the hub and not yet read by the peer.
    pub held: Vec<u8>,
    /// Read by the peer.
    pub output: Vec<u8>,
    /// The hub was told that there is no room, and not yet that there is.
    pub refused: bool,
    pub tells_unsent: bool,
    pub shut_down: bool,
    pub dropped: bool,
    /// The socket goes on, though the process that has it ends.
    pub is_handed_over: bool,
}

impl Wire {
    fn room(&self) -> usize {
        self.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.held.len()))
    }

    /// The peer reads so much. Says whether the hub is to be told that there is room.
    pub fn take(&mut self, bytes: usize) -> bool {
        let count = bytes.min(self.held.len());
        self.output.extend(self.held.drain(..count));
        self.room() > 0 && std::mem::take(&mut self.refused)
    }

    /// Begins to be watched by another poll. Says whether that tells that there is room.
    pub fn is_watched_anew(&mut self) -> bool {
        self.refused = self.room() == 0 && !self.reset;
        !self.refused
    }

    /// Whether the peer has read all that was written, and more would be taken.
    pub fn is_clear(&self) -> bool {
        self.held.is_empty() && !self.refused && !self.reset && !self.ended && !self.dropped
    }
}

/// The hub's end.
pub struct Socket(pub Rc<RefCell<Wire>>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wire = &mut *self.0.borrow_mut();
        if wire.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if wire.to_hub.is_empty() {
            return if wire.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = buffer.len().min(wire.to_hub.len());
        buffer[..count].copy_from_slice(&wire.to_hub[..count]);
        wire.to_hub.drain(..count);
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wire = &mut *self.0.borrow_mut();
        assert!(!wire.shut_down, "a write behind the end");
        assert!(!bytes.is_empty(), "a write of nothing, for which a socket answers 0");
        if wire.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(wire.room());
        if count == 0 {
            wire.refused = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.refused = false;
        let to = if wire.capacity.is_none() { &mut wire.output } else { &mut wire.held };
        to.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let wire = &mut *self.0.borrow_mut();
        if wire.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        assert!(!wire.shut_down, "ended twice");
        wire.shut_down = true;
        Ok(())
    }

    fn unsent_bytes(&self) -> usize {
        let wire = self.0.borrow();
        if wire.tells_unsent { wire.held.len() } else { 0 }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut wire = self.0.borrow_mut();
        wire.dropped |= !wire.is_handed_over;
    }
}

/// A whole frame of the hub's.
#[derive(Debug)]
pub enum Frame<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    Ping,
    Pong,
    Close(Option<u16>),
}

/// The first whole frame in `bytes`, and how long it is; `None` where there is none yet.
pub fn frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let [first, second, ..] = *bytes else { return None };
    assert!(matches!(first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8A), "a frame that begins with {first:#x}");
    assert!(second & 0x80 == 0, "a masked frame of a server");
    let (header, length) = match second {
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()).into()),
        short => (2, short.into()),
    };
    let shortest = if length < 126 { 2 } else { 4 + 6 * usize::from(length > 0xFFFF) };
    assert!(header == shortest && length < 1 << 20, "{length} bytes behind a header of {header}");
    assert!(first < 0x88 || length <= 125, "a control frame of {length} bytes");
    let payload = bytes.get(header..header + length)?;
    let frame = match first {
        0x81 => Frame::Text(payload),
        0x82 => Frame::Binary(payload),
        0x89 => Frame::Ping,
        0x8A => Frame::Pong,
        _ => match payload {
            [] => Frame::Close(None),
            [_] => panic!("a close frame with half a code"),
            [high, low, words @ ..] => {
                std::str::from_utf8(words).expect("a close frame's words are UTF-8");
                Frame::Close(Some(u16::from_be_bytes([*high, *low])))
            }
        },
    };
    Some((frame, header + length))
}

/// A client's frame: masked, with a mask that changes nothing.
pub fn append_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        usual @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(usual as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

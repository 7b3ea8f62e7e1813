//! One connection, over anything that reads and writes without blocking.
//!
//! Owns: the socket, how far the connection has come (request head, WebSocket, closing), its own queue, and whether it is blocked.
//! Refuses to know: rooms, routes, deadlines and polls. An echo server needs nothing more: see `examples/echo.rs`.
//!
//! The library (tungstenite) reads and checks every frame and writes pings, pongs and close frames, but it never sees the socket: it is fed from
//! memory, one frame at a time (`decoder`), so that its buffer holds one frame at most and every frame, fragments too, is counted; what it would
//! send goes to the connection's own queue.

mod decoder;
mod state;

pub use decoder::Decoders;
pub use state::ConnState;

use std::io::{self, ErrorKind};

use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, Utf8Bytes};

use self::decoder::Decoder;

use super::queue::Queue;
use super::stream::Stream;
use crate::limits;
use crate::wire::CloseReason;

/// A request head that comes in parts is made room for in steps of this; most come whole, and are shorter.
const HEAD_GROWTH: usize = 1024;

/// A connection.
pub struct Conn<S> {
    stream: S,
    stage: Stage,
    queue: Queue,
    flow: Flow,
    /// Bytes that the socket took, ever.
    written_bytes: u64,
}

enum Stage {
    /// A request head is coming, and so much of it is here.
    Head(Vec<u8>),
    /// The two sides speak WebSocket.
    Open(Open),
    /// The last word is said: what is queued goes out, then the write side ends; what comes is thrown away.
    Closing { shut_down: bool },
}

struct Open {
    /// What reads the message that has come in part; between messages there is none.
    decoder: Option<Box<Decoder>>,
    /// The longest message that is taken, from the next on.
    message_bytes: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// The socket took all that it was given.
    Free,
    /// It did not, and did not say since that it can take more.
    Blocked,
    /// It is gone.
    Broken,
}

/// What one read of the socket brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The end: the peer will send no more, or the socket is broken.
    End,
}

/// What came of the bytes of a request head.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// More must come.
    Incomplete,
    /// This is all of it, blank line included.
    Complete(Vec<u8>),
    /// It is longer than [`limits::HEAD_BYTES`].
    TooLong,
}

/// A frame that came.
#[derive(Debug)]
pub struct Received {
    /// What it takes on the wire, header included.
    pub frame_bytes: u32,
    /// What it was.
    pub what: What,
}

/// What a frame was.
#[derive(Debug)]
pub enum What {
    /// It completed a text message.
    Text(Utf8Bytes),
    /// It completed a binary message.
    Binary(Bytes),
    /// A part of a message, and not its last.
    Fragment,
    /// A ping, to be answered with [`Conn::pong`]; of several the latest answer counts for all.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// The client closes: [`Conn::answer_close`] is the answer. Its code, where it gave one.
    Close(Option<u16>),
    /// The client broke the protocol: [`Conn::close`] with this reason is the answer.
    Fault(CloseReason),
}

impl<S: Stream> Conn<S> {
    /// A connection whose client is about to send a request head.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Conn { stream, stage: Stage::Head(Vec::new()), queue: Queue::default(), flow: Flow::Free, written_bytes: 0 }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, to register it somewhere.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    // ---- Reading --------------------------------------------------------------------------------

    /// Reads the socket once, into a buffer that all connections may share.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Filled {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Filled::End,
                Ok(count) => return Filled::Bytes(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Filled::Nothing,
                Err(_) => {
                    self.flow = Flow::Broken;
                    return Filled::End;
                }
            }
        }
    }

    /// Whether there may be more to read, of which no poll tells again: see [`Stream::has_more`].
    #[must_use]
    pub fn has_more(&self, hung_up: bool) -> bool {
        self.stream.has_more(hung_up)
    }

    /// Whether reading it may be far more work than usual: see [`Stream::is_costly`].
    #[must_use]
    pub fn is_costly(&self) -> bool {
        self.stream.is_costly()
    }

    /// Whether what is said is encrypted on its way.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }

    /// Whether a request head is still to come.
    #[must_use]
    pub fn awaits_head(&self) -> bool {
        matches!(self.stage, Stage::Head(_))
    }

    /// Takes what belongs to the request head from `input`.
    pub fn head(&mut self, input: &mut &[u8]) -> Head {
        let Stage::Head(head) = &mut self.stage else { return Head::Incomplete };
        // Only what is new, and the last three bytes before it, can hold the end: a head that comes byte by byte costs no more than another.
        let from = head.len().saturating_sub(3);
        let before = head.len();
        let room = limits::HEAD_BYTES - before;
        let new = &input[..input.len().min(room)];
        if head.capacity() - before < new.len() {
            // Grown in steps, as it comes byte by byte, but never to more than the longest takes: a vector left alone would double.
            head.reserve_exact(new.len().max(HEAD_GROWTH).min(room));
        }
        head.extend_from_slice(new);
        match end_of_head(&head[from..]) {
            Some(length) => {
                let length = from + length;
                *input = &input[length - before..];
                head.truncate(length);
                Head::Complete(std::mem::take(head))
            }
            None if input.len() >= room => Head::TooLong,
            None => {
                *input = &[];
                Head::Incomplete
            }
        }
    }

    /// The next frame in `input`, which is taken from it; `None` when there is no whole one left, and the rest was noted. After a
    /// [`What::Close`] or [`What::Fault`], and in every other stage, there is none. One of `decoders` reads it, which the connection keeps where more of
    /// the message is to come.
    pub fn next(&mut self, input: &mut &[u8], decoders: &mut Decoders) -> Option<Received> {
        let Stage::Open(Open { decoder, message_bytes }) = &mut self.stage else { return None };
        if input.is_empty() {
            return None;
        }
        let mut reading = decoder.take().unwrap_or_else(|| decoders.lend(*message_bytes));
        let received = reading.next(input);
        if reading.is_done() {
            decoders.take_back(reading);
        } else {
            *decoder = Some(reading);
        }
        received
    }

    // ---- Changing stage -------------------------------------------------------------------------

    /// Answers the request head with `response`, a 101: from now on the two sides speak WebSocket, in messages and frames of at most
    /// `message_bytes`.
    ///
    /// # Panics
    /// Where something is queued already: the answer to the head comes first, and once.
    pub fn upgrade(&mut self, response: &[u8], message_bytes: u32) {
        self.queue.keep_part(response);
        self.stage = Stage::Open(Open { decoder: None, message_bytes });
    }

    /// From now on messages and frames may have so many bytes. One of which a part has come already is judged as it was begun.
    pub fn set_message_bytes(&mut self, message_bytes: u32) {
        if let Stage::Open(open) = &mut self.stage {
            open.message_bytes = message_bytes;
        }
    }

    /// Whether the two sides speak WebSocket.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Answers the request head with `response`, and closes.
    ///
    /// # Panics
    /// Where something is queued already: the answer to the head comes first, and once.
    pub fn refuse(&mut self, response: &[u8]) {
        self.queue.keep_part(response);
        self.stage = Stage::Closing { shut_down: false };
    }

    /// Answers a ping. Frames of somebody else's that were sent in part must have been finished ([`Conn::is_between_frames`]).
    pub fn pong(&mut self, payload: Bytes) {
        self.control(Frame::pong(payload));
    }

    /// Asks the client for a sign of life: it has to answer with a pong. As with [`Conn::pong`], no frame is in progress.
    pub fn ping(&mut self) {
        self.control(Frame::ping(Bytes::new()));
    }

    fn control(&mut self, frame: Frame) {
        if self.is_open() {
            self.queue.keep(|own| write(frame, own));
        }
    }

    /// Answers the client's close frame with its own code (RFC 6455, section 5.5.1).
    pub fn answer_close(&mut self) {
        if let Stage::Open(Open { decoder: Some(decoder), .. }) = &mut self.stage {
            self.queue.keep(|own| decoder.answer_close(own));
        }
        self.stage = Stage::Closing { shut_down: false };
    }

    /// Sends a close frame, as the last that is sent.
    pub fn close(&mut self, reason: CloseReason) {
        let frame =
            reason.code().map(|code| CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason.words()) });
        self.control(Frame::close(frame));
        self.stage = Stage::Closing { shut_down: false };
    }

    /// The same on a stream that spoke WebSocket before this connection had it.
    pub fn dismiss(&mut self, reason: CloseReason) {
        self.stage = Stage::Open(Open { decoder: None, message_bytes: 0 });
        self.close(reason);
    }

    // ---- Writing --------------------------------------------------------------------------------

    /// Appends whole frames to the own queue; [`Conn::flush`] sends them.
    pub fn keep(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.queue.keep(write);
    }

    /// Puts the rest of a frame that [`Conn::offer`] took in part into the own queue.
    ///
    /// # Panics
    /// Where something is queued already: nothing may stand before the rest of a frame.
    pub fn keep_rest(&mut self, rest: &[u8]) {
        self.queue.keep_part(rest);
    }

    /// Bytes in the own queue.
    #[must_use]
    pub fn owed_bytes(&self) -> usize {
        self.queue.unsent().len()
    }

    /// Whether the peer has not been sent everything: some is in the own queue, or the stream holds it back.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.queue.is_empty() || self.flow == Flow::Blocked
    }

    /// Bytes in the own queue beside the largest frame in it.
    #[must_use]
    pub fn owed_beside_largest(&self) -> usize {
        self.queue.unsent_beside_largest()
    }

    /// Forgets what is in the own queue, but for the rest of a frame sent in part.
    pub fn forget_owed(&mut self) {
        self.queue.forget_whole_frames();
    }

    /// Gives the connection up: nothing more is sent, not even the rest of a frame.
    pub fn abandon(&mut self) {
        self.queue = Queue::default();
        self.flow = Flow::Broken;
    }

    /// Whether the last word is said.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing { .. })
    }

    /// Whether nothing that somebody else offered can have been sent in part: the socket took all it was given, or what it did not take
    /// has moved to the own queue.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.flow == Flow::Free || !self.queue.is_empty()
    }

    /// Whether the socket takes nothing for now (or ever).
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.flow != Flow::Free
    }

    /// Whether the socket is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.flow == Flow::Broken
    }

    /// Bytes that the socket took, ever.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes that the system has sent of all that the socket took; `None` where it holds none back, and so has nothing to send that would tell
    /// of a peer that takes more.
    #[must_use]
    pub fn sent_bytes(&self) -> Option<u64> {
        let unsent = self.stream.unsent_bytes() as u64;
        (unsent > 0).then(|| self.written_bytes.saturating_sub(unsent))
    }

    /// The socket says that it takes more.
    pub fn unblock(&mut self) {
        if self.flow == Flow::Blocked {
            self.flow = Flow::Free;
        }
    }

    /// Writes bytes of somebody else's, behind the own queue, until they are all taken or the socket would block. Says how many were taken.
    pub fn offer(&mut self, bytes: &[u8]) -> usize {
        if self.flow == Flow::Free && !self.queue.is_empty() {
            self.flush();
        }
        self.write(bytes)
    }

    /// Writes what the own queue holds until it is empty or the socket would block. Once all is said and sent, ends the write side.
    pub fn flush(&mut self) {
        while self.flow == Flow::Free && !self.queue.is_empty() {
            match self.stream.write(self.queue.unsent()) {
                Ok(0) => self.flow = Flow::Broken,
                Ok(count) => {
                    self.queue.advance(count);
                    self.written_bytes += count as u64;
                }
                Err(error) => self.note(&error),
            }
        }
        self.push();
        if let Stage::Closing { shut_down: false } = self.stage
            && self.queue.is_empty()
            && self.flow == Flow::Free
        {
            match self.stream.shutdown_write() {
                Err(error) => self.note(&error),
                Ok(()) => self.stage = Stage::Closing { shut_down: true },
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        // On after a part was taken: only a refusal makes the poll tell when there is room again.
        while self.flow == Flow::Free && taken < bytes.len() {
            match self.stream.write(&bytes[taken..]) {
                Ok(0) => self.flow = Flow::Broken,
                Ok(count) => taken += count,
                Err(error) => self.note(&error),
            }
        }
        self.written_bytes += taken as u64;
        self.push();
        taken
    }

    /// Sees to it that a stream that holds back what it took counts as blocked. Most never hold anything.
    fn push(&mut self) {
        if !self.stream.held().is_empty() {
            self.push_held();
        }
    }

    #[cold]
    fn push_held(&mut self) {
        while self.flow == Flow::Free
            && let Err(error) = self.stream.flush()
        {
            self.note(&error);
        }
    }

    fn note(&mut self, error: &io::Error) {
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => self.flow = Flow::Blocked,
            _ => self.flow = Flow::Broken,
        }
    }
}

/// Writes a frame of the library's.
fn write(frame: Frame, out: &mut Vec<u8>) {
    frame.format(out).expect("memory takes everything");
}

/// How many bytes a head takes, blank line included; `None` where none is in sight. Lines may end without a carriage return, as the parser
/// lets them.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    for line_end in memchr::memchr_iter(b'\n', bytes) {
        let from = line_end + 1;
        match &bytes[from..] {
            [b'\n', ..] => return Some(from + 1),
            [b'\r', b'\n', ..] => return Some(from + 2),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A socket that is there, and no more.
    struct Silent;

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    impl Write for Silent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Silent {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn half_a_head_takes_no_more_than_a_whole_one_may() {
        for first in [1, 700, 5_000, limits::HEAD_BYTES - 2] {
            let mut conn = Conn::new(Silent);
            let head = [b'x'; limits::HEAD_BYTES - 1];
            for mut part in std::iter::once(&head[..first]).chain(head[first..].chunks(1)) {
                assert_eq!(conn.head(&mut part), Head::Incomplete);
                let Stage::Head(held) = &conn.stage else { panic!("it is not complete") };
                assert!(held.capacity() <= limits::HEAD_BYTES, "{} bytes for {}", held.capacity(), held.len());
            }
        }
    }
}

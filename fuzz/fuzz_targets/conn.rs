//! Any bytes on one connection, in any pieces.
//!
//! Owns: what the pieces may not change: which frames there are, in which order, and what is answered; and what one connection may hold for them.
//! Refuses to know: what a head or a message means.
//!
//! An input is how many sizes there are (a byte), the sizes (a byte each, 0 being a whole read), and the stream.
#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};

use classhub::limits;
use classhub::net::Stream;
use classhub::net::conn::{Conn, Filled, Head, Received, What};
use classhub_fuzz::Counting;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MESSAGE_BYTES: usize = 1024;

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((sizes, stream)) = rest.split_at_checked(usize::from(*count)) else { return };
    let sizes: Vec<usize> =
        sizes.iter().map(|size| if *size == 0 { limits::READ_BYTES } else { (*size).into() }).collect();
    let whole = drive(stream, &[]);
    let in_pieces = drive(stream, &sizes);
    assert_eq!(whole.head, in_pieces.head);
    assert_eq!(whole.events, in_pieces.events);
    assert!(whole.output == in_pieces.output, "{:?} and {:?}", whole.output, in_pieces.output);
    assert_eq!(whole.ended, in_pieces.ended);
});

/// All that came of a stream.
struct Outcome {
    /// Where the head ends; `None` where it has not, or is too long.
    head: Option<usize>,
    /// Each frame: what it took on the wire, what it was, and a hash of what it says.
    events: Vec<(u32, &'static str, u64)>,
    output: Vec<u8>,
    /// The write side was ended.
    ended: bool,
}

/// One end of a connection: gives and takes pieces of these sizes, in turn.
struct Pieces<'a> {
    input: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    /// It has just taken a piece, and does not take another at once.
    refuses: bool,
    output: Vec<u8>,
    ended: bool,
}

impl Pieces<'_> {
    fn piece(&mut self, most: usize) -> usize {
        self.sizes.next().map_or(most, |size| most.min(*size))
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece(buffer.len().min(self.input.len()));
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let (now, later) = self.input.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.input = later;
        Ok(count)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.ended && !bytes.is_empty());
        if std::mem::take(&mut self.refuses) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.piece(bytes.len());
        self.refuses = count < bytes.len();
        self.output.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pieces<'_> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        assert!(!self.ended, "ended twice");
        self.ended = true;
        Ok(())
    }
}

/// Does what the exchange does. What is kept for the comparison is reserved before memory is counted.
fn drive(stream: &[u8], sizes: &[usize]) -> Outcome {
    let output = Vec::with_capacity(2 * stream.len() + 1024);
    let pieces = Pieces { input: stream, sizes: sizes.iter().cycle(), refuses: false, output, ended: false };
    let mut outcome =
        Outcome { head: None, events: Vec::with_capacity(stream.len() + 1), output: Vec::new(), ended: false };
    let mut buffer = vec![0; if sizes.is_empty() { stream.len() } else { limits::READ_BYTES }];
    let mut owed_most = 0;
    let (held, conn) = Counting::most(|| {
        let mut conn = Conn::new(pieces);
        while let Filled::Bytes(count) = conn.fill(&mut buffer) {
            take(&mut conn, &buffer[..count], &mut outcome, &mut owed_most);
        }
        while conn.owed_bytes() > 0 {
            conn.unblock();
            conn.flush();
        }
        conn.flush();
        conn
    });
    // A head grows by doubling; a queue holds up to three times what is unsent.
    let head = 2 * limits::HEAD_BYTES;
    let message = limits::CONNECTION_BYTES as usize + MESSAGE_BYTES * 3 / 2 + MESSAGE_BYTES * 2;
    let most = head.max(message) + 3 * owed_most + 1024;
    assert!(held <= most, "{held} bytes are held, {most} may be, {owed_most} were owed");
    let mut conn = conn;
    let pieces = conn.stream_mut();
    outcome.output = std::mem::take(&mut pieces.output);
    outcome.ended = pieces.ended;
    outcome
}

fn take(conn: &mut Conn<Pieces>, mut input: &[u8], outcome: &mut Outcome, owed_most: &mut usize) {
    if conn.awaits_head() {
        match conn.head(&mut input) {
            Head::Incomplete => assert!(input.is_empty()),
            Head::TooLong => conn.refuse(b"HTTP/1.1 431 Too Long\r\n\r\n"),
            Head::Complete(head) => {
                assert!(head.len() <= limits::HEAD_BYTES);
                outcome.head = Some(head.len());
                conn.upgrade(b"HTTP/1.1 101 Upgrade\r\n\r\n", MESSAGE_BYTES);
            }
        }
    }
    while let Some(Received { frame_bytes, what }) = conn.next(&mut input) {
        let mut hasher = DefaultHasher::new();
        let is_short = frame_bytes as usize <= MESSAGE_BYTES + 14;
        let (frame_bytes, kind) = match what {
            What::Text(text) => {
                assert!(text.len() <= MESSAGE_BYTES);
                text.as_str().hash(&mut hasher);
                (frame_bytes, "text")
            }
            What::Binary(bytes) => {
                assert!(bytes.len() <= MESSAGE_BYTES);
                bytes.hash(&mut hasher);
                (frame_bytes, "binary")
            }
            What::Fragment => (frame_bytes, "fragment"),
            What::Ping(payload) => {
                assert!(payload.len() <= 125);
                payload.hash(&mut hasher);
                conn.pong(payload);
                (frame_bytes, "ping")
            }
            What::Pong => (frame_bytes, "pong"),
            What::Close(code) => {
                code.hash(&mut hasher);
                conn.answer_close();
                (frame_bytes, "close")
            }
            What::Fault(reason) => {
                conn.close(reason);
                // A fault may be seen in the first bytes of a frame, of which there may be more here or not.
                outcome.events.push((0, reason.words(), 0));
                continue;
            }
        };
        assert!(is_short, "a {kind} of {frame_bytes} bytes");
        outcome.events.push((frame_bytes, kind, hasher.finish()));
        *owed_most = conn.owed_bytes().max(*owed_most);
    }
    *owed_most = conn.owed_bytes().max(*owed_most);
    conn.unblock();
    conn.flush();
}

//! Any bytes on one connection, in any pieces.
//!
//! Owns: which frames there are (RFC 6455, section 5), by a reader that has all of them before it; what pieces may not change: those frames, their order,
//! and what is answered; what one connection may hold for them; and that nothing of one is left for whoever is next read by the same decoders.
//! Refuses to know: what a head or a message means.
//!
//! An input is how many sizes there are (a byte), the sizes (a byte each, 0 being a whole read), and the stream.
#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::str::Utf8Error;

use classhub::limits;
use classhub::net::Stream;
use classhub::net::conn::{Conn, Decoders, Filled, Head, Received, What};
use classhub_fuzz::Counting;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MESSAGE_BYTES: usize = 1024;
const FAULT: &str = "fault";

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((sizes, stream)) = rest.split_at_checked(usize::from(*count)) else { return };
    let sizes: Vec<usize> =
        sizes.iter().map(|size| if *size == 0 { limits::READ_BYTES } else { (*size).into() }).collect();
    let mut decoders = Decoders::default();
    let whole = drive(stream, &[], &mut decoders);
    if let Some(end) = whole.head {
        check(&stream[end..], &whole.events);
    }
    let in_pieces = drive(stream, &sizes, &mut decoders);
    assert_eq!(whole.head, in_pieces.head);
    assert_eq!(whole.events, in_pieces.events);
    assert!(whole.output == in_pieces.output, "{:?} and {:?}", whole.output, in_pieces.output);
    assert_eq!(whole.ended, in_pieces.ended);
});

/// A frame: what it took on the wire, what it was, and a hash of what it says.
type Event = (u32, &'static str, u64);

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// All that came of a stream.
struct Outcome {
    /// Where the head ends; `None` where it has not, or is too long.
    head: Option<usize>,
    events: Vec<Event>,
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
fn drive(stream: &[u8], sizes: &[usize], decoders: &mut Decoders) -> Outcome {
    let output = Vec::with_capacity(2 * stream.len() + 1024);
    let pieces = Pieces { input: stream, sizes: sizes.iter().cycle(), refuses: false, output, ended: false };
    let mut outcome =
        Outcome { head: None, events: Vec::with_capacity(stream.len() + 1), output: Vec::new(), ended: false };
    let mut buffer = vec![0; if sizes.is_empty() { stream.len() } else { limits::READ_BYTES }];
    let mut owed_most = 0;
    let (held, conn) = Counting::most(|| {
        let mut conn = Conn::new(pieces);
        while let Filled::Bytes(count) = conn.fill(&mut buffer) {
            take(&mut conn, &buffer[..count], decoders, &mut outcome, &mut owed_most);
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

fn take(
    conn: &mut Conn<Pieces>,
    mut input: &[u8],
    decoders: &mut Decoders,
    outcome: &mut Outcome,
    owed_most: &mut usize,
) {
    if conn.awaits_head() {
        match conn.head(&mut input) {
            Head::Incomplete => assert!(input.is_empty()),
            Head::TooLong => conn.refuse(b"HTTP/1.1 431 Too Long\r\n\r\n"),
            Head::Complete(head) => {
                assert!(head.len() <= limits::HEAD_BYTES);
                outcome.head = Some(head.len());
                conn.upgrade(b"HTTP/1.1 101 Upgrade\r\n\r\n", MESSAGE_BYTES as u32);
            }
        }
    }
    while let Some(Received { frame_bytes, what }) = conn.next(&mut input, decoders) {
        let is_short = frame_bytes as usize <= MESSAGE_BYTES + 14;
        let (kind, hash) = match what {
            What::Text(text) => {
                assert!(text.len() <= MESSAGE_BYTES);
                ("text", hash(text.as_bytes()))
            }
            What::Binary(bytes) => {
                assert!(bytes.len() <= MESSAGE_BYTES);
                ("binary", hash(&bytes))
            }
            What::Fragment => ("fragment", 0),
            What::Ping(payload) => {
                assert!(payload.len() <= 125);
                let hash = hash(&payload);
                conn.pong(payload);
                ("ping", hash)
            }
            What::Pong => ("pong", 0),
            What::Close(code) => {
                conn.answer_close();
                ("close", code.map_or(0, u64::from))
            }
            What::Fault(reason) => {
                conn.close(reason);
                // A fault may be seen in the first bytes of a frame, of which there may be more here or not.
                outcome.events.push((0, FAULT, hash(reason.words().as_bytes())));
                continue;
            }
        };
        assert!(is_short, "a {kind} of {frame_bytes} bytes");
        outcome.events.push((frame_bytes, kind, hash));
        *owed_most = conn.owed_bytes().max(*owed_most);
    }
    *owed_most = conn.owed_bytes().max(*owed_most);
    conn.unblock();
    conn.flush();
}

/// A client's frame, as far as it is there.
struct Sent {
    is_last: bool,
    reserved: u8,
    opcode: u8,
    is_masked: bool,
    /// How long the payload is said to be.
    length: u64,
    /// The payload, unmasked, and the bytes of the whole frame.
    whole: Option<(Vec<u8>, usize)>,
}

/// The frame that `stream` begins with; `None` where not even its header is there.
fn frame(stream: &[u8]) -> Option<Sent> {
    let [first, second, ..] = *stream else { return None };
    let (header, length) = match second & 0x7F {
        127 => (10, u64::from_be_bytes(stream.get(2..10)?.try_into().unwrap())),
        126 => (4, u16::from_be_bytes(stream.get(2..4)?.try_into().unwrap()).into()),
        short => (2, short.into()),
    };
    let is_masked = second & 0x80 != 0;
    let key: &[u8] = if is_masked { stream.get(header..header + 4)? } else { &[0; 4] };
    let start = header + if is_masked { 4 } else { 0 };
    let payload = usize::try_from(length).ok().and_then(|length| stream[start..].get(..length));
    let unmasked = |payload: &[u8]| payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some(Sent {
        is_last: first & 0x80 != 0,
        reserved: first & 0x70,
        opcode: first & 0x0F,
        is_masked,
        length,
        whole: payload.map(|payload| (unmasked(payload), start + payload.len())),
    })
}

/// Reads the client's frames again, with all of them before it, and compares.
fn check(mut stream: &[u8], events: &[Event]) {
    let mut events = events.iter();
    // The message in progress, and whether it is text.
    let mut message: Option<(bool, Vec<u8>)> = None;
    while let Some(Sent { is_last, reserved, opcode, is_masked, length, whole }) = frame(stream) {
        let is_control = opcode & 8 != 0;
        let before = message.as_ref().filter(|_| !is_control).map_or(0, |(_, said)| said.len() as u64);
        let is_wrong = reserved != 0
            || !matches!(opcode, 0..=2 | 8..=10)
            || !is_masked
            || is_control && (!is_last || length > 125)
            || !is_control && (opcode == 0) != message.is_some()
            || before.saturating_add(length) > MESSAGE_BYTES as u64;
        if is_wrong {
            // It may be seen at once, or when all of the frame is here.
            let seen = events.next();
            assert!(seen.map_or(whole.is_none(), |(_, kind, _)| *kind == FAULT), "{seen:?} for {opcode} {length}");
            break;
        }
        let Some((payload, frame_bytes)) = whole else { break };
        stream = &stream[frame_bytes..];
        let (kind, hash) = match opcode {
            9 => ("ping", hash(&payload)),
            10 => ("pong", 0),
            8 => {
                let is_right = match payload.get(2..) {
                    Some(words) => std::str::from_utf8(words).is_ok(),
                    None => payload.is_empty(),
                };
                assert_eq!(events.next().map(|(_, kind, _)| *kind), Some(if is_right { "close" } else { FAULT }));
                break;
            }
            _ => {
                let (is_text, mut said) = message.take().unwrap_or((opcode == 1, Vec::new()));
                said.extend_from_slice(&payload);
                // The end of a fragment may be inside of a character.
                let is_wrong = |error: Utf8Error| is_last || error.error_len().is_some();
                if is_text && std::str::from_utf8(&said).is_err_and(is_wrong) {
                    assert_eq!(events.next().map(|(_, kind, _)| *kind), Some(FAULT));
                    break;
                }
                match (is_last, is_text) {
                    (true, true) => ("text", hash(&said)),
                    (true, false) => ("binary", hash(&said)),
                    (false, _) => {
                        message = Some((is_text, said));
                        ("fragment", 0)
                    }
                }
            }
        };
        assert_eq!(events.next(), Some(&(frame_bytes as u32, kind, hash)));
    }
    assert_eq!(events.next(), None);
}

//! How frames are read.
//!
//! Owns: the library's context, which checks a connection's frames and puts its messages together, where in them it stands, and who has one: a connection
//! has a decoder from the first byte of a message to its last, and between messages none. Refuses to know: sockets, queues, and what is answered.
//!
//! Most of those who are connected are silent most of the time, and what the library needs for a connection is a quarter of what a member takes in all: so
//! it is handed on. That is done only where nothing of the one is left for the other: each frame is read by itself, to its end, and a decoder that
//! stopped anywhere else, or found a fault, is never used for anybody else.

use std::io::{self, ErrorKind, Read, Write};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::{Received, What};
use crate::limits;
use crate::wire::CloseReason;
use crate::wire::frame::Meter;

/// Decoders that nobody uses just now, for whoever is sent something next. All connections of one thread may share them.
#[derive(Default)]
pub struct Decoders {
    idle: heapless::Vec<Box<Decoder>, { limits::DECODERS_KEPT }>,
}

impl Decoders {
    /// A decoder for the next frame, in messages and frames of at most `message_bytes`.
    pub(super) fn lend(&mut self, message_bytes: u32) -> Box<Decoder> {
        let mut decoder = self.idle.pop().unwrap_or_else(|| Box::new(Decoder::new()));
        decoder.limit(message_bytes);
        decoder
    }

    /// Takes a decoder back whose work is done.
    pub(super) fn take_back(&mut self, mut decoder: Box<Decoder>) {
        debug_assert!(decoder.is_done());
        if decoder.frame_bytes_max as usize > limits::READ_BUFFER_KEPT_BYTES {
            // The library's buffer has grown with its largest frame, and would stay so: another begins anew.
            *decoder = Decoder::new();
        }
        // Where as many are kept as may be, this one is given back to the system.
        let _full = self.idle.push(decoder);
    }
}

/// What reads one connection's frames.
pub(super) struct Decoder {
    context: WebSocketContext,
    meter: Meter,
    /// Bytes of the frame in progress.
    frame_bytes: u32,
    /// The largest frame that the context has seen.
    frame_bytes_max: u32,
    /// Some of a message has come, in a fragment, and its end has not.
    is_inside_message: bool,
    /// The client has closed, or broken the protocol: no frame follows.
    is_over: bool,
}

impl Decoder {
    fn new() -> Self {
        let config = WebSocketConfig::default().read_buffer_size(limits::READ_BUFFER_BYTES).write_buffer_size(0);
        Decoder {
            context: WebSocketContext::new(Role::Server, Some(config)),
            meter: Meter::default(),
            frame_bytes: 0,
            frame_bytes_max: 0,
            is_inside_message: false,
            is_over: false,
        }
    }

    /// Has the library take no longer messages than it may, now that none is in progress.
    fn limit(&mut self, message_bytes: u32) {
        let message_bytes = Some(message_bytes as usize);
        if self.context.get_config().max_message_size != message_bytes {
            self.context.set_config(|config| {
                config.max_message_size = message_bytes;
                config.max_frame_size = message_bytes;
            });
        }
    }

    /// Whether no part of a message, nor of a frame, is waiting for the rest, and more may follow.
    pub fn is_done(&self) -> bool {
        self.frame_bytes == 0 && !self.is_inside_message && !self.is_over
    }

    /// The next frame in `input`, which is taken from it; `None` when there is no whole one left, and the rest was noted.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Received> {
        let (taken, frame_ends) = self.meter.advance(input);
        let (frame, rest) = input.split_at(taken);
        *input = rest;
        self.frame_bytes = self.frame_bytes.saturating_add(taken as u32); // one read's worth
        let what = match self.context.read(&mut Memory { input: frame, output: None }) {
            Ok(Message::Text(text)) => What::Text(text),
            Ok(Message::Binary(bytes)) => What::Binary(bytes),
            Ok(Message::Ping(payload)) => {
                // The library would answer with whatever it reads next. Whether a ping is answered is not for it to say.
                let _nowhere = self.context.flush(&mut Memory { input: &[], output: None });
                What::Ping(payload)
            }
            Ok(Message::Pong(_)) => What::Pong,
            Ok(Message::Close(frame)) => What::Close(frame.map(|frame| frame.code.into())),
            Ok(Message::Frame(_)) => unreachable!("the library reads no raw frames"),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                if !frame_ends {
                    return None;
                }
                What::Fragment
            }
            Err(error) => What::Fault(fault(&error)),
        };
        match what {
            What::Text(_) | What::Binary(_) => self.is_inside_message = false,
            What::Fragment => self.is_inside_message = true,
            What::Ping(_) | What::Pong => {}
            What::Close(_) | What::Fault(_) => self.is_over = true,
        }
        let frame_bytes = std::mem::take(&mut self.frame_bytes);
        self.frame_bytes_max = self.frame_bytes_max.max(frame_bytes);
        Some(Received { frame_bytes, what })
    }

    /// Writes the answer to the client's close frame, where one has come.
    pub fn answer_close(&mut self, output: &mut Vec<u8>) {
        // Flushing writes the answer, and then reports the end of the connection.
        let _end = self.context.flush(&mut Memory { input: &[], output: Some(output) });
    }
}

/// The close code's reason for what the library found wrong.
fn fault(error: &Error) -> CloseReason {
    match error {
        Error::Capacity(_) => CloseReason::TooBig,
        Error::Utf8(_) => CloseReason::NotUtf8,
        _ => CloseReason::Protocol,
    }
}

/// The library's idea of a socket: what to read is here, what it writes goes to a queue or, where nobody asked for it, nowhere.
struct Memory<'a> {
    input: &'a [u8],
    output: Option<&'a mut Vec<u8>>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            // No more for now; 0 would be the end.
            return Err(ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(output) = &mut self.output {
            output.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE_BYTES: u32 = 1024;

    /// A client's frame: the first byte of its header, and what it says, which is not masked by anything but zeros.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u16;
        let header = match length {
            0..=125 => vec![first, 0x80 | length as u8],
            _ => vec![first, 0x80 | 126, (length >> 8) as u8, length as u8],
        };
        [&header, &[0; 4][..], payload].concat()
    }

    /// Nearly always what a client may send next: whole messages, pings, and fragments with what may come between them.
    fn said() -> impl Strategy<Value = Vec<u8>> {
        let payload = || prop::collection::vec(b'a'..=b'z', 0..120);
        let long = prop::collection::vec(b'a'..=b'z', 0..1100);
        prop_oneof![
            8 => payload().prop_map(|said| frame(0x81, &said)),
            2 => long.prop_map(|said| frame(0x82, &said)),
            2 => payload().prop_map(|said| frame(0x89, &said)),
            1 => payload().prop_map(|said| frame(0x8A, &said)),
            2 => (payload(), payload(), payload()).prop_map(|(one, ping, other)| {
                [frame(0x01, &one), frame(0x89, &ping), frame(0x80, &other)].concat()
            }),
            1 => payload().prop_map(|said| frame(0x88, &[&1000u16.to_be_bytes()[..], &said].concat())),
            1 => prop::collection::vec(any::<u8>(), 1..20),
        ]
    }

    /// What one connection is sent, in pieces.
    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let stream = prop::collection::vec(said(), 1..8).prop_map(|said| said.concat());
        (stream, prop::collection::vec(1usize..200, 1..8)).prop_map(|(stream, sizes)| {
            let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
            for size in sizes.iter().cycle() {
                let (piece, more) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            pieces
        })
    }

    /// One who reads frames as a connection does, and all that it has read.
    #[derive(Default)]
    struct Reader {
        decoder: Option<Box<Decoder>>,
        read: Vec<String>,
        is_over: bool,
    }

    impl Reader {
        fn read(&mut self, mut input: &[u8], decoders: &mut Decoders) {
            while !input.is_empty() && !self.is_over {
                let mut decoder = self.decoder.take().unwrap_or_else(|| decoders.lend(MESSAGE_BYTES));
                let received = decoder.next(&mut input);
                if let Some(Received { what: What::Close(_) | What::Fault(_), .. }) = &received {
                    self.is_over = true;
                    let mut answer = Vec::new();
                    decoder.answer_close(&mut answer);
                    self.read.push(format!("{answer:?}"));
                }
                self.read.extend(received.map(|received| format!("{received:?}")));
                if decoder.is_done() {
                    decoders.take_back(decoder);
                } else {
                    self.decoder = Some(decoder);
                }
            }
        }
    }

    proptest! {
        /// Whoever reads with decoders that others had before, and have meanwhile, reads and answers what it would with its own.
        #[test]
        fn nothing_of_one_is_left_for_another(streams in prop::collection::vec(pieces(), 2..6)) {
            let mut decoders = Decoders::default();
            let mut readers: Vec<Reader> = streams.iter().map(|_| Reader::default()).collect();
            for turn in 0..streams.iter().map(Vec::len).max().unwrap_or(0) {
                for (reader, pieces) in readers.iter_mut().zip(&streams) {
                    reader.read(pieces.get(turn).map_or(&[], Vec::as_slice), &mut decoders);
                }
            }
            for (reader, pieces) in readers.iter().zip(&streams) {
                let mut alone = Reader::default();
                for piece in pieces {
                    alone.read(piece, &mut Decoders::default());
                }
                prop_assert_eq!(&reader.read, &alone.read);
            }
        }
    }
}

//! TLS under a connection.
//!
//! Owns: one connection's records, both ways: what has come and is no whole record yet, what was read of one and not asked for, and the
//! ciphertext that the socket has not taken. Refuses to know: what is said, and where certificates come from (`host::certificates`).
//!
//! Rule 9 of the room log: while ciphertext is held, nothing more is encrypted and the stream would block; so it holds one record of 16 KiB at
//! most, and what it took counts as sent. The library (rustls) is used without its own buffers: one that nobody uses is not there at all, and an
//! idle class pays for its keys alone.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};

use super::stream::Stream;
use crate::limits;

/// What somebody is told who speaks HTTP to a listener for HTTPS: browsers do, where the address is typed without its scheme.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    \xE8\xAF\xB7\xE4\xBD\xBF\xE7\x94\xA8 https:// \xE6\x89\x93\xE5\xBC\x80\xE6\xAD\xA4\xE5\x9C\xB0\xE5\x9D\x80\xE3\x80\x82\n\
    This port speaks HTTPS: open the address with https:// in front.\n";

/// A stream under TLS, in the server's part.
pub struct TlsStream<S> {
    socket: S,
    tls: UnbufferedServerConnection,
    /// Ciphertext that came: less than a record, between two reads.
    incoming: Vec<u8>,
    /// What was decrypted, the first `read` bytes of it handed on.
    plaintext: Vec<u8>,
    read: usize,
    /// Ciphertext to be sent, the first `sent` bytes of it taken by the socket.
    outgoing: Vec<u8>,
    sent: usize,
    stage: Stage,
    /// The peer has sent its last, with a word or without.
    ended: bool,
    /// The reader knows.
    end_told: bool,
    left: Left,
}

/// What the socket had left when it was last read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// It gave less than was asked for: nothing, but perhaps the end.
    AtMostTheEnd,
    Perhaps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not a byte has come.
    New,
    /// The two sides agree on keys.
    Handshake,
    /// What is written goes out.
    Open,
    /// The last word (`close_notify`) is said.
    Closing,
    /// It broke the protocol, or the socket broke.
    Failed,
}

/// What is to be done once the two sides have keys.
enum Then<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    Close,
}

impl<S: Stream> TlsStream<S> {
    /// A stream whose client is about to say hello. What fails is a configuration that serves nobody, and was refused when it was read.
    ///
    /// # Errors
    /// What the library has against the configuration.
    pub fn new(socket: S, config: Arc<ServerConfig>) -> io::Result<TlsStream<S>> {
        let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(TlsStream {
            socket,
            tls,
            incoming: Vec::new(),
            plaintext: Vec::new(),
            read: 0,
            outgoing: Vec::new(),
            sent: 0,
            stage: Stage::New,
            ended: false,
            end_told: false,
            left: Left::Perhaps,
        })
    }

    /// The socket below, and nothing over it any more.
    pub fn into_socket(self) -> S {
        self.socket
    }

    /// The socket below.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket below.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    // ---- What comes -----------------------------------------------------------------------------

    /// Reads the socket once, and takes what it brought apart. It is read into `buffer`, where nothing is as yet: what it says is handed on there.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let room = limits::TLS_RECORD_BYTES - self.incoming.len();
        if room == 0 {
            // Records are shorter, so that this is a message of the handshake in several, longer than any that a client has to say.
            return Err(self.fail());
        }
        let room = room.min(buffer.len());
        let came = match self.socket.read(&mut buffer[..room]) {
            Ok(count) => &buffer[..count],
            Err(error) => {
                if error.kind() == ErrorKind::WouldBlock {
                    self.left = Left::Nothing;
                }
                return Err(error);
            }
        };
        self.left = if came.len() < room { Left::AtMostTheEnd } else { Left::Perhaps };
        self.ended = came.is_empty();
        if self.stage == Stage::New && !self.ended {
            self.stage = Stage::Handshake;
            // A record of a handshake begins with 22, a request with the capital letter of its method.
            if came[0].is_ascii_uppercase() {
                let _unheard = self.socket.write(NOT_TLS);
                return Err(self.fail());
            }
        }
        self.incoming.reserve_exact(came.len());
        self.incoming.extend_from_slice(came);
        self.advance(Then::Nothing)?;
        // The handshake's answer, or a new key's.
        match self.push() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            pushed => pushed,
        }
    }

    /// Takes every whole record apart; then does what is to be done. To encrypt is an error where the two sides have no keys any more.
    fn advance(&mut self, mut then: Then) -> io::Result<()> {
        // Discarded once at the end: a flood of tiny records costs no more than their bytes.
        let mut taken = 0;
        let mut faulty = false;
        loop {
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(&mut self.incoming[taken..]);
            let mut done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                self.plaintext.reserve_exact(record.payload.len());
                                self.plaintext.extend_from_slice(record.payload);
                            }
                            Err(_) => faulty = true,
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(&mut self.outgoing, data)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    if self.stage == Stage::Handshake {
                        self.stage = Stage::Open;
                    }
                    match std::mem::replace(&mut then, Then::Nothing) {
                        Then::Nothing => done = true,
                        Then::Encrypt(plaintext) => {
                            let room = plaintext.len() + limits::TLS_OVERHEAD_BYTES;
                            append(&mut self.outgoing, room, |room| {
                                traffic.encrypt(plaintext, room).map_err(|error| match error {
                                    EncryptError::InsufficientSize(size) => Some(size.required_size),
                                    EncryptError::EncryptExhausted => None,
                                })
                            })?;
                            done = true;
                        }
                        // Where there is no room for it, the library keeps it, and gives it out next: one way is enough.
                        Then::Close => drop(traffic.queue_close_notify(&mut [])),
                    }
                }
                // Early data is not offered, and there is nothing else that ends a handshake or a connection.
                Ok(_) => done = true,
                Err(_) => faulty = true,
            }
            taken += discard;
            if faulty {
                return Err(self.give_up());
            }
            if done {
                break;
            }
        }
        if taken == self.incoming.len() || self.ended {
            self.incoming = Vec::new();
        } else {
            self.incoming.drain(..taken);
            self.incoming.shrink_to_fit();
        }
        match then {
            Then::Encrypt(_) => Err(ErrorKind::NotConnected.into()),
            Then::Nothing | Then::Close => Ok(()),
        }
    }

    /// Tells the peer what it did wrong (the library has an alert for that), and is done with it.
    fn give_up(&mut self) -> io::Error {
        while self.tls.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(data)) = self.tls.process_tls_records(&mut []).state
            && encode(&mut self.outgoing, data).is_ok()
        {}
        let _unheard = self.push();
        self.fail()
    }

    /// Hands on what was decrypted.
    fn hand_on(&mut self, buffer: &mut [u8]) -> usize {
        let left = &self.plaintext[self.read..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.read += count;
        if self.read == self.plaintext.len() {
            self.plaintext = Vec::new();
            self.read = 0;
        }
        count
    }

    // ---- What goes ------------------------------------------------------------------------------

    /// Gives the socket the ciphertext that is held, until it would block.
    fn push(&mut self) -> io::Result<()> {
        while self.sent < self.outgoing.len() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(0) => return Err(self.fail()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Cold, so that its place for what nobody hears is not a part of every turn's stack.
    #[cold]
    fn fail(&mut self) -> io::Error {
        self.stage = Stage::Failed;
        // What is left to read would make the system reset the connection, and a reset overtakes what was said.
        let _unread = self.socket.read(&mut [0; limits::TLS_RECORD_BYTES]);
        ErrorKind::InvalidData.into()
    }
}

/// Appends what the library has to say itself.
fn encode(to: &mut Vec<u8>, mut data: EncodeTlsData<ServerConnectionData>) -> io::Result<()> {
    append(to, 0, |room| {
        data.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Appends what `write` makes, which says how much room it needs where there was too little, or that there is no way.
fn append(
    to: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> io::Result<()> {
    let before = to.len();
    loop {
        to.reserve_exact(room);
        to.resize(before + room, 0);
        match write(&mut to[before..]) {
            Ok(count) => {
                to.truncate(before + count);
                return Ok(());
            }
            Err(Some(needed)) if needed > room => room = needed,
            Err(_) => {
                to.truncate(before);
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }
}

impl<S: Stream> Read for TlsStream<S> {
    /// Reads the socket once at most. What it brought may be no whole record, which is would-block, and may be more than one: see
    /// [`Stream::has_more`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.plaintext.is_empty() {
            if self.stage == Stage::Failed {
                return Err(ErrorKind::InvalidData.into());
            }
            if !self.ended {
                self.fill(buffer)?;
            }
        }
        match self.hand_on(buffer) {
            0 if !self.ended => Err(ErrorKind::WouldBlock.into()),
            count => {
                self.end_told = count == 0;
                Ok(count)
            }
        }
    }
}

impl<S: Stream> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stage {
            Stage::Open => {}
            // Before there are keys there is nobody to answer: whoever is turned away, or late, is left without a word.
            _ => return Err(ErrorKind::NotConnected.into()),
        }
        self.push()?;
        let bytes = &bytes[..bytes.len().min(limits::TLS_PLAINTEXT_BYTES)];
        self.advance(Then::Encrypt(bytes))?;
        match self.push() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    /// Would block while ciphertext is held.
    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
            self.advance(Then::Close)?;
        }
        self.push()?;
        self.socket.shutdown_write()
    }

    fn unsent_bytes(&self) -> usize {
        self.outgoing.len() - self.sent + self.socket.unsent_bytes()
    }

    fn has_more(&self, hung_up: bool) -> bool {
        match self.left {
            _ if self.stage == Stage::Failed => false,
            _ if self.ended => !self.end_told,
            _ if !self.plaintext.is_empty() => true,
            Left::Nothing => false,
            Left::AtMostTheEnd => hung_up,
            Left::Perhaps => true,
        }
    }

    fn is_costly(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Handshake)
    }

    fn held(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    fn is_secure(&self) -> bool {
        true
    }
}

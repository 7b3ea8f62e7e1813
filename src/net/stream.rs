//! What a connection reads and writes.
//!
//! Owns: what a connection asks of its socket beside reading and writing, and the choice between plain and TLS. Refuses to know: what is said.

use std::io::{self, Read, Write};
use std::net::Shutdown;

#[cfg(feature = "tls")]
use super::tls::TlsStream;
use super::unsent;

/// A byte stream that never blocks, with a write side that can be ended alone. Its `flush` would block while it holds back what it took.
pub trait Stream: Read + Write {
    /// Ends the write side: the peer reads all that was written, and then the end. Where it would block, it is to be tried again.
    ///
    /// # Errors
    /// Where the stream is not connected any more, or would block.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Bytes that were written and are held back, since the peer takes no more; 0 where nobody can tell.
    fn unsent_bytes(&self) -> usize {
        0
    }

    /// Whether there may be more to read although the last read brought less than was asked for, or nothing: no poll would tell of it again.
    /// `_hung_up`: it has told of the end.
    fn has_more(&self, _hung_up: bool) -> bool {
        false
    }

    /// Whether the next read may cost what a thousand others do: a signature, and the choice of a key.
    fn is_costly(&self) -> bool {
        false
    }

    /// Whether it is encrypted.
    fn is_secure(&self) -> bool {
        false
    }
}

impl Stream for mio::net::TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn unsent_bytes(&self) -> usize {
        unsent::bytes(self)
    }
}

/// A socket, as the listener that it came from has it.
pub enum Transport<S> {
    /// What is said goes over the wire as it is.
    Plain(S),
    /// It goes under TLS.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<S>>),
}

impl<S: Stream> Transport<S> {
    /// The socket, to register it somewhere.
    pub fn socket_mut(&mut self) -> &mut S {
        match self {
            Transport::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.socket_mut(),
        }
    }
}

/// The same of whichever it is.
macro_rules! whichever {
    ($transport:expr, $stream:ident => $what:expr) => {
        match $transport {
            Transport::Plain($stream) => $what,
            #[cfg(feature = "tls")]
            Transport::Tls($stream) => $what,
        }
    };
}

impl<S: Stream> Read for Transport<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        whichever!(self, stream => stream.read(buffer))
    }
}

impl<S: Stream> Write for Transport<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        whichever!(self, stream => stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        whichever!(self, stream => stream.flush())
    }
}

impl<S: Stream> Stream for Transport<S> {
    fn shutdown_write(&mut self) -> io::Result<()> {
        whichever!(self, stream => stream.shutdown_write())
    }

    fn unsent_bytes(&self) -> usize {
        whichever!(self, stream => stream.unsent_bytes())
    }

    fn has_more(&self, hung_up: bool) -> bool {
        whichever!(self, stream => stream.has_more(hung_up))
    }

    fn is_costly(&self) -> bool {
        whichever!(self, stream => stream.is_costly())
    }

    fn is_secure(&self) -> bool {
        whichever!(self, stream => stream.is_secure())
    }
}

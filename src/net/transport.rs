//! How a connection's bytes travel.
//!
//! Owns: the choice between plain and TLS, which is its listener's. Refuses to know: what either does.

use std::io::{self, Read, Write};

use super::stream::Stream;
#[cfg(feature = "tls")]
use super::tls::TlsStream;

/// A socket, as the listener that it came from has it.
pub enum Transport<S> {
    /// What is said goes over the wire as it is.
    Plain(S),
    /// It goes under TLS.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<S>>),
}

impl<S: Stream> Transport<S> {
    /// The socket alone, whatever was over it.
    pub fn into_socket(self) -> S {
        match self {
            Transport::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.into_socket(),
        }
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        match self {
            Transport::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => stream.socket(),
        }
    }

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

    fn held(&self) -> &[u8] {
        whichever!(self, stream => stream.held())
    }

    fn is_secure(&self) -> bool {
        whichever!(self, stream => stream.is_secure())
    }
}

//! What a connection reads and writes.
//!
//! Owns: what a connection asks of its socket beside reading and writing. Refuses to know: what is said, and what is under it.

use std::io::{self, Read, Write};
use std::net::Shutdown;

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

    /// What it took and holds back itself, as it is to go over the wire.
    fn held(&self) -> &[u8] {
        &[]
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

//! What a connection reads and writes.
//!
//! Owns: the two things that a connection asks of its socket beside reading and writing. Refuses to know: what is said.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use super::unsent;

/// A byte stream that never blocks, with a write side that can be ended alone.
pub trait Stream: Read + Write {
    /// Ends the write side: the peer reads all that was written, and then the end.
    ///
    /// # Errors
    /// Where the stream is not connected any more.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Bytes that were written and are held back, since the peer takes no more; 0 where nobody can tell.
    fn unsent_bytes(&self) -> usize {
        0
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

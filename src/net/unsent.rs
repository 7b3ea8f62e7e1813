//! What the system holds back for a peer that takes no more.
//!
//! Owns: how that is found out, on Linux. Refuses to know: what it says of the peer.
//!
//! There is no question for it that needs no `unsafe`, but there is a threshold: a socket counts as writable while less than
//! `TCP_NOTSENT_LOWAT` is unsent (tcp(7)), and that can be set and looked at without waiting. Some twenty thresholds find the number, within
//! tens of microseconds, and nothing is written for it.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Socket};

use crate::limits;

/// So large a send buffer that it is the threshold alone that counts. The system may have a lower limit, which is still above the usual size.
const AMPLE_BYTES: usize = 16 * limits::SEND_BUFFER_BYTES;

/// Since Linux 4.20 a poll says writable below half the threshold, so that it does not say so for every segment.
const THRESHOLD_TO_UNSENT: u32 = 2;

/// Bytes that were written to this TCP socket and not sent yet; 0 where that can't be found out. Bytes on their way, which the peer has not
/// acknowledged, are sent.
pub fn bytes(socket: &impl AsFd) -> usize {
    let socket = SockRef::from(socket);
    let _as_it_was = socket.set_send_buffer_size(AMPLE_BYTES);
    // What is unsent is at most `high`, and more than what is below `low`.
    let (mut low, mut high) = (0, u32::try_from(AMPLE_BYTES).unwrap_or(u32::MAX) * THRESHOLD_TO_UNSENT);
    while low < high {
        let middle = low + (high - low) / 2;
        match is_unsent_at_most(&socket, middle) {
            Some(true) => high = middle,
            Some(false) => low = middle + 1,
            None => {
                low = 0;
                break;
            }
        }
    }
    // 0 is the system's own threshold, which is none.
    let _as_it_was = socket.set_tcp_notsent_lowat(0);
    let _as_it_was = socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES);
    (low / THRESHOLD_TO_UNSENT) as usize
}

fn is_unsent_at_most(socket: &Socket, threshold: u32) -> Option<bool> {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    socket.set_tcp_notsent_lowat(threshold + 1).ok()?;
    let mut looked_at = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut looked_at, Some(&AT_ONCE)).ok()?;
    Some(looked_at[0].revents().contains(PollFlags::OUT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// What a peer with a small window leaves behind shrinks as it reads, and by nothing else.
    #[test]
    fn what_is_unsent_shrinks_as_the_peer_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        SockRef::from(&listener).set_send_buffer_size(limits::SEND_BUFFER_BYTES).unwrap();
        let peer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        peer.set_recv_buffer_size(4096).unwrap();
        peer.connect(&listener.local_addr().unwrap().into()).unwrap();
        let mut peer = TcpStream::from(peer);
        let (mut socket, _) = listener.accept().unwrap();
        assert_eq!(bytes(&socket), 0);
        socket.set_nonblocking(true).unwrap();
        let mut written = 0;
        loop {
            match socket.write(&[0; 8000]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let before = bytes(&socket);
        assert!(before > limits::SEND_BUFFER_BYTES / 2 && before < written, "{before} of {written}");
        assert_eq!(bytes(&socket), before, "looking changes nothing");
        assert_eq!(SockRef::from(&socket).send_buffer_size().unwrap(), 2 * limits::SEND_BUFFER_BYTES);
        let mut read = 0;
        while bytes(&socket) > 0 {
            let held = bytes(&socket);
            read += peer.read(&mut [0; 8000]).unwrap();
            assert!(bytes(&socket) <= held);
        }
        assert!(read > before / 2, "{read} of {before}");
    }
}

//! One datagram to the service manager (sd_notify(3)).
//!
//! Owns: the socket, and the two ways to write its address. Refuses to know: what is said.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the service manager listens.
pub(super) struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// For what `NOTIFY_SOCKET` says: an absolute path, or a name that stands in no folder and is written with a `@`.
    pub fn new(address: &OsStr) -> io::Result<Notifier> {
        let manager = match address.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is neither a path from / on nor a name with @",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // The hub waits for nobody, the service manager included.
        socket.set_nonblocking(true)?;
        Ok(Notifier { socket, manager })
    }

    /// Sends `message`, lines of `NAME=value`, whole or not at all. It does not wait.
    pub fn send(&self, message: &str) -> io::Result<()> {
        // By its address each time, since a service manager that is started anew has a new socket there.
        self.socket.send_to_addr(message.as_bytes(), &self.manager).map(drop)
    }
}

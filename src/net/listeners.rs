//! Where the hub listens, and who comes in.
//!
//! Owns: the listening sockets, opened or handed over, and what accepting does where there is no room.
//! Refuses to know: what becomes of a newcomer.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::exchange::TurnedAway;
use super::faults::{Fault, Faults};
use super::http;
use crate::base::Now;
use crate::limits;

/// Where to listen.
#[derive(Debug)]
pub enum Listen<'a> {
    /// At these addresses, on sockets of our own: [`limits::LISTENERS`] at most.
    At(&'a [SocketAddr]),
    /// On these sockets, which somebody else has bound, and which listen already: as many at most.
    On(Vec<std::net::TcpListener>),
}

/// The listening sockets.
pub(super) struct Listeners {
    all: Vec<Listener>,
    /// The poll tells of the listeners by tokens from this one on.
    first_token: usize,
    /// Given up for a moment when there are no descriptors left, to tell whoever knocks.
    spare: Option<File>,
    /// Newcomers who were told so, and are not counted anywhere else yet.
    without_descriptor: u64,
    /// What goes wrong with those who knock.
    faults: Faults,
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    /// It speaks TLS.
    secure: bool,
    /// There may be more to accept; the poll tells only of what comes anew.
    ready: bool,
    /// The system had no place for another socket: when to try again, in monotonic milliseconds.
    again_at_ms: Option<u64>,
}

/// Whoever has come in.
pub(super) struct Newcomer {
    pub socket: TcpStream,
    pub from: SocketAddr,
    /// Through a listener that speaks TLS.
    pub secure: bool,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address; none where it is the poll itself that failed.
    pub address: Option<SocketAddr>,
    /// What the system says.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.error;
        match self.address {
            Some(address) if error.kind() == ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: another program does already (is a hub running?)")
            }
            Some(address) if error.kind() == ErrorKind::PermissionDenied => {
                write!(f, "cannot listen on {address}: ports below 1024 need a permission this user does not have")
            }
            Some(address) => write!(f, "cannot listen on {address}: {error}"),
            None => write!(f, "cannot start: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        BindError { address: None, error }
    }
}

impl Listeners {
    /// None yet. The poll will tell of them by tokens from `first_token` on.
    pub fn new(first_token: Token) -> Listeners {
        Listeners {
            all: Vec::new(),
            first_token: first_token.0,
            spare: spare(),
            without_descriptor: 0,
            faults: Faults::default(),
        }
    }

    /// Listens there, or nowhere: every address is opened before any is watched. Sockets that were handed over are given what our own have.
    pub fn add(&mut self, listen: Listen, secure: bool, registry: &Registry) -> Result<(), BindError> {
        let mut sockets = Vec::new();
        match listen {
            Listen::At(addresses) => {
                for address in addresses {
                    let shares_port = addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
                    let socket = open(*address, shares_port && address.port() != 0)
                        .map_err(|error| BindError { address: Some(*address), error })?;
                    sockets.push(socket);
                }
            }
            Listen::On(handed_over) => {
                for socket in handed_over {
                    let address = socket.local_addr().ok();
                    prepare(&SockRef::from(&socket)).map_err(|error| BindError { address, error })?;
                    sockets.push(TcpListener::from_std(socket));
                }
            }
        }
        for mut socket in sockets {
            registry.register(&mut socket, Token(self.first_token + self.all.len()), Interest::READABLE)?;
            let address = socket.local_addr()?;
            self.all.push(Listener { socket, address, secure, ready: false, again_at_ms: None });
        }
        Ok(())
    }

    /// The sockets, and which of them speak TLS.
    pub fn iter(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.all.iter().map(|listener| (listener.socket.as_fd(), listener.secure))
    }

    /// Stops listening there for TLS.
    pub fn close_secure(&mut self) {
        self.all.retain(|listener| !listener.secure);
    }

    /// Stops listening.
    pub fn close(&mut self) {
        self.all.clear();
        self.faults.end();
    }

    /// Where it listens, with the ports that the system chose where 0 was asked for: for TLS, or for all else.
    pub fn addresses(&self, secure: bool) -> Vec<SocketAddr> {
        self.all.iter().filter(|listener| listener.secure == secure).map(|listener| listener.address).collect()
    }

    /// Notes what the poll has told.
    pub fn set_ready(&mut self, token: Token) {
        if let Some(listener) = token.0.checked_sub(self.first_token).and_then(|n| self.all.get_mut(n)) {
            listener.ready = true;
        }
    }

    /// There may be somebody to accept at once.
    pub fn has_ready(&self) -> bool {
        self.all.iter().any(|listener| listener.ready)
    }

    /// When to accept again where that failed, or to tell of what goes on failing, in monotonic milliseconds.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let again_at_ms = self.all.iter().filter_map(|listener| listener.again_at_ms);
        again_at_ms.chain(self.faults.next_deadline_ms()).min()
    }

    /// Takes in whoever knocks, a bounded number from each listener, and hands each to `welcome`, which says whether there was room, and
    /// what else went wrong.
    pub fn accept(&mut self, now: Now, mut welcome: impl FnMut(Newcomer, &mut Faults) -> Result<(), TurnedAway>) {
        self.faults.expire(now);
        for n in 0..self.all.len() {
            for _ in 0..limits::ACCEPTS_PER_TURN {
                match self.accept_from(n, now) {
                    Accepted::Newcomer(newcomer) => {
                        let from = newcomer.from;
                        let welcomed = welcome(newcomer, &mut self.faults);
                        self.note(now, from, welcomed);
                    }
                    Accepted::TurnedAway => {}
                    Accepted::Nobody => break,
                }
            }
        }
    }

    /// How many were turned away, since it was asked last, because the system had no descriptor for them.
    pub fn take_without_descriptor(&mut self) -> u64 {
        std::mem::take(&mut self.without_descriptor)
    }

    fn accept_from(&mut self, n: usize, now: Now) -> Accepted {
        let listener = &mut self.all[n];
        if listener.again_at_ms.take_if(|again_at_ms| *again_at_ms <= now.monotonic_ms).is_some() {
            listener.ready = true;
        }
        if !listener.ready {
            return Accepted::Nobody;
        }
        match listener.socket.accept() {
            Ok((socket, from)) => {
                return Accepted::Newcomer(Newcomer { socket, from, secure: listener.secure });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::MFILE | Errno::NFILE) => self.turn_away_without_descriptor(n, now, &error),
                Some(Errno::NOBUFS | Errno::NOMEM) => listener.accept_later(now, &error, &mut self.faults),
                // The newcomer has gone, or its network has: accept(2) says to go on with the next.
                _ => {}
            },
        }
        Accepted::TurnedAway
    }

    /// How it went with a newcomer, for the log.
    fn note(&mut self, now: Now, from: SocketAddr, welcomed: Result<(), TurnedAway>) {
        match welcomed {
            Ok(()) => {}
            Err(TurnedAway::Full) => self.faults.add_plain(now, Fault::Full),
            Err(TurnedAway::AddressFull) => {
                let from = from.ip().to_canonical();
                let says = format_args!(
                    "{from} has as many connections as one address may (limits.connections_per_ip): it is told 503"
                );
                self.faults.add(now, Fault::AddressFull, says);
            }
        }
    }

    /// There are no descriptors left: gives up the spare one for as long as it takes to tell one newcomer so. The system says so even where nobody
    /// waits.
    fn turn_away_without_descriptor(&mut self, n: usize, now: Now, error: &io::Error) {
        let listener = &mut self.all[n];
        drop(self.spare.take());
        match listener.socket.accept() {
            Ok((mut stream, _)) => {
                // There is no place for it to wait in: what it has sent is read, so that no reset overtakes the answer, and that is all.
                let _unread = stream.read(&mut [0; limits::HEAD_BYTES]);
                if !listener.secure {
                    let _unheard = stream.write(&http::full(false));
                }
                let _gone = stream.shutdown(std::net::Shutdown::Write);
                drop(stream);
                self.without_descriptor += 1;
                let says =
                    format_args!("the system has no place for another connection ({error}): newcomers are told 503");
                self.faults.add(now, Fault::NoDescriptor, says);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
            Err(error) => listener.accept_later(now, &error, &mut self.faults),
        }
        self.spare = spare();
    }
}

/// What one try to accept came to.
enum Accepted {
    Newcomer(Newcomer),
    /// Whoever it was is gone again, or the system is full: where there may be another, the listener is still ready.
    TurnedAway,
    /// Nobody waits.
    Nobody,
}

impl Listener {
    /// The system has no place for another socket, nor one to tell a newcomer so: those who wait are not lost, and the poll would not tell of
    /// them again.
    fn accept_later(&mut self, now: Now, error: &io::Error, faults: &mut Faults) {
        self.ready = false;
        self.again_at_ms = Some(now.monotonic_ms + limits::ACCEPT_AGAIN_MS);
        let says = format_args!("cannot accept connections on {} for now: {error}", self.address);
        faults.add(now, Fault::NotAccepting, says);
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// A listening socket.
fn open(address: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // One listener for both families, unless IPv4 has one of its own.
        socket.set_only_v6(shares_port)?;
    }
    socket.set_reuse_address(true)?;
    prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What is set here, the sockets that it accepts are born with.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(limits::UNACKNOWLEDGED_MS)))
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    /// The first that is accepted, once somebody has knocked.
    fn accepted(listeners: &mut Listeners, poll: &mut Poll) -> TcpStream {
        let [address] = listeners.addresses(false)[..] else { panic!("one address") };
        let _peer = std::net::TcpStream::connect(address).unwrap();
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, None).unwrap();
        events.iter().for_each(|event| listeners.set_ready(event.token()));
        let mut accepted = None;
        let now = Now { monotonic_ms: 0, wall_ms: 0 };
        listeners.accept(now, |newcomer, _| {
            accepted = Some(newcomer.socket);
            Ok(())
        });
        accepted.expect("somebody has knocked")
    }

    /// Rule 8 of the room log: what the kernel holds for a reader that does not read is part of the bound.
    #[track_caller]
    fn is_born_with_what_its_listener_was_given(accepted: &TcpStream) {
        let socket = SockRef::from(accepted);
        // Linux answers with twice what was asked for.
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * limits::SEND_BUFFER_BYTES);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(limits::UNACKNOWLEDGED_MS)));
    }

    #[test]
    fn accepted_sockets_are_born_with_what_the_listener_was_given() {
        let mut poll = Poll::new().unwrap();
        let mut listeners = Listeners::new(Token(7));
        listeners.add(Listen::At(&["127.0.0.1:0".parse().unwrap()]), false, poll.registry()).unwrap();
        is_born_with_what_its_listener_was_given(&accepted(&mut listeners, &mut poll));
    }

    #[test]
    fn so_are_those_of_a_listener_that_was_handed_over() {
        let mut poll = Poll::new().unwrap();
        let mut listeners = Listeners::new(Token(7));
        // It blocks, and knows nothing of what we set.
        let handed_over = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = handed_over.local_addr().unwrap();
        listeners.add(Listen::On(vec![handed_over]), false, poll.registry()).unwrap();
        assert_eq!((listeners.addresses(false), listeners.addresses(true)), (vec![address], vec![]));
        is_born_with_what_its_listener_was_given(&accepted(&mut listeners, &mut poll));
        // Once there is nobody left, it says so at once.
        assert!(!listeners.has_ready());
    }
}

//! The poll loop.
//!
//! Owns: listeners, the poll, signals, and the loop of turns around an [`Exchange`]. Refuses to know: what is said, and to whom.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use log::{info, warn};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Protocol, Socket, Type};

use super::exchange::{Exchange, Options, TurnedAway};
use super::http;
#[cfg(feature = "tls")]
use super::tls::TlsStream;
use super::transport::Transport;
use crate::base::Now;
#[cfg(feature = "tls")]
use crate::host::certificates::Certificates;
use crate::host::clock::Clock;
use crate::host::secret;
use crate::hub::Settings;
use crate::limits;

/// SIGINT and SIGTERM, as every Unix numbers them.
const STOP_SIGNALS: [i32; 2] = [2, 15];

/// SIGHUP.
#[cfg(feature = "tls")]
const RELOAD_SIGNAL: i32 = 1;

/// Reads the certificates that there are now.
#[cfg(feature = "tls")]
pub type ReadCertificates = Box<dyn Fn() -> Result<Certificates, String>>;

/// Tokens below are connections, by their place in the table.
const SIGNALS: Token = Token(usize::MAX - 1);
/// As many for TLS again.
const FIRST_LISTENER: usize = SIGNALS.0 - 2 * limits::LISTENERS;

/// A hub with its sockets.
pub struct Server {
    poll: Poll,
    listeners: Vec<Listener>,
    signals: Signals,
    clock: Clock,
    exchange: Exchange<Transport<TcpStream>>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    /// Given up for a moment when there are no descriptors left, to tell whoever knocks.
    spare: Option<File>,
    /// So that a full hub is one line in the log, and not one for each who knocks.
    full_since: Option<Full>,
}

/// What listeners for TLS show to whoever connects.
#[cfg(feature = "tls")]
struct Tls {
    certificates: Certificates,
    read: ReadCertificates,
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
    /// It has been said in the log that accepting fails.
    failing: bool,
}

struct Full {
    since: Now,
    last: Now,
    turned_away: u64,
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

impl Server {
    /// Opens every address of `listen`, and listens for signals. Where that is, HTTP is told by the server itself.
    ///
    /// # Errors
    /// [`BindError`] names the address that could not be had.
    pub fn bind(listen: &[SocketAddr], options: Options, settings: Settings) -> Result<Server, BindError> {
        let clock = Clock::new();
        let poll = Poll::new()?;
        let mut signals = Signals::new(STOP_SIGNALS)?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let exchange = Exchange::new(options, settings, secret::draw()?, clock.read());
        let mut server = Server {
            poll,
            listeners: Vec::new(),
            signals,
            clock,
            exchange,
            #[cfg(feature = "tls")]
            tls: None,
            spare: spare(),
            full_since: None,
        };
        server.listen(listen, false)?;
        Ok(server)
    }

    /// Opens these addresses for TLS too. From then on SIGHUP has the certificates read again.
    ///
    /// # Errors
    /// [`BindError`] names the address that could not be had.
    #[cfg(feature = "tls")]
    pub fn listen_tls(
        &mut self,
        listen: &[SocketAddr],
        certificates: Certificates,
        read: ReadCertificates,
    ) -> Result<(), BindError> {
        self.signals.add_signal(RELOAD_SIGNAL)?;
        self.listen(listen, true)?;
        self.tls = Some(Tls { certificates, read });
        self.tell_trust();
        Ok(())
    }

    fn listen(&mut self, listen: &[SocketAddr], secure: bool) -> Result<(), BindError> {
        for address in listen {
            let shares_port = listen.iter().any(|other| other.is_ipv4() && other.port() == address.port());
            let mut socket = open(*address, shares_port && address.port() != 0)
                .map_err(|error| BindError { address: Some(*address), error })?;
            let token = Token(FIRST_LISTENER + self.listeners.len());
            self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
            let address = socket.local_addr()?;
            self.listeners.push(Listener { socket, address, secure, ready: false, again_at_ms: None, failing: false });
        }
        let (addresses, secure_addresses) = (self.addresses(), self.secure_addresses());
        let [site, secure_site] = self.exchange.sites_mut();
        (site.bound, secure_site.bound) = (addresses, secure_addresses);
        Ok(())
    }

    /// Reads the certificates again, for whoever connects from now on; those who are connected stay as they are. Where they are wrong, nothing
    /// changes, and the log says why.
    #[cfg(feature = "tls")]
    pub fn reload_tls(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        match (tls.read)() {
            Ok(certificates) => {
                for warning in &certificates.warnings {
                    warn!("{warning}");
                }
                info!("read the certificate for TLS again");
                tls.certificates = certificates;
                self.tell_trust();
            }
            Err(says) => warn!("TLS goes on with the certificate that it has: {says}"),
        }
    }

    /// What HTTP says of the certificate.
    #[cfg(feature = "tls")]
    fn tell_trust(&mut self) {
        let Some(tls) = &self.tls else { return };
        let authority = tls.certificates.authority.as_ref();
        let authority = authority.map(|authority| (authority.pem.clone(), authority.fingerprint.clone()));
        let port = self.secure_addresses().first().map(SocketAddr::port);
        let trust = port.map(|port| http::Trust { port, authority });
        for site in self.exchange.sites_mut() {
            site.trust.clone_from(&trust);
        }
    }

    /// Where it listens, with the ports that the system chose where 0 was asked for; not for TLS.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound(false)
    }

    /// Where it listens for TLS.
    #[must_use]
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        self.bound(true)
    }

    fn bound(&self, secure: bool) -> Vec<SocketAddr> {
        self.listeners.iter().filter(|listener| listener.secure == secure).map(|listener| listener.address).collect()
    }

    /// Runs until a signal says stop; then gives everyone what they are owed and says goodbye, which takes 5 s at most.
    ///
    /// # Errors
    /// Where the poll itself fails, which no peer can cause.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.turn(&mut events, None)? {}
        let now = self.clock.read();
        info!("stopping: {} connected", self.exchange.len());
        self.listeners.clear();
        self.exchange.stop(now);
        let until = now.after_ms(limits::CLOSE_MS);
        while !self.exchange.is_empty() && self.clock.read().monotonic_ms < until.monotonic_ms {
            if self.turn(&mut events, Some(until))? {
                info!("stopping at once");
                break;
            }
        }
        Ok(())
    }

    /// One turn. Says whether a signal came. It waits for something to happen, but not longer than `until`.
    fn turn(&mut self, events: &mut Events, until: Option<Now>) -> io::Result<bool> {
        let timeout = self.timeout(until.map(|until| until.monotonic_ms));
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            polled => polled?,
        }
        let now = self.clock.read();
        let mut stop = false;
        for event in &*events {
            match event.token() {
                SIGNALS => stop |= self.take_signals(),
                Token(token) if token >= FIRST_LISTENER => {
                    if let Some(listener) = self.listeners.get_mut(token - FIRST_LISTENER) {
                        listener.ready = true;
                    }
                }
                Token(index) => {
                    // A key by its place: where its tenant has changed since the event, the new one is looked at in vain.
                    let Some(key) = self.exchange.key_at(index as u32) else { continue };
                    if event.is_writable() {
                        self.exchange.write(key);
                    }
                    let hung_up = event.is_read_closed() || event.is_error();
                    if event.is_readable() || hung_up {
                        self.exchange.set_readable(key, hung_up);
                    }
                }
            }
        }
        for n in 0..self.listeners.len() {
            self.accept(n, now);
        }
        self.exchange.read_ready(now);
        self.exchange.expire(now);
        self.exchange.finish(now);
        Ok(stop)
    }

    /// Does what signals ask for, and says whether one of them says stop.
    fn take_signals(&mut self) -> bool {
        let mut stop = false;
        let pending: Vec<i32> = self.signals.pending().collect();
        for signal in pending {
            match signal {
                #[cfg(feature = "tls")]
                RELOAD_SIGNAL => self.reload_tls(),
                _ => stop = true,
            }
        }
        stop
    }

    /// How long the poll may sleep; `None` is for ever.
    fn timeout(&self, until_ms: Option<u64>) -> Option<Duration> {
        if self.exchange.has_ready() || self.listeners.iter().any(|listener| listener.ready) {
            return Some(Duration::ZERO);
        }
        let accept_ms = self.listeners.iter().filter_map(|listener| listener.again_at_ms).min();
        let due_ms = [self.exchange.next_deadline_ms(), accept_ms, until_ms].into_iter().flatten().min()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.clock.read().monotonic_ms)))
    }

    // ---- Coming ---------------------------------------------------------------------------------

    fn accept(&mut self, n: usize, now: Now) {
        for _ in 0..limits::ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get_mut(n) else { return };
            if listener.again_at_ms.take_if(|again_at_ms| *again_at_ms <= now.monotonic_ms).is_some() {
                listener.ready = true;
            }
            if !listener.ready {
                return;
            }
            match listener.socket.accept() {
                Ok((stream, from)) => {
                    listener.failing = false;
                    let secure = listener.secure;
                    if let Some(stream) = self.transport(stream, secure) {
                        self.welcome(now, stream, from.ip());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::MFILE | Errno::NFILE) => self.turn_away_without_descriptor(n, now, &error),
                    Some(Errno::NOBUFS | Errno::NOMEM) => self.accept_later(n, now, &error),
                    // The newcomer has gone, or its network has: accept(2) says to go on with the next.
                    _ => {}
                },
            }
        }
    }

    /// The system has no place for another socket, nor one to tell a newcomer so: those who wait are not lost, and the poll would not tell of
    /// them again.
    fn accept_later(&mut self, n: usize, now: Now, error: &io::Error) {
        let Some(listener) = self.listeners.get_mut(n) else { return };
        listener.ready = false;
        listener.again_at_ms = Some(now.monotonic_ms + limits::ACCEPT_AGAIN_MS);
        if !std::mem::replace(&mut listener.failing, true) {
            warn!("cannot accept connections on {} for now: {error}", listener.address);
        }
    }

    /// A newcomer's socket, with TLS over it where its listener speaks that.
    #[cfg(feature = "tls")]
    fn transport(&self, socket: TcpStream, secure: bool) -> Option<Transport<TcpStream>> {
        let Some(tls) = self.tls.as_ref().filter(|_| secure) else { return Some(Transport::Plain(socket)) };
        match TlsStream::new(socket, tls.certificates.server.clone()) {
            Ok(stream) => Some(Transport::Tls(Box::new(stream))),
            Err(error) => {
                // Only where the system has no randomness to give; the newcomer tries again.
                warn!("cannot begin TLS: {error}");
                None
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    fn transport(&self, socket: TcpStream, _secure: bool) -> Option<Transport<TcpStream>> {
        Some(Transport::Plain(socket))
    }

    fn welcome(&mut self, now: Now, stream: Transport<TcpStream>, from: IpAddr) {
        let (key, fits) = self.exchange.accept(now, stream, from.to_canonical());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Some(stream) = self.exchange.stream_mut(key)
            && let Err(error) = self.poll.registry().register(stream.socket_mut(), Token(key.index as usize), interest)
        {
            // Only where the kernel has no memory for it. Unwatched, it would never speak; its deadline removes it.
            warn!("cannot watch a connection: {error}");
        }
        match fits {
            Ok(()) => {
                let is_over = |full: &mut Full| now.monotonic_ms >= full.last.monotonic_ms + limits::ROOM_AGAIN_MS;
                if let Some(full) = self.full_since.take_if(is_over) {
                    let seconds = (full.last.monotonic_ms - full.since.monotonic_ms) / 1000;
                    info!("there is room again: {} were turned away within {seconds} s", full.turned_away);
                }
            }
            Err(TurnedAway::Full) => self.turned_away(now, format_args!("every seat is taken (limits.connections)")),
            Err(TurnedAway::AddressFull) => {
                let why = format_args!("{from} has as many connections as one address may (limits.connections_per_ip)");
                self.turned_away(now, why);
            }
        }
    }

    /// Counts somebody who was told 503; the first is a line in the log.
    fn turned_away(&mut self, now: Now, why: fmt::Arguments) {
        let full = self.full_since.get_or_insert_with(|| {
            warn!("{why}: newcomers are told 503");
            Full { since: now, last: now, turned_away: 0 }
        });
        full.last = now;
        full.turned_away += 1;
    }

    /// There are no descriptors left: gives up the spare one for as long as it takes to tell one newcomer so. The system says so even where nobody
    /// waits.
    fn turn_away_without_descriptor(&mut self, n: usize, now: Now, error: &io::Error) {
        let Some(listener) = self.listeners.get_mut(n) else { return };
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
                self.turned_away(now, format_args!("the system has no place for another connection ({error})"));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
            Err(error) => self.accept_later(n, now, &error),
        }
        self.spare = spare();
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// A listening socket. What is set here, the sockets it accepts are born with.
fn open(address: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // One listener for both families, unless IPv4 has one of its own.
        socket.set_only_v6(shares_port)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(limits::UNACKNOWLEDGED_MS)))?;
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    /// Rule 8 of the room log: what the kernel holds for a reader that does not read is part of the bound.
    #[test]
    fn accepted_sockets_are_born_with_what_the_listener_was_given() {
        let listener = open("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut poll = Poll::new().unwrap();
        let mut listener = listener;
        poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
        poll.poll(&mut Events::with_capacity(1), None).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        // Linux answers with twice what was asked for.
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * limits::SEND_BUFFER_BYTES);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(limits::UNACKNOWLEDGED_MS)));
    }
}

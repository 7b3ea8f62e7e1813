//! The poll loop.
//!
//! Owns: the poll, and the loop of turns around an [`Exchange`]. Refuses to know: what is said, and to whom.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use log::{error, info, warn};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::exchange::{Exchange, Options};
use super::faults::Fault;
#[cfg(feature = "tls")]
use super::http;
use super::listeners::{BindError, Listen, Listeners, Newcomer};
use super::running::Running;
use super::signals::{Asked, Signals};
#[cfg(feature = "tls")]
use super::tls::TlsStream;
use super::transport::Transport;
use crate::base::{Key, Now};
#[cfg(feature = "tls")]
use crate::host::certificates::Certificates;
use crate::host::clock::{Clock, monotonic_us};
use crate::host::secret;
use crate::host::systemd::{Count, Manager};
use crate::host::upgrade::{self, Program};
use crate::hub::Settings;
use crate::limits;

/// Tokens below are connections, by their place in the table.
const SIGNALS: Token = Token(usize::MAX - 1);
/// As many for TLS again.
const FIRST_LISTENER: usize = SIGNALS.0 - 2 * limits::LISTENERS;

/// A hub with its sockets.
pub struct Server {
    poll: Poll,
    pub(super) listeners: Listeners,
    signals: Signals,
    pub(super) clock: Clock,
    pub(super) exchange: Exchange<Transport<TcpStream>>,
    /// `None` while there is nothing to be taken over.
    pub(super) running: Option<Running>,
    /// Who is told how it goes.
    manager: Option<Manager>,
    /// What runs here; the system may not say.
    pub(super) program: io::Result<Program>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
}

/// What a server hears with: all of it that the system may refuse.
pub(super) struct Ears {
    poll: Poll,
    signals: Signals,
}

impl Ears {
    pub fn new() -> Result<Ears, BindError> {
        let poll = Poll::new()?;
        let signals = Signals::new(poll.registry(), SIGNALS)?;
        Ok(Ears { poll, signals })
    }
}

/// What listeners for TLS show to whoever connects.
#[cfg(feature = "tls")]
pub(super) struct Tls {
    pub certificates: Certificates,
}

impl Server {
    /// Listens there, and for signals. Where that is, HTTP is told by the server itself.
    ///
    /// # Errors
    /// [`BindError`] names the address that could not be had.
    pub fn bind(listen: Listen, options: Options, settings: Settings) -> Result<Server, BindError> {
        let clock = Clock::new();
        let exchange = Exchange::new(options, settings, secret::draw()?, clock.read());
        let mut server = Server::with(Ears::new()?, exchange, clock);
        server.listen(listen, false)?;
        Ok(server)
    }

    /// A server around this exchange, which listens nowhere yet.
    pub(super) fn with(Ears { poll, signals }: Ears, exchange: Exchange<Transport<TcpStream>>, clock: Clock) -> Server {
        Server {
            poll,
            listeners: Listeners::new(Token(FIRST_LISTENER)),
            signals,
            clock,
            exchange,
            running: None,
            manager: None,
            program: Program::of_this_process(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Listens there for TLS too.
    ///
    /// # Errors
    /// [`BindError`] names the address that could not be had.
    #[cfg(feature = "tls")]
    pub fn listen_tls(&mut self, listen: Listen, certificates: Certificates) -> Result<(), BindError> {
        self.listen(listen, true)?;
        self.tls = Some(Tls { certificates });
        self.tell_trust();
        Ok(())
    }

    /// Tells this one how it goes from now on.
    pub fn report_to(&mut self, manager: Option<Manager>) {
        self.manager = manager;
    }

    pub(super) fn listen(&mut self, listen: Listen, secure: bool) -> Result<(), BindError> {
        self.listeners.add(listen, secure, self.poll.registry())?;
        self.tell_where();
        Ok(())
    }

    /// What HTTP says of where it is.
    fn tell_where(&mut self) {
        let (addresses, secure_addresses) = (self.addresses(), self.secure_addresses());
        let [site, secure_site] = self.exchange.sites_mut();
        (site.bound, secure_site.bound) = (addresses, secure_addresses);
    }

    /// Listens no more for TLS, where the hub before did.
    pub fn close_tls(&mut self) {
        self.listeners.close_secure();
        self.tell_where();
    }

    /// What HTTP says of the certificate.
    #[cfg(feature = "tls")]
    pub(super) fn tell_trust(&mut self) {
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
        self.listeners.addresses(false)
    }

    /// Where it listens for TLS.
    #[must_use]
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses(true)
    }

    /// Runs until a signal says stop; then gives everyone what they are owed and says goodbye, which takes 5 s at most.
    ///
    /// # Errors
    /// Where the poll itself fails, which no peer can cause.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        upgrade::hear_signals();
        self.tell_ready();
        while !self.turn(&mut events, None)? {}
        self.wind_down(events)
    }

    /// Says goodbye to everyone and ends, as where a signal says stop.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub fn end(self) -> io::Result<()> {
        self.wind_down(Events::with_capacity(1024))
    }

    fn wind_down(mut self, mut events: Events) -> io::Result<()> {
        let now = self.clock.read();
        info!("stopping: {} connected", self.exchange.len());
        if let Some(manager) = &mut self.manager {
            manager.stopping();
        }
        self.listeners.close();
        self.exchange.stop(now);
        let until = now.after_ms(limits::CLOSE_MS);
        while !self.exchange.is_empty() && self.clock.monotonic_ms() < until.monotonic_ms {
            if self.turn(&mut events, Some(until))? {
                info!("stopping at once");
                break;
            }
        }
        Ok(())
    }

    /// One turn. Says whether a signal asks to stop. It waits for something to happen, but not longer than `until`.
    fn turn(&mut self, events: &mut Events, until: Option<Now>) -> io::Result<bool> {
        let timeout = self.timeout(until.map(|until| until.monotonic_ms));
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            polled => polled?,
        }
        let (now, woken) = self.clock.read_precisely();
        let mut asked = Vec::new();
        for event in &*events {
            match event.token() {
                SIGNALS => asked = self.signals.take(),
                token if token.0 >= FIRST_LISTENER => self.listeners.set_ready(token),
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
        self.accept(now);
        self.exchange.read_ready(now);
        self.exchange.expire(now);
        self.exchange.finish(now);
        self.exchange.turn_took(woken.elapsed());
        let count = self.count();
        if let Some(manager) = &mut self.manager {
            manager.turn(now, count);
        }
        // Between two turns, when nothing is half done.
        Ok(self.obey(&asked, until.is_some()))
    }

    /// Does what signals ask for. Says whether that is to stop, which stands before all else.
    fn obey(&mut self, asked: &[Asked], is_stopping: bool) -> bool {
        if asked.contains(&Asked::Stop) {
            return true;
        }
        if is_stopping {
            // There is nothing left to take over, and nobody who has anything of it.
            return false;
        }
        if asked.contains(&Asked::Reload) {
            if let Some(manager) = &mut self.manager {
                manager.reloading(monotonic_us());
            }
            self.reload();
            self.tell_ready();
        }
        asked.contains(&Asked::Upgrade) && self.make_way()
    }

    /// Lets another program take over, for which whatever signal comes from now on waits. Those that came before are obeyed first. Says whether one of
    /// them asks to stop.
    fn make_way(&mut self) -> bool {
        let held = match upgrade::hold_signals() {
            Ok(held) => held,
            Err(error) => {
                error!("not upgraded, and going on as before: signals cannot be held: {error}");
                return false;
            }
        };
        let mut asked = self.signals.take();
        asked.retain(|asked| *asked != Asked::Upgrade);
        if self.obey(&asked, false) {
            return true;
        }
        self.upgrade(&held);
        false
    }

    fn tell_ready(&mut self) {
        let (now, count) = (self.clock.read(), self.count());
        if let Some(manager) = &mut self.manager {
            manager.ready(now, count);
        }
    }

    fn count(&self) -> Count {
        let hub = self.exchange.hub();
        Count { rooms: hub.rooms(), members: hub.members() }
    }

    /// How long the poll may sleep; `None` is for ever.
    fn timeout(&self, until_ms: Option<u64>) -> Option<Duration> {
        if self.exchange.has_ready() || self.listeners.has_ready() {
            return Some(Duration::ZERO);
        }
        let accept_ms = self.listeners.next_deadline_ms();
        let tell_ms = self.manager.as_ref().and_then(Manager::next_deadline_ms);
        let due_ms = [self.exchange.next_deadline_ms(), accept_ms, tell_ms, until_ms].into_iter().flatten().min()?;
        Some(Duration::from_millis(due_ms.saturating_sub(self.clock.monotonic_ms())))
    }

    /// Has the poll watch a connection that is there already.
    pub(super) fn watch(&mut self, key: Key) {
        if let Err(error) = watch(&self.poll, &mut self.exchange, key) {
            warn!("cannot watch a connection: {error}");
        }
    }

    /// Gives everybody who has come a place, and has the poll watch it.
    fn accept(&mut self, now: Now) {
        let Server { poll, listeners, exchange, .. } = self;
        #[cfg(feature = "tls")]
        let tls = self.tls.as_ref();
        listeners.accept(now, |Newcomer { socket, from, secure }, faults| {
            #[cfg(feature = "tls")]
            let stream = match transport(socket, tls.filter(|_| secure)) {
                Ok(stream) => stream,
                Err(error) => {
                    // Only where the system has no randomness to give; the newcomer tries again.
                    faults.add(now, Fault::NoTls, format_args!("cannot begin TLS: {error}"));
                    return Ok(());
                }
            };
            #[cfg(not(feature = "tls"))]
            let (stream, _never) = (Transport::Plain(socket), secure);
            let (key, fits) = exchange.accept(now, stream, from.ip().to_canonical());
            if let Err(error) = watch(poll, exchange, key) {
                // Only where the kernel has no memory for it. Unwatched, it would never speak; its deadline removes it.
                faults.add(now, Fault::NotWatched, format_args!("cannot watch a connection: {error}"));
            }
            fits
        });
        exchange.turned_away_without_descriptor(listeners.take_without_descriptor());
    }
}

/// Has the poll watch a connection's socket.
fn watch(poll: &Poll, exchange: &mut Exchange<Transport<TcpStream>>, key: Key) -> io::Result<()> {
    let Some(stream) = exchange.stream_mut(key) else { return Ok(()) };
    let (token, interest) = (Token(key.index as usize), Interest::READABLE | Interest::WRITABLE);
    poll.registry().register(stream.socket_mut(), token, interest)
}

/// A newcomer's socket, with TLS over it where its listener speaks that.
#[cfg(feature = "tls")]
fn transport(socket: TcpStream, tls: Option<&Tls>) -> io::Result<Transport<TcpStream>> {
    let Some(tls) = tls else { return Ok(Transport::Plain(socket)) };
    Ok(Transport::Tls(Box::new(TlsStream::new(socket, tls.certificates.server.clone())?)))
}

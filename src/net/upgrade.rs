//! A new program takes the hub over, with everybody in it.
//!
//! Owns: what the poll loop has to leave beside the exchange: its listeners, its clock, and the numbers of its sockets; and what becomes of everybody
//! where the state is of no use. Refuses to know: what of a hub has to outlive its process (`exchange::state`, `hub::state`), and how a program
//! follows another (`host::upgrade`).

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};

use log::{error, info, warn};
use mio::net::TcpStream;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::exchange::{Exchange, ExchangeState, Options};
use super::listeners::Listen;
use super::running::Running;
use super::server::{Ears, Server};
use super::transport::Transport;
use crate::base::state::{StateReader, StateWriter};
use crate::host::clock::{Clock, monotonic_us};
use crate::host::config::Config;
use crate::host::upgrade::{self, Held};
use crate::limits;

/// More than a century, and little enough for every sum with a period.
const MONOTONIC_MS_MAX: u64 = 1 << 42;

/// A server as it is written down.
#[derive(Serialize, Deserialize)]
struct ServerState {
    /// Which version of the program has written it.
    program: String,
    /// When, by its monotonic clock: the next one goes on there.
    monotonic_ms: u64,
    /// The same by the system's, which does not stop meanwhile.
    begun_us: u64,
    listeners: Vec<ListenerState>,
    /// What the operator had decided, for a program that cannot read it any more; `None` where that cannot be written down. Only such a program looks
    /// into it.
    #[serde(default)]
    config: Option<Box<RawValue>>,
    exchange: ExchangeState,
}

#[derive(Serialize, Deserialize)]
struct ListenerState {
    socket: RawFd,
    secure: bool,
}

/// Why a server cannot go on where another stopped.
#[derive(Debug)]
pub struct Unusable {
    /// What is wrong with the state, or what the system refuses.
    pub why: String,
    /// Connections that were taken over before that was found out. Others still lie where they were ([`upgrade::connections`]).
    pub connections: Vec<TcpStream>,
}

impl Unusable {
    fn new(why: impl ToString) -> Unusable {
        Unusable { why: why.to_string(), connections: Vec::new() }
    }

    fn with(why: impl ToString, streams: Vec<Transport<TcpStream>>) -> Unusable {
        Unusable { connections: streams.into_iter().map(Transport::into_socket).collect(), ..Unusable::new(why) }
    }
}

impl Server {
    /// Lets the program that lies where this one lay take over, between two turns. It returns only where that fails: then the hub goes on, and the log
    /// says why. A configuration that is wrong would be found so by the next program too, which could not ask again: it is read before anybody has to
    /// go. Signals are held, so that none is left with this program unheard.
    pub(super) fn upgrade(&mut self, held: &Held) {
        let program = match &self.program {
            Ok(program) => program,
            Err(error) => return error!("cannot be upgraded: the system does not say what program this is: {error}"),
        };
        if let Some(Err(wrong)) = self.running.as_ref().and_then(Running::read) {
            return warn!("not upgraded, and going on as before: {wrong}");
        }
        let not_upgraded =
            |error: io::Error| error!("not upgraded, and going on as before: {}: {error}", program.path().display());
        // So is all else that can be known before it is tried.
        let state = match program.check().and_then(|()| upgrade::file()) {
            Ok(state) => state,
            Err(error) => return not_upgraded(error),
        };
        info!("upgrading to {}, with {} connected", program.path().display(), self.exchange.len());
        let begun_us = monotonic_us();
        self.exchange.prepare(self.clock.read());
        not_upgraded(match self.save(&state, begun_us) {
            Ok(()) => {
                let connections = self.exchange.streams().map(|stream| stream.socket().as_fd());
                let kept: Vec<BorrowedFd> =
                    connections.chain(self.listeners.iter().map(|(socket, _)| socket)).collect();
                program.follow(held, &state, &kept)
            }
            Err(error) => error,
        });
    }

    fn save(&self, file: &File, begun_us: u64) -> io::Result<()> {
        let mut buffer = BufWriter::new(file);
        let mut writer = StateWriter::new(&mut buffer);
        let listeners = self.listeners.iter();
        let state = ServerState {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            monotonic_ms: self.clock.read().monotonic_ms,
            begun_us,
            config: self.running.as_ref().and_then(|running| to_raw_value(running.config()).ok()),
            listeners: listeners.map(|(socket, secure)| ListenerState { socket: socket.as_raw_fd(), secure }).collect(),
            exchange: self.exchange.save(&mut writer, |stream| stream.socket().as_raw_fd()),
        };
        writer.finish(&state)?;
        buffer.flush()
    }

    /// A server that goes on where another stopped, on the same sockets, as the operator wants it by now; where that cannot be read, as he wanted it
    /// before. Says which that is. Where it listens is not asked again.
    ///
    /// # Errors
    /// [`Unusable`] says why that cannot be, and has the connections that are left: [`Server::dismiss`] says goodbye to them.
    pub fn resume(mut state: File, config: Option<Config>) -> Result<(Server, Config), Unusable> {
        let (mut reader, state): (_, ServerState) = StateReader::open(&mut state).map_err(Unusable::new)?;
        let config = config.map_or_else(|| config_of(state.config), Ok)?;
        if state.monotonic_ms > MONOTONIC_MS_MAX {
            return Err(Unusable::new("it has run for longer than can be"));
        }
        let mut listeners = [Vec::new(), Vec::new()];
        for ListenerState { socket, secure } in state.listeners {
            let listener = upgrade::listener(socket);
            let of_kind = &mut listeners[usize::from(secure)];
            let fits = listener.filter(|_| of_kind.len() < limits::LISTENERS);
            of_kind.push(
                fits.ok_or_else(|| Unusable::new(format!("it listens on descriptor {socket}, which cannot be")))?,
            );
        }
        let ears = Ears::new().map_err(Unusable::new)?;
        let clock = Clock::going_on_at(state.monotonic_ms);
        let socket = |number: RawFd| Some(Transport::Plain(TcpStream::from_std(upgrade::connection(number)?)));
        let exchange = Exchange::restore(state.exchange, &mut reader, clock.read(), socket);
        let mut exchange = exchange.map_err(|(error, streams)| Unusable::with(error, streams))?;
        exchange.apply(clock.read(), Options::from(&config), config.hub.clone());
        let mut server = Server::with(ears, exchange, clock);
        for (sockets, secure) in listeners.into_iter().zip([false, true]) {
            if let Err(error) = server.listen(Listen::On(sockets), secure) {
                return Err(Unusable::with(error, server.exchange.into_streams()));
            }
        }
        for key in server.exchange.keys() {
            server.watch(key);
        }
        let (from, to, count) = (state.program, env!("CARGO_PKG_VERSION"), server.exchange.len());
        let ms = monotonic_us().saturating_sub(state.begun_us) as f64 / 1000.0;
        info!("upgraded from {from} to {to} in {ms:.1} ms: {count} connected");
        Ok((server, config))
    }

    /// Says goodbye (1001) to those whose hub cannot be gone on with: they come back to this one.
    pub fn dismiss(&mut self, connections: Vec<TcpStream>) {
        let now = self.clock.read();
        for socket in connections {
            let Ok(from) = socket.peer_addr() else { continue };
            let key = self.exchange.dismiss(now, Transport::Plain(socket), from.ip().to_canonical());
            self.watch(key);
        }
    }
}

/// What the operator had decided.
fn config_of(state: Option<Box<RawValue>>) -> Result<Config, Unusable> {
    let state = state.ok_or_else(|| Unusable::new("the configuration is missing"))?;
    serde_json::from_str(state.get()).map_err(|error| Unusable::new(format!("the configuration is of no use: {error}")))
}

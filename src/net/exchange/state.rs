//! The hub and its connections, left by one process for the next.
//!
//! Owns: who can be handed over, the farewell to those who cannot, and the order in which everything comes back. Refuses to know: what a socket is
//! called in the next process, and how one program follows another (`net::upgrade`).

use serde::{Deserialize, Serialize};

use super::{Exchange, Options};
use crate::base::Now;
use crate::base::state::{StateError, StateReader, StateWriter};
use crate::hub::{Hub, HubState, Outlet, PeerState};
use crate::limits;
use crate::net::conn::{Conn, ConnState};
use crate::net::connections::{Bounds, Place};
use crate::net::stream::Stream;
use crate::wire::CloseReason;

/// An exchange as it is written down. A socket is a number, by which the next process knows it: that of its descriptor, or a test's own.
#[derive(Serialize, Deserialize)]
pub struct ExchangeState {
    bounds: Bounds,
    hub: HubState,
    connections: Vec<ConnectionState>,
}

#[derive(Serialize, Deserialize)]
struct ConnectionState {
    socket: i32,
    place: Place,
    conn: ConnState,
    /// What the hub knows of it; `None` before its head is here, and after its last word.
    peer: Option<PeerState>,
}

impl<S: Stream> Exchange<S> {
    /// Ends the turn, and says goodbye (1001) to whoever cannot be handed to another process: those who are in the middle of a message, or under
    /// TLS. Their seats linger. Everyone else is between two frames from then on.
    pub fn prepare(&mut self, now: Now) {
        self.finish(now);
        for key in self.connections.keys() {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if !connection.conn.is_portable() {
                match connection.conn.is_open() {
                    true => self.connections.close(key, CloseReason::Upgrading),
                    false => self.connections.remove(key),
                }
            }
        }
        self.finish(now);
        for key in self.connections.keys() {
            self.hub.keep_rests(key, &mut self.connections);
        }
        // A queue that grew may have been too much.
        self.finish(now);
    }

    /// Writes everything down, after [`Exchange::prepare`]. `number` says what a socket is called.
    pub fn save(&self, to: &mut StateWriter, number: impl Fn(&S) -> i32) -> ExchangeState {
        let hub = self.hub.save(to);
        let mut connections = Vec::with_capacity(self.connections.len() as usize);
        for (key, conn, place) in self.connections.iter() {
            connections.push(ConnectionState {
                socket: number(conn.stream()),
                place,
                conn: conn.save(to),
                peer: self.hub.save_peer(key),
            });
        }
        ExchangeState { bounds: self.connections.bounds(), hub, connections }
    }

    /// What was written down, with sites that say nothing: whoever knows where it listens, and what the operator wants by now, says so with
    /// [`Exchange::apply`]. `socket` gives the stream of a number. Afterwards, whoever can be read or written has to be told as ever: the next poll
    /// does.
    ///
    /// # Errors
    /// Where the state says what cannot be, or a number has no stream; with the streams that were asked for before that was found out.
    pub fn restore(
        state: ExchangeState,
        from: &mut StateReader,
        now: Now,
        mut socket: impl FnMut(i32) -> Option<S>,
    ) -> Result<Self, (StateError, Vec<S>)> {
        let ExchangeState { bounds, hub, connections } = state;
        if bounds.connections > limits::CONNECTIONS.max {
            return Err((StateError::wrong("more connections than there may be"), Vec::new()));
        }
        let hub = Hub::restore(hub, bounds.connections, now, from).map_err(|error| (error, Vec::new()))?;
        let options = Options {
            connections: bounds.connections,
            connections_per_ip: bounds.connections_per_ip,
            message_bytes: bounds.message_bytes,
            reply_bytes: bounds.reply_bytes as u32, // and so was this
            ..Options::default()
        };
        let mut exchange = Exchange::with(options, hub, now);
        match exchange.fill(connections, from, now, &mut socket) {
            Ok(()) => Ok(exchange),
            Err(error) => Err((error, exchange.into_streams())),
        }
    }

    /// The streams of everyone, who are connections no more.
    #[must_use]
    pub fn into_streams(self) -> Vec<S> {
        self.connections.into_streams()
    }

    fn fill(
        &mut self,
        connections: Vec<ConnectionState>,
        from: &mut StateReader,
        now: Now,
        socket: &mut impl FnMut(i32) -> Option<S>,
    ) -> Result<(), StateError> {
        let message_bytes = self.options.message_bytes;
        if connections.iter().filter(|connection| connection.place.is_spare()).count()
            > limits::SPARE_CONNECTIONS as usize
        {
            return Err(StateError::wrong("more who are turned away than there may be"));
        }
        self.connections.make_room(connections.len());
        for connection in connections {
            let ConnectionState { socket: number, place, conn, peer } = connection;
            let told = conn.read(message_bytes, from)?;
            if told.is_open() != peer.is_some() || !place.is_possible(now) {
                return Err(StateError::wrong(format!("what connection {number} is")));
            }
            let none = || StateError::wrong(format!("connection {number}, which is none"));
            let stream = socket(number).ok_or_else(none)?;
            let key = self.connections.restore(Conn::restore(stream, told), place);
            if let (Some(key), Some(peer)) = (key, peer) {
                self.hub.restore_peer(key, peer, now)?;
            }
        }
        Ok(())
    }
}

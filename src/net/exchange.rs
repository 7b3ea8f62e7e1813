//! Where the hub and the connections meet: what happens in a turn, step by step.
//!
//! Owns: the order of things within a turn, and the buffer that every socket is read into. Refuses to know: polls, listeners, clocks; whoever
//! drives it says which connection is ready and what time it is, so that a test can be the network.
//!
//! A turn is: [`Exchange::accept`], [`Exchange::set_readable`] and [`Exchange::write`] for each event, [`Exchange::read_ready`],
//! [`Exchange::expire`], and last [`Exchange::finish`], which leaves nobody behind who is to go and nothing unsent that a socket would take.

mod state;

pub use state::ExchangeState;

use std::net::IpAddr;
use std::time::Duration;

use log::{debug, info, warn};

use super::conn::{Decoders, Filled, Head, What};
use super::connections::{Bounds, Connections};
use super::http::{self, Asker, Route, Site};
use super::refusals::Refusals;
use super::stream::Stream;
use crate::base::{Key, Now};
use crate::host::metrics::{self, Figures, Maxima};
use crate::hub::{Hub, Outlet, Part, Secret, Settings};
use crate::limits;
use crate::wire::CloseReason;

pub use super::connections::TurnedAway;

/// What the exchange is told at its start, beside the hub's own settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections at once.
    pub connections: u32,
    /// Connections at once from one address; 0 is no limit.
    pub connections_per_ip: u32,
    /// One message from a client.
    pub message_bytes: u32,
    /// Replies owed to all connections together.
    pub reply_bytes: u32,
    /// What HTTP answers with, beside the page.
    pub site: Site,
    /// The same for what comes over TLS.
    pub secure_site: Site,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connections: limits::CONNECTIONS.default,
            connections_per_ip: limits::CONNECTIONS_PER_IP.default,
            message_bytes: limits::MESSAGE_BYTES.default,
            reply_bytes: limits::REPLY_BYTES.default,
            site: Site::default(),
            secure_site: Site { secure: true, ..Site::default() },
        }
    }
}

impl Options {
    fn site_of(&self, secure: bool) -> &Site {
        if secure { &self.secure_site } else { &self.site }
    }
}

/// The hub and its connections.
pub struct Exchange<S> {
    hub: Hub,
    connections: Connections<S>,
    options: Options,
    maxima: Maxima,
    refusals: Refusals,
    /// How long a connection that has filled its read is not read again.
    rest_ms: u64,
    /// Every socket is read into it; it is lent to the turn, and so is the list below.
    buffer: Box<[u8]>,
    reading: Vec<Key>,
    /// What reads the frames of all.
    decoders: Decoders,
}

impl<S: Stream> Exchange<S> {
    /// An exchange with nobody connected. `secret` is what resume tokens are made with.
    #[must_use]
    pub fn new(options: Options, settings: Settings, secret: Secret, now: Now) -> Self {
        let hub = Hub::new(settings, options.connections, &secret, now);
        Exchange::with(options, hub, now)
    }

    /// An exchange around this hub, with nobody connected.
    fn with(options: Options, hub: Hub, now: Now) -> Self {
        let settings = hub.settings();
        Exchange {
            maxima: maxima(&options, settings),
            rest_ms: rest_ms(settings),
            connections: Connections::new(bounds(&options, settings), now),
            hub,
            options,
            refusals: Refusals::default(),
            buffer: vec![0; limits::READ_BYTES].into_boxed_slice(),
            reading: Vec::new(),
            decoders: Decoders::default(),
        }
    }

    /// The operator has decided anew: `options` and `settings` hold from now on, for those who are connected too, and disconnect nobody (see
    /// [`Hub::apply`]). Where the hub listens, and what a device is told that is to trust it, stays as it was.
    pub fn apply(&mut self, now: Now, mut options: Options, settings: Settings) {
        // Nobody is judged by what has not been offered yet.
        self.finish(now);
        self.maxima = maxima(&options, &settings);
        self.rest_ms = rest_ms(&settings);
        self.connections.apply(bounds(&options, &settings));
        self.hub.apply(now, settings, options.connections, &mut self.connections);
        let Options { site, secure_site, .. } = &self.options;
        for (site, new) in [(site, &mut options.site), (secure_site, &mut options.secure_site)] {
            let Site { bound, secure, trust, machine, .. } = site.clone();
            *new = Site { bound, secure, trust, machine, ..std::mem::take(new) };
        }
        self.options = options;
        self.finish(now);
    }

    /// The hub, to look at.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What HTTP answers with from now on: plain, and over TLS.
    pub fn sites_mut(&mut self) -> [&mut Site; 2] {
        [&mut self.options.site, &mut self.options.secure_site]
    }

    /// Connections that there are, those being turned away or closed included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.connections.len()
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.len() == 0
    }

    /// Bytes that wait in connections' own queues.
    #[must_use]
    pub fn owed_bytes(&self) -> usize {
        self.connections.owed_bytes()
    }

    /// Requests that were refused for their `Host` or `Origin`. Of each value the first is a line in the log.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.count()
    }

    /// What `/metrics` tells, as of `now`. It takes a look at every connection and every seat.
    #[must_use]
    pub fn figures(&self, now: Now) -> Figures {
        Figures {
            now,
            connections: self.connections.states(),
            owed_bytes: self.owed_bytes() as u64,
            traffic: self.connections.traffic(),
            tally: self.hub.tally(),
            census: self.hub.census(),
            worn_keys: self.hub.worn_keys() as u64,
            maxima: self.maxima,
        }
    }

    /// Notes how long a turn took.
    pub fn turn_took(&mut self, took: Duration) {
        self.connections.traffic.turns.add(took);
    }

    /// Notes that so many newcomers were turned away because the system had no descriptor for them.
    pub fn turned_away_without_descriptor(&mut self, newcomers: u64) {
        self.connections.traffic.turned_away[2] += newcomers;
    }

    /// Whoever has this place in the table now; its index is the same for as long as it is connected.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        self.connections.key_at(index)
    }

    /// The streams of everyone.
    pub fn streams(&self) -> impl Iterator<Item = &S> {
        self.connections.iter().map(|(_, conn, _)| conn.stream())
    }

    /// Everyone who is connected.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.connections.keys()
    }

    /// The stream of a connection, to register it somewhere.
    pub fn stream_mut(&mut self, key: Key) -> Option<&mut S> {
        self.connections.get_mut(key).map(|connection| connection.conn.stream_mut())
    }

    /// Somebody has connected. Where there is no place, they are told so (503) from one to spare, and sent away.
    pub fn accept(&mut self, now: Now, stream: S, address: IpAddr) -> (Key, Result<(), TurnedAway>) {
        let (key, fits) = self.connections.insert(now, stream, address);
        if let Err(turned_away) = fits {
            self.connections.refuse(now, key, &http::full(turned_away == TurnedAway::AddressFull));
        }
        (key, fits)
    }

    /// Says goodbye on a stream of which nothing is known but that it was a WebSocket's.
    pub fn dismiss(&mut self, now: Now, stream: S, address: IpAddr) -> Key {
        let (key, _) = self.connections.insert(now, stream, address);
        self.connections.dismiss(now, key, CloseReason::Upgrading);
        key
    }

    // ---- Reading --------------------------------------------------------------------------------

    /// The poll says that there is something to read, or that the peer `hung_up`.
    pub fn set_readable(&mut self, key: Key, hung_up: bool) {
        self.connections.set_ready(key, hung_up);
    }

    /// Whether somebody has more to read than one turn takes: the next turn must not wait.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        self.connections.has_ready()
    }

    /// Reads each connection that is ready once, and does what is asked there. Of those who are still agreeing on keys, some wait for the next turn.
    pub fn read_ready(&mut self, now: Now) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut reading = std::mem::take(&mut self.reading);
        self.connections.take_ready(now, &mut reading);
        let mut costly = 0;
        for key in reading.drain(..) {
            if self.connections.get_mut(key).is_some_and(|connection| connection.conn.is_costly()) {
                costly += 1;
                if costly > limits::HANDSHAKES_PER_TURN {
                    // Next time; those who have keys already talk meanwhile.
                    self.connections.set_ready(key, false);
                    continue;
                }
            }
            self.read(now, key, &mut buffer);
            // Replies are bounded at every moment, and not only when the turn is over.
            self.connections.shed();
        }
        self.reading = reading;
        self.buffer = buffer;
    }

    fn read(&mut self, now: Now, key: Key, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let hung_up = connection.hung_up;
        let filled = connection.conn.fill(buffer);
        let has_more = connection.conn.has_more(hung_up);
        match filled {
            Filled::Nothing if has_more => self.connections.set_ready(key, false),
            Filled::Nothing => {}
            Filled::End if connection.conn.is_open() => self.connections.close(key, CloseReason::Broken),
            // A client may end its side and still read: what is on its way to it has until its deadline.
            Filled::End if connection.ending && connection.conn.owes() && !connection.conn.is_broken() => {}
            Filled::End => self.connections.remove(key),
            Filled::Bytes(count) => {
                self.hub.heard(key);
                let is_full = count == buffer.len();
                // What comes once the last word is said is only thrown away, and soon there is an end of it.
                if is_full && !connection.ending {
                    self.connections.rest(now, key, self.rest_ms);
                }
                self.connections.traffic.received_bytes += count as u64;
                // A full buffer means that there may be more, and only reading tells the end: its turn comes again.
                if is_full || hung_up || has_more {
                    self.connections.set_ready(key, false);
                }
                self.take(now, key, &buffer[..count]);
                // Replies go out before the next connection is read: a class that joins in one turn is sent one roster at a time.
                self.connections.flush_owing();
            }
        }
    }

    fn take(&mut self, now: Now, key: Key, mut input: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.ending {
            return;
        }
        if connection.conn.awaits_head() {
            let (address, is_secure) = (connection.address, connection.conn.is_secure());
            match connection.conn.head(&mut input) {
                Head::Incomplete => return,
                Head::TooLong => return self.connections.refuse(now, key, &http::head_too_long()),
                Head::Complete(head) => match self.route(now, address, is_secure, &head) {
                    Route::Respond(response) => return self.connections.refuse(now, key, &response),
                    Route::Refuse(response, refusal) => {
                        let listed = self.options.site.listed(&refusal);
                        self.refusals.add(refusal, listed);
                        return self.connections.refuse(now, key, &response);
                    }
                    Route::Upgrade(response) => {
                        let message_bytes = self.options.message_bytes;
                        self.connections.traffic.responded(&response);
                        self.connections.head_is_complete(key);
                        self.connections.queue(key, |conn| conn.upgrade(&response, message_bytes));
                        self.hub.connect(now, key, address.into());
                    }
                },
            }
        }
        let mut late_ping = None;
        while !self.connections.is_ending(key)
            && let Some(connection) = self.connections.get_mut(key)
            && let Some(received) = connection.conn.next(&mut input, &mut self.decoders)
        {
            let part = match received.what {
                What::Text(_) | What::Binary(_) => Part::Last,
                What::Fragment => Part::Fragment,
                _ => Part::Control,
            };
            let within_rate = self.hub.frame(now, key, received.frame_bytes, part);
            match received.what {
                What::Text(text) => self.hub.text(now, key, &text, within_rate, &mut self.connections),
                What::Binary(sealed) => self.hub.sealed(now, key, &sealed, within_rate, &mut self.connections),
                What::Ping(payload) if within_rate => self.pong(key, payload),
                // Of pings over the rate the latest is answered (RFC 6455, section 5.5.3, allows it of all).
                What::Ping(payload) => late_ping = Some(payload),
                What::Pong | What::Fragment => {}
                What::Close(code) => self.connections.close(key, CloseReason::Client(code)),
                What::Fault(reason) => self.connections.close(key, reason),
            }
        }
        if let Some(payload) = late_ping
            && !self.connections.is_ending(key)
        {
            self.pong(key, payload);
        }
    }

    /// What a request head leads to.
    fn route(&self, now: Now, address: IpAddr, is_secure: bool, head: &[u8]) -> Route {
        let metrics = || metrics::render(&self.figures(now));
        http::route(head, self.options.site_of(is_secure), &Asker { address, metrics: &metrics })
    }

    fn pong(&mut self, key: Key, payload: tungstenite::Bytes) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.conn.is_between_frames() {
            self.hub.keep_rests(key, &mut self.connections);
        }
        self.connections.queue(key, |conn| conn.pong(payload));
    }

    // ---- Writing --------------------------------------------------------------------------------

    /// The poll says that the socket takes more: gives it what it is owed, its own queue first.
    pub fn write(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (was_blocked, before) = (connection.conn.is_blocked(), connection.conn.written_bytes());
        connection.conn.unblock();
        self.connections.flush(key);
        if self.takes_more(key) {
            // One that was not blocked has been offered all that its rooms have: the poll says so of it together with whatever else it says.
            if was_blocked {
                self.hub.catch_up(key, &mut self.connections);
            }
            if self.takes_more(key) {
                self.connections.caught_up(key);
            }
        }
        if was_blocked && self.connections.get_mut(key).is_some_and(|it| it.conn.written_bytes() > before) {
            // There was room because the peer took something. That the poll says so is not enough: it also does where somebody has looked how much
            // is unsent.
            self.hub.heard(key);
        }
    }

    fn takes_more(&mut self, key: Key) -> bool {
        !self.connections.is_ending(key) && self.connections.get_mut(key).is_some_and(|it| !it.conn.is_blocked())
    }

    // ---- Deadlines and ends ---------------------------------------------------------------------

    /// When the next deadline is due, in monotonic milliseconds; `None` where there is none.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        [self.hub.next_deadline_ms(), self.connections.next_deadline_ms()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn expire(&mut self, now: Now) {
        while let Some(key) = self.connections.pop_expired(now) {
            match self.connections.get_mut(key) {
                Some(connection) if connection.conn.awaits_head() => {
                    self.connections.refuse(now, key, &http::head_too_late());
                }
                _ => self.connections.remove(key),
            }
        }
        self.hub.expire(now, &mut self.connections);
    }

    /// Ends the turn: closes everyone who is to go, then flushes the rooms where something was said, until there is neither.
    pub fn finish(&mut self, now: Now) {
        loop {
            self.connections.flush_owing();
            self.connections.shed();
            if let Some((key, reason)) = self.connections.pop_gone() {
                debug!("connection {} closed: {}", key.index, reason.words());
                self.hub.depart(now, key, reason, &mut self.connections);
                self.connections.end(now, key, reason);
            } else if self.hub.has_changes() {
                self.hub.flush(&mut self.connections);
            } else {
                break;
            }
        }
        while let Some(id) = self.hub.worn_key() {
            warn!(
                "encryption.key {id} has been used very often since the hub was started: give the school another before long"
            );
        }
    }

    /// The hub stops: gives everyone what they are owed, and says goodbye (1001). Each has [`limits::CLOSE_MS`] to hang up.
    pub fn stop(&mut self, now: Now) {
        self.finish(now);
        if self.refusals.count() > 0 {
            info!("{} requests were refused for their Host or Origin", self.refusals.count());
        }
        for key in self.connections.keys() {
            if self.connections.is_ending(key) {
                continue;
            }
            match self.connections.get_mut(key) {
                Some(connection) if connection.conn.is_open() => {
                    // Closed first, it is not judged for what is moved to its queue now.
                    self.connections.close(key, CloseReason::Stopping);
                    self.hub.settle(key, &mut self.connections);
                }
                _ => self.connections.remove(key),
            }
            self.connections.shed();
        }
        self.finish(now);
    }
}

fn bounds(options: &Options, settings: &Settings) -> Bounds {
    Bounds {
        connections: options.connections,
        connections_per_ip: options.connections_per_ip,
        message_bytes: options.message_bytes,
        queue_bytes: settings.room_log_bytes,
        reply_bytes: options.reply_bytes as usize,
    }
}

/// How long a connection that has filled its read is not read again; 0 where there is no rate.
fn rest_ms(settings: &Settings) -> u64 {
    let share_ms = (limits::READ_BYTES as u64 * 1000).checked_div(settings.bytes_per_second.into()).unwrap_or(0);
    share_ms.min(limits::REST_MS)
}

fn maxima(options: &Options, settings: &Settings) -> Maxima {
    Maxima {
        connections: options.connections,
        rooms: settings.rooms,
        room_log_bytes: settings.room_log_bytes,
        reply_bytes: options.reply_bytes,
    }
}

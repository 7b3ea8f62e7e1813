//! All connections.
//!
//! Owns: the table, the slots to spare for those who are turned away, what is owed in all, the deadlines of heads and closes, and who is to
//! end in this turn. It is the hub's [`Outlet`]. Refuses to know: rooms, requests, polls.

use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::conn::Conn;
use super::stream::Stream;
use crate::base::{Full, Key, Now, Slots, Wheel};
use crate::host::metrics::Traffic;
use crate::hub::Outlet;
use crate::limits;
use crate::wire::CloseReason;

/// How much the connections may take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Bounds {
    pub connections: u32,
    /// 0 is no limit.
    pub connections_per_ip: u32,
    /// In one message.
    pub message_bytes: u32,
    /// In one connection's own queue, beside one frame of any size.
    pub queue_bytes: u32,
    /// In all own queues together.
    pub reply_bytes: usize,
}

pub(super) struct Connection<S> {
    pub conn: Conn<S>,
    pub address: IpAddr,
    /// It is to end, or has had its last word: nothing more is read from it or written to it but what is queued.
    pub ending: bool,
    /// It lives in a slot to spare, to be turned away.
    spare: bool,
    /// It is on the list of those to be read, or will be once it has rested.
    ready: bool,
    /// It has had more than its share, and is not read for a while.
    rests: bool,
    /// The peer has ended its side: the end will be read, sooner or later.
    pub hung_up: bool,
    /// It is on the list of those whose queue has not been offered to the socket.
    owing: bool,
    /// What may wait in its own queue, beside one frame of any size.
    queue_bytes: u32,
}

pub(super) struct Connections<S> {
    bounds: Bounds,
    /// What may wait in all own queues together just now.
    reply_bytes: usize,
    table: Slots<Connection<S>>,
    /// Those being turned away, the oldest first.
    spares: VecDeque<Key>,
    wheel: Wheel,
    /// Those to be read: each once a turn.
    ready: Vec<Key>,
    /// Those who rest, and until when, in that order.
    resting: VecDeque<(u64, Key)>,
    owing: Vec<Key>,
    /// Bytes in all own queues.
    owed_bytes: usize,
    /// Those to be ended before the turn is over, and why.
    gone: Vec<(Key, CloseReason)>,
    /// What has happened; but for what was sent to those who are here.
    pub traffic: Traffic,
}

/// A connection's place in the table, as it is written down for the next process.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Place {
    address: IpAddr,
    /// It was turned away.
    spare: bool,
    /// The deadline of its head, or of its close.
    due_ms: Option<u64>,
    /// What may wait in its own queue, beside one frame of any size.
    queue_bytes: u32,
}

impl Place {
    /// Whether it was turned away.
    pub fn is_spare(&self) -> bool {
        self.spare
    }

    /// Whether its deadline is one that is ever set.
    pub fn is_possible(&self, now: Now) -> bool {
        self.due_ms.is_none_or(|due_ms| due_ms.saturating_sub(now.monotonic_ms) <= limits::HEAD_MS + limits::CLOSE_MS)
    }
}

/// Why a connection got no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// Every place is taken.
    Full,
    /// Its address has as many as it may.
    AddressFull,
}

impl<S: Stream> Connections<S> {
    pub fn new(bounds: Bounds, now: Now) -> Self {
        let capacity = bounds.connections + limits::SPARE_CONNECTIONS;
        Connections {
            bounds,
            reply_bytes: bounds.reply_bytes,
            table: Slots::new(capacity),
            spares: VecDeque::with_capacity(limits::SPARE_CONNECTIONS as usize),
            wheel: Wheel::new(capacity, now.monotonic_ms),
            ready: Vec::new(),
            resting: VecDeque::new(),
            owing: Vec::new(),
            owed_bytes: 0,
            gone: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    /// Other bounds hold from now on. Nobody has to go: where more are connected than may be, nobody new gets in until there is room, and who waits for
    /// more than it may is judged as before until it has caught up.
    pub fn apply(&mut self, bounds: Bounds) {
        let places = bounds.connections.max(self.table.len() - self.spares.len() as u32) + limits::SPARE_CONNECTIONS;
        self.table.set_capacity(places);
        self.wheel.reserve(places);
        self.reply_bytes = match self.owed_bytes > bounds.reply_bytes {
            true => self.reply_bytes.max(bounds.reply_bytes),
            false => bounds.reply_bytes,
        };
        for (_, Connection { conn, queue_bytes, .. }) in self.table.iter_mut() {
            conn.set_message_bytes(bounds.message_bytes);
            // What its rooms owe it may yet have to wait in its queue.
            let lags = conn.is_blocked() || conn.owed_bytes() > 0;
            *queue_bytes = if lags { bounds.queue_bytes.max(*queue_bytes) } else { bounds.queue_bytes };
        }
        self.bounds = bounds;
    }

    pub fn len(&self) -> u32 {
        self.table.len()
    }

    pub fn owed_bytes(&self) -> usize {
        self.owed_bytes
    }

    /// What has happened since the start.
    pub fn traffic(&self) -> Traffic {
        let sent_bytes: u64 = self.table.iter().map(|(_, connection)| connection.conn.written_bytes()).sum();
        Traffic { sent_bytes: self.traffic.sent_bytes + sent_bytes, ..self.traffic }
    }

    /// How many there are, plain and under TLS, each: whose request is to come, who speak WebSocket, who have had their last word.
    pub fn states(&self) -> [[u64; 3]; 2] {
        let mut states = [[0; 3]; 2];
        for (_, Connection { conn, .. }) in self.table.iter() {
            let state = match (conn.awaits_head(), conn.is_open()) {
                (true, _) => 0,
                (_, true) => 1,
                _ => 2,
            };
            states[usize::from(conn.is_secure())][state] += 1;
        }
        states
    }

    pub fn keys(&self) -> Vec<Key> {
        self.table.iter().map(|(key, _)| key).collect()
    }

    pub fn key_at(&self, index: u32) -> Option<Key> {
        self.table.key_at(index)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Connection<S>> {
        self.table.get_mut(key)
    }

    pub fn is_ending(&self, key: Key) -> bool {
        self.table.get(key).is_none_or(|connection| connection.ending)
    }

    // ---- Coming ---------------------------------------------------------------------------------

    /// Gives a newcomer a place, or one to spare where there is none, to be turned away from.
    pub fn insert(&mut self, now: Now, stream: S, address: IpAddr) -> (Key, Result<(), TurnedAway>) {
        let per_ip = self.bounds.connections_per_ip as usize;
        let fits = if self.table.len() - self.spares.len() as u32 >= self.bounds.connections {
            Err(TurnedAway::Full)
        } else if per_ip > 0 && self.table.iter().filter(|(_, c)| c.address == address && !c.spare).count() >= per_ip {
            Err(TurnedAway::AddressFull)
        } else {
            Ok(())
        };
        if fits.is_err() && self.spares.len() == limits::SPARE_CONNECTIONS as usize {
            // The longest there has had time to read its answer.
            if let Some(oldest) = self.spares.front().copied() {
                self.remove(oldest);
            }
        }
        self.traffic.accepted[usize::from(stream.is_secure())] += 1;
        let connection = Connection {
            conn: Conn::new(stream),
            address,
            ending: false,
            spare: fits.is_err(),
            ready: false,
            rests: false,
            hung_up: false,
            owing: false,
            queue_bytes: self.bounds.queue_bytes,
        };
        let key = match self.table.insert(connection) {
            Ok(key) => key,
            // Places and places to spare are counted apart above, and together make up the table.
            Err(Full(_)) => unreachable!("a place was free"),
        };
        if fits.is_err() {
            self.spares.push_back(key);
        }
        match fits {
            Ok(()) => {}
            Err(TurnedAway::Full) => self.traffic.turned_away[0] += 1,
            Err(TurnedAway::AddressFull) => self.traffic.turned_away[1] += 1,
        }
        self.wheel.set(key.index, now.monotonic_ms + limits::HEAD_MS);
        (key, fits)
    }

    // ---- From one process to the next -----------------------------------------------------------

    /// What they may take.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Everyone, and what is to be known of each beside its connection.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Conn<S>, Place)> {
        self.table.iter().map(|(key, Connection { conn, address, spare, queue_bytes, .. })| {
            let due_ms = self.wheel.due_ms(key.index);
            (key, conn, Place { address: *address, spare: *spare, due_ms, queue_bytes: *queue_bytes })
        })
    }

    /// The streams of everyone, who are connections no more.
    pub fn into_streams(mut self) -> Vec<S> {
        let keys = self.keys();
        keys.into_iter().filter_map(|key| Some(self.table.remove(key)?.conn.into_stream())).collect()
    }

    /// Has places for so many, though there may be fewer by now.
    pub fn make_room(&mut self, count: usize) {
        let places = self.bounds.connections + limits::SPARE_CONNECTIONS;
        self.table.set_capacity(places.max(count as u32)); // they had places before
    }

    /// Gives a connection the place back that it had in the process before; `None` where there are no more.
    pub fn restore(&mut self, conn: Conn<S>, place: Place) -> Option<Key> {
        let Place { address, spare, due_ms, queue_bytes } = place;
        let (ending, owed_bytes) = (conn.is_closing(), conn.owed_bytes());
        let connection = Connection {
            conn,
            address,
            ending,
            spare,
            ready: false,
            rests: false,
            hung_up: false,
            owing: false,
            queue_bytes,
        };
        let key = self.table.insert(connection).ok()?;
        self.owed_bytes += owed_bytes;
        if spare {
            self.spares.push_back(key);
        }
        if let Some(due_ms) = due_ms {
            self.wheel.set(key.index, due_ms);
        }
        Some(key)
    }

    // ---- Reading --------------------------------------------------------------------------------

    /// Puts a connection on the list of those to be read, once. `hung_up`: the poll has seen the end behind what there is to read.
    pub fn set_ready(&mut self, key: Key, hung_up: bool) {
        let Some(connection) = self.table.get_mut(key) else { return };
        connection.hung_up |= hung_up;
        if !std::mem::replace(&mut connection.ready, true) && !connection.rests {
            self.ready.push(key);
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads no more from a connection for `rest_ms`, which is the same for all. Nothing is lost: what it sends waits in its socket, and
    /// once that is full, with itself.
    pub fn rest(&mut self, now: Now, key: Key, rest_ms: u64) {
        let Some(connection) = self.table.get_mut(key) else { return };
        if rest_ms > 0 && !std::mem::replace(&mut connection.rests, true) {
            self.resting.push_back((now.monotonic_ms + rest_ms, key));
        }
    }

    /// Those to be read in this turn go to `turn`, which is empty; whoever is put on the list from now on is read in the next.
    pub fn take_ready(&mut self, now: Now, turn: &mut Vec<Key>) {
        while let Some((_, key)) = self.resting.front().copied().filter(|(until_ms, _)| *until_ms <= now.monotonic_ms) {
            self.resting.pop_front();
            let Some(connection) = self.table.get_mut(key) else { continue };
            connection.rests = false;
            if connection.ready {
                self.ready.push(key);
            }
        }
        std::mem::swap(&mut self.ready, turn);
        for key in turn {
            if let Some(connection) = self.table.get_mut(*key) {
                connection.ready = false;
            }
        }
    }

    /// The request head has come: its deadline is over.
    pub fn head_is_complete(&mut self, key: Key) {
        self.wheel.cancel(key.index);
    }

    // ---- Writing --------------------------------------------------------------------------------

    /// Adds to a connection's queue, to be flushed before the next connection is read.
    pub fn queue(&mut self, key: Key, add: impl FnOnce(&mut Conn<S>)) {
        self.with_queue(key, add);
        let Some(connection) = self.table.get_mut(key) else { return };
        if connection.conn.is_blocked() {
            // The socket was offered it, in effect, when it refused.
            self.judge(key);
        } else if !connection.owing {
            connection.owing = true;
            self.owing.push(key);
        }
    }

    /// Changes a connection's queue, and keeps the sum of all.
    fn with_queue(&mut self, key: Key, change: impl FnOnce(&mut Conn<S>)) {
        if let Some(connection) = self.table.get_mut(key) {
            let before = connection.conn.owed_bytes();
            change(&mut connection.conn);
            self.owed_bytes = self.owed_bytes - before + connection.conn.owed_bytes();
        }
    }

    /// Offers a connection's own queue to its socket, and judges what is left.
    pub fn flush(&mut self, key: Key) {
        self.with_queue(key, Conn::flush);
        self.judge(key);
    }

    /// A connection has been given all that it was owed, its rooms' frames too.
    pub fn caught_up(&mut self, key: Key) {
        let queue_bytes = self.bounds.queue_bytes;
        if let Some(connection) = self.table.get_mut(key) {
            connection.queue_bytes = queue_bytes;
        }
    }

    /// Offers every own queue that was added to.
    pub fn flush_owing(&mut self) {
        while let Some(key) = self.owing.pop() {
            if let Some(connection) = self.table.get_mut(key) {
                connection.owing = false;
                self.flush(key);
            }
        }
    }

    /// Ends a connection that is broken, or that has more waiting than it may, now that the socket was offered all of it.
    fn judge(&mut self, key: Key) {
        let Some(Connection { conn, ending, queue_bytes, .. }) = self.table.get(key) else { return };
        let may_wait = *queue_bytes as usize;
        if conn.is_broken() && conn.is_closing() {
            self.remove(key);
        } else if conn.is_broken() {
            self.close(key, CloseReason::Broken);
        } else if !ending && conn.owed_bytes() > may_wait && conn.owed_beside_largest() > may_wait {
            self.close(key, CloseReason::TooSlow);
        }
    }

    /// While more is owed in all than may be, closes the one that is owed most, and keeps no more of its queue than the frame that it is in the
    /// middle of; not even that where it is too much still, or where it is closing already. The hub hears of it when the turn is over.
    pub fn shed(&mut self) {
        if self.owed_bytes <= self.bounds.reply_bytes {
            self.reply_bytes = self.bounds.reply_bytes;
        }
        while self.owed_bytes > self.reply_bytes {
            let most = self.table.iter().max_by_key(|(_, connection)| connection.conn.owed_bytes());
            let Some((key, connection)) = most else { return };
            if connection.conn.is_closing() {
                self.remove(key);
                continue;
            }
            self.close(key, CloseReason::Overload);
            self.with_queue(key, Conn::forget_owed);
            if self.owed_bytes > self.reply_bytes {
                self.with_queue(key, Conn::abandon);
            }
        }
    }

    // ---- Going ----------------------------------------------------------------------------------

    /// One that is to be ended now, and why.
    pub fn pop_gone(&mut self) -> Option<(Key, CloseReason)> {
        self.gone.pop()
    }

    /// Says the last word to a connection, of whose end the hub knows by now.
    pub fn end(&mut self, now: Now, key: Key, reason: CloseReason) {
        self.traffic.closed(reason);
        if reason == CloseReason::Broken {
            return self.remove(key);
        }
        self.with_queue(key, |conn| match reason {
            CloseReason::Client(_) => conn.answer_close(),
            CloseReason::TooSlow | CloseReason::Overload => {
                // What it could not read until now is not kept any longer, but for the frame that it is in the middle of.
                conn.forget_owed();
                conn.close(reason);
            }
            _ => conn.close(reason),
        });
        self.finish(now, key);
    }

    /// Answers a request head with anything but an upgrade.
    pub fn refuse(&mut self, now: Now, key: Key, response: &[u8]) {
        self.traffic.responded(response);
        self.with_queue(key, |conn| conn.refuse(response));
        self.finish(now, key);
    }

    /// Says the last word to a connection that was another hub's.
    pub fn dismiss(&mut self, now: Now, key: Key, reason: CloseReason) {
        self.with_queue(key, |conn| conn.dismiss(reason));
        self.finish(now, key);
    }

    /// Sends what is left to send; the peer has so long to read it and to hang up.
    fn finish(&mut self, now: Now, key: Key) {
        self.with_queue(key, Conn::flush);
        let Some(connection) = self.table.get_mut(key) else { return };
        connection.ending = true;
        if connection.conn.is_broken() {
            self.remove(key);
        } else {
            self.wheel.set(key.index, now.monotonic_ms + limits::CLOSE_MS);
        }
    }

    /// Takes a connection out of the table, which closes its socket.
    pub fn remove(&mut self, key: Key) {
        if let Some(connection) = self.table.remove(key) {
            self.owed_bytes -= connection.conn.owed_bytes();
            self.traffic.sent_bytes += connection.conn.written_bytes();
            self.wheel.cancel(key.index);
            if connection.spare {
                self.spares.retain(|spare| *spare != key);
            }
        }
    }

    // ---- Deadlines ------------------------------------------------------------------------------

    pub fn next_deadline_ms(&self) -> Option<u64> {
        let rested_ms = self.resting.front().map(|(until_ms, _)| *until_ms);
        [self.wheel.next_ms(), rested_ms].into_iter().flatten().min()
    }

    /// One whose time is up: for its request head, or for hanging up.
    pub fn pop_expired(&mut self, now: Now) -> Option<Key> {
        loop {
            let index = self.wheel.pop(now.monotonic_ms)?;
            if let Some(key) = self.table.key_at(index) {
                return Some(key);
            }
        }
    }
}

impl<S: Stream> Outlet for Connections<S> {
    fn offer(&mut self, to: Key, bytes: &[u8]) -> usize {
        let Some(Connection { conn, ending: false, .. }) = self.table.get_mut(to) else { return 0 };
        if conn.is_blocked() {
            return 0;
        }
        let before = conn.owed_bytes();
        let taken = conn.offer(bytes);
        if before > 0 {
            self.owed_bytes = self.owed_bytes - before + conn.owed_bytes();
        }
        if conn.is_broken() {
            self.close(to, CloseReason::Broken);
        }
        taken
    }

    fn keep(&mut self, to: Key, write: impl FnOnce(&mut Vec<u8>)) {
        self.queue(to, |conn| conn.keep(write));
    }

    fn keep_rest(&mut self, to: Key, rest: &[u8]) {
        self.with_queue(to, |conn| conn.keep_rest(rest));
    }

    fn ping(&mut self, to: Key) {
        self.queue(to, Conn::ping);
    }

    fn retry(&mut self, to: Key) -> Option<bool> {
        let Some(Connection { conn, ending: false, .. }) = self.table.get_mut(to) else { return None };
        if !conn.is_blocked() {
            return None;
        }
        let before = conn.owed_bytes();
        conn.unblock();
        self.flush(to);
        Some(self.table.get(to).is_some_and(|connection| connection.conn.owed_bytes() < before))
    }

    fn sent_bytes(&mut self, to: Key) -> Option<u64> {
        self.table.get(to)?.conn.sent_bytes()
    }

    fn close(&mut self, who: Key, reason: CloseReason) {
        if let Some(connection) = self.table.get_mut(who)
            && !connection.ending
        {
            connection.ending = true;
            self.gone.push((who, reason));
        }
    }
}

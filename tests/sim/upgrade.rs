//! The hub is upgraded: one process writes it down and the next goes on.
//!
//! Owns: that nobody notices but those who are in the middle of a message, and when it may happen. Refuses to know: what is written down.

use std::io::Cursor;

use classhub::base::state::{StateReader, StateWriter};
use classhub::net::exchange::{Exchange, ExchangeState};

use crate::network::Socket;
use crate::peer::Stage;
use crate::world::World;

impl World {
    /// Everything goes over to another exchange, as it would to another process: the sockets stay, and a poll begins anew.
    pub fn upgrade(&mut self) -> Result<(), String> {
        let is_unsure = |who: &usize| self.clients[*who].unsure;
        // Where little may be owed in all, the rest of a frame that moves to its connection's own queue may be too much.
        if self.live.iter().any(is_unsure) || self.options.reply_bytes < 32 << 20 {
            return Ok(());
        }
        // Leaves that go out at once, in no turn, may be too much for somebody who lags: a turn alone knows for whom.
        let leaves =
            |who: &usize| self.model.is_open(*who) && !self.clients[*who].wire.borrow().reading.is_between_messages();
        let lags = |who: &usize| self.clients[*who].wire.borrow().refused;
        if self.model.settings.linger_s == 0 && self.live.iter().any(leaves) && self.live.iter().any(lags) {
            return Ok(());
        }
        for who in &self.live {
            let is_between = self.clients[*who].wire.borrow().reading.is_between_messages();
            if self.model.is_open(*who) && !is_between {
                self.model.peers[*who].ends("lost", 1001);
            }
        }
        self.upgrades += 1;
        self.note(format_args!("the hub is upgraded"));
        self.exchange.prepare(self.now);
        let mut file = Vec::new();
        let mut writer = StateWriter::new(&mut file);
        let state = self.exchange.save(&mut writer, |socket| socket.client as i32);
        writer.finish(&state).map_err(|error| error.to_string())?;
        self.hand_over(true);
        let mut file = Cursor::new(file);
        let (mut reader, state): (_, ExchangeState) =
            StateReader::open(&mut file).map_err(|error| error.to_string())?;
        let (options, settings) = (self.options.clone(), self.model.settings.clone());
        let socket = |client: i32| {
            let client = client as usize;
            Some(Socket { client, wire: self.clients[client].wire.clone(), journal: self.journal.clone() })
        };
        let next = Exchange::restore(state, &mut reader, self.now, socket);
        self.exchange = next.map_err(|(error, _)| error.to_string())?;
        self.exchange.apply(self.now, options, settings);
        self.hand_over(false);
        for key in self.exchange.keys() {
            let who =
                self.exchange.stream_mut(key).map(|socket| socket.client).ok_or("a connection without a socket")?;
            self.clients[who].key = key;
        }
        for who in self.live.clone() {
            let client = &mut self.clients[who];
            let mut wire = client.wire.borrow_mut();
            if wire.dropped {
                continue;
            }
            let is_writable = wire.room() > 0 || wire.reset;
            client.readable_anew = wire.unread() > 0 || wire.ended || wire.reset;
            wire.refused = !is_writable;
            drop(wire);
            if is_writable {
                self.exchange.write(client.key);
            }
            if std::mem::take(&mut client.wire.borrow_mut().moved_on) && self.model.peers[who].stage == Stage::Open {
                self.model.is_alive(who);
            }
        }
        self.judge()
    }

    fn hand_over(&mut self, is_handed_over: bool) {
        for who in &self.live {
            self.clients[*who].wire.borrow_mut().is_handed_over = is_handed_over;
        }
    }
}

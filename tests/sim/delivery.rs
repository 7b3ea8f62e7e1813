//! What reaches the hub in a turn, and in which order.
//!
//! Owns: the choice of whose bytes are delivered and how many, made so that the model can follow; who may be found too slow by it. Refuses to know:
//! who wants to say what, and what comes of it.
//!
//! Some things the model cannot know. When a connection that lags is found too slow is decided by the flow of bytes, in the middle of a turn: so
//! whoever could be (`Client::at_risk`) is read first in a turn and says one thing at most that others can see; all others must not be closed.
//! How far back a log reaches while a turn goes on is decided by when it is flushed: so whatever depends on that (a resume, a receipt) is read
//! first in a turn too, when the log is as it was seen to be between turns.

use classhub::limits;

use crate::client::{Ask, Request, Said, Unit};
use crate::crowd::{Habit, Path};
use crate::peer::Stage;
use crate::world::World;

/// What is delivered to the hub in one turn: how many bytes of whose backlog.
pub type Delivery = Vec<(usize, usize)>;

impl World {
    pub fn choose(&mut self) -> Delivery {
        let mut delivery = Delivery::new();
        for n in 0..self.live.len() {
            let who = self.live[n];
            let client = &mut self.clients[who];
            client.late = self.rng.chance(4);
            let bytes = client.backlog_bytes - client.begun;
            if bytes == 0 || client.unsure || client.path != Path::Fine {
                continue;
            }
            let is_asked = client.habit == Habit::Loyal && self.model.peers[who].alive_by_ms.is_some();
            if !is_asked && !self.rng.chance(60) {
                continue;
            }
            let (dropped, leftover) = {
                let wire = client.wire.borrow();
                (wire.dropped, wire.unread())
            };
            if dropped || self.model.peers[who].stage == Stage::Over && self.rng.chance(50) {
                client.fall_silent();
                continue;
            }
            // More than one read takes only from those who can't be too slow: of the others the model could not tell what was still heard.
            let most = if client.habit == Habit::Loyal {
                usize::MAX
            } else {
                (limits::READ_BYTES - 1).saturating_sub(leftover)
            };
            let count = match self.rng.below(10) {
                0..6 => bytes,
                6 => 1,
                7 => self.rng.range(1, 300),
                _ => self.rng.range(1, bytes),
            };
            let count = self.whole(who, count.min(bytes).min(most));
            if count > 0 {
                delivery.push((who, count));
            }
        }
        let ready = self.exchange.has_ready();
        self.judge_risks(&delivery);
        // Of those who may be too slow one at most speaks, first of all, and where nobody is read before.
        let (risky, safe): (Delivery, Delivery) = delivery.into_iter().partition(|(who, _)| self.clients[*who].at_risk);
        let first = match risky[..] {
            [] => None,
            _ if ready => None,
            _ => Some(self.rng.pick(&risky)),
        };
        if let Some((who, count)) = first
            && self.is_burst(who, count)
        {
            self.bursts += 1;
            self.note(format_args!("a burst"));
            return vec![(who, count)];
        }
        // The same goes for what depends on how far back a log reaches.
        let mut chosen = Delivery::new();
        if let Some((who, count)) = first {
            let count = self.up_to_second_public(who, count);
            chosen.push((who, self.up_to_look(who, count, true)));
        }
        let mut is_free = first.is_none() && !ready;
        for (who, count) in safe {
            let before = self.up_to_look(who, count, false);
            let after = if is_free && before < count { self.up_to_look(who, count, true) } else { before };
            if after > before {
                is_free = false;
                chosen.insert(0, (who, after));
            } else {
                chosen.push((who, before));
            }
        }
        // Where rooms or seats have to make way, one does in a turn at most: of two that have been empty, or have lingered, for equally long either may
        // go, and which it was shows only while nothing else happens to them.
        let mut may_make = usize::from(!ready);
        for (who, count) in &mut chosen {
            *count = self.up_to_make(*who, *count, &mut may_make);
        }
        chosen.retain(|(_, count)| *count > 0);
        chosen
    }

    /// So many bytes of a backlog, but not the last of a message that makes a room or a seat at the cost of another, once no more may be made.
    pub fn up_to_make(&self, who: usize, count: usize, may_make: &mut usize) -> usize {
        let has_rooms = self.model.standing.len() + 1 < self.model.settings.rooms as usize;
        let is_crowded = self.model.is_crowded();
        let begun = self.clients[who].begun;
        let mut end = 0;
        for unit in self.completed(who, count) {
            end += unit.bytes.len();
            let Said::Text(Request { ask: Ask::Join { room, .. }, .. }) = &unit.said else { continue };
            let is_empty = |room: usize| self.model.rooms[room].seats.is_empty();
            if is_crowded || !has_rooms && self.model.room(room).is_none_or(is_empty) {
                if *may_make == 0 {
                    return end - begun - 1;
                }
                *may_make -= 1;
            }
        }
        count
    }

    /// So many bytes of a backlog, but not the last of a message whose answer depends on how far back a log reaches; of the first one too, if it
    /// is to be the `first` that the hub reads, and nothing before it changes anything.
    pub fn up_to_look(&mut self, who: usize, count: usize, first: bool) -> usize {
        let begun = self.clients[who].begun;
        let (mut end, mut may_look) = (0, first && self.clients[who].wire.borrow().unread() == 0);
        let mut looks_at = None;
        let mut most = count;
        for unit in self.completed(who, count) {
            end += unit.bytes.len();
            if self.depends_on_log(unit) {
                if !may_look || end - begun >= limits::READ_BYTES {
                    most = end - begun - 1;
                    break;
                }
                looks_at = Some((unit.room().to_owned(), end));
            }
            may_look &= !unit.said.is_public();
        }
        match looks_at {
            Some((number, end)) if !self.look(&number) => end - begun - 1,
            _ => most,
        }
    }

    pub fn depends_on_log(&self, unit: &Unit) -> bool {
        let Said::Text(Request { ask, .. }) = &unit.said else { return false };
        match ask {
            Ask::Receipt { .. } => true,
            Ask::Join { room, member, resume, .. } => {
                let token = resume.token.as_ref();
                resume.last_seq.is_some() && token.is_some_and(|token| self.model.is_good(token, room, &member.id))
            }
            _ => false,
        }
    }

    /// Looks how far back a room's log reaches, now between turns. Says whether that is certain.
    pub fn look(&mut self, number: &str) -> bool {
        let Some(room) = self.model.room(number) else { return true };
        let held_bytes = self.exchange.hub().log_bytes(number).map_or(0, |(held_bytes, _)| held_bytes);
        let room = &mut self.model.rooms[room];
        let oldest = room.oldest_of(held_bytes);
        room.held_from = oldest.unwrap_or(room.held_from);
        oldest.is_some()
    }

    /// So many bytes of a backlog, or a few more where they end within what must not be cut.
    pub fn whole(&self, who: usize, count: usize) -> usize {
        let client = &self.clients[who];
        let mut end = 0;
        for unit in &client.backlog {
            let start = end;
            end += unit.bytes.len();
            if start >= count + client.begun {
                break;
            }
            if unit.is_whole() && (start + 1..end).contains(&(count + client.begun)) {
                return end - client.begun;
            }
        }
        count
    }

    /// The units that so many bytes of a backlog complete.
    pub fn completed(&self, who: usize, count: usize) -> impl Iterator<Item = &Unit> {
        let client = &self.clients[who];
        let mut left = count + client.begun;
        client.backlog.iter().take_while(move |unit| {
            let is_in = unit.bytes.len() <= left;
            left = left.saturating_sub(unit.bytes.len());
            is_in
        })
    }

    pub fn up_to_second_public(&self, who: usize, count: usize) -> usize {
        let client = &self.clients[who];
        let (mut end, mut publics) = (0, 0);
        for (n, unit) in client.backlog.iter().enumerate() {
            // What comes after something private may not be heard any more either.
            if unit.said.is_public() && (publics > 0 || n > 0) {
                return count.min((end - client.begun.min(end)).max(usize::from(client.begun > end)));
            }
            publics += usize::from(unit.said.is_public());
            end += unit.bytes.len();
        }
        count
    }

    /// Whether all that is delivered is said to one room, where somebody will hear all of it.
    pub fn is_burst(&self, who: usize, count: usize) -> bool {
        let mut rooms = self.completed(who, count).map(|unit| match &unit.said {
            Said::Text(Request { ask: Ask::Say { room, from: None, .. }, .. }) => Some(room),
            _ => None,
        });
        let Some(Some(number)) = rooms.next() else { return false };
        let Some(room) = self.model.room(number) else { return false };
        let rated = self.model.settings.messages_per_second > 0;
        // Of what a quiet room refuses nobody else hears.
        if self.model.rooms[room].rule.quiet && !self.model.owns(who, room) {
            return false;
        }
        !rated && rooms.all(|room| room == Some(number)) && self.witness(who, room).is_some()
    }

    /// Somebody else in the room who cannot be too slow.
    pub fn witness(&self, who: usize, room: usize) -> Option<usize> {
        let mut holders = self.model.rooms[room].seats.iter().filter_map(|seat| seat.holder);
        holders.clone().any(|holder| holder == who).then_some(())?;
        holders.find(|witness| {
            let client = &self.clients[*witness];
            let wire = client.wire.borrow();
            *witness != who
                && !client.at_risk
                && !self.model.is_due(*witness, self.now)
                && !wire.refused
                && !wire.reset
                && !wire.ended
                && client.habit == Habit::Loyal
        })
    }

    /// Decides who may be found too slow in the coming turn: everybody who could be owed more than a log, unless the socket has room for all of it.
    pub fn judge_risks(&mut self, delivery: &Delivery) {
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let reply_bytes = self.options.reply_bytes as usize;
        let notice = self.notice_max;
        let leaves_at_once = self.model.settings.linger_s == 0;
        let is_crowded = self.model.is_crowded();
        let rated = self.model.settings.messages_per_second > 0;
        let mut heard = 256;
        for who in &self.live {
            let may_leave = {
                let wire = self.clients[*who].wire.borrow();
                !wire.dropped && (wire.reset || wire.ended) || self.model.is_due(*who, self.now)
            };
            let client = &mut self.clients[*who];
            client.may_leave = may_leave;
            client.own_bytes = 0;
            client.at_risk = false;
        }
        let mut own: Vec<(usize, usize, bool)> = Vec::new();
        let units =
            delivery.iter().flat_map(|(who, count)| self.completed(*who, *count).map(move |unit| (*who, &unit.said)));
        let sent = self.live.iter().flat_map(|who| self.clients[*who].sent.iter().map(move |(.., said)| (*who, said)));
        for (who, said) in units.chain(sent) {
            let (mut bytes, mut leaves) = (600, rated);
            if let Said::Text(Request { ask, .. }) = said {
                match ask {
                    Ask::Say { content, .. } => heard += notice / 2 + content.len(),
                    Ask::Join { room, resume, member, .. } => {
                        // The room may have another owner with it. Somebody else's linger may end for it, and whoever it takes a seat from leaves the
                        // others.
                        heard += notice + notice * usize::from(is_crowded);
                        if resume.token.is_some() && leaves_at_once {
                            heard += 3 * notice;
                        }
                        bytes += notice;
                        let number = room;
                        if let Some(room) = self.model.room(room) {
                            let room = &self.model.rooms[room];
                            bytes += room.seats.iter().map(|seat| seat.member.len() + 1).sum::<usize>();
                            if let (Some(last_seq), Some(token)) = (resume.last_seq, &resume.token)
                                && self.model.is_good(token, number, &member.id)
                            {
                                bytes += room.bytes_after(last_seq.max(0) as u64);
                            }
                        }
                    }
                    Ask::Pull { room } => {
                        bytes += notice;
                        if let Some(room) = self.model.room(room) {
                            bytes +=
                                self.model.rooms[room].seats.iter().map(|seat| seat.member.len() + 1).sum::<usize>();
                        }
                    }
                    Ask::Leave { .. } | Ask::Remove { .. } => heard += notice,
                    // It holds, and ends.
                    Ask::Rule { .. } => heard += 2 * notice,
                    Ask::Receipt { .. } => heard += notice + 64 * 21,
                    Ask::Bad(_) => leaves = true,
                    Ask::Heartbeat => {}
                }
            }
            leaves |= matches!(said, Said::Close(_) | Said::Fault(_));
            own.push((who, bytes, leaves));
        }
        for (who, bytes, leaves) in own {
            self.clients[who].own_bytes += bytes;
            self.clients[who].may_leave |= leaves;
        }
        for room in self.model.rooms_now() {
            // What holds may end.
            heard += notice * usize::from(room.rule.locked || room.rule.quiet);
            let lingers_out = |until_ms: u64| until_ms <= self.now.monotonic_ms;
            let over =
                room.seats.iter().filter_map(|seat| seat.linger.as_ref()).filter(|linger| lingers_out(linger.until_ms));
            heard += over.count() * notice;
        }
        // Who could owe how much, and whether the socket would take it.
        let seats = |who: usize| self.model.peers[who].seats.len() + 1;
        let leaving = self.live.iter().filter(|who| self.clients[**who].may_leave);
        let mut leaves: usize = leaving.map(|who| seats(*who) * notice).sum();
        loop {
            let could_owe = |who: usize| self.model.peers[who].owed + self.clients[who].own_bytes + heard + leaves;
            let mut tight: Vec<usize> = Vec::new();
            let mut all = 0;
            for who in &self.live {
                let client = &self.clients[*who];
                let wire = client.wire.borrow();
                if !wire.dropped
                    && (wire.room() < could_owe(*who) || wire.refused && (client.late || !wire.is_writable_anew()))
                {
                    all += could_owe(*who);
                    tight.push(*who);
                }
            }
            tight.retain(|who| {
                self.model.peers[*who].stage != Stage::Over
                    && !self.clients[*who].at_risk
                    && (could_owe(*who) > log_bytes || all > reply_bytes)
            });
            if tight.is_empty() {
                return;
            }
            for who in tight {
                let client = &mut self.clients[who];
                client.at_risk = true;
                if !std::mem::replace(&mut client.may_leave, true) {
                    leaves += (self.model.peers[who].seats.len() + 1) * notice;
                }
            }
        }
    }

    /// Moves bytes of a backlog onto the wire.
    pub fn send(&mut self, who: usize, count: usize) {
        let client = &mut self.clients[who];
        let mut wire = client.wire.borrow_mut();
        let mut left = count;
        let mut told = Vec::new();
        while left > 0 {
            let Some(unit) = client.backlog.front() else { break };
            let part = &unit.bytes[client.begun..];
            let part = &part[..part.len().min(left)];
            wire.to_hub.extend_from_slice(part);
            left -= part.len();
            client.begun += part.len();
            client.sent_bytes += part.len() as u64;
            if client.begun == unit.bytes.len() {
                client.begun = 0;
                client.backlog_bytes -= unit.bytes.len();
                if self.is_told {
                    told.push(unit.said.brief());
                }
                if let Some(Unit { said, bytes }) = client.backlog.pop_front() {
                    client.sent.push_back((client.sent_bytes, bytes.len(), said));
                }
            }
        }
        client.readable_anew = true;
        client.last_sent_ms = self.now.monotonic_ms;
        drop(wire);
        if self.is_told {
            let mark = if self.clients[who].at_risk { "!" } else { "" };
            self.note(format_args!("{who}{mark}: {count}B {}", told.join(", ")));
        }
    }
}

//! What PROTOCOL.md says should happen, as plainly as it can be put.
//!
//! Owns: who sits where, what each request means, what the time brings, and for each connection the list of what it should be told. Refuses to
//! know: logs, cursors, queues, sockets. What only the flow of bytes decides (who is too slow, and when; what a log still holds) it is told.
//!
//! A connection is known by a number that is never used again, a room by its place in a list from which none is ever taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use classhub::base::Now;
use classhub::hub::Settings;
use classhub::limits;

use crate::client::{Ask, Request, Said};
use crate::counts::Counts;
use crate::expected::{Item, Joined, Reply, SLACK_BYTES, Told};
use crate::frame::{Frame, Leave, News, Who};
use crate::joining::Asked;
use crate::peer::{Bucket, End, Peer, Stage};
use crate::room::{Linger, Room, Seat};
use crate::text;

/// What the model has to look up in the hub, where either of two is right.
pub trait Look {
    /// Tells a room that the hub was seen to end from one that it keeps, by a lower number.
    fn rank(&self, room: &str) -> usize;
    /// Whether this Member has a seat in the room.
    fn sits(&self, room: &str, member: &str) -> bool;
}

/// What a resume token was given for.
pub struct Given {
    pub room: usize,
    pub joined_seq: u64,
    pub id: Rc<str>,
}

pub struct Model {
    pub settings: Settings,
    pub rooms: Vec<Room>,
    pub peers: Vec<Peer>,
    /// Those that are not over, and the rooms that are not.
    pub here: Vec<usize>,
    pub standing: Vec<usize>,
    pub seats_max: usize,
    pub given: HashMap<Rc<str>, Given>,
    /// What is left to each address of the minute in which it may guess.
    pub guesses: HashMap<IpAddr, Bucket>,
    pub counts: Counts,
}

impl Model {
    pub fn new(settings: Settings, connections: u32, now: Now) -> Self {
        let rooms: Vec<Room> = settings.configured.iter().map(|room| Room::configured(room, now)).collect();
        Model {
            standing: (0..rooms.len()).collect(),
            rooms,
            seats_max: (connections * settings.rooms_per_connection) as usize,
            settings,
            peers: Vec::new(),
            here: Vec::new(),
            given: HashMap::new(),
            guesses: HashMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn add_peer(&mut self, address: IpAddr) {
        self.here.push(self.peers.len());
        self.peers.push(Peer::new(address));
    }

    /// Nobody wants to know of this connection any more.
    pub fn forget_peer(&mut self, who: usize) {
        self.here.retain(|here| *here != who);
        self.peers[who] = Peer { stage: Stage::Over, ..Peer::new(self.peers[who].address) };
    }

    // ---- What is there --------------------------------------------------------------------------

    /// The room of this number that there is now.
    pub fn room(&self, number: &str) -> Option<usize> {
        self.standing.iter().copied().find(|room| self.rooms[*room].number == number)
    }

    pub fn rooms_now(&self) -> impl Iterator<Item = &Room> {
        self.standing.iter().map(|room| &self.rooms[*room])
    }

    pub fn is_open(&self, peer: usize) -> bool {
        self.peers[peer].stage == Stage::Open
    }

    /// Whether seats may soon have to make way.
    pub fn is_crowded(&self) -> bool {
        self.seats() + 8 > self.seats_max
    }

    /// Whether two rooms may have been empty for equally long, or two seats lingered.
    pub fn has_ties(&self) -> bool {
        let empty = self.rooms_now().filter(|room| room.seats.is_empty() && !room.configured);
        let mut since: Vec<u64> = empty.map(|room| room.empty_since_ms).collect();
        since.sort_unstable();
        since.windows(2).any(|two| two[0] == two[1]) || self.is_crowded()
    }

    /// All seats that there are, lingering ones too.
    pub fn seats(&self) -> usize {
        self.rooms_now().map(|room| room.seats.len()).sum()
    }

    /// Every moment at which something is due.
    pub fn dues(&self, dues: &mut Vec<u64>) {
        for who in &self.here {
            let peer = &self.peers[*who];
            if peer.stage == Stage::Open {
                dues.push(peer.last_seen_ms + self.silence_ms());
                dues.extend(peer.join_by_ms);
                dues.extend(peer.alive_by_ms);
            }
        }
        for room in self.rooms_now() {
            if room.seats.is_empty() && (!room.configured || !room.frames.is_empty()) {
                dues.push(room.empty_since_ms + self.empty_ms());
            }
            dues.extend(room.seats.iter().filter_map(|seat| Some(seat.linger.as_ref()?.until_ms)));
        }
    }

    /// When somebody may be asked again whether they are alive.
    pub fn asks_again(&self, dues: &mut Vec<u64>) {
        dues.extend(self.here.iter().filter_map(|who| Some(self.peers[*who].pinged_ms? + self.probe_ms())));
    }

    /// Whether this connection is closed for its silence, or for having no seat, unless it says something.
    pub fn is_due(&self, peer: usize, now: Now) -> bool {
        let peer = &self.peers[peer];
        let due = [Some(peer.last_seen_ms + self.silence_ms()), peer.join_by_ms, peer.alive_by_ms];
        peer.stage == Stage::Open && due.into_iter().flatten().any(|by_ms| now.monotonic_ms >= by_ms)
    }

    /// Whether a token opens, or once opened, a seat under this id in this room.
    pub fn is_good(&self, token: &str, number: &str, id: &str) -> bool {
        self.given.get(token).is_some_and(|given| Some(given.room) == self.room(number) && *given.id == *id)
    }

    pub fn silence_ms(&self) -> u64 {
        u64::from(self.settings.heartbeat_interval_s + self.settings.heartbeat_grace_s) * 1000
    }

    pub fn probe_ms(&self) -> u64 {
        u64::from(self.settings.probe_s) * 1000
    }

    fn empty_ms(&self) -> u64 {
        u64::from(self.settings.empty_for_s) * 1000
    }

    /// Whether it was asked for a sign of life just now.
    pub fn was_asked(&self, who: usize, now: Now) -> bool {
        self.peers[who].pinged_ms == Some(now.monotonic_ms)
    }

    // ---- What comes -----------------------------------------------------------------------------

    /// Something arrived from this connection, or something that waited for it went through.
    pub fn is_alive(&mut self, who: usize) {
        self.peers[who].alive_by_ms = None;
    }

    /// A whole frame came.
    pub fn received(&mut self, now: Now, who: usize, said: &Said, bytes: usize, look: &dyn Look) {
        let settings = &self.settings;
        let peer = &mut self.peers[who];
        if let (Said::Head, Stage::Head) = (said, peer.stage) {
            peer.stage = Stage::Open;
            peer.last_seen_ms = now.monotonic_ms;
            peer.join_by_ms = Some(now.monotonic_ms + limits::JOIN_MS);
            return;
        }
        if peer.stage != Stage::Open || !peer.ends.is_empty() {
            return;
        }
        if let Said::Fault(code) = said {
            // Of what breaks the protocol nothing counts any more.
            peer.ends("closed", *code);
            return;
        }
        peer.last_seen_ms = now.monotonic_ms;
        let frames = peer.frames.spend(1, settings.messages_per_second, settings.burst, now.monotonic_ms);
        let bytes = (bytes as u32).min(settings.bytes_burst);
        let within =
            frames && peer.bytes.spend(bytes, settings.bytes_per_second, settings.bytes_burst, now.monotonic_ms);
        match said {
            Said::Head | Said::Fault(_) | Said::Pong => {}
            Said::Fragment => peer.over_rate |= !within,
            Said::Ping(payload) if within => {
                peer.pongs.push_back(payload.clone());
                peer.owed += payload.len() + 2;
            }
            Said::Ping(payload) => peer.late_ping = Some(payload.clone()),
            Said::Close(code) => {
                let reason = if *code == Some(1001) { "lost" } else { "closed" };
                // 1005 must not be sent at all.
                let answer = code.map(|code| if code == 1005 { 1002 } else { code });
                peer.ends.push(End { reason, close: Some(answer) });
            }
            Said::Text(request) => {
                let within = !std::mem::take(&mut peer.over_rate) && within;
                self.message(now, who, request, within, look);
            }
        }
    }

    /// One read of the hub's is done.
    pub fn read_ends(&mut self, who: usize) {
        let peer = &mut self.peers[who];
        if let Some(payload) = peer.late_ping.take()
            && peer.ends.is_empty()
        {
            peer.owed += payload.len() + 2;
            peer.pongs.push_back(payload);
        }
    }

    fn message(&mut self, now: Now, who: usize, request: &Request, within: bool, look: &dyn Look) {
        let reference = request.reference.as_deref();
        let now_ms = now.monotonic_ms;
        let peer = &mut self.peers[who];
        if within && !matches!(request.ask, Ask::Bad(_)) {
            peer.bad_in_a_row = 0;
        }
        let refused = match &request.ask {
            Ask::Bad(code) => {
                peer.bad_in_a_row += 1;
                if peer.bad_in_a_row == 16 || !within && peer.is_refused(now_ms) {
                    peer.ends("closed", 1008);
                }
                Err(*code)
            }
            Ask::Heartbeat => Ok(()),
            _ if !within => {
                if peer.is_refused(now_ms) {
                    peer.ends("closed", 1008);
                }
                Err("rate_limited")
            }
            Ask::Join { room: number, member, resume, owner_passcode } => {
                let owner_passcode = owner_passcode.as_deref();
                self.join(&Asked { now, who, number, member, resume, owner_passcode, reference }, look)
            }
            Ask::Leave { room } => self.leave(now, who, room, reference),
            Ask::Say { room, data_type, from, content } => {
                if from.as_ref().is_some_and(|from| !peer.id.is_empty() && **from != *peer.id) {
                    Err("identity")
                } else {
                    self.say(now, who, room, *data_type, content, reference)
                }
            }
            Ask::Rule { room, locked, quiet } => self.change_rule(now, who, room, *locked, *quiet, reference),
            Ask::Remove { room, id, for_s } => self.remove(now, who, room, id, *for_s, reference),
            Ask::Receipt { room, seqs, in_array } => self.receipt(who, room, seqs, *in_array),
            Ask::Pull { room } => self.pull(who, room, reference),
        };
        if let Err(code) = refused {
            if code == "passcode" {
                self.guessed(who);
            }
            self.own(who, Reply::Failure(text::failure(code, reference)), 512);
        }
    }

    #[allow(clippy::too_many_arguments)] // what a join is made of
    pub fn end_room(&mut self, room: usize) {
        self.rooms[room].is_over = true;
        self.rooms[room].forget();
        self.standing.retain(|standing| *standing != room);
    }

    pub fn end_linger(&mut self, now: Now, room: usize, place: usize) -> Leave {
        let here = &mut self.rooms[room];
        let reasons = here.seats[place].linger.take().map_or(Vec::new(), |linger| linger.reasons);
        let leave = here.leave(place, now, reasons);
        here.seats.remove(place);
        self.is_perhaps_empty(now, room);
        leave
    }

    pub fn seat(&self, who: usize, number: &str) -> Result<(usize, usize), &'static str> {
        let room = self.room(number).filter(|room| self.peers[who].seats.contains(room)).ok_or("not_joined")?;
        Ok((room, self.rooms[room].place_of(who)))
    }

    fn leave(&mut self, now: Now, who: usize, number: &str, reference: Option<&str>) -> Result<(), &'static str> {
        let (room, place) = self.seat(who, number)?;
        self.end_seat(now, room, place, "left", reference);
        Ok(())
    }

    /// Ends a seat at once, since somebody asked for it. Who sat there is told of that, and of nothing that comes of it.
    pub fn end_seat(&mut self, now: Now, room: usize, place: usize, reason: &str, reference: Option<&str>) {
        let here = &self.rooms[room];
        let Seat { member, holder, joined_seq, .. } = &here.seats[place];
        let (member, holder, joined_seq) = (member.clone(), *holder, *joined_seq);
        let data = format!(r#"{},"newLeaveMember":{member}"#, here.fields);
        let extend = format!(r#"{},"reason":"{reason}""#, text::stamp(here.seq + 1, now.wall_ms, reference));
        self.publish(room, text::extended("Leave", 3, 2, &data, &extend), Who::Left(member), None);
        if let Some(holder) = holder {
            self.peers[holder].seats.retain(|seat| *seat != room);
        }
        self.rooms[room].seats.remove(place);
        self.is_perhaps_empty(now, room);
        if self.rooms[room].rule.is_owner(joined_seq) && self.rooms[room].rule.end() {
            self.counts.rules_ended += 1;
            self.publish_rule(now, room, None);
        }
    }

    /// A seat has gone.
    fn is_perhaps_empty(&mut self, now: Now, room: usize) {
        let room = &mut self.rooms[room];
        if room.seats.is_empty() {
            room.empty_since_ms = now.monotonic_ms;
        }
    }

    fn say(
        &mut self,
        now: Now,
        who: usize,
        number: &str,
        data_type: u16,
        content: &str,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let (room, place) = self.seat(who, number)?;
        let seat = &self.rooms[room].seats[place];
        if data_type == 3 && self.rooms[room].rule.silences(seat.joined_seq) {
            self.counts.silenced += 1;
            return Err("quiet");
        }
        let data = format!(r#""from":{},"roomNumber":{},"content":{content}"#, seat.member, text::string(number));
        let author = Some(seat.id.clone());
        self.broadcast(now, room, "Chat", data_type, &data, reference, Who::Same, author);
        Ok(())
    }

    fn receipt(&mut self, who: usize, number: &str, seqs: &[i64], in_array: bool) -> Result<(), &'static str> {
        let (room, place) = self.seat(who, number)?;
        let here = &self.rooms[room];
        let from = here.seats[place].member.clone();
        let mut authors: Vec<(Rc<str>, Vec<i64>)> = Vec::new();
        let mut all_there = true;
        let once = seqs.iter().enumerate().filter(|(n, seq)| !seqs[..*n].contains(seq)).map(|(_, seq)| seq);
        for seq in once {
            let place = (*seq as u64).wrapping_sub(here.seq + 1 - here.frames.len() as u64) as usize;
            let frame = here.frames.get(place).filter(|frame| *seq > 0 && frame.seq >= here.held_from);
            match frame.and_then(|frame| frame.author.as_ref()) {
                None => all_there = false,
                Some(author) => match authors.iter_mut().find(|(id, _)| id == author) {
                    Some((_, seqs)) => seqs.push(*seq),
                    None => authors.push((author.clone(), vec![*seq])),
                },
            }
        }
        for (author, seqs) in authors {
            let seat = self.rooms[room].seats.iter().find(|seat| seat.id == author);
            let Some(holder) = seat.and_then(|seat| seat.holder) else { continue };
            let seqs: Vec<String> = seqs.iter().map(i64::to_string).collect();
            let seqs = if in_array { format!("[{}]", seqs.join(",")) } else { seqs.concat() };
            let data = format!(r#""from":{from},"roomNumber":{},"seq":{seqs}"#, text::string(number));
            let text = text::success("Receive", 4, 3, &data) + "}}";
            self.counts.receipts += 1;
            let bytes = text::frame_bytes(text.len());
            match self.peers[holder].ends.is_empty() {
                true => self.own(holder, Reply::Exact(text), bytes),
                false => self.own(holder, Reply::Perhaps(text), bytes),
            }
        }
        if all_there { Ok(()) } else { Err("no_such_message") }
    }

    fn pull(&mut self, who: usize, number: &str, reference: Option<&str>) -> Result<(), &'static str> {
        let (room, _) = self.seat(who, number)?;
        let here = &self.rooms[room];
        let data = format!("{}{}", here.fields, here.members_field());
        let extend = format!(r#""seq":{}{}"#, here.seq, text::reference_field(reference));
        self.own_exactly(who, text::extended("Pull", 5, 1, &data, &extend));
        Ok(())
    }

    pub fn own(&mut self, who: usize, reply: Reply, bytes: usize) {
        self.peers[who].owe(Item::Own(reply, bytes));
    }

    pub fn own_exactly(&mut self, who: usize, text: String) {
        let bytes = text::frame_bytes(text.len());
        self.own(who, Reply::Exact(text), bytes);
    }

    #[allow(clippy::too_many_arguments)] // what a frame is made of
    pub fn broadcast(
        &mut self,
        now: Now,
        room: usize,
        what: &str,
        data_type: u16,
        data: &str,
        reference: Option<&str>,
        who: Who,
        author: Option<Rc<str>>,
    ) {
        let stamp = text::stamp(self.rooms[room].seq + 1, now.wall_ms, reference);
        self.publish(room, text::extended(what, 3, data_type, data, &stamp), who, author);
    }

    pub fn publish(&mut self, room: usize, text: String, who: Who, author: Option<Rc<str>>) {
        let here = &mut self.rooms[room];
        // What is said in a room says nothing of it.
        let fields = author.is_none().then(|| here.fields.clone());
        let frame = Rc::new(Frame::new(room, here.seq + 1, text, News { who, room: fields }, author));
        for holder in here.seats.iter().filter_map(|seat| seat.holder) {
            self.peers[holder].owe(Item::Room(frame.clone()));
        }
        here.append(frame, self.settings.room_log_bytes as usize);
    }

    /// Leaves of one moment, and what ends with them. Those who are `going` with it may hear of them, or not any more.
    pub fn publish_leaves(&mut self, room: usize, leaves: Vec<Leave>, going: &[usize]) {
        let here = &mut self.rooms[room];
        let count = leaves.len();
        let frames = here.append_leaves(room, leaves, self.settings.room_log_bytes as usize);
        self.counts.rules_ended += frames.len() - count;
        self.counts.ended_among_leaves += if count > 1 { frames.len() - count } else { 0 };
        let holders = here.seats.iter().filter_map(|seat| seat.holder);
        for holder in holders.chain(going.iter().copied()) {
            for frame in &frames {
                self.peers[holder].owe(Item::Room(frame.clone()));
            }
        }
    }

    // ---- What the time brings -------------------------------------------------------------------

    pub fn expire(&mut self, now: Now) {
        let (silence_ms, empty_ms) = (self.silence_ms(), self.empty_ms());
        let is_due = |due_ms: u64| now.monotonic_ms >= due_ms;
        for who in &self.here {
            let peer = &mut self.peers[*who];
            if peer.stage != Stage::Open || !peer.ends.is_empty() {
                continue;
            }
            if is_due(peer.last_seen_ms + silence_ms) {
                peer.ends("heartbeat", 4000);
            } else if peer.join_by_ms.is_some_and(is_due) {
                peer.ends("closed", 1008);
            }
            if peer.alive_by_ms.is_some_and(is_due) {
                peer.ends("lost", 4000);
                self.counts.lost += 1;
            }
        }
        for room in self.standing.clone() {
            let mut leaves = Vec::new();
            let is_over = |seat: &Seat| seat.linger.as_ref().is_some_and(|linger| is_due(linger.until_ms));
            while let Some(place) = self.rooms[room].seats.iter().position(is_over) {
                leaves.push(self.end_linger(now, room, place));
                self.counts.lingered += 1;
            }
            self.publish_leaves(room, leaves, &[]);
            let here = &mut self.rooms[room];
            if here.seats.is_empty() && is_due(here.empty_since_ms + empty_ms) {
                match here.configured {
                    true => here.forget(),
                    false => self.end_room(room),
                }
            }
        }
    }

    /// Everyone with a reason to end does. Says who.
    pub fn finish(&mut self, now: Now, look: &dyn Look) -> Vec<usize> {
        let gone = |who: &usize| self.peers[*who].stage == Stage::Open && !self.peers[*who].ends.is_empty();
        let gone: Vec<usize> = self.here.iter().copied().filter(gone).collect();
        let mut leaves: Vec<(usize, Vec<Leave>)> = Vec::new();
        let mut slow = Vec::new();
        let linger_ms = u64::from(self.settings.linger_s) * 1000;
        for who in &gone {
            let peer = &mut self.peers[*who];
            peer.stage = Stage::Over;
            peer.alive_by_ms = None;
            let seats = std::mem::take(&mut peer.seats);
            let ends = peer.ends.clone();
            for room in seats {
                let here = &mut self.rooms[room];
                let place = here.place_of(*who);
                slow.extend(ends.iter().any(|end| end.reason == "slow").then_some((room, *who)));
                let lingers = linger_ms > 0
                    && ends.iter().any(End::lingers)
                    && (ends.iter().all(End::lingers) || look.sits(&here.number, &here.seats[place].member));
                let reasons = ends.iter().filter(|end| linger_ms == 0 || end.lingers() == lingers);
                let mut reasons: Vec<&'static str> = reasons.map(|end| end.reason).collect();
                reasons.sort_unstable();
                reasons.dedup();
                let seat = &mut here.seats[place];
                seat.holder = None;
                if lingers {
                    let until_ms = now.monotonic_ms + linger_ms;
                    seat.linger = Some(Linger { since_ms: now.monotonic_ms, until_ms, reasons });
                    continue;
                }
                let leave = here.leave(place, now, reasons);
                here.seats.remove(place);
                self.is_perhaps_empty(now, room);
                match leaves.iter_mut().find(|(of, ..)| *of == room) {
                    Some((_, leaves)) => leaves.push(leave),
                    None => leaves.push((room, vec![leave])),
                }
            }
        }
        for (room, leaves) in leaves {
            // Whoever is too slow is found to be with the flush that brings these.
            let is_going = |(of, _): &&(usize, usize)| *of == room;
            let going: Vec<usize> = slow.iter().filter(is_going).map(|(_, who)| *who).collect();
            self.publish_leaves(room, leaves, &going);
        }
        gone
    }

    /// What the leaves of these take in each room.
    pub fn leave_bytes(&self, leavers: &[usize], room: usize) -> usize {
        let room = &self.rooms[room];
        let leaves = |holder: usize| leavers.contains(&holder);
        let of_these = room.seats.iter().filter(|seat| seat.linger.is_some() || seat.holder.is_some_and(leaves));
        // One of them may be the owner's.
        let leaves = of_these.map(|seat| seat.member.len() + room.fields.len() + SLACK_BYTES);
        leaves.sum::<usize>() + room.fields.len() + SLACK_BYTES
    }

    // ---- What it is told ------------------------------------------------------------------------

    /// A text frame reached this connection: it must be one of those that may come next, which it then was.
    pub fn told(&mut self, who: usize, payload: &[u8]) -> Result<Told, String> {
        let peer = &mut self.peers[who];
        let (told, bytes) = peer.expected.take(payload).map_err(|wrong| format!("connection {who} {wrong}"))?;
        peer.owed -= bytes;
        match &told {
            Told::Room(frame) => self.rooms[frame.room].was_seen(frame),
            Told::Welcome(joined, token) if joined.token.borrow().is_none() => {
                let Joined { room, joined_seq, ref id, .. } = **joined;
                if self.given.insert(token.clone(), Given { room, joined_seq, id: id.clone() }).is_some() {
                    return Err(format!("connection {who} was told a token that another seat has: {token}"));
                }
                *joined.token.borrow_mut() = Some(token.clone());
            }
            _ => {}
        }
        Ok(told)
    }

    /// A pong reached this connection.
    pub fn ponged(&mut self, who: usize, payload: &[u8]) -> Result<(), String> {
        let peer = &mut self.peers[who];
        match peer.pongs.pop_front() {
            Some(expected) if expected == payload => {
                peer.owed -= payload.len() + 2;
                Ok(())
            }
            Some(_) => Err(format!("connection {who}: a pong for another ping than the oldest")),
            None => Err(format!("connection {who}: a pong for no ping")),
        }
    }

    /// A ping reached this connection.
    pub fn pinged(&mut self, who: usize, payload: &[u8]) -> Result<(), String> {
        let peer = &mut self.peers[who];
        if peer.pings == 0 && peer.pings_perhaps > 0 && payload.is_empty() {
            peer.pings_perhaps -= 1;
            return Ok(());
        }
        if peer.pings == 0 || !payload.is_empty() {
            return Err(format!("connection {who}: a ping of {} bytes, and nobody asked for its seat", payload.len()));
        }
        peer.pings -= 1;
        peer.owed -= 2;
        Ok(())
    }
}

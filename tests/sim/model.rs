//! What PROTOCOL.md says should happen, as plainly as it can be put.
//!
//! Owns: who sits where, what each request means, what the time brings, and for each connection the list of what it should be told. Refuses to
//! know: logs, cursors, queues, sockets. What only the flow of bytes decides (who is too slow, and when; what a log still holds) it is told.
//!
//! A connection is known by a number that is never used again, a room by its place in a list from which none is ever taken.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use classhub::base::Now;
use classhub::hub::Settings;
use classhub::limits;

use crate::client::{Ask, Member, Request, Resume, Said};
use crate::expected::{Expected, Item, Joined, Reply, SLACK_BYTES, Told};
use crate::person::Welcome;
use crate::room::{Frame, Leave, Linger, News, Room, Seat};
use crate::text;

/// What the model has to look up in the hub, where either of two is right.
pub trait Look {
    /// Tells a room that the hub was seen to end from one that it keeps, by a lower number.
    fn rank(&self, room: &str) -> usize;
    /// Whether this Member has a seat in the room.
    fn sits(&self, room: &str, member: &str) -> bool;
}

/// How a connection may end: what the rooms are told, and the code of the close frame; none of that where the connection is broken.
#[derive(Clone, Debug)]
pub struct End {
    pub reason: &'static str,
    pub close: Option<Option<u16>>,
}

impl End {
    /// Whether whoever sat there is likely to come back. Nobody waits for one who failed a probe.
    fn lingers(&self) -> bool {
        matches!(self.reason, "lost" | "slow") && self.close != Some(Some(4000))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No WebSocket as yet.
    Head,
    Open,
    Over,
}

pub struct Peer {
    pub stage: Stage,
    id: Rc<str>,
    pub seats: Vec<usize>,
    last_seen_ms: u64,
    join_by_ms: Option<u64>,
    /// When it was last asked for a sign of life, and by when it must give one.
    pinged_ms: Option<u64>,
    pub alive_by_ms: Option<u64>,
    bad_in_a_row: u32,
    /// When something was refused for its rate.
    refused_ms: Vec<u64>,
    frames: Bucket,
    bytes: Bucket,
    over_rate: bool,
    late_ping: Option<Vec<u8>>,
    /// What it should be told and was not yet.
    pub expected: Expected,
    pub pongs: VecDeque<Vec<u8>>,
    pub pings: usize,
    /// Pings that may come or not.
    pings_perhaps: usize,
    /// Bytes of all that must come.
    pub owed: usize,
    /// How it may end; it does with this turn, where there is any.
    pub ends: Vec<End>,
}

impl Peer {
    fn new() -> Self {
        let full = Bucket { left: u64::MAX >> 1, at_ms: 0 };
        Peer {
            stage: Stage::Head,
            id: "".into(),
            seats: Vec::new(),
            last_seen_ms: 0,
            join_by_ms: None,
            pinged_ms: None,
            alive_by_ms: None,
            bad_in_a_row: 0,
            refused_ms: Vec::new(),
            frames: Bucket { ..full },
            bytes: full,
            over_rate: false,
            late_ping: None,
            expected: Expected::default(),
            pongs: VecDeque::new(),
            pings: 0,
            pings_perhaps: 0,
            owed: 0,
            ends: Vec::new(),
        }
    }

    /// Something is refused for its rate. Says whether that is the hundredth within ten seconds.
    fn is_refused(&mut self, now_ms: u64) -> bool {
        self.refused_ms.push(now_ms);
        self.refused_ms.retain(|at_ms| now_ms - at_ms < limits::REFUSALS_MS);
        self.refused_ms.len() >= usize::from(limits::REFUSALS)
    }

    fn ends(&mut self, reason: &'static str, code: u16) {
        self.ends.push(End { reason, close: Some(Some(code)) });
    }

    fn owe(&mut self, item: Item) {
        self.owed += item.bytes();
        self.expected.items.push_back(item);
    }
}

/// Thousandths of what may still be spent.
struct Bucket {
    left: u64,
    at_ms: u64,
}

impl Bucket {
    fn spend(&mut self, units: u32, per_second: u32, burst: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        self.left = (self.left + (now_ms - self.at_ms) * u64::from(per_second)).min(u64::from(burst) * 1000);
        self.at_ms = now_ms;
        let there = self.left >= u64::from(units) * 1000;
        if there {
            self.left -= u64::from(units) * 1000;
        }
        there
    }
}

/// What a resume token was given for.
struct Given {
    room: usize,
    joined_seq: u64,
    id: Rc<str>,
}

/// What came of things, for whoever wonders whether anything happened.
#[derive(Default)]
pub struct Counts {
    pub takeovers: usize,
    pub replays: usize,
    pub gaps: usize,
    pub lingered: usize,
    pub evicted: usize,
    pub probes: usize,
    pub lost: usize,
    pub receipts: usize,
}

pub struct Model {
    pub settings: Settings,
    pub rooms: Vec<Room>,
    pub peers: Vec<Peer>,
    /// Those that are not over, and the rooms that are not.
    pub here: Vec<usize>,
    pub standing: Vec<usize>,
    seats_max: usize,
    given: HashMap<Rc<str>, Given>,
    pub counts: Counts,
}

impl Model {
    pub fn new(settings: Settings, connections: u32, now: Now) -> Self {
        let configured = settings.configured.iter().map(|room| {
            let owner = room.owner.as_ref().map(|owner| {
                text::member(&Member {
                    id: owner.id.to_string(),
                    fields: vec![
                        ("personName", owner.person_name.to_string()),
                        ("nickName", owner.nick_name.to_string()),
                    ],
                })
            });
            Room::configured(&room.number, &room.name, &room.desc, owner, now)
        });
        let rooms: Vec<Room> = configured.collect();
        Model {
            standing: (0..rooms.len()).collect(),
            rooms,
            seats_max: (connections * settings.rooms_per_connection) as usize,
            settings,
            peers: Vec::new(),
            here: Vec::new(),
            given: HashMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn add_peer(&mut self) {
        self.here.push(self.peers.len());
        self.peers.push(Peer::new());
    }

    /// Nobody wants to know of this connection any more.
    pub fn forget_peer(&mut self, who: usize) {
        self.here.retain(|here| *here != who);
        self.peers[who] = Peer { stage: Stage::Over, ..Peer::new() };
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
    fn seats(&self) -> usize {
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

    fn silence_ms(&self) -> u64 {
        u64::from(self.settings.heartbeat_interval_s + self.settings.heartbeat_grace_s) * 1000
    }

    fn probe_ms(&self) -> u64 {
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
            Ask::Join { room, member, resume } => self.join(now, who, room, member, resume, reference, look),
            Ask::Leave { room } => self.leave(now, who, room, reference),
            Ask::Say { room, data_type, from, content } => {
                if from.as_ref().is_some_and(|from| !peer.id.is_empty() && **from != *peer.id) {
                    Err("identity")
                } else {
                    self.say(now, who, room, *data_type, content, reference)
                }
            }
            Ask::Receipt { room, seqs, in_array } => self.receipt(who, room, seqs, *in_array),
            Ask::Pull { room } => self.pull(who, room, reference),
        };
        if let Err(code) = refused {
            self.own(who, Reply::Failure(text::failure(code, reference)), 512);
        }
    }

    #[allow(clippy::too_many_arguments)] // what a join is made of
    fn join(
        &mut self,
        now: Now,
        who: usize,
        number: &str,
        member: &Member,
        resume: &Resume,
        reference: Option<&str>,
        look: &dyn Look,
    ) -> Result<(), &'static str> {
        let found = self.room(number);
        let peer = &mut self.peers[who];
        if let Some(join_by_ms) = &mut peer.join_by_ms {
            *join_by_ms = now.monotonic_ms + limits::JOIN_MS;
        }
        if !peer.id.is_empty() && *peer.id != *member.id {
            return Err("identity");
        }
        if found.is_none() && !self.settings.auto_create {
            return Err("no_such_room");
        }
        let is_full = peer.seats.len() == self.settings.rooms_per_connection as usize;
        let given = resume.token.as_ref().and_then(|token| self.given.get(&**token));
        let given = given.filter(|given| Some(given.room) == found && *given.id == *member.id);
        let opens = given.map(|given| given.joined_seq);
        if let Some(room) = found {
            // The rest of what was shown to be seen, where all of it can be had.
            let rest = resume.last_seq.and_then(|last_seq| u64::try_from(last_seq).ok()).filter(|last_seq| {
                let room = &self.rooms[room];
                opens.is_some_and(|joined_seq| joined_seq <= *last_seq)
                    && *last_seq <= room.seq
                    && last_seq + 1 >= room.held_from
            });
            let seats = &self.rooms[room].seats;
            let own = seats.iter().position(|seat| Some(seat.joined_seq) == opens);
            let place = own.or_else(|| seats.iter().position(|seat| *seat.id == *member.id));
            if let Some(place) = place {
                match seats[place].holder {
                    Some(holder) if holder == who => {}
                    Some(_) if own.is_some() && is_full => return Err("too_many_rooms"),
                    Some(holder) if own.is_some() => {
                        let old = &mut self.peers[holder];
                        if old.ends.is_empty() {
                            old.ends("lost", 4001);
                        }
                        old.seats.retain(|seat| *seat != room);
                        self.take_over(now, who, room, place, rest, resume, reference);
                        return Ok(());
                    }
                    Some(holder) => self.knock(now, holder),
                    None if seats[place].guarded && own.is_none() => {}
                    None if is_full => return Err("too_many_rooms"),
                    None => {
                        self.take_over(now, who, room, place, rest, resume, reference);
                        return Ok(());
                    }
                }
                self.own_exactly(who, text::DUPLICATE.to_owned());
                return Ok(());
            }
            if !is_full && self.rooms[room].seats.len() < self.settings.members_per_room as usize {
                self.sit(now, who, room, member, rest, resume, reference, look);
                return Ok(());
            }
        }
        if is_full {
            return Err("too_many_rooms");
        }
        if found.is_some() {
            return Err("room_full");
        }
        let room = self.make_room(now, number, look).ok_or("hub_full")?;
        self.sit(now, who, room, member, None, resume, reference, look);
        Ok(())
    }

    /// A new seat.
    #[allow(clippy::too_many_arguments)] // what a join is made of
    fn sit(
        &mut self,
        now: Now,
        who: usize,
        room: usize,
        member: &Member,
        rest: Option<u64>,
        resume: &Resume,
        reference: Option<&str>,
        look: &dyn Look,
    ) {
        if self.seats() == self.seats_max {
            self.end_longest_linger(now, look);
        }
        let text: Rc<str> = text::member(member).into();
        let made = &mut self.rooms[room];
        let guarded = made.seats.is_empty() && !made.owner_configured;
        if guarded {
            made.set_owner(text.to_string());
        }
        let data = format!(r#"{},"newJoinMember":{text}"#, made.fields);
        self.broadcast(now, room, "Join", 1, &data, None, News::Joined(text.clone()), None);
        let made = &mut self.rooms[room];
        made.seats.push(Seat {
            joined_seq: made.seq,
            id: member.id.as_str().into(),
            member: text,
            holder: None,
            linger: None,
            token: Rc::default(),
            guarded,
        });
        let place = made.seats.len() - 1;
        self.welcome(now, who, room, place, rest, resume, reference);
    }

    /// A seat that there is already.
    #[allow(clippy::too_many_arguments)] // what a join is made of
    fn take_over(
        &mut self,
        now: Now,
        who: usize,
        room: usize,
        place: usize,
        rest: Option<u64>,
        resume: &Resume,
        reference: Option<&str>,
    ) {
        self.counts.takeovers += 1;
        self.rooms[room].seats[place].linger = None;
        self.welcome(now, who, room, place, rest, resume, reference);
    }

    /// Gives a seat to a connection, and tells it so.
    #[allow(clippy::too_many_arguments)] // what a join is made of
    fn welcome(
        &mut self,
        now: Now,
        who: usize,
        room: usize,
        place: usize,
        rest: Option<u64>,
        resume: &Resume,
        reference: Option<&str>,
    ) {
        let here = &mut self.rooms[room];
        here.seats[place].holder = Some(who);
        let seat = &here.seats[place];
        let seq = rest.unwrap_or(here.seq);
        let is_gap = resume.last_seq.is_some() && rest.is_none();
        self.counts.replays += usize::from(rest.is_some());
        self.counts.gaps += usize::from(is_gap);
        let members = if rest.is_some() { String::new() } else { here.members_field() };
        let data = format!(r#"{}{members},"newJoinMember":{}"#, here.fields, seat.member);
        let joined = Joined {
            room,
            joined_seq: seat.joined_seq,
            id: seat.id.clone(),
            welcome: Welcome {
                number: here.number.clone(),
                seq,
                members: rest.is_none().then(|| here.members()),
                knew: resume.view.clone(),
            },
            before: format!(
                r#"{},"extendFields":{{{},"resumeToken":""#,
                text::success("Join", 3, 1, &data),
                text::stamp(seq, now.wall_ms, reference)
            ),
            after: format!(r#""{}}}}}}}"#, if is_gap { r#","gap":true"# } else { "" }),
            token: seat.token.clone(),
        };
        let peer = &mut self.peers[who];
        peer.id = seat.id.clone();
        peer.join_by_ms = None;
        peer.seats.push(room);
        let bytes = joined.before.len() + joined.after.len() + SLACK_BYTES;
        peer.owe(Item::Own(Reply::Welcome(Rc::new(joined)), bytes));
        if let Some(last_seq) = rest {
            for frame in here.frames.iter().filter(|frame| frame.seq > last_seq) {
                peer.owe(Item::Room(frame.clone()));
            }
        }
    }

    /// Somebody wants the seat of this connection, and cannot show that it is theirs.
    fn knock(&mut self, now: Now, holder: usize) {
        let (probe_ms, silence_ms) = (self.probe_ms(), self.silence_ms());
        let peer = &mut self.peers[holder];
        // Whoever has been silent for too long is closed before it could answer.
        let is_silent = now.monotonic_ms >= peer.last_seen_ms + silence_ms;
        let was_asked = peer.pinged_ms.is_some_and(|at_ms| now.monotonic_ms < at_ms + probe_ms);
        if peer.stage != Stage::Open || !peer.ends.is_empty() {
            // It is about to go, and may be asked or not.
            peer.pings_perhaps += 1;
        } else if !was_asked && peer.alive_by_ms.is_none() && !is_silent {
            peer.pinged_ms = Some(now.monotonic_ms);
            peer.alive_by_ms = Some(now.monotonic_ms + probe_ms);
            peer.pings += 1;
            peer.owed += 2;
            self.counts.probes += 1;
        }
    }

    fn make_room(&mut self, now: Now, number: &str, look: &dyn Look) -> Option<usize> {
        if self.standing.len() == self.settings.rooms as usize {
            let empty = |room: &&usize| !self.rooms[**room].configured && self.rooms[**room].seats.is_empty();
            let since_ms = |room: &usize| self.rooms[*room].empty_since_ms;
            let longest = self.standing.iter().filter(empty).map(since_ms).min()?;
            let equal = self.standing.iter().copied().filter(|room| empty(&room) && since_ms(room) == longest);
            let over = equal.min_by_key(|room| look.rank(&self.rooms[*room].number))?;
            self.end_room(over);
        }
        self.standing.push(self.rooms.len());
        self.rooms.push(Room::made(number, now));
        Some(self.rooms.len() - 1)
    }

    fn end_room(&mut self, room: usize) {
        self.rooms[room].is_over = true;
        self.rooms[room].forget();
        self.standing.retain(|standing| *standing != room);
    }

    /// There are as many seats as there may be: the one that has lingered longest ends early.
    fn end_longest_linger(&mut self, now: Now, look: &dyn Look) {
        let lingering = || {
            let rooms = self.standing.iter().copied();
            let seats = rooms.flat_map(|room| (0..self.rooms[room].seats.len()).map(move |place| (room, place)));
            seats.filter_map(|(room, place)| {
                Some((self.rooms[room].seats[place].linger.as_ref()?.since_ms, room, place))
            })
        };
        let Some(longest) = lingering().map(|(since_ms, ..)| since_ms).min() else { return };
        let equal = lingering().filter(|(since_ms, ..)| *since_ms == longest);
        let sits =
            |room: usize, place: usize| look.sits(&self.rooms[room].number, &self.rooms[room].seats[place].member);
        let Some((_, room, place)) = equal.min_by_key(|(_, room, place)| sits(*room, *place)) else { return };
        self.counts.evicted += 1;
        let leave = self.end_linger(now, room, place);
        self.publish_leaves(room, vec![leave], &[]);
    }

    fn end_linger(&mut self, now: Now, room: usize, place: usize) -> Leave {
        let room = &mut self.rooms[room];
        let reasons = room.seats[place].linger.take().map_or(Vec::new(), |linger| linger.reasons);
        let leave = room.leave(place, now, reasons);
        room.seats.remove(place);
        if room.seats.is_empty() {
            room.empty_since_ms = now.monotonic_ms;
        }
        leave
    }

    fn seat(&self, who: usize, number: &str) -> Result<(usize, usize), &'static str> {
        let room = self.room(number).filter(|room| self.peers[who].seats.contains(room)).ok_or("not_joined")?;
        Ok((room, self.rooms[room].place_of(who)))
    }

    fn leave(&mut self, now: Now, who: usize, number: &str, reference: Option<&str>) -> Result<(), &'static str> {
        let (room, place) = self.seat(who, number)?;
        let here = &self.rooms[room];
        let member = here.seats[place].member.clone();
        let data = format!(r#"{},"newLeaveMember":{member}"#, here.fields);
        let extend = format!(r#"{},"reason":"left""#, text::stamp(here.seq + 1, now.wall_ms, reference));
        let text = text::extended("Leave", 3, 2, &data, &extend);
        self.publish(room, text, News::Left(member), None);
        self.peers[who].seats.retain(|seat| *seat != room);
        let here = &mut self.rooms[room];
        here.seats.remove(place);
        if here.seats.is_empty() {
            here.empty_since_ms = now.monotonic_ms;
        }
        Ok(())
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
        let data = format!(r#""from":{},"roomNumber":{},"content":{content}"#, seat.member, text::string(number));
        let author = Some(seat.id.clone());
        self.broadcast(now, room, "Chat", data_type, &data, reference, News::Said, author);
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

    fn own(&mut self, who: usize, reply: Reply, bytes: usize) {
        self.peers[who].owe(Item::Own(reply, bytes));
    }

    fn own_exactly(&mut self, who: usize, text: String) {
        let bytes = text::frame_bytes(text.len());
        self.own(who, Reply::Exact(text), bytes);
    }

    #[allow(clippy::too_many_arguments)] // what a frame is made of
    fn broadcast(
        &mut self,
        now: Now,
        room: usize,
        what: &str,
        data_type: u16,
        data: &str,
        reference: Option<&str>,
        news: News,
        author: Option<Rc<str>>,
    ) {
        let stamp = text::stamp(self.rooms[room].seq + 1, now.wall_ms, reference);
        self.publish(room, text::extended(what, 3, data_type, data, &stamp), news, author);
    }

    fn publish(&mut self, room: usize, text: String, news: News, author: Option<Rc<str>>) {
        let here = &mut self.rooms[room];
        let frame = Rc::new(Frame::new(room, here.seq + 1, text, news, author));
        for holder in here.seats.iter().filter_map(|seat| seat.holder) {
            self.peers[holder].owe(Item::Room(frame.clone()));
        }
        here.append(frame, self.settings.room_log_bytes as usize);
    }

    /// Leaves of one moment. Those who are `going` with it may hear of them, or not any more.
    fn publish_leaves(&mut self, room: usize, leaves: Vec<Leave>, going: &[usize]) {
        let here = &mut self.rooms[room];
        let holders = here.seats.iter().filter_map(|seat| seat.holder);
        let holders: Vec<usize> = holders.chain(going.iter().copied()).collect();
        let peers = &mut self.peers;
        here.append_leaves(room, leaves, self.settings.room_log_bytes as usize, &mut |frame| {
            for holder in &holders {
                peers[*holder].owe(Item::Room(frame.clone()));
            }
        });
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
                if here.seats.is_empty() {
                    here.empty_since_ms = now.monotonic_ms;
                }
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
        of_these.map(|seat| seat.member.len() + room.fields.len() + SLACK_BYTES).sum()
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

//! What PROTOCOL.md says should happen, as plainly as it can be put.
//!
//! Owns: rooms as lists of members and of frames, and for each connection the list of what it should be told, with what may stand before what.
//! Refuses to know: logs, cursors, queues, sockets. What only the flow of bytes decides (who is too slow, and when) it is told.
//!
//! A connection is known by a number that is never used again, a room by its place in a list from which none is ever taken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use classhub::base::Now;
use classhub::hub::Settings;
use classhub::limits;
use serde_json::{Value, json};

use crate::client::{Ask, Member, Request, Said};

const DUPLICATE: &str = "连接被拒,您已在其他页面或客户端加入该房间,请先将其退出!";

/// More than the header of a frame, the resume token and whatever else a reply may come to carry.
const SLACK_BYTES: usize = 160;

/// A room's frame.
pub struct Frame {
    pub room: usize,
    pub seq: u64,
    /// On the wire, with its header.
    pub bytes: usize,
    says: Says,
    /// As it was first seen. Everybody after sees the same.
    seen: RefCell<Option<Vec<u8>>>,
}

enum Says {
    /// This, and the content byte for byte.
    This(Value, Option<String>),
    /// One of these leaves, each once: who goes in one turn goes in any order.
    LeaveOf(Rc<RefCell<Vec<Leave>>>),
}

struct Leave {
    /// Without seq and reason.
    frame: Value,
    reasons: Vec<&'static str>,
}

/// What a connection should be told.
pub enum Item {
    Room(Rc<Frame>),
    /// Its own reply, and at most how many bytes that takes.
    Own(Reply, usize),
}

pub enum Reply {
    Join(Value),
    Failure(&'static str, Option<String>),
    Duplicate,
}

impl Item {
    pub fn bytes(&self) -> usize {
        match self {
            Item::Room(frame) => frame.bytes,
            Item::Own(_, bytes) => *bytes,
        }
    }
}

pub struct Seat {
    pub peer: usize,
    pub id: String,
    pub member: Value,
    /// As the hub was seen to write it.
    pub text: Option<String>,
}

pub struct Room {
    pub number: String,
    name: String,
    desc: String,
    owner: Value,
    owner_configured: bool,
    pub configured: bool,
    created_ms: u64,
    pub seats: Vec<Seat>,
    pub seq: u64,
    /// The newest frames, at least as many as a hub may hold.
    frames: VecDeque<Rc<Frame>>,
    frames_bytes: usize,
    pub empty_since_ms: u64,
    pub is_over: bool,
}

/// How a connection may end: what the rooms are told, and the code of the close frame; none of that where the connection is broken.
#[derive(Clone, Debug)]
pub struct End {
    pub reason: &'static str,
    pub close: Option<Option<u16>>,
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
    id: String,
    pub seats: Vec<usize>,
    last_seen_ms: u64,
    join_by_ms: Option<u64>,
    bad_in_a_row: u32,
    /// When something was refused for its rate.
    refused_ms: Vec<u64>,
    frames: Bucket,
    bytes: Bucket,
    over_rate: bool,
    late_ping: Option<Vec<u8>>,
    /// What it should be told and was not yet.
    pub expected: VecDeque<Item>,
    pub pongs: VecDeque<Vec<u8>>,
    /// Bytes of both.
    pub owed: usize,
    /// How it may end; it does with this turn, where there is any.
    pub ends: Vec<End>,
}

impl Peer {
    /// Something is refused for its rate. Says whether that is the hundredth within ten seconds.
    fn is_refused(&mut self, now_ms: u64) -> bool {
        self.refused_ms.push(now_ms);
        self.refused_ms.retain(|at_ms| now_ms - at_ms < limits::REFUSALS_MS);
        self.refused_ms.len() >= usize::from(limits::REFUSALS)
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

pub struct Model {
    pub settings: Settings,
    pub rooms: Vec<Room>,
    pub peers: Vec<Peer>,
}

impl Model {
    pub fn new(settings: Settings, now: Now) -> Self {
        let rooms = settings.configured.iter().map(|room| {
            let owner = room.owner.as_ref().map_or(Value::Null, |owner| {
                json!({"id": owner.id, "personName": owner.person_name, "personNum": owner.person_num,
                    "nickName": owner.nick_name, "headImgUrl": owner.head_img_url})
            });
            Room {
                name: room.name.clone(),
                desc: room.desc.clone(),
                owner_configured: room.owner.is_some(),
                owner,
                configured: true,
                ..Room::made(&room.number, now)
            }
        });
        Model { rooms: rooms.collect(), settings, peers: Vec::new() }
    }

    pub fn add_peer(&mut self) {
        let full = Bucket { left: u64::MAX >> 1, at_ms: 0 };
        self.peers.push(Peer {
            stage: Stage::Head,
            id: String::new(),
            seats: Vec::new(),
            last_seen_ms: 0,
            join_by_ms: None,
            bad_in_a_row: 0,
            refused_ms: Vec::new(),
            frames: Bucket { ..full },
            bytes: full,
            over_rate: false,
            late_ping: None,
            expected: VecDeque::new(),
            pongs: VecDeque::new(),
            owed: 0,
            ends: Vec::new(),
        });
    }

    // ---- What is there --------------------------------------------------------------------------

    /// The room of this number that there is now.
    pub fn room(&self, number: &str) -> Option<usize> {
        self.rooms.iter().rposition(|room| !room.is_over && room.number == number)
    }

    pub fn rooms_now(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().filter(|room| !room.is_over)
    }

    pub fn is_open(&self, peer: usize) -> bool {
        self.peers[peer].stage == Stage::Open
    }

    /// Whether two rooms have been empty for equally long.
    pub fn has_ties(&self) -> bool {
        let empty = self.rooms_now().filter(|room| room.seats.is_empty() && !room.configured);
        let mut since: Vec<u64> = empty.map(|room| room.empty_since_ms).collect();
        since.sort_unstable();
        since.windows(2).any(|two| two[0] == two[1])
    }

    /// Every moment at which something is due.
    pub fn dues(&self) -> Vec<u64> {
        let mut dues = Vec::new();
        for peer in self.peers.iter().filter(|peer| peer.stage == Stage::Open) {
            dues.push(peer.last_seen_ms + self.silence_ms());
            dues.extend(peer.join_by_ms);
        }
        for room in self.rooms_now().filter(|room| room.seats.is_empty()) {
            if !room.configured || !room.frames.is_empty() {
                dues.push(room.empty_since_ms + self.empty_ms());
            }
        }
        dues
    }

    /// Whether this connection is closed for its silence, or for having no seat, unless it says something.
    pub fn is_due(&self, peer: usize, now: Now) -> bool {
        let peer = &self.peers[peer];
        let silent = now.monotonic_ms >= peer.last_seen_ms + self.silence_ms();
        peer.stage == Stage::Open && (silent || peer.join_by_ms.is_some_and(|by_ms| now.monotonic_ms >= by_ms))
    }

    fn silence_ms(&self) -> u64 {
        u64::from(self.settings.heartbeat_interval_s + self.settings.heartbeat_grace_s) * 1000
    }

    fn empty_ms(&self) -> u64 {
        u64::from(self.settings.empty_for_s) * 1000
    }

    // ---- What comes -----------------------------------------------------------------------------

    /// A whole frame came. `seen` tells a room that the hub was seen to end from one that it keeps, by a lower number: of two that have been empty
    /// for equally long, either may have to make place.
    pub fn received(&mut self, now: Now, who: usize, said: &Said, bytes: usize, seen: &dyn Fn(&str) -> usize) {
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
            peer.ends.push(End { reason: "closed", close: Some(Some(*code)) });
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
                self.message(now, who, request, within, seen);
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

    fn message(&mut self, now: Now, who: usize, request: &Request, within: bool, seen: &dyn Fn(&str) -> usize) {
        let reference = request.reference.clone();
        let now_ms = now.monotonic_ms;
        let peer = &mut self.peers[who];
        let refused = match &request.ask {
            Ask::Bad(code) => {
                peer.bad_in_a_row += 1;
                if peer.bad_in_a_row == 16 || !within && peer.is_refused(now_ms) {
                    peer.ends.push(End { reason: "closed", close: Some(Some(1008)) });
                }
                Err(*code)
            }
            Ask::Heartbeat => {
                if within {
                    peer.bad_in_a_row = 0;
                }
                Ok(())
            }
            _ if !within => {
                if peer.is_refused(now_ms) {
                    peer.ends.push(End { reason: "closed", close: Some(Some(1008)) });
                }
                Err("rate_limited")
            }
            Ask::Join { room, member } => {
                peer.bad_in_a_row = 0;
                self.join(now, who, room, member, reference.clone(), seen)
            }
            Ask::Leave { room } => {
                peer.bad_in_a_row = 0;
                self.leave(now, who, room, reference.clone())
            }
            Ask::Say { room, data_type, from, content } => {
                peer.bad_in_a_row = 0;
                if from.as_ref().is_some_and(|from| !peer.id.is_empty() && *from != peer.id) {
                    Err("identity")
                } else {
                    self.say(now, who, room, *data_type, content, reference.clone())
                }
            }
        };
        if let Err(code) = refused {
            self.own(who, Reply::Failure(code, reference), 512);
        }
    }

    fn join(
        &mut self,
        now: Now,
        who: usize,
        number: &str,
        member: &Member,
        reference: Option<String>,
        seen: &dyn Fn(&str) -> usize,
    ) -> Result<(), &'static str> {
        let found = self.room(number);
        let peer = &mut self.peers[who];
        if let Some(join_by_ms) = &mut peer.join_by_ms {
            *join_by_ms = now.monotonic_ms + limits::JOIN_MS;
        }
        if !peer.id.is_empty() && peer.id != member.id {
            return Err("identity");
        }
        if found.is_none() && !self.settings.auto_create {
            return Err("no_such_room");
        }
        if found.is_some_and(|room| self.rooms[room].seats.iter().any(|seat| seat.id == member.id)) {
            self.own(who, Reply::Duplicate, 256);
            return Ok(());
        }
        if peer.seats.len() == self.settings.rooms_per_connection as usize {
            return Err("too_many_rooms");
        }
        if found.is_some_and(|room| self.rooms[room].seats.len() == self.settings.members_per_room as usize) {
            return Err("room_full");
        }
        let room = match found {
            Some(room) => room,
            None => self.make_room(now, number, seen).ok_or("hub_full")?,
        };
        let made = &mut self.rooms[room];
        let json = member.json();
        if made.seats.is_empty() && !made.owner_configured {
            made.owner = json.clone();
        }
        let mut data = made.json();
        data["newJoinMember"] = json.clone();
        self.broadcast(room, "Join", 1, data.clone(), json!({"time": now.wall_ms}), None);
        let made = &mut self.rooms[room];
        made.seats.push(Seat { peer: who, id: member.id.clone(), member: json, text: None });
        data["members"] = made.seats.iter().map(|seat| seat.member.clone()).collect();
        let seq = made.seq;
        let mut extend = json!({"seq": seq, "time": now.wall_ms});
        if let Some(reference) = reference {
            extend["ref"] = json!(reference);
        }
        let reply = body("Join", 1, data, extend);
        let bytes = reply.to_string().len() + SLACK_BYTES;
        self.own(who, Reply::Join(reply), bytes);
        let peer = &mut self.peers[who];
        peer.id.clone_from(&member.id);
        peer.join_by_ms = None;
        peer.seats.push(room);
        Ok(())
    }

    fn make_room(&mut self, now: Now, number: &str, seen: &dyn Fn(&str) -> usize) -> Option<usize> {
        if self.rooms_now().count() == self.settings.rooms as usize {
            let empty = |room: &&mut Room| !room.is_over && !room.configured && room.seats.is_empty();
            let longest = self.rooms.iter_mut().filter(empty).map(|room| room.empty_since_ms).min()?;
            let equal = self.rooms.iter_mut().filter(empty).filter(|room| room.empty_since_ms == longest);
            equal.min_by_key(|room| seen(&room.number))?.is_over = true;
        }
        self.rooms.push(Room::made(number, now));
        Some(self.rooms.len() - 1)
    }

    fn seat(&self, who: usize, number: &str) -> Result<usize, &'static str> {
        let room = self.room(number).filter(|room| self.peers[who].seats.contains(room));
        room.ok_or("not_joined")
    }

    fn leave(&mut self, now: Now, who: usize, number: &str, reference: Option<String>) -> Result<(), &'static str> {
        let room = self.seat(who, number)?;
        let place = self.rooms[room].place(who);
        let mut data = self.rooms[room].json();
        data["newLeaveMember"] = self.rooms[room].seats[place].member.clone();
        let mut extend = json!({"time": now.wall_ms, "reason": "left"});
        if let Some(reference) = reference {
            extend["ref"] = json!(reference);
        }
        self.broadcast(room, "Leave", 2, data, extend, None);
        self.stand_up(now, who, room);
        Ok(())
    }

    fn say(
        &mut self,
        now: Now,
        who: usize,
        number: &str,
        data_type: u16,
        content: &str,
        reference: Option<String>,
    ) -> Result<(), &'static str> {
        let room = self.seat(who, number)?;
        let place = self.rooms[room].place(who);
        let from = self.rooms[room].seats[place].member.clone();
        let data = json!({"from": from, "roomNumber": number, "content": null});
        let mut extend = json!({"time": now.wall_ms});
        if let Some(reference) = reference {
            extend["ref"] = json!(reference);
        }
        self.broadcast(room, "Chat", data_type, data, extend, Some(content));
        Ok(())
    }

    fn stand_up(&mut self, now: Now, who: usize, room: usize) {
        self.peers[who].seats.retain(|seat| *seat != room);
        let room = &mut self.rooms[room];
        room.seats.retain(|seat| seat.peer != who);
        if room.seats.is_empty() {
            room.empty_since_ms = now.monotonic_ms;
        }
    }

    fn own(&mut self, who: usize, reply: Reply, bytes: usize) {
        self.peers[who].owed += bytes;
        self.peers[who].expected.push_back(Item::Own(reply, bytes));
    }

    fn broadcast(
        &mut self,
        room: usize,
        what: &str,
        data_type: u16,
        data: Value,
        mut extend: Value,
        content: Option<&str>,
    ) {
        let seq = self.rooms[room].seq + 1;
        extend["seq"] = json!(seq);
        let json = body(what, data_type, data, extend);
        let payload = json.to_string().len() + content.map_or(0, |content| content.len() - "null".len());
        self.publish(room, payload, Says::This(json, content.map(str::to_owned)));
    }

    fn publish(&mut self, room: usize, payload: usize, says: Says) {
        let seq = self.rooms[room].seq + 1;
        let header = if payload < 126 { 2 } else { 4 + 6 * usize::from(payload > 0xFFFF) };
        let frame = Rc::new(Frame { room, seq, bytes: header + payload, says, seen: RefCell::new(None) });
        for seat in &self.rooms[room].seats {
            self.peers[seat.peer].owed += frame.bytes;
            self.peers[seat.peer].expected.push_back(Item::Room(frame.clone()));
        }
        let log_bytes = self.settings.room_log_bytes as usize;
        let room = &mut self.rooms[room];
        room.seq = seq;
        room.frames_bytes += frame.bytes;
        room.frames.push_back(frame);
        while room.frames.len() > self.settings.history as usize || room.frames_bytes > 2 * log_bytes {
            room.frames_bytes -= room.frames.pop_front().map_or(0, |frame| frame.bytes);
        }
    }

    // ---- What the time brings -------------------------------------------------------------------

    pub fn expire(&mut self, now: Now) {
        let (silence_ms, empty_ms) = (self.silence_ms(), self.empty_ms());
        let open = self.peers.iter_mut().filter(|peer| peer.stage == Stage::Open && peer.ends.is_empty());
        for peer in open {
            if now.monotonic_ms >= peer.last_seen_ms + silence_ms {
                peer.ends.push(End { reason: "heartbeat", close: Some(Some(4000)) });
            } else if peer.join_by_ms.is_some_and(|by_ms| now.monotonic_ms >= by_ms) {
                peer.ends.push(End { reason: "closed", close: Some(Some(1008)) });
            }
        }
        for room in &mut self.rooms {
            if room.seats.is_empty() && now.monotonic_ms >= room.empty_since_ms + empty_ms {
                room.is_over |= !room.configured;
                room.frames.clear();
                room.frames_bytes = 0;
            }
        }
    }

    /// Everyone with a reason to end does. Says who.
    pub fn finish(&mut self, now: Now) -> Vec<usize> {
        let gone = |peer: &Peer| peer.stage == Stage::Open && !peer.ends.is_empty();
        let gone: Vec<usize> = (0..self.peers.len()).filter(|who| gone(&self.peers[*who])).collect();
        let mut leaves: Vec<(usize, Vec<Leave>, usize)> = Vec::new();
        for who in &gone {
            for room in self.peers[*who].seats.clone() {
                let place = self.rooms[room].place(*who);
                let mut data = self.rooms[room].json();
                data["newLeaveMember"] = self.rooms[room].seats[place].member.clone();
                let frame = body("Leave", 2, data, json!({"time": now.wall_ms, "seq": null, "reason": null}));
                let reasons: Vec<&str> = self.peers[*who].ends.iter().map(|end| end.reason).collect();
                let leave = Leave { reasons, frame };
                let payload = leave.frame.to_string().len() + 10;
                match leaves.iter_mut().find(|(of, ..)| *of == room) {
                    Some((_, leaves, bytes)) => {
                        *bytes = payload.max(*bytes);
                        leaves.push(leave);
                    }
                    None => leaves.push((room, vec![leave], payload)),
                }
                self.stand_up(now, *who, room);
            }
            self.peers[*who].stage = Stage::Over;
        }
        for (room, leaves, payload) in leaves {
            let count = leaves.len();
            let leaves = Rc::new(RefCell::new(leaves));
            for _ in 0..count {
                self.publish(room, payload, Says::LeaveOf(leaves.clone()));
            }
        }
        gone
    }

    /// What a connection is surely owed by its own queue, if it is blocked: its replies, and all that had to go before them. And the largest frame
    /// of it.
    pub fn queued(&self, who: usize) -> (usize, usize) {
        let expected = &self.peers[who].expected;
        let Some(last) = expected.iter().rposition(|item| matches!(item, Item::Own(..))) else { return (0, 0) };
        let bytes = expected.iter().take(last + 1).map(|item| match item {
            Item::Room(frame) => frame.bytes,
            Item::Own(Reply::Join(_), bytes) => bytes - SLACK_BYTES,
            Item::Own(..) => 64,
        });
        let largest = expected.iter().take(last + 1).map(Item::bytes).max();
        (bytes.sum(), largest.unwrap_or(0))
    }

    /// What the leaves of these take in each room.
    pub fn leave_bytes(&self, leavers: &[usize], room: usize) -> usize {
        let room = &self.rooms[room];
        let of_these = room.seats.iter().filter(|seat| leavers.contains(&seat.peer));
        of_these.map(|seat| seat.member.to_string().len() + room.json().to_string().len() + SLACK_BYTES).sum()
    }

    // ---- What it is told ------------------------------------------------------------------------

    /// A text frame reached this connection: it must be one of those that may come next, which it then was.
    pub fn told(&mut self, who: usize, payload: &[u8]) -> Result<(), String> {
        let mut json: Option<Value> = None;
        let mut rooms = Vec::new();
        let mut next = Vec::new();
        for place in 0..self.peers[who].expected.len() {
            let is_it = match &self.peers[who].expected[place] {
                // A reply overtakes nothing, and nothing overtakes a reply.
                Item::Own(..) if place > 0 => break,
                Item::Own(reply, _) => {
                    let json = json.get_or_insert(parse(payload)?);
                    let is_it = reply.is(json);
                    if !is_it {
                        next.push(reply.brief());
                        break;
                    }
                    is_it
                }
                // Of each room the next frame only.
                Item::Room(frame) if rooms.contains(&frame.room) => continue,
                Item::Room(frame) => {
                    rooms.push(frame.room);
                    let is_it = frame.is(payload, &mut json)?;
                    if !is_it {
                        next.push(format!("{} of room {}", frame.brief(), self.rooms[frame.room].number));
                    }
                    is_it
                }
            };
            if is_it {
                let peer = &mut self.peers[who];
                peer.owed -= peer.expected.remove(place).map_or(0, |item| item.bytes());
                return Ok(());
            }
        }
        let payload = String::from_utf8_lossy(payload);
        let shown: String = payload.chars().take(600).collect();
        let tail: String =
            payload.chars().skip(shown.chars().count().max(payload.chars().count().saturating_sub(90))).collect();
        Err(format!(
            "connection {who} was told\n  {shown} … {tail}\nwhere one of these was due:\n  {}",
            next.join("\n  ")
        ))
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
}

impl Room {
    fn made(number: &str, now: Now) -> Self {
        Room {
            number: number.to_owned(),
            name: number.to_owned(),
            desc: String::new(),
            owner: Value::Null,
            owner_configured: false,
            configured: false,
            created_ms: now.wall_ms,
            seats: Vec::new(),
            seq: 0,
            frames: VecDeque::new(),
            frames_bytes: 0,
            empty_since_ms: now.monotonic_ms,
            is_over: false,
        }
    }

    fn place(&self, who: usize) -> usize {
        self.seats.iter().position(|seat| seat.peer == who).expect("whoever has a seat sits in its room")
    }

    fn json(&self) -> Value {
        json!({"number": self.number, "name": self.name, "desc": self.desc, "owner": self.owner,
            "createTime": self.created_ms})
    }

    /// The bytes of the newest frames, as many as a log of these bounds holds once all have read them; `None` where that is not certain, since
    /// leaves of different lengths have not been seen in their order.
    pub fn held_bytes(&self, settings: &Settings) -> Option<u64> {
        let mut held = 0;
        for (n, frame) in self.frames.iter().rev().enumerate() {
            if matches!(frame.says, Says::LeaveOf(_)) && frame.seen.borrow().is_none() {
                return None;
            }
            let bytes = frame.seen.borrow().as_ref().map_or(frame.bytes, |seen| frame_bytes(seen.len())) as u64;
            if n == settings.history as usize || held + bytes > u64::from(settings.room_log_bytes) {
                break;
            }
            held += bytes;
        }
        Some(held)
    }
}

fn frame_bytes(payload: usize) -> usize {
    payload + if payload < 126 { 2 } else { 4 + 6 * usize::from(payload > 0xFFFF) }
}

impl Frame {
    /// Whether `payload` is this frame.
    fn is(&self, payload: &[u8], json: &mut Option<Value>) -> Result<bool, String> {
        if let Some(seen) = &*self.seen.borrow() {
            return Ok(seen == payload);
        }
        let json = json.get_or_insert(parse(payload)?);
        let is_it = match &self.says {
            Says::This(expected, None) => json == expected,
            Says::This(expected, Some(content)) => {
                let mut without = json.clone();
                let place = without.pointer_mut("/resultBody/textData/data/content");
                place.is_some_and(|place| {
                    *place != Value::Null && {
                        *place = Value::Null;
                        true
                    }
                }) && without == *expected
                    && String::from_utf8_lossy(payload).contains(&format!("\"content\":{content}"))
            }
            Says::LeaveOf(leaves) => {
                let mut without = json.clone();
                let seq = without.pointer_mut("/resultBody/extendFields/seq").map(Value::take);
                let reason = without.pointer_mut("/resultBody/extendFields/reason").map(Value::take);
                let mut leaves = leaves.borrow_mut();
                let place = leaves.iter().position(|leave| {
                    let of_these = leave.reasons.iter().any(|one| reason.as_ref() == Some(&json!(one)));
                    of_these && without == leave.frame
                });
                let place = place.filter(|_| seq == Some(json!(self.seq)));
                if let Some(place) = place {
                    leaves.remove(place);
                }
                place.is_some()
            }
        };
        if is_it {
            *self.seen.borrow_mut() = Some(payload.to_vec());
        }
        Ok(is_it)
    }

    fn brief(&self) -> String {
        let what = match &self.says {
            Says::This(json, content) => {
                let content = content.as_ref().map_or(String::new(), |text| text.chars().take(24).collect());
                format!("{}{content}", json["msg"])
            }
            Says::LeaveOf(leaves) => {
                let who = |leave: &Leave| {
                    let member = &leave.frame["resultBody"]["textData"]["data"]["newLeaveMember"]["id"];
                    format!("{member} {:?}", leave.reasons)
                };
                format!("leave of one of {:?}", leaves.borrow().iter().map(who).collect::<Vec<_>>())
            }
        };
        format!("frame {} ({what})", self.seq)
    }
}

impl Reply {
    fn is(&self, json: &Value) -> bool {
        match self {
            Reply::Join(expected) => {
                let mut json = json.clone();
                if let Some(Value::Object(extend)) = json.pointer_mut("/resultBody/extendFields") {
                    // Its worth shows when it is used.
                    extend.remove("resumeToken");
                }
                json == *expected
            }
            Reply::Duplicate => *json == json!({"status": 0, "msg": DUPLICATE, "resultBody": ""}),
            Reply::Failure(code, reference) => {
                let mut expected = json!({"status": 0, "msg": null, "resultBody": "", "code": code});
                if let Some(reference) = reference {
                    expected["ref"] = json!(reference);
                }
                let mut json = json.clone();
                let said = json.get_mut("msg").map(Value::take);
                said.is_some_and(|said| said.as_str().is_some_and(|said| !said.is_empty())) && json == expected
            }
        }
    }

    fn brief(&self) -> String {
        match self {
            Reply::Join(json) => {
                let data = &json["resultBody"]["textData"]["data"];
                let seq = &json["resultBody"]["extendFields"]["seq"];
                format!(
                    "the reply to a join of {}, seq {seq}, {} members",
                    data["number"],
                    data["members"].as_array().map_or(0, Vec::len)
                )
            }
            Reply::Failure(code, reference) => format!("the failure {code}, ref {reference:?}"),
            Reply::Duplicate => "the refusal of a duplicate".into(),
        }
    }
}

fn parse(payload: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(payload).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(payload)))
}

fn body(what: &str, data_type: u16, data: Value, extend: Value) -> Value {
    json!({"status": 1, "msg": format!("{what} successfully"), "resultBody": {"msgType": 3,
        "textData": {"dataType": data_type, "data": data}, "extendFields": extend}})
}

//! A room as a list of members and a list of frames.
//!
//! Owns: who sits where, what a room says of itself, the order of its frames, and how many of them a log of given bounds holds. Refuses to know:
//! who may do what, and who is told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use classhub::base::Now;
use classhub::hub::{RoomSettings, Settings};

use crate::client::Member;
use crate::frame::{Frame, Leave, Moment, RuleEnd};
use crate::moderation::Rule;
use crate::text;

/// A place in a room.
pub struct Seat {
    pub joined_seq: u64,
    pub id: Rc<str>,
    /// As JSON.
    pub member: Rc<str>,
    /// The connection that sits here; none while the seat lingers.
    pub holder: Option<usize>,
    pub linger: Option<Linger>,
    /// What opens it, once somebody was told.
    pub token: Rc<RefCell<Option<Rc<str>>>>,
    /// Where its holder is, or was last.
    pub address: IpAddr,
}

/// A seat without a connection.
#[derive(Clone)]
pub struct Linger {
    pub since_ms: u64,
    pub until_ms: u64,
    pub reasons: Vec<&'static str>,
}

pub struct Room {
    pub number: String,
    pub configured: bool,
    pub rule: Rule,
    pub name: String,
    desc: String,
    /// As JSON: whose word counts here, or did last, or should.
    owner: Rc<str>,
    created_ms: u64,
    /// `"number":…` to `"createTime":…`, and what holds.
    pub fields: Rc<str>,
    pub seats: Vec<Seat>,
    pub seq: u64,
    /// The newest frames, at least as many as a hub may hold.
    pub frames: VecDeque<Rc<Frame>>,
    frames_bytes: usize,
    /// How many of them a log holds that everybody has read, and what they take.
    kept: usize,
    kept_bytes: usize,
    /// How many of them have no certain size.
    kept_unsure: usize,
    /// The oldest frame that the hub holds, as it was when somebody looked.
    pub held_from: u64,
    pub empty_since_ms: u64,
    pub is_over: bool,
}

impl Room {
    pub fn made(number: &str, now: Now) -> Self {
        let mut room = Room {
            number: number.to_owned(),
            configured: false,
            rule: Rule::default(),
            name: number.to_owned(),
            desc: String::new(),
            owner: "null".into(),
            created_ms: now.wall_ms,
            fields: "".into(),
            seats: Vec::new(),
            seq: 0,
            frames: VecDeque::new(),
            frames_bytes: 0,
            kept: 0,
            kept_bytes: 0,
            kept_unsure: 0,
            held_from: 0,
            empty_since_ms: now.monotonic_ms,
            is_over: false,
        };
        room.write_fields();
        room
    }

    pub fn configured(settings: &RoomSettings, now: Now) -> Self {
        let mut room = Room {
            configured: true,
            rule: Rule::of(settings),
            name: settings.name.clone(),
            desc: settings.desc.clone(),
            ..Room::made(&settings.number, now)
        };
        if let Some(owner) = &settings.owner {
            let fields = vec![("personName", owner.person_name.to_string()), ("nickName", owner.nick_name.to_string())];
            room.owner = text::member(&Member { id: owner.id.to_string(), fields }).into();
        }
        room.write_fields();
        room
    }

    /// From now on it shows this Member as its owner.
    pub fn set_owner(&mut self, owner: &Rc<str>) {
        self.owner = owner.clone();
        self.write_fields();
    }

    /// The room's fields, but for what holds.
    fn bare_fields(&self) -> String {
        format!(
            r#""number":{},"name":{},"desc":{},"owner":{},"createTime":{}"#,
            text::string(&self.number),
            text::string(&self.name),
            text::string(&self.desc),
            self.owner,
            self.created_ms
        )
    }

    /// What holds has changed.
    pub fn write_fields(&mut self) {
        let mut fields = self.bare_fields();
        fields.push_str(if self.rule.locked { r#","locked":true"# } else { "" });
        fields.push_str(if self.rule.quiet { r#","quiet":true"# } else { "" });
        self.fields = fields.into();
    }

    /// A Rule frame, up to its `extendFields`: it says both, whatever they are.
    pub fn ruled(&self) -> String {
        let Rule { locked, quiet, .. } = self.rule;
        text::success("Rule", 3, 4, &format!(r#"{},"locked":{locked},"quiet":{quiet}"#, self.bare_fields()))
    }

    pub fn place_of(&self, who: usize) -> usize {
        self.seats.iter().position(|seat| seat.holder == Some(who)).expect("whoever has a seat sits in its room")
    }

    pub fn members(&self) -> Vec<Rc<str>> {
        self.seats.iter().map(|seat| seat.member.clone()).collect()
    }

    /// The roster as a field of a Room.
    pub fn members_field(&self) -> String {
        let mut text = String::from(r#","members":["#);
        for (n, seat) in self.seats.iter().enumerate() {
            text.push_str(if n > 0 { "," } else { "" });
            text.push_str(&seat.member);
        }
        text + "]"
    }

    pub fn leave(&self, place: usize, now: Now, reasons: Vec<&'static str>) -> Leave {
        let Seat { member, joined_seq, .. } = &self.seats[place];
        let is_owners = self.rule.is_owner(*joined_seq);
        Leave { member: member.clone(), time_ms: now.wall_ms, reasons, is_owners }
    }

    /// The next frame. `log_bytes` is what a log may hold.
    pub fn append(&mut self, frame: Rc<Frame>, log_bytes: usize) {
        self.seq = frame.seq;
        self.frames_bytes += frame.bytes;
        self.kept += 1;
        self.kept_bytes += frame.size.get().0;
        frame.is_unsure.set(!frame.size.get().1);
        self.kept_unsure += usize::from(!frame.size.get().1);
        self.frames.push_back(frame);
        // A log holds more than it may for as long as a turn lasts.
        while self.frames_bytes > 2 * log_bytes + (64 << 10) && self.frames.len() > self.kept {
            self.frames_bytes -= self.frames.pop_front().map_or(0, |frame| frame.bytes);
        }
    }

    /// The next frames, which are these leaves, and the end of what held where it ends with one of them.
    pub fn append_leaves(&mut self, room: usize, leaves: Vec<Leave>, log_bytes: usize) -> Vec<Rc<Frame>> {
        let held = self.fields.clone();
        let owners = leaves.iter().find(|leave| leave.is_owners).map(|leave| leave.time_ms);
        let rule = owners.filter(|_| self.rule.end()).map(|time_ms| {
            self.write_fields();
            RuleEnd::new(self.ruled(), time_ms, self.fields.clone())
        });
        let moment = Moment::new(leaves, held, rule, self.seq + 1);
        let frames = moment.frames();
        let moment = Rc::new(RefCell::new(moment));
        let next = |_| {
            let frame = Rc::new(Frame::one_of(room, self.seq + 1, &moment));
            self.append(frame.clone(), log_bytes);
            frame
        };
        (0..frames).map(next).collect()
    }

    /// A frame was seen, which may have been one whose size was not certain before.
    pub fn was_seen(&mut self, frame: &Frame) {
        let (bytes, is_certain) = frame.size.get();
        if is_certain && frame.is_unsure.replace(false) && frame.seq + self.kept as u64 > self.seq {
            self.kept_bytes = self.kept_bytes - frame.bytes + bytes;
            self.kept_unsure -= 1;
        }
    }

    /// The bytes of the newest frames, as many as a log of these bounds holds once all have read them; `None` where that is not certain, since
    /// leaves of different lengths have not been seen in their order.
    pub fn held_bytes(&mut self, settings: &Settings) -> Option<u64> {
        if self.kept_unsure > 0 {
            return None;
        }
        while self.kept > settings.history as usize || self.kept_bytes > settings.room_log_bytes as usize {
            self.kept_bytes -= self.frames[self.frames.len() - self.kept].size.get().0;
            self.kept -= 1;
        }
        Some(self.kept_bytes as u64)
    }

    /// The oldest frame of a log that holds so many bytes; `None` where that is not certain.
    pub fn oldest_of(&self, held_bytes: u64) -> Option<u64> {
        let mut left = held_bytes as usize;
        let mut seq = self.seq + 1;
        for frame in self.frames.iter().rev() {
            let (bytes, is_certain) = frame.size.get();
            if left == 0 {
                break;
            }
            if !is_certain {
                return None;
            }
            left = left.checked_sub(bytes)?;
            seq = frame.seq;
        }
        (left == 0).then_some(seq)
    }

    /// Nothing is kept any more.
    pub fn forget(&mut self) {
        self.frames.clear();
        (self.frames_bytes, self.kept, self.kept_bytes, self.kept_unsure) = (0, 0, 0, 0);
    }

    /// At most what the frames after this one take.
    pub fn bytes_after(&self, seq: u64) -> usize {
        self.frames.iter().rev().take_while(|frame| frame.seq > seq).map(|frame| frame.bytes).sum()
    }
}

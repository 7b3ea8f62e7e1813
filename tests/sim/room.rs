//! A room as a list of members and a list of frames.
//!
//! Owns: who sits where, what a room says of itself, the order of its frames, and how many of them a log of given bounds holds. Refuses to know:
//! who may do what, and who is told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use classhub::base::Now;
use classhub::hub::Settings;

use crate::frame::{Frame, Leave};
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
    /// It is the owner's, which is taken over only with its token.
    pub guarded: bool,
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
    pub owner_configured: bool,
    name: String,
    desc: String,
    pub owner: String,
    created_ms: u64,
    /// `"number":…` to `"createTime":…`.
    pub fields: String,
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
            owner_configured: false,
            name: number.to_owned(),
            desc: String::new(),
            owner: "null".to_owned(),
            created_ms: now.wall_ms,
            fields: String::new(),
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

    pub fn configured(number: &str, name: &str, desc: &str, owner: Option<String>, now: Now) -> Self {
        let mut room = Room {
            configured: true,
            owner_configured: owner.is_some(),
            name: name.to_owned(),
            desc: desc.to_owned(),
            ..Room::made(number, now)
        };
        room.set_owner(owner.unwrap_or("null".to_owned()));
        room
    }

    pub fn set_owner(&mut self, owner: String) {
        self.owner = owner;
        self.write_fields();
    }

    fn write_fields(&mut self) {
        self.fields = format!(
            r#""number":{},"name":{},"desc":{},"owner":{},"createTime":{}"#,
            text::string(&self.number),
            text::string(&self.name),
            text::string(&self.desc),
            self.owner,
            self.created_ms
        );
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
        let member = self.seats[place].member.clone();
        let before = text::success("Leave", 3, 2, &format!(r#"{},"newLeaveMember":{member}"#, self.fields));
        Leave { member, before, time_ms: now.wall_ms, reasons }
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

    /// The next frames, which are these leaves in any order.
    pub fn append_leaves(
        &mut self,
        room: usize,
        leaves: Vec<Leave>,
        log_bytes: usize,
        tell: &mut dyn FnMut(&Rc<Frame>),
    ) {
        let count = leaves.len();
        let leaves = Rc::new(RefCell::new(leaves));
        for _ in 0..count {
            let frame = Rc::new(Frame::one_of(room, self.seq + 1, &leaves));
            if count == 1 && leaves.borrow()[0].reasons.len() == 1 {
                let text = leaves.borrow()[0].texts(frame.seq).next().unwrap_or_default();
                frame.is(text.as_bytes());
            }
            tell(&frame);
            self.append(frame, log_bytes);
        }
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

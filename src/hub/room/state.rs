//! A room, left by one process for the next.
//!
//! Owns: what of a room has to outlive the process, and what cannot be of what is read. Refuses to know: who holds its seats; each connection says
//! so of its own (`hub::state`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Holder, IdJson, MemberJson, Reader, Room, Seat};
use crate::base::state::{Span, StateError, StateReader, StateWriter};
use crate::base::{Address, Key, Now};
use crate::hub::log::Log;
use crate::hub::rule::Rule;
use crate::hub::seals::{KeyIndex, Seals, Voice};
use crate::hub::settings::{Passcode, Settings};
use crate::limits;
use crate::wire::LeaveReason;

/// A room as it is written down.
#[derive(Serialize, Deserialize)]
pub(in crate::hub) struct RoomState {
    number: String,
    name_json: Box<RawValue>,
    desc_json: Box<RawValue>,
    instance: u64,
    created_ms: u64,
    is_configured: bool,
    /// The Member who owns it, or did last.
    owner: Option<Box<RawValue>>,
    owner_id: Option<String>,
    passcode: Option<Passcode>,
    owner_passcode: Option<Passcode>,
    rule: Rule,
    seats: Vec<SeatState>,
    /// The number of the last frame, and all that are held.
    seq: u64,
    frames: Span,
    earlier_log_bytes: Option<u64>,
    last_append_ms: u64,
    empty_since_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct SeatState {
    joined_seq: u64,
    member: Box<RawValue>,
    address: Address,
    key: Option<KeyIndex>,
    /// Until when it is kept for whoever comes back, and why; `None` where a connection has it.
    lingers: Option<(u64, LeaveReason)>,
}

/// Whose Member it is.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// What a connection has of a room: its seat, and the number of the last frame that it had.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::hub) struct ReaderState {
    pub instance: u64,
    pub joined_seq: u64,
    pub seen_seq: u64,
}

impl Room {
    /// Writes the room down. No connection is inside one of its frames.
    pub fn save(&self, to: &mut StateWriter) -> RoomState {
        RoomState {
            number: self.number.to_string(),
            name_json: raw(&self.name_json),
            desc_json: raw(&self.desc_json),
            instance: self.instance,
            created_ms: self.created_ms,
            is_configured: self.configured,
            owner: (!self.owner_json.is_empty()).then(|| raw(&self.owner_json)),
            owner_id: self.owner_id.clone(),
            passcode: self.passcode.clone(),
            owner_passcode: self.owner_passcode.clone(),
            rule: self.rule.clone(),
            seats: self.seats.iter().map(Seat::save).collect(),
            seq: self.logs.plain.seq(),
            frames: to.put(self.logs.plain.since(self.logs.plain.start())),
            earlier_log_bytes: self.earlier_log_bytes,
            last_append_ms: self.last_append_ms,
            empty_since_ms: self.empty_since_ms,
        }
    }

    /// What the connection in this seat has had.
    pub fn save_reader(&self, joined_seq: u64) -> Option<ReaderState> {
        let reader = self.seat(joined_seq)?.reader()?;
        let seen_seq = self.logs.of(reader.is_sealed).passed(reader.cursor);
        Some(ReaderState { instance: self.instance, joined_seq, seen_seq })
    }

    /// The room that was written down. Nobody holds any of its seats yet.
    pub fn restore(
        state: RoomState,
        settings: &Settings,
        seals: &Seals,
        now: Now,
        from: &mut StateReader,
    ) -> Result<Room, StateError> {
        if state.number.is_empty() || state.number.len() > limits::ID_BYTES {
            return Err(StateError::wrong("a room's number"));
        }
        if state.seq > limits::COUNTED {
            return Err(StateError::wrong("more frames than a room ever has"));
        }
        if state.last_append_ms.max(state.empty_since_ms) > now.monotonic_ms {
            return Err(StateError::wrong("a room where something was said after all this"));
        }
        let mut room = Room::made(&state.number, state.instance, now);
        (room.name_json, room.desc_json) = (state.name_json.get().into(), state.desc_json.get().into());
        (room.created_ms, room.configured) = (state.created_ms, state.is_configured);
        (room.owner_id, room.rule) = (state.owner_id, state.rule);
        (room.passcode, room.owner_passcode) = (state.passcode, state.owner_passcode);
        (room.last_append_ms, room.empty_since_ms) = (state.last_append_ms, state.empty_since_ms);
        room.earlier_log_bytes = state.earlier_log_bytes;
        room.tidy = false;
        room.logs.plain =
            Log::restore(state.seq, from.get(state.frames)?).ok_or_else(|| StateError::wrong("frames"))?;
        if let Some(owner) = state.owner {
            room.set_owner(owner.get());
        }
        room.seats.reserve_exact(state.seats.len());
        // Until its connection says that a seat is its own; one that does not has broken.
        let unclaimed_ms = now.monotonic_ms + u64::from(settings.linger_s) * 1000;
        for seat in state.seats {
            let seat = Seat::restore(seat, seals, unclaimed_ms)?;
            let follows = room.seats.last().is_none_or(|last| last.joined_seq < seat.joined_seq);
            if !follows || seat.joined_seq > state.seq {
                return Err(StateError::wrong("the order of seats"));
            }
            room.roster_bytes += seat.member.text.len() + 1;
            room.seats.push(seat);
        }
        room.lingers_until_ms = room.longest_lingering().map(|(until_ms, ..)| until_ms);
        Ok(room)
    }

    /// Gives a seat back to its connection, which reads on where it was.
    pub fn restore_reader(
        &mut self,
        reader: ReaderState,
        connection: Key,
        voice: Voice,
        seals: &Seals,
    ) -> Result<(), StateError> {
        let place = self.place(reader.joined_seq).ok_or_else(|| StateError::wrong("a seat that is none"))?;
        if let Holder::Reader(_) = self.seats[place].holder {
            return Err(StateError::wrong("a seat that two have"));
        }
        let key = voice.key();
        if let Some(key) = key {
            if self.logs.key().is_some_and(|other| other != key) {
                return Err(StateError::wrong("a room under two keys"));
            }
            self.logs.seal_with(key, seals);
        }
        let is_sealed = key.is_some();
        let log = self.logs.of(is_sealed);
        let cursor = log.after(reader.seen_seq).ok_or_else(|| StateError::wrong("how far a seat has read"))?;
        self.seats[place].holder = Holder::Reader(Reader { connection, is_sealed, cursor });
        self.lingers_until_ms = self.longest_lingering().map(|(until_ms, ..)| until_ms);
        Ok(())
    }
}

impl Seat {
    fn save(&self) -> SeatState {
        let lingers = match self.holder {
            Holder::Lingering { until_ms, reason } => Some((until_ms, reason)),
            Holder::Reader(_) | Holder::Ending(_) => None,
        };
        SeatState {
            joined_seq: self.joined_seq,
            member: raw(&self.member.text),
            address: self.address,
            key: self.key,
            lingers,
        }
    }

    fn restore(state: SeatState, seals: &Seals, unclaimed_ms: u64) -> Result<Seat, StateError> {
        if state.key.is_some_and(|key| !seals.has(key)) {
            return Err(StateError::wrong("a seat under a key that is none"));
        }
        let (until_ms, reason) = state.lingers.unwrap_or((unclaimed_ms, LeaveReason::Lost));
        Ok(Seat {
            joined_seq: state.joined_seq,
            member: MemberJson::restore(&state.member)?,
            address: state.address,
            key: state.key,
            holder: Holder::Lingering { until_ms, reason },
        })
    }
}

impl MemberJson {
    fn restore(member: &RawValue) -> Result<Self, StateError> {
        let wrong = || StateError::wrong("a member");
        let id = id_of(member).filter(|id| (1..=limits::ID_BYTES).contains(&id.len())).ok_or_else(wrong)?;
        let id = IdJson::new(&id);
        let text: Box<str> = member.get().into();
        if !text.as_bytes().starts_with(id.as_bytes()) || text.len() as u64 > limits::MEMBER_JSON_BYTES {
            return Err(wrong());
        }
        Ok(MemberJson { text, id_end: id.as_bytes().len() as u16, id_hash: super::member_json::hash(id.as_bytes()) })
    }
}

/// JSON text that we wrote, as it is.
fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("what the hub writes is JSON")
}

fn id_of(member: &RawValue) -> Option<String> {
    serde_json::from_str(member.get()).ok().map(|Named { id }| id)
}

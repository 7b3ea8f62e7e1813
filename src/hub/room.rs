//! One room: who sits in it, and what they have been told.
//!
//! Owns: the seats in join order, the roster as pieces of JSON, the room's own fields as JSON, and the log with its readers.
//! Refuses to know: connections beyond their keys, other rooms, and whether a request was allowed.

use super::log::Log;
use super::outlet::Outlet;
use super::settings::RoomSettings;
use crate::base::{Key, Now};
use crate::limits;
use crate::wire::reply::{self, Stamp};
use crate::wire::{CloseReason, LeaveReason, Member};

/// What JSON adds to the fields of a Member, or to those of a Room: names, quotes and braces.
const JSON_FRAME_BYTES: usize = 256;

/// A place in a room.
pub(super) struct Seat {
    /// The seq of its join frame. Seats are in the order of it, and it is never given twice.
    pub joined_seq: u64,
    /// A piece of the roster, and the `from` of all that is said from here.
    member: MemberJson,
    /// Who reads the log from here. None where the reader was found too slow, until its connection has ended.
    reader: Option<Reader>,
}

struct Reader {
    connection: Key,
    /// How far in the log it has come. May stand inside a frame, where the socket took a part of it.
    cursor: u64,
}

/// How much a room may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub log_bytes: u64,
    pub history: usize,
}

pub(super) struct Room {
    number: heapless::String<{ limits::ID_BYTES }>,
    number_json: String,
    name_json: String,
    desc_json: String,
    created_ms: u64,
    configured: bool,
    /// Whether the owner was named by the operator; else it is whoever joins while nobody is here.
    owner_configured: bool,
    /// `"number":…` to `"createTime":…`, made anew when the owner changes.
    fields: String,
    seats: Vec<Seat>,
    /// The sum of all `member`s, so that a roster is written into a buffer of the right size.
    roster_bytes: usize,
    pub log: Log,
    /// Whether there is something to flush: the room is on the hub's list of changed rooms.
    pub changed: bool,
    pub last_append_ms: u64,
    /// Nothing was appended since the log gave back what its buffer had to spare.
    pub tidy: bool,
    /// Since when nobody sits here.
    pub empty_since_ms: u64,
}

impl Room {
    /// A room that an operator wants.
    pub fn configured(settings: &RoomSettings, now: Now) -> Self {
        let mut room = Room::new(&settings.number, &settings.name, &settings.desc, now);
        room.configured = true;
        if let Some(owner) = &settings.owner {
            room.owner_configured = true;
            room.set_owner(&reply::json(owner));
        }
        room
    }

    /// A room made by its first join. `number` is within its limit, as every request is.
    pub fn made(number: &str, now: Now) -> Self {
        Room::new(number, number, "", now)
    }

    fn new(number: &str, name: &str, desc: &str, now: Now) -> Self {
        Room {
            // Requests and configuration are checked against this very limit.
            number: number.try_into().expect("a room's number is within its limit"),
            number_json: reply::json(number),
            name_json: reply::json(name),
            desc_json: reply::json(desc),
            created_ms: now.wall_ms,
            configured: false,
            owner_configured: false,
            fields: String::new(),
            seats: Vec::new(),
            roster_bytes: 0,
            log: Log::default(),
            changed: false,
            last_append_ms: now.monotonic_ms,
            tidy: true,
            empty_since_ms: now.monotonic_ms,
        }
    }

    pub fn number(&self) -> &str {
        &self.number
    }

    pub fn is_configured(&self) -> bool {
        self.configured
    }

    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// The roster, in join order, as JSON text.
    pub fn roster(&self) -> impl Iterator<Item = &str> {
        self.seats.iter().map(|seat| &*seat.member.text)
    }

    /// Whether somebody sits here under this member's id.
    pub fn has_id_of(&self, member: &MemberJson) -> bool {
        self.seats.iter().any(|seat| seat.member.id() == member.id())
    }

    fn set_owner(&mut self, owner_json: &str) {
        self.fields = format!(
            r#""number":{},"name":{},"desc":{},"owner":{},"createTime":{}"#,
            self.number_json, self.name_json, self.desc_json, owner_json, self.created_ms
        );
    }

    // ---- Frames ---------------------------------------------------------------------------------

    fn stamp<'a>(&self, now: Now, reference: Option<&'a str>) -> Stamp<'a> {
        Stamp { seq: self.log.seq() + 1, time_ms: now.wall_ms, reference }
    }

    /// Tells everyone that a member came, and makes it an owner where the room has none and stands empty. The seat itself is taken
    /// by [`Room::sit`], so that the joiner is not told.
    pub fn announce(&mut self, now: Now, member_json: &MemberJson) {
        let member_json = &*member_json.text;
        if self.is_empty() && !self.owner_configured {
            self.set_owner(member_json);
        }
        let stamp = self.stamp(now, None);
        let payload_max = self.fields.len() + member_json.len() + JSON_FRAME_BYTES;
        self.log.append(payload_max, |out| reply::joined(out, &self.fields, member_json, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Gives a seat to whoever was just announced. It reads what comes from now on.
    pub fn sit(&mut self, connection: Key, member: MemberJson, seats_max: usize) -> u64 {
        if self.seats.is_empty() {
            // The whole table at once, so that it never moves; what nobody sits on is not touched.
            self.seats.reserve_exact(seats_max);
        }
        let joined_seq = self.log.seq();
        self.roster_bytes += member.text.len() + 1;
        let reader = Some(Reader { connection, cursor: self.log.end() });
        self.seats.push(Seat { joined_seq, member, reader });
        joined_seq
    }

    /// The joiner's own reply, with everyone in it.
    pub fn welcome(&self, out: &mut Vec<u8>, now: Now, joined_seq: u64, reference: Option<&str>) {
        let joiner = self.seat(joined_seq).map_or("null", |seat| &seat.member.text);
        out.reserve(self.fields.len() + self.roster_bytes + joiner.len() + JSON_FRAME_BYTES);
        let stamp = Stamp { seq: joined_seq, time_ms: now.wall_ms, reference };
        reply::join_successfully(out, &self.fields, self.roster(), joiner, stamp);
    }

    /// Appends what the member in this seat says.
    pub fn say(&mut self, now: Now, joined_seq: u64, data_type: u16, content: &str, reference: Option<&str>) {
        let Some(place) = self.place(joined_seq) else { return };
        let from = &*self.seats[place].member.text;
        let stamp = self.stamp(now, reference);
        let reference_bytes = reference.map_or(0, str::len);
        let payload_max = from.len() + content.len() + self.number_json.len() + reference_bytes + JSON_FRAME_BYTES;
        self.log.append(payload_max, |out| reply::said(out, data_type, from, &self.number_json, content, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Tells everyone that the member in this seat leaves.
    pub fn announce_leave(&mut self, now: Now, joined_seq: u64, reason: LeaveReason, reference: Option<&str>) {
        let Some(place) = self.place(joined_seq) else { return };
        let leaver = &*self.seats[place].member.text;
        let stamp = self.stamp(now, reference);
        let payload_max = self.fields.len() + leaver.len() + reference.map_or(0, str::len) + JSON_FRAME_BYTES;
        self.log.append(payload_max, |out| reply::left(out, &self.fields, leaver, reason, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Ends a seat, whose reader has been given what it is owed.
    pub fn stand_up(&mut self, joined_seq: u64, now: Now) {
        let Some(place) = self.place(joined_seq) else { return };
        let seat = self.seats.remove(place);
        debug_assert!(
            seat.reader.is_none_or(|reader| reader.cursor == self.log.frame_end(reader.cursor)),
            "half a frame lost"
        );
        self.roster_bytes -= seat.member.text.len() + 1;
        if self.is_empty() {
            self.empty_since_ms = now.monotonic_ms;
            // An empty room needs no table.
            self.seats = Vec::new();
        }
    }

    fn place(&self, joined_seq: u64) -> Option<usize> {
        self.seats.binary_search_by_key(&joined_seq, |seat| seat.joined_seq).ok()
    }

    fn seat(&self, joined_seq: u64) -> Option<&Seat> {
        self.place(joined_seq).map(|place| &self.seats[place])
    }

    // ---- Readers --------------------------------------------------------------------------------

    fn reader_mut(&mut self, joined_seq: u64) -> Option<(&mut Reader, &Log)> {
        let place = self.place(joined_seq)?;
        self.seats[place].reader.as_mut().map(|reader| (reader, &self.log))
    }

    /// Offers every seat what it has not been given (one write each, however many frames), then lets go of what is too much, ending
    /// the readers who had not passed it, and of what is older than the history and was passed by all.
    pub fn flush(&mut self, bounds: Bounds, outlet: &mut impl Outlet) {
        self.changed = false;
        let end = self.log.end();
        let mut slowest = end;
        for reader in self.seats.iter_mut().filter_map(|seat| seat.reader.as_mut()) {
            if reader.cursor < end {
                reader.cursor += outlet.offer(reader.connection, self.log.since(reader.cursor)) as u64;
                slowest = slowest.min(reader.cursor);
            }
        }
        self.log.all_offered();
        let keep_from = self.log.within_bytes(bounds.log_bytes);
        if slowest < keep_from {
            for seat in &mut self.seats {
                if let Some(reader) = seat.reader.take_if(|reader| reader.cursor < keep_from) {
                    // Its next bytes are about to go: what is left of the frame it is in goes to its own queue, and no more is owed.
                    keep_rest(&self.log, &reader, outlet);
                    outlet.close(reader.connection, CloseReason::TooSlow);
                }
            }
            slowest = keep_from;
        }
        self.log.let_go(keep_from);
        self.log.let_go(self.log.within_frames(bounds.history).min(self.log.frame_start(slowest)));
    }

    /// Offers one seat what it is owed, or a slice of it. Says whether all that was offered was taken, and whether that was anything.
    pub fn offer(&mut self, joined_seq: u64, bytes_max: usize, outlet: &mut impl Outlet) -> Offered {
        let Some((reader, log)) = self.reader_mut(joined_seq) else { return Offered::Nothing };
        let slice = log.slice(reader.cursor, bytes_max);
        if slice.is_empty() {
            return Offered::Nothing;
        }
        let taken = outlet.offer(reader.connection, slice);
        reader.cursor += taken as u64;
        if taken < slice.len() { Offered::Blocked } else { Offered::Taken }
    }

    /// Whether the reader in this seat was given a part of a frame and not the rest.
    pub fn is_inside_frame(&self, joined_seq: u64) -> bool {
        let reader = self.seat(joined_seq).and_then(|seat| seat.reader.as_ref());
        reader.is_some_and(|reader| self.log.frame_end(reader.cursor) != reader.cursor)
    }

    /// Moves what is left of the frame that this reader is in to its connection's own queue.
    pub fn keep_rest(&mut self, joined_seq: u64, outlet: &mut impl Outlet) {
        if let Some((reader, log)) = self.reader_mut(joined_seq) {
            reader.cursor = keep_rest(log, reader, outlet);
        }
    }

    /// Gives this reader all it is owed: what the socket does not take moves to the connection's own queue.
    pub fn settle(&mut self, joined_seq: u64, outlet: &mut impl Outlet) {
        let Some((reader, log)) = self.reader_mut(joined_seq) else { return };
        let owed = log.since(reader.cursor);
        if owed.is_empty() {
            return;
        }
        reader.cursor += outlet.offer(reader.connection, owed) as u64;
        reader.cursor = keep_rest(log, reader, outlet);
        let owed = log.since(reader.cursor);
        if !owed.is_empty() {
            outlet.keep(reader.connection, |own| own.extend_from_slice(owed));
            reader.cursor = log.end();
        }
    }

    /// Ends the reader in this seat; it is owed nothing more but the rest of the frame it is in.
    pub fn end_reader(&mut self, joined_seq: u64, outlet: &mut impl Outlet) {
        let Some(place) = self.place(joined_seq) else { return };
        if let Some(reader) = self.seats[place].reader.take() {
            keep_rest(&self.log, &reader, outlet);
        }
    }
}

/// What came of an offer to one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The seat was owed nothing.
    Nothing,
    /// All that was offered was taken.
    Taken,
    /// The connection takes no more for now.
    Blocked,
}

/// Moves the rest of the frame that `reader` is in, if it is in one, and says where the next begins.
fn keep_rest(log: &Log, reader: &Reader, outlet: &mut impl Outlet) -> u64 {
    let end = log.frame_end(reader.cursor);
    if end != reader.cursor {
        let rest = &log.since(reader.cursor)[..(end - reader.cursor) as usize];
        outlet.keep_rest(reader.connection, rest);
    }
    end
}

/// A Member as JSON text.
pub(super) struct MemberJson {
    text: Box<str>,
    /// Where in `text` the id ends.
    id_end: u16,
}

impl MemberJson {
    pub fn new(member: &Member) -> Self {
        let id_end = r#"{"id":"#.len() + reply::json(&member.id).len();
        // An id takes six bytes for each of its own at most: far below what a u16 counts.
        MemberJson { text: reply::json(member).into(), id_end: id_end as u16 }
    }

    /// The text up to the end of the id: all Members are written the same way, so that these are equal where ids are.
    fn id(&self) -> &str {
        &self.text[..usize::from(self.id_end)]
    }
}

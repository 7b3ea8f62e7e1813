//! One room: who sits in it, and what they have been told.
//!
//! Owns: the seats in join order, the room's own fields as JSON, what is said of both, and the log.
//! Refuses to know: how a Member is written (`member_json`), how far each reader has come (`readers`), connections beyond their keys, other rooms, and
//! whether a request was allowed.

mod member_json;
mod readers;
mod state;

pub(super) use member_json::{IdJson, MemberJson};
pub(super) use readers::Offered;
pub(super) use state::{ReaderState, RoomState};

use self::member_json::hash;
use super::logs::Logs;
use super::rule::{Right, Rule};
use super::seals::{KeyIndex, Seals, Voice};
use super::settings::{Passcode, RoomSettings};
use crate::base::{Address, Key, Now};
use crate::limits;
use crate::wire::reply::{self, Seen, Stamp};
use crate::wire::request::Change;
use crate::wire::{LeaveReason, frame};

/// What JSON adds to the fields of a Member, or to those of a Room: names, quotes and braces.
const JSON_FRAME_BYTES: usize = 256;

/// A place in a room.
struct Seat {
    /// The seq of its join frame. Seats are in the order of it, and it is never given twice.
    joined_seq: u64,
    /// A piece of the roster, and the `from` of all that is said from here.
    member: MemberJson,
    /// Where its holder is, or was last.
    address: Address,
    /// The key that its holder reads under, or did last.
    key: Option<KeyIndex>,
    holder: Holder,
}

/// Who has a seat.
enum Holder {
    /// A connection, which reads the log.
    Reader(Reader),
    /// A connection that reads no more: it is about to end.
    Ending(Key),
    /// Nobody: its connection broke, and the seat waits for whoever comes back.
    Lingering { until_ms: u64, reason: LeaveReason },
}

struct Reader {
    connection: Key,
    is_sealed: bool,
    /// How far in its log it has come. May stand inside a frame, where the socket took a part of it.
    cursor: u64,
}

impl Seat {
    fn reader(&self) -> Option<&Reader> {
        if let Holder::Reader(reader) = &self.holder { Some(reader) } else { None }
    }

    fn reader_mut(&mut self) -> Option<&mut Reader> {
        if let Holder::Reader(reader) = &mut self.holder { Some(reader) } else { None }
    }
}

/// A seat that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub joined_seq: u64,
    /// The connection that has it; `None` while it lingers.
    pub holder: Option<Key>,
    /// It is the owner's: while it lingers, it is not for everyone who comes under its id.
    pub is_owners: bool,
}

/// How much a room may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub log_bytes: u64,
    pub history: usize,
}

pub(super) struct Room {
    /// No other room has it, before or after, whatever its number: tokens are bound to it.
    pub instance: u64,
    number: heapless::String<{ limits::ID_BYTES }>,
    number_json: String,
    name_json: String,
    desc_json: String,
    /// The Member who owns it, or did last; empty where nobody ever did.
    owner_json: String,
    created_ms: u64,
    configured: bool,
    /// Whom the operator named as the owner, by id; else it is whoever joins while nobody is here.
    pub owner_id: Option<String>,
    pub passcode: Option<Passcode>,
    pub owner_passcode: Option<Passcode>,
    pub rule: Rule,
    /// `"number":…` to `"createTime":…`, and behind that what holds in the room; made anew when either changes.
    fields: String,
    /// Where in `fields` the createTime ends.
    fields_bare: usize,
    /// As many as the hub lets sit here: who would be one too many is refused before.
    seats: Vec<Seat>,
    /// No lingering seat ends before this; `None` where none lingers.
    lingers_until_ms: Option<u64>,
    /// The sum of all `member`s, so that a roster is written into a buffer of the right size.
    roster_bytes: usize,
    pub logs: Logs,
    /// Frames that members were given whole, by their socket or for it: each once for each of them.
    pub delivered: u64,
    /// What the log might hold before the operator made that less, for as long as somebody here lags by more than it may from now on.
    earlier_log_bytes: Option<u64>,
    /// Whether there is something to flush: the room is on the hub's list of changed rooms.
    pub changed: bool,
    pub last_append_ms: u64,
    /// Nothing was appended since [`Room::tidy_up`].
    pub tidy: bool,
    /// Since when nobody sits here.
    pub empty_since_ms: u64,
}

impl Room {
    /// A room that an operator wants.
    pub fn configured(settings: &RoomSettings, instance: u64, now: Now) -> Self {
        let mut room = Room::new(instance, &settings.number, &settings.name, &settings.desc, now);
        room.configure(settings, None);
        room
    }

    /// A room made by its first join. `number` is within its limit, as every request is.
    pub fn made(number: &str, instance: u64, now: Now) -> Self {
        Room::new(instance, number, number, "", now)
    }

    fn new(instance: u64, number: &str, name: &str, desc: &str, now: Now) -> Self {
        Room {
            instance,
            // Requests and configuration are checked against this very limit.
            number: number.try_into().expect("a room's number is within its limit"),
            number_json: reply::json(number),
            name_json: reply::json(name),
            desc_json: reply::json(desc),
            owner_json: String::new(),
            created_ms: now.wall_ms,
            configured: false,
            owner_id: None,
            passcode: None,
            owner_passcode: None,
            rule: Rule::default(),
            fields: String::new(),
            fields_bare: 0,
            seats: Vec::new(),
            lingers_until_ms: None,
            roster_bytes: 0,
            logs: Logs::default(),
            delivered: 0,
            earlier_log_bytes: None,
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

    /// Which seats nobody has, in the order of the roster.
    pub fn lingering(&self) -> impl Iterator<Item = bool> {
        self.seats.iter().map(|seat| matches!(seat.holder, Holder::Lingering { .. }))
    }

    /// The seat under this id, if there is one.
    pub fn seat_of(&self, id: &IdJson) -> Option<Taken> {
        let seat = self.seat_under(id.as_bytes(), hash(id.as_bytes()))?;
        let holder = match &seat.holder {
            Holder::Reader(Reader { connection, .. }) | Holder::Ending(connection) => Some(*connection),
            Holder::Lingering { .. } => None,
        };
        Some(Taken { joined_seq: seat.joined_seq, holder, is_owners: self.rule.is_owner(seat.joined_seq) })
    }

    /// `id` is the beginning of a Member, to the end of its id.
    fn seat_under(&self, id: &[u8], id_hash: u32) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.member.id_hash == id_hash && seat.member.id() == id)
    }

    /// Who said the frame `seq`: the connection that sits under the same id now, if there is one. `None` where the frame is not held, or
    /// is no message.
    pub fn author(&self, seq: u64) -> Option<Option<Key>> {
        let id = reply::author(frame::payload(self.logs.plain.frame(seq)?))?;
        let seat = self.seat_under(id, hash(id));
        Some(seat.and_then(Seat::reader).map(|reader| reader.connection))
    }

    fn set_owner(&mut self, owner_json: &str) {
        owner_json.clone_into(&mut self.owner_json);
        self.write_fields();
    }

    /// Writes the fields, which there are from the first owner on: before, nobody was ever here.
    fn write_fields(&mut self) {
        if self.owner_json.is_empty() {
            return;
        }
        self.fields = format!(
            r#""number":{},"name":{},"desc":{},"owner":{},"createTime":{}"#,
            self.number_json, self.name_json, self.desc_json, self.owner_json, self.created_ms
        );
        self.fields_bare = self.fields.len();
        self.show_rule();
    }

    /// Lets the room's fields say what holds in it (PROTOCOL.md, Moderation).
    fn show_rule(&mut self) {
        self.fields.truncate(self.fields_bare);
        for (holds, words) in [(self.rule.locked, r#","locked":true"#), (self.rule.quiet, r#","quiet":true"#)] {
            self.fields.push_str(if holds { words } else { "" });
        }
    }

    // ---- What the operator decides anew ---------------------------------------------------------

    /// The operator wants the room, and wants it so; `earlier` is how it was wanted before, if it was. Says whether those who are here see
    /// something of it.
    ///
    /// What was got by a word that was good then is kept: members stay, and the owner owns for as long as its seat lasts. But where the operator names
    /// another owner, or another word for it, an earlier owner's token brings nothing back.
    pub fn configure(&mut self, settings: &RoomSettings, earlier: Option<&RoomSettings>) -> bool {
        let RoomSettings { number: _, name, desc, owner, passcode, owner_passcode } = settings;
        let owner_id = owner.as_ref().map(|owner| owner.id.to_string());
        if self.owner_id != owner_id || self.owner_passcode != *owner_passcode {
            self.rule.forget_keeper();
        }
        self.configured = true;
        self.owner_id = owner_id;
        self.passcode.clone_from(passcode);
        self.owner_passcode.clone_from(owner_passcode);
        (self.name_json, self.desc_json) = (reply::json(name), reply::json(desc));
        if let Some(owner) = owner
            && !self.rule.has_owner()
            && earlier.is_none_or(|earlier| earlier.owner.as_ref() != Some(owner))
        {
            self.owner_json = reply::json(owner);
        }
        let before = std::mem::take(&mut self.fields);
        self.write_fields();
        self.fields != before
    }

    /// The operator wants the room no more: it ends as one that was made does. Until then it stays as it is, and its passcodes are asked for.
    pub fn release(&mut self) {
        self.configured = false;
    }

    /// The log may hold less from now on than the `log_bytes` until now. Nobody is too slow for that: it may hold as much as before until everyone who
    /// is here has caught up. The next flush lets go of what is too much.
    pub fn narrow(&mut self, log_bytes: u64) {
        self.earlier_log_bytes = self.earlier_log_bytes.max(Some(log_bytes));
        self.tidy = false;
    }

    // ---- Frames ---------------------------------------------------------------------------------

    fn stamp<'a>(&self, now: Now, reference: Option<&'a str>) -> Stamp<'a> {
        Stamp { seq: self.logs.plain.seq() + 1, time_ms: now.wall_ms, reference }
    }

    /// What makes whoever joins now the owner where it has no better right: that nobody is here, and the operator named nobody.
    pub fn right_of_first(&self) -> Option<Right> {
        let is_first = self.is_empty() && self.owner_id.is_none();
        is_first.then_some(if self.rule.is_nobodys() { Right::Own } else { Right::First })
    }

    /// Tells everyone that a member came, the room's new owner where it `owns`. Its seat is made by [`Room::make_seat`] afterwards, so that the
    /// joiner is not told.
    pub fn announce(&mut self, now: Now, member_json: &MemberJson, owns: bool) {
        let member_json = &*member_json.text;
        if owns {
            self.set_owner(member_json);
        }
        let stamp = self.stamp(now, None);
        let payload_max = self.fields.len() + member_json.len() + JSON_FRAME_BYTES;
        self.logs.append(payload_max, |out| reply::joined(out, &self.fields, member_json, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Makes a seat for whoever was just announced, the owner's by this `right`. [`Room::hold`] gives it to a connection.
    pub fn make_seat(&mut self, now: Now, member: MemberJson, address: Address, right: Option<Right>) -> u64 {
        let joined_seq = self.logs.plain.seq();
        if let Some(right) = right {
            self.rule.own(joined_seq, right);
        }
        self.roster_bytes += member.text.len() + 1;
        let holder = Holder::Lingering { until_ms: now.monotonic_ms, reason: LeaveReason::Lost };
        self.seats.push(Seat { joined_seq, member, address, key: None, holder });
        joined_seq
    }

    /// Gives a seat to a connection, which reads on after the frame `seen_seq`, or what comes from now on. Says which of the two it is: the
    /// frames after that one may have gone.
    pub fn hold(&mut self, joined_seq: u64, by: &HeldBy, seen_seq: Option<u64>, seals: &Seals) -> Option<u64> {
        let HeldBy { connection, address, voice } = *by;
        let (place, key) = (self.place(joined_seq)?, voice.key());
        let seat = &mut self.seats[place];
        (seat.address, seat.key) = (address, key);
        if let Some(key) = key {
            self.logs.seal_with(key, seals);
        }
        let is_sealed = key.is_some();
        let log = self.logs.of(is_sealed);
        let replay = seen_seq.and_then(|seq| Some((seq, log.after(seq)?)));
        let cursor = replay.map_or(log.end(), |(_, cursor)| cursor);
        seat.holder = Holder::Reader(Reader { connection, is_sealed, cursor });
        self.unseal_where_nobody_wants_it();
        replay.map(|(seq, _)| seq)
    }

    /// The key that the room's frames are sealed with, if they are.
    pub fn key(&self) -> Option<KeyIndex> {
        self.logs.key()
    }

    fn unseal_where_nobody_wants_it(&mut self) {
        if self.logs.key().is_some() && self.seats.iter().all(|seat| seat.key.is_none()) {
            self.logs.unseal();
        }
    }

    /// What the member in this seat is told first. `replay_after` is what [`Room::hold`] said.
    pub fn welcome(&self, out: &mut Vec<u8>, now: Now, joined_seq: u64, welcome: &Welcome<'_>) {
        let joiner = self.seat(joined_seq).map_or("null", |seat| &seat.member.text);
        let Welcome { reference, resume_token, replay_after, seen } = *welcome;
        let roster_bytes = if seen == Seen::Replayed { 0 } else { self.roster_bytes };
        out.reserve(self.fields.len() + roster_bytes + joiner.len() + JSON_FRAME_BYTES);
        let stamp = Stamp { seq: replay_after.unwrap_or(self.logs.plain.seq()), time_ms: now.wall_ms, reference };
        reply::join_successfully(out, &self.fields, self.roster(), joiner, stamp, resume_token, seen);
    }

    /// The answer to a pull.
    pub fn pulled(&self, out: &mut Vec<u8>, reference: Option<&str>) {
        out.reserve(self.fields.len() + self.roster_bytes + JSON_FRAME_BYTES);
        reply::pulled(out, &self.fields, self.roster(), self.logs.plain.seq(), reference);
    }

    /// What an author is told when the member in this seat has received messages.
    pub fn received(&self, out: &mut Vec<u8>, joined_seq: u64, seqs: &[u64], in_array: bool) {
        let receiver = self.seat(joined_seq).map_or("null", |seat| &seat.member.text);
        reply::received(out, receiver, &self.number_json, seqs, in_array);
    }

    /// Appends what the member in this seat says.
    pub fn say(&mut self, now: Now, joined_seq: u64, data_type: u16, content: &str, reference: Option<&str>) {
        let Some(place) = self.place(joined_seq) else { return };
        let from = &*self.seats[place].member.text;
        let stamp = self.stamp(now, reference);
        let reference_bytes = reference.map_or(0, str::len);
        let payload_max = from.len() + content.len() + self.number_json.len() + reference_bytes + JSON_FRAME_BYTES;
        self.logs.append(payload_max, |out| reply::said(out, data_type, from, &self.number_json, content, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Tells everyone that the member in this seat leaves.
    pub fn announce_leave(&mut self, now: Now, joined_seq: u64, reason: LeaveReason, reference: Option<&str>) {
        let Some(place) = self.place(joined_seq) else { return };
        let leaver = &*self.seats[place].member.text;
        let stamp = self.stamp(now, reference);
        let payload_max = self.fields.len() + leaver.len() + reference.map_or(0, str::len) + JSON_FRAME_BYTES;
        self.logs.append(payload_max, |out| reply::left(out, &self.fields, leaver, reason, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Ends a seat, whose reader has been given what it is owed. Says whether what held in the room has ended with it.
    pub fn stand_up(&mut self, joined_seq: u64, now: Now) -> bool {
        let Some(place) = self.place(joined_seq) else { return false };
        let seat = self.seats.remove(place);
        debug_assert!(
            seat.reader()
                .is_none_or(|reader| { reader.cursor == self.logs.of(reader.is_sealed).frame_end(reader.cursor) }),
            "half a frame lost"
        );
        self.roster_bytes -= seat.member.text.len() + 1;
        if seat.key.is_some() {
            self.unseal_where_nobody_wants_it();
        }
        if self.is_empty() {
            self.empty_since_ms = now.monotonic_ms;
            self.seats = Vec::new();
        }
        let rule_ends = self.rule.seat_ended(joined_seq);
        if rule_ends {
            self.show_rule();
        }
        rule_ends
    }

    // ---- Moderation -----------------------------------------------------------------------------

    /// Makes the member in this seat the owner. Says whether somebody else was, or nobody.
    pub fn own(&mut self, joined_seq: u64, right: Right) -> bool {
        let Some(place) = self.place(joined_seq) else { return false };
        let is_news = !self.rule.is_owner(joined_seq);
        self.rule.own(joined_seq, right);
        if is_news {
            let owner = self.seats[place].member.text.clone();
            self.set_owner(&owner);
        }
        is_news
    }

    /// Changes what holds in the room, and tells everyone.
    pub fn change(&mut self, now: Now, change: Change, reference: Option<&str>) {
        self.rule.locked = change.locked.unwrap_or(self.rule.locked);
        self.rule.quiet = change.quiet.unwrap_or(self.rule.quiet);
        self.show_rule();
        self.announce_rule(now, reference);
    }

    /// Tells everyone what holds in the room, and who owns it.
    pub fn announce_rule(&mut self, now: Now, reference: Option<&str>) {
        let stamp = self.stamp(now, reference);
        let bare = &self.fields[..self.fields_bare];
        let Rule { locked, quiet, .. } = self.rule;
        let payload_max = bare.len() + reference.map_or(0, str::len) + JSON_FRAME_BYTES;
        self.logs.append(payload_max, |out| reply::ruled(out, bare, locked, quiet, stamp));
        self.last_append_ms = now.monotonic_ms;
    }

    /// Tells the owner that this id is not kept out.
    pub fn lifted(&self, out: &mut Vec<u8>, id: &str, reference: Option<&str>) {
        reply::lifted(out, &self.number_json, id, reference);
    }

    /// Where the member in this seat is, unless another member is there too.
    pub fn own_address(&self, joined_seq: u64) -> Option<Address> {
        let address = self.seat(joined_seq)?.address;
        let is_shared = self.seats.iter().any(|seat| seat.joined_seq != joined_seq && seat.address == address);
        (!is_shared).then_some(address)
    }

    // ---- Quiet ----------------------------------------------------------------------------------

    /// Nothing was said for a while: gives back what the log's buffer and the table of seats have to spare, until something is.
    pub fn tidy_up(&mut self) {
        self.logs.shrink();
        self.seats.shrink_to_fit();
        self.tidy = true;
    }

    // ---- Lingering ------------------------------------------------------------------------------

    /// Lets a seat wait until `until_ms` (monotonic) for whoever comes back to it; its reader has ended.
    pub fn linger(&mut self, joined_seq: u64, until_ms: u64, reason: LeaveReason) {
        let Some(place) = self.place(joined_seq) else { return };
        self.seats[place].holder = Holder::Lingering { until_ms, reason };
        self.lingers_until_ms = Some(self.lingers_until_ms.map_or(until_ms, |other_ms| other_ms.min(until_ms)));
    }

    /// When to ask [`Room::lingered_out`] next; `None` where no seat lingers.
    pub fn lingers_until_ms(&self) -> Option<u64> {
        self.lingers_until_ms
    }

    /// A seat that has lingered to its end, and why it did. Where there is none, the nearest end is looked up anew.
    pub fn lingered_out(&mut self, now_ms: u64) -> Option<(u64, LeaveReason)> {
        let longest = self.longest_lingering();
        self.lingers_until_ms = longest.map(|(until_ms, ..)| until_ms);
        longest.filter(|(until_ms, ..)| *until_ms <= now_ms).map(|(_, joined_seq, reason)| (joined_seq, reason))
    }

    /// The lingering seat whose end is nearest: until when, which it is, and why it lingers.
    pub fn longest_lingering(&self) -> Option<(u64, u64, LeaveReason)> {
        let lingering = self.seats.iter().filter_map(|seat| match seat.holder {
            Holder::Lingering { until_ms, reason } => Some((until_ms, seat.joined_seq, reason)),
            _ => None,
        });
        lingering.min_by_key(|(until_ms, joined_seq, _)| (*until_ms, *joined_seq))
    }

    fn place(&self, joined_seq: u64) -> Option<usize> {
        self.seats.binary_search_by_key(&joined_seq, |seat| seat.joined_seq).ok()
    }

    fn seat(&self, joined_seq: u64) -> Option<&Seat> {
        self.place(joined_seq).map(|place| &self.seats[place])
    }
}

/// Who holds a seat from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBy {
    pub connection: Key,
    pub address: Address,
    pub voice: Voice,
}

/// What a joiner is told beside the room itself.
pub(super) struct Welcome<'a> {
    pub reference: Option<&'a str>,
    pub resume_token: &'a str,
    /// The frame after which the room's frames follow, where the joiner has seen them so far.
    pub replay_after: Option<u64>,
    pub seen: Seen,
}

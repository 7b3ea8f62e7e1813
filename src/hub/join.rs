//! Who gets a seat.
//!
//! Owns: how a join is judged, and the ways to a seat: a new one, one's own from before, and one whose holder may be dead (PROTOCOL.md: Join,
//! Recovery, Failures). Refuses to know: what lets somebody in (`auth`), what is said from a seat, and when it ends.

use super::asked::Asked;
use super::auth::Word;
use super::hub::{Hub, identity, peer_mut};
use super::outlet::Outlet;
use super::peer::{Probe, SeatRef};
use super::room::{HeldBy, IdJson, MemberJson, Room, Welcome};
use super::rule::Right;
use super::seals::Voice;
use crate::base::{Key, Now};
use crate::limits;
use crate::wire::reply::{self, Seen};
use crate::wire::{CloseReason, Code, Failure};

/// What a join has shown of the past, as far as it is true of the room.
#[derive(Clone, Copy, Default)]
struct Shown {
    /// The seat that its token is of, which may have ended.
    joined_seq: Option<u64>,
    /// The frame up to which all was seen from there.
    seen_seq: Option<u64>,
}

impl Hub {
    /// Judges in the order of PROTOCOL.md, Failures. A refusal as a duplicate has no code, and is said here.
    pub(super) fn join(&mut self, asked: &Asked, outlet: &mut impl Outlet) -> Result<(), Failure> {
        let Asked { now, who, .. } = *asked;
        let Some(peer) = peer_mut(&mut self.peers, who) else { return Ok(()) };
        if let Some(join_by_ms) = &mut peer.join_by_ms {
            *join_by_ms = now.monotonic_ms + limits::JOIN_MS;
        }
        let is_another = !peer.id.is_empty() && peer.id != *asked.from.id;
        let (rooms_taken, address, voice) = (peer.seats.len(), peer.address, peer.voice);
        let found = self.room_key(asked.room_number);
        let found_room = found.and_then(|room| self.rooms.get(room));
        let shown = found_room.map_or_else(Shown::default, |room| self.shown(room, asked));
        let resumes = shown.joined_seq.is_some();
        let is_looked_at = self.check_guesses(found_room, asked, address, resumes)?;
        self.check_voice(voice, found)?;
        let owns = self.check_token(asked, resumes, is_looked_at)?;
        if is_another {
            return Err(identity());
        }
        if found.is_none() && !self.settings.auto_create {
            return Err(Failure::new(Code::NoSuchRoom, "没有这个房间 (there is no such room)"));
        }
        let (mut right, mut is_guess) = (None, false);
        if let Some(room) = found_room {
            self.check_kept_out(room, asked)?;
            let word = if is_looked_at { self.owner_word(room, asked) } else { Word::Unasked };
            right = self.right(room, asked, shown.joined_seq, owns, word)?;
            self.check_passcode(room, asked, resumes, word)?;
            // To have a seat is no leave to guess what makes one its owner.
            is_guess = resumes && word == Word::Wrong;
        }
        if is_guess {
            self.guesses.add(address, now.monotonic_ms);
        }
        if let Some(room) = found
            && let Some(taken) = self.rooms.get(room).and_then(|room| room.seat_of(&IdJson::new(&asked.from.id)))
        {
            let shows_its_token = shown.joined_seq == Some(taken.joined_seq);
            let is_free = match taken.holder {
                Some(holder) => shows_its_token && holder != who,
                // The owner's own is for its token, and for whom the operator means.
                None => shows_its_token || !taken.is_owners || right == Some(Right::Own),
            };
            if !is_free {
                self.tally.duplicates += 1;
                self.reply(who, outlet, reply::duplicate);
                if let Some(holder) = taken.holder.filter(|holder| *holder != who) {
                    self.probe(now, holder, outlet);
                }
                return Ok(());
            }
            // A seat more is a seat more, whosever it was.
            self.check_rooms_taken(rooms_taken)?;
            let seat = SeatRef { room, joined_seq: taken.joined_seq };
            if let Some(holder) = taken.holder {
                self.take_from(holder, seat, outlet);
            }
            if let Some(right) = right
                && self.rooms.get_mut(room).is_some_and(|room| room.own(seat.joined_seq, right))
            {
                // Nobody sees anything of a seat that is taken over, but whose word counts from now on they have to know.
                self.broadcast(room, outlet, |room| room.announce_rule(now, None));
            }
            self.sit(asked, seat, shown, outlet);
            return Ok(());
        }
        // Who was in before is not new, and neither is whose room it is.
        let is_new = shown.joined_seq.is_none() && right.is_none();
        if is_new && found.and_then(|room| self.rooms.get(room)).is_some_and(|room| room.rule.locked) {
            let msg = "房间已锁定，暂时不能加入 (the room is locked: nobody new gets in for now)";
            return Err(Failure::new(Code::Locked, msg));
        }
        self.check_rooms_taken(rooms_taken)?;
        let seats_max = self.settings.members_per_room as usize;
        if found.and_then(|room| self.rooms.get(room)).is_some_and(|room| room.len() >= seats_max) {
            let msg = format!("房间已满,最多 {seats_max} 人 (the room is full, with {seats_max} members)");
            return Err(Failure::new(Code::RoomFull, msg));
        }
        let room = match found {
            Some(room) => room,
            None => self
                .make_room(asked.room_number, now)
                .ok_or_else(|| Failure::new(Code::HubFull, "房间数已达上限 (no more rooms can be made)"))?,
        };
        self.make_place(now, outlet);
        let member = MemberJson::new(asked.from);
        let right = right.or(self.rooms.get(room).and_then(Room::right_of_first));
        self.broadcast(room, outlet, |room| room.announce(now, &member, right.is_some()));
        let Some(room_of) = self.rooms.get_mut(room) else { return Ok(()) };
        let joined_seq = room_of.make_seat(now, member, address, right);
        self.seats += 1;
        self.sit(asked, SeatRef { room, joined_seq }, shown, outlet);
        Ok(())
    }

    fn shown(&self, room: &Room, asked: &Asked) -> Shown {
        let token = asked.resume.token.as_deref();
        let joined_seq = token.and_then(|token| self.tokens.joined_seq(token, room.instance, &asked.from.id));
        // A number from before the token's join, or from what is yet to come, is nothing that was seen from there.
        let is_true =
            |last_seq: &u64| joined_seq.is_some_and(|first| (first..=room.logs.plain.seq()).contains(last_seq));
        Shown { joined_seq, seen_seq: asked.resume.last_seq.filter(is_true) }
    }

    /// Whether the joiner may speak there as it does (PROTOCOL.md, Encryption).
    fn check_voice(&self, voice: Option<Voice>, room: Option<Key>) -> Result<(), Failure> {
        let Some(key) = voice.and_then(Voice::key) else {
            let msg = "这里必须加密 (only sealed frames are taken here)";
            return if self.settings.encryption_required { Err(Failure::new(Code::Encryption, msg)) } else { Ok(()) };
        };
        if self.seals.is_retired(key) {
            let msg = "这个密钥已经停用 (this key lets nobody in any more)";
            return Err(Failure::new(Code::Key, msg));
        }
        match room.and_then(|room| self.rooms.get(room)?.key()) {
            Some(other) if other != key => {
                Err(Failure::new(Code::Key, "这个房间正在使用另一个密钥 (the room speaks under another key just now)"))
            }
            _ => Ok(()),
        }
    }

    fn check_rooms_taken(&self, rooms_taken: usize) -> Result<(), Failure> {
        let at_most = self.settings.rooms_per_connection;
        if rooms_taken < at_most as usize {
            return Ok(());
        }
        let msg = format!("一个连接最多加入 {at_most} 个房间 (a connection may be in at most {at_most} rooms)");
        Err(Failure::new(Code::TooManyRooms, msg))
    }

    /// Takes a seat from the connection that has it, which is to end.
    fn take_from(&mut self, holder: Key, seat: SeatRef, outlet: &mut impl Outlet) {
        if let Some(room) = self.rooms.get_mut(seat.room) {
            room.end_reader(seat.joined_seq, outlet);
        }
        if let Some(peer) = peer_mut(&mut self.peers, holder) {
            peer.remove_seat(seat);
        }
        outlet.close(holder, CloseReason::TakenOver);
    }

    /// Gives a seat that nobody has to a connection, and tells it what it is to know: who is here, or else what was said since it was
    /// here last, which is ordinary reading of the log.
    fn sit(&mut self, asked: &Asked, seat: SeatRef, shown: Shown, outlet: &mut impl Outlet) {
        let Asked { now, who, from, reference, .. } = *asked;
        // What its other rooms owe it stands before the reply, what this one does behind.
        self.settle(who, outlet);
        let Some(peer) = self.peer(who) else { return };
        let by = HeldBy { connection: who, address: peer.address, voice: peer.voice.unwrap_or(Voice::Plain) };
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        let replay_after = room.hold(seat.joined_seq, &by, shown.seen_seq, &self.seals);
        let seen = match (replay_after, asked.resume.last_seq) {
            (Some(_), _) => Seen::Replayed,
            (None, Some(_)) => Seen::Gap,
            (None, None) => Seen::Nothing,
        };
        let resume_token = self.tokens.of(room.instance, seat.joined_seq, &from.id);
        let welcome = Welcome { reference, resume_token: &resume_token, replay_after, seen };
        outlet.keep(who, |own| {
            self.seals.append(Some(by.voice), own, |out| room.welcome(out, now, seat.joined_seq, &welcome));
        });
        if replay_after.is_some() {
            self.flush_later(seat.room);
        }
        if let Some(peer) = peer_mut(&mut self.peers, who) {
            peer.join_by_ms = None;
            if peer.id.is_empty() {
                peer.id = (&*from.id).try_into().expect("a request's id is within its limit");
            }
            peer.seats.push(seat).expect("fewer seats than rooms_per_connection, which is within the table");
        }
        self.watch(who, now.monotonic_ms);
    }

    /// Sees to it that there is a place for one more seat: where lingering seats have taken the rest, the one whose time is nearest
    /// ends. It can't be that all are held: each connection has no more than its own share of them, and the joiner has some left; but where the
    /// operator has just made the shares smaller, those who had more keep them for as long as they sit there.
    fn make_place(&mut self, now: Now, outlet: &mut impl Outlet) {
        if self.seats < self.seats_max {
            return;
        }
        let lingering = self.rooms.iter().filter_map(|(key, room)| Some((room.longest_lingering()?, key)));
        if let Some(((_, joined_seq, reason), room)) = lingering.min_by_key(|((until_ms, ..), _)| *until_ms) {
            self.end_seat(now, SeatRef { room, joined_seq }, Some(reason), None, outlet);
        }
    }

    /// Somebody asked for the seat of a connection that may be dead (PROTOCOL.md, Join rule 4). It is asked for a sign of life, and not more
    /// often than it has time to answer: its answers count against its own rate.
    fn probe(&mut self, now: Now, holder: Key, outlet: &mut impl Outlet) {
        let (probe_ms, silence_ms) = (self.probe_ms(), self.silence_ms());
        let Some(peer) = peer_mut(&mut self.peers, holder) else { return };
        // A probe that nothing has come to is not put off by another, however late its deadline is looked at; nor is the end of one that was
        // silent for too long.
        let is_asked =
            peer.probe.as_ref().is_some_and(|probe| !probe.is_answered || now.monotonic_ms < probe.sent_ms + probe_ms);
        if is_asked || now.monotonic_ms >= peer.last_seen_ms + silence_ms {
            return;
        }
        let sent_bytes = outlet.sent_bytes(holder);
        peer.probe = Some(Box::new(Probe { sent_ms: now.monotonic_ms, sent_bytes, is_answered: false }));
        if sent_bytes.is_none() {
            // What a blocked socket has room for already was taken before: only what it takes from now on is a sign of life.
            let _before = self.is_moving(holder, outlet);
        }
        self.keep_rests(holder, outlet);
        outlet.ping(holder);
        self.watch(holder, now.monotonic_ms);
    }
}

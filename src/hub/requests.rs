//! What a member's messages mean.
//!
//! Owns: which request is which, the patience for those that are none or come too fast, and what leaving, saying, acknowledging and asking come to
//! (PROTOCOL.md: Leave, Chat, Heartbeat, Receipts and pull). Refuses to know: who gets a seat (`join`), and what becomes of a frame once it is in
//! its room's log (`hub`).

use super::asked::Asked;
use super::hub::{Hub, identity, peer_mut};
use super::outlet::Outlet;
use super::peer::SeatRef;
use super::room::Room;
use super::seals::{NotOpened, Voice};
use crate::base::{Key, Now};
use crate::limits;
use crate::wire::request::{CHAT_TEXT, Envelope, Seqs};
use crate::wire::{CloseReason, Code, Failure, LeaveReason, Request, frame, reply};

impl Hub {
    /// A text message came. `within_rate` is what [`Hub::frame`] said of its last frame.
    pub fn text(&mut self, now: Now, who: Key, text: &str, within_rate: bool, outlet: &mut impl Outlet) {
        let Some(peer) = peer_mut(&mut self.peers, who) else { return };
        self.tally.messages += 1;
        match peer.voice.get_or_insert(Voice::Plain) {
            Voice::Plain => self.message(now, who, text, within_rate, outlet),
            Voice::Sealed(_) => outlet.close(who, CloseReason::Unsupported),
        }
    }

    /// A binary message came: one that is sealed, or none that is spoken here (PROTOCOL.md, Encryption). `within_rate` as in [`Hub::text`].
    pub fn sealed(&mut self, now: Now, who: Key, sealed: &[u8], within_rate: bool, outlet: &mut impl Outlet) {
        let Some(peer) = peer_mut(&mut self.peers, who) else { return };
        self.tally.messages += 1;
        let own = peer.voice.and_then(Voice::key);
        if peer.voice == Some(Voice::Plain) || own.is_none() && self.seals.is_empty() {
            return outlet.close(who, CloseReason::Unsupported);
        }
        let mut opened = std::mem::take(&mut self.opened);
        match self.seals.open(&mut opened, sealed, own) {
            // The first settles it.
            Ok(key) if *peer.voice.get_or_insert(Voice::Sealed(key)) == Voice::Sealed(key) => {
                match std::str::from_utf8(&opened) {
                    Ok(text) => self.message(now, who, text, within_rate, outlet),
                    Err(_) => outlet.close(who, CloseReason::NotUtf8),
                }
            }
            Err(NotOpened::NotAuthentic) => outlet.close(who, CloseReason::NotOpened),
            Ok(_) | Err(NotOpened::UnknownKey) => {
                outlet.close(who, CloseReason::NotOpened);
                let msg =
                    "这里没有这个密钥，或者连接已用另一个 (no such key here, or the connection began with another)";
                let failure = Failure::new(Code::Key, msg);
                self.tally.refused(failure.code);
                self.settle(who, outlet);
                // It could not read a sealed one.
                outlet.keep(who, |own| frame::append(own, frame::TEXT, |out| reply::failed(out, &failure, None)));
            }
        }
        if opened.capacity() <= limits::OPENED_KEPT_BYTES {
            self.opened = opened;
        }
    }

    fn message(&mut self, now: Now, who: Key, text: &str, within_rate: bool, outlet: &mut impl Outlet) {
        let Envelope { reference, request } = Envelope::read(text);
        let Some(peer) = peer_mut(&mut self.peers, who) else { return };
        if within_rate && request.is_ok() {
            // A heartbeat over the rate is life, and no more.
            peer.was_bad(false);
        }
        let done = match request {
            Err(failure) => {
                if peer.was_bad(true) {
                    outlet.close(who, CloseReason::BadMessages);
                } else if !within_rate && peer.was_refused(now.monotonic_ms) {
                    // It is answered for what is wrong with it, and counts for being too much as well.
                    outlet.close(who, CloseReason::Flood);
                }
                Err(failure)
            }
            Ok(Request::Heartbeat) => Ok(()),
            Ok(_) if !within_rate => {
                if peer.was_refused(now.monotonic_ms) {
                    outlet.close(who, CloseReason::Flood);
                }
                let msg = "太快了,这条消息没有送出 (too fast: this message was not delivered)";
                Err(Failure::new(Code::RateLimited, msg))
            }
            Ok(Request::Join { from, room_number, resume, credentials }) => {
                let (from, room_number, resume, credentials) = (&from, &*room_number, &resume, &credentials);
                let asked = Asked { now, who, from, room_number, resume, credentials, reference };
                self.join(&asked, outlet).inspect_err(|failure| self.refused_join(&asked, failure.code, outlet))
            }
            Ok(Request::Leave { room_number }) => self.leave(now, who, &room_number, reference, outlet),
            Ok(Request::Say { data_type, room_number, from_id, content }) => {
                self.say(now, who, &room_number, from_id.as_deref(), data_type, content, reference, outlet)
            }
            Ok(Request::Rule { room_number, change }) => {
                self.change_rule(now, who, &room_number, change, reference, outlet)
            }
            Ok(Request::Remove { room_number, id, for_s }) => {
                self.remove(now, who, &room_number, &id, for_s, reference, outlet)
            }
            Ok(Request::Receipt { room_number, seqs }) => self.receipt(who, &room_number, &seqs, outlet),
            Ok(Request::Pull { room_number }) => self.pull(who, &room_number, reference, outlet),
        };
        if let Err(failure) = done {
            self.tally.refused(failure.code);
            self.reply(who, outlet, |out| reply::failed(out, &failure, reference));
        }
    }

    /// PROTOCOL.md, Leave: the leaver gets the leave frame too, and stays connected.
    fn leave(
        &mut self,
        now: Now,
        who: Key,
        room_number: &str,
        reference: Option<&str>,
        outlet: &mut impl Outlet,
    ) -> Result<(), Failure> {
        let seat = self.seat_in(who, room_number)?;
        if let Some(peer) = peer_mut(&mut self.peers, who) {
            peer.remove_seat(seat);
        }
        // Half a frame of another room stands before what is moved to the own queue here.
        self.keep_rests(who, outlet);
        self.end_seat(now, seat, Some(LeaveReason::Left), reference, outlet);
        Ok(())
    }

    /// PROTOCOL.md, Chat and application data.
    #[allow(clippy::too_many_arguments)] // the fields of one request
    fn say(
        &mut self,
        now: Now,
        who: Key,
        room_number: &str,
        from_id: Option<&str>,
        data_type: u16,
        content: &str,
        reference: Option<&str>,
        outlet: &mut impl Outlet,
    ) -> Result<(), Failure> {
        let own_id = self.peer(who).map_or("", |peer| peer.id.as_str());
        // Where no id is settled yet, there is none that could be forged, and no room either.
        if !own_id.is_empty() && from_id.is_some_and(|id| id != own_id) {
            return Err(identity());
        }
        let seat = self.seat_in(who, room_number)?;
        let is_silenced = |room: &Room| room.rule.quiet && !room.rule.is_owner(seat.joined_seq);
        if data_type == CHAT_TEXT && self.rooms.get(seat.room).is_some_and(is_silenced) {
            let msg = "房间现在保持安静，只有老师可以发言 (the room is quiet: only its owner may talk for now)";
            return Err(Failure::new(Code::Quiet, msg));
        }
        self.broadcast(seat.room, outlet, |room| room.say(now, seat.joined_seq, data_type, content, reference));
        Ok(())
    }

    /// PROTOCOL.md, Receipts: each author who is here is told once, whatever the number of messages. One who lingers is not.
    fn receipt(&mut self, who: Key, room_number: &str, seqs: &Seqs, outlet: &mut impl Outlet) -> Result<(), Failure> {
        let seat = self.seat_in(who, room_number)?;
        let Some(room) = self.rooms.get(seat.room) else { return Ok(()) };
        let mut authors = heapless::Vec::<(Key, u64), { limits::RECEIPT_SEQS }>::new();
        let mut are_held = true;
        for seq in &seqs.numbers {
            match room.author(*seq) {
                None => are_held = false,
                Some(None) => {}
                Some(Some(author)) => authors.push((author, *seq)).expect("at most one a number"),
            }
        }
        while let Some((author, _)) = authors.first().copied() {
            let is_its = |(other, _): &&(Key, u64)| *other == author;
            let its = authors.iter().filter(is_its).map(|(_, seq)| *seq);
            let its: heapless::Vec<u64, { limits::RECEIPT_SEQS }> = its.collect();
            authors.retain(|(other, _)| *other != author);
            self.settle(author, outlet);
            let Some(room) = self.rooms.get(seat.room) else { break };
            self.keep(author, outlet, |out| room.received(out, seat.joined_seq, &its, seqs.in_array));
        }
        match are_held {
            true => Ok(()),
            false => Err(Failure::new(
                Code::NoSuchMessage,
                "textData.data.seq: 房间里没有（或已不再保存）这样的消息 (not a message that the room still holds)",
            )),
        }
    }

    /// PROTOCOL.md, Receipts and pull.
    fn pull(
        &mut self,
        who: Key,
        room_number: &str,
        reference: Option<&str>,
        outlet: &mut impl Outlet,
    ) -> Result<(), Failure> {
        let seat = self.seat_in(who, room_number)?;
        self.settle(who, outlet);
        if let Some(room) = self.rooms.get(seat.room) {
            self.keep(who, outlet, |out| room.pulled(out, reference));
        }
        Ok(())
    }

    /// The connection's seat in the room of this number.
    pub(super) fn seat_in(&self, who: Key, room_number: &str) -> Result<SeatRef, Failure> {
        let seats = self.peer(who).map_or(&[][..], |peer| &peer.seats[..]);
        let is_it = |seat: &&SeatRef| self.rooms.get(seat.room).is_some_and(|room| room.number() == room_number);
        seats
            .iter()
            .find(is_it)
            .copied()
            .ok_or_else(|| Failure::new(Code::NotJoined, "您不在这个房间里 (this connection is not in that room)"))
    }
}

//! What an owner may.
//!
//! Owns: locking, quietening, removing and letting back in, and who is asked to prove what (PROTOCOL.md, Moderation). Refuses to know: who gets a
//! seat otherwise (`join`), and how what holds in a room is kept (`rule`).

use super::asked::Asked;
use super::auth::Word;
use super::hub::{Hub, peer_mut};
use super::outlet::Outlet;
use super::peer::SeatRef;
use super::room::{IdJson, Room};
use super::rule::Right;
use crate::base::{Key, Now};
use crate::wire::request::Change;
use crate::wire::{Code, Failure, LeaveReason};

impl Hub {
    /// Changes what holds in a room.
    pub(super) fn change_rule(
        &mut self,
        now: Now,
        who: Key,
        room_number: &str,
        change: Change,
        reference: Option<&str>,
        outlet: &mut impl Outlet,
    ) -> Result<(), Failure> {
        let seat = self.owners_seat_in(who, room_number)?;
        self.broadcast(seat.room, outlet, |room| room.change(now, change, reference));
        Ok(())
    }

    /// Removes a member, lingering or not, and keeps it out for `for_s` seconds; with 0 lets it back in.
    #[allow(clippy::too_many_arguments)] // the fields of one request
    pub(super) fn remove(
        &mut self,
        now: Now,
        who: Key,
        room_number: &str,
        id: &str,
        for_s: u32,
        reference: Option<&str>,
        outlet: &mut impl Outlet,
    ) -> Result<(), Failure> {
        let owners = self.owners_seat_in(who, room_number)?;
        let Some(room) = self.rooms.get_mut(owners.room) else { return Ok(()) };
        if for_s == 0 {
            room.rule.lift(id);
            self.settle(who, outlet);
            if let Some(room) = self.rooms.get(owners.room) {
                self.keep(who, outlet, |out| room.lifted(out, id, reference));
            }
            return Ok(());
        }
        let Some(taken) = room.seat_of(&IdJson::new(id)).filter(|taken| taken.joined_seq != owners.joined_seq) else {
            let msg = "textData.data.id: 房间里没有这个人，或者是您自己 (nobody sits under this id, or it is your own)";
            return Err(Failure::new(Code::NoSuchMember, msg));
        };
        let seat = SeatRef { room: owners.room, joined_seq: taken.joined_seq };
        let until_ms = now.monotonic_ms + u64::from(for_s) * 1000;
        room.rule.keep_out(id, room.own_address(taken.joined_seq), now.monotonic_ms, until_ms);
        if let Some(holder) = taken.holder {
            if let Some(peer) = peer_mut(&mut self.peers, holder) {
                peer.remove_seat(seat);
            }
            // Half a frame of another room stands before what is moved to the own queue here.
            self.keep_rests(holder, outlet);
        }
        self.end_seat(now, seat, Some(LeaveReason::Removed), reference, outlet);
        Ok(())
    }

    /// The connection's seat in the room of this number, if that is the owner's.
    fn owners_seat_in(&self, who: Key, room_number: &str) -> Result<SeatRef, Failure> {
        let seat = self.seat_in(who, room_number)?;
        let is_owner = self.rooms.get(seat.room).is_some_and(|room| room.rule.is_owner(seat.joined_seq));
        let msg = "只有房间的主人可以这样做 (only the room's owner may do that)";
        is_owner.then_some(seat).ok_or_else(|| Failure::new(Code::NotOwner, msg))
    }

    // ---- At the join ----------------------------------------------------------------------------

    /// Whether the joiner is kept out of the room.
    pub(super) fn check_kept_out(&self, room: &Room, asked: &Asked) -> Result<(), Failure> {
        let now_ms = asked.now.monotonic_ms;
        let address = self.peer(asked.who).map(|peer| peer.address);
        match address.and_then(|address| room.rule.kept_out_until_ms(&asked.from.id, address, now_ms)) {
            None => Ok(()),
            Some(until_ms) => {
                let seconds = (until_ms - now_ms).div_ceil(1000);
                let msg = format!(
                    "您被移出了这个房间，{seconds} 秒后才能再加入 (removed from this room; it opens again in {seconds} s)"
                );
                Err(Failure::new(Code::Removed, msg))
            }
        }
    }

    /// The right by which the joiner is to own the room, where the school (its token `owns`), the operator or an earlier seat gives it one. A good
    /// resume token, of the seat of the join `token_of`, stands for the passcode that whoever comes under the owner's id has to show.
    pub(super) fn right(
        &self,
        room: &Room,
        asked: &Asked,
        token_of: Option<u64>,
        owns: bool,
        word: Word,
    ) -> Result<Option<Right>, Failure> {
        let is_named = room.owner_id.as_deref() == Some(&*asked.from.id);
        if owns || word == Word::Right || is_named && room.owner_passcode.is_none() {
            Ok(Some(Right::Own))
        } else if token_of.is_some_and(|joined_seq| room.rule.is_keeper(joined_seq)) {
            Ok(Some(Right::Earlier))
        } else if matches!(word, Word::Missing | Word::Wrong) && token_of.is_none() {
            let msg = "extendFields.ownerPasscode: 老师口令缺失或不对 (the owner's passcode is missing or wrong)";
            Err(Failure::new(Code::Passcode, msg))
        } else {
            Ok(None)
        }
    }
}

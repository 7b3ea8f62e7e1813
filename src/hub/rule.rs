//! What holds in a room, and whose word it is.
//!
//! Owns: which seat is the owner's and by what right (PROTOCOL.md, Moderation), whether the room is locked or quiet, and who is kept out for how
//! long. Refuses to know: members beyond ids and addresses, frames, and who asked.

use serde::{Deserialize, Serialize};

use crate::base::Address;
use crate::limits;

type Id = heapless::String<{ limits::ID_BYTES }>;

/// Why a seat is the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// (a) of PROTOCOL.md, and what is as good: the operator said so, or it made the room.
    Own,
    /// (b): it shows the token of the seat that was the owner's last by one of these, and is as good as that one from now on.
    Earlier,
    /// (c): it was first into a room that stood empty.
    First,
}

/// What holds in one room.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rule {
    /// The owner's seat, by its join; `None` while there is no owner here.
    owner: Option<u64>,
    /// The seat that last was the owner's by a right of its own, which may have ended: its token brings that back.
    keeper: Option<u64>,
    pub locked: bool,
    pub quiet: bool,
    /// At most [`limits::REMOVED`]. Nearly no room has any.
    removed: Vec<Removed>,
}

/// A member that is kept out.
#[derive(Clone, Serialize, Deserialize)]
struct Removed {
    id: Id,
    /// Where it was when it was removed, unless somebody else was there too.
    address: Option<Address>,
    until_ms: u64,
}

const _: () = assert!(size_of::<Removed>() as u64 <= limits::REMOVED_BYTES);

impl Rule {
    /// Whether this is the owner's seat.
    pub fn is_owner(&self, joined_seq: u64) -> bool {
        self.owner == Some(joined_seq)
    }

    /// Whether a token of this seat, which may have ended, makes its bearer the owner.
    pub fn is_keeper(&self, joined_seq: u64) -> bool {
        self.keeper == Some(joined_seq)
    }

    /// Whether nobody ever was the owner by a right of its own.
    pub fn is_nobodys(&self) -> bool {
        self.keeper.is_none()
    }

    /// Whether there is an owner here.
    pub fn has_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// No token brings back what a seat was the owner's by: that is good no longer.
    pub fn forget_keeper(&mut self) {
        self.keeper = None;
    }

    /// The seat of this join is the owner's from now on.
    pub fn own(&mut self, joined_seq: u64, right: Right) {
        self.owner = Some(joined_seq);
        if right != Right::First {
            self.keeper = self.owner;
        }
    }

    /// A seat has ended. Says whether what held in the room ends with it.
    pub fn seat_ended(&mut self, joined_seq: u64) -> bool {
        if self.owner.take_if(|owner| *owner == joined_seq).is_none() {
            return false;
        }
        let held = self.locked || self.quiet;
        self.locked = false;
        self.quiet = false;
        held
    }

    /// Keeps a member out until then (monotonic). Where the list is full, whoever may come back soonest may at once.
    pub fn keep_out(&mut self, id: &str, address: Option<Address>, now_ms: u64, until_ms: u64) {
        self.removed.retain(|removed| removed.until_ms > now_ms && removed.id != id);
        if self.removed.len() >= limits::REMOVED
            && let Some((soonest, _)) = self.removed.iter().enumerate().min_by_key(|(_, removed)| removed.until_ms)
        {
            self.removed.remove(soonest);
        }
        // Every id of a request is within this very limit.
        let id = id.try_into().expect("an id is within its limit");
        self.removed.push(Removed { id, address, until_ms });
    }

    /// Keeps this id out no longer, nor its address.
    pub fn lift(&mut self, id: &str) {
        self.removed.retain(|removed| removed.id != id);
        if self.removed.is_empty() {
            self.removed = Vec::new();
        }
    }

    /// Until when (monotonic) whoever comes under this id from there is kept out; `None` where nobody is.
    pub fn kept_out_until_ms(&self, id: &str, address: Address, now_ms: u64) -> Option<u64> {
        let is_it = |removed: &&Removed| removed.id == id || removed.address == Some(address);
        self.removed.iter().filter(is_it).map(|removed| removed.until_ms).filter(|until_ms| *until_ms > now_ms).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_owns_by_a_right_of_its_own_gets_it_back_and_who_was_first_does_not() {
        let mut rule = Rule::default();
        rule.own(1, Right::Own);
        assert!(!rule.seat_ended(7), "another seat");
        assert!(rule.is_owner(1));
        rule.locked = true;
        assert!(rule.seat_ended(1), "what held ends with it");
        assert!(!rule.locked && !rule.is_owner(1) && rule.is_keeper(1));
        rule.own(5, Right::First);
        assert!(rule.is_owner(5) && rule.is_keeper(1) && !rule.is_keeper(5));
        rule.own(9, Right::Own);
        assert!(!rule.is_owner(5) && rule.is_keeper(9) && !rule.is_keeper(1));
        assert!(!rule.seat_ended(5) && !rule.seat_ended(9), "nothing held");
    }

    #[test]
    fn somebody_is_kept_out_by_id_and_by_address_until_the_very_millisecond() {
        let mut rule = Rule::default();
        rule.keep_out("a", Some(Address::nth(1)), 0, 1000);
        rule.keep_out("b", None, 0, 500);
        assert_eq!(rule.kept_out_until_ms("a", Address::nth(9), 999), Some(1000));
        assert_eq!(rule.kept_out_until_ms("c", Address::nth(1), 999), Some(1000), "whatever it calls itself");
        assert_eq!(rule.kept_out_until_ms("b", Address::nth(1), 0), Some(1000), "both, and the later end");
        assert_eq!(rule.kept_out_until_ms("a", Address::nth(1), 1000), None);
        assert_eq!(rule.kept_out_until_ms("b", Address::nth(2), 500), None);
        rule.lift("a");
        assert_eq!(rule.kept_out_until_ms("c", Address::nth(1), 0), None, "and its address is free again");
        rule.keep_out("b", Some(Address::nth(3)), 0, 200);
        assert_eq!(rule.kept_out_until_ms("b", Address::nth(2), 0), Some(200), "the latest word counts");
    }

    #[test]
    fn a_full_list_lets_in_whoever_was_to_come_back_soonest() {
        let mut rule = Rule::default();
        for n in 0..limits::REMOVED as u64 {
            rule.keep_out(&format!("p{n}"), None, 0, 1000 - n);
        }
        let last = format!("p{}", limits::REMOVED - 1);
        assert!(rule.kept_out_until_ms(&last, Address::nth(1), 0).is_some());
        rule.keep_out("one more", None, 0, 1);
        assert_eq!(rule.kept_out_until_ms(&last, Address::nth(1), 0), None);
        assert!(rule.kept_out_until_ms("one more", Address::nth(1), 0).is_some());
        assert_eq!(rule.removed.len(), limits::REMOVED);
        // Those whose time is over make room first.
        rule.keep_out("and another", None, 2, 2000);
        assert!(rule.kept_out_until_ms("p62", Address::nth(1), 2).is_some());
    }
}

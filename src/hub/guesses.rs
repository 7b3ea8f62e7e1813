//! Who guesses: what each address has shown that was wrong, lately.
//!
//! Owns: when a guess costs something, and for how long nobody is asked there (PROTOCOL.md, Authentication). Refuses to know: what was shown, by
//! whom, and what becomes of a join.
//!
//! How the sentence is read: *Per address 20 failures a minute are free; then joins that need a token or passcode get `rate_limited`, unverified, for
//! 3 s each.* Each failure costs 3 s of a minute, and time gives a second back each second. Twenty at once are free, and so is one every three
//! seconds for ever. With less than one left, joins from there are not looked at until one has come back: never longer than 3 s
//! after the last failure, since what is not looked at is no failure. So an address guesses 20 times a minute in the long run, over however many
//! connections; and a class that shares it with somebody who guesses is not shut out: each of its members gets in on a later try, those with a
//! seat of their own (a resume) on any.
//!
//! A failure is something that was shown and is wrong. Nothing shown guesses nothing: a class whose pages learn only from the refusal that there is
//! a passcode to type does not use up its minute by that.

use serde::{Deserialize, Serialize};

use crate::base::{Address, Rate, Spent};
use crate::limits;

/// A minute, a second of which comes back each second.
const MINUTE: Rate = Rate { per_second: 1, burst: limits::GUESSES_A_MINUTE * limits::GUESS_S };

/// At most [`limits::GUESSING_ADDRESSES`]. Where nobody guesses, it takes no memory.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Guesses(Vec<(Address, Spent)>);

impl Guesses {
    /// Whether so much was wrong that nothing from there is looked at for now.
    pub fn are_too_many(&self, address: Address, now_ms: u64) -> bool {
        let of = self.0.iter().find(|(other, _)| *other == address);
        of.is_some_and(|(_, spent)| !spent.has(MINUTE, limits::GUESS_S, now_ms))
    }

    /// Notes that something wrong was shown. Where the table is full, whoever guessed longest ago, or least since, is forgotten.
    pub fn add(&mut self, address: Address, now_ms: u64) {
        if let Some((_, spent)) = self.0.iter_mut().find(|(other, _)| *other == address) {
            spent.spend(MINUTE, limits::GUESS_S, now_ms);
            return;
        }
        self.0.retain(|(_, spent)| !spent.is_full(now_ms));
        if self.0.len() >= limits::GUESSING_ADDRESSES
            && let Some((oldest, _)) = self.0.iter().enumerate().min_by_key(|(_, (_, spent))| *spent)
        {
            self.0.swap_remove(oldest);
        }
        let mut spent = Spent::default();
        spent.spend(MINUTE, limits::GUESS_S, now_ms);
        self.0.push((address, spent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: fn() -> Address = || Address::nth(1);

    #[test]
    fn twenty_are_free_and_each_more_costs_three_seconds() {
        let mut guesses = Guesses::default();
        for n in 0..20 {
            assert!(!guesses.are_too_many(A(), 5_000), "{n}");
            guesses.add(A(), 5_000);
        }
        for n in 0..50 {
            let since_ms = 5_000 + n * 3_000;
            assert!(guesses.are_too_many(A(), since_ms) && guesses.are_too_many(A(), since_ms + 2_999), "{n}");
            assert!(!guesses.are_too_many(A(), since_ms + 3_000));
            guesses.add(A(), since_ms + 3_000);
        }
        assert!(!guesses.are_too_many(Address::nth(2), 5_000), "another address");
    }

    #[test]
    fn a_minute_later_twenty_are_free_again() {
        let mut guesses = Guesses::default();
        (0..20).for_each(|_| guesses.add(A(), 0));
        for _ in 0..20 {
            assert!(!guesses.are_too_many(A(), 60_000));
            guesses.add(A(), 60_000);
        }
        assert!(guesses.are_too_many(A(), 60_000));
    }

    #[test]
    fn one_every_three_seconds_is_free_for_ever() {
        let mut guesses = Guesses::default();
        for n in 0..1000 {
            assert!(!guesses.are_too_many(A(), n * 3_000));
            guesses.add(A(), n * 3_000);
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_guessed_longest_ago() {
        let mut guesses = Guesses::default();
        for n in 0..limits::GUESSING_ADDRESSES as u32 {
            (0..20).for_each(|_| guesses.add(Address::nth(n), n.into()));
        }
        assert!(guesses.are_too_many(Address::nth(0), 2_000));
        guesses.add(Address::nth(7_777), 2_000);
        assert_eq!(guesses.0.len(), limits::GUESSING_ADDRESSES);
        assert!(!guesses.are_too_many(Address::nth(0), 2_000) && guesses.are_too_many(Address::nth(1), 2_000));
        // Those of more than a minute ago make room first.
        guesses.add(Address::nth(8_888), 70_000);
        assert_eq!(guesses.0.len(), 1);
    }
}

//! What came of things, for whoever wonders whether anything happened.
//!
//! Owns: the counts and their words. Refuses to know: how many are enough.

use std::fmt;

use crate::moderation::Claim;

#[derive(Default)]
pub struct Counts {
    pub takeovers: usize,
    pub replays: usize,
    pub gaps: usize,
    pub lingered: usize,
    pub evicted: usize,
    pub probes: usize,
    pub lost: usize,
    pub receipts: usize,
    /// Who came to own a room by what: the operator's word, the token of an earlier seat, having made it, having come first.
    pub by_operator: usize,
    pub by_token: usize,
    pub by_making: usize,
    pub by_coming_first: usize,
    /// Those of them in which somebody else was the owner until then.
    pub deposed: usize,
    /// Those in which a seat was taken over.
    pub by_takeover: usize,
    pub locks: usize,
    pub quiets: usize,
    pub rules_ended: usize,
    /// Those of them that ended in a moment in which others left too.
    pub ended_among_leaves: usize,
    pub locked_out: usize,
    /// Who was let into a locked room.
    pub let_through: usize,
    pub silenced: usize,
    pub removed_present: usize,
    pub removed_lingering: usize,
    pub lifted: usize,
    pub kept_out_by_id: usize,
    pub kept_out_by_address: usize,
    /// Removals after which the address was free, since others were there.
    pub shared: usize,
    pub wrong_passcodes: usize,
    pub guessers: usize,
    /// Joins whose passcode was not looked at, since too many were wrong that came from there.
    pub unheard: usize,
    pub not_owners: usize,
    pub no_such_members: usize,
    /// Who asked for an owner's lingering seat, and had no right to it.
    pub guarded: usize,
}

impl Counts {
    /// Somebody came to own a room.
    pub fn owned(&mut self, claim: Claim) {
        *match claim {
            Claim::Operator => &mut self.by_operator,
            Claim::Earlier => &mut self.by_token,
            Claim::Made => &mut self.by_making,
            Claim::First => &mut self.by_coming_first,
        } += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.takeovers, "takeovers"),
            (self.replays, "replays"),
            (self.gaps, "gaps"),
            (self.lingered, "lingered out"),
            (self.evicted, "made way"),
            (self.probes, "probes"),
            (self.lost, "lost"),
            (self.receipts, "receipts"),
            (self.by_operator, "own by the operator's word"),
            (self.by_token, "by a token"),
            (self.by_making, "by making"),
            (self.by_coming_first, "by coming first"),
            (self.deposed, "deposed"),
            (self.by_takeover, "own what they take over"),
            (self.locks, "locks"),
            (self.quiets, "quiets"),
            (self.rules_ended, "rules ended"),
            (self.ended_among_leaves, "of them among leaves"),
            (self.locked_out, "locked out"),
            (self.let_through, "let through"),
            (self.silenced, "silenced"),
            (self.removed_present, "removed"),
            (self.removed_lingering, "removed lingering"),
            (self.lifted, "lifted"),
            (self.kept_out_by_id, "kept out by id"),
            (self.kept_out_by_address, "by address"),
            (self.shared, "not by a shared one"),
            (self.wrong_passcodes, "wrong passcodes"),
            (self.guessers, "guessers"),
            (self.unheard, "not looked at"),
            (self.not_owners, "not owners"),
            (self.no_such_members, "no such members"),
            (self.guarded, "guarded seats"),
        ];
        for (n, (count, what)) in all.iter().enumerate() {
            write!(f, "{}{count} {what}", if n > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

//! One connection, as the model sees it.
//!
//! Owns: who it says it is, where it sits, how it behaves (rates, patience, signs of life), and what it should be told and was not yet. Refuses to
//! know: rooms beyond their places in the model's list.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use classhub::limits;

use crate::expected::{Expected, Item};

/// How a connection may end: what the rooms are told, and the code of the close frame; none of that where the connection is broken.
#[derive(Clone, Debug)]
pub struct End {
    pub reason: &'static str,
    pub close: Option<Option<u16>>,
}

impl End {
    /// Whether whoever sat there is likely to come back. Nobody waits for one who failed a probe.
    pub fn lingers(&self) -> bool {
        matches!(self.reason, "lost" | "slow") && self.close != Some(Some(4000))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No WebSocket as yet.
    Head,
    Open,
    Over,
}

pub struct Peer {
    pub stage: Stage,
    pub address: IpAddr,
    pub id: Rc<str>,
    pub seats: Vec<usize>,
    pub last_seen_ms: u64,
    pub join_by_ms: Option<u64>,
    /// When it was last asked for a sign of life, and by when it must give one.
    pub pinged_ms: Option<u64>,
    pub alive_by_ms: Option<u64>,
    pub bad_in_a_row: u32,
    /// Joins refused for a passcode.
    pub guesses: u32,
    /// When something was refused for its rate.
    pub refused_ms: Vec<u64>,
    pub frames: Bucket,
    pub bytes: Bucket,
    pub over_rate: bool,
    pub late_ping: Option<Vec<u8>>,
    /// What it should be told and was not yet.
    pub expected: Expected,
    pub pongs: VecDeque<Vec<u8>>,
    pub pings: usize,
    /// Pings that may come or not.
    pub pings_perhaps: usize,
    /// Bytes of all that must come.
    pub owed: usize,
    /// How it may end; it does with this turn, where there is any.
    pub ends: Vec<End>,
}

impl Peer {
    pub fn new(address: IpAddr) -> Self {
        let full = Bucket::full;
        Peer {
            stage: Stage::Head,
            address,
            id: "".into(),
            seats: Vec::new(),
            last_seen_ms: 0,
            join_by_ms: None,
            pinged_ms: None,
            alive_by_ms: None,
            bad_in_a_row: 0,
            guesses: 0,
            refused_ms: Vec::new(),
            frames: full(),
            bytes: full(),
            over_rate: false,
            late_ping: None,
            expected: Expected::default(),
            pongs: VecDeque::new(),
            pings: 0,
            pings_perhaps: 0,
            owed: 0,
            ends: Vec::new(),
        }
    }

    /// Something is refused for its rate. Says whether that is the hundredth within ten seconds.
    pub fn is_refused(&mut self, now_ms: u64) -> bool {
        self.refused_ms.push(now_ms);
        self.refused_ms.retain(|at_ms| now_ms - at_ms < limits::REFUSALS_MS);
        self.refused_ms.len() >= usize::from(limits::REFUSALS)
    }

    pub fn ends(&mut self, reason: &'static str, code: u16) {
        self.ends.push(End { reason, close: Some(Some(code)) });
    }

    pub fn owe(&mut self, item: Item) {
        self.owed += item.bytes();
        self.expected.items.push_back(item);
    }
}

/// Thousandths of what may still be spent.
pub struct Bucket {
    left: u64,
    at_ms: u64,
}

impl Bucket {
    pub fn full() -> Self {
        Bucket { left: u64::MAX >> 1, at_ms: 0 }
    }

    /// Whether so much could be spent.
    pub fn has(&mut self, units: u32, per_second: u32, burst: u32, now_ms: u64) -> bool {
        let there = self.spend(units, per_second, burst, now_ms);
        self.left += u64::from(units) * u64::from(there) * 1000;
        there
    }

    pub fn spend(&mut self, units: u32, per_second: u32, burst: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        self.left = (self.left + (now_ms - self.at_ms) * u64::from(per_second)).min(u64::from(burst) * 1000);
        self.at_ms = now_ms;
        let there = self.left >= u64::from(units) * 1000;
        if there {
            self.left -= u64::from(units) * 1000;
        }
        there
    }
}

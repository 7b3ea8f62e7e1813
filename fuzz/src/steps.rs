//! What a class does, step by step.
//!
//! Owns: the steps that there are, and how they are read out of a fuzzer's bytes: few bytes for each, so that one more or one less changes one step
//! and not all that follow. Refuses to know: what comes of them.

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::voice::{UNKNOWN, Voice};

/// A hub, and what is done to it.
#[derive(Debug)]
pub struct Play {
    pub setting: Setting,
    pub steps: Vec<Step>,
}

/// What an operator decided.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub lingers: bool,
    pub is_rated: bool,
    pub auto_create: bool,
    pub has_long_history: bool,
    pub has_large_logs: bool,
    /// Much may be owed in all, or hardly anything.
    pub may_owe_much: bool,
    /// One address has so many connections at most.
    pub is_limited_by_address: bool,
    /// The system tells how much of what was written is unsent.
    pub tells_unsent: bool,
    /// There are keys, and who has one may speak sealed.
    pub has_keys: bool,
    /// Nobody joins who does not.
    pub requires_sealed: bool,
    /// Nobody joins without a token of the school's.
    pub asks_token: bool,
    /// The rooms that are always there have passcodes.
    pub has_passcodes: bool,
    /// The owner of the first room is known by the id alone.
    pub trusts_owner_id: bool,
}

/// One thing that is done. Unless it `ends_turn`, the next is done in the same turn of the hub.
#[derive(Debug)]
pub struct Step {
    pub who: usize,
    pub room: usize,
    pub act: Act,
    pub ends_turn: bool,
}

/// What is done by somebody, or to somebody.
#[derive(Debug)]
pub enum Act {
    Connect {
        address: u8,
        head: Head,
        voice: Voice,
    },
    Join {
        id: u8,
        access: Access,
        passcode: Passcode,
        owner_passcode: Passcode,
        resume: Resume,
        last_seq: LastSeq,
    },
    Leave,
    Say {
        data_type: u16,
        bytes: usize,
        claims: bool,
    },
    Receipt {
        back: u8,
        count: u8,
    },
    Pull,
    Rule {
        locked: Option<bool>,
        quiet: Option<bool>,
    },
    Remove {
        id: u8,
        for_s: u32,
    },
    /// One of several frames that no client should send, or not like this, or that say nothing.
    Odd(u8),
    Close(Option<u16>),
    HangUp,
    /// The network is gone, and the poll says so, or only the next write shows it.
    Break {
        is_told: bool,
    },
    /// Reads no more; the system holds so many bytes for it.
    Block(usize),
    /// Reads so many bytes of what is held.
    Take(usize),
    /// Reads everything, and goes on doing so.
    Read,
    Wait(Wait),
    /// The wall clock jumps.
    Jump(u8),
    /// The operator decides some of it anew.
    Reload(Reload),
    /// The hub leaves everything to the next process.
    Upgrade,
}

/// What an operator may decide anew here: what everybody has to show stays as it was.
#[derive(Clone, Copy, Debug)]
pub struct Reload {
    pub lingers: bool,
    pub is_rated: bool,
    pub auto_create: bool,
    pub has_long_history: bool,
    pub has_large_logs: bool,
    pub is_limited_by_address: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Head {
    Upgrade,
    Half,
    Wrong,
}

/// What a join shows of the school's tokens. Those that are wrong all say that their bearer is the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    None,
    /// For this id, in this room and another.
    Right,
    /// For this id, which owns whatever room it is in.
    Owner,
    /// For this id, until a time that is soon.
    Timed,
    Expired,
    ElsewhereOnly,
    SomebodyElses,
    Forged,
}

/// What a join shows of an earlier seat.
#[derive(Clone, Copy, Debug)]
pub enum Resume {
    None,
    /// The latest that was given for this id in this room.
    Own,
    /// Any that was ever given.
    Any(u8),
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passcode {
    None,
    Right,
    Wrong,
}

#[derive(Clone, Copy, Debug)]
pub enum LastSeq {
    None,
    /// What was seen from the token's seat, less this.
    Seen(u8),
    /// More than was.
    Beyond,
    Endless,
}

#[derive(Clone, Copy, Debug)]
pub enum Wait {
    Ms(u64),
    /// Until the hub wants to be woken.
    ToDeadline,
}

impl<'a> Arbitrary<'a> for Play {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let bits = u16::from_le_bytes(bytes.arbitrary()?);
        let bit = |n: u8| bits >> n & 1 == 1;
        let setting = Setting {
            lingers: bit(0),
            is_rated: bit(1),
            auto_create: !bit(2),
            has_long_history: bit(3),
            has_large_logs: bit(4),
            may_owe_much: !bit(5),
            is_limited_by_address: bit(6),
            tells_unsent: bit(7),
            has_keys: bit(8),
            requires_sealed: bit(8) && bit(9),
            asks_token: bit(10),
            has_passcodes: bit(11),
            trusts_owner_id: bit(12),
        };
        let mut steps = Vec::new();
        while !bytes.is_empty() {
            steps.push(bytes.arbitrary()?);
        }
        Ok(Play { setting, steps })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let [what, who] = bytes.arbitrary::<[u8; 2]>()?;
        let mut more = || bytes.arbitrary::<u8>();
        let act = match what & 0x1F {
            0 | 1 => {
                let of = more()?;
                let head = [Head::Upgrade, Head::Upgrade, Head::Half, Head::Wrong][usize::from(of >> 6)];
                let voice = match of >> 2 & 7 {
                    0..=3 => Voice::Plain,
                    4 | 5 => Voice::Sealed(0),
                    6 => Voice::Sealed(1),
                    _ => Voice::Sealed(UNKNOWN),
                };
                Act::Connect { address: of & 3, head, voice }
            }
            2..=5 => {
                let [id, of, shows] = [more()?, more()?, more()?];
                let access = [
                    Access::None,
                    Access::Right,
                    Access::Owner,
                    Access::Timed,
                    Access::Expired,
                    Access::ElsewhereOnly,
                    Access::SomebodyElses,
                    Access::Forged,
                ][usize::from(shows & 7)];
                let passcode =
                    [Passcode::None, Passcode::Right, Passcode::Right, Passcode::Wrong][usize::from(shows >> 3 & 3)];
                let resume = match of & 7 {
                    0..=2 => Resume::None,
                    3..=5 => Resume::Own,
                    6 => Resume::Any(id >> 2),
                    _ => Resume::Wrong,
                };
                let owner_passcode =
                    [Passcode::None, Passcode::None, Passcode::Right, Passcode::Wrong][usize::from(of >> 3 & 3)];
                let last_seq = match of >> 5 {
                    0..=2 => LastSeq::None,
                    3 => LastSeq::Seen(0),
                    4 => LastSeq::Seen(1),
                    5 => LastSeq::Seen(id >> 2),
                    6 => LastSeq::Beyond,
                    _ => LastSeq::Endless,
                };
                Act::Join { id: id & 3, access, passcode, owner_passcode, resume, last_seq }
            }
            6 => Act::Leave,
            7..=10 => {
                let of = more()?;
                let bytes = [1, 8, 100, 126, 400, 700, 820, 860][usize::from(of & 7)];
                let data_type = [3, 3, 100, 65_535][usize::from(of >> 3 & 3)];
                Act::Say { data_type, bytes, claims: of >> 7 == 1 }
            }
            11 => {
                let of = more()?;
                Act::Receipt { back: of & 0xF, count: of >> 4 }
            }
            12 => Act::Pull,
            13 | 14 => {
                let of = more()?;
                let change = |bits: u8| [None, None, Some(false), Some(true)][usize::from(bits & 3)];
                Act::Rule { locked: change(of), quiet: change(of >> 2) }
            }
            15 => {
                let of = more()?;
                Act::Remove { id: of & 3, for_s: [0, 1, 5, 86_400][usize::from(of >> 2 & 3)] }
            }
            16 | 17 => Act::Odd(more()?),
            18 => {
                let of = more()?;
                Act::Close(
                    [None, Some(1000), Some(1001), Some(1002), Some(1005), Some(1011), Some(3000), Some(4999)]
                        [usize::from(of & 7)],
                )
            }
            19 => Act::HangUp,
            20 => Act::Break { is_told: who >> 4 & 1 == 0 },
            21 | 22 => Act::Block([0, 1, 10, 100, 500, 1000, 3000, 8000][usize::from(more()? & 7)]),
            23 | 24 => Act::Take(usize::from(more()?) * 8 + 1),
            25 | 26 => Act::Read,
            30 => {
                let of = more()?;
                let bit = |n: u8| of >> n & 1 == 1;
                Act::Reload(Reload {
                    lingers: bit(0),
                    is_rated: bit(1),
                    auto_create: !bit(2),
                    has_long_history: bit(3),
                    has_large_logs: bit(4),
                    is_limited_by_address: bit(6),
                })
            }
            27..=29 => {
                let waits = [1, 64, 1000, 3000, 5000, 10_000, 31_000];
                Act::Wait(waits.get(usize::from(more()? & 7)).map_or(Wait::ToDeadline, |ms| Wait::Ms(*ms)))
            }
            _ => match more()? {
                to @ ..0x80 => Act::Jump(to),
                _ => Act::Upgrade,
            },
        };
        Ok(Step { who: usize::from(who & 7), room: usize::from(who >> 4 & 7), act, ends_turn: what & 0x80 == 0 })
    }
}

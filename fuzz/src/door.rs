//! Who may come in, by what a join shows.
//!
//! Owns: the school's tokens, good ones and wrong ones, which seats and refusals what was shown accounts for, and whose word may count in a room
//! (PROTOCOL.md: Moderation, Authentication, Encryption). Refuses to know: how a join is sent, and what else may be in its way.

use std::collections::BTreeSet;

use classhub::hub::{Claims, TokenKey};
use classhub::limits;

use crate::steps::{Access, Passcode, Setting};
use crate::voice::Voice;

/// Whose word the operator says it is in [`OWNED_ROOM`].
pub const OWNER: &str = "t";
/// The two rooms that are always there: one with an owner of its own, and one that is whose who knows its word.
pub const OWNED_ROOM: &str = "A";
pub const WORD_ROOM: &str = "B";
/// Passcodes of both, for the owner and for everyone.
pub const OWNER_PASSCODE: &str = "芝麻开门";
pub const PASSCODE: &str = "西瓜 7";
pub const WRONG_PASSCODE: &str = "芝麻关门";
/// Free guesses, and how long each further one takes (PROTOCOL.md, Authentication).
const GUESSES_FREE: u64 = 20;
const GUESS_MS: u64 = 3000;
/// When tokens with a time run out: soon after the clock of the board was set, in seconds since 1970.
const TIME_S: u64 = limits::BUILT_S + 100;

const SECRET: &[u8] = b"the secret of a school";

/// What a join has shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub voice: Voice,
    pub access: Access,
    pub passcode: Passcode,
    pub owner_passcode: Passcode,
    /// A token that was given for this seat, in this room as it is now as far as anybody knows.
    pub resumes: bool,
}

/// What is to be shown.
pub struct Door {
    setting: Setting,
    key: TokenKey,
    /// Who has shown a token of the owner's to [`OWNED_ROOM`].
    owners: BTreeSet<&'static str>,
}

impl Door {
    pub fn new(setting: Setting) -> Door {
        Door { setting, key: TokenKey::new(SECRET), owners: BTreeSet::from([OWNER]) }
    }

    /// From now on so much may be.
    pub fn loosen(&mut self, setting: Setting) {
        self.setting = setting;
    }

    /// What the hub is told of the school's tokens.
    pub fn key(&self) -> Option<TokenKey> {
        self.setting.asks_token.then(|| self.key.clone())
    }

    /// A token of the school's, or one that is none.
    pub fn token(&mut self, access: Access, id: &'static str, room: &'static str) -> Option<String> {
        let mut claims = Claims { sub: id.into(), owner: true, ..Claims::default() };
        match access {
            Access::None => return None,
            Access::Right => {
                claims.owner = false;
                claims.rooms = Some(vec!["elsewhere".into(), room.into()]);
            }
            Access::Owner => {
                if self.setting.asks_token && room == OWNED_ROOM {
                    self.owners.insert(id);
                }
            }
            Access::Timed => {
                claims.owner = false;
                claims.exp = Some(TIME_S as i64);
            }
            Access::Expired => claims.exp = Some(1),
            Access::ElsewhereOnly => claims.rooms = Some(vec!["elsewhere".into()]),
            Access::SomebodyElses => claims.sub = "somebody else".into(),
            Access::Forged => return Some(TokenKey::new("another").sign(&claims)),
        }
        Some(self.key.sign(&claims))
    }

    /// Whether the school lets somebody in by such a token at that time.
    fn is_good(&self, access: Access, wall_ms: u64) -> bool {
        match access {
            Access::Right | Access::Owner => true,
            Access::Timed => (limits::BUILT_S..TIME_S).contains(&(wall_ms / 1000)),
            _ => false,
        }
    }

    /// Whether the word of [`OWNED_ROOM`]'s owner, or of [`WORD_ROOM`], is asked for.
    fn asks_owner_passcode(&self, id: &str, room: &str, shown: &Shown) -> bool {
        match room {
            OWNED_ROOM => id == OWNER && !self.setting.trusts_owner_id,
            WORD_ROOM => shown.owner_passcode != Passcode::None,
            _ => false,
        }
    }

    fn has_passcode(&self, room: &str) -> bool {
        self.setting.has_passcodes && matches!(room, OWNED_ROOM | WORD_ROOM)
    }

    /// Whether all is right that was shown for the passcodes of a room.
    fn knows_passcodes(&self, id: &str, room: &str, shown: &Shown) -> bool {
        let is_asked = self.asks_owner_passcode(id, room, shown);
        let is_owner = is_asked && shown.owner_passcode == Passcode::Right;
        let may_pass = !is_asked || is_owner || self.setting.asks_token && shown.access == Access::Owner;
        may_pass && (is_owner || !self.has_passcode(room) || shown.passcode == Passcode::Right)
    }

    /// Whether what was shown is for this seat beyond doubt: a room that is always there has forgotten no token.
    fn surely_resumes(room: &str, shown: &Shown) -> bool {
        shown.resumes && matches!(room, OWNED_ROOM | WORD_ROOM)
    }

    /// A seat was given for it, at one of these times.
    ///
    /// # Panics
    /// Where it gives no right to one.
    pub fn check_seat(&self, id: &str, room: &str, shown: &Shown, mut wall_ms: impl Iterator<Item = u64>) {
        let is_sealed = shown.voice != Voice::Plain;
        assert!(is_sealed || !self.setting.requires_sealed, "a seat in the clear");
        if shown.resumes {
            return;
        }
        let is_let_in = !self.setting.asks_token || wall_ms.any(|wall_ms| self.is_good(shown.access, wall_ms));
        assert!(is_let_in, "a seat for {shown:?}, which is no good token");
        assert!(self.knows_passcodes(id, room, shown), "a seat in {room} for {shown:?}, without the passcode");
    }

    /// Whether somebody who has a seat by this is its room's owner. After so many guesses nothing may have been looked at but a token of the seat.
    pub fn makes_owner(&self, id: &str, room: &str, shown: &Shown, guesses: u64) -> bool {
        let by_word = self.asks_owner_passcode(id, room, shown) && shown.owner_passcode == Passcode::Right;
        let by_id = self.setting.trusts_owner_id && (id, room) == (OWNER, OWNED_ROOM);
        let by_token = self.setting.asks_token && shown.access == Access::Owner;
        by_id || (by_word || by_token) && (!shown.resumes || guesses < GUESSES_FREE)
    }

    /// A room tells who owns it, or owned it last.
    pub fn check_owner(&self, room: &str, owner: &str) {
        assert!(room != OWNED_ROOM || self.owners.contains(owner), "{owner} owns {room} by no right");
    }

    /// A join was refused with this code, at one of these times.
    ///
    /// # Panics
    /// Where nothing that it shows accounts for it.
    pub fn check_refusal(
        &self,
        code: &str,
        id: &str,
        room: &str,
        shown: &Shown,
        mut wall_ms: impl Iterator<Item = u64>,
        guesses: u64,
    ) {
        let resumes = Self::surely_resumes(room, shown);
        let is_fair = match code {
            "encryption" => self.setting.requires_sealed && shown.voice == Voice::Plain,
            "key" => matches!(shown.voice, Voice::Sealed(_)),
            "token" => {
                self.setting.asks_token && !resumes && wall_ms.any(|wall_ms| !self.is_good(shown.access, wall_ms))
            }
            "passcode" => !resumes && !self.knows_passcodes(id, room, shown),
            "rate_limited" => {
                let is_asked = self.has_passcode(room) || self.asks_owner_passcode(id, room, shown);
                let is_held = (self.setting.asks_token || is_asked) && !resumes && guesses >= GUESSES_FREE;
                self.setting.is_rated || is_held
            }
            _ => true,
        };
        assert!(is_fair, "{code} in {room} for {shown:?} after {guesses} guesses");
    }

    /// So many guesses from one address were answered within the time that the hub runs.
    pub fn check_guesses(&self, answered: u64, ran_ms: u64) {
        assert!(answered <= GUESSES_FREE + ran_ms / GUESS_MS, "{answered} guesses in {ran_ms} ms");
    }
}

impl Shown {
    /// Whether it is, or may be, a guess.
    pub fn guesses(&self) -> bool {
        self.access != Access::None || self.passcode != Passcode::None || self.owner_passcode != Passcode::None
    }

    /// Whether being refused with this code was one.
    pub fn guessed(&self, code: &str) -> bool {
        match code {
            "token" => self.access != Access::None,
            "passcode" => self.passcode != Passcode::None || self.owner_passcode != Passcode::None,
            _ => false,
        }
    }
}

//! What lets somebody in.
//!
//! Owns: which joins have to show a token or a passcode, whether what they show is right, and what becomes of those whose is not (PROTOCOL.md,
//! Authentication). Refuses to know: what a token is made of (`jwt`), how guesses add up (`guesses`), and what an owner may (`moderation`).

use super::asked::Asked;
use super::hub::{Hub, identity, peer_mut};
use super::jwt;
use super::outlet::Outlet;
use super::peer::Peer;
use super::room::Room;
use crate::base::Address;
use crate::wire::{CloseReason, Code, Failure};

/// What a join shows of the word that makes one a room's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nobody asks for it.
    Unasked,
    /// It is asked for, and not there.
    Missing,
    Wrong,
    Right,
}

impl Hub {
    /// Whether what the joiner shows is looked at. Where too much was wrong that came from its address it is not, and nobody gets in who would have
    /// to show something; but a good resume token needs nothing beside it, and whatever is beside it is passed over.
    pub(super) fn check_guesses(
        &self,
        room: Option<&Room>,
        asked: &Asked,
        address: Address,
        resumes: bool,
    ) -> Result<bool, Failure> {
        let is_asked = self.settings.token_key.is_some() || room.is_some_and(|room| is_asked_for_passcode(room, asked));
        let is_looked_at = !is_asked || !self.guesses.are_too_many(address, asked.now.monotonic_ms);
        if is_looked_at || resumes {
            return Ok(is_looked_at);
        }
        let msg =
            "试错太多，请几秒后再试 (too many wrong tokens or passcodes from this address: try again in a few seconds)";
        Err(Failure::new(Code::RateLimited, msg))
    }

    /// Whether the joiner is who the school says it is, and if so whether the school says that the room is its own. A good resume token stands
    /// for a token; where both are shown, what the token says counts if it is good.
    pub(super) fn check_token(&self, asked: &Asked, resumes: bool, is_looked_at: bool) -> Result<bool, Failure> {
        let Some(key) = self.settings.token_key.as_ref().filter(|_| is_looked_at) else { return Ok(false) };
        let token = asked.credentials.token.as_deref().ok_or_else(jwt::missing);
        match token.and_then(|token| key.check(token, asked.room_number, asked.now)) {
            Ok(claims) if claims.sub == asked.from.id => Ok(claims.owner),
            _ if resumes => Ok(false),
            Ok(_) => Err(identity()),
            Err(failure) => Err(failure),
        }
    }

    /// What the joiner shows of the word that makes it the owner. Where somebody is named, the word is that one's.
    pub(super) fn owner_word(&self, room: &Room, asked: &Asked) -> Word {
        let shown = asked.credentials.owner_passcode.as_deref();
        match (&room.owner_passcode, shown) {
            (Some(_), _) if !is_asked_for_owner_passcode(room, asked) => Word::Unasked,
            (None, _) => Word::Unasked,
            (Some(_), None | Some("")) => Word::Missing,
            (Some(passcode), Some(shown)) if self.tokens.are_same(shown, &passcode.0) => Word::Right,
            _ => Word::Wrong,
        }
    }

    /// Whether the joiner knows what those know who may enter the room. The owner's word stands for it, and so does a good resume token.
    pub(super) fn check_passcode(
        &self,
        room: &Room,
        asked: &Asked,
        resumes: bool,
        owner_word: Word,
    ) -> Result<(), Failure> {
        let shown = asked.credentials.passcode.as_deref();
        let is_known = match &room.passcode {
            None => true,
            Some(_) if resumes || owner_word == Word::Right => true,
            Some(passcode) => shown.is_some_and(|shown| self.tokens.are_same(shown, &passcode.0)),
        };
        let msg = "extendFields.passcode: 房间口令缺失或不对 (the room's passcode is missing or wrong)";
        if is_known { Ok(()) } else { Err(Failure::new(Code::Passcode, msg)) }
    }

    /// A join was refused: patience with its connection, and with its address, may be at an end.
    pub(super) fn refused_join(&mut self, asked: &Asked, code: Code, outlet: &mut impl Outlet) {
        let (now_ms, credentials) = (asked.now.monotonic_ms, asked.credentials);
        let Some(peer) = peer_mut(&mut self.peers, asked.who) else { return };
        let guesses = match code {
            Code::Token => [credentials.token.as_deref(), None],
            Code::Passcode => [credentials.passcode.as_deref(), credentials.owner_passcode.as_deref()],
            Code::RateLimited => {
                if peer.was_refused(now_ms) {
                    outlet.close(asked.who, CloseReason::Flood);
                }
                return;
            }
            _ => return,
        };
        if guesses.into_iter().flatten().any(|guess| !guess.is_empty()) {
            self.guesses.add(peer.address, now_ms);
        }
        if Peer::was_wrong(peer) {
            outlet.close(asked.who, CloseReason::Guessing);
        }
    }
}

fn is_asked_for_passcode(room: &Room, asked: &Asked) -> bool {
    room.passcode.is_some() || is_asked_for_owner_passcode(room, asked)
}

/// Whoever comes under the named owner's id has to show the word; where nobody is named, whoever does is judged by it.
fn is_asked_for_owner_passcode(room: &Room, asked: &Asked) -> bool {
    let is_asked = match &room.owner_id {
        Some(owner_id) => **owner_id == *asked.from.id,
        None => asked.credentials.owner_passcode.is_some(),
    };
    room.owner_passcode.is_some() && is_asked
}

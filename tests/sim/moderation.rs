//! What PROTOCOL.md, Moderation, says, as plainly as it can be put.
//!
//! Owns: whose word counts in a room and by what claim, what holds there for as long as that one sits, and who is kept out for how long. Refuses to
//! know: who gets a seat otherwise (`joining`), and who is told.

use std::net::IpAddr;

use classhub::base::Now;
use classhub::hub::RoomSettings;
use classhub::limits;

use crate::frame::Who;
use crate::joining::Asked;
use crate::model::Model;
use crate::peer::Bucket;
use crate::text;

/// Why somebody is to own a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// (a): the operator named it, or told it the passcode, or both.
    Operator,
    /// (b): it shows the token of the seat that was the owner's last by a claim that stays.
    Earlier,
    /// It made the room, and its claim stays as those above do.
    Made,
    /// (c): it is first into a room that stands empty, and owns it until somebody has a claim that stays.
    First,
}

/// What holds in one room, and by whose word. Seats are known by their joins.
#[derive(Default)]
pub struct Rule {
    /// Whom the operator named, by id, and what shows that one is meant.
    named: Option<String>,
    passcode: Option<String>,
    owner: Option<u64>,
    /// The seat that was the owner's last by a claim that stays, whether or not it is still there.
    keeper: Option<u64>,
    pub locked: bool,
    pub quiet: bool,
    kept_out: Vec<KeptOut>,
}

struct KeptOut {
    id: String,
    address: Option<IpAddr>,
    until_ms: u64,
}

impl Rule {
    pub fn of(settings: &RoomSettings) -> Self {
        Rule {
            named: settings.owner.as_ref().map(|owner| owner.id.to_string()),
            passcode: settings.owner_passcode.as_ref().map(|passcode| passcode.0.clone()),
            ..Default::default()
        }
    }

    pub fn is_owner(&self, joined_seq: u64) -> bool {
        self.owner == Some(joined_seq)
    }

    /// What whoever is first into the empty room claims, having no other claim.
    pub fn first_claim(&self) -> Option<Claim> {
        match (&self.named, self.keeper) {
            (Some(_), _) => None,
            (None, None) => Some(Claim::Made),
            (None, Some(_)) => Some(Claim::First),
        }
    }

    /// Whether this seat may not say chat text.
    pub fn silences(&self, joined_seq: u64) -> bool {
        self.quiet && !self.is_owner(joined_seq)
    }

    /// The owner's seat has gone. Says whether anything has ended with it.
    pub fn end(&mut self) -> bool {
        self.owner = None;
        let held = self.locked || self.quiet;
        (self.locked, self.quiet) = (false, false);
        held
    }

    /// Who is kept out now, by id.
    pub fn kept_out(&self, now: Now) -> Vec<&str> {
        let kept_out = self.kept_out.iter().filter(|kept_out| now.monotonic_ms < kept_out.until_ms);
        kept_out.map(|kept_out| &*kept_out.id).collect()
    }

    fn lift(&mut self, id: &str) {
        self.kept_out.retain(|kept_out| kept_out.id != id);
    }
}

impl Model {
    /// The seat of this join owns the room from now on. Says whether it did not before.
    pub fn own_room(&mut self, room: usize, joined_seq: u64, claim: Claim) -> bool {
        let rule = &mut self.rooms[room].rule;
        if claim != Claim::First {
            rule.keeper = Some(joined_seq);
        }
        let before = rule.owner.replace(joined_seq);
        let is_news = before != Some(joined_seq);
        if is_news {
            self.counts.owned(claim);
            self.counts.deposed += usize::from(before.is_some());
        }
        is_news
    }

    /// Whether this connection sits in a room as its owner.
    pub fn owns(&self, who: usize, room: usize) -> bool {
        let room = &self.rooms[room];
        room.seats.iter().any(|seat| seat.holder == Some(who) && room.rule.is_owner(seat.joined_seq))
    }

    fn owners_seat(&mut self, who: usize, number: &str) -> Result<(usize, usize), &'static str> {
        let (room, place) = self.seat(who, number)?;
        if !self.owns(who, room) {
            self.counts.not_owners += 1;
            return Err("not_owner");
        }
        Ok((room, place))
    }

    // ---- What an owner says ---------------------------------------------------------------------

    pub fn change_rule(
        &mut self,
        now: Now,
        who: usize,
        number: &str,
        locked: Option<bool>,
        quiet: Option<bool>,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let (room, _) = self.owners_seat(who, number)?;
        let rule = &mut self.rooms[room].rule;
        self.counts.locks += usize::from(!rule.locked && locked == Some(true));
        self.counts.quiets += usize::from(!rule.quiet && quiet == Some(true));
        rule.locked = locked.unwrap_or(rule.locked);
        rule.quiet = quiet.unwrap_or(rule.quiet);
        self.publish_rule(now, room, reference);
        Ok(())
    }

    /// Tells everyone what holds.
    pub fn publish_rule(&mut self, now: Now, room: usize, reference: Option<&str>) {
        let here = &mut self.rooms[room];
        here.write_fields();
        let stamp = text::stamp(here.seq + 1, now.wall_ms, reference);
        let text = format!(r#"{},"extendFields":{{{stamp}}}}}}}"#, here.ruled());
        self.publish(room, text, Who::Same, None);
    }

    pub fn remove(
        &mut self,
        now: Now,
        who: usize,
        number: &str,
        id: &str,
        for_s: u32,
        reference: Option<&str>,
    ) -> Result<(), &'static str> {
        let (room, own) = self.owners_seat(who, number)?;
        let here = &mut self.rooms[room];
        if for_s == 0 {
            self.counts.lifted += usize::from(here.rule.kept_out(now).contains(&id));
            here.rule.lift(id);
            let data = format!(r#""roomNumber":{},"id":{},"forS":0"#, text::string(number), text::string(id));
            let extend = reference
                .map_or(String::new(), |reference| format!(r#","extendFields":{{"ref":{}}}"#, text::string(reference)));
            self.own_exactly(who, format!("{}{extend}}}}}", text::success("Rule", 3, 5, &data)));
            return Ok(());
        }
        let place = here.seats.iter().position(|seat| *seat.id == *id);
        let Some(place) = place.filter(|place| *place != own) else {
            self.counts.no_such_members += 1;
            return Err("no_such_member");
        };
        let address = here.seats[place].address;
        let is_shared = here.seats.iter().enumerate().any(|(other, seat)| other != place && seat.address == address);
        let until_ms = now.monotonic_ms + u64::from(for_s) * 1000;
        // The list is bounded, by more than there are ids here.
        here.rule.lift(id);
        here.rule.kept_out.push(KeptOut { id: id.to_owned(), address: (!is_shared).then_some(address), until_ms });
        assert!(here.rule.kept_out.len() < limits::REMOVED);
        self.counts.shared += usize::from(is_shared);
        match here.seats[place].holder {
            Some(_) => self.counts.removed_present += 1,
            None => self.counts.removed_lingering += 1,
        }
        self.end_seat(now, room, place, "removed", reference);
        Ok(())
    }

    // ---- At the join ----------------------------------------------------------------------------

    /// Whether the joiner is kept out, whatever it shows.
    pub fn check_kept_out(&mut self, room: usize, asked: &Asked) -> Result<(), &'static str> {
        let address = self.peers[asked.who].address;
        let mut kept_out = self.rooms[room].rule.kept_out.iter();
        let holds = |kept_out: &&KeptOut| asked.now.monotonic_ms < kept_out.until_ms;
        let by_id = kept_out.clone().filter(holds).any(|kept_out| kept_out.id == asked.member.id);
        let by_address = kept_out.any(|kept_out| holds(&kept_out) && kept_out.address == Some(address));
        self.counts.kept_out_by_id += usize::from(by_id);
        self.counts.kept_out_by_address += usize::from(by_address && !by_id);
        if by_id || by_address { Err("removed") } else { Ok(()) }
    }

    /// By what the joiner claims the room, whoever sits there. A good token, of the seat of the join `token_of`, stands for the passcode.
    pub fn claim(
        &mut self,
        room: usize,
        asked: &Asked,
        token_of: Option<u64>,
        is_looked_at: bool,
    ) -> Result<Option<Claim>, &'static str> {
        let Rule { named, passcode, keeper, .. } = &self.rooms[room].rule;
        let is_named = named.as_deref() == Some(&*asked.member.id);
        let is_right = is_looked_at && passcode.as_deref() == asked.owner_passcode;
        let (is_operators, is_wrong) = match (named, passcode) {
            (Some(_), Some(_)) => (is_named && is_right, is_named && !is_right),
            (Some(_), None) => (is_named, false),
            (None, Some(_)) => (is_right, !is_right && asked.owner_passcode.is_some()),
            (None, None) => (false, false),
        };
        let is_keepers = token_of.is_some() && token_of == *keeper;
        if is_wrong && is_looked_at && asked.owner_passcode.is_some_and(|word| !word.is_empty()) {
            self.guesses_of(asked.who).spend(3, 1, 60, asked.now.monotonic_ms);
        }
        match token_of {
            _ if is_operators => Ok(Some(Claim::Operator)),
            None if is_wrong => Err("passcode"),
            _ => Ok(is_keepers.then_some(Claim::Earlier)),
        }
    }

    /// What is left of the minute in which somebody at this address may guess: each guess costs three seconds of it.
    fn guesses_of(&mut self, who: usize) -> &mut Bucket {
        self.guesses.entry(self.peers[who].address).or_insert_with(Bucket::full)
    }

    /// Whether a passcode is looked at. Where it is not, only a good resume token gets anybody in who would have to show one.
    pub fn check_guesses(&mut self, asked: &Asked, room: Option<usize>, resumes: bool) -> Result<bool, &'static str> {
        let is_asked = room.is_some_and(|room| {
            let Rule { named, passcode, .. } = &self.rooms[room].rule;
            let is_asked = named.as_deref().map(|named| named == asked.member.id);
            passcode.is_some() && is_asked.unwrap_or(asked.owner_passcode.is_some())
        });
        let is_looked_at = !is_asked || self.guesses_of(asked.who).has(3, 1, 60, asked.now.monotonic_ms);
        self.counts.unheard += usize::from(!is_looked_at);
        if is_looked_at || resumes {
            return Ok(is_looked_at);
        }
        let peer = &mut self.peers[asked.who];
        if peer.is_refused(asked.now.monotonic_ms) {
            peer.ends("closed", 1008);
        }
        Err("rate_limited")
    }

    /// A join was refused for a passcode.
    pub fn guessed(&mut self, who: usize) {
        self.counts.wrong_passcodes += 1;
        let peer = &mut self.peers[who];
        peer.guesses += 1;
        if peer.guesses == 5 {
            self.counts.guessers += 1;
            peer.ends("closed", 1008);
        }
    }
}

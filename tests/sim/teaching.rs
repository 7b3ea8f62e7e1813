//! What people do with rooms that are theirs, and to have them.
//!
//! Owns: when an owner locks, quietens, removes and lets back in, whom it means, and which passcodes are shown by whom. Refuses to know: what comes
//! of it.

use crate::client::{self, Unit};
use crate::peer::Stage;
use crate::world::World;

/// What shows that a configured room is one's own, where it has such a word.
pub const PASSCODE: &str = "芝麻 \"open\"";

impl World {
    /// What this id shows of being the owner when it joins a room.
    pub fn passcode(&mut self, number: &str, id: &str) -> Option<String> {
        let settings = self.model.settings.configured.iter().find(|room| room.number == number);
        let is_asked = settings.is_some_and(|room| room.owner_passcode.is_some());
        let is_named = settings.and_then(|room| room.owner.as_ref()).is_some_and(|owner| owner.id == id);
        let (right, wrong) = match (is_asked, is_named) {
            (true, true) => (70, 15),
            (true, false) => (6, 3),
            (false, _) => (1, 1),
        };
        match self.rng.below(100) {
            chance if chance < right => Some(PASSCODE.to_owned()),
            chance if chance < right + wrong => Some(self.wrong_passcode()),
            _ => None,
        }
    }

    fn wrong_passcode(&mut self) -> String {
        let almost = PASSCODE.trim_end_matches('"');
        self.rng.pick(&["", almost, "芝麻 \"open\" ", "1234", &"p".repeat(64)]).to_owned()
    }

    /// Somebody tries one passcode after the other, or all do who are at the same place.
    pub fn guess(&mut self, who: usize) {
        let peers = &self.model.peers;
        let is_there = |other: &&usize| {
            let peer = &peers[**other];
            peer.stage == Stage::Open && peer.address == peers[who].address && self.clients[**other].may_speak()
        };
        let there: Vec<usize> = self.live.iter().filter(is_there).copied().collect();
        let guessers = if self.rng.chance(50) { there } else { vec![who] };
        guessers.into_iter().for_each(|who| self.guess_alone(who));
    }

    fn guess_alone(&mut self, who: usize) {
        let number = self.rng.pick(&["E00001", "E00002"]);
        let member = self.people[self.clients[who].person].member.clone();
        for _ in 0..self.rng.range(3, 7) {
            self.serial += 1;
            let reference = client::reference(&mut self.rng, self.serial);
            let word = Some(self.wrong_passcode());
            let units = client::join(&mut self.rng, number, &member, Default::default(), word, reference);
            self.clients[who].will_say(units);
        }
    }

    /// Whether this client has a room of its own, by what the model knows.
    pub fn is_owner(&self, who: usize) -> bool {
        self.model.peers[who].seats.iter().any(|room| self.model.owns(who, *room))
    }

    /// What an owner says; others try it too.
    pub fn moderate(&mut self, who: usize) -> Vec<Unit> {
        let seats = &self.model.peers[who].seats;
        let own: Vec<usize> = seats.iter().copied().filter(|room| self.model.owns(who, *room)).collect();
        let room = if own.is_empty() { None } else { Some(self.rng.pick(&own)) };
        let number = match room {
            Some(room) => self.model.rooms[room].number.clone(),
            None => self.room_of(who),
        };
        let reference = client::reference(&mut self.rng, self.serial);
        if self.rng.chance(50) {
            let holds = room.map_or((false, false), |room| {
                let rule = &self.model.rooms[room].rule;
                (rule.locked, rule.quiet)
            });
            // What holds does not hold for long: a class that may not talk is no class.
            let mut change = |holds: bool| match self.rng.below(10) {
                0..3 => None,
                3..7 => Some(!holds),
                7 => Some(true),
                _ => Some(false),
            };
            let (locked, quiet) = (change(holds.0), change(holds.1));
            return client::rule(&mut self.rng, &number, locked, quiet, reference);
        }
        let (id, for_s) = match room {
            Some(room) => self.whom(who, room),
            None => (self.anybody(), self.rng.below(2) as u32),
        };
        client::remove(&mut self.rng, &number, &id, for_s, reference)
    }

    /// Who is removed or let back in, and for how long it is to stay away.
    fn whom(&mut self, who: usize, room: usize) -> (String, u32) {
        let room = &self.model.rooms[room];
        let others = room.seats.iter().filter(|seat| seat.holder != Some(who));
        let others: Vec<String> = others.map(|seat| seat.id.to_string()).collect();
        let lingering = room.seats.iter().filter(|seat| seat.linger.is_some());
        let lingering: Vec<String> = lingering.map(|seat| seat.id.to_string()).collect();
        let kept_out: Vec<String> = room.rule.kept_out(self.now).into_iter().map(str::to_owned).collect();
        let for_s = self.rng.pick(&[1, 2, 5, 10, 20, 60, 120]);
        match self.rng.below(20) {
            0..4 if !kept_out.is_empty() => (self.rng.pick(&kept_out), 0),
            0..8 if !lingering.is_empty() => (self.rng.pick(&lingering), for_s),
            0..14 if !others.is_empty() => (self.rng.pick(&others), for_s),
            14 if !others.is_empty() => (self.rng.pick(&others), 0),
            15 | 16 => (self.people[self.clients[who].person].member.id.clone(), for_s),
            _ => (self.anybody(), for_s * self.rng.below(2) as u32),
        }
    }

    fn anybody(&mut self) -> String {
        let person = self.rng.below(self.people.len());
        self.people[person].member.id.clone()
    }
}

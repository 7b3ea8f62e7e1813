//! Who gets a seat.
//!
//! Owns: how a join is judged, in the order of PROTOCOL.md, Failures, and the ways to a seat: a new one, one's own from before, and one whose
//! holder may be dead. Refuses to know: what an owner has to say about it (`moderation`), and what is said from a seat.

use std::rc::Rc;

use classhub::base::Now;
use classhub::limits;

use crate::client::{Member, Resume};
use crate::expected::{Item, Joined, Reply, SLACK_BYTES};
use crate::frame::Who;
use crate::model::{Look, Model};
use crate::moderation::Claim;
use crate::peer::Stage;
use crate::person::Welcome;
use crate::room::{Room, Seat};
use crate::text;

/// A join, as it was asked for.
pub struct Asked<'a> {
    pub now: Now,
    pub who: usize,
    pub number: &'a str,
    pub member: &'a Member,
    pub resume: &'a Resume,
    pub owner_passcode: Option<&'a str>,
    pub reference: Option<&'a str>,
}

impl Model {
    pub fn join(&mut self, asked: &Asked, look: &dyn Look) -> Result<(), &'static str> {
        let Asked { now, who, number, member, resume, .. } = *asked;
        let found = self.room(number);
        let peer = &mut self.peers[who];
        if let Some(join_by_ms) = &mut peer.join_by_ms {
            *join_by_ms = now.monotonic_ms + limits::JOIN_MS;
        }
        let is_another = !peer.id.is_empty() && *peer.id != *member.id;
        let is_full = peer.seats.len() >= self.settings.rooms_per_connection as usize;
        let given = resume.token.as_ref().and_then(|token| self.given.get(&**token));
        let given = given.filter(|given| Some(given.room) == found && *given.id == *member.id);
        let opens = given.map(|given| given.joined_seq);
        let is_looked_at = self.check_guesses(asked, found, opens.is_some())?;
        if is_another {
            return Err("identity");
        }
        if found.is_none() && !self.settings.auto_create {
            return Err("no_such_room");
        }
        let mut claim = None;
        if let Some(room) = found {
            self.check_kept_out(room, asked)?;
            claim = self.claim(room, asked, opens, is_looked_at)?;
            // The rest of what was shown to be seen, where all of it can be had.
            let rest = resume.last_seq.and_then(|last_seq| u64::try_from(last_seq).ok()).filter(|last_seq| {
                let room = &self.rooms[room];
                opens.is_some_and(|joined_seq| joined_seq <= *last_seq)
                    && *last_seq <= room.seq
                    && last_seq + 1 >= room.held_from
            });
            let seats = &self.rooms[room].seats;
            let own = seats.iter().position(|seat| Some(seat.joined_seq) == opens);
            let place = own.or_else(|| seats.iter().position(|seat| *seat.id == *member.id));
            if let Some(place) = place {
                match seats[place].holder {
                    Some(holder) if holder == who => {}
                    Some(_) if own.is_some() && is_full => return Err("too_many_rooms"),
                    Some(holder) if own.is_some() => {
                        let old = &mut self.peers[holder];
                        if old.ends.is_empty() {
                            old.ends("lost", 4001);
                        }
                        old.seats.retain(|seat| *seat != room);
                        self.take_over(asked, room, place, claim, rest);
                        return Ok(());
                    }
                    Some(holder) => self.knock(now, holder),
                    // The owner's is for its token, and for whom the operator means.
                    None if self.rooms[room].rule.is_owner(seats[place].joined_seq)
                        && own.is_none()
                        && claim != Some(Claim::Operator) =>
                    {
                        self.counts.guarded += 1;
                    }
                    None if is_full => return Err("too_many_rooms"),
                    None => {
                        self.take_over(asked, room, place, claim, rest);
                        return Ok(());
                    }
                }
                self.own_exactly(who, text::DUPLICATE.to_owned());
                return Ok(());
            }
            // Who was in before is not new, nor is whom the operator means.
            if self.rooms[room].rule.locked {
                if opens.is_none() && claim.is_none() {
                    self.counts.locked_out += 1;
                    return Err("locked");
                }
                self.counts.let_through += 1;
            }
            if !is_full && self.rooms[room].seats.len() < self.settings.members_per_room as usize {
                self.sit(asked, room, claim, rest, look);
                return Ok(());
            }
        }
        if is_full {
            return Err("too_many_rooms");
        }
        if found.is_some() {
            return Err("room_full");
        }
        let room = self.make_room(now, number, look).ok_or("hub_full")?;
        self.sit(asked, room, claim, None, look);
        Ok(())
    }

    /// A new seat.
    fn sit(&mut self, asked: &Asked, room: usize, claim: Option<Claim>, rest: Option<u64>, look: &dyn Look) {
        let Asked { now, member, .. } = *asked;
        if self.seats() >= self.seats_max {
            self.end_longest_linger(now, look);
        }
        let text: Rc<str> = text::member(member).into();
        let here = &self.rooms[room];
        let joined_seq = here.seq + 1;
        let claim = claim.or(here.rule.first_claim().filter(|_| here.seats.is_empty()));
        if let Some(claim) = claim {
            self.own_room(room, joined_seq, claim);
            self.rooms[room].set_owner(&text);
        }
        let data = format!(r#"{},"newJoinMember":{text}"#, self.rooms[room].fields);
        self.broadcast(now, room, "Join", 1, &data, None, Who::Joined(text.clone()), None);
        let made = &mut self.rooms[room];
        made.seats.push(Seat {
            joined_seq,
            id: member.id.as_str().into(),
            member: text,
            holder: None,
            linger: None,
            token: Rc::default(),
            address: self.peers[asked.who].address,
        });
        let place = made.seats.len() - 1;
        self.welcome(asked, room, place, rest);
    }

    /// A seat that there is already.
    fn take_over(&mut self, asked: &Asked, room: usize, place: usize, claim: Option<Claim>, rest: Option<u64>) {
        self.counts.takeovers += 1;
        let seat = &mut self.rooms[room].seats[place];
        (seat.holder, seat.linger) = (None, None);
        let (joined_seq, member) = (seat.joined_seq, seat.member.clone());
        if let Some(claim) = claim
            && self.own_room(room, joined_seq, claim)
        {
            // Of a seat that is taken over nobody sees anything, but whose word counts they are told.
            self.counts.by_takeover += 1;
            self.rooms[room].set_owner(&member);
            self.publish_rule(asked.now, room, None);
        }
        self.welcome(asked, room, place, rest);
    }

    /// Gives a seat to a connection, and tells it so.
    fn welcome(&mut self, asked: &Asked, room: usize, place: usize, rest: Option<u64>) {
        let Asked { now, who, resume, reference, .. } = *asked;
        let here = &mut self.rooms[room];
        here.seats[place].holder = Some(who);
        here.seats[place].address = self.peers[who].address;
        let seat = &here.seats[place];
        let seq = rest.unwrap_or(here.seq);
        let is_gap = resume.last_seq.is_some() && rest.is_none();
        self.counts.replays += usize::from(rest.is_some());
        self.counts.gaps += usize::from(is_gap);
        let members = if rest.is_some() { String::new() } else { here.members_field() };
        let data = format!(r#"{}{members},"newJoinMember":{}"#, here.fields, seat.member);
        let joined = Joined {
            room,
            joined_seq: seat.joined_seq,
            id: seat.id.clone(),
            welcome: Welcome {
                number: here.number.clone(),
                room: here.fields.clone(),
                seq,
                members: rest.is_none().then(|| here.members()),
                knew: resume.view.clone(),
            },
            before: format!(
                r#"{},"extendFields":{{{},"resumeToken":""#,
                text::success("Join", 3, 1, &data),
                text::stamp(seq, now.wall_ms, reference)
            ),
            after: format!(r#""{}}}}}}}"#, if is_gap { r#","gap":true"# } else { "" }),
            token: seat.token.clone(),
        };
        let peer = &mut self.peers[who];
        peer.id = seat.id.clone();
        peer.join_by_ms = None;
        peer.seats.push(room);
        let bytes = joined.before.len() + joined.after.len() + SLACK_BYTES;
        peer.owe(Item::Own(Reply::Welcome(Rc::new(joined)), bytes));
        if let Some(last_seq) = rest {
            for frame in here.frames.iter().filter(|frame| frame.seq > last_seq) {
                peer.owe(Item::Room(frame.clone()));
            }
        }
    }

    /// Somebody wants the seat of this connection, and cannot show that it is theirs.
    fn knock(&mut self, now: Now, holder: usize) {
        let (probe_ms, silence_ms) = (self.probe_ms(), self.silence_ms());
        let peer = &mut self.peers[holder];
        // Whoever has been silent for too long is closed before it could answer.
        let is_silent = now.monotonic_ms >= peer.last_seen_ms + silence_ms;
        let was_asked = peer.pinged_ms.is_some_and(|at_ms| now.monotonic_ms < at_ms + probe_ms);
        if peer.stage != Stage::Open || !peer.ends.is_empty() {
            // It is about to go, and may be asked or not.
            peer.pings_perhaps += 1;
        } else if !was_asked && peer.alive_by_ms.is_none() && !is_silent {
            peer.pinged_ms = Some(now.monotonic_ms);
            peer.alive_by_ms = Some(now.monotonic_ms + probe_ms);
            peer.pings += 1;
            peer.owed += 2;
            self.counts.probes += 1;
        }
    }

    fn make_room(&mut self, now: Now, number: &str, look: &dyn Look) -> Option<usize> {
        if self.standing.len() == self.settings.rooms as usize {
            let empty = |room: &&usize| !self.rooms[**room].configured && self.rooms[**room].seats.is_empty();
            let since_ms = |room: &usize| self.rooms[*room].empty_since_ms;
            let longest = self.standing.iter().filter(empty).map(since_ms).min()?;
            let equal = self.standing.iter().copied().filter(|room| empty(&room) && since_ms(room) == longest);
            let over = equal.min_by_key(|room| look.rank(&self.rooms[*room].number))?;
            self.end_room(over);
        }
        self.standing.push(self.rooms.len());
        self.rooms.push(Room::made(number, now));
        Some(self.rooms.len() - 1)
    }
    /// There are as many seats as there may be: of those that linger, the one whose time is nearest ends early.
    fn end_longest_linger(&mut self, now: Now, look: &dyn Look) {
        let lingering = || {
            let rooms = self.standing.iter().copied();
            let seats = rooms.flat_map(|room| (0..self.rooms[room].seats.len()).map(move |place| (room, place)));
            seats.filter_map(|(room, place)| {
                Some((self.rooms[room].seats[place].linger.as_ref()?.until_ms, room, place))
            })
        };
        let Some(nearest_ms) = lingering().map(|(until_ms, ..)| until_ms).min() else { return };
        let equal = lingering().filter(|(until_ms, ..)| *until_ms == nearest_ms);
        let sits =
            |room: usize, place: usize| look.sits(&self.rooms[room].number, &self.rooms[room].seats[place].member);
        let Some((_, room, place)) = equal.min_by_key(|(_, room, place)| sits(*room, *place)) else { return };
        self.counts.evicted += 1;
        let leave = self.end_linger(now, room, place);
        self.publish_leaves(room, vec![leave], &[]);
    }
}

//! Somebody behind connections: what they remember when one breaks, and what they show when they come back.
//!
//! Owns: what a client knows of its rooms from what reached it alone, byte for byte and no further, and what its person still knows after it.
//! Refuses to know: what the hub has sent beside that, and what it should have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use crate::client::{Member, Resume};
use crate::frame::{Frame, Who};
use crate::rng::Rng;

/// What one client knows of one room.
#[derive(Clone, Debug)]
pub struct View {
    pub token: Rc<str>,
    /// The newest frame that it has seen.
    pub last_seq: u64,
    /// Who is there, as Members; not known to one that asked for less than it had seen.
    pub roster: Option<Vec<Rc<str>>>,
    /// What the room said of itself last: the Room's fields.
    pub room: Rc<str>,
}

/// A reply to a join, as the joiner reads it.
pub struct Welcome {
    pub number: String,
    pub room: Rc<str>,
    pub seq: u64,
    /// Where they are left out, the rest of the room's frames follows.
    pub members: Option<Vec<Rc<str>>>,
    /// What the joiner knew when it asked.
    pub knew: Option<Rc<View>>,
}

/// By the numbers of rooms.
pub type Views = BTreeMap<String, View>;

/// A client was welcomed to a room.
pub fn welcomed(views: &mut Views, welcome: &Welcome, token: &Rc<str>) -> Result<(), String> {
    let number = welcome.number.clone();
    let (token, room, last_seq) = (token.clone(), welcome.room.clone(), welcome.seq);
    let view = match (&welcome.members, &welcome.knew) {
        (Some(members), _) => View { token, last_seq, roster: Some(members.clone()), room },
        (None, Some(knew)) if knew.last_seq == last_seq => View { token, room, ..View::clone(knew) },
        (None, knew) => {
            let knew = knew.as_ref().map(|view| view.last_seq);
            return Err(format!("room {number} goes on from {last_seq}, where its joiner has seen {knew:?}"));
        }
    };
    views.insert(number, view);
    Ok(())
}

/// A room's frame reached a client: it must be the one after the last.
pub fn told(views: &mut Views, number: &str, frame: &Frame) -> Result<(), String> {
    let Some(view) = views.get_mut(number) else { return Err(format!("told of room {number}, where it never was")) };
    if frame.seq != view.last_seq + 1 {
        return Err(format!("frame {} of room {number} reached somebody who has seen {}", frame.seq, view.last_seq));
    }
    view.last_seq = frame.seq;
    let news = frame.news.borrow();
    if let Some(room) = &news.room {
        view.room = room.clone();
    }
    if let Some(roster) = &mut view.roster {
        match &news.who {
            Who::Same => {}
            Who::Joined(member) => roster.push(member.clone()),
            Who::Left(member) => match roster.iter().position(|here| here == member) {
                Some(place) => drop(roster.remove(place)),
                None => return Err(format!("{member} left room {number}, and was not there as far as was told")),
            },
        }
    }
    Ok(())
}

/// So many addresses are those of several people each.
pub const SHARED: usize = 3;

/// One of many addresses, the shared ones first; in either family.
pub fn address(n: usize) -> IpAddr {
    match n % 4 {
        3 => Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, n as u16).into(),
        _ => Ipv4Addr::new(10, 0, 0, n as u8).into(),
    }
}

/// Somebody who has clients, one after the other or several at once.
pub struct Person {
    pub member: Member,
    /// Where it mostly is.
    pub address: IpAddr,
    /// What is known of rooms from clients that are no more, or that are thought to be.
    pub known: Views,
    /// Tokens that were replaced by newer ones, of which rooms; the newest last.
    outdated: Vec<(String, Rc<str>)>,
    /// Those of its connections that may still be there.
    pub clients: Vec<usize>,
}

impl Person {
    pub fn new(member: Member, address: IpAddr) -> Self {
        Person { member, address, known: Views::new(), outdated: Vec::new(), clients: Vec::new() }
    }

    /// What a client knows is known to its person.
    pub fn remember(&mut self, views: &Views) {
        for (number, view) in views {
            match self.known.get_mut(number) {
                Some(known) if *known.token == *view.token => {
                    if known.last_seq < view.last_seq || known.roster.is_none() {
                        *known = view.clone();
                    }
                }
                Some(known) => {
                    if self.outdated.len() == 20 {
                        self.outdated.remove(0);
                    }
                    self.outdated.push((number.clone(), known.token.clone()));
                    *known = view.clone();
                }
                None => drop(self.known.insert(number.clone(), view.clone())),
            }
        }
    }

    /// What this person shows when joining a room: mostly what it has, now and then something else that it has or made up, or was told by
    /// `others`, who have tokens too.
    pub fn shows(&self, rng: &mut Rng, number: &str, others: &[Rc<str>]) -> Resume {
        let Some(view) = self.known.get(number) else {
            return match rng.below(10) {
                0 => blind(any_token(rng, others), rng.below(20) as i64),
                1 => Resume { token: None, last_seq: Some(rng.below(20) as i64), view: None },
                _ => Resume::default(),
            };
        };
        let token = Some(view.token.clone());
        let last_seq = view.last_seq as i64;
        // Who shows less than it has seen is told some of it again.
        let from = |last_seq: i64| blind(view.token.clone(), last_seq);
        match rng.below(100) {
            0..55 => Resume { token, last_seq: Some(last_seq), view: Some(Rc::new(view.clone())) },
            55..65 => Resume { token, ..Resume::default() },
            65..71 => from(last_seq - rng.below(12) as i64),
            71..74 => from(last_seq + rng.range(1, 40) as i64),
            74..76 => from(rng.pick(&[-1, 0, 1, i64::MIN, i64::MAX])),
            76..82 if !self.outdated.is_empty() => {
                // One of this room's, where there is one: the seat that it was of may have been the owner's.
                let of_room = self.outdated.iter().filter(|(of, _)| of == number).cloned().collect::<Vec<_>>();
                let (_, token) = rng.pick(if of_room.is_empty() { &self.outdated } else { &of_room });
                let token = Some(token);
                Resume { token, last_seq: Some(last_seq), view: Some(Rc::new(view.clone())) }
            }
            76..86 => blind(any_token(rng, others), last_seq),
            86..90 => Resume { token: None, last_seq: Some(last_seq), view: None },
            _ => Resume::default(),
        }
    }
}

/// Goes on from a place without knowing who was there by then.
fn blind(token: Rc<str>, last_seq: i64) -> Resume {
    let view = View { last_seq: last_seq.max(0) as u64, roster: None, token: token.clone(), room: "".into() };
    Resume { token: Some(token), last_seq: Some(last_seq), view: Some(Rc::new(view)) }
}

/// Somebody else's, or one that nobody was given.
fn any_token(rng: &mut Rng, others: &[Rc<str>]) -> Rc<str> {
    if !others.is_empty() && rng.chance(70) {
        let token = rng.pick(others);
        return match rng.below(5) {
            0 => token[..token.len() - 1].into(),
            1 => format!("{token}0").into(),
            2 => token.replacen('.', "0.", 1).into(),
            _ => token,
        };
    }
    rng.pick(&["", ".", "1.", "1.00000000000000000000000000000000", "ffffffffffffffffffff.00", "中.文", "no token"])
        .into()
}

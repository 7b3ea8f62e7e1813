//! What a client asks.
//!
//! Owns: the requests as JSON, and what a join shows. Refuses to know: how they are sent, and what the answer is.

use serde_json::{Value, json};

use super::{Class, Client, Given, IDS, place_of};
use crate::door::{OWNER_PASSCODE, PASSCODE, Shown, WRONG_PASSCODE};
use crate::steps::{Act, LastSeq, Passcode, Resume};
use crate::view::{Ask, Asked};

const WRONG_TOKEN: &str = "1.00000000000000000000000000000000";

impl Class {
    /// What is asked by it, where anything is.
    pub(super) fn request(&mut self, client: usize, room: &'static str, act: &Act) -> Option<Value> {
        if let Act::Join { .. } = act {
            return self.join(client, room, act);
        }
        let id = self.clients[client].id;
        let (msg_type, data_type, mut data, ask) = match *act {
            Act::Leave => (3, 2, json!({}), Ask::Other),
            Act::Say { data_type, bytes, claims } => {
                let mut data = json!({"content": "x".repeat(bytes)});
                if claims {
                    data["from"] = json!({"id": id});
                }
                (3, data_type, data, Ask::Say { data_type: data_type.into(), bytes })
            }
            Act::Receipt { back, count } => {
                let seen = self.clients[client].views.get(room).map_or(0, |view| view.seen);
                let first = seen.saturating_sub(back.into());
                let seq = if count == 0 { json!(first) } else { (first..first + u64::from(count)).collect() };
                (4, 3, json!({"seq": seq}), Ask::Other)
            }
            Act::Pull => (5, 1, json!({}), Ask::Other),
            Act::Rule { locked, quiet } => {
                (3, 4, json!({"locked": locked, "quiet": quiet}), Ask::Rule { locked, quiet })
            }
            Act::Remove { id, for_s } => {
                let id = IDS[usize::from(id)];
                (3, 5, json!({"id": id, "forS": for_s}), Ask::Remove { id })
            }
            _ => return None,
        };
        data["roomNumber"] = json!(room);
        Some(self.message(msg_type, data_type, data, Asked { client, id, room, ask, turn: self.turns_wall_ms.len() }))
    }

    fn message(&mut self, msg_type: u16, data_type: u16, data: Value, asked: Asked) -> Value {
        let reference = self.asked.len().to_string();
        self.asked.push(asked);
        json!({"msgType": msg_type, "textData": {"dataType": data_type, "data": data}, "extendFields": {"ref": reference}})
    }

    /// A join, with what it shows of who it is and of an earlier seat.
    fn join(&mut self, client: usize, room: &'static str, act: &Act) -> Option<Value> {
        let Act::Join { id, access, passcode, owner_passcode, resume, last_seq } = *act else { return None };
        let id = IDS[usize::from(id)];
        let is_own = |given: &&Given| given.id == id && given.room == room;
        let given = match resume {
            Resume::None | Resume::Wrong => None,
            Resume::Own => self.given.iter().rev().find(is_own),
            Resume::Any(which) => self.given.get(usize::from(which)),
        };
        let resumes = given.filter(is_own).is_some_and(|given| given.missing == self.missing[place_of(room)]);
        let seen = given.map_or(0, |given| given.seen);
        let last_seq = match last_seq {
            LastSeq::None => None,
            LastSeq::Seen(less) => Some(seen.saturating_sub(less.into())),
            LastSeq::Beyond => Some(seen + 1),
            LastSeq::Endless => Some(u64::MAX),
        };
        let shown_token = match resume {
            Resume::Wrong => Some(WRONG_TOKEN.to_owned()),
            _ => given.map(|given| given.token.clone()),
        };
        self.tries(client);
        let Client { voice, address, .. } = &self.clients[client];
        let shown = Shown { voice: *voice, access, passcode, owner_passcode, resumes };
        self.guesses_sent[*address] += u64::from(shown.guesses());
        let word = |shown: Passcode, right: &str| match shown {
            Passcode::None => Value::Null,
            Passcode::Right => json!(right),
            Passcode::Wrong => json!(WRONG_PASSCODE),
        };
        let ask = Ask::Join { shown, last_seq };
        let asked = Asked { client, id: Some(id), room, ask, turn: self.turns_wall_ms.len() };
        let mut message = self.message(2, 1, json!({"from": {"id": id}, "roomNumber": room}), asked);
        let fields = &mut message["extendFields"];
        fields["token"] = json!(self.door.token(access, id, room));
        fields["passcode"] = word(passcode, PASSCODE);
        fields["ownerPasscode"] = word(owner_passcode, OWNER_PASSCODE);
        fields["resumeToken"] = json!(shown_token);
        fields["lastSeq"] = json!(last_seq);
        Some(message)
    }
}

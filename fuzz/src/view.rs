//! What a member knows of its room, from the frames that it was sent, and what no frame may say to one who knows that.
//!
//! Owns: the series without a gap from a seat's reply on, the roster as joins and leaves change it, who owns the room and what holds there.
//! Refuses to know: sockets, and what the hub itself thinks.

use serde_json::Value;

use crate::door::Shown;

/// What somebody asked, known by the `ref` that it was asked with: its place in a list of all.
#[derive(Debug)]
pub struct Asked {
    /// Whose connection it was.
    pub client: usize,
    /// The id under which that one sits, or wants to; `None` where it was not told yet under which.
    pub id: Option<&'static str>,
    pub room: &'static str,
    pub ask: Ask,
    /// How many turns there were before.
    pub turn: usize,
}

#[derive(Debug)]
pub enum Ask {
    Join { shown: Shown, last_seq: Option<u64> },
    Say { data_type: u64, bytes: usize },
    Rule { locked: Option<bool>, quiet: Option<bool> },
    Remove { id: &'static str },
    Other,
}

/// A seat, as whoever sits there sees its room.
#[derive(Debug)]
pub struct View {
    id: String,
    /// The join that the seat is of. What has a lower number was before it, and is only told again.
    pub joined_seq: u64,
    /// The last number that was seen.
    pub seen: u64,
    /// Who is here, in the order of their joins; `None` while that was not told.
    pub roster: Option<Vec<String>>,
    /// What holds, and the owner; `None` while that was not told.
    rule: Option<Holds>,
    /// The owner's seat has ended, and something held: the next frame says that it does no more.
    is_to_end: bool,
    pub token: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Holds {
    locked: bool,
    quiet: bool,
    owner: String,
}

/// What a frame is to the seat.
#[derive(Debug, PartialEq)]
pub enum Sits {
    Still,
    NoMore,
}

pub fn text<'v>(value: &'v Value, what: &str) -> &'v str {
    value.as_str().unwrap_or_else(|| panic!("{what} is {value}"))
}

pub fn number(value: &Value, what: &str) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{what} is {value}"))
}

fn ids(members: &Value) -> Option<Vec<String>> {
    Some(members.as_array()?.iter().map(|member| text(&member["id"], "an id").to_owned()).collect())
}

fn holds(room: &Value) -> Holds {
    let is_on = |value: &Value| value.as_bool().unwrap_or(false);
    Holds {
        locked: is_on(&room["locked"]),
        quiet: is_on(&room["quiet"]),
        owner: text(&room["owner"]["id"], "the owner").into(),
    }
}

impl View {
    /// A seat was given, by this reply to what was `asked`.
    pub fn begin(body: &Value, asked: &Asked) -> View {
        let (room, extend) = (&body["textData"]["data"], &body["extendFields"]);
        let Ask::Join { shown, last_seq } = asked.ask else { panic!("a seat for {asked:?}") };
        let id = asked.id.expect("a join has an id");
        assert_eq!(text(&room["newJoinMember"]["id"], "the joiner"), id);
        assert_eq!(text(&room["number"], "the room"), asked.room);
        let token = text(&extend["resumeToken"], "a token").to_owned();
        let joined_seq = u64::from_str_radix(token.split_once('.').expect("a token has a seq").0, 16).unwrap();
        let seen = number(&extend["seq"], "seq");
        let roster = ids(&room["members"]);
        let gap = &extend["gap"];
        match &roster {
            Some(roster) => {
                assert!(roster.iter().any(|other| other == id), "not in its own roster");
                assert!(roster.iter().enumerate().all(|(n, id)| !roster[..n].contains(id)), "twice in {roster:?}");
                assert_eq!(gap.as_bool(), last_seq.map(|_| true), "{extend}");
                assert!(joined_seq <= seen);
            }
            None => {
                assert!(shown.resumes && gap.is_null() && last_seq == Some(seen), "{extend} for {asked:?}");
            }
        }
        let rule = holds(room);
        if let Some(roster) = &roster {
            assert!(
                !rule.locked && !rule.quiet || roster.contains(&rule.owner),
                "{rule:?} without its owner in {roster:?}"
            );
        }
        // Before a replay it is what holds now, and not what held then.
        let rule = roster.is_some().then_some(rule);
        View { id: id.into(), joined_seq, seen, roster, rule, is_to_end: false, token }
    }

    /// A frame of the room's series came.
    pub fn hear(&mut self, msg: &str, body: &Value, asked: Option<&Asked>) -> Sits {
        let (data_type, data, extend) =
            (number(&body["textData"]["dataType"], "dataType"), &body["textData"]["data"], &body["extendFields"]);
        self.seen += 1;
        assert_eq!(number(&extend["seq"], "seq"), self.seen, "a gap");
        assert!(extend["time"].is_u64());
        if std::mem::take(&mut self.is_to_end) {
            assert!(msg == "Rule successfully" && asked.is_none(), "{msg} where the rule of one who is gone ends");
            let rule = holds(data);
            assert!(!rule.locked && !rule.quiet);
        }
        match (msg, data_type) {
            ("Join successfully", 1) => self.somebody_joins(data, asked),
            ("Leave successfully", 2) => return self.somebody_leaves(data, text(&extend["reason"], "reason"), asked),
            ("Rule successfully", 4) => self.rule_changes(data, asked),
            ("Chat successfully", 3 | 100 | 65_535) => self.somebody_speaks(data_type, data, asked),
            _ => panic!("{msg} {data_type} in a room's series"),
        }
        Sits::Still
    }

    /// What holds must be what was told, and whoever may change it must be here.
    fn check_rule(&self, room: &Value) {
        let told = holds(room);
        if let Some(rule) = &self.rule {
            assert_eq!((told.locked, told.quiet), (rule.locked, rule.quiet), "nobody was told");
        }
        if let Some(roster) = &self.roster {
            assert!(
                !told.locked && !told.quiet || roster.contains(&told.owner),
                "{told:?} without its owner in {roster:?}"
            );
        }
    }

    fn somebody_joins(&mut self, room: &Value, asked: Option<&Asked>) {
        assert!(asked.is_none() && room["members"].is_null() && room["resumeToken"].is_null());
        let id = text(&room["newJoinMember"]["id"], "the joiner");
        if let Some(roster) = &mut self.roster {
            assert!(!roster.iter().any(|other| other == id), "{id} joins {roster:?}");
            roster.push(id.into());
        }
        assert!(self.seen <= self.joined_seq || id != self.id, "somebody joins as oneself");
        assert!(self.seen != self.joined_seq || id == self.id, "another's join under the number of one's own");
        self.check_rule(room);
        self.rule = Some(holds(room));
    }

    fn somebody_leaves(&mut self, room: &Value, reason: &str, asked: Option<&Asked>) -> Sits {
        let id = text(&room["newLeaveMember"]["id"], "the leaver");
        assert!(["left", "closed", "lost", "heartbeat", "slow", "removed"].contains(&reason), "{reason}");
        self.check_rule(room);
        match asked.map(|asked| (asked.id, &asked.ask)) {
            None => assert!(!matches!(reason, "left" | "removed"), "{reason} by nobody"),
            Some((by, Ask::Other)) if reason == "left" => assert_eq!(by.unwrap_or(id), id),
            Some((by, Ask::Remove { id: removed })) if reason == "removed" => {
                let owner = holds(room).owner;
                assert_eq!((*removed, owner.as_str()), (id, by.unwrap_or(&owner)));
            }
            asked => panic!("{id} leaves, {reason}, by {asked:?}"),
        }
        if let Some(roster) = &mut self.roster {
            let place = roster.iter().position(|other| other == id);
            roster.remove(place.unwrap_or_else(|| panic!("{id} leaves {roster:?}")));
        }
        if self.id == id && self.seen > self.joined_seq {
            assert!(matches!(reason, "left" | "removed"), "sent {reason} of oneself");
            return Sits::NoMore;
        }
        let rule = holds(room);
        self.is_to_end = (rule.locked || rule.quiet) && rule.owner == id;
        // What this frame says of a rule does not hold behind it.
        self.rule = (!self.is_to_end).then_some(rule);
        Sits::Still
    }

    fn rule_changes(&mut self, room: &Value, asked: Option<&Asked>) {
        assert!(room["locked"].is_boolean() && room["quiet"].is_boolean(), "{room}");
        let rule = holds(room);
        if let Some(Asked { id, ask: Ask::Rule { locked, quiet }, .. }) = asked {
            assert!(id.is_none_or(|id| rule.owner == id), "ruled by another than the owner");
            let before = self.rule.as_ref();
            for (is, was, wanted) in
                [(rule.locked, before.map(|it| it.locked), locked), (rule.quiet, before.map(|it| it.quiet), quiet)]
            {
                assert_eq!(is, wanted.or(was).unwrap_or(is), "{rule:?} for {asked:?}");
            }
        } else {
            assert!(asked.is_none(), "a rule for {asked:?}");
        }
        self.rule = Some(rule);
        self.check_rule(room);
    }

    fn somebody_speaks(&self, data_type: u64, data: &Value, asked: Option<&Asked>) {
        let from = text(&data["from"]["id"], "the speaker");
        let Some(Asked { id, ask: Ask::Say { data_type: said, bytes }, .. }) = asked else {
            panic!("words that nobody said: {asked:?}")
        };
        assert_eq!((from, data_type), (id.unwrap_or(from), *said));
        assert_eq!(text(&data["content"], "content").len(), *bytes);
        if let Some(roster) = &self.roster {
            assert!(roster.iter().any(|other| other == from), "{from}, who speaks, is not in {roster:?}");
        }
        if let Some(rule) = &self.rule {
            assert!(!rule.quiet || data_type != 3 || rule.owner == from, "{from} speaks where only {} may", rule.owner);
        }
    }

    /// The answer to a pull: what there is at this moment, and so what was seen.
    pub fn pulled(&mut self, body: &Value) {
        let room = &body["textData"]["data"];
        assert_eq!(
            number(&body["extendFields"]["seq"], "seq"),
            self.seen,
            "a reply overtook a frame, or was overtaken"
        );
        let roster = ids(&room["members"]).expect("a pull has members");
        if let Some(known) = &self.roster {
            assert_eq!(known, &roster);
        }
        self.roster = Some(roster);
        if !self.is_to_end {
            self.check_rule(room);
            self.rule = Some(holds(room));
        }
    }
}

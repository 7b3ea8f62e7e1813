//! A room's frame, also where it is not known which of several it is.
//!
//! Owns: what a frame takes on the wire and what whoever reads it learns, and the frames of one moment, which come in nearly any order. Refuses to
//! know: who is told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::text;

/// A room's frame.
pub struct Frame {
    pub room: usize,
    pub seq: u64,
    /// On the wire, with its header; at most this, and at least that, where its order among others was not known.
    pub bytes: usize,
    pub bytes_min: usize,
    /// What it takes as far as is known, and whether that is certain.
    pub size: Cell<(usize, bool)>,
    /// It is counted as one that has no certain size.
    pub is_unsure: Cell<bool>,
    /// Whose words it carries, if any.
    pub author: Option<Rc<str>>,
    /// What whoever reads it learns.
    pub news: RefCell<News>,
    /// `None` until it was seen, where it is one of a `moment`.
    text: RefCell<Option<Box<str>>>,
    moment: Option<Rc<RefCell<Moment>>>,
}

/// What a frame says of who is there, and of the room itself.
#[derive(Clone)]
pub struct News {
    pub who: Who,
    /// What holds from then on: the Room's fields. None where the frame says nothing of it.
    pub room: Option<Rc<str>>,
}

/// Members are known by their JSON.
#[derive(Clone)]
pub enum Who {
    Same,
    Joined(Rc<str>),
    Left(Rc<str>),
}

/// A leave, but for its place in the series.
pub struct Leave {
    pub member: Rc<str>,
    pub time_ms: u64,
    /// Any of these.
    pub reasons: Vec<&'static str>,
    /// What holds in the room may end with it.
    pub is_owners: bool,
}

/// What is told of seats that end in one moment: their leaves, in any order; and where what held in the room ends with one of them, that behind
/// the leave of the owner. Whatever is seen of it narrows down what the rest can be.
pub struct Moment {
    /// Those that were not seen.
    leaves: Vec<Leave>,
    /// The Room's fields before.
    held: Rc<str>,
    rule: Option<RuleEnd>,
}

/// The end of what held.
pub struct RuleEnd {
    /// The Rule frame, up to its `extendFields`.
    pub before: String,
    pub time_ms: u64,
    /// The Room's fields behind it.
    pub freed: Rc<str>,
    /// Where the owner's leave stands: from here to there.
    from: u64,
    to: u64,
}

impl RuleEnd {
    pub fn new(before: String, time_ms: u64, freed: Rc<str>) -> Self {
        RuleEnd { before, time_ms, freed, from: 0, to: u64::MAX }
    }

    fn text(&self, seq: u64) -> String {
        format!(r#"{},"extendFields":{{{}}}}}}}"#, self.before, text::stamp(seq, self.time_ms, None))
    }
}

impl Leave {
    fn texts(&self, seq: u64, room: &str) -> impl Iterator<Item = String> {
        let before = text::success("Leave", 3, 2, &format!(r#"{room},"newLeaveMember":{}"#, self.member));
        let stamp = text::stamp(seq, self.time_ms, None);
        let with = move |reason| format!(r#"{before},"extendFields":{{{stamp},"reason":"{reason}"}}}}}}"#);
        self.reasons.iter().map(with)
    }
}

impl Moment {
    /// The frames from `first` on are these.
    pub fn new(leaves: Vec<Leave>, held: Rc<str>, mut rule: Option<RuleEnd>, first: u64) -> Self {
        if let Some(rule) = &mut rule {
            (rule.from, rule.to) = (first, first + leaves.len() as u64 - 1);
        }
        Moment { leaves, held, rule }
    }

    /// How many frames it takes.
    pub fn frames(&self) -> u64 {
        self.leaves.len() as u64 + u64::from(self.rule.is_some())
    }

    /// All that the frame `seq` may be: its text, which leave that is (none where it is the Rule frame), and whether what held has ended by then.
    fn all(&self, seq: u64) -> Vec<(String, Option<usize>, bool)> {
        let mut all = Vec::new();
        for (place, leave) in self.leaves.iter().enumerate() {
            let (held, freed) = match &self.rule {
                None => (true, None),
                Some(rule) if leave.is_owners => ((rule.from..=rule.to).contains(&seq), None),
                Some(rule) => (seq < rule.to, Some(&rule.freed).filter(|_| seq > rule.from + 1)),
            };
            if held {
                all.extend(leave.texts(seq, &self.held).map(|text| (text, Some(place), false)));
            }
            if let Some(freed) = freed {
                all.extend(leave.texts(seq, freed).map(|text| (text, Some(place), true)));
            }
        }
        let ends = self.rule.as_ref().filter(|rule| (rule.from + 1..=rule.to + 1).contains(&seq));
        all.extend(ends.map(|rule| (rule.text(seq), None, true)));
        all
    }

    /// The frame `seq` was seen. Says what it tells, and its text, if it is one of these.
    fn seen(&mut self, seq: u64, payload: &[u8]) -> Option<(News, String)> {
        let (text, place, is_freed) = self.all(seq).into_iter().find(|(text, ..)| text.as_bytes() == payload)?;
        let leave = place.map(|place| self.leaves.remove(place));
        if let Some(rule) = &mut self.rule {
            (rule.from, rule.to) = match &leave {
                None => (seq - 1, seq - 1),
                Some(leave) if leave.is_owners => (seq, seq),
                Some(_) if is_freed => (rule.from, rule.to.min(seq - 2)),
                Some(_) => (rule.from.max(seq + 1), rule.to),
            };
        }
        let freed = self.rule.as_ref().map(|rule| &rule.freed).filter(|_| is_freed);
        let room = Some(freed.unwrap_or(&self.held).clone());
        let who = leave.map_or(Who::Same, |leave| Who::Left(leave.member));
        Some((News { who, room }, text))
    }

    fn brief(&self) -> String {
        let leaves: Vec<_> = self.leaves.iter().map(|leave| (&leave.member, &leave.reasons, leave.is_owners)).collect();
        let rule = self.rule.as_ref().map_or(String::new(), |rule| {
            format!(", the owner's at {} to {}, and then {}", rule.from, rule.to, rule.before)
        });
        format!("of the leaves {leaves:?} of {}{rule}", self.held)
    }
}

impl Frame {
    pub fn new(room: usize, seq: u64, text: String, news: News, author: Option<Rc<str>>) -> Self {
        let bytes = text::frame_bytes(text.len());
        Frame {
            room,
            seq,
            bytes,
            bytes_min: bytes,
            size: Cell::new((bytes, true)),
            is_unsure: Cell::new(false),
            author,
            news: RefCell::new(news),
            text: RefCell::new(Some(text.into())),
            moment: None,
        }
    }

    /// One of a moment, which one being unknown.
    pub fn one_of(room: usize, seq: u64, moment: &Rc<RefCell<Moment>>) -> Self {
        let all = moment.borrow().all(seq);
        let sizes = || all.iter().map(|(text, ..)| text::frame_bytes(text.len()));
        let (most, least) = (sizes().max().unwrap_or(0), sizes().min().unwrap_or(0));
        let frame = Frame {
            bytes: most,
            bytes_min: least,
            size: Cell::new((most, most == least)),
            text: RefCell::new(None),
            moment: Some(moment.clone()),
            ..Frame::new(room, seq, String::new(), News { who: Who::Same, room: None }, None)
        };
        if let [(text, ..)] = &all[..] {
            frame.is(text.as_bytes());
        }
        frame
    }

    /// Whether `payload` is this frame.
    pub fn is(&self, payload: &[u8]) -> bool {
        if let Some(text) = &*self.text.borrow() {
            return text.as_bytes() == payload;
        }
        let Some(moment) = &self.moment else { return false };
        let Some((news, text)) = moment.borrow_mut().seen(self.seq, payload) else { return false };
        *self.news.borrow_mut() = news;
        self.size.set((text::frame_bytes(text.len()), true));
        *self.text.borrow_mut() = Some(text.into());
        true
    }

    pub fn brief(&self) -> String {
        let what = match (&*self.text.borrow(), &self.moment) {
            (Some(text), _) => {
                let shown: String = text.chars().take(300).collect();
                let tail: String =
                    text.chars().skip(shown.chars().count().max(text.chars().count().saturating_sub(90))).collect();
                format!("{shown} … {tail}")
            }
            (None, Some(moment)) => moment.borrow().brief(),
            (None, None) => String::new(),
        };
        format!("frame {}: {what}", self.seq)
    }
}

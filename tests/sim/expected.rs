//! What a connection should be told, and whether it was.
//!
//! Owns: the order in which frames may come (PROTOCOL.md, Connection: one order), and how a reply is known. Refuses to know: why it is due.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::frame::Frame;
use crate::person::Welcome;
use crate::text;

/// More than the header of a frame and a resume token.
pub const SLACK_BYTES: usize = 160;

/// What a connection should be told.
pub enum Item {
    Room(Rc<Frame>),
    /// Its own reply, and at most how many bytes that takes.
    Own(Reply, usize),
}

pub enum Reply {
    /// These words.
    Exact(String),
    /// A failure with these words behind its own.
    Failure(String),
    Welcome(Rc<Joined>),
    /// These words, or nothing: the connection was ending.
    Perhaps(String),
}

/// The reply to a join.
pub struct Joined {
    pub room: usize,
    pub joined_seq: u64,
    pub id: Rc<str>,
    pub welcome: Welcome,
    /// The words before the token and those behind it.
    pub before: String,
    pub after: String,
    /// The seat's, which this reply may be the first to tell.
    pub token: Rc<RefCell<Option<Rc<str>>>>,
}

/// What a frame was, now that it has come.
pub enum Told {
    Room(Rc<Frame>),
    Welcome(Rc<Joined>, Rc<str>),
    Other,
}

impl Item {
    pub fn bytes(&self) -> usize {
        match self {
            Item::Room(frame) => frame.bytes,
            Item::Own(_, bytes) => *bytes,
        }
    }

    /// Whether a close frame may not come before it.
    pub fn is_owed_before_close(&self) -> bool {
        !matches!(self, Item::Room(_) | Item::Own(Reply::Perhaps(_), _))
    }
}

impl Reply {
    /// Whether `payload` is this reply. A welcome says the token that came with it.
    fn is(&self, payload: &[u8]) -> Option<Told> {
        let is_it = match self {
            Reply::Exact(text) | Reply::Perhaps(text) => text.as_bytes() == payload,
            Reply::Failure(tail) => payload
                .strip_prefix(text::FAILED.as_bytes())
                .and_then(|rest| rest.strip_suffix(tail.as_bytes()))
                .is_some_and(|words| {
                    let words = [b"\"", words, b"\""].concat();
                    serde_json::from_slice::<String>(&words).is_ok_and(|words| !words.is_empty())
                }),
            Reply::Welcome(joined) => {
                let rest = payload.strip_prefix(joined.before.as_bytes())?.strip_suffix(joined.after.as_bytes())?;
                let token = std::str::from_utf8(rest).ok()?;
                let fits = (1..=64).contains(&token.len())
                    && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
                // A seat's token stays the same.
                let is_it = fits && joined.token.borrow().as_ref().is_none_or(|known| **known == *token);
                return is_it.then(|| Told::Welcome(joined.clone(), token.into()));
            }
        };
        is_it.then_some(Told::Other)
    }

    fn brief(&self) -> String {
        match self {
            Reply::Exact(text) | Reply::Perhaps(text) => text.clone(),
            Reply::Failure(tail) => format!("{}…{tail}", text::FAILED),
            Reply::Welcome(joined) => format!("{}{:?}{}", joined.before, joined.token.borrow(), joined.after),
        }
    }
}

/// The list of what a connection should be told and was not yet.
#[derive(Default)]
pub struct Expected {
    pub items: VecDeque<Item>,
    /// Places in the list, kept to look through it.
    rooms: Vec<usize>,
}

impl Expected {
    /// A text frame came: it must be one of those that may come next, which is taken off the list. Of each room that is the next frame only; a
    /// reply overtakes nothing, and nothing overtakes a reply.
    pub fn take(&mut self, payload: &[u8]) -> Result<(Told, usize), String> {
        self.rooms.clear();
        let mut found = None;
        for (place, item) in self.items.iter().enumerate() {
            match item {
                Item::Own(..) if place > 0 => break,
                Item::Own(reply, bytes) => {
                    found = reply.is(payload).map(|told| (place, told, *bytes));
                    break;
                }
                Item::Room(frame) if self.rooms.contains(&frame.room) => {}
                Item::Room(frame) => {
                    self.rooms.push(frame.room);
                    if frame.is(payload) {
                        found = Some((place, Told::Room(frame.clone()), frame.bytes));
                        break;
                    }
                }
            }
        }
        match found {
            Some((place, told, bytes)) => {
                self.items.remove(place);
                Ok((told, bytes))
            }
            None => Err(self.wrong(payload)),
        }
    }

    fn wrong(&self, payload: &[u8]) -> String {
        let mut rooms = Vec::new();
        let mut next = Vec::new();
        for (place, item) in self.items.iter().enumerate() {
            match item {
                Item::Own(reply, _) if place == 0 => next.push(reply.brief()),
                Item::Own(..) => break,
                Item::Room(frame) if !rooms.contains(&frame.room) => {
                    rooms.push(frame.room);
                    next.push(frame.brief());
                }
                Item::Room(_) => {}
            }
        }
        let payload = String::from_utf8_lossy(payload);
        let shown: String = payload.chars().take(1500).collect();
        let skip = shown.chars().count().max(payload.chars().count().saturating_sub(200));
        let tail: String = payload.chars().skip(skip).collect();
        format!("was told\n  {shown} … {tail}\nwhere one of these was due:\n  {}", next.join("\n  "))
    }

    /// What a connection is surely owed by its own queue, if it is blocked: its replies, and all that had to go before them. And the largest
    /// frame of it.
    pub fn queued(&self) -> (usize, usize) {
        let Some(last) = self.items.iter().rposition(|item| matches!(item, Item::Own(..))) else { return (0, 0) };
        let bytes = self.items.iter().take(last + 1).map(|item| match item {
            Item::Room(frame) => frame.bytes_min,
            Item::Own(Reply::Welcome(_), bytes) => bytes - SLACK_BYTES,
            Item::Own(Reply::Exact(_), bytes) => *bytes,
            Item::Own(Reply::Failure(_), _) => 64,
            Item::Own(Reply::Perhaps(_), _) => 0,
        });
        let largest = self.items.iter().take(last + 1).map(Item::bytes).max();
        (bytes.sum(), largest.unwrap_or(0))
    }
}

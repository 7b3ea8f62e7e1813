//! A room's frame, also where it is not known which of several it is.
//!
//! Owns: what a frame takes on the wire and what whoever reads it learns, and the frames of one moment, which come in any order. Refuses to know:
//! who is told.

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
    /// What whoever reads it learns of the roster.
    pub news: RefCell<News>,
    /// `None` until it was seen, where it is one of `leaves`.
    text: RefCell<Option<Box<str>>>,
    leaves: Option<Leaves>,
}

/// What a frame says of who is there. Members are known by their JSON.
#[derive(Clone)]
pub enum News {
    Said,
    Joined(Rc<str>),
    Left(Rc<str>),
}

/// Leaves of one moment: who goes in one turn goes in any order.
pub type Leaves = Rc<RefCell<Vec<Leave>>>;

/// A leave, but for its place in the series.
pub struct Leave {
    pub member: Rc<str>,
    /// Up to its `extendFields`.
    pub before: String,
    pub time_ms: u64,
    /// Any of these.
    pub reasons: Vec<&'static str>,
}

impl Leave {
    pub fn texts(&self, seq: u64) -> impl Iterator<Item = String> {
        let stamp = text::stamp(seq, self.time_ms, None);
        self.reasons
            .iter()
            .map(move |reason| format!(r#"{},"extendFields":{{{stamp},"reason":"{reason}"}}}}}}"#, self.before))
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
            leaves: None,
        }
    }

    /// One of several leaves, which one being unknown.
    pub fn one_of(room: usize, seq: u64, leaves: &Leaves) -> Self {
        let sizes = || {
            leaves
                .borrow()
                .iter()
                .flat_map(|leave| leave.texts(seq))
                .map(|text| text::frame_bytes(text.len()))
                .collect::<Vec<_>>()
        };
        let (most, least) = (sizes().into_iter().max().unwrap_or(0), sizes().into_iter().min().unwrap_or(0));
        Frame {
            bytes: most,
            bytes_min: least,
            size: Cell::new((most, most == least)),
            text: RefCell::new(None),
            leaves: Some(leaves.clone()),
            ..Frame::new(room, seq, String::new(), News::Said, None)
        }
    }

    /// Whether `payload` is this frame.
    pub fn is(&self, payload: &[u8]) -> bool {
        if let Some(text) = &*self.text.borrow() {
            return text.as_bytes() == payload;
        }
        let Some(leaves) = &self.leaves else { return false };
        let mut leaves = leaves.borrow_mut();
        let found = leaves.iter().enumerate().find_map(|(place, leave)| {
            let text = leave.texts(self.seq).find(|text| text.as_bytes() == payload)?;
            Some((place, text))
        });
        let Some((place, text)) = found else { return false };
        *self.news.borrow_mut() = News::Left(leaves.remove(place).member);
        self.size.set((text::frame_bytes(text.len()), true));
        *self.text.borrow_mut() = Some(text.into());
        true
    }

    pub fn brief(&self) -> String {
        let what = match (&*self.text.borrow(), &self.leaves) {
            (Some(text), _) => {
                let shown: String = text.chars().take(300).collect();
                let tail: String =
                    text.chars().skip(shown.chars().count().max(text.chars().count().saturating_sub(90))).collect();
                format!("{shown} … {tail}")
            }
            (None, Some(leaves)) => {
                let leaves = leaves.borrow();
                format!(
                    "a leave of {:?}",
                    leaves.iter().map(|leave| (&leave.member, &leave.reasons)).collect::<Vec<_>>()
                )
            }
            (None, None) => String::new(),
        };
        format!("frame {}: {what}", self.seq)
    }
}

//! A join, before anybody has judged it.
//!
//! Owns: what was asked for, by whom and when. Refuses to know: what becomes of it (`join`, `auth`, `moderation`).

use crate::base::{Key, Now};
use crate::wire::Member;
use crate::wire::request::{Credentials, Resume};

/// A join, as it was asked for.
pub(super) struct Asked<'a> {
    pub now: Now,
    pub who: Key,
    pub from: &'a Member<'a>,
    pub room_number: &'a str,
    pub resume: &'a Resume<'a>,
    pub credentials: &'a Credentials<'a>,
    /// The request's `ref` as JSON text.
    pub reference: Option<&'a str>,
}

//! Who somebody is: the specification's Member.
//!
//! Owns: the five fields and their limits in bytes. Refuses to know: rooms, seats, connections.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A person as the specification describes one ("消息传输-model-Member"). All five are strings and
/// are always sent; a client may leave out all but `id`, which then read as `""`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member<'a> {
    /// Unique in a room; never empty; at most [`limits::ID_BYTES`].
    pub id: Cow<'a, str>,
    /// At most [`limits::NAME_BYTES`].
    pub person_name: Cow<'a, str>,
    /// At most [`limits::ID_BYTES`].
    pub person_num: Cow<'a, str>,
    /// At most [`limits::NAME_BYTES`].
    pub nick_name: Cow<'a, str>,
    /// At most [`limits::URL_BYTES`].
    pub head_img_url: Cow<'a, str>,
}

impl<'a> Member<'a> {
    /// The five fields by their names on the wire, with the bytes each may take.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, &Cow<'a, str>, usize); 5] {
        [
            ("id", &self.id, limits::ID_BYTES),
            ("personName", &self.person_name, limits::NAME_BYTES),
            ("personNum", &self.person_num, limits::ID_BYTES),
            ("nickName", &self.nick_name, limits::NAME_BYTES),
            ("headImgUrl", &self.head_img_url, limits::URL_BYTES),
        ]
    }
}

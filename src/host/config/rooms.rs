//! The `[[room]]` tables: the rooms that are always there.
//!
//! Owns: their keys, and what a room's own values must be. Refuses to know: how many rooms there
//! may be (`config`), and what happens in one (`hub`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::entry::{ConfigError, Entry, quoted};
use super::keys::toml_text;
use super::{Config, Source};
use crate::hub::{Passcode, RoomSettings};
use crate::limits;
use crate::wire::Member;

/// A key of a room: its name, the bytes it may take, and its place.
type RoomKey = (&'static str, usize, fn(&mut RoomSettings) -> &mut String);

static ROOM_KEYS: [RoomKey; 3] = [
    ("number", limits::ID_BYTES, |room| &mut room.number),
    ("name", limits::NAME_BYTES, |room| &mut room.name),
    ("desc", limits::DESC_BYTES, |room| &mut room.desc),
];

/// The key under which the source of a room's value is kept; `below` is `""` for its header, else as `.number`.
pub(super) fn source_key(room: usize, below: &str) -> String {
    format!("room[{room}]{below}")
}

/// A room's values that may be shown, as TOML, each with its name; `None` where there is none. The number, by which it is known, is not among them.
pub(super) fn shown(room: &RoomSettings) -> Vec<(String, Option<String>)> {
    let RoomSettings { number: _, name, desc, owner, passcode: _, owner_passcode: _ } = room;
    let none = Member::default();
    let of_owner = owner
        .as_ref()
        .unwrap_or(&none)
        .fields()
        .map(|(name, value, _)| (format!("owner.{name}"), owner.as_ref().map(|_| toml_text(value))));
    let own = [("name", name), ("desc", desc)].map(|(name, value)| (name.to_owned(), Some(toml_text(value))));
    own.into_iter().chain(of_owner).collect()
}

/// A room's values that are not shown.
pub(super) fn passcodes(room: &RoomSettings) -> [(&'static str, &Option<Passcode>); 2] {
    [("passcode", &room.passcode), ("owner_passcode", &room.owner_passcode)]
}

/// Reads all rooms of the file into `config`.
pub(super) fn read(entry: &Entry<'_>, config: &mut Config) -> Result<(), ConfigError> {
    for (line, entries) in entry.tables()? {
        let index = config.hub.configured.len();
        config.sources.insert(source_key(index, ""), Source::Line(line));
        let (room, number_line) = read_room(index, line, &entries, &mut config.sources)?;
        if let Some(earlier) = config.hub.configured.iter().position(|earlier| earlier.number == room.number) {
            let earlier = config.told_source(&source_key(earlier, ".number"));
            let says = format!("{} is the room of {earlier} already", quoted(&room.number));
            return Err(ConfigError::of_key("room.number", Some(number_line), says));
        }
        config.hub.configured.push(room);
    }
    Ok(())
}

/// One room, and the line of its number.
fn read_room(
    index: usize,
    line: usize,
    entries: &[Entry<'_>],
    sources: &mut BTreeMap<String, Source>,
) -> Result<(RoomSettings, usize), ConfigError> {
    let mut room = RoomSettings::default();
    for entry in entries {
        if entry.name == "owner" {
            room.owner = Some(read_owner(index, entry, sources)?);
            continue;
        }
        let passcode = match &*entry.name {
            "passcode" => Some(&mut room.passcode),
            "owner_passcode" => Some(&mut room.owner_passcode),
            _ => None,
        };
        if let Some(place) = passcode {
            let passcode = entry.short_text(limits::PASSCODE_BYTES)?;
            if passcode.is_empty() {
                return Err(entry.wrong("it must not be empty; without a passcode, take the key out"));
            }
            *place = Some(Passcode(passcode.to_owned()));
            sources.insert(source_key(index, &format!(".{}", entry.name)), Source::Line(entry.line));
            continue;
        }
        let Some((_, bytes_max, place)) = ROOM_KEYS.iter().find(|(name, ..)| *name == entry.name) else {
            return Err(entry.wrong(
                "there is no such key; a [[room]] has number, name, desc, passcode, owner_passcode and a table \
                 [room.owner]",
            ));
        };
        *place(&mut room) = entry.short_text(*bytes_max)?.to_owned();
        sources.insert(source_key(index, &format!(".{}", entry.name)), Source::Line(entry.line));
    }
    let Some(number) = entries.iter().find(|entry| entry.name == "number") else {
        let says = "it is missing, and members join a room by it: number = \"E00001\"";
        return Err(ConfigError::of_key("room.number", Some(line), says));
    };
    if room.number.is_empty() {
        return Err(number.wrong("it must not be empty, since members join the room by it"));
    }
    if !entries.iter().any(|entry| entry.name == "name") {
        room.name.clone_from(&room.number);
    }
    Ok((room, number.line))
}

fn read_owner(
    index: usize,
    owner: &Entry<'_>,
    sources: &mut BTreeMap<String, Source>,
) -> Result<Member<'static>, ConfigError> {
    let entries = owner.table()?;
    let mut member = Member::default();
    for entry in &entries {
        let known = member.fields().map(|(name, _, bytes_max)| (name, bytes_max));
        let bytes_max = known.iter().find(|(name, _)| *name == entry.name).map(|(_, bytes_max)| *bytes_max);
        let (Some(bytes_max), Some(place)) = (bytes_max, place(&mut member, &entry.name)) else {
            let known = known.map(|(name, _)| name).join(", ");
            return Err(entry.wrong(format!("there is no such key; an owner has {known}")));
        };
        *place = Cow::Owned(entry.short_text(bytes_max)?.to_owned());
        sources.insert(source_key(index, &format!(".owner.{}", entry.name)), Source::Line(entry.line));
    }
    let says = "an owner is known by an id that is not empty: id = \"T01\"";
    match entries.iter().find(|entry| entry.name == "id") {
        Some(id) if member.id.is_empty() => Err(id.wrong(says)),
        Some(_) => Ok(member),
        None => Err(ConfigError::of_key("room.owner.id", Some(owner.line), says)),
    }
}

/// The field that `Member::fields` calls `name`. That each has one is a test.
fn place<'m>(member: &'m mut Member<'static>, name: &str) -> Option<&'m mut Cow<'static, str>> {
    Some(match name {
        "id" => &mut member.id,
        "personName" => &mut member.person_name,
        "personNum" => &mut member.person_num,
        "nickName" => &mut member.nick_name,
        "headImgUrl" => &mut member.head_img_url,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(text: &str) -> Result<Vec<RoomSettings>, String> {
        Config::from_toml(text).map(|config| config.hub.configured).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_of_a_member_has_its_place() {
        for (name, ..) in Member::default().fields() {
            let mut member = Member::default();
            *place(&mut member, name).unwrap() = "x".into();
            let set: Vec<_> = member.fields().into_iter().filter(|(_, value, _)| *value == "x").collect();
            assert_eq!(set.len(), 1);
            assert_eq!(set[0].0, name);
        }
    }

    #[test]
    fn a_room_is_read_whole() {
        let text = "[[room]]\nnumber = \"E1\"\n[[room]]\nnumber = \"E2\"\nname = \"物理\"\ndesc = \"d\"\n\
                    passcode = \"西瓜\"\nowner_passcode = \"芝麻\"\n\
                    [room.owner]\nid = \"T\"\npersonName = \"n\"\npersonNum = \"7\"\nnickName = \"k\"\nheadImgUrl = \"u\"\n";
        let [plain, full] = rooms(text).unwrap().try_into().unwrap();
        assert_eq!(plain, RoomSettings { number: "E1".into(), name: "E1".into(), ..RoomSettings::default() });
        assert_eq!(full.owner_passcode, Some(Passcode("芝麻".into())));
        assert_eq!(full.passcode, Some(Passcode("西瓜".into())));
        let shown = format!("{full:?}");
        assert!(!shown.contains("芝麻") && !shown.contains("西瓜"), "they are not shown");
        assert_eq!((full.number.as_str(), full.name.as_str(), full.desc.as_str()), ("E2", "物理", "d"));
        assert_eq!(full.owner.unwrap().fields().map(|(_, value, _)| value.to_string()), ["T", "n", "7", "k", "u"]);
    }

    #[test]
    fn every_mistake_in_a_room_names_key_and_line() {
        for (text, says) in [
            ("\nroom = 3", "room (line 2): there can be several, so each is written [[room]] with double brackets"),
            ("[room]\nnumber = \"E1\"", "room (line 1): there can be several, so each is written [[room]]"),
            ("room = [1]", "room (line 1): there can be several"),
            ("\n[[room]]\n", "room.number (line 2): it is missing"),
            ("[[room]]\nnumber = \"\"", "room.number (line 2): it must not be empty"),
            ("[[room]]\nnumber = 7", "room.number (line 2): text in quotes is expected here, not a number"),
            ("[[room]]\nnumber = \"E1\"\npassword = \"x\"", "room.password (line 3): there is no such key"),
            (
                "[[room]]\nnumber = \"E1\"\n\n[[room]]\nnumber = \"E1\"",
                "room.number (line 5): \"E1\" is the room of line 2 already",
            ),
            ("[[room]]\nnumber = \"E1\"\nowner = \"T\"", "room.owner (line 3): a table, [room.owner], is expected"),
            (
                "[[room]]\nnumber = \"E1\"\n[room.owner]\nnickName = \"T\"",
                "room.owner.id (line 3): an owner is known by",
            ),
            ("[[room]]\nnumber = \"E1\"\n[room.owner]\nid = \"\"", "room.owner.id (line 4): an owner is known by"),
            ("[[room]]\nnumber = \"E1\"\n[room.owner]\nname = \"T\"", "room.owner.name (line 4): there is no such key"),
            ("[[room]]\nnumber = \"E1\"\n[[room.owner]]\nid = \"T\"", "room.owner (line 3): there is one such table"),
            (
                "[[room]]\nnumber = \"E1\"\npasscode = \"\"",
                "room.passcode (line 3): it must not be empty; without a passcode, take the key out",
            ),
            ("[[room]]\nnumber = \"E1\"\npasscode = 1234", "room.passcode (line 3): text in quotes is expected here"),
            (
                "[[room]]\nnumber = \"E1\"\nowner_passcode = \"\"",
                "room.owner_passcode (line 3): it must not be empty; without a passcode, take the key out",
            ),
            (
                "[[room]]\nnumber = \"E1\"\nowner_passcode = 1234",
                "room.owner_passcode (line 3): text in quotes is expected here, not a number",
            ),
        ] {
            let error = rooms(text).unwrap_err();
            assert!(error.starts_with(says), "{text:?} says {error:?}");
        }
    }

    #[test]
    fn each_text_fits_up_to_its_limit() {
        let owner = Member::default().fields().map(|(name, _, bytes_max)| (format!("owner.{name}"), bytes_max));
        let own = ROOM_KEYS.iter().map(|(name, bytes_max, _)| ((*name).to_owned(), *bytes_max));
        let passcodes = ["passcode", "owner_passcode"].map(|key| (key.to_owned(), limits::PASSCODE_BYTES));
        for (key, bytes_max) in own.chain(owner).chain(passcodes) {
            let with = |length: usize| {
                let number = if key == "number" { "" } else { "number = \"E1\"\n" };
                let id = if key.starts_with("owner.") && key != "owner.id" { "owner.id = \"T\"\n" } else { "" };
                rooms(&format!("[[room]]\n{number}{id}{key} = \"{}\"", "x".repeat(length)))
            };
            with(bytes_max).unwrap();
            let error = with(bytes_max + 1).unwrap_err();
            assert!(error.starts_with(&format!("room.{key} (line ")), "{error}");
            assert!(error.ends_with(&format!("is {} bytes long; at most {bytes_max} fit", bytes_max + 1)), "{error}");
        }
    }
}

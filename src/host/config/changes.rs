//! What one configuration says otherwise than another, and what of it a running hub takes over.
//!
//! Owns: the words for each change, by the same table of keys that `classhub check` prints, and which keys wait for the next start. Refuses to know: how
//! anything is taken over (`hub`, `net`).
//!
//! Secrets and passcodes are never shown: of them it is told that they changed, and no more.

use super::keys::{self, OnReload, toml_text};
use super::{Config, rooms};
use crate::hub::{RoomSettings, SealKeySettings};

impl Config {
    /// What `next` says otherwise than this one, a line each, in the order of `classhub check`.
    #[must_use]
    pub fn changes_to(&self, next: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        for key in keys::all() {
            let line = change(key.path, key.show(self), key.show(next));
            let waits = key.on_reload(self, next) == OnReload::NextStart;
            lines.extend(
                line.map(|line| if waits { format!("{line}; it takes effect with the next start") } else { line }),
            );
        }
        if self.hub.token_key != next.hub.token_key && self.secret_file == next.secret_file {
            lines.push("auth.secret_file: what is in the file has changed".to_owned());
        }
        self.key_changes(next, &mut lines);
        self.room_changes(next, &mut lines);
        lines
    }

    /// Takes over what `next` says but for what takes effect with the next start.
    pub fn adopt(&mut self, next: Config) {
        let before = std::mem::replace(self, next);
        let waiting: Vec<_> = keys::all().filter(|key| key.on_reload(&before, self) == OnReload::NextStart).collect();
        for key in waiting {
            key.keep(&before, self);
        }
    }

    fn key_changes(&self, next: &Config, lines: &mut Vec<String>) {
        let of = |config: &Config| -> Vec<(SealKeySettings, String)> {
            config.hub.seal_keys.iter().cloned().zip(config.key_files.iter().cloned()).collect()
        };
        let (before, after) = (of(self), of(next));
        for (key, _) in &before {
            if !after.iter().any(|(other, _)| other.id == key.id) {
                lines.push(format!("encryption.key {}: taken away, but from those who speak under it", key.id));
            }
        }
        for (key, file) in &after {
            let id = key.id;
            match before.iter().find(|(other, _)| other.id == id) {
                None => lines.push(format!("encryption.key {id}: added")),
                Some((earlier, earlier_file)) => {
                    let file = change(
                        &format!("encryption.key {id}: file"),
                        Some(toml_text(earlier_file)),
                        Some(toml_text(file)),
                    );
                    lines.extend(file);
                    if earlier.key != key.key {
                        lines.push(format!(
                            "encryption.key {id}: the key has changed, but for those who speak under it"
                        ));
                    }
                }
            }
        }
    }

    fn room_changes(&self, next: &Config, lines: &mut Vec<String>) {
        let (before, after) = (&self.hub.configured, &next.hub.configured);
        let find = |rooms: &'_ [RoomSettings], number: &str| rooms.iter().position(|room| room.number == number);
        for room in before {
            if find(after, &room.number).is_none() {
                lines.push(format!("{}: configured no more; it ends once it is empty", named(room)));
            }
        }
        for room in after {
            match find(before, &room.number) {
                None => lines.push(format!("{}: added", named(room))),
                Some(place) => {
                    let earlier = rooms::shown(&before[place]);
                    for ((name, value), (_, earlier)) in rooms::shown(room).into_iter().zip(earlier) {
                        lines.extend(change(&format!("{}: {name}", named(room)), earlier, value));
                    }
                    for ((name, passcode), (_, earlier)) in
                        rooms::passcodes(room).into_iter().zip(rooms::passcodes(&before[place]))
                    {
                        if passcode != earlier {
                            lines.push(format!("{}: {name} has changed", named(room)));
                        }
                    }
                }
            }
        }
    }
}

fn named(room: &RoomSettings) -> String {
    format!("room {}", toml_text(&room.number))
}

/// The line for a value that was `before`, as TOML, and is `after`; none where it is the same.
fn change(what: &str, before: Option<String>, after: Option<String>) -> Option<String> {
    match (before, after) {
        (before, after) if before == after => None,
        (Some(before), Some(after)) => Some(format!("{what} = {after} (was {before})")),
        (None, Some(after)) => Some(format!("{what} = {after} (was not set)")),
        (Some(before), None) => Some(format!("{what} is not set any more (was {before})")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::TokenKey;

    fn read(text: &str) -> Config {
        Config::from_toml(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Takes `after` over in a hub that runs with `before`: what is told, and what would be told the next time.
    fn reload(before: &Config, after: &Config) -> (Vec<String>, Vec<String>) {
        let mut running = before.clone();
        let told = running.changes_to(after);
        running.adopt(after.clone());
        (told, running.changes_to(after))
    }

    /// Two values of the key, as a file has them.
    fn two_values(path: &str, limit: Option<crate::limits::Limit>) -> [String; 2] {
        let texts = |two: [&str; 2]| two.map(str::to_owned);
        if let Some(limit) = limit {
            // What has to hold so many messages is far larger than they are at its maximum.
            return [limit.max, limit.max - 1].map(|number| number.to_string());
        }
        match path {
            "listen" | "tls.listen" => texts(["[\"127.0.0.1:1\"]", "[\"127.0.0.1:2\"]"]),
            "log" => texts(["\"info\"", "\"warn\""]),
            "rooms.auto_create" | "encryption.required" => texts(["true", "false"]),
            "auth.secret_file" | "tls.cert" | "tls.key" => texts(["\"a\"", "\"b\""]),
            "http.allowed_origins" => texts(["[\"http://a\"]", "[]"]),
            "http.names" => texts(["[\"a.b\"]", "[]"]),
            "http.metrics" => texts(["\"any\"", "\"off\""]),
            _ => panic!("{path} has no defined answer to a reload: write down two of its values"),
        }
    }

    /// A configuration in which the key has this value. Files are not read, and nothing has to fit together.
    fn with(key: &keys::Key, value: &str) -> Config {
        let mut config = Config::default();
        match key.path {
            "auth.secret_file" => config.secret_file = Some(value.trim_matches('"').to_owned()),
            path => {
                let text = format!("{path} = {value}");
                let document = toml::de::DeTable::parse(&text).unwrap();
                let [entry] = super::super::entry::entries_of_file(&text, document.get_ref()).try_into().ok().unwrap();
                match path.contains('.') {
                    true => key.read(&entry.table().unwrap()[0], &mut config).unwrap(),
                    false => key.read(&entry, &mut config).unwrap(),
                }
            }
        }
        config
    }

    #[test]
    fn every_key_is_told_and_is_either_taken_over_or_waits_for_the_next_start() {
        let mut waiting = Vec::new();
        for key in keys::all() {
            let [before, after] = two_values(key.path, key.limit()).map(|value| with(key, &value));
            let (told, next_time) = reload(&before, &after);
            let [line] = told.as_slice() else { panic!("{}: {told:?}", key.path) };
            let (was, is) = (key.show(&before).unwrap(), key.show(&after).unwrap());
            let says = format!("{} = {is} (was {was})", key.path);
            match line.strip_suffix("; it takes effect with the next start") {
                Some(line) => {
                    assert_eq!((line, &next_time), (&*says, &told), "it is told for as long as it waits");
                    waiting.push(key.path);
                }
                None => assert_eq!((line, next_time), (&says, vec![]), "it is taken over"),
            }
            assert_eq!(reload(&before, &before), (vec![], vec![]));
        }
        let sockets: &[&str] = if cfg!(feature = "tls") { &["listen", "tls.listen"] } else { &["listen"] };
        assert_eq!(waiting, sockets);
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_begins_and_ends_with_its_sockets() {
        let plain = Config::default();
        let tls = read("[tls]\ncert = \"c\"\nkey = \"k\"\n");
        let waits = |what: &str| format!("{what}; it takes effect with the next start");
        let begins = vec![waits("tls.cert = \"c\" (was \"\")"), waits("tls.key = \"k\" (was \"\")")];
        assert_eq!(reload(&plain, &tls), (begins.clone(), begins));
        let ends = vec![waits("tls.cert = \"\" (was \"c\")"), waits("tls.key = \"\" (was \"k\")")];
        assert_eq!(reload(&tls, &plain), (ends.clone(), ends));
        let mut running = tls.clone();
        running.adopt(plain);
        assert!(running.has_tls());
    }

    #[test]
    fn every_field_of_a_room_is_told_by_its_number_and_no_passcode_is_shown() {
        let before = read(
            "[[room]]\nnumber = \"E1\"\nname = \"a\"\npasscode = \"西瓜\"\n[room.owner]\nid = \"T\"\n\
             [[room]]\nnumber = \"E2\"\n[[room]]\nnumber = \"E3\"\n",
        );
        let after = read(
            "[[room]]\nnumber = \"E4\"\n[[room]]\nnumber = \"E3\"\npasscode = \"西瓜\"\n\
             [[room]]\nnumber = \"E1\"\nname = \"b\\n\"\ndesc = \"d\"\npasscode = \"葡萄\"\nowner_passcode = \"芝麻\"\n\
             [room.owner]\nid = \"U\"\nnickName = \"n\"\n",
        );
        let (told, next_time) = reload(&before, &after);
        assert_eq!(
            told,
            [
                "room \"E2\": configured no more; it ends once it is empty",
                "room \"E4\": added",
                "room \"E3\": passcode has changed",
                "room \"E1\": name = \"b\\u000A\" (was \"a\")",
                "room \"E1\": desc = \"d\" (was \"\")",
                "room \"E1\": owner.id = \"U\" (was \"T\")",
                "room \"E1\": owner.nickName = \"n\" (was \"\")",
                "room \"E1\": passcode has changed",
                "room \"E1\": owner_passcode has changed",
            ]
        );
        assert_eq!(next_time, [""; 0]);
        let ownerless = read("[[room]]\nnumber = \"E1\"\nname = \"a\"\npasscode = \"西瓜\"\n");
        let told = before.changes_to(&ownerless);
        assert!(told.contains(&"room \"E1\": owner.id is not set any more (was \"T\")".to_owned()), "{told:?}");
        let told = ownerless.changes_to(&before);
        assert!(told.contains(&"room \"E1\": owner.id = \"T\" (was not set)".to_owned()), "{told:?}");
    }

    #[test]
    fn rooms_in_another_order_are_the_same() {
        let [before, after] = [["E1", "E2"], ["E2", "E1"]]
            .map(|numbers| read(&numbers.map(|number| format!("[[room]]\nnumber = \"{number}\"\n")).concat()));
        assert_eq!(before.changes_to(&after), [""; 0]);
    }

    #[test]
    fn what_is_in_a_file_is_told_to_have_changed_and_never_shown() {
        let of = |secret: &str, keys: &[(u8, u8, &str)]| {
            let mut config = Config { secret_file: Some("s".to_owned()), ..Config::default() };
            config.hub.token_key = Some(TokenKey::new(secret));
            config.hub.seal_keys =
                keys.iter().map(|(id, byte, _)| SealKeySettings { id: *id, key: [*byte; 32] }).collect();
            config.key_files = keys.iter().map(|(_, _, file)| (*file).to_owned()).collect();
            config
        };
        let before = of("first", &[(1, 1, "a"), (2, 2, "b"), (3, 3, "c")]);
        let after = of("second", &[(4, 4, "d"), (2, 9, "b"), (3, 3, "e")]);
        assert_eq!(reload(&before, &before), (vec![], vec![]));
        let (told, next_time) = reload(&before, &after);
        assert_eq!(
            told,
            [
                "auth.secret_file: what is in the file has changed",
                "encryption.key 1: taken away, but from those who speak under it",
                "encryption.key 4: added",
                "encryption.key 2: the key has changed, but for those who speak under it",
                "encryption.key 3: file = \"e\" (was \"c\")",
            ]
        );
        assert_eq!(next_time, [""; 0]);
        let none = Config::default();
        assert_eq!(none.changes_to(&of("first", &[])), ["auth.secret_file = \"s\" (was not set)"]);
        assert_eq!(of("first", &[]).changes_to(&none), ["auth.secret_file is not set any more (was \"s\")"]);
    }
}

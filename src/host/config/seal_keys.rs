//! The `[[encryption.key]]` tables: the keys that frames may be sealed with.
//!
//! Owns: their two keys, and reading a key's file. Refuses to know: what is sealed with it (`hub`), and how (`wire::seal`).

use base64ct::{Base64, Encoding as _};

use super::entry::{ConfigError, Entry, quoted};
use super::{Config, Source, secret};
use crate::hub::SealKeySettings;
use crate::limits::{self, Limit};
use crate::wire::seal::KEY_BYTES;

/// A frame names its key in one byte.
const ID: Limit = Limit { default: 1, min: 0, max: 255 };
/// A key as base64, line end included, and something to spare for whoever wrote a comment into its file.
const FILE_BYTES_MAX: usize = 1024;

/// The key under which the source of a value is kept; `below` is as `.id`.
pub(super) fn source_key(place: usize, below: &str) -> String {
    format!("encryption.key[{place}]{below}")
}

/// Reads all keys of the file into `config`.
pub(super) fn read(entry: &Entry<'_>, config: &mut Config) -> Result<(), ConfigError> {
    for (line, entries) in entry.tables()? {
        let place = config.hub.seal_keys.len();
        if place == limits::SEAL_KEYS {
            let says = format!("one key more than there may be, which is {place}");
            return Err(ConfigError::of_key("encryption.key", Some(line), says));
        }
        let (mut id, mut key) = (None, None);
        for entry in &entries {
            match entry.name.as_str() {
                "id" => {
                    let number = entry.number(ID)? as u8; // within the range of a byte
                    if config.hub.seal_keys.iter().any(|other| other.id == number) {
                        return Err(entry.wrong(format!("another key is known as {number} already")));
                    }
                    id = Some(number);
                }
                "file" => {
                    let path = entry.text()?;
                    key =
                        Some(read_file(config, path).map_err(|says| entry.wrong(format!("{}: {says}", quoted(path))))?);
                    config.key_files.push(path.to_owned());
                }
                _ => return Err(entry.wrong("there is no such key; an [[encryption.key]] has id and file")),
            }
            config.sources.insert(source_key(place, &format!(".{}", entry.name)), Source::Line(entry.line));
        }
        let missing = |name: &str, example: &str| {
            let says = format!("it is missing, as in {name} = {example}");
            ConfigError::of_key(format!("encryption.key.{name}"), Some(line), says)
        };
        let id = id.ok_or_else(|| missing("id", "1"))?;
        let key = key.ok_or_else(|| missing("file", "\"/etc/classhub/class.key\""))?;
        config.hub.seal_keys.push(SealKeySettings { id, key });
    }
    Ok(())
}

/// The key in a file: 32 bytes as they are, or as base64 on one line.
fn read_file(config: &mut Config, name: &str) -> Result<[u8; KEY_BYTES], String> {
    let (bytes, metadata) =
        secret::read_file(config, name, FILE_BYTES_MAX).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes, and a key has {KEY_BYTES}, or 44 as base64"));
    }
    if secret::is_for_everybody(&metadata) {
        let says = secret::FOR_EVERYBODY;
        config.warnings.push(format!("encryption.key.file: {} {says}", quoted(name)));
    }
    if let Ok(key) = bytes.as_slice().try_into() {
        return Ok(key);
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_ascii();
    let mut key = [0; KEY_BYTES];
    match Base64::decode(text, &mut key) {
        Ok(decoded) if decoded.len() == KEY_BYTES => Ok(key),
        _ => Err(format!(
            "it is no key, which is {KEY_BYTES} bytes as they are or as base64 (head -c 32 /dev/urandom | base64)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file of the test's own, gone with it.
    struct File(std::path::PathBuf);

    impl File {
        fn with(name: &str, bytes: &[u8]) -> File {
            let path = std::env::temp_dir().join(format!("classhub-{}-{name}", std::process::id()));
            fs::write(&path, bytes).unwrap();
            File(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn wrong(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_read_raw_or_as_base64() {
        let raw = File::with("raw", &[0xA7; 32]);
        let base64 = File::with("base64", b"p6enp6enp6enp6enp6enp6enp6enp6enp6enp6enp6c=\n");
        let text = format!(
            "[encryption]\nrequired = true\n[[encryption.key]]\nid = 0\nfile = {:?}\n[[encryption.key]]\nfile = {:?}\nid = 255\n",
            raw.path(),
            base64.path()
        );
        let config = Config::from_toml(&text).unwrap();
        assert!(config.hub.encryption_required);
        let keys: Vec<_> = config.hub.seal_keys.iter().map(|key| (key.id, key.key)).collect();
        assert_eq!(keys, [(0, [0xA7; 32]), (255, [0xA7; 32])]);
        assert!(!format!("{config:?}").contains("167, 167"), "it is not shown");
        // And the report names the files again.
        let again = Config::from_toml(&config.report().to_string()).unwrap();
        assert_eq!(again.hub.seal_keys, config.hub.seal_keys);
    }

    #[test]
    fn every_mistake_names_key_and_line() {
        let (good, short) = (File::with("good", &[1; 32]), File::with("short", &[1; 31]));
        let (long, huge) = (File::with("long", b"QUJD\n"), File::with("huge", &[b'x'; 2000]));
        let table = |lines: &str| format!("[[encryption.key]]\n{lines}\n");
        for (text, says) in [
            (table("id = 1"), "encryption.key.file (line 1): it is missing".to_owned()),
            (table(&format!("file = {:?}", good.path())), "encryption.key.id (line 1): it is missing".to_owned()),
            (table("id = 256"), "encryption.key.id (line 2): 256 is outside 0 to 255".to_owned()),
            (
                table("id = 1\nfile = \"/no/such\""),
                "encryption.key.file (line 3): \"/no/such\": it cannot be read".to_owned(),
            ),
            (
                table(&format!("id = 1\nfile = {:?}", short.path())),
                format!("encryption.key.file (line 3): {:?}: it is no key", short.path()),
            ),
            (
                table(&format!("id = 1\nfile = {:?}", long.path())),
                format!("encryption.key.file (line 3): {:?}: it is no key", long.path()),
            ),
            (
                table(&format!("id = 1\nfile = {:?}", huge.path())),
                format!("encryption.key.file (line 3): {:?}: it has more than 1024 bytes", huge.path()),
            ),
            (table("name = 1"), "encryption.key.name (line 2): there is no such key".to_owned()),
            ("[encryption]\nkey = 1".to_owned(), "encryption.key (line 2): there can be several".to_owned()),
            (
                "[encryption]\nrequired = 1".to_owned(),
                "encryption.required (line 2): true or false is expected".to_owned(),
            ),
            (
                "[encryption]\nrequired = true".to_owned(),
                "encryption.required (line 2): nobody could join without an [[encryption.key]]".to_owned(),
            ),
            (
                table(&format!("id = 1\nfile = {:?}\n[[encryption.key]]\nid = 1", good.path())),
                "encryption.key.id (line 5): another key is known as 1".to_owned(),
            ),
        ] {
            let error = wrong(&text);
            assert!(error.starts_with(&says), "{text:?} says {error:?}, not {says:?}");
        }
        let many: String =
            (0..=limits::SEAL_KEYS).map(|id| table(&format!("id = {id}\nfile = {:?}", good.path()))).collect();
        assert!(wrong(&many).contains("one key more than there may be, which is 16"));
    }
}

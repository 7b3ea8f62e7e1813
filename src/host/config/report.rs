//! What `classhub check` prints: every value, where it comes from, and the memory sum.
//!
//! Owns: the layout. Refuses to know: which keys there are (`keys`), and what memory costs (`limits`).
//!
//! The report is TOML, and read back it is the same configuration but for passcodes, which it does not show: a board's state can be kept as a
//! file, and nobody has to learn a second notation.

use std::fmt;

use super::keys::{self, toml_text};
use super::{Config, Source, rooms, seal_keys};

/// Width of `key = value`, so that the sources line up behind all but long texts.
const VALUE_WIDTH: usize = 36;

/// A configuration as `classhub check` prints it: TOML, a key a line, each with its source behind it.
#[derive(Clone, Copy, Debug)]
pub struct Report<'c>(pub(super) &'c Config);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_keys(f, "")?;
        for table in keys::tables() {
            writeln!(f, "\n[{table}]")?;
            self.write_keys(f, table)?;
        }
        self.write_seal_keys(f)?;
        // There can be a thousand of them.
        self.write_rooms(f)?;
        self.write_memory(f)
    }
}

impl Report<'_> {
    fn write_keys(&self, f: &mut fmt::Formatter<'_>, table: &str) -> fmt::Result {
        for key in keys::of_table(table) {
            match key.show(self.0) {
                Some(value) => self.write_value(f, key.name(), &value, key.path)?,
                None => writeln!(f, "# {} is not set", key.name())?,
            }
        }
        Ok(())
    }

    /// By their files: the keys themselves are nobody's to read here.
    fn write_seal_keys(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, file)) in self.0.hub.seal_keys.iter().zip(&self.0.key_files).enumerate() {
            writeln!(f, "\n[[encryption.key]]")?;
            self.write_value(f, "id", &key.id.to_string(), &seal_keys::source_key(place, ".id"))?;
            self.write_value(f, "file", &toml_text(file), &seal_keys::source_key(place, ".file"))?;
        }
        Ok(())
    }

    fn write_rooms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, room) in self.0.hub.configured.iter().enumerate() {
            writeln!(f, "\n[[room]]")?;
            for (name, value) in [("number", &room.number), ("name", &room.name), ("desc", &room.desc)] {
                self.write_value(f, name, &toml_text(value), &rooms::source_key(index, &format!(".{name}")))?;
            }
            for (name, passcode) in rooms::passcodes(room) {
                if passcode.is_some() {
                    let source = self.source(&rooms::source_key(index, &format!(".{name}")));
                    writeln!(f, "# {name} is set ({source}), and not shown")?;
                }
            }
            let Some(owner) = &room.owner else { continue };
            writeln!(f, "[room.owner]")?;
            for (name, value, _) in owner.fields() {
                self.write_value(f, name, &toml_text(value), &rooms::source_key(index, &format!(".owner.{name}")))?;
            }
        }
        Ok(())
    }

    fn write_value(&self, f: &mut fmt::Formatter<'_>, name: &str, value: &str, key: &str) -> fmt::Result {
        let assignment = format!("{name} = {value}");
        writeln!(f, "{assignment:<VALUE_WIDTH$} # {}", self.source(key))
    }

    fn source(&self, key: &str) -> String {
        match (self.0.source(key), &self.0.file) {
            // A name of a file may hold a line's end, which would end the comment.
            (Source::Line(line), Some(file)) => format!("{} line {line}", file.display()).escape_debug().to_string(),
            _ => self.0.told_source(key),
        }
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let memory = self.0.memory();
        let mut line = |what: &str, bytes: u64| writeln!(f, "# {what:<16} {:>10} MiB", mib(bytes));
        line("memory, at most", memory.total())?;
        line("  connections", memory.connections)?;
        line("  rooms", memory.rooms)?;
        line("  replies owed", memory.replies)?;
        line("  the hub itself", memory.base)?;
        writeln!(f, "# apart, in the kernel's send buffers: {} MiB", mib(memory.kernel))
    }
}

/// To one decimal, rounded up: a bound that is printed too small is none.
fn mib(bytes: u64) -> String {
    let tenths = (bytes * 10).div_ceil(1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

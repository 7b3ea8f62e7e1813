//! What the operator decided, read from a file or left at its default.
//!
//! Owns: every configured value with where it comes from, and how values must relate.
//! Refuses to know: what the values are for (`hub`, `net`), and their defaults and ranges (`limits`).
//!
//! The file is walked by hand over the library's tree, not deserialised: only so does every error
//! name its key and its line, and does `classhub check` know where a value came from.

mod changes;
mod entry;
mod keys;
mod report;
mod rooms;
mod seal_keys;
mod secret;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use log::LevelFilter;
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

pub use self::entry::ConfigError;
use self::entry::Entry;
pub use self::keys::{parse_level, parse_listen};
pub use self::report::Report;
#[cfg(feature = "tls")]
use super::certificates::{self, Certificates, Wrong};
#[cfg(feature = "tls")]
use super::clock::Clock;
use super::files;
use super::metrics::Access;
use crate::hub::Settings;
use crate::limits::{self, MemorySum};

/// A thousand rooms with all that can be said of them take less. Not every file ends.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The port of a hub that nobody told one, and its port for TLS.
const PORT: u16 = 9000;
const TLS_PORT: u16 = 9443;

/// Everything that can be configured. From a file, all values are legal and fit together.
///
/// One program leaves it to the next, for which any value of it may be missing; where it came from is not left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where to listen; never empty.
    pub listen: Vec<SocketAddr>,
    /// How much to log.
    #[serde(with = "level")]
    pub log: LevelFilter,
    /// Connections at once.
    pub connections: u32,
    /// Connections from one address at once; 0 is no limit.
    pub connections_per_ip: u32,
    /// One message from a client, in bytes.
    pub message_bytes: u32,
    /// Replies owed to all connections together, in bytes.
    pub reply_bytes: u32,
    /// Origins besides the hub's own whose pages may connect, as browsers write them: in lower case,
    /// without a default port.
    pub allowed_origins: Vec<String>,
    /// Names by which it may be asked for, beside those that every hub answers to: in lower case.
    pub names: Vec<String>,
    /// Who may see `/metrics`.
    pub metrics: Access,
    /// The file that the key of the tokens was read from, as the configuration names it.
    pub secret_file: Option<String>,
    /// Where to listen for TLS; of no use without the files.
    pub tls_listen: Vec<SocketAddr>,
    /// The certificate for TLS with its chain, and its key, as they are written; empty where there is no TLS.
    pub tls_cert: String,
    /// See `tls_cert`.
    pub tls_key: String,
    /// What the hub itself is told.
    pub hub: Settings,
    /// The files of `hub.seal_keys`, in their order.
    key_files: Vec<String>,
    /// What the operator should hear about a configuration that is right: a line each.
    pub warnings: Vec<String>,
    /// The file that was read.
    file: Option<PathBuf>,
    /// It was read while the hub ran.
    again: bool,
    /// Where values come from, by key; what is not in here is a default.
    #[serde(skip)]
    sources: BTreeMap<String, Source>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    #[default]
    Default,
    /// This line of the file, from 1.
    Line(usize),
    /// This flag of the command line.
    Flag(&'static str),
}

impl Default for Config {
    fn default() -> Config {
        Config {
            // IPv4 is answered there too.
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT))],
            log: LevelFilter::Info,
            connections: limits::CONNECTIONS.default,
            connections_per_ip: limits::CONNECTIONS_PER_IP.default,
            message_bytes: limits::MESSAGE_BYTES.default,
            reply_bytes: limits::REPLY_BYTES.default,
            allowed_origins: Vec::new(),
            names: Vec::new(),
            metrics: Access::default(),
            secret_file: None,
            tls_listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, TLS_PORT))],
            tls_cert: String::new(),
            tls_key: String::new(),
            hub: Settings::default(),
            key_files: Vec::new(),
            warnings: Vec::new(),
            file: None,
            again: false,
            sources: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, has a key or table that is not known, or a value that is
    /// not legal: one line that names the file and, where there is one, the key and its line.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        Config::default().read_file(path)
    }

    /// Reads the file at `path` once more, for a hub that runs. What is no regular file, here and wherever the file names another, is refused: a pipe
    /// has nothing to say a second time, or keeps the hub waiting.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read_again(path: &Path) -> Result<Config, ConfigError> {
        Config { again: true, ..Config::default() }.read_file(path)
    }

    fn read_file(self, path: &Path) -> Result<Config, ConfigError> {
        let in_file = |error| ConfigError { file: Some(path.to_owned()), ..error };
        let mut bytes = Vec::new();
        files::open(path, self.again)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| in_file(ConfigError::of_file(format!("it cannot be read: {error}"))))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(in_file(ConfigError::of_file("it is far too long for a configuration: is it another file?")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            in_file(ConfigError { line: Some(line), ..ConfigError::of_file("it is not UTF-8 from here on") })
        })?;
        Config { file: Some(path.to_owned()), ..self }.read_text(text).map_err(in_file)
    }

    /// Reads the text of a file. Files that it names are looked for from where the program runs.
    ///
    /// # Errors
    /// As [`Config::read`], without the file.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        Config::default().read_text(text)
    }

    fn read_text(self, text: &str) -> Result<Config, ConfigError> {
        let document = DeTable::parse(text).map_err(|error| ConfigError::of_syntax(text, &error))?;
        let mut config = self;
        for entry in entry::entries_of_file(text, document.get_ref()) {
            keys::refuse_absent(&entry)?;
            if entry.path == "room" {
                rooms::read(&entry, &mut config)?;
            } else if keys::tables().contains(&entry.path.as_str()) {
                for entry in entry.table()? {
                    if entry.path == "encryption.key" {
                        seal_keys::read(&entry, &mut config)?;
                    } else {
                        config.read_key(&entry)?;
                    }
                }
            } else {
                config.read_key(&entry)?;
            }
        }
        config.check_relations()?;
        Ok(config)
    }

    fn read_key(&mut self, entry: &Entry<'_>) -> Result<(), ConfigError> {
        let key = keys::find(&entry.path).ok_or_else(|| keys::unknown(entry))?;
        key.read(entry, self)?;
        self.sources.insert(key.path.to_owned(), Source::Line(entry.line));
        Ok(())
    }

    /// Listens where a flag says, in place of what the file says.
    ///
    /// # Errors
    /// If there is no address, or one is there twice.
    pub fn set_listen(&mut self, listen: Vec<SocketAddr>, flag: &'static str) -> Result<(), ConfigError> {
        self.listen = keys::check_listen(listen).map_err(|says| ConfigError::of_key(flag, None, says))?;
        self.sources.insert("listen".to_owned(), Source::Flag(flag));
        Ok(())
    }

    /// Logs as much as a flag says, in place of what the file says.
    pub fn set_log(&mut self, log: LevelFilter, flag: &'static str) {
        self.log = log;
        self.sources.insert("log".to_owned(), Source::Flag(flag));
    }

    /// Where the value of a key such as `limits.rooms` comes from.
    #[must_use]
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).copied().unwrap_or_default()
    }

    /// Whether nobody said where to listen. Then, on a machine without IPv6, IPv4 alone will do.
    #[must_use]
    pub fn listen_is_default(&self) -> bool {
        self.source("listen") == Source::Default
    }

    /// Whether the hub listens for TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        !self.tls_cert.is_empty()
    }

    /// Reads the certificate for TLS and its key, as they are now; `None` where there is no TLS. A path is from the configuration's own folder on.
    ///
    /// # Errors
    /// Names the key, its line and the file where one of the two cannot be used.
    #[cfg(feature = "tls")]
    pub fn certificates(&self) -> Result<Option<Certificates>, ConfigError> {
        if !self.has_tls() {
            return Ok(None);
        }
        let folder = self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let (cert, key) = (folder.join(&self.tls_cert), folder.join(&self.tls_key));
        let can_be_read = |path: &Path| match self.again {
            true => {
                files::open(path, true).map(drop).map_err(|error| format!("{} cannot be read: {error}", path.display()))
            }
            // A pipe can be opened once.
            false => Ok(()),
        };
        let wall_s = Clock::new().read().wall_ms / 1000;
        let read = can_be_read(&cert)
            .map_err(Wrong::Cert)
            .and_then(|()| can_be_read(&key).map_err(Wrong::Key))
            .and_then(|()| certificates::load(&cert, &key, wall_s));
        read.map(Some).map_err(|wrong| {
            let (key, says) = match wrong {
                Wrong::Cert(says) => ("tls.cert", says),
                Wrong::Key(says) => ("tls.key", says),
            };
            ConfigError { file: self.file.clone(), ..ConfigError::of_key(key, self.line(key), says) }
        })
    }

    /// The most memory that a hub with this configuration can come to hold.
    #[must_use]
    pub fn memory(&self) -> MemorySum {
        MemorySum::of(limits::Bounds {
            connections: self.connections,
            rooms_per_connection: self.hub.rooms_per_connection,
            message_bytes: self.message_bytes,
            rooms: self.hub.rooms,
            room_log_bytes: self.hub.room_log_bytes,
            history: self.hub.history,
            reply_bytes: self.reply_bytes,
            sealed: !self.hub.seal_keys.is_empty(),
            tls: self.has_tls(),
        })
    }

    /// Every value, where it comes from, and the memory sum, to be displayed.
    #[must_use]
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }

    /// What no value can be blamed for alone.
    fn check_relations(&self) -> Result<(), ConfigError> {
        self.check_messages_fit("limits.room_log_bytes", self.hub.room_log_bytes, limits::MESSAGES_PER_LOG)?;
        if self.hub.bytes_per_second > 0 {
            self.check_messages_fit("limits.bytes_burst", self.hub.bytes_burst, 1)?;
        }
        if self.hub.encryption_required && self.hub.seal_keys.is_empty() {
            let says = "nobody could join without an [[encryption.key]]";
            return Err(ConfigError::of_key("encryption.required", self.line("encryption.required"), says));
        }
        self.check_tls()?;
        let rooms = self.hub.rooms;
        if let Some(beyond) = usize::try_from(rooms).ok().filter(|rooms| *rooms < self.hub.configured.len()) {
            let source = self.told_source("limits.rooms");
            let says = format!("one room more than limits.rooms allows, which is {rooms} ({source})");
            return Err(ConfigError::of_key("room", self.line(&rooms::source_key(beyond, "")), says));
        }
        Ok(())
    }

    /// Half of what TLS needs is a mistake that would leave open what the operator wanted shut.
    fn check_tls(&self) -> Result<(), ConfigError> {
        let files = [("tls.cert", &self.tls_cert, "cert.pem"), ("tls.key", &self.tls_key, "key.pem")];
        let told = [("tls.listen", true), ("tls.cert", self.has_tls()), ("tls.key", !self.tls_key.is_empty())];
        // `cert = ""` says that there is none.
        let wanted = told.into_iter().find(|(key, wants)| *wants && self.line(key).is_some());
        for (key, value, example) in files {
            let is_missing =
                value.is_empty() && (self.line(key).is_none() || files.iter().any(|(_, value, _)| !value.is_empty()));
            if let Some((other, _)) = wanted.filter(|_| is_missing) {
                let says =
                    format!("it is missing, and {other} alone switches nothing on: {} = \"{example}\"", &key[4..]);
                return Err(ConfigError::of_key(key, self.line(key).or(self.line(other)), says));
            }
        }
        let twice = self.tls_listen.iter().find(|address| address.port() != 0 && self.listen.contains(address));
        match twice.filter(|_| self.has_tls()) {
            Some(address) => {
                let says = format!("\"{address}\" is in listen too, and a port speaks either TLS or plain HTTP");
                Err(ConfigError::of_key("tls.listen", self.line("tls.listen"), says))
            }
            None => Ok(()),
        }
    }

    /// Checks that `bytes`, the value of `key`, hold so many of the longest messages. Whichever of the
    /// two keys the operator wrote is the one to change.
    fn check_messages_fit(&self, key: &str, bytes: u32, messages: u32) -> Result<(), ConfigError> {
        const MESSAGE: &str = "limits.message_bytes";
        let message_bytes = self.message_bytes;
        let needed = u64::from(messages) * u64::from(message_bytes);
        if u64::from(bytes) >= needed {
            return Ok(());
        }
        let count = if messages == 1 { "one message".to_owned() } else { format!("{messages} messages") };
        Err(match self.line(key) {
            Some(line) => {
                let source = self.told_source(MESSAGE);
                let says = format!(
                    "{bytes} is too little for {count} of {MESSAGE} = {message_bytes} ({source}); it takes {needed}"
                );
                ConfigError::of_key(key, Some(line), says)
            }
            None => {
                let source = self.told_source(key);
                let says = format!(
                    "{message_bytes} is too much for {key} = {bytes} ({source}), which has to hold {count}; \
                     at most {} fits, or write {key} = {needed} too",
                    bytes / messages
                );
                ConfigError::of_key(MESSAGE, self.line(MESSAGE), says)
            }
        })
    }

    fn line(&self, key: &str) -> Option<usize> {
        if let Source::Line(line) = self.source(key) { Some(line) } else { None }
    }

    /// Where a value comes from, in words, for errors about the file.
    fn told_source(&self, key: &str) -> String {
        match self.source(key) {
            Source::Default => "default".to_owned(),
            Source::Line(line) => format!("line {line}"),
            Source::Flag(flag) => flag.to_owned(),
        }
    }
}

/// How a level is written down, of which its own library says nothing.
mod level {
    use log::LevelFilter;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
    pub fn serialize<S: Serializer>(level: &LevelFilter, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(level)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LevelFilter, D::Error> {
        super::parse_level(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;

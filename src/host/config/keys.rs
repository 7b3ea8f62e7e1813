//! The keys: one table that reading, range checks and the report of `classhub check` all go by.
//!
//! Owns: each key's name, its place in [`Config`], how its value is read and written, and whether a running hub takes another over.
//! Refuses to know: rooms (`rooms`), how keys relate (`config`), and every number (`limits`).

use std::net::{Ipv6Addr, SocketAddr};

use log::LevelFilter;

use super::entry::{ConfigError, Entry, quoted};
use super::{Config, secret};
use crate::host::metrics::Access;
use crate::limits::{self, Limit};

/// One key. The order of [`KEYS`] is the order of the report, so keys of a table stand together.
pub(super) struct Key {
    /// As `limits.rooms`.
    pub path: &'static str,
    kind: Kind,
}

/// What a running hub does with another value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnReload {
    /// It holds from now on.
    Applied,
    /// It waits for the next start: sockets to listen on are opened once.
    NextStart,
}

enum Kind {
    Number {
        limit: Limit,
        of: fn(&Config) -> u32,
        place: fn(&mut Config) -> &mut u32,
    },
    Switch {
        of: fn(&Config) -> bool,
        place: fn(&mut Config) -> &mut bool,
    },
    Listen,
    Log,
    AllowedOrigins,
    Names,
    Metrics,
    SecretFile,
    #[cfg(feature = "tls")]
    TlsListen,
    #[cfg(feature = "tls")]
    TlsFile {
        of: fn(&Config) -> &String,
        place: fn(&mut Config) -> &mut String,
    },
}

macro_rules! number {
    ($path:literal, $limit:ident, $($field:ident).+) => {
        Key {
            path: $path,
            kind: Kind::Number {
                limit: limits::$limit,
                of: |config| config.$($field).+,
                place: |config| &mut config.$($field).+,
            },
        }
    };
}

macro_rules! switch {
    ($path:literal, $($field:ident).+) => {
        Key {
            path: $path,
            kind: Kind::Switch { of: |config| config.$($field).+, place: |config| &mut config.$($field).+ },
        }
    };
}

const fn other(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

pub(super) static KEYS: &[Key] = &[
    other("listen", Kind::Listen),
    other("log", Kind::Log),
    number!("heartbeat.interval_s", HEARTBEAT_INTERVAL_S, hub.heartbeat_interval_s),
    number!("heartbeat.grace_s", HEARTBEAT_GRACE_S, hub.heartbeat_grace_s),
    number!("heartbeat.probe_s", HEARTBEAT_PROBE_S, hub.probe_s),
    number!("heartbeat.linger_s", HEARTBEAT_LINGER_S, hub.linger_s),
    number!("limits.connections", CONNECTIONS, connections),
    number!("limits.connections_per_ip", CONNECTIONS_PER_IP, connections_per_ip),
    number!("limits.rooms", ROOMS, hub.rooms),
    number!("limits.members_per_room", MEMBERS_PER_ROOM, hub.members_per_room),
    number!("limits.rooms_per_connection", ROOMS_PER_CONNECTION, hub.rooms_per_connection),
    number!("limits.messages_per_second", MESSAGES_PER_SECOND, hub.messages_per_second),
    number!("limits.burst", BURST, hub.burst),
    number!("limits.bytes_per_second", BYTES_PER_SECOND, hub.bytes_per_second),
    number!("limits.bytes_burst", BYTES_BURST, hub.bytes_burst),
    number!("limits.message_bytes", MESSAGE_BYTES, message_bytes),
    number!("limits.room_log_bytes", ROOM_LOG_BYTES, hub.room_log_bytes),
    number!("limits.reply_bytes", REPLY_BYTES, reply_bytes),
    switch!("rooms.auto_create", hub.auto_create),
    number!("rooms.history", HISTORY, hub.history),
    number!("rooms.empty_for_s", EMPTY_FOR_S, hub.empty_for_s),
    other("auth.secret_file", Kind::SecretFile),
    #[cfg(feature = "tls")]
    other("tls.listen", Kind::TlsListen),
    #[cfg(feature = "tls")]
    other("tls.cert", Kind::TlsFile { of: |config| &config.tls_cert, place: |config| &mut config.tls_cert }),
    #[cfg(feature = "tls")]
    other("tls.key", Kind::TlsFile { of: |config| &config.tls_key, place: |config| &mut config.tls_key }),
    switch!("encryption.required", hub.encryption_required),
    other("http.allowed_origins", Kind::AllowedOrigins),
    other("http.names", Kind::Names),
    other("http.metrics", Kind::Metrics),
];

/// Every key, in the order of the report.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The keys of one table, `""` being the top of the file.
pub(super) fn of_table(table: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.table() == table)
}

/// The tables in the order of their keys, without the top of the file.
pub(super) fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = KEYS.iter().map(Key::table).filter(|table| !table.is_empty()).collect();
    tables.dedup();
    tables
}

/// Refuses what this build does not have. To ignore it would leave open what the operator wanted shut.
pub(super) fn refuse_absent(entry: &Entry<'_>) -> Result<(), ConfigError> {
    if cfg!(feature = "tls") || entry.path != "tls" {
        return Ok(());
    }
    let says = "this classhub was built without TLS (its feature `tls`); take the table out";
    Err(ConfigError::of_key("[tls]", Some(entry.line), says))
}

/// The error for a key or a table that is not there, with what is.
pub(super) fn unknown(entry: &Entry<'_>) -> ConfigError {
    let table = entry.path.strip_suffix(entry.name.as_str()).unwrap_or_default().trim_end_matches('.');
    if table.is_empty() && entry.is_table() {
        let mut known = tables().iter().map(|table| format!("[{table}]")).collect::<Vec<_>>();
        known.push("[[room]]".to_owned());
        let says = format!("there is no such table; there are {}", known.join(", "));
        return ConfigError::of_key(format!("[{}]", entry.path), Some(entry.line), says);
    }
    let elsewhere = KEYS.iter().find(|key| key.name() == entry.name);
    entry.wrong(match elsewhere.map(Key::table) {
        Some("") => "it belongs at the top of the file, above the first [table]".to_owned(),
        Some(elsewhere) => format!("it belongs in [{elsewhere}]"),
        None => {
            let known: Vec<&str> = of_table(table).map(Key::name).collect();
            format!("there is no such key; here are known: {}", known.join(", "))
        }
    })
}

impl Key {
    /// The table it belongs to, `""` at the top of the file.
    pub fn table(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(table, _)| table)
    }

    /// Its name within its table.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Reads the value of `entry` into its place.
    pub fn read(&self, entry: &Entry<'_>, config: &mut Config) -> Result<(), ConfigError> {
        match &self.kind {
            Kind::Number { limit, place, .. } => *place(config) = entry.number(*limit)?,
            Kind::Switch { place, .. } => *place(config) = entry.switch()?,
            Kind::Log => config.log = parse_level(entry.text()?).map_err(|says| entry.wrong(says))?,
            Kind::AllowedOrigins => config.allowed_origins = entry.each_text(parse_origin)?,
            Kind::Names => config.names = entry.each_text(parse_name)?,
            Kind::Metrics => config.metrics = parse_access(entry.text()?).map_err(|says| entry.wrong(says))?,
            Kind::SecretFile => secret::read(entry, config)?,
            Kind::Listen => {
                let listen = entry.each_text(parse_listen)?;
                config.listen = check_listen(listen).map_err(|says| entry.wrong(says))?;
            }
            #[cfg(feature = "tls")]
            Kind::TlsListen => {
                let listen = entry.each_text(parse_listen)?;
                config.tls_listen = check_listen(listen).map_err(|says| entry.wrong(says))?;
            }
            #[cfg(feature = "tls")]
            Kind::TlsFile { place, .. } => *place(config) = entry.text()?.to_owned(),
        }
        Ok(())
    }

    /// The value in its place, as TOML; `None` where there is none, and no way to write that down.
    pub fn show(&self, config: &Config) -> Option<String> {
        Some(match &self.kind {
            Kind::Number { of, .. } => of(config).to_string(),
            Kind::Switch { of, .. } => of(config).to_string(),
            Kind::Log => toml_text(&config.log.to_string().to_lowercase()),
            Kind::AllowedOrigins => toml_list(&config.allowed_origins),
            Kind::Names => toml_list(&config.names),
            Kind::Metrics => toml_text(config.metrics.as_str()),
            Kind::SecretFile => toml_text(config.secret_file.as_ref()?),
            Kind::Listen => toml_list(&config.listen),
            #[cfg(feature = "tls")]
            Kind::TlsListen => toml_list(&config.tls_listen),
            #[cfg(feature = "tls")]
            Kind::TlsFile { of, .. } => toml_text(of(config)),
        })
    }

    /// What a hub that runs with `before` does with the value that is in `next`.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "without TLS it is the same for all values"))]
    pub fn on_reload(&self, before: &Config, next: &Config) -> OnReload {
        match &self.kind {
            Kind::Listen => OnReload::NextStart,
            #[cfg(feature = "tls")]
            Kind::TlsListen => OnReload::NextStart,
            // Another certificate is shown at once; TLS itself begins and ends with its sockets.
            #[cfg(feature = "tls")]
            Kind::TlsFile { .. } if before.has_tls() != next.has_tls() => OnReload::NextStart,
            #[cfg(feature = "tls")]
            Kind::TlsFile { .. } => OnReload::Applied,
            Kind::Number { .. } | Kind::Switch { .. } | Kind::Log | Kind::SecretFile => OnReload::Applied,
            Kind::AllowedOrigins | Kind::Names | Kind::Metrics => OnReload::Applied,
        }
    }

    /// Leaves in `config` the value that is in `before`. It is of a key that waits for the next start.
    pub fn keep(&self, before: &Config, config: &mut Config) {
        match &self.kind {
            Kind::Listen => config.listen.clone_from(&before.listen),
            #[cfg(feature = "tls")]
            Kind::TlsListen => config.tls_listen.clone_from(&before.tls_listen),
            #[cfg(feature = "tls")]
            Kind::TlsFile { of, place } => place(config).clone_from(of(before)),
            Kind::Number { .. } | Kind::Switch { .. } | Kind::Log | Kind::SecretFile => {}
            Kind::AllowedOrigins | Kind::Names | Kind::Metrics => {}
        }
    }

    /// The range, for keys that are numbers.
    #[cfg(test)]
    pub fn limit(&self) -> Option<Limit> {
        if let Kind::Number { limit, .. } = self.kind { Some(limit) } else { None }
    }
}

/// Reads an address to listen on.
///
/// # Errors
/// Says what is wrong with `text` and what an address looks like.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is no address to listen on, which is an IP address and a port: \"[::]:9000\" for all addresses, \
             \"0.0.0.0:9000\" for IPv4 alone, \"127.0.0.1:9000\" for this machine alone",
            quoted(text)
        )
    })
}

/// At least one, and none twice, of which the second could not be opened. Port 0 is any free one.
pub(super) fn check_listen(listen: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    if listen.is_empty() {
        return Err("at least one address is needed, as in [\"[::]:9000\"]".to_owned());
    }
    if listen.len() > limits::LISTENERS {
        return Err(format!("{} addresses, at most {} can be listened on", listen.len(), limits::LISTENERS));
    }
    let twice = listen.iter().enumerate().find(|(i, address)| address.port() != 0 && listen[..*i].contains(address));
    match twice {
        Some((_, address)) => Err(format!("\"{address}\" is there twice")),
        None => Ok(listen),
    }
}

/// Reads how much to log.
///
/// # Errors
/// Says what is wrong with `text` and what there is.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| format!("{} is none of off, error, warn, info, debug, trace", quoted(text)))
}

/// Reads who may see the metrics.
fn parse_access(text: &str) -> Result<Access, String> {
    let known = Access::ALL.into_iter().find(|access| access.as_str() == text);
    known.ok_or_else(|| format!("{} is none of loopback, any, off", quoted(text)))
}

/// Reads an origin and returns it as browsers write it: in lower case, without the default port.
fn parse_origin(text: &str) -> Result<String, String> {
    let wrong = |what: &str| {
        format!(
            "{} {what}; an origin looks like \"http://board.school:8080\" or \"https://school.example\"",
            quoted(text)
        )
    };
    let lower = text.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").ok_or_else(|| wrong("is no origin"))?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(wrong("is no origin of a page")),
    };
    if rest.contains(['/', '?', '#']) {
        return Err(wrong("goes on after the host and the port"));
    }
    // The colons of an IPv6 address stand in brackets.
    let host_end = rest.rfind(']').map_or_else(|| rest.find(':').unwrap_or(rest.len()), |bracket| bracket + 1);
    let (host, port) = rest.split_at(host_end);
    let is_name = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    let is_v6 = |host: &str| {
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    };
    if !is_name(host) && !is_v6(host) {
        return Err(wrong("has no host that a browser would send"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        None => return Err(wrong("has something between the host and the port")),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| wrong("has a port outside 1 to 65535"))?
        }
        Some(_) => return Err(wrong("has a port that is no number")),
    };
    if port == default_port { Ok(format!("{scheme}://{host}")) } else { Ok(format!("{scheme}://{host}:{port}")) }
}

/// Reads a name by which the hub may be asked for, and returns it as browsers write it: in lower case.
fn parse_name(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if name.split('.').all(is_label) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{} is no name of a host; one looks like \"school.example\", without http://, a port or a path",
        quoted(text)
    ))
}

/// A text as TOML writes it.
pub(super) fn toml_text(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            c if c.is_control() => written.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => written.push(c),
        }
    }
    written.push('"');
    written
}

fn toml_list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| toml_text(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_address_and_a_port() {
        for good in ["[::]:9000", "0.0.0.0:9000", "127.0.0.1:0", "[fe80::1%2]:80"] {
            assert!(parse_listen(good).is_ok(), "{good}");
        }
        for bad in ["9000", ":9000", "*:9000", "localhost:9000", "127.0.0.1", "::1:9000x", "[::]", "1.2.3.4:65536", ""]
        {
            let says = parse_listen(bad).unwrap_err();
            assert!(says.starts_with(&format!("{bad:?} is no address")) && says.contains("[::]:9000"), "{says}");
        }
    }

    #[test]
    fn any_free_port_can_be_asked_for_twice() {
        let [a, b] = ["127.0.0.1:0", "127.0.0.1:1"].map(|text| parse_listen(text).unwrap());
        assert!(check_listen(vec![a, a, b]).is_ok());
        assert_eq!(check_listen(vec![b, a, b]).unwrap_err(), "\"127.0.0.1:1\" is there twice");
    }

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        for (text, kept) in [
            ("http://board", "http://board"),
            ("HTTP://Board.School:8080", "http://board.school:8080"),
            ("http://board:80", "http://board"),
            ("https://board:443", "https://board"),
            ("https://board:80", "https://board:80"),
            ("http://192.168.1.5:9000", "http://192.168.1.5:9000"),
            ("http://[2001:db8::7]:9000", "http://[2001:db8::7]:9000"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Ok(kept));
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "board",
            "board:9000",
            "ftp://board",
            "http://",
            "http://:80",
            "http://board/",
            "http://board/class",
            "http://board?x",
            "http://board:",
            "http://board:0",
            "http://board:65536",
            "http://board:+80",
            "http://me@board",
            "http://a b",
            "http://学校",
            "http://[::1",
            "http://::1",
            "http://[x]",
            "http://[::1]9000",
        ] {
            let says = parse_origin(text).unwrap_err();
            assert!(says.contains("an origin looks like") && says.starts_with(&quoted(text)), "{says}");
        }
    }

    #[test]
    fn a_name_is_kept_as_browsers_write_it() {
        for (text, kept) in [
            ("school.example", "school.example"),
            ("Board.School.Example.", "board.school.example"),
            ("xn--fiq.cn", "xn--fiq.cn"),
            ("a_b-1", "a_b-1"),
        ] {
            assert_eq!(parse_name(text).as_deref(), Ok(kept));
        }
        for text in ["", ".", "a..b", ".a", "*.school.example", "http://a", "a:9000", "a/b", "学校.cn", "[::1]", "a b"]
        {
            let says = parse_name(text).unwrap_err();
            assert!(says.starts_with(&quoted(text)) && says.contains("school.example"), "{says}");
        }
    }

    #[test]
    fn a_level_is_one_of_six() {
        assert_eq!(parse_level("off"), Ok(LevelFilter::Off));
        assert_eq!(parse_level("trace"), Ok(LevelFilter::Trace));
        assert_eq!(parse_level("loud").unwrap_err(), "\"loud\" is none of off, error, warn, info, debug, trace");
    }

    #[test]
    fn keys_of_a_table_stand_together() {
        let mut tables = tables();
        let all = tables.len();
        tables.sort_unstable();
        tables.dedup();
        assert_eq!(tables.len(), all);
    }
}

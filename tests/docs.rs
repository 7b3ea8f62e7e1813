//! Keeps what the README says of the configuration true: docs that repeat a number drift.
//!
//! Owns: finding the README's block with every key and its tables of limits, and comparing them with
//! the hub's own. Refuses to know: what else the README says, and what a key means.
//!
//! What it looks for: one block fenced as `toml` that has the line [`MARK`], and rows of tables whose first
//! cell is a key such as `` `limits.rooms` ``, whose second is its default, and whose third, where there is
//! one that reads `1 to 1024`, its range.

use std::{collections::BTreeMap, fs, path::Path};

use classhub::host::config::Config;
use classhub::limits::{self, Limit};

const MARK: &str = "# every key with its default";

const LIMITS: &[(&str, Limit)] = &[
    ("heartbeat.interval_s", limits::HEARTBEAT_INTERVAL_S),
    ("heartbeat.grace_s", limits::HEARTBEAT_GRACE_S),
    ("heartbeat.probe_s", limits::HEARTBEAT_PROBE_S),
    ("heartbeat.linger_s", limits::HEARTBEAT_LINGER_S),
    ("limits.connections", limits::CONNECTIONS),
    ("limits.connections_per_ip", limits::CONNECTIONS_PER_IP),
    ("limits.rooms", limits::ROOMS),
    ("limits.members_per_room", limits::MEMBERS_PER_ROOM),
    ("limits.rooms_per_connection", limits::ROOMS_PER_CONNECTION),
    ("limits.messages_per_second", limits::MESSAGES_PER_SECOND),
    ("limits.burst", limits::BURST),
    ("limits.bytes_per_second", limits::BYTES_PER_SECOND),
    ("limits.bytes_burst", limits::BYTES_BURST),
    ("limits.message_bytes", limits::MESSAGE_BYTES),
    ("limits.room_log_bytes", limits::ROOM_LOG_BYTES),
    ("limits.reply_bytes", limits::REPLY_BYTES),
    ("rooms.history", limits::HISTORY),
    ("rooms.empty_for_s", limits::EMPTY_FOR_S),
];

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `table.key` and its value as written, comments aside. Enough for what has one key on a line.
fn keys(toml: &str) -> BTreeMap<String, String> {
    let (mut table, mut keys) = (String::new(), BTreeMap::new());
    for line in toml.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, value)) = line.split_once('=') {
            keys.insert(format!("{table}{}", key.trim()), value.trim().to_owned());
        }
    }
    keys
}

/// A hub without TLS has fewer keys, and refuses the block's.
#[cfg_attr(not(feature = "tls"), ignore = "the block is for a hub with TLS")]
#[test]
fn the_block_has_every_key_with_its_default() {
    let readme = readme();
    let mut blocks = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let block = blocks.find(|block| block.lines().any(|line| line.trim() == MARK));
    let block = block.unwrap_or_else(|| panic!("README.md has no block of toml with the line {MARK:?}"));
    let config = Config::from_toml(block).unwrap_or_else(|error| panic!("README.md's block: {error}"));
    // The report of `classhub check` is TOML too, with every key in it, and where the values come from
    // is in its comments.
    let defaults = keys(&Config::default().report().to_string());
    assert_eq!(keys(&config.report().to_string()), defaults, "a value in README.md's block is not the default");
    let (there, known): (Vec<_>, Vec<_>) = (keys(block).into_keys().collect(), defaults.into_keys().collect());
    assert_eq!(there, known, "README.md's block does not have each key once");
}

#[test]
fn the_table_of_limits_has_every_default_and_range() {
    let readme = readme();
    let mut rows = 0;
    for line in readme.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let Some((key, limit)) = LIMITS.iter().find(|(key, _)| *key == cells[0]) else { continue };
        let cell = |n: usize| cells.get(n).map_or("", String::as_str);
        assert_eq!(number(cell(1)), Some(limit.default), "the default of {key} in README.md: {line}");
        if let Some((min, max)) = cell(2).split_once(" to ") {
            let range = (number(min), number(max));
            assert_eq!(range, (Some(limit.min), Some(limit.max)), "the range of {key} in README.md: {line}");
        }
        rows += 1;
    }
    assert!(rows > 0, "README.md has no table whose rows begin with a key such as `limits.rooms`");
}

/// As people write them: `16384`, `16,384`, `16 KiB`.
fn number(text: &str) -> Option<u32> {
    let (digits, shift) = match text.trim() {
        text if text.ends_with("KiB") => (text.trim_end_matches("KiB"), 10),
        text if text.ends_with("MiB") => (text.trim_end_matches("MiB"), 20),
        text if text.ends_with("GiB") => (text.trim_end_matches("GiB"), 30),
        text => (text, 0),
    };
    digits.trim().replace([',', '_'], "").parse::<u32>().ok()?.checked_shl(shift)
}

#[test]
fn the_list_of_limits_is_whole() {
    let numbers = keys(&Config::default().report().to_string());
    let mut numbers: Vec<_> = numbers.into_iter().filter(|(_, value)| value.parse::<u32>().is_ok()).collect();
    let mut listed: Vec<_> = LIMITS.iter().map(|(key, l)| ((*key).to_owned(), l.default.to_string())).collect();
    numbers.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, numbers);
}

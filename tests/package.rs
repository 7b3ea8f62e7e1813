//! Keeps true what the Debian package says: its configuration, its manual pages, and what it installs.
//!
//! Owns: reading them as those do who read them, and comparing them with the hub's own tables. Refuses to know: how a package is made and what becomes
//! of it on a machine (`.ci/run package`).
#![cfg(feature = "tls")]

use std::{collections::BTreeMap, fs};

use classhub::host::{cli::HELP, config::Config};

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `table.key` and its value as written, comments aside. Enough for what has one key on a line.
fn keys(toml: &str) -> BTreeMap<String, String> {
    let (mut table, mut keys) = (String::new(), BTreeMap::new());
    for line in toml.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, value)) = line.split_once('=') {
            let twice = keys.insert(format!("{table}{}", key.trim()), value.trim().to_owned());
            assert_eq!(twice, None, "{table}{key} is there twice");
        }
    }
    keys
}

/// Every key that has a default, with it: the report of `classhub check` is TOML too.
fn defaults() -> BTreeMap<String, String> {
    keys(&Config::default().report().to_string())
}

/// The keys without a default, as the report tells of them.
fn without_default() -> Vec<String> {
    let (mut table, mut found) = (String::new(), Vec::new());
    for line in Config::default().report().to_string().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some(name) = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set")) {
            found.push(format!("{table}{name}"));
        }
    }
    assert!(!found.is_empty(), "the report does not tell of them any more");
    found
}

/// The lines whose `#` has no space behind it, without it: what the file itself tells a person to do.
fn uncommented(toml: &str) -> String {
    let line = |line: &'_ str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    toml.lines().map(line).collect()
}

/// The same for the examples, which stand further in: what has no default.
fn with_examples(toml: &str) -> String {
    let example = |line: &'_ str| line.strip_prefix("#    ").filter(|line| !line.starts_with(' ')).map(str::to_owned);
    toml.lines().map(|line| example(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn the_configuration_changes_nothing_as_it_comes() {
    let config = Config::from_toml(&read("packaging/classhub.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config, Config::default());
}

#[test]
fn the_configuration_has_every_key_with_its_default() {
    let toml = uncommented(&read("packaging/classhub.toml"));
    assert_eq!(keys(&toml), defaults());
    let config = Config::from_toml(&toml).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(keys(&config.report().to_string()), defaults());
}

#[test]
fn the_configuration_has_an_example_of_the_rest() {
    let toml = with_examples(&read("packaging/classhub.toml"));
    let shown = keys(&toml);
    for key in without_default() {
        assert!(shown.contains_key(&key), "no example of {key}");
    }
    // A room and a key, as they are read: their files alone are not there.
    let room =
        &toml[toml.find("[[room]]").expect("there is a room")..toml.find("[[encryption.key]]").expect("and a key")];
    let config = Config::from_toml(room).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.hub.configured.len(), 1);
    let error = Config::from_toml(&toml).expect_err("the files are not there").to_string();
    assert!(error.contains("cannot be read"), "{error}");
}

/// Chinese stands beside English above each setting.
#[test]
fn the_configuration_speaks_to_who_reads_it() {
    let toml = read("packaging/classhub.toml");
    let lines: Vec<&str> = toml.lines().collect();
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains('=');
    for (at, line) in lines.iter().enumerate().filter(|(at, line)| is_setting(line) && !is_setting(lines[at - 1])) {
        assert!(lines[at - 1].starts_with("# ") && !lines[at - 1].is_ascii(), "line {}: {line}", at + 1);
    }
    assert!(lines.iter().all(|line| line.len() <= 180), "a line does not fit an editor");
}

/// A manual page without what is there for the printer.
fn page(path: &str) -> String {
    let text = read(path).replace("\\-", "-").replace("\\(dq", "\"");
    ["\\fB", "\\fI", "\\fR"].iter().fold(text, |text, font| text.replace(font, ""))
}

#[test]
fn the_manual_has_every_flag_and_command() {
    let page = page("packaging/classhub.1");
    let words = |text: &str| -> Vec<String> {
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        text.split(is_end).filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    };
    let (told, mut known) = (words(&page), words(HELP));
    known.sort_unstable();
    known.dedup();
    assert!(known.len() > 10, "{known:?}");
    for flag in &known {
        let entry = [format!(".BI {flag} \""), format!(".B {flag}\n")];
        assert!(entry.iter().any(|entry| page.contains(entry)), "no entry for {flag}");
    }
    for flag in told {
        assert!(known.contains(&flag), "there is no flag {flag}");
    }
    let usage = HELP.lines().filter_map(|line| line.strip_prefix("  classhub "));
    let commands = usage.filter_map(|line| line.trim_start_matches('[').split([' ', ']']).next());
    for command in commands.filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
        assert!(page.contains(&format!("\n.B {command}\n")), "no entry for {command}");
    }
}

#[test]
fn the_manual_has_every_key_with_its_default_and_range() {
    let page = page("packaging/classhub.toml.5");
    let (mut table, mut told) = (String::new(), BTreeMap::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix(".SS ") {
            let name = title.strip_prefix('[').and_then(|title| title.strip_suffix(']'));
            table = name.map_or_else(String::new, |name| format!("{name}."));
        } else if let Some((key, value)) = line.strip_prefix(".B ").and_then(|line| line.split_once(" = ")) {
            let text = lines.next().unwrap_or_default();
            let range = text.split_once(". ").map_or("", |(range, _)| range);
            told.insert(format!("{table}{key}"), (value.to_owned(), range.to_owned()));
        }
    }
    let values: BTreeMap<_, _> = told.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect();
    assert_eq!(values, defaults());
    for (key, (_, range)) in told.iter().filter(|(_, (value, _))| value.parse::<u32>().is_ok()) {
        // What is far outside is told with the range.
        let error = Config::from_toml(&format!("{key} = 99999999999")).expect_err(key).to_string();
        assert!(error.ends_with(&format!(" is outside {range}")), "{range}: {error}");
    }
    for key in without_default() {
        let (table, name) = key.split_once('.').expect("it is in a table");
        let section = page.split(".SS ").find(|section| section.starts_with(&format!("[{table}]"))).expect("a section");
        assert!(section.contains(&format!("\n.B {name}\n")), "no entry for {key}");
    }
}

#[test]
fn the_package_has_the_version_of_the_hub() {
    let changelog = read("packaging/debian/changelog");
    let newest = changelog.lines().next().expect("an entry");
    assert!(newest.starts_with(concat!("classhub (", env!("CARGO_PKG_VERSION"), "-")), "{newest}");
}

/// What is in packaging/ is there to be installed.
#[test]
fn the_package_has_everything_that_is_there_for_it() {
    let cargo = read("Cargo.toml");
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging")).expect("it is there") {
        let name = entry.expect("it is there").file_name().into_string().expect("a plain name");
        assert!(cargo.contains(&format!("\"packaging/{name}")), "the package has no {name}");
    }
}

/// Whoever finds the hub by name finds it where it listens, whether by its sockets or by itself.
#[test]
fn what_is_told_to_the_network_is_where_the_hub_is() {
    let avahi = read("packaging/classhub.avahi");
    let port = avahi.split("<port>").nth(1).and_then(|rest| rest.split('<').next()).expect("a port");
    assert!(avahi.contains("<type>_http._tcp</type>"));
    assert_eq!(Config::default().listen[0].port().to_string(), port);
    assert!(read("packaging/classhub.socket").contains(&format!("\nListenStream={port}\n")));
}

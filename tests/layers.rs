//! Keeps the map of the house true: a folder is a floor, and each imports only from floors above it.
//!
//! Owns: the order of the floors, what each may never name, and just enough reading of Rust to find
//! the paths in a source. Refuses to know: what is in a floor, and how long its files are.

use std::{fs, path::Path};

/// From the top down. `lib.rs` and `main.rs` stand below all of them.
const FLOORS: [&str; 7] = ["limits", "base", "wire", "hub", "page", "host", "net"];

/// Who may not name what, though it is above them or from outside, and why.
const NEVER: &[(&str, &[&str], &str)] = &[
    ("base", &["std::time::Instant", "std::time::SystemTime"], "the time comes in as a value"),
    ("wire", &["std::time::Instant", "std::time::SystemTime"], "the time comes in as a value"),
    ("hub", &["std::net", "std::io", "mio", "tungstenite"], "the hub has no socket"),
    ("hub", &["std::time"], "the hub has no clock"),
    ("hub", &["log"], "the hub does not log (its own file of that name is `super::log` or `self::log`)"),
    ("page", &["crate::limits", "crate::base", "crate::wire", "crate::hub"], "the page is files and no more"),
    ("net::conn", &["crate::hub"], "hub and conn meet in server"),
];

#[test]
fn every_floor_imports_only_from_floors_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files, mut wrong) = (vec![root.clone()], 0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of src/ can be read") {
            let path = entry.expect("an entry of src/ can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let file = path.strip_prefix(&root).expect("it was found in src/").to_string_lossy();
                wrong.extend(check(&file, &fs::read_to_string(&path).expect("a source can be read")));
                files += 1;
            }
        }
    }
    assert!(files > FLOORS.len(), "only {files} files were found in {}", root.display());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_check_finds_what_is_wrong() {
    // A file, its source, and what the check has to say of it; nothing where that is empty.
    let cases = [
        ("hub/room.rs", "use crate::wire::Member;\nuse crate::net::Server;", "src/hub/room.rs:2: `crate::net::Server`"),
        ("hub/room.rs", "use crate::{limits, net::{self}};", "src/hub/room.rs:1: `crate::net`"),
        ("hub/room.rs", "fn f() {\n    crate::host::log_it();\n}", "src/hub/room.rs:2: `crate::host::log_it`"),
        ("wire/mod.rs", "use super::hub::Hub;", "`crate::hub::Hub`: `wire` may name only limits, base"),
        ("wire/frame.rs", "use super::super::hub::Hub;", "`crate::hub::Hub`"),
        ("base/now.rs", "use crate::anything;", "`crate::anything`: `base` may name only limits"),
        ("limits.rs", "use crate::base::Now;", "`limits` may name no other floor"),
        ("page/mod.rs", "use crate::limits;", "the page is files"),
        ("cellar/wine.rs", "", "`cellar` is on no floor"),
        ("base/now.rs", "use std::time::{Duration,\n    Instant as I};", "src/base/now.rs:2: `std::time::Instant`"),
        ("wire/frame.rs", "use std::time;", "the time comes in as a value"),
        ("wire/frame.rs", "use std::{collections::HashMap, time::*};", "the time comes in as a value"),
        ("hub/hub.rs", "fn f() { ::log::info!(\"joined\") }", "the hub does not log"),
        ("hub/hub.rs", "use mio;", "the hub has no socket"),
        ("hub/hub.rs", "type A = core::net::IpAddr;", "`std::net::IpAddr`: the hub has no socket"),
        ("net/conn.rs", "use crate::hub::Hub;", "hub and conn meet in server"),
        ("net/conn/half.rs", "use crate::{hub};", "hub and conn meet in server"),
        ("net/conn.rs", "use crate::{limits, host::Config, net::http};", ""),
        ("net/connect.rs", "use crate::hub::Hub;", ""),
        ("hub/hub.rs", "use super::{log::Log, room};\npub(crate) struct A<'a>(&'a Vec<self::log::B>);", ""),
        ("base/now.rs", "use std::time::Duration;", ""),
        ("hub/a.rs", "// crate::net\n/* a /* crate::net */ crate::net */ /// [`crate::net`]", ""),
        ("hub/a.rs", r##"const A: &str = "\"crate::net"; const B: &str = r#""crate::net"#; const C: char = '"';"##, ""),
        ("hub/a.rs", "const A: [char; 2] = ['\\'', '\"']; use crate::net;", "`crate::net`"),
        ("main.rs", "use crate::net::Server;", ""),
    ];
    for (file, source, says) in cases {
        let said = check(file, source).join("\n");
        assert_eq!(said.is_empty(), says.is_empty(), "{file}: {source:?} gave {said:?}");
        assert!(said.contains(says), "{file}: {source:?} gave {said:?}, not {says:?}");
    }
}

/// What is wrong with a file, known by its path under `src/`, a line each.
fn check(file: &str, source: &str) -> Vec<String> {
    let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let own = module.split("::").next().unwrap_or_default();
    if matches!(module.as_str(), "lib" | "main") {
        return Vec::new();
    }
    let Some(above) = FLOORS.iter().position(|floor| *floor == own).map(|at| &FLOORS[..at]) else {
        return vec![format!("src/{file}:1: `{own}` is on no floor; {} are", FLOORS.join(", "))];
    };
    let mut wrong = Vec::new();
    for (line, path) in paths(source) {
        let name = path.join("::");
        let mut say = |rule: &str| wrong.push(format!("src/{file}:{line}: `{name}`: {rule}"));
        let floor = path.get(1).map_or("", String::as_str);
        if path[0] == "crate" && floor != own && !above.contains(&floor) {
            match above {
                [] => say(&format!("`{own}` may name no other floor")),
                _ => say(&format!("`{own}` may name only {}", above.join(", "))),
            }
        }
        for (who, what, why) in NEVER {
            let inside = module == *who || module.starts_with(&format!("{who}::"));
            if inside && what.iter().any(|what| reaches(&path, what)) {
                say(why);
            }
        }
    }
    wrong
}

/// Whether a path leads to, into or past a thing. One that stops before it brings it in under a
/// name that this check would not know, and so counts.
fn reaches(path: &[String], thing: &str) -> bool {
    path.iter().zip(thing.split("::")).all(|(a, b)| a == b || a == "*")
}

/// Every path of a source and its line, groups taken apart: all of a `use`, and whatever else has a `::`.
fn paths(source: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(source);
    let is = |at: usize, what: &str| tokens.get(at).is_some_and(|(_, t)| t == what);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let used = is(at, "use");
        // A leading `::` changes nothing.
        let start = at + usize::from(used) + usize::from(used && is(at + 1, "::"));
        if used || (is_name(&tokens[at].1) && is(at + 1, "::")) {
            at = read_path(&tokens, start, &[], &mut found).max(at + 1);
        } else {
            at += 1;
        }
    }
    for (_, path) in &mut found {
        // `super` reaches another floor from a floor's own file, and twice from a file in it.
        let supers = path.iter().take_while(|name| *name == "super").count();
        if supers > 0 && path.get(supers).is_some_and(|name| FLOORS.contains(&name.as_str())) {
            path.splice(..supers, ["crate".to_string()]);
        }
        if path[0] == "core" {
            path[0] = "std".to_string();
        }
    }
    found
}

/// Reads one path, or the group that ends it, and says where it stopped.
fn read_path(
    tokens: &[(usize, String)],
    mut at: usize,
    before: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = before.to_vec();
    while let Some((line, token)) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|(_, t)| t != "}") {
                at = read_path(tokens, at, &path, found).max(at + 1);
            }
            return at + 1;
        }
        if !is_name(token) && token != "*" {
            break;
        }
        // `a::{self}` is `a`.
        if token != "self" || path.is_empty() {
            path.push(token.clone());
        }
        let on = tokens.get(at + 1).is_some_and(|(_, t)| t == "::")
            && tokens.get(at + 2).is_some_and(|(_, t)| is_name(t) || t == "*" || t == "{");
        if !on {
            found.push((*line, path));
            return at + 1;
        }
        at += 2;
    }
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single marks with their lines; comments, strings and characters are left out.
fn tokens(source: &str) -> Vec<(usize, String)> {
    let (mut rest, mut line, mut out) = (source, 1, Vec::new());
    while let Some(first) = rest.chars().next() {
        let after_quotes = |text: &str, quote: char| {
            let mut escaped = false;
            let end = text.find(|c| {
                let ends = c == quote && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(text.len(), |end| end + 1)
        };
        let raw = rest.trim_start_matches(['b', 'c']).strip_prefix('r').map(|r| (r, r.trim_start_matches('#')));
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            let (mut depth, mut end) = (0, 0);
            while end < rest.len() {
                let here = &rest[end..];
                let step = if here.starts_with("/*") { 1 } else { -i32::from(here.starts_with("*/")) };
                end += if step == 0 { here.chars().next().map_or(1, char::len_utf8) } else { 2 };
                depth += step;
                if depth == 0 {
                    break;
                }
            }
            end
        } else if let Some((hashed, text)) = raw.filter(|(_, text)| text.starts_with('"')) {
            let end = format!("\"{}", "#".repeat(hashed.len() - text.len()));
            let before = rest.len() - text.len() + 1;
            text[1..].find(&end).map_or(rest.len(), |at| before + at + end.len())
        } else if first == '"' {
            1 + after_quotes(&rest[1..], '"')
        } else if first == '\'' && (rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'')) {
            1 + after_quotes(&rest[1..], '\'')
        } else {
            let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
            if !first.is_whitespace() {
                out.push((line, rest[..length].to_string()));
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    out
}

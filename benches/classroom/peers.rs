//! Servers of the same protocol by other means, made ready where somebody asks for them.
//!
//! Owns: fetching and building them (`benches/peers`), all below cargo's folder for such things, and how each is started. Refuses to know: what they
//! are asked. What can't be had is told, and the rest is measured without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::load::Failed;
use crate::servers::Peer;

/// Where their sources lie.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");

/// Makes one ready below this folder.
type Make = fn(&Path) -> Result<Peer, Failed>;

/// All that can be had here; of the others it is said on standard error why not.
pub fn fetch() -> Vec<Peer> {
    let peers: [(&str, Make); 3] = [("bun", bun), ("ws", ws), ("axum", axum)];
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let mut ready = Vec::new();
    for (name, make) in peers {
        eprintln!("making {name} ready");
        match make(&folder) {
            Ok(peer) => ready.push(peer),
            Err(error) => eprintln!("  {name} is left out: {error}"),
        }
    }
    ready
}

/// Bun's own topics do the fan-out; the runtime comes from npm too.
fn bun(folder: &Path) -> Result<Peer, Failed> {
    let folder = install(folder, "bun")?;
    let program = folder.join("node_modules/.bin/bun");
    let version = format!("Bun {}", told(Command::new(&program).arg("--version"))?);
    Ok(Peer { name: "bun", version, words: vec![program, folder.join("server.js")], environment: Vec::new() })
}

fn ws(folder: &Path) -> Result<Peer, Failed> {
    let node = told(Command::new("node").arg("--version"))?;
    let folder = install(folder, "ws")?;
    let package = fs::read_to_string(folder.join("node_modules/ws/package.json"))?;
    let package: serde_json::Value = serde_json::from_str(&package)?;
    let version = format!("ws {} on Node {}", package["version"].as_str().unwrap_or("?"), node.trim_start_matches('v'));
    let words = vec!["node".into(), folder.join("server.js")];
    let environment = vec![("NODE_ENV", PathBuf::from("production"))];
    Ok(Peer { name: "ws", version, words, environment })
}

/// A package of its own, outside the hub's workspace.
fn axum(folder: &Path) -> Result<Peer, Failed> {
    let target = folder.join("axum");
    let manifest = Path::new(SOURCES).join("axum/Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(&manifest).arg("--target-dir").arg(&target);
    told(&mut cargo)?;
    let lock: toml::Table = fs::read_to_string(manifest.with_file_name("Cargo.lock"))?.parse()?;
    let package = |name: &str| {
        let packages = lock.get("package")?.as_array()?;
        let found = packages.iter().find(|package| package.get("name").and_then(|it| it.as_str()) == Some(name))?;
        found.get("version")?.as_str()
    };
    let version = format!("axum {} on tokio {}", package("axum").unwrap_or("?"), package("tokio").unwrap_or("?"));
    Ok(Peer { name: "axum", version, words: vec![target.join("release/classroom-axum")], environment: Vec::new() })
}

/// Copies a peer to where its packages may be installed beside it, and installs them unless they are there already.
fn install(folder: &Path, name: &str) -> Result<PathBuf, Failed> {
    let (from, to) = (Path::new(SOURCES).join(name), folder.join(name));
    fs::create_dir_all(&to)?;
    fs::copy(Path::new(SOURCES).join("rooms.js"), folder.join("rooms.js"))?;
    fs::write(folder.join("package.json"), "{\"type\": \"module\"}\n")?;
    fs::copy(from.join("server.js"), to.join("server.js"))?;
    let (wanted, installed) = (fs::read(from.join("package.json"))?, to.join("package.json"));
    if fs::read(&installed).ok().as_ref() != Some(&wanted) || !to.join("node_modules").exists() {
        fs::write(&installed, &wanted)?;
        let done = told(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&to));
        if done.is_err() {
            // Else the next run would take it for done.
            drop(fs::remove_file(&installed));
        }
        done?;
    }
    Ok(to)
}

/// What a program prints; an error says what it complains of.
fn told(command: &mut Command) -> Result<String, Failed> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = complaint.lines().rev().take(3).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        return Err(format!("{program} failed ({}): {}", output.status, last.join("; ")).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

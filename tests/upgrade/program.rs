//! A program that the hub runs from, in whose place another can be put.
//!
//! Owns: its file. Refuses to know: what the other does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that is the hub's program at first. It is gone when dropped.
pub struct Program(PathBuf);

impl Program {
    pub fn new() -> Program {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("classhub-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let program = Program(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        program.restore();
        program
    }

    pub fn command(&self) -> Command {
        Command::new(&self.0)
    }

    /// As a package does it: not written over, but put in its place.
    pub fn replace_by(&self, bytes: &[u8], mode: &str) {
        let new = self.0.with_extension("new");
        fs::write(new.with_extension("text"), bytes).expect("the folder for tests can be written");
        // By another process, since one that another test starts just now may hold open for writing what we write: nothing runs what is.
        let write = "cp \"$1\" \"$2\" && chmod \"$3\" \"$2\" && mv \"$2\" \"$4\" && rm \"$1\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", write, "sh"]).args([&new.with_extension("text"), &new]).arg(mode).arg(&self.0);
        assert!(shell.status().expect("there is a shell").success());
    }

    /// A program that does this first, in the words of a shell, and is the hub then.
    pub fn replace_by_one_that_first(&self, does: &str) {
        let script = format!("#!/bin/sh\n{does}\nexec {:?} \"$@\"\n", env!("CARGO_BIN_EXE_classhub"));
        self.replace_by(script.as_bytes(), "755");
    }

    /// The hub's program again.
    pub fn restore(&self) {
        let new = self.0.with_extension("new");
        fs::hard_link(env!("CARGO_BIN_EXE_classhub"), &new).expect("it is in the same file system");
        fs::rename(&new, &self.0).expect("the same folder");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

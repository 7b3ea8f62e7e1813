//! What the operator reads while it runs: one line a record, on standard error.
//!
//! Owns: where lines go, what they begin with, and how loud the libraries may be. Refuses to know: what is worth a line, and how often (`net::faults`).
//!
//! Lines have no time and no colour: the journal adds the first, and files have no use for the second. Where standard error is the journal's
//! (`JOURNAL_STREAM`, systemd.exec(5)), the level is a priority that the journal understands (sd-daemon(3)); elsewhere it is a word.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// Libraries below us that log under their own names.
const LIBRARIES: [&str; 2] = ["mio", "tungstenite"];

/// Starts the log at `level`. The libraries stay at `warn` unless `level` is `trace`. A second call
/// changes nothing; [`set_level`] does.
pub fn start(level: LevelFilter) {
    // The logger's own `init` would move the level even where it then fails.
    let logger = ToStderr { levels: LEVELS.map(levels), is_journal: is_journal() };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// Logs as much as `level` says from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// In the order of their numbers.
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::Off,
    LevelFilter::Error,
    LevelFilter::Warn,
    LevelFilter::Info,
    LevelFilter::Debug,
    LevelFilter::Trace,
];

fn levels(level: LevelFilter) -> SimpleLogger {
    let of_libraries = if level == LevelFilter::Trace { level } else { level.min(LevelFilter::Warn) };
    LIBRARIES
        .into_iter()
        .fold(SimpleLogger::new().with_level(level), |logger, library| logger.with_module_level(library, of_libraries))
}

/// Writes a line to standard error, which may be gone: then nobody wants to know. For what is said whatever the log's level.
pub fn say(level: Level, line: &str) {
    let line = if is_journal() { format!("{}{line}\n", priority(level)) } else { format!("{line}\n") };
    let _nobody_reads = std::io::stderr().write_all(line.as_bytes());
}

/// Whether standard error goes to the journal.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    named.is_some_and(|named| is_named(&named, std::io::stderr()))
}

/// Whether this file is the one that is named by its device and inode. A program that was started with the variable may have been given another
/// standard error since.
fn is_named(named: &str, file: impl AsFd) -> bool {
    let file = file.as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    file.is_ok_and(|metadata| named == format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// What a line begins with by which the journal knows how much it matters.
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// A record as a line. The journal knows who writes; a library of ours it does not.
fn line(record: &Record<'_>, is_journal: bool) -> String {
    let (level, target, says) = (record.level(), record.target(), record.args());
    let is_own = target.starts_with("classhub") && level <= Level::Info;
    match is_journal {
        true if is_own => format!("{}{says}\n", priority(level)),
        true => format!("{}[{target}] {says}\n", priority(level)),
        false => format!("{level:<5} [{target}] {says}\n"),
    }
}

/// `SimpleLogger` decides what is said. It would say it with `eprintln!`, which panics once nobody
/// reads standard error any more (the terminal was closed, the pager was left): a hub must not end
/// in the middle of a lesson for want of a reader.
struct ToStderr {
    /// One for each level that the log may have.
    levels: [SimpleLogger; LEVELS.len()],
    is_journal: bool,
}

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels[log::max_level() as usize].enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // One write a line, so that lines of two processes do not mix.
            let _nobody_reads = std::io::stderr().write_all(line(record, self.is_journal).as_bytes());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(level: LevelFilter, target: &str, record: Level) -> bool {
        levels(level).enabled(&Metadata::builder().target(target).level(record).build())
    }

    #[test]
    fn a_line_has_a_word_or_a_priority() {
        for (level, target, plain, journal) in [
            (Level::Error, "classhub::net", "ERROR [classhub::net] hello\n", "<3>hello\n"),
            (Level::Warn, "classhub", "WARN  [classhub] hello\n", "<4>hello\n"),
            (Level::Info, "classhub::net", "INFO  [classhub::net] hello\n", "<6>hello\n"),
            (Level::Debug, "classhub::net", "DEBUG [classhub::net] hello\n", "<7>[classhub::net] hello\n"),
            (Level::Trace, "mio::poll", "TRACE [mio::poll] hello\n", "<7>[mio::poll] hello\n"),
            (Level::Warn, "mio::poll", "WARN  [mio::poll] hello\n", "<4>[mio::poll] hello\n"),
        ] {
            let says = |is_journal| {
                line(&Record::builder().level(level).target(target).args(format_args!("hello")).build(), is_journal)
            };
            assert_eq!((&*says(false), &*says(true)), (plain, journal));
        }
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let metadata = File::from(writer.as_fd().try_clone_to_owned().unwrap()).metadata().unwrap();
        let (device, inode) = (metadata.dev(), metadata.ino());
        assert!(is_named(&format!("{device}:{inode}"), &writer));
        let others =
            [format!("{device}:{}", inode + 1), format!("{}:{inode}", device + 1), format!("{device}"), String::new()];
        assert!(others.iter().all(|other| !is_named(other, &writer)), "{others:?}");
    }

    #[test]
    fn a_second_start_is_harmless_and_changes_nothing() {
        start(LevelFilter::Warn);
        let first = log::max_level();
        start(LevelFilter::Trace);
        assert_eq!(log::max_level(), first);
    }

    #[test]
    fn each_level_is_found_by_its_number() {
        for (number, level) in LEVELS.into_iter().enumerate() {
            assert_eq!(level as usize, number);
        }
        assert_eq!(LevelFilter::iter().count(), LEVELS.len());
    }

    #[test]
    fn our_own_lines_follow_the_level() {
        assert!(says(LevelFilter::Info, "classhub::net", Level::Info));
        assert!(!says(LevelFilter::Info, "classhub::net", Level::Debug));
        assert!(!says(LevelFilter::Off, "classhub", Level::Error));
    }

    #[test]
    fn libraries_are_heard_from_warn_on_or_at_trace() {
        for library in ["mio::poll", "tungstenite::protocol"] {
            assert!(says(LevelFilter::Debug, library, Level::Warn));
            assert!(!says(LevelFilter::Debug, library, Level::Info));
            assert!(says(LevelFilter::Trace, library, Level::Trace));
            assert!(!says(LevelFilter::Error, library, Level::Warn));
            assert!(!says(LevelFilter::Off, library, Level::Error));
        }
    }
}

//! What the operator reads while it runs: one line a record, on standard error.
//!
//! Owns: where lines go and how loud the libraries may be. Refuses to know: what is worth a line.
//!
//! Lines have no time and no colour: the journal adds the first, and files have no use for the second.

use std::io::Write as _;

use log::{LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// Libraries below us that log under their own names.
const LIBRARIES: [&str; 2] = ["mio", "tungstenite"];

/// Starts the log at `level`. The libraries stay at `warn` unless `level` is `trace`. A second call
/// changes nothing.
pub fn start(level: LevelFilter) {
    // The logger's own `init` would move the level even where it then fails.
    if log::set_boxed_logger(Box::new(ToStderr(levels(level)))).is_ok() {
        log::set_max_level(level);
    }
}

fn levels(level: LevelFilter) -> SimpleLogger {
    let of_libraries = if level == LevelFilter::Trace { level } else { level.min(LevelFilter::Warn) };
    LIBRARIES
        .into_iter()
        .fold(SimpleLogger::new().with_level(level), |logger, library| logger.with_module_level(library, of_libraries))
}

/// `SimpleLogger` decides what is said. It would say it with `eprintln!`, which panics once nobody
/// reads standard error any more (the terminal was closed, the pager was left): a hub must not end
/// in the middle of a lesson for want of a reader.
struct ToStderr(SimpleLogger);

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // One write a line, so that lines of two processes do not mix.
            let line = format!("{:<5} [{}] {}\n", record.level(), record.target(), record.args());
            let _nobody_reads = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn says(level: LevelFilter, target: &str, record: Level) -> bool {
        ToStderr(levels(level)).enabled(&Metadata::builder().target(target).level(record).build())
    }

    #[test]
    fn a_second_start_is_harmless_and_changes_nothing() {
        start(LevelFilter::Warn);
        let first = log::max_level();
        start(LevelFilter::Trace);
        assert_eq!(log::max_level(), first);
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

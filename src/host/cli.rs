//! What was typed: commands and flags.
//!
//! Owns: their names, the help, and which of them wins over the file. Refuses to know: what the
//! commands do (`main`), and what is in the file (`config`).

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use log::LevelFilter;

use super::config::{Config, ConfigError, parse_level, parse_listen};

/// What `classhub --help` prints.
pub const HELP: &str = "\
classhub: the hub of a classroom, for a small board on the local network.

It serves the classroom page and connects everybody in it: rooms, talk and
attendance over WebSocket. Without any flags or file it listens on port 9000 and
makes a room when somebody joins one. Stop it with Ctrl-C.

Usage:
  classhub [serve] [flags]   run the hub (what happens without a command)
  classhub check [flags]     print every setting, where it comes from, and the
                             most memory that the hub can use; run nothing
  classhub --help            print this
  classhub --version         print the version

Flags:
  --config FILE    read the settings in FILE, which is TOML; every key is optional,
                   and `classhub check` prints them all
  --listen ADDR    listen on ADDR, an IP address and a port, in place of what the
                   file says; can be given several times
  --log LEVEL      off, error, warn, info, debug or trace; the default is info

Examples:
  classhub
  classhub --listen 0.0.0.0:8080 --log warn
  classhub check --config /etc/classhub.toml

Exit codes:
  0  it ended as it was asked to, or the settings are right
  1  the settings are wrong, or the hub could not start or go on
  2  the command line is wrong
";

/// Commands of the design that this version does not have.
const LATER: [&str; 3] = ["token", "cert", "status"];

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the hub.
    Serve(Options),
    /// Print the settings.
    Check(Options),
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// The flags of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The file to read, if any.
    pub config: Option<PathBuf>,
    /// Where to listen; empty leaves that to the file.
    pub listen: Vec<SocketAddr>,
    /// How much to log; none leaves that to the file.
    pub log: Option<LevelFilter>,
}

impl Options {
    /// The configuration: the defaults, over them the file, and over that the flags.
    ///
    /// # Errors
    /// If the file is wrong, or an address is given twice.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if !self.listen.is_empty() {
            config.set_listen(self.listen.clone(), "--listen")?;
        }
        if let Some(log) = self.log {
            config.set_log(log, "--log");
        }
        Ok(config)
    }
}

/// Why a command line cannot be understood. Displayed as one line that points to the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; see classhub --help", self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> UsageError {
        UsageError(match error {
            lexopt::Error::MissingValue { option: Some(option) } => format!("{option} needs a value"),
            lexopt::Error::UnexpectedValue { option, value } => format!("{option} takes no value such as {value:?}"),
            lexopt::Error::UnexpectedOption(option) => format!("there is no flag {option}"),
            lexopt::Error::NonUnicodeValue(value) => format!("{value:?} is not UTF-8"),
            error => error.to_string(),
        })
    }
}

/// Reads the arguments, without the program's own name.
///
/// # Errors
/// If a command or flag is not known or not understood.
pub fn parse<I>(args: I) -> Result<Command, UsageError>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut parser = Parser::from_args(args);
    let mut command: Option<fn(Options) -> Command> = None;
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Long("config") => {
                let path = value(&mut parser, "--config")?;
                once("--config", options.config.replace(path.into()))?;
            }
            Arg::Long("listen") => options.listen.push(read(&mut parser, "--listen", parse_listen)?),
            Arg::Long("log") => {
                let level = read(&mut parser, "--log", parse_level)?;
                once("--log", options.log.replace(level))?;
            }
            Arg::Value(name) if command.is_none() => match name.to_str() {
                Some("serve") => command = Some(Command::Serve),
                Some("check") => command = Some(Command::Check),
                Some("help") => return Ok(Command::Help),
                Some("version") => return Ok(Command::Version),
                Some(later) if LATER.contains(&later) => {
                    return Err(UsageError(format!("the command {later} is not in this version yet")));
                }
                _ => return Err(UsageError(format!("there is no command {name:?}"))),
            },
            Arg::Value(extra) => return Err(UsageError(format!("{extra:?} is one argument too many"))),
            flag @ (Arg::Long(_) | Arg::Short(_)) => return Err(flag.unexpected().into()),
        }
    }
    Ok(command.unwrap_or(Command::Serve)(options))
}

/// The value of a flag. An empty one is a shell variable that nobody set.
fn value(parser: &mut Parser, flag: &str) -> Result<OsString, UsageError> {
    let value = parser.value()?;
    if value.is_empty() { Err(UsageError(format!("{flag} needs a value"))) } else { Ok(value) }
}

fn read<T>(parser: &mut Parser, flag: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, UsageError> {
    let value = value(parser, flag)?;
    let text = value.to_str().ok_or_else(|| UsageError(format!("{flag}: {value:?} is not UTF-8")))?;
    read(text).map_err(|says| UsageError(format!("{flag}: {says}")))
}

/// Two files, or two levels, are a mistake that would otherwise go unnoticed.
fn once<T>(flag: &str, earlier: Option<T>) -> Result<(), UsageError> {
    if earlier.is_some() { Err(UsageError(format!("{flag} can be given only once"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::config::Source;
    use super::*;

    fn typed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace()).map_err(|error| error.to_string())
    }

    fn options(line: &str) -> Options {
        match typed(line).unwrap() {
            Command::Serve(options) | Command::Check(options) => options,
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn without_a_command_it_serves() {
        assert_eq!(typed(""), Ok(Command::Serve(Options::default())));
        assert_eq!(typed("serve"), Ok(Command::Serve(Options::default())));
        assert_eq!(typed("check"), Ok(Command::Check(Options::default())));
    }

    #[test]
    fn help_and_version_have_the_usual_forms() {
        for line in ["--help", "-h", "help", "serve --help", "--log info -h", "help check"] {
            assert_eq!(typed(line), Ok(Command::Help), "{line}");
        }
        for line in ["--version", "-V", "version"] {
            assert_eq!(typed(line), Ok(Command::Version), "{line}");
        }
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        let expected = Options {
            config: Some("a.toml".into()),
            listen: vec!["[::]:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
            log: Some(LevelFilter::Debug),
        };
        for line in [
            "--config a.toml --listen [::]:1 --listen 127.0.0.1:2 --log debug",
            "serve --config=a.toml --listen=[::]:1 --listen=127.0.0.1:2 --log=debug",
            "--log debug --listen [::]:1 check --config a.toml --listen 127.0.0.1:2",
        ] {
            assert_eq!(options(line), expected, "{line}");
        }
    }

    #[test]
    fn a_mistake_names_itself_and_points_to_the_help() {
        for (line, says) in [
            ("sevre", "there is no command \"sevre\""),
            ("serve check", "\"check\" is one argument too many"),
            ("--port 9000", "there is no flag --port"),
            ("-p", "there is no flag -p"),
            ("--config", "--config needs a value"),
            ("--config=", "--config needs a value"),
            ("--config a --config b", "--config can be given only once"),
            ("--log info --log warn", "--log can be given only once"),
            ("--log loud", "--log: \"loud\" is none of off, error, warn, info, debug, trace"),
            ("--listen 9000", "--listen: \"9000\" is no address to listen on"),
            ("token", "the command token is not in this version yet"),
            ("cert --out x", "the command cert is not in this version yet"),
            ("status", "the command status is not in this version yet"),
        ] {
            let error = typed(line).unwrap_err();
            assert!(error.starts_with(says) && error.ends_with("; see classhub --help"), "{line:?} says {error:?}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let path = std::env::temp_dir().join(format!("classhub-cli-{}.toml", std::process::id()));
        std::fs::write(&path, "listen = [\"[::]:7\"]\nlog = \"error\"\nlimits.rooms = 9\n").unwrap();
        let file = Options { config: Some(path.clone()), ..Options::default() };
        let flags = Options { config: Some(path.clone()), ..options("--listen [::]:8 --log trace") };
        let (of_file, of_flags) = (file.load().unwrap(), flags.load().unwrap());
        std::fs::remove_file(&path).unwrap();

        assert_eq!((of_file.listen[0].port(), of_file.log), (7, LevelFilter::Error));
        assert_eq!((of_flags.listen[0].port(), of_flags.log), (8, LevelFilter::Trace));
        assert_eq!(
            (of_flags.source("listen"), of_flags.source("log")),
            (Source::Flag("--listen"), Source::Flag("--log"))
        );
        assert_eq!(of_flags.hub.rooms, 9);
        assert_eq!(Options::default().load().unwrap(), Config::default());
    }

    #[test]
    fn the_help_names_every_command_and_flag_and_fits_a_terminal() {
        for word in ["serve", "check", "--config", "--listen", "--log", "--help", "--version"] {
            assert!(HELP.contains(word), "{word}");
        }
        assert!(HELP.lines().all(|line| line.len() <= 84));
    }
}

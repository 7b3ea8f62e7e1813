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
use crate::limits;

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
  classhub token --config FILE --sub ID [--room NUMBER]... [--owner] [--ttl TIME]
                             print a token for whoever is to join as ID
  classhub status [--addr ADDR]
                             print how a running hub is doing: who is there, what is
                             said, what was refused; takes a second
  classhub cert --out DIR    make what TLS needs, in the folder DIR: an authority
                             for the devices to trust, a certificate that it signs
                             for this machine's names and addresses, and its key;
                             with the authority there already, a new certificate
  classhub --help            print this
  classhub --version         print the version

Flags:
  --config FILE    read the settings in FILE, which is TOML; every key is optional,
                   and `classhub check` prints them all
  --listen ADDR    listen on ADDR, an IP address and a port, in place of what the
                   file says; can be given several times
  --log LEVEL      off, error, warn, info, debug or trace; the default is info

Flags of token, whose secret FILE names as auth.secret_file:
  --sub ID         the only id that the token lets in
  --room NUMBER    a room that it is for, all rooms without it; can be given several
                   times
  --owner          whoever shows it owns these rooms
  --ttl TIME       how long it is good, such as 45s, 30m, 8h (the default) or 90d;
                   none is for ever, and for boards without a clock
Flags of status, which without any asks at 127.0.0.1:9000:
  --addr ADDR      where the hub is, an IP address and a port
  --config FILE    the settings that it was started with, which say where it is
Flags of cert:
  --out DIR        the folder, which is made where it is missing; no file is ever
                   overwritten
  --name NAME      another name or address of this machine, such as the one that the
                   school's network knows it by; can be given several times

Examples:
  classhub
  classhub --listen 0.0.0.0:8080 --log warn
  classhub check --config /etc/classhub.toml
  classhub token --config /etc/classhub.toml --sub T01 --owner --ttl 90d
  classhub status --addr 127.0.0.1:8080
  classhub cert --out /etc/classhub/tls --name hub.school.lan

Exit codes:
  0  it ended as it was asked to, or the settings are right
  1  the settings are wrong, the hub could not start or go on, or none is running
     where status asks
  2  the command line is wrong
";

/// How long a token is good where nobody says: a school day.
const TTL_S: u64 = 8 * 3600;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the hub.
    Serve(Options),
    /// Print the settings.
    Check(Options),
    /// Print a token.
    Token(TokenOptions),
    /// Tell how a running hub is doing.
    Status {
        /// Where it is.
        addr: Option<SocketAddr>,
        /// The file that it was started with; not both.
        config: Option<PathBuf>,
    },
    /// Make certificates.
    Cert {
        /// The folder to put them into.
        out: PathBuf,
        /// Names of the machine beside those that it knows.
        names: Vec<String>,
    },
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

/// What a token is to say, and who signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// The configuration that names the secret.
    pub config: PathBuf,
    /// The only id that it is for.
    pub sub: String,
    /// The only rooms that it is for; empty is all.
    pub rooms: Vec<String>,
    /// Whether it makes its bearer their owner.
    pub owner: bool,
    /// How long it is good, in seconds; `None` is for ever.
    pub ttl_s: Option<u64>,
}

impl Options {
    /// The configuration: the defaults, over them the file, and over that the flags.
    ///
    /// # Errors
    /// If the file is wrong, or an address is given twice.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.over(match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        })
    }

    /// The same, with the file as it is now, for a hub that runs; `None` where there is no file.
    pub fn load_again(&self) -> Option<Result<Config, ConfigError>> {
        let config = Config::read_again(self.config.as_deref()?);
        Some(config.and_then(|config| self.over(config)))
    }

    fn over(&self, mut config: Config) -> Result<Config, ConfigError> {
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
    let mut command: Option<Verb> = None;
    let mut options = Options::default();
    let mut claims = TokenFlags::default();
    let mut addr = None;
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
            Arg::Long("addr") => {
                let of_hub = read(&mut parser, "--addr", parse_addr)?;
                once("--addr", addr.replace(of_hub))?;
            }
            Arg::Long("sub") => {
                let sub = read(&mut parser, "--sub", parse_id)?;
                once("--sub", claims.sub.replace(sub))?;
            }
            Arg::Long("room") => claims.rooms.push(read(&mut parser, "--room", parse_id)?),
            Arg::Long("owner") => claims.owner = true,
            Arg::Long("ttl") => {
                let ttl_s = read(&mut parser, "--ttl", parse_ttl)?;
                once("--ttl", claims.ttl_s.replace(ttl_s))?;
            }
            Arg::Value(name) if command.is_none() => match name.to_str() {
                Some("serve") => command = Some(Verb::Serve),
                Some("check") => command = Some(Verb::Check),
                Some("token") => command = Some(Verb::Token),
                Some("status") => command = Some(Verb::Status),
                Some("cert") if options == Options::default() => return cert(&mut parser),
                Some("help") => return Ok(Command::Help),
                Some("version") => return Ok(Command::Version),
                _ => return Err(UsageError(format!("there is no command {name:?}"))),
            },
            Arg::Value(extra) => return Err(UsageError(format!("{extra:?} is one argument too many"))),
            flag @ (Arg::Long(_) | Arg::Short(_)) => return Err(flag.unexpected().into()),
        }
    }
    let verb = command.unwrap_or(Verb::Serve);
    if addr.is_some() && verb != Verb::Status {
        return Err(UsageError("--addr goes with the command status".to_owned()));
    }
    match verb {
        Verb::Token => claims.with(options).map(Command::Token),
        _ if claims != TokenFlags::default() => {
            Err(UsageError("--sub, --room, --owner and --ttl go with the command token".to_owned()))
        }
        Verb::Status if !options.listen.is_empty() || options.log.is_some() => {
            Err(UsageError("--listen and --log do not go with the command status".to_owned()))
        }
        Verb::Status if addr.is_some() && options.config.is_some() => {
            Err(UsageError("--addr and --config each say where the hub is: one of them will do".to_owned()))
        }
        Verb::Status => Ok(Command::Status { addr, config: options.config }),
        Verb::Serve => Ok(Command::Serve(options)),
        Verb::Check => Ok(Command::Check(options)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Serve,
    Check,
    Token,
    Status,
}

/// What was typed for a token.
#[derive(Default, PartialEq)]
struct TokenFlags {
    sub: Option<String>,
    rooms: Vec<String>,
    owner: bool,
    ttl_s: Option<Option<u64>>,
}

impl TokenFlags {
    fn with(self, options: Options) -> Result<TokenOptions, UsageError> {
        let missing = |flag| UsageError(format!("a token needs {flag}"));
        if !options.listen.is_empty() || options.log.is_some() {
            return Err(UsageError("--listen and --log do not go with the command token".to_owned()));
        }
        Ok(TokenOptions {
            config: options.config.ok_or_else(|| missing("--config FILE, which names the secret"))?,
            sub: self.sub.ok_or_else(|| missing("--sub ID, whom it is for"))?,
            rooms: self.rooms,
            owner: self.owner,
            ttl_s: self.ttl_s.unwrap_or(Some(TTL_S)),
        })
    }
}

/// Where a hub is.
fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    let says =
        |_| format!("{text:?} is no address of a hub, which is an IP address and a port, such as 127.0.0.1:9000");
    text.parse().map_err(says)
}

/// An id or a room's number, as a join may have it.
fn parse_id(text: &str) -> Result<String, String> {
    if text.len() <= limits::ID_BYTES {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is {} bytes long; at most {} fit", text.len(), limits::ID_BYTES))
}

/// How long a token is good, in seconds.
fn parse_ttl(text: &str) -> Result<Option<u64>, String> {
    if text == "none" {
        return Ok(None);
    }
    let seconds = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)].into_iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?;
        // A number of 32 bits is some thousand years at most, even of days.
        number.bytes().all(|b| b.is_ascii_digit()).then(|| Some(u64::from(number.parse::<u32>().ok()?) * seconds))?
    });
    let says = || format!("{text:?} is no time such as 45s, 30m, 8h or 90d, nor none");
    seconds.filter(|seconds| *seconds > 0).map(Some).ok_or_else(says)
}

/// The rest of a command line that begins with `cert`, which needs no configuration.
fn cert(parser: &mut Parser) -> Result<Command, UsageError> {
    if !cfg!(feature = "tls") {
        return Err(UsageError(
            "this classhub was built without TLS (its feature `tls`), and makes no certificates".to_owned(),
        ));
    }
    let (mut out, mut names) = (None, Vec::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("out") => {
                let path = value(parser, "--out")?;
                once("--out", out.replace(path.into()))?;
            }
            Arg::Long("name") => names.push(read(parser, "--name", |name| Ok(name.to_owned()))?),
            Arg::Value(extra) => return Err(UsageError(format!("{extra:?} is one argument too many"))),
            flag @ (Arg::Long(_) | Arg::Short(_)) => return Err(flag.unexpected().into()),
        }
    }
    let out = out.ok_or_else(|| UsageError("cert needs --out and a folder for the files".to_owned()))?;
    Ok(Command::Cert { out, names })
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
            ("token", "a token needs --config FILE"),
            ("token --config x", "a token needs --sub ID"),
            ("token --config x --sub=", "--sub needs a value"),
            ("token --config x --sub a --sub b", "--sub can be given only once"),
            ("token --config x --sub a --ttl 1h --ttl none", "--ttl can be given only once"),
            ("token --config x --sub a --log info", "--listen and --log do not go with the command token"),
            ("token --config x --sub a --owner=yes", "--owner takes no value such as \"yes\""),
            ("check --owner", "--sub, --room, --owner and --ttl go with the command token"),
            ("--ttl none", "--sub, --room, --owner and --ttl go with the command token"),
            (
                "cert",
                if cfg!(feature = "tls") {
                    "cert needs --out and a folder"
                } else {
                    "this classhub was built without TLS"
                },
            ),
            ("status --addr 9000", "--addr: \"9000\" is no address of a hub"),
            ("status --addr localhost:9000", "--addr: \"localhost:9000\" is no address of a hub"),
            ("status --addr 127.0.0.1:1 --addr 127.0.0.1:2", "--addr can be given only once"),
            ("status --addr 127.0.0.1:1 --config a", "--addr and --config each say where the hub is"),
            ("status --log info", "--listen and --log do not go with the command status"),
            ("status --owner", "--sub, --room, --owner and --ttl go with the command token"),
            ("check --addr 127.0.0.1:1", "--addr goes with the command status"),
        ] {
            let error = typed(line).unwrap_err();
            assert!(error.starts_with(says) && error.ends_with("; see classhub --help"), "{line:?} says {error:?}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn status_asks_where_it_is_told() {
        let status = |addr: Option<&str>, config: Option<&str>| {
            Ok(Command::Status { addr: addr.map(|addr| addr.parse().unwrap()), config: config.map(Into::into) })
        };
        assert_eq!(typed("status"), status(None, None));
        assert_eq!(typed("status --addr [::1]:80"), status(Some("[::1]:80"), None));
        assert_eq!(typed("--config a.toml status"), status(None, Some("a.toml")));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_need_a_folder_and_may_have_names() {
        let cert = |names: &[&str]| {
            Ok(Command::Cert { out: "a".into(), names: names.iter().map(|name| (*name).to_owned()).collect() })
        };
        assert_eq!(typed("cert --out a"), cert(&[]));
        assert_eq!(typed("cert --name b --out=a --name c.local"), cert(&["b", "c.local"]));
        assert_eq!(typed("cert --help"), Ok(Command::Help));
        for (line, says) in [
            ("cert --out", "--out needs a value"),
            ("cert --out a --out b", "--out can be given only once"),
            ("cert --out a --config b", "there is no flag --config"),
            ("cert --out a b", "\"b\" is one argument too many"),
            ("--log info cert --out a", "there is no command \"cert\""),
            ("serve --out a", "there is no flag --out"),
        ] {
            let error = typed(line).unwrap_err();
            assert!(error.starts_with(says), "{line:?} says {error:?}");
        }
    }

    #[test]
    fn a_token_says_what_it_is_told_and_is_good_for_a_school_day() {
        let token = |line: &str| match typed(&format!("token --config a.toml {line}")) {
            Ok(Command::Token(options)) => Ok(options),
            Ok(command) => panic!("{command:?}"),
            Err(error) => Err(error),
        };
        let plain = TokenOptions {
            config: "a.toml".into(),
            sub: "T01".into(),
            rooms: Vec::new(),
            owner: false,
            ttl_s: Some(28_800),
        };
        assert_eq!(token("--sub T01"), Ok(plain.clone()));
        let rooms = vec!["E1".to_owned(), "E2".to_owned()];
        let full = TokenOptions { rooms, owner: true, ttl_s: None, ..plain };
        assert_eq!(token("--sub=T01 --room E1 --owner --room E2 --ttl none"), Ok(full));
        for (text, seconds) in
            [("1s", 1), ("090s", 90), ("30m", 1800), ("8h", 28_800), ("4294967295d", 4_294_967_295 * 86_400)]
        {
            assert_eq!(token(&format!("--sub a --ttl {text}")).unwrap().ttl_s, Some(seconds));
        }
        for text in ["8", "h", "0s", "-1h", "+1h", "1.5h", "8H", "8 h", "1w", "never", "None", "4294967296s", "８h"] {
            let error = parse_ttl(text).unwrap_err();
            assert!(error.contains("no time such as") && error.starts_with(&format!("{text:?}")), "{error}");
        }
        let longest = "x".repeat(64);
        assert_eq!(token(&format!("--sub {longest} --room {longest}")).unwrap().sub, longest);
        for flag in ["--sub", "--room"] {
            let error = token(&format!("--sub a {flag} {longest}x")).unwrap_err();
            assert!(error.starts_with(flag) && error.contains("is 65 bytes long; at most 64 fit"), "{error}");
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
        for word in ["token", "--sub", "--room", "--owner", "--ttl", "status", "--addr"] {
            assert!(HELP.contains(word), "{word}");
        }
        for word in
            ["serve", "check", "cert", "--config", "--listen", "--log", "--out", "--name", "--help", "--version"]
        {
            assert!(HELP.contains(word), "{word}");
        }
        assert!(HELP.lines().all(|line| line.len() <= 84));
    }
}

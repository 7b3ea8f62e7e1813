//! Tests of the configuration as a whole: what is right, what is wrong and says so, and what reads back.

use std::path::Path;

use log::LevelFilter;
use proptest::prelude::*;

use super::*;
use crate::hub::TokenKey;
use crate::limits::Limit;

fn read(text: &str) -> Config {
    Config::from_toml(text).unwrap_or_else(|error| panic!("{text:?} says {error}"))
}

fn refusal(text: &str) -> String {
    Config::from_toml(text).expect_err(text).to_string()
}

/// A file that says `path = value`.
fn file_with(path: &str, value: impl std::fmt::Display) -> String {
    match path.split_once('.') {
        Some((table, name)) => format!("[{table}]\n{name} = {value}\n"),
        None => format!("{path} = {value}\n"),
    }
}

/// What other keys must be for any legal value of `path` to be legal.
fn room_for(path: &str) -> &'static str {
    match path {
        "limits.message_bytes" => "room_log_bytes = 67108864\nbytes_burst = 1073741824\n",
        "limits.room_log_bytes" | "limits.bytes_burst" => "message_bytes = 1024\n",
        _ => "",
    }
}

/// A value as the report has it.
fn shown(config: &Config, path: &str) -> String {
    keys::find(path).unwrap().show(config).unwrap()
}

fn numeric_keys() -> impl Iterator<Item = (&'static str, Limit)> {
    keys::KEYS.iter().filter_map(|key| Some((key.path, key.limit()?)))
}

#[test]
fn without_a_file_everything_is_as_the_limits_say() {
    let config = Config::default();
    assert_eq!(config, read(""));
    for (path, limit) in numeric_keys() {
        assert_eq!(shown(&config, path), limit.default.to_string(), "{path}");
        assert_eq!(config.source(path), Source::Default);
    }
    assert_eq!(config.listen, ["[::]:9000".parse().unwrap()]);
    assert!(config.listen_is_default());
    assert_eq!(config.log, LevelFilter::Info);
    assert!(config.allowed_origins.is_empty() && config.names.is_empty() && config.secret_file.is_none());
    assert_eq!(config.hub, Settings::default());
}

#[test]
fn every_number_is_legal_from_its_minimum_to_its_maximum() {
    assert_eq!(numeric_keys().count(), 18);
    for (path, Limit { min, max, .. }) in numeric_keys() {
        for value in [min, max] {
            let config = read(&(file_with(path, value) + room_for(path)));
            assert_eq!(shown(&config, path), value.to_string(), "{path}");
            assert_eq!(config.source(path), Source::Line(2));
        }
        for value in [i64::from(min) - 1, i64::from(max) + 1, i64::MIN, i64::MAX] {
            let says = format!("{path} (line 2): {value} is outside {min} to {max}");
            assert_eq!(refusal(&(file_with(path, value) + room_for(path))), says);
        }
    }
}

#[test]
fn a_number_may_be_written_as_toml_writes_numbers() {
    assert_eq!(read("limits.message_bytes = 0x2000").message_bytes, 8192);
    assert_eq!(read("limits.message_bytes = 8_192").message_bytes, 8192);
    assert_eq!(read("limits = { message_bytes = +8192 }").message_bytes, 8192);
    let says = refusal("limits.rooms = 99999999999999999999999999999999999999999999999999999");
    assert_eq!(says, format!("limits.rooms (line 1): {}… is outside 1 to 1024", "9".repeat(48)));
    // Where there is an underscore, the library takes for a number whatever stands there.
    for (number, named) in [("8_192k", r#""8192k""#), ("8_192\u{1b}c\u{0}", r#""8192\u{1b}c\0""#)] {
        let says = refusal(&format!("limits.message_bytes = {number}"));
        let expected = "a whole number from 1024 to 1048576 is expected here, not";
        assert_eq!(says, format!("limits.message_bytes (line 1): {expected} {named}"));
    }
}

#[test]
fn every_other_key_is_read() {
    let config = read(
        "listen = [\"127.0.0.1:80\", \"[::1]:81\"]\nlog = \"debug\"\n[rooms]\nauto_create = false\n\
         [http]\nallowed_origins = [\n  \"http://Board:80\",\n]\nnames = [\"School.Example.\"]\n",
    );
    assert_eq!(config.listen, ["127.0.0.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()]);
    assert!(!config.listen_is_default());
    assert_eq!(config.log, LevelFilter::Debug);
    assert!(!config.hub.auto_create);
    assert_eq!(config.allowed_origins, ["http://board"]);
    assert_eq!(config.names, ["school.example"]);
    assert_eq!(config.source("http.allowed_origins"), Source::Line(6));
}

#[test]
fn every_mistake_names_key_and_line() {
    for (text, says) in [
        // Kinds of values.
        (
            "[limits]\n\nrooms = \"9\"",
            "limits.rooms (line 3): a whole number from 1 to 1024 is expected here, not text",
        ),
        (
            "[limits]\nrooms = 1.5",
            "limits.rooms (line 2): a whole number from 1 to 1024 is expected here, not a number w",
        ),
        ("log = 3", "log (line 1): text in quotes is expected here, not a number"),
        ("log = \"loud\"", "log (line 1): \"loud\" is none of off, error, warn, info, debug, trace"),
        ("[rooms]\nauto_create = 1", "rooms.auto_create (line 2): true or false is expected here, not a number"),
        ("listen = \"[::]:9000\"", "listen (line 1): a list of texts, [\"…\"], is expected here, not text"),
        ("listen = []", "listen (line 1): at least one address is needed"),
        ("listen = [9000]", "listen (line 1): text in quotes is expected here, not a number"),
        ("listen = [\n\"[::]:9000\",\n\"9000\"]", "listen (line 3): \"9000\" is no address to listen on"),
        ("\nlisten = [\"[::]:1\", \"[::]:1\"]", "listen (line 2): \"[::]:1\" is there twice"),
        ("[http]\nallowed_origins = [\n\n\"board\"]", "http.allowed_origins (line 4): \"board\" is no origin"),
        ("limits = 3", "limits (line 1): a table, [limits], is expected here, not a number"),
        ("[http]\nnames = [\n\n\"http://board\"]", "http.names (line 4): \"http://board\" is no name of a host"),
        ("\n[auth]\nsecret_file = \"\"", "auth.secret_file (line 3): it must name a file"),
        ("[auth]\nsecret_file = 7", "auth.secret_file (line 2): text in quotes is expected here, not a number"),
        (
            "[auth]\nsecret_file = \"/nowhere/secret\"",
            "auth.secret_file (line 2): \"/nowhere/secret\" cannot be read: No such file",
        ),
        ("[auth]\nsecret = \"x\"", "auth.secret (line 2): there is no such key; here are known: secret_file"),
        ("[[limits]]\nrooms = 3", "limits (line 1): there is one such table, so it is written [limits] with single"),
        // Keys and tables that are not there.
        ("port = 9000", "port (line 1): there is no such key; here are known: listen, log"),
        (
            "\n[limit]\nrooms = 3",
            "[limit] (line 2): there is no such table; there are [heartbeat], [limits], [rooms], [au",
        ),
        (
            "[heartbeat]\nevery = 3",
            "heartbeat.every (line 2): there is no such key; here are known: interval_s, grace_s",
        ),
        ("[rooms]\nburst = 3", "rooms.burst (line 2): it belongs in [limits]"),
        ("[rooms]\nlog = \"off\"", "rooms.log (line 2): it belongs at the top of the file, above the first [table]"),
        ("rooms.limits.rooms = 3", "rooms.limits (line 1): there is no such key"),
        ("\"limits.rooms\" = 3", "\"limits.rooms\" (line 1): there is no such key"),
        ("\"a\\nb\" = 3", "\"a\\nb\" (line 1): there is no such key"),
        ("\"\" = 3", "\"\" (line 1): there is no such key"),
        // What later versions have.
        #[cfg(not(feature = "tls"))]
        ("[tls]", "[tls] (line 1): this classhub was built without TLS (its feature `tls`); take the table out"),
        ("[[encryption]]", "encryption (line 1): there is one such table"),
        ("[http]\nmetrics = \"Any\"", "http.metrics (line 2): \"Any\" is none of loopback, any, off"),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(says), "{text:?} says {error:?}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn tls_needs_a_certificate_and_its_key() {
    assert!(!read("[tls]").has_tls());
    assert!(!read("[tls]\nlisten = [\"[::]:9443\"]\ncert = \"\"\nkey = \"\"").has_tls());
    let config = read("[tls]\nlisten = [\"127.0.0.1:443\"]\ncert = \"a.pem\"\nkey = \"b.pem\"");
    assert!(config.has_tls() && config.memory().connections > Config::default().memory().connections);
    assert_eq!(config.tls_listen, ["127.0.0.1:443".parse().unwrap()]);
    for (text, says) in [
        (
            "[tls]\nlisten = [\"[::]:443\"]",
            "tls.cert (line 2): it is missing, and tls.listen alone switches nothing on",
        ),
        (
            "[tls]\ncert = \"a\"",
            "tls.key (line 2): it is missing, and tls.cert alone switches nothing on: key = \"key.pem\"",
        ),
        (
            "[tls]\nkey = \"a\"",
            "tls.cert (line 2): it is missing, and tls.key alone switches nothing on: cert = \"cert.pem\"",
        ),
        ("[tls]\ncert = \"a\"\nkey = \"\"", "tls.key (line 3): it is missing"),
        ("[tls]\nkey = 3", "tls.key (line 2): text in quotes is expected here"),
        (
            "listen = [\"[::]:443\"]\n[tls]\nlisten = [\"[::]:443\"]\ncert = \"a\"\nkey = \"b\"",
            "tls.listen (line 3): \"[::]:443\" is in listen too",
        ),
        ("[tls]\nlisten = []", "tls.listen (line 2): at least one address is needed"),
        ("[tls]\ncertificate = 3", "tls.certificate (line 2): there is no such key; here are known: listen, cert, key"),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(says), "{text:?} says {error:?}");
    }
    let error = config.certificates().unwrap_err().to_string();
    assert!(error.starts_with("tls.cert (line 3): a.pem cannot be read: "), "{error}");
}

#[test]
fn what_is_no_toml_is_one_line_with_line_and_column() {
    for (text, says) in [
        ("log = \"info\"\nlisten = [\n", "line 2, column 11: unclosed array"),
        ("\nlog = info", "line 2, column 7: text needs quotes"),
        ("[limits]\n房 = 3", "line 2, column 1: "),
        ("log = \"一\" \"二\"", "line 1, column 11: "),
        ("log = \"info\"\nlog = \"warn\"", "line 2, column 1: duplicate key"),
        ("[limits]\n[limits]", "line 2, column 2: duplicate key"),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(says), "{text:?} says {error:?}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_first_mistake_of_a_file_is_told_first() {
    assert!(refusal("[rooms]\nhistory = 0\n[heartbeat]\ninterval_s = 0\n").starts_with("rooms.history (line 2)"));
    assert!(refusal("[limits]\nrooms = 0\nburst = 0\n").starts_with("limits.rooms (line 2)"));
}

#[test]
fn a_rooms_log_holds_its_messages() {
    read("[limits]\nmessage_bytes = 16384\nroom_log_bytes = 65536");
    assert_eq!(
        refusal("[limits]\nmessage_bytes = 16385\nroom_log_bytes = 65536"),
        "limits.room_log_bytes (line 3): 65536 is too little for 4 messages of limits.message_bytes = 16385 (line 2); \
         it takes 65540"
    );
    assert_eq!(
        refusal("[limits]\nmessage_bytes = 65537"),
        "limits.message_bytes (line 2): 65537 is too much for limits.room_log_bytes = 262144 (default), \
         which has to hold 4 messages; at most 65536 fits, or write limits.room_log_bytes = 262148 too"
    );
}

#[test]
fn a_burst_of_bytes_holds_a_message_unless_there_is_no_rate() {
    read("[limits]\nbytes_burst = 16384");
    assert_eq!(
        refusal("[limits]\nbytes_burst = 16383"),
        "limits.bytes_burst (line 2): 16383 is too little for one message of limits.message_bytes = 16384 (default); \
         it takes 16384"
    );
    read("[limits]\nbytes_burst = 1024\nbytes_per_second = 0");
}

#[test]
fn there_are_no_more_rooms_than_may_be() {
    let rooms = |count: usize| (0..count).map(|i| format!("[[room]]\nnumber = \"E{i}\"\n")).collect::<String>();
    assert_eq!(read(&("limits.rooms = 3\n".to_owned() + &rooms(3))).hub.configured.len(), 3);
    assert_eq!(
        refusal(&("limits.rooms = 3\n".to_owned() + &rooms(5))),
        "room (line 8): one room more than limits.rooms allows, which is 3 (line 1)"
    );
    assert!(refusal(&rooms(129)).ends_with("which is 128 (default)"));
}

#[test]
fn a_file_is_named_in_what_is_wrong_with_it() {
    let directory = std::env::temp_dir().join(format!("classhub-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("classhub.toml");
    let says = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Config::read(&path).map_err(|error| error.to_string())
    };
    let named = path.display();
    assert_eq!(
        says(b"[limits]\nrooms = 0").unwrap_err(),
        format!("{named}: limits.rooms (line 2): 0 is outside 1 to 1024")
    );
    assert_eq!(says(b"#\n#\xff").unwrap_err(), format!("{named}: line 2: it is not UTF-8 from here on"));
    let report = says(b"log = \"warn\"").unwrap().report().to_string();
    assert!(report.contains(&format!("# {named} line 1\n")), "{report}");
    std::fs::remove_dir_all(&directory).unwrap();

    let says = Config::read(Path::new("/nowhere/classhub.toml")).unwrap_err().to_string();
    assert!(says.starts_with("/nowhere/classhub.toml: it cannot be read: "), "{says}");
    let says = Config::read(Path::new("/dev/zero")).unwrap_err().to_string();
    assert_eq!(says, "/dev/zero: it is far too long for a configuration: is it another file?");
}

#[test]
fn a_secret_is_read_from_beside_the_file_that_names_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = std::env::temp_dir().join(format!("classhub-secret-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (path, secret) = (directory.join("classhub.toml"), directory.join("secret"));
    std::fs::write(&path, "[auth]\nsecret_file = \"secret\"\n").unwrap();
    let read = |bytes: &[u8], mode| {
        std::fs::write(&secret, bytes).unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(mode)).unwrap();
        Config::read(&path).map_err(|error| error.to_string())
    };
    let enough = "x".repeat(32);
    for (bytes, key) in [
        (enough.clone(), enough.clone()),
        (format!("{enough}\n"), enough.clone()),
        // One, and nothing else: the school's server does the same.
        (format!(" {enough} \r\n\n"), format!(" {enough} \r\n")),
        ("x".repeat(4096) + "\n", "x".repeat(4096)),
    ] {
        let config = read(bytes.as_bytes(), 0o640).unwrap();
        assert_eq!(config.hub.token_key, Some(TokenKey::new(key)));
        assert_eq!(config.warnings, [""; 0]);
        let report = config.report().to_string();
        assert!(report.contains("\nsecret_file = \"secret\" ") && !report.contains("xxx"), "{report}");
        assert!(!format!("{config:?}").contains("xxx"));
    }
    let wrong = |bytes: &[u8]| read(bytes, 0o600).unwrap_err();
    let at = format!("{}: auth.secret_file (line 2): \"secret\"", path.display());
    for empty in [&b""[..], b"\n"] {
        assert_eq!(wrong(empty), format!("{at} is empty: anybody could make a token"));
    }
    assert_eq!(wrong(&[b'x'; 4097]), format!("{at} has more than 4096 bytes"));
    assert_eq!(wrong(&[b'\n'; 1 << 16]), format!("{at} has more than 4096 bytes"));
    let warnings = read(b"0123456789012345678901234567890\n", 0o644).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("31 bytes") && warnings[1].contains("chmod o-r"), "{warnings:?}");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// `config` without where it comes from.
fn values(config: Config) -> Config {
    Config { sources: BTreeMap::new(), file: None, warnings: Vec::new(), ..config }
}

#[test]
fn the_report_reads_back_as_the_same_configuration() {
    let mut flagged = read("log = \"off\"");
    flagged.set_listen(vec!["127.0.0.1:1".parse().unwrap()], "--listen").unwrap();
    flagged.set_log(LevelFilter::Trace, "--log");
    let full = "listen = [\"127.0.0.1:80\", \"[::1]:81\"]\n[heartbeat]\nlinger_s = 0\n[rooms]\nauto_create = false\n\
                [http]\nallowed_origins = [\"http://a\", \"https://b:1\"]\nnames = [\"a.example\"]\n\
                [[room]]\nnumber = \"a\\\"b\\\\c\\u0001\\u007f\\n\"\n[room.owner]\nid = \"教师\"\n\
                [[room]]\nnumber = \"#\"\nname = \"\"\ndesc = \"'''\"\n";
    for config in [Config::default(), flagged, read(full)] {
        let report = config.report().to_string();
        assert_eq!(values(read(&report)), values(config), "{report}");
    }
    for (path, Limit { min, max, .. }) in numeric_keys() {
        for value in [min, max] {
            let config = read(&(file_with(path, value) + room_for(path)));
            assert_eq!(values(read(&config.report().to_string())), values(config));
        }
    }
}

#[test]
fn the_report_says_where_each_value_comes_from_and_sums_up() {
    let mut config = read("\n[limits]\nrooms = 7\n[[room]]\nnumber = \"E1\"\n");
    config.file = Some("a\nb.toml".into());
    config.set_log(LevelFilter::Warn, "--log");
    let report = config.report().to_string();
    let line = |start: &str| report.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{report}"));
    assert!(line("listen = [\"[::]:9000\"] ").ends_with(" # default"));
    assert!(line("log = \"warn\" ").ends_with(" # --log"));
    assert!(line("rooms = 7 ").ends_with(" # a\\nb.toml line 3"));
    assert!(line("number = \"E1\" ").ends_with(" line 5"));
    assert!(line("name = \"E1\" ").ends_with(" # default"));
    assert!(line("linger_s = 5 ").ends_with(" # default"));
    let memory = config.memory();
    let defaults = Config::default().memory();
    assert_eq!(MemorySum { rooms: memory.rooms * 128 / 7, ..memory }, defaults);
    assert!(
        line("# memory, at most").ends_with(" MiB")
            && line("# apart, in the kernel's send buffers: 512.0 MiB").len() > 9
    );
    for key in keys::KEYS {
        match key.show(&config) {
            Some(_) => assert!(line(&format!("{} = ", key.name())).contains(" # ")),
            None => _ = line(&format!("# {} is not set", key.name())),
        }
    }
}

#[test]
fn flags_must_make_sense_too() {
    let twice = vec!["[::]:1".parse().unwrap(); 2];
    let error = Config::default().set_listen(twice, "--listen").unwrap_err();
    assert_eq!(error.to_string(), "--listen: \"[::]:1\" is there twice");
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = Config::from_toml(&text);
    }

    #[test]
    fn nothing_that_looks_like_a_file_panics_or_says_more_than_a_line(
        lines in prop::collection::vec(line(), 0..12)
    ) {
        match Config::from_toml(&lines.join("\n")) {
            Ok(config) => prop_assert_eq!(values(read(&config.report().to_string())), values(config)),
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }
}

fn line() -> impl Strategy<Value = String> {
    let names = keys::KEYS.iter().flat_map(|key| [key.path, key.name()]);
    let names = names.chain(["room", "tls", "number", "desc", "owner.id", "x", "\"\\n\""]).collect::<Vec<_>>();
    let headers = ["[limits]", "[http]", "[rooms]", "[[room]]", "[room.owner]", "[heartbeat]", "[[limits]]", "", "#"];
    let value = prop_oneof![
        (-2i64..70_000).prop_map(|n| n.to_string()),
        any::<String>().prop_map(|text| keys::toml_text(&text)),
        prop::sample::select(vec![
            "true",
            "[]",
            "{}",
            "[\"[::]:1\"]",
            "[[1]]",
            "1.5",
            "1979-05-27",
            "\"\"\"\n\n\"\"\"",
            "\"é"
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        prop::sample::select(headers.to_vec()).prop_map(str::to_owned),
        (prop::sample::select(names), value).prop_map(|(name, value)| format!("{name} = {value}")),
    ]
}

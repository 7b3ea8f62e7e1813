//! The certificates that the hub makes, and those that it is given.
//!
//! Owns: `classhub cert` as it is typed, what it may not do, and what is wrong with two files. Refuses to know: connections.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use classhub::host::certificates::{Issued, Order, Wrong, issue, load};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::{NOW_S, common, folder, issued, order};

const DAY_S: u64 = 86_400;
const FILES: [&str; 4] = ["ca.key", "ca.pem", "cert.pem", "key.pem"];

/// Whether a browser that trusts the authority believes the certificate under this name, on this day.
fn is_believed(folder: &Path, name: &str, at_s: u64) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).expect("it is there")).expect("it is one");
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("it is whole");
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).expect("it is there");
    let chain: Vec<CertificateDer> = chain.map(|one| one.expect("it is one")).collect();
    let name = ServerName::try_from(name).expect("it is a name").to_owned();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at_s));
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at).is_ok()
}

fn read_all(folder: &Path) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| fs::read(folder.join(name)).unwrap_or_default()).collect()
}

fn names(issued: &Issued) -> Vec<&str> {
    issued.names.iter().map(String::as_str).collect()
}

#[test]
fn a_certificate_is_for_the_machine_and_for_what_was_asked() {
    let folder = folder().join("made/too");
    let names_asked = ["Hub.School.example", "203.0.113.9", "[2001:db8::1]"].map(str::to_owned).into();
    let addresses = ["10.1.2.3", "fe80::1", "127.0.0.1", "::ffff:10.1.2.4", "0.0.0.0"];
    let addresses = addresses.map(|address| address.parse::<IpAddr>().expect("it is one")).into();
    let issued = issue(&Order { names: names_asked, addresses, ..order(&folder) }).expect("it is empty");
    let expected = [
        "hub.school.example",
        "203.0.113.9",
        "2001:db8::1",
        "board",
        "board.local",
        "localhost",
        "10.1.2.3",
        "127.0.0.1",
        "10.1.2.4",
        "::1",
    ];
    assert_eq!(names(&issued), expected);
    assert!(issued.is_new_authority && issued.clock_is_set && issued.left_out.is_empty());
    for name in expected {
        for (at_s, believed) in [
            (NOW_S, true),
            (NOW_S - DAY_S / 2, true),
            (NOW_S + 820 * DAY_S, true),
            (NOW_S - 2 * DAY_S, false),
            (NOW_S + 824 * DAY_S, false),
        ] {
            assert_eq!(is_believed(&folder, name, at_s), believed, "{name} at {at_s}");
        }
    }
    assert!(!is_believed(&folder, "other.local", NOW_S));
    for (name, mode) in FILES.into_iter().zip([0o600, 0o644, 0o644, 0o600]) {
        let found = fs::metadata(folder.join(name)).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}: {found:o}");
    }
    let read = load(&folder.join("cert.pem"), &folder.join("key.pem"), NOW_S).expect("it fits");
    let authority = read.authority.expect("the chain ends in it");
    assert_eq!(authority.fingerprint, issued.fingerprint);
    assert_eq!(authority.pem, fs::read_to_string(folder.join("ca.pem")).expect("it is there").replace("\r\n", "\n"));
    assert_eq!(read.warnings, Vec::<String>::new());
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let folder = issued();
    let before = read_all(&folder);
    let says = |name: &str| format!("{} is there already, and is not overwritten", folder.join(name).display());
    assert!(issue(&order(&folder)).unwrap_err().starts_with(&says("cert.pem")));
    fs::rename(folder.join("cert.pem"), folder.join("old.pem")).expect("it is ours");
    assert!(issue(&order(&folder)).unwrap_err().starts_with(&says("key.pem")));
    fs::rename(folder.join("old.pem"), folder.join("cert.pem")).expect("it is ours");
    assert_eq!(read_all(&folder), before);

    // Half an authority is none, and not one to make anew in silence.
    for (gone, stays) in [("ca.key", "ca.pem"), ("ca.pem", "ca.key")] {
        let folder = issued();
        for name in [gone, "cert.pem", "key.pem"] {
            fs::remove_file(folder.join(name)).expect("it is ours");
        }
        let before = read_all(&folder);
        let error = issue(&order(&folder)).unwrap_err();
        assert!(error.contains(stays) && error.contains(gone), "{error}");
        assert_eq!(read_all(&folder), before);
    }

    // A link that leads nowhere is not written through.
    let linked = super::folder();
    symlink("/nowhere/at/all", linked.join("key.pem")).expect("it is empty");
    assert!(issue(&order(&linked)).unwrap_err().contains("key.pem is there already"));
    assert_eq!(fs::read_dir(&linked).expect("it is there").count(), 1);

    // Where the folder is a file, or a folder cannot be made.
    let error = issue(&order(&folder.join("cert.pem/deeper"))).unwrap_err();
    assert!(error.contains("cannot be made"), "{error}");
}

#[test]
fn a_new_certificate_of_the_same_authority_needs_nothing_on_the_devices() {
    let folder = issued();
    let authority = fs::read(folder.join("ca.pem")).expect("it is there");
    let renew = |order: &Order| {
        for name in ["cert.pem", "key.pem"] {
            let _gone = fs::remove_file(folder.join(name));
        }
        issue(order)
    };
    let later_s = NOW_S + 800 * DAY_S;
    let again = renew(&Order { wall_s: later_s, ..order(&folder) }).expect("it is reused");
    assert!(!again.is_new_authority);
    assert_eq!(fs::read(folder.join("ca.pem")).expect("it is there"), authority);
    assert!(is_believed(&folder, "board.local", later_s) && is_believed(&folder, "192.168.1.5", later_s));

    // Another name of a local network, and another address, are as good.
    let moved = ["192.168.7.7", "203.0.113.77"].map(|address| address.parse().expect("it is one")).into();
    let moved = Order { names: vec!["hub.lan".to_owned()], addresses: moved, ..order(&folder) };
    let moved = renew(&moved).expect("they are local");
    assert_eq!(names(&moved), ["hub.lan", "board", "board.local", "localhost", "192.168.7.7", "127.0.0.1", "::1"]);
    assert_eq!(moved.left_out, ["203.0.113.77"], "a public address is none that the authority was made for");
    assert!(is_believed(&folder, "hub.lan", NOW_S) && is_believed(&folder, "192.168.7.7", NOW_S));

    // Who steals the key is no bank, nor the hub of another school.
    for name in ["bank.example", "localhost.example", "notlocal", "203.0.113.9"] {
        let error = renew(&Order { names: vec![name.to_owned()], ..order(&folder) }).unwrap_err();
        assert!(
            error.starts_with(&format!("{name}: the authority in ")) && error.contains("not made for it"),
            "{error}"
        );
        assert!(!folder.join("cert.pem").exists() && !folder.join("key.pem").exists());
    }

    // Near its own end it signs for less, and behind it nothing.
    let last = renew(&Order { wall_s: NOW_S + 3500 * DAY_S, ..order(&folder) }).expect("it has some days");
    assert!(last.ends_s <= NOW_S + 3650 * DAY_S);
    let error = renew(&Order { wall_s: NOW_S + 3700 * DAY_S, ..order(&folder) }).unwrap_err();
    assert!(error.contains("has ended"), "{error}");

    // Somebody else's authority is not ours to sign with.
    fs::copy(issued().join("ca.key"), folder.join("ca.key")).expect("it is ours");
    let error = renew(&order(&folder)).unwrap_err();
    assert!(error.contains("ca.key is not the key of"), "{error}");
}

#[test]
fn a_board_without_a_clock_gets_a_certificate_for_any_day() {
    for wall_s in [0, 1_000_000_000, u64::MAX / 2] {
        let folder = folder();
        let issued = issue(&Order { wall_s, ..order(&folder) }).expect("it is empty");
        assert!(!issued.clock_is_set);
        assert!(issued.told(&folder).contains("clock of this machine is not set"));
        for at_s in [1_600_000_000, NOW_S, 2_500_000_000] {
            assert!(is_believed(&folder, "board.local", at_s), "{wall_s} {at_s}");
        }
    }
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["", "a b", "学校.local", "http://board", "board:9443", "*.lan", "1.2.3"] {
        let folder = folder();
        let error = issue(&Order { names: vec![name.to_owned()], ..order(&folder) }).unwrap_err();
        assert!(error.contains("is no name or address of a host"), "{name:?}: {error}");
        assert_eq!(fs::read_dir(folder).expect("it is there").count(), 0);
    }
    // A machine may have a name that can't stand in a certificate.
    let folder = folder();
    let issued = issue(&Order { host: "老师的树莓派".to_owned(), ..order(&folder) }).expect("it is empty");
    assert_eq!(names(&issued), ["localhost", "192.168.1.5", "127.0.0.1", "::1"]);
    assert!(is_believed(&folder, "192.168.1.5", NOW_S));
}

// ---- What is given ------------------------------------------------------------------------------

#[test]
fn what_is_wrong_with_the_files_names_the_file() {
    let (folder, other) = (issued(), issued());
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let file = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("it is ours");
        folder.join(name)
    };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let unended = "-----BEGIN PRIVATE KEY-----\nAAAA\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (given_cert, given_key, is_cert, says) in [
        (folder.join("nowhere.pem"), key.clone(), true, "cannot be read"),
        (folder.clone(), key.clone(), true, "cannot be read"),
        (file("empty.pem", ""), key.clone(), true, "has no certificate in it"),
        (key.clone(), key.clone(), true, "has no certificate in it"),
        (file("broken.pem", broken), key.clone(), true, "has a certificate that is none"),
        (cert.clone(), folder.join("nowhere.key"), false, "cannot be read"),
        (cert.clone(), cert.clone(), false, "has no private key in it"),
        (cert.clone(), file("unended.key", unended), false, "is no private key in PEM"),
        (cert.clone(), file("no.key", no_key), false, "cannot be used"),
        (cert.clone(), other.join("key.pem"), false, "is not the key of the certificate in"),
    ] {
        let wrong = load(&given_cert, &given_key, NOW_S).err().unwrap_or_else(|| panic!("{says}"));
        let (named, text) = match &wrong {
            Wrong::Cert(text) => (&given_cert, text),
            Wrong::Key(text) => (&given_key, text),
        };
        assert_eq!(matches!(wrong, Wrong::Cert(_)), is_cert, "{text}");
        assert!(text.starts_with(&named.display().to_string()) && text.contains(says), "{text}, not {says}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn an_end_is_told_before_it_comes_and_after() {
    let folder = issued();
    let warnings = |wall_s| load(&folder.join("cert.pem"), &folder.join("key.pem"), wall_s).expect("it fits").warnings;
    let ends_s = NOW_S + 823 * DAY_S;
    assert_eq!(warnings(ends_s - 46 * DAY_S), Vec::<String>::new());
    let soon = warnings(ends_s - 10 * DAY_S);
    assert!(soon[0].contains("ends on 2028-10-15, in 10 days"), "{soon:?}");
    let late = warnings(ends_s + DAY_S);
    assert!(late[0].contains("ended on 2028-10-15, and browsers refuse it"), "{late:?}");
    assert_eq!(warnings(0), Vec::<String>::new(), "a clock that is not set cannot tell");
}

/// A certificate whose chain ends in an authority that it does not carry has nothing to install.
#[test]
fn a_certificate_without_its_authority_shows_none() {
    let folder = issued();
    let chain = fs::read_to_string(folder.join("cert.pem")).expect("it is there");
    let end = chain.find("-----END CERTIFICATE-----").expect("it has one") + 25;
    fs::write(folder.join("cert.pem"), &chain[..end]).expect("it is ours");
    let read = load(&folder.join("cert.pem"), &folder.join("key.pem"), NOW_S).expect("it fits");
    assert_eq!(read.authority, None);
}

// ---- As it is typed -----------------------------------------------------------------------------

fn classhub(arguments: &[&str], folder: &Path) -> Output {
    common::classhub().args(arguments).current_dir(folder).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[test]
fn the_command_says_what_to_do_next() {
    let folder = folder();
    let made = classhub(&["cert", "--out", "tls", "--name", "hub.lan"], &folder);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let said = text(&made.stdout);
    let at = folder.canonicalize().expect("it is there").join("tls");
    for part in [
        format!("[tls]\ncert = \"{}/cert.pem\"\nkey = \"{}/key.pem\"\n", at.display(), at.display()),
        "hub.lan".to_owned(),
        "/trust".to_owned(),
        "指纹".to_owned(),
        "ca.key".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} is not in {said}");
    }
    let read = load(&at.join("cert.pem"), &at.join("key.pem"), NOW_S).expect("it fits");
    assert!(said.contains(&read.authority.expect("it has one").fingerprint));

    // What it says to write is right.
    let lines: Vec<&str> = said.lines().skip_while(|line| *line != "[tls]").take(3).collect();
    fs::write(folder.join("hub.toml"), lines.join("\n")).expect("it is ours");
    let checked = classhub(&["check", "--config", "hub.toml"], &folder);
    assert!(checked.status.success(), "{}", text(&checked.stderr));

    let again = classhub(&["cert", "--out", "tls"], &folder);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("cert.pem is there already"), "{}", text(&again.stderr));
    assert_eq!(text(&again.stdout), "");
}

#[test]
fn a_configuration_is_checked_with_its_files() {
    let folder = issued();
    // From the configuration's own folder on, wherever the hub is started.
    fs::write(folder.join("hub.toml"), "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n").expect("it is ours");
    let config = folder.join("hub.toml").to_string_lossy().into_owned();
    let check = || classhub(&["check", "--config", &config], Path::new("/"));
    let checked = check();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("cert = \"cert.pem\""));

    fs::copy(issued().join("key.pem"), folder.join("key.pem")).expect("it is ours");
    for command in ["check", "serve"] {
        let checked = classhub(&[command, "--config", &config, "--listen", "127.0.0.1:0"], Path::new("/"));
        assert_eq!(checked.status.code(), Some(1));
        let says = format!("classhub: {config}: tls.key (line 3): {}/key.pem is not the key of", folder.display());
        assert!(text(&checked.stderr).starts_with(&says), "{}", text(&checked.stderr));
    }
    fs::remove_file(folder.join("cert.pem")).expect("it is ours");
    let error = text(&check().stderr);
    assert!(error.contains("tls.cert (line 2): ") && error.contains("cert.pem cannot be read"), "{error}");
}

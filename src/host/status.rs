//! What `classhub status` tells a person: the figures of a running hub, fetched twice, a second apart.
//!
//! Owns: the way to the hub (`/metrics`, over HTTP), what may be wrong on it, and the layout. Refuses to know: how the figures come about
//! (`metrics`), and where the hub is. What answers may be anything: nothing that it says is printed but numbers and words of few letters.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits;

/// How long a hub may take to answer. It takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// What happens in this time is told as happening now.
const APART: Duration = Duration::from_secs(1);
/// The figures take some ten KiB. Not everything that answers ends.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Why nothing can be told.
#[derive(Debug)]
pub struct StatusError {
    address: SocketAddr,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Unreachable(io::Error),
    Silent,
    NoHub,
    Tls,
    Elsewhere,
    Off,
    Full,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatusError { address, why } = self;
        match why {
            Why::Unreachable(error) => write!(
                f,
                "nobody answers at {address} ({error}): is the hub running? Where it listens elsewhere, say so with --addr, or with the --config that \
                 it was started with"
            ),
            Why::Silent => write!(
                f,
                "{address} takes connections and does not answer within {} s: if it is a hub, it hangs, or has far too much to do",
                PATIENCE.as_secs()
            ),
            Why::NoHub => {
                write!(f, "what answers at {address} is no classhub hub, or one that is older than this command")
            }
            Why::Tls => {
                write!(f, "{address} speaks TLS: ask at an address of the hub's `listen`, not of its `tls.listen`")
            }
            Why::Elsewhere => write!(
                f,
                "the hub at {address} shows its figures on its own machine alone: ask there, at 127.0.0.1:{}, or have this written into its \
                 configuration: http.metrics = \"any\"",
                address.port()
            ),
            Why::Off => write!(
                f,
                "the hub at {address} shows its figures to nobody; to see them on its own machine, have this written into its configuration: \
                 http.metrics = \"loopback\""
            ),
            Why::Full => {
                write!(f, "the hub at {address} runs, and is full: not even this command gets in (limits.connections)")
            }
        }
    }
}

impl std::error::Error for StatusError {}

/// Where to ask a hub that listens there: on this machine's loopback where it can be. `None` where the system was to choose the port.
#[must_use]
pub fn address(listen: &[SocketAddr]) -> Option<SocketAddr> {
    // What listens on all addresses answers IPv4, by itself or beside a listener for that.
    let to_loopback = |address: &SocketAddr| {
        let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        SocketAddr::new(ip, address.port())
    };
    let all = || listen.iter().map(to_loopback).filter(|address| address.port() != 0);
    all().find(|address| address.ip().to_canonical().is_loopback()).or_else(|| all().next())
}

/// Asks the hub at `address` twice, and tells how it is doing. Takes a second.
///
/// # Errors
/// [`StatusError`] where no hub answers there, or does not tell.
pub fn of(address: SocketAddr) -> Result<String, StatusError> {
    let wrong = |why| StatusError { address, why };
    let before = fetch(address).map_err(wrong)?;
    thread::sleep(APART);
    let after = fetch(address).map_err(wrong)?;
    Ok(tell(address, &before, &after))
}

// ---- Fetching -----------------------------------------------------------------------------------

/// The values of a scrape, each with its name and labels, as and in the order that they are written.
struct Samples(Vec<(String, f64)>);

fn fetch(address: SocketAddr) -> Result<Samples, Why> {
    let answer = ask(address)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Err(Why::NoHub) };
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    match status {
        Some("200") => Samples::read(body).ok_or(Why::NoHub),
        // In the hub's own words: others may say no too.
        Some("403") if body.contains("http.metrics") => Err(Why::Elsewhere),
        Some("404") if body.contains("http.metrics") => Err(Why::Off),
        Some("400") if body.contains("speaks HTTPS") => Err(Why::Tls),
        Some("503") if body.contains("Every seat is taken") || body.contains("Too many connections") => Err(Why::Full),
        _ => Err(Why::NoHub),
    }
}

fn ask(address: SocketAddr) -> Result<String, Why> {
    let until = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(Why::Unreachable)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.set_write_timeout(Some(PATIENCE)).map_err(Why::Unreachable)?;
    // Whoever ends the connection without a look at it is no hub, and is found out below.
    let _unread = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Why::Silent);
        }
        stream.set_read_timeout(Some(left)).map_err(Why::Unreachable)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Why::Silent);
            }
            Err(_) => return Err(Why::NoHub),
        }
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(Why::NoHub);
        }
    }
    String::from_utf8(bytes).map_err(|_| Why::NoHub)
}

impl Samples {
    /// Reads what a hub tells; `None` where it is anything else.
    fn read(text: &str) -> Option<Samples> {
        let mut samples = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ')?;
            // A terminal obeys what is not plain.
            if !sample.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_{}=\",.+-".contains(&byte)) {
                return None;
            }
            samples.push((sample.to_owned(), value.parse().ok()?));
        }
        let samples = Samples(samples);
        samples.label("classhub_build_info", "version").is_some().then_some(samples)
    }

    /// Not a number where the hub does not tell, being of another version.
    fn get(&self, sample: &str) -> f64 {
        self.0.iter().find(|(name, _)| name == sample).map_or(f64::NAN, |(_, value)| *value)
    }

    fn of_family<'a>(&'a self, family: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let labels = move |sample: &'a str| sample.strip_prefix(family).filter(|rest| rest.starts_with('{'));
        self.0.iter().filter_map(move |(sample, value)| Some((labels(sample)?, *value)))
    }

    /// The value of a label in the first sample of a family.
    fn label<'a>(&'a self, family: &'a str, label: &str) -> Option<&'a str> {
        self.of_family(family).next().and_then(|(labels, _)| label_of(labels, label))
    }

    /// All of a family, by the value of one label, the largest first; what is 0 is left out.
    fn by<'a>(&'a self, family: &'a str, label: &str) -> Vec<(&'a str, f64)> {
        let named = self.of_family(family).filter_map(|(labels, value)| Some((label_of(labels, label)?, value)));
        let mut named: Vec<_> = named.filter(|(_, value)| *value > 0.0).collect();
        named.sort_by(|one, other| other.1.total_cmp(&one.1));
        named
    }
}

fn label_of<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    let mut all = labels.trim_matches(['{', '}']).split(',').filter_map(|one| one.split_once("=\""));
    all.find(|(name, _)| *name == label).map(|(_, value)| value.trim_end_matches('"'))
}

// ---- Telling ------------------------------------------------------------------------------------

fn tell(address: SocketAddr, before: &Samples, after: &Samples) -> String {
    let get = |sample: &str| after.get(&format!("classhub_{sample}"));
    let seconds = get("uptime_seconds") - before.get("classhub_uptime_seconds");
    // A hub that was started anew in between has no "just now" as yet.
    let per_second = |sample: &str| {
        let more = get(sample) - before.get(&format!("classhub_{sample}"));
        if seconds > 0.0 && more >= 0.0 {
            format!("{} a second just now", decimal(more / seconds))
        } else {
            "just started".to_owned()
        }
    };
    let version = after.label("classhub_build_info", "version").unwrap_or("?");
    let mut told =
        format!("classhub {version} at {address}, {}\n\n", running(get("start_time_seconds"), get("uptime_seconds")));
    let mut line = |what: &str, says: String| told.push_str(&format!("{what:<13} {says}\n"));

    let state =
        |transport: &str, state: &str| get(&format!("connections{{transport=\"{transport}\",state=\"{state}\"}}"));
    let both = |of: &str| state("plain", of) + state("tls", of);
    // This command is one of those whose request is to come.
    line(
        "connections",
        format!(
            "{} open ({} of them TLS), {} coming, {} going; at most {}",
            whole(both("open")),
            whole(state("tls", "open")),
            whole(both("request") - 1.0),
            whole(both("closing")),
            whole(get("connections_max"))
        ),
    );
    line("rooms", format!("{} of {}", whole(get("rooms")), whole(get("rooms_max"))));
    let [present, lingering] = ["present", "lingering"].map(|state| get(&format!("members{{state=\"{state}\"}}")));
    line("members", format!("{}, and {} whose connection broke", whole(present), whole(lingering)));
    line("messages", format!("{}, {}", whole(get("messages_received_total")), per_second("messages_received_total")));
    line("deliveries", format!("{}, {}", whole(get("deliveries_total")), per_second("deliveries_total")));
    line("bytes", format!("{} came, {} went", bytes(get("received_bytes_total")), bytes(get("sent_bytes_total"))));
    for (what, family, label) in [
        ("refusals", "classhub_refusals_total", "code"),
        ("closes", "classhub_closes_total", "reason"),
        ("limits met", "classhub_rejected_total", "limit"),
    ] {
        line(what, list(&after.by(family, label)));
    }
    line("turns", turns(after));
    line("room logs", format!("{} in {} of memory", bytes(get("room_log_bytes")), bytes(get("room_log_buffer_bytes"))));
    let lagging = get("lagging_members");
    line(
        "slow readers",
        match lagging {
            0.0 => "none".to_owned(),
            _ => format!(
                "{}, the slowest by {}; let go at {}",
                whole(lagging),
                bytes(get("flush_lag_bytes")),
                bytes(get("room_log_max_bytes"))
            ),
        },
    );
    line("replies owed", format!("{} of {}", bytes(get("reply_queue_bytes")), bytes(get("reply_queue_max_bytes"))));
    if get("worn_keys") > 0.0 {
        line("worn keys", format!("{}: give the school others before long", whole(get("worn_keys"))));
    }
    told
}

fn running(started_s: f64, uptime_s: f64) -> String {
    let (minutes, seconds) = (uptime_s as u64 / 60, uptime_s as u64 % 60);
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    let period = match (days, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, 1..60) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {hours} h"),
    };
    if (started_s as u64) < limits::BUILT_S {
        return format!("running for {period}; the machine's clock is not set");
    }
    format!("running since {} for {period}", utc(started_s as u64))
}

/// A moment, in words of the calendar that is the same everywhere.
fn utc(since_1970_s: u64) -> String {
    let (days, second) = (since_1970_s / 86_400, since_1970_s % 86_400);
    // Years that begin in March end with the leap day; 400 of them, an era, have 146,097 days (Howard Hinnant, chrono-compatible date algorithms).
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{day_of_month:02} {hour:02}:{minute:02} UTC")
}

/// How long turns took: bounds that are certain, and no guess at what lies between them.
fn turns(samples: &Samples) -> String {
    let count = samples.get("classhub_turn_duration_seconds_count");
    let buckets = samples.of_family("classhub_turn_duration_seconds_bucket");
    let bounds = buckets.filter_map(|(labels, count)| Some((label_of(labels, "le")?.parse::<f64>().ok()?, count)));
    // The format has them from the least to infinity.
    let bounds: Vec<(f64, f64)> = bounds.collect();
    let within = |part: f64| {
        let bound_s =
            bounds.iter().find(|(_, cumulated)| *cumulated >= part * count).map_or(f64::NAN, |(bound_s, _)| *bound_s);
        let last_s =
            bounds.iter().rev().map(|(bound_s, _)| *bound_s).find(|bound_s| bound_s.is_finite()).unwrap_or(f64::NAN);
        if bound_s.is_finite() {
            format!("within {} ms", bound_s * 1000.0)
        } else {
            format!("longer than {} ms", last_s * 1000.0)
        }
    };
    if count > 0.0 {
        return format!("{}: half of them {}, 99 of 100 {}", whole(count), within(0.5), within(0.99));
    }
    "none yet".to_owned()
}

fn list(named: &[(&str, f64)]) -> String {
    let sum: f64 = named.iter().map(|(_, count)| count).sum();
    let each: Vec<String> = named.iter().map(|(name, count)| format!("{name} {}", whole(*count))).collect();
    if each.is_empty() { "none".to_owned() } else { format!("{}: {}", whole(sum), each.join(", ")) }
}

/// A whole number, its thousands set apart.
fn whole(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let digits = format!("{:.0}", value.max(0.0));
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn decimal(value: f64) -> String {
    if value >= 100.0 { whole(value) } else { format!("{value:.1}") }
}

fn bytes(value: f64) -> String {
    match value {
        value if !value.is_finite() => "?".to_owned(),
        value if value < 1024.0 => format!("{value:.0} bytes"),
        value => {
            let (unit, name) = [(f64::from(1 << 30), "GiB"), (f64::from(1 << 20), "MiB")]
                .into_iter()
                .find(|(unit, _)| value >= *unit)
                .unwrap_or((1024.0, "KiB"));
            format!("{} {name}", decimal(value / unit))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Now;
    use crate::host::metrics::{Figures, render};
    use crate::hub::{Census, Tally};

    fn told(before: &Figures, after: &Figures) -> String {
        let [before, after] = [before, after].map(|figures| Samples::read(&render(figures)).expect("a hub's figures"));
        tell("127.0.0.1:9000".parse().unwrap(), &before, &after)
    }

    #[test]
    fn a_busy_hub_is_told_whole() {
        let now = Now { monotonic_ms: 11_520_000, wall_ms: 1_792_000_000_000 };
        let mut before = Figures { now, connections: [[1, 30, 1], [0, 4, 0]], ..Figures::default() };
        before.maxima.connections = 4096;
        before.maxima.rooms = 128;
        before.maxima.room_log_bytes = 262_144;
        before.maxima.reply_bytes = 32 << 20;
        before.census = Census {
            rooms: 2,
            present: 33,
            lingering: 1,
            log_bytes: 1_300_000,
            log_buffer_bytes: 1_500_000,
            lag_bytes: 2048,
            lagging: 3,
        };
        before.tally = Tally { messages: 999_990, deliveries: 30_000_000, ..Tally::default() };
        before.worn_keys = 1;
        for took_us in [80; 98].into_iter().chain([2_000; 2]) {
            before.traffic.turns.add(Duration::from_micros(took_us));
        }
        let mut after = before;
        after.now = now.after_ms(2_000);
        after.tally.messages += 25;
        after.tally.deliveries += 1200;
        after.tally.refusals[0] = 2;
        after.tally.refusals[19] = 3;
        after.tally.duplicates = 1;
        after.traffic.closes[0] = 40;
        after.traffic.sent_bytes = 5_000;
        let expected = "\
classhub 0.1.0 at 127.0.0.1:9000, running since 2026-10-14 14:34 UTC for 3 h 12 min

connections   34 open (4 of them TLS), 0 coming, 1 going; at most 4,096
rooms         2 of 128
members       33, and 1 whose connection broke
messages      1,000,015, 12.5 a second just now
deliveries    30,001,200, 600 a second just now
bytes         0 bytes came, 4.9 KiB went
refusals      6: rate_limited 3, bad_json 2, duplicate 1
closes        40: client 40
limits met    none
turns         100: half of them within 0.1 ms, 99 of 100 within 2.5 ms
room logs     1.2 MiB in 1.4 MiB of memory
slow readers  3, the slowest by 2.0 KiB; let go at 256 KiB
replies owed  0 bytes of 32.0 MiB
worn keys     1: give the school others before long
";
        assert_eq!(told(&before, &after), expected.replace("0.1.0", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_hub_without_a_clock_or_that_was_started_in_between_is_told_so() {
        let mut before = Figures { now: Now { monotonic_ms: 90_000, wall_ms: 91_000 }, ..Figures::default() };
        before.traffic.turns.add(Duration::from_secs(2));
        let after = Figures { now: Now { monotonic_ms: 500, wall_ms: 1_500 }, ..before };
        let told = told(&before, &after);
        assert!(told.contains(", running for 0 s; the machine's clock is not set\n"), "{told}");
        assert!(told.contains("\nmessages      0, just started\n"), "{told}");
        assert!(
            told.contains("\nturns         1: half of them longer than 1000 ms, 99 of 100 longer than 1000 ms\n"),
            "{told}"
        );
        assert!(told.contains("\nslow readers  none\n"), "{told}");
    }

    #[test]
    fn a_hub_is_asked_on_loopback_where_it_listens_there() {
        let asked = |listen: &[&str]| {
            let listen: Vec<SocketAddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
            address(&listen).map(|address| address.to_string())
        };
        assert_eq!(asked(&["[::]:9000"]).as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(asked(&["192.168.1.5:80", "0.0.0.0:8080"]).as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(asked(&["192.168.1.5:80", "[::1]:81"]).as_deref(), Some("[::1]:81"));
        assert_eq!(asked(&["192.168.1.5:80"]).as_deref(), Some("192.168.1.5:80"));
        assert_eq!(asked(&["127.0.0.1:0"]), None);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (since_1970_s, date) in [
            (0, "1970-01-01 00:00"),
            (951_782_399, "2000-02-28 23:59"),
            (951_782_400, "2000-02-29 00:00"),
            (1_709_251_199, "2024-02-29 23:59"),
            (1_709_251_200, "2024-03-01 00:00"),
            (1_767_225_600, "2026-01-01 00:00"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(utc(since_1970_s), format!("{date} UTC"));
        }
    }

    #[test]
    fn what_is_no_hubs_is_not_read() {
        for text in
            ["", "hello", "up 1\n", "classhub_build_info 1\n", "classhub_build_info{version=\"\u{1b}[31m\"} 1\n"]
        {
            assert!(Samples::read(text).is_none(), "{text:?}");
        }
        let other_version = Samples::read("classhub_build_info{version=\"9.0\"} 1\n").unwrap();
        let told = tell("127.0.0.1:9000".parse().unwrap(), &other_version, &other_version);
        assert!(told.contains("\nrooms         ? of ?\n") && !told.contains("NaN"), "{told}");
    }
}

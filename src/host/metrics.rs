//! What a monitoring system reads: `/metrics`, in the text format of Prometheus.
//!
//! Owns: the names of the figures, their units and their words, who may see them, and the format (version 0.0.4). Refuses to know: how anything is
//! counted. It is handed plain values and gives text back.
//!
//! A label has one of a few values that are known beforehand: no rooms, ids or addresses. Whoever reads the figures learns how much is said, and not
//! by whom.

use std::fmt::{Display, Write as _};

use serde::{Deserialize, Serialize};

use crate::base::histogram::BOUNDS;
use crate::base::{Histogram, Now};
use crate::hub::{Census, Tally};
use crate::wire::{CloseReason, Code};

/// What the text is, for whoever asks over HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Statuses that are answered over HTTP.
pub const STATUSES: [u16; 11] = [101, 200, 304, 400, 403, 404, 405, 408, 426, 431, 503];

/// Who may see the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Who is on this machine.
    #[default]
    Loopback,
    /// Everybody.
    Any,
    /// Nobody.
    Off,
}

impl Access {
    /// All that there are.
    pub const ALL: [Access; 3] = [Access::Loopback, Access::Any, Access::Off];

    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Loopback => "loopback",
            Access::Any => "any",
            Access::Off => "off",
        }
    }
}

/// What has happened on the way to the hub and from it, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections that were accepted: plain, and for TLS.
    pub accepted: [u64; 2],
    /// Connections that got no place because `limits.connections` have one, because their address has as many as it may, and because the system
    /// had no descriptor for them.
    pub turned_away: [u64; 3],
    /// Responses, by the place of their status in [`STATUSES`].
    pub responses: [u64; STATUSES.len()],
    /// WebSockets that ended, by the place of their reason in [`CloseReason::ALL`].
    pub closes: [u64; CloseReason::ALL.len()],
    /// Bytes that came.
    pub received_bytes: u64,
    /// Bytes that sockets took.
    pub sent_bytes: u64,
    /// How long turns took, from the return of the poll.
    pub turns: Histogram,
}

impl Traffic {
    /// Counts a response that begins so.
    pub fn responded(&mut self, response: &[u8]) {
        let status = response.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        if let Some(place) = STATUSES.iter().position(|known| Some(*known) == status) {
            self.responses[place] += 1;
        }
    }

    /// Counts the end of a WebSocket.
    pub fn closed(&mut self, reason: CloseReason) {
        self.closes[reason.place()] += 1;
    }
}

/// What is configured that figures are to be compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maxima {
    /// `limits.connections`.
    pub connections: u32,
    /// `limits.rooms`.
    pub rooms: u32,
    /// `limits.room_log_bytes`.
    pub room_log_bytes: u32,
    /// `limits.reply_bytes`.
    pub reply_bytes: u32,
}

/// All that is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The time; monotonic since the start.
    pub now: Now,
    /// Connections that there are, plain and under TLS, each: whose request is still to come, who speak WebSocket, and who have had their last word.
    pub connections: [[u64; 3]; 2],
    /// Bytes that wait in the connections' own queues.
    pub owed_bytes: u64,
    /// What has happened on the way.
    pub traffic: Traffic,
    /// What has happened in the hub.
    pub tally: Tally,
    /// What there is in it.
    pub census: Census,
    /// Keys for sealed frames that should be changed.
    pub worn_keys: u64,
    /// What there may be.
    pub maxima: Maxima,
}

/// The figures as text.
#[must_use]
pub fn render(figures: &Figures) -> String {
    let Figures { now, connections, traffic, tally, census, maxima, .. } = figures;
    let mut text = Text(String::with_capacity(10 * 1024));
    text.family("build_info", GAUGE, "The hub's version, and whether it can speak TLS. Always 1.");
    let tls = cfg!(feature = "tls");
    text.sample(
        "build_info",
        &[("version", env!("CARGO_PKG_VERSION")), ("tls", if tls { "true" } else { "false" })],
        1,
    );
    let help = "When the hub was started, by the present clock, which a board may not have had then.";
    text.one("start_time_seconds", GAUGE, help, seconds(now.wall_ms.saturating_sub(now.monotonic_ms)));
    text.one("uptime_seconds", GAUGE, "For how long it has run, whatever the clock said.", seconds(now.monotonic_ms));

    text.family(
        "connections",
        GAUGE,
        "Connections now: their request is to come, they speak WebSocket, or they are about to end.",
    );
    for (transport, states) in TRANSPORTS.into_iter().zip(connections) {
        for (state, count) in ["request", "open", "closing"].into_iter().zip(states) {
            text.sample("connections", &[("transport", transport), ("state", state)], count);
        }
    }
    text.one("connections_max", GAUGE, "limits.connections.", maxima.connections);
    text.family("connections_accepted_total", COUNTER, "Connections that were accepted.");
    for (transport, count) in TRANSPORTS.into_iter().zip(traffic.accepted) {
        text.sample("connections_accepted_total", &[("transport", transport)], count);
    }
    text.family("http_responses_total", COUNTER, "Answers to requests, by status; 101 opens a WebSocket.");
    for (status, count) in STATUSES.into_iter().zip(traffic.responses) {
        text.sample("http_responses_total", &[("status", &status.to_string())], count);
    }
    text.family("closes_total", COUNTER, "WebSockets that ended, by reason.");
    for (reason, count) in CloseReason::ALL.into_iter().zip(traffic.closes) {
        text.sample("closes_total", &[("reason", reason.as_str())], count);
    }

    text.one("rooms", GAUGE, "Rooms now, empty ones that are kept too.", census.rooms);
    text.one("rooms_max", GAUGE, "limits.rooms.", maxima.rooms);
    text.family("members", GAUGE, "Seats in all rooms now: taken, or kept for a member whose connection broke.");
    for (state, count) in [("present", census.present), ("lingering", census.lingering)] {
        text.sample("members", &[("state", state)], count);
    }

    text.one(
        "messages_received_total",
        COUNTER,
        "Whole messages that came, heartbeats and refused ones too.",
        tally.messages,
    );
    let help = "Frames of rooms that were handed to members: each once for each of them.";
    text.one("deliveries_total", COUNTER, help, tally.deliveries);
    let help = "Bytes that came, without what TLS adds.";
    text.one("received_bytes_total", COUNTER, help, traffic.received_bytes);
    text.one("sent_bytes_total", COUNTER, "Bytes that were sent, without what TLS adds.", traffic.sent_bytes);
    let help =
        "Requests that were answered with a failure, by its code; duplicate is the one that has none on the wire.";
    text.family("refusals_total", COUNTER, help);
    for (code, count) in Code::ALL.into_iter().map(Code::as_str).zip(tally.refusals) {
        text.sample("refusals_total", &[("code", code)], count);
    }
    text.sample("refusals_total", &[("code", "duplicate")], tally.duplicates);
    let help = "Connections, requests, frames and members that met a limit, by its key; open_files is the system's.";
    text.family("rejected_total", COUNTER, help);
    for (limit, count) in rejected(traffic, tally) {
        text.sample("rejected_total", &[("limit", limit)], count);
    }

    text.histogram(
        "turn_duration_seconds",
        "How long turns took, from the poll's return to the last write.",
        &traffic.turns,
    );
    let help = "Bytes that the slowest member was offered and has not taken; at room_log_max_bytes it is let go.";
    text.one("flush_lag_bytes", GAUGE, help, census.lag_bytes);
    let help = "Members who have not taken all that they were offered.";
    text.one("lagging_members", GAUGE, help, census.lagging);
    text.one("room_log_bytes", GAUGE, "Frames that all rooms hold, sealed ones too.", census.log_bytes);
    text.one("room_log_buffer_bytes", GAUGE, "The memory that they are held in.", census.log_buffer_bytes);
    text.one("room_log_max_bytes", GAUGE, "limits.room_log_bytes, for each room.", maxima.room_log_bytes);
    let help = "Replies, and what had to go before them, that connections have not taken.";
    text.one("reply_queue_bytes", GAUGE, help, figures.owed_bytes);
    text.one("reply_queue_max_bytes", GAUGE, "limits.reply_bytes.", maxima.reply_bytes);
    let help = "Encryption keys that have been used so often that they should be changed.";
    text.one("worn_keys", GAUGE, help, figures.worn_keys);
    text.0
}

/// What met a limit, by the limit's key.
fn rejected(traffic: &Traffic, tally: &Tally) -> [(&'static str, u64); 11] {
    let [connections, connections_per_ip, open_files] = traffic.turned_away;
    let refused = |code: Code| tally.refusals[code as usize];
    let closed = |reason: CloseReason| traffic.closes[reason.place()];
    [
        ("connections", connections),
        ("connections_per_ip", connections_per_ip),
        ("open_files", open_files),
        ("rooms", refused(Code::HubFull)),
        ("members_per_room", refused(Code::RoomFull)),
        ("rooms_per_connection", refused(Code::TooManyRooms)),
        ("messages_per_second", tally.over_messages_rate),
        ("bytes_per_second", tally.over_bytes_rate),
        ("message_bytes", closed(CloseReason::TooBig)),
        ("room_log_bytes", closed(CloseReason::TooSlow)),
        ("reply_bytes", closed(CloseReason::Overload)),
    ]
}

const TRANSPORTS: [&str; 2] = ["plain", "tls"];
const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

/// Milliseconds as seconds.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// The format, line by line. A string takes everything, so that nothing here can fail.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP classhub_{name} {help}\n# TYPE classhub_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "classhub_{name}");
        for (n, (label, of_label)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{of_label}\"", if n == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let cumulated = histogram.cumulated();
        let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string());
        let bucket = format!("{name}_bucket");
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(cumulated) {
            self.sample(&bucket, &[("le", &bound)], count);
        }
        self.sample(&format!("{name}_sum"), &[], histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), &[], cumulated[BOUNDS.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_hub_that_was_just_started_tells_every_figure_as_nothing() {
        let text = render(&Figures::default());
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.contains("_info")) {
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number");
            assert!(value == 0.0, "{line}");
        }
        assert!(text.contains("\nclasshub_refusals_total{code=\"rate_limited\"} 0\n"));
        assert!(text.contains(&format!("classhub_build_info{{version=\"{}\",tls=", env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn the_start_follows_a_clock_that_is_set_later() {
        let mut figures = Figures { now: Now { monotonic_ms: 2_500, wall_ms: 1_000 }, ..Figures::default() };
        assert!(
            render(&figures).contains("\nclasshub_start_time_seconds 0.000\n"),
            "a board whose clock was never set"
        );
        figures.now.wall_ms = 1_767_225_602_501;
        assert!(render(&figures).contains("\nclasshub_start_time_seconds 1767225600.001\n"));
        assert!(render(&figures).contains("\nclasshub_uptime_seconds 2.500\n"));
    }

    #[test]
    fn a_histogram_cumulates() {
        let mut figures = Figures::default();
        for took_us in [10, 20, 3_000, 2_000_000] {
            figures.traffic.turns.add(Duration::from_micros(took_us));
        }
        let text = render(&figures);
        for line in
            ["_bucket{le=\"0.000025\"} 2", "_bucket{le=\"0.0025\"} 2", "_bucket{le=\"0.005\"} 3", "_bucket{le=\"1\"} 3"]
        {
            assert!(text.contains(&format!("\nclasshub_turn_duration_seconds{line}\n")), "{line}: {text}");
        }
        for line in ["_bucket{le=\"+Inf\"} 4", "_sum 2.00303", "_count 4"] {
            assert!(text.contains(&format!("\nclasshub_turn_duration_seconds{line}\n")), "{line}: {text}");
        }
    }

    #[test]
    fn every_status_that_is_answered_is_counted() {
        let mut traffic = Traffic::default();
        traffic.responded(b"HTTP/1.1 404 Not Found\r\n");
        traffic.responded(b"HTTP/1.1 999 What\r\n");
        traffic.responded(b"");
        assert_eq!(traffic.responses, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    }
}

//! Coming back: who breaks off and returns finds the seat as it was and misses nothing, and whoever is not expected back makes way.
//!
//! Owns: resume, linger, takeover and probe over real sockets (PROTOCOL.md: Join rule 4, Leave, Recovery), each beside an observer who
//! counts every frame and knows them all. Refuses to know: receipts and pulls (`receipts.rs`), and who else may be refused a seat (`limits.rs`).

mod common;

use std::{
    io::Write,
    net::{Shutdown, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use common::{
    CONTINUATION, Client, Frame, Hub, NO_RATES, PATIENCE, PING, PONG, ROOM, Raw, TEXT, chat, cut, data, hang_up, ids,
    join, leave, narrow_tcp, resume, resume_token, seq, upgrade_head, with_ref,
};
use serde_json::{Value, json};

/// Another room than [`ROOM`].
const OTHER: &str = "E00002";

/// Nothing that is not said to end ends while a test runs: no seat that lingers, and no probe.
const PATIENT: &str = "[heartbeat]\nprobe_s = 60\nlinger_s = 60\n";

/// What a period of a second is at least: the hub counts in whole milliseconds.
const A_SECOND: Duration = Duration::from_millis(999);
const THREE_SECONDS: Duration = Duration::from_millis(2_999);

#[track_caller]
fn start(heartbeat: &str) -> Hub {
    Hub::start(&format!("{NO_RATES}{heartbeat}"))
}

/// Sits in a room from its first frame on, sees every one, and keeps them all.
struct Observer {
    addr: SocketAddr,
    client: Client,
    room: &'static str,
    /// The room's frames from the second on: the first is the observer's own join.
    heard: Vec<Value>,
}

impl Observer {
    #[track_caller]
    fn new(hub: &Hub, room: &'static str) -> Observer {
        let mut client = hub.connect();
        assert_eq!(seq(&client.join(room, "anna")), 1);
        Observer { addr: hub.addr, client, room, heard: Vec::new() }
    }

    /// The number of the last frame that was seen.
    fn seq(&self) -> u64 {
        1 + self.heard.len() as u64
    }

    /// What was seen after the frame `last_seq`.
    fn since(&self, last_seq: u64) -> &[Value] {
        &self.heard[last_seq as usize - 1..]
    }

    /// The next frame: none is missing before it.
    #[track_caller]
    fn next(&mut self) -> &Value {
        let frame = self.client.recv_json();
        assert_eq!(seq(&frame), self.seq() + 1, "{frame}");
        self.heard.push(frame);
        self.heard.last().expect("it was just put there")
    }

    #[track_caller]
    fn sees_join(&mut self, id: &str) {
        let joined = self.next();
        assert_eq!((&joined["msg"], &data(joined)["newJoinMember"]["id"]), (&json!("Join successfully"), &json!(id)));
    }

    #[track_caller]
    fn sees_leave(&mut self, id: &str, reason: &str) {
        let left = self.next();
        let seen = (&left["msg"], &data(left)["newLeaveMember"]["id"], &left["resultBody"]["extendFields"]["reason"]);
        assert_eq!(seen, (&json!("Leave successfully"), &json!(id), &json!(reason)), "{left}");
    }

    /// The observer says this, and that is the next that is seen in the room.
    #[track_caller]
    fn says(&mut self, content: &str) {
        self.client.send_json(&chat(self.room, content));
        let heard = self.next();
        assert_eq!(data(heard)["content"], content, "{heard}");
    }

    /// Nothing has been seen that was not waited for: the observer talks, and hears that.
    #[track_caller]
    fn talks(&mut self) {
        self.says(&format!("after {}", self.seq()));
    }

    /// Somebody joins, and the observer sees that.
    #[track_caller]
    fn newcomer(&mut self, id: &str) -> Seat {
        self.seats(Client::connect(self.addr), id)
    }

    /// This client joins, and the observer sees that.
    #[track_caller]
    fn seats(&mut self, mut client: Client, id: &str) -> Seat {
        let reply = client.join(self.room, id);
        self.sees_join(id);
        assert_eq!(seq(&reply), self.seq());
        Seat { client, room: self.room, id: id.to_owned(), token: resume_token(&reply), seen: self.seq() }
    }
}

/// Somebody's place in a room, and the connection that has it.
struct Seat {
    client: Client,
    room: &'static str,
    id: String,
    token: String,
    /// The number of the last frame that was read.
    seen: u64,
}

impl Seat {
    /// Answers no pings from now on, and shows each.
    fn mute(mut self) -> Seat {
        self.client.answers_pings = false;
        self
    }

    /// Reads everything up to the frame `last_seq`, as the observer has seen it.
    #[track_caller]
    fn reads_to(&mut self, last_seq: u64, observer: &Observer) {
        self.client.recv_all(&observer.since(self.seen)[..(last_seq - self.seen) as usize]);
        self.seen = last_seq;
    }

    /// Reads everything that the observer has seen, and no more has come.
    #[track_caller]
    fn reads_all(&mut self, observer: &Observer) {
        self.reads_to(observer.seq(), observer);
        self.client.fence();
    }

    /// The observer talks, and that is the next thing that is heard here.
    #[track_caller]
    fn hears(&mut self, observer: &mut Observer) {
        observer.talks();
        self.reads_to(observer.seq(), observer);
    }

    /// What it says is heard.
    #[track_caller]
    fn speaks(&mut self, observer: &mut Observer) {
        self.client.send_json(&chat(self.room, "I am here"));
        assert_eq!(data(observer.next())["from"]["id"], self.id);
        self.reads_to(observer.seq(), observer);
    }

    /// The join that brings its next connection all that this one has missed.
    fn resume(&self) -> Value {
        resume(self.room, &self.id, &self.token, self.seen)
    }

    /// Another connection comes for it with its token, and is promised all that was missed. Gives the connection it had.
    #[track_caller]
    fn is_resumed(&mut self, observer: &Observer) -> Client {
        self.is_resumed_by(Client::connect(observer.addr))
    }

    #[track_caller]
    fn is_resumed_by(&mut self, mut client: Client) -> Client {
        let reply = client.join_with(&self.resume());
        is_complete(&reply, self.seen);
        assert_eq!(resume_token(&reply), self.token, "a resume does not change it");
        std::mem::replace(&mut self.client, client)
    }

    #[track_caller]
    fn leaves(mut self, observer: &mut Observer) {
        self.client.send_json(&leave(self.room));
        observer.sees_leave(&self.id, "left");
    }
}

/// Everything after `last_seq` is to follow.
#[track_caller]
fn is_complete(reply: &Value, last_seq: u64) {
    assert_eq!(data(reply).get("members"), None, "{reply}");
    assert_eq!(reply["resultBody"]["extendFields"].get("gap"), None, "{reply}");
    assert_eq!(seq(reply), last_seq, "{reply}");
}

/// Nothing is to follow but what comes after `last_seq`: these are here, and something was missed.
#[track_caller]
fn is_gap(reply: &Value, members: &[&str], last_seq: u64) {
    assert_eq!(ids(&data(reply)["members"]), members);
    assert_eq!(reply["resultBody"]["extendFields"]["gap"], true, "{reply}");
    assert_eq!(seq(reply), last_seq, "{reply}");
}

/// These are here, and nothing is said of what was missed.
#[track_caller]
fn is_roster(reply: &Value, members: &[&str], last_seq: u64) {
    assert_eq!(ids(&data(reply)["members"]), members);
    assert_eq!(reply["resultBody"]["extendFields"].get("gap"), None, "{reply}");
    assert_eq!(seq(reply), last_seq, "{reply}");
}

/// The next frame must be a ping; gives what is in it.
#[track_caller]
fn recv_ping(client: &mut Client) -> Vec<u8> {
    let frame = client.recv();
    assert_eq!(frame.opcode, PING, "{frame:?}");
    frame.payload
}

/// What becomes of a connection without a close frame.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// The hub reads a reset.
    Reset,
    /// The hub reads the end.
    End,
    /// The hub is told nothing.
    Silent,
}

impl Gone {
    /// Gives the client where it still has a socket.
    fn happens_to(self, client: Client) -> Option<Client> {
        match self {
            Gone::Reset => {
                cut(client.stream);
                return None;
            }
            Gone::End => client.stream.shutdown(Shutdown::Write).expect("it is connected"),
            Gone::Silent => {}
        }
        Some(client)
    }
}

// ---- A class ------------------------------------------------------------------------------------

#[test]
fn a_class_that_was_reset_is_back_at_once() {
    a_class_is_back_at_once(Gone::Reset);
}

#[test]
fn a_class_that_came_to_an_end_is_back_at_once() {
    a_class_is_back_at_once(Gone::End);
}

#[test]
fn a_class_that_fell_silent_is_back_at_once() {
    a_class_is_back_at_once(Gone::Silent);
}

/// 64 at once, all back within 1.5 s of when they can be, and the room has not noticed.
#[track_caller]
fn a_class_is_back_at_once(gone: Gone) {
    const CLASS: u64 = 64;
    const LAST_WORD: &str = "the last word";
    let hub = start("");
    let mut anna = Observer::new(&hub, ROOM);
    let mut class: Vec<Seat> = (0..CLASS).map(|n| anna.newcomer(&format!("pupil {n}"))).collect();
    for _ in 0..8 {
        anna.talks();
    }
    // Some had read more than others.
    let said = anna.seq();
    for (n, seat) in (0..).zip(&mut class) {
        seat.reads_to(said - n % 8, &anna);
    }
    let resumes: Vec<Value> = class.iter().map(Seat::resume).collect();
    let (clients, seats): (Vec<Client>, Vec<_>) =
        class.into_iter().map(|seat| (seat.client, (seat.token, seat.seen))).unzip();
    let olds: Vec<Client> = clients.into_iter().filter_map(|client| gone.happens_to(client)).collect();
    for _ in 0..100 {
        anna.talks();
    }

    let addr = hub.addr;
    let may_return = Instant::now();
    let returns: Vec<_> = resumes
        .into_iter()
        .map(|resume| {
            thread::spawn(move || {
                let mut client = Client::connect(addr);
                client.send_json(&resume);
                // It is judged afterwards: now the clock runs.
                let mut frames = vec![client.recv()];
                while !frames.last().is_some_and(|frame| frame.text().contains(LAST_WORD)) {
                    frames.push(client.recv());
                }
                (frames, may_return.elapsed(), client)
            })
        })
        .collect();
    // The talk goes on while they come.
    for _ in 0..50 {
        anna.talks();
    }
    anna.says(LAST_WORD);
    let returned: Vec<_> = returns.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    for ((frames, after, _), (token, seen)) in returned.iter().zip(&seats) {
        assert!(*after < Duration::from_millis(1500), "{after:?}");
        let frames: Vec<Value> = frames.iter().map(Frame::json).collect();
        is_complete(&frames[0], *seen);
        assert_eq!(resume_token(&frames[0]), *token);
        assert_eq!(frames[1..], *anna.since(*seen));
    }
    // What the observer has seen since the first was gone is its own talk.
    assert!(anna.since(said).iter().all(|frame| frame["msg"] == "Chat successfully"));
    for (mut old, (_, seen)) in olds.into_iter().zip(&seats).filter(|_| matches!(gone, Gone::Silent)) {
        // The old connections had all up to the moment when they were closed.
        let frames: Vec<Value> = old.recv_to_close(4001).iter().map(Frame::json).collect();
        assert_eq!(frames[..], anna.since(*seen)[..frames.len()]);
    }
    anna.talks();
}

#[test]
fn a_class_that_stays_away_leaves_and_misses_nothing() {
    const CLASS: usize = 40;
    const MESSAGES: usize = 300;
    let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 1048576\n[heartbeat]\nlinger_s = 3\n"));
    let mut anna = Observer::new(&hub, ROOM);
    let mut class: Vec<Seat> = (0..CLASS).map(|n| anna.newcomer(&format!("pupil {n}"))).collect();
    for seat in &mut class {
        seat.reads_all(&anna);
    }
    let gone_at = Instant::now();
    let mut away = Vec::new();
    for (n, Seat { client, room, id, token, seen }) in class.into_iter().enumerate() {
        let gone = if n % 2 == 0 { Gone::Reset } else { Gone::End };
        let old = gone.happens_to(client);
        away.push((old, resume(room, &id, &token, seen), id, token, seen));
    }
    // The room talks on at once; the leaves come behind that.
    for _ in 0..MESSAGES {
        anna.talks();
    }
    assert!(gone_at.elapsed() < THREE_SECONDS, "too slow a machine to see them linger");
    let mut left: Vec<String> = Vec::new();
    for _ in 0..CLASS {
        let frame = anna.next();
        assert_eq!(frame["resultBody"]["extendFields"]["reason"], "lost", "{frame}");
        left.push(data(frame)["newLeaveMember"]["id"].as_str().expect("an id").to_owned());
        assert!(gone_at.elapsed() >= THREE_SECONDS);
    }
    left.sort_unstable();
    let mut all: Vec<&String> = away.iter().map(|(_, _, id, ..)| id).collect();
    all.sort_unstable();
    assert_eq!(left.iter().collect::<Vec<_>>(), all);
    // And goes on talking, for the rest of a minute.
    while gone_at.elapsed() < Duration::from_secs(60) {
        anna.talks();
        thread::sleep(Duration::from_millis(200));
    }

    let mut back = Vec::new();
    for (_, resume, id, token, seen) in away {
        let mut client = hub.connect();
        let reply = client.join_with(&resume);
        is_complete(&reply, seen);
        assert_ne!(resume_token(&reply), token, "it is another seat");
        anna.sees_join(&id);
        back.push(Seat { client, room: ROOM, id, token: resume_token(&reply), seen });
    }
    anna.talks();
    for seat in &mut back {
        // With its own leave and its own join in it.
        let own = anna.since(seat.seen).iter().filter(|frame| {
            let member = |field: &str| data(frame)[field]["id"] == seat.id;
            member("newLeaveMember") || member("newJoinMember")
        });
        assert_eq!(own.count(), 2);
        seat.reads_all(&anna);
        seat.is_resumed(&anna).expect_close(4001);
    }
    anna.talks();
}

#[test]
fn whoever_breaks_off_again_and_again_misses_nothing() {
    const PUPILS: usize = 8;
    const BREAKS: usize = 30;
    const LAST_WORD: &str = "the last word";
    let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 16777216\n[rooms]\nhistory = 65536\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let pupils: Vec<Seat> = (0..PUPILS).map(|n| anna.newcomer(&format!("pupil {n}"))).collect();
    let said = anna.seq();
    let addr = hub.addr;
    let pupils: Vec<_> = (0..)
        .zip(pupils)
        .map(|(n, mut seat)| {
            thread::spawn(move || {
                let (first, mut frames) = (seat.seen, Vec::new());
                let mut olds = Vec::new();
                for round in 0..BREAKS {
                    for _ in 0..(n + 3 * round) % 7 {
                        frames.push(seat.client.recv_json());
                    }
                    seat.seen = first + frames.len() as u64;
                    let old = seat.is_resumed_by(Client::connect(addr));
                    // That one lived until it was taken over. Now and then the next one breaks as well, before it has read anything.
                    olds.push(old);
                    let gone = [Gone::Reset, Gone::End, Gone::Silent][(n + round) % 3];
                    if round % 2 == 0 {
                        let client = std::mem::replace(&mut seat.client, Client::connect(addr));
                        olds.extend(gone.happens_to(client));
                        is_complete(&seat.client.join_with(&seat.resume()), seat.seen);
                    }
                }
                while !frames.last().is_some_and(|frame| data(frame)["content"] == LAST_WORD) {
                    frames.push(seat.client.recv_json());
                }
                (first, frames)
            })
        })
        .collect();
    for _ in 0..1000 {
        anna.talks();
        thread::sleep(Duration::from_millis(1));
    }
    anna.says(LAST_WORD);
    for pupil in pupils {
        let (first, frames) = pupil.join().expect("no panic");
        assert_eq!(frames[..], *anna.since(first));
    }
    assert!(anna.since(said).iter().all(|frame| frame["msg"] == "Chat successfully"));
}

#[test]
fn a_connection_in_two_rooms_is_back_in_both() {
    let hub = start(PATIENT);
    let (mut anna, mut elsewhere) = (Observer::new(&hub, ROOM), Observer::new(&hub, OTHER));
    let bert = anna.newcomer("bert");
    let (token, seen) = {
        let mut client = bert.client;
        let reply = client.join(OTHER, "bert");
        elsewhere.sees_join("bert");
        cut(client.stream);
        (resume_token(&reply), elsewhere.seq())
    };
    for _ in 0..50 {
        anna.talks();
        elsewhere.talks();
    }
    let mut client = hub.connect();
    let requests = [resume(ROOM, "bert", &bert.token, bert.seen), resume(OTHER, "bert", &token, seen)];
    client.send_all(&requests.map(|request| Raw::text(&request.to_string())));
    let last = (anna.seq(), elsewhere.seq());
    let (mut here, mut there) = (Vec::new(), Vec::new());
    while here.len() + there.len() < 2 + 50 + 50 {
        let frame = client.recv_json();
        let room = data(&frame).get("number").or(data(&frame).get("roomNumber"));
        if room == Some(&json!(ROOM)) { here.push(frame) } else { there.push(frame) }
    }
    for (observer, frames, seen, last) in [(&anna, here, bert.seen, last.0), (&elsewhere, there, seen, last.1)] {
        is_complete(&frames[0], seen);
        assert_eq!(frames[1..], *observer.since(seen));
        assert_eq!(observer.seq(), last);
    }
    client.fence();
    anna.talks();
    elsewhere.talks();
}

// ---- The end of the log -------------------------------------------------------------------------

const SHORT_HISTORY: u64 = 8;

#[test]
fn a_log_that_does_not_reach_back_is_a_gap() {
    let toml = format!("{NO_RATES}[rooms]\nhistory = {SHORT_HISTORY}\n[heartbeat]\nlinger_s = 1\nprobe_s = 60\n");
    let hub = Hub::start(&toml);
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    let mut carl = anna.newcomer("carl");
    bert.reads_all(&anna);

    // To a seat that was kept: its place in the roster, and the room's latest.
    hang_up(bert.client.stream);
    for _ in 0..=SHORT_HISTORY {
        anna.talks();
    }
    let mut client = hub.connect();
    let reply = client.join_with(&resume(ROOM, "bert", &bert.token, bert.seen));
    is_gap(&reply, &["anna", "bert", "carl"], anna.seq());
    assert_eq!(resume_token(&reply), bert.token);
    // Nothing is replayed: the next that comes is the next that is said.
    bert = Seat { client, seen: anna.seq(), ..bert };
    bert.hears(&mut anna);

    // To one that was not: another seat, behind the others.
    carl.reads_all(&anna);
    hang_up(bert.client.stream);
    for _ in 0..SHORT_HISTORY {
        anna.talks();
    }
    anna.sees_leave("bert", "lost");
    let mut client = hub.connect();
    let reply = client.join_with(&resume(ROOM, "bert", &bert.token, bert.seen));
    anna.sees_join("bert");
    is_gap(&reply, &["anna", "carl", "bert"], anna.seq());
    assert_ne!(resume_token(&reply), bert.token);
    bert = Seat { client, token: resume_token(&reply), seen: anna.seq(), ..bert };
    bert.hears(&mut anna);
    carl.reads_all(&anna);
}

#[test]
fn as_much_is_replayed_as_the_history_holds() {
    let hub = Hub::start(&format!("{NO_RATES}[rooms]\nhistory = {SHORT_HISTORY}\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    for _ in 0..2 * SHORT_HISTORY {
        bert.hears(&mut anna);
    }
    let latest = anna.seq();
    for last_seq in latest - SHORT_HISTORY..=latest {
        bert.seen = last_seq;
        bert.is_resumed(&anna).expect_close(4001);
        bert.reads_all(&anna);
    }
    let mut client = hub.connect();
    let reply = client.join_with(&resume(ROOM, "bert", &bert.token, latest - SHORT_HISTORY - 1));
    is_gap(&reply, &["anna", "bert"], latest);
    client.fence();

    // The join of somebody who comes back to no seat is a frame too, and takes the place of an old one.
    client.send_json(&leave(ROOM));
    anna.sees_leave("bert", "left");
    client.recv_all(anna.since(latest));
    let reply = client.join_with(&resume(ROOM, "bert", &bert.token, anna.seq() - SHORT_HISTORY));
    anna.sees_join("bert");
    // Whether the oldest had to go for it at once or with the next frame is the hub's to say, and then it has to be so.
    match data(&reply).get("members") {
        Some(_) => is_gap(&reply, &["anna", "bert"], anna.seq()),
        None => client.recv_all(anna.since(seq(&reply))),
    }
    client.fence();
}

#[test]
fn a_replay_that_breaks_off_goes_on_where_it_was() {
    const MESSAGES: usize = 128;
    const READ_AT_ONCE: usize = 20;
    let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 4194304\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    hang_up(bert.client.stream);
    let long = "x".repeat(8000);
    for n in 0..MESSAGES {
        anna.says(&format!("{n} {long}"));
    }
    // Far more than a socket takes: each time it breaks inside a frame, at another place.
    let mut breaks = 0;
    loop {
        bert.client = Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", ""));
        let reply = bert.client.join_with(&bert.resume());
        is_complete(&reply, bert.seen);
        let owed = anna.since(bert.seen).len();
        bert.reads_to(bert.seen + owed.min(READ_AT_ONCE) as u64, &anna);
        if owed <= READ_AT_ONCE {
            break;
        }
        bert.client.take_bytes(breaks * 1000 + 1);
        breaks += 1;
        cut(bert.client.stream);
        anna.talks();
    }
    assert!(breaks > 5);
    bert.client.fence();
    bert.hears(&mut anna);
    bert.speaks(&mut anna);
}

#[test]
fn a_reply_stands_behind_the_replay_that_it_was_asked_after() {
    const MESSAGES: usize = 24;
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    hang_up(bert.client.stream);
    let long = "x".repeat(8000);
    for n in 0..MESSAGES {
        anna.says(&format!("{n} {long}"));
    }
    bert.client = Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", ""));
    let requests = [bert.resume(), with_ref(leave(OTHER), "r"), chat(ROOM, "all at once")];
    bert.client.send_all(&requests.map(|request| Raw::text(&request.to_string())));
    // Before it has read any of that.
    assert_eq!(data(anna.next())["content"], "all at once");
    is_complete(&bert.client.recv_json(), bert.seen);
    bert.reads_to(anna.seq() - 1, &anna);
    assert_eq!(bert.client.recv_failure("not_joined")["ref"], "r");
    bert.reads_all(&anna);
}

// ---- Takeover -----------------------------------------------------------------------------------

#[test]
fn a_token_takes_over_a_living_connection() {
    let hub = start("[heartbeat]\nlinger_s = 3\n");
    let (mut anna, mut elsewhere) = (Observer::new(&hub, ROOM), Observer::new(&hub, OTHER));
    let mut bert = anna.newcomer("bert");
    anna.newcomer("carl").leaves(&mut anna);
    let mut carl = anna.newcomer("carl");
    bert.reads_all(&anna);
    bert.client.join(OTHER, "bert");
    elsewhere.sees_join("bert");
    anna.talks();

    let taken_at = Instant::now();
    let mut old = bert.is_resumed(&anna);
    // Even in the middle of something: what it had read of that does not count, and it is told why it was closed.
    let late = chat(ROOM, "too late").to_string();
    let frames: Vec<Value> = old.recv_to_close(4001).iter().map(Frame::json).collect();
    assert_eq!(frames[..], anna.since(bert.seen)[..frames.len()]);
    // It may still send, and nobody listens.
    for text in [&late, &chat(OTHER, "too late").to_string(), &leave(ROOM).to_string(), &leave(OTHER).to_string()] {
        let _ = old.stream.write_all(&Raw::text(text).bytes());
    }
    bert.reads_all(&anna);
    bert.hears(&mut anna);
    bert.speaks(&mut anna);
    carl.reads_all(&anna);

    // Its seat in the other room is not the new connection's, and waits as that of any broken one.
    bert.client.send_json(&chat(OTHER, "am I here?"));
    bert.client.recv_failure("not_joined");
    elsewhere.talks();
    assert!(taken_at.elapsed() < THREE_SECONDS, "too slow a machine to see it linger");
    elsewhere.sees_leave("bert", "lost");
    assert!(taken_at.elapsed() >= THREE_SECONDS);
    bert.hears(&mut anna);
}

#[test]
fn what_is_behind_a_takeover_in_the_same_breath_is_not_read() {
    // Its last word and the takeover reach the hub together, or so nearly that either may be first: but who was taken over is not heard again.
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    for _ in 0..20 {
        let mut client = hub.connect();
        client.send_json(&bert.resume());
        let words: Vec<Raw> = (0..20).map(|n| Raw::text(&chat(ROOM, &format!("{n}")).to_string())).collect();
        let _ = bert.client.stream.write_all(&words.iter().flat_map(Raw::bytes).collect::<Vec<u8>>());
        let reply = client.recv_json();
        is_complete(&reply, bert.seen);
        bert.client.recv_to_close(4001);
        bert.client = client;
        bert.client.send_json(&chat(ROOM, "and now I speak"));
        // All that was heard of the old connection was heard before the new one spoke, and from the first word on.
        for n in 0.. {
            let content = data(anna.next())["content"].clone();
            if content == "and now I speak" {
                break;
            }
            assert_eq!(content, json!(format!("{n}")));
        }
        bert.reads_all(&anna);
    }
}

#[test]
fn a_seat_has_one_holder_however_many_come_for_it() {
    const COMING: usize = 8;
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    for _ in 0..20 {
        let resume = bert.resume();
        let coming: Vec<_> = (0..COMING)
            .map(|_| {
                let (mut client, resume) = (hub.connect(), resume.clone());
                thread::spawn(move || {
                    is_complete(&client.join_with(&resume), seq_shown(&resume));
                    client
                })
            })
            .collect();
        let mut clients: Vec<Client> = coming.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        anna.talks();
        // One hears that; the others are told why not.
        clients.push(bert.client);
        let mut holders = Vec::new();
        for mut client in clients {
            let frame = client.recv();
            match frame.opcode {
                TEXT => {
                    assert_eq!(frame.json(), anna.since(bert.seen)[0]);
                    holders.push(client);
                }
                _ => assert_eq!(frame.close_code(), Some(4001)),
            }
        }
        assert_eq!(holders.len(), 1);
        bert = Seat { client: holders.remove(0), seen: anna.seq(), ..bert };
    }
    bert.speaks(&mut anna);
}

/// The `lastSeq` of a resume.
#[track_caller]
fn seq_shown(resume: &Value) -> u64 {
    resume["extendFields"]["lastSeq"].as_u64().expect("it was put there")
}

#[test]
fn a_blocked_connection_is_told_of_the_takeover_behind_what_it_was_in() {
    const MESSAGES: usize = 96;
    let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 4194304\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.seats(Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", "")), "bert");
    let long = "x".repeat(8000);
    for n in 0..MESSAGES {
        anna.says(&format!("{n} {long}"));
    }
    // Twice: the second time it is taken from somebody who is in the middle of the replay.
    for _ in 0..2 {
        let client = Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", ""));
        let mut old = bert.is_resumed_by(client);
        let frames: Vec<Value> = old.recv_to_close(4001).iter().map(Frame::json).collect();
        assert!(frames.len() < MESSAGES);
        assert_eq!(frames[..], anna.since(bert.seen)[..frames.len()]);
    }
    bert.reads_all(&anna);
    bert.hears(&mut anna);
}

#[test]
fn a_seat_is_taken_over_as_it_was() {
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let named = |name: &str| {
        let mut request = join(ROOM, "bert");
        request["textData"]["data"]["from"] =
            json!({"id": "bert", "personName": name, "personNum": name, "nickName": name, "headImgUrl": name});
        request
    };
    let mut first = hub.connect();
    let reply = first.join_with(&named("first"));
    let (member, token) = (data(&reply)["newJoinMember"].clone(), resume_token(&reply));
    assert_eq!(member["nickName"], "first");
    anna.sees_join("bert");
    let _carl = anna.newcomer("carl");

    // With the token, by whatever name; without lastSeq nothing is said of what was missed.
    let mut request = named("second");
    request["extendFields"] = json!({"resumeToken": token, "ref": "again"});
    let mut second = hub.connect();
    let with_token = second.join_with(&request);
    first.recv_to_close(4001);
    hang_up(second.stream);
    // Without, to the seat that lingers.
    let mut third = hub.connect();
    let without = third.join_with(&with_ref(named("third"), "again"));
    for reply in [&with_token, &without] {
        is_roster(reply, &["anna", "bert", "carl"], anna.seq());
        assert_eq!(data(reply)["newJoinMember"], member);
        assert_eq!(data(reply)["members"][1], member);
        assert_eq!(reply["resultBody"]["extendFields"]["ref"], "again");
        assert_eq!(resume_token(reply), token);
    }
    third.say("who am I?");
    assert_eq!(data(anna.next())["from"], member);
    third.send_json(&leave(ROOM));
    anna.sees_leave("bert", "left");
    assert_eq!(data(anna.since(anna.seq() - 1).first().expect("it was seen"))["newLeaveMember"], member);
}

#[test]
fn a_full_connection_takes_nothing_over() {
    let hub = Hub::start(&format!("{NO_RATES}rooms_per_connection = 1\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    let mut full = hub.connect();
    full.join(OTHER, "bert");
    full.send_json(&bert.resume());
    full.recv_failure("too_many_rooms");
    bert.speaks(&mut anna);
    bert.client.fence();
    // Nor one that lingers, and it lingers on.
    hang_up(std::mem::replace(&mut bert.client, hub.connect()).stream);
    anna.talks();
    for request in [bert.resume(), join(ROOM, "bert")] {
        full.send_json(&request);
        full.recv_failure("too_many_rooms");
    }
    anna.talks();
    is_complete(&bert.client.join_with(&bert.resume()), bert.seen);
    bert.reads_all(&anna);
    // With a place free, it is let in.
    full.send_json(&leave(OTHER));
    full.recv_json();
    bert.is_resumed_by(full).expect_close(4001);
    bert.hears(&mut anna);
}

// ---- Probe --------------------------------------------------------------------------------------

#[test]
fn a_holder_that_is_dead_gives_way() {
    let hub = start("[heartbeat]\nprobe_s = 1\nlinger_s = 60\n");
    let (mut anna, mut elsewhere) = (Observer::new(&hub, ROOM), Observer::new(&hub, OTHER));
    let mut dead = anna.newcomer("bert").mute();
    dead.client.join(OTHER, "bert");
    elsewhere.sees_join("bert");

    // A client of the source's kind knows nothing of tokens; it tries again and again, and puts nothing off by it.
    let mut plain = hub.connect();
    let knocked_at = Instant::now();
    let reply = loop {
        plain.send_json(&join(ROOM, "bert"));
        let reply = plain.recv_json();
        if reply["status"] == 1 {
            break reply;
        }
        assert_eq!(reply, common::duplicate());
        thread::sleep(Duration::from_millis(20));
    };
    let after = knocked_at.elapsed();
    assert!(after >= A_SECOND, "{after:?}");
    // It does not linger: somebody waits for it.
    anna.sees_leave("bert", "lost");
    anna.sees_join("bert");
    elsewhere.sees_leave("bert", "lost");
    is_roster(&reply, &["anna", "bert"], anna.seq());
    // It was asked once, and then told.
    assert_eq!(recv_ping(&mut dead.client), b"");
    dead.client.expect_close(4000);
    let mut bert = Seat { client: plain, seen: anna.seq(), ..dead };
    bert.hears(&mut anna);
}

#[test]
fn one_knock_is_enough_for_a_dead_holder() {
    let hub = start("[heartbeat]\nprobe_s = 1\nlinger_s = 60\n");
    let mut anna = Observer::new(&hub, ROOM);
    let mut dead = anna.newcomer("bert").mute();
    let mut plain = hub.connect();
    let knocked_at = Instant::now();
    plain.send_json(&join(ROOM, "bert"));
    plain.recv_duplicate();
    anna.talks();
    let talked = anna.seq();
    anna.sees_leave("bert", "lost");
    let after = knocked_at.elapsed();
    assert!(after >= A_SECOND, "{after:?}");
    plain.join(ROOM, "bert");
    anna.sees_join("bert");
    dead.reads_to_ping(&anna);
    dead.reads_to(talked, &anna);
    dead.client.expect_close(4000);
}

impl Seat {
    /// Reads on, one frame after another as the observer has seen them, up to a ping.
    #[track_caller]
    fn reads_to_ping(&mut self, observer: &Observer) {
        loop {
            let frame = self.client.recv();
            if frame.opcode == PING {
                return;
            }
            assert_eq!(frame.json(), observer.since(self.seen)[0]);
            self.seen += 1;
        }
    }
}

#[test]
fn a_living_holder_stays_however_often_somebody_knocks() {
    const KNOCKERS: usize = 20;
    // With the usual rates: pings that could be had for the asking would spend the holder's.
    let hub = Hub::start("[heartbeat]\nprobe_s = 1\n");
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert").mute();
    let holder = thread::spawn(move || {
        let mut pings = 0;
        loop {
            let frame = bert.client.recv();
            if frame.opcode != PING {
                assert_eq!(data(&frame.json())["content"], "enough");
                bert.seen += 1;
                return (bert, pings);
            }
            pings += 1;
            bert.client.send(&Raw::new(PONG, frame.payload));
        }
    });
    let mut knockers: Vec<Client> = (0..KNOCKERS).map(|_| hub.connect()).collect();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(3500) {
        for knocker in &mut knockers {
            knocker.send_json(&join(ROOM, "bert"));
        }
        for knocker in &mut knockers {
            knocker.recv_duplicate();
        }
        thread::sleep(Duration::from_millis(60));
    }
    anna.says("enough");
    let (mut bert, pings) = holder.join().expect("no panic");
    let most = since.elapsed().as_secs() + 1;
    assert!((3..=most).contains(&pings), "{pings} pings in {:?}", since.elapsed());
    // It has its rate to itself.
    let words: Vec<Raw> = (0..36).map(|n| Raw::text(&chat(ROOM, &format!("{n}")).to_string())).collect();
    bert.client.send_all(&words);
    for n in 0..words.len() {
        assert_eq!(data(anna.next())["content"], format!("{n}"));
    }
    bert.reads_to(anna.seq(), &anna);
    anna.talks();
}

#[test]
fn whatever_a_holder_sends_is_life() {
    // Each sends the next of these bytes every time that it is asked, and nothing else; no pong.
    let heartbeat = Raw::text(r#"{"msgType":1}"#);
    let said = Raw::text(&chat(ROOM, "slowly").to_string()).bytes();
    let one_by_one = |bytes: &[u8]| bytes[..2].iter().map(|byte| vec![*byte]).collect::<Vec<_>>();
    let signs = [
        ("heartbeat", vec![heartbeat.bytes(), heartbeat.bytes()]),
        ("byte by byte", one_by_one(&said)),
        ("half a frame", vec![said[..said.len() / 2].to_vec(), said[said.len() / 2..said.len() - 1].to_vec()]),
        ("fragments", vec![Raw::text(" ").unfinished().bytes(), Raw::new(CONTINUATION, " ").unfinished().bytes()]),
        ("a pong of something else", vec![Raw::new(PONG, "x").bytes(), Raw::new(PONG, "y").bytes()]),
        ("nonsense", vec![Raw::new(TEXT, "nonsense").bytes(), Raw::new(TEXT, "{").bytes()]),
    ];
    let hub = start("[heartbeat]\nprobe_s = 1\nlinger_s = 60\n");
    let mut anna = Observer::new(&hub, ROOM);
    let mut holders: Vec<(Seat, Vec<Vec<u8>>)> =
        signs.into_iter().map(|(id, signs)| (anna.newcomer(id).mute(), signs)).collect();
    let mut mute = anna.newcomer("mute").mute();
    mute.reads_all(&anna);
    let knock = |id: &str| {
        let mut knocker = hub.connect();
        knocker.send_json(&join(ROOM, id));
        knocker.recv_duplicate();
    };
    for (seat, _) in &mut holders {
        seat.reads_all(&anna);
    }
    for round in 0..2 {
        for (seat, signs) in &mut holders {
            knock(&seat.id);
            seat.reads_to_ping(&anna);
            // The refusals of nonsense are read at the end.
            seat.client.send_bytes(&signs[round]);
        }
        if round == 0 {
            knock("mute");
            recv_ping(&mut mute.client);
        }
        // Until every probe must have been lost; the mute one's is.
        thread::sleep(Duration::from_millis(1300));
        if round == 0 {
            mute.client.expect_close(4000);
            anna.sees_leave("mute", "lost");
        }
        anna.talks();
        for (seat, _) in &mut holders {
            if seat.id == "nonsense" {
                seat.client.recv_failure("bad_json");
            }
        }
    }
    for (seat, signs) in &mut holders {
        if seat.id == "byte by byte" || seat.id == "half a frame" {
            let sent: usize = signs.iter().map(Vec::len).sum();
            seat.client.send_bytes(&said[sent..]);
            assert_eq!(data(anna.next())["from"]["id"], seat.id);
        }
    }
    for (seat, _) in &mut holders {
        seat.reads_to(anna.seq(), &anna);
    }
    anna.talks();
}

/// More than the system holds for a connection: its socket takes no more.
#[test]
fn a_holder_that_reads_slowly_is_alive() {
    a_slow_holder_stays_and_a_stuck_one_goes(160, 3 * 1024);
}

/// Not so much: the socket has taken all of it, and would take more. Only the system knows that it goes out.
#[test]
fn a_holder_that_reads_slowly_what_its_socket_took_is_alive() {
    a_slow_holder_stays_and_a_stuck_one_goes(10, 512);
}

/// Of two who have so many messages before them, one reads `step_bytes` at a time, far from what would bring it to the ping.
#[track_caller]
fn a_slow_holder_stays_and_a_stuck_one_goes(messages: usize, step_bytes: usize) {
    let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 4194304\n[heartbeat]\nprobe_s = 2\nlinger_s = 60\n"));
    let mut anna = Observer::new(&hub, ROOM);
    let narrow = || Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", ""));
    let mut slow = anna.seats(narrow(), "slow").mute();
    let mut stuck = anna.seats(narrow(), "stuck").mute();
    let long = "x".repeat(8000);
    for n in 0..messages {
        anna.says(&format!("{n} {long}"));
    }
    let mut plain = hub.connect();
    let mut knock = |id: &str| {
        plain = hub.connect();
        plain.send_json(&join(ROOM, id));
        plain.recv_duplicate();
    };
    // What the one that takes nothing has room for in its own system goes out all the same, within a moment.
    thread::sleep(Duration::from_millis(500));
    knock("stuck");
    knock("slow");
    let since = Instant::now();
    let mut periods = 0;
    while periods < 2 {
        slow.client.take_bytes(step_bytes);
        thread::sleep(Duration::from_millis(50));
        if since.elapsed() > (periods + 1) * Duration::from_millis(2400) {
            knock("slow");
            periods += 1;
        }
    }
    // The one that takes nothing is gone.
    anna.sees_leave("stuck", "lost");
    anna.talks();
    let frames = stuck.client.recv_to_close(4000);
    let (pings, frames): (Vec<Frame>, Vec<Frame>) = frames.into_iter().partition(|frame| frame.opcode == PING);
    assert_eq!(pings.len(), 1);
    let frames: Vec<Value> = frames.iter().map(Frame::json).collect();
    assert_eq!(frames[..], anna.since(stuck.seen)[..frames.len()]);
    // The other reads to the end, a ping or more among all the rest.
    let mut pings = 0;
    while slow.seen < anna.seq() {
        let frame = slow.client.recv();
        if frame.opcode == PING {
            pings += 1;
        } else {
            assert_eq!(frame.json(), anna.since(slow.seen)[0]);
            slow.seen += 1;
        }
    }
    assert!((1..=4).contains(&pings), "{pings}");
}

// ---- Linger -------------------------------------------------------------------------------------

#[test]
fn whoever_is_back_in_time_was_never_away() {
    for gone in [Gone::Reset, Gone::End] {
        let hub = start(PATIENT);
        let mut anna = Observer::new(&hub, ROOM);
        let (mut bert, mut carl) = (anna.newcomer("bert"), anna.newcomer("carl"));
        for _ in 0..3 {
            bert.reads_all(&anna);
            let _old = gone.happens_to(bert.client);
            anna.talks();
            // A client of the source's kind: it shows nothing, and is told who is here.
            let (client, reply) = joins_at_last(&hub, "bert");
            is_roster(&reply, &["anna", "bert", "carl"], anna.seq());
            assert_eq!(resume_token(&reply), bert.token);
            bert = Seat { client, seen: anna.seq(), ..bert };
            bert.speaks(&mut anna);
        }
        bert.hears(&mut anna);
        carl.reads_all(&anna);
    }
}

/// Joins as soon as the hub knows that the connection before is gone (see [`cut`]).
#[track_caller]
fn joins_at_last(hub: &Hub, id: &str) -> (Client, Value) {
    let until = Instant::now() + PATIENCE;
    let mut client = hub.connect();
    loop {
        client.send_json(&join(ROOM, id));
        let reply = client.recv_json();
        if reply["status"] == 1 {
            return (client, reply);
        }
        assert_eq!(reply, common::duplicate());
        assert!(Instant::now() < until, "the hub keeps a seat for a connection that is gone");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn whoever_closes_on_purpose_leaves_at_once() {
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    for (bytes, code) in [
        (Raw::close(1000).bytes(), Some(1000)),
        (Raw::new(common::CLOSE, "").bytes(), None),
        (Raw::close(4000).bytes(), Some(4000)),
        (Raw::close(4001).bytes(), Some(4001)),
        (Raw::close(2000).bytes(), Some(1002)),
        // What the hub closes for a fault of the client's.
        (Raw { masked: false, ..Raw::text("x") }.bytes(), Some(1002)),
        (Raw::new(common::BINARY, "").bytes(), Some(1003)),
        (Raw::new(TEXT, [0xFF]).bytes(), Some(1007)),
        (Raw::text("nonsense").bytes().repeat(16), Some(1008)),
        (Raw::text(&" ".repeat(16 * 1024 + 1)).bytes(), Some(1009)),
    ] {
        let mut bert = anna.newcomer("bert");
        bert.client.send_bytes(&bytes);
        bert.client.recv_to_close(code);
        anna.sees_leave("bert", "closed");
    }
    let mut bert = anna.newcomer("bert");
    bert.client.send_json(&leave(ROOM));
    anna.sees_leave("bert", "left");
    bert.reads_all(&anna);
    // Each time it was another seat, and a new join.
    anna.seats(bert.client, "bert").leaves(&mut anna);
}

#[test]
fn whoever_breaks_off_leaves_after_a_while() {
    let hub = start("[heartbeat]\nlinger_s = 3\n");
    let mut anna = Observer::new(&hub, ROOM);
    let (reset, end, mut reloads) = (anna.newcomer("reset"), anna.newcomer("end"), anna.newcomer("reloads"));
    let since = Instant::now();
    Gone::Reset.happens_to(reset.client);
    let _end = Gone::End.happens_to(end.client);
    // What a browser says on a reload.
    reloads.client.send(&Raw::close(1001));
    reloads.client.expect_close(1001);
    anna.talks();
    let members = ["anna", "reset", "end", "reloads", "watcher"];
    let mut watcher = hub.connect();
    is_roster(&watcher.join(ROOM, "watcher"), &members, anna.seq() + 1);
    anna.sees_join("watcher");
    assert!(since.elapsed() < THREE_SECONDS, "too slow a machine to see them linger");
    let mut left = Vec::new();
    for _ in 0..3 {
        let frame = anna.next();
        assert!(since.elapsed() >= THREE_SECONDS);
        assert_eq!(frame["resultBody"]["extendFields"]["reason"], "lost");
        left.push(data(frame)["newLeaveMember"]["id"].as_str().expect("an id").to_owned());
    }
    left.sort_unstable();
    assert_eq!(left, ["end", "reloads", "reset"]);
    // From now on they are newcomers.
    anna.newcomer("reset").hears(&mut anna);
}

#[test]
fn without_linger_whoever_breaks_off_leaves_at_once() {
    let hub = start("[heartbeat]\nlinger_s = 0\n");
    let mut anna = Observer::new(&hub, ROOM);
    for gone in [Gone::Reset, Gone::End] {
        let mut bert = anna.newcomer("bert");
        let _old = gone.happens_to(std::mem::replace(&mut bert.client, hub.connect()));
        anna.sees_leave("bert", "lost");
        // Its token is good for what was said.
        let reply = bert.client.join_with(&bert.resume());
        is_complete(&reply, bert.seen);
        anna.sees_join("bert");
        bert.reads_all(&anna);
        bert.leaves(&mut anna);
    }
}

#[test]
fn whoever_falls_silent_leaves_at_once() {
    let hub = start("[heartbeat]\ninterval_s = 1\ngrace_s = 0\nlinger_s = 60\n");
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    let mut beats = anna.client.stream.try_clone().expect("a socket can be had twice");
    let beat = thread::spawn(move || {
        let heartbeat = Raw::text(r#"{"msgType":1}"#).bytes();
        while beats.write_all(&heartbeat).is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    });
    anna.sees_leave("bert", "heartbeat");
    bert.client.expect_close(4000);
    drop(hub);
    beat.join().expect("no panic");
}

#[test]
fn whoever_is_too_slow_may_come_back() {
    const MESSAGES: usize = 100;
    for linger_s in [60, 1] {
        let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 65536\n[heartbeat]\nlinger_s = {linger_s}\n"));
        let mut anna = Observer::new(&hub, ROOM);
        let mut slow = anna.seats(Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", "")), "slow");
        let long = "x".repeat(8000);
        for n in 0..MESSAGES {
            anna.client.send_json(&chat(ROOM, &format!("{n} {long}")));
            // With the short linger the leave may come in between.
            while data(anna.next())["newLeaveMember"]["id"] == "slow" {}
        }
        let frames: Vec<Value> = slow.client.recv_to_close(4002).iter().map(Frame::json).collect();
        let read = frames.len();
        assert_eq!(frames[..], anna.since(slow.seen)[..read]);
        slow.seen += read as u64;
        if linger_s == 60 {
            // Its seat is as it was, and what it was too slow for has gone.
            assert!(anna.since(slow.seen).iter().all(|frame| frame["msg"] == "Chat successfully"));
            slow.client = hub.connect();
            let reply = slow.client.join_with(&slow.resume());
            is_gap(&reply, &["anna", "slow"], anna.seq());
            assert_eq!(resume_token(&reply), slow.token);
            slow.seen = anna.seq();
            slow.hears(&mut anna);
            slow.speaks(&mut anna);
            continue;
        }
        let is_leave = |frame: &&Value| frame["msg"] == "Leave successfully";
        while anna.heard.iter().find(is_leave).is_none() {
            anna.next();
        }
        let left = anna.heard.iter().find(is_leave).expect("it was found");
        assert_eq!(left["resultBody"]["extendFields"]["reason"], "slow");
        anna.talks();
    }
}

#[test]
fn a_seat_that_lingers_is_a_seat() {
    let hub = Hub::start(&format!("{NO_RATES}members_per_room = 2\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let bert = anna.newcomer("bert");
    hang_up(bert.client.stream);
    let mut carl = hub.connect();
    carl.send_json(&join(ROOM, "carl"));
    carl.recv_failure("room_full");
    let mut bert = hub.connect();
    is_roster(&bert.join(ROOM, "bert"), &["anna", "bert"], anna.seq());
    carl.send_json(&join(ROOM, "carl"));
    carl.recv_failure("room_full");
    bert.send_json(&leave(ROOM));
    anna.sees_leave("bert", "left");
    anna.seats(carl, "carl").hears(&mut anna);
}

#[test]
fn a_room_in_which_seats_linger_is_not_empty() {
    let hub = Hub::start(&format!("{NO_RATES}[rooms]\nempty_for_s = 1\n[heartbeat]\nlinger_s = 2\n"));
    let mut anna = Observer::new(&hub, ROOM);
    hang_up(anna.newcomer("bert").client.stream);
    anna.client.send_json(&leave(ROOM));
    anna.sees_leave("anna", "left");
    // Were it empty, it would end meanwhile.
    thread::sleep(Duration::from_millis(1500));
    let latest = anna.seq();
    let reply = hub.connect().join(ROOM, "bert");
    is_roster(&reply, &["bert"], latest);
}

#[test]
fn lingering_seats_give_way_where_there_are_no_others() {
    let hub = Hub::start(&format!("{NO_RATES}connections = 3\nrooms_per_connection = 1\n{PATIENT}"));
    let mut anna = Observer::new(&hub, ROOM);
    let (bert, carl) = (anna.newcomer("bert"), anna.newcomer("carl"));
    hang_up(carl.client.stream);
    // Time enough that the hub's clock tells them apart.
    thread::sleep(Duration::from_millis(20));
    hang_up(bert.client.stream);
    anna.talks();
    // There are as many seats as there may be connections: who has been away longest is not expected back.
    let mut dora = hub.connect();
    dora.join(ROOM, "dora");
    anna.sees_leave("carl", "lost");
    anna.sees_join("dora");
    let mut back = hub.connect();
    is_roster(&back.join(ROOM, "bert"), &["anna", "bert", "dora"], anna.seq());
    anna.talks();
}

#[test]
fn the_owners_seat_is_kept_for_its_token() {
    let hub = start("[heartbeat]\nprobe_s = 60\nlinger_s = 2\n");
    // Bert sees both: who made the room goes, and comes back.
    let mut owner = hub.connect();
    let token = resume_token(&owner.join(ROOM, "anna"));
    let mut bert = hub.connect();
    bert.join(ROOM, "bert");
    hang_up(owner.stream);
    bert.say("where is she?");
    let mut mallory = hub.connect();
    for request in [join(ROOM, "anna"), resume(ROOM, "anna", "no token", 1)] {
        mallory.send_json(&request);
        mallory.recv_duplicate();
    }
    let mut owner = hub.connect();
    is_complete(&owner.join_with(&resume(ROOM, "anna", &token, 1)), 1);
    assert_eq!(data(&owner.recv_json())["newJoinMember"]["id"], "bert");
    owner.hear("where is she?");
    owner.say("here");
    bert.hear("here");

    // When it has ended, it is nobody's any more.
    hang_up(owner.stream);
    bert.say("again?");
    mallory.send_json(&join(ROOM, "anna"));
    mallory.recv_duplicate();
    assert_eq!(data(&bert.recv_json())["newLeaveMember"]["id"], "anna");
    mallory.join(ROOM, "anna");
    assert_eq!(data(&bert.recv_json())["newJoinMember"]["id"], "anna");
}

#[test]
fn no_seat_is_kept_so_where_the_operator_named_an_owner() {
    let hub = start(&format!("{PATIENT}[[room]]\nnumber = \"E00001\"\n[room.owner]\nid = \"teacher\"\n"));
    let (first, mut bert) = (hub.join("anna"), hub.join("bert"));
    hang_up(first.stream);
    bert.say("where is she?");
    let mut back = hub.connect();
    is_roster(&back.join(ROOM, "anna"), &["anna", "bert"], 3);
    bert.say("there");
    back.hear("there");
}

// ---- Tokens -------------------------------------------------------------------------------------

#[test]
fn a_wrong_token_is_as_none() {
    let hub = start(PATIENT);
    let (mut anna, mut elsewhere) = (Observer::new(&hub, ROOM), Observer::new(&hub, OTHER));
    let mut bert = anna.newcomer("bert");
    let carl = anna.newcomer("carl");
    let bert_elsewhere = elsewhere.newcomer("bert");
    bert.reads_all(&anna);
    let good = bert.token.clone();
    let mut wrong = vec![
        carl.token,
        bert_elsewhere.token,
        String::new(),
        "x".to_owned(),
        ".".to_owned(),
        "令牌".to_owned(),
        "x".repeat(64),
        "0".repeat(64),
        good.to_uppercase(),
        good.replace('.', ""),
        format!(" {good}"),
        format!("0{good}"),
        format!("{good} "),
        format!("{good}0"),
        format!("{good}\0"),
    ];
    assert_ne!(good.to_uppercase(), good, "32 digits and no letter among them");
    wrong.extend((0..good.len()).map(|end| good[..end].to_owned()));
    wrong.extend((1..good.len()).map(|start| good[start..].to_owned()));
    for at in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            wrong.push(String::from_utf8(bytes).expect("it stays within ASCII"));
        }
    }
    // Somebody sits there.
    let mut mallory = hub.connect();
    for token in &wrong {
        mallory.send_json(&resume(ROOM, "bert", token, anna.seq()));
        let reply = mallory.recv_json();
        assert_eq!(reply, common::duplicate(), "{token:?}");
    }
    bert.hears(&mut anna);
    // The seat lingers: it is for everyone under that id, and nobody is replayed what others may have seen.
    hang_up(bert.client.stream);
    for token in &wrong[..12] {
        let mut client = hub.connect();
        let reply = client.join_with(&resume(ROOM, "bert", token, anna.seq()));
        is_gap(&reply, &["anna", "bert", "carl"], anna.seq());
        assert_eq!(resume_token(&reply), good);
        hang_up(client.stream);
        anna.talks();
    }
    // Nobody sits there.
    let mut client = hub.connect();
    client.join_with(&resume(ROOM, "bert", &good, anna.seq()));
    for token in &wrong[..12] {
        client.send_json(&leave(ROOM));
        anna.sees_leave("bert", "left");
        client.recv_json();
        let reply = client.join_with(&resume(ROOM, "bert", token, anna.seq()));
        anna.sees_join("bert");
        is_gap(&reply, &["anna", "carl", "bert"], anna.seq());
    }
    anna.talks();
}

#[test]
fn a_token_is_worth_nothing_to_another_id_or_to_the_connection_that_sits_there() {
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    let mut carl = anna.newcomer("carl");
    bert.reads_all(&anna);
    carl.client.send_json(&with_ref(bert.resume(), "not me"));
    carl.client.send_json(&resume(ROOM, "bert", &bert.token, bert.seen));
    for _ in 0..2 {
        carl.client.recv_failure("identity");
    }
    // Shown by whoever sits there, it is a second join.
    bert.client.send_json(&bert.resume());
    bert.client.recv_duplicate();
    bert.hears(&mut anna);
    carl.reads_all(&anna);
}

#[test]
fn a_token_outlives_its_seat() {
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let mut first = anna.newcomer("bert");
    first.client.send_json(&leave(ROOM));
    anna.sees_leave("bert", "left");
    anna.talks();
    // Nobody is under that id: a new seat, which the room sees, and all that was missed, the leave and the join among it.
    let (token, seen) = (first.token.clone(), first.seen);
    let mut client = hub.connect();
    let reply = client.join_with(&resume(ROOM, "bert", &token, seen));
    anna.sees_join("bert");
    is_complete(&reply, seen);
    assert_ne!(resume_token(&reply), token);
    let mut second = Seat { client, token: resume_token(&reply), ..first };
    second.reads_all(&anna);

    // It opens the seat that it was given for, and that has ended.
    let mut knocks = hub.connect();
    knocks.send_json(&resume(ROOM, "bert", &token, seen));
    knocks.recv_duplicate();
    second.is_resumed(&anna).expect_close(4001);
    second.hears(&mut anna);

    // To a seat that lingers anybody comes back, and the token tells what was missed.
    hang_up(second.client.stream);
    anna.talks();
    let reply = knocks.join_with(&resume(ROOM, "bert", &token, seen));
    is_complete(&reply, seen);
    assert_eq!(resume_token(&reply), second.token);
    let mut third = Seat { client: knocks, seen, ..second };
    third.reads_all(&anna);

    // Without lastSeq it asks for nothing.
    third.client.send_json(&leave(ROOM));
    anna.sees_leave("bert", "left");
    let mut request = join(ROOM, "bert");
    request["extendFields"] = json!({"resumeToken": token});
    let reply = hub.connect().join_with(&request);
    anna.sees_join("bert");
    is_roster(&reply, &["anna", "bert"], anna.seq());
}

#[test]
fn a_token_ends_with_its_room() {
    let hub = Hub::start(&format!("{NO_RATES}[rooms]\nempty_for_s = 1\n{PATIENT}"));
    let mut bert = hub.connect();
    let token = resume_token(&bert.join(ROOM, "bert"));
    bert.send_json(&leave(ROOM));
    bert.recv_json();
    thread::sleep(Duration::from_millis(1300));
    // The same number, the same id, the same seq: and another room.
    let reply = bert.join_with(&resume(ROOM, "bert", &token, 1));
    is_gap(&reply, &["bert"], 1);
    assert_ne!(resume_token(&reply), token);
    let mut mallory = hub.connect();
    mallory.send_json(&resume(ROOM, "bert", &token, 1));
    mallory.recv_duplicate();
    // And with another hub.
    let token = resume_token(&reply);
    let another = start(PATIENT);
    let mut bert = another.connect();
    let reply = bert.join_with(&resume(ROOM, "bert", &token, 1));
    is_gap(&reply, &["bert"], 1);
    assert_ne!(resume_token(&reply), token);
}

#[test]
fn how_far_somebody_has_seen() {
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    anna.talks();
    let mut bert = anna.newcomer("bert");
    let joined = bert.seen;
    bert.hears(&mut anna);
    bert.hears(&mut anna);
    let latest = anna.seq();
    let below = (joined - 1).to_string();
    let above = (latest + 1).to_string();
    let (largest, larger, less) = (u64::MAX.to_string(), "18446744073709551616", "-9223372036854775809");
    for last_seq in [&*below, "0", "-1", &*above, &*largest, larger, less] {
        let mut client = hub.connect();
        client.send_text(&resume(ROOM, "bert", &bert.token, "LAST").to_string().replace("\"LAST\"", last_seq));
        let reply = client.recv_json();
        is_gap(&reply, &["anna", "bert"], latest);
        client.fence();
        std::mem::replace(&mut bert.client, client).expect_close(4001);
    }
    for last_seq in joined..=latest {
        bert.seen = last_seq;
        bert.is_resumed(&anna).expect_close(4001);
        bert.reads_all(&anna);
    }
    // Null reads as absent.
    let mut client = hub.connect();
    let reply = client.join_with(&resume(ROOM, "bert", &bert.token, Value::Null));
    is_roster(&reply, &["anna", "bert"], latest);
    client.fence();
    hang_up(client.stream);
    let mut request = join(ROOM, "bert");
    request["extendFields"] = json!({"resumeToken": null, "lastSeq": null});
    is_roster(&hub.connect().join_with(&request), &["anna", "bert"], latest);
    // Without a token, whoever names a frame is told that it is not enough: on an ordinary join too.
    let mut request = join(ROOM, "carl");
    request["extendFields"] = json!({"lastSeq": latest});
    let mut carl = hub.connect();
    let reply = carl.join_with(&request);
    anna.sees_join("carl");
    is_gap(&reply, &["anna", "bert", "carl"], latest + 1);
    // And in a room that is yet to be made.
    let mut dora = hub.connect();
    is_gap(&dora.join_with(&resume(OTHER, "dora", &bert.token, 1)), &["dora"], 1);
    anna.talks();
}

#[test]
fn what_a_resume_shows_has_a_type() {
    let hub = start(PATIENT);
    let mut anna = Observer::new(&hub, ROOM);
    let mut bert = anna.newcomer("bert");
    let mut client = hub.connect();
    let wrong_seqs = ["\"1\"", "1.0", "1e0", "true", "[]", "[1]", "{}", "\"\""];
    let wrong_tokens = ["1", "true", "[]", "{}", "[\"x\"]"];
    let wrong = wrong_seqs.map(|wrong| ("lastSeq", wrong)).into_iter();
    for (field, wrong) in wrong.chain(wrong_tokens.map(|wrong| ("resumeToken", wrong))) {
        let mut request = with_ref(bert.resume(), "r");
        request["extendFields"][field] = json!("WRONG");
        client.send_text(&request.to_string().replace("\"WRONG\"", wrong));
        let failure = client.recv_failure("bad_json");
        let msg = failure["msg"].as_str().unwrap_or_default();
        assert!(msg.starts_with(&format!("extendFields.{field}: expected ")), "{wrong}: {msg}");
        assert_eq!(failure["ref"], "r");
        client.fence();
    }
    client.send_json(&resume(ROOM, "bert", &"x".repeat(65), 1));
    let failure = client.recv_failure("too_long");
    let msg = failure["msg"].as_str().unwrap_or_default();
    assert!(msg.starts_with("extendFields.resumeToken: ") && msg.contains("64"), "{msg}");
    // Nobody was asked for anything, and elsewhere these fields mean nothing.
    bert.hears(&mut anna);
    let mut odd = chat(ROOM, "odd");
    odd["extendFields"] = json!({"resumeToken": 1, "lastSeq": "x"});
    bert.client.send_json(&odd);
    bert.client.hear("odd");
}

//! Attacks, each on a running hub while a class of fifty talks, and what the class notices: nothing.
//!
//! Owns: what a bored class or a hostile laptop on the same network can do with more than one connection, and how it is told that it did not
//! matter: everything that was said reached everybody in one order, nobody of the class was closed, nothing took long, and the hub held no more memory than
//! `classhub check` prints. Refuses to know: what each limit is (`limits.rs`), and what one client alone can do (`hostile.rs`).
//!
//! The figures are printed: `cargo test --release --test attack -- --nocapture`.
#![cfg(target_os = "linux")]

#[path = "../exchange/class.rs"]
#[allow(dead_code)] // it is the other tests' as well
mod by_hand;
mod class;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod share;
mod small;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use class::Class;
use common::{CONTINUATION, Hub, PING, PONG, ROOM, Raw, TEXT, chat, join, kept_waiting, leave, upgrade_head};
use crowd::{AtEnd, Crowd, Tally, Villain};

/// How long each attack goes on.
const PERIOD: Duration = Duration::from_secs(3);

/// In how many tries the figures must be good once. How long something took depends on what else the machine has to do.
const TRIES: usize = 3;

/// A try that went badly while the hub or the class waited for a processor for more than this part of it says nothing of the hub, and another is made,
/// as long as there are not too many of them.
const KEPT_WAITING: u32 = 4;
const TRIES_IN_ALL: usize = 5;

/// From the moment in which a member of the class says something to the moment in which the last has heard it, for 99 of 100. A hub that is built
/// for debugging takes ten times as long for everything.
const P99: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1_000 } else { 100 });

/// One attack at a time: they are told from each other by their figures.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Attack {
    /// The hub's configuration.
    toml: &'static str,
    /// What the class says beside its numbers, in bytes.
    more_bytes: usize,
    villains: Vec<Villain>,
}

/// Runs an attack, and sees to it that the class does not notice. `is_real` says whether it took place as it was meant to.
#[track_caller]
fn withstand(name: &str, attack: &Attack, is_real: impl Fn(&Tally, &Class) -> bool) {
    let _alone = alone();
    let Attack { toml, more_bytes, villains } = attack;
    classhub::host::descriptors::raise(2 * 1024).expect("the test holds 1,000 sockets open");
    let (mut fair, mut unfair) = (Vec::new(), Vec::new());
    while fair.len() < TRIES && fair.len() + unfair.len() < TRIES_IN_ALL {
        let hub = Hub::start(toml);
        let mut class = Class::start(&hub);
        let ticks = hub.cpu_ticks();
        let waited = || hub.kept_waiting().max(kept_waiting("thread-self"));
        let waited_before = waited();
        let crowd = Crowd::start(hub.addr, villains.clone());
        let figures = class.talk(PERIOD, *more_bytes);
        let tally = crowd.stop();
        let (ticks, peak_kib, allowed_kib) = (hub.cpu_ticks() - ticks, hub.resident_peak_kib(), hub.allowed_kib());
        let waited = waited() - waited_before;
        println!(
            "{name}: {figures:?}; {tally:?}; the room saw {} join and {:?} leave; the hub took {ticks} ticks, and {peak_kib} KiB at most; {waited:?} without a processor",
            class.joined, class.left
        );
        assert!(peak_kib <= allowed_kib, "{name}: {peak_kib} KiB, where the hub's own sum is {allowed_kib}");
        let wrong = match &class.lost {
            Some(lost) => lost.clone(),
            None if !is_real(&tally, &class) => "this was no attack".to_owned(),
            None if figures.p99 >= P99 => format!("1 of 100 messages took longer than {:?}", figures.p99),
            None => return,
        };
        if waited > PERIOD / KEPT_WAITING { unfair.push(wrong) } else { fair.push(wrong) }
    }
    assert!(fair.is_empty(), "{name}: {fair:?}, and where others had the processor {unfair:?}");
    println!("{name}: NOT JUDGED, for the machine had no time for it: {unfair:?}");
}

/// A head that opens a WebSocket, and frames behind it.
fn open<'a>(frames: impl IntoIterator<Item = &'a Raw>) -> Vec<u8> {
    let mut bytes = upgrade_head("/ws", "").into_bytes();
    bytes.extend(frames.into_iter().flat_map(Raw::bytes));
    bytes
}

/// The same, with a seat.
fn seated(room: &str, number: usize) -> Vec<u8> {
    open([&Raw::text(&join(room, &format!("villain {number}")).to_string())])
}

fn crowd(count: usize, villain: impl Fn(usize) -> Villain) -> Vec<Villain> {
    (0..count).map(villain).collect()
}

// ---- Before there is a seat ---------------------------------------------------------------------

#[test]
fn half_open_heads() {
    let head = upgrade_head("/ws", "");
    let half = Villain { opening: head.as_bytes()[..head.len() / 2].into(), ..Villain::default() };
    let attack = Attack { toml: "", more_bytes: 0, villains: vec![half; 1_000] };
    withstand("1,000 half-open heads", &attack, |tally, _| tally.connected == 1_000 && tally.ended == 0);
}

#[test]
fn heads_at_a_byte_a_second() {
    let slow = Villain {
        opening: upgrade_head("/ws", "").into_bytes(),
        byte_every: Some(Duration::from_secs(1)),
        ..Villain::default()
    };
    let attack = Attack { toml: "", more_bytes: 0, villains: vec![slow; 1_000] };
    withstand("1,000 heads at a byte a second", &attack, |tally, _| {
        tally.connected == 1_000 && tally.sent_bytes >= 2_000
    });
}

#[test]
fn connections_that_never_join() {
    let idle = Villain { opening: open([]), reads: true, ..Villain::default() };
    let attack = Attack { toml: "", more_bytes: 0, villains: vec![idle; 1_000] };
    let answered = |tally: &Tally, _: &Class| tally.connected == 1_000 && tally.read_bytes > 100_000;
    withstand("1,000 connections that never join", &attack, answered);
}

#[test]
fn pipelined_requests_for_the_page() {
    let page = "GET / HTTP/1.1\r\nHost: hub.local\r\n\r\nGET /qr.svg?room=E00001 HTTP/1.1\r\nHost: hub.local\r\n\r\n";
    let code = "GET /qr.svg?room=E00001 HTTP/1.1\r\nHost: hub.local\r\n\r\n";
    let villains = crowd(50, |n| {
        let request = if n % 2 == 0 { page } else { code };
        Villain { then: request.into(), reads: true, at_end: AtEnd::Again, ..Villain::default() }
    });
    let attack = Attack { toml: "", more_bytes: 0, villains };
    withstand("50 that ask for the page", &attack, |tally, _| tally.ended > 200);
}

// ---- Floods -------------------------------------------------------------------------------------

/// The largest chat that one may send, in one frame.
fn largest(room: &str) -> Raw {
    let empty = chat(room, "").to_string().len();
    Raw::text(&chat(room, &"x".repeat(16 * 1024 - empty)).to_string())
}

#[test]
fn flood_of_largest_messages() {
    let villains = crowd(20, |n| Villain {
        opening: seated(ROOM, n),
        then: largest(ROOM).bytes(),
        reads: true,
        at_end: AtEnd::Again,
        ..Villain::default()
    });
    let attack = Attack { toml: "", more_bytes: 0, villains };
    withstand("20 that flood with 16 KiB each", &attack, |tally, _| tally.sent_bytes > 10 << 20);
}

#[test]
fn floods_of_pings() {
    let villains = crowd(20, |n| Villain {
        opening: seated("elsewhere", n),
        then: Raw::new(if n % 4 == 3 { PONG } else { PING }, vec![b'p'; if n % 2 == 0 { 0 } else { 125 }]).bytes(),
        reads: n % 3 > 0,
        at_end: AtEnd::Again,
        ..Villain::default()
    });
    let attack = Attack { toml: "", more_bytes: 0, villains };
    withstand("20 that flood with pings", &attack, |tally, _| tally.sent_bytes > 10 << 20);
}

#[test]
fn frames_of_one_byte_and_endless_fragments() {
    let villains = crowd(20, |n| {
        let begun = Raw::new(TEXT, "{").unfinished().bytes();
        // Messages that say nothing, fragments of a byte, and fragments of none, which no limit on the length of a message ever ends.
        let (begun, then) = match n % 3 {
            0 => (vec![], Raw::new(TEXT, " ")),
            1 => (begun, Raw::new(CONTINUATION, " ").unfinished()),
            _ => (begun, Raw::new(CONTINUATION, "").unfinished()),
        };
        let opening = [seated("elsewhere", n), begun].concat();
        Villain { opening, then: then.bytes(), reads: true, at_end: AtEnd::Again, ..Villain::default() }
    });
    let attack = Attack { toml: "", more_bytes: 0, villains };
    withstand("20 with frames of a byte", &attack, |tally, _| tally.sent_bytes > 1 << 20);
}

// ---- Coming and going ---------------------------------------------------------------------------

#[test]
fn storms_of_joins_and_leaves() {
    let villains = crowd(20, |n| {
        // Some leave by closing, and are back; some by leaving, until they are sent away for it; some under an id of the class.
        let id = format!("villain {n}");
        let join_text = Raw::text(&join(ROOM, if n % 4 == 3 { "member 7" } else { &id }).to_string());
        let leave_text = Raw::text(&leave(ROOM).to_string());
        let (opening, then) = match n % 2 {
            0 => (open([&join_text, &Raw::close(1000)]), vec![]),
            _ => (open([]), [join_text.bytes(), leave_text.bytes()].concat()),
        };
        let pause = Duration::from_millis(50);
        Villain { opening, then, reads: true, pause, at_end: AtEnd::Again, ..Villain::default() }
    });
    let attack = Attack { toml: "", more_bytes: 0, villains };
    withstand("20 that come and go", &attack, |tally, class| tally.ended > 50 && class.joined > 200);
}

#[test]
fn floods_that_come_back() {
    let villains = crowd(20, |n| Villain {
        opening: [seated(ROOM, n), largest(ROOM).bytes().repeat(4), Raw::close(1000).bytes()].concat(),
        reads: true,
        at_end: AtEnd::Again,
        ..Villain::default()
    });
    let attack = Attack { toml: "", more_bytes: 0, villains };
    withstand("20 that flood and come back", &attack, |tally, _| tally.sent_bytes > 10 << 20);
}

// ---- Those who stay -----------------------------------------------------------------------------

#[test]
fn readers_that_never_read() {
    let villains =
        crowd(64, |n| Villain { opening: seated(ROOM, n), narrow: true, at_end: AtEnd::Stay, ..Villain::default() });
    let attack = Attack { toml: "[heartbeat]\nlinger_s = 0\n", more_bytes: 3_000, villains };
    // The room let go of what they had not read, and of them.
    withstand("64 that never read", &attack, |_, class| class.left.get("slow") == Some(&64));
}

#[test]
fn own_close_and_stay() {
    for count in [1, 500] {
        let villains = crowd(count, |n| Villain {
            opening: [seated(ROOM, n), Raw::close(1000).bytes()].concat(),
            // It goes on talking, too.
            then: if n % 2 == 0 { Raw::text(&chat(ROOM, "still here").to_string()).bytes() } else { vec![] },
            reads: n % 4 < 2,
            at_end: AtEnd::Stay,
            ..Villain::default()
        });
        let attack = Attack { toml: "", more_bytes: 0, villains };
        let name = format!("{count} that close and stay");
        withstand(&name, &attack, |tally, class| {
            tally.connected == count as u64 && class.left.get("closed") == Some(&(count as u64))
        });
    }
}

//! What the service manager is told, and when.
//!
//! Owns: when it hears that the hub is ready, how many are in it, and that it is alive. Refuses to know: sockets beyond one datagram, and
//! clocks; whoever runs the hub calls [`Manager::turn`] at the end of each turn, and there is no other way in which it is fed. A loop that hangs is
//! restarted for that reason.
//!
//! The price of it in a turn in which nothing is due is two comparisons.

use std::fmt;
use std::io::ErrorKind;

use log::{debug, warn};

use super::notify::Notifier;
use super::{Environment, environment, is_for_us, number};
use crate::base::Now;
use crate::limits;

/// Who is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Rooms, empty ones too.
    pub rooms: u32,
    /// Seats in all of them, those of whom the hub waits for too.
    pub members: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |plural| if plural { "s" } else { "" };
        let Count { rooms, members } = self;
        write!(f, "{rooms} room{}, {members} member{}", s(*rooms != 1), s(*members != 1))
    }
}

/// The service manager, where there is one.
pub struct Manager {
    notifier: Notifier,
    watchdog: Option<Watchdog>,
    /// It has not been told yet that the hub is ready.
    owes_ready: bool,
    /// What it was told last, and what there is.
    told: Option<Count>,
    count: Option<Count>,
    /// It is told nothing new before, in monotonic milliseconds.
    tell_at_ms: u64,
    /// It knows that the hub goes.
    is_stopping: bool,
    /// It has been said in the log that it cannot be told.
    failing: bool,
}

/// It wants to hear that the hub lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watchdog {
    /// Twice as often as it has to.
    feed_ms: u64,
    feed_at_ms: u64,
}

impl Manager {
    /// The one that started this process, as its environment says; `None` where nobody is to be told anything. What is wrong with the environment is
    /// a warning.
    #[must_use]
    pub fn of_this_process() -> Option<Manager> {
        Manager::new(&environment)
    }

    fn new(environment: Environment) -> Option<Manager> {
        let address = environment("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        let notifier = match Notifier::new(&address) {
            Ok(notifier) => notifier,
            Err(error) => {
                warn!("the service manager cannot be told anything: NOTIFY_SOCKET is {address:?}: {error}");
                return None;
            }
        };
        Some(Manager {
            notifier,
            watchdog: watchdog(environment),
            owes_ready: false,
            told: None,
            count: None,
            tell_at_ms: 0,
            is_stopping: false,
            failing: false,
        })
    }

    /// The hub listens, or has read its configuration again.
    pub fn ready(&mut self, now: Now, count: Count) {
        (self.owes_ready, self.told, self.tell_at_ms) = (true, None, now.monotonic_ms);
        self.turn(now, count);
    }

    /// The hub begins to read its configuration again; [`Manager::ready`] is to follow. `monotonic_us` is what the system's monotonic clock
    /// shows, which this and no other clock of ours has to agree with the service manager's.
    pub fn reloading(&mut self, monotonic_us: u64) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={monotonic_us}"));
    }

    /// The hub says goodbye. From then on it tells no more who is here.
    pub fn stopping(&mut self) {
        self.is_stopping = true;
        self.send("STOPPING=1\nSTATUS=saying goodbye");
    }

    /// When to call [`Manager::turn`] at the latest, in monotonic milliseconds; `None` where that can wait for ever.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let feed_at_ms = self.watchdog.map(|watchdog| watchdog.feed_at_ms);
        let tell_at_ms = self.has_news().then_some(self.tell_at_ms);
        [feed_at_ms, tell_at_ms].into_iter().flatten().min()
    }

    /// A turn has ended, with so many here. Tells what is due: that the hub lives, and who is here where that has changed and was not told a
    /// moment ago.
    pub fn turn(&mut self, now: Now, count: Count) {
        self.count = Some(count);
        if self.has_news() && now.monotonic_ms >= self.tell_at_ms {
            self.tell_at_ms = now.monotonic_ms + limits::STATUS_MS;
            let ready = if self.owes_ready { "READY=1\n" } else { "" };
            if self.send(&format!("{ready}STATUS={count}")) {
                (self.owes_ready, self.told) = (false, Some(count));
            }
        }
        if let Some(watchdog) = self.watchdog.filter(|watchdog| now.monotonic_ms >= watchdog.feed_at_ms) {
            // One that does not take it now is asked again well before it loses patience.
            let feed_ms = if self.send("WATCHDOG=1") { watchdog.feed_ms } else { watchdog.feed_ms.div_ceil(4) };
            self.watchdog = Some(Watchdog { feed_at_ms: now.monotonic_ms + feed_ms, ..watchdog });
        }
    }

    fn has_news(&self) -> bool {
        !self.is_stopping && (self.owes_ready || self.told != self.count)
    }

    /// Says whether it was taken, or never will be.
    fn send(&mut self, message: &str) -> bool {
        match self.notifier.send(message) {
            Ok(()) => {
                debug!("told the service manager {message:?}");
                self.failing = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    warn!("the service manager could not be told {message:?}: {error}");
                }
                error.kind() != ErrorKind::WouldBlock
            }
        }
    }
}

fn watchdog(environment: Environment) -> Option<Watchdog> {
    let period_us = number(environment, "WATCHDOG_USEC")?;
    if !is_for_us(environment, "WATCHDOG_PID").unwrap_or(true) {
        return None;
    }
    match period_us {
        Ok(0) => None,
        Ok(period_us) => Some(Watchdog { feed_ms: (period_us / 2000).max(1), feed_at_ms: 0 }),
        Err(says) => {
            warn!("there is no watchdog: {says}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const NOBODY: Count = Count { rooms: 3, members: 0 };

    fn at(monotonic_ms: u64) -> Now {
        // As on a board that has no clock.
        Now { monotonic_ms, wall_ms: 0 }
    }

    fn class(members: u64) -> Count {
        Count { rooms: 3, members }
    }

    /// A service manager that wants a sign of life each `watchdog` microseconds, and the hub's side of it.
    fn managed(watchdog: &[(&'static str, &str)]) -> (UnixDatagram, Manager) {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("classhub-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let hears = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        hears.set_nonblocking(true).unwrap();
        let mut variables: Vec<(&str, String)> = vec![("NOTIFY_SOCKET", format!("@{name}"))];
        variables.extend(watchdog.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let manager = Manager::new(&|name| lookup(&variables, name)).unwrap();
        (hears, manager)
    }

    fn lookup(variables: &[(&str, String)], name: &str) -> Option<OsString> {
        variables.iter().find(|(one, _)| *one == name).map(|(_, value)| value.into())
    }

    fn heard(hears: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 256];
        let next = || hears.recv(&mut buffer).ok().map(|count| String::from_utf8(buffer[..count].to_vec()).unwrap());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn nobody_manages_a_hub_that_was_started_by_hand() {
        assert!(Manager::new(&|_| None).is_none());
        assert!(Manager::new(&|name| (name == "NOTIFY_SOCKET").then(OsString::new)).is_none());
    }

    #[test]
    fn an_address_that_is_none_is_no_manager() {
        for address in ["run/systemd/notify", "@", "vsock:2:1234"] {
            assert!(Manager::new(&|name| (name == "NOTIFY_SOCKET").then(|| address.into())).is_none(), "{address}");
        }
    }

    #[test]
    fn it_is_ready_once_and_then_sleeps_for_ever() {
        let (hears, mut manager) = managed(&[]);
        manager.ready(at(7), NOBODY);
        assert_eq!(heard(&hears), ["READY=1\nSTATUS=3 rooms, 0 members"]);
        assert_eq!(manager.next_deadline_ms(), None);
        manager.turn(at(100_000), NOBODY);
        assert!(heard(&hears).is_empty());
        assert_eq!(manager.next_deadline_ms(), None);
    }

    #[test]
    fn a_class_that_comes_in_is_told_at_first_and_at_last() {
        let (hears, mut manager) = managed(&[]);
        manager.ready(at(0), NOBODY);
        heard(&hears);
        let begun_ms = 3_600_000;
        // Thirty, within the time in which only one is told.
        for n in 1..=30 {
            manager.turn(at(begun_ms + n), class(n));
        }
        assert_eq!(heard(&hears), ["STATUS=3 rooms, 1 member"]);
        let due_ms = manager.next_deadline_ms().unwrap();
        assert_eq!(due_ms, begun_ms + 1 + limits::STATUS_MS);
        manager.turn(at(due_ms), class(30));
        assert_eq!(heard(&hears), ["STATUS=3 rooms, 30 members"]);
        assert_eq!(manager.next_deadline_ms(), None);
    }

    #[test]
    fn who_came_and_went_meanwhile_is_not_told() {
        let (hears, mut manager) = managed(&[]);
        manager.ready(at(0), NOBODY);
        heard(&hears);
        manager.turn(at(1), class(1));
        assert_eq!(manager.next_deadline_ms(), Some(limits::STATUS_MS));
        manager.turn(at(2), NOBODY);
        assert_eq!(manager.next_deadline_ms(), None);
        manager.turn(at(100_000), NOBODY);
        assert!(heard(&hears).is_empty());
    }

    #[test]
    fn the_watchdog_is_fed_by_turns_at_half_its_period_and_by_nothing_else() {
        let (hears, mut manager) = managed(&[("WATCHDOG_USEC", "30000000")]);
        manager.ready(at(1000), NOBODY);
        assert_eq!(heard(&hears), ["READY=1\nSTATUS=3 rooms, 0 members", "WATCHDOG=1"]);
        assert_eq!(manager.next_deadline_ms(), Some(16_000));
        // A busy hub has a turn each millisecond, and feeds it no more often.
        (1001..16_000).for_each(|ms| manager.turn(at(ms), NOBODY));
        assert!(heard(&hears).is_empty());
        manager.turn(at(16_003), NOBODY);
        assert_eq!(heard(&hears), ["WATCHDOG=1"]);
        assert_eq!(manager.next_deadline_ms(), Some(31_003));
        // Days in which no turn ends: nothing has fed it, and what was missed is not made good.
        manager.turn(at(300_000_000), NOBODY);
        assert_eq!(heard(&hears), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_watchdog_for_another_process_is_not_fed() {
        let ours = std::process::id().to_string();
        let fed = |variables: &[(&'static str, &str)]| {
            let (hears, mut manager) = managed(variables);
            manager.turn(at(0), NOBODY);
            heard(&hears).contains(&"WATCHDOG=1".to_owned())
        };
        assert!(fed(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", &ours)]));
        assert!(!fed(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "1")]));
        assert!(!fed(&[("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "me")]));
        assert!(!fed(&[("WATCHDOG_USEC", "soon")]));
        assert!(!fed(&[("WATCHDOG_USEC", "0")]));
        assert!(!fed(&[("WATCHDOG_PID", &ours)]));
    }

    #[test]
    fn the_shortest_watchdog_is_no_loop_without_a_pause() {
        let (_hears, mut manager) = managed(&[("WATCHDOG_USEC", "1")]);
        manager.turn(at(5), NOBODY);
        assert!(manager.next_deadline_ms() > Some(5));
    }

    #[test]
    fn a_manager_that_does_not_read_is_asked_again_and_not_waited_for() {
        let (hears, mut manager) = managed(&[("WATCHDOG_USEC", "8000000")]);
        let full = std::iter::repeat_with(|| manager.notifier.send("X=1")).find(Result::is_err).unwrap();
        assert_eq!(full.unwrap_err().kind(), ErrorKind::WouldBlock);
        manager.ready(at(0), NOBODY);
        // A quarter of what it is otherwise.
        assert_eq!(manager.next_deadline_ms(), Some(1000));
        heard(&hears);
        manager.turn(at(1000), NOBODY);
        manager.turn(at(limits::STATUS_MS), NOBODY);
        let heard = heard(&hears);
        assert!(heard.contains(&"WATCHDOG=1".to_owned()), "{heard:?}");
        assert!(heard.contains(&"READY=1\nSTATUS=3 rooms, 0 members".to_owned()), "{heard:?}");
    }

    #[test]
    fn a_manager_that_is_gone_is_told_no_more_often() {
        let (hears, mut manager) = managed(&[]);
        drop(hears);
        manager.ready(at(0), NOBODY);
        assert_eq!(manager.next_deadline_ms(), None);
        manager.turn(at(1), class(1));
        assert_eq!(manager.next_deadline_ms(), Some(limits::STATUS_MS));
    }

    #[test]
    fn a_reload_has_a_beginning_and_an_end() {
        let (hears, mut manager) = managed(&[]);
        manager.ready(at(0), NOBODY);
        heard(&hears);
        manager.reloading(123_456_789);
        manager.ready(at(1), class(2));
        assert_eq!(heard(&hears), ["RELOADING=1\nMONOTONIC_USEC=123456789", "READY=1\nSTATUS=3 rooms, 2 members"]);
    }

    #[test]
    fn a_goodbye_is_the_last_that_is_said_of_who_is_here() {
        let (hears, mut manager) = managed(&[]);
        manager.ready(at(0), NOBODY);
        manager.turn(at(1), class(2));
        heard(&hears);
        manager.stopping();
        manager.turn(at(100_000), class(1));
        assert_eq!(manager.next_deadline_ms(), None);
        assert_eq!(heard(&hears), ["STOPPING=1\nSTATUS=saying goodbye"]);
    }
}

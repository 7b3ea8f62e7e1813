//! Faults that a peer or the system can bring about again and again.
//!
//! Owns: that each is in the log when it begins, then once a minute with how often it came again, and once more when it is over. Refuses to know:
//! what is done about it. Here counting costs an addition; a flood of newcomers writes no flood of lines.

use std::fmt;

use log::{info, warn};

use crate::base::Now;
use crate::limits;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Every place is taken.
    Full,
    /// An address has as many connections as it may.
    AddressFull,
    /// The system has no descriptor for another connection.
    NoDescriptor,
    /// The system can't accept for now.
    NotAccepting,
    /// TLS can't begin.
    NoTls,
    /// The poll can't watch a connection.
    NotWatched,
}

impl Fault {
    const ALL: [Fault; 6] =
        [Fault::Full, Fault::AddressFull, Fault::NoDescriptor, Fault::NotAccepting, Fault::NoTls, Fault::NotWatched];

    /// What it is, whomever it met.
    fn words(self) -> &'static str {
        match self {
            Fault::Full => "every seat is taken (limits.connections): newcomers are told 503",
            Fault::AddressFull => {
                "one address has as many connections as it may (limits.connections_per_ip): it is told 503"
            }
            Fault::NoDescriptor => "the system has no place for another connection: newcomers are told 503",
            Fault::NotAccepting => "cannot accept connections for now",
            Fault::NoTls => "cannot begin TLS",
            Fault::NotWatched => "cannot watch a connection",
        }
    }
}

/// One fault that goes on.
#[derive(Clone, Copy, Debug)]
struct Going {
    /// Monotonic: when to tell how often it came again.
    tell_at_ms: u64,
    /// How often it came since it was told of last.
    more: u64,
    /// How often it came in all.
    count: u64,
}

/// All that goes wrong just now.
#[derive(Debug, Default)]
pub(super) struct Faults([Option<Going>; Fault::ALL.len()]);

/// What is said in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Again(Fault, u64),
    Over(Fault, u64),
}

impl Faults {
    /// It has happened. `says` is in the log if it was not going on before: beside [`Fault::words`] it may say whom it met.
    pub fn add(&mut self, now: Now, fault: Fault, says: fmt::Arguments) {
        if self.is_news(now, fault) {
            warn!("{says}");
        }
    }

    /// The same, where nobody need be told more than what it is.
    pub fn add_plain(&mut self, now: Now, fault: Fault) {
        self.add(now, fault, format_args!("{}", fault.words()));
    }

    fn is_news(&mut self, now: Now, fault: Fault) -> bool {
        match &mut self.0[fault as usize] {
            Some(going) => {
                going.more += 1;
                going.count += 1;
                false
            }
            none => {
                *none = Some(Going { tell_at_ms: now.monotonic_ms + limits::FAULT_AGAIN_MS, more: 0, count: 1 });
                true
            }
        }
    }

    /// When to call [`Faults::expire`] next, in monotonic milliseconds; `None` where all is well.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.0.iter().flatten().map(|going| going.tell_at_ms).min()
    }

    /// Tells what is due: how often each came again, or that it is over.
    pub fn expire(&mut self, now: Now) {
        if self.next_deadline_ms().is_some_and(|due_ms| due_ms <= now.monotonic_ms) {
            self.due(now).for_each(tell);
        }
    }

    fn due(&mut self, now: Now) -> impl Iterator<Item = Said> {
        self.0.iter_mut().zip(Fault::ALL).filter_map(move |(place, fault)| {
            let going = place.as_mut().filter(|going| going.tell_at_ms <= now.monotonic_ms)?;
            if going.more > 0 {
                going.tell_at_ms = now.monotonic_ms + limits::FAULT_AGAIN_MS;
                return Some(Said::Again(fault, std::mem::take(&mut going.more)));
            }
            let count = going.count;
            *place = None;
            // Of one that came once there is nothing to add.
            (count > 1).then_some(Said::Over(fault, count))
        })
    }

    /// Tells what was not told yet: nobody will be there to do it later.
    pub fn end(&mut self) {
        for (place, fault) in self.0.iter_mut().zip(Fault::ALL) {
            if let Some(Going { more: more @ 1.., .. }) = place.take() {
                tell(Said::Again(fault, more));
            }
        }
    }
}

fn tell(said: Said) {
    let seconds = limits::FAULT_AGAIN_MS / 1000;
    match said {
        Said::Again(fault, more) => warn!("{} ({more} times more within {seconds} s)", fault.words()),
        Said::Over(fault, count) => info!("not again for {seconds} s: {} ({count} times in all)", fault.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now::default().after_ms(seconds * 1000)
    }

    #[test]
    fn each_stands_at_its_own_number() {
        assert!(Fault::ALL.iter().enumerate().all(|(place, fault)| *fault as usize == place));
    }

    #[test]
    fn a_fault_is_told_at_once_then_with_a_count_and_then_that_it_is_over() {
        let mut faults = Faults::default();
        let due = |faults: &mut Faults, seconds| faults.due(at(seconds)).collect::<Vec<_>>();
        assert_eq!(faults.next_deadline_ms(), None);
        assert!(faults.is_news(at(5), Fault::Full));
        for n in 0..41 {
            assert!(!faults.is_news(at(5 + n), Fault::Full));
        }
        // Another is another.
        assert!(faults.is_news(at(50), Fault::NoTls));
        assert_eq!(faults.next_deadline_ms(), Some(65_000));
        assert_eq!(due(&mut faults, 64), []);
        assert_eq!(due(&mut faults, 65), [Said::Again(Fault::Full, 41)]);
        assert!(!faults.is_news(at(70), Fault::Full));
        // What came once was told, and is over without a word.
        assert_eq!((due(&mut faults, 110), faults.next_deadline_ms()), (vec![], Some(125_000)));
        assert_eq!(due(&mut faults, 125), [Said::Again(Fault::Full, 1)]);
        assert_eq!((due(&mut faults, 185), faults.next_deadline_ms()), (vec![Said::Over(Fault::Full, 43)], None));
        assert!(faults.is_news(at(186), Fault::Full), "it begins anew");
    }
}

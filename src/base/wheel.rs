//! Timers: a hashed wheel of one level.
//!
//! Owns: which timer is due when. Refuses to know: what a timer is for, and what time it is.
//!
//! A deadline hangs in the slot of its tick, one turn of the wheel ahead or many; a slot is a list
//! through the timers themselves, so setting, moving and cancelling cost the same at any size and
//! allocate nothing. Deadlines round up to the tick: they pop up to [`TICK_MS`] late, never early,
//! and those of one tick pop together, which is one wake-up instead of many. A hierarchy of wheels
//! would wake an idle hub to move timers down; here a wake-up without a timer to pop happens once
//! a revolution (131 s) and only for deadlines farther off than that.
//!
//! Whoever uses it is meant to be lazy: a message that puts off a deadline writes down the time and
//! leaves the timer alone, and the timer that pops too early is set again.

/// How finely deadlines are told apart, in milliseconds.
pub const TICK_MS: u64 = 64;
/// One revolution is 131 s: the heartbeat's 125 s pass within it.
const SLOTS: usize = 2048;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;

/// Names a timer: a small number that its owner chose.
pub type Timer = u32;

#[derive(Clone, Copy)]
struct Link {
    /// The tick at which the timer pops; `UNSET` where it hangs nowhere.
    tick: u64,
    previous: u32,
    next: u32,
}

const UNSET: u64 = u64::MAX;
const LOOSE: Link = Link { tick: UNSET, previous: NONE, next: NONE };

/// A set of timers, each known by a number.
pub struct Wheel {
    heads: Box<[u32]>,
    occupied: [u64; WORDS],
    links: Vec<Link>,
    /// All ticks before this one are done with.
    current: u64,
    set: u32,
}

impl Wheel {
    /// A wheel for timers numbered below `capacity`, at `now_ms` (monotonic milliseconds): it need not turn through what was before. Reserves their
    /// places, and touches them as they are used. A larger number finds its place too, if slowly.
    #[must_use]
    pub fn new(capacity: u32, now_ms: u64) -> Self {
        Wheel {
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: [0; WORDS],
            links: Vec::with_capacity(capacity as usize),
            current: now_ms / TICK_MS,
            set: 0,
        }
    }

    /// Reserves places for timers numbered below `capacity`. Those that are set stay so, whatever their numbers.
    pub fn reserve(&mut self, capacity: u32) {
        self.links.reserve((capacity as usize).saturating_sub(self.links.len()));
    }

    /// Sets `timer` to pop at `due_ms` (monotonic milliseconds), or with the next tick where that has passed. A timer that was set
    /// is moved.
    pub fn set(&mut self, timer: Timer, due_ms: u64) {
        self.cancel(timer);
        if self.links.len() <= timer as usize {
            self.links.resize(timer as usize + 1, LOOSE);
        }
        let tick = due_ms.div_ceil(TICK_MS).max(self.current);
        let slot = slot_of(tick);
        let next = self.heads[slot];
        if next != NONE {
            self.links[next as usize].previous = timer;
        }
        self.links[timer as usize] = Link { tick, previous: NONE, next };
        self.heads[slot] = timer;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.set += 1;
    }

    /// Takes `timer` off; nothing happens where it is not set.
    pub fn cancel(&mut self, timer: Timer) {
        let Some(link) = self.links.get_mut(timer as usize) else { return };
        let Link { tick, previous, next } = std::mem::replace(link, LOOSE);
        if tick == UNSET {
            return;
        }
        let slot = slot_of(tick);
        if previous == NONE {
            self.heads[slot] = next;
            if next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        } else {
            self.links[previous as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        self.set -= 1;
    }

    /// When `timer` pops, in monotonic milliseconds; `None` where it is not set.
    #[must_use]
    pub fn due_ms(&self, timer: Timer) -> Option<u64> {
        let Link { tick, .. } = self.links.get(timer as usize)?;
        (*tick != UNSET).then(|| tick * TICK_MS)
    }

    /// When to call [`Wheel::pop`] next, in monotonic milliseconds; `None` where no timer is set. Never after the
    /// nearest deadline's tick; before it only where that is more than a revolution off.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        if self.set == 0 {
            return None;
        }
        let start = slot_of(self.current);
        let mut distance = 0;
        while distance < SLOTS {
            let slot = (start + distance) % SLOTS;
            let word = self.occupied[slot / 64] >> (slot % 64);
            if word == 0 {
                distance += 64 - slot % 64;
                continue;
            }
            distance += word.trailing_zeros() as usize;
            break;
        }
        Some((self.current + distance as u64) * TICK_MS)
    }

    /// A timer that is due at `now_ms` (monotonic milliseconds), taken off; `None` when there is none left. Calls with an earlier
    /// time than before pop nothing.
    pub fn pop(&mut self, now_ms: u64) -> Option<Timer> {
        let now = now_ms / TICK_MS;
        while self.current <= now {
            let mut timer = self.heads[slot_of(self.current)];
            while timer != NONE {
                let link = self.links[timer as usize];
                if link.tick <= self.current {
                    self.cancel(timer);
                    return Some(timer);
                }
                timer = link.next;
            }
            // Done with this tick: to the next whose slot holds anything, but not beyond the present.
            self.current += 1;
            let next = self.next_ms().map_or(u64::MAX, |next_ms| next_ms / TICK_MS);
            self.current = next.clamp(self.current, now + 1);
        }
        None
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_empty_wheel_asks_for_nothing() {
        let mut wheel = Wheel::new(4, 0);
        assert_eq!(wheel.next_ms(), None);
        assert_eq!(wheel.pop(1_000_000), None);
        wheel.set(1, 1_000_100);
        wheel.cancel(1);
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn pops_at_its_tick_and_not_before() {
        let mut wheel = Wheel::new(4, 0);
        wheel.set(3, 125_000);
        let due = wheel.next_ms().unwrap();
        assert!((125_000..125_000 + TICK_MS).contains(&due), "{due}");
        assert_eq!([wheel.due_ms(3), wheel.due_ms(2), wheel.due_ms(9)], [Some(due), None, None]);
        assert_eq!(wheel.pop(due - 1), None);
        assert_eq!(wheel.pop(due), Some(3));
        assert_eq!(wheel.pop(due), None);
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn a_moved_timer_pops_once() {
        let mut wheel = Wheel::new(4, 0);
        wheel.set(0, 1_000);
        wheel.set(0, 2_000);
        assert_eq!(wheel.pop(1_999), None);
        assert_eq!(wheel.pop(2_100), Some(0));
        assert_eq!(wheel.pop(9_000), None);
    }

    #[test]
    fn what_is_set_in_the_past_pops_with_the_next_tick() {
        let mut wheel = Wheel::new(4, 0);
        assert_eq!(wheel.pop(500_000), None);
        wheel.set(2, 10);
        let next = wheel.next_ms().unwrap();
        assert!((500_000..500_000 + TICK_MS).contains(&next), "{next}");
        assert_eq!(wheel.pop(next), Some(2));
    }

    #[test]
    fn a_timer_beyond_the_capacity_is_as_good_as_another() {
        let mut wheel = Wheel::new(1, 0);
        wheel.set(7, 1_000);
        wheel.reserve(4);
        wheel.set(3, 2_000);
        assert_eq!([wheel.pop(1_100), wheel.pop(1_100)], [Some(7), None]);
        assert_eq!(wheel.pop(2_100), Some(3));
    }

    #[test]
    fn deadlines_beyond_a_revolution_wait_for_theirs() {
        let mut wheel = Wheel::new(4, 0);
        wheel.set(1, 600_000);
        let mut wakes = 0;
        let mut now = 0;
        let popped = loop {
            now = now.max(wheel.next_ms().unwrap());
            match wheel.pop(now) {
                Some(timer) => break timer,
                None => wakes += 1,
            }
        };
        assert_eq!(popped, 1);
        assert!((600_000..600_000 + TICK_MS).contains(&now), "{now}");
        assert_eq!(wakes, 4, "one a revolution");
    }

    proptest! {
        /// Against the plain model: a map from timer to deadline.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..8, 0u64..400_000, 0u64..70_000, any::<bool>()), 1..200)) {
            let mut wheel = Wheel::new(8, 0);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (timer, after, pass, cancel) in steps {
                if cancel {
                    wheel.cancel(timer);
                    model.remove(&timer);
                } else {
                    wheel.set(timer, now + after);
                    model.insert(timer, now + after);
                }
                if let Some(nearest) = model.values().min() {
                    let next = wheel.next_ms().unwrap();
                    prop_assert!(next <= nearest.div_ceil(TICK_MS).max(now / TICK_MS + 1) * TICK_MS);
                }
                now += pass;
                while let Some(timer) = wheel.pop(now) {
                    let due = model.remove(&timer);
                    prop_assert!(due.is_some_and(|due| due <= now), "{due:?} at {now}");
                }
                prop_assert!(model.values().all(|due| due + 2 * TICK_MS > now));
                prop_assert_eq!(wheel.next_ms().is_none(), model.is_empty());
            }
        }
    }
}

//! What is held of the system's memory.
//!
//! Owns: an allocator that counts. Refuses to know: who takes it, and how much is too much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, with a count of what is taken of it. A fuzzer runs what it feeds on one thread.
pub struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// What is counted changes nothing of what the system does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

impl Counting {
    /// The most that is held at one time while `act` runs, beside what was held before, and what comes of it.
    pub fn most<T>(act: impl FnOnce() -> T) -> (usize, T) {
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        let result = act();
        (MOST.load(Relaxed) - before, result)
    }
}

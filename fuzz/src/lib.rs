//! What more than one target needs.
//!
//! Owns: an allocator that counts, and how a client writes a frame. Refuses to know: what is fed to what.

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

/// A client's frame: masked, with a mask that changes nothing.
pub fn append_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        usual @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(usual as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

//! An allocator that counts.
//!
//! Owns: how often the thread that asks to be counted asked for memory, and from where. Refuses to know: why.
//!
//! The one `unsafe` of the tests: an allocator cannot be had without it. What it does with memory is what the system's does, to the letter.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};

/// So many of the places that were asked from are told.
const TOLD: usize = 2;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    // Both begin as constants and have no destructor, so that the allocator may look at them at any time.
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

thread_local! {
    static FROM: RefCell<Vec<Backtrace>> = const { RefCell::new(Vec::new()) };
}

/// What was asked for.
#[derive(Default)]
pub struct Allocations {
    /// How often memory was asked for, or more of it.
    pub count: u64,
    /// From where, the first few times.
    pub from: Vec<Backtrace>,
}

/// Does `what`, and counts what this thread asks for meanwhile.
pub fn counted(allocations: &mut Allocations, what: impl FnOnce()) {
    IS_COUNTED.set(true);
    what();
    IS_COUNTED.set(false);
    allocations.count += COUNT.replace(0);
    FROM.with_borrow_mut(|from| allocations.from.append(from));
}

fn count() {
    if !IS_COUNTED.get() {
        return;
    }
    COUNT.set(COUNT.get() + 1);
    // To find out from where takes memory itself.
    IS_COUNTED.set(false);
    FROM.with_borrow_mut(|from| {
        if from.len() < TOLD {
            from.push(Backtrace::force_capture());
        }
    });
    IS_COUNTED.set(true);
}

// Each call is handed on as it came, so that what the caller promised is what the system is promised. What is given back is not counted: it was
// asked for before.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(place, layout, size) }
    }
}

//! Memory: an allocator that knows how much is taken, and gives no more than a limit.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// No single input may make a process take more than this: it gets none, and dies where it asked.
pub const LIMIT_BYTES: usize = 2 << 30;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted. A program says `#[global_allocator]` of it.
#[derive(Debug)]
pub struct Counted;

/// What is taken from now on, and the most of it at once.
#[derive(Debug)]
pub struct Meter {
    before: usize,
}

// === impl Meter ===

impl Meter {
    /// Begins to measure.
    pub fn start() -> Meter {
        let before = NOW.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        Meter { before }
    }

    /// The most that was taken at once since, in bytes; 0 in a program with another allocator.
    pub fn most(&self) -> usize {
        MOST.load(Ordering::Relaxed).saturating_sub(self.before)
    }
}

fn take(bytes: usize) -> bool {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if now > LIMIT_BYTES {
        NOW.fetch_sub(bytes, Ordering::Relaxed);
        return false;
    }
    MOST.fetch_max(now, Ordering::Relaxed);
    true
}

fn give_back(bytes: usize) {
    NOW.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: all memory is the system's, asked for and given back with the layout that the caller says; counting beside it
// touches none of it.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        if !take(bytes) {
            return std::ptr::null_mut();
        }
        give_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

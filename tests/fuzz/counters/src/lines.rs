//! Lines: one counter for each edge of the code that is looked at, in a section that the linker puts together.

use std::sync::atomic::{AtomicUsize, Ordering};

static FIRST: AtomicUsize = AtomicUsize::new(0);
static BEHIND: AtomicUsize = AtomicUsize::new(0);

/// Called by each object file before `main`, each time with the whole section.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(first: *mut u8, behind: *mut u8) {
    FIRST.store(first.expose_provenance(), Ordering::Relaxed);
    BEHIND.store(behind.expose_provenance(), Ordering::Relaxed);
}

/// How many counters there are; none in a build that is not looked at.
pub fn count() -> usize {
    BEHIND.load(Ordering::Relaxed) - FIRST.load(Ordering::Relaxed)
}

/// Hands out the counters as they stand. The code that counts may run on other threads meanwhile: then some counts are lost.
pub fn with<T>(look: impl FnOnce(&mut [u8]) -> T) -> T {
    let first = FIRST.load(Ordering::Relaxed);
    if first == 0 {
        return look(&mut []);
    }
    let counters = std::ptr::with_exposed_provenance_mut::<u8>(first);
    // SAFETY: the linker's section of so many bytes lives as long as the process. Only the compiler's increments write to
    // it beside this, on the threads of what is looked at, and the fuzzer looks when that has returned.
    look(unsafe { std::slice::from_raw_parts_mut(counters, count()) })
}

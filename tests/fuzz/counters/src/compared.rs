//! Comparisons: the last unequal pairs, so that an input can be given what it was compared with.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many pairs are kept.
const KEPT: usize = 256;

static LEFT: [AtomicU64; KEPT] = [const { AtomicU64::new(0) }; KEPT];
static RIGHT: [AtomicU64; KEPT] = [const { AtomicU64::new(0) }; KEPT];
static BYTES: [AtomicU64; KEPT] = [const { AtomicU64::new(0) }; KEPT];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Two numbers that were compared and differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The one.
    pub left: u64,
    /// The other.
    pub right: u64,
    /// How many bytes each of them has.
    pub bytes: usize,
}

fn note(left: u64, right: u64, bytes: u64) {
    if left == right {
        return;
    }
    // Threads may write into each other's pair: then it is one that helps nobody.
    let at = NEXT.load(Ordering::Relaxed);
    NEXT.store((at + 1) % KEPT, Ordering::Relaxed);
    LEFT[at].store(left, Ordering::Relaxed);
    RIGHT[at].store(right, Ordering::Relaxed);
    BYTES[at].store(bytes, Ordering::Relaxed);
}

/// Forgets all pairs.
pub fn forget() {
    BYTES.iter().for_each(|bytes| bytes.store(0, Ordering::Relaxed));
}

/// The pairs since then, each once, in the order of their numbers.
pub fn pairs() -> Vec<Pair> {
    let at = |slots: &[AtomicU64; KEPT], at: usize| slots[at].load(Ordering::Relaxed);
    let all =
        (0..KEPT).map(|n| Pair { left: at(&LEFT, n), right: at(&RIGHT, n), bytes: at(&BYTES, n) as usize });
    let mut pairs: Vec<Pair> = all.filter(|pair| pair.bytes > 0).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

macro_rules! callbacks {
    ($($name:ident $constant:ident $number:ty;)+) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(left: $number, right: $number) {
            note(u64::from(left), u64::from(right), size_of::<$number>() as u64);
        }
        #[unsafe(no_mangle)]
        extern "C" fn $constant(left: $number, right: $number) {
            note(u64::from(left), u64::from(right), size_of::<$number>() as u64);
        }
    )+};
}

callbacks! {
    __sanitizer_cov_trace_cmp1 __sanitizer_cov_trace_const_cmp1 u8;
    __sanitizer_cov_trace_cmp2 __sanitizer_cov_trace_const_cmp2 u16;
    __sanitizer_cov_trace_cmp4 __sanitizer_cov_trace_const_cmp4 u32;
    __sanitizer_cov_trace_cmp8 __sanitizer_cov_trace_const_cmp8 u64;
}

/// A `match` on numbers: `cases` begins with how many there are and how many bits each has.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_switch(value: u64, cases: *const u64) {
    // SAFETY: the compiler hands over a constant table of that shape.
    let (count, bits) = unsafe { (*cases, *cases.add(1)) };
    // One case of a large table each time: they would push out everything else.
    let n = NEXT.load(Ordering::Relaxed) as u64 % count.max(1);
    if count > 0 {
        // SAFETY: `n` is below the count that the table begins with.
        note(value, unsafe { *cases.add(2 + n as usize) }, (bits / 8).max(1));
    }
}

//! Memory through which an idle init gets its next run.

use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol::{Spawn, decode_spawn, encode_spawn};
use crate::sys;

/// Room for a request. Arguments and environment of most tasks are far shorter; a longer one gets an init of its own,
/// which has it by the fork.
const MAIL_BYTES: usize = 16 * 1024 - 8;

/// How many inits may be between two runs at a time. A mail costs its pages once they have been used.
const MAILS: usize = 32;

/// One request. The keeper writes it before it calls an init to it, and leaves it alone until that init has executed it
/// or is dead.
#[repr(C, align(4096))]
pub(crate) struct Mail {
    length: AtomicU32,
    bytes: UnsafeCell<[u8; MAIL_BYTES]>,
}

// SAFETY: plain bytes; all zero is an empty mail, and it is aligned to a page.
unsafe impl sys::Zeroed for Mail {}

// SAFETY: the call (release, acquire) hands it from one process to the other.
unsafe impl Sync for Mail {}

impl Mail {
    /// All mails, shared with every init that is forked later.
    ///
    /// # Errors
    /// When the system gives no shared memory.
    pub(crate) fn all() -> io::Result<&'static [Mail]> {
        sys::shared_slice(MAILS)
    }

    /// Puts a request in; false if it is too long. `scratch` is overwritten.
    pub(crate) fn write(&self, spawn: &Spawn, scratch: &mut Vec<u8>) -> bool {
        scratch.clear();
        encode_spawn(spawn, scratch);
        if scratch.len() > MAIL_BYTES {
            return false;
        }
        // SAFETY: nobody reads it before the call; the length was checked.
        unsafe {
            std::ptr::copy_nonoverlapping(scratch.as_ptr(), self.bytes.get().cast::<u8>(), scratch.len())
        };
        self.length.store(scratch.len() as u32, Ordering::Release);
        true
    }

    /// Takes the request out, in the init that was called to it. `None` if it is damaged.
    pub(crate) fn read(&self) -> Option<Spawn> {
        let length = (self.length.load(Ordering::Acquire) as usize).min(MAIL_BYTES);
        // SAFETY: the keeper does not write before it has heard of us again; the length is within.
        let body = unsafe { std::slice::from_raw_parts(self.bytes.get().cast::<u8>(), length) };
        decode_spawn(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RunId;

    fn spawn(argument: usize) -> Spawn {
        Spawn {
            run_id: RunId([1; 16]),
            argv: vec![b"echo".to_vec(), vec![b'x'; argument]],
            env: vec![b"A=1".to_vec()],
            cwd: b"/".to_vec(),
            user: None,
            cgroup_procs: vec![],
            pid_namespace: true,
            mount_namespace: true,
            no_new_privs: true,
            dropped_capabilities: 0,
            rlimits: vec![],
            output: None,
            secrets: None,
        }
    }

    #[test]
    fn a_request_that_fits_arrives_and_a_longer_one_is_not_taken() {
        let mail = Mail::all().expect("shared memory").first().expect("some");
        let mut scratch = Vec::new();
        assert!(mail.write(&spawn(MAIL_BYTES / 2), &mut scratch));
        assert_eq!(mail.read(), Some(spawn(MAIL_BYTES / 2)));
        assert!(mail.write(&spawn(3), &mut scratch));
        assert!(!mail.write(&spawn(MAIL_BYTES), &mut scratch));
        assert_eq!(mail.read(), Some(spawn(3)), "what was there stays");
    }
}

//! Secrets of a run: files in a tmpfs that is mounted in the run's own mount namespace, and so ends with its last process.
//!
//! Nobody outside of that namespace can open them. Between fork and exec there are only system calls, as in `child.rs`.

use std::ffi::{CStr, CString, c_int, c_ulong, c_void};

use crate::child::{Birth, fail};
use crate::protocol::{Secrets, Spawn, Stage};

/// A page at least for each file, and some for directories and names.
const PAGE_BYTES: usize = 4096;
const SPARE_PAGES: usize = 16;
const SPARE_INODES: usize = 8;

const FLAGS: c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
const DIR_MODE: libc::mode_t = 0o500;
const FILE_MODE: libc::mode_t = 0o400;

/// Laid out so that mounting and writing need not allocate.
pub(crate) struct Hidden {
    dir: CString,
    /// What the mount is asked for, and what where the kernel knows no `noswap` (before Linux 6.4).
    options: [CString; 2],
    files: Vec<(CString, Vec<u8>)>,
}

impl Hidden {
    /// Checks what was asked for; `None` for what cannot be.
    pub(crate) fn new(spawn: &Spawn, secrets: &Secrets) -> Option<Hidden> {
        let is_name = |name: &[u8]| {
            !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b".." && name.len() <= 255
        };
        let fits = spawn.mount_namespace
            && secrets.dir.first() == Some(&b'/')
            && secrets.files.iter().all(|file| is_name(&file.name));
        if !fits {
            return None;
        }
        let pages = |bytes: usize| bytes.div_ceil(PAGE_BYTES).max(1);
        let all: usize = secrets.files.iter().map(|file| pages(file.content.len())).sum();
        let size = (all + SPARE_PAGES) * PAGE_BYTES;
        let inodes = secrets.files.len() + SPARE_INODES;
        let plain = format!("mode=0700,size={size},nr_inodes={inodes}");
        let files = secrets.files.iter().map(|file| Some((c_string(&file.name)?, file.content.clone())));
        Some(Hidden {
            dir: c_string(&secrets.dir)?,
            options: [c_string(format!("{plain},noswap").as_bytes())?, c_string(plain.as_bytes())?],
            files: files.collect::<Option<_>>()?,
        })
    }

    /// Mounts and writes them, and lets nobody write any more.
    ///
    /// # Safety
    /// Only in the child, in a mount namespace of its own.
    pub(crate) unsafe fn give(&self, birth: &Birth<'_>) {
        // SAFETY: plain system calls on memory that lives; every descriptor is this process's own.
        unsafe {
            let (uid, gid) = match &birth.plan.user {
                Some(user) => (user.uid, user.gid),
                None => (libc::geteuid(), libc::getegid()),
            };
            let [options, plain] = &self.options;
            if !self.mount(FLAGS, options.as_ptr().cast()) && !self.mount(FLAGS, plain.as_ptr().cast()) {
                fail(birth, Stage::Secrets, 0);
            }
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let dir = libc::open(self.dir.as_ptr(), flags);
            if dir < 0 {
                fail(birth, Stage::Secrets, 1);
            }
            for (name, content) in &self.files {
                if !write_file(dir, name, content, uid, gid) {
                    fail(birth, Stage::Secrets, 2);
                }
            }
            if libc::fchown(dir, uid, gid) < 0 || libc::fchmod(dir, DIR_MODE) < 0 {
                fail(birth, Stage::Secrets, 3);
            }
            libc::close(dir);
            // Its owner could else let itself write: into memory that nobody accounts for.
            if !self.mount(FLAGS | libc::MS_REMOUNT | libc::MS_RDONLY, std::ptr::null()) {
                fail(birth, Stage::Secrets, 4);
            }
        }
    }

    unsafe fn mount(&self, flags: c_ulong, options: *const c_void) -> bool {
        let kind = c"tmpfs".as_ptr();
        // SAFETY: all strings are null-terminated.
        unsafe { libc::mount(kind, self.dir.as_ptr(), kind, flags, options) == 0 }
    }
}

fn c_string(bytes: &[u8]) -> Option<CString> {
    CString::new(bytes).ok()
}

unsafe fn write_file(dir: c_int, name: &CStr, content: &[u8], uid: u32, gid: u32) -> bool {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: name and content live through the calls.
    unsafe {
        let fd = libc::openat(dir, name.as_ptr(), flags, FILE_MODE);
        if fd < 0 {
            return false;
        }
        let mut rest = content;
        while !rest.is_empty() {
            let written = libc::write(fd, rest.as_ptr().cast(), rest.len());
            match usize::try_from(written).ok().and_then(|written| rest.get(written..)) {
                Some(left) => rest = left,
                None => return false,
            }
        }
        let done = libc::fchown(fd, uid, gid) == 0;
        libc::close(fd) == 0 && done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::SecretFile;

    fn secrets(dir: &str, name: &str) -> Secrets {
        let file = SecretFile { name: name.as_bytes().to_vec(), content: vec![1; 5000] };
        Secrets { dir: dir.as_bytes().to_vec(), files: vec![file] }
    }

    #[test]
    fn they_need_a_namespace_a_directory_and_names_that_stay_in_it() {
        let spawn = |mount_namespace| Spawn { mount_namespace, ..crate::plan::tests::spawn(&["x"]) };
        let asked = |spawn: &Spawn, dir: &str, name: &str| Hidden::new(spawn, &secrets(dir, name));
        let good = asked(&spawn(true), "/s", "key").expect("it can be");
        assert_eq!(good.options[1].to_str(), Ok("mode=0700,size=73728,nr_inodes=9"));
        assert!(asked(&spawn(false), "/s", "key").is_none());
        for (dir, name) in
            [("s", "key"), ("/s", ""), ("/s", "."), ("/s", ".."), ("/s", "a/b"), ("/s", "a\0"), ("", "key")]
        {
            assert!(asked(&spawn(true), dir, name).is_none(), "{dir:?} {name:?}");
        }
        assert!(asked(&spawn(true), "/s", &"x".repeat(256)).is_none());
    }
}

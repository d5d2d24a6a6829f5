//! Persistent volumes on disk: `<work>/volumes/<role>/<volume>/<birth>`, which a task finds by a link in its sandbox.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, open, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::sandbox;
use crate::users::User;

/// Where volumes are in the work directory, and where their links are in a sandbox.
const VOLUMES: &str = "volumes";

/// A volume is for the user of the first task that has it.
const MODE: u32 = 0o700;

/// The links are the agent's: a task follows them and cannot change where another task's lead.
const LINKS_MODE: u32 = 0o755;

/// What could not be deleted is tried again after this, then after twice that, and so on.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// But at least so often.
const RETRY_CAP: Duration = Duration::from_secs(600);

/// One volume's place below the work directory. There is no other way to name one, so each is inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeDir {
    /// As the task knows it.
    name: String,
    relative: PathBuf,
}

/// Told when what was on a volume is deleted.
pub type Removed = Box<dyn FnOnce() + Send>;

impl VolumeDir {
    /// `volumes/<role>/<volume>/<birth>`, the words escaped with [`escape`](crate::escape). Every life of a volume has a
    /// directory of its own, so what is deleted late is never what was made anew under the same name.
    pub fn new(role: &str, volume: &str, birth: u64) -> VolumeDir {
        let (role, escaped) = (sandbox::escape(role), sandbox::escape(volume));
        let relative = [VOLUMES, &role, &escaped, &birth.to_string()].iter().collect();
        let mut parts = Path::new(volume).components();
        let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == volume)
            && !volume.contains('\0');
        VolumeDir { name: if is_plain { volume.to_owned() } else { escaped }, relative }
    }

    /// What its link in a sandbox is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its full path.
    pub fn path(&self, work_dir: &Path) -> PathBuf {
        work_dir.join(&self.relative)
    }
}

/// Makes a volume if this is its first use, and shows it to a task as `<sandbox>/volumes/<volume>`.
pub(crate) fn give(
    work_dir: &Path,
    sandbox: &Path,
    volume: &VolumeDir,
    user: Option<&User>,
) -> io::Result<()> {
    make(work_dir, volume, user)?;
    let depth = sandbox.strip_prefix(work_dir).map_err(io::Error::other)?.components().count();
    // Relative, so that it leads there also where a directory above the work directory lets nobody pass.
    let up = [".."].repeat(depth + 1).join("/");
    link(sandbox, &volume.name, &Path::new(&up).join(&volume.relative))
}

fn make(work_dir: &Path, volume: &VolumeDir, user: Option<&User>) -> io::Result<()> {
    let dir = volume.path(work_dir);
    if is_dir(&dir)? {
        return Ok(());
    }
    // It gets its name when it is its user's: from then on nobody asks again whose it is.
    let fresh = beside(&dir);
    let made = || {
        sandbox::make_parents(work_dir, &volume.relative)?;
        ignore_missing(fs::remove_dir_all(&fresh))?;
        Ok::<(), io::Error>(mkdirat(CWD, &fresh, Mode::from_raw_mode(MODE))?)
    };
    // Deleting another volume takes empty directories above it away, perhaps just now.
    match made() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => made()?,
        other => other?,
    }
    if let Some(user) = user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        chownat(CWD, &fresh, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    fs::rename(&fresh, &dir)?;
    // What a task syncs on it must be found after a loss of power.
    dir.ancestors().skip(1).take(4).try_for_each(|above| File::open(above)?.sync_all())
}

/// A tasks' user may write into the sandbox: what is there must not lead the agent elsewhere.
fn link(sandbox: &Path, name: &str, target: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let sandbox = open(sandbox, flags, Mode::empty())?;
    match mkdirat(&sandbox, VOLUMES, Mode::from_raw_mode(LINKS_MODE)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let links = openat(&sandbox, VOLUMES, flags, Mode::empty())?;
    if fstat(&links)?.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("volumes in the sandbox is somebody else's"));
    }
    fchmod(&links, Mode::from_raw_mode(LINKS_MODE))?;
    match symlinkat(target, &links, name) {
        Ok(()) => Ok(()),
        // A launch that is repeated after a crash.
        Err(Errno::EXIST) => {
            unlinkat(&links, name, AtFlags::empty())?;
            Ok(symlinkat(target, &links, name)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes a volume and the directories above it that this leaves empty. Links that a task has left in it are deleted, not
/// followed; one that stands in the way to it is an error.
fn remove(work_dir: &Path, volume: &VolumeDir) -> io::Result<()> {
    let dir = volume.path(work_dir);
    let mut above = work_dir.to_owned();
    for part in volume.relative.parent().into_iter().flat_map(Path::iter) {
        above.push(part);
        if !is_dir(&above)? {
            break;
        }
    }
    // Made, but it never came to its name.
    ignore_missing(fs::remove_dir_all(beside(&dir)))?;
    if is_dir(&dir)? {
        fs::remove_dir_all(&dir)?;
    }
    // When this is told to be done, a loss of power must not bring it back: also if it is an earlier try that deleted it.
    for above in dir.ancestors().skip(1) {
        match File::open(above) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?.sync_all()?,
        }
        // That of all volumes stays, and the others while something is in them.
        if above == work_dir || above.parent() == Some(work_dir) || fs::remove_dir(above).is_err() {
            break;
        }
    }
    Ok(())
}

/// Where a volume is made before it has its name.
fn beside(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}"))
}

/// Whether it is there, and really a directory.
fn is_dir(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => Ok(true),
        Ok(_) => Err(io::Error::other(format!("{} is no directory", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

// === deleting ===

/// Deletes volumes on a thread of its own, which is there once there was one to delete: it may take long, and launches do
/// not wait for it.
pub(crate) struct Remover {
    work_dir: PathBuf,
    queue: Option<mpsc::Sender<(VolumeDir, Removed)>>,
}

impl Remover {
    pub(crate) fn new(work_dir: PathBuf) -> Remover {
        Remover { work_dir, queue: None }
    }

    /// Deletes a volume, and tries until it is done.
    pub(crate) fn remove(&mut self, volume: VolumeDir, removed: Removed) {
        let queue = self.queue.take().or_else(|| {
            let (queue, inbox) = mpsc::channel();
            let work_dir = self.work_dir.clone();
            let thread = thread::Builder::new().name("volumes".to_owned());
            match thread.spawn(move || work(&work_dir, &inbox)) {
                Ok(_) => Some(queue),
                Err(error) => {
                    tracing::warn!(%error, "no thread to delete volumes on; they are deleted after the next start");
                    None
                }
            }
        });
        // A thread that has ended has panicked, and its panic was printed; the next one tries anew.
        self.queue = queue.filter(|queue| queue.send((volume, removed)).is_ok());
    }
}

/// Ends when nobody can ask any more; what is not deleted by then is asked for again at the next start.
fn work(work_dir: &Path, inbox: &mpsc::Receiver<(VolumeDir, Removed)>) {
    let mut failed = Vec::new();
    let mut pause = RETRY_FIRST;
    // When the failed ones are tried again, whatever else comes meanwhile.
    let mut again_at: Option<Instant> = None;
    loop {
        let next = match again_at {
            None => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        let mut due: Vec<_> = match next {
            Ok(one) => vec![one],
            Err(mpsc::RecvTimeoutError::Timeout) => Vec::new(),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        if again_at.is_some_and(|at| at <= Instant::now()) {
            again_at = None;
            pause = (pause * 2).min(RETRY_CAP);
            due.append(&mut failed);
        }
        for (volume, removed) in due {
            match remove(work_dir, &volume) {
                Ok(()) => {
                    tracing::info!(volume = %volume.relative.display(), "volume deleted");
                    removed();
                }
                Err(error) => {
                    tracing::warn!(
                        volume = %volume.relative.display(), %error, retry_s = pause.as_secs(),
                        "cannot delete a volume that is destroyed"
                    );
                    failed.push((volume, removed));
                }
            }
        }
        if failed.is_empty() {
            (pause, again_at) = (RETRY_FIRST, None);
        } else {
            again_at.get_or_insert_with(|| Instant::now() + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir = std::env::temp_dir().join(format!("stoa-volumes-{}-{name}", std::process::id()));
            fs::create_dir_all(dir.join("sandboxes/fw/task/run")).unwrap();
            Scratch(dir)
        }

        fn sandbox(&self) -> PathBuf {
            self.0.join("sandboxes/fw/task/run")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn no_word_leads_out_of_the_directory_of_volumes() {
        for word in ["..", ".", "/", "../../etc", "a/b", "", "eng/web", "\0"] {
            let volume = VolumeDir::new(word, word, 7);
            let parts: Vec<_> = volume.relative.components().collect();
            assert_eq!(parts.len(), 4, "{word:?}: {parts:?}");
            assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{word:?}: {parts:?}");
            assert_eq!(Path::new(&volume.name).components().count(), 1, "{word:?}: {:?}", volume.name);
        }
        assert_eq!(VolumeDir::new("eng", "o@dd:näme", 7).name, "o@dd:näme", "as the task named it");
        assert_ne!(VolumeDir::new("a/b", "c", 1).relative, VolumeDir::new("a", "b/c", 1).relative);
    }

    #[test]
    fn what_is_written_is_there_for_the_next_and_a_new_life_is_empty() {
        let scratch = Scratch::new("lasts");
        let volume = VolumeDir::new("eng/web", "data", 3);
        give(&scratch.0, &scratch.sandbox(), &volume, None).unwrap();
        let seen = scratch.sandbox().join("volumes/data");
        fs::write(seen.join("file"), "kept").unwrap();
        assert_eq!(fs::metadata(volume.path(&scratch.0)).unwrap().permissions().mode() & 0o777, MODE);

        // A launch that is repeated, and the next task.
        let other = scratch.0.join("sandboxes/fw/task/other");
        fs::create_dir(&other).unwrap();
        for sandbox in [&scratch.sandbox(), &other] {
            give(&scratch.0, sandbox, &volume, None).unwrap();
            assert_eq!(fs::read_to_string(sandbox.join("volumes/data/file")).unwrap(), "kept");
        }
        let again = VolumeDir::new("eng/web", "data", 4);
        give(&scratch.0, &other, &again, None).unwrap();
        assert_eq!(fs::read_dir(other.join("volumes/data")).unwrap().count(), 0);

        // The old life is deleted late, and nothing but it.
        fs::write(other.join("volumes/data/file"), "new").unwrap();
        remove(&scratch.0, &volume).unwrap();
        remove(&scratch.0, &volume).unwrap();
        assert!(!volume.path(&scratch.0).exists());
        assert_eq!(fs::read_to_string(other.join("volumes/data/file")).unwrap(), "new");
        remove(&scratch.0, &again).unwrap();
        assert_eq!(fs::read_dir(scratch.0.join(VOLUMES)).unwrap().count(), 0, "nothing is left above it");

        // One that was being made when the agent died.
        fs::create_dir_all(beside(&again.path(&scratch.0))).unwrap();
        remove(&scratch.0, &again).unwrap();
        assert_eq!(fs::read_dir(scratch.0.join(VOLUMES)).unwrap().count(), 0);
    }

    #[test]
    fn links_are_deleted_and_not_followed() {
        let scratch = Scratch::new("links");
        let outside = scratch.0.join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        let volume = VolumeDir::new("eng", "data", 1);
        give(&scratch.0, &scratch.sandbox(), &volume, None).unwrap();
        symlink(&outside, volume.path(&scratch.0).join("trap")).unwrap();
        remove(&scratch.0, &volume).unwrap();
        assert!(outside.join("precious").exists());

        // Nor where the way to a volume should be, or the links in a sandbox.
        symlink(&outside, scratch.0.join(VOLUMES).join("eng")).unwrap();
        fs::create_dir_all(outside.join("data/1")).unwrap();
        assert!(remove(&scratch.0, &volume).is_err());
        assert!(outside.join("data/1").exists());
        fs::remove_dir_all(scratch.sandbox().join(VOLUMES)).unwrap();
        symlink(&outside, scratch.sandbox().join(VOLUMES)).unwrap();
        let other = VolumeDir::new("ops", "data", 2);
        assert!(give(&scratch.0, &scratch.sandbox(), &other, None).is_err());
        assert!(!outside.join("data").is_symlink());
    }

    #[test]
    fn deleting_is_tried_until_it_is_done() {
        let scratch = Scratch::new("retry");
        let volume = VolumeDir::new("eng", "data", 1);
        fs::create_dir_all(scratch.0.join("volumes/eng")).unwrap();
        fs::write(scratch.0.join("volumes/eng/data"), "in the way").unwrap();
        let mut remover = Remover::new(scratch.0.clone());
        let (tell, told) = mpsc::channel();
        let first = tell.clone();
        remover.remove(volume, Box::new(move || first.send("first").unwrap()));
        remover.remove(VolumeDir::new("eng", "other", 2), Box::new(move || tell.send("second").unwrap()));
        assert_eq!(told.recv(), Ok("second"), "nobody waits for the one that cannot be deleted");
        fs::remove_file(scratch.0.join("volumes/eng/data")).unwrap();
        assert_eq!(told.recv(), Ok("first"));
    }
}

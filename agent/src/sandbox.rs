//! The directories that runs work in, `<work>/sandboxes/<framework>/<task>/<run>`: found at the start, removed when
//! their time has come.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use agent_containerizer::{RunId as ContainerId, SandboxDir, escape};
use proto::id::{FrameworkId, RunId, TaskId};
use proto::ledger::RunTaken;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::runs::Runs;

/// Sandboxes of runs that are over are kept for a time, but never more than this: each costs at least three inodes.
const KEPT_MAX: usize = 20_000;

/// The sandboxes of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Sandboxes {
    work_dir: PathBuf,
}

/// Names the sandbox of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub framework: FrameworkId,
    pub task: TaskId,
    pub run: RunId,
}

impl Owner {
    /// Of a run that was taken on.
    pub fn of(taken: &RunTaken) -> Owner {
        Owner { framework: taken.framework.clone(), task: taken.task.id.clone(), run: taken.run }
    }
}

/// Tasks of other users pass through to what is theirs, and see nothing on the way.
const PASSAGE: u32 = 0o711;

/// Makes the work directory, if it is missing, so that tasks can pass; one that is there stays as it is.
pub(crate) fn make_work_dir(work_dir: &Path) -> io::Result<()> {
    if work_dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(work_dir)?;
    fs::set_permissions(work_dir, fs::Permissions::from_mode(PASSAGE))
}

impl Sandboxes {
    /// Those of a work directory.
    pub fn below(work_dir: &Path) -> io::Result<Sandboxes> {
        let root = work_dir.join("sandboxes");
        fs::create_dir_all(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(PASSAGE))?;
        Ok(Sandboxes { work_dir: work_dir.to_owned() })
    }

    /// The sandbox of a run, as the containerizer names it.
    pub fn dir(owner: &Owner) -> SandboxDir {
        SandboxDir::new(owner.framework.as_str(), owner.task.as_str(), container(owner.run))
    }

    /// The sandbox of a run.
    pub fn path(&self, owner: &Owner) -> PathBuf {
        Sandboxes::dir(owner).path(&self.work_dir)
    }

    fn root(&self) -> PathBuf {
        self.work_dir.join("sandboxes")
    }

    /// Every sandbox there is, the one that was changed longest ago first.
    pub fn found(&self) -> Vec<(Owner, SystemTime)> {
        let mut found = Vec::new();
        for (framework, path) in children(&self.root()) {
            for (task, path) in children(&path) {
                for (run, path) in children(&path) {
                    let changed = fs::metadata(&path).and_then(|facts| facts.modified());
                    let owner = owner_of(&framework, &task, &run);
                    if let (Some(owner), Ok(changed)) = (owner, changed) {
                        found.push((owner, changed));
                    }
                }
            }
        }
        found.sort_by_key(|(_, changed)| *changed);
        found
    }

    /// Removes a sandbox, and the directories above it that this leaves empty.
    fn remove(&self, owner: &Owner) {
        let sandbox = self.path(owner);
        match fs::remove_dir_all(&sandbox) {
            Ok(()) => debug!(sandbox = %sandbox.display(), "sandbox removed"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(sandbox = %sandbox.display(), %error, "cannot remove a sandbox"),
        }
        for dir in sandbox.ancestors().skip(1).take(2) {
            // Fails while something is in it, which is meant.
            if fs::remove_dir(dir).is_err() {
                return;
            }
        }
    }
}

fn children(dir: &Path) -> Vec<(String, PathBuf)> {
    let named = |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.path()));
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(named).collect()
}

/// Whose a sandbox is, by the names of its directories. Names that were cut tell nothing: then nobody asks for them
/// either, and they are found when they are asked for by the run that made them.
fn owner_of(framework: &str, task: &str, run: &str) -> Option<Owner> {
    let run: ContainerId = run.parse().ok()?;
    Some(Owner {
        framework: FrameworkId::new(&unescape(framework)?).ok()?,
        task: TaskId::new(&unescape(task)?).ok()?,
        run: RunId::from_bytes(run.0),
    })
}

/// What was escaped to this name.
fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let word = String::from_utf8(bytes).ok()?;
    (escape(&word) == name).then_some(word)
}

/// A run as the containerizer knows it.
pub(crate) fn container(run: RunId) -> ContainerId {
    ContainerId(run.to_bytes())
}

/// Removes sandboxes of runs that are over when they have been so for `keep`. `left` are those that an earlier process
/// left, oldest first; `over` tells of each that is over now.
pub(crate) async fn sweep(
    sandboxes: Sandboxes,
    runs: Runs,
    keep: Duration,
    left: Vec<(Owner, SystemTime)>,
    mut over: mpsc::UnboundedReceiver<Owner>,
) {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let age = |changed| wall.duration_since(changed).unwrap_or_default();
    let mut queue: VecDeque<(Instant, Owner)> =
        left.into_iter().map(|(owner, changed)| (now + keep.saturating_sub(age(changed)), owner)).collect();
    loop {
        let due = match queue.front() {
            Some(_) if queue.len() > KEPT_MAX => Some(now),
            Some((due, _)) => Some(*due),
            None => None,
        };
        let rest = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // What is due comes first, so that a burst of ends cannot make the queue grow beyond its bound.
            biased;
            () = rest => {
                if let Some((_, owner)) = queue.pop_front() {
                    runs.forget(&owner.framework, &owner.task, owner.run);
                    let sandboxes = sandboxes.clone();
                    // A panic in there is a fault of ours; the next sandbox has no part in it.
                    let _ = tokio::task::spawn_blocking(move || sandboxes.remove(&owner)).await;
                }
            }
            next = over.recv() => match next {
                Some(owner) => queue.push_back((Instant::now() + keep, owner)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn owner(task: &str, number: u64) -> Owner {
        Owner {
            framework: FrameworkId::new("fw").unwrap(),
            task: TaskId::new(task).unwrap(),
            run: RunId::at(number, 0),
        }
    }

    #[test]
    fn sandboxes_are_found_by_their_names() {
        let scratch = Scratch::new("sandbox-found");
        let sandboxes = Sandboxes::below(scratch.path()).unwrap();
        let mut made = vec![owner("web.1", 1), owner("web.1", 2), owner("o@dd:näme", 3)];
        for owner in &made {
            fs::create_dir_all(sandboxes.path(owner)).unwrap();
        }
        fs::create_dir_all(sandboxes.root().join("fw/web.1/no-run")).unwrap();
        fs::create_dir_all(sandboxes.root().join("fw/%zz/00")).unwrap();
        let mut found: Vec<Owner> = sandboxes.found().into_iter().map(|(owner, _)| owner).collect();
        let by_run = |owner: &Owner| owner.run;
        found.sort_by_key(by_run);
        made.sort_by_key(by_run);
        assert_eq!(found, made);
    }

    #[tokio::test(start_paused = true)]
    async fn sandboxes_go_when_their_time_has_come_and_their_parents_with_them() {
        let scratch = Scratch::new("sandbox-sweep");
        let sandboxes = Sandboxes::below(scratch.path()).unwrap();
        let (left, over) = (owner("a", 1), owner("b", 2));
        let runs = Runs::new();
        for owner in [&left, &over] {
            fs::create_dir_all(sandboxes.path(owner)).unwrap();
            fs::write(sandboxes.path(owner).join("stdout"), "x").unwrap();
            runs.begin(&owner.framework, &owner.task, owner.run, "", sandboxes.path(owner));
        }
        let (tell, told) = mpsc::unbounded_channel();
        let left_over = sandboxes.found().into_iter().filter(|(owner, _)| *owner == left).collect();
        let keep = Duration::from_secs(60);
        let sweeping = tokio::spawn(sweep(sandboxes.clone(), runs.clone(), keep, left_over, told));
        let gone = |path: PathBuf| async move {
            while path.exists() {
                tokio::task::yield_now().await;
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        };
        gone(sandboxes.path(&left)).await;
        assert!(runs.find(&left.framework, &left.task).is_none());
        assert!(runs.find(&over.framework, &over.task).is_some() && sandboxes.path(&over).exists());
        tell.send(over.clone()).unwrap();
        gone(sandboxes.root().join("fw")).await;
        assert!(runs.find(&over.framework, &over.task).is_none());
        assert!(sandboxes.root().exists());
        drop(tell);
        sweeping.await.unwrap();
    }
}

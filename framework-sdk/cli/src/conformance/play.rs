//! `Play`: one framework and one pretend cluster of two masters, for the time of one check.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use framework_sdk::harness::{Fake, agent, resources};
use framework_sdk::testing::{Behaviour, FakeCluster, Journal, Life, Pace};
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::scheduler::CallKind;
use proto_pki::Identity;

use super::subject::{Running, Subject};
use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// What every agent of the pretend cluster has.
const AGENTS: usize = 3;
const CPUS_MILLI: u64 = 8_000;
const MEM_BYTES: u64 = 16 << 30;
const DISK_BYTES: u64 = 64 << 30;
/// Names tried for a directory of its own.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A framework and a pretend cluster.
pub(super) struct Play {
    pub cluster: FakeCluster,
    pub patience: Duration,
    subject: Subject,
    running: Option<Running>,
    dir: PathBuf,
}

// === impl Play ===

impl Play {
    /// Starts both. The pool has no life yet: see [`Play::live`].
    pub async fn begin(subject: &Subject, principal: &str, patience: Duration) -> Result<Play, Failure> {
        let internal = |error: &dyn std::error::Error| Failure::internal(chain(error));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("stoa-conformance-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| {
            let message = format!("cannot make {}: {error}", dir.display());
            Failure::new(Exit::Bad, "internal", message, "")
        })?;
        let cluster = FakeCluster::of_masters(2).await.map_err(|error| internal(&error))?;
        for number in 1..=AGENTS {
            let mut all = resources(CPUS_MILLI, MEM_BYTES);
            let first = 31_000;
            let more = Amount::default().with_ports(Ranges::single(first, first + 999));
            all.add(&Resources::unreserved(more));
            let mut disk = Amount::default();
            disk.scalars = disk.scalars.with_disk(DISK_BYTES);
            all.add(&Resources::unreserved(disk));
            cluster.with(|fake| fake.add_agent(agent(&format!("agent-{number}"), all)));
        }
        let me = cluster.profile(&Identity::Framework(principal.to_owned())).map_err(|e| internal(&e))?;
        let mut play = Play { cluster, patience, subject: subject.clone(), running: None, dir };
        play.running = Some(subject.start(&me, &play.dir)?);
        Ok(play)
    }

    /// From now on offers are made, and tasks behave so.
    pub fn live(&self, behaviour: Behaviour) {
        let mut life = Life::at(Pace {
            offers: Duration::from_millis(200),
            start: Duration::from_millis(50),
            repeat: Duration::from_millis(500),
            ..Pace::default()
        });
        life.behave("", behaviour);
        self.cluster.live(life);
    }

    /// Waits for the first subscribe, and gives the framework something to do; why that is not to be.
    pub async fn subscribed(&mut self) -> Result<(), String> {
        let first = self.find(|_, journal| journal.calls(0).next().map(|(_, call)| call.clone())).await;
        match first {
            Some(CallKind::Subscribe(_)) => {}
            Some(_) => return Err("its first call is not Subscribe".to_owned()),
            None => return Err(self.miss("it does not subscribe")),
        }
        let user = Identity::User("conformance".to_owned());
        let user = self.cluster.profile(&user).map_err(|error| chain(&error))?;
        self.subject.give_work(&user, &self.dir).await
    }

    /// Waits for something as long as patience lasts.
    pub async fn find<T>(&self, find: impl Fn(&Fake, &Journal) -> Option<T>) -> Option<T> {
        self.find_within(self.patience, find).await
    }

    /// Waits for something.
    pub async fn find_within<T>(
        &self,
        limit: Duration,
        find: impl Fn(&Fake, &Journal) -> Option<T>,
    ) -> Option<T> {
        tokio::time::timeout(limit, self.cluster.until_noted(find)).await.ok()
    }

    /// Lets time pass, since some faults only show in time; less of it when the framework has torn itself down.
    pub async fn watch(&self, time: Duration) {
        let over = |_: &Fake, journal: &Journal| tore_itself_down(journal).then_some(());
        let _ = self.find_within(time, over).await;
    }

    /// What is missing, and that the framework is dead, if it is.
    pub fn miss(&mut self, what: &str) -> String {
        match self.death() {
            Some(how) => format!("{what}: it died, {how}"),
            None => format!("{what} within {:?}", self.patience),
        }
    }

    /// How it died, unless it may: after a teardown nothing is left to do.
    pub fn death(&mut self) -> Option<String> {
        if tore_itself_down(&self.cluster.journal()) {
            return None;
        }
        self.running.as_mut()?.death()
    }

    /// How long ago something was.
    pub fn age(at: Instant) -> Duration {
        at.elapsed()
    }

    /// Ends the framework and forgets everything.
    pub async fn end(mut self) {
        if let Some(running) = self.running.take() {
            running.end().await;
        }
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        // A temporary directory is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether the framework has ended itself.
pub(super) fn tore_itself_down(journal: &Journal) -> bool {
    journal.calls(0).any(|(_, call)| *call == CallKind::Teardown)
}

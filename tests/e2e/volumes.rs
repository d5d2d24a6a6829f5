//! A volume with the real binary: what one task leaves is there for the next, over the death of the agent, and goes with it.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use framework_sdk::client::{Client, Event, Lease};
use framework_sdk::demand::{DeclineReason, Filter};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{TaskId, VolumeId};
use framework_sdk::operation::{CreateVolume, DestroyVolume, Operation, Reserve};
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::{Amount, Portion};
use framework_sdk::role::Role;
use framework_sdk::task::{TaskInfo, TaskState};
use framework_sdk::{Config, Profile, Room, tasks, unused_prefix};

use super::cluster::{Cluster, eventually};

const LIMIT: Duration = Duration::from_secs(30);
const BYTES: u64 = 64 << 20;

fn role() -> Role {
    Role::new("ops/db").unwrap()
}

fn id() -> VolumeId {
    VolumeId::new("data").unwrap()
}

fn disk() -> Amount {
    Amount::scalars(Quantities::ZERO.with_disk(BYTES))
}

fn shape() -> Amount {
    Amount::scalars(Quantities::of(100, 32 << 20))
}

fn create() -> Operation {
    Operation::CreateVolume(CreateVolume { role: role(), volume: id(), disk_bytes: BYTES })
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

/// A framework that does one thing after the other.
struct Owner {
    client: Client,
}

impl Owner {
    fn of(cluster: &Cluster) -> Owner {
        let profile = Profile::load(&cluster.context()).unwrap();
        let info = FrameworkInfo {
            name: "volumes".to_owned(),
            roles: vec![role()],
            failover_timeout: Duration::ZERO,
            address: String::new(),
            labels: Default::default(),
        };
        let config = Config {
            info,
            id: None,
            operation_prefix: unused_prefix(),
            masters: profile.masters.clone(),
            seed: 1,
            believed: Vec::new(),
        };
        Owner { client: Client::start(profile.credentials, config).unwrap() }
    }

    /// Uses the first offer that this can be planned in.
    async fn does(&mut self, what: &str, plan: impl Fn(&mut Room) -> Option<()>) {
        let filter = Filter { refuse: Duration::from_millis(100) };
        let found = async {
            loop {
                let event = self.client.next().await.expect("a session");
                let Event::Lease(lease) = event else { continue };
                let mut room = Room::new(lease.offer().unwrap().clone());
                match plan(&mut room) {
                    Some(()) => return used(lease, &plan),
                    None => lease.decline(DeclineReason::Unused, filter),
                }
            }
        };
        let room = soon(what, found).await;
        let accepted = soon(what, self.client.accept(vec![room], filter)).await;
        accepted.unwrap_or_else(|error| panic!("{what}: {error}"));
    }

    /// Waits for the end of a task.
    async fn ends(&mut self, task: &str) -> (TaskState, String) {
        let ended = async {
            loop {
                let Event::Update(update) = self.client.next().await.expect("a session") else { continue };
                let status = update.status().clone();
                self.client.done(update);
                if status.task.as_str() == task && status.state.is_terminal() {
                    return (status.state, status.message);
                }
            }
        };
        soon(task, ended).await
    }

    /// Runs a script that has the volume, which is there.
    async fn runs(&mut self, name: &str, script: &str) {
        for attempt in 1.. {
            let task = format!("{name}.{attempt}");
            let plan = |room: &mut Room| {
                let mut info = tasks::shell(TaskId::new(&task).unwrap(), script);
                info.resources = room.take(&shape())?;
                info.resources.add(&room.take_volume(&id())?);
                room.launch(info);
                Some(())
            };
            self.does(&task, plan).await;
            match self.ends(&task).await {
                // The offer was taken back meanwhile, as its agent had died: such a task never started.
                (TaskState::Dropped, _) => {}
                end => return assert_eq!(end, (TaskState::Finished, String::new()), "{task}"),
            }
        }
    }
}

fn used(lease: Lease, plan: impl Fn(&mut Room) -> Option<()>) -> Room {
    let mut room = lease.room().expect("an offer");
    plan(&mut room).expect("it was planned before");
    room
}

/// A task that has the volume before it is in any offer: it is made in the same accept.
fn first(room: &mut Room, script: &str) -> Option<TaskInfo> {
    let mut info = tasks::shell(TaskId::new("first").unwrap(), script);
    info.resources = room.take(&shape())?;
    let (reservation, volume) = (Some(role()), Some(id()));
    info.resources.add_portion(&Portion { reservation, volume, amount: disk() });
    Some(info)
}

/// What is there of the volume, life by life.
fn lives(cluster: &Cluster) -> Vec<PathBuf> {
    let dir = cluster.path("data/agent-1").join("work").join("volumes/ops%2Fdb/data");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_task_leaves_on_a_volume_is_there_until_the_volume_is_destroyed() {
    let mut cluster = Cluster::up("volumes", &["--agents", "1", "--no-jobs", "--data-dir", "DATA"]);
    let mut owner = Owner::of(&cluster);
    let make = |room: &mut Room| {
        room.operate(Operation::Reserve(Reserve { role: role(), amount: disk() }));
        room.operate(create());
        let first = first(room, "echo kept > volumes/data/file && ln -s / volumes/data/trap")?;
        room.launch(first);
        Some(())
    };
    owner.does("a volume, and a task on it", make).await;
    assert_eq!(owner.ends("first").await, (TaskState::Finished, String::new()));
    owner.runs("second", "test \"$(cat \"$STOA_SANDBOX/volumes/data/file\")\" = kept").await;

    let agent = cluster.child("agent-1");
    cluster.kill_9(agent);
    eventually("the agent again", LIMIT, || (cluster.child("agent-1") != agent).then_some(()));
    owner.runs("third", "test \"$(cat volumes/data/file)\" = kept").await;
    let old = lives(&cluster);
    assert_eq!(old.len(), 1, "{old:?}");

    let destroy = |room: &mut Room| {
        room.take_volume(&id())?;
        room.operate(Operation::DestroyVolume(DestroyVolume { role: role(), volume: id() }));
        room.operate(create());
        Some(())
    };
    owner.does("its end, and another of the same name", destroy).await;
    eventually("what was on it is gone", LIMIT, || (!old[0].exists()).then_some(()));
    owner.runs("fourth", "test -z \"$(ls -A volumes/data)\" && echo anew > volumes/data/file").await;
    let new = lives(&cluster);
    assert!(new.len() == 1 && new != old, "{old:?} {new:?}");
    owner.runs("fifth", "test \"$(cat volumes/data/file)\" = anew").await;

    let destroy = |room: &mut Room| {
        room.take_volume(&id())?;
        room.operate(Operation::DestroyVolume(DestroyVolume { role: role(), volume: id() }));
        Some(())
    };
    owner.does("the end of that too", destroy).await;
    eventually("nothing is left", LIMIT, || lives(&cluster).is_empty().then_some(()));
    drop(owner);
    cluster.down();
}

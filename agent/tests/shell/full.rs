//! The disk of an agent is full: it takes nothing new, keeps what it has, and goes on by itself when there is room.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use proto::agent_link::{Register, RunReport};
use proto::id::RunId;
use proto::task::{Exit, StatusReason, TaskState, TaskStatus};
use tonic::service::Routes;

use super::master::{Master, Session, command, script};
use super::node::{Gate, Node, has_command};
use super::soon;

/// How soon it takes tasks again once there is room.
const COMES_BACK: Duration = Duration::from_secs(10);

/// The disk of a node's work directory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` if this user may not mount one.
    fn of(node: &Node) -> Option<SmallDisk> {
        let dir = node.dir().join("work");
        std::fs::create_dir_all(&dir).unwrap();
        let options = "size=64m,mode=755";
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&dir).output();
        let mounted = mounted.is_ok_and(|said| said.status.success());
        assert!(mounted || !rustix::process::geteuid().is_root(), "root can mount");
        mounted.then_some(SmallDisk(dir))
    }

    /// Takes all the room there is.
    fn fill(&self) -> Filler {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        let block = vec![1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&block[..512]).is_ok() {}
        Filler(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        // The node could not remove what something was mounted on.
        let _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

struct Filler(PathBuf);

impl Filler {
    fn remove(self) -> Instant {
        std::fs::remove_file(&self.0).unwrap();
        Instant::now()
    }
}

/// A machine with a small disk. The first to go is the node, which ends its keeper.
struct Scene {
    node: Node,
    disk: SmallDisk,
}

impl Scene {
    fn new() -> Option<Scene> {
        let node = Node::new();
        SmallDisk::of(&node).map(|disk| Scene { node, disk })
    }
}

/// Launches one run after another from this number on, until one stands as wanted; those before it that run.
async fn launch_until(
    session: &mut Session,
    mut number: u64,
    wanted: impl Fn(&TaskStatus) -> bool,
) -> (TaskStatus, Vec<RunId>) {
    let mut alive = Vec::new();
    loop {
        session.launch(vec![command(number, &["sleep", "600"])]);
        let status = session.acknowledged().await;
        if wanted(&status) {
            return (status, alive);
        }
        alive.extend(status.run.filter(|_| !status.state.is_terminal()));
        number += 1;
    }
}

fn refused(status: &TaskStatus) -> bool {
    (status.state, status.reason) == (TaskState::Dropped, StatusReason::AgentDiskFull)
}

/// It has what ran, as it was.
fn keeps(register: &Register, stays: &TaskStatus) {
    let known = |report: &&RunReport| report.run == stays.run.unwrap();
    let status = &register.runs.iter().find(known).expect("it is not forgotten").status;
    assert_eq!((status.state, status.pid), (TaskState::Running, stays.pid));
}

#[tokio::test]
async fn it_refuses_what_is_new_and_keeps_what_it_has_and_comes_back_by_itself() {
    let Some(Scene { node, disk }) = &Scene::new() else { return };
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let stays = session.start(command(1, &["sleep", "600"])).await;
    let gate = Gate::new(node);
    session.start(script(2, &format!("{}; exit 7", gate.cat()))).await;

    let filler = disk.fill();
    let (first, alive) = soon("a refusal", launch_until(&mut session, 100, refused)).await;
    assert!(first.message.contains("make room"), "{first:?}");
    // What runs is ended and told as ever: that much is kept free.
    gate.open("go").await;
    let seen = soon("the end of a task", session.until_over(&[RunId::at(2, 0)])).await;
    assert_eq!(seen[&RunId::at(2, 0)].last().unwrap().exit, Some(Exit::Code(7)));
    alive.iter().for_each(|run| session.kill(*run, Duration::ZERO));
    soon("the ends of others", session.until_over(&alive)).await;

    // Its process may end and start meanwhile.
    running.stop().await;
    let running = node.start(&[&master.address]).await;
    let (mut session, register) = master.admit().await;
    keeps(&register, &stays);
    let number = (first.run.unwrap().0 >> 64) as u64;
    session.launch(vec![command(number, &["sleep", "600"]), command(1_000, &["sleep", "600"])]);
    let mut left: BTreeSet<RunId> = [number, 1_000].map(|number| RunId::at(number, 0)).into();
    while !left.is_empty() {
        // What was acknowledged just before the end of the process is told once more.
        let status = session.acknowledged().await;
        assert!(!left.remove(&status.run.unwrap()) || refused(&status), "{status:?}");
    }

    let there = filler.remove();
    let (status, _) =
        soon("a task that runs", launch_until(&mut session, 2_000, |s| s.state == TaskState::Running)).await;
    assert_eq!(status.state, TaskState::Running, "{status:?}");
    assert!(there.elapsed() < COMES_BACK, "{:?}", there.elapsed());
    // What was refused was told, so it is never started. The first may be one of too many to remember by now.
    let last = match (status.run.unwrap().0 >> 64) as u64 {
        2_000 => number,
        ran => ran - 1,
    };
    session.launch(vec![command(last, &["sleep", "600"])]);
    let again = soon("its refusal", session.until_over(&[RunId::at(last, 0)])).await;
    assert!(again[&RunId::at(last, 0)].iter().all(refused), "{again:?}");
    assert!(has_command(stays.pid), "it was never touched");
    running.stop().await;
}

#[tokio::test]
async fn when_all_is_used_up_it_waits_and_tells_nothing_that_is_not_written() {
    const MANY: u64 = 8_000;
    let Some(Scene { node, disk }) = &Scene::new() else { return };
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let stays = session.start(command(1, &["sleep", "600"])).await;
    let filler = disk.fill();
    soon("a refusal", launch_until(&mut session, 10, refused)).await;
    // More than what is kept free takes.
    let runs: Vec<_> = (10_000..10_000 + MANY).map(|number| command(number, &["true"])).collect();
    runs.chunks(500).for_each(|runs| session.launch(runs.to_vec()));
    let mut told = BTreeSet::new();
    while let Ok(status) = tokio::time::timeout(Duration::from_secs(2), session.update()).await {
        assert!(refused(&status), "{status:?}");
        told.insert(status.run.unwrap());
    }
    assert!(told.len() > 1_000 && (told.len() as u64) < MANY, "{} were told", told.len());
    // It can be stopped while it waits, and waits again.
    soon("its end", running.stop()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, register) = master.admit().await;
    keeps(&register, &stays);
    runs.chunks(500).for_each(|runs| session.launch(runs.to_vec()));
    let there = filler.remove();
    let mut answered = BTreeSet::new();
    while (answered.len() as u64) < MANY {
        let status = session.update().await;
        let run = status.run.unwrap();
        // Of what it had told before it says the same, of the rest whatever becomes of it.
        assert!(refused(&status) || !told.contains(&run), "{status:?}");
        answered.insert(run);
    }
    assert!(there.elapsed() < COMES_BACK, "{:?}", there.elapsed());
    assert!(has_command(stays.pid));
    running.stop().await;
}

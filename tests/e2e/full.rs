//! A disk that is full: a master makes way, stores nothing, stays, and goes on when there is room.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::broken::lab::SmallDisk;
use super::cluster::{Cluster, eventually};
use super::founding::{ByHand, doors};
use super::members::Group;

const LIMIT: Duration = Duration::from_secs(30);
/// How soon after there is room everything is as before.
const COMES_BACK: Duration = Duration::from_secs(10);

/// Somebody else's file on the same disk.
struct Filler(PathBuf);

impl Filler {
    /// Leaves so much.
    fn leaving(dir: &str, mib: u64) -> Filler {
        let path = PathBuf::from(dir).join("filler");
        let mut file = File::create(&path).unwrap();
        let zeros = vec![0; 1 << 20];
        while free_mib(dir) > mib {
            file.write_all(&zeros).unwrap();
        }
        Filler(path)
    }

    fn removed(self) -> Instant {
        std::fs::remove_file(self.0).unwrap();
        Instant::now()
    }
}

fn free_mib(dir: &str) -> u64 {
    let said = Command::new("df").args(["--output=avail", "-m", dir]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number of MiB")
}

/// Up to where a master has stored the log, as its leader knows.
fn stored(group: &Group, id: u64) -> Option<u64> {
    let status = group.status()?;
    let members = status["members"].as_array()?;
    members.iter().find(|member: &&Value| member["id"] == id)?["matched"].as_u64()
}

#[test]
fn a_leader_whose_disk_is_full_makes_way_and_comes_back_by_itself() {
    let hand = ByHand::new("full");
    let dir = hand.path("m2");
    let Some(disk) = SmallDisk::mounted(&dir, 160) else { return };
    let group = Group::found_in(hand);
    if group.leader() != 2 {
        let said = group.stoa(&["raft", "transfer", "2"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let filler = Filler::leaving(&dir, 12);
    eventually("another leads", COMES_BACK, || Some(group.leader()).filter(|leader| *leader != 2));
    eventually("it says why", LIMIT, || group.hand.log("m2").contains("the disk is full").then_some(()));
    let before = stored(&group, 2);
    for _ in 0..10 {
        let order = group.stoa(&["token", "create", "--kind", "agent"]);
        assert_eq!(order.code, 0, "the others take orders: {order:?}");
    }
    let leader = group.leader();
    assert!(stored(&group, leader) > stored(&group, 2) || before.is_none(), "it stores nothing");
    let there = filler.removed();
    eventually("it has everything", COMES_BACK, || {
        let all = stored(&group, group.leader())?;
        (stored(&group, 2) == Some(all)).then_some(())
    });
    let said = group.stoa(&["raft", "transfer", "2"]);
    assert!(said.code == 0 && there.elapsed() < COMES_BACK, "{said:?} after {:?}", there.elapsed());
    assert!(!group.hand.log("m2").contains("must stop"), "it is the same process: {}", group.hand.log("m2"));
    drop(group);
    drop(disk);
}

#[test]
fn a_lone_master_whose_disk_is_full_says_so_and_goes_on() {
    let mut hand = ByHand::new("full-alone");
    let dir = hand.path("m1");
    let Some(disk) = SmallDisk::mounted(&dir, 160) else { return };
    let door = doors(1).remove(0);
    hand.found(&["master", "--data-dir", &dir, "--listen", &door], "--join TOKEN");
    let context = hand.path("m1/context");
    let order = ["token", "create", "--kind", "agent", "--context", &context];
    hand.well("an order", &order);
    let filler = Filler::leaving(&dir, 12);
    let refused =
        eventually("orders are refused", LIMIT, || Some(hand.stoa(&order)).filter(|said| said.code != 0));
    assert!(refused.code == 5 && refused.err.contains("the disk of this master is full"), "{refused:?}");
    let read = hand.stoa(&["get", "agents", "--context", &context]);
    assert_eq!(read.code, 0, "it can be read: {read:?}");
    let there = filler.removed();
    hand.well("orders are carried out again", &order);
    assert!(there.elapsed() < COMES_BACK, "{:?}", there.elapsed());
    drop(hand);
    drop(disk);
}

#[test]
fn logs_that_cannot_be_written_end_nobody() {
    let mut cluster = Cluster::prepared("full-logs", &[]);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    // Every write to it fails as on a full disk. (`stoa up` reads what agents log, and this never ends.)
    std::fs::create_dir_all(cluster.path("data/logs")).unwrap();
    for name in ["master-1", "master-2", "master-3", "jobs"] {
        symlink("/dev/full", cluster.path(&format!("data/logs/{name}.log"))).unwrap();
    }
    let mut up = cluster.command(env!("CARGO_BIN_EXE_stoa"));
    up.args(["up", "--data-dir"]).arg(cluster.path("data")).stderr(full()).env("STOA_LOG", "debug");
    cluster.up_by(up);
    let before: Vec<u32> = cluster.children().into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(before.len(), 7, "masters, agents, jobs");
    let (_, leader) = cluster.leader();
    cluster.kill_9(leader);
    let said = cluster.stoa(&["run", "--", "echo", "hello"]);
    assert_eq!((said.code, said.out.as_str()), (0, "hello\n"), "{said:?}");
    cluster.is_healthy();
    let stay = cluster.children().into_iter().filter(|(pid, _)| before.contains(pid)).count();
    assert_eq!(stay, 6, "all but the leader that was killed");
    cluster.down();
}

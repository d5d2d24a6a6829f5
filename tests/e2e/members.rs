//! Masters that come and go while work goes on: all of them replaced, one whose disk is lost, one that comes back, and the leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::state::{Keys, State, StateError};
use serde_json::Value;

use super::cluster::{Said, eventually};
use super::founding::{ByHand, doors};

const LIMIT: Duration = Duration::from_secs(60);

/// A group of masters that was founded by hand, an agent, and the jobs framework.
pub(crate) struct Group {
    pub hand: ByHand,
    context: String,
    doors: BTreeMap<u64, String>,
}

fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

impl Group {
    /// Three masters.
    fn found(name: &str) -> Group {
        Group::found_in(ByHand::new(name))
    }

    /// The same where somebody has looked after the directories before.
    pub(crate) fn found_in(mut hand: ByHand) -> Group {
        let doors: BTreeMap<u64, String> = (1..).zip(doors(3)).collect();
        let members: Vec<String> = doors.iter().map(|(id, door)| format!("--member={id}={door}")).collect();
        let line = |hand: &ByHand, id: u64| {
            let mut line: Vec<String> =
                ["master", "--id", &id.to_string(), "--data-dir", &hand.path(&format!("m{id}"))]
                    .map(str::to_owned)
                    .into();
            line.extend(["--listen".to_owned(), doors[&id].clone()]);
            line.extend(members.iter().cloned());
            line
        };
        let said = hand.found(&words(&line(&hand, 1)), "--id 3");
        for id in [2, 3] {
            let told =
                said.lines().find(|line| line.contains(&format!("--id {id} "))).expect("a line for it");
            let token = told.rsplit("--join ").next().expect("a token").trim().to_owned();
            let mut line = line(&hand, id);
            line.extend(["--join".to_owned(), token]);
            hand.start(&format!("m{id}"), &words(&line));
        }
        let context = hand.path("m1/context");
        let group = Group { hand, context, doors };
        group.settles();
        group
    }

    /// An agent, and the jobs framework, which know the masters of the founding only.
    fn with_work(mut self) -> Group {
        let token = |group: &Group, kind: &[&str]| {
            group.stoa(&[&["token", "create"], kind].concat()).out.trim().to_owned()
        };
        let masters: Vec<String> = self.doors.values().map(|door| format!("--master={door}")).collect();
        let join = token(&self, &["--kind", "agent"]);
        let work = self.hand.path("agent");
        let mut agent: Vec<String> = [
            "agent",
            "--work-dir",
            &work,
            "--resources",
            "cpus:4;mem:2GiB",
            "--end-tasks-on-exit",
            "--join",
            &join,
        ]
        .map(str::to_owned)
        .into();
        agent.extend(masters.iter().cloned());
        self.hand.start("agent", &words(&agent));
        let join = token(&self, &["--kind", "framework", "--name", "jobs", "--role", "*"]);
        let credentials = self.hand.path("jobs/credentials");
        let said = self.hand.stoa(&[
            "join",
            "--master",
            &self.doors[&1],
            "--as",
            "framework/jobs",
            "--dir",
            &credentials,
            &join,
        ]);
        assert_eq!(said.code, 0, "{said:?}");
        let (data, listen) = (self.hand.path("jobs/data"), doors(1).remove(0));
        let mut jobs: Vec<String> =
            ["framework", "jobs", "--data-dir", &data, "--credentials", &credentials, "--listen", &listen]
                .map(str::to_owned)
                .into();
        jobs.extend(masters);
        self.hand.start("jobs", &words(&jobs));
        self
    }

    pub(crate) fn stoa(&self, args: &[&str]) -> Said {
        self.hand.stoa(&[&["--context", self.context.as_str()], args].concat())
    }

    pub(crate) fn status(&self) -> Option<Value> {
        let said = self.stoa(&["raft", "status", "-o", "json"]);
        (said.code == 0).then(|| serde_json::from_str(&said.out).expect("JSON"))
    }

    /// Waits until everybody is heard, votes, and nothing is under way; who they are, and who leads.
    fn settles(&self) -> (Vec<u64>, u64) {
        let look = || {
            let status = self.status()?;
            let members = status["members"].as_array()?;
            let fine = |member: &Value| member["alive"] == true && member["standing"] == "votes";
            let leader = members.iter().find(|member| member["leader"] == true)?["id"].as_u64()?;
            let ids = members.iter().filter_map(|member| member["id"].as_u64()).collect();
            (status["change"].is_null() && members.iter().all(fine)).then_some((ids, leader))
        };
        eventually("the group settles", LIMIT, look)
    }

    pub(crate) fn leader(&self) -> u64 {
        eventually("a leader", LIMIT, || {
            let status = self.status()?;
            status["members"].as_array()?.iter().find(|member| member["leader"] == true)?["id"].as_u64()
        })
    }

    /// Starts the master that `stoa raft add` or `replace` told of.
    fn start_told(&mut self, id: u64, told: &Said) {
        let command = told
            .out
            .lines()
            .find(|line| line.starts_with("stoa master "))
            .unwrap_or_else(|| panic!("{told:?}"));
        let data = self.hand.path(&format!("m{id}"));
        let line: Vec<String> = command
            .split(' ')
            .skip(1)
            .map(|word| if word == "DIR" { data.clone() } else { word.to_owned() })
            .collect();
        self.hand.start(&format!("m{id}"), &words(&line));
    }

    fn replace(&mut self, old: u64, new: u64) {
        let door = doors(1).remove(0);
        let told = self.stoa(&["raft", "replace", &old.to_string(), &door]);
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.err.contains("stoa raft cancel"), "it says how it is taken back: {told:?}");
        self.start_told(new, &told);
        self.doors.insert(new, door);
    }

    /// The tasks that run, with their processes.
    fn running(&self) -> BTreeMap<String, u64> {
        let said = self.stoa(&["get", "tasks", "-o", "json"]);
        let list: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let tasks = list["items"].as_array().cloned().unwrap_or_default();
        let runs = tasks.iter().filter(|task| task["state"] == "running");
        runs.filter_map(|task| Some((task["id"].as_str()?.to_owned(), task["pid"].as_u64()?))).collect()
    }
}

/// Puts one value after another until it is told to stop; how many were acknowledged.
fn put_on(state: State, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut next = 0;
            while !stop.load(Ordering::Relaxed) {
                match state.put(format!("n/{next:08}"), next.to_string()).await {
                    Ok(_) => {
                        next += 1;
                        acknowledged.store(next, Ordering::Relaxed);
                    }
                    // What may have been carried out is put again: it is the same.
                    Err(StateError::Unknown { .. } | StateError::Ask(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    })
}

#[test]
fn three_masters_are_replaced_one_after_another_under_load_and_nothing_is_lost() {
    let mut group = Group::found("members").with_work();
    let service = group.hand.path("keeps.toml");
    std::fs::write(
        &service,
        "name = \"keeps\"\ncommand = [\"sleep\", \"1000\"]\ninstances = 2\ncpus = 0.05\nmem = \"8MiB\"\n",
    )
    .unwrap();
    eventually("jobs takes a job", LIMIT, || {
        (group.stoa(&["job", "apply", &service]).code == 0).then_some(())
    });
    let before = eventually("two run", LIMIT, || Some(group.running()).filter(|tasks| tasks.len() == 2));

    // One that knows the masters of the founding only, and is never started again.
    let state = State::new(&Profile::load(group.context.as_ref()).unwrap());
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let putting = put_on(state.clone(), stop.clone(), acknowledged.clone());

    let dry = group.stoa(&["raft", "replace", "1", "127.0.0.1:9", "--dry-run"]);
    assert!(dry.code == 0 && dry.err.contains("dry run"), "{dry:?}");
    assert_eq!(group.settles().0, [1, 2, 3], "nothing was done");

    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        let count = acknowledged.load(Ordering::Relaxed);
        group.replace(old, new);
        let (ids, leader) = group.settles();
        assert!(ids.contains(&new) && !ids.contains(&old) && ids.contains(&leader), "{ids:?}");
        // The old one says why it stops, and does so by itself.
        let why = format!("master {old} was removed from its group");
        let log = if old == 1 { "founder".to_owned() } else { format!("m{old}") };
        eventually("it stops", LIMIT, || group.hand.log(&log).contains(&why).then_some(()));
        let hello = group.stoa(&["run", "--", "echo", "hello"]);
        assert_eq!((hello.code, hello.out.as_str()), (0, "hello\n"), "after {old} left: {hello:?}");
        eventually("puts go on", LIMIT, || (acknowledged.load(Ordering::Relaxed) > count + 20).then_some(()));
    }
    assert_eq!(group.settles().0, [4, 5, 6]);
    stop.store(true, Ordering::Relaxed);
    putting.join().unwrap();

    // Nothing acknowledged is lost, and what ran runs on as the processes that it was.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (kvs, _) = runtime.block_on(state.list(Keys::prefix("n/"))).unwrap();
    let last = acknowledged.load(Ordering::Relaxed);
    let there: Vec<u64> = kvs.iter().map(|kv| String::from_utf8_lossy(&kv.value).parse().unwrap()).collect();
    assert!(
        there.iter().copied().take(last as usize).eq(0..last),
        "{last} were acknowledged, {} are there",
        there.len()
    );
    assert_eq!(group.running(), before);
    // The context was founded with the three that are gone.
    let masters = std::fs::read_to_string(format!("{}/masters", group.context)).unwrap();
    assert!(masters.contains(&group.doors[&6]), "{masters}");

    // An agent that is started again finds masters that it was never told of by hand.
    group.hand.kill("agent");
    let (work, listen) = (group.hand.path("agent"), "127.0.0.1:0");
    let mut agent: Vec<String> = [
        "agent",
        "--work-dir",
        &work,
        "--listen",
        listen,
        "--resources",
        "cpus:4;mem:2GiB",
        "--end-tasks-on-exit",
    ]
    .map(str::to_owned)
    .into();
    agent.extend([1, 2, 3].map(|id| format!("--master={}", group.doors[&id])));
    group.hand.start("agent-again", &words(&agent));
    eventually("it is back", LIMIT, || group.hand.log("agent-again").contains("joined").then_some(()));
    assert_eq!(group.running(), before);
}

#[test]
fn a_lost_disk_a_stale_master_and_a_leader_that_goes() {
    let mut group = Group::found("comers");
    let leader = group.leader();
    let follower = (1..=3).find(|id| *id != leader && *id != 1).expect("one besides the founder");

    // A disk is lost: the same address, another number.
    group.hand.kill(&format!("m{follower}"));
    let taken = group.stoa(&["raft", "add", &group.doors[&follower]]);
    assert!(taken.code == 6 && taken.err.contains(&format!("stoa raft replace {follower}")), "{taken:?}");
    let other = (1..=3).find(|id| *id != follower).unwrap().to_string();
    let refused = eventually("a majority would be lost", LIMIT, || {
        Some(group.stoa(&["raft", "remove", &other, "--dry-run"])).filter(|said| said.code == 6)
    });
    assert!(refused.err.contains("are needed"), "{refused:?}");
    let stale = group.hand.path(&format!("m{follower}"));
    std::fs::rename(&stale, format!("{stale}-aside")).unwrap();
    let told = eventually("it is silent", LIMIT, || {
        Some(group.stoa(&["raft", "replace", &follower.to_string()])).filter(|said| said.code == 0)
    });
    let busy = group.stoa(&["raft", "remove", "1"]);
    assert!(
        busy.code == 6 && busy.err.contains("under way") && busy.err.contains("stoa raft cancel"),
        "{busy:?}"
    );
    group.doors.insert(4, group.doors[&follower].clone());
    group.start_told(4, &told);
    let (ids, _) = group.settles();
    assert!(ids.contains(&4) && !ids.contains(&follower), "{ids:?}");
    let again = group.stoa(&["raft", "add", "127.0.0.1:9", "--id", &follower.to_string()]);
    assert!(again.code == 6 && again.err.contains("never given again"), "{again:?}");
    let token = group.stoa(&["token", "create", "--kind", "master", "--name", "4"]);
    assert!(token.code == 6 && token.err.contains("has joined already"), "{token:?}");

    // The old one is found, with its disk, and started where it was and is told.
    let term = group.status().unwrap()["term"].clone();
    let mut line: Vec<String> =
        ["master", "--id", &follower.to_string(), "--data-dir", &format!("{stale}-aside"), "--listen"]
            .map(str::to_owned)
            .into();
    line.push(doors(1).remove(0));
    line.extend((1..=3).map(|id| format!("--member={id}={}", group.doors[&id])));
    let said = group.hand.stoa(&words(&line));
    assert!(said.code == 1 && said.err.contains("was removed from its group"), "{said:?}");
    let at_once = group.hand.stoa(&words(&line));
    assert!(at_once.code == 1 && at_once.err.contains("was removed from its group"), "{at_once:?}");
    assert_eq!(group.status().unwrap()["term"], term, "it disturbed nobody");

    // The lead is handed over, by order and before the leader goes.
    let leader = group.leader();
    let lead_on = group.stoa(&["raft", "transfer", "4"]);
    let expected = if leader == 4 { 6 } else { 0 };
    assert_eq!(lead_on.code, expected, "{lead_on:?}");
    assert_eq!(group.leader(), 4);
    let unknown = group.stoa(&["raft", "transfer", "77"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    let gone = group.stoa(&["raft", "remove", "4", "--wait", "--at-most", "30s"]);
    assert!(gone.code == 0 && gone.err.contains("hands over first"), "{gone:?}");
    let (ids, leader) = group.settles();
    assert!(ids.len() == 2 && !ids.contains(&4) && leader != 4, "{ids:?}");
    eventually("it stops", LIMIT, || {
        group.hand.log("m4").contains("was removed from its group").then_some(())
    });

    // One that never comes is taken back.
    let added = group.stoa(&["raft", "add", "127.0.0.1:9"]);
    assert_eq!(added.code, 0, "{added:?}");
    let waits = eventually("it waits", LIMIT, || group.status().filter(|status| !status["change"].is_null()));
    assert!(waits["change"].as_str().is_some_and(|text| text.contains("master 5")), "{waits}");
    let back = group.stoa(&["raft", "cancel", "--wait", "--at-most", "30s"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(group.settles().0.len(), 2);
    let nothing = group.stoa(&["raft", "cancel"]);
    assert_eq!(nothing.code, 3, "{nothing:?}");
}

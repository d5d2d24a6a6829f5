//! A framework that speaks the protocol as it likes: it is denied, written down, and nobody else comes to harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use framework_sdk::Profile;
use framework_sdk::conversation::{EventKind, Offers};
use framework_sdk::door::{Authority, Credentials, Identity, LEAF_VALIDITY};
use framework_sdk::id::FrameworkId;
use framework_sdk::refusal::Code;
use serde_json::Value;

use super::cluster::{Cluster, Said, eventually};
use super::strangers::{Session, leader_door, steal};

const LIMIT: Duration = Duration::from_secs(20);

fn credentials(cluster: &Cluster, name: &str) -> Credentials {
    let authority = Authority::load(&cluster.context().join("../authority")).unwrap();
    authority.issue(&Identity::Framework(name.to_owned()), LEAF_VALIDITY).unwrap()
}

/// What `stoa audit tail` prints for programs.
fn tail(cluster: &Cluster, flags: &[&str]) -> Vec<Value> {
    let said = cluster.stoa(&[&["audit", "tail", "-n", "1000", "-o", "json"], flags].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether one of these says so of a call.
fn says(entries: &[Value], call: &str, code: &str) -> bool {
    entries.iter().any(|entry| entry["call"] == call && entry["code"].as_str().unwrap_or_default() == code)
}

/// The directories of the masters' audit logs, by the number of the master.
fn logs(cluster: &Cluster) -> Vec<PathBuf> {
    let root = cluster.context().join("..");
    (1..=3).map(|number| find(&root, number)).collect()
}

fn find(root: &Path, number: u64) -> PathBuf {
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            let path = entry.path();
            let of = format!("master-{number}");
            let below = path.components().any(|part| part.as_os_str() == of.as_str());
            if below && entry.file_name() == "audit" {
                return path;
            }
            waiting.push(path);
        }
    }
    panic!("master {number} has no audit log below {}", root.display());
}

/// Copies of the logs, as somebody keeps who does not trust the masters.
struct Copies(Vec<PathBuf>);

impl Copies {
    fn of(logs: &[PathBuf], to: &Path) -> Copies {
        let copy = |(number, log): (usize, &PathBuf)| {
            let dir = to.join(format!("copy-{number}"));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            for file in fs::read_dir(log).unwrap().flatten() {
                fs::copy(file.path(), dir.join(file.file_name())).unwrap();
            }
            dir
        };
        Copies(logs.iter().enumerate().map(copy).collect())
    }

    fn verify(&self, cluster: &Cluster) -> Said {
        let dirs = self.0.iter().map(|dir| dir.display().to_string());
        let flags: Vec<String> = dirs.flat_map(|dir| ["--dir".to_owned(), dir]).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        cluster.stoa(&[&["audit", "verify"], &flags[..]].concat())
    }

    /// Changes the lines of the first one.
    fn tamper(&self, change: impl FnOnce(&mut Vec<String>)) {
        let file = fs::read_dir(&self.0[0]).unwrap().flatten().next().unwrap().path();
        let mut lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&file, lines.into_iter().map(|line| line + "\n").collect::<String>()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_did_what_is_told_and_whoever_changes_it_is_found() {
    let cluster = Cluster::up("audit", &["--agents", "1", "--agent-resources", "cpus:2;mem:1GiB"]);
    let set = cluster.stoa(&["quota", "set", "eng", "--limit", "cpus=7"]);
    assert_eq!(set.code, 0, "{set:?}");
    assert_eq!(cluster.stoa(&["run", "--", "true"]).code, 0);
    let (evil, leader) = (credentials(&cluster, "evil"), leader_door(&cluster));

    // Another's framework, one that never was, another's offer, another's role.
    let frameworks = cluster.list("frameworks");
    let jobs = FrameworkId::new(frameworks[0]["id"].as_str().unwrap()).unwrap();
    for id in [jobs, FrameworkId::new("F99-9").unwrap()] {
        let mut session = Session::open(&leader, &evil).await;
        session.subscribe("evil".to_owned(), Some(&id));
        assert!(matches!(session.fault().await.code, Code::Denied | Code::NotFound));
    }
    let mut victim = Session::open(&leader, &credentials(&cluster, "victim")).await;
    victim.subscribe("victim".to_owned(), None);
    let offer = victim
        .until("an offer", |event| match event {
            EventKind::Offers(Offers { offers }) => offers.first().map(|offer| offer.id),
            _ => None,
        })
        .await;
    let mut session = Session::open(&leader, &evil).await;
    session.subscribe("evil".to_owned(), None);
    session.subscribed().await;
    session.say(steal(offer));
    session.outcome().await;
    let context = cluster.path("evil");
    let masters = Profile::load(&cluster.context()).unwrap().masters;
    Profile { credentials: evil, masters }.save(&context).unwrap();
    let context = context.display().to_string();
    for denied in
        [&["audit", "tail"][..], &["audit", "verify"], &["quota", "set", "eng", "--limit", "cpus=9"]]
    {
        let said = cluster.stoa(&[&["--context", &context], denied].concat());
        assert_eq!(said.code, 4, "{denied:?}: {said:?}");
    }

    let denied = tail(&cluster, &["--denied", "--principal", "framework/evil"]);
    for (call, code) in [
        ("subscribe", "denied"),
        ("subscribe", "not-found"),
        ("accept", "denied"),
        ("set-quota", "denied"),
        ("ask", "denied"),
    ] {
        assert!(says(&denied, call, code), "{call} {code}: {denied:#?}");
    }
    let from =
        denied.iter().filter(|entry| entry["from"].as_str().unwrap_or_default().starts_with("127.0.0.1:"));
    assert_eq!(from.count(), denied.len(), "{denied:#?}");
    let all = tail(&cluster, &[]);
    for call in ["set-quota", "subscribe", "accept", "register", "seal-audit"] {
        eventually(call, LIMIT, || says(&tail(&cluster, &[]), call, "").then_some(()));
    }
    let set = all.iter().find(|entry| entry["call"] == "set-quota" && entry["verdict"] == "done").unwrap();
    assert!(
        set["who"].as_str().unwrap().starts_with("user/")
            && set["object"] == "eng"
            && set["index"].as_u64() > Some(0)
    );

    // Each is seen by the others.
    eventually("all three logs are witnessed", LIMIT, || {
        let verified = cluster.json(&["audit", "verify", "-o", "json"])?;
        let logs = verified["logs"].as_array()?;
        let seen = logs.iter().all(|log| log["sealed"].as_u64() > Some(0));
        (verified["whole"] == true && logs.len() == 3 && seen).then_some(())
    });
    let verified = cluster.stoa(&["audit", "verify"]);
    assert!(verified.code == 0 && verified.out.starts_with("OK: "), "{verified:?}");
    let logs = logs(&cluster);
    let copies = || Copies::of(&logs, &cluster.path("copies"));
    let whole = copies().verify(&cluster);
    assert!(whole.code == 0 && whole.out.starts_with("OK: "), "{whole:?}");
    let found = |copies: &Copies, words: &str| {
        let said = copies.verify(&cluster);
        assert_eq!(said.code, 1, "{words}: {said:?}");
        assert!(said.out.contains("BROKEN: master 1: ") && said.out.contains(words), "{words}: {said:?}");
    };
    let edited = copies();
    edited.tamper(|lines| lines[1] = lines[1].replace("127.0.0.1", "127.0.0.2").replace("done", "denied"));
    found(&edited, "entry 2 is not as it was written");
    let removed = copies();
    removed.tamper(|lines| drop(lines.remove(1)));
    found(&removed, "entry 2 was removed");
    let inserted = copies();
    inserted.tamper(|lines| lines.insert(1, lines[0].clone()));
    found(&inserted, "one was inserted");
    let cut = copies();
    cut.tamper(|lines| lines.truncate(1));
    found(&cut, "the end was cut off: entry 2 is not there");
    drop((victim, session));
    cluster.down_leaves_nothing();
}

//! A framework that speaks the protocol as it likes: it is denied, written down, and nobody else comes to harm.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use framework_sdk::conversation::{
    Accept, AcceptPart, Answer, Call, CallKind, EventKind, Offers, Outcome, Reconcile, RescindReason, Revive,
    Subscribe,
};
use framework_sdk::demand::Filter;
use framework_sdk::door::{Authority, Credentials, Identity, LEAF_VALIDITY, PeerRole, channel};
use framework_sdk::framework::FrameworkInfo;
use framework_sdk::id::{FrameworkId, TaskId};
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::role::Role;
use framework_sdk::task::{TaskInfo, TaskState};
use framework_sdk::{Profile, tasks};
use proto::offer::Offer;
use proto::operation::{Launch, Operation};
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};
use proto_grpc::services::scheduler::scheduler_client::SchedulerClient;
use proto_grpc::{Dialer, read_metrics};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::cluster::{Cluster, Said, eventually, is_sleeping};
use super::strangers::{Session, leader_door, steal};

const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn credentials(cluster: &Cluster, name: &str) -> Credentials {
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

/// A subscription of its own kind.
fn subscribe(session: &mut Session, name: &str, role: &str, failover_timeout: Duration) {
    let framework = FrameworkInfo {
        name: name.to_owned(),
        roles: vec![Role::new(role).unwrap()],
        failover_timeout,
        address: String::new(),
        labels: Default::default(),
    };
    session.say(CallKind::Subscribe(Subscribe {
        framework,
        id: None,
        resume: None,
        suppressed_roles: Vec::new(),
        demands: None,
        fence: 0,
    }));
}

async fn offers(session: &mut Session) -> Vec<Offer> {
    session
        .until("an offer", |event| match event {
            EventKind::Offers(Offers { offers }) => Some(offers),
            _ => None,
        })
        .await
}

fn launch(offer: &Offer, tasks: Vec<TaskInfo>) -> CallKind {
    let operations = vec![Operation::Launch(Launch { tasks })];
    let parts = vec![AcceptPart { offers: vec![offer.id], operations }];
    CallKind::Accept(Accept { parts, all_or_nothing: false, filter: Filter::DEFAULT })
}

/// Somebody else's work, from the order to the output; how long that took.
pub(super) fn hello(cluster: &Cluster) -> Duration {
    let begun = Instant::now();
    let hello = cluster.stoa(&["run", "--", "echo", "hello"]);
    assert_eq!((hello.code, hello.out.as_str()), (0, "hello\n"), "{hello:?}");
    begun.elapsed()
}

pub(super) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn spam_is_slowed_storms_are_turned_away_bombs_are_refused_and_others_go_on() {
    let cluster = Cluster::up("spam", &["--agents", "1", "--agent-resources", "cpus:2;mem:1GiB"]);
    let (evil, leader) = (credentials(&cluster, "evil"), leader_door(&cluster));
    let quiet = hello(&cluster);
    // Next to nothing is its own to hold: what it does to others it does by calling.
    let limit = cluster.stoa(&["quota", "set", "evil", "--limit", "cpus=0.05,mem=32MiB"]);
    assert_eq!(limit.code, 0, "{limit:?}");
    let mut session = Session::open(&leader, &evil).await;
    subscribe(&mut session, "evil", "evil", Duration::ZERO);
    session.subscribed().await;
    // Each is ten calls, and a principal may make a thousand a second, and two thousand at once.
    for _ in 0..1500 {
        session.say(CallKind::Revive(Revive { roles: Vec::new() }));
    }
    let beside = hello(&cluster);
    assert!(beside < quiet + Duration::from_secs(5), "{beside:?} beside the spam, {quiet:?} without");
    eventually("it is slowed and that is told", LIMIT, || {
        says(&tail(&cluster, &["--denied"]), "revive", "too-much").then_some(())
    });

    // Calls that are too large in one way or another: each is refused with words, and the next is heard.
    let mut bomber = Session::open(&leader, &credentials(&cluster, "bomber")).await;
    subscribe(&mut bomber, "bomber", "default", Duration::ZERO);
    bomber.subscribed().await;
    let offer = offers(&mut bomber).await.remove(0);
    let many = |count: usize| (0..count).map(|number| small(&format!("t{number}"), "true")).collect();
    bomber.say(launch(&offer, many(1001)));
    let refused = refusal(&mut bomber).await;
    assert_eq!(refused.code, Code::TooMuch, "{refused}");
    let mut labels = small("labels", "true");
    labels.labels = (0..65).map(|number| (format!("k{number}"), String::new())).collect();
    let mut long = small("long", "true");
    long.labels = [("k".to_owned(), "v".repeat(257))].into();
    let mut large = small("large", "true");
    large.command.env = [("E".to_owned(), "x".repeat(64 << 10))].into();
    let offer = offers(&mut bomber).await.remove(0);
    bomber.say(launch(&offer, vec![labels, long, large]));
    for why in ["more than 64 labels", "more than 64 labels", "command takes more than 65536 bytes"] {
        let status = bomber
            .until("a status", |event| match event {
                EventKind::Update(status) => Some(status),
                _ => None,
            })
            .await;
        assert_eq!(status.state, TaskState::Error);
        assert!(status.message.contains(why), "{status:?}");
    }
    drop(bomber);

    // Sessions that are opened again and again.
    let channel = channel(&leader, PeerRole::Master, &credentials(&cluster, "storm")).await.unwrap();
    let (mut opened, mut turned_away) = (0, None);
    while turned_away.is_none() && opened < 1000 {
        let (calls, queued) = mpsc::unbounded_channel::<Call>();
        let session =
            SchedulerClient::new(channel.clone()).session(UnboundedReceiverStream::new(queued)).await;
        drop(calls);
        match session {
            Ok(_) => opened += 1,
            Err(status) => turned_away = Some(status),
        }
    }
    let status = turned_away.expect("a storm is turned away");
    assert_eq!(format!("{:?}", status.code()), "ResourceExhausted", "{status:?}");
    assert!(opened >= 300, "as many as a principal may have: {opened}");
    let wait = proto_grpc::retry_after(&status).expect("it is told when to come again");
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    eventually("and that is told", LIMIT, || {
        let told = tail(&cluster, &["--denied", "--principal", "framework/storm"]);
        says(&told, "session", "too-much").then_some(())
    });
    let beside = hello(&cluster);
    assert!(beside < quiet + Duration::from_secs(5), "{beside:?}");
    drop(session);
    cluster.is_healthy();
    cluster.down_leaves_nothing();
}

/// A task that asks for next to nothing.
fn small(name: &str, script: &str) -> TaskInfo {
    let resources = Resources::unreserved(Amount::scalars(Quantities::of(10, 16 << 20)));
    TaskInfo { resources, ..tasks::shell(id(name), script) }
}

fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

async fn refusal(session: &mut Session) -> Refusal {
    session
        .until("a refusal", |event| match event {
            EventKind::Answer(Answer { outcome: Outcome::Refused(refusal), .. }) => Some(refusal),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_hoards_offers_loses_them_to_whoever_wants_them() {
    let cluster =
        Cluster::up("hoard", &["--agents", "5", "--agent-resources", "cpus:1;mem:256MiB", "--no-jobs"]);
    let leader = leader_door(&cluster);
    let mut hog = Session::open(&leader, &credentials(&cluster, "hog")).await;
    hog.subscribe("hog".to_owned(), None);
    hog.subscribed().await;
    // Alone it is offered all there is, and says nothing.
    let mut held = 0;
    while held < 5 {
        held += offers(&mut hog).await.len();
    }
    let begun = Instant::now();
    let mut other = Session::open(&leader, &credentials(&cluster, "other")).await;
    other.subscribe("other".to_owned(), None);
    let offered = offers(&mut other).await;
    let waited = begun.elapsed();
    assert!(
        !offered.is_empty() && waited < Duration::from_secs(8),
        "{waited:?}, not the minute that offers stand"
    );
    let reason = hog
        .until("a rescinded offer", |event| match event {
            EventKind::Rescind(rescind) => Some(rescind.reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, RescindReason::Expired);
    eventually("what it keeps is its part", LIMIT, || {
        let offers = cluster.list("offers");
        let of_hog = offers.iter().filter(|offer| offer["framework_name"] == "hog").count();
        (of_hog <= 1).then_some(())
    });
    let told = tail(&cluster, &[]);
    assert!(
        told.iter().any(|entry| entry["call"] == "take-back-offers" && entry["count"].as_u64() >= Some(1))
    );
    drop((hog, other));
    cluster.down_leaves_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_does_not_listen_is_cut_off_before_it_costs_the_master_much() {
    let cluster = Cluster::up("deaf", &["--agents", "1", "--agent-resources", "cpus:2;mem:1GiB"]);
    let (_, pid) = cluster.leader();
    let leader = leader_door(&cluster);
    let mut deaf = Session::open(&leader, &credentials(&cluster, "deaf")).await;
    deaf.subscribe("deaf".to_owned(), None);
    deaf.subscribed().await;
    let connected = || {
        let frameworks = cluster.list("frameworks");
        frameworks
            .iter()
            .find(|framework| framework["name"] == "deaf")
            .map(|found| found["connected"] == true)
    };
    assert_eq!(connected(), Some(true));
    let before = resident_kib(pid);
    // A thousand answers to each call, and none is read. What its end of the connection takes is full after some.
    let names: Vec<TaskId> =
        (0..1000).map(|number| id(&format!("task-of-a-long-name-{number:0100}"))).collect();
    for _ in 0..60 {
        deaf.say(CallKind::Reconcile(Reconcile { tasks: names.clone() }));
    }
    // Before it would be for its silence.
    let dialer = Dialer::new(&Profile::load(&cluster.context()).unwrap().credentials).unwrap();
    let begun = Instant::now();
    loop {
        let page = read_metrics(&leader, PeerRole::Master, &dialer).await.unwrap();
        let cut_off = |line: &str| line.starts_with("slow_listeners_closed_total") && !line.ends_with(" 0");
        if page.lines().any(cut_off) {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "nobody was cut off");
        tokio::time::sleep(Duration::from_millis(100)).await; // eventually
    }
    eventually("it has no session", LIMIT, || (connected() == Some(false)).then_some(()));
    let grown = resident_kib(pid).saturating_sub(before) / 1024;
    assert!(grown < 64, "the master has grown by {grown} MiB");
    hello(&cluster);
    drop(deaf);
    cluster.is_healthy();
    cluster.down_leaves_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_framework_that_never_returns_is_ended_in_time_by_whoever_leads_then() {
    const TIMEOUT: Duration = Duration::from_secs(12);
    const SLEEP: &str = "86399.75";
    let cluster = Cluster::up("gone", &["--agents", "1", "--agent-resources", "cpus:2;mem:1GiB"]);
    let leader = leader_door(&cluster);
    let mut session = Session::open(&leader, &credentials(&cluster, "gone")).await;
    subscribe(&mut session, "gone", "default", TIMEOUT);
    let framework = session.subscribed().await;
    let offer = offers(&mut session).await.remove(0);
    session.say(launch(&offer, vec![small("left", &format!("exec sleep {SLEEP}"))]));
    eventually("it runs", LIMIT, || is_sleeping(SLEEP).then_some(()));
    drop(session);
    let left = Instant::now();
    let known = || {
        let frameworks = cluster.list("frameworks");
        frameworks.into_iter().find(|known| known["id"] == framework.as_str())
    };
    eventually("it is known to be away", LIMIT, || known().filter(|known| known["connected"] == false));
    let (_, dead) = cluster.leader();
    cluster.kill_9(dead);
    eventually("another leader", LIMIT, || cluster.try_leader().filter(|(_, pid)| *pid != dead));
    assert!(is_sleeping(SLEEP), "it may still come back");
    eventually("its task is ended", TIMEOUT + LIMIT, || (!is_sleeping(SLEEP)).then_some(()));
    let after = left.elapsed();
    let (least, most) = (TIMEOUT - Duration::from_secs(2), TIMEOUT + Duration::from_secs(5));
    assert!((least..most).contains(&after), "after {after:?}");
    eventually("and that is told", LIMIT, || {
        let entries = tail(&cluster, &[]);
        let ended = entries.iter().find(|entry| entry["call"] == "end-framework")?;
        let who = ended["who"].as_str()?;
        (who.starts_with("master/") && ended["object"] == framework.as_str()).then_some(())
    });
    // The master that died comes back, and its log goes on where it was.
    cluster.is_healthy();
    eventually("all logs are whole", LIMIT, || (cluster.stoa(&["audit", "verify"]).code == 0).then_some(()));
    cluster.down_leaves_nothing();
}

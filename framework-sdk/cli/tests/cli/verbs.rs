//! What each verb asks of the masters and agents, and how it ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use framework_sdk_cli::Exit;
use framework_sdk_cli::client::Client;
use proto::operation::Operation;
use proto::operator::{Call, CreateToken, EventKind, OperateAgent, TokenKind};
use proto::refusal::Code;
use proto::task::TaskState;
use serde_json::Value;

use crate::pool::{Mood, Pool, Screen, World, event, type_in, typed};
use crate::views;

pub async fn one_master() -> (Pool, Client, Arc<Mutex<World>>) {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    let client = pool.client(&[&master]);
    (pool, client, world)
}

pub fn orders(world: &Arc<Mutex<World>>) -> Vec<Call> {
    let read = |call: &Call| {
        matches!(
            call,
            Call::Status
                | Call::Raft
                | Call::StatusHere
                | Call::RaftHere
                | Call::Agents(_)
                | Call::Frameworks(_)
                | Call::Tasks(_)
                | Call::Offers(_)
                | Call::Roles(_)
                | Call::Secrets
                | Call::Explain(_)
                | Call::Events(_)
                | Call::WhoAmI
                | Call::CanI(_)
                | Call::Principals
        )
    };
    world.lock().unwrap().calls.iter().filter(|call| !read(call)).cloned().collect()
}

#[tokio::test]
async fn kill_finds_the_task_by_the_beginning_of_its_id() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "kill jobs/web.2 --grace 1s").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.err, "jobs/web.2 on node-a1: TERM now, KILL after 1s\n");
    let ran = typed(&client, "kill web.1").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let killed: Vec<(String, String, Option<Duration>)> = orders(&world)
        .into_iter()
        .map(|call| match call {
            Call::KillTask(kill) => (kill.framework, kill.task.to_string(), kill.grace),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        killed,
        [
            ("F-1".to_owned(), "web.2".to_owned(), Some(Duration::from_secs(1))),
            ("F-1".to_owned(), "web.10".to_owned(), None),
        ]
    );
}

#[tokio::test]
async fn kill_touches_nothing_unless_it_is_sure_of_all() {
    let (_pool, client, world) = one_master().await;
    for (line, exit, words) in [
        ("kill web", Exit::Usage, "F-1/web.10, F-1/web.2"),
        ("kill wbe.2", Exit::NotFound, "did you mean web.2?"),
        ("kill web.2 nothing-like-it", Exit::NotFound, "stoa get tasks"),
        ("kill batch.10", Exit::Conflict, "has ended already: failed"),
        ("kill spark/web.2", Exit::NotFound, "there are no tasks"),
    ] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, exit, "{line}: {}", ran.err);
        assert!(ran.err.contains(words), "{line}: {}", ran.err);
    }
    assert_eq!(orders(&world), []);
}

#[tokio::test]
async fn failures_are_json_where_answers_are() {
    let (_pool, client, _world) = one_master().await;
    let ran = typed(&client, "describe task wbe.2 -o json").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
    let failure: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(failure["code"], "not-found");
    assert_eq!(failure["message"], "there is no task wbe.2");
    assert_eq!(failure["hint"], "did you mean web.2?");
    assert_eq!(failure["retryable"], false);
}

#[tokio::test]
async fn things_are_found_by_id_name_and_beginning() {
    let (_pool, client, world) = one_master().await;
    for line in [
        "describe agent a1",
        "describe agent node-a1",
        "describe framework F-1",
        "describe framework jobs",
        "describe framework F",
        "describe task F-1/web.2",
        "describe role default",
        "describe role def",
    ] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, Exit::Ok, "{line}: {}", ran.err);
    }
    // A whole id wins over being the beginning of another.
    world.lock().unwrap().snapshot.tasks.push(views::task("web.1", TaskState::Running));
    assert!(typed(&client, "describe task web.1").await.out.contains("Task:         web.1\n"));
    assert!(typed(&client, "get agents a1").await.out.lines().count() == 2);
}

#[tokio::test]
async fn an_empty_list_is_no_failure() {
    let (_pool, client, world) = one_master().await;
    world.lock().unwrap().snapshot.tasks.clear();
    let ran = typed(&client, "get tasks").await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Ok, "", "no tasks\n"));
    let ran = typed(&client, "get tasks -o json").await;
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("TaskList"), Some(0)));
}

#[tokio::test]
async fn status_is_healthy_degraded_or_down() {
    let (pool, client, world) = one_master().await;
    assert_eq!(typed(&client, "status").await.exit.code(), 0);
    let set = |raft, health| {
        let mut world = world.lock().unwrap();
        world.raft = raft;
        world.health = health;
    };
    set(views::members(Some(1), &[]), views::status(1));
    let ran = typed(&client, "status").await;
    assert_eq!(ran.exit.code(), 1);
    assert!(ran.out.starts_with("degraded\n  - 1 agent is out of sight\n"), "{}", ran.out);
    set(views::members(Some(1), &[3]), views::status(0));
    let ran = typed(&client, "status -o json").await;
    assert_eq!(ran.exit.code(), 1);
    let status: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((status["health"].as_str(), status["leader"].as_u64()), (Some("degraded"), Some(1)));
    assert_eq!(status["problems"][0], "master 3 at 127.0.0.1:7003 is not heard");
    set(views::members(None, &[2, 3]), views::status(0));
    assert_eq!(typed(&client, "status").await.exit.code(), 2);
    let nobody = pool.client(&[&crate::pool::nobody().await]);
    let ran = typed(&nobody, "status").await;
    assert_eq!((ran.exit.code(), ran.out.as_str()), (2, "down\n"));
    let ran = typed(&nobody, "status -o json").await;
    assert_eq!(ran.exit.code(), 2);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["health"], "down");
}

#[tokio::test]
async fn a_token_is_alone_on_stdout() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "token create --framework jobs --ttl 10m --uses 2").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "SJ1.aa.bb.cc\n"));
    assert_eq!(ran.err, "lets the framework jobs join, 2 times, within 10m; it is not shown again\n");
    let call = CreateToken {
        kind: TokenKind::Framework,
        ttl: Duration::from_secs(600),
        uses: 2,
        name: "jobs".to_owned(),
        rights: None,
    };
    assert_eq!(orders(&world), [Call::CreateToken(call)]);
    let ran = typed(&client, "token create --kind user --name ada").await;
    assert_eq!(ran.err, "lets the user ada join, once, within 1h; it is not shown again\n");
    let asked = orders(&world).pop();
    assert!(
        matches!(&asked, Some(Call::CreateToken(call)) if call.kind == TokenKind::User && call.name == "ada"),
        "{asked:?}"
    );
    let ran = typed(&client, "token create --agent -o json").await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["token"], "SJ1.aa.bb.cc");
}

#[tokio::test]
async fn a_framework_s_token_says_what_it_lets_it_do() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "token create --for framework --name etl --role prod/* --role default").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "SJ1.aa.bb.cc\n"));
    assert_eq!(
        ran.err,
        "lets the framework etl join and take offers in prod/*, default, once, within 1h; it is not shown again\n"
    );
    let asked = orders(&world).pop();
    assert!(
        matches!(&asked, Some(Call::CreateToken(call)) if call.rights.as_ref().is_some_and(|r| r.roles.len() == 2)),
        "{asked:?}"
    );
    let ran = typed(&client, "token create --kind user --name ada --role prod").await;
    assert_eq!(ran.exit, Exit::Usage);
    let ran = typed(&client, "token create --framework etl --role * --dry-run").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""));
    assert!(ran.err.starts_with("dry run, nothing was done: lets the framework etl"), "{}", ran.err);
}

#[tokio::test]
async fn can_i_is_an_answer_and_an_exit_code() {
    let (_pool, client, _world) = one_master().await;
    let ran = typed(&client, "auth can-i kill-task").await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Ok, "yes\n", ""));
    let ran = typed(&client, "auth can-i subscribe --role prod --as framework/spark").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Bad, "no\n"));
    assert!(ran.err.contains("may not take offers in the role prod"), "{}", ran.err);
    let ran = typed(&client, "auth can-i subscribe --role prod --as framework/spark -o json").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Bad, ""));
    let verdict: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&verdict["allowed"], &verdict["principal"]),
        (&Value::Bool(false), &"framework/spark".into())
    );
    let ran = typed(&client, "auth can-i dance -o json").await;
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.err);
    assert_eq!(serde_json::from_str::<Value>(&ran.err).unwrap()["code"], "invalid");
}

#[tokio::test]
async fn a_grant_says_what_was_and_how_to_undo_it() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "auth grant framework/spark --role prod/*").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(
        ran.err,
        "framework/spark: takes offers in prod/*; was default, spark, spark/*, as every framework of its name\n\
         undo with `stoa auth revoke framework/spark`\n"
    );
    let ran = typed(&client, "auth revoke framework/jobs").await;
    assert!(ran.err.ends_with("undo with `stoa auth grant framework/jobs --role '*'`\n"), "{}", ran.err);
    let done = orders(&world).len();
    let ran = typed(&client, "auth grant framework/jobs --role default --dry-run").await;
    assert!(ran.err.starts_with("dry run, nothing was done: framework/jobs"), "{}", ran.err);
    assert!(matches!(&orders(&world)[done..], [Call::DryRun(_)]));
}

#[tokio::test]
async fn a_dry_run_asks_and_does_nothing() {
    let (_pool, client, world) = one_master().await;
    for line in [
        "kill web.2",
        "quota set eng --limit cpus=4",
        "quota clear eng",
        "weight set eng 1",
        "teardown jobs",
        "gone a1",
        "agent drain a1",
        "agent resume a3",
        "agent gone a1",
        "auth revoke framework/jobs",
        "token create --agent",
        "reserve a1 --role eng --cpus 1",
        "unreserve a3 --role eng --mem 1GiB",
        "volume create a3 db --role eng --size 1GiB",
        "volume destroy a3 data",
    ] {
        let before = orders(&world).len();
        let ran = typed(&client, &format!("{line} --dry-run")).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, ""), "{line}: {}", ran.err);
        assert!(ran.err.starts_with("dry run, nothing was done: "), "{line}: {}", ran.err);
        assert!(!ran.err.contains("undo"), "{line}: {}", ran.err);
        assert!(matches!(&orders(&world)[before..], [Call::DryRun(_)]), "{line}");
        // For programs the same, on the other stream.
        let ran = typed(&client, &format!("{line} --dry-run -o json")).await;
        let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{line}: {}", ran.out));
        assert_eq!((&told["kind"], &told["dry_run"]), (&"Order".into(), &true.into()), "{line}: {told}");
        assert_eq!(ran.err, "", "{line}");
    }
}

#[tokio::test]
async fn what_is_kept_for_a_role_is_said_and_how_to_undo_it() {
    let (_pool, client, world) = one_master().await;
    let ran =
        typed(&client, "reserve node-a1 --role eng --cpus 1.5 --mem 1536MiB --ports 8000-8009,9000").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(
        ran.err,
        "node-a1 (a1): cpus:1.5 mem:1.5GiB ports:[8000-8009,9000] reserved for eng\n\
         undo with `stoa unreserve a1 --role eng --cpus 1.5 --mem 1536MiB --ports 8000-8009,9000`\n"
    );
    let undo =
        typed(&client, "unreserve a1 --role eng --cpus 1.5 --mem 1536MiB --ports 8000-8009,9000").await;
    assert!(undo.err.contains("undo with `stoa reserve a1 --role eng --cpus 1.5"), "{}", undo.err);
    let asked = orders(&world);
    let [Call::OperateAgent(first), Call::OperateAgent(second)] = &asked[..] else { panic!("{asked:?}") };
    let amount = |call: &OperateAgent| match &call.operations[..] {
        [Operation::Reserve(inner)] => inner.amount.clone(),
        [Operation::Unreserve(inner)] => inner.amount.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(amount(first), amount(second), "the undo is the inverse");
    let ran = typed(&client, "volume create a3 db --role eng --size 1GiB -o json").await;
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["undo"], "stoa volume destroy a3 db --role eng", "{told}");
    assert_eq!((&told["apiVersion"], &told["dry_run"]), (&"stoa/v1".into(), &false.into()));
}

#[tokio::test]
async fn a_volume_is_destroyed_after_a_question_and_found_by_its_name() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "volume destroy a3 data").await;
    assert_eq!(ran.exit, Exit::Unconfirmed, "{}", ran.err);
    assert!(orders(&world).iter().all(|call| matches!(call, Call::DryRun(_))));
    let screen = Screen { answer: Some("y\n"), ..Screen::default() };
    let ran = type_in(&client, "volume destroy a3 data", screen).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(ran.err.contains("destroyed node-a3 (a3): volume data of 20GiB for eng"), "{}", ran.err);
    let last = orders(&world).pop();
    assert!(
        matches!(&last, Some(Call::OperateAgent(call)) if matches!(&call.operations[..], [Operation::DestroyVolume(gone)] if gone.role.as_str() == "eng")),
        "{last:?}"
    );
    for (line, exit, why) in [
        ("volume destroy a1 data --yes", Exit::NotFound, "no volume data on node-a1"),
        ("volume destroy a3 data --role ops --yes", Exit::NotFound, "of role ops"),
        ("get volumes --watch", Exit::Usage, "stoa events --watch"),
        ("get reservations --watch", Exit::Usage, "stoa events --watch"),
    ] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, exit, "{line}: {}", ran.err);
        assert!(ran.err.contains(why), "{line}: {}", ran.err);
    }
    world.lock().unwrap().mood = Mood::Refuses(Code::Conflict);
    let ran = typed(&client, "volume destroy a3 data --yes").await;
    assert_eq!(ran.exit, Exit::Conflict, "what is in use: {}", ran.err);
}

#[tokio::test]
async fn a_drain_says_what_it_means_and_how_to_undo_it() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "agent drain node-a1 --deadline 1h --reason disk").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(
        ran.err,
        "node-a1 (a1): no new work, its 2 tasks are ended after 1h\nundo with `stoa agent resume a1`\n"
    );
    let asked = orders(&world).pop();
    assert!(
        matches!(&asked, Some(Call::DrainAgent(call))
            if call.within == Some(Duration::from_secs(3600)) && call.reason == "disk"),
        "{asked:?}"
    );
    let again = "undo with `stoa agent drain a3 --deadline 1800s --reason 'new disk'`\n";
    let ran = typed(&client, "agent drain a3").await;
    assert!(ran.err.contains("it was draining already") && ran.err.ends_with(again), "{}", ran.err);
    let ran = typed(&client, "agent resume a3").await;
    assert_eq!(ran.err, format!("node-a3 (a3): gets work again\n{again}"));
}

#[tokio::test]
async fn a_drain_is_waited_for_until_nothing_is_left() {
    let (_pool, client, world) = one_master().await;
    let emptied = {
        let mut world = world.lock().unwrap();
        let mut snapshot = world.snapshot.clone();
        world.snapshot.agents[2].tasks = 1;
        let mut ended = views::task("web.2", TaskState::Finished);
        ended.agent = snapshot.agents[2].info.id.clone();
        world.scripts.push_back(vec![
            event(4, 1, EventKind::Snapshot(snapshot.clone())),
            event(4, 2, EventKind::TaskChanged(ended)),
        ]);
        snapshot.agents[2].tasks = 0;
        snapshot
    };
    let waiting = async { typed(&client, "agent drain a3 --wait --at-most 30s").await };
    let ends = async {
        // The first look finds a task; what the second one finds is what is there by then.
        let looked =
            || world.lock().unwrap().calls.iter().filter(|call| matches!(call, Call::Agents(_))).count();
        while looked() < 2 {
            tokio::task::yield_now().await;
        }
        world.lock().unwrap().snapshot = emptied;
    };
    let (ran, ()) = tokio::join!(waiting, ends);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(ran.err.ends_with("a3 is drained\n"), "{}", ran.err);
}

#[tokio::test]
async fn events_go_on_where_they_were_and_say_what_is_missing() {
    let (_pool, client, world) = one_master().await;
    let numbers = |out: &str| -> Vec<u64> {
        out.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_u64().unwrap())
            .collect()
    };
    let ran = typed(&client, "events --since 7 -o json").await;
    assert_eq!((ran.exit, numbers(&ran.out)), (Exit::Ok, vec![8, 9]), "{}", ran.err);
    // Numbers 1 to 6 are forgotten: whoever asks for them is told, and with which number it goes on.
    let ran = typed(&client, "events --since 3 -o json").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Conflict, ""));
    let failure: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(failure["message"], "the events 4 to 6 are not kept any more");
    assert_eq!(failure["hint"], "go on with --since 6");
    for (line, expected) in [
        ("events -o json --kind agent", vec![7]),
        ("events -o json --agent a1", vec![7, 9]),
        ("events -o json --task web.2 --framework F-1", vec![9]),
        ("events -o json --subject eng/web", vec![8]),
        ("events -o json --kind age", vec![]),
    ] {
        assert_eq!(numbers(&typed(&client, line).await.out), expected, "{line}");
    }
    // Who stays is told one after another, and stops when nobody reads.
    world.lock().unwrap().told = 1;
    let screen = Screen { reads: Some(3), ..Screen::default() };
    let ran = type_in(&client, "events --watch --since 6 -o json", screen).await;
    assert_eq!((ran.exit, numbers(&ran.out)), (Exit::Ok, vec![7, 8, 9]));
}

#[tokio::test]
async fn quota_and_weight_say_how_to_undo() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "quota set eng --limit cpus=4").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(
        ran.err,
        "eng: limited to cpus=4, was guaranteed cpus=2, limited to cpus=8,mem=16GiB\n\
         undo with `stoa quota set eng --guarantee cpus=2 --limit cpus=8,mem=16GiB`\n"
    );
    let ran = typed(&client, "quota clear eng").await;
    assert!(ran.err.starts_with("eng: no quota, was"), "{}", ran.err);
    let ran = typed(&client, "weight set eng 1").await;
    assert_eq!(ran.err, "eng: weight 1, was 2.5\nundo with `stoa weight set eng 2.5`\n");
    assert!(matches!(orders(&world).as_slice(), [Call::SetQuota(_), Call::SetQuota(_), Call::SetWeight(_)]));
}

#[tokio::test]
async fn what_cannot_be_undone_is_asked_about() {
    let (_pool, client, world) = one_master().await;
    for line in ["teardown jobs", "gone a1"] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, Exit::Unconfirmed, "{line}");
        assert!(ran.err.contains("add --yes"), "{}", ran.err);
        let screen = Screen { answer: Some("\n"), ..Screen::default() };
        let ran = type_in(&client, line, screen).await;
        assert_eq!(ran.exit, Exit::Unconfirmed, "{line}");
        assert!(ran.err.contains("for good? [y/N]"), "{}", ran.err);
    }
    assert_eq!(orders(&world), []);
    let screen = Screen { answer: Some("Yes\n"), ..Screen::default() };
    assert_eq!(type_in(&client, "teardown jobs", screen).await.exit, Exit::Ok);
    assert_eq!(typed(&client, "gone a1 --yes").await.exit, Exit::Ok);
    assert!(matches!(
        orders(&world).as_slice(),
        [Call::TeardownFramework(framework), Call::MarkAgentGone(agent)]
            if framework.framework.as_str() == "F-1" && agent.agent.as_str() == "a1"
    ));
}

#[tokio::test]
async fn explain_knows_beginnings_and_slips() {
    let (_pool, client, _world) = one_master().await;
    let ran = typed(&client, "explain task web.1").await;
    assert!(ran.out.starts_with("task jobs/web.10: no-room\n"), "{} {}", ran.out, ran.err);
    let ran = typed(&client, "explain task wbe.10").await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert!(ran.err.contains("did you mean web.10?"), "{}", ran.err);
    assert_eq!(typed(&client, "explain demand web").await.exit, Exit::Usage);
    assert_eq!(typed(&client, "explain framework jobs").await.exit, Exit::Ok);
}

/// A start of an instance, as the jobs framework names them.
fn start(id: &str, name: &str, state: TaskState, accepted_ms: u64) -> proto::operator::TaskView {
    let mut view = views::task(id, state);
    let mut info = (*view.info).clone();
    info.name = name.to_owned();
    (view.info, view.accepted_ms) = (info.into(), accepted_ms);
    view
}

#[tokio::test]
async fn a_name_means_the_start_that_lives_or_else_the_newest() {
    let (_pool, client, world) = one_master().await;
    let set = |tasks| world.lock().unwrap().snapshot.tasks = tasks;
    set(vec![
        start("web.0-1", "web.0", TaskState::Failed, 1),
        start("web.0-2", "web.0", TaskState::Running, 2),
        start("web.0-3", "web.0", TaskState::Failed, 3),
        start("web.1-1", "web.1", TaskState::Failed, 4),
        start("web.1-5", "web.1", TaskState::Killed, 9),
        start("web.1-7", "web.1", TaskState::Failed, 6),
        start("web.10-8", "web.10", TaskState::Running, 7),
    ]);
    for (typed_name, meant) in [
        ("web.0", "web.0-2"),
        ("jobs/web.0", "web.0-2"),
        ("web.0-3", "web.0-3"),
        ("web.1", "web.1-5"),
        ("web.10", "web.10-8"),
        ("web.1-", "web.1-5"),
    ] {
        let ran = typed(&client, &format!("describe task {typed_name}")).await;
        let line = format!("Task:         {meant}\n");
        assert!(ran.out.contains(&line), "{typed_name}: {} {}", ran.out, ran.err);
    }
    for (line, exit) in [("kill web.0", Exit::Ok), ("kill web.1", Exit::Conflict)] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, exit, "{line}: {}", ran.err);
    }
    set(vec![
        start("web.0-1", "web.0", TaskState::Running, 1),
        start("web.0-2", "web.0", TaskState::Running, 2),
    ]);
    let ran = typed(&client, "kill web.0").await;
    assert_eq!(ran.exit, Exit::Usage, "two that live: nobody guesses");
    assert!(ran.err.contains("F-1/web.0-1, F-1/web.0-2"), "{}", ran.err);
}

#[tokio::test]
async fn stale_reads_are_answered_by_any_master_and_say_as_of_when() {
    let (_pool, client, world) = one_master().await;
    world.lock().unwrap().mood = crate::pool::Mood::Leaderless;
    for line in ["get tasks --stale", "describe task web.2 --stale", "status --stale", "raft status --stale"]
    {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, Exit::Ok, "{line}: {}", ran.err);
        assert_eq!(ran.err, "as of index 93, by a follower\n", "{line}");
    }
    // A follower does not hear the other followers: that is no news of them.
    world.lock().unwrap().raft = views::members(Some(1), &[3]);
    let ran = typed(&client, "status --stale").await;
    assert_eq!((ran.exit, ran.out.lines().next()), (Exit::Ok, Some("healthy")), "{}", ran.out);
    for call in &world.lock().unwrap().calls {
        match call {
            Call::Tasks(list) | Call::Roles(list) => assert!(list.stale, "{call:?}"),
            Call::StatusHere | Call::RaftHere => {}
            other => panic!("not a stale read: {other:?}"),
        }
    }
}

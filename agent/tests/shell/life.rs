//! What becomes of a task: it runs, it fails, it is killed, it cannot start.

use std::time::{Duration, Instant};

use proto::id::RunId;
use proto::task::{Artifact, Exit, StatusReason, TaskState};
use proto_pki::Identity;
use tonic::service::Routes;

use super::master::{Master, Session, command, script, task};
use super::node::{Node, has_command, open_to_tasks};

struct Scene {
    node: Node,
    _master: Master,
    session: Session,
    running: agent::Running,
}

async fn scene() -> Scene {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (session, register) = master.admit().await;
    assert_eq!(session.agent, Identity::Agent(node.id.clone()));
    assert_eq!(register.agent.id, node.id);
    assert_eq!(register.agent.hostname, "node-1");
    assert_eq!(register.agent.address, running.address());
    assert_eq!(register.agent.resources.quantities().cpus_milli(), 2000);
    assert!(register.agent.attributes.to_string().contains("zone=b"));
    assert!(register.agent.attributes.to_string().contains("isolation/memory="));
    Scene { node, _master: master, session, running }
}

#[tokio::test]
async fn a_task_runs_and_knows_who_it_is_and_its_output_is_there() {
    let mut scene = scene().await;
    let words = "echo $STOA_TASK_ID $STOA_FRAMEWORK_ID $STOA_AGENT_ID $STOA_HOSTNAME $PORT0 $STOA_PORT1; \
                 [ \"$STOA_SANDBOX\" = \"$PWD\" ] && echo at home; command -v true";
    scene.session.launch(vec![script(1, words)]);
    let running = scene.session.acknowledged().await;
    assert_eq!((running.state, running.sequence), (TaskState::Running, 1), "{running:?}");
    assert!(running.pid > 0);
    assert_eq!(running.agent.as_ref(), Some(&scene.node.id));
    let finished = scene.session.acknowledged().await;
    assert_eq!((finished.state, finished.sequence), (TaskState::Finished, 2));
    assert_eq!(finished.exit, Some(Exit::Code(0)));
    let output = scene.node.logs(scene.running.address(), task(1), true).await.unwrap().all().await;
    let id = &scene.node.id;
    assert!(output.starts_with(&format!("t.1 fw-1 {id} node-1 31000 31001\nat home\n")), "{output}");
    assert!(output.trim_end().ends_with("true"), "{output}");
    scene.running.stop().await;
}

#[tokio::test]
async fn no_task_is_root_unless_the_operator_said_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: without root nothing runs as root anyway");
        return;
    }
    let mut scene = scene().await;
    let mut root = script(2, "id -u");
    root.task.command.user = "root".into();
    scene.session.launch(vec![script(1, "id -u"), root.clone()]);
    let seen = scene.session.until_over(&[RunId::at(1, 0), RunId::at(2, 0)]).await;
    let end = |number| seen[&RunId::at(number, 0)].last().unwrap().clone();
    assert_eq!(end(1).state, TaskState::Finished);
    assert_eq!((end(2).state, end(2).reason), (TaskState::Failed, StatusReason::TaskUnauthorized));
    assert!(end(2).message.contains("--allow-root-tasks"), "{}", end(2).message);
    let output = scene.node.logs(scene.running.address(), task(1), true).await.unwrap().all().await;
    assert_ne!(output, "0\n");
    scene.running.stop().await;

    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let config = agent::Config { allow_root_tasks: true, ..node.config(&[&master.address]) };
    let running = node.start_with(config).await;
    let (mut session, _) = master.admit().await;
    session.launch(vec![root]);
    session.until_over(&[RunId::at(2, 0)]).await;
    let output = node.logs(running.address(), task(2), true).await.unwrap().all().await;
    assert_eq!(output, "0\n");
    running.stop().await;
}

#[tokio::test]
async fn an_end_says_how_it_came() {
    let mut scene = scene().await;
    scene.session.launch(vec![
        script(1, "exit 3"),
        script(2, "kill -SEGV $$"),
        command(3, &["/no/such/program"]),
        script(4, "exec sleep 600"),
    ]);
    let runs: Vec<RunId> = (1..=4).map(|n| RunId::at(n, 0)).collect();
    scene.session.kill(runs[3], Duration::from_secs(30));
    let seen = scene.session.until_over(&runs).await;
    let end = |n: usize| seen[&runs[n - 1]].last().unwrap();
    assert_eq!((end(1).state, end(1).exit), (TaskState::Failed, Some(Exit::Code(3))));
    assert_eq!((end(2).state, end(2).exit), (TaskState::Failed, Some(Exit::Signal(11))));
    assert_eq!((end(3).state, end(3).reason), (TaskState::Failed, StatusReason::LaunchFailed));
    assert!(end(3).message.contains("No such file"), "{}", end(3).message);
    assert_eq!(end(4).state, TaskState::Killed);
    for statuses in seen.values() {
        let sequences: Vec<u64> = statuses.iter().map(|status| status.sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    }
    scene.running.stop().await;
}

#[tokio::test]
async fn an_artifact_is_brought_and_one_that_is_not_allowed_is_not() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    std::fs::create_dir(node.dir().join("shelf")).unwrap();
    std::fs::write(node.dir().join("shelf/words.txt"), "from the shelf\n").unwrap();
    std::fs::write(node.dir().join("secret"), "secret\n").unwrap();
    let config =
        agent::Config { artifact_roots: vec![node.dir().join("shelf")], ..node.config(&[&master.address]) };
    let running = node.start_with(config).await;
    let (mut session, _) = master.admit().await;
    let fetching = |number, file: &str| {
        let mut given = script(number, "cat words.txt");
        given.task.command.artifacts.push(Artifact {
            uri: format!("file://{}", node.dir().join(file).display()),
            sha256: String::new(),
            executable: false,
            name: String::new(),
        });
        given
    };
    session.launch(vec![fetching(1, "shelf/words.txt"), fetching(2, "secret")]);
    let runs = [RunId::at(1, 0), RunId::at(2, 0)];
    let seen = session.until_over(&runs).await;
    assert_eq!(seen[&runs[0]].last().unwrap().state, TaskState::Finished);
    let output = node.logs(running.address(), task(1), false).await.unwrap().all().await;
    assert_eq!(output, "from the shelf\n");
    let refused = seen[&runs[1]].last().unwrap();
    assert_eq!((refused.state, refused.reason), (TaskState::Failed, StatusReason::FetchFailed));
    running.stop().await;
}

#[tokio::test]
async fn a_thousand_tasks_in_one_launch_run_once_each() {
    let mut scene = scene().await;
    let tally = scene.node.dir().join("tally");
    std::fs::create_dir(&tally).unwrap();
    open_to_tasks(&tally);
    let runs: Vec<RunId> = (1..=1000).map(|n| RunId::at(n, 0)).collect();
    let mkdir = |n| command(n, &["/bin/mkdir", &tally.join(n.to_string()).display().to_string()]);
    let start = Instant::now();
    scene.session.launch((1..=1000).map(mkdir).collect());
    let seen = scene.session.until_over(&runs).await;
    println!("1000 tasks: {:?}", start.elapsed());
    // A second start of any would fail on the directory of the first.
    assert!(seen.values().all(|statuses| statuses.last().unwrap().state == TaskState::Finished));
    assert!(seen.values().all(|statuses| statuses.first().unwrap().state == TaskState::Running));
    assert_eq!(std::fs::read_dir(&tally).unwrap().count(), 1000);
    scene.running.stop().await;
}

#[tokio::test]
async fn an_agent_that_ends_its_tasks_leaves_nothing_and_says_so() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let config = agent::Config { end_tasks_on_exit: true, ..node.config(&[&master.address]) };
    let running = node.start_with(config).await;
    let (mut session, _) = master.admit().await;
    let pid = session.start(command(1, &["sleep", "600"])).await.pid;
    let heard = tokio::spawn(async move {
        let statuses = [session.update().await, session.update().await];
        session.closed().await;
        statuses.map(|status| (status.state, status.reason))
    });
    running.stop().await;
    let draining = |state| (state, StatusReason::AgentDraining);
    assert_eq!(heard.await.unwrap(), [draining(TaskState::Killing), draining(TaskState::Killed)]);
    assert!(!node.has_keeper());
    assert!(!has_command(pid));
}

#[tokio::test]
async fn the_metrics_page_and_the_lock() {
    let scene = scene().await;
    let second = agent::start(scene.node.config(&["127.0.0.1:1"]), String::new).await;
    let error = second.err().expect("the directory is in use").to_string();
    assert!(error.contains("in use"), "{error}");
    scene.running.stop().await;
}

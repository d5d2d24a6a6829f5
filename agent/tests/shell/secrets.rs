//! Secrets: asked of whoever leads by now, seen by the task and by who is beside it, and nowhere else.

use std::fs;
use std::path::Path;

use proto::agent_link::{SecretContent, SecretsReply, TaskRun};
use proto::id::{FileName, RunId, SecretName};
use proto::secret::{Confidential, SecretFile};
use proto::task::{Exit, StatusReason, TaskState};
use tonic::Status;
use tonic::service::Routes;

use super::exec;
use super::master::{Master, framework, script, task};
use super::node::{Gate, Node};

const CANARY: &str = "canary-51d0e7";

fn with_secret(number: u64, words: &str) -> TaskRun {
    let mut given = script(number, words);
    let (name, file) = (SecretName::new("db").unwrap(), FileName::new("key").unwrap());
    given.task.command.secrets = vec![SecretFile { name, file: Some(file) }];
    given.task.command.env.insert("STOA_SECRETS".into(), "/etc".into());
    given
}

fn reply() -> Result<SecretsReply, Status> {
    let file = FileName::new("key").unwrap();
    let value = Confidential::new(CANARY.as_bytes().to_vec());
    Ok(SecretsReply { files: vec![SecretContent { file, value }] })
}

/// Whether any file below holds the canary.
fn holds_canary(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_canary(&entry.path()),
        Ok(kind) if kind.is_file() => {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
        }
        Ok(_) | Err(_) => false,
    })
}

/// Whether this test can be run; says so if not.
fn has_namespaces(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} needs root for mount namespaces");
    }
    root
}

#[tokio::test]
async fn a_task_has_its_secrets_over_failovers_and_restarts_and_nobody_else_does() {
    if !has_namespaces("a_task_has_its_secrets") {
        return;
    }
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    master.secrets.lock().unwrap().answers =
        [Err(Status::unavailable("does not lead")), Err(Status::unknown("broken")), reply()].into();
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let gate = Gate::new(&node);
    let words = format!(
        "[ \"$STOA_SECRETS\" = \"$PWD/secrets\" ] && stat -c '%a %U' $STOA_SECRETS/key && wc -c < secrets/key; {wait}; \
         [ \"$(cat secrets/key)\" = {CANARY} ]",
        wait = gate.cat()
    );
    let mut given = with_secret(1, &words);
    // The words of the test are in the ledger: what they compare with must not be.
    given.task.command.argv[0] = words.replace(CANARY, "\"$(printf 'canary-%s' 51d0e7)\"");
    session.start(given).await;
    {
        let secrets = master.secrets.lock().unwrap();
        let last = secrets.asked.last().expect("asked");
        assert_eq!((last.run, &last.framework, &last.task), (RunId::at(1, 0), &framework(), &task(1)));
        assert_eq!(secrets.asked.len(), 3, "asked until it was answered");
    }
    let seen =
        exec::output_beside(&node, running.address(), 1, "cat $STOA_SECRETS/key; echo; echo $PWD").await;
    assert!(seen.starts_with(&format!("{CANARY}\n/")), "{seen}");
    assert!(!holds_canary(node.dir()), "it is on the disk");
    running.stop().await;

    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    assert_eq!(exec::output_beside(&node, running.address(), 1, "cat secrets/key").await, CANARY);
    gate.open("meanwhile").await;
    let run = RunId::at(1, 0);
    let seen = session.until_over(&[run]).await;
    let end = seen[&run].last().unwrap();
    assert_eq!((end.state, end.exit), (TaskState::Finished, Some(Exit::Code(0))), "{end:?}");
    let output = node.logs(running.address(), task(1), true).await.unwrap().all().await;
    assert_eq!(output, format!("400 nobody\n{}\nmeanwhile\n", CANARY.len()));
    assert_eq!(master.secrets.lock().unwrap().asked.len(), 3, "what runs is not asked for again");
    assert!(!holds_canary(node.dir()), "it is on the disk");
    running.stop().await;
}

#[tokio::test]
async fn a_task_whose_secrets_are_refused_fails_for_that_reason() {
    if !has_namespaces("a_task_whose_secrets_are_refused") {
        return;
    }
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    master.secrets.lock().unwrap().answers =
        [Err(Status::not_found("there is no secret db any more"))].into();
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    session.launch(vec![with_secret(1, "true")]);
    let end = session.acknowledged().await;
    assert_eq!((end.state, end.reason), (TaskState::Failed, StatusReason::SecretFailed), "{end:?}");
    assert_eq!(end.message, "secrets: there is no secret db any more");

    // Nobody answers, and it is killed meanwhile.
    session.launch(vec![with_secret(2, "true")]);
    super::soon("a question", async {
        while master.secrets.lock().unwrap().asked.len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    session.kill(RunId::at(2, 0), std::time::Duration::ZERO);
    let end = session.acknowledged().await;
    assert_eq!(end.state, TaskState::Killed, "{end:?}");
    running.stop().await;
}

//! What is printed, to the letter. Run with `STOA_GOLDEN=write` to accept a change, and read the diff.

use std::path::Path;

use crate::pool::{Pool, typed};

/// Each line, and the file with what it prints.
const LINES: &[(&str, &str)] = &[
    ("get agents", "get-agents.txt"),
    ("get agents -o wide", "get-agents-wide.txt"),
    ("get agents -o json", "get-agents.json"),
    ("get agents -o yaml", "get-agents.yaml"),
    ("get agents -o name", "get-agents-name.txt"),
    ("get tasks", "get-tasks.txt"),
    ("get tasks --all", "get-tasks-all.txt"),
    ("get tasks --all -o wide", "get-tasks-wide.txt"),
    ("get tasks --all -o json", "get-tasks.json"),
    ("get tasks -o yaml", "get-tasks.yaml"),
    ("get tasks --all -o name", "get-tasks-name.txt"),
    ("get frameworks -o wide", "get-frameworks-wide.txt"),
    ("get frameworks -o json", "get-frameworks.json"),
    ("get offers", "get-offers.txt"),
    ("get offers -o json", "get-offers.json"),
    ("get roles -o wide", "get-roles-wide.txt"),
    ("get roles -o json", "get-roles.json"),
    ("get reservations", "get-reservations.txt"),
    ("get reservations -o json", "get-reservations.json"),
    ("get volumes", "get-volumes.txt"),
    ("get volumes -o json", "get-volumes.json"),
    ("get secrets", "get-secrets.txt"),
    ("secret get -o json", "get-secrets.json"),
    ("secret get -o name", "get-secrets-name.txt"),
    ("describe secret db-password", "describe-secret.txt"),
    ("describe volume data", "describe-volume.txt"),
    ("describe reservation a3/eng", "describe-reservation.txt"),
    ("describe agent a1", "describe-agent.txt"),
    ("describe agent a3", "describe-agent-draining.txt"),
    ("describe task batch.10", "describe-task.txt"),
    ("describe task batch.10 -o json", "describe-task.json"),
    ("describe framework jobs", "describe-framework.txt"),
    ("describe role eng", "describe-role.txt"),
    ("describe offer O3-42", "describe-offer.txt"),
    ("explain task web.10", "explain-task.txt"),
    ("explain task web.10 -v", "explain-task-v.txt"),
    ("explain task web.10 -vv", "explain-task-vv.txt"),
    ("explain task web.10 -vvv", "explain-task-vvv.txt"),
    ("explain agent a1", "explain-task.txt"),
    ("explain role eng", "explain-task.txt"),
    ("explain --summary", "explain-summary.txt"),
    ("explain --summary -v", "explain-summary-v.txt"),
    ("explain --summary -o json", "explain-summary.json"),
    ("explain task web.10 -o json", "explain-task.json"),
    ("raft status", "raft-status.txt"),
    ("raft status -o json", "raft-status.json"),
    ("status", "status.txt"),
    ("events", "events.txt"),
    ("events -o json --kind task", "events.json"),
    ("auth whoami", "auth-whoami.txt"),
    ("auth whoami -o json", "auth-whoami.json"),
    ("auth principals", "auth-principals.txt"),
    ("auth principals -o json", "auth-principals.json"),
];

#[tokio::test]
async fn everything_printed_is_as_agreed() {
    let pool = Pool::new();
    let (master, _) = pool.master(1).await;
    let client = pool.client(&[&master]);
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden");
    let write = std::env::var("STOA_GOLDEN").is_ok_and(|word| word == "write");
    for (line, file) in LINES {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit.code(), 0, "stoa {line}: {}", ran.err);
        // Nothing hostile gets out, in whatever form.
        let obeyed = ['\u{1b}', '\u{7}', '\u{202e}'];
        assert!(!ran.out.contains(obeyed), "stoa {line}:\n{}", ran.out);
        assert!(!ran.out.contains("hunter2"), "stoa {line} shows a secret");
        let path = dir.join(file);
        if write {
            std::fs::write(&path, &ran.out).unwrap();
            continue;
        }
        let agreed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(ran.out, agreed, "stoa {line} differs from {file}; STOA_GOLDEN=write accepts it");
    }
}

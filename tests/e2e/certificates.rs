//! Certificates that end soon: they are renewed while everything runs, and nobody who was given up gets another.

use std::path::Path;
use std::time::Duration;

use framework_sdk::door::{Authority, Credentials, Identity, LEAF_VALIDITY};
use proto_grpc::renew::renew;

use super::cluster::eventually;
use super::founding::{ByHand, doors};

/// How long a certificate is good here, in seconds.
const LIFETIME: &str = "12";
const LIMIT: Duration = Duration::from_secs(40);

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

fn ends_ms(dir: &str) -> u64 {
    Credentials::load(Path::new(dir)).ok().and_then(|own| own.expires_ms().ok()).unwrap_or_default()
}

#[test]
fn an_agent_outlives_its_certificate_with_all_it_runs() {
    let mut hand = ByHand::new("certificates");
    let [door, jobs_door] = <[String; 2]>::try_from(doors(2)).unwrap();
    let (data, context) = (hand.path("master"), hand.path("master/context"));
    let master = ["master", "--data-dir", &data, "--listen", &door, "--certificate-lifetime-s", LIFETIME];
    hand.found(&master, "--join TOKEN");
    let said = hand.well("a token", &["token", "create", "--kind", "agent", "--context", &context]);
    let (token, work) = (said.out.trim().to_owned(), hand.path("agent"));
    let agent = [
        "agent",
        "--work-dir",
        &work,
        "--master",
        &door,
        "--resources",
        "cpus:1;mem:256MiB",
        "--join",
        &token,
    ];
    hand.start("agent", &agent);
    let own = hand.path("agent/credentials");
    // What it runs comes from a framework whose certificate lasts.
    let (jobs, jobs_own) = (hand.path("jobs"), hand.path("jobs-credentials"));
    let authority = Authority::load(Path::new(&hand.path("master/authority"))).unwrap();
    let long = authority.issue(&Identity::Framework("jobs".into()), LEAF_VALIDITY).unwrap();
    long.save(Path::new(&jobs_own)).unwrap();
    let framework = ["framework", "jobs", "--data-dir", &jobs, "--credentials", &jobs_own];
    hand.start("jobs", &[&framework[..], &["--listen", &jobs_door, "--master", &door]].concat());
    eventually("the framework", LIMIT, || {
        hand.stoa(&["get", "frameworks", "--context", &context]).out.contains("connected").then_some(())
    });
    hand.start("task", &["run", "--context", &context, "--", "sh", "-c", "echo hello; exec sleep 1000"]);
    let tasks = |hand: &ByHand| {
        let said = hand.stoa(&["get", "tasks", "--context", &context, "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        let one = list["items"].as_array().and_then(|items| items.first().cloned()).unwrap_or_default();
        (one["state"] == "running").then_some((one["id"].as_str()?.to_owned(), one["pid"].as_u64()?))
    };
    let before = eventually("a task", LIMIT, || tasks(&hand));
    let first = ends_ms(&own);
    let joined = hand.log("agent").matches("joined").count();

    eventually("a certificate behind the first", LIMIT, || (ends_ms(&own) > first).then_some(()));
    assert!(now_ms() < first, "it is renewed before the first ends");
    eventually("the first is over", LIMIT, || (now_ms() > first + 1_000).then_some(()));
    // The connection that the first one opened has ended; the next one opened another. Its own door shows the next one, too.
    eventually("it is there", LIMIT, || {
        let said = hand.stoa(&["get", "agents", "--context", &context, "-o", "json"]);
        (said.out.contains("\"state\": \"active\"") && hand.log("agent").matches("joined").count() > joined)
            .then_some(())
    });
    let said = hand.well("the output of its task", &["logs", &before.0, "--context", &context]);
    assert_eq!(said.out, "hello\n");
    assert_eq!(tasks(&hand), Some(before), "the task is the same process");
    let log = hand.well("the audit log", &["audit", "tail", "--context", &context]);
    assert!(log.out.contains("renew"), "{log:?}");

    // A certificate of whoever was given up is renewed by nobody.
    let stolen = Credentials::load(Path::new(&own)).unwrap();
    let said = hand.stoa(&["get", "agents", "--context", &context, "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let name = list["items"][0]["id"].as_str().unwrap().to_owned();
    let said = hand.stoa(&["agent", "gone", &name, "--yes", "--context", &context]);
    assert_eq!(said.code, 0, "{said:?}");
    let refused = eventually("it is known as gone", LIMIT, || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(renew(std::slice::from_ref(&door), &stolen)).err()
    });
    assert!(refused.to_string().contains("was given up"), "{refused}");
}

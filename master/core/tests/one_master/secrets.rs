//! Secrets: set and removed by people only, told to the shell, and held against what tasks name.

use proto::id::{FileName, SecretName};
use proto::log::SecretSet;
use proto::operator::RemoveSecret;
use proto::secret::{SECRET_BYTES_MAX, SecretFile};

use super::*;

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn set(secret: &str, size_bytes: u64) -> OperatorCall {
    let ciphertext = vec![1; 40];
    let (role, name, by) = (role(), name(secret), "user/forged".to_owned());
    OperatorCall::SetSecret(SecretSet { role, name, nonce: vec![2; 12], ciphertext, size_bytes, by })
}

fn remove(secret: &str) -> OperatorCall {
    OperatorCall::RemoveSecret(RemoveSecret { role: role(), name: name(secret) })
}

/// Asks as somebody; the answer.
fn ask(world: &mut World, ticket: u64, who: &str, call: OperatorCall) -> ReplyKind {
    world.say(Input::Operator { ticket: Ticket(ticket), caller: who.parse().unwrap(), call });
    let at = world.replies.iter().position(|(answered, _)| *answered == Ticket(ticket)).expect("an answer");
    world.replies.swap_remove(at).1
}

fn refused(reply: ReplyKind) -> (Code, String) {
    match reply {
        ReplyKind::Refused(refusal) => (refusal.code, refusal.message + "; " + &refusal.help),
        other => panic!("not refused: {other:?}"),
    }
}

fn with_secrets(id: &str, secrets: &[(&str, &str)]) -> TaskInfo {
    let mut info = task(id, 500);
    let file =
        |(secret, file): &(&str, &str)| SecretFile { name: name(secret), file: FileName::new(file).ok() };
    info.command.secrets = secrets.iter().map(file).collect();
    info
}

#[test]
fn people_set_and_remove_them_and_what_is_not_there_is_not_removed() {
    let mut world = World::new();
    for who in ["framework/jobs", "agent/a1", "master/1"] {
        assert_eq!(refused(ask(&mut world, 1, who, set("db", 6))).0, Code::Denied, "{who}");
        assert_eq!(refused(ask(&mut world, 2, who, remove("db"))).0, Code::Denied, "{who}");
    }
    for (size, why) in [(0, "value is empty"), (SECRET_BYTES_MAX as u64 + 1, "value has 65537 bytes")] {
        let (code, told) = refused(ask(&mut world, 3, "user/ada", set("db", size)));
        assert_eq!(code, Code::Invalid);
        assert!(told.contains(why) && told.contains("1 to 65536 bytes"), "{told}");
    }
    let rehearsed = OperatorCall::DryRun(Box::new(set("db", 6)));
    assert!(matches!(ask(&mut world, 4, "user/ada", rehearsed), ReplyKind::Done(0)));
    assert!(world.secrets.is_empty());
    assert_eq!(refused(ask(&mut world, 5, "user/ada", remove("db"))).0, Code::NotFound);
    assert!(matches!(ask(&mut world, 6, "user/ada", set("db", 6)), ReplyKind::Done(_)));
    assert!(matches!(ask(&mut world, 7, "user/ada", set("db", 7)), ReplyKind::Done(_)));
    let held = &world.secrets[&(role(), name("db"))];
    assert_eq!((held.version, held.size_bytes), (2, 7), "the shell knows the last one");
    let told: Vec<_> = world.master.registry().history_after(0).map(|event| event.message.clone()).collect();
    assert!(told.iter().any(|message| message == "in eng, version 2, by user/ada"), "{told:?}");
    let before = world.secrets.clone();
    world.restart();
    assert_eq!(world.secrets, before, "whoever leads next is told all of them");
    assert!(matches!(ask(&mut world, 8, "user/ada", remove("db")), ReplyKind::Done(_)));
    assert!(world.secrets.is_empty());
}

#[test]
fn a_task_starts_with_secrets_that_are_there_and_is_dropped_with_others() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    assert!(matches!(ask(&mut world, 1, "user/ada", set("db", 6)), ReplyKind::Done(_)));
    let offers = world.offers(10);
    let tasks = vec![
        with_secrets("good", &[("db", ""), ("db", "copy")]),
        with_secrets("unknown", &[("db", ""), ("other", "")]),
        with_secrets("twice", &[("db", ""), ("db", "db")]),
    ];
    world.call(10, Some("op-1"), accept(&offers, tasks));
    let told: Vec<_> = world
        .events(10)
        .into_iter()
        .filter_map(|event| match event {
            EventKind::Update(status) => Some(status),
            _ => None,
        })
        .map(|status| (status.task.to_string(), status.state, status.reason, status.message))
        .collect();
    let [unknown, twice] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (unknown.0.as_str(), unknown.1, unknown.2),
        ("unknown", TaskState::Dropped, StatusReason::SecretUnknown)
    );
    assert!(
        unknown.3.contains("names other") && unknown.3.contains("stoa secret set other --role eng"),
        "{unknown:?}"
    );
    assert_eq!((twice.0.as_str(), twice.1, twice.2), ("twice", TaskState::Error, StatusReason::TaskInvalid));
    let launched: Vec<_> = world.launched().into_iter().map(|run| run.task.id.to_string()).collect();
    assert_eq!(launched, ["good"]);
}

#[test]
fn what_the_secrets_of_a_task_hold_together_is_bounded() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let names: Vec<String> = (0..17).map(|number| format!("s{number}")).collect();
    for (ticket, secret) in (1..).zip(&names) {
        let reply = ask(&mut world, ticket, "user/ada", set(secret, SECRET_BYTES_MAX as u64));
        assert!(matches!(reply, ReplyKind::Done(_)), "{reply:?}");
    }
    let all: Vec<(&str, &str)> = names.iter().map(|secret| (secret.as_str(), "")).collect();
    let offers = world.offers(10);
    world.call(
        10,
        Some("op-1"),
        accept(&offers, vec![with_secrets("fits", &all[..16]), with_secrets("large", &all)]),
    );
    let launched: Vec<_> = world.launched().into_iter().map(|run| run.task.id.to_string()).collect();
    assert_eq!(launched, ["fits"]);
}

//! Secrets: read from a file or a pipe, never shown, and removed after a question.

use framework_sdk_cli::Exit;
use proto::operator::Call;
use serde_json::Value;

use crate::pool::{Screen, type_in, typed};
use crate::verbs::{one_master, orders};

#[tokio::test]
async fn a_secret_is_set_from_a_file_or_a_pipe_and_its_value_is_nowhere() {
    let (_pool, client, world) = one_master().await;
    let file = std::env::temp_dir().join(format!("stoa-cli-secret-{}", std::process::id()));
    std::fs::write(&file, "canary").unwrap();
    let ran = typed(&client, &format!("secret set db-password --file {}", file.display())).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert_eq!(
        ran.err,
        "secret db-password of role default: 6 bytes, in place of version 3; tasks that start from now on are given it\n"
    );
    let piped = Screen { piped: Some(b"canary\n"), ..Screen::default() };
    let ran = type_in(&client, "secret set eng/web/new -o json", piped).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["undo"], "stoa secret rm new --role eng/web", "{told}");
    assert!(!ran.out.contains("canary") && told["what"].as_str().unwrap().contains("7 bytes, new"), "{told}");
    let [Call::SetSecret(first), Call::SetSecret(second)] = &orders(&world)[..] else { panic!("two orders") };
    assert_eq!((first.role.as_str(), first.value.reveal()), ("default", &b"canary"[..]));
    assert_eq!((second.role.as_str(), second.value.reveal()), ("eng/web", &b"canary\n"[..]), "as it is");
    for (line, why) in [
        ("secret set db-password", "the value is missing"),
        ("secret set db-password --file /nowhere", "/nowhere cannot be read"),
        ("secret rm eng/db --role ops --yes", "name two roles"),
        ("get secrets --watch", "stoa events --watch --kind secret"),
    ] {
        let ran = typed(&client, line).await;
        assert_eq!(ran.exit, Exit::Usage, "{line}: {}", ran.err);
        assert!(ran.err.contains(why), "{line}: {}", ran.err);
    }
}

#[tokio::test]
async fn a_secret_is_removed_after_a_question() {
    let (_pool, client, world) = one_master().await;
    let ran = typed(&client, "secret rm db-password").await;
    assert_eq!(ran.exit, Exit::Unconfirmed, "{}", ran.err);
    let ran = typed(&client, "secret rm db-password --dry-run").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(orders(&world).iter().all(|call| matches!(call, Call::DryRun(_))));
    let screen = Screen { answer: Some("y\n"), ..Screen::default() };
    let ran = type_in(&client, "secret rm eng/web/tls.key", screen).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let last = orders(&world).pop();
    let gone = |last: &Option<Call>| match last {
        Some(Call::RemoveSecret(gone)) => (gone.role.to_string(), gone.name.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(gone(&last), ("eng/web".to_owned(), "tls.key".to_owned()));
}

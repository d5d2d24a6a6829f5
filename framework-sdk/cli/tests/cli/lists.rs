//! Lists that come in parts: as a whole they are what they were, and what is looked for by its name comes alone.

use framework_sdk_cli::Exit;
use proto::operator::{Call, List};

use crate::pool::typed;
use crate::verbs::one_master;

/// Every format, with more items than go into one part, with one, and with none.
const LINES: [&str; 8] = [
    "get tasks --all",
    "get tasks --all -o wide",
    "get tasks --all -o name",
    "get tasks --all -o json",
    "get tasks --all -o yaml",
    "get tasks --framework spark -o json",
    "get agents -o json",
    "describe agent a1",
];

#[tokio::test]
async fn a_list_in_parts_is_the_list() {
    let (_pool, client, world) = one_master().await;
    for line in LINES {
        world.lock().unwrap().is_old = true;
        let whole = typed(&client, line).await;
        world.lock().unwrap().is_old = false;
        let parts = typed(&client, line).await;
        assert_eq!((parts.exit, &parts.out, &parts.err), (Exit::Ok, &whole.out, &whole.err), "{line}");
        assert!(!parts.out.is_empty(), "{line}");
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_is_begun_anew_and_nothing_is_told_twice() {
    let (_pool, client, world) = one_master().await;
    for line in LINES {
        let whole = typed(&client, line).await;
        let asked = world.lock().unwrap().calls.len();
        world.lock().unwrap().lists_to_break = 1;
        let anew = typed(&client, line).await;
        assert_eq!((anew.exit, anew.out), (Exit::Ok, whole.out), "{line}");
        let calls = world.lock().unwrap().calls.len() - asked;
        assert!(calls > 1 && world.lock().unwrap().lists_to_break == 0, "{line}: asked {calls} times");
    }
}

#[tokio::test]
async fn items_are_written_as_documents_of_them_would_be() {
    let (_pool, client, _world) = one_master().await;
    let all = typed(&client, "get tasks --all -o json").await.out;
    let read: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(serde_json::to_string_pretty(&read["items"][0]["id"]).unwrap(), "\"batch.10\"");
    // One that was picked by its name is written from the whole document.
    for id in read["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()) {
        let one = typed(&client, &format!("get tasks --all -o json {id}")).await.out;
        let item = one.split_once("\"items\": [\n").unwrap().1.strip_suffix("\n  ]\n}\n").unwrap();
        assert!(all.contains(item), "{item}");
    }
}

#[tokio::test]
async fn what_is_looked_for_by_name_is_named_to_the_masters() {
    let (_pool, client, world) = one_master().await;
    let looked_for = |line: &'static str| {
        let (client, world) = (&client, &world);
        async move {
            world.lock().unwrap().calls.clear();
            let ran = typed(client, line).await;
            let lists =
                world.lock().unwrap().calls.iter().filter_map(Call::list).cloned().collect::<Vec<List>>();
            (ran, lists)
        }
    };
    let called = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (ran, lists) = looked_for("describe task F-1/web.2").await;
    assert_eq!((ran.exit, lists.len()), (Exit::Ok, 1), "{}", ran.err);
    assert_eq!((lists[0].framework.as_str(), &lists[0].called), ("F-1", &called(&["web.2"])));
    let (ran, lists) = looked_for("get tasks --all F-1/web.2 batch.10").await;
    assert_eq!((ran.exit, lists.len()), (Exit::Ok, 1), "{}", ran.err);
    assert_eq!(lists[0].called, called(&["F-1/web.2", "batch.10"]));
    // What was meant is found among all.
    let (ran, lists) = looked_for("describe task wbe.2").await;
    assert_eq!((ran.exit, lists.len()), (Exit::NotFound, 2));
    assert!(ran.err.contains("did you mean web.2?") && lists[1].called.is_empty(), "{}", ran.err);
    // What several begin with is not asked for twice.
    let (ran, lists) = looked_for("describe task web").await;
    assert_eq!((ran.exit, lists.len()), (Exit::Usage, 1), "{}", ran.err);
    // Volumes are told as parts of agents: the masters cannot look for them.
    let (ran, lists) = looked_for("describe volume data").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    assert!(lists.iter().all(|list| list.called.is_empty()), "{lists:?}");
}

#[tokio::test]
async fn of_many_things_the_first_are_shown_and_the_others_counted() {
    let (_pool, client, world) = one_master().await;
    let like =
        world.lock().unwrap().snapshot.tasks.iter().find(|task| !task.status.state.is_terminal()).cloned();
    let numbered = |n: usize| {
        let mut task = like.clone().unwrap();
        std::sync::Arc::make_mut(&mut task.info).id = proto::id::TaskId::new(&format!("many.{n}")).unwrap();
        task
    };
    // Not in order, and more than go into one part.
    world.lock().unwrap().snapshot.tasks = (0..30).map(|n| numbered((n * 7) % 30)).collect();
    let ran = typed(&client, "describe framework jobs").await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.err);
    let shown: Vec<&str> = ran.out.split_whitespace().filter(|word| word.starts_with("many.")).collect();
    let first: Vec<String> = (0..20).map(|n| format!("many.{n}")).collect();
    assert_eq!(shown, first);
    assert!(ran.out.contains("tasks (and 10 more)"), "{}", ran.out);
}

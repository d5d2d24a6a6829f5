//! `--watch`: everything, then every change once, whatever becomes of the master that tells it.

use framework_sdk_cli::Exit;
use proto::id::{Epoch, FrameworkId, OfferId};
use proto::operator::{EventKind, OfferEnd, OfferEnded, Snapshot, Watch};
use proto::task::TaskState;
use serde_json::Value;

use crate::pool::{Pool, Screen, event, type_in};
use crate::views;

/// Hangs up once all that is expected was printed; the next line finds the pipe broken.
fn until(lines: usize) -> Screen<'static> {
    Screen { reads: Some(lines), ..Screen::default() }
}

#[tokio::test]
async fn changes_of_what_is_selected_are_printed_once() {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    let mut elsewhere = views::task("web.3", TaskState::Running);
    elsewhere.framework = FrameworkId::new("F-2").unwrap();
    elsewhere.framework_name = "spark".to_owned();
    world.lock().unwrap().scripts.push_back(vec![
        event(3, 1, EventKind::Snapshot(views::snapshot())),
        event(3, 2, EventKind::AgentChanged(views::snapshot().agents[0].clone())),
        event(3, 3, EventKind::TaskChanged(elsewhere)),
        event(3, 4, EventKind::TaskChanged(views::task("web.2", TaskState::Running))),
        event(3, 5, EventKind::TaskChanged(views::task("web.2", TaskState::Killing))),
        event(3, 6, EventKind::TaskChanged(views::task("web.2", TaskState::Killed))),
        event(3, 7, EventKind::TaskChanged(views::task("web.10", TaskState::Running))),
    ]);
    let expected = "\
CHANGE   ID      FRAMEWORK  STATE    AGENT    ROLE     AGE
current  web.2   jobs       running  node-a1  eng/web  2h
current  web.10  jobs       staging  node-a1  eng/web  2h
changed  web.2   jobs       killing  node-a1  eng/web  2h
changed  web.2   jobs       killed   node-a1  eng/web  2h
changed  web.10  jobs       running  node-a1  eng/web  2h
";
    let screen = until(expected.lines().count());
    // One more change, for the line on which the pipe is found broken.
    world.lock().unwrap().scripts[0].push(event(
        3,
        8,
        EventKind::TaskChanged(views::task("web.10", TaskState::Killing)),
    ));
    let ran = type_in(&pool.client(&[&master]), "get tasks -w --framework jobs", screen).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, expected), "{}", ran.err);
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn a_watch_goes_on_at_another_master_where_it_was() {
    let pool = Pool::new();
    let (first, one) = pool.master(1).await;
    let (second, two) = pool.master(2).await;
    let all = |tasks| EventKind::Snapshot(Snapshot { tasks, ..Snapshot::default() });
    let (web, batch) = (views::task("web.2", TaskState::Running), views::task("web.3", TaskState::Running));
    one.lock().unwrap().scripts.push_back(vec![event(3, 10, all(vec![web.clone(), batch]))]);
    // The second cannot go on at that place and begins anew: only the differences are printed.
    let (new, last) = (views::task("web.4", TaskState::Running), views::task("web.5", TaskState::Running));
    two.lock().unwrap().scripts.push_back(vec![
        event(4, 1, all(vec![web, new.clone()])),
        event(4, 2, EventKind::TaskChanged(new)),
        event(4, 3, EventKind::TaskChanged(last.clone())),
        event(4, 4, EventKind::TaskChanged(views::task("web.5", TaskState::Killing))),
    ]);
    let expected = [
        "current F-1/web.2",
        "current F-1/web.3",
        "changed F-1/web.4",
        "removed F-1/web.3",
        "changed F-1/web.5",
    ];
    let client = pool.client(&[&first, &second]);
    let ran = type_in(&client, "get tasks -w -o json", until(expected.len())).await;
    let told: Vec<String> = ran
        .out
        .lines()
        .map(|line| {
            let change: Value = serde_json::from_str(line).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (item, kind) = (&change["item"], &change["kind"]);
            assert_eq!((kind.as_str(), change["apiVersion"].as_str()), (Some("TaskChange"), Some("stoa/v1")));
            format!("{} {}/{}", text(&change["change"]), text(&item["framework_id"]), text(&item["id"]))
        })
        .collect();
    assert_eq!(told, expected, "{}", ran.err);
    assert!(ran.err.contains("asking another"), "{}", ran.err);
    assert_eq!(one.lock().unwrap().watches[0], Watch::default());
    assert_eq!(two.lock().unwrap().watches[0], Watch { epoch: Epoch(3), sequence: 10 });
}

#[tokio::test]
async fn offers_say_how_they_ended() {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    let ended =
        |number, how| EventKind::OfferEnded(OfferEnded { offer: OfferId { epoch: Epoch(3), number }, how });
    let mut second = views::offer();
    second.id.number = 43;
    world.lock().unwrap().scripts.push_back(vec![
        event(3, 1, EventKind::Snapshot(views::snapshot())),
        event(3, 2, EventKind::OfferMade(second)),
        event(3, 3, ended(42, OfferEnd::Accepted)),
        event(3, 4, ended(99, OfferEnd::Expired)),
        event(3, 5, ended(43, OfferEnd::Rescinded)),
        event(3, 6, EventKind::OfferMade(views::offer())),
    ]);
    let expected = "\
CHANGE   ID     FRAMEWORK  AGENT    ROLE     CPUS  MEM   AGE
current  O3-42  jobs       node-a1  default  2.5   7GiB  4s
changed  O3-43  jobs       node-a1  default  2.5   7GiB  4s
accepted  O3-42  jobs       node-a1  default  2.5   7GiB  4s
rescinded  O3-43  jobs       node-a1  default  2.5   7GiB  4s
";
    let ran = type_in(&pool.client(&[&master]), "get offers -w", until(expected.lines().count())).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, expected), "{}", ran.err);
}

#[tokio::test]
async fn a_watch_that_cannot_begin_fails_at_once() {
    let pool = Pool::new();
    let client = pool.client(&[&crate::pool::nobody().await]);
    let ran = type_in(&client, "get tasks -w", Screen::default()).await;
    assert_eq!(ran.exit, Exit::Unavailable);
}

//! `--wait`: until what was asked for is brought about, or has failed.

use super::jobs::{File, go};
use super::pretend::{Facts, Paper, Pretend, event};
use crate::wire::{JobEvent, Progress, Setback, Summary, Task, TaskState};

/// A service of one, as far as its change is.
fn stands(cluster: &Pretend, running: bool, progress: Progress, setback: Setback) -> JobEvent {
    let state = if running { TaskState::TaskRunning } else { TaskState::TaskStaging };
    let mut event = event(1, false, vec![cluster.task("web.0-1", state)]);
    if let Some(summary) = &mut event.summary {
        summary.progress = progress.into();
        summary.setback = setback.into();
    }
    event.revision = 1;
    event
}

/// What waiting for these events says, and its exit code.
async fn waits(line: &[&str], make: impl Fn(&Pretend) -> Vec<JobEvent>) -> (u8, String) {
    let cluster = Pretend::start(Facts::default()).await;
    let events = make(&cluster);
    cluster.with(|facts| facts.events = events);
    let (file, paper) = (File::new("toml", "name = \"web\"\ncommand = \"serve\"\n"), Paper::default());
    let line: Vec<&str> = line.iter().map(|word| if *word == "FILE" { file.name() } else { word }).collect();
    let code = go(&cluster, &line, &paper).await;
    (code, paper.err())
}

const APPLY: [&str; 3] = ["apply", "--wait", "FILE"];

#[tokio::test]
async fn a_change_is_waited_for_while_what_it_replaces_still_runs() {
    let (code, told) = waits(&APPLY, |cluster| {
        vec![
            stands(cluster, true, Progress::UnderWay, Setback::Unspecified),
            stands(cluster, false, Progress::Done, Setback::Unspecified),
            stands(cluster, true, Progress::Done, Setback::Unspecified),
        ]
    })
    .await;
    assert_eq!((code, told.as_str()), (0, "web runs (1 of 1)\n"));
    let under_way = |cluster: &Pretend| vec![stands(cluster, true, Progress::UnderWay, Setback::Unspecified)];
    let (code, told) = waits(&["apply", "--wait", "--timeout", "100ms", "FILE"], under_way).await;
    assert!(code == 5 && told.contains("not all there after 100ms"), "{code} {told}");
}

#[tokio::test]
async fn canaries_that_wait_are_where_it_stops_for_a_word() {
    let (code, told) =
        waits(&APPLY, |cluster| vec![stands(cluster, true, Progress::CanaryWaits, Setback::Unspecified)])
            .await;
    assert_eq!(code, 0);
    assert!(
        told.contains("go on with `stoa job promote web`") && told.contains("stoa job rollback web"),
        "{told}"
    );
}

#[tokio::test]
async fn a_change_that_failed_says_why() {
    let (code, told) = waits(&APPLY, |cluster| {
        vec![
            stands(cluster, true, Progress::UnderWay, Setback::Unspecified),
            stands(cluster, true, Progress::GoesBack, Setback::Failures),
            stands(cluster, false, Progress::GoesBack, Setback::Failures),
            stands(cluster, true, Progress::RolledBack, Setback::Failures),
        ]
    })
    .await;
    assert_eq!(
        (code, told.as_str()),
        (
            1,
            "the change of web failed: too many of its tasks failed in a row; what ran before comes back\n\
             the change of web failed: too many of its tasks failed in a row; it runs what it ran before\n"
        )
    );
    let (code, told) =
        waits(&APPLY, |cluster| vec![stands(cluster, true, Progress::Stopped, Setback::Deadline)]).await;
    assert_eq!(code, 1);
    assert!(told.contains("no instance more came into service in time; it stays as it is"), "{told}");
}

#[tokio::test]
async fn what_fails_on_the_way_is_told_a_few_times() {
    let (code, told) = waits(&APPLY, |cluster| {
        let failed = |n: u32| {
            let id = format!("web.0-{n}");
            let task = Task { exit_code: Some(3), attempt: n, ..cluster.task(&id, TaskState::TaskFailed) };
            let task = if n == 2 { Task { message: "no\u{7} luck".into(), ..task } } else { task };
            let mut event = stands(cluster, false, Progress::UnderWay, Setback::Unspecified);
            (event.tasks, event.summary) = (vec![task], event.summary.map(|s| Summary { failed: 0, ..s }));
            event
        };
        let mut events: Vec<JobEvent> = (0..6).map(failed).collect();
        events.push(stands(cluster, true, Progress::Done, Setback::Unspecified));
        events
    })
    .await;
    assert_eq!(
        (code, told.as_str()),
        (
            0,
            "web.0-1 failed: exit code 3\nweb.0-2 failed: no\\u{7} luck\nweb.0-3 failed: exit code 3\nweb runs (1 of 1)\n"
        ),
        "of the first nobody knows when it was"
    );
}

#[tokio::test]
async fn what_somebody_else_changed_meanwhile_is_not_what_was_waited_for() {
    let (code, told) = waits(&APPLY, |cluster| {
        vec![JobEvent { revision: 2, ..stands(cluster, true, Progress::Done, Setback::Unspecified) }]
    })
    .await;
    assert_eq!(code, 6);
    assert!(told.contains("web was changed again meanwhile: it is at revision 2"), "{told}");
}

#[tokio::test]
async fn a_service_of_which_nothing_is_started_again_is_over() {
    let failed = |cluster: &Pretend| {
        let mut event = event(1, false, vec![cluster.task("web.0-1", TaskState::TaskFailed)]);
        if let Some(summary) = &mut event.summary {
            summary.progress = Progress::UnderWay.into();
        }
        vec![event]
    };
    let (code, told) = waits(&APPLY, failed).await;
    assert_eq!(
        (code, told.as_str()),
        (1, "web is over: 0 of 1 finished, 1 failed, and none is started again\n")
    );
}

#[tokio::test]
async fn whoever_promotes_can_wait_too() {
    let done = |cluster: &Pretend| {
        vec![
            stands(cluster, true, Progress::UnderWay, Setback::Unspecified),
            stands(cluster, true, Progress::Done, Setback::Unspecified),
        ]
    };
    let (code, told) = waits(&["promote", "web", "--wait"], done).await;
    assert_eq!((code, told.as_str()), (0, "web runs (1 of 1)\n"));
    assert_eq!(waits(&["promote", "web"], |_| Vec::new()).await, (0, String::new()));
}

#[tokio::test]
async fn what_takes_long_is_explained() {
    let waiting = |cluster: &Pretend| {
        cluster.with(|facts| facts.demands = vec!["web".into()]);
        vec![stands(cluster, false, Progress::UnderWay, Setback::Unspecified)]
    };
    let (code, told) = waits(&["apply", "--wait", "--timeout", "2500ms", "FILE"], waiting).await;
    assert_eq!(code, 5);
    assert_eq!(told.matches("waiting: larger than any agent\n").count(), 1, "{told}");
}

//! `stoa job` and `stoa explain job`.

use std::path::PathBuf;

use clap::Parser;

use super::pretend::{Facts, Paper, Pretend, event};
use crate::cli::{ExplainJobArgs, JobVerb, explain_job, job};
use crate::spec::{Command as What, JobSpec, Kind};
use crate::token::random_hex;
use crate::wire::{GetReply, JobView, Progress, Setback, Summary, Task, TaskState, VolumeState, VolumeView};

#[derive(Parser)]
pub(super) struct Command {
    #[command(subcommand)]
    pub verb: JobVerb,
}

#[derive(Parser)]
struct ExplainCommand {
    #[command(flatten)]
    args: ExplainJobArgs,
}

pub(super) async fn go(cluster: &Pretend, line: &[&str], paper: &Paper) -> u8 {
    let verb = Command::parse_from(std::iter::once(&"job").chain(line)).verb;
    job(&verb, &cluster.profile, paper.screen(false)).await
}

pub(super) struct File(PathBuf);

impl File {
    pub fn new(extension: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("stoa-job-{}.{extension}", random_hex(8).unwrap()));
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    pub fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn every_job_of_a_file_is_submitted() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    let file = File::new(
        "yaml",
        "name: web\ncommand: serve\ninstances: 3\n---\nname: etl\ncommand: [x]\nkind: batch\ninstances: 100\n",
    );
    assert_eq!(go(&cluster, &["apply", file.name()], &paper).await, 0, "{}", paper.err());
    assert_eq!(paper.out(), "web created (revision 1)\netl created (revision 1)\n");
    let submitted = cluster.with(|facts| facts.submitted.clone());
    assert_eq!(submitted.len(), 2);
    assert!(submitted.iter().all(|request| request.replace && !request.ephemeral));
    assert_ne!(submitted[0].request_id, submitted[1].request_id);
    assert_eq!(submitted[1].spec.as_ref().map(|spec| spec.instances), Some(100));
}

#[tokio::test]
async fn of_a_file_with_a_fault_nothing_is_submitted() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    let file = File::new("yaml", "name: web\ncommand: serve\n---\nname: etl\ncomand: x\n");
    assert_eq!(go(&cluster, &["apply", file.name()], &paper).await, 2);
    assert!(
        paper.err().contains(":5: comand: there is no such key; did you mean \"command\"?"),
        "{}",
        paper.err()
    );
    assert!(cluster.with(|facts| facts.submitted.is_empty()));
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["apply", "/nowhere/job.toml"], &paper).await, 2);
    assert!(paper.err().contains("cannot read /nowhere/job.toml: No such file"), "{}", paper.err());
    let huge = File::new("toml", &"#".repeat(crate::spec::FILE_BYTES_MAX + 1));
    assert_eq!(go(&cluster, &["apply", huge.name()], &Paper::default()).await, 2);
}

#[tokio::test]
async fn waiting_ends_when_a_service_runs_or_a_batch_is_over() {
    let cluster = Pretend::start(Facts::default()).await;
    let service = File::new("toml", "name = \"web\"\ncommand = \"serve\"\n");
    let task = cluster.task("web.0-1", TaskState::TaskRunning);
    cluster.with(|facts| facts.events = vec![event(1, false, Vec::new()), event(1, false, vec![task])]);
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["apply", "--wait", service.name()], &paper).await, 0);
    assert!(paper.err().contains("web runs (1 of 1)"), "{}", paper.err());

    let batch = File::new("toml", "name = \"etl\"\ncommand = \"x\"\nkind = \"batch\"\n");
    let failed = Task { exit_code: Some(1), ..cluster.task("etl.0-1", TaskState::TaskFailed) };
    cluster.with(|facts| {
        facts.events = vec![event(1, true, vec![failed])];
        facts.break_watch_after = Some(0);
    });
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["apply", "--wait", batch.name()], &paper).await, 1);
    assert!(paper.err().contains("etl is over: 0 of 1 finished, 1 failed"), "{}", paper.err());

    let cron = "name = \"n\"\ncommand = \"x\"\nkind = \"cron\"\nschedule = \"@yearly\"\n";
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["apply", "--wait", File::new("toml", cron).name()], &paper).await, 0);
    assert!(paper.err().contains("n is scheduled; next run: 2"), "{}", paper.err());

    cluster.with(|facts| facts.events = vec![event(1, false, Vec::new())]);
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["apply", "--wait", "--timeout", "50ms", batch.name()], &paper).await, 5);
    assert!(paper.err().contains("not all there after 50ms"), "{}", paper.err());
}

async fn with_jobs() -> Pretend {
    let cluster = Pretend::start(Facts::default()).await;
    let view = |name: &str, kind, summary| JobView {
        spec: Some(JobSpec::new(name, kind, What::Shell("x".into())).to_wire()),
        revision: 2,
        summary: Some(summary),
        created_ms: 5,
        tasks: vec![Task {
            message: "bell\u{7}".into(),
            ..cluster.task(&format!("{name}.0-1"), TaskState::TaskRunning)
        }],
        ..JobView::default()
    };
    let progress = Progress::RolledBack.into();
    let setback = Setback::Failures.into();
    let running = Summary { wanted: 1, running: 1, restarts: 4, progress, setback, ..Summary::default() };
    let failed = Summary { wanted: 3, finished: 1, failed: 2, over: true, ..Summary::default() };
    let jobs = vec![view("etl", Kind::Batch, failed), view("web", Kind::Service, running)];
    cluster.with(|facts| facts.jobs = GetReply { jobs, framework_id: "F1".into() });
    cluster
}

#[tokio::test]
async fn jobs_are_listed_for_people_and_programs() {
    let cluster = with_jobs().await;
    let shown = async |line: &[&str]| {
        let paper = Paper::default();
        let code = go(&cluster, line, &paper).await;
        (code, paper.out(), paper.err())
    };
    let (code, table, _) = shown(&["get"]).await;
    assert_eq!(
        (code, table.as_str()),
        (
            0,
            "NAME  KIND     STATE    WANTED  RUNNING  FINISHED  FAILED  RESTARTS\n\
             etl   batch    failed   3       0        1         2       0\n\
             web   service  running  1       1        0         0       4\n"
        )
    );
    let (code, one, _) = shown(&["get", "web", "-o", "wide"]).await;
    assert_eq!(code, 0);
    assert!(one.contains("64MiB") && one.contains("web.0-1") && one.contains("bell\\u{7}"), "{one}");
    assert!(
        one.ends_with(
            "\nchange: failed: too many of its tasks failed in a row; it runs what it ran before\n"
        ),
        "{one}"
    );
    let (code, etl, _) = shown(&["get", "etl"]).await;
    assert!(code == 1 && !etl.contains("change:"), "it failed, and is no service: {etl}");
    assert_eq!(shown(&["get", "-o", "name"]).await.1, "etl\nweb\n");
    let (_, json, _) = shown(&["get", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["apiVersion"], "stoa.jobs/v1");
    assert_eq!((&json["items"][1]["name"], &json["items"][1]["running"]), (&"web".into(), &1.into()));
    assert_eq!(json["items"][1]["tasks"][0]["state"], "running");
    assert_eq!(
        (&json["items"][1]["progress"], &json["items"][1]["setback"]),
        (&"rolled-back".into(), &"failures".into())
    );
    assert!(json["items"][0]["progress"].is_null() && json["items"][0]["setback"].is_null(), "of a batch");
    let spec = &json["items"][1]["spec"];
    assert_eq!((&spec["command"], &spec["update.max_unavailable"]), (&"x".into(), &"1".into()));
    let (_, yaml, _) = shown(&["get", "web", "-o", "yaml"]).await;
    assert!(yaml.contains("apiVersion: stoa.jobs/v1") && yaml.contains("name: web"), "{yaml}");
    let (code, _, told) = shown(&["get", "nothing"]).await;
    assert_eq!(code, 3);
    assert!(told.contains("there is no job \"nothing\"") && told.contains("help:"), "{told}");
}

#[tokio::test]
async fn a_cron_job_shows_its_next_run() {
    let cluster = Pretend::start(Facts::default()).await;
    let text =
        "name = \"n\"\nkind = \"cron\"\ncommand = \"x\"\nschedule = \"@yearly\"\ntimezone = \"Asia/Tokyo\"\n";
    let shown = async |text: &str, summary| {
        let spec = crate::spec::parse_file("n.toml".as_ref(), text).expect("a job").remove(0);
        let view = JobView { spec: Some(spec.to_wire()), summary: Some(summary), ..JobView::default() };
        cluster.with(|facts| facts.jobs = GetReply { jobs: vec![view], framework_id: "F1".into() });
        let (table, json) = (Paper::default(), Paper::default());
        go(&cluster, &["get", "n"], &table).await;
        go(&cluster, &["get", "n", "-o", "json"], &json).await;
        let json: serde_json::Value = serde_json::from_str(&json.out()).expect("JSON");
        (table.out(), json["items"][0]["state"].clone(), json["items"][0]["nextRunMs"].clone())
    };
    let (table, state, next) = shown(text, Summary::default()).await;
    assert!(table.ends_with("-01-01T00:00:00+09:00\n") && table.contains("\nnext run: 2"), "{table}");
    assert!(state == "scheduled" && next.is_u64(), "{state} {next}");
    let (table, state, next) = shown(&format!("{text}paused = true\n"), Summary::default()).await;
    assert!(!table.contains("next run") && state == "paused" && next.is_null(), "{table}");
    let stopped = Summary { stopped: true, over: true, ..Summary::default() };
    let (table, state, next) = shown(text, stopped).await;
    assert!(!table.contains("next run") && state == "stopped" && next.is_null(), "{table}");
}

#[tokio::test]
async fn the_runs_of_a_cron_job_are_shown_the_latest_first() {
    let cluster = Pretend::start(Facts::default()).await;
    let text =
        "name = \"n\"\nkind = \"cron\"\ncommand = \"x\"\nschedule = \"@hourly\"\ntimezone = \"Asia/Tokyo\"\n";
    let cron = crate::spec::parse_file("n.toml".as_ref(), text).expect("a job").remove(0);
    let run = |name: &str, parent: &str, created_ms, summary| JobView {
        spec: Some(JobSpec::new(name, Kind::Batch, What::Shell("x".into())).to_wire()),
        summary: Some(summary),
        created_ms,
        parent: parent.into(),
        ..JobView::default()
    };
    let good = Summary { wanted: 1, finished: 1, over: true, ..Summary::default() };
    let bad = Summary { wanted: 1, failed: 1, over: true, ..Summary::default() };
    let jobs = vec![
        JobView { spec: Some(cron.to_wire()), ..JobView::default() },
        run("n-1", "n", 3_600_123, good),
        run("n-2", "n", 7_200_123, bad),
        run("other-1", "other", 3_600_000, good),
    ];
    cluster.with(|facts| facts.jobs = GetReply { jobs, framework_id: "F1".into() });
    let shown = async |line: &[&str]| {
        let paper = Paper::default();
        (go(&cluster, line, &paper).await, paper.out(), paper.err())
    };
    let (code, table, _) = shown(&["history", "n"]).await;
    assert_eq!(
        (code, table.as_str()),
        (
            0,
            "RUN  STARTED                    STATE     WANTED  RUNNING  FINISHED  FAILED\n\
             n-2  1970-01-01T11:00:00+09:00  failed    1       0        0         1\n\
             n-1  1970-01-01T10:00:00+09:00  finished  1       0        1         0\n"
        )
    );
    let (_, json, _) = shown(&["history", "n", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["items"][0]["name"], &json["items"][0]["parent"]), (&"n-2".into(), &"n".into()));
    assert_eq!(json["items"].as_array().map(Vec::len), Some(2));
    let (code, _, told) = shown(&["history", "n-1"]).await;
    assert!(code == 3 && told.contains("n-1 is no cron job"), "{told}");
    let (code, _, told) = shown(&["history", "nothing"]).await;
    assert!(code == 3 && told.contains("there is no job \"nothing\""), "{told}");
}

#[tokio::test]
async fn a_watch_shows_what_changes() {
    let cluster = with_jobs().await;
    cluster.with(|facts| facts.events = vec![event(1, false, Vec::new())]);
    let paper = Paper::default();
    let changing = async {
        cluster.until(|facts| facts.watches == 1).await;
        cluster.with(|facts| {
            if let Some(summary) =
                facts.jobs.jobs.iter_mut().find_map(|job| job.summary.as_mut().filter(|s| !s.over))
            {
                summary.restarts = 5;
            }
            facts.events.push(event(1, false, Vec::new()));
        });
        let seen = async {
            while !paper.out().contains("       5\n") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.unwrap();
    };
    tokio::select! {
        code = go(&cluster, &["get", "--watch"], &paper) => panic!("ended with {code}: {}", paper.err()),
        () = changing => {}
    }
    assert_eq!(
        paper.out().matches("etl").count(),
        1,
        "what stays as it was is not said again: {}",
        paper.out()
    );
}

#[tokio::test]
async fn a_stop_is_told_and_waited_for() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    assert_eq!(go(&cluster, &["stop", "web"], &paper).await, 0);
    assert_eq!(paper.out(), "web stopped (1 tasks are being killed)\n");
    cluster.with(|facts| {
        facts.events = vec![event(1, false, Vec::new())];
        facts.after_stop = vec![event(0, true, Vec::new())];
    });
    assert_eq!(go(&cluster, &["stop", "web", "--wait"], &Paper::default()).await, 0);
    assert_eq!(cluster.with(|facts| facts.stopped.clone()), ["web", "web"]);
}

fn with_volumes(facts: &mut Facts) {
    let volume = |name: &str| VolumeView {
        volume_id: format!("web.0.{name}-1"),
        name: name.into(),
        state: VolumeState::VolumeKept.into(),
        agent_id: "a1".into(),
        size_bytes: 1 << 30,
        ..VolumeView::default()
    };
    let web = facts.jobs.jobs.iter_mut().find(|job| job.spec.as_ref().is_some_and(|s| s.name == "web"));
    web.expect("the service").volumes = vec![volume("data"), VolumeView { instance: 1, ..volume("log") }];
}

#[tokio::test]
async fn volumes_are_shown_and_destroyed_only_when_that_is_confirmed() {
    let cluster = with_jobs().await;
    cluster.with(with_volumes);
    let shown = async |line: &[&str]| {
        let paper = Paper::default();
        (go(&cluster, line, &paper).await, paper.out(), paper.err())
    };
    let (_, table, _) = shown(&["get", "web"]).await;
    assert!(
        table.contains(
            "\nVOLUME        NAME  INSTANCE  STATE  HOST  SIZE\n\
             web.0.data-1  data  0         kept   a1    1GiB\n\
             web.0.log-1   log   1         kept   a1    1GiB\n"
        ),
        "{table}"
    );
    let (_, json, _) = shown(&["get", "web", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let volume = &json["items"][0]["volumes"][1];
    assert_eq!((&volume["state"], &volume["instance"]), (&"kept".into(), &1.into()));

    let (code, _, told) = shown(&["stop", "web", "--dry-run"]).await;
    assert_eq!(
        (code, told.as_str()),
        (0, "dry run, nothing was done: stop web and its task; its 2 volumes stay\n")
    );
    let (code, _, told) = shown(&["stop", "web", "--purge", "--dry-run"]).await;
    let ends = "stop web and its task, forget it, and destroy its 2 volumes with what is on them";
    assert_eq!((code, told), (0, format!("dry run, nothing was done: {ends}\n")));
    let (code, _, told) = shown(&["stop", "web", "--purge"]).await;
    assert!(code == 7 && told.contains(&format!("nobody is here to confirm it: {ends}")), "{told}");
    assert!(told.contains("help:  add --yes"), "{told}");
    assert_eq!(shown(&["stop", "nothing", "--purge"]).await.0, 3);
    assert!(cluster.with(|facts| facts.stopped.is_empty()));

    let (code, _, told) = shown(&["stop", "web"]).await;
    assert!(
        code == 0 && told.contains("its volumes stay; `stoa job stop --purge web` destroys them"),
        "{told}"
    );
    assert_eq!(shown(&["stop", "web", "--purge", "--yes"]).await.0, 0);
    assert_eq!(shown(&["stop", "etl", "--purge"]).await.0, 0, "one without volumes is as ever");
    assert_eq!(cluster.with(|facts| facts.stopped.clone()), ["web", "web", "etl"]);
}

#[tokio::test]
async fn a_job_that_waits_is_explained() {
    let cluster = Pretend::start(Facts::default()).await;
    let explain = async |line: &[&str]| {
        let args = ExplainCommand::parse_from(std::iter::once(&"job").chain(line)).args;
        let paper = Paper::default();
        let code = explain_job(&args, &cluster.profile, paper.screen(false)).await;
        (code, paper.out())
    };
    assert_eq!(explain(&["web"]).await, (0, "web: nothing of it waits\n".into()));
    cluster.with(|facts| {
        facts.demands = vec!["d1".into(), "not an id".into()];
        facts.held = vec!["instance 2 starts again in 8s".into()];
    });
    let (_, text) = explain(&["web"]).await;
    assert_eq!(
        text,
        "web: instance 2 starts again in 8s\ndemand web: larger than any agent (too-large)\n  \
         help: ask for 2 cpus less\\u{1b}[31m (verified)\n"
    );
    let (_, text) = explain(&["web", "-v"]).await;
    assert!(text.contains("\n  cpus              0\n"), "{text}");
    let (_, text) = explain(&["web", "-vv"]).await;
    assert!(text.contains("\n  cpus              0   without host-1, 2 more\n"), "{text}");
    assert!(text.contains("\n  came nearest:\n    host-1 lacks cpus:2\n"), "{text}");
    let refused = "\n  no help: when host-1 is resumed: then too much is in use (no-room)\n";
    assert!(!text.contains(refused), "{text}");
    let (_, text) = explain(&["web", "-vvv"]).await;
    assert!(text.contains(refused) && text.contains("\n  3 more changes were not tried"), "{text}");
    let (_, json) = explain(&["web", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["waiting"][0]["code"], &json["waiting"][0]["nearest"][0]["lacking"]),
        (&"too-large".into(), &"cpus:2".into())
    );
}

#[tokio::test]
async fn a_change_is_promoted_or_rolled_back_by_name() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    assert_eq!(go(&cluster, &["promote", "web"], &paper).await, 0, "{}", paper.err());
    assert_eq!(paper.out(), "web promoted (revision 2)\n");
    let paper = Paper::default();
    assert_ne!(go(&cluster, &["rollback", "web"], &paper).await, 0);
    assert!(paper.err().contains("nothing to go back to"), "{}", paper.err());
}

//! `stoa job plan` and `stoa job schema`.

use clap::Parser;
use framework_sdk::explain::Explanation;
use framework_sdk::quantities::Quantities;
use framework_sdk::refusal::{Code, Refusal};
use framework_sdk::role::Role;
use framework_sdk::views::ReplyKind;

use super::jobs::{Command, File, go};
use super::pretend::{Facts, Paper, Pretend};
use crate::cli::{JobVerb, job_schema};
use crate::spec::{parse_file, schema_text};
use crate::wire::{GetReply, JobView, Summary, TaskState, VolumeState, VolumeView};

const WEB: &str = "name = \"web\"\ncommand = \"serve\"\ninstances = 3\nenv = { LEVEL = \"3\" }\n";

/// A cluster in which the job of this file runs, whole.
async fn with(text: &str, summary: Summary) -> Pretend {
    let cluster = Pretend::start(Facts::default()).await;
    let spec = parse_file("job.toml".as_ref(), text).expect("a job").remove(0);
    let running = |instance| crate::wire::Task {
        instance,
        ..cluster.task(&format!("{}.{instance}-1", spec.name), TaskState::TaskRunning)
    };
    let view = JobView {
        spec: Some(spec.to_wire()),
        revision: 4,
        summary: Some(summary),
        created_ms: 5,
        tasks: (0..spec.instances).map(running).collect(),
        ..JobView::default()
    };
    cluster.with(|facts| facts.jobs = GetReply { jobs: vec![view], framework_id: "F1".into() });
    cluster
}

async fn plan(cluster: &Pretend, text: &str) -> (u8, String) {
    let (file, paper) = (File::new("toml", text), Paper::default());
    let code = go(cluster, &["plan", file.name()], &paper).await;
    assert!(paper.err().is_empty(), "{}", paper.err());
    assert!(
        cluster.with(|facts| facts.submitted.is_empty() && facts.stopped.is_empty()),
        "a plan changes nothing"
    );
    (code, paper.out())
}

/// How many instances the masters were asked about since, each time.
fn asked(cluster: &Pretend) -> Vec<u64> {
    let supposed = cluster.with(|facts| std::mem::take(&mut facts.supposed));
    supposed.iter().flat_map(|one| &one.demands).map(|demand| demand.count).collect()
}

#[tokio::test]
async fn what_is_as_it_is_changes_nothing() {
    let cluster = with(WEB, Summary::default()).await;
    assert_eq!(
        plan(&cluster, WEB).await,
        (0, "= web is as it is (revision 4)\nnothing would change\n".into())
    );
    // Said or not, a default is the same.
    assert_eq!(plan(&cluster, &format!("{WEB}cpus = 0.1\nupdate = {{ canary = 0 }}\n")).await.0, 0);
}

#[tokio::test]
async fn a_change_is_told_key_by_key_with_what_follows() {
    let cluster = with(WEB, Summary::default()).await;
    let changed = "name = \"web\"\ncommand = \"serve\"\ninstances = 5\ncpus = 0.25\nports = [\"http\"]\n\
                   update = { max_surge = 1, min_healthy = \"10s\", rollback = true, canary = 2 }\n";
    let (code, told) = plan(&cluster, changed).await;
    assert_eq!(code, 1);
    assert_eq!(
        told,
        "~ web changes (revision 4 -> 5)\n\
         \u{20}   instances               3 -> 5\n\
         \u{20}   cpus                    0.1 -> 0.25\n\
         \u{20}   ports                   (nothing) -> HTTP\n\
         \u{20}   update.max_surge        0 -> 1\n\
         \u{20}   update.max_unavailable  1 -> 0\n\
         \u{20}   update.min_healthy      0s -> 10s\n\
         \u{20}   update.rollback         false -> true\n\
         \u{20}   update.canary           0 -> 2\n\
         \u{20}   env.LEVEL               3 -> (nothing)\n\
         \u{20} starts 2 more\n\
         \u{20} replaces 3 running, 1 at a time: the new one is started first; each must be ready for 10s\n\
         \u{20} changes 2 first, and waits for somebody to go on\n\
         \u{20} goes back to revision 4 without progress for 10m\n\
         \u{20} fits now: 3 at once\n"
    );
    // Two more, and one beside those that run.
    assert_eq!(asked(&cluster), [3]);
    let (code, told) = plan(&cluster, &WEB.replace('3', "1")).await;
    assert_eq!(code, 1);
    assert!(told.contains("  ends 2 of 3: those from number 1 on\n  replaces 1 running"), "{told}");
    assert!(told.contains("  whether it fits is not known: each is ended before the one"), "{told}");
    assert_eq!(asked(&cluster), [0; 0], "nothing is started before something ended");
    let (_, told) = plan(&cluster, &format!("{WEB}priority = 5\nrestart = {{ max = \"2m\" }}\n")).await;
    assert!(told.ends_with("  leaves running tasks as they are\n") && !told.contains("replaces"), "{told}");
    assert_eq!(asked(&cluster), [0; 0]);
}

#[tokio::test]
async fn what_a_new_job_says_is_told() {
    let cluster = Pretend::start(Facts::default()).await;
    let (code, told) = plan(&cluster, WEB).await;
    assert_eq!(code, 1);
    assert_eq!(
        told,
        "+ web is new (service)\n    instances  3\n    command    serve\n    env.LEVEL  3\n  starts 3 instances\n\
         \u{20} fits now: 3 at once\n"
    );
    assert_eq!(asked(&cluster), [3]);
    let batch = "name = \"b\"\nkind = \"batch\"\ncommand = \"x\"\ninstances = 9\nparallel = 2\nafter = [\"a\", \"c\"]\n";
    let (_, told) = plan(&cluster, batch).await;
    assert!(
        told.ends_with(
            "  runs 9 instances, at most 2 at once, once these have ended well: a, c\n  fits now: 2 at once\n    \
             note: asked as if it began now\n"
        ),
        "{told}"
    );
    assert_eq!(asked(&cluster), [2]);
}

#[tokio::test]
async fn the_next_runs_of_a_cron_job_are_told_by_its_clocks() {
    let cluster = Pretend::start(Facts::default()).await;
    let cron = "name = \"n\"\nkind = \"cron\"\ncommand = \"x\"\nschedule = \"30 2 1 1 *\"\ntimezone = \"Asia/Kolkata\"\n";
    let (code, told) = plan(&cluster, cron).await;
    let runs = told.lines().skip_while(|line| *line != "  next runs:").skip(1);
    let runs: Vec<&str> = runs.map(str::trim).collect();
    assert_eq!((code, runs.len()), (1, 5));
    assert!(runs.iter().all(|run| run.ends_with("-01-01T02:30:00+05:30")), "{runs:?}");
    assert!(runs.windows(2).all(|two| two[0] < two[1]), "{runs:?}");
    let (_, told) = plan(&cluster, &format!("{cron}paused = true\n")).await;
    assert!(told.ends_with("  starts no run: it is paused\n  fits now\n"), "{told}");
}

#[tokio::test]
async fn what_would_be_refused_is_told() {
    let batch = "name = \"b\"\nkind = \"batch\"\ncommand = \"x\"\n";
    let cluster = with(batch, Summary::default()).await;
    let (code, told) = plan(&cluster, &batch.replace("\"x\"", "\"y\"")).await;
    assert_eq!(code, 1);
    assert!(
        told.contains(
            "! b cannot change (revision 4)\n    command  x -> y\n  refused: the batch is not over"
        ),
        "{told}"
    );
    let (_, told) = plan(&cluster, "name = \"b\"\ncommand = \"x\"\n").await;
    assert!(told.contains("refused: it is a batch; end it first with `stoa job stop --purge b`"), "{told}");
    let over = with(batch, Summary { over: true, ..Summary::default() }).await;
    assert!(
        plan(&over, &batch.replace("\"x\"", "\"y\"")).await.1.ends_with("  runs 1 instance\n  fits now\n")
    );
    let stopped = with(WEB, Summary { over: true, stopped: true, ..Summary::default() }).await;
    let (code, told) = plan(&stopped, WEB).await;
    assert_eq!(
        (code, told.as_str()),
        (1, "~ web changes (revision 4 -> 5)\n  starts 3 instances\n  fits now: 3 at once\n")
    );
}

#[tokio::test]
async fn what_would_lose_data_is_told_as_the_framework_would() {
    let text = "name = \"s\"\ncommand = \"x\"\nvolumes = [{ name = \"d\", size = \"1GiB\" }]\n";
    let cluster = with(text, Summary { wanted: 1, running: 1, ..Summary::default() }).await;
    let larger = text.replace("1GiB", "2GiB");
    assert!(plan(&cluster, &larger).await.1.starts_with("~ s changes"), "there are none yet");
    let volume = VolumeView { state: VolumeState::VolumeKept.into(), ..VolumeView::default() };
    cluster.with(|facts| facts.jobs.jobs[0].volumes.push(volume));
    let (code, told) = plan(&cluster, &larger).await;
    assert!(code == 1 && told.starts_with("! s cannot change (revision 4)\n"), "{told}");
    assert!(told.contains("refused: what it says of volumes") && told.contains("--purge s`"), "{told}");
    let longer = text.replace("\"1GiB\"", "\"1GiB\", anew_after = \"1h\"");
    assert!(plan(&cluster, &longer).await.1.contains("leaves running tasks as they are"));
}

#[tokio::test]
async fn an_instance_of_several_tasks_is_replaced_as_one() {
    let text =
        "name = \"p\"\n[[task]]\nname = \"a\"\ncommand = \"x\"\n[[task]]\nname = \"b\"\ncommand = \"y\"\n";
    let cluster = with(text, Summary { wanted: 1, running: 1, ..Summary::default() }).await;
    cluster.with(|facts| {
        let beside = facts.jobs.jobs[0].tasks[0].clone();
        facts.jobs.jobs[0].tasks.push(beside);
    });
    let (_, told) = plan(&cluster, &text.replace("\"y\"", "\"z\"")).await;
    assert!(told.contains("task[b].command  y -> z") && told.contains("replaces 1 running"), "{told}");
}

#[tokio::test]
async fn programs_are_told_the_same() {
    let cluster = with(WEB, Summary::default()).await;
    let (file, paper) = (File::new("toml", &WEB.replace("serve", "other")), Paper::default());
    assert_eq!(go(&cluster, &["plan", file.name(), "-o", "json"], &paper).await, 1);
    let told: serde_json::Value = serde_json::from_str(&paper.out()).expect("JSON");
    assert_eq!((&told["apiVersion"], &told["changes"]), (&"stoa.jobs/v1".into(), &true.into()));
    let item = &told["items"][0];
    assert_eq!(
        (&item["name"], &item["outcome"], &item["revision"]),
        (&"web".into(), &"updated".into(), &4.into())
    );
    assert_eq!(
        item["keys"],
        serde_json::json!([{ "key": "command", "old": "serve", "new": "other", "replaces": true }])
    );
    // And by the flag of apply.
    let paper = Paper::default();
    assert_eq!(go(&cluster, &["apply", file.name(), "--dry-run"], &paper).await, 1);
    assert!(paper.out().starts_with("~ web changes"), "{}", paper.out());
    assert!(cluster.with(|facts| facts.submitted.is_empty()));
}

#[tokio::test]
async fn a_bad_file_is_told_before_anybody_is_asked() {
    let (cluster, paper) =
        (Pretend::start(Facts { no_framework: true, ..Facts::default() }).await, Paper::default());
    let file = File::new("toml", "name = \"a\"\ncomand = \"b\"\n");
    assert_eq!(go(&cluster, &["plan", file.name()], &paper).await, 2);
    assert!(paper.err().contains(":2: comand: there is no such key"), "{}", paper.err());
}

#[tokio::test]
async fn the_schema_needs_no_cluster() {
    assert!(matches!(Command::parse_from(["job", "schema"]).verb, JobVerb::Schema));
    let paper = Paper::default();
    assert_eq!(job_schema(paper.screen(false)).await, 0);
    assert_eq!(paper.out(), schema_text());
}

const FILE: &str = "name: web\ncommand: serve\ninstances: 3\ncpus: 2\nmem: 1GiB\nports: 2\nrole: eng/web\n\
                    constraints: [zone=b]\npriority: 7\nspread: { by: zone, at_most: 2 }\n---\nname: etl\nkind: batch\n\
                    command: x\n";

#[tokio::test]
async fn the_masters_are_asked_about_what_the_framework_would_declare() {
    let (cluster, paper) = (Pretend::start(Facts::default()).await, Paper::default());
    assert_eq!(go(&cluster, &["plan", File::new("yaml", FILE).name()], &paper).await, 1);
    let supposed = cluster.with(|facts| std::mem::take(&mut facts.supposed));
    assert_eq!(supposed.len(), 1, "all of a file together: they compete");
    assert_eq!(supposed[0].framework, "F1");
    let [web, etl] = supposed[0].demands.as_slice() else { panic!("{supposed:?}") };
    assert_eq!((web.id.as_str(), web.count, web.priority), ("web@plan", 3, 7));
    assert_eq!(web.role.to_string(), "eng/web");
    assert_eq!(web.shape.scalars, Quantities::of(2000, 1 << 30));
    assert_eq!(web.shape.range("ports").count(), 2);
    assert_eq!(web.constraints.0.iter().map(ToString::to_string).collect::<Vec<_>>(), ["zone=b"]);
    // Of a job that names no role it is the framework's own.
    assert_eq!((etl.id.as_str(), etl.role.clone()), ("etl@plan", Role::default_role()));
    assert!(paper.out().contains("    note: that at most 2 run with one zone is kept by"), "{}", paper.out());
}

#[tokio::test]
async fn what_does_not_fit_says_why_and_what_would_help() {
    let cluster = Pretend::start(Facts::default()).await;
    let told = |code: &str, fits, verdict: &str, help: &[&str]| Explanation {
        code: code.into(),
        fits,
        verdict: verdict.into(),
        help: help.iter().map(|help| (*help).to_owned()).collect(),
        ..Explanation::default()
    };
    let some = told(
        "no-room",
        1,
        "1 of 3 fit now; for the rest: bell\u{7}",
        &["when task a ends: then it is offered n1"],
    );
    cluster.with(|facts| {
        facts.supposed_reply = Some(ReplyKind::Explain(vec![some, told("served", 1, "it fits now", &[])]));
    });
    let (file, paper) = (File::new("yaml", FILE), Paper::default());
    assert_eq!(
        go(&cluster, &["plan", file.name()], &paper).await,
        1,
        "the exit code says whether anything changes"
    );
    let out = paper.out();
    assert!(
        out.contains(
            "  does not fit now: 1 of 3 fit now; for the rest: bell\\u{7} (no-room)\n    help: when task a ends: then it is \
             offered n1 (verified)\n"
        ),
        "{out}"
    );
    assert!(out.ends_with("  runs 1 instance\n  fits now\n"), "{out}");
    let paper = Paper::default();
    go(&cluster, &["plan", file.name(), "-o", "json"], &paper).await;
    let told: serde_json::Value = serde_json::from_str(&paper.out()).expect("JSON");
    let (web, etl) = (&told["items"][0]["fits"], &told["items"][1]["fits"]);
    assert_eq!((&web["now"], &web["wanted"], &web["fits"]), (&false.into(), &3.into(), &1.into()));
    assert_eq!((&web["code"], web["help"].as_array().map(Vec::len)), (&"no-room".into(), Some(1)));
    assert_eq!((&etl["now"], &etl["code"]), (&true.into(), &"served".into()));
}

#[tokio::test]
async fn what_the_masters_do_not_say_is_not_known() {
    let cluster = Pretend::start(Facts::default()).await;
    let refusal = Refusal::new(Code::Denied, "framework/jobs may not");
    for (reply, why) in [
        (ReplyKind::Refused(refusal), "may not"),
        (ReplyKind::Explain(Vec::new()), "said nothing of web"),
        (ReplyKind::Done(1), "another version"),
    ] {
        cluster.with(|facts| facts.supposed_reply = Some(reply));
        let (code, told) = plan(&cluster, WEB).await;
        assert_eq!(code, 1);
        assert!(told.contains("  whether it fits is not known: ") && told.contains(why), "{told}");
    }
    let many: String = (0..18).map(|n| format!("---\nname: j{n}\ncommand: x\n")).collect();
    let paper = Paper::default();
    cluster.with(|facts| facts.supposed_reply = None);
    go(&cluster, &["plan", File::new("yaml", &many).name()], &paper).await;
    assert_eq!(paper.out().matches("  fits now\n").count(), 16);
    assert_eq!(paper.out().matches("asked about 16 jobs of a file at most").count(), 2);
}

#[tokio::test]
async fn where_volumes_are_is_not_for_the_masters_to_say() {
    let text = "name = \"db\"\ncommand = \"x\"\ncpus = 0.5\nvolumes = [{ name = \"d\", size = \"1GiB\" }]\n";
    // Of a new job they are made where its instances are placed.
    let cluster = Pretend::start(Facts::default()).await;
    let (_, told) = plan(&cluster, text).await;
    assert!(told.ends_with("  fits now\n"), "{told}");
    let supposed = cluster.with(|facts| std::mem::take(&mut facts.supposed));
    assert_eq!(supposed[0].demands[0].shape.scalars, Quantities::of(500, 64 << 20).with_disk(1 << 30));
    let stopped = with(text, Summary { over: true, stopped: true, ..Summary::default() }).await;
    let (code, told) = plan(&stopped, text).await;
    assert_eq!(code, 1);
    assert!(
        told.contains("  whether it fits is not known: its instances go where their volumes are"),
        "{told}"
    );
    assert_eq!(asked(&stopped), [0; 0]);
}

//! What a person waits for: each reading command of the command line, against many agents and tasks.

use std::process::Stdio;
use std::time::{Duration, Instant};

use framework_sdk::door::Authority;
use framework_sdk::quantities::Quantities;
use framework_sdk::resources::Amount;
use framework_sdk::task::TaskState;
use framework_sdk::views::{Call, List, ReplyKind};
use serde_json::json;

use crate::cluster::{Cluster, eventually};
use crate::figures::Timings;
use crate::flags::Flags;
use crate::pool::{Pool, Tasks};
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 4] = ["agents", "tasks", "rounds", "only"];

/// What a read may take, and `--help`.
const READ_LIMIT: Duration = Duration::from_millis(150);
const HELP_LIMIT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(300);

/// A cluster with something to look at.
struct Scene {
    cluster: Cluster,
    _pool: Pool,
    _frameworks: Vec<Framework>,
}

/// Times every command `--rounds` times against so many `--agents` and `--tasks`; with `--only WORD` those that have the word.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let agents: usize = flags.get("agents", 1000)?;
    let tasks: u32 = flags.get("tasks", 10_000)?;
    let rounds: u32 = flags.get("rounds", 20)?;
    let only: String = flags.get("only", String::new())?;
    let scene = set(&flags.stoa()?, agents, tasks).await?;
    let mut missed = Vec::new();
    for command in commands(&scene).await?.into_iter().filter(|command| command.contains(&only)) {
        let mut took = Timings::default();
        let before = scene.cluster.usage();
        let mut bytes = 0;
        for _ in 0..rounds {
            let (lasted, said) = time(&scene.cluster, &command)?;
            took.note(lasted);
            bytes = said;
        }
        let limit = if command.contains("--help") { HELP_LIMIT } else { READ_LIMIT };
        let met = took.micros(99) <= limit.as_secs_f64() * 1e6;
        println!(
            "{}",
            json!({
                "bench": "reads", "command": format!("stoa {command}"), "agents": agents, "tasks": tasks, "bytes": bytes,
                "took": took.json(), "limit_ms": limit.as_millis(), "met": met,
                "others_percent": scene.cluster.usage().since(&before)["others_percent"],
            })
        );
        if !met {
            missed.push(command);
        }
    }
    scene.cluster.down()?;
    if missed.is_empty() { Ok(()) } else { Err(format!("slower than they may be: {}", missed.join(", "))) }
}

/// So many pretend agents run so many tasks of one framework; another holds what is left as offers; a third waits for
/// more than any agent has.
async fn set(stoa: &std::path::Path, agents: usize, tasks: u32) -> Result<Scene, String> {
    let cluster = Cluster::up(stoa, &["--agents", "1"])?;
    let authority = Authority::load(&cluster.authority()).map_err(|error| error.to_string())?;
    let pool = Pool::start(agents, Tasks::Stay, &authority, cluster.profile())?;
    let operator = cluster.operator();
    eventually("every agent is active", PATIENCE, async || {
        let reply = operator.ask(Call::Agents(List::default())).await.ok()?;
        let ReplyKind::Agents(seen) = reply.kind else { return None };
        let active = seen.iter().filter(|agent| agent.state == framework_sdk::agent::AgentState::Active);
        (active.count() > agents).then_some(())
    })
    .await?;
    let argv = ["true".to_owned()];
    let mut busy = Framework::start(cluster.profile(), default_shape(), &argv)?;
    busy.wish(Wish::Run(tasks));
    let mut running = 0;
    while running < tasks {
        running += u32::from(matches!(busy.next().await?.saw, Saw::State(TaskState::Running)));
    }
    // Before anybody else wants something: what one framework may hold unanswered is bounded from then on.
    let hoarder = Framework::start(cluster.profile(), default_shape(), &argv)?;
    hoarder.wish(Wish::Hold);
    eventually("every agent's rest is offered", PATIENCE, async || {
        let ReplyKind::Offers(offers) = operator.ask(Call::Offers(List::default())).await.ok()?.kind else {
            return None;
        };
        (offers.len() > agents * 9 / 10).then_some(())
    })
    .await?;
    let shape = Amount::scalars(Quantities::of(64_000, 1 << 40));
    let mut greedy = Framework::start(cluster.profile(), shape, &argv)?;
    greedy.wish(Wish::Run(5));
    greedy.session().await?;
    Ok(Scene { cluster, _pool: pool, _frameworks: vec![busy, hoarder, greedy] })
}

/// Every command that reads, with names of things that are there.
async fn commands(scene: &Scene) -> Result<Vec<String>, String> {
    let reply = scene.cluster.operator().ask(Call::Frameworks(List::default())).await;
    let ReplyKind::Frameworks(frameworks) = reply.map_err(|error| error.to_string())?.kind else {
        return Err("the masters answered something else".to_owned());
    };
    let mut ours: Vec<_> = frameworks.iter().filter(|framework| framework.info.name == "bench").collect();
    ours.sort_by_key(|framework| framework.id.clone());
    let [busy, _, greedy] = ours.as_slice() else {
        return Err(format!("three frameworks were started, these are there: {frameworks:?}"));
    };
    let (busy, greedy) = (&busy.id, &greedy.id);
    let mut commands: Vec<String> = [
        "--help",
        "get --help",
        "get agents",
        "get agents -o json",
        "get tasks",
        "get tasks -o json",
        "get frameworks",
        "get frameworks -o json",
        "get offers",
        "get offers -o json",
        "get roles",
        "describe agent pretend-7",
        "describe role default",
        "status",
        "doctor",
        "events",
        "events --since 0 --kind agent",
        "raft status",
    ]
    .map(str::to_owned)
    .into();
    commands.extend([
        format!("describe framework {busy}"),
        format!("describe task {busy}/bench.7"),
        format!("get tasks {busy}/bench.7"),
        format!("explain framework {greedy}"),
        format!("explain framework {greedy} -v"),
        format!("explain demand {greedy}/bench"),
        format!("explain task {busy}/bench.7"),
    ]);
    Ok(commands)
}

/// How long a command took, from its start to its end, and how much it said.
fn time(cluster: &Cluster, command: &str) -> Result<(Duration, usize), String> {
    let args: Vec<&str> = command.split(' ').collect();
    let begun = Instant::now();
    let output = cluster.stoa(&args).stderr(Stdio::piped()).output().map_err(|error| error.to_string())?;
    let lasted = begun.elapsed();
    // `doctor` has something to say of a framework that waits for more than there is.
    if output.status.success() || (command == "doctor" && output.status.code() == Some(1)) {
        return Ok((lasted, output.stdout.len()));
    }
    Err(format!("`stoa {command}` failed: {}", String::from_utf8_lossy(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A debug build, beside whatever else runs here: ten times what the figure says, so that only what grows with agents
    /// or tasks as it must not is caught.
    const MARGIN: u32 = 10;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_takes_no_long_look_at_every_agent_and_task() {
        let program = std::env::current_exe().expect("a path");
        let stoa = program.ancestors().nth(2).expect("target/debug").join("stoa");
        assert!(stoa.exists(), "run `cargo build --bin stoa` first: {}", stoa.display());
        let scene = set(&stoa, 300, 3000).await.expect("a scene");
        for command in commands(&scene).await.expect("commands") {
            let quickest = (0..3).map(|_| time(&scene.cluster, &command).expect("it works").0).min();
            let limit = if command.contains("--help") { HELP_LIMIT } else { READ_LIMIT };
            assert!(quickest <= Some(limit * MARGIN), "`stoa {command}` takes {quickest:?}");
        }
        scene.cluster.down().expect("it ends well");
    }
}

//! Ten times as many status updates as ever, and in the middle of it all agents come back at once: what the masters bear.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use framework_sdk::door::Authority;
use framework_sdk::operator::Operator;
use framework_sdk::task::TaskState;
use framework_sdk::views::{Call, MemberView, ReplyKind, Status};
use proto_grpc::{Dialer, PeerRole, read_metrics};
use serde_json::json;

use crate::cluster::{Cluster, eventually};
use crate::figures::Timings;
use crate::flags::Flags;
use crate::pool::{Pool, Tasks};
use crate::procfs;
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 4] = ["pretend", "tasks", "updates", "seconds"];

const MASTERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);
/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(250);
/// The leader says something at least so often.
const BEAT: Duration = Duration::from_secs(5);
/// What the matrix allows: words of the leader that come late, the time until all is acknowledged, memory.
const LATE_MAX: Duration = Duration::from_secs(1);
const DRAINED_MAX: Duration = Duration::from_secs(60);
const MEMORY_TIMES_MAX: u64 = 2;

/// What was seen of the masters meanwhile.
#[derive(Default)]
struct Seen {
    /// How long somebody else waits for an answer.
    reads: Timings,
    /// Agents that were told to be out of sight, at most; `None` while nobody has told.
    lost: Option<u64>,
    /// The most memory of any master, in KiB.
    memory: u64,
    terms: u64,
}

/// `--pretend` agents run `--tasks` tasks; for `--seconds` a tenth of `--updates` a second is said of them, then as long all of it, and in the
/// middle of that all agents lose their connections.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let pretend: usize = flags.get("pretend", 1000)?;
    let tasks: u32 = flags.get("tasks", 4000)?;
    let updates: u64 = flags.get("updates", 10_000)?;
    let seconds: u64 = flags.get("seconds", 20)?;
    let lasts = Duration::from_secs(seconds);
    let agents = pretend as u64;
    let cluster = Cluster::up(
        &flags.stoa()?,
        &["--no-jobs", "--agents", "1", "--agent-resources", "cpus:0.01;mem:1MiB"],
    )?;
    let operator = cluster.operator();
    let authority = Authority::load(&cluster.authority()).map_err(|error| error.to_string())?;
    let pool = Pool::start(pretend, Tasks::Stay, &authority, cluster.profile())?;
    let all = agents + 1;
    eventually("all agents", PATIENCE, async || {
        (status(&operator).await?.agents_active == all).then_some(())
    })
    .await?;
    let mut framework = Framework::start(cluster.profile(), default_shape(), &["true".to_owned()])?;
    framework.session().await?;
    framework.wish(Wish::Run(tasks));
    let mut running = 0;
    while running < tasks {
        running += u32::from(matches!(framework.next().await?.saw, Saw::State(TaskState::Running)));
    }
    // It notes all it sees, and somebody has to take that; what is bad ends it.
    let taking = tokio::spawn(async move {
        loop {
            if let Err(why) = framework.next().await {
                return why;
            }
        }
    });
    let members = eventually("three masters", PATIENCE, || cluster.whole_group(&operator, MASTERS)).await?;
    let dialer = Dialer::new(&cluster.profile().credentials).map_err(|error| error.to_string())?;
    let look = async |lasts| watch(&operator, &members, &dialer, lasts).await;

    let tally = pool.tally.clone();
    let told = || tally.told.load(Ordering::Relaxed);
    pool.report(updates / 10, agents);
    let (before, begun) = (told(), Instant::now());
    let mut usual = look(lasts).await;
    let usual_rate = (told() - before) as f64 / begun.elapsed().as_secs_f64();
    let mut usual_times = std::mem::take(&mut *tally.times());

    let registered = tally.registered.load(Ordering::Relaxed);
    pool.report(updates, agents);
    let (before, begun) = (told(), Instant::now());
    let mut over = look(lasts / 2).await;
    pool.reconnect();
    let left = Instant::now();
    let back = async {
        eventually("all agents are back", PATIENCE, async || {
            (tally.registered.load(Ordering::Relaxed) >= registered + agents).then_some(left.elapsed())
        })
        .await
    };
    let half = over.terms;
    let (rest, back) = tokio::join!(look(lasts / 2), back);
    let back = back?;
    over.take(rest);
    let over_rate = (told() - before) as f64 / begun.elapsed().as_secs_f64();
    pool.report(0, agents);
    let ended = Instant::now();
    let drained = eventually("all is acknowledged", PATIENCE, async || {
        (tally.acknowledged.load(Ordering::Relaxed) >= told()).then_some(ended.elapsed())
    })
    .await?;
    let mut over_times = std::mem::take(&mut *tally.times());
    if taking.is_finished() {
        return Err(taking.await.unwrap_or_else(|why| why.to_string()));
    }
    taking.abort();
    let late = (over_times.1.micros(99) / 1e6 - BEAT.as_secs_f64()).max(0.0);
    let beats = over_times.1.len();
    let met = [
        over.lost == Some(0),
        over_rate > 3.0 * usual_rate,
        beats >= agents as usize && late < LATE_MAX.as_secs_f64(),
        drained < DRAINED_MAX,
        over.memory < usual.memory * MEMORY_TIMES_MAX,
    ];
    println!(
        "{}",
        json!({
            "bench": "overload", "agents": pretend, "tasks": tasks, "seconds": seconds,
            "usual": {
                "updates_a_second": usual_rate.round(), "acknowledged": usual_times.0.json(), "reads": usual.reads.json(),
                "master_mib": usual.memory / 1024,
            },
            "overload": {
                "asked_a_second": updates, "updates_a_second": over_rate.round(), "acknowledged": over_times.0.json(),
                "reads": over.reads.json(), "master_mib": over.memory / 1024,
                "beats": beats, "beats_late_p99_s": (late * 1000.0).round() / 1000.0, "lost_agents": over.lost,
                "elections": half.saturating_sub(usual.terms), "elections_while_they_came_back": over.terms.saturating_sub(half),
                "all_agents_back_s": back.as_secs_f64(), "drained_s": drained.as_secs_f64(),
            },
            "met": met.iter().all(|met| *met),
        })
    );
    cluster.down()?;
    if met.iter().all(|met| *met) {
        Ok(())
    } else {
        Err(format!("not met, of: nobody lost, more was said, heartbeats of all, drained, memory: {met:?}"))
    }
}

async fn status(operator: &Operator) -> Option<Status> {
    match operator.ask(Call::Status).await.ok()?.kind {
        ReplyKind::Status(status) => Some(status),
        _ => None,
    }
}

/// Looks for so long at how the masters stand, as somebody who has nothing to do with it.
async fn watch(operator: &Operator, members: &[MemberView], dialer: &Dialer, lasts: Duration) -> Seen {
    let (begun, mut seen) = (Instant::now(), Seen::default());
    let mut looks = tokio::time::interval(LOOK);
    while begun.elapsed() < lasts {
        looks.tick().await;
        let asked = Instant::now();
        if status(operator).await.is_some() {
            seen.reads.note(asked.elapsed());
        }
        // Who is merely not connected is expected back; out of sight is who was waited for in vain.
        for member in members {
            let Ok(page) = read_metrics(&member.address, PeerRole::Master, dialer).await else { continue };
            let told =
                |line: &&str| line.starts_with("agents_known{") && line.contains("state=\"unreachable\"");
            let line = page.lines().find(told).and_then(|line| line.rsplit(' ').next());
            seen.lost = seen.lost.max(line.and_then(|count| count.parse().ok()));
        }
        if let Ok(ReplyKind::Raft(raft)) = operator.ask(Call::Raft).await.map(|reply| reply.kind) {
            seen.terms = seen.terms.max(raft.term);
        }
        let memory = members
            .iter()
            .filter_map(|member| procfs::memory_kib(member.pid))
            .map(|(resident, _)| resident)
            .max();
        seen.memory = seen.memory.max(memory.unwrap_or_default());
    }
    seen
}

// === impl Seen ===

impl Seen {
    fn take(&mut self, other: Seen) {
        self.reads.take(other.reads);
        self.lost = self.lost.max(other.lost);
        self.memory = self.memory.max(other.memory);
        self.terms = self.terms.max(other.terms);
    }
}

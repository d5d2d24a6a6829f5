//! kill -9 of the leader to the first new offer at a framework whose session stood.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use framework_sdk::Profile;
use framework_sdk::door::Authority;
use framework_sdk::task::TaskState;
use framework_sdk::views::{Call, ReplyKind};
use serde_json::json;

use crate::cluster::{Cluster, eventually, kill_9};
use crate::figures::Timings;
use crate::flags::Flags;
use crate::pool::{Pool, Tasks};
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 3] = ["kills", "rate", "pretend"];

const MASTERS: usize = 3;
const AGENTS: u64 = 3;
/// How often the load asks for tasks.
const BEAT: Duration = Duration::from_millis(50);
/// Long after any limit that is acceptable: a failover that takes so long has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// Another framework that launches tasks all the time.
struct Load {
    done: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<(), String>>,
}

// === impl Load ===

impl Load {
    /// So many a second, each over at once.
    fn start(profile: &Profile, rate: u32) -> Result<Load, String> {
        let mut framework = Framework::start(profile, default_shape(), &["/bin/true".to_owned()])?;
        let done = Arc::new(AtomicU64::new(0));
        let counts = done.clone();
        let task = tokio::spawn(async move {
            framework.session().await?;
            let mut beats = tokio::time::interval(BEAT);
            let (begun, mut asked) = (Instant::now(), 0_u64);
            loop {
                tokio::select! {
                    _ = beats.tick() => {
                        let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                        // What nobody could start while there was no leader is caught up with, two seconds of it at once.
                        let most = counts.load(Ordering::Relaxed) + u64::from(rate) * 2;
                        let more = due.min(most).saturating_sub(asked);
                        if more > 0 {
                            framework.wish(Wish::Run(u32::try_from(more).unwrap_or(u32::MAX)));
                            asked += more;
                        }
                    }
                    note = framework.next() => {
                        if let Saw::State(TaskState::Finished) = note?.saw {
                            counts.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        Ok(Load { done, task })
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// An error as soon as something went wrong with one of its tasks: without a load there is nothing to measure.
    async fn goes_on(&mut self) -> Result<(), String> {
        if self.task.is_finished() {
            (&mut self.task).await.map_err(|why| why.to_string())??;
        }
        Ok(())
    }

    /// Ends it.
    async fn end(mut self) -> Result<u64, String> {
        self.goes_on().await?;
        self.task.abort();
        Ok(self.done())
    }
}

/// Kills the leader `--kills` times; between two kills all three masters and all agents are heard again. Meanwhile another
/// framework launches `--rate` tasks a second, and `--pretend` agents more than the real three are there. Their tasks are over at once:
/// they cost the masters what others cost, and the machine no process.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let kills: u64 = flags.get("kills", 30)?;
    let rate: u32 = flags.get("rate", 0)?;
    let pretend: usize = flags.get("pretend", 0)?;
    let cluster = Cluster::up(&flags.stoa()?, &["--no-jobs"])?;
    let operator = cluster.operator();
    let authority = Authority::load(&cluster.authority()).map_err(|error| error.to_string())?;
    let _pool = Pool::start(pretend, Tasks::Finish, &authority, cluster.profile())?;
    let agents = AGENTS + pretend as u64;
    let mut framework = Framework::start(cluster.profile(), default_shape(), &["/bin/true".to_owned()])?;
    let mut epoch = framework.session().await?;
    framework.wish(Wish::Hold);
    while !matches!(framework.next().await?.saw, Saw::Offers) {}
    let mut load = if rate > 0 { Some(Load::start(cluster.profile(), rate)?) } else { None };
    let begun = Instant::now();
    let mut attached = Timings::default();
    let mut killed = None::<Instant>;
    let (mut session, mut offer) = (Timings::default(), Timings::default());
    for number in 0..kills {
        let members = eventually("three masters", LIMIT, || cluster.whole_group(&operator, MASTERS)).await?;
        eventually("all agents", LIMIT, async || match operator.ask(Call::Status).await.ok()?.kind {
            ReplyKind::Status(status) => (status.agents_active == agents).then_some(()),
            _ => None,
        })
        .await?;
        if let Some(killed) = killed {
            attached.note(killed.elapsed());
        }
        if let Some(load) = &mut load {
            load.goes_on().await?;
        }
        let leader = members.iter().find(|member| member.leader).map(|member| member.pid);
        let leader = leader.ok_or("no master leads")?;
        // Heartbeats come several times a second: each kill falls elsewhere between two of them.
        let phase = Duration::from_millis(number * 37 % 100);
        let _ = tokio::time::timeout(phase, std::future::pending::<()>()).await;
        framework.forget();
        let now = Instant::now();
        killed = Some(now);
        kill_9(leader)?;
        let back = async {
            let mut stands = None;
            loop {
                let note = framework.next().await?;
                match note.saw {
                    Saw::Session(new) if new > epoch => {
                        epoch = new;
                        stands = Some(note.at);
                    }
                    Saw::Offers => {
                        if let Some(stands) = stands {
                            return Ok::<_, String>((stands, note.at));
                        }
                    }
                    Saw::Session(_)
                    | Saw::Accepting
                    | Saw::Dropped
                    | Saw::Committed
                    | Saw::State(_)
                    | Saw::Bad(_) => {}
                }
            }
        };
        let (stands, offered) = tokio::time::timeout(LIMIT, back)
            .await
            .map_err(|_| format!("no offer within {} s of kill {number}", LIMIT.as_secs()))??;
        session.note(stands.duration_since(now));
        offer.note(offered.duration_since(now));
        eprintln!(
            "kill {number}: session {:?}, offer {:?}",
            stands.duration_since(now),
            offered.duration_since(now)
        );
    }
    let lasted = begun.elapsed().as_secs_f64();
    let launched = match load {
        Some(load) => load.end().await?,
        None => 0,
    };
    println!(
        "{}",
        json!({
            "bench": "failover", "masters": MASTERS, "agents": agents, "pretended": pretend,
            "kill_to_offer": offer.json(), "kill_to_session": session.json(), "kill_to_all_agents": attached.json(),
            "rate": rate, "launched": launched, "launched_a_second": (launched as f64 / lasted).round(),
        })
    );
    cluster.down()
}

//! kill -9 of the leader to the first new offer at a framework whose session stood.

use std::time::{Duration, Instant};

use framework_sdk::views::{Call, ReplyKind};
use serde_json::json;

use crate::cluster::{Cluster, eventually, kill_9};
use crate::figures::Timings;
use crate::flags::Flags;
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 1] = ["kills"];

const MASTERS: usize = 3;
const AGENTS: u64 = 3;
/// Long after any limit that is acceptable: a failover that takes so long has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// Kills the leader `--kills` times; between two kills all three masters are heard again.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let kills: u64 = flags.get("kills", 30)?;
    let cluster = Cluster::up(&flags.stoa()?, &["--no-jobs"])?;
    let operator = cluster.operator();
    let mut framework = Framework::start(cluster.profile(), default_shape(), &["/bin/true".to_owned()])?;
    let mut epoch = framework.session().await?;
    framework.wish(Wish::Hold);
    while !matches!(framework.next().await?.saw, Saw::Offers) {}
    let (mut session, mut offer) = (Timings::default(), Timings::default());
    for number in 0..kills {
        let members = eventually("three masters", LIMIT, || cluster.whole_group(&operator, MASTERS)).await?;
        eventually("three agents", LIMIT, async || match operator.ask(Call::Status).await.ok()?.kind {
            ReplyKind::Status(status) => (status.agents_active == AGENTS).then_some(()),
            _ => None,
        })
        .await?;
        let leader = members.iter().find(|member| member.leader).map(|member| member.pid);
        let leader = leader.ok_or("no master leads")?;
        // Heartbeats come several times a second: each kill falls elsewhere between two of them.
        let phase = Duration::from_millis(number * 37 % 100);
        let _ = tokio::time::timeout(phase, std::future::pending::<()>()).await;
        framework.forget();
        let killed = Instant::now();
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
        session.note(stands.duration_since(killed));
        offer.note(offered.duration_since(killed));
        eprintln!(
            "kill {number}: session {:?}, offer {:?}",
            stands.duration_since(killed),
            offered.duration_since(killed)
        );
    }
    println!(
        "{}",
        json!({
            "bench": "failover", "masters": MASTERS, "agents": AGENTS,
            "kill_to_offer": offer.json(), "kill_to_session": session.json(),
        })
    );
    cluster.down()
}

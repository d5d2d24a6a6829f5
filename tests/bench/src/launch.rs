//! Many short tasks: from the command to the last that finished, beside `xargs -P2` and HyperQueue in the same minute.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use framework_sdk::task::TaskState;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::flags::Flags;
use crate::work::{Framework, Saw, Wish, default_shape};

/// The names of its flags.
pub const FLAGS: [&str; 5] = ["count", "rounds", "binary", "through", "hyperqueue"];

/// Measures `--rounds` rounds of `--count` tasks. `--through run` is `stoa run`, what a person types; `--through sdk` is
/// a framework in this process, which has no journal of its own. `--hyperqueue tests/bench/peers/hyperqueue` runs that
/// peer in each round too.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let count: u32 = flags.get("count", 1000)?;
    let rounds: u32 = flags.get("rounds", 5)?;
    let binary: String = flags.get("binary", "true".to_owned())?;
    let through: String = flags.get("through", "run".to_owned())?;
    let with_jobs = match through.as_str() {
        "run" => true,
        "sdk" => false,
        other => return Err(format!("--through is run or sdk, not {other:?}")),
    };
    let cluster = Cluster::up(&flags.stoa()?, if with_jobs { &[] } else { &["--no-jobs"] })?;
    let mut framework = match with_jobs {
        true => None,
        false => Some(Framework::start(cluster.profile(), default_shape(), std::slice::from_ref(&binary))?),
    };
    let hyperqueue: String = flags.get("hyperqueue", String::new())?;
    let mut hyperqueue =
        Some(hyperqueue).filter(|path| !path.is_empty()).map(|path| Peer::start(&path)).transpose()?;
    let (mut ours, mut peers, mut ratios, mut rivals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut profile = Value::Null;
    // The first round warms caches and is not counted.
    for round in 0..=rounds {
        let before = cluster.usage();
        let (took, steps) = match &mut framework {
            None => (stoa_run(&cluster, count, &binary)?, Value::Null),
            Some(framework) => batch(framework, count).await?,
        };
        profile = cluster.usage().since(&before);
        let peer = xargs(count, &binary)?;
        let rival = hyperqueue.as_mut().map(|hyperqueue| hyperqueue.run(count, &binary)).transpose()?;
        if round == 0 {
            continue;
        }
        let ratio = took.as_secs_f64() / peer.as_secs_f64();
        println!(
            "{}",
            json!({
                "bench": "launch", "through": through, "round": round, "count": count, "binary": binary,
                "seconds": took.as_secs_f64(), "per_second": rate(count, took), "steps": steps,
                "xargs_p2_seconds": peer.as_secs_f64(), "xargs_p2_per_second": rate(count, peer),
                "times_xargs": ratio, "hyperqueue_seconds": rival, "others_percent": profile["others_percent"],
            })
        );
        ours.push(took.as_secs_f64());
        peers.push(peer.as_secs_f64());
        ratios.push(ratio);
        rivals.extend(rival);
    }
    let (ours, peer) = (median(&mut ours), median(&mut peers));
    let rival = (!rivals.is_empty()).then(|| median(&mut rivals));
    println!(
        "{}",
        json!({
            "bench": "launch", "through": through, "rounds": rounds, "count": count, "binary": binary,
            "median_seconds": ours, "median_per_second": f64::from(count) / ours,
            "xargs_p2_median_per_second": f64::from(count) / peer,
            "hyperqueue_median_seconds": rival,
            "hyperqueue_median_per_second": rival.map(|seconds| f64::from(count) / seconds),
            "median_times_xargs": median(&mut ratios), "profile_of_last_round": profile,
        })
    );
    cluster.down()
}

fn stoa_run(cluster: &Cluster, count: u32, binary: &str) -> Result<Duration, String> {
    let count = count.to_string();
    let begun = Instant::now();
    let output = cluster
        .stoa(&["run", "--count", &count, "--", binary])
        .output()
        .map_err(|error| error.to_string())?;
    let took = begun.elapsed();
    if output.status.success() {
        Ok(took)
    } else {
        Err(format!("`stoa run` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

async fn batch(framework: &mut Framework, count: u32) -> Result<(Duration, Value), String> {
    framework.forget();
    let begun = Instant::now();
    framework.wish(Wish::Run(count));
    let (mut left, mut accepts, mut dropped) = (count, 0, 0);
    let mut steps = [None; 4];
    let [offered, committed, running, finished] = &mut steps;
    while left > 0 {
        let note = framework.next().await?;
        let step = match note.saw {
            Saw::Offers => offered.get_or_insert(note.at),
            Saw::Committed => committed.get_or_insert(note.at),
            Saw::State(TaskState::Running) => running.get_or_insert(note.at),
            Saw::State(TaskState::Finished) => {
                left -= 1;
                finished.get_or_insert(note.at)
            }
            Saw::Accepting => {
                accepts += 1;
                continue;
            }
            Saw::Dropped => {
                dropped += 1;
                continue;
            }
            Saw::State(_) | Saw::Session(_) | Saw::Bad(_) => continue,
        };
        let _: &mut Instant = step;
    }
    let took = begun.elapsed();
    let ms =
        |step: Option<Instant>| step.map(|at| (at.duration_since(begun).as_secs_f64() * 1e5).round() / 100.0);
    let [offered, committed, running, finished] = steps;
    let steps = json!({
        "accepts": accepts, "dropped": dropped, "first_offer_ms": ms(offered), "first_committed_ms": ms(committed),
        "first_running_ms": ms(running), "first_finished_ms": ms(finished),
    });
    Ok((took, steps))
}

fn xargs(count: u32, binary: &str) -> Result<Duration, String> {
    let failed = |error: std::io::Error| format!("cannot run xargs: {error}");
    let input: String = (1..=count).map(|number| format!("{number}\n")).collect();
    let begun = Instant::now();
    let mut child = Command::new("xargs")
        .args(["-n1", "-P2", binary])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(begun.elapsed()) } else { Err(format!("xargs ended with {status}")) }
}

/// A program that runs `N PROGRAM` for each line it is told, and says how many seconds that took.
struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

// === impl Peer ===

impl Peer {
    fn start(path: &str) -> Result<Peer, String> {
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run {path}: {error}"))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{path} has no pipes"));
        };
        Ok(Peer { child, orders, answers: BufReader::new(answers) })
    }

    fn run(&mut self, count: u32, binary: &str) -> Result<f64, String> {
        let mut answer = String::new();
        let told =
            writeln!(self.orders, "{count} {binary}").and_then(|()| self.answers.read_line(&mut answer));
        told.map_err(|error| format!("the peer does not answer: {error}"))?;
        answer.trim().parse().map_err(|_| format!("the peer says {answer:?}: run it by hand to see why"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

fn rate(count: u32, took: Duration) -> f64 {
    (f64::from(count) / took.as_secs_f64()).round()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

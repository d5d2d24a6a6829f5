//! kill -9 of the instance that acts to the first process that the next one starts, and whether anything was lost or doubled.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;

use crate::cluster::{Cluster, eventually, kill_9};
use crate::figures::Timings;
use crate::flags::Flags;

/// The names of its flags.
pub const FLAGS: [&str; 2] = ["kills", "instance"];

/// What an instance says when it acts.
const ITS_TURN: &str = "it has its turn";
/// Long after any limit that is acceptable.
const LIMIT: Duration = Duration::from_secs(30);
/// What is required.
const REQUIRED: Duration = Duration::from_secs(5);

/// One instance: the example `pair` of the SDK.
struct Instance {
    child: Child,
    lines: mpsc::UnboundedReceiver<(Instant, String)>,
}

/// What the items wrote when they began and ended, as processes.
struct Ledger(PathBuf);

/// How often each item began and ended.
type Counts = BTreeMap<u64, (u64, u64)>;

/// Kills the instance that acts `--kills` times, each time with another waiting.
pub async fn run(flags: &Flags) -> Result<(), String> {
    let kills: u32 = flags.get("kills", 200)?;
    let stoa = flags.stoa()?;
    let program = flags.get("instance", stoa.with_file_name("examples").join("pair"))?;
    if !program.exists() {
        return Err(format!(
            "cannot find {}; build it with `cargo build --release -p framework-sdk --examples`, or name it with --instance",
            program.display()
        ));
    }
    let cluster = Cluster::up(&stoa, &["--no-jobs"])?;
    let ledger = Ledger::open(cluster.dir())?;
    let start = || Instance::start(&cluster, &program, &ledger);
    let mut acting = start()?;
    acting.until(|line| line == ITS_TURN).await?;
    let (mut turn, mut action) = (Timings::default(), Timings::default());
    let mut worst = Duration::ZERO;
    for number in 0..kills {
        let mut next = start()?;
        next.until(|line| line.starts_with("waiting")).await?;
        // Each kill falls elsewhere into the life of an item, and between two words of its lease.
        for _ in 0..=number % 3 {
            acting.until(|line| line.ends_with("is over")).await?;
        }
        let phase = Duration::from_millis(u64::from(number) * 137 % 1000);
        let _ = tokio::time::timeout(phase, std::future::pending::<()>()).await;
        let killed = Instant::now();
        acting.kill()?;
        let at = next.until(|line| line == ITS_TURN).await?;
        let begun = ledger.begun();
        let what = format!("a new process after kill {number}");
        eventually(&what, LIMIT, async || (ledger.begun() > begun).then_some(())).await?;
        let took = killed.elapsed();
        turn.note(at.duration_since(killed));
        action.note(took);
        worst = worst.max(took);
        eprintln!("kill {number}: its turn after {:?}, a new process after {took:?}", at - killed);
        acting = next;
    }
    acting.until(|line| line.ends_with("is over")).await?;
    acting.kill()?;
    let (lost, doubled, items) = judged(&ledger.counts());
    println!(
        "{}",
        json!({
            "bench": "takeover", "kills": kills, "items": items, "lost": lost, "doubled": doubled,
            "kill_to_turn": turn.json(), "kill_to_new_process": action.json(),
        })
    );
    cluster.down()?;
    if lost + doubled > 0 {
        return Err(format!("{lost} items were lost and {doubled} doubled"));
    }
    if worst > REQUIRED {
        return Err(format!("the worst takeover took {worst:?}, more than {REQUIRED:?}"));
    }
    Ok(())
}

/// How many items were lost, and how many ran more than once, of how many. The last one may be under way.
fn judged(counts: &Counts) -> (u64, u64, u64) {
    let last = counts.keys().next_back().copied().unwrap_or_default();
    let lost = (0..last).filter(|number| counts.get(number).is_none_or(|(_, ends)| *ends == 0)).count();
    let doubled = counts.values().filter(|(begins, ends)| *begins > 1 || *ends > 1).count();
    (lost as u64, doubled as u64, last)
}

// === impl Ledger ===

impl Ledger {
    /// A file in which tasks write, whoever they run as.
    fn open(dir: &Path) -> Result<Ledger, String> {
        let path = dir.join("ledger");
        let made = File::create(&path).and_then(|file| file.set_permissions(Permissions::from_mode(0o666)));
        made.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Ledger(path))
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap_or_default()
    }

    fn begun(&self) -> usize {
        self.text().lines().filter(|line| line.ends_with(" begins")).count()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for line in self.text().lines() {
            let Some((number, what)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse() else { continue };
            let (begins, ends) = counts.entry(number).or_default();
            match what {
                "begins" => *begins += 1,
                _ => *ends += 1,
            }
        }
        counts
    }
}

// === impl Instance ===

impl Instance {
    fn start(cluster: &Cluster, program: &Path, ledger: &Ledger) -> Result<Instance, String> {
        let mut command: Command = cluster.program(program);
        let mut child = command
            .arg(&ledger.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let Some(out) = child.stdout.take() else { return Err("an instance has no output".to_owned()) };
        let (told, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if told.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Instance { child, lines })
    }

    /// Reads on until a line is as wanted; when it was said.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Instant, String> {
        let reading = async {
            while let Some((at, line)) = self.lines.recv().await {
                if wanted(&line) {
                    return Ok(at);
                }
            }
            Err("an instance has ended".to_owned())
        };
        tokio::time::timeout(LIMIT, reading)
            .await
            .map_err(|_| format!("an instance was silent for {} s", LIMIT.as_secs()))?
    }

    fn kill(&mut self) -> Result<(), String> {
        kill_9(self.child.id())?;
        self.child.wait().map(|_| ()).map_err(|error| format!("cannot wait for an instance: {error}"))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_is_doubled_is_seen() {
        let well: Counts = [(0, (1, 1)), (1, (1, 1)), (2, (1, 0))].into();
        assert_eq!(judged(&well), (0, 0, 2), "the last one is under way");
        let bad: Counts = [(0, (1, 0)), (2, (2, 2)), (3, (1, 1))].into();
        assert_eq!(judged(&bad), (2, 1, 3));
    }
}

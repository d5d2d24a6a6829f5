//! `tests-clients`: real clients call real masters that are killed and stopped meanwhile; then every answer has to be explained.
#![forbid(unsafe_code)]

mod cluster;
mod flags;
mod nemesis;
mod registry;
mod run;
mod store;
mod things;
mod verdict;
mod watches;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Cluster, eventually};
use flags::Flags;
use run::Run;

const USAGE: &str = "tests-clients [--operations 1000000] [--faults 18] [--seed 1] [--stoa PATH]

Starts three masters with the `stoa` beside this program, or the one of --stoa, and calls their store and their registry until so
many calls were answered. Meanwhile so many faults happen. Exits 1 if an answer cannot be explained.";

/// How long the whole of the calls may take: far more than they do on a slow machine.
const LIMIT: Duration = Duration::from_secs(900);

fn main() {
    let done = Flags::parse(std::env::args().skip(1)).and_then(|flags| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| format!("the system gives no event loop: {error}"))?;
        runtime.block_on(call(&flags))
    });
    match done {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            std::process::exit(2);
        }
    }
}

/// Calls, and says what came of it; whether all of it can be explained.
async fn call(flags: &Flags) -> Result<bool, String> {
    let began = Instant::now();
    let cluster = Cluster::up(&flags.stoa)?;
    let run = Arc::new(Run::new(flags.operations));
    println!("seed {}, {} calls, {} faults", flags.seed, flags.operations, flags.faults);

    let store = store::Load::start(&run, cluster.profile(), flags.seed).await?;
    let registry = registry::Load::start(&run, cluster.profile(), flags.seed)?;
    let faults = nemesis::plague(&run, &cluster, flags.faults);
    let work = async {
        let faults = faults.await?;
        eventually("so many calls are answered", LIMIT, async || run.is_enough().then_some(())).await?;
        Ok::<_, String>(faults)
    };
    // A client that is told something it cannot understand ends the run.
    let failed = run.failure();
    let faults = tokio::select! {
        ended = work => ended?,
        why = failed => return Err(why),
    };
    run.end();
    let calls = began.elapsed();
    let heard = store.end().await?;
    let objects = registry.end().await?;
    cluster.down()?;
    verdict::tell(&run, heard, &objects, &faults, calls)
}

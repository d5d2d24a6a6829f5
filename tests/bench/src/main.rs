//! `tests-bench`: measures parts of the house and prints one JSON line for each cell.

mod alloc;
mod cluster;
mod disk;
mod explain;
mod failover;
mod figures;
mod flags;
mod footprint;
mod latency;
mod launch;
mod overload;
mod pool;
mod procfs;
mod reads;
mod registry;
mod store;
mod takeover;
mod work;

use flags::Flags;

const USAGE: &str = "tests-bench BENCH [--name value ..], each prints one JSON line for each cell

in process, alone:
  alloc      [--grid decline,saturate,add,churn,demand,quota,suppress] [--agents N,..] [--frameworks N,..] [--cycles N]
             [--events N]; without --agents and --frameworks the sizes of the Mesos charts
  explain    [--agents 1000] [--demands 1000] [--rounds 20]
on a cluster of its own, started by the `stoa` beside this program (or --stoa PATH; a debug build needs --allow-debug):
  launch     [--count 1000] [--rounds 5] [--binary true] [--through run|sdk]
             [--hyperqueue tests/bench/peers/hyperqueue]
  latency    [--count 500] [--binary /bin/true]
  failover   [--kills 30] [--rate 0] [--pretend 0]
  overload   [--pretend 1000] [--tasks 4000] [--updates 10000] [--seconds 20]
  takeover   [--kills 200] [--instance target/release/examples/pair]
  registry   [--in-flight 1,64,1024] [--seconds 5]
  store      [--clients 1,64,512] [--seconds 5] [--value-bytes 256]
  reads      [--agents 1000] [--tasks 10000] [--rounds 20] [--only WORD]
  footprint  [--idle-seconds 10] [--starts 10] [--jobs true|false]";

fn main() {
    let mut args = std::env::args().skip(1);
    let done = match args.next().as_deref() {
        Some("alloc") => alloc::Options::parse(args).map(|options| alloc::run(&options)),
        Some("explain") => measure(args, &explain::FLAGS, explain::run),
        Some("launch") => measure(args, &launch::FLAGS, launch::run),
        Some("latency") => measure(args, &latency::FLAGS, latency::run),
        Some("failover") => measure(args, &failover::FLAGS, failover::run),
        Some("overload") => measure(args, &overload::FLAGS, overload::run),
        Some("takeover") => measure(args, &takeover::FLAGS, takeover::run),
        Some("registry") => measure(args, &registry::FLAGS, registry::run),
        Some("store") => measure(args, &store::FLAGS, store::run),
        Some("reads") => measure(args, &reads::FLAGS, reads::run),
        Some("footprint") => measure(args, &footprint::FLAGS, footprint::run),
        Some(other) => Err(format!("{other:?} is not a bench")),
        None => Err("say which bench".to_owned()),
    };
    if let Err(why) = done {
        eprintln!("{why}\n\n{USAGE}");
        std::process::exit(2);
    }
}

/// Runs a bench that talks to a cluster.
fn measure(
    args: impl Iterator<Item = String>,
    known: &[&str],
    bench: impl AsyncFnOnce(&Flags) -> Result<(), String>,
) -> Result<(), String> {
    let flags = Flags::parse(args, known)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the system gives no event loop: {error}"))?;
    runtime.block_on(bench(&flags))
}

//! The command: fuzzes targets, keeps what reaches something new, and tries single inputs.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tests_fuzz::engine::hunt::{Enough, Hunt};
use tests_fuzz::engine::{corpus, keep, trial};
use tests_fuzz::scratch::Scratch;
use tests_fuzz::target::Target;
use tests_fuzz::targets;
use tests_fuzz::watch::{self, Outcome};
use tests_fuzz_counters::{lines, memory};

#[global_allocator]
static MEMORY: memory::Counted = memory::Counted;

/// A corpus stays a file that people can look at.
const CORPUS_BYTES_MAX: usize = 28 << 10;

#[derive(Parser)]
#[command(about = "Gives every reader of this program what nobody would write.")]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

#[derive(Args)]
struct Run {
    /// Which targets; all if none is named.
    names: Vec<String>,
    /// How long each.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The same seed and --runs give the same runs; without it each run is another.
    #[arg(long)]
    seed: Option<u64>,
    /// So many runs each, however long they take.
    #[arg(long)]
    runs: Option<u64>,
    /// How many targets at once; as many as there are processors if not said.
    #[arg(long)]
    jobs: Option<usize>,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists the targets.
    List,
    /// Hunts, and writes the fewest inputs that reach all that was reached into the corpora. Reads more inputs, one on a
    /// line, from --more.
    Keep {
        /// Which targets; all if none is named.
        names: Vec<String>,
        /// How long each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// A directory of further inputs, a file NAME.txt for each target.
        #[arg(long)]
        more: Option<PathBuf>,
    },
    /// Runs one escaped input from the standard input, and prints what came of it.
    Try {
        /// The target.
        name: String,
    },
    /// What the command starts for each target.
    #[command(hide = true)]
    Child {
        name: String,
        #[arg(long)]
        millis: Option<u64>,
        #[arg(long)]
        runs: Option<u64>,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.verb {
        None => run(&cli.run),
        Some(Verb::List) => {
            targets::ALL.iter().for_each(|target| println!("{:<14} {}", target.name, target.about));
            Ok(true)
        }
        Some(Verb::Keep { names, seconds, seed, more }) => keep_all(&names, seconds, seed, more),
        Some(Verb::Try { name }) => attempt(&name),
        Some(Verb::Child { name, millis, runs, seed, dir }) => {
            let enough =
                runs.map_or(Enough::Time(Duration::from_millis(millis.unwrap_or_default())), Enough::Runs);
            target(&name).and_then(|target| watch::child(target, enough, seed, &dir)).map(|()| true)
        }
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn target(name: &str) -> io::Result<&'static Target> {
    let found = targets::ALL.iter().find(|target| target.name == name);
    found.ok_or_else(|| io::Error::other(format!("no target is called {name}; `list` names them")))
}

fn chosen(names: &[String]) -> io::Result<VecDeque<&'static Target>> {
    if names.is_empty() {
        return Ok(targets::ALL.iter().collect());
    }
    names.iter().map(|name| target(name)).collect()
}

/// Fuzzes; whether nothing was found.
fn run(how: &Run) -> io::Result<bool> {
    let waiting = Mutex::new(chosen(&how.names)?);
    let enough = how.runs.map_or(Enough::Time(Duration::from_secs(how.seconds)), Enough::Runs);
    let seed = how.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let jobs = how.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let scratch = Scratch::new("inputs");
    let all_good = Mutex::new(true);
    println!("seed {seed}, {} edges counted", lines::count());
    println!(
        "{:<14} {:>9} {:>8} {:>6} {:>7} {:>5}  found",
        "target", "runs", "per s", "taken", "edges", "new"
    );
    thread::scope(|scope| {
        let worker = || -> io::Result<()> {
            loop {
                let next = waiting.lock().expect("no worker panics").pop_front();
                let Some(target) = next else { return Ok(()) };
                let outcome = watch::watch(target, enough, seed, scratch.path())?;
                let mut good = all_good.lock().expect("no worker panics");
                *good &= print(target, &outcome);
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let good = *all_good.lock().expect("no worker panics");
    Ok(good)
}

/// Prints what came of a target; whether it is good.
fn print(target: &Target, Outcome { report, time }: &Outcome) -> bool {
    let per_second = report.runs * 1_000 / (time.as_millis() as u64).max(1);
    let taken = report.taken * 100 / report.runs.max(1);
    let new = report.edges.saturating_sub(report.edges_before);
    let (name, found) = (target.name, report.found.len());
    println!(
        "{name:<14} {:>9} {per_second:>8} {taken:>5}% {:>7} {new:>5}  {found}",
        report.runs, report.edges
    );
    for found in &report.found {
        println!("  FOUND by {name}: {}", found.why);
        println!("    echo '{}' | tests/fuzz/run try {name}", corpus::escape(&found.input));
    }
    // A target that takes nothing tries a refusal only.
    let idle = report.taken == 0 && report.found.is_empty();
    if idle {
        println!("  FOUND by {name}: no input was taken; does its corpus hold one that is?");
    }
    report.found.is_empty() && !idle
}

fn keep_all(names: &[String], seconds: u64, seed: u64, more: Option<PathBuf>) -> io::Result<bool> {
    if lines::count() == 0 {
        return Err(io::Error::other("nothing is counted in this build; use tests/fuzz/run keep"));
    }
    trial::note_panics();
    for target in chosen(names)? {
        let mut kept = corpus::read(target.name)?;
        if let Some(dir) = &more {
            let text = std::fs::read_to_string(dir.join(format!("{}.txt", target.name))).unwrap_or_default();
            kept.extend(text.lines().filter_map(corpus::unescape));
        }
        let mut silent = |_: &[u8]| {};
        let report =
            Hunt::new(target, seed, kept, &mut silent).go(Enough::Time(Duration::from_secs(seconds)));
        for found in &report.found {
            println!("FOUND by {}: {}\n  {}", target.name, found.why, corpus::escape(&found.input));
        }
        let all = report.inputs.len();
        let fewest = keep::fewest(target, report.inputs, CORPUS_BYTES_MAX);
        println!("{:<14} {} edges, {} of {all} inputs kept", target.name, report.edges, fewest.len());
        corpus::write(target.name, &fewest)?;
    }
    Ok(true)
}

fn attempt(name: &str) -> io::Result<bool> {
    let target = target(name)?;
    let mut line = String::new();
    io::stdin().read_to_string(&mut line)?;
    let input = corpus::unescape(line.trim_end_matches('\n'));
    let input = input.ok_or_else(|| io::Error::other("that is no escaped input"))?;
    let ended = trial::run(target, &input);
    println!("{ended:?}");
    Ok(ended.is_ok())
}

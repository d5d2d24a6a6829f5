//! Real processes on hosts made of network namespaces, and what they go through: `tests-hosts list` tells what.

mod cgroups;
mod command;
mod flood;
mod malformed;
mod net;
mod pool;
mod process;
mod scenarios;
mod storm;
mod upgrade;
mod wait;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use command::Tools;
use pool::Pool;
use scenarios::{ALL, Scenario, play};

const USAGE: &str = "usage: tests-hosts list
       tests-hosts run NAME...                  these scenarios, one after another on one pool
       tests-hosts storm MINUTES [--seed N]     faults at random
       tests-hosts all [MINUTES [--seed N]]     every scenario, then so many minutes of faults at random
       tests-hosts upgrade PATH                 from the older binary of this path, machine by machine
with STOA=PATH another binary than the one beside this";

/// Where things are, and the pool that the next step finds.
struct Lab {
    stoa: PathBuf,
    target: PathBuf,
    pool: Option<Pool>,
    failed: u32,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    let (words, seed) = match &words[..] {
        [rest @ .., "--seed", seed] if number(seed).is_some() => (rest, number(seed).unwrap_or_default()),
        _ => (&words[..], 1),
    };
    let (chosen, minutes): (Vec<&Scenario>, u64) = match words {
        ["list"] => {
            ALL.iter().for_each(|one| println!("{:28} {:8} {}", one.name, one.rows, one.what));
            return ExitCode::SUCCESS;
        }
        ["all"] => (ALL.iter().collect(), 0),
        ["all", minutes] if number(minutes).is_some() => {
            (ALL.iter().collect(), number(minutes).unwrap_or_default())
        }
        ["storm", minutes] if number(minutes).is_some() => (Vec::new(), number(minutes).unwrap_or_default()),
        // What a scenario starts on a host of its own.
        ["flood", door, count] if door.parse::<std::net::SocketAddr>().is_ok() && number(count).is_some() => {
            let (door, count) = (door.parse(), number(count).and_then(|count| count.try_into().ok()));
            let (Ok(door), Some(count)) = (door, count) else { return ExitCode::from(2) };
            return told(flood::flood(door, count).map(|()| 0));
        }
        ["malformed", door, server, credentials] => {
            let Ok(door) = door.parse() else { return ExitCode::from(2) };
            return told(malformed::speak(door, server, credentials.as_ref()).map(|()| 0));
        }
        ["upgrade", old] => {
            return told(Lab::here().and_then(|lab| lab.upgrade(old.into())));
        }
        ["run", names @ ..] if !names.is_empty() => {
            let all = names.iter().map(|name| ALL.iter().find(|one| one.name == *name).ok_or(*name));
            match all.collect() {
                Ok(chosen) => (chosen, 0),
                Err(name) => {
                    eprintln!("no scenario {name}; `tests-hosts list` shows them");
                    return ExitCode::from(2);
                }
            }
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    told(Lab::here().and_then(|lab| lab.run(&chosen, Duration::from_secs(minutes * 60), seed)))
}

fn told(failed: Result<u32, String>) -> ExitCode {
    match failed {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

// === impl Lab ===

impl Lab {
    fn here() -> Result<Lab, String> {
        let own = std::env::current_exe().map_err(|why| format!("cannot find this binary: {why}"))?;
        let beside = own.parent().ok_or("this binary lies nowhere")?;
        let target = beside.parent().ok_or("this binary lies nowhere")?.to_path_buf();
        let stoa = std::env::var_os("STOA").map_or_else(|| beside.join("stoa"), PathBuf::from);
        Ok(Lab { stoa, target, pool: None, failed: 0 })
    }

    /// How many steps failed.
    fn run(mut self, chosen: &[&Scenario], stormy: Duration, seed: u64) -> Result<u32, String> {
        for scenario in chosen {
            self.step(scenario.name, scenario.rows, |pool| play(scenario, pool))?;
        }
        let begun = Instant::now();
        for wave in 0.. {
            if begun.elapsed() >= stormy {
                break;
            }
            self.step(&format!("storm, wave {wave} of seed {seed}"), "", |pool| {
                storm::wave(pool, seed, wave)
            })?;
        }
        Ok(self.end())
    }

    /// The same for a pool that is upgraded from another binary.
    fn upgrade(mut self, old: PathBuf) -> Result<u32, String> {
        let new = std::mem::replace(&mut self.stoa, old);
        self.step("upgrade", "F21", |pool| upgrade::roll(pool, &new))?;
        Ok(self.end())
    }

    fn end(mut self) -> u32 {
        self.pool = None;
        let _ = std::fs::remove_dir_all(self.dir());
        self.failed
    }

    /// One step on a pool that is whole; behind one that fails a new pool is made.
    fn step(
        &mut self,
        name: &str,
        rows: &str,
        step: impl FnOnce(&mut Pool) -> Result<String, String>,
    ) -> Result<(), String> {
        let dir = self.dir();
        let pool = match &mut self.pool {
            Some(pool) => pool,
            None => self.pool.insert(Pool::up(&self.stoa, &dir, Tools::of(&self.target)?)?),
        };
        match step(pool) {
            Ok(found) => println!("ok    {name:28} {rows:8} {found}"),
            Err(why) => {
                println!("FAIL  {name:28} {rows:8} {why}");
                self.failed += 1;
                self.pool = None;
                // What it leaves is for whoever looks into it.
                let kept = self.target.join(format!("hosts/failed-{}-{}", std::process::id(), self.failed));
                if std::fs::rename(&dir, &kept).is_ok() {
                    println!("      its logs are in {}", kept.display());
                }
            }
        }
        Ok(())
    }

    fn dir(&self) -> PathBuf {
        self.target.join(format!("hosts/{}", std::process::id()))
    }
}

//! Work for the pool, and its ledgers: what was accepted, what really started, and what was reported, each by another party.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde_json::Value;

use crate::command::well;
use crate::pool::Pool;
use crate::wait::eventually;

/// All jobs that were given to a pool in one scenario.
pub struct Work {
    tag: String,
    started: PathBuf,
    batches: BTreeMap<String, u64>,
    /// So many bytes are told to each task for nothing.
    ballast: usize,
    services: BTreeMap<String, u64>,
}

/// So long after a path is back it may take until what was to be told over it is known.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// A batch that runs until it is let go.
pub struct Held {
    name: String,
    instances: u64,
    gate: PathBuf,
    ended: PathBuf,
}

/// Tasks that run, each with its process.
pub type Running = BTreeMap<String, u64>;

// === impl Work ===

impl Work {
    /// None yet. Jobs are told apart by `tag`.
    ///
    /// # Errors
    /// When the ledger cannot be made.
    pub fn new(pool: &Pool, tag: &str) -> Result<Work, String> {
        let started = ledger(pool, &format!("{tag}.started"))?;
        Ok(Work {
            tag: tag.to_owned(),
            started,
            batches: BTreeMap::new(),
            ballast: 0,
            services: BTreeMap::new(),
        })
    }

    /// From now on each task is told so many bytes more, which all who keep books of it have to store.
    pub fn weigh(&mut self, bytes: usize) {
        self.ballast = bytes;
    }

    /// Tasks that run until they are told to end, and waits until they do.
    ///
    /// # Errors
    /// When they do not run in time.
    pub fn serve(&mut self, pool: &Pool, instances: u64) -> Result<Running, String> {
        let name = format!("{}-service-{}", self.tag, self.services.len());
        self.services.insert(name.clone(), instances);
        self.apply(pool, &name, instances, "kind = \"service\"", "exec sleep 100000")?;
        self.run(pool)
    }

    /// Asks for a batch; whether anybody took it. One that was asked for in vain is asked for again by the same name.
    pub fn try_batch(&mut self, pool: &Pool, instances: u64) -> Result<(), String> {
        let name = format!("{}-batch-{}", self.tag, self.batches.len());
        // Whoever is lost with a machine is run again, as another task.
        self.apply(pool, &name, instances, "kind = \"batch\"\nretries = 3", "exit 0")?;
        self.batches.insert(name, instances);
        Ok(())
    }

    /// Asks for a batch until somebody takes it.
    ///
    /// # Errors
    /// When nobody does in time.
    pub fn batch(&mut self, pool: &Pool, instances: u64) -> Result<(), String> {
        let mut last = String::new();
        let taken = eventually("somebody who takes a job", Duration::from_secs(30), || {
            self.try_batch(pool, instances).map_err(|why| last = why).ok()
        });
        taken.map_err(|why| format!("{why}: {last}"))
    }

    /// Asks for a batch whose tasks end when they are told to, whoever hears of it, and waits until all of them run.
    ///
    /// # Errors
    /// When nobody takes it, or not all start in time.
    pub fn hold(&mut self, pool: &Pool, instances: u64) -> Result<Held, String> {
        let name = format!("{}-held-{}", self.tag, self.batches.len());
        let gate = pool.path(&format!("{name}.gate"));
        well("mkfifo", &["-m", "644", &gate])?;
        let ended = ledger(pool, &format!("{name}.ended"))?;
        // No more than this of a program: a task of so little cpu would take seconds to start another.
        let wait = format!("read go < {gate}; echo \"$STOA_TASK_ID\" >> {}", ended.display());
        self.apply(pool, &name, instances, "kind = \"batch\"\nretries = 3", &wait)?;
        self.batches.insert(name.clone(), instances);
        eventually("all tasks of a batch run", Duration::from_secs(30), || {
            let running = Work::those(pool, |task| task["labels"]["job"] == name.as_str());
            (running.len() as u64 == instances).then_some(())
        })?;
        Ok(Held { name, instances, gate: gate.into(), ended })
    }

    /// How many batches there were.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    fn apply(&self, pool: &Pool, name: &str, instances: u64, kind: &str, then: &str) -> Result<(), String> {
        let text = format!(
            "name = \"{name}\"\n{kind}\ncommand = 'echo \"$STOA_TASK_ID $$\" >> \"$LEDGER\"; {then}'\n\
             instances = {instances}\ncpus = 0.01\nmem = \"4MiB\"\nenv = {{ LEDGER = \"{}\", BALLAST = \"{}\" }}\n",
            self.started.display(),
            "x".repeat(self.ballast),
        );
        let file = pool.path(&format!("{name}.toml"));
        std::fs::write(&file, text).map_err(|why| format!("cannot write {file}: {why}"))?;
        let said = pool.stoa(&["job", "apply", &file]);
        if said.code == 0 { Ok(()) } else { Err(said.err) }
    }

    /// What started, by the tasks' own word: how often each did.
    pub fn started(&self) -> BTreeMap<String, u32> {
        let mut started = BTreeMap::new();
        for line in std::fs::read_to_string(&self.started).unwrap_or_default().lines() {
            let task = line.split_whitespace().next().unwrap_or_default();
            *started.entry(task.to_owned()).or_default() += 1;
        }
        started
    }

    /// Waits until all services run with all their instances, by the masters' word.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn run(&self, pool: &Pool) -> Result<Running, String> {
        let wanted = usize::try_from(self.services.values().sum::<u64>()).unwrap_or(usize::MAX);
        let mut last = 0;
        let running = eventually("all services run", Duration::from_secs(60), || {
            let running = self.running(pool);
            last = running.len();
            (last == wanted).then_some(running)
        });
        running.map_err(|why| format!("{why}: {last} of {wanted}"))
    }

    /// The services' tasks that run now, by the masters' word.
    pub fn running(&self, pool: &Pool) -> Running {
        Work::those(pool, |task| self.services.contains_key(text(&task["labels"]["job"])))
    }

    /// Those of them on one host.
    pub fn running_on(&self, pool: &Pool, host: &str) -> Running {
        let mine = |task: &Value| self.services.contains_key(text(&task["labels"]["job"]));
        Work::those(pool, |task| task["hostname"] == host && mine(task))
    }

    /// How many of all its tasks on one host are told of in this way.
    pub fn told_on(&self, pool: &Pool, host: &str, wanted: impl Fn(&Value) -> bool) -> usize {
        let list = pool.json(&["get", "tasks", "--all"]).unwrap_or_default();
        let mine = list["items"].as_array().into_iter().flatten().filter(|task| {
            let job = text(&task["labels"]["job"]);
            let known = self.batches.contains_key(job) || self.services.contains_key(job);
            known && task["hostname"] == host && wanted(task)
        });
        mine.count()
    }

    fn those(pool: &Pool, wanted: impl Fn(&Value) -> bool) -> Running {
        let list = pool.json(&["get", "tasks"]).unwrap_or_default();
        let all = list["items"].as_array().into_iter().flatten();
        let running = all.filter(|task| task["state"] == "running" && wanted(task));
        running.filter_map(|task| Some((text(&task["id"]).to_owned(), task["pid"].as_u64()?))).collect()
    }

    /// Waits until every batch is over, and holds the ledgers against each other. `lost` says that tasks may have been
    /// lost with their machine, and been started anew as other tasks.
    ///
    /// # Errors
    /// What does not agree.
    pub fn each_once(&self, pool: &Pool, lost: bool) -> Result<(), String> {
        for (name, instances) in &self.batches {
            let mut last = Value::Null;
            let over = eventually(&format!("{name} is over"), Duration::from_secs(90), || {
                // Of a job that has failed it is told with an exit code of its own.
                let said = pool.stoa(&["job", "get", name, "-o", "json"]);
                last = serde_json::from_str::<Value>(&said.out).ok()?["items"][0].clone();
                matches!(last["state"].as_str(), Some("finished" | "failed")).then_some(())
            });
            over.map_err(|why| format!("{why}: {last}"))?;
            if (last["state"].as_str(), last["finished"].as_u64()) != (Some("finished"), Some(*instances)) {
                return Err(format!("{name} has not finished with all {instances}: {last}"));
            }
        }
        let all = pool.json(&["get", "tasks", "--all"]).ok_or("nobody lists the tasks")?;
        let items = all["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        // A task runs a moment before its first command has written that it does; one that never does is told below.
        let running = |task: &&Value| {
            task["state"] == "running" && self.services.contains_key(text(&task["labels"]["job"]))
        };
        let _ = eventually("all that run have said so", Duration::from_secs(20), || {
            let started = self.started();
            items.iter().filter(running).all(|task| started.contains_key(text(&task["id"]))).then_some(())
        });
        let started = self.started();
        if let Some((task, times)) = started.iter().find(|(_, times)| **times != 1) {
            return Err(format!("{task} started {times} times"));
        }
        let mine = |task: &&Value| {
            let job = text(&task["labels"]["job"]);
            self.batches.contains_key(job) || self.services.contains_key(job)
        };
        let mut finished = BTreeSet::new();
        for task in items.iter().filter(mine) {
            let (id, state) = (text(&task["id"]), text(&task["state"]));
            match state {
                "finished" => {
                    finished.insert(id.to_owned());
                }
                "running" if self.services.contains_key(text(&task["labels"]["job"])) => {}
                // An offer may be void when its accept arrives: nothing starts of it, and another task takes its place.
                "dropped" if !started.contains_key(id) => continue,
                _ if lost => continue,
                _ => return Err(format!("{id} is {state}: {}", task["message"])),
            }
            if !started.contains_key(id) {
                return Err(format!("{id} is {state} and never started"));
            }
        }
        let wanted: u64 = self.batches.values().sum();
        if !lost && started.len() as u64 != wanted + self.services.values().sum::<u64>() {
            return Err(format!(
                "{} tasks started, {wanted} instances of batches were asked for",
                started.len()
            ));
        }
        if !lost && finished.len() as u64 != wanted {
            return Err(format!("{} of {wanted} are told as finished", finished.len()));
        }
        Ok(())
    }

    /// Takes all jobs of it away.
    ///
    /// # Errors
    /// When one cannot be.
    pub fn clear(&self, pool: &Pool) -> Result<(), String> {
        for name in self.services.keys() {
            eventually("a service is stopped", Duration::from_secs(20), || {
                (pool.stoa(&["job", "stop", name]).code == 0).then_some(())
            })?;
        }
        eventually("services have ended", Duration::from_secs(60), || {
            self.running(pool).is_empty().then_some(())
        })
    }
}

// === impl Held ===

impl Held {
    /// Lets its tasks end, and waits until they have.
    ///
    /// # Errors
    /// When one does not.
    pub fn end(&self) -> Result<(), String> {
        eventually("a batch has ended", Duration::from_secs(10), || {
            // Whoever waits at the other end goes on; there may be nobody.
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            let _ = File::options().write(true).custom_flags(flags).open(&self.gate);
            let ended = std::fs::read_to_string(&self.ended).unwrap_or_default();
            (ended.lines().count() as u64 == self.instances).then_some(())
        })
    }

    /// How long after that the framework knows the end of each, which happened before it.
    ///
    /// # Errors
    /// When that is longer than it may be.
    pub fn told(&self, pool: &Pool, since: Instant) -> Result<String, String> {
        let mut last = Value::Null;
        let told = eventually("all ends are told", Duration::from_secs(30), || {
            let said = pool.stoa(&["job", "get", &self.name, "-o", "json"]);
            last = serde_json::from_str::<Value>(&said.out).ok()?["items"][0].clone();
            (last["finished"].as_u64() == Some(self.instances)).then(|| since.elapsed())
        });
        let told = told.map_err(|why| format!("{why}: {last}"))?;
        let words = format!("{} ends told within {:.1} s", self.instances, told.as_secs_f64());
        if told <= TOLD_WITHIN { Ok(words) } else { Err(format!("{words}, and {TOLD_WITHIN:?} are allowed")) }
    }
}

/// A file that tasks write to, which run as somebody else than this test.
fn ledger(pool: &Pool, name: &str) -> Result<PathBuf, String> {
    let place = pool.dir.join(name);
    let failed = |why: std::io::Error| format!("cannot make {}: {why}", place.display());
    let file = File::create(&place).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(place)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

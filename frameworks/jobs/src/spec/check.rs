//! What every job must satisfy, wherever it came from.

mod kinds;
mod work;

use std::collections::BTreeSet;
use std::time::Duration;

use self::work::Work;
use super::fault::Fault;
use super::{Command, Faults, JobSpec};

/// The shortest share of a cpu: as Mesos' `MIN_CPUS`.
pub const CPUS_MILLI_MIN: u64 = 10;
/// The largest, far beyond any machine: it keeps sums over all instances within 64 bits.
pub(super) const CPUS_MILLI_MAX: u64 = 1_000_000_000;
/// A program cannot even be loaded in less.
pub const MEM_BYTES_MIN: u64 = 4 << 20;
/// Far beyond any machine, for the same reason.
const BYTES_MAX: u64 = 1 << 50;
/// Instances of one job.
pub const INSTANCES_MAX: u32 = 100_000;
/// Ports of one instance.
pub const PORTS_MAX: usize = 64;
/// Bytes of the name: with instance and serial it must still be a task id.
pub(super) const NAME_BYTES_MAX: usize = 64;
/// Command, environment and artifacts together, in bytes: a thousand instances are launched in one message.
const TEXT_BYTES_MAX: usize = 128 * 1024;
pub(super) const ARTIFACTS_MAX: usize = 64;
pub(super) const RETRIES_MAX: u32 = 1_000;
/// Of checks in a row.
pub(super) const FAILURES_MAX: u32 = 1_000;
/// Tasks of one instance.
pub(super) const TASKS_MAX: usize = 16;
/// Volumes of one instance.
pub(super) const VOLUMES_MAX: usize = 16;
/// With the name of an instance and a number a volume's name must still be an id.
pub(super) const VOLUME_NAME_BYTES_MAX: usize = 30;
/// What is out of reach for less may only be slow.
const ANEW_AFTER_MIN: Duration = Duration::from_secs(1);
/// Less is not worth a volume.
pub(super) const VOLUME_BYTES_MIN: u64 = 1 << 20;
/// Runs that are remembered.
pub(super) const HISTORY_MAX: u32 = 100;
/// Either way; enough to sort by, few enough to read.
pub(super) const PRIORITY_MAX: i32 = 1_000;
/// Jobs that one waits for.
const AFTER_MAX: usize = 64;
const DAY: Duration = Duration::from_secs(24 * 3600);
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Of a time limit: what runs for longer is no batch.
const LIMIT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

// === impl JobSpec ===

impl JobSpec {
    /// The job itself when nothing is wrong with it; else everything that is.
    pub fn checked(self) -> Result<JobSpec, Faults> {
        let faults = self.faults();
        if faults.is_empty() { Ok(self) } else { Err(Faults { file: String::new(), faults }) }
    }

    /// Everything that is wrong with it.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut wrong = |key: &str, message: String| {
            faults.push(Fault { line: None, key: key.to_owned(), message });
        };
        if let Some(why) = bad_name(&self.name) {
            wrong("name", why);
        }
        if self.instances == 0 || self.instances > INSTANCES_MAX {
            wrong("instances", format!("{} is not between 1 and {INSTANCES_MAX}", self.instances));
        }
        if self.kill_grace > DAY {
            wrong("kill_grace", "is more than a day; write for example \"5s\"".to_owned());
        }
        if self.user.len() > 64 || self.user.chars().any(|c| c.is_control() || c.is_whitespace() || c == ':')
        {
            wrong("user", format!("{:?} is not the name of a user", self.user));
        }
        if self.priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
            let why = format!("{} is not between -{PRIORITY_MAX} and {PRIORITY_MAX}", self.priority);
            wrong("priority", why);
        }
        if self.spread.as_ref().is_some_and(|spread| !is_word(&spread.by)) {
            let why = "is no name of an attribute; write for example \"zone\" or \"hostname\"";
            wrong("spread.by", why.to_owned());
        }
        if self.tasks.is_empty() {
            Work::of_job(self).check("", &mut wrong);
        } else {
            self.check_tasks(&mut wrong);
        }
        self.check_volumes(&mut wrong);
        self.check_kind(&mut wrong);
        if self.text_bytes() > TEXT_BYTES_MAX {
            let why = format!(
                "with env and artifacts holds {} bytes, more than {TEXT_BYTES_MAX}; fetch large scripts as artifacts",
                self.text_bytes()
            );
            wrong("command", why);
        }
        faults
    }

    fn check_tasks(&self, wrong: &mut impl FnMut(&str, String)) {
        let own = [
            ("command", !matches!(&self.command, Command::Argv(argv) if argv.is_empty())),
            ("cpus", self.cpus_milli != 0),
            ("mem", self.mem_bytes != 0),
            ("disk", self.disk_bytes != 0),
            ("ports", !self.ports.is_empty()),
            ("artifacts", !self.artifacts.is_empty()),
            ("secrets", !self.secrets.is_empty()),
            ("health", self.health.is_some()),
            ("readiness", self.readiness.is_some()),
        ];
        for (key, _) in own.iter().filter(|(_, given)| *given) {
            wrong(key, "belongs to each task of the job; write it under [[task]]".to_owned());
        }
        work::check_env(&self.env, wrong);
        if self.tasks.len() > TASKS_MAX {
            wrong("task", format!("{} are more than {TASKS_MAX}", self.tasks.len()));
        }
        let leaders = self.tasks.iter().filter(|task| task.leader).count();
        if leaders != 1 {
            let why = format!("{leaders} are leaders; exactly one is: its end is the end of the instance");
            wrong("task", why);
        }
        let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for (n, task) in self.tasks.iter().enumerate() {
            if let Some(why) = bad_name(&task.name) {
                wrong(&format!("task[{n}].name"), why);
            } else if !names.insert(&task.name) {
                wrong(&format!("task[{n}].name"), format!("two are named {:?}", task.name));
            }
            Work::of_task(task).check(&format!("task[{n}]."), wrong);
            // One that is there twice within a task has been told.
            let own: BTreeSet<&String> = task.ports.iter().collect();
            if let Some(twice) = own.iter().find(|port| ports.contains(**port)) {
                let why = format!("{twice} is a port of another task; each finds those of all");
                wrong(&format!("task[{n}].ports"), why);
            }
            ports.extend(own);
        }
    }

    fn check_volumes(&self, wrong: &mut impl FnMut(&str, String)) {
        if self.volumes.len() > VOLUMES_MAX {
            wrong("volumes", format!("{} are more than {VOLUMES_MAX}", self.volumes.len()));
        }
        if !self.volumes.is_empty() && !self.tasks.is_empty() {
            let why = "are for jobs of one task: a volume goes whole to one task";
            wrong("volumes", why.to_owned());
        }
        if !self.volumes.is_empty() && self.update.max_surge > 0 {
            let why = "is for jobs without volumes: a new instance has the data once the old one has ended";
            wrong("update.max_surge", why.to_owned());
        }
        let begins_anew = self.volumes.iter().any(|volume| volume.anew_after.is_some());
        let mut names = BTreeSet::new();
        for (n, volume) in self.volumes.iter().enumerate() {
            if let Some(why) = bad_volume_name(&volume.name) {
                wrong(&format!("volumes[{n}].name"), why);
            } else if !names.insert(volume.variable()) {
                let why = format!("two are found as {} in the environment", volume.variable());
                wrong(&format!("volumes[{n}].name"), why);
            }
            match volume.anew_after {
                Some(after) if after < ANEW_AFTER_MIN || after > LIMIT_MAX => {
                    let why = "is not between 1s and a year; write for example \"1h\"";
                    wrong(&format!("volumes[{n}].anew_after"), why.to_owned());
                }
                None if begins_anew => {
                    let why =
                        "is missing: an instance begins anew without any of its volumes; give it to each";
                    wrong(&format!("volumes[{n}].anew_after"), why.to_owned());
                }
                Some(_) | None => {}
            }
            if !(VOLUME_BYTES_MIN..=BYTES_MAX).contains(&volume.size_bytes) {
                let given = framework_sdk::quantities::show_bytes(volume.size_bytes);
                let why = format!("{given} is not between 1MiB and 1024TiB; write for example \"1GiB\"");
                wrong(&format!("volumes[{n}].size"), why);
            }
        }
    }

    fn text_bytes(&self) -> usize {
        let own = Work::of_job(self).text_bytes();
        own + self.tasks.iter().map(|task| Work::of_task(task).text_bytes()).sum::<usize>()
    }
}

/// What may be the name of an attribute.
fn is_word(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(word)
}

fn bad_volume_name(name: &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(word);
    if good && name.len() <= VOLUME_NAME_BYTES_MAX {
        return None;
    }
    if name.is_empty() {
        return bad_name(name);
    }
    let shown: String = name.chars().take(80).collect();
    Some(format!(
        "{shown:?} is not the name of a volume; use at most {VOLUME_NAME_BYTES_MAX} letters, digits, - and _, beginning with a letter or digit"
    ))
}

fn bad_name(name: &str) -> Option<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(word);
    if good {
        return None;
    }
    if name.is_empty() {
        return Some("is missing; give it a name".to_owned());
    }
    let shown: String = name.chars().take(80).collect();
    Some(format!(
        "{shown:?} is not a name; use at most {NAME_BYTES_MAX} letters, digits, - _ and ., beginning with a letter or digit"
    ))
}

//! A job as what the cluster understands: the shape of an instance, and its task.

use std::collections::BTreeMap;

use super::{Command, JobSpec};
use framework_sdk::check::Checks;
use framework_sdk::id::{BadId, TaskId};
use framework_sdk::quantities::Quantities;
use framework_sdk::ranges::Ranges;
use framework_sdk::resources::{Amount, Resources};
use framework_sdk::task::{CommandInfo, TaskInfo};

/// The id of one attempt: `web.0-2n`. The serial number is the framework's and never used twice, so neither is the id,
/// even when a job is forgotten and another takes its name.
pub fn task_id(job: &str, instance: u32, serial: u64) -> Result<TaskId, BadId> {
    TaskId::new(&format!("{job}.{instance}-{}", base36(serial)))
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).ok().and_then(|digit| char::from_digit(digit, 36));
        digits.extend(digit);
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

// === impl JobSpec ===

impl JobSpec {
    /// What one instance needs of one agent. Ports stand for "so many".
    pub fn shape(&self) -> Amount {
        let amount =
            Amount::scalars(Quantities::of(self.cpus_milli, self.mem_bytes).with_disk(self.disk_bytes));
        match self.ports.len() as u64 {
            0 => amount,
            count => amount.with_ports(Ranges::single(1, count)),
        }
    }

    /// The name of an instance for people: the job's alone when there is but one.
    pub fn instance_name(&self, instance: u32) -> String {
        if self.instances == 1 { self.name.clone() } else { format!("{}.{instance}", self.name) }
    }

    /// The task of one attempt (from 1) to run an instance (from 0), on resources of [`JobSpec::shape`].
    pub fn task(&self, id: TaskId, instance: u32, attempt: u32, resources: Resources) -> TaskInfo {
        let (argv, shell) = match &self.command {
            Command::Shell(script) => (vec![script.clone()], true),
            Command::Argv(argv) => (argv.clone(), false),
        };
        let numbers = [("INSTANCE", instance.to_string()), ("INSTANCES", self.instances.to_string())];
        let mut env: BTreeMap<String, String> =
            numbers.into_iter().map(|(name, value)| (format!("STOA_{name}"), value)).collect();
        env.insert("STOA_JOB".to_owned(), self.name.clone());
        env.insert("STOA_ATTEMPT".to_owned(), attempt.to_string());
        env.extend(self.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        // After the user's own: a port that is not the task's would be somebody else's.
        if !self.ports.is_empty() {
            let ports = resources.flatten().range("ports");
            for (at, (name, port)) in self.ports.iter().zip(ports.iter()).enumerate() {
                if at == 0 {
                    env.insert("PORT".to_owned(), port.to_string());
                }
                env.insert(format!("PORT_{name}"), port.to_string());
            }
        }
        let labels = [
            ("job", self.name.clone()),
            ("instance", instance.to_string()),
            ("attempt", attempt.to_string()),
        ];
        TaskInfo {
            id,
            name: self.instance_name(instance),
            command: CommandInfo {
                argv,
                shell,
                env,
                user: self.user.clone(),
                artifacts: self.artifacts.clone(),
            },
            resources,
            kill_grace: self.kill_grace,
            labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
            group: None,
            checks: Checks::default(),
            longest_run: None,
        }
    }
}

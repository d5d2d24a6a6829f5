//! A job as what the SDK's reconciler is told: a group of that name, and what only this framework says of its tasks.

use std::collections::BTreeMap;

use framework_sdk::check::{self, CheckPort};
use framework_sdk::desired::{
    Group, GroupName, InstanceName, Restart, RollingChange, TaskSpec, Unreachable, VolumeSpec,
};
use framework_sdk::id::{FileName, SecretName};
use framework_sdk::quantities::Quantities;
use framework_sdk::secret::SecretFile;
use framework_sdk::task::{Artifact, CommandInfo, TaskInfo};

use super::Jobs;
use super::parts::part_name;
use crate::spec::{Check, CheckKind, Command, GroupTask, JobSpec, Kind, RestartPolicy, Update};
use crate::store::Job;

/// The name of the group of a job.
pub(super) fn name_of(job: &str) -> Option<GroupName> {
    GroupName::new(job).ok()
}

/// The group of a job. `None` for a name that none can have, which no job has.
pub(super) fn group_of(job: &Job) -> Option<Group> {
    let spec = &job.spec;
    let (restart, unreachable) = match (spec.kind, spec.restart_policy) {
        (Kind::Service, RestartPolicy::Always) => (Restart::Always, Unreachable::DEFAULT),
        (Kind::Service, RestartPolicy::OnFailure) => {
            (Restart::OnFailure { retries: None }, Unreachable::DEFAULT)
        }
        (Kind::Service, RestartPolicy::Never) => (Restart::Never, Unreachable::DEFAULT),
        // Nobody knows whether it runs, and it must not run twice.
        (Kind::Batch | Kind::Cron, _) => {
            (Restart::OnFailure { retries: Some(spec.retries) }, Unreachable::Wait)
        }
    };
    let mut group = Group::of(task_of(spec))
        .named(&spec.name)
        .ok()?
        .count(spec.instances)
        .priority(spec.priority)
        .restart(restart)
        .back_off(spec.restart)
        .unreachable(unreachable);
    if spec.kind == Kind::Service {
        group = group.change(change_of(&spec.update));
    }
    if let Some(before) = &job.before {
        group = group.previous(task_of(before));
    }
    if let Some(most) = spec.parallel {
        group = group.parallel(most);
    }
    if let Some(spread) = &spec.spread {
        group = match spread.at_most {
            Some(most) => group.at_most(most, &spread.by),
            None => group.spread(&spread.by),
        };
    }
    group = spec.prefer.0.iter().cloned().fold(group, Group::prefer);
    if let Some(role) = &spec.role {
        group = group.role(role.clone());
    }
    for volume in &spec.volumes {
        let kept = VolumeSpec::named(&volume.name, 0).ok()?.disk_bytes(volume.size_bytes);
        group = group.volume(match volume.anew_after {
            Some(homeless) => kept.anew_after(homeless),
            None => kept,
        });
    }
    Some(group)
}

fn change_of(update: &Update) -> RollingChange {
    RollingChange {
        surge: update.max_surge,
        max_unavailable: update.max_unavailable,
        min_ready: update.min_healthy,
        deadline: Some(update.progress_deadline),
        failures: None,
        canary: update.canary,
        back: update.rollback,
    }
}

/// What tells tasks apart that are alike in all else: they run on the resources of the role that they were started in, and
/// find the volumes that there were then.
fn variant_of(spec: &JobSpec) -> String {
    let role = spec.role.as_ref().map_or_else(String::new, ToString::to_string);
    // No role has a blank in it.
    spec.volumes.iter().fold(role, |all, volume| format!("{all} {}={}", volume.name, volume.size_bytes))
}

/// What each of its instances runs. Jobs in which this is alike differ in nothing that a running task would notice.
pub(crate) fn task_of(spec: &JobSpec) -> TaskSpec {
    let mut parts = in_order(spec).into_iter();
    let task = match parts.next() {
        None => plain(spec, Own::of_job(spec)),
        // Its end is the end of the instance.
        Some(leader) => plain(spec, Own::of_part(leader)).label(PART, &leader.name),
    };
    let mut task = task.variant(variant_of(spec));
    if let Some(limit) = spec.time_limit {
        task = task.longest_run(limit);
    }
    let task = spec.constraints.0.iter().cloned().fold(task, TaskSpec::constraint);
    parts.fold(task, |task, part| {
        task.beside(&part.name, plain(spec, Own::of_part(part)).label(PART, &part.name))
    })
}

/// The label that says which task of its instance one is.
const PART: &str = "task";

/// The tasks of each instance, if they are several, in the order in which they are numbered: the leader first.
pub(super) fn in_order(spec: &JobSpec) -> Vec<&GroupTask> {
    let leader = spec.tasks.iter().filter(|task| task.leader);
    leader.chain(spec.tasks.iter().filter(|task| !task.leader)).collect()
}

/// What a job of one task says of it, and each of several of itself.
struct Own<'a> {
    command: &'a Command,
    amounts: [u64; 3],
    ports: &'a [String],
    env: BTreeMap<String, String>,
    artifacts: &'a [Artifact],
    secrets: &'a BTreeMap<String, String>,
    checks: [Option<&'a Check>; 2],
}

// === impl Own ===

impl<'a> Own<'a> {
    fn of_job(spec: &'a JobSpec) -> Own<'a> {
        Own {
            command: &spec.command,
            amounts: [spec.cpus_milli, spec.mem_bytes, spec.disk_bytes],
            ports: &spec.ports,
            env: BTreeMap::new(),
            artifacts: &spec.artifacts,
            secrets: &spec.secrets,
            checks: [spec.health.as_ref(), spec.readiness.as_ref()],
        }
    }

    fn of_part(task: &'a GroupTask) -> Own<'a> {
        Own {
            command: &task.command,
            amounts: [task.cpus_milli, task.mem_bytes, task.disk_bytes],
            ports: &task.ports,
            env: task.env.clone(),
            artifacts: &task.artifacts,
            secrets: &task.secrets,
            checks: [task.health.as_ref(), task.readiness.as_ref()],
        }
    }
}

fn plain(spec: &JobSpec, own: Own<'_>) -> TaskSpec {
    let (argv, shell) = own.command.to_argv();
    let mut env = spec.env.clone();
    env.extend(own.env);
    env.entry("STOA_JOB".to_owned()).or_insert_with(|| spec.name.clone());
    let (user, artifacts) = (spec.user.clone(), own.artifacts.to_vec());
    let command = CommandInfo { argv, shell, env, user, artifacts, secrets: secrets_of(own.secrets) };
    let [cpus_milli, mem_bytes, disk_bytes] = own.amounts;
    let mut task = TaskSpec::of(command)
        .scalars(Quantities::of(cpus_milli, mem_bytes).with_disk(disk_bytes))
        .named_ports(own.ports.iter().cloned())
        .kill_grace(spec.kill_grace)
        .label("job", &spec.name);
    let [health, readiness] = own.checks;
    if let Some(check) = health {
        task = task.health(check_of(check, own.ports));
    }
    if let Some(check) = readiness {
        task = task.readiness(check_of(check, own.ports));
    }
    task
}

/// By the names of their files, which were checked with the job.
fn secrets_of(secrets: &BTreeMap<String, String>) -> Vec<SecretFile> {
    let one = |(file, name): (&String, &String)| {
        let (name, file) = (SecretName::new(name).ok()?, FileName::new(file).ok()?);
        Some(SecretFile { name, file: Some(file) })
    };
    secrets.iter().filter_map(one).collect()
}

fn check_of(check: &Check, ports: &[String]) -> check::Check {
    // Which ports there are was checked with the job.
    let port = |name: &String| {
        let at = ports.iter().position(|port| port == name).unwrap_or_default();
        CheckPort::Index(u32::try_from(at).unwrap_or_default())
    };
    let kind = match &check.kind {
        CheckKind::Command(command) => {
            let (argv, shell) = command.to_argv();
            check::CheckKind::Command(check::CommandCheck { argv, shell })
        }
        CheckKind::Http { path, port: name, https } => {
            let (path, port, https) = (path.clone(), port(name), *https);
            check::CheckKind::Http(check::HttpCheck { path, port, https })
        }
        CheckKind::Tcp { port: name } => check::CheckKind::Tcp(check::TcpCheck { port: port(name) }),
    };
    check::Check {
        kind,
        delay: check.delay,
        interval: check.interval,
        timeout: check.timeout,
        grace: check.grace,
        failures: check.failures,
    }
}

impl Jobs {
    /// Completes a task that is started: with which attempt it is, of how many instances.
    pub(super) fn dress(&self, task: &mut TaskInfo) {
        let Some(InstanceName { group, number }) = self.reconciler.instance_of(&task.id) else { return };
        let Some(job) = self.state.jobs.get(group.as_str()) else { return };
        let Some(instance) = job.instances.get(&number) else { return };
        let attempt = instance.attempt.to_string();
        let env = &mut task.command.env;
        let own = job.spec.tasks.iter().any(|part| part.env.contains_key("STOA_GROUP"));
        if !own && !job.spec.env.contains_key("STOA_GROUP") {
            env.remove("STOA_GROUP");
        }
        env.entry("STOA_INSTANCES".to_owned()).or_insert_with(|| job.spec.instances.to_string());
        env.entry("STOA_ATTEMPT".to_owned()).or_insert_with(|| attempt.clone());
        task.labels.insert("instance".to_owned(), number.to_string());
        task.labels.insert("attempt".to_owned(), attempt);
        task.name = part_name(&job.spec.instance_name(number), instance, &task.id);
    }
}

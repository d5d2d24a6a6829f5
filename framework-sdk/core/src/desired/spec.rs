//! `TaskSpec`: what one instance runs, what it needs, and what its machine must be like.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::attributes::{Constraint, Constraints, Predicate};
use proto::check::{Check, CheckKind, CheckPort, Checks};
use proto::id::{FileName, SecretName, TaskId};
use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::secret::SecretFile;
use proto::task::{Artifact, CommandInfo, TaskInfo};

use super::name::{InstanceName, Revision};

/// What one instance of a group runs. Two specs that differ in anything are two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    command: CommandInfo,
    scalars: Quantities,
    ports: u64,
    port_names: Vec<String>,
    kill_grace: Duration,
    labels: BTreeMap<String, String>,
    constraints: Constraints,
    variant: String,
    beside: Vec<(String, TaskSpec)>,
    checks: Checks,
    longest_run: Option<Duration>,
}

// === impl TaskSpec ===

impl TaskSpec {
    /// A tenth of a cpu and 64 MiB: enough to start.
    const SCALARS: (u64, u64) = (100, 64 << 20);

    /// A script for `/bin/sh -c`.
    pub fn shell(script: impl Into<String>) -> Self {
        TaskSpec::of(CommandInfo { argv: vec![script.into()], shell: true, ..CommandInfo::default() })
    }

    /// A program and its arguments.
    pub fn argv<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        TaskSpec::of(CommandInfo { argv, ..CommandInfo::default() })
    }

    /// Any command.
    pub fn of(command: CommandInfo) -> Self {
        TaskSpec {
            command,
            scalars: Quantities::of(TaskSpec::SCALARS.0, TaskSpec::SCALARS.1),
            ports: 0,
            port_names: Vec::new(),
            kill_grace: TaskInfo::KILL_GRACE_DEFAULT,
            labels: BTreeMap::new(),
            constraints: Constraints::default(),
            variant: String::new(),
            beside: Vec::new(),
            checks: Checks::default(),
            longest_run: None,
        }
    }

    /// Thousandths of a cpu.
    pub fn cpus_milli(mut self, milli: u64) -> Self {
        self.scalars.set(&proto::quantities::Scalar::Cpus, milli);
        self
    }

    /// Memory, in MiB.
    pub fn mem_mib(mut self, mib: u64) -> Self {
        self.scalars.set(&proto::quantities::Scalar::Mem, mib.saturating_mul(1 << 20));
        self
    }

    /// All its scalars at once.
    pub fn scalars(mut self, scalars: Quantities) -> Self {
        self.scalars = scalars;
        self
    }

    /// So many ports; the task finds them as `PORT`, `PORT0`, `PORT1` and so on.
    pub fn ports(mut self, count: u64) -> Self {
        self.ports = count;
        self
    }

    /// A port for each name; the task finds them as `PORT_` and the name, too.
    pub fn named_ports<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.port_names = names.into_iter().map(Into::into).collect();
        self.ports = self.port_names.len() as u64;
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.env.insert(name.into(), value.into());
        self
    }

    /// The user to run as.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.command.user = user.into();
        self
    }

    /// A file to fetch into its sandbox first.
    pub fn artifact(mut self, artifact: Artifact) -> Self {
        self.command.artifacts.push(artifact);
        self
    }

    /// A secret of its role, or of one above it, which the task finds as a file of this name in the directory `STOA_SECRETS`.
    pub fn secret(mut self, name: SecretName) -> Self {
        self.command.secrets.push(SecretFile::named(name));
        self
    }

    /// The same as a file of another name.
    pub fn secret_as(mut self, name: SecretName, file: FileName) -> Self {
        self.command.secrets.push(SecretFile { name, file: Some(file) });
        self
    }

    /// Time between TERM and KILL.
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.kill_grace = grace;
        self
    }

    /// Ended, and started anew, when it fails this check. A port is best named by its place: `CheckPort::Index(0)` is `PORT0`.
    pub fn health(mut self, check: Check) -> Self {
        self.checks.health = Some(check);
        self
    }

    /// Ready to serve while it passes this check.
    pub fn readiness(mut self, check: Check) -> Self {
        self.checks.readiness = Some(check);
        self
    }

    /// Ended when it runs for longer.
    pub fn longest_run(mut self, limit: Duration) -> Self {
        self.longest_run = Some(limit);
        self
    }

    /// What is asked of each task while it runs.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// A label, for people.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Only on machines whose attribute (or `hostname`, or `agent`) is one of these.
    pub fn only_where<S: Into<String>>(self, attribute: &str, values: impl IntoIterator<Item = S>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.constraint(Constraint { attribute: attribute.to_owned(), predicate: Predicate::In(values) })
    }

    /// Only on machines that this allows; all of several must.
    pub fn constraint(mut self, constraint: Constraint) -> Self {
        self.constraints.0.push(constraint);
        self
    }

    /// Tells it apart from specs that are alike but for this: for what an author changes about a task besides its spec.
    pub fn variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = variant.into();
        self
    }

    /// Another task that is part of each instance: they start together on one agent, and when this one ends, or any of
    /// them badly, the others end, too. Each finds the ports of all that have a name. What the other's machine must be like counts for all of them.
    pub fn beside(mut self, name: impl Into<String>, mut other: TaskSpec) -> Self {
        self.constraints.0.append(&mut other.constraints.0);
        self.beside.push((name.into(), other));
        self
    }

    /// What its machine must be like.
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    /// What one instance needs of one agent. Ports stand for "so many".
    pub fn shape(&self) -> Amount {
        self.shapes().iter().fold(Amount::default(), |mut all, one| {
            all.scalars.add(&one.scalars);
            let ports = all.range("ports").count() + one.range("ports").count();
            if ports == 0 { all } else { all.with_ports(Ranges::single(1, ports)) }
        })
    }

    /// The same, task by task.
    pub(crate) fn shapes(&self) -> Vec<Amount> {
        let beside = self.beside.iter().flat_map(|(_, other)| other.shapes());
        std::iter::once(self.own_shape()).chain(beside).collect()
    }

    fn own_shape(&self) -> Amount {
        let amount = Amount::scalars(self.scalars.clone());
        if self.ports == 0 { amount } else { amount.with_ports(Ranges::single(1, self.ports)) }
    }

    /// The fingerprint of all of it. It must not change between versions of this crate, or every running group would be
    /// replaced by an upgrade: so fields are told apart by tags, and a field that is as by default is left out.
    pub fn revision(&self) -> Revision {
        Revision::of_hash(self.fingerprint())
    }

    fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::new();
        for arg in &self.command.argv {
            hash.field(b'a', arg.as_bytes());
        }
        if self.command.shell {
            hash.field(b's', b"");
        }
        for (name, value) in &self.command.env {
            hash.field(b'e', name.as_bytes());
            hash.field(b'=', value.as_bytes());
        }
        if !self.command.user.is_empty() {
            hash.field(b'u', self.command.user.as_bytes());
        }
        for artifact in &self.command.artifacts {
            hash.field(b'f', artifact.uri.as_bytes());
            hash.field(b'h', artifact.sha256.as_bytes());
            hash.field(b'n', artifact.name.as_bytes());
            hash.field(b'x', &[u8::from(artifact.executable)]);
        }
        for secret in &self.command.secrets {
            hash.field(b'S', secret.name.as_str().as_bytes());
            hash.field(b'F', secret.file_name().as_bytes());
        }
        for (scalar, amount) in self.scalars.iter() {
            hash.field(b'r', scalar.name().as_bytes());
            hash.field(b'=', &amount.to_be_bytes());
        }
        if self.ports > 0 {
            hash.field(b'p', &self.ports.to_be_bytes());
        }
        for name in &self.port_names {
            hash.field(b'P', name.as_bytes());
        }
        if self.kill_grace != TaskInfo::KILL_GRACE_DEFAULT {
            hash.field(b'g', &self.kill_grace.as_millis().to_be_bytes());
        }
        for (name, value) in &self.labels {
            hash.field(b'l', name.as_bytes());
            hash.field(b'=', value.as_bytes());
        }
        for constraint in &self.constraints.0 {
            hash.field(b'c', constraint.to_string().as_bytes());
        }
        if !self.variant.is_empty() {
            hash.field(b'v', self.variant.as_bytes());
        }
        for (name, other) in &self.beside {
            hash.field(b'b', name.as_bytes());
            hash.field(b'=', &other.fingerprint().to_be_bytes());
        }
        for (tag, check) in [(b'H', &self.checks.health), (b'R', &self.checks.readiness)] {
            if let Some(check) = check {
                hash.check(tag, check);
            }
        }
        if let Some(limit) = self.longest_run {
            hash.field(b't', &limit.as_millis().to_be_bytes());
        }
        hash.0
    }

    /// About how many bytes a task of it takes in a call.
    pub(crate) fn task_bytes(&self) -> usize {
        let argv: usize = self.command.argv.iter().map(String::len).sum();
        let pairs = self.command.env.iter().chain(&self.labels);
        let pairs: usize = pairs.map(|(name, value)| name.len() + value.len() + 16).sum();
        let files: usize = self.command.artifacts.iter().map(|file| file.uri.len() + 128).sum();
        let secret = |secret: &SecretFile| secret.name.as_str().len() + secret.file_name().len() + 16;
        let secrets: usize = self.command.secrets.iter().map(secret).sum();
        let beside: usize = self.beside.iter().map(|(_, other)| other.task_bytes()).sum();
        let checks = [&self.checks.health, &self.checks.readiness];
        let checks: usize = checks.into_iter().flatten().map(check_bytes).sum();
        512 + argv + pairs + files + secrets + checks + beside
    }

    /// The tasks of one launch, the first of which has the first of these ids, on resources of [`TaskSpec::shapes`].
    pub(crate) fn tasks(&self, instance: &InstanceName, on: Vec<(TaskId, Resources)>) -> Vec<TaskInfo> {
        let names = std::iter::once(instance.to_string()).chain(self.names_beside(&instance.to_string()));
        let specs = self.flatten();
        let ports: Vec<(String, u64)> =
            specs.iter().zip(&on).flat_map(|(spec, (_, resources))| spec.ports_of(resources)).collect();
        let all = specs.into_iter().zip(names).zip(on);
        let task = |((spec, name), (id, resources)): ((&TaskSpec, String), (TaskId, Resources))| {
            let mut task = spec.task(id, name, instance, resources);
            for (name, port) in &ports {
                // Its own goes before.
                if !spec.port_names.contains(name) {
                    task.command.env.insert(format!("PORT_{name}"), port.to_string());
                }
            }
            task
        };
        all.map(task).collect()
    }

    /// The ports that have a name, on these resources.
    fn ports_of(&self, resources: &Resources) -> Vec<(String, u64)> {
        let ports = resources.flatten().range("ports");
        self.port_names.iter().cloned().zip(ports.iter()).collect()
    }

    fn flatten(&self) -> Vec<&TaskSpec> {
        let beside = self.beside.iter().flat_map(|(_, other)| other.flatten());
        std::iter::once(self).chain(beside).collect()
    }

    fn names_beside(&self, above: &str) -> Vec<String> {
        let of = |(name, other): &(String, TaskSpec)| {
            let own = format!("{above}/{name}");
            let below = other.names_beside(&own);
            std::iter::once(own).chain(below)
        };
        self.beside.iter().flat_map(of).collect()
    }

    fn task(&self, id: TaskId, name: String, instance: &InstanceName, resources: Resources) -> TaskInfo {
        let mut command = self.command.clone();
        command.env.insert("STOA_GROUP".to_owned(), instance.group.to_string());
        command.env.insert("STOA_INSTANCE".to_owned(), instance.number.to_string());
        // After the author's own: a port that is not the task's would be somebody else's.
        for (at, port) in resources.flatten().range("ports").iter().enumerate() {
            if at == 0 {
                command.env.insert("PORT".to_owned(), port.to_string());
            }
            command.env.insert(format!("PORT{at}"), port.to_string());
            if let Some(name) = self.port_names.get(at) {
                command.env.insert(format!("PORT_{name}"), port.to_string());
            }
        }
        TaskInfo {
            id,
            name,
            command,
            resources,
            kill_grace: self.kill_grace,
            labels: self.labels.clone(),
            group: None,
            checks: self.checks.clone(),
            longest_run: self.longest_run,
        }
    }
}

fn check_bytes(check: &Check) -> usize {
    64 + match &check.kind {
        CheckKind::Command(command) => command.argv.iter().map(String::len).sum(),
        CheckKind::Http(http) => http.path.len(),
        CheckKind::Tcp(_) => 0,
    }
}

/// FNV-1a (Fowler, Noll, Vo): the same everywhere and for ever, which the standard hasher does not promise.
struct Fingerprint(u64);

impl Fingerprint {
    fn new() -> Self {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }

    /// A field with its length: two fields never look like one.
    fn field(&mut self, tag: u8, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_be_bytes();
        for byte in [tag].iter().chain(&length).chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// All of a check under its tag.
    fn check(&mut self, tag: u8, check: &Check) {
        let Check { kind, delay, interval, timeout, grace, failures } = check;
        self.field(tag, &failures.to_be_bytes());
        for time in [delay, interval, timeout, grace] {
            self.field(b'=', &time.as_millis().to_be_bytes());
        }
        match kind {
            CheckKind::Command(command) => {
                self.field(b's', &[u8::from(command.shell)]);
                command.argv.iter().for_each(|arg| self.field(b'a', arg.as_bytes()));
            }
            CheckKind::Http(http) => {
                self.field(b'w', http.path.as_bytes());
                self.field(b'x', &[u8::from(http.https)]);
                self.port(http.port);
            }
            CheckKind::Tcp(tcp) => self.port(tcp.port),
        }
    }

    fn port(&mut self, port: CheckPort) {
        match port {
            CheckPort::Number(port) => self.field(b'p', &port.to_be_bytes()),
            CheckPort::Index(index) => self.field(b'i', &index.to_be_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::GroupName;

    #[test]
    fn whatever_differs_is_another_revision() {
        let spec = || TaskSpec::argv(["a", "b"]);
        let db = SecretName::new("db").unwrap();
        let others = [
            TaskSpec::argv(["ab"]),
            TaskSpec::argv(["a", "b", ""]),
            TaskSpec::shell("a"),
            TaskSpec::argv(["a"]),
            spec().env("x", "y"),
            spec().env("y", "x"),
            spec().label("x", "y"),
            spec().user("ada"),
            spec().cpus_milli(101),
            spec().mem_mib(65),
            spec().ports(1),
            spec().named_ports(["HTTP"]),
            spec().kill_grace(Duration::from_secs(4)),
            spec().only_where("zone", ["a"]),
            spec().only_where("zone", ["b"]),
            spec().variant("b"),
            spec().beside("c", TaskSpec::shell("d")),
            spec().beside("d", TaskSpec::shell("d")),
            spec().beside("c", TaskSpec::shell("e")),
            spec().health(Check::shell("true")),
            spec().readiness(Check::shell("true")),
            spec().health(Check::shell("true").failures(2)),
            spec().health(Check::shell("true").grace(Duration::ZERO)),
            spec().health(Check::argv(["true"])),
            spec().health(Check::tcp(CheckPort::Index(0))),
            spec().health(Check::tcp(CheckPort::Number(0))),
            spec().health(Check::http("/", CheckPort::Index(0))),
            spec().health(Check::https("/", CheckPort::Index(0))),
            spec().longest_run(Duration::from_secs(1)),
            spec().secret(db.clone()),
            spec().secret_as(db.clone(), FileName::new("key").unwrap()),
        ];
        let mut seen = vec![spec().revision()];
        for other in others {
            let revision = other.revision();
            assert!(!seen.contains(&revision), "{other:?}");
            seen.push(revision);
        }
        assert_eq!(spec().cpus_milli(100).mem_mib(64).revision(), spec().revision(), "said or not");
    }

    /// A change here would replace every task of every framework at its next upgrade.
    #[test]
    fn a_revision_outlives_versions() {
        assert_eq!(TaskSpec::shell("sleep 1").revision().to_string(), "z4arv3f");
        let rich =
            TaskSpec::argv(["a"]).env("k", "v").ports(2).label("l", "m").only_where("zone", ["a", "b"]);
        assert_eq!(rich.revision().to_string(), "7cfcltb");
    }

    #[test]
    fn a_task_finds_its_ports_and_who_it_is() {
        let instance = InstanceName { group: GroupName::new("web").expect("a name"), number: 3 };
        let ports = Amount::default().with_ports(Ranges::from_pairs([(31_000, 31_000), (31_007, 31_007)]));
        let id = TaskId::new("t").expect("an id");
        let spec = TaskSpec::shell("true")
            .named_ports(["HTTP", "ADMIN"])
            .beside("log", TaskSpec::shell("tail").named_ports(["LOG"]));
        assert_eq!(spec.shape().range("ports").count(), 3);
        let log = Amount::default().with_ports(Ranges::single(31_009, 31_009));
        let beside = (TaskId::new("t.1").expect("an id"), Resources::unreserved(log));
        let tasks = spec.tasks(&instance, vec![(id, Resources::unreserved(ports)), beside]);
        let [task, beside] = &tasks[..] else { panic!("{tasks:?}") };
        assert_eq!(beside.name, "web.3/log");
        let env = |name: &str| task.command.env.get(name).map(String::as_str);
        assert_eq!((env("PORT"), env("PORT0"), env("PORT1")), (Some("31000"), Some("31000"), Some("31007")));
        assert_eq!((env("PORT_HTTP"), env("PORT_ADMIN")), (Some("31000"), Some("31007")));
        assert_eq!((env("STOA_GROUP"), env("STOA_INSTANCE")), (Some("web"), Some("3")));
        assert_eq!(task.name, "web.3");
        let theirs = |name: &str| beside.command.env.get(name).map(String::as_str);
        assert_eq!((env("PORT_LOG"), theirs("PORT_LOG")), (Some("31009"), Some("31009")));
        assert_eq!(
            (theirs("PORT_HTTP"), theirs("PORT0")),
            (Some("31000"), Some("31009")),
            "its own, and by name"
        );
    }
}

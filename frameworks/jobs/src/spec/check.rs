//! What every job must satisfy, wherever it came from.

use std::time::Duration;

use super::fault::Fault;
use super::{Command, Faults, JobSpec, Kind};

/// The shortest share of a cpu: as Mesos' `MIN_CPUS`.
pub const CPUS_MILLI_MIN: u64 = 10;
/// The largest, far beyond any machine: it keeps sums over all instances within 64 bits.
const CPUS_MILLI_MAX: u64 = 1_000_000_000;
/// A program cannot even be loaded in less.
pub const MEM_BYTES_MIN: u64 = 4 << 20;
/// Far beyond any machine, for the same reason.
const BYTES_MAX: u64 = 1 << 50;
/// Instances of one job.
pub const INSTANCES_MAX: u32 = 100_000;
/// Ports of one instance.
pub const PORTS_MAX: usize = 64;
/// Bytes of the name: with instance and serial it must still be a task id.
const NAME_BYTES_MAX: usize = 64;
/// Command, environment and artifacts together, in bytes: a thousand instances are launched in one message.
const TEXT_BYTES_MAX: usize = 128 * 1024;
const ARTIFACTS_MAX: usize = 64;
const RETRIES_MAX: u32 = 1_000;
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);

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
        if !(CPUS_MILLI_MIN..=CPUS_MILLI_MAX).contains(&self.cpus_milli) {
            let shown = framework_sdk::quantities::show_milli(self.cpus_milli);
            wrong("cpus", format!("{shown} is not between 0.01 and 1000000; write for example 0.5"));
        }
        let size = framework_sdk::quantities::show_bytes;
        if !(MEM_BYTES_MIN..=BYTES_MAX).contains(&self.mem_bytes) {
            let given = size(self.mem_bytes);
            wrong("mem", format!("{given} is not between 4MiB and 1024TiB; write for example \"64MiB\""));
        }
        if self.disk_bytes > BYTES_MAX {
            wrong("disk", format!("{} is more than 1024TiB", size(self.disk_bytes)));
        }
        if self.kill_grace > GRACE_MAX {
            wrong("kill_grace", "is more than a day; write for example \"5s\"".to_owned());
        }
        if self.retries > RETRIES_MAX {
            wrong("retries", format!("{} is more than {RETRIES_MAX}", self.retries));
        }
        if self.retries > 0 && self.kind == Kind::Service {
            let why = "is for batch jobs; a service is always started again, see restart";
            wrong("retries", why.to_owned());
        }
        let pause = PAUSE_MIN..=PAUSE_MAX;
        if !pause.contains(&self.restart.initial) || !pause.contains(&self.restart.max) {
            wrong("restart", "pauses are between 10ms and a day".to_owned());
        } else if self.restart.initial > self.restart.max {
            wrong("restart.max", "is less than restart.initial".to_owned());
        }
        self.check_ports(&mut wrong);
        self.check_texts(&mut wrong);
        faults
    }

    fn check_ports(&self, wrong: &mut impl FnMut(&str, String)) {
        if self.ports.len() > PORTS_MAX {
            wrong("ports", format!("{} are more than {PORTS_MAX}", self.ports.len()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in &self.ports {
            let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if name.is_empty() || name.len() > 64 || !name.chars().all(word) {
                let why =
                    format!("{name:?} is not a port's name; use letters, digits and _, such as \"http\"");
                wrong("ports", why);
            } else if !seen.insert(name) {
                wrong("ports", format!("two are named {name}"));
            }
        }
    }

    fn check_texts(&self, wrong: &mut impl FnMut(&str, String)) {
        let argv: &[String] = match &self.command {
            Command::Shell(script) => std::slice::from_ref(script),
            Command::Argv(argv) => argv,
        };
        if argv.first().is_none_or(|program| program.trim().is_empty()) {
            wrong("command", "is empty; write a script, or a list of a program and its arguments".to_owned());
        }
        if argv.iter().any(|word| word.contains('\0')) {
            wrong("command", "holds a zero byte".to_owned());
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                wrong(
                    "env",
                    format!("{name:?} is not a variable; names hold no = and nothing holds a zero byte"),
                );
            }
        }
        if self.user.len() > 64 || self.user.chars().any(|c| c.is_control() || c.is_whitespace() || c == ':')
        {
            wrong("user", format!("{:?} is not the name of a user", self.user));
        }
        if self.artifacts.len() > ARTIFACTS_MAX {
            wrong("artifacts", format!("{} are more than {ARTIFACTS_MAX}", self.artifacts.len()));
        }
        for (at, artifact) in self.artifacts.iter().enumerate() {
            let schemes = ["file://", "http://", "https://"];
            if !schemes
                .iter()
                .any(|scheme| artifact.uri.len() > scheme.len() && artifact.uri.starts_with(scheme))
            {
                let why = format!("{:?} does not begin with file://, http:// or https://", artifact.uri);
                wrong(&format!("artifacts[{at}].uri"), why);
            }
            let hash = &artifact.sha256;
            if !hash.is_empty() && (hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
                let why = "is not a SHA-256: 64 hex digits, as sha256sum prints them";
                wrong(&format!("artifacts[{at}].sha256"), why.to_owned());
            }
            let name = &artifact.name;
            if name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
                let why = format!("{name:?} is not a file name; artifacts lie directly in the sandbox");
                wrong(&format!("artifacts[{at}].name"), why);
            }
        }
        let bytes: usize = argv.iter().map(String::len).sum::<usize>()
            + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.artifacts.iter().map(|a| a.uri.len() + a.name.len()).sum::<usize>();
        if bytes > TEXT_BYTES_MAX {
            let why = format!(
                "with env and artifacts holds {bytes} bytes, more than {TEXT_BYTES_MAX}; fetch large scripts as artifacts"
            );
            wrong("command", why);
        }
    }
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
        return Some("is missing; give the job a name".to_owned());
    }
    let shown: String = name.chars().take(80).collect();
    Some(format!(
        "{shown:?} is not a name; use at most {NAME_BYTES_MAX} letters, digits, - _ and ., beginning with a letter or digit"
    ))
}

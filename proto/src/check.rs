//! Checks: what an agent asks of a running task again and again, and what makes one that can be carried out.

use std::time::Duration;

use crate::ranges::Ranges;

/// What is asked of a task while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Whether it is well: a task that fails is ended.
    pub health: Option<Check>,
    /// Whether it can serve: reported, and nothing else.
    pub readiness: Option<Check>,
}

/// Which of a task's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckRole {
    /// Whether it is well.
    Health,
    /// Whether it can serve.
    Readiness,
}

/// One thing that is asked, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// From the start of the task to the first check.
    pub delay: Duration,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// What takes longer has failed.
    pub timeout: Duration,
    /// From the start of the task: failures in it do not count, until the first success.
    pub grace: Duration,
    /// So many failures in a row decide.
    pub failures: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// That a command ends with code 0.
    Command(CommandCheck),
    /// That GET is answered by a status of 200 to 399.
    Http(HttpCheck),
    /// That a connection opens.
    Tcp(TcpCheck),
}

/// A command beside the task: in its namespaces, cgroup and sandbox, as its user, with its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandCheck {
    /// The program and its arguments; with `shell`, one argument: a script for `/bin/sh -c`.
    pub argv: Vec<String>,
    /// Whether `argv` is a script.
    pub shell: bool,
}

/// GET to the task's machine, from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// With its leading slash, and a query if there is one.
    pub path: String,
    /// Where to.
    pub port: CheckPort,
    /// By https; the certificate is not verified.
    pub https: bool,
}

/// A connection to the task's machine, from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpCheck {
    /// Where to.
    pub port: CheckPort,
}

/// A port that a check goes to: always one of the task's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckPort {
    /// The port itself.
    Number(u16),
    /// The task's ports in order, from 0: the one that it finds as `PORT0`, `PORT1` and so on.
    Index(u32),
}

/// A day: what is asked less often is not watched.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
const FAILURES_MAX: u32 = 1000;
const PATH_BYTES_MAX: usize = 1024;
const ARGV_BYTES_MAX: usize = 16 << 10;

// === impl CheckRole ===

impl CheckRole {
    /// Both.
    pub const ALL: [CheckRole; 2] = [CheckRole::Health, CheckRole::Readiness];

    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckRole::Health => "health",
            CheckRole::Readiness => "readiness",
        }
    }
}

// === impl Checks ===

impl Checks {
    /// One of them.
    pub fn get(&self, role: CheckRole) -> Option<&Check> {
        match role {
            CheckRole::Health => self.health.as_ref(),
            CheckRole::Readiness => self.readiness.as_ref(),
        }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.health.is_none() && self.readiness.is_none()
    }

    /// What is wrong with them for a task with these ports, naming the field and what would be right.
    pub fn fault(&self, ports: &Ranges) -> Result<(), String> {
        for role in CheckRole::ALL {
            if let Some(check) = self.get(role) {
                check.fault(ports).map_err(|why| format!("checks.{}.{why}", role.as_str()))?;
            }
        }
        Ok(())
    }
}

// === impl Check ===

impl Check {
    // The defaults are those of Mesos' `HealthCheck` (`include/mesos/v1/mesos.proto`), so that what is tuned for it need not
    // be tuned anew; but for the delay, which is 15 s there: whoever answers sooner is known to sooner, and failures in the
    // grace count for nothing.

    /// None.
    pub const DELAY_DEFAULT: Duration = Duration::ZERO;
    /// 10 s.
    pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
    /// 20 s.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
    /// 10 s.
    pub const GRACE_DEFAULT: Duration = Duration::from_secs(10);
    /// Three in a row.
    pub const FAILURES_DEFAULT: u32 = 3;
    /// The least time between two checks: more would be load, not knowledge.
    pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

    /// A check with the usual times.
    pub fn of(kind: CheckKind) -> Self {
        Check {
            kind,
            delay: Check::DELAY_DEFAULT,
            interval: Check::INTERVAL_DEFAULT,
            timeout: Check::TIMEOUT_DEFAULT,
            grace: Check::GRACE_DEFAULT,
            failures: Check::FAILURES_DEFAULT,
        }
    }

    /// That GET of a path is answered by a status of 200 to 399.
    pub fn http(path: impl Into<String>, port: CheckPort) -> Self {
        Check::of(CheckKind::Http(HttpCheck { path: path.into(), port, https: false }))
    }

    /// The same by https; the certificate is not verified.
    pub fn https(path: impl Into<String>, port: CheckPort) -> Self {
        Check::of(CheckKind::Http(HttpCheck { path: path.into(), port, https: true }))
    }

    /// That a connection opens.
    pub fn tcp(port: CheckPort) -> Self {
        Check::of(CheckKind::Tcp(TcpCheck { port }))
    }

    /// That a script for `/bin/sh -c` ends with code 0.
    pub fn shell(script: impl Into<String>) -> Self {
        Check::of(CheckKind::Command(CommandCheck { argv: vec![script.into()], shell: true }))
    }

    /// That a program ends with code 0.
    pub fn argv<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Check::of(CheckKind::Command(CommandCheck { argv, shell: false }))
    }

    /// From the start of the task to the first check.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// From the end of one check to the next.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// What takes longer has failed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// From the start of the task: failures in it do not count, until the first success.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// So many failures in a row decide.
    pub fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    fn fault(&self, ports: &Ranges) -> Result<(), String> {
        let times = [
            ("delay", self.delay),
            ("interval", self.interval),
            ("timeout", self.timeout),
            ("grace", self.grace),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| *time > TIME_MAX) {
            return Err(format!("{name} is more than {} hours; make it shorter", TIME_MAX.as_secs() / 3600));
        }
        if self.interval < Check::INTERVAL_MIN {
            return Err(format!(
                "interval is {} ms; make it {} ms at least ({} ms is usual)",
                self.interval.as_millis(),
                Check::INTERVAL_MIN.as_millis(),
                Check::INTERVAL_DEFAULT.as_millis()
            ));
        }
        if self.timeout < Duration::from_millis(1) {
            let usual = Check::TIMEOUT_DEFAULT.as_millis();
            return Err(format!("timeout is 0 ms; give it some time ({usual} ms is usual)"));
        }
        if self.failures == 0 || self.failures > FAILURES_MAX {
            return Err(format!(
                "failures is {}; say 1 to {FAILURES_MAX} ({} is usual)",
                self.failures,
                Check::FAILURES_DEFAULT
            ));
        }
        match &self.kind {
            CheckKind::Command(command) => command.fault().map_err(|why| format!("command.{why}")),
            CheckKind::Http(http) => http.fault(ports).map_err(|why| format!("http.{why}")),
            CheckKind::Tcp(tcp) => tcp.port.fault(ports).map_err(|why| format!("tcp.{why}")),
        }
    }
}

impl CommandCheck {
    fn fault(&self) -> Result<(), String> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err("argv is empty; name a program".to_owned());
        }
        if self.shell && self.argv.len() != 1 {
            return Err("argv of a shell command is one script; give exactly one argument".to_owned());
        }
        if self.argv.iter().any(|arg| arg.contains('\0')) {
            return Err("argv holds a zero byte; take it out".to_owned());
        }
        if self.argv.iter().map(String::len).sum::<usize>() > ARGV_BYTES_MAX {
            return Err(format!("argv takes more than {ARGV_BYTES_MAX} bytes; move it into an artifact"));
        }
        Ok(())
    }
}

impl HttpCheck {
    fn fault(&self, ports: &Ranges) -> Result<(), String> {
        if !self.path.starts_with('/') {
            return Err(format!(
                "path is {:?}; begin it with /",
                self.path.chars().take(40).collect::<String>()
            ));
        }
        if self.path.len() > PATH_BYTES_MAX || !self.path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "path is longer than {PATH_BYTES_MAX} bytes or holds spaces or other than ASCII; shorten it, or write these as %20 and so on"
            ));
        }
        self.port.fault(ports)
    }
}

// === impl CheckPort ===

impl CheckPort {
    /// The port of a task with these ports, if it is one of them.
    pub fn among(self, ports: &Ranges) -> Option<u16> {
        match self {
            CheckPort::Number(port) => ports.has(u64::from(port)).then_some(port),
            CheckPort::Index(index) => {
                let port = ports.iter().nth(usize::try_from(index).ok()?)?;
                u16::try_from(port).ok()
            }
        }
    }

    fn fault(self, ports: &Ranges) -> Result<(), String> {
        if self.among(ports).is_some() {
            return Ok(());
        }
        let has = match ports.count() {
            0 => "the task has no ports; let it take some".to_owned(),
            1 => "the task has one port, index 0".to_owned(),
            count => format!("the task has {count} ports, index 0 to {}", count - 1),
        };
        Err(match self {
            CheckPort::Number(port) => {
                format!(
                    "port is {port}, which is not the task's: {has}; a check goes to the task's own ports only"
                )
            }
            CheckPort::Index(index) => format!("port has index {index}: {has}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(check: Check) -> String {
        let checks = Checks { health: None, readiness: Some(check) };
        let ports = Ranges::from_pairs([(31_000, 31_000), (31_007, 31_007)]);
        checks.fault(&ports).expect_err("a fault")
    }

    #[test]
    fn a_fault_names_the_field_and_what_would_be_right() {
        let tcp = || Check::tcp(CheckPort::Index(0));
        assert_eq!(
            fault(tcp().interval(Duration::from_millis(99))),
            "checks.readiness.interval is 99 ms; make it 100 ms at least (10000 ms is usual)"
        );
        assert_eq!(
            fault(tcp().timeout(Duration::ZERO)),
            "checks.readiness.timeout is 0 ms; give it some time (20000 ms is usual)"
        );
        assert_eq!(fault(tcp().failures(0)), "checks.readiness.failures is 0; say 1 to 1000 (3 is usual)");
        assert!(fault(tcp().delay(Duration::MAX)).contains("readiness.delay is more than 24 hours"));
        assert_eq!(
            fault(Check::tcp(CheckPort::Index(2))),
            "checks.readiness.tcp.port has index 2: the task has 2 ports, index 0 to 1"
        );
        assert!(
            fault(Check::http("/", CheckPort::Number(22)))
                .contains("http.port is 22, which is not the task's")
        );
        assert_eq!(
            fault(Check::http("x", CheckPort::Index(0))),
            "checks.readiness.http.path is \"x\"; begin it with /"
        );
        assert!(fault(Check::http("/a b", CheckPort::Index(0))).contains("%20"));
        assert!(fault(Check::argv([""])).contains("command.argv is empty"));
        assert!(fault(Check::argv(Vec::<String>::new())).contains("command.argv is empty"));
    }

    #[test]
    fn a_port_is_found_by_number_and_by_its_place() {
        let ports = Ranges::from_pairs([(31_000, 31_000), (31_007, 31_008)]);
        let found = |port: CheckPort| port.among(&ports);
        assert_eq!(found(CheckPort::Index(0)), Some(31_000));
        assert_eq!(found(CheckPort::Index(2)), Some(31_008));
        assert_eq!(found(CheckPort::Index(3)), None);
        assert_eq!(found(CheckPort::Number(31_007)), Some(31_007));
        assert_eq!(found(CheckPort::Number(31_001)), None);
    }

    #[test]
    fn the_usual_times_are_allowed() {
        let checks =
            Checks { health: Some(Check::shell("true")), readiness: Some(Check::tcp(CheckPort::Index(0))) };
        assert_eq!(checks.fault(&Ranges::single(31_000, 31_000)), Ok(()));
    }
}

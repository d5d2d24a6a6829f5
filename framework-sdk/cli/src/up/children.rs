//! The processes of `stoa up`: started, started again when they die, and ended together.
//!
//! Each child holds the reading end of a pipe as its standard input and ends when that closes: so nothing is left when
//! this process is killed, however that happens.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::future::join_all;
use proto::caller::Caller;
use tokio::process::{Child, ChildStdin, Command};

use super::layout::{JOBS, Layout};
use super::{UpArgs, UpError, say};

/// A child that dies is started again after this, doubling up to the limit as long as it keeps dying.
const RESTART: Duration = Duration::from_millis(500);
const RESTART_MAX: Duration = Duration::from_secs(10);
/// A child that ran for so long is healthy again.
const HEALTHY: Duration = Duration::from_secs(30);
/// Children have so long to end by themselves: agents end their tasks meanwhile.
const END_LIMIT: Duration = Duration::from_secs(15);

/// Tells a child that it is one: it ends when its standard input closes.
pub const CHILD: &str = "STOA_CHILD";

/// All processes of the cluster.
pub(super) struct Children {
    masters: Vec<Keeping>,
    agents: Vec<Keeping>,
    jobs: Option<Keeping>,
}

/// One process that is kept alive.
struct Keeping {
    name: String,
    args: Vec<String>,
    log: PathBuf,
    child: Child,
    /// The writing end of its standard input: the child lives as long as it is open.
    leash: Option<ChildStdin>,
    restart: Duration,
    begun: std::time::Instant,
}

// === impl Children ===

impl Children {
    pub fn start(layout: &Layout, args: &UpArgs) -> Result<Children, UpError> {
        let mut masters = Vec::new();
        let mut agents = Vec::new();
        let members: Vec<String> = layout
            .masters
            .iter()
            .enumerate()
            .map(|(at, address)| format!("--member={}={address}", at + 1))
            .collect();
        let addresses: Vec<String> =
            layout.masters.iter().map(|address| format!("--master={address}")).collect();
        for (at, address) in layout.masters.iter().enumerate() {
            let name = format!("master-{}", at + 1);
            let dir = layout.root.join(&name);
            let mut list = vec![
                "master".to_owned(),
                format!("--id={}", at + 1),
                format!("--listen={address}"),
                format!("--data-dir={}", dir.join("data").display()),
                format!("--credentials={}", dir.join("credentials").display()),
                format!("--authority={}", layout.root.join("authority").display()),
            ];
            list.extend(master_rights(args));
            list.extend(members.iter().cloned());
            masters.push(Keeping::start(layout, name, list)?);
        }
        for number in 1..=args.agents {
            let name = format!("agent-{number}");
            let dir = layout.root.join(&name);
            let mut list = vec![
                "agent".to_owned(),
                format!("--work-dir={}", dir.join("work").display()),
                format!("--credentials={}", dir.join("credentials").display()),
                format!("--hostname={name}"),
                format!("--share={}", args.agents),
                format!("--cgroups-root={}", layout.cgroups_root()),
                format!("--ports={}", ports_of(number)),
            ];
            let resources = args.agent_resources.clone().unwrap_or_else(all_cpus);
            list.push(format!("--resources={resources}"));
            list.extend(agent_rights(args));
            if args.data_dir.is_none() {
                list.push("--end-tasks-on-exit".to_owned());
            }
            list.extend(addresses.iter().cloned());
            agents.push(Keeping::start(layout, name, list)?);
        }
        let jobs = if args.no_jobs {
            None
        } else {
            let dir = layout.root.join(JOBS);
            let mut list = vec![
                "framework".to_owned(),
                "jobs".to_owned(),
                format!("--data-dir={}", dir.join("data").display()),
                format!("--credentials={}", dir.join("credentials").display()),
            ];
            list.extend(addresses.iter().cloned());
            Some(Keeping::start(layout, "jobs".to_owned(), list)?)
        };
        Ok(Children { masters, agents, jobs })
    }

    /// Starts again whatever dies; never returns.
    pub async fn keep_alive(&mut self) {
        let all = self.masters.iter_mut().chain(&mut self.agents).chain(&mut self.jobs);
        join_all(all.map(Keeping::keep_alive)).await;
    }

    /// Ends everything: frameworks first, then agents, which still tell the masters how their tasks ended.
    pub async fn end(self) {
        let Children { masters, agents, jobs } = self;
        join_all(jobs.into_iter().map(Keeping::end)).await;
        join_all(agents.into_iter().map(Keeping::end)).await;
        join_all(masters.into_iter().map(Keeping::end)).await;
    }
}

/// What masters allow beyond the usual.
fn master_rights(args: &UpArgs) -> Vec<String> {
    let root =
        args.allow_root_tasks.then(|| format!("--allow-root-tasks={}", Caller::Framework(JOBS.to_owned())));
    root.into_iter().collect()
}

/// What agents allow beyond the usual.
fn agent_rights(args: &UpArgs) -> Vec<String> {
    let root = args.allow_root_tasks.then(|| "--allow-root-tasks".to_owned());
    let from = args.artifact_roots.iter().map(|dir| format!("--artifact-root={}", dir.display()));
    root.into_iter().chain(from).collect()
}

/// Memory and disk are shared out, but each agent offers every cpu: a task of one cpu must fit somewhere, and the kernel
/// shares cpus better than a division could.
fn all_cpus() -> String {
    format!("cpus:{}", std::thread::available_parallelism().map_or(1, usize::from))
}

/// Agents of one machine must not offer each other's ports: each gets its own thousand (Mesos' 31000-32000 and on).
fn ports_of(number: u16) -> String {
    let first = 30_000 + u32::from(number) * 500;
    format!("[{first}-{}]", first + 499)
}

// === impl Keeping ===

impl Keeping {
    fn start(layout: &Layout, name: String, args: Vec<String>) -> Result<Keeping, UpError> {
        let log = layout.logs().join(format!("{name}.log"));
        let mut child = spawn(&args, &log).map_err(|source| UpError::Start { name: name.clone(), source })?;
        let leash = child.stdin.take();
        Ok(Keeping { name, args, log, child, leash, restart: RESTART, begun: std::time::Instant::now() })
    }

    async fn keep_alive(&mut self) {
        loop {
            let how = self.child.wait().await;
            if self.begun.elapsed() >= HEALTHY {
                self.restart = RESTART;
            }
            let ended = how.map_or_else(|error| error.to_string(), |status| status.to_string());
            say(format_args!(
                "{} ended ({ended}); starting it again, its log is {}",
                self.name,
                self.log.display()
            ));
            tokio::time::sleep(self.restart).await;
            self.restart = (self.restart * 2).min(RESTART_MAX);
            match spawn(&self.args, &self.log) {
                Ok(mut child) => {
                    // Waiting for a child closes its standard input, if that is still with it.
                    self.leash = child.stdin.take();
                    self.child = child;
                    self.begun = std::time::Instant::now();
                }
                Err(error) => say(format_args!("{} cannot be started: {error}", self.name)),
            }
        }
    }

    async fn end(mut self) {
        drop(self.leash.take());
        if tokio::time::timeout(END_LIMIT, self.child.wait()).await.is_err() {
            say(format_args!(
                "{} did not end by itself within {} s; killing it",
                self.name,
                END_LIMIT.as_secs()
            ));
            let _ = self.child.kill().await;
        }
    }
}

fn spawn(args: &[String], log: &PathBuf) -> std::io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    Command::new(std::env::current_exe()?)
        .args(args)
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in a terminal is for this process, which then ends its children in order.
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpArgs,
    }

    fn rights(line: &[&str]) -> (Vec<String>, Vec<String>) {
        let args = Line::try_parse_from([&["up"], line].concat()).expect("a line").up;
        (master_rights(&args), agent_rights(&args))
    }

    #[test]
    fn nothing_is_allowed_that_was_not_asked_for() {
        assert_eq!(rights(&[]), (vec![], vec![]));
        let (masters, agents) =
            rights(&["--allow-root-tasks", "--artifact-root=/a", "--artifact-root", "/b c"]);
        assert_eq!(masters, ["--allow-root-tasks=framework/jobs"]);
        assert_eq!(agents, ["--allow-root-tasks", "--artifact-root=/a", "--artifact-root=/b c"]);
    }
}

//! The framework that is examined: a command, or a function of a test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use framework_sdk::{Profile, profile::PROFILE_VARIABLE};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::exit::Exit;
use crate::failure::{Failure, chain};

/// Names the empty directory in which a framework may keep its data.
const DATA_VARIABLE: &str = "STOA_DATA";
/// The command of --work may take so long.
const WORK_LIMIT: Duration = Duration::from_secs(30);
/// The file with what it writes on its standard error.
const LOG: &str = "log";

/// A framework within this process; for tests.
pub type Inside = Arc<dyn Fn(Profile) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How a framework is started.
#[derive(Clone)]
pub enum Subject {
    /// As a process.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// What gives it something to do.
        work: Option<String>,
    },
    /// As a task of this process.
    Inside(Inside),
}

/// A framework that was started.
pub(super) enum Running {
    Process(Box<Child>, PathBuf),
    Task(JoinHandle<()>),
}

// === impl Subject ===

impl Subject {
    /// Starts it with a profile, and with `dir` for everything that is written.
    pub(super) fn start(&self, profile: &Profile, dir: &Path) -> Result<Running, Failure> {
        match self {
            Subject::Inside(run) => Ok(Running::Task(tokio::spawn(run(profile.clone())))),
            Subject::Command { argv, .. } => {
                let (context, data, log) = (dir.join("context"), dir.join("data"), dir.join(LOG));
                profile.save(&context).map_err(|error| Failure::internal(chain(&error)))?;
                let made = fs::create_dir_all(&data).and_then(|()| File::create(&log));
                let errors = made.map_err(|error| written(&log, &error))?;
                let (program, rest) = argv.split_first().ok_or_else(|| Failure::usage("no command", ""))?;
                let child = Command::new(program)
                    .args(rest)
                    .env(PROFILE_VARIABLE, &context)
                    .env(DATA_VARIABLE, &data)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(errors)
                    .kill_on_drop(true)
                    .spawn();
                let child = child.map_err(|error| {
                    let hint = "name a program as you would in a shell, and its arguments behind it";
                    Failure::new(
                        Exit::NotFound,
                        "not-found",
                        format!("cannot start {program}: {error}"),
                        hint,
                    )
                })?;
                Ok(Running::Process(Box::new(child), log))
            }
        }
    }

    /// Gives it something to do, as a user; why that failed.
    pub(super) async fn give_work(&self, user: &Profile, dir: &Path) -> Result<(), String> {
        let Subject::Command { work: Some(work), .. } = self else { return Ok(()) };
        let context = dir.join("user");
        user.save(&context).map_err(|error| chain(&error))?;
        let mut command = Command::new("sh");
        command.args(["-c", work]).env(PROFILE_VARIABLE, &context).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(WORK_LIMIT, command.output()).await;
        let output = output
            .map_err(|_| format!("the command of --work takes longer than {} s", WORK_LIMIT.as_secs()))?
            .map_err(|error| format!("cannot start a shell: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = last_line(&String::from_utf8_lossy(&output.stderr));
        Err(format!("the command of --work failed ({}): {said}", output.status))
    }
}

// === impl Running ===

impl Running {
    /// How it died, if it did.
    pub fn death(&mut self) -> Option<String> {
        match self {
            Running::Task(task) => task.is_finished().then(|| "its task ended".to_owned()),
            Running::Process(child, log) => {
                let status = child.try_wait().ok().flatten()?;
                let said = last_line(&fs::read_to_string(log).unwrap_or_default());
                Some(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
            }
        }
    }

    /// Ends it, without asking.
    pub async fn end(self) {
        match self {
            Running::Task(task) => task.abort(),
            // It may have ended by itself.
            Running::Process(mut child, _) => drop(child.kill().await),
        }
    }
}

fn written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Bad, "internal", format!("cannot write {}: {error}", path.display()), "")
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

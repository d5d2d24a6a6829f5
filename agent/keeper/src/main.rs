//! The `stoa-keeper` program: reads its command line and becomes the keeper of one directory.

use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

const USAGE: &str =
    "usage: stoa-keeper serve DIR [BUILD [IDLE]]   keep the tasks of the agent that owns DIR; end after
                                              IDLE seconds (60) with no task and no agent
       stoa-keeper enter FILE                 run the command beside a task that FILE describes
       stoa-keeper probe                      exit 0 (a command for trying out isolation)
       stoa-keeper version";

const IDLE_SECONDS: u64 = 60;

fn main() {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next();
    match verb.as_ref().and_then(|verb| verb.to_str()) {
        Some("serve") => {
            let Some(dir) = words.next() else { refuse() };
            let build = words.next().and_then(|build| build.into_string().ok()).unwrap_or_default();
            let idle = words.next().map(|idle| idle.to_str().and_then(|idle| idle.parse().ok()));
            let Some(idle) = idle.unwrap_or(Some(IDLE_SECONDS)) else { refuse() };
            exit(agent_keeper::serve(&PathBuf::from(dir), &build, Duration::from_secs(idle)));
        }
        Some("enter") => {
            let Some(file) = words.next() else { refuse() };
            exit(agent_keeper::enter(&PathBuf::from(file)));
        }
        Some("probe") => exit(0),
        Some("version") => {
            println!(
                "stoa-keeper {} protocol {}",
                env!("CARGO_PKG_VERSION"),
                agent_keeper::protocol::VERSION
            );
        }
        Some(_) | None => refuse(),
    }
}

fn refuse() -> ! {
    eprintln!("{USAGE}");
    exit(2);
}

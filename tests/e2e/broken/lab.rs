//! The cluster that is broken: by hand, so that nothing is started again when it dies.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cluster::{Said, end_keepers, eventually, within};
use crate::founding::{ByHand, doors};

const LIMIT: Duration = Duration::from_secs(20);

/// Waits until a command says all of this, on either stream.
pub(super) fn finds(hand: &ByHand, what: &str, line: &[&str], parts: &[&str]) -> Said {
    let mut last = String::new();
    let found = within(LIMIT, || {
        let said = hand.stoa(line);
        last = format!("{said:#?}");
        let text = format!("{}{}", said.out, said.err);
        parts.iter().all(|part| text.contains(part)).then_some(said)
    });
    found.unwrap_or_else(|| panic!("{what}: `stoa {}` does not say {parts:#?}: {last}", line.join(" ")))
}

/// A cluster by hand: three masters, two agents and the jobs framework, none of which is started again when it dies.
pub(super) struct Lab {
    pub hand: ByHand,
    pub doors: Vec<String>,
    pub context: String,
}

impl Lab {
    pub fn build() -> Lab {
        let mut hand = ByHand::new("broken");
        let doors = doors(3);
        let data: Vec<String> = (1..=3).map(|id| hand.path(&format!("m{id}"))).collect();
        let context = hand.path("m1/context");
        let first = master(&doors, 1, &data[0], &[]);
        let said = hand.found(&words(&first), "--id 3");
        for id in [2, 3] {
            let line =
                said.lines().find(|line| line.contains(&format!("--id {id} "))).expect("a line for it");
            let token = line.rsplit("--join ").next().expect("a token").trim().to_owned();
            let line = master(&doors, id, &data[id - 1], &["--join", &token]);
            hand.start(&format!("m{id}"), &words(&line));
        }
        let mut lab = Lab { hand, doors, context };
        lab.well(&["get", "roles"]);
        for agent in ["a", "b"] {
            lab.agent(agent, &[]);
        }
        lab.jobs();
        eventually("two agents and a framework", LIMIT, || {
            let said = lab.stoa(&["status", "-o", "json"]);
            let status: serde_json::Value = serde_json::from_str(&said.out).ok()?;
            let counts =
                (&status["agents_active"], &status["frameworks_connected"], &status["masters_alive"]);
            (counts == (&2.into(), &1.into(), &3.into())).then_some(())
        });
        lab
    }

    pub fn token(&self, kind: &[&str]) -> String {
        let said = self.well(&[&["token", "create"], kind].concat());
        said.out.trim().to_owned()
    }

    pub fn agent_line(&self, name: &str, more: &[&str]) -> Vec<String> {
        let mut line = vec!["agent".to_owned(), format!("--work-dir={}", self.hand.path(name))];
        line.push(format!("--hostname={name}"));
        line.push("--resources=cpus:2;mem:512MiB;disk:1GiB".to_owned());
        line.push("--end-tasks-on-exit".to_owned());
        line.extend(self.doors.iter().map(|door| format!("--master={door}")));
        line.extend(more.iter().map(|word| (*word).to_owned()));
        line
    }

    /// Starts an agent of this name and id.
    pub fn agent(&mut self, name: &str, more: &[&str]) {
        let work = self.hand.path(name);
        fs::create_dir_all(&work).unwrap();
        fs::write(format!("{work}/agent_id"), name).unwrap();
        let token = self.token(&["--kind", "agent"]);
        let mut line = self.agent_line(name, &["--join", &token]);
        line.extend(more.iter().map(|word| (*word).to_owned()));
        self.hand.start(name, &words(&line));
    }

    pub fn jobs(&mut self) {
        let (data, credentials) = (self.hand.path("jobs/data"), self.hand.path("jobs/credentials"));
        if !Path::new(&credentials).exists() {
            let token = self.token(&["--kind", "framework", "--name", "jobs"]);
            let door = &self.doors[0];
            let joined = self.hand.stoa(&[
                "join",
                &token,
                "--master",
                door,
                "--as",
                "framework/jobs",
                "--dir",
                &credentials,
            ]);
            assert_eq!(joined.code, 0, "{joined:?}");
        }
        let mut line = vec!["framework", "jobs", "--data-dir", &data, "--credentials", &credentials];
        self.doors.iter().for_each(|door| line.extend(["--master", door]));
        let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
        self.hand.start("jobs-log", &words(&line));
    }

    pub fn stoa(&self, line: &[&str]) -> Said {
        self.hand.stoa(&[&["--context", &self.context], line].concat())
    }

    pub fn well(&self, line: &[&str]) -> Said {
        self.hand.well(&line.join(" "), &[&["--context", &self.context], line].concat())
    }

    pub fn finds(&self, what: &str, line: &[&str], parts: &[&str]) -> Said {
        finds(&self.hand, what, &[&["--context", &self.context], line].concat(), parts)
    }

    /// What `stoa doctor` finds, with its fix.
    pub fn doctor(&self, what: &str, parts: &[&str]) {
        self.finds(what, &["doctor"], parts);
    }

    /// A context like ours, to be broken.
    pub fn spoilt(&self, name: &str) -> String {
        let dir = self.hand.path(name);
        fs::create_dir_all(&dir).unwrap();
        for file in ["ca.pem", "cert.pem", "key.pem", "masters"] {
            fs::copy(format!("{}/{file}", self.context), format!("{dir}/{file}")).unwrap();
        }
        dir
    }

    pub fn apply(&self, name: &str, more: &str) {
        let path = self.hand.path(&format!("{name}.toml"));
        fs::write(&path, format!("name = \"{name}\"\ncommand = \"true\"\nkind = \"batch\"\n{more}\n"))
            .unwrap();
        let applied = self.stoa(&["job", "apply", &path]);
        assert_eq!(applied.code, 0, "{applied:?}");
    }
}

/// What is typed to start a master.
pub(super) fn master(doors: &[String], id: usize, data: &str, more: &[&str]) -> Vec<String> {
    let mut line = vec![
        "master".to_owned(),
        format!("--id={id}"),
        format!("--data-dir={data}"),
        format!("--listen={}", doors[id - 1]),
    ];
    line.extend(doors.iter().zip(1..).map(|(door, id): (_, u32)| format!("--member={id}={door}")));
    line.extend(more.iter().map(|word| (*word).to_owned()));
    line
}

pub(super) fn words(line: &[String]) -> Vec<&str> {
    line.iter().map(String::as_str).collect()
}

pub(super) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout.starts_with(b"0\n"))
}

/// A small disk of its own; taken away with this.
pub(crate) struct SmallDisk(pub String);

impl SmallDisk {
    pub fn mounted(dir: &str, mib: u64) -> Option<SmallDisk> {
        fs::create_dir_all(dir).unwrap();
        let options = format!("size={mib}m,mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", dir]).output();
        mounted.is_ok_and(|said| said.status.success()).then(|| SmallDisk(dir.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        end_keepers(Path::new(&self.0));
        let _ = Command::new("umount").args(["-l", &self.0]).output();
    }
}

//! A pool on hosts: three masters, three agents and the jobs framework, each alone on its machine, and the CLI on another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Said, Tools, run, well};
use crate::net::Net;
use crate::process::{Line, Process, signal};
use crate::wait::eventually;

/// The hosts of masters.
pub const MASTERS: [&str; 3] = ["master-1", "master-2", "master-3"];
/// The hosts of agents.
pub const AGENTS: [&str; 3] = ["agent-1", "agent-2", "agent-3"];
/// The host of the jobs framework.
pub const JOBS: &str = "jobs";
/// The host of whoever types commands.
pub const CLIENT: &str = "client";
/// A host that nobody of the cluster is on.
pub const STRANGER: &str = "stranger";
/// What the log of a process may never hold.
const NEVER: [&str; 2] = ["panicked at", "internal error"];
/// How long a command of the CLI may take: what is then known of it is nothing. Seconds.
const CLI_LIMIT: &str = "5";
/// The room that a master or an agent has for its data: little, so that it can be filled.
const DISK_MIB: u32 = 96;

/// The pool.
pub struct Pool {
    /// Where everything of it is.
    pub dir: PathBuf,
    /// Its hosts.
    pub net: Net,
    /// Its masters.
    pub masters: Vec<Process>,
    /// Its agents.
    pub agents: Vec<Process>,
    /// The jobs framework.
    pub jobs: Process,
    /// How many scenarios it went through.
    pub plays: u32,
    stoa: PathBuf,
    boots: u32,
}

// === impl Pool ===

impl Pool {
    /// Founds it with this binary, in a directory that is made anew.
    ///
    /// # Errors
    /// What did not come up, or when this is not root.
    pub fn up(stoa: &Path, dir: &Path, tools: Tools) -> Result<Pool, String> {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir).map_err(|why| format!("cannot make {}: {why}", dir.display()))?;
        let names: Vec<&str> =
            MASTERS.iter().chain(&AGENTS).copied().chain([JOBS, CLIENT, STRANGER]).collect();
        let net = Net::of(&names, tools)?;
        let line = |args: Vec<String>| Line {
            program: stoa.to_path_buf(),
            args,
            env: vec![("HOME".to_owned(), dir.display().to_string())],
            boot: None,
        };
        let on = |host: &str, args: Vec<String>| Process::on(net.host(host), line(args), dir);
        let masters =
            MASTERS.iter().zip(1..).map(|(host, id)| on(host, master(&net, dir, host, id))).collect();
        let agents = AGENTS.iter().map(|host| on(host, agent(&net, dir, host))).collect();
        let jobs = on(JOBS, jobs(&net, dir));
        let mut pool = Pool {
            dir: dir.to_owned(),
            net,
            masters,
            agents,
            jobs,
            plays: 0,
            stoa: stoa.to_owned(),
            boots: 0,
        };
        pool.found()?;
        Ok(pool)
    }

    fn found(&mut self) -> Result<(), String> {
        for host in MASTERS.iter().chain(&AGENTS) {
            let disk = self.path(host);
            std::fs::create_dir_all(&disk).map_err(|why| format!("cannot make {disk}: {why}"))?;
            well("mount", &["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "stoa-hosts", &disk])?;
        }
        self.masters[0].start()?;
        let limit = Duration::from_secs(30);
        let said =
            eventually("a founder", limit, || Some(self.masters[0].said()).filter(|s| s.contains("--id 3")))?;
        for id in [2, 3] {
            let line = said.lines().find(|line| line.contains(&format!("--id {id} ")));
            let token =
                line.and_then(|line| line.rsplit("--join ").next()).ok_or("the founder names no token")?;
            self.masters[id - 1].start_with(&["--join", token.trim()])?;
        }
        for number in 0..AGENTS.len() {
            let token = self.token(&["--kind", "agent"])?;
            self.boot(number)?;
            self.agents[number].start_with(&["--join", &token])?;
        }
        self.credentials(JOBS)?;
        self.jobs.start()?;
        self.is_whole(limit)
    }

    /// A place in its directory.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// HOST:PORT of each master.
    pub fn doors(&self) -> Vec<String> {
        doors(&self.net)
    }

    /// Runs a command of the CLI on the client's host.
    pub fn stoa(&self, args: &[&str]) -> Said {
        self.stoa_as("master-1/data/context", args)
    }

    fn stoa_as(&self, context: &str, args: &[&str]) -> Said {
        let mut command = Command::new("timeout");
        command
            .args([CLI_LIMIT, "nsenter"])
            .arg(format!("--net={}", self.net.host(CLIENT).namespace_file().display()))
            .arg(&self.stoa)
            .args(args)
            .env("HOME", &self.dir)
            .env("STOA_CONTEXT", self.path(context));
        run(&mut command).unwrap_or_else(|why| Said { code: -1, out: String::new(), err: why })
    }

    /// What a command prints as JSON, if it ends well.
    pub fn json(&self, args: &[&str]) -> Option<Value> {
        let said = self.stoa(&[args, &["-o", "json"]].concat());
        (said.code == 0).then(|| serde_json::from_str(&said.out).ok()).flatten()
    }

    /// How the masters see an agent, from 0.
    pub fn agent_state(&self, agent: usize) -> Option<String> {
        let agents = self.json(&["get", "agents"])?;
        let mut all = agents["items"].as_array()?.iter();
        all.find(|known| known["hostname"] == AGENTS[agent])?["state"].as_str().map(str::to_owned)
    }

    /// Which master leads, from 0.
    pub fn try_leader(&self) -> Option<usize> {
        let status = self.json(&["raft", "status"])?;
        let leader = status["members"].as_array()?.iter().find(|member| member["leader"] == true)?;
        usize::try_from(leader["id"].as_u64()?).ok()?.checked_sub(1)
    }

    /// Which master leads, from 0, as soon as one does.
    ///
    /// # Errors
    /// When none does in time.
    pub fn leader(&self) -> Result<usize, String> {
        eventually("a leader", Duration::from_secs(20), || self.try_leader())
    }

    /// Waits until another leads than this one.
    ///
    /// # Errors
    /// When none does in time.
    pub fn another_leads(&self, than: usize, limit: Duration) -> Result<usize, String> {
        eventually("another leader", limit, || self.try_leader().filter(|leader| *leader != than))
    }

    /// Waits until nothing is missing: the masters, the agents, the framework.
    ///
    /// # Errors
    /// What `stoa status` says instead.
    pub fn is_whole(&self, limit: Duration) -> Result<(), String> {
        let mut last = String::new();
        let whole = eventually("a whole pool", limit, || {
            let said = self.stoa(&["status"]);
            let agents = self.json(&["get", "agents"]).unwrap_or_default();
            let active =
                agents["items"].as_array().into_iter().flatten().filter(|agent| agent["state"] == "active");
            let active = active.count();
            last = format!("{active} agents are active; {}{}", said.out, said.err);
            (said.code == 0 && active == AGENTS.len()).then_some(())
        });
        whole.map_err(|why| format!("{why}: {last}"))
    }

    /// Links work, whoever was stopped goes on, whoever is dead is started again.
    ///
    /// # Errors
    /// What cannot be mended.
    pub fn heal(&mut self) -> Result<(), String> {
        self.net.heal()?;
        let all = self.masters.iter_mut().chain(&mut self.agents).chain([&mut self.jobs]);
        for process in all {
            if process.is_running() {
                process.go_on()?;
            } else {
                process.reap();
                process.start()?;
            }
        }
        Ok(())
    }

    /// An agent's machine gets a new boot id: the next processes on it see it.
    fn boot(&mut self, agent: usize) -> Result<(), String> {
        self.boots += 1;
        let file = self.dir.join(format!("boot-{}", self.boots));
        let id = format!("00000000-0000-4000-8000-{:012}\n", self.boots);
        std::fs::write(&file, id).map_err(|why| format!("cannot write {}: {why}", file.display()))?;
        self.agents[agent].line.boot = Some(file);
        Ok(())
    }

    /// An agent's machine loses its power and comes back: everything that ran on it is gone.
    ///
    /// # Errors
    /// When something on it cannot be ended.
    pub fn reboot(&mut self, agent: usize) -> Result<(), String> {
        let host = self.net.host(AGENTS[agent]).clone();
        end_all(&host)?;
        self.agents[agent].reap();
        self.boot(agent)?;
        self.agents[agent].start()
    }

    /// The same, and its disk is empty: it joins as another.
    ///
    /// # Errors
    /// When something on it cannot be ended, or it cannot join.
    pub fn wipe(&mut self, agent: usize) -> Result<(), String> {
        let host = self.net.host(AGENTS[agent]).clone();
        end_all(&host)?;
        self.agents[agent].reap();
        let disk = self.path(AGENTS[agent]);
        well("find", &[&disk, "-mindepth", "1", "-delete"])?;
        let token = self.token(&["--kind", "agent"])?;
        self.boot(agent)?;
        self.agents[agent].start_with(&["--join", &token])
    }

    /// A token with which somebody joins.
    fn token(&self, kind: &[&str]) -> Result<String, String> {
        let args = [&["token", "create"], kind].concat();
        let limit = Duration::from_secs(30);
        eventually("a token", limit, || Some(self.stoa(&args)).filter(|said| said.code == 0))
            .map(|said| said.out.trim().to_owned())
    }

    /// Credentials of a framework of this name, in a directory.
    ///
    /// # Errors
    /// When it cannot join.
    pub fn credentials(&self, name: &str) -> Result<String, String> {
        let token = self.token(&["--kind", "framework", "--name", name])?;
        let (door, dir) = (self.doors().remove(0), self.path(&format!("{name}/credentials")));
        let who = format!("framework/{name}");
        let joined = self.stoa(&["join", &token, "--master", &door, "--as", &who, "--dir", &dir]);
        if joined.code == 0 { Ok(dir) } else { Err(format!("{who} cannot join: {}", joined.err)) }
    }

    /// Nothing was said that may never be said.
    ///
    /// # Errors
    /// The first such line.
    pub fn logs_are_clean(&self) -> Result<(), String> {
        let processes = self.masters.iter().chain(&self.agents).chain([&self.jobs]);
        let lines =
            processes.flat_map(|process| process.said().lines().map(str::to_owned).collect::<Vec<_>>());
        match lines.into_iter().find(|line| NEVER.iter().any(|never| line.contains(never))) {
            Some(line) => Err(format!("in a log: {line}")),
            None => Ok(()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for host in self.net.hosts() {
            let _ = end_all(host);
        }
        for process in self.masters.iter_mut().chain(&mut self.agents).chain([&mut self.jobs]) {
            process.reap();
        }
        for host in MASTERS.iter().chain(&AGENTS) {
            let _ = well("umount", &[&self.path(host)]);
        }
        let _ = crate::cgroups::remove(&cgroups_root(&self.dir));
    }
}

/// Ends everything on a host, and waits until nothing is left.
fn end_all(host: &crate::net::Host) -> Result<(), String> {
    eventually("an empty host", Duration::from_secs(20), || {
        let left = host.processes();
        left.iter().for_each(|pid| {
            let _ = signal(*pid, Signal::KILL);
        });
        // What is dead and waits for its parent, which is this process, is no longer on it.
        left.iter().all(|pid| is_dead(*pid)).then_some(())
    })
}

fn is_dead(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_none_or(|state| matches!(state, 'Z' | 'X'))
}

fn doors(net: &Net) -> Vec<String> {
    MASTERS.iter().map(|host| format!("{}:7070", net.host(host).address)).collect()
}

fn master(net: &Net, dir: &Path, host: &str, id: u32) -> Vec<String> {
    let data = dir.join(host).join("data").display().to_string();
    let listen = format!("{}:7070", net.host(host).address);
    let mut args = ["master", "--data-dir", &data, "--listen", &listen, "--agent-unreachable-after-s", "10"]
        .map(str::to_owned)
        .to_vec();
    args.extend(["--id".to_owned(), id.to_string()]);
    args.extend(doors(net).iter().zip(1..).map(|(door, id): (_, u32)| format!("--member={id}={door}")));
    args
}

fn cgroups_root(dir: &Path) -> String {
    format!("/stoa-hosts-{}", dir.file_name().unwrap_or_default().display())
}

fn agent(net: &Net, dir: &Path, host: &str) -> Vec<String> {
    let mut args = ["agent", "--resources", "cpus:8;mem:2GiB;disk:1GiB"].map(str::to_owned).to_vec();
    let own = [
        ("--work-dir", dir.join(host).display().to_string()),
        ("--listen", format!("{}:7071", net.host(host).address)),
        ("--hostname", host.to_owned()),
        ("--cgroups-root", format!("{}/{host}", cgroups_root(dir))),
    ];
    own.into_iter().for_each(|(flag, value)| args.extend([flag.to_owned(), value]));
    doors(net).into_iter().for_each(|door| args.extend(["--master".to_owned(), door]));
    args
}

fn jobs(net: &Net, dir: &Path) -> Vec<String> {
    let mut args = ["framework", "jobs"].map(str::to_owned).to_vec();
    let own = [
        ("--data-dir", dir.join("jobs/data").display().to_string()),
        ("--credentials", dir.join("jobs/credentials").display().to_string()),
        ("--listen", format!("{}:7072", net.host(JOBS).address)),
    ];
    own.into_iter().for_each(|(flag, value)| args.extend([flag.to_owned(), value]));
    doors(net).into_iter().for_each(|door| args.extend(["--master".to_owned(), door]));
    args
}

//! Which controllers work here: each is tried with a cgroup and a limit of its own, because no version number tells.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroups, Error, Mount, Tree, create, write};
use crate::isolate::{ISOLATORS, Isolator, Limits, Version};
use crate::report::Isolation;

/// What was found.
pub(crate) struct Detected {
    pub(crate) cgroups: Cgroups,
    /// The verdict on each controller, by its name.
    pub(crate) verdicts: Vec<(&'static str, Isolation)>,
}

impl Detected {
    /// The verdict on a controller.
    pub(crate) fn verdict(&self, controller: &str) -> Isolation {
        let found = self.verdicts.iter().find(|(name, _)| *name == controller);
        found.map_or_else(|| Isolation::off("not looked for"), |(_, verdict)| verdict.clone())
    }
}

/// Tries every controller of the list in `mounts`, below `<mount>/<root>/<agent>`.
pub(crate) fn detect(mounts: &[Mount], root: &Path, agent: &str) -> Detected {
    let mut detected = Detected { cgroups: Cgroups::default(), verdicts: Vec::new() };
    let root = root.strip_prefix("/").unwrap_or(root);
    let controllers: Vec<_> = ISOLATORS.iter().map(|isolator| isolator.controller()).collect();
    for isolator in ISOLATORS {
        let controller = isolator.controller();
        let offered = |mount: &&Mount| mount.controllers.iter().any(|name| name == controller);
        let verdict = match mounts.iter().find(offered) {
            None => Isolation::off(format!("no cgroup tree here offers the controller {controller}")),
            Some(mount) => match join_tree(&mut detected.cgroups, mount, root, agent, &controllers)
                .and_then(|base| attempt(mount.version, &base, isolator))
            {
                Ok(()) => {
                    adopt(&mut detected.cgroups, mount, root, agent, isolator);
                    Isolation::by(format!("cgroup {} {controller}", version_name(mount.version)))
                }
                Err(e) => Isolation::off(e.to_string()),
            },
        };
        detected.verdicts.push((controller, verdict));
    }
    let has_v2 = detected.cgroups.trees.iter().any(|tree| tree.version == Version::V2);
    if !has_v2 {
        add_kill_tree(&mut detected.cgroups, mounts, root, agent);
    }
    detected
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    }
}

fn base_of(mount: &Mount, root: &Path, agent: &str) -> PathBuf {
    mount.point.join(root).join(agent)
}

/// Makes this agent's place in a tree, unless it is in use already.
fn join_tree(
    cgroups: &mut Cgroups,
    mount: &Mount,
    root: &Path,
    agent: &str,
    controllers: &[&str],
) -> Result<PathBuf, Error> {
    let base = base_of(mount, root, agent);
    if cgroups.trees.iter().any(|tree| tree.base == base) {
        return Ok(base);
    }
    fs::create_dir_all(&base).map_err(|e| Error::new("make", &base, e))?;
    if mount.version == Version::V2 {
        let wanted = mount.controllers.iter().filter(|name| controllers.contains(&name.as_str()));
        let wanted: Vec<_> = wanted.map(String::as_str).collect();
        delegate(&mount.point, &base, &wanted)?;
    }
    Ok(base)
}

/// Uses a controller in its tree.
fn adopt(cgroups: &mut Cgroups, mount: &Mount, root: &Path, agent: &str, isolator: &'static dyn Isolator) {
    let base = base_of(mount, root, agent);
    match cgroups.trees.iter_mut().find(|tree| tree.base == base) {
        Some(tree) => tree.isolators.push(isolator),
        None => cgroups.trees.push(Tree { version: mount.version, base, isolators: vec![isolator] }),
    }
}

/// Makes a cgroup, limits it, and removes it.
fn attempt(version: Version, base: &Path, isolator: &'static dyn Isolator) -> Result<(), Error> {
    let cgroup = base.join(format!("try-{}", std::process::id()));
    let limits = Limits { cpus_milli: 100, cpu_quota: true, mem_bytes: 64 << 20, pids_max: 10 };
    let tree = Tree { version, base: base.to_owned(), isolators: vec![isolator] };
    let result = create(&tree, &cgroup, &limits);
    let _left_only_if_not_made = fs::remove_dir(&cgroup);
    result
}

/// Hands controllers down from the mount to `base` (cgroup v2): each level must pass them on to its children.
pub(super) fn delegate(mount: &Path, base: &Path, controllers: &[&str]) -> Result<(), Error> {
    let wish = controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    let below: Vec<_> = base.ancestors().take_while(|dir| *dir != mount).collect();
    for dir in [mount].into_iter().chain(below.into_iter().rev()) {
        let file = dir.join("cgroup.subtree_control");
        let result = match write(&file, &wish) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error()) => {
                make_room(dir).and_then(|()| write(&file, &wish))
            }
            result => result,
        };
        result.map_err(|e| Error::new("write", &file, e))?;
    }
    Ok(())
}

/// Controllers can be handed down only from a cgroup that no process is in. If what is in it is ourselves, started there
/// by a service manager that delegated it to us, we move to a leaf beside the tasks; of strangers we keep our hands.
fn make_room(dir: &Path) -> io::Result<()> {
    let procs = fs::read_to_string(dir.join("cgroup.procs"))?;
    let own = std::process::id().to_string();
    if !procs.lines().any(|pid| pid == own) {
        let why = "processes live in it, and this agent is not one of them";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    let leaf = dir.join("supervisor");
    match fs::create_dir(&leaf) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => {}
    }
    for pid in procs.lines() {
        match write(&leaf.join("cgroup.procs"), pid) {
            // Ended meanwhile.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            result => result?,
        }
    }
    Ok(())
}

/// On a hybrid system the v2 tree has no controllers, but it can kill.
fn add_kill_tree(cgroups: &mut Cgroups, mounts: &[Mount], root: &Path, agent: &str) {
    let Some(mount) = mounts.iter().find(|mount| mount.version == Version::V2) else { return };
    let base = base_of(mount, root, agent);
    if fs::create_dir_all(&base).is_ok() && base.join("cgroup.kill").exists() {
        cgroups.trees.push(Tree { version: Version::V2, base, isolators: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Usage;
    use agent_keeper::protocol::RunId;

    /// A directory that is removed with its holder.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir = std::env::temp_dir().join(format!("stoa-cgroups-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).expect("scratch directory");
            Scratch(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const RUN: RunId = RunId([5; 16]);

    /// A tree of plain files that looks like cgroup v2, the files of one run's cgroup made beforehand.
    fn fake_v2(scratch: &Scratch, controllers: &[&str]) -> Mount {
        let dirs = ["", "stoa", "stoa/a1"].map(|dir| scratch.0.join(dir));
        for dir in &dirs {
            fs::create_dir_all(dir).expect("directory");
            fs::write(dir.join("cgroup.subtree_control"), "").expect("file");
        }
        for name in [RUN.to_string(), format!("try-{}", std::process::id())] {
            let cgroup = dirs[2].join(name);
            fs::create_dir_all(&cgroup).expect("directory");
            for file in ["cpu.weight", "cpu.max", "memory.max", "memory.oom.group", "pids.max", "cgroup.kill"]
            {
                fs::write(cgroup.join(file), "").expect("file");
            }
        }
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Mount { version: Version::V2, point: scratch.0.clone(), controllers }
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).expect("file")
    }

    #[test]
    fn on_v2_controllers_are_handed_down_and_limits_written() {
        let scratch = Scratch::new("v2");
        let mount = fake_v2(&scratch, &["cpu", "io", "memory", "pids"]);
        let detected = detect(&[mount], Path::new("/stoa"), "a1");
        for dir in ["", "stoa", "stoa/a1"] {
            let handed = read(scratch.0.join(dir).join("cgroup.subtree_control"));
            assert_eq!(handed, "+cpu +memory +pids", "{dir}");
        }
        assert!(["cpu", "memory", "pids"].iter().all(|name| detected.verdict(name).is_enforced()));
        let limits = Limits { cpus_milli: 500, cpu_quota: true, mem_bytes: 1 << 30, pids_max: 9 };
        let join = detected.cgroups.create(RUN, &limits, false).expect("made");
        let cgroup = scratch.0.join("stoa/a1").join(RUN.to_string());
        assert_eq!(join, [cgroup.join("cgroup.procs")]);
        assert_eq!(read(cgroup.join("cpu.max")), "50000 100000");
        assert_eq!(read(cgroup.join("memory.max")), (1u64 << 30).to_string());
        assert_eq!(read(cgroup.join("memory.oom.group")), "1");
        assert_eq!(read(cgroup.join("pids.max")), "9");
        detected.cgroups.kill(RUN);
        assert_eq!(read(cgroup.join("cgroup.kill")), "1");
    }

    #[test]
    fn on_v2_use_and_kills_for_memory_are_read() {
        let scratch = Scratch::new("v2-read");
        let mount = fake_v2(&scratch, &["cpu", "memory", "pids"]);
        let cgroups = detect(&[mount], Path::new("/stoa"), "a1").cgroups;
        let cgroup = scratch.0.join("stoa/a1").join(RUN.to_string());
        let file = |name: &str, text: &str| fs::write(cgroup.join(name), text).expect("file");
        assert!(!cgroups.has_oom(RUN));
        file("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n");
        assert!(!cgroups.has_oom(RUN));
        file("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n");
        assert!(cgroups.has_oom(RUN));
        file("cpu.stat", "usage_usec 1234\nuser_usec 1000\n");
        file("memory.current", "4096\n");
        file("pids.current", "3\n");
        let usage = Usage { cpu_ns: Some(1_234_000), memory_bytes: Some(4096), pids: Some(3) };
        assert_eq!(cgroups.usage(RUN), usage);
    }

    #[test]
    fn a_controller_that_is_not_there_is_off_with_the_reason() {
        let scratch = Scratch::new("v2-some");
        let mount = fake_v2(&scratch, &["pids"]);
        let detected = detect(&[mount], Path::new("/stoa"), "a1");
        assert!(detected.verdict("pids").is_enforced());
        let Isolation::Off { why } = detected.verdict("memory") else { panic!("off") };
        assert!(why.contains("offers the controller memory"), "{why}");
    }

    #[test]
    fn a_tree_that_cannot_be_written_is_off_with_the_reason() {
        // /proc takes no directories, from root either.
        let mount = Mount { version: Version::V1, point: "/proc".into(), controllers: vec!["cpu".into()] };
        let detected = detect(&[mount], Path::new("/stoa"), "a1");
        let Isolation::Off { why } = detected.verdict("cpu") else { panic!("off") };
        assert!(why.starts_with("make /proc/stoa/a1: "), "{why}");
        assert!(detected.cgroups.trees.is_empty());
    }

    #[test]
    fn strays_are_runs_nobody_knows() {
        let scratch = Scratch::new("strays");
        let mount = fake_v2(&scratch, &["pids"]);
        let cgroups = detect(&[mount], Path::new("/stoa"), "a1").cgroups;
        assert_eq!(cgroups.strays(&[].into()), [RUN].into());
        assert_eq!(cgroups.strays(&[RUN].into()), [].into());
    }

    /// The v2 tree of this machine, if it has a controller to hand down and lets us.
    fn real_v2() -> Option<(PathBuf, String)> {
        let mounts = super::super::of_this_process().ok()?;
        let mount = mounts.into_iter().find(|mount| mount.version == Version::V2)?;
        let controller = mount.controllers.first()?.clone();
        write(&mount.point.join("cgroup.subtree_control"), &format!("+{controller}")).ok()?;
        Some((mount.point, controller))
    }

    #[test]
    fn a_cgroup_with_strangers_in_it_is_not_disturbed() {
        let Some((mount, controller)) = real_v2() else {
            eprintln!("skipped: no cgroup v2 tree here with a controller we may hand down");
            return;
        };
        let dir = mount.join(format!("stoa-test-{}", std::process::id()));
        fs::create_dir(&dir).expect("cgroup");
        let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep");
        write(&dir.join("cgroup.procs"), &stranger.id().to_string()).expect("joined");
        let base = dir.join("a1");
        fs::create_dir(&base).expect("cgroup");
        let refused = delegate(&mount, &base, &[&controller]).expect_err("busy").to_string();
        let still = read(dir.join("cgroup.procs"));
        stranger.kill().expect("killed");
        stranger.wait().expect("waited");
        fs::remove_dir(&base).expect("removed");
        // A cgroup is busy until the kernel has let go of the dead.
        while fs::remove_dir(&dir).is_err() {
            std::thread::yield_now();
        }
        assert!(refused.contains("this agent is not one of them"), "{refused}");
        assert_eq!(still.trim(), stranger.id().to_string());
    }
}

//! Mounts of the machine that change between two runs. By itself, because every keeper sees such a change.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};

use agent_keeper::protocol::{How, Spawn};
use rig::{guest, open_rig, run, run_id, shell, warm_up};

/// A file system mounted for a test.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path) -> Mounted {
        fs::create_dir(dir).expect("directory");
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "none"])
            .arg(dir)
            .status()
            .expect("mount");
        assert!(done.success());
        Mounted(dir.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn what_is_mounted_on_the_machine_is_there_for_the_next_run() {
    let Some(mut rig) = open_rig("mounts") else { return };
    let before = warm_up(&mut rig);
    let mounted = Mounted::new(&rig.dir.join("disk"));
    fs::write(mounted.0.join("file"), "x").expect("file");
    let look = shell(&format!("test -e {}", mounted.0.join("file").display()));
    let (init, how) = run(&mut rig, guest(look.clone()));
    assert_eq!(how, How::Code(0));
    assert_ne!(init, before);
    drop(mounted);
    let again = Spawn { run_id: run_id(), ..look };
    assert_eq!(run(&mut rig, guest(again)).1, How::Code(1), "nor what is no longer mounted");
}

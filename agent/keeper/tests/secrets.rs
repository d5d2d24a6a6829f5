//! Secrets of a run: seen by it, by nobody else, and gone with it.

mod rig;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use agent_keeper::protocol::{Failure, How, SecretFile, Secrets, Spawn, Stage, User};
use rig::{Rig, guest, isolated, open_rig, privileged, run_id, shell};

const CANARY: &str = "canary-7c1f";

/// A directory of the rig's own for secrets to be mounted on.
fn place(rig: &Rig) -> PathBuf {
    let dir = rig.dir.join("secrets");
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn with_secrets(spawn: Spawn, dir: &std::path::Path) -> Spawn {
    let file = |name: &str, content: &[u8]| SecretFile { name: name.into(), content: content.to_vec() };
    let files = vec![file("key", CANARY.as_bytes()), file("large", &[b'x'; 64 << 10]), file("none", b"")];
    Spawn { secrets: Some(Secrets { dir: dir.as_os_str().as_bytes().to_vec(), files }), ..spawn }
}

#[test]
fn a_run_reads_its_secrets_and_can_do_nothing_else_with_them() {
    let Some(mut rig) = open_rig("a_run_reads_its_secrets") else { return };
    let dir = place(&rig);
    let script = format!(
        "cd {dir}; stat -c '%U %a %n' . key large none; wc -c < large; cat key; echo
         chmod 700 . 2>/dev/null; touch new 2>/dev/null; echo x > key 2>/dev/null; ls
         grep -c ' {dir} ro,nosuid,nodev,noexec' /proc/self/mountinfo",
        dir = dir.display()
    );
    let text = rig.output_of(with_secrets(guest(shell(&script)), &dir));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "nobody 500 .",
            "nobody 400 key",
            "nobody 400 large",
            "nobody 400 none",
            "65536",
            CANARY,
            "key",
            "large",
            "none",
            "1"
        ],
        "{text}"
    );
    assert_eq!(fs::read_dir(&dir).expect("there").count(), 0, "nothing is there for anybody else");
}

#[test]
fn the_next_run_in_the_same_place_finds_nothing() {
    let Some(mut rig) = open_rig("the_next_run_finds_nothing") else { return };
    let dir = place(&rig);
    let look = || shell(&format!("ls -A {}", dir.display()));
    // An init that is kept must not be kept after it.
    assert_eq!(rig.output_of(guest(look())), "");
    assert_eq!(rig.output_of(with_secrets(guest(look()), &dir)), "key\nlarge\nnone\n");
    for _ in 0..3 {
        assert_eq!(rig.output_of(guest(look())), "");
    }
    let log = fs::read(rig.dir.join("keeper.log")).expect("the keeper's log");
    assert!(!log.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
}

#[test]
fn a_second_run_beside_has_its_own() {
    let Some(mut rig) = open_rig("a_second_run_beside") else { return };
    let dir = place(&rig);
    let sleeper = rig.spawn(with_secrets(guest(shell("exec sleep 1000")), &dir));
    rig.spawned(sleeper);
    let own = SecretFile { name: b"own".to_vec(), content: b"other".to_vec() };
    let secrets = Secrets { dir: dir.as_os_str().as_bytes().to_vec(), files: vec![own] };
    let look =
        shell(&format!("cd {}; cat *; ls /proc/*/root 2>/dev/null | grep -c canary; true", dir.display()));
    let text = rig.output_of(Spawn { secrets: Some(secrets), ..guest(look) });
    assert_eq!(text, "other0\n");
}

#[test]
fn what_cannot_be_mounted_is_no_run() {
    if !privileged("what_cannot_be_mounted") {
        return;
    }
    let mut rig = Rig::new("no-place");
    let dir = rig.dir.join("nowhere");
    let id = rig.spawn(with_secrets(isolated(shell("true")), &dir));
    let failure = rig.end(id).expect_err("it has no place");
    assert_eq!(failure, Failure { stage: Stage::Secrets, index: 0, errno: libc::ENOENT });
    let link = rig.dir.join("link");
    std::os::unix::fs::symlink("/etc", &link).expect("a link");
    let id = rig.spawn(with_secrets(isolated(shell("true")), &link));
    assert_eq!(rig.end(id).expect_err("it leads elsewhere").stage, Stage::Secrets);
    let id = rig.spawn(with_secrets(shell("true"), &place(&rig)));
    assert_eq!(rig.end(id).expect_err("it has no namespace").stage, Stage::Request);
}

#[test]
fn root_and_whoever_has_no_pid_namespace_have_theirs_too() {
    let Some(mut rig) = open_rig("root_has_secrets") else { return };
    let dir = place(&rig);
    let script = format!("stat -c '%u %a' {0}/key; cat {0}/key", dir.display());
    let user = |uid| Some(User { uid, gid: 100, groups: vec![] });
    for (user, uid) in [(None, 0), (user(1234), 1234)] {
        let spawn = Spawn { run_id: run_id(), user, mount_namespace: true, ..shell(&script) };
        assert_eq!(rig.output_of(with_secrets(spawn, &dir)), format!("{uid} 400\n{CANARY}"));
    }
    let id = rig.spawn(with_secrets(isolated(shell("exit 3")), &dir));
    assert_eq!(rig.end(id).expect("started").how, How::Code(3));
}

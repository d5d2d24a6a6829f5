//! What the keeper is asked for a launch whose sandbox, cgroups and artifacts are ready.

use std::os::unix::ffi::OsStrExt;

use agent_keeper::protocol::{Output, Request, Spawn, User};

use crate::event::StartFailure;
use crate::launch::{Launch, Need};
use crate::report::Report;
use crate::secrets;
use crate::workshop::Prepared;

/// Where programs are looked for when the task does not say.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The capabilities a task run as root keeps: the set Docker made usual. Above all it does not keep `CAP_SYS_RESOURCE`,
/// which makes quotas and limits decoration.
const KEPT_CAPABILITIES: u64 = {
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
    // AUDIT_WRITE, SETFCAP.
    const NUMBERS: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
    let mut set = 0;
    let mut n = 0;
    while n < NUMBERS.len() {
        set |= 1 << NUMBERS[n];
        n += 1;
    }
    set
};

/// All others the kernel has (41 as of Linux 6) or will have soon.
pub(crate) const DROPPED_CAPABILITIES: u64 = ((1 << 48) - 1) & !KEPT_CAPABILITIES;

/// Whether this node can give what the launch requires.
pub(crate) fn check(launch: &Launch, report: &Report) -> Result<(), StartFailure> {
    let limits = |wanted: u64| if wanted > 0 { launch.limits } else { Need::Unwanted };
    let needs = [
        (limits(launch.cpus_milli), "a CPU limit", &report.cpu),
        (limits(launch.mem_bytes), "a memory limit", &report.memory),
        (limits(launch.pids_max), "a limit of processes", &report.pids),
        (launch.pid_namespace, "a pid namespace", &report.pid_namespace),
        (launch.mount_namespace, "a mount namespace", &report.mount_namespace),
    ];
    if launch.has_secrets
        && let crate::Isolation::Off { why } = &report.mount_namespace
    {
        let why = format!("they need a mount namespace, and this node gives none: {why}");
        return Err(StartFailure::Secrets(why));
    }
    for (need, isolation, found) in needs {
        match (need, found) {
            (Need::Required, crate::Isolation::Off { why }) => {
                return Err(StartFailure::NotIsolated { isolation, why: why.clone() });
            }
            (Need::Required | Need::IfAvailable | Need::Unwanted, _) => {}
        }
    }
    Ok(())
}

/// The request as one frame.
pub(crate) fn frame(launch: &Launch, prepared: Prepared, report: &Report) -> Result<Vec<u8>, StartFailure> {
    let mut frame = Vec::new();
    let too_long = |e: agent_keeper::protocol::TooLong| StartFailure::TooLong { bytes: e.bytes };
    Request::Spawn(Box::new(spawn(launch, prepared, report))).encode(&mut frame).map_err(too_long)?;
    Ok(frame)
}

/// The command with all that it gets.
pub(crate) fn spawn(launch: &Launch, prepared: Prepared, report: &Report) -> Spawn {
    let sandbox = prepared.sandbox.as_os_str().as_bytes();
    let pair = |key: &[u8], value: &[u8]| [key, b"=", value].concat();
    // Where its secrets are is not the task's to say.
    let own = launch.env.iter().filter(|(key, _)| !(launch.has_secrets && key == secrets::VARIABLE));
    let mut env: Vec<_> = own.map(|(key, value)| pair(key.as_bytes(), value.as_bytes())).collect();
    let lacks = |key: &str| !launch.env.iter().any(|(present, _)| present == key);
    if lacks("PATH") {
        env.push(pair(b"PATH", PATH_DEFAULT.as_bytes()));
    }
    if lacks("STOA_SANDBOX") {
        env.push(pair(b"STOA_SANDBOX", sandbox));
    }
    if launch.has_secrets {
        env.push(pair(secrets::VARIABLE.as_bytes(), secrets::dir(&prepared.sandbox).as_os_str().as_bytes()));
    }
    let wanted = launch.has_secrets || launch.mount_namespace != Need::Unwanted;
    let mount_namespace = report.mount_namespace.is_enforced() && wanted;
    Spawn {
        run_id: launch.run_id,
        argv: launch.argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env,
        cwd: sandbox.to_vec(),
        user: prepared.user.map(|user| User { uid: user.uid, gid: user.gid, groups: user.groups }),
        cgroup_procs: prepared.cgroup_procs.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect(),
        pid_namespace: prepared.pid_namespace,
        mount_namespace,
        no_new_privs: !launch.new_privileges,
        dropped_capabilities: if report.capabilities.is_enforced() { DROPPED_CAPABILITIES } else { 0 },
        rlimits: launch.rlimits.clone(),
        output: Some(Output {
            dir: sandbox.to_vec(),
            file_bytes_max: launch.logs.file_bytes_max,
            rotated_max: launch.logs.rotated_max,
        }),
        secrets: secrets::of_spawn(&prepared.sandbox, prepared.secrets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_task_keeps_what_docker_leaves_and_loses_the_rest() {
        let has = |number: u32| DROPPED_CAPABILITIES & (1 << number) == 0;
        // SYS_ADMIN, SYS_RESOURCE, NET_ADMIN, SYS_MODULE, SYS_PTRACE go; CHOWN, SETUID, KILL stay.
        assert!([21, 24, 12, 16, 19].iter().all(|number| !has(*number)));
        assert!([0, 7, 5].iter().all(|number| has(*number)));
    }
}

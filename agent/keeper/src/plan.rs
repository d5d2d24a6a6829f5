//! A run before the fork: everything its processes will need, checked and laid out so that they need not allocate.

use std::ffi::{CString, c_char};

use crate::protocol::{Failure, Rlimit, Spawn, Stage, User};
use crate::secrets::Hidden;

/// Where programs are looked for when the task's environment has no `PATH`.
const PATH_DEFAULT: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// A checked [`Spawn`] in the form the kernel wants.
pub(crate) struct Plan {
    /// Paths to try to execute, in order.
    pub(crate) programs: Vec<CString>,
    argv: Strings,
    env: Strings,
    pub(crate) cwd: CString,
    pub(crate) cgroup_procs: Vec<CString>,
    pub(crate) user: Option<User>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) pid_namespace: bool,
    pub(crate) mount_namespace: bool,
    pub(crate) no_new_privs: bool,
    pub(crate) dropped_capabilities: u64,
    pub(crate) has_output: bool,
    pub(crate) hidden: Option<Hidden>,
    /// Whether the next run may follow in the same namespaces.
    pub(crate) leaves_no_trace: bool,
    /// Whether it is killed when the process that made it dies.
    pub(crate) dies_with_parent: bool,
}

impl Plan {
    /// Checks a request. A failure carries `EINVAL`.
    pub(crate) fn new(spawn: &Spawn) -> Result<Plan, Failure> {
        const INVALID: Failure = Failure { stage: Stage::Request, index: 0, errno: libc::EINVAL };
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| INVALID);
        let absolute = |path: &[u8]| path.first() == Some(&b'/');
        let program = spawn.argv.first().filter(|program| !program.is_empty()).ok_or(INVALID)?;
        let outputs_absolute = spawn.output.as_ref().is_none_or(|output| absolute(&output.dir));
        if !absolute(&spawn.cwd) || !outputs_absolute {
            return Err(INVALID);
        }
        Ok(Plan {
            programs: candidates(program, &spawn.env).map_err(|_| INVALID)?,
            argv: Strings::new(&spawn.argv).map_err(|_| INVALID)?,
            env: Strings::new(&spawn.env).map_err(|_| INVALID)?,
            cwd: c_string(&spawn.cwd)?,
            cgroup_procs: spawn.cgroup_procs.iter().map(|path| c_string(path)).collect::<Result<_, _>>()?,
            user: spawn.user.clone(),
            rlimits: spawn.rlimits.clone(),
            pid_namespace: spawn.pid_namespace,
            mount_namespace: spawn.mount_namespace,
            no_new_privs: spawn.no_new_privs,
            dropped_capabilities: spawn.dropped_capabilities,
            has_output: spawn.output.is_some(),
            hidden: match &spawn.secrets {
                Some(secrets) => Some(Hidden::new(spawn, secrets).ok_or(INVALID)?),
                None => None,
            },
            leaves_no_trace: leaves_no_trace(spawn),
            dies_with_parent: false,
        })
    }

    /// The same, killed when the process that makes it dies.
    pub(crate) fn dying_with_its_parent(self) -> Plan {
        Plan { dies_with_parent: true, ..self }
    }

    pub(crate) fn argv(&self) -> *const *const c_char {
        self.argv.pointers.as_ptr()
    }

    pub(crate) fn env(&self) -> *const *const c_char {
        self.env.pointers.as_ptr()
    }
}

/// Whether a run can change nothing about its namespaces that the next run in them would find: it can mount only in
/// further namespaces of its own, having no capability and no way to one, and its processes die with it. What was mounted
/// for it alone stays.
pub(crate) fn leaves_no_trace(spawn: &Spawn) -> bool {
    let ordinary_user = spawn.user.as_ref().is_some_and(|user| user.uid != 0);
    spawn.pid_namespace
        && spawn.mount_namespace
        && spawn.no_new_privs
        && ordinary_user
        && spawn.secrets.is_none()
}

/// Strings and the null-terminated array of pointers to them. The pointers stay valid: a `CString`'s bytes do not move
/// with it, and nothing here is changed after construction.
struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(words: &[Vec<u8>]) -> Result<Strings, std::ffi::NulError> {
        let owned = words.iter().map(|word| CString::new(word.as_slice())).collect::<Result<Vec<_>, _>>()?;
        let pointers = owned.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Strings { _owned: owned, pointers })
    }
}

/// What `execvp` would try: the program itself if it names a path, else one candidate per `PATH` entry. An empty entry
/// means the working directory, as in a shell.
fn candidates(program: &[u8], env: &[Vec<u8>]) -> Result<Vec<CString>, std::ffi::NulError> {
    if program.contains(&b'/') {
        return Ok(vec![CString::new(program)?]);
    }
    let path = env.iter().find_map(|pair| pair.strip_prefix(b"PATH=")).unwrap_or(PATH_DEFAULT);
    path.split(|byte| *byte == b':')
        .map(|dir| {
            let dir = if dir.is_empty() { b"." } else { dir };
            CString::new([dir, b"/", program].concat())
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::{RunId, Secrets};

    pub(crate) fn spawn(argv: &[&str]) -> Spawn {
        Spawn {
            run_id: RunId([1; 16]),
            argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
            env: vec![b"PATH=/a::/b".to_vec()],
            cwd: b"/".to_vec(),
            user: None,
            cgroup_procs: vec![],
            pid_namespace: false,
            mount_namespace: false,
            no_new_privs: false,
            dropped_capabilities: 0,
            rlimits: vec![],
            output: None,
            secrets: None,
        }
    }

    #[test]
    fn a_bare_name_is_looked_up_in_the_tasks_own_path() {
        let plan = Plan::new(&spawn(&["x", "y"])).expect("valid");
        let programs: Vec<_> = plan.programs.iter().map(|path| path.to_str().expect("ascii")).collect();
        assert_eq!(programs, ["/a/x", "./x", "/b/x"]);
    }

    #[test]
    fn only_an_ordinary_user_without_a_way_to_rights_leaves_no_trace() {
        let user = |uid| Some(User { uid, gid: 100, groups: vec![] });
        let good = Spawn {
            pid_namespace: true,
            mount_namespace: true,
            no_new_privs: true,
            user: user(65534),
            ..spawn(&["x"])
        };
        assert!(leaves_no_trace(&good));
        assert!(!leaves_no_trace(&Spawn { user: user(0), ..good.clone() }));
        assert!(!leaves_no_trace(&Spawn { user: None, ..good.clone() }));
        assert!(!leaves_no_trace(&Spawn { no_new_privs: false, ..good.clone() }));
        assert!(!leaves_no_trace(&Spawn { mount_namespace: false, ..good.clone() }));
        let secrets = Some(Secrets { dir: b"/s".to_vec(), files: vec![] });
        assert!(!leaves_no_trace(&Spawn { secrets, ..good.clone() }));
        assert!(!leaves_no_trace(&Spawn { pid_namespace: false, ..good }));
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        let plan = Plan::new(&spawn(&["./x"])).expect("valid");
        assert_eq!(plan.programs, [c"./x".to_owned()]);
    }

    #[test]
    fn requests_that_cannot_be_executed_are_refused() {
        let relative = Spawn { cwd: b"tmp".to_vec(), ..spawn(&["x"]) };
        let nul = Spawn { env: vec![b"A=\0".to_vec()], ..spawn(&["x"]) };
        for bad in [spawn(&[]), spawn(&[""]), spawn(&["a\0b"]), relative, nul] {
            let failure = Plan::new(&bad).err().expect("refused");
            assert_eq!((failure.stage, failure.errno), (Stage::Request, libc::EINVAL));
        }
    }
}

//! What isolation this node enforces, and why not where it does not: found by trying, never inferred.

use std::fmt;

/// One kind of isolation on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// It was tried and holds.
    Enforced {
        /// The mechanism.
        by: String,
    },
    /// It was tried and does not.
    Off {
        /// What stood in the way.
        why: String,
    },
}

impl Isolation {
    /// Whether it holds.
    pub fn is_enforced(&self) -> bool {
        match self {
            Isolation::Enforced { .. } => true,
            Isolation::Off { .. } => false,
        }
    }

    pub(crate) fn off(why: impl Into<String>) -> Isolation {
        Isolation::Off { why: why.into() }
    }

    pub(crate) fn by(by: impl Into<String>) -> Isolation {
        Isolation::Enforced { by: by.into() }
    }
}

/// All kinds of isolation on this node. `Display` is a table for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A task gets no more CPU than it was given, and no less when others want it.
    pub cpu: Isolation,
    /// A task gets no more memory than it was given.
    pub memory: Isolation,
    /// A task has no more processes than it was given.
    pub pids: Isolation,
    /// A task sees and leaves behind only its own processes.
    pub pid_namespace: Isolation,
    /// A task's mounts are its own.
    pub mount_namespace: Isolation,
    /// Tasks can run as users of their own.
    pub users: Isolation,
    /// Tasks run as root lose the capabilities that would undo other isolation.
    pub capabilities: Isolation,
    /// All processes of a task can be killed at once.
    pub kill: Isolation,
}

impl Report {
    /// Each kind by the name it has in logs and node attributes.
    pub fn entries(&self) -> [(&'static str, &Isolation); 8] {
        [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("pids", &self.pids),
            ("pid_namespace", &self.pid_namespace),
            ("mount_namespace", &self.mount_namespace),
            ("users", &self.users),
            ("capabilities", &self.capabilities),
            ("kill", &self.kill),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, isolation) in self.entries() {
            match isolation {
                Isolation::Enforced { by } => writeln!(f, "{name:<16} enforced  {by}")?,
                Isolation::Off { why } => writeln!(f, "{name:<16} off       {why}")?,
            }
        }
        Ok(())
    }
}

//! What a job may say and this framework cannot carry out yet: refused where a job is taken on, in so many words.

use super::{Fault, Faults, JobSpec};

// === impl JobSpec ===

impl JobSpec {
    /// The job, unless it says something that is not carried out yet.
    pub fn carried_out(self) -> Result<JobSpec, Faults> {
        let asked = [("task", !self.tasks.is_empty())];
        let fault = |(key, _): (&str, bool)| Fault {
            line: None,
            key: key.to_owned(),
            message: "is not carried out by this version of the jobs framework; leave it out".to_owned(),
        };
        let faults: Vec<Fault> = asked.into_iter().filter(|(_, asked)| *asked).map(fault).collect();
        if faults.is_empty() { Ok(self) } else { Err(Faults { file: String::new(), faults }) }
    }
}

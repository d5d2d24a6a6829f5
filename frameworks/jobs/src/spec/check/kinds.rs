//! What goes with which kind of job, and what does not.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{
    AFTER_MAX, DAY, HISTORY_MAX, INSTANCES_MAX, LIMIT_MAX, NAME_BYTES_MAX, PAUSE_MIN, RETRIES_MAX, bad_name,
};
use crate::spec::{JobSpec, Kind, RestartPolicy, Update};

/// A framework that is busy starts a run that late; to leave it out would be to leave it out by chance.
const MISSED_MIN: Duration = Duration::from_secs(10);

/// `NAME-20260131T0405` is the name of a run.
const CRON_NAME_BYTES_MAX: usize = NAME_BYTES_MAX - "-20260131T0405".len();

// === impl JobSpec ===

impl JobSpec {
    pub(super) fn check_kind(&self, wrong: &mut impl FnMut(&str, String)) {
        self.check_restart(wrong);
        self.check_update(wrong);
        match self.kind {
            Kind::Service => {
                let given = [
                    ("parallel", self.parallel.is_some()),
                    ("time_limit", self.time_limit.is_some()),
                    ("after", !self.after.is_empty()),
                ];
                for (key, _) in given.iter().filter(|(_, given)| *given) {
                    wrong(key, "is for batch jobs; a service has no end".to_owned());
                }
            }
            Kind::Batch => self.check_after(wrong),
            Kind::Cron => {
                if self.name.len() > CRON_NAME_BYTES_MAX {
                    let why = format!(
                        "of a cron job has at most {CRON_NAME_BYTES_MAX} bytes: those of its runs add the time"
                    );
                    wrong("name", why);
                }
                if !self.after.is_empty() {
                    wrong("after", "is for batch jobs; a cron job begins when its schedule says".to_owned());
                }
                if !self.volumes.is_empty() {
                    let why = "are for services and batch jobs: the runs of a cron job may overlap";
                    wrong("volumes", why.to_owned());
                }
            }
        }
        if self.parallel.is_some_and(|most| most == 0 || most > INSTANCES_MAX) {
            wrong("parallel", format!("is not between 1 and {INSTANCES_MAX}"));
        }
        if self.time_limit.is_some_and(|limit| limit.is_zero() || limit > LIMIT_MAX) {
            wrong("time_limit", "is not between 1ms and a year; write for example \"1h\"".to_owned());
        }
        match (&self.cron, self.kind) {
            (None, Kind::Cron) => {
                let why = "is missing; write for example \"*/5 * * * *\" or \"@daily\"";
                wrong("schedule", why.to_owned());
            }
            (Some(_), Kind::Service | Kind::Batch) => {
                wrong("schedule", "is for cron jobs; write kind = \"cron\"".to_owned());
            }
            (Some(cron), Kind::Cron) => {
                if cron.missed < MISSED_MIN || cron.missed > DAY {
                    wrong("missed", "is not between 10s and a day; write for example \"10m\"".to_owned());
                }
                if cron.history > HISTORY_MAX {
                    wrong("history", format!("{} is more than {HISTORY_MAX}", cron.history));
                }
            }
            (None, Kind::Service | Kind::Batch) => {}
        }
    }

    fn check_restart(&self, wrong: &mut impl FnMut(&str, String)) {
        let service = self.kind == Kind::Service;
        if self.retries > RETRIES_MAX {
            wrong("retries", format!("{} is more than {RETRIES_MAX}", self.retries));
        }
        if self.retries > 0 && service {
            let why = "is for batch jobs; a service is started again as restart says";
            wrong("retries", why.to_owned());
        }
        let pause = PAUSE_MIN..=DAY;
        if !pause.contains(&self.restart.initial) || !pause.contains(&self.restart.max) {
            wrong("restart", "pauses are between 10ms and a day".to_owned());
        } else if self.restart.initial > self.restart.max {
            wrong("restart.max", "is less than restart.initial".to_owned());
        }
        if !service && self.restart_policy != RestartPolicy::Always {
            let why = "is for services; of a batch job, retries says how often an instance is tried again";
            wrong("restart.policy", why.to_owned());
        }
        match &self.give_up {
            Some(_) if !service => {
                let why =
                    "is for services; of a batch job, retries says how often an instance is tried again";
                wrong("restart.attempts", why.to_owned());
            }
            Some(limit) => {
                if limit.attempts == 0 || limit.attempts > RETRIES_MAX {
                    wrong(
                        "restart.attempts",
                        format!("{} is not between 1 and {RETRIES_MAX}", limit.attempts),
                    );
                }
                if limit.window < PAUSE_MIN || limit.window > DAY {
                    wrong("restart.window", "is not between 10ms and a day".to_owned());
                }
            }
            None => {}
        }
    }

    fn check_update(&self, wrong: &mut impl FnMut(&str, String)) {
        let update = &self.update;
        if self.kind != Kind::Service && *update != Update::DEFAULT {
            wrong("update", "is for services; nothing else is changed while it runs".to_owned());
            return;
        }
        if update.max_surge == 0 && update.max_unavailable == 0 {
            let why = "is 0 and max_surge too: nothing could ever be replaced; make one of them 1";
            wrong("update.max_unavailable", why.to_owned());
        }
        for (key, count) in [
            ("max_surge", update.max_surge),
            ("max_unavailable", update.max_unavailable),
            ("canary", update.canary),
        ] {
            if count > INSTANCES_MAX {
                wrong(&format!("update.{key}"), format!("{count} is more than {INSTANCES_MAX}"));
            }
        }
        if update.min_healthy > DAY {
            wrong("update.min_healthy", "is more than a day".to_owned());
        }
        if update.progress_deadline.is_zero() || update.progress_deadline > DAY {
            wrong("update.progress_deadline", "is not between 1ms and a day".to_owned());
        } else if update.progress_deadline <= update.min_healthy {
            wrong(
                "update.progress_deadline",
                "is no more than min_healthy: every change would fail".to_owned(),
            );
        }
    }

    fn check_after(&self, wrong: &mut impl FnMut(&str, String)) {
        if self.after.len() > AFTER_MAX {
            wrong("after", format!("{} are more than {AFTER_MAX}", self.after.len()));
        }
        let mut seen = BTreeSet::new();
        for name in &self.after {
            if let Some(why) = bad_name(name) {
                wrong("after", why);
            } else if *name == self.name {
                wrong("after", "names the job itself".to_owned());
            } else if !seen.insert(name) {
                wrong("after", format!("names {name} twice"));
            }
        }
    }
}

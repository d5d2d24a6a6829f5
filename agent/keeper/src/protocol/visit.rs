//! What `stoa-keeper enter` is told and what it tells: a command beside a run that runs, in a file that both have.

use super::{Exit, Failure, How, Malformed, Reader, Spawn, TooLong, Writer, frames};
use super::{decode_spawn, get_exit, get_failure, put_exit, put_failure};
use crate::protocol::{FRAME_BYTES_MAX, Frames, Rusage, encode_spawn};

/// A command to run beside a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The process that asks: the command does not outlive it.
    pub asker_pid: i32,
    /// The run's first process, as [`Event::Visited`](super::Event::Visited) told it.
    pub pid: i32,
    /// When that process started: another of the same number is not entered.
    pub start_time: u64,
    /// Whether standard input is a terminal that is to be the command's own.
    pub terminal: bool,
    /// The command. Of its namespaces it gets those of the run, of its output nothing is kept.
    pub spawn: Spawn,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed and is over.
    Ended(How),
    /// It was not executed.
    Failed(Failure),
}

impl Visit {
    /// As the file's content.
    ///
    /// # Errors
    /// [`TooLong`] as for a request.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let mut spawn = Vec::new();
        encode_spawn(&self.spawn, &mut spawn);
        let mut out = Vec::with_capacity(spawn.len() + 64);
        frames::append(&mut out, |w| {
            w.i32(self.asker_pid);
            w.i32(self.pid);
            w.u64(self.start_time);
            w.flag(self.terminal);
            w.bytes(&spawn);
        })?;
        Ok(out)
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`Malformed`] for anything that `encode` does not write.
    pub fn decode(content: &[u8]) -> Result<Visit, Malformed> {
        let body = only_body(content)?;
        let mut r = Reader::new(&body);
        let (asker_pid, pid) = (r.i32("asker")?, r.i32("pid")?);
        let start_time = r.u64("start time")?;
        let terminal = r.flag("terminal")?;
        let spawn = decode_spawn(&r.bytes("command")?)?;
        r.end()?;
        Ok(Visit { asker_pid, pid, start_time, terminal, spawn })
    }
}

impl Outcome {
    /// As the file's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let _fits = frames::append(&mut out, |w: &mut Writer<'_>| match self {
            Outcome::Ended(how) => {
                w.u8(0);
                put_exit(w, &Exit { how: *how, rusage: Rusage::default(), at_ms: 0 });
            }
            Outcome::Failed(failure) => {
                w.u8(1);
                put_failure(w, failure);
            }
        });
        out
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`Malformed`] for anything that `encode` does not write: above all for a [`Visit`], which stands there until there
    /// is an outcome.
    pub fn decode(content: &[u8]) -> Result<Outcome, Malformed> {
        let body = only_body(content)?;
        let mut r = Reader::new(&body);
        let outcome = match r.u8("outcome")? {
            0 => Outcome::Ended(get_exit(&mut r)?.how),
            1 => Outcome::Failed(get_failure(&mut r)?),
            2.. => return Err(Malformed { what: "known outcome" }),
        };
        r.end()?;
        Ok(outcome)
    }
}

/// The one frame that a file holds.
fn only_body(content: &[u8]) -> Result<Vec<u8>, Malformed> {
    const WHOLE: Malformed = Malformed { what: "one whole frame" };
    if content.len() > FRAME_BYTES_MAX + 4 {
        return Err(WHOLE);
    }
    let mut frames = Frames::new();
    frames.extend(content);
    let body = frames.next_body()?.ok_or(WHOLE)?.to_vec();
    if content.len() == body.len() + 4 { Ok(body) } else { Err(WHOLE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{RunId, Stage, User};

    #[test]
    fn a_visit_and_its_outcome_are_told_apart() {
        let visit = Visit {
            asker_pid: 7,
            pid: 8,
            start_time: 9,
            terminal: true,
            spawn: Spawn {
                run_id: RunId([3; 16]),
                argv: vec![b"true".to_vec()],
                env: vec![b"A=b".to_vec()],
                cwd: b"/".to_vec(),
                user: Some(User { uid: 1, gid: 2, groups: vec![3] }),
                cgroup_procs: vec![],
                pid_namespace: true,
                mount_namespace: true,
                no_new_privs: true,
                dropped_capabilities: 5,
                rlimits: vec![],
                output: None,
                secrets: None,
            },
        };
        let content = visit.encode().expect("short");
        assert_eq!(Visit::decode(&content), Ok(visit));
        assert!(Outcome::decode(&content).is_err());
        for cut in 0..content.len() {
            assert!(Visit::decode(&content[..cut]).is_err(), "cut at {cut}");
        }
        let failure = Failure { stage: Stage::Enter, index: 1, errno: 2 };
        for outcome in
            [Outcome::Ended(How::Code(3)), Outcome::Ended(How::Signal(9)), Outcome::Failed(failure)]
        {
            assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
        }
    }
}

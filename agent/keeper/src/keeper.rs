//! The keeper's loop: what each readiness event leads to, and the order of things within one turn.
//!
//! A turn takes all that is ready, begins some waiting runs, writes what it learned to the log in one write, opens the
//! gates of runs whose start is thereby recorded, syncs once if something ended, and tells the agent everything in one
//! write. Hence the cost of a turn's system calls is shared by all that happened in it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::SOCKET_NAME;
use crate::child::{HANDOFF_FD, Inherited};
use crate::connection::{self, Connection};
use crate::inits::Inits;
use crate::log::Log;
use crate::output::Pumped;
use crate::proc;
use crate::protocol::{Event, RunId};
use crate::record::{FORMAT, Record};
use crate::recover::{self, Past};
use crate::runs::{Key, Phase, Run, Runs, State};
use crate::slots::{SlotIndex, Slots};
use crate::sys::{self, Epoll, Interest};

/// A log that could not be written is tried again this often.
const LOG_RETRY: Duration = Duration::from_secs(1);

/// With more runs alive than this, ends come close behind one another.
const RUNS_WHEN_BUSY: usize = 8;

/// They then wait so long for company on their way to the disk: one sync, and one word to the agent, for several.
const GATHER_WHEN_BUSY: Duration = Duration::from_millis(2);

const BUFFER_BYTES: usize = 64 * 1024;

/// What a readiness event is about: the upper byte of its token; the rest is a run's [`Key`], or an init's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Listener,
    Connection,
    Handoff,
    ChildSignal,
    Process,
    Init,
    ExecPipe,
    Stdout,
    Stderr,
}

const SOURCE_SHIFT: u32 = 56;

impl Source {
    const ALL: [Source; 9] = [
        Source::Listener,
        Source::Connection,
        Source::Handoff,
        Source::ChildSignal,
        Source::Process,
        Source::Init,
        Source::ExecPipe,
        Source::Stdout,
        Source::Stderr,
    ];

    pub(crate) fn token(self, key: Key) -> u64 {
        ((self as u64) << SOURCE_SHIFT) | key.0
    }

    fn of(token: u64) -> (Option<Source>, Key) {
        let source = Source::ALL.get((token >> SOURCE_SHIFT) as usize).copied();
        (source, Key(token & ((1 << SOURCE_SHIFT) - 1)))
    }
}

/// Everything the keeper knows and holds. Its verbs are in `requests.rs`, `starting.rs` and `ending.rs`.
pub(crate) struct Keeper {
    pub(crate) epoll: Epoll,
    listener: UnixListener,
    pub(crate) connection: Option<Connection>,
    pub(crate) handoff: OwnedFd,
    pub(crate) child_signals: OwnedFd,
    pub(crate) pidfds: bool,
    pub(crate) inherited: Inherited,
    pub(crate) boot_id: [u8; 16],
    pub(crate) build: String,
    pub(crate) log: Log,
    pub(crate) runs: Runs,
    pub(crate) slots: Slots,
    pub(crate) inits: Inits,
    /// Runs not yet begun, in the order they were asked for. Entries may be stale.
    pub(crate) waiting: VecDeque<Key>,
    /// Runs between clone and exec.
    pub(crate) under_way: usize,
    /// Runs at the gate, or about to be called, since the last write to the log.
    pub(crate) prepared: Vec<Key>,
    /// Runs whose first process is said to be dead.
    pub(crate) dead: Vec<Key>,
    /// Slots whose init is said to be dead.
    pub(crate) dead_inits: Vec<SlotIndex>,
    /// A process that reports by SIGCHLD has ended.
    pub(crate) child_signaled: bool,
    /// Ends not yet on disk.
    pub(crate) unsaid: Vec<Event>,
    /// Since when the first of them waits for others.
    unsaid_since: Option<Instant>,
    /// The log's last write or sync failed.
    log_broken: bool,
    /// The agent asked for a list; it gets one that says only what is on disk.
    pub(crate) list_due: bool,
    /// The agent asked for the end; it comes when no run is left.
    pub(crate) closing: bool,
    idle_since: Option<Instant>,
    /// With nothing to keep and nobody to talk to, it ends after this long.
    idle_max: Duration,
    pub(crate) buffer: Vec<u8>,
}

impl Keeper {
    /// Takes over the working directory: settles what an earlier keeper left, and listens.
    ///
    /// # Errors
    /// Those of the log, the socket and the descriptors it needs.
    pub(crate) fn start(build: &str, idle_max: Duration, inherited: Inherited) -> io::Result<Keeper> {
        sys::block_signals()?;
        sys::become_subreaper()?;
        sys::become_undumpable()?;
        let epoll = Epoll::new()?;
        let (handoff, childs_end) = sys::message_pair()?;
        sys::place_at(&childs_end, HANDOFF_FD)?;
        drop(childs_end);
        let child_signals = sys::child_signals()?;
        let boot_id = proc::boot_id()?;
        let (past, log) = recover::recover(Path::new("."), boot_id, now_ms())?;
        let listener = connection::listen()?;
        let no_run = Key(0);
        epoll.add(&listener, Source::Listener.token(no_run), Interest::READ)?;
        epoll.add(&handoff, Source::Handoff.token(no_run), Interest::READ)?;
        epoll.add(&child_signals, Source::ChildSignal.token(no_run), Interest::READ)?;
        let mut runs = Runs::default();
        for (id, past) in past {
            let state = match past {
                Past::Exited(exit) => State::Exited(exit),
                Past::Failed(failure) => State::Failed(failure),
            };
            runs.insert(id, state);
        }
        Ok(Keeper {
            epoll,
            listener,
            connection: None,
            handoff,
            child_signals,
            pidfds: sys::pidfd_open(std::process::id() as i32).is_ok(),
            inherited,
            boot_id,
            build: build.to_owned(),
            log,
            runs,
            slots: Slots::default(),
            inits: Inits::new()?,
            waiting: VecDeque::new(),
            under_way: 0,
            prepared: Vec::new(),
            dead: Vec::new(),
            dead_inits: Vec::new(),
            child_signaled: false,
            unsaid: Vec::new(),
            unsaid_since: None,
            log_broken: false,
            list_due: false,
            closing: false,
            idle_since: None,
            idle_max,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Runs until asked to end, or until there is nothing to stay for.
    ///
    /// # Errors
    /// Only if waiting for events fails, which leaves nothing to be done.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut tokens = Vec::new();
        while !self.is_done() {
            self.epoll.wait(&mut tokens, self.patience())?;
            for token in &tokens {
                self.notice(*token);
            }
            self.handle_requests();
            self.begin_waiting();
            self.bury();
            self.commit();
            self.answer_list();
            self.flush();
        }
        Ok(())
    }

    fn notice(&mut self, token: u64) {
        let (source, key) = Source::of(token);
        match source {
            Some(Source::Listener) => self.accept(),
            Some(Source::Connection) => self.read_connection(),
            Some(Source::Handoff) => self.receive_handoffs(),
            Some(Source::ChildSignal) => {
                let _drained = sys::read(&self.child_signals, &mut self.buffer);
                self.child_signaled = true;
            }
            Some(Source::Process) => self.dead.push(key),
            Some(Source::Init) => self.dead_inits.push(SlotIndex(key.0 as u32)),
            Some(Source::ExecPipe) => self.exec_pipe_closed(key),
            Some(Source::Stdout) => self.pump(key, 0),
            Some(Source::Stderr) => self.pump(key, 1),
            None => {}
        }
    }

    fn patience(&self) -> Option<Duration> {
        if self.may_begin() {
            return Some(Duration::ZERO);
        }
        if self.log_broken {
            return Some(LOG_RETRY);
        }
        if let Some(since) = self.unsaid_since {
            return Some(GATHER_WHEN_BUSY.saturating_sub(since.elapsed()));
        }
        self.idle_since.map(|since| self.idle_max.saturating_sub(since.elapsed()))
    }

    /// Whether ends that are not yet on disk wait for others.
    fn gathers_ends(&mut self) -> bool {
        let busy = self.runs.processes() > RUNS_WHEN_BUSY && !self.list_due && !self.closing;
        if self.unsaid.is_empty() || !busy {
            self.unsaid_since = None;
            return false;
        }
        let longer = self.unsaid_since.get_or_insert_with(Instant::now).elapsed() < GATHER_WHEN_BUSY;
        if !longer {
            self.unsaid_since = None;
        }
        longer
    }

    fn is_done(&mut self) -> bool {
        let over = self.runs.processes() == 0 && self.inits.is_empty();
        if self.closing && over && self.waiting.is_empty() && self.unsaid.is_empty() {
            self.tell(&Event::Bye);
            self.flush();
            return true;
        }
        if self.connection.is_some() || self.runs.processes() > 0 || !self.waiting.is_empty() {
            self.idle_since = None;
            return false;
        }
        if self.idle_since.get_or_insert_with(Instant::now).elapsed() < self.idle_max {
            return false;
        }
        self.idle_since = None;
        // Ends are kept for the agent to ask for, unless the directory is gone through which it would.
        self.runs.len() == 0 || !Path::new(SOCKET_NAME).exists()
    }

    // === The connection ===

    /// One agent at a time: whoever connects last is the agent.
    fn accept(&mut self) {
        while let Some(stream) = connection::accept(&self.listener) {
            // What the old one has asked is done first: the new one may be the same agent, restarted.
            self.read_connection();
            self.handle_requests();
            if let Some(mut old) = self.connection.take() {
                old.tell(&Event::Broken { text: "another agent has connected".to_owned() });
                let _gone_anyway = old.flush();
            }
            self.list_due = false;
            let connection = Connection::new(stream);
            if self.epoll.add(&connection, Source::Connection.token(Key(0)), Interest::READ).is_ok() {
                self.connection = Some(connection);
            }
        }
    }

    fn read_connection(&mut self) {
        if let Some(connection) = &mut self.connection
            && connection.watched.readable
            && connection.read(&mut self.buffer).is_err()
        {
            // What it asked before it left is still carried out.
            self.handle_requests();
            self.connection = None;
        }
    }

    /// Tells the agent, if one has said Hello. It learns the rest from List.
    pub(crate) fn tell(&mut self, event: &Event) {
        if let Some(connection) = &mut self.connection
            && connection.version.is_some()
        {
            connection.tell(event);
        }
    }

    fn flush(&mut self) {
        let readable = self.takes_requests();
        let Some(connection) = &mut self.connection else { return };
        if connection.flush().is_err() {
            self.connection = None;
            return;
        }
        let wanted = Interest { readable, writable: connection.has_unsent() };
        if connection.watched != wanted {
            connection.watched = wanted;
            if self.epoll.modify(connection, Source::Connection.token(Key(0)), wanted).is_err() {
                self.connection = None;
            }
        }
    }

    // === Output ===

    fn pump(&mut self, key: Key, which: usize) {
        let Some(run) = self.runs.get_mut(key) else { return };
        let Some(place) = run.streams.get_mut(which) else { return };
        if let Some(stream) = place
            && stream.pump(&mut self.buffer) == Pumped::Closed
        {
            *place = None;
        }
    }

    // === The log ===

    /// Writes what this turn learned; lets runs start whose start is now recorded; says the ends that are now on disk.
    fn commit(&mut self) {
        for key in &self.prepared {
            if let Some(record) = self.runs.get_mut(*key).and_then(|run| record_of(run, &self.slots)) {
                self.log.append(&record);
            }
        }
        let written = match self.log.write() {
            Ok(()) if !self.log_broken => Ok(()),
            Ok(()) | Err(_) => self.rewrite_log(),
        };
        match written {
            Ok(()) => self.release_prepared(),
            Err(e) => self.refuse_prepared(e.raw_os_error().unwrap_or(libc::EIO)),
        }
        if !self.log_broken && self.gathers_ends() {
            return;
        }
        if !self.unsaid.is_empty() && !self.log_broken && self.log.sync().is_err() {
            // After a failed sync the kernel may have dropped the data and would report success next time.
            let _noted = self.rewrite_log();
        }
        if !self.log_broken {
            for event in std::mem::take(&mut self.unsaid) {
                self.tell(&event);
            }
            if self.log.wants_rewrite(self.runs.len()) {
                let _noted = self.rewrite_log();
            }
        }
    }

    /// Replaces the log by what is known now, which is on disk afterwards.
    fn rewrite_log(&mut self) -> io::Result<()> {
        let head = Record::Head { format: FORMAT, boot_id: self.boot_id };
        let slots = &self.slots;
        let records = self.runs.iter().filter_map(|run| record_of(run, slots));
        let result = self.log.rewrite([head].into_iter().chain(records));
        self.log_broken = result.is_err();
        result
    }

    // === Lists ===

    fn answer_list(&mut self) {
        if !self.list_due || self.log_broken {
            return;
        }
        self.list_due = false;
        let Some(connection) = &mut self.connection else { return };
        for run in self.runs.iter() {
            let slots = &self.slots;
            let state = run.state.describe(|index| slots.get(index).map_or(0, |slot| slot.start_time()));
            connection.tell(&Event::Listed(crate::protocol::Run { run_id: run.id, state }));
        }
        connection.tell(&Event::ListEnd);
    }

    /// The id of a run that is still in the table.
    pub(crate) fn id_of(&mut self, key: Key) -> Option<RunId> {
        self.runs.get_mut(key).map(|run| run.id)
    }
}

/// What the log has to say of a run; nothing of one that is not yet at the gate.
fn record_of(run: &Run, slots: &Slots) -> Option<Record> {
    let run_id = run.id;
    match &run.state {
        State::Waiting(_) => None,
        State::Live(live) => match live.phase {
            Phase::Preparing => None,
            Phase::Prepared | Phase::Released | Phase::Running => {
                let start_time = slots.get(live.slot).map_or(0, |slot| slot.start_time());
                Some(Record::Started { run_id, pid: live.pid, start_time })
            }
        },
        State::Exited(exit) => Some(Record::Exited { run_id, exit: *exit }),
        State::Failed(failure) => Some(Record::Failed { run_id, failure: *failure }),
    }
}

/// Wall-clock time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64)
}

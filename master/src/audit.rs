//! The audit log of this master: who did what, from where, and what came of it. Decision 0014 says what is in it and what is lost.
//!
//! Whoever has something to say says it here and goes on: lines are written by a thread of their own. What is alike is counted
//! and written as one line a second (of what was carried out, a minute), so that nobody can fill it by repeating himself.

mod journal;
mod seals;
mod writer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use master_core::{Audited, Via};
use proto::id::MasterId;
use proto::operator::{AuditLines, AuditPlace, AuditRead};
use proto::refusal::{Code, Refusal};
use proto_audit::files::{self, Page, Place};
use proto_audit::{Entry, Head, Verdict};
use proto_grpc::Peer;
use tokio::sync::watch;

pub(crate) use seals::keep_sealed;

/// Lines that may wait to be written. Beyond, they are counted and the count is written.
const WAITING_MAX: usize = 4096;
/// What was denied is written so often, for each who, call and code.
const DENIED_WINDOW: Duration = Duration::from_secs(1);
/// What frameworks and agents have done is written so often.
const DONE_WINDOW: Duration = Duration::from_secs(60);
/// Longer texts are cut: what strangers say is no reason to write much.
const TEXT_BYTES_MAX: usize = 256;
/// The longest that a reader waits for the next line.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Who showed no certificate, or none of this cluster.
pub(crate) const NOBODY: &str = "nobody";

/// Something that is to become a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub who: String,
    pub from: String,
    pub call: &'static str,
    pub object: String,
    pub verdict: Verdict,
    pub code: &'static str,
    pub message: String,
    pub index: u64,
    pub count: u64,
    pub at_ms: u64,
}

/// What is alike: it is counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Alike {
    who: String,
    call: &'static str,
    code: &'static str,
}

/// What came since the last line of its like.
struct Tally {
    until: Instant,
    window: Duration,
    /// The latest one, with how many there were; `None`: none.
    since: Option<Draft>,
}

/// What the log stands at on its disk.
#[derive(Clone, Copy, Debug, Default)]
struct Synced {
    head: Head,
    /// Lines that are not about others' logs: if there is no more of these, there is nothing to tell the others.
    own: u64,
}

/// What the thread and those who speak to it share.
struct Shared {
    dir: PathBuf,
    master: MasterId,
    tallies: Mutex<HashMap<Alike, Tally>>,
    /// Where frameworks and agents speak to this master from.
    from: Mutex<HashMap<Via, String>>,
    lost: AtomicU64,
    written: watch::Sender<u64>,
    synced: Mutex<Synced>,
}

/// Where everybody says what is to be written.
pub(crate) struct Audit {
    shared: Arc<Shared>,
    drafts: Mutex<Option<SyncSender<Draft>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Nobody panics while holding these locks, and what they hold is whole between any two calls: poison means nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn clipped(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn place(place: AuditPlace) -> Place {
    Place { segment: place.segment, offset: place.offset }
}

/// The other end of a request, as a text.
pub(crate) fn from_of(peer: Option<&Peer>) -> String {
    peer.and_then(Peer::address).as_ref().map(SocketAddr::to_string).unwrap_or_default()
}

// === impl Draft ===

impl Draft {
    /// Something was carried out.
    pub fn done(who: impl ToString, from: String, call: &'static str, object: impl Into<String>) -> Draft {
        Draft {
            who: who.to_string(),
            from,
            call,
            object: clipped(object.into()),
            verdict: Verdict::Done,
            code: "",
            message: String::new(),
            index: 0,
            count: 1,
            at_ms: now_ms(),
        }
    }

    /// Committed at this index.
    pub fn at(mut self, index: u64) -> Draft {
        self.index = index;
        self
    }

    /// With something to add in words.
    pub fn saying(mut self, message: impl Into<String>) -> Draft {
        self.message = clipped(message.into());
        self
    }

    /// Something was not carried out, or nobody knows whether it will be.
    pub fn refused(mut self, code: Code, message: &str) -> Draft {
        self.verdict = match code {
            Code::LeaderLost | Code::Unavailable => Verdict::Unknown,
            _ => Verdict::Denied,
        };
        self.code = code.as_str();
        self.saying(message)
    }

    fn alike(&self) -> Alike {
        Alike { who: self.who.clone(), call: self.call, code: self.code }
    }
}

// === impl Audit ===

impl Audit {
    /// Opens the log and starts to write it. A log that cannot be written is no reason not to run: it is said aloud, counted,
    /// and tried again.
    pub fn start(dir: &Path, master: MasterId, keep_bytes: u64) -> std::io::Result<Arc<Audit>> {
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            master,
            tallies: Mutex::default(),
            from: Mutex::default(),
            lost: AtomicU64::new(0),
            written: watch::channel(0).0,
            synced: Mutex::default(),
        });
        let (drafts, waiting) = sync_channel(WAITING_MAX);
        let writing = writer::Writer::new(shared.clone(), keep_bytes);
        let thread =
            std::thread::Builder::new().name("audit".to_owned()).spawn(move || writing.run(&waiting))?;
        Ok(Arc::new(Audit { shared, drafts: Mutex::new(Some(drafts)), thread: Mutex::new(Some(thread)) }))
    }

    /// To be written as a line of its own: what people do, and who is let in.
    pub fn say(&self, draft: Draft) {
        let sent = match &*lock(&self.drafts) {
            Some(drafts) => drafts.try_send(draft),
            None => return,
        };
        if let Err(TrySendError::Full(draft) | TrySendError::Disconnected(draft)) = sent {
            self.shared.lost.fetch_add(draft.count, Ordering::Relaxed);
        }
    }

    /// To be written at once, unless there was a line of its like lately: then it is counted.
    pub fn tell(&self, draft: Draft) {
        let window = if draft.verdict == Verdict::Done { DONE_WINDOW } else { DENIED_WINDOW };
        {
            let mut tallies = lock(&self.shared.tallies);
            if let Some(tally) = tallies.get_mut(&draft.alike()) {
                let before = tally.since.as_ref().map_or(0, |draft| draft.count);
                tally.since = Some(Draft { count: before.saturating_add(draft.count), ..draft });
                return;
            }
            let until = Instant::now() + window;
            tallies.insert(draft.alike(), Tally { until, window, since: None });
        }
        self.say(draft);
    }

    /// What the machine has to say.
    pub fn of_machine(&self, audited: Audited) {
        let Audited { who, via, call, object, outcome, message, count } = audited;
        let from = via.and_then(|via| lock(&self.shared.from).get(&via).cloned()).unwrap_or_default();
        let own = who.is_empty();
        let who = if own { format!("master/{}", self.shared.master) } else { who };
        let draft = Draft { count, ..Draft::done(who, from, call, object).saying(message) };
        match outcome {
            // What it does by itself is rare, and each is somebody's work.
            Ok(index) if own => self.say(draft.at(index)),
            Ok(index) => self.tell(draft.at(index)),
            Err(code) => {
                let message = draft.message.clone();
                self.tell(draft.refused(code, &message));
            }
        }
    }

    /// A framework or an agent speaks from here.
    pub fn arrived(&self, via: Via, from: String) {
        lock(&self.shared.from).insert(via, from);
    }

    /// And does not any more.
    pub fn left(&self, via: Via) {
        lock(&self.shared.from).remove(&via);
    }

    /// Lines of it, for somebody who may read them.
    pub async fn read(&self, asked: &AuditRead) -> Result<AuditLines, Refusal> {
        let mut written = self.shared.written.subscribe();
        written.mark_unchanged();
        let mut page = self.page(asked.clone()).await?;
        if page.lines.is_empty() && !page.more && !asked.wait.is_zero() {
            // Its sender lives as long as this: nothing but a line or time ends the wait.
            let _ = tokio::time::timeout(asked.wait.min(WAIT_MAX), written.changed()).await;
            page = self.page(asked.clone()).await?;
        }
        let next = AuditPlace { segment: page.next.segment, offset: page.next.offset };
        Ok(AuditLines { master: self.shared.master, lines: page.lines, next, more: page.more })
    }

    async fn page(&self, asked: AuditRead) -> Result<Page, Refusal> {
        let dir = self.shared.dir.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let all = asked.principal.is_empty() && !asked.denied;
            let wanted = |line: &str| {
                all || Entry::parse(line).is_ok_and(|entry| {
                    (asked.principal.is_empty() || entry.who == asked.principal)
                        && (!asked.denied || entry.verdict == Verdict::Denied)
                })
            };
            match (asked.from, asked.last) {
                (Some(from), _) => files::read(&dir, place(from), wanted),
                (None, 0) => files::read(&dir, Place::default(), wanted),
                (None, last) => files::read_last(&dir, last as usize, wanted),
            }
        });
        let unread = |why: String| {
            Refusal::new(Code::Unavailable, format!("the audit log of this master cannot be read: {why}"))
                .with_help("look at its data directory")
        };
        match reading.await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(error)) => Err(unread(error.to_string())),
            Err(_) => Err(unread("this master is stopping".to_owned())),
        }
    }

    /// Writes what is left, and ends.
    pub fn close(&self) {
        lock(&self.drafts).take();
        if let Some(thread) = lock(&self.thread).take() {
            // What it could not write it has said.
            let _ = thread.join();
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;

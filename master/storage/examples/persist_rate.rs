//! Measures what a batch costs on a directory's disk: through the store, and as bare bytes with `fdatasync`, written over
//! zeros and appended to a file.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use master_raft::{ConfState, Entry, EntryKind, HardState, Image, NodeId, Persist, Snapshot};
use master_storage::{Disk, Group, LogStore};

const ENTRY_BYTES: usize = 256;
const SNAPSHOT_EVERY: u64 = 20_000;
const ZEROS: u64 = 8 << 20;
const LASTS: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let dir =
        std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("persist-rate"), PathBuf::from);
    println!(
        "{:>6} {:>36} {:>24} {:>24}",
        "batch", "store: p50, p99, entries/s", "over zeros: p50, p99", "appended: p50, p99"
    );
    for batch in [1, 64, 1024] {
        fs::remove_dir_all(&dir).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        fs::create_dir_all(&dir)?;
        // In turns, so that both see the same weather.
        let (mut store, mut over, mut appended) = (Vec::new(), Vec::new(), Vec::new());
        let mut disk = Store::open(&dir)?;
        let zeros = zeros(&dir.join("zeros"))?;
        let mut growing = OpenOptions::new().create(true).append(true).open(dir.join("appended"))?;
        let bytes = vec![7u8; batch * ENTRY_BYTES];
        let mut at = 0;
        let end = Instant::now() + 3 * LASTS;
        while Instant::now() < end {
            store.push(timed(|| disk.persist(batch as u64))?);
            over.push(timed(|| {
                zeros.write_all_at(&bytes, at)?;
                Ok(zeros.sync_data()?)
            })?);
            at = (at + bytes.len() as u64) % (ZEROS - bytes.len() as u64);
            appended.push(timed(|| {
                growing.write_all(&bytes)?;
                Ok(growing.sync_data()?)
            })?);
        }
        let [store, over, appended] = [store, over, appended].map(Figures::of);
        let rate = store.rate * batch as f64;
        println!("{batch:>6} {:>36} {over:>24} {appended:>24}", format!("{store}, {rate:.0}/s"));
        let files = fs::read_dir(dir.join("log"))?.count();
        println!("       files of the log left: {files}");
    }
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// A file of zeros, all of it on disk.
fn zeros(path: &Path) -> Result<File, Box<dyn Error>> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; ZEROS as usize], 0)?;
    file.sync_all()?;
    Ok(file)
}

fn timed(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

struct Store {
    disk: Disk,
    last: u64,
    sequence: u64,
    data: Vec<u8>,
}

impl Store {
    fn open(dir: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self { disk: Disk::open(dir)?, last: 0, sequence: 0, data: vec![7; ENTRY_BYTES] })
    }

    /// As a busy leader does: entries, hard state, and now and then a snapshot.
    fn persist(&mut self, batch: u64) -> Result<(), Box<dyn Error>> {
        let entry = |index| {
            let data = self.data.clone().into();
            Entry { index, term: 1, kind: EntryKind::Normal, data }
        };
        let entries = (self.last + 1..=self.last + batch).map(entry).collect();
        self.last += batch;
        self.sequence += 1;
        let snapshot =
            (self.last / SNAPSHOT_EVERY != (self.last - batch) / SNAPSHOT_EVERY).then(|| Snapshot {
                index: self.last - 1,
                term: 1,
                conf_state: ConfState::of(&[NodeId(1)]),
                image: Image::Bytes("state".into()),
            });
        let persist = Persist {
            sequence: self.sequence,
            snapshot,
            entries,
            hard_state: Some(HardState { term: 1, vote: None, commit: self.last - 1 }),
            ..Persist::default()
        };
        Ok(self.disk.persist(&[(Group(0), persist)])?)
    }
}

struct Figures {
    p50: Duration,
    p99: Duration,
    /// Batches a second.
    rate: f64,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        let all: Duration = times.iter().sum();
        times.sort_unstable();
        let of_a_hundred = |n| times.get(times.len() * n / 100).copied().unwrap_or_default();
        Self { p50: of_a_hundred(50), p99: of_a_hundred(99), rate: times.len() as f64 / all.as_secs_f64() }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{} us, {} us", self.p50.as_micros(), self.p99.as_micros()))
    }
}

//! Measures what a batch costs on a directory's disk: through the store, and as bare bytes with `fdatasync`.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use master_raft::{Entry, EntryKind, HardState, Persist};
use master_storage::{Disk, Group, LogStore};

const ENTRY_BYTES: usize = 256;
const LASTS: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let dir =
        std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("persist-rate"), PathBuf::from);
    println!(
        "{:>6} {:>28} {:>28} {:>8}",
        "batch", "store: batch p50, entries/s", "bare: batch p50, entries/s", "ratio"
    );
    for batch in [1, 64, 1024] {
        fs::remove_dir_all(&dir).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        fs::create_dir_all(&dir)?;
        // In turns, so that both see the same weather.
        let (mut store, mut bare) = (Vec::new(), Vec::new());
        let mut disk = Store::open(&dir)?;
        let mut file = OpenOptions::new().create(true).append(true).open(dir.join("bare"))?;
        let bytes = vec![7u8; batch * ENTRY_BYTES];
        let end = Instant::now() + 2 * LASTS;
        while Instant::now() < end {
            store.push(timed(|| disk.persist(batch as u64))?);
            bare.push(timed(|| {
                file.write_all(&bytes)?;
                Ok(file.sync_data()?)
            })?);
        }
        let (store, bare) = (Figures::of(store, batch), Figures::of(bare, batch));
        let ratio = store.p50.as_secs_f64() / bare.p50.as_secs_f64();
        println!("{batch:>6} {store:>28} {bare:>28} {ratio:>8.2}");
        println!("       log.redb: {} KiB", fs::metadata(dir.join("log.redb"))?.len() >> 10);
    }
    fs::remove_dir_all(&dir)?;
    Ok(())
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

    /// As a busy leader does: entries, hard state, and the log cut behind the last twenty thousand.
    fn persist(&mut self, batch: u64) -> Result<(), Box<dyn Error>> {
        let entry = |index| {
            let data = self.data.clone().into();
            Entry { index, term: 1, kind: EntryKind::Normal, data }
        };
        let entries = (self.last + 1..=self.last + batch).map(entry).collect();
        self.last += batch;
        self.sequence += 1;
        let persist = Persist {
            sequence: self.sequence,
            entries,
            hard_state: Some(HardState { term: 1, vote: None, commit: self.last - 1 }),
            compact_to: self.last.checked_sub(20_000),
            ..Persist::default()
        };
        Ok(self.disk.persist(&[(Group(0), persist)])?)
    }
}

struct Figures {
    p50: Duration,
    rate: f64,
}

impl Figures {
    fn of(mut times: Vec<Duration>, batch: usize) -> Self {
        let all: Duration = times.iter().sum();
        times.sort_unstable();
        let p50 = times.get(times.len() / 2).copied().unwrap_or_default();
        Self { p50, rate: (times.len() * batch) as f64 / all.as_secs_f64() }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.0} us, {:.0}/s", self.p50.as_secs_f64() * 1e6, self.rate);
        f.pad(&text)
    }
}

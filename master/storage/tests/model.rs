//! The store against a model of it in memory: random batches, files begun and removed, reopened at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use master_raft::{ConfState, Entry, EntryKind, HardState, Image, NodeId, Persist, Recovered, Snapshot};
use master_storage::{Disk, Group, LogStore};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<(u8, Change)>),
    Reopen,
}

/// What one `Persist` does; places are counted from what is there.
#[derive(Clone, Debug)]
enum Change {
    /// Appends entries of these sizes, after taking so many away.
    Append {
        away: u64,
        sizes: Vec<usize>,
    },
    /// Takes a snapshot so many entries before the last, and keeps so many before it.
    Take {
        back: u64,
        retained: u64,
    },
    /// Installs a leader's snapshot so many entries behind the last, and appends as many as said.
    Install {
        ahead: u64,
        count: u64,
    },
    Members,
    Vote,
    Nothing,
}

fn change() -> impl Strategy<Value = Change> {
    let size = prop_oneof![8 => 0usize..200, 2 => 200usize..2_000, 1 => 5_000usize..40_000];
    prop_oneof![
        6 => (prop_oneof![3 => Just(0u64), 1 => 0u64..8], proptest::collection::vec(size, 0..12))
            .prop_map(|(away, sizes)| Change::Append { away, sizes }),
        2 => (0u64..10, 0u64..5).prop_map(|(back, retained)| Change::Take { back, retained }),
        1 => (1u64..20, 0u64..4).prop_map(|(ahead, count)| Change::Install { ahead, count }),
        1 => Just(Change::Members),
        1 => Just(Change::Vote),
        1 => Just(Change::Nothing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let batch = proptest::collection::vec((0u8..3, change()), 0..5).prop_map(Step::Batch);
    prop_oneof![6 => batch, 1 => Just(Step::Reopen)]
}

#[derive(Default)]
struct Model {
    groups: BTreeMap<u8, Recovered>,
    term: u64,
}

fn entry(index: u64, term: u64, size: usize) -> Entry {
    let kind = if size.is_multiple_of(7) { EntryKind::Members } else { EntryKind::Normal };
    // Zeros too: a sector may hold nothing else.
    let data = vec![(index % 3) as u8; size].into();
    Entry { index, term, kind, data }
}

impl Model {
    fn apply(&mut self, group: u8, change: &Change) -> Persist {
        self.term += 1;
        let term = self.term;
        let at = self.groups.entry(group).or_default();
        let covered = at.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let last = at.entries.last().map_or(covered, |entry| entry.index);
        let snapshot = |index| Snapshot {
            index,
            term,
            conf_state: ConfState::of(&[NodeId(1), NodeId(term)]),
            image: Image::Bytes(format!("{group} at {index}").into()),
        };
        match change {
            Change::Append { away, sizes } => {
                let from = (last + 1).saturating_sub(*away).max(covered + 1);
                let entries: Vec<_> =
                    (from..).zip(sizes).map(|(index, size)| entry(index, term, *size)).collect();
                at.entries.retain(|entry| entry.index < from);
                at.entries.extend(entries.iter().cloned());
                Persist { truncate_from: (*away > 0).then_some(from), entries, ..Persist::default() }
            }
            Change::Take { back, retained } => {
                let index = last.saturating_sub(*back);
                if index <= covered {
                    return Persist::default();
                }
                at.entries.retain(|entry| entry.index > index);
                at.snapshot = Some(snapshot(index));
                let compact_to = Some(index.saturating_sub(*retained));
                Persist { snapshot: at.snapshot.clone(), compact_to, ..Persist::default() }
            }
            Change::Install { ahead, count } => {
                let index = last + ahead;
                at.snapshot = Some(snapshot(index));
                at.entries = (index + 1..=index + count).map(|index| entry(index, term, 30)).collect();
                at.conf_state = Some((index, snapshot(index).conf_state));
                Persist {
                    snapshot: at.snapshot.clone(),
                    truncate_from: Some(index + 1),
                    compact_to: Some(index),
                    entries: at.entries.clone(),
                    conf_state: at.conf_state.clone(),
                    ..Persist::default()
                }
            }
            Change::Members => {
                at.conf_state = Some((last, ConfState::of(&[NodeId(term), NodeId(2)])));
                Persist { conf_state: at.conf_state.clone(), ..Persist::default() }
            }
            Change::Vote => {
                at.hard_state =
                    HardState { term, vote: term.is_multiple_of(2).then_some(NodeId(3)), commit: covered };
                Persist { hard_state: Some(at.hard_state), ..Persist::default() }
            }
            Change::Nothing => Persist::default(),
        }
    }
}

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("master-storage-model-{}-{n}", std::process::id())))
    }

    fn open(&self, file_bytes: u64) -> Disk {
        Disk::open_with(&self.0, file_bytes).expect("a sound store")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn assert_same(disk: &mut Disk, model: &Model) -> Result<(), TestCaseError> {
    for group in 0..3 {
        let expected = model.groups.get(&group).cloned().unwrap_or_default();
        prop_assert_eq!(disk.recover(Group(group)).expect("sound"), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_what_was_persisted_whenever_it_is_opened(
        steps in proptest::collection::vec(step(), 1..60),
        file_bytes in prop_oneof![Just(1_024u64), Just(4_096), Just(65_536)],
    ) {
        let dir = Dir::new();
        let mut disk = dir.open(file_bytes);
        let mut model = Model::default();
        for step in &steps {
            match step {
                Step::Batch(changes) => {
                    let batch: Vec<_> = changes
                        .iter()
                        .map(|(group, change)| (Group(*group), model.apply(*group, change)))
                        .collect();
                    disk.persist(&batch).expect("a working disk");
                }
                Step::Reopen => {
                    drop(disk);
                    disk = dir.open(file_bytes);
                    assert_same(&mut disk, &model)?;
                }
            }
        }
        assert_same(&mut disk, &model)?;
        drop(disk);
        assert_same(&mut dir.open(file_bytes), &model)?;
    }

    /// A damaged file may be anything: it is never taken for a log, and never a panic.
    #[test]
    fn no_bytes_are_too_much(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let dir = Dir::new();
        let mut disk = dir.open(8_192);
        let mut model = Model::default();
        for n in 0..20 {
            let change = Change::Append { away: n % 2, sizes: vec![100; 5] };
            let persist = model.apply(0, &change);
            disk.persist(&[(Group(0), persist)]).expect("a working disk");
        }
        drop(disk);
        let file = dir.0.join("log/0000000001.log");
        let mut bytes = fs::read(&file).expect("readable");
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
        let sound = bytes.clone();
        for (place, byte) in &places {
            let at = place.index(end);
            bytes[at] = *byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(end));
        }
        fs::write(&file, &bytes).expect("writable");
        match Disk::open(&dir.0) {
            Ok(mut disk) => {
                // Only what was there before, byte for byte.
                prop_assert!(bytes == sound, "damage was overlooked");
                assert_same(&mut disk, &model)?;
            }
            Err(error) => prop_assert!(error.to_string().contains("0000000001.log"), "{}", error),
        }
    }
}

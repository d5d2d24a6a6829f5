//! The state machines of both groups: from an image, over a log, and back; and backups, which hold two images.

use master_registry::Registry;
use master_store::Store;
use proto::backup::Backup;
use proto::log::{Batch, Restored};
use proto::wire::Wire;

use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(super) const REGISTRY: Target = Target::new(
    "registry",
    "any image and any log give a registry whose image gives the same, and they give it again",
    Kind::Wire,
    registry,
)
.up_to(16 << 10);

/// Field 1 is the image it begins with, each field 2 a batch of the log.
fn registry(input: &[u8]) -> Verdict {
    let Ok(mut registry) = Registry::from_image(tree::bytes(input, 1)) else { return Ok(Taken::No) };
    // What an image says twice is there once, so the first is not compared with what was read.
    let mut same = back(&registry)?;
    let mut index = 1;
    for (_, message) in tree::messages(input).filter(|(number, _)| *number == 2) {
        let Ok(batch) = Batch::decode(message) else { continue };
        for at in [&mut registry, &mut same] {
            let mut ordinal = 0;
            for entry in batch.entries.clone() {
                at.apply(index, batch.at_ms, &mut ordinal, entry);
            }
        }
        ensure(registry == same, || {
            "a registry and what its image gave do different things with one batch".to_owned()
        })?;
        same = back(&registry)?;
        ensure(registry == same, || "the image of a registry gives another one".to_owned())?;
        index += 1;
    }
    Ok(if registry == Registry::default() { Taken::No } else { Taken::Yes })
}

fn back(registry: &Registry) -> Result<Registry, String> {
    Registry::from_image(&registry.to_image()).map_err(|bad| format!("its own image is refused: {bad}"))
}

pub(super) const STORE: Target = Target::new(
    "store",
    "any image and any log give a store whose image gives the same, and a refused entry changes nothing",
    Kind::Wire,
    store,
)
.up_to(16 << 10);

/// Field 1 is the image it begins with, each field 2 a batch of the log.
fn store(input: &[u8]) -> Verdict {
    let Ok(mut store) = Store::from_image(tree::bytes(input, 1)) else { return Ok(Taken::No) };
    let restored = |store: &Store| {
        Store::from_image(&store.to_image()).map_err(|bad| format!("its own image is refused: {bad}"))
    };
    let mut same = restored(&store)?;
    ensure(store == same, || "the image of a store gives another one".to_owned())?;
    for (_, message) in tree::messages(input).filter(|(number, _)| *number == 2) {
        let Ok(batch) = proto::store_log::Batch::decode(message) else { continue };
        let limits = batch.limits.unwrap_or_default();
        for entry in batch.entries {
            let before = store.clone();
            let applied = store.apply_within(entry.clone(), limits);
            let again = same.apply_within(entry.clone(), limits);
            ensure(applied == again, || format!("{entry:?} gives {applied:?} and {again:?}"))?;
            let unchanged = applied.outcome.is_ok() || store == before;
            ensure(unchanged, || format!("{entry:?} is refused and changes something"))?;
        }
        same = restored(&store)?;
        ensure(store == same, || "the image of a store gives another one".to_owned())?;
    }
    Ok(if store == Store::default() { Taken::No } else { Taken::Yes })
}

pub(super) const BACKUP: Target = Target::new(
    "backup",
    "no file is taken for another backup than it is, and what is restored from one can be a master's image",
    Kind::Wire,
    backup,
)
.up_to(16 << 10);

/// Field 1 is the file as it is; field 2 a backup, which is written to a file before.
fn backup(input: &[u8]) -> Verdict {
    let written = Backup::decode(tree::bytes(input, 2)).ok();
    let file = written.as_ref().map_or_else(|| tree::bytes(input, 1).to_vec(), Backup::to_file);
    let Ok(backup) = Backup::from_file(&file) else { return Ok(Taken::No) };
    if let Some(written) = written {
        ensure(backup == written, || "a backup is read back as another".to_owned())?;
    }
    ensure(Backup::from_file(&backup.to_file()).as_ref() == Ok(&backup), || {
        "what is written is not read".to_owned()
    })?;
    let restored = Restored { known_index: backup.registry.index, index: 1 << 50, at_ms: 1 };
    if let Ok(image) =
        master_core::restored(&backup.registry.image, restored, &std::collections::BTreeMap::new())
    {
        let registry =
            Registry::from_image(&image).map_err(|bad| format!("the restored registry is refused: {bad}"))?;
        ensure(registry.to_image() == image, || "the restored registry is written in two ways".to_owned())?;
    }
    if let Ok(image) = master_store_core::restored(&backup.store.image, 1 << 50) {
        let store =
            Store::from_image(&image).map_err(|bad| format!("the restored store is refused: {bad}"))?;
        ensure(store.to_image() == image, || "the restored store is written in two ways".to_owned())?;
    }
    Ok(Taken::Yes)
}

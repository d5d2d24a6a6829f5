//! What a master says, and does not do, when what it has stored is not there any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use master::{Config, RunError};
use proto::id::MasterId;
use proto_pki::{Authority, Identity, LEAF_VALIDITY};

const ID: MasterId = MasterId(3);

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let authority = Authority::create("test").unwrap();
    authority.issue(&Identity::Master(ID), LEAF_VALIDITY).unwrap().save(&dir.join("credentials")).unwrap();
    dir
}

fn config(dir: &Path) -> Config {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Config {
        id: ID,
        listen,
        members: BTreeMap::from([(ID, listen.to_string())]),
        founds: true,
        data_dir: dir.join("data"),
        credentials_dir: dir.join("credentials"),
        authority_dir: None,
        root_tasks: BTreeSet::new(),
        offer_timeout: None,
        agent_unreachable_after: None,
        store_limits: Default::default(),
        limits: Default::default(),
    }
}

/// It runs for a moment, and is asked to end.
async fn runs(dir: &Path) -> Result<(), RunError> {
    let notes = ["data/begun", "data/begun-store"].map(|note| dir.join(note));
    let shutdown = async move {
        // It has begun once each of its groups has stored something, and noted that.
        while !notes.iter().all(|note| note.exists()) {
            tokio::time::sleep(Duration::from_millis(10)).await; // eventually
        }
    };
    master::run(config(dir), String::new, shutdown).await
}

fn text(error: &RunError) -> String {
    error.to_string()
}

/// The files of a directory, oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_log_that_is_gone_is_not_begun_anew() {
    for gone in ["data/log", "data/store/log", "data/store"] {
        let dir = scratch(&format!("gone-{}", gone.replace('/', "-")));
        // Its first life is enough: what it has stored, others may have counted on.
        runs(&dir).await.unwrap();
        std::fs::remove_dir_all(dir.join(gone)).unwrap();
        let why = runs(&dir).await.unwrap_err();
        assert!(matches!(why, RunError::LogLost { .. }), "{why:?}");
        assert!(text(&why).contains("stoa raft replace 3"), "{why}");
    }
}

#[tokio::test]
async fn a_damaged_log_is_refused_and_the_remedy_is_named() {
    let dir = scratch("damaged");
    for _ in 0..3 {
        runs(&dir).await.unwrap();
    }
    let first = files(&dir.join("data/log")).remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last / 2] ^= 0x10;
    std::fs::write(&first, &bytes).unwrap();
    let why = runs(&dir).await.unwrap_err();
    assert!(matches!(why, RunError::Damaged { .. }), "{why:?}");
    let said = text(&why);
    assert!(said.contains("stoa raft replace 3") && said.contains("is damaged at byte"), "{said}");
    assert_eq!(std::fs::read(&first).unwrap(), bytes, "nothing is mended by guessing");
}

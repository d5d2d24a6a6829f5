use master_core::Master;
use proto::backup::Member;

use super::*;

/// When somebody restores, and when the backup was made before.
const NOW_S: u64 = 1_795_881_600;
const MADE_MS: u64 = 1_795_881_000_000;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let dir = std::env::temp_dir().join(format!("stoa-backup-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let member = |id: u64| Member { id: MasterId(id), address: format!("h{id}:7070") };
        let backup = Backup {
            format: Backup::FORMAT,
            cluster: "pool".to_owned(),
            made_ms: MADE_MS,
            members: (1..=3).map(member).collect(),
            registry: Part { index: 70, term: 4, image: Vec::new() },
            store: Part { index: 9, term: 2, image: Vec::new() },
            ..Backup::default()
        };
        fs::write(dir.join("backup"), backup.to_file()).unwrap();
        Place(dir)
    }

    fn restoring(&self, id: u64, at_s: Option<u64>) -> Restoring {
        Restoring {
            file: self.0.join("backup"),
            id: MasterId(id),
            members: BTreeMap::new(),
            data_dir: self.0.join(format!("m{id}")),
            authority: None,
            at_s,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn each_member_begins_with_the_same_log_beyond_the_old_one() {
    let place = Place::new("same");
    let logs = [1, 2, 3].map(|id| {
        let restoring = place.restoring(id, Some(NOW_S));
        let done = restoring.restore(NOW_S + id, false).unwrap();
        assert_eq!((done.cluster.as_str(), done.members.len()), ("pool", 3));
        let mut registry = Disk::open(&restoring.data_dir).unwrap();
        let mut store = Disk::open(&restoring.data_dir.join("store")).unwrap();
        (registry.recover(REGISTRY).unwrap(), store.recover(STORE).unwrap())
    });
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[1], logs[2]);
    let (registry, store) = logs[0].clone();
    let first = registry.snapshot.clone().unwrap();
    assert!(first.index > 70 && first.index < 1 << 53, "{}", first.index);
    assert!(registry.hard_state.term > 4 && store.hard_state.term > 2);
    let members = (1..=3).map(|id| (MasterId(id), format!("h{id}:7070"))).collect();
    Master::recover(master_core::Config::new(MasterId(1), members, 7), registry).unwrap();
}

#[test]
fn a_dry_run_writes_nothing_and_a_log_is_never_overwritten() {
    let place = Place::new("dry");
    let restoring = place.restoring(1, Some(NOW_S));
    restoring.restore(NOW_S, true).unwrap();
    assert!(!restoring.data_dir.exists());
    restoring.restore(NOW_S, false).unwrap();
    let again = restoring.restore(NOW_S + 1, false).unwrap_err();
    assert!(matches!(again, RestoreError::InUse(_)), "{again}");
}

#[test]
fn members_agree_on_when_the_new_log_begins() {
    let place = Place::new("when");
    let refused = |at_s| place.restoring(1, at_s).restore(NOW_S, true).unwrap_err().to_string();
    assert!(refused(None).contains("--at 1795881600"), "{}", refused(None));
    assert!(refused(Some(MADE_MS / 1000 - 1)).contains("before the backup was made"));
    assert!(refused(Some(NOW_S + 3 * 24 * 3600)).contains("later than tomorrow"));
    let alone = [(MasterId(1), "h1:7070".to_owned())].into_iter().collect();
    let alone = Restoring { members: alone, ..place.restoring(1, None) };
    alone.restore(NOW_S, true).expect("one alone agrees with itself");
    let stranger = place.restoring(4, Some(NOW_S)).restore(NOW_S, true).unwrap_err().to_string();
    assert!(stranger.contains("--id 4 is not among the members"), "{stranger}");
}

#[test]
fn a_member_gets_its_certificate_from_the_authority_of_that_cluster_only() {
    let place = Place::new("authority");
    let (own, other) = (place.0.join("own"), place.0.join("other"));
    Authority::create("pool").unwrap().save(&own).unwrap();
    Authority::create("else").unwrap().save(&other).unwrap();
    let with = |dir: &Path| Restoring { authority: Some(dir.to_owned()), ..place.restoring(2, Some(NOW_S)) };
    let stranger = with(&other).restore(NOW_S, false).unwrap_err();
    assert!(matches!(stranger, RestoreError::Stranger { .. }), "{stranger}");
    let restoring = with(&own);
    assert!(!restoring.data_dir.exists(), "nothing is left of what was refused");
    restoring.restore(NOW_S, false).unwrap();
    let (cluster, who) =
        Credentials::load(&restoring.data_dir.join(CREDENTIALS)).unwrap().identity().unwrap();
    assert_eq!((cluster.as_str(), who), ("pool", Identity::Master(MasterId(2))));
    assert!(Authority::exists(&restoring.data_dir.join(AUTHORITY)));
}

#[test]
fn what_is_no_backup_is_said_so() {
    let place = Place::new("none");
    fs::write(place.0.join("backup"), "photos").unwrap();
    let why = place.restoring(1, Some(NOW_S)).restore(NOW_S, false).unwrap_err();
    assert!(matches!(why, RestoreError::Backup { source: BadBackup::NotOne, .. }), "{why}");
}

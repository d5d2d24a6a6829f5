//! Two instances of a framework: one acts, and when it dies, hangs or leaves, the other goes on; each item runs once.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Staying};

const LIMIT: Duration = Duration::from_secs(30);
/// What is required of a takeover.
const TAKEOVER: Duration = Duration::from_secs(5);
const ITS_TURN: &str = "it has its turn";

struct Pair<'a> {
    cluster: &'a Cluster,
    ledger: String,
}

impl<'a> Pair<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        // Tasks run as somebody else than this test, who may be root.
        let path = cluster.path("ledger");
        File::create(&path).unwrap().set_permissions(Permissions::from_mode(0o666)).unwrap();
        Pair { cluster, ledger: path.display().to_string() }
    }

    /// Another instance, which waits for its turn.
    fn instance(&self) -> Staying {
        let instance = self.cluster.example_of("pair", &[&self.ledger]);
        instance.until("it waits", LIMIT, |line| line.starts_with("waiting"));
        instance
    }

    /// How often each item began and ended, by the word of its process.
    fn items(&self) -> BTreeMap<u64, (u32, u32)> {
        let mut items: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.ledger).unwrap().lines() {
            let (number, what) = line.split_once(' ').unwrap();
            let (begun, ended) = items.entry(number.parse().unwrap()).or_default();
            *(if what == "begins" { begun } else { ended }) += 1;
        }
        items
    }

    /// Nothing is lost and nothing doubled, as far as the items have come.
    fn is_whole(&self) {
        let items = self.items();
        let last = *items.keys().next_back().unwrap();
        assert_eq!(items.len() as u64, last + 1, "none is left out: {items:?}");
        for (number, counts) in &items {
            assert!(*counts == (1, 1) || (*number == last && *counts == (1, 0)), "{number}: {counts:?}");
        }
    }
}

fn works(instance: &Staying, items: u32) {
    for _ in 0..items {
        instance.until("an item is over", LIMIT, |line| line.ends_with("is over"));
    }
}

#[test]
fn the_second_instance_takes_over_from_a_killed_one_and_each_item_runs_once() {
    let cluster = Cluster::up("pair", &["--no-jobs"]);
    let pair = Pair::new(&cluster);
    let mut acting = pair.instance();
    acting.until("its turn", LIMIT, |line| line == ITS_TURN);
    // The death of a master, the one that leads the store among them, costs nobody the turn.
    for number in 1..=3 {
        cluster.kill_9(cluster.child(&format!("master-{number}")));
        works(&acting, 2);
        cluster.is_healthy();
    }
    for round in 0..10 {
        let next = pair.instance();
        works(&acting, 1 + round % 3);
        acting.kill_9();
        let killed = Instant::now();
        next.until("its turn", LIMIT, |line| line == ITS_TURN);
        // The first may have been under way already; the second it has begun itself.
        works(&next, 2);
        assert!(killed.elapsed() < TAKEOVER, "round {round}: {:?}", killed.elapsed());
        acting = next;
    }
    // One that leaves does not keep the next one waiting.
    let next = pair.instance();
    works(&acting, 1);
    acting.interrupt();
    let left = Instant::now();
    next.until("its turn", LIMIT, |line| line == ITS_TURN);
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
    works(&next, 1);
    next.interrupt();
    pair.is_whole();
    cluster.down_leaves_nothing();
}

#[test]
fn an_instance_that_hung_finds_itself_deposed_and_starts_nothing() {
    let cluster = Cluster::up("pair-hung", &["--no-jobs"]);
    let pair = Pair::new(&cluster);
    let first = pair.instance();
    works(&first, 2);
    let second = pair.instance();
    first.halt(true);
    second.until("its turn", LIMIT, |line| line == ITS_TURN);
    works(&second, 1);
    first.halt(false);
    let said = until_ended(first);
    assert_eq!(said, Some(1), "it ends with an error");
    // The other one is not disturbed by that.
    works(&second, 3);
    let frameworks = cluster.list("frameworks");
    let connected = frameworks.iter().filter(|framework| framework["name"] == "pair").count();
    assert_eq!(connected, 1, "{frameworks:?}");
    second.interrupt();
    pair.is_whole();
    cluster.down_leaves_nothing();
}

fn until_ended(instance: Staying) -> Option<i32> {
    while instance.line("its end", LIMIT).is_some() {}
    instance.ended()
}

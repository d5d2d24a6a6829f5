//! What a member is willing to start from.

use bytes::Bytes;
use master_raft::{
    ConfState, Config, Entry, EntryKind, HardState, Image, Input, NodeId, Output, Raft, Recovered, Role,
    Snapshot, Unfit,
};
use proto_machine::{Machine, Now, Outbox};

fn found() -> Recovered {
    let conf_state = ConfState::of(&[NodeId(1), NodeId(2), NodeId(3)]);
    let entry = |index| Entry { index, term: 4, kind: EntryKind::Normal, data: format!("e{index}").into() };
    Recovered {
        hard_state: HardState { term: 5, vote: Some(NodeId(2)), commit: 13 },
        conf_state: Some((10, conf_state.clone())),
        snapshot: Some(Snapshot {
            index: 10,
            term: 3,
            conf_state,
            image: Image::Bytes(Bytes::from_static(b"state")),
        }),
        entries: (9..=15).map(entry).collect(),
        applied: 0,
    }
}

fn recover(recovered: Recovered) -> Result<Raft, Unfit> {
    Raft::recover(Config::new(NodeId(1), &[NodeId(1), NodeId(2)], 1), recovered)
}

fn settle(raft: &mut Raft) -> Vec<Output> {
    let mut out = Outbox::new();
    raft.settle(Now::default(), &mut out);
    out.take()
}

#[test]
fn the_state_machine_is_given_back_up_to_what_was_known_to_be_committed() {
    let outputs = settle(&mut recover(found()).expect("fit"));
    let commit = |index: u64| Output::Commit { index, term: 4, tag: None, data: format!("e{index}").into() };
    let install = Output::InstallSnapshot { index: 10, term: 3, image: Image::Bytes("state".into()) };
    let role = Output::Role(Role::Follower { leader: None, term: 5 });
    assert_eq!(outputs, [install, commit(11), commit(12), commit(13), role]);
}

#[test]
fn a_durable_state_machine_gets_only_what_it_misses() {
    let outputs = settle(&mut recover(Recovered { applied: 12, ..found() }).expect("fit"));
    let commit = Output::Commit { index: 13, term: 4, tag: None, data: "e13".into() };
    assert_eq!(outputs, [commit, Output::Role(Role::Follower { leader: None, term: 5 })]);
}

#[test]
fn a_founder_writes_down_the_beginning_before_anything_else() {
    let mut raft = recover(Recovered::default()).expect("fit");
    let outputs = settle(&mut raft);
    let [Output::Persist(persist), Output::InstallSnapshot { index: 1, .. }, Output::Role(_)] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    let conf_state = ConfState::of(&[NodeId(1), NodeId(2)]);
    assert_eq!(persist.sequence, 1);
    assert_eq!(persist.hard_state, Some(HardState { term: 1, vote: None, commit: 1 }));
    assert_eq!(persist.snapshot.as_ref().map(|snapshot| &snapshot.conf_state), Some(&conf_state));
    assert_eq!(raft.status().unstored, 1);
    raft.step(Now::default(), Input::Stored { sequence: 1 }, &mut Outbox::new());
    assert_eq!(raft.status().unstored, 0);
}

#[test]
fn an_empty_disk_without_a_place_among_the_founders_waits() {
    let config = Config::new(NodeId(7), &[NodeId(1), NodeId(2)], 1);
    let mut raft = Raft::recover(config, Recovered::default()).expect("fit");
    assert_eq!(settle(&mut raft), [Output::Role(Role::Follower { leader: None, term: 0 })]);
}

#[test]
fn what_does_not_hang_together_is_not_repaired_by_guessing() {
    let without = |index: u64| {
        let mut recovered = found();
        recovered.entries.retain(|entry| entry.index != index);
        recovered
    };
    let cut = |last: u64| {
        let mut recovered = found();
        recovered.entries.retain(|entry| entry.index <= last);
        recovered
    };
    let mut backwards = found();
    backwards.entries[4].term = 2;
    let mut future = found();
    future.entries[6].term = 6;
    let mut nobody = found();
    nobody.snapshot.as_mut().unwrap().conf_state = ConfState::default();
    let cases = [
        (without(12), Unfit::Gap { index: 12 }),
        (without(11), Unfit::Gap { index: 11 }),
        (cut(12), Unfit::Short { last: 12, commit: 13 }),
        (backwards, Unfit::Term { index: 13 }),
        (future, Unfit::Term { index: 15 }),
        (nobody, Unfit::Members(ConfState::default())),
        (Recovered { applied: 14, ..found() }, Unfit::Ahead { applied: 14, commit: 13 }),
    ];
    for (recovered, unfit) in cases {
        assert_eq!(recover(recovered).err(), Some(unfit));
    }
    assert!(recover(without(9)).is_ok(), "the snapshot contains it");
    assert!(recover(cut(13)).is_ok());
    let nameless = Raft::recover(Config::new(NodeId(0), &[], 1), Recovered::default());
    assert_eq!(nameless.err(), Some(Unfit::Id));
}

/// It may live on a thread of its own.
#[test]
fn a_member_can_be_sent_to_a_thread() {
    fn sent<T: Send>(_: &T) {}
    sent(&recover(found()).expect("fit"));
}

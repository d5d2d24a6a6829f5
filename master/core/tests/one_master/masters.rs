//! Who the masters are: what is refused, what is remembered, and that it is through only when both groups are.

use master_raft::{Bearing, ConfState, NodeId};
use proto::id::MasterId;
use proto::operator::{ChangeMasters, Raft, TransferLead};
use proto::roster::{Master, Standing};

use super::*;

fn ask(world: &mut World, call: OperatorCall) -> ReplyKind {
    let ticket = Ticket(world.now + 1);
    world.say(Input::Operator { ticket, caller: Caller::User("ada".into()), call });
    let at = world.replies.iter().position(|(answered, _)| *answered == ticket).expect("an answer");
    world.replies.swap_remove(at).1
}

fn refused(kind: ReplyKind) -> (Code, String) {
    match kind {
        ReplyKind::Refused(refusal) => (refusal.code, format!("{refusal}")),
        other => panic!("it is not refused: {other:?}"),
    }
}

fn status(world: &mut World) -> Raft {
    match ask(world, OperatorCall::Raft) {
        ReplyKind::Raft(raft) => raft,
        other => panic!("{other:?}"),
    }
}

fn change(add: &[u64], remove: &[u64]) -> OperatorCall {
    let master = |id: &u64| Master {
        id: MasterId(*id),
        address: format!("127.0.0.1:{id}"),
        standing: Standing::Joins,
    };
    let add = add.iter().map(master).collect();
    OperatorCall::ChangeMasters(ChangeMasters {
        add,
        remove: remove.iter().map(|id| MasterId(*id)).collect(),
    })
}

/// The member of the other group in this process has seen it get there.
fn store_is(world: &mut World, voters: &[u64]) {
    let list = world.master.roster().version;
    store_is_by(world, voters, list);
}

/// The same, with this list in its log.
fn store_is_by(world: &mut World, voters: &[u64], list: u64) {
    let voters: Vec<NodeId> = voters.iter().map(|id| NodeId(*id)).collect();
    world.say(Input::StoreMembers(Bearing { members: ConfState::of(&voters), list }));
    world.run(Duration::from_secs(1));
}

#[test]
fn what_cannot_be_is_refused_and_a_dry_run_changes_nothing() {
    let mut world = World::new();
    assert_eq!(refused(ask(&mut world, change(&[], &[1]))).0, Code::Invalid);
    assert_eq!(refused(ask(&mut world, change(&[], &[7]))).0, Code::NotFound);
    assert_eq!(refused(ask(&mut world, change(&[1], &[]))).0, Code::Conflict);
    assert_eq!(refused(ask(&mut world, OperatorCall::CancelMasters)).0, Code::NotFound);
    let to = |to| OperatorCall::TransferLead(TransferLead { to });
    assert_eq!(refused(ask(&mut world, to(7))).0, Code::NotFound);
    assert_eq!(refused(ask(&mut world, to(1))).0, Code::Conflict);
    assert_eq!(refused(ask(&mut world, to(0))).0, Code::Conflict);
    let dry = OperatorCall::DryRun(Box::new(change(&[2], &[])));
    assert_eq!(ask(&mut world, dry), ReplyKind::Done(0));
    let raft = status(&mut world);
    assert_eq!((raft.members.len(), raft.next_id, raft.change.as_str()), (1, 2, ""));
    let ticket = Ticket(99);
    world.say(Input::Operator { ticket, caller: Caller::Framework("jobs".into()), call: change(&[2], &[]) });
    let (_, kind) = world.replies.pop().expect("an answer");
    assert_eq!(refused(kind).0, Code::Denied);
}

#[test]
fn one_that_never_comes_is_waited_for_and_taken_back() {
    let mut world = World::new();
    store_is(&mut world, &[1]);
    world.register(1);
    world.subscribe(10, None);
    world.events(10);
    assert!(matches!(ask(&mut world, change(&[2], &[])), ReplyKind::Done(index) if index > 0));
    world.run(Duration::from_secs(5));
    let raft = status(&mut world);
    assert_eq!(raft.members[1].standing, Standing::Joins);
    assert!(raft.change.contains("master 2 is not heard"), "{}", raft.change);
    assert!(world.master.leads(), "one that only learns decides nothing");
    let doors = |events: Vec<EventKind>| {
        events.into_iter().find_map(|event| match event {
            EventKind::Masters(masters) => Some(masters.addresses),
            _ => None,
        })
    };
    assert_eq!(doors(world.events(10)).expect("frameworks are told"), ["127.0.0.1:1", "127.0.0.1:2"]);
    assert!(
        world.to_agent.iter().any(|(_, kind)| matches!(kind, ToAgentKind::Masters(_))),
        "agents are told"
    );
    let (code, why) = refused(ask(&mut world, change(&[3], &[])));
    assert!(code == Code::Conflict && why.contains("master 2 joins"), "{why}");
    // Meanwhile only who is silent may be given up.
    let (code, why) = refused(ask(&mut world, change(&[], &[1])));
    assert!(code == Code::Conflict && why.contains("master 1 is heard"), "{why}");
    let given_up = OperatorCall::DryRun(Box::new(change(&[], &[2])));
    assert_eq!(ask(&mut world, given_up), ReplyKind::Done(0));

    // It is still so when the master begins anew, and whoever comes is told at once.
    world.restart();
    world.subscribe(11, None);
    assert!(status(&mut world).change.contains("master 2"));

    assert!(matches!(ask(&mut world, OperatorCall::CancelMasters), ReplyKind::Done(_)));
    // An answer may be lost, and people ask again.
    let (code, why) = refused(ask(&mut world, OperatorCall::CancelMasters));
    assert!(code == Code::Conflict && why.contains("master 2 does not vote"), "{why}");
    world.run(Duration::from_secs(2));
    // The other group is not there yet, as far as is known here.
    store_is(&mut world, &[1, 2]);
    assert!(!status(&mut world).change.is_empty());
    store_is(&mut world, &[1]);
    let raft = status(&mut world);
    assert_eq!((raft.members.len(), raft.change.as_str(), raft.next_id), (1, "", 3));
    assert!(world.master.roster().is_retired(MasterId(2)));
    assert_eq!(refused(ask(&mut world, change(&[2], &[]))).0, Code::Conflict, "no number is given twice");
    let told: Vec<String> =
        world.master.registry().history_after(0).map(|event| event.kind.to_string()).collect();
    let of_masters: Vec<&str> =
        told.iter().map(String::as_str).filter(|kind| kind.starts_with("masters-")).collect();
    assert_eq!(of_masters, ["masters-changed", "masters-changed", "masters-settled"]);
}

#[test]
fn what_was_taken_back_is_through_only_when_the_other_group_knows_that() {
    let mut world = World::new();
    store_is(&mut world, &[1]);
    assert!(matches!(ask(&mut world, change(&[2], &[])), ReplyKind::Done(_)));
    world.run(Duration::from_secs(2));
    let joining = world.master.roster().version;
    assert!(matches!(ask(&mut world, OperatorCall::CancelMasters), ReplyKind::Done(_)));
    // Its members are as they are to be, and as they were before it went where the list before this one says: it may be there
    // by now, and this process has not heard of it.
    store_is_by(&mut world, &[1], joining);
    world.run(Duration::from_secs(5));
    assert!(world.master.roster().is_changing(), "master 2 may vote there, and must not be told to stop");
    store_is(&mut world, &[1]);
    assert!(!world.master.roster().is_changing() && world.master.roster().is_retired(MasterId(2)));
}

#[test]
fn who_votes_for_the_frameworks_state_already_may_be_kept_after_all() {
    let mut world = World::new();
    store_is(&mut world, &[1]);
    assert!(matches!(ask(&mut world, change(&[2], &[])), ReplyKind::Done(_)));
    let joining = world.master.roster().version;
    assert!(matches!(ask(&mut world, OperatorCall::CancelMasters), ReplyKind::Done(_)));
    store_is_by(&mut world, &[1, 2], joining);
    assert!(matches!(ask(&mut world, OperatorCall::CancelMasters), ReplyKind::Done(_)));
    assert_eq!(status(&mut world).members[1].standing, Standing::Votes);
}

#[test]
fn nobody_leaves_who_would_leave_too_few() {
    let mut world = World::new();
    store_is(&mut world, &[1]);
    // Two that join count as if they were there: until they are, nobody leaves.
    assert_eq!(ask(&mut world, OperatorCall::DryRun(Box::new(change(&[2, 3], &[1])))), ReplyKind::Done(0));
    assert!(matches!(ask(&mut world, change(&[2], &[1])), ReplyKind::Done(_)));
    world.run(Duration::from_secs(5));
    assert!(world.master.leads());
    assert_eq!(world.master.raft_status().conf_state.voters, [NodeId(1)]);
}

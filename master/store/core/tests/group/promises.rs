//! What is written, read and watched, at a leader, at followers, and over the change of a leader.

use master_store_core::WATCH_TOLD_REVISIONS;
use proto::caller::Caller;
use proto::id::AgentId;
use proto::refusal::Code;
use proto::store::{
    Call, CallKind, Claim, Compact, Compare, Comparison, KEY_BYTES_MAX, Operand, Operation, Put, Range,
    Reply, ReplyKind, Txn, Watch,
};
use proto::wire::Wire;

use crate::world::{MEMBERS, World, call, get, jobs, put, value};

fn other(than: u64) -> u64 {
    MEMBERS.into_iter().find(|id| *id != than).unwrap()
}

fn refused(reply: &Reply) -> Option<Code> {
    match &reply.kind {
        ReplyKind::Refused(refusal) => Some(refusal.code),
        _ => None,
    }
}

fn all(from: u64) -> Watch {
    Watch { key: vec![0].into(), range_end: vec![0].into(), start_revision: from, ..Watch::default() }
}

#[test]
fn a_follower_says_who_leads_and_reads_what_was_committed_before_it_was_asked() {
    let mut world = World::new(1);
    let leader = world.elect();
    let follower = other(leader);
    let reply = world.asks(follower, put("a", "1"));
    assert_eq!(reply.kind, ReplyKind::Redirect(format!("master-{leader}:5050")));
    for n in 0..20u8 {
        let reply = world.asks(leader, put("a", vec![n]));
        assert_eq!((reply.revision, refused(&reply)), (u64::from(n) + 2, None));
        // The follower has it in hand or not: it answers when it has.
        assert_eq!(value(&world.asks(follower, get("a"))).as_deref(), Some(&[n][..]));
        assert_eq!(value(&world.asks(leader, get("a"))).as_deref(), Some(&[n][..]));
    }
}

#[test]
fn a_read_may_be_answered_at_once_by_whoever_has_something() {
    let mut world = World::new(2);
    let leader = world.elect();
    world.asks(leader, put("a", "1"));
    world.until("the follower has it", |world| {
        world.member(other(leader)).applied() == world.member(leader).applied()
    });
    let alone = other(leader);
    world.alone.insert(alone);
    let range = Range { key: "a".into(), serializable: true, ..Range::default() };
    assert_eq!(value(&world.asks(alone, CallKind::Range(range))).as_deref(), Some(&b"1"[..]));
    // Else it needs the leader's word.
    assert_eq!(refused(&world.asks(alone, get("a"))), Some(Code::Unavailable));
}

#[test]
fn what_was_acknowledged_outlives_the_leader() {
    let mut world = World::new(3);
    let first = world.elect();
    let reply = world.asks(first, put("a", "1"));
    world.kill(first);
    let second = world.elect();
    let found = world.asks(second, get("a"));
    assert_eq!((value(&found).as_deref(), found.revision), (Some(&b"1"[..]), reply.revision));
    assert!(found.term > reply.term);
    // All die, and come back.
    MEMBERS.into_iter().for_each(|id| world.kill(id));
    MEMBERS.into_iter().for_each(|id| world.begin(id));
    let third = world.elect();
    assert_eq!(value(&world.asks(third, get("a"))).as_deref(), Some(&b"1"[..]));
}

#[test]
fn who_was_deposed_unawares_acknowledges_nothing_and_reads_nothing() {
    let mut world = World::new(4);
    let old = world.elect();
    world.asks(old, put("a", "1"));
    world.alone.insert(old);
    let write = world.ask(old, jobs(), call(put("a", "old")));
    let read = world.ask(old, jobs(), call(get("a")));
    let new = world.elect();
    assert_ne!(new, old);
    world.asks(new, put("a", "new"));
    assert_eq!(refused(&world.answered(write)), Some(Code::LeaderLost));
    assert_eq!(refused(&world.answered(read)), Some(Code::Unavailable));
    world.alone.clear();
    world.until("it follows", |world| !world.member(old).leads());
    assert_eq!(value(&world.asks(old, get("a"))).as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_watch_goes_on_at_another_member_where_it_stopped() {
    let mut world = World::new(5);
    let leader = world.elect();
    let at_leader = world.watch(leader, all(1));
    for n in 0..5u8 {
        world.asks(leader, put("a", vec![n]));
    }
    world.until("five changes", |world| world.events(at_leader).len() == 5);
    let seen = world.told[&at_leader].last().unwrap().revision;
    world.kill(leader);
    let next = world.elect();
    let follower = MEMBERS.into_iter().find(|id| *id != leader && *id != next).unwrap();
    let on = world.watch(follower, all(seen + 1));
    let whole = world.watch(next, all(1));
    for n in 5..9u8 {
        world.asks(next, put("a", vec![n]));
    }
    world.until("four changes", |world| world.events(on).len() == 4);
    world.until("all changes", |world| world.events(whole).len() == 9);
    let both = [world.events(at_leader), world.events(on)].concat();
    assert_eq!(both, world.events(whole));
    let revisions: Vec<u64> = both.iter().map(|event| event.kv.mod_revision).collect();
    assert_eq!(revisions, (2..11).collect::<Vec<_>>());
}

#[test]
fn a_watch_of_what_is_compacted_is_told_so_and_ends() {
    let mut world = World::new(6);
    let leader = world.elect();
    for n in 0..4u8 {
        world.asks(leader, put("a", vec![n]));
    }
    assert_eq!(world.asks(leader, CallKind::Compact(Compact { revision: 4 })).kind, ReplyKind::Done);
    let late = world.watch(leader, all(2));
    world.until("its end", |world| world.closed.contains(&late));
    let last = world.told[&late].last().unwrap().refused.clone().unwrap();
    assert_eq!(last.code, Code::Compacted);
    let nameless = world.watch(leader, Watch::default());
    world.until("its end", |world| world.closed.contains(&nameless));
    // One that asks for what comes hears of nothing before it.
    let fresh = world.watch(leader, all(0));
    world.until("it listens", |world| world.told.contains_key(&fresh));
    world.asks(leader, put("b", "1"));
    world.until("a change", |world| world.events(fresh).len() == 1);
    assert_eq!(world.events(fresh)[0].kv.key, "b");
}

#[test]
fn who_was_away_is_sent_the_whole_and_its_watches_miss_nothing() {
    let mut world = World::with_snapshots(7, 4 << 10);
    let leader = world.elect();
    let away = other(leader);
    let watch = world.watch(away, all(1));
    world.asks(leader, put("a", "first"));
    world.until("a change", |world| world.events(watch).len() == 1);
    world.alone.insert(away);
    for n in 0..200u8 {
        world.asks(leader, put("a", vec![n; 100]));
    }
    world.alone.clear();
    world.until("it has caught up", |world| world.member(away).applied() == world.member(leader).applied());
    assert!(world.installed > 0, "by a snapshot");
    world.until("all changes", |world| world.events(watch).len() == 201);
    assert_eq!(world.member(away).store(), world.member(leader).store());
}

#[test]
fn who_claims_a_space_fences_whoever_had_it() {
    let mut world = World::new(8);
    let leader = world.elect();
    let claims = |world: &mut World| match world.asks(leader, CallKind::Claim(Claim::default())).kind {
        ReplyKind::Claimed(claimed) => claimed.epoch,
        kind => panic!("{kind:?}"),
    };
    let first = claims(&mut world);
    let with = |epoch, kind| Call { space: String::new(), epoch: Some(epoch), kind };
    let fenced = |world: &mut World, epoch, kind| {
        let ticket = world.ask(leader, jobs(), with(epoch, kind));
        refused(&world.answered(ticket)) == Some(Code::Fenced)
    };
    assert!(!fenced(&mut world, first, put("a", "1")));
    let second = claims(&mut world);
    assert!(fenced(&mut world, first, put("a", "2")) && fenced(&mut world, first, get("a")));
    assert!(!fenced(&mut world, second, put("a", "3")) && !fenced(&mut world, second, get("a")));
}

#[test]
fn a_transaction_that_only_looks_leaves_no_trace_in_the_log() {
    let mut world = World::new(9);
    let leader = world.elect();
    world.asks(leader, put("a", "1"));
    let before = world.member(leader).raft_status().last_index;
    let steps = vec![proto::store::Operation::Range(Range { key: "a".into(), ..Range::default() })];
    let reply = world.asks(leader, CallKind::Txn(Txn { success: steps, ..Txn::default() }));
    assert!(matches!(&reply.kind, ReplyKind::Txn(txn) if txn.succeeded && txn.responses.len() == 1));
    assert_eq!(world.member(leader).raft_status().last_index, before);
}

#[test]
fn principals_have_spaces_of_their_own_and_others_have_none() {
    let mut world = World::new(10);
    let leader = world.elect();
    world.asks(leader, put("a", "jobs"));
    let spark = Caller::Framework("spark".to_owned());
    let ticket = world.ask(leader, spark, call(get("a")));
    let found = world.answered(ticket);
    assert_eq!((value(&found), found.revision), (None, 1));
    let agent = Caller::Agent(AgentId::new("a1").unwrap());
    let ticket = world.ask(leader, agent, call(get("a")));
    assert_eq!(refused(&world.answered(ticket)), Some(Code::Denied));
    assert_eq!(world.denied, 1);
    let long = Call { space: "x".repeat(200), epoch: None, kind: get("a") };
    let ticket = world.ask(leader, jobs(), long);
    assert_eq!(refused(&world.answered(ticket)), Some(Code::Invalid));
}

#[test]
fn many_changes_share_an_entry_and_too_many_are_refused() {
    let mut world = World::new(11);
    let leader = world.elect();
    let before = world.member(leader).raft_status().last_index;
    let tickets: Vec<_> =
        (0..500u64).map(|n| world.ask(leader, jobs(), call(put(&n.to_string(), "v")))).collect();
    let revisions: Vec<u64> = tickets.into_iter().map(|ticket| world.answered(ticket).revision).collect();
    assert_eq!(revisions, (2..502).collect::<Vec<_>>());
    assert!(world.member(leader).raft_status().last_index <= before + 2, "they go together");
    // Cut off it commits nothing, and takes only so much.
    world.alone.insert(leader);
    let large = || put("large", vec![0; 1 << 20]);
    let tickets: Vec<_> = (0..60).map(|_| world.ask(leader, jobs(), call(large()))).collect();
    world.turn();
    let turned_away = tickets.iter().filter_map(|ticket| world.replies.get(ticket));
    let turned_away = turned_away.filter(|reply| refused(reply) == Some(Code::Unavailable)).count();
    assert!((20..40).contains(&turned_away), "{turned_away}");
}

#[test]
fn what_the_log_could_not_give_back_is_not_let_in() {
    let mut world = World::new(9);
    let leader = world.elect();
    let nested = |depth: usize| {
        let compare = Compare {
            key: "k".to_owned().into(),
            range_end: Default::default(),
            comparison: Comparison::Equal,
            operand: Operand::Version(0),
        };
        let innermost = Txn { compare: vec![compare], ..Txn::default() };
        let chain =
            (0..depth).fold(innermost, |txn, _| Txn { success: vec![Operation::Txn(txn)], ..Txn::default() });
        let write = Put { key: "a".to_owned().into(), ..Put::default() };
        Txn { success: vec![Operation::Put(write), Operation::Txn(chain)], ..Txn::default() }
    };
    // As deep as a parser at the door still reads; the log wraps it one message deeper.
    let read = |depth| Call::decode(&call(CallKind::Txn(nested(depth))).encode());
    let asked = (20..).map_while(|depth| read(depth).ok()).last().expect("some depth is read");
    assert_eq!(refused(&world.asks(leader, asked.kind)), Some(Code::TooMuch));
    assert_eq!(refused(&world.asks(leader, put("a", "1"))), None, "and it goes on");
}

#[test]
fn a_watch_may_not_name_more_than_a_key() {
    let mut world = World::new(10);
    let leader = world.elect();
    let long = vec![1; KEY_BYTES_MAX + 1];
    for ask in [
        Watch { key: long.clone().into(), ..Watch::default() },
        Watch { key: vec![1].into(), range_end: long.into(), ..Watch::default() },
    ] {
        let watch = world.watch(leader, ask);
        world.until("a word", |world| world.told.contains_key(&watch));
        assert_eq!(world.told[&watch][0].refused.as_ref().map(|refusal| refusal.code), Some(Code::TooMuch));
    }
}

#[test]
fn a_watch_of_what_does_not_change_can_go_on_after_a_compaction() {
    let mut world = World::new(11);
    let leader = world.elect();
    let watch = world.watch(leader, Watch { key: "quiet".to_owned().into(), ..Watch::default() });
    let last = (0..5u8).map(|n| world.asks(leader, put("busy", vec![n])).revision).last().unwrap();
    world.asks(leader, CallKind::Compact(Compact { revision: last }));
    world.until("it is told how far it is", |world| {
        world.told[&watch].iter().any(|word| word.revision >= last)
    });
    assert!(world.told[&watch].iter().all(|word| word.events.is_empty() && word.refused.is_none()));
    let told = world.told[&watch].last().unwrap().revision;
    let on = world.watch(
        leader,
        Watch { key: "quiet".to_owned().into(), start_revision: told + 1, ..Watch::default() },
    );
    world.asks(leader, put("quiet", "1"));
    world.until("a change", |world| !world.events(on).is_empty());
}

#[test]
fn a_watch_of_what_does_not_change_is_told_now_and_then_how_far_it_is() {
    let mut world = World::new(12);
    let leader = world.elect();
    let watch = world.watch(leader, Watch { key: "quiet".to_owned().into(), ..Watch::default() });
    let first = world.asks(leader, put("busy", "0")).revision;
    let last = first + 2 * WATCH_TOLD_REVISIONS;
    for n in first..last {
        world.ask(leader, jobs(), call(put("busy", n.to_be_bytes().to_vec())));
    }
    world.until("it is told how far it is", |world| {
        let told = world.told.get(&watch).and_then(|words| words.last());
        told.is_some_and(|word| word.revision + WATCH_TOLD_REVISIONS > last)
    });
    let words = &world.told[&watch];
    assert!(words.iter().all(|word| word.events.is_empty() && word.refused.is_none()));
    assert!(words.len() <= 3, "now and then, not at each change: {}", words.len());
}

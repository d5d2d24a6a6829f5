//! Three masters as values, whose messages arrive at once or wait: what a framework is told around a change of the leader.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use master_core::{Config, Input, LinkId, Master, Output, SessionId};
use proto::agent::AgentInfo;
use proto::agent_link::{Register, ToMaster};
use proto::attributes::Attributes;
use proto::caller::Caller;
use proto::framework::FrameworkInfo;
use proto::id::{AgentId, Epoch, FrameworkId, MasterId};
use proto::quantities::Quantities;
use proto::refusal::Code;
use proto::resources::{Amount, Resources};
use proto::role::Role;
use proto::scheduler::{Call, CallKind, EventKind, Subscribe};
use proto_machine::{Instant, Machine, Now, Outbox, WallTime};

struct Group {
    masters: Vec<Master>,
    now: Instant,
    /// What masters say to each other and has not arrived: to whom, and what.
    wires: VecDeque<(usize, Input)>,
    /// Those that sleep take nothing in.
    asleep: Vec<usize>,
    told: Vec<(SessionId, EventKind)>,
    closed: Vec<SessionId>,
}

impl Group {
    fn new() -> Group {
        let members: BTreeMap<_, _> = (1..=3).map(|id| (MasterId(id), format!("127.0.0.1:{id}"))).collect();
        let master = |id: &MasterId| {
            let config = Config::new(*id, members.clone(), id.0);
            Master::recover(config, master_raft::Recovered::default()).expect("a blank disk is fit")
        };
        Group {
            masters: members.keys().map(master).collect(),
            now: Instant::default(),
            wires: VecDeque::new(),
            asleep: vec![],
            told: vec![],
            closed: vec![],
        }
    }

    fn time(&self) -> Now {
        Now { monotonic: self.now, wall: WallTime::from_millis(1_000_000 + self.now.as_nanos() / 1_000_000) }
    }

    /// One takes all of it in at once.
    fn turn(&mut self, at: usize, inputs: impl IntoIterator<Item = Input>) {
        let now = self.time();
        let mut out = Outbox::new();
        for input in inputs {
            self.masters[at].step(now, input, &mut out);
        }
        self.masters[at].settle(now, &mut out);
        self.perform(at, out);
    }

    fn perform(&mut self, at: usize, mut out: Outbox<Output>) {
        let now = self.time();
        loop {
            let mut stored = None;
            for output in out.take() {
                match output {
                    Output::Persist(persist) => stored = Some(persist.sequence),
                    Output::ToPeer { to, bytes } => {
                        let from = master_raft::NodeId(at as u64 + 1);
                        let said = Input::Raft(master_raft::Input::Peer { from, bytes });
                        self.wires.push_back((to.0 as usize - 1, said));
                    }
                    Output::ToFramework { session, event } => self.told.push((session, event.kind)),
                    Output::CloseFramework { session } => self.closed.push(session),
                    _ => {}
                }
            }
            let Some(sequence) = stored else { return };
            self.masters[at].step(now, Input::Raft(master_raft::Input::Stored { sequence }), &mut out);
            self.masters[at].settle(now, &mut out);
        }
    }

    /// The next of what masters say to each other arrives, if it is not for one that sleeps.
    fn deliver(&mut self) -> bool {
        let next = self.wires.iter().position(|(to, _)| !self.asleep.contains(to));
        let Some((to, said)) = next.and_then(|next| self.wires.remove(next)) else { return false };
        self.turn(to, [said]);
        true
    }

    /// Everything arrives and time passes until it is so.
    fn until(&mut self, what: &str, so: impl Fn(&Group) -> bool) {
        let end = self.now + Duration::from_secs(120);
        while !so(self) {
            assert!(self.now < end, "never: {what}");
            if self.deliver() {
                continue;
            }
            let awake = (0..3).filter(|at| !self.asleep.contains(at));
            let (at, due) = awake
                .filter_map(|at| Some((at, self.masters[at].wake_at()?)))
                .min_by_key(|(_, due)| *due)
                .expect("a group always waits for something");
            self.now = self.now.max(due);
            let now = self.time();
            let mut out = Outbox::new();
            self.masters[at].wake(now, &mut out);
            self.masters[at].settle(now, &mut out);
            self.perform(at, out);
        }
    }

    fn leader(&self) -> Option<usize> {
        let mut leaders = (0..3).filter(|at| !self.asleep.contains(at) && self.masters[*at].leads());
        leaders.next().filter(|_| leaders.next().is_none())
    }

    fn lead(&mut self) -> usize {
        self.until("somebody leads", |group| group.leader().is_some());
        self.leader().expect("somebody leads")
    }

    fn on_record(&self, at: usize) -> Vec<&FrameworkId> {
        self.masters[at].registry().frameworks().map(|framework| &framework.record.id).collect()
    }

    /// What was said to a session, by the kind of it.
    fn events(&self, session: u64) -> Vec<&EventKind> {
        self.told.iter().filter(|(to, _)| to.0 == session).map(|(_, kind)| kind).collect()
    }
}

fn subscribe(session: u64, id: Option<FrameworkId>) -> Input {
    subscribe_as(session, id, "jobs")
}

fn subscribe_as(session: u64, id: Option<FrameworkId>, name: &str) -> Input {
    let framework = FrameworkInfo {
        name: name.into(),
        roles: vec![Role::new("eng").unwrap()],
        failover_timeout: Duration::from_secs(60),
        address: String::new(),
        labels: BTreeMap::new(),
    };
    let kind = CallKind::Subscribe(Subscribe {
        framework,
        id,
        resume: None,
        suppressed_roles: vec![],
        demands: None,
        fence: 0,
    });
    let (session, caller) = (SessionId(session), Caller::Framework("eng".into()));
    Input::Framework { session, caller, call: Call { operation: None, kind } }
}

/// An agent comes in.
fn register() -> Input {
    let agent = AgentInfo {
        id: AgentId::new("a1").unwrap(),
        hostname: "a1".into(),
        address: String::new(),
        resources: Resources::unreserved(Amount::scalars(Quantities::of(4000, 8 << 30))),
        attributes: Attributes::default(),
        version: String::new(),
    };
    let register = Register { agent: agent.clone(), epoch: Epoch(0), runs: vec![] };
    Input::Agent { link: LinkId(1), agent: agent.id, message: ToMaster::Register(register) }
}

fn close(session: u64) -> Input {
    Input::FrameworkClosed { session: SessionId(session) }
}

/// A session stands at the leader; returns as which framework.
fn stand(group: &mut Group, at: usize, session: u64, id: Option<FrameworkId>) -> FrameworkId {
    group.turn(at, [subscribe(session, id)]);
    let said = |group: &Group| {
        group.events(session).into_iter().find_map(|kind| match kind {
            EventKind::Subscribed(subscribed) => Some(subscribed.framework.clone()),
            _ => None,
        })
    };
    group.until("the session stands", |group| said(group).is_some());
    said(group).expect("it stands")
}

/// A subscribe is in the log of the leader and of nobody else, and its session ends; then it is committed.
fn begin_and_close(group: &mut Group, at: usize, session: u64, subscribe: Input) {
    let before = group.masters[at].raft_status().last_index;
    group.turn(at, [subscribe]);
    group.until("it is in the leader's log", |group| group.masters[at].raft_status().last_index > before);
    let last = group.masters[at].raft_status().last_index;
    assert!(group.masters[at].applied() < last, "it waits for a majority");
    group.turn(at, [close(session)]);
    group.until("it is committed", |group| group.masters[at].applied() >= last);
}

#[test]
fn a_leader_that_slept_turns_nobody_away_for_what_it_does_not_know() {
    let mut group = Group::new();
    let old = group.lead();
    group.asleep = vec![old];
    let new = group.lead();
    let framework = stand(&mut group, new, 1, None);

    group.asleep.clear();
    assert!(group.masters[old].leads(), "it has not heard of the new one");
    // What frameworks say has come before what the masters say.
    group.turn(old, [subscribe(2, Some(framework.clone())), subscribe(3, None)]);
    group.until("it follows", |group| !group.masters[old].leads());
    for session in [2, 3] {
        let told = group.events(session);
        assert!(matches!(told[..], [EventKind::Redirect(_)]), "{told:?}");
        assert!(group.closed.contains(&SessionId(session)));
    }
    assert_eq!(stand(&mut group, new, 4, Some(framework.clone())), framework);
}

#[test]
fn a_leader_that_no_majority_answers_leaves_it_to_the_framework_to_ask_another() {
    let mut group = Group::new();
    let old = group.lead();
    let framework = stand(&mut group, old, 1, None);
    group.asleep = (0..3).filter(|at| *at != old).collect();
    group.turn(old, [close(1), subscribe(2, Some(framework))]);
    assert!(group.events(2).is_empty(), "nobody has confirmed yet that it leads");
    group.until("it is told something", |group| group.closed.contains(&SessionId(2)));
    match group.events(2)[..] {
        [EventKind::Redirect(_)] => {}
        [EventKind::Fault(fault)] => assert_eq!(fault.refusal.code, Code::Unavailable),
        ref told => panic!("{told:?}"),
    }
}

#[test]
fn a_session_that_ends_before_its_subscribe_is_committed_leaves_nobody_cut_off() {
    let mut group = Group::new();
    let leader = group.lead();
    // A framework that never had a session: it is on record, and waits for its own.
    begin_and_close(&mut group, leader, 9, subscribe(9, None));
    assert_eq!(group.on_record(leader).len(), 1);

    group.turn(leader, [register()]);
    let framework = stand(&mut group, leader, 10, None);
    let offered = |group: &Group| group.events(10).iter().any(|kind| matches!(kind, EventKind::Offers(_)));
    group.until("it is offered the agent", offered);
    // Another instance of one that stands comes and goes.
    begin_and_close(&mut group, leader, 11, subscribe_as(11, Some(framework.clone()), "jobs-2"));
    let end = group.now + Duration::from_secs(1);
    group.until("time passes", |group| group.now >= end);
    let record = &group.masters[leader].registry().framework(&framework).expect("it is on record").record;
    assert_eq!((&*record.info.name, record.deadline_ms), ("jobs-2", 0), "it is not waited for");
    assert!(!group.closed.contains(&SessionId(10)));
    assert!(
        !group.events(10).iter().any(|kind| matches!(kind, EventKind::Rescind(_))),
        "it keeps its offers"
    );
}

#[test]
fn a_framework_whose_session_ends_before_the_log_knows_it_is_waited_for_in_vain() {
    let mut group = Group::new();
    let leader = group.lead();
    begin_and_close(&mut group, leader, 10, subscribe(10, None));
    assert_eq!(group.on_record(leader).len(), 1);
    let began = group.now;
    group.until("its failover timeout ends it", |group| group.on_record(leader).is_empty());
    assert!(group.now.since(began) >= Duration::from_secs(59), "not before that");
}

#[test]
fn a_session_that_ends_before_anybody_confirms_that_it_may_begin_leaves_nothing() {
    let mut group = Group::new();
    let leader = group.lead();
    group.turn(leader, [subscribe(9, None), close(9)]);
    let end = group.now + Duration::from_secs(5);
    group.until("time passes", |group| group.now >= end);
    assert!(group.on_record(leader).is_empty());
    assert!(group.events(9).is_empty());
}

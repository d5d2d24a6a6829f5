//! What is not carried out, or only in part: who is told, and what becomes of the offers.

use proto::check::{Check, CheckPort, Checks};
use proto::operation::{LaunchGroup, Reserve};
use proto::operator::{EventKind as Changed, SetQuota};
use proto::quantities::Scalar;
use proto::quota::{Limits, Quota};
use proto::scheduler::{RescindReason, UpdateFramework};

use super::*;

fn part(offers: &[Offer], operations: Vec<Operation>) -> AcceptPart {
    AcceptPart { offers: offers.iter().map(|offer| offer.id).collect(), operations }
}

fn launch(tasks: Vec<TaskInfo>) -> Operation {
    Operation::Launch(Launch { tasks })
}

fn reserve(cpus_milli: u64) -> Operation {
    let amount = Amount::scalars(Quantities::of(cpus_milli, 0));
    Operation::Reserve(Reserve { role: role(), amount })
}

fn accept_parts(parts: Vec<AcceptPart>, all_or_nothing: bool) -> CallKind {
    CallKind::Accept(Accept { parts, all_or_nothing, filter: Filter { refuse: Duration::ZERO } })
}

fn rescinded(events: &[EventKind]) -> Vec<RescindReason> {
    let reason = |event: &EventKind| match event {
        EventKind::Rescind(rescind) => Some(rescind.reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

impl World {
    /// The offers that come when the shortest filter has run out; an open one would not have expired by then.
    fn offers_soon(&mut self, session: u64) -> Vec<Offer> {
        self.run(Duration::from_secs(3));
        self.offers(session)
    }
}

#[test]
fn a_reservation_that_cannot_be_made_is_told_and_nothing_of_the_accept_is_lost() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    let operations = vec![launch(vec![task("t1", 500)]), reserve(9000), launch(vec![task("t2", 500)])];
    world.call(10, Some("op-1"), accept_parts(vec![part(&offers, operations)], false));
    let events = world.events(10);
    assert!(matches!(outcome(&events, "op-1"), Outcome::Refused(r) if r.code == Code::Invalid));
    assert!(world.launched().is_empty());
    let offers = world.offers_soon(10);
    assert_eq!(offers[0].resources.quantities().cpus_milli(), 4000, "the offer is given back");
    let operations = vec![launch(vec![task("t1", 500)]), reserve(1000), launch(vec![task("t2", 500)])];
    world.call(10, Some("op-2"), accept_parts(vec![part(&offers, operations)], false));
    assert!(matches!(outcome(&world.events(10), "op-2"), Outcome::Committed(_)));
    assert_eq!(world.launched().len(), 2);
}

#[test]
fn a_stale_offer_does_not_keep_the_others_of_its_part() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let first = world.offers(10);
    world.call(10, Some("op-1"), accept(&first, vec![task("t1", 1000)]));
    let second = world.offers_soon(10);
    assert_eq!(second.len(), 1);
    let both = [first, second].concat();
    let operations = vec![launch(vec![task("t2", 100), task("t3", 100)])];
    world.call(10, Some("op-2"), accept_parts(vec![part(&both, operations)], false));
    let events = world.events(10);
    let dropped = statuses(events.clone());
    assert_eq!(dropped, [(TaskState::Dropped, 0), (TaskState::Dropped, 0)], "{events:?}");
    let third = world.offers_soon(10);
    assert_eq!(third[0].resources.quantities().cpus_milli(), 3000, "it is offered anew");
}

#[test]
fn all_or_nothing_gives_the_offers_back_when_it_is_nothing() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    let group = LaunchGroup {
        group: proto::id::GroupId::new("g").unwrap(),
        tasks: vec![task("t1", 100), task("t2", 9000)],
    };
    let parts = vec![part(&offers, vec![Operation::LaunchGroup(group.clone())])];
    world.call(10, Some("op-1"), accept_parts(parts, true));
    assert!(matches!(outcome(&world.events(10), "op-1"), Outcome::Refused(_)));
    let offers = world.offers_soon(10);
    assert_eq!(offers.len(), 1);
    // Without it, the group is reported: it runs whole or not at all.
    let parts = vec![part(&offers, vec![Operation::LaunchGroup(group), launch(vec![task("t3", 100)])])];
    world.call(10, Some("op-2"), accept_parts(parts, false));
    assert_eq!(statuses(world.events(10)), [(TaskState::Error, 0), (TaskState::Error, 0)]);
    assert_eq!(world.launched().len(), 1);
}

#[test]
fn an_accept_that_comes_again_tells_again_what_it_did_not_launch() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    let offers = world.offers(10);
    let call = accept(&offers, vec![task("big", 9000), task("small", 100)]);
    world.call(10, Some("op-1"), call.clone());
    let _ = world.events(10);
    world.call(10, Some("op-1"), call);
    let told: Vec<_> = world
        .events(10)
        .into_iter()
        .filter_map(|event| match event {
            EventKind::Update(status) => Some((status.task.to_string(), status.state)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("big".to_owned(), TaskState::Unknown)]);
}

#[test]
fn a_new_limit_takes_back_the_offers_that_pass_it() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    assert_eq!(world.offers(10).len(), 1);
    let limits = Limits(BTreeMap::from([(Scalar::Cpus, 1500)]));
    let set = |ticket, role: &str, guaranteed, limits| {
        let quota = Quota { guarantees: Quantities::of(guaranteed, 0), limits };
        let call = OperatorCall::SetQuota(SetQuota { role: Role::new(role).unwrap(), quota });
        Input::Operator { ticket: Ticket(ticket), caller: Caller::User("ada".into()), call }
    };
    world.say(set(1, "eng", 0, limits.clone()));
    let events = world.events(10);
    assert_eq!(rescinded(&events), [RescindReason::Operator]);
    assert_eq!(world.offers(10)[0].resources.quantities().cpus_milli(), 1500);
    world.say(set(2, "eng", 2000, limits));
    world.say(set(3, "eng/web", 1501, Limits::default()));
    for (_, reply) in &world.replies[1..] {
        assert!(matches!(reply, ReplyKind::Refused(r) if r.code == Code::Invalid), "{reply:?}");
    }
    assert!(rescinded(&world.events(10)).is_empty(), "what is within the limit stands");
}

#[test]
fn an_agent_that_comes_back_smaller_is_offered_anew() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(10, None);
    assert_eq!(world.offers(10).len(), 1);
    let mut smaller = agent();
    smaller.resources = Resources::unreserved(Amount::scalars(Quantities::of(1000, GIB)));
    let register = Register { agent: smaller, epoch: Epoch(0), runs: vec![] };
    let id = AgentId::new("a1").unwrap();
    world.say(Input::Agent { link: LinkId(2), agent: id, message: ToMaster::Register(register) });
    let events = world.events(10);
    assert_eq!(rescinded(&events), [RescindReason::ResourcesChanged]);
    assert_eq!(world.offers(10)[0].resources.quantities().cpus_milli(), 1000);
}

#[test]
fn what_is_beyond_all_bounds_is_refused_by_name() {
    let mut world = World::new();
    let endless = FrameworkInfo { failover_timeout: Duration::MAX, ..info() };
    let subscribe = Subscribe {
        framework: endless,
        id: None,
        resume: None,
        suppressed_roles: vec![],
        demands: None,
        fence: 0,
    };
    world.call(10, None, CallKind::Subscribe(subscribe));
    let events = world.events(10);
    assert!(
        matches!(&events[0], EventKind::Fault(f) if f.refusal.message.contains("failover_timeout")),
        "{events:?}"
    );
    let mut odd = agent();
    odd.resources = Resources::reserved(role(), Amount::scalars(Quantities::of(1000, GIB)));
    let register = Register { agent: odd, epoch: Epoch(0), runs: vec![] };
    let id = AgentId::new("a1").unwrap();
    world.say(Input::Agent { link: LinkId(1), agent: id, message: ToMaster::Register(register) });
    let refused = |(_, kind): &(LinkId, ToAgentKind)| matches!(kind, ToAgentKind::Shutdown(s) if s.refusal.message.contains("agent.resources"));
    assert!(world.to_agent.iter().any(refused), "{:?}", world.to_agent);
    world.register(1);
    world.subscribe(11, None);
    let offers = world.offers(11);
    let patient = TaskInfo { kill_grace: Duration::MAX, ..task("t1", 100) };
    world.call(11, Some("op-1"), accept(&offers, vec![patient]));
    let events = world.events(11);
    assert!(
        events.iter().any(|e| matches!(e, EventKind::Update(s) if s.message.contains("kill_grace"))),
        "{events:?}"
    );
}

#[test]
fn a_task_is_refused_with_a_check_that_could_not_be_carried_out() {
    let mut world = World::new();
    world.register(1);
    world.subscribe(11, None);
    let offers = world.offers(11);
    let checked = |id: &str, check: Check| {
        let checks = Checks { health: Some(check), readiness: None };
        TaskInfo { checks, ..task(id, 100) }
    };
    let tasks = vec![
        checked("t1", Check::tcp(CheckPort::Index(0))),
        checked("t2", Check::shell("true").interval(Duration::from_millis(1))),
        TaskInfo { longest_run: Some(Duration::ZERO), ..task("t3", 100) },
    ];
    world.call(11, Some("op-1"), accept(&offers, tasks));
    let events = world.events(11);
    for wanted in [
        "checks.health.tcp.port has index 0: the task has no ports",
        "checks.health.interval is 1 ms; make it 100 ms at least",
        "longest_run is 0 ms; say 100 ms to 366 days, or leave it out",
    ] {
        let said = |e: &EventKind| matches!(e, EventKind::Update(s) if s.state == TaskState::Error && s.message.contains(wanted));
        assert!(events.iter().any(said), "{wanted}: {events:?}");
    }
}

#[test]
fn a_token_makes_nobody_an_agent_that_is_there() {
    let mut world = World::new();
    world.register(1);
    let token = proto::log::TokenCreated {
        id: "tok".into(),
        secret_sha256: vec![7; 32],
        kind: proto::operator::TokenKind::Agent,
        expires_ms: u64::MAX,
        uses: 5,
        name: String::new(),
        rights: None,
    };
    let caller = Caller::User("ada".into());
    world.say(Input::Operator { ticket: Ticket(1), caller, call: OperatorCall::CreateToken(token) });
    let becomes = Caller::Agent(AgentId::new("a1").unwrap());
    let call =
        OperatorCall::RedeemToken { id: "tok".into(), secret_sha256: vec![7; 32], becomes: becomes.clone() };
    world.say(Input::Operator { ticket: Ticket(2), caller: becomes, call });
    assert!(matches!(&world.replies[1], (Ticket(2), ReplyKind::Refused(r)) if r.code == Code::Conflict));
    assert_eq!(world.master.registry().token("tok").map(|token| token.uses), Some(5));
}

#[test]
fn a_role_that_a_framework_takes_later_is_shown() {
    let mut world = World::new();
    world.subscribe(10, None);
    let web = Role::new("eng/web").unwrap();
    let framework = FrameworkInfo { roles: vec![role(), web.clone()], ..info() };
    world.changed.clear();
    world.call(10, Some("op-1"), CallKind::UpdateFramework(UpdateFramework { framework }));
    let shown = |kind: &Changed| matches!(kind, Changed::RoleChanged(view) if view.role == web);
    assert!(world.changed.iter().any(shown), "{:?}", world.changed);
}

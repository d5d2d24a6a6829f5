//! What principals may take offers in: by default, as somebody said, and when it changes under their feet.

use proto::log::TokenCreated;
use proto::operator::{CanI, SetQuota, SetRights, TokenKind};
use proto::quota::Quota;
use proto::rights::Rights;
use proto::scheduler::UpdateFramework;

use super::*;

fn ada(ticket: u64, call: OperatorCall) -> Input {
    Input::Operator { ticket: Ticket(ticket), caller: Caller::User("ada".into()), call }
}

fn rights(patterns: &[&str]) -> Option<Rights> {
    Some(Rights { roles: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect() })
}

fn set(principal: &str, patterns: &[&str]) -> OperatorCall {
    OperatorCall::SetRights(SetRights { principal: principal.parse().unwrap(), rights: rights(patterns) })
}

fn subscribes(principal: &str, session: u64, role: &str) -> Input {
    let framework = FrameworkInfo { roles: vec![Role::new(role).unwrap()], ..info() };
    let call =
        Call { operation: None, kind: CallKind::Subscribe(Subscribe { framework, ..subscribe(None) }) };
    Input::Framework { session: SessionId(session), caller: principal.parse().unwrap(), call }
}

fn is_in(events: &[EventKind]) -> bool {
    events.iter().any(|event| matches!(event, EventKind::Subscribed(_)))
}

fn is_denied(events: &[EventKind]) -> bool {
    events.iter().any(|event| matches!(event, EventKind::Fault(fault) if fault.refusal.code == Code::Denied))
}

#[test]
fn a_framework_subscribes_in_the_roles_it_may() {
    let mut world = World::new();
    world.say(subscribes("framework/spark", 1, "prod/etl"));
    assert!(is_denied(&world.events(1)) && world.closed.contains(&SessionId(1)));
    for (session, role) in [(2, "default"), (3, "spark"), (4, "spark/etl")] {
        world.say(subscribes("framework/spark", session, role));
        assert!(is_in(&world.events(session)), "{role}");
    }
    world.say(ada(1, set("framework/spark", &["prod/*"])));
    world.say(subscribes("framework/spark", 5, "prod/etl"));
    assert!(is_in(&world.events(5)));
    world.say(subscribes("framework/spark", 6, "default"));
    assert!(is_denied(&world.events(6)), "what was said stands instead of the default");
    world.say(subscribes("user/ada", 7, "prod/etl"));
    assert!(is_in(&world.events(7)));
}

#[test]
fn what_a_framework_says_of_itself_later_is_held_against_its_rights() {
    let mut world = World::new();
    world.subscribe(10, None);
    let more = FrameworkInfo { roles: vec![role(), Role::new("prod").unwrap()], ..info() };
    let update = CallKind::UpdateFramework(UpdateFramework { framework: more });
    world.call(10, Some("op-1"), update.clone());
    let refused = |events: &[EventKind]| {
        events
            .iter()
            .any(|event| matches!(event, EventKind::Answer(a) if matches!(a.outcome, Outcome::Refused(_))))
    };
    assert!(refused(&world.events(10)));
    world.say(ada(1, set("framework/eng", &["eng", "prod"])));
    assert!(world.closed.is_empty(), "it lost nothing that it uses");
    world.call(10, Some("op-2"), update);
    assert!(!refused(&world.events(10)));
}

#[test]
fn who_may_no_more_is_cut_off_and_its_tasks_run_on() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(10, None);
    let offers = world.offers(10);
    world.call(10, Some("op-1"), accept(&offers, vec![task("t1", 1000)]));
    world.say(ada(1, set("framework/eng", &["other"])));
    assert!(is_denied(&world.events(10)) && world.closed.contains(&SessionId(10)));
    assert_eq!(world.master.registry().tasks_of(&framework).count(), 1);
    world.say(ada(
        2,
        OperatorCall::SetRights(SetRights { principal: "framework/eng".parse().unwrap(), rights: None }),
    ));
    assert_eq!(world.subscribe(11, Some(framework.clone())), framework);
}

#[test]
fn a_role_that_is_taken_away_while_the_log_is_asked_for_it_is_not_kept() {
    let mut world = World::new();
    world.subscribe(10, None);
    world.say(ada(1, set("framework/eng", &["eng", "prod"])));
    let more = FrameworkInfo { roles: vec![role(), Role::new("prod").unwrap()], ..info() };
    let kind = CallKind::UpdateFramework(UpdateFramework { framework: more });
    let call = Call { operation: Some(OperationId::new("op-1").unwrap()), kind };
    let caller = "framework/eng".parse().unwrap();
    let update = Input::Framework { session: SessionId(10), caller, call };
    // Both are checked against what was before.
    world.say_at_once([ada(2, set("framework/eng", &["eng"])), update]);
    assert!(is_denied(&world.events(10)) && world.closed.contains(&SessionId(10)));
}

#[test]
fn a_token_brings_its_rights_when_it_is_used() {
    let mut world = World::new();
    let token = TokenCreated {
        id: "tok".into(),
        secret_sha256: vec![7; 32],
        kind: TokenKind::Framework,
        expires_ms: u64::MAX,
        uses: 2,
        name: "spark".into(),
        rights: rights(&["prod/*"]),
    };
    world.say(ada(1, OperatorCall::CreateToken(token)));
    world.say(subscribes("framework/spark", 1, "prod/etl"));
    assert!(is_denied(&world.events(1)), "nobody has used it");
    let becomes = Caller::Framework("spark".into());
    let call =
        OperatorCall::RedeemToken { id: "tok".into(), secret_sha256: vec![7; 32], becomes: becomes.clone() };
    world.say(Input::Operator { ticket: Ticket(2), caller: becomes, call });
    assert!(matches!(world.replies[1], (Ticket(2), ReplyKind::Done(_))));
    world.say(subscribes("framework/spark", 2, "prod/etl"));
    assert!(is_in(&world.events(2)));
}

#[test]
fn everybody_may_ask_of_themselves_and_people_of_all() {
    let mut world = World::new();
    let asks = |caller: &str, principal: Option<&str>, role: &str| {
        let asked = CanI {
            verb: "subscribe".into(),
            role: Some(Role::new(role).unwrap()),
            principal: principal.map(|principal| principal.parse().unwrap()),
            ..CanI::default()
        };
        let caller = caller.parse().unwrap();
        Input::Operator { ticket: Ticket(1), caller, call: OperatorCall::CanI(asked) }
    };
    let mut verdict = |input| {
        world.say(input);
        world.replies.pop().unwrap().1
    };
    let allowed = |kind| matches!(kind, ReplyKind::Verdict(verdict) if verdict.allowed);
    assert!(allowed(verdict(asks("framework/spark", None, "spark/etl"))));
    assert!(!allowed(verdict(asks("framework/spark", None, "prod"))));
    assert!(allowed(verdict(asks("framework/spark", Some("framework/spark"), "spark"))));
    assert!(allowed(verdict(asks("user/ada", Some("framework/spark"), "spark"))));
    let other = verdict(asks("framework/spark", Some("framework/eng"), "eng"));
    assert!(matches!(other, ReplyKind::Refused(refusal) if refusal.code == Code::Denied));
    let set =
        OperatorCall::SetRights(SetRights { principal: "framework/spark".parse().unwrap(), rights: None });
    let own = Input::Operator { ticket: Ticket(2), caller: Caller::Framework("spark".into()), call: set };
    assert!(matches!(verdict(own), ReplyKind::Refused(refusal) if refusal.code == Code::Denied));
}

#[test]
fn a_dry_run_is_checked_in_all_and_changes_nothing() {
    let mut world = World::new();
    let applied = world.master.applied();
    let quota = |guaranteed| {
        let limits = proto::quota::Limits([(proto::quantities::Scalar::Cpus, 1000)].into());
        let quota = Quota { guarantees: Quantities::of(guaranteed, 0), limits };
        OperatorCall::DryRun(Box::new(OperatorCall::SetQuota(SetQuota { role: role(), quota })))
    };
    world.say(ada(1, quota(500)));
    assert!(matches!(world.replies[0].1, ReplyKind::Done(0)));
    world.say(ada(2, quota(5000)));
    assert!(matches!(&world.replies[1].1, ReplyKind::Refused(refusal) if refusal.code == Code::Invalid));
    let caller = Caller::Framework("eng".into());
    world.say(Input::Operator { ticket: Ticket(3), caller, call: quota(500) });
    assert!(matches!(&world.replies[2].1, ReplyKind::Refused(refusal) if refusal.code == Code::Denied));
    let nested = OperatorCall::DryRun(Box::new(quota(500)));
    world.say(ada(4, nested));
    assert!(matches!(&world.replies[3].1, ReplyKind::Refused(refusal) if refusal.code == Code::Invalid));
    assert_eq!(world.master.applied(), applied);
}

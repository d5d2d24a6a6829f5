//! Demands that are only supposed: what is said of them is what comes when they are declared for real.

use std::time::Duration;

use proto::attributes::{Constraint, Constraints};
use proto::demand::Demand;
use proto::explain::Explanation;
use proto::id::DemandId;
use proto::operator::{Explain, ReplyKind, Supposed};
use proto::refusal::Refusal;
use proto::rights::Rights;

use super::script::{Script, cpus, role};

fn demand(id: &str, path: &str, count: u64, milli: u64) -> Demand {
    Demand {
        id: DemandId::new(id).unwrap(),
        role: role(path),
        shape: cpus(milli),
        count,
        constraints: Constraints::default(),
        priority: 0,
    }
}

fn ask(script: &mut Script, framework: &str, demands: Vec<Demand>) -> Result<Vec<Explanation>, Refusal> {
    let supposed = Supposed { framework: framework.into(), demands };
    match script.asks(Explain::Supposed(supposed), Vec::new()) {
        ReplyKind::Explain(told) => Ok(told),
        ReplyKind::Refused(refusal) => Err(refusal),
        other => panic!("no explanation: {other:?}"),
    }
}

fn told(script: &mut Script, demands: Vec<Demand>) -> Vec<Explanation> {
    ask(script, "web", demands).expect("an explanation")
}

/// Declares a demand and launches whatever is offered for it, until nothing is; how many tasks.
fn really_gets(script: &mut Script, count: u64, milli: u64) -> u64 {
    script.wants("web", count, cpus(milli), &[]);
    let mut got = 0;
    while script.was_offered("web", Some("web")) {
        script.forget_offered();
        let units = script.fills_offers("web", milli);
        got += units;
        script.restates("web", |demand| demand.count -= units);
        // The accept is on its way through the log.
        script.pass(Duration::from_secs(1));
    }
    got
}

/// Two agents of four cpus, one of which is half full, and others who want something.
fn pool() -> Script {
    let mut script = Script::new();
    script.agent("a", 4000);
    script.agent("b", 4000);
    script.occupies("batch", "a", &[("etl", 2000)]);
    script.framework("web", "web");
    script
}

#[test]
fn as_many_fit_as_then_come() {
    for (count, milli) in [(1, 4000), (2, 3000), (3, 2000), (4, 2000), (6, 1000), (7, 1000), (1, 5000)] {
        let mut script = pool();
        let told = told(&mut script, vec![demand("web@plan", "web", count, milli)]).remove(0);
        assert_eq!(really_gets(&mut script, count, milli), told.fits, "{count} x {milli}: {told:?}");
        assert_eq!(told.code == "served", told.fits == count, "{told:?}");
    }
}

#[test]
fn more_than_may_be_held_unanswered_fits_all_the_same() {
    let mut script = pool();
    // Somebody else waits: from then on what one framework may hold unanswered is bounded.
    script.framework("greedy", "greedy");
    script.wants("greedy", 1, cpus(64_000), &[]);
    let told = told(&mut script, vec![demand("web@plan", "web", 6, 1000)]).remove(0);
    assert_eq!((told.fits, told.verdict.as_str()), (6, "all 6 fit now"), "{told:?}");
    assert_eq!(really_gets(&mut script, 6, 1000), 6);
}

#[test]
fn what_does_not_fit_says_why_and_what_was_seen_to_help() {
    let mut script = pool();
    let told = told(&mut script, vec![demand("web@plan", "web", 4, 2000)]).remove(0);
    assert_eq!((told.fits, told.code.as_str()), (3, "no-room"));
    assert!(told.verdict.starts_with("3 of 4 fit now; for the rest: "), "{told:?}");
    assert!(told.help.iter().any(|help| help.starts_with("when task batch/etl on host-a ends")), "{told:?}");
    assert!(!told.help.iter().any(|help| help.contains("its own tasks")), "it has none: {told:?}");
    assert!(!told.funnel.is_empty() && !told.nearest.is_empty(), "{told:?}");
}

#[test]
fn what_is_supposed_together_competes() {
    let mut script = pool();
    let both = vec![demand("one", "web", 1, 4000), demand("two", "web", 1, 4000)];
    let together = told(&mut script, both.clone());
    assert_eq!(together.iter().map(|told| told.fits).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(together[1].code, "no-room");
    for alone in both {
        assert_eq!(told(&mut script, vec![alone])[0].fits, 1);
    }
}

#[test]
fn rules_count_as_they_would() {
    let mut script = pool();
    script.quota("web", 0, Some(3000));
    let over = told(&mut script, vec![demand("web@plan", "web", 4, 1000)]).remove(0);
    assert_eq!((over.fits, over.code.as_str()), (3, "quota-limit"), "{over:?}");
    let mut strange = demand("web@plan", "web", 1, 1000);
    strange.constraints = Constraints(vec![Constraint::parse("zone=c").unwrap()]);
    assert_eq!(told(&mut script, vec![strange]).remove(0).code, "constraints");
}

#[test]
fn nothing_is_declared_and_nothing_is_offered() {
    let mut script = pool();
    script.forget_offered();
    for _ in 0..3 {
        assert_eq!(told(&mut script, vec![demand("web@plan", "web", 6, 1000)])[0].fits, 6);
    }
    assert!(!script.was_offered("web", Some("web@plan")));
    let ReplyKind::Explain(now) = script.asks(Explain::Framework("web".into()), Vec::new()) else {
        panic!("no explanation");
    };
    assert_eq!(now[0].code, "wants-nothing");
}

#[test]
fn a_role_that_it_is_not_in_is_taken_on_for_it_if_it_may() {
    let mut script = pool();
    assert_eq!(told(&mut script, vec![demand("x", "eng/web", 1, 1000)])[0].fits, 1);
    script.grants("web", Rights { roles: vec!["web".parse().unwrap()] });
    let both = vec![demand("x", "eng/web", 1, 1000), demand("y", "web", 1, 1000)];
    let told = told(&mut script, both);
    assert_eq!(told.iter().map(|told| told.fits).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(told[0].code, "role-not-granted");
}

#[test]
fn a_framework_that_is_away_is_told_so() {
    let mut script = pool();
    script.disconnects("web");
    let away = told(&mut script, vec![demand("x", "web", 1, 1000)]).remove(0);
    assert_eq!((away.fits, away.code.as_str()), (0, "framework-disconnected"));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let mut script = pool();
    script.wants("web", 1, cpus(64_000), &[]);
    let many = (0..17).map(|n| demand(&format!("d{n}"), "web", 1, 1000)).collect();
    for (framework, demands, words) in [
        ("web", vec![demand("web", "web", 1, 1000)], "demands[web].id is declared already"),
        ("web", Vec::new(), "demands has 0 entries"),
        ("web", many, "demands has 17 entries"),
        ("web", vec![demand("x", "web", 1, 1000), demand("x", "web", 1, 1000)], "twice"),
        ("nobody", vec![demand("x", "web", 1, 1000)], "there is no framework nobody"),
    ] {
        let refusal = ask(&mut script, framework, demands).unwrap_err();
        assert!(refusal.message.contains(words), "{refusal:?}");
    }
}

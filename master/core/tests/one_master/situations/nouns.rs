//! What is explained beside demands: tasks, agents, roles, all that waits, and what a new leader does not know.

use std::time::Duration;

use proto::explain::{Explanation, Waiting};
use proto::id::TaskId;
use proto::operator::{Explain, ReplyKind, TaskRef};
use proto::task::TaskState;

use super::script::{Script, cpus, role};

fn told(script: &mut Script, what: Explain) -> Vec<Explanation> {
    match script.asks(what, Vec::new()) {
        ReplyKind::Explain(told) => told,
        other => panic!("no explanation: {other:?}"),
    }
}

fn of_task(script: &mut Script, task: &str) -> Explanation {
    let asked = TaskRef { framework: String::new(), task: TaskId::new(task).unwrap() };
    told(script, Explain::Task(asked)).remove(0)
}

fn of_agent(script: &mut Script, name: &str) -> Explanation {
    told(script, Explain::Agent(name.into())).remove(0)
}

fn summary(script: &mut Script) -> Waiting {
    match script.asks(Explain::Summary, Vec::new()) {
        ReplyKind::Waiting(all) => all,
        other => panic!("no summary: {other:?}"),
    }
}

#[test]
fn a_task_is_explained_from_its_accept_to_its_end() {
    let mut script = Script::new();
    script.agent("a", 4000);
    script.occupies("batch", "a", &[("etl", 1000)]);
    let staging = of_task(&mut script, "etl");
    assert_eq!(staging.code, "staging");
    assert!(staging.verdict.contains("host-a was told and has not said that it started"), "{staging:?}");
    script.says_of("etl", TaskState::Running);
    assert_eq!(of_task(&mut script, "etl").code, "running");
    script.leaves("a");
    assert_eq!(of_task(&mut script, "etl").code, "agent-disconnected");
    script.pass(Duration::from_secs(15 * 60));
    assert_eq!(of_task(&mut script, "etl").code, "agent-unreachable");
    script.comes("a");
    script.says_of("etl", TaskState::Failed);
    let ended = of_task(&mut script, "etl");
    assert_eq!(ended.code, "ended");
    assert_eq!(ended.verdict, "it ended as failed on host-a: exit code 3, command-exited");
    let asked = TaskRef { framework: String::new(), task: TaskId::new("nobody").unwrap() };
    assert!(matches!(script.asks(Explain::Task(asked), vec![]), ReplyKind::Refused(_)));
}

#[test]
fn an_agent_that_nobody_uses_says_why() {
    let mut script = Script::new();
    script.agent("a", 4000);
    assert_eq!(of_agent(&mut script, "a").code, "wants-nothing");
    script.framework("web", "web");
    script.wants("web", 1, cpus(1000), &["zone=b"]);
    let kept = of_agent(&mut script, "host-a");
    assert_eq!(kept.code, "constraints");
    assert!(kept.verdict.contains("the one demand that waits is kept from it: 1 constraints"), "{kept:?}");
    let step = kept.funnel.iter().find(|step| step.name == "constraints").unwrap();
    assert_eq!(step.fell_out, ["web/web"]);
    // With more demands the rule that keeps most of them is named.
    script.framework("big", "big");
    script.wants("big", 1, cpus(9000), &[]);
    script.wants("big", 1, cpus(8000), &[]);
    assert_eq!(of_agent(&mut script, "a").code, "too-large");
    script.occupies("batch", "a", &[("etl", 4000)]);
    let used = of_agent(&mut script, "a");
    assert!(used.verdict.contains("batch uses cpus:4"), "{used:?}");
    script.drains("a");
    let drains = of_agent(&mut script, "a");
    assert_eq!(drains.code, "agent-draining");
    assert!(drains.verdict.contains("user/ada said that it gets no new work (new disk)"), "{drains:?}");
    assert!(!drains.tried[0].helps, "nobody could use it: {drains:?}");
    script.gone("a");
    assert_eq!(of_agent(&mut script, "a").code, "agent-gone");
    assert!(matches!(script.asks(Explain::Agent("z".into()), vec![]), ReplyKind::Refused(_)));
}

#[test]
fn a_draining_agent_says_who_would_have_it() {
    let mut script = Script::new();
    script.agent("a", 4000);
    script.drains("a");
    script.framework("web", "web");
    script.wants("web", 1, cpus(1000), &[]);
    let told = of_agent(&mut script, "a");
    assert_eq!(told.help, ["when host-a is resumed: then it is offered to web"]);
    assert_eq!(told.tried[0].steps[0].command, "stoa agent resume a");
    script.does(&told.tried[0].steps[0], "web");
    assert!(script.was_offered("web", Some("web")));
}

#[test]
fn a_role_is_summed_up_and_its_demands_follow() {
    let mut script = Script::new();
    script.agent("a", 4000);
    let nobody = told(&mut script, Explain::Role(role("eng")));
    assert_eq!((nobody.len(), nobody[0].code.as_str()), (1, "no-frameworks"));
    script.framework("web", "eng");
    assert_eq!(told(&mut script, Explain::Role(role("eng")))[0].code, "wants-nothing");
    script.quota("eng", 0, Some(1000));
    script.wants("web", 2, cpus(2000), &[]);
    script.wants("web", 1, cpus(9000), &[]);
    let all = told(&mut script, Explain::Role(role("eng")));
    assert_eq!(all.len(), 3);
    assert!(all[0].verdict.starts_with("2 demands wait: 1 "), "{all:?}");
    assert!(all[0].verdict.contains("0 of a limit of cpus:1"), "{all:?}");
    let codes: Vec<&str> = all[1..].iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["quota-limit", "too-large"], "what misses most comes first");
}

#[test]
fn all_that_waits_is_summed_up_with_the_change_that_helps_most() {
    let mut script = Script::new();
    let none = summary(&mut script);
    assert_eq!((none.demands, none.groups.len()), (0, 0));
    script.agent("a", 8000);
    script.quota("eng", 0, Some(1000));
    script.framework("web", "eng");
    script.wants("web", 3, cpus(2000), &[]);
    script.pass(Duration::from_secs(20));
    script.framework("huge", "huge");
    script.wants("huge", 1, cpus(64_000), &[]);
    script.plain_framework("silent", "silent");
    script.declines("silent", None, 60);
    script.suppresses("silent");
    let all = summary(&mut script);
    assert_eq!((all.demands, all.units, all.undeclared, all.unexamined), (2, 4, 1, 0));
    let groups: Vec<(&str, u64, u64, &str)> = (all.groups.iter())
        .map(|group| (group.code.as_str(), group.demands, group.units, group.example.as_str()))
        .collect();
    assert_eq!(groups, [("quota-limit", 1, 3, "web/web"), ("too-large", 1, 1, "huge/web")]);
    assert_eq!((all.worst_framework.as_str(), all.worst_role.as_str()), ("web", "eng"));
    assert!((20_000..25_000).contains(&all.oldest_ms), "{all:?}");
    assert!(all.notes[0].contains("since this master leads"), "{all:?}");
    let best = all.best.expect("something helps");
    // Not all three: who holds half of the pool unanswered gets no more while another wants something.
    assert_eq!((best.change().as_str(), all.best_units), ("without the limits of role eng", 2));
    assert_eq!(best.steps[0].command, "stoa quota clear eng");
    // Done for real, it does.
    script.forget_offered();
    script.quota("eng", 0, None);
    assert!(script.was_offered("web", Some("web")));
    assert_eq!(summary(&mut script).units, 4 - 2);
}

#[test]
fn a_waiting_demand_keeps_its_age_while_it_is_restated() {
    let mut script = Script::new();
    script.agent("a", 4000);
    script.framework("web", "web");
    script.wants("web", 1, cpus(8000), &[]);
    script.pass(Duration::from_secs(10));
    script.wants("web", 1, cpus(9000), &[]);
    let all = told(&mut script, Explain::Framework("web".into()));
    assert!(all[0].waiting_ms >= 10_000 && all[1].waiting_ms < 1000, "{all:?}");
}

#[test]
fn a_new_leader_says_of_whom_it_has_not_heard() {
    let mut script = Script::new();
    script.agent("a", 4000);
    script.framework("web", "web");
    script.wants("web", 1, cpus(8000), &[]);
    let before = told(&mut script, Explain::Framework("web".into())).remove(0);
    assert!(before.notes.is_empty(), "{before:?}");
    script.new_leader();
    let after = told(&mut script, Explain::Framework("web".into())).remove(0);
    assert_eq!(after.code, "framework-disconnected");
    let note = after.notes.iter().find(|note| note.contains("has not heard from")).expect("a note");
    assert!(note.contains("1 agents and 1 frameworks"), "{note}");
    assert!(summary(&mut script).notes.iter().any(|note| note.contains("has not heard from")));
    script.comes("a");
    script.connects("web", true);
    let whole = told(&mut script, Explain::Framework("web".into())).remove(0);
    assert_eq!((whole.code.as_str(), whole.notes.len()), ("too-large", 0), "{whole:?}");
}

//! The report card: a framework on the raw protocol earns every mark, and with one vice at a time it loses the one for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use framework_sdk::Profile;
use framework_sdk_cli::conformance::{
    Check, ConformanceArgs, Finding, Inside, Mark, Subject, examine, examine_once,
};
use framework_sdk_cli::{Exit, Terminal};
use proto::demand::{DeclineReason, Filter};
use proto::framework::FrameworkInfo;
use proto::id::{FrameworkId, OperationId, TaskId};
use proto::offer::Offer;
use proto::operation::{Launch, Operation};
use proto::quantities::Quantities;
use proto::resources::Amount;
use proto::role::Role;
use proto::scheduler::{
    Accept, AcceptPart, Acknowledge, Call, CallKind, Decline, Event, EventKind, Reconcile, Subscribe,
};
use proto::task::{TaskState, TaskStatus};
use proto_grpc::services::scheduler::scheduler_client::SchedulerClient;
use proto_grpc::{PeerRole, channel};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// What a framework may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vice {
    None,
    /// Wants nothing.
    Idle,
    /// Uses one offer and forgets the others.
    Hoards,
    /// Acknowledges nothing.
    Deaf,
    /// Acknowledges what it was not told.
    Guesses,
    /// Acknowledges an update once, however often it comes.
    OnlyOnce,
    /// Dies of an update that comes twice.
    Brittle,
    /// Forgets its id with its session.
    Forgetful,
    /// Launches again on other offers what was not answered.
    Rash,
    /// Says nothing once its tasks run.
    Blocks,
    /// Does not come back.
    GivesUp,
    /// Comes back without rest.
    Hammers,
    /// Asks for nothing that a snapshot lacks.
    Trusting,
    /// Does not acknowledge what it does not know.
    Snubs,
}

/// A framework on the raw protocol: two tasks, wherever there is room.
struct Raw {
    vice: Vice,
    id: Option<FrameworkId>,
    waiting: Vec<TaskId>,
    /// Accepts without an answer.
    unanswered: BTreeMap<OperationId, CallKind>,
    known: BTreeMap<TaskId, TaskState>,
    taken: Vec<TaskStatus>,
    operations: u64,
    silent: bool,
}

impl Raw {
    fn new(vice: Vice) -> Self {
        let names = if vice == Vice::Idle { Vec::new() } else { vec!["t1", "t2"] };
        let waiting = names.into_iter().map(|name| TaskId::new(name).unwrap()).collect();
        Raw {
            vice,
            id: None,
            waiting,
            unanswered: BTreeMap::new(),
            known: BTreeMap::new(),
            taken: Vec::new(),
            operations: 0,
            silent: false,
        }
    }

    fn operation(&mut self, kind: CallKind) -> Call {
        self.operations += 1;
        Call { operation: Some(OperationId::new(&format!("raw-{}", self.operations)).unwrap()), kind }
    }

    fn subscribe(&self) -> Call {
        let framework = FrameworkInfo {
            name: "raw".to_owned(),
            roles: vec![Role::default_role()],
            failover_timeout: Duration::from_secs(60),
            address: String::new(),
            labels: BTreeMap::new(),
        };
        let id = self.id.clone().filter(|_| self.vice != Vice::Forgetful);
        let kind = CallKind::Subscribe(Subscribe {
            framework,
            id,
            resume: None,
            suppressed_roles: Vec::new(),
            demands: None,
            fence: 0,
        });
        Call { operation: None, kind }
    }

    fn answer(&mut self, offer: &Offer) -> Option<Call> {
        let offers = vec![offer.id];
        let Some(id) = self.waiting.pop() else {
            let hoards = self.vice == Vice::Hoards && !self.known.is_empty();
            let filter = Filter { refuse: Duration::from_secs(1) };
            let decline = Decline { offers, reason: DeclineReason::Unused, filter };
            return (!hoards).then(|| self.operation(CallKind::Decline(decline)));
        };
        let shape = Amount::scalars(Quantities::of(100, 1 << 20));
        let mut task = framework_sdk::tasks::shell(id.clone(), "true");
        task.resources = offer.resources.clone().take(&offer.role, &shape)?;
        self.known.insert(id, TaskState::Staging);
        let operations = vec![Operation::Launch(Launch { tasks: vec![task] })];
        let parts = vec![AcceptPart { offers, operations }];
        let call = self.operation(CallKind::Accept(Accept {
            parts,
            all_or_nothing: false,
            filter: Filter::DEFAULT,
        }));
        self.unanswered.insert(call.operation.clone()?, call.kind.clone());
        Some(call)
    }

    fn take_in(&mut self, status: TaskStatus) -> Vec<Call> {
        let stranger = !matches!(status.task.as_str(), "t1" | "t2");
        let again = self.taken.contains(&status);
        self.known.insert(status.task.clone(), status.state);
        self.taken.push(status.clone());
        self.silent |= self.vice == Vice::Blocks && status.state == TaskState::Running;
        let (Some(run), 1..) = (status.run, status.sequence) else { return Vec::new() };
        let mute = match self.vice {
            Vice::Deaf => true,
            Vice::OnlyOnce => again,
            Vice::Snubs => stranger,
            _ => false,
        };
        assert!(!(self.vice == Vice::Brittle && again), "twice");
        let acknowledge = |sequence| Call {
            operation: None,
            kind: CallKind::Acknowledge(Acknowledge { task: status.task.clone(), run, sequence }),
        };
        let guess = (self.vice == Vice::Guesses).then(|| acknowledge(status.sequence + 7));
        (!mute).then(|| acknowledge(status.sequence)).into_iter().chain(guess).collect()
    }

    /// What to say to an event; the address of another master to go to instead.
    fn hear(&mut self, event: EventKind) -> Result<Vec<Call>, String> {
        Ok(match event {
            EventKind::Redirect(redirect) => return Err(redirect.leader_address),
            EventKind::Subscribed(subscribed) => {
                self.id = Some(subscribed.framework);
                let told: Vec<TaskId> = subscribed.tasks.iter().map(|status| status.task.clone()).collect();
                let unanswered = std::mem::take(&mut self.unanswered);
                let mut calls: Vec<Call> = Vec::new();
                for (operation, kind) in unanswered {
                    if self.vice == Vice::Rash {
                        self.waiting.extend(launched(&kind));
                        continue;
                    }
                    self.unanswered.insert(operation.clone(), kind.clone());
                    calls.push(Call { operation: Some(operation), kind });
                }
                calls.extend(subscribed.tasks.into_iter().flat_map(|status| self.take_in(status)));
                let missing: Vec<TaskId> =
                    self.known.keys().filter(|task| !told.contains(task)).cloned().collect();
                if !missing.is_empty() && self.vice != Vice::Trusting {
                    calls.push(self.operation(CallKind::Reconcile(Reconcile { tasks: missing })));
                }
                calls
            }
            EventKind::Offers(offers) => {
                offers.offers.iter().filter_map(|offer| self.answer(offer)).collect()
            }
            EventKind::Update(status) => self.take_in(status),
            EventKind::Answer(answer) => {
                self.unanswered.remove(&answer.operation);
                Vec::new()
            }
            EventKind::Rescind(_)
            | EventKind::Failure(_)
            | EventKind::AgentDraining(_)
            | EventKind::AgentResumed(_)
            | EventKind::Masters(_)
            | EventKind::Fault(_)
            | EventKind::Heartbeat => Vec::new(),
        })
    }

    /// One session; where to go next, if somebody said so.
    async fn session(&mut self, master: &str, profile: &Profile) -> Option<String> {
        let channel = channel(master, PeerRole::Master, &profile.credentials).await.ok()?;
        let (calls, queued) = mpsc::unbounded_channel();
        calls.send(self.subscribe()).ok()?;
        let mut client = SchedulerClient::new(channel);
        let mut events = client.session(UnboundedReceiverStream::new(queued)).await.ok()?.into_inner();
        let mut heartbeats = tokio::time::interval(Duration::from_millis(500));
        loop {
            let event: Event = tokio::select! {
                event = events.message() => event.ok()??,
                _ = heartbeats.tick() => {
                    if !self.silent {
                        let _ = calls.send(Call { operation: None, kind: CallKind::Heartbeat });
                    }
                    continue;
                }
            };
            if self.silent {
                continue;
            }
            match self.hear(event.kind) {
                Ok(said) => said.into_iter().for_each(|call| drop(calls.send(call))),
                Err(leader) => return Some(leader),
            }
        }
    }

    async fn run(mut self, profile: Profile) {
        let mut at = 0;
        let mut hint = None;
        let mut rest = tokio::time::interval(Duration::from_millis(100));
        loop {
            let master = hint.take().unwrap_or_else(|| profile.masters[at % profile.masters.len()].clone());
            at += 1;
            hint = self.session(&master, &profile).await;
            match self.vice {
                Vice::GivesUp if self.id.is_some() => std::future::pending().await,
                Vice::Hammers => {}
                _ => drop(rest.tick().await),
            }
        }
    }
}

fn launched(call: &CallKind) -> Vec<TaskId> {
    let CallKind::Accept(accept) = call else { return Vec::new() };
    let operations = accept.parts.iter().flat_map(|part| &part.operations);
    let tasks = operations.flat_map(|operation| match operation {
        Operation::Launch(launch) => launch.tasks.as_slice(),
        _ => &[],
    });
    tasks.map(|task| task.id.clone()).collect()
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ConformanceArgs,
}

fn args(more: &[&str]) -> ConformanceArgs {
    let line = [&["conformance", "--patience", "5s"], more, &["raw"]].concat();
    Line::try_parse_from(line).unwrap().args
}

fn raw(vice: Vice) -> Subject {
    let run: Inside = Arc::new(move |profile| Box::pin(Raw::new(vice).run(profile)));
    Subject::Inside(run)
}

async fn result(vice: Vice, check: Check) -> Finding {
    examine_once(&args(&[]), &raw(vice), check).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_without_vices_earns_every_mark() {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        answers: None,
        piped: None,
        interactive: false,
        colours: false,
        clock: || 0,
    };
    let exit = examine(&args(&["-o", "json"]), &raw(Vice::None), &mut terminal).await.unwrap();
    let card: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((exit, &card["kind"]), (Exit::Ok, &"ReportCard".into()), "{card:#}");
    let checks = card["checks"].as_array().unwrap();
    assert_eq!(checks.len(), Check::ALL.len());
    assert!(checks.iter().all(|check| check["mark"] == "passed"), "{card:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_vice_costs_its_mark_and_is_named() {
    let vices = [
        (Vice::Hoards, Check::Hoarding, "without an answer"),
        (Vice::Deaf, Check::Acknowledgement, "not acknowledged"),
        (Vice::Guesses, Check::Acknowledgement, "which it was not told"),
        (Vice::OnlyOnce, Check::Duplicates, "not acknowledged"),
        (Vice::Brittle, Check::Duplicates, "died"),
        (Vice::Forgetful, Check::Failover, "as a new framework"),
        (Vice::Rash, Check::Failover, "twice"),
        (Vice::Blocks, Check::SlowHandler, "says nothing for"),
        (Vice::GivesUp, Check::ReconnectStorm, "not back"),
        (Vice::Hammers, Check::ReconnectStorm, "times within"),
        (Vice::Trusting, Check::UnknownTask, "does not ask for task"),
        (Vice::Snubs, Check::UnknownTask, "conformance.stranger"),
    ];
    let made = vices.map(|(vice, check, said)| async move { (vice, result(vice, check).await, said) });
    for (vice, result, said) in futures::future::join_all(made).await {
        assert!(result.mark == Mark::Failed && result.seen.contains(said), "{vice:?}: {result:?}");
    }
    let tried: BTreeSet<Check> = vices.iter().map(|(_, check, _)| *check).collect();
    assert_eq!(tried.len(), Check::ALL.len(), "each check can be failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_does_nothing_is_not_passed() {
    let result = result(Vice::Idle, Check::Acknowledgement).await;
    assert!(result.mark == Mark::Untried && result.seen.contains("--work"), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_dies_or_is_none_is_told_so() {
    let of = |argv: &[&str], work: Option<&str>| Subject::Command {
        argv: argv.iter().map(ToString::to_string).collect(),
        work: work.map(str::to_owned),
    };
    let dies = of(&["sh", "-c", "echo no luck >&2; exit 3"], None);
    let result = examine_once(&args(&[]), &dies, Check::Hoarding).await.unwrap();
    assert!(result.mark == Mark::Failed && result.seen.contains("no luck"), "{result:?}");
    let lazy = of(&["sh", "-c", "exec cat"], Some("true"));
    let result = examine_once(&args(&[]), &lazy, Check::Hoarding).await.unwrap();
    assert!(result.mark == Mark::Failed && result.seen.contains("does not subscribe"), "{result:?}");
    let none = of(&["/nowhere/at-all"], None);
    let failure = examine_once(&args(&[]), &none, Check::Hoarding).await.unwrap_err();
    assert_eq!(failure.exit, Exit::NotFound, "{failure:?}");
}

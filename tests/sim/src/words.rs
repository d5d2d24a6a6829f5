//! How messages read in a transcript: one line each, and nothing for what only keeps a line alive.

use proto::agent_link::{ToAgent, ToAgentKind, ToMaster};
use proto::log::Entry;
use proto::operation::Operation;
use proto::operator::EventKind as Changed;
use proto::scheduler::{Call, CallKind, Event, EventKind, Outcome};
use proto::task::TaskStatus;
use proto::volume::Volume;

use crate::masters::read_entry;

/// What a framework calls.
pub fn call(call: &Call) -> Option<String> {
    Some(match &call.kind {
        CallKind::Subscribe(subscribe) => match &subscribe.id {
            None => "Subscribe as a new framework".to_owned(),
            Some(id) => {
                format!("Subscribe {id}{}", if subscribe.resume.is_some() { ", resuming" } else { "" })
            }
        },
        CallKind::Accept(accept) => {
            let parts = accept.parts.iter().map(|part| {
                let offers: Vec<String> = part.offers.iter().map(ToString::to_string).collect();
                let tasks: Vec<String> = part.operations.iter().flat_map(tasks_of).collect();
                format!("{} launch {}", offers.join("+"), tasks.join(" "))
            });
            format!("Accept {}", parts.collect::<Vec<_>>().join(", "))
        }
        CallKind::Decline(decline) => {
            let offers: Vec<String> = decline.offers.iter().map(ToString::to_string).collect();
            format!("Decline {} ({:?})", offers.join(" "), decline.reason)
        }
        CallKind::Suppress(_) => "Suppress".to_owned(),
        CallKind::Revive(_) => "Revive".to_owned(),
        CallKind::UpdateDemands(update) => {
            let demands =
                update.demands.iter().map(|demand| format!("{}x {}", demand.count, demand.shape.scalars));
            let all: Vec<String> = demands.collect();
            format!("UpdateDemands {}", if all.is_empty() { "nothing".to_owned() } else { all.join(", ") })
        }
        CallKind::Kill(kill) => format!("Kill {}", kill.task),
        CallKind::Acknowledge(word) => format!("Acknowledge {} #{}", word.task, word.sequence),
        CallKind::Reconcile(reconcile) => {
            let tasks: Vec<&str> = reconcile.tasks.iter().map(|task| task.as_str()).collect();
            format!("Reconcile {}", tasks.join(" "))
        }
        CallKind::UpdateFramework(_) => "UpdateFramework".to_owned(),
        CallKind::Teardown => "Teardown".to_owned(),
        CallKind::Heartbeat => return None,
    })
}

fn tasks_of(operation: &Operation) -> Vec<String> {
    match operation {
        Operation::Launch(launch) => launch.tasks.iter().map(|task| task.id.to_string()).collect(),
        Operation::LaunchGroup(launch) => launch.tasks.iter().map(|task| task.id.to_string()).collect(),
        Operation::Reserve(_) => vec!["Reserve".to_owned()],
        Operation::Unreserve(_) => vec!["Unreserve".to_owned()],
        Operation::CreateVolume(_) => vec!["CreateVolume".to_owned()],
        Operation::DestroyVolume(_) => vec!["DestroyVolume".to_owned()],
    }
}

/// What a master tells a framework.
pub fn event(event: &Event) -> Option<String> {
    Some(match &event.kind {
        EventKind::Subscribed(subscribed) => {
            let how = if subscribed.resumed { "resumed" } else { "anew" };
            let tasks = subscribed.tasks.iter().map(|status| format!("; {}", status_words(status)));
            format!(
                "Subscribed {} in epoch {}, {how}{}",
                subscribed.framework,
                subscribed.epoch,
                tasks.collect::<String>()
            )
        }
        EventKind::Offers(offers) => {
            let offers = offers
                .offers
                .iter()
                .map(|offer| format!("{} {} {}", offer.id, offer.agent.id, offer.resources.quantities()));
            format!("Offers {}", offers.collect::<Vec<_>>().join(", "))
        }
        EventKind::Rescind(rescind) => format!("Rescind {} ({:?})", rescind.offer, rescind.reason),
        EventKind::Update(status) => format!("Update {}", status_words(status)),
        EventKind::Answer(answer) => match &answer.outcome {
            Outcome::Committed(0) => format!("Answer {}: done", answer.operation),
            Outcome::Committed(index) => format!("Answer {}: committed at {index}", answer.operation),
            Outcome::Refused(refusal) => {
                format!("Answer {}: refused, {}", answer.operation, refusal.code.as_str())
            }
        },
        EventKind::Failure(failure) => format!("Failure {} {}", failure.agent, failure.state.as_str()),
        EventKind::AgentDraining(notice) => format!("AgentDraining {}", notice.agent),
        EventKind::AgentResumed(notice) => format!("AgentResumed {}", notice.agent),
        EventKind::Fault(fault) => format!("Fault {}", fault.refusal.code.as_str()),
        EventKind::Redirect(redirect) => match redirect.leader_address.as_str() {
            "" => "Redirect to nobody known".to_owned(),
            address => format!("Redirect to {address}"),
        },
        EventKind::Masters(masters) => format!("Masters at {}", masters.addresses.join(", ")),
        EventKind::Heartbeat => return None,
    })
}

/// What a master tells an agent.
pub fn to_agent(message: &ToAgent) -> Option<String> {
    Some(match &message.kind {
        ToAgentKind::Registered(registered) => format!("Registered in epoch {}", registered.epoch),
        ToAgentKind::Launch(launch) => {
            let runs = launch.runs.iter().map(|given| format!("{} as run {}", given.task.id, given.run));
            format!("Launch {}", runs.collect::<Vec<_>>().join(", "))
        }
        ToAgentKind::Kill(kill) => format!("Kill run {}", kill.run),
        ToAgentKind::Acknowledge(word) => format!("Acknowledge run {} #{}", word.run, word.sequence),
        ToAgentKind::Shutdown(shutdown) => format!("Shutdown {}", shutdown.refusal.code.as_str()),
        ToAgentKind::Redirect(redirect) => format!("Redirect to {:?}", redirect.leader_address),
        ToAgentKind::DestroyVolumes(order) => format!("Destroy volumes {}", volumes(&order.volumes)),
        ToAgentKind::Masters(masters) => format!("Masters at {}", masters.addresses.join(", ")),
        ToAgentKind::Heartbeat => return None,
    })
}

/// What an agent tells a master.
pub fn to_master(message: &ToMaster) -> Option<String> {
    Some(match message {
        ToMaster::Register(register) => {
            let runs = register.runs.iter().map(|report| format!("; {}", status_words(&report.status)));
            format!("Register, epoch {} obeyed{}", register.epoch, runs.collect::<String>())
        }
        ToMaster::Update(update) => format!("Update {}", status_words(&update.status)),
        ToMaster::VolumesDestroyed(word) => format!("Destroyed volumes {}", volumes(&word.volumes)),
        ToMaster::Heartbeat => return None,
    })
}

fn volumes(volumes: &[Volume]) -> String {
    let one = |volume: &Volume| format!("{} of {} #{}", volume.id, volume.role, volume.birth);
    volumes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// One status.
pub fn status_words(status: &TaskStatus) -> String {
    let number = if status.sequence > 0 { format!(" #{}", status.sequence) } else { String::new() };
    format!("{}{number} {}", status.task, status.state.as_str())
}

/// What people see.
pub fn changed(event: &Changed) -> Option<String> {
    match event {
        Changed::AgentChanged(view) => Some(format!("sees {} {}", view.info.id, view.state.as_str())),
        Changed::OfferEnded(ended) => {
            Some(format!("ends {} as {:?}", ended.offer, ended.how).to_lowercase_tail())
        }
        Changed::Snapshot(_)
        | Changed::FrameworkChanged(_)
        | Changed::FrameworkRemoved(_)
        | Changed::TaskChanged(_)
        | Changed::OfferMade(_)
        | Changed::RoleChanged(_) => None,
    }
}

/// The end of an offer is a word among others.
trait LowercaseTail {
    fn to_lowercase_tail(self) -> String;
}

impl LowercaseTail for String {
    fn to_lowercase_tail(self) -> String {
        match self.rsplit_once(' ') {
            Some((head, tail)) => format!("{head} {}", tail.to_lowercase()),
            None => self,
        }
    }
}

/// What an entry of the log says.
pub fn log_entry(entry: &master_raft::Entry) -> Vec<String> {
    read_entry(&entry.data)
        .iter()
        .map(|what| format!("[log {} {}]", entry.index, entry_words(what)))
        .collect()
}

fn entry_words(entry: &Entry) -> String {
    match entry {
        Entry::AgentAdmitted(info) => format!("AgentAdmitted {}", info.id),
        Entry::AgentUnreachable(id) => format!("AgentUnreachable {id}"),
        Entry::AgentGone(id) => format!("AgentGone {id}"),
        Entry::FrameworkRegistered(registered) => format!("FrameworkRegistered {}", registered.id),
        Entry::FrameworkDisconnected(inner) => format!("FrameworkDisconnected {}", inner.framework),
        Entry::FrameworkReconnected(id) => format!("FrameworkReconnected {id}"),
        Entry::FrameworkRemoved(id) => format!("FrameworkRemoved {id}"),
        Entry::Accepted(accepted) => {
            let tasks: Vec<String> =
                accepted.parts.iter().flat_map(|part| &part.operations).flat_map(tasks_of).collect();
            format!("Accepted {} {}", accepted.operation, tasks.join(" "))
        }
        Entry::TaskEnded(ended) => format!("TaskEnded {}", status_words(&ended.status)),
        Entry::KillWanted(wanted) => format!("KillWanted {}", wanted.task),
        Entry::TaskAdopted(adopted) => format!("TaskAdopted {}", adopted.task.id),
        Entry::QuotaSet(set) => format!("QuotaSet {}", set.role),
        Entry::WeightSet(set) => format!("WeightSet {}", set.role),
        Entry::TokenCreated(token) => format!("TokenCreated {}", token.id),
        Entry::TokenUsed(id) => format!("TokenUsed {id}"),
        Entry::VolumesForgotten(inner) => format!("VolumesForgotten {}", volumes(&inner.volumes)),
        Entry::AgentDrained(drained) => format!("AgentDrained {}", drained.agent),
        Entry::AgentResumed(id) => format!("AgentResumed {id}"),
        Entry::AgentOperated(operated) => format!("AgentOperated {}", operated.agent),
        Entry::SecretSet(set) => format!("SecretSet {} {}", set.role, set.name),
        Entry::SecretRemoved(removed) => format!("SecretRemoved {} {}", removed.role, removed.name),
        Entry::MastersChanged(_) => "MastersChanged".to_owned(),
        Entry::MastersSettled(_) => "MastersSettled".to_owned(),
        Entry::RightsSet(set) => format!("RightsSet {}", set.principal),
    }
}

//! The JSON of explanations: everything, whatever level the text has.

use proto::explain::Explanation;
use serde::Serialize;

use crate::shapes::Amount;

#[derive(Debug, Serialize)]
pub(crate) struct List {
    items: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    subject: String,
    code: String,
    verdict: String,
    waiting_ms: Option<u64>,
    funnel: Vec<Step>,
    nearest: Vec<Miss>,
    help: Vec<String>,
    tried: Vec<Remedy>,
    untried: u64,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    left: u64,
    fell_out: Vec<String>,
    more: u64,
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Miss {
    agent_id: String,
    hostname: String,
    lacking: Amount,
    rule: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Remedy {
    helps: bool,
    outcome: String,
    code: String,
    steps: Vec<RemedyStep>,
}

#[derive(Debug, Serialize)]
struct RemedyStep {
    kind: String,
    change: String,
    command: Option<String>,
    agent_id: Option<String>,
    framework_id: Option<String>,
    task_id: Option<String>,
    role: Option<String>,
    amount: Option<Amount>,
    weight_milli: Option<u32>,
}

impl From<&proto::explain::Remedy> for Remedy {
    fn from(remedy: &proto::explain::Remedy) -> Self {
        let step = |step: &proto::explain::RemedyStep| RemedyStep {
            kind: step.kind.clone(),
            change: step.change.clone(),
            command: Some(step.command.clone()).filter(|command| !command.is_empty()),
            agent_id: step.agent.as_ref().map(ToString::to_string),
            framework_id: step.framework.as_ref().map(ToString::to_string),
            task_id: step.task.as_ref().map(ToString::to_string),
            role: step.role.as_ref().map(ToString::to_string),
            amount: (!step.amount.is_empty()).then(|| (&step.amount).into()),
            weight_milli: Some(step.weight_milli).filter(|milli| *milli > 0),
        };
        Remedy {
            helps: remedy.helps,
            outcome: remedy.outcome.clone(),
            code: remedy.code.clone(),
            steps: remedy.steps.iter().map(step).collect(),
        }
    }
}

/// Explanations as a document.
pub(crate) fn list(explanations: &[Explanation]) -> List {
    List { items: explanations.iter().map(item).collect() }
}

fn item(explanation: &Explanation) -> Item {
    Item {
        subject: explanation.subject.clone(),
        code: explanation.code.clone(),
        verdict: explanation.verdict.clone(),
        waiting_ms: Some(explanation.waiting_ms).filter(|ms| *ms > 0),
        funnel: explanation
            .funnel
            .iter()
            .map(|step| Step {
                name: step.name.clone(),
                left: step.left,
                fell_out: step.fell_out.clone(),
                more: step.more,
                names: step.names.clone(),
            })
            .collect(),
        nearest: explanation
            .nearest
            .iter()
            .map(|miss| Miss {
                agent_id: miss.agent.to_string(),
                hostname: miss.hostname.clone(),
                lacking: (&miss.lacking).into(),
                rule: miss.rule.clone(),
            })
            .collect(),
        help: explanation.help.clone(),
        tried: explanation.tried.iter().map(Into::into).collect(),
        untried: explanation.untried,
        notes: explanation.notes.clone(),
    }
}

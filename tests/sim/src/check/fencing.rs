//! P6: one leader in an epoch, and an agent obeys no master of an older epoch than it has ever obeyed.

use std::collections::BTreeMap;

use agent_core::{Note, Output};
use proto::agent_link::{ToAgent, ToAgentKind};

use super::{Verdict, broken};
use crate::node::Node;

const PROMISE: &str = "P6 fencing";

/// Who led when, and whom agents have obeyed.
#[derive(Debug, Default)]
pub struct Fencing {
    leaders: BTreeMap<u64, (Node, u32)>,
    obeyed: BTreeMap<Node, u64>,
}

impl Fencing {
    /// A master says that it leads, in one of its lives.
    pub fn leads(&mut self, master: Node, life: u32, term: u64) -> Verdict {
        let (first, of) = *self.leaders.entry(term).or_insert((master, life));
        if (first, of) == (master, life) {
            return Ok(());
        }
        broken(PROMISE, format!("{first} and {master} both lead in term {term}"))
    }

    /// A master was in this term, is now in that, and nobody said anything to it: who is alone disturbs nobody.
    pub fn heard_nobody(&self, master: Node, before: u64, after: u64) -> Verdict {
        if after == before {
            return Ok(());
        }
        broken(PROMISE, format!("{master} went from term {before} to {after} and had heard nobody"))
    }

    /// An agent heard this and wants that.
    pub fn heard(&mut self, agent: Node, message: &ToAgent, wanted: &[Output]) -> Verdict {
        // Any master says where the masters are, and that is added to what an agent knows already: it is nothing to obey.
        let remembers = |output: &Output| matches!(output, Output::Masters(_));
        match message.kind {
            ToAgentKind::Redirect(_) => return Ok(()),
            ToAgentKind::Masters(_) if wanted.iter().all(remembers) => return Ok(()),
            _ => {}
        }
        let obeyed = self.obeyed.entry(agent).or_default();
        if message.epoch.0 >= *obeyed {
            if !wanted.is_empty() {
                *obeyed = message.epoch.0;
            }
            return Ok(());
        }
        let obeys = wanted.iter().find(|output| match output {
            Output::Store { .. }
            | Output::Rewrite(_)
            | Output::ToMaster(_)
            | Output::Contain(_)
            | Output::Leave(_)
            | Output::Masters(_)
            | Output::Note(Note::Joined { .. }) => true,
            Output::Connect { .. } | Output::Disconnect(_) | Output::Ended | Output::Note(_) => false,
        });
        match obeys {
            None => Ok(()),
            Some(output) => {
                let how = format!("{agent} obeyed epoch {} after {obeyed}: {output:?}", message.epoch);
                broken(PROMISE, how)
            }
        }
    }

    /// An agent loses its power before it wrote down whom it obeys.
    pub fn forget(&mut self, agent: Node, epoch: u64) {
        self.obeyed.insert(agent, epoch);
    }
}

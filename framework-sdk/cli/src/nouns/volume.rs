//! Persistent volumes.

use proto::agent::AgentState;
use proto::id::{AgentId, VolumeId};
use proto::operator::{AgentView, Call, EventKind, List, ReplyKind, TaskView};
use proto::quantities::Scalar;
use proto::role::Role;
use serde::Serialize;

use super::{Change, View, matches};
use crate::sheet::Sheet;
use crate::table::{Cell, Tone};

/// A volume, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub(crate) agent: AgentId,
    hostname: String,
    /// How its agent stands: what is on a volume can be had there only.
    state: AgentState,
    pub(crate) role: Role,
    pub(crate) id: VolumeId,
    pub(crate) disk_bytes: u64,
    /// The task that has it.
    task: Option<String>,
}

/// A volume in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    id: String,
    role: String,
    agent_id: String,
    hostname: String,
    agent_state: &'static str,
    disk_bytes: u64,
    /// Null: nobody has it.
    task: Option<String>,
}

fn of_agent(agent: &AgentView) -> Vec<Volume> {
    let one = |role: &Role, id: &VolumeId, disk_bytes: u64| Volume {
        agent: agent.info.id.clone(),
        hostname: agent.info.hostname.clone(),
        state: agent.state,
        role: role.clone(),
        id: id.clone(),
        disk_bytes,
        task: None,
    };
    let all = agent.total.portions().iter().filter_map(|portion| {
        Some(one(
            portion.reservation.as_ref()?,
            portion.volume.as_ref()?,
            portion.amount.scalars.disk_bytes(),
        ))
    });
    all.collect()
}

// === impl Volume ===

impl Volume {
    /// Finds the task that has it.
    pub fn find_task(&mut self, tasks: &[TaskView]) {
        let has = |task: &&TaskView| {
            task.agent == self.agent && task.info.resources.has_volume(&self.role, &self.id)
        };
        self.task = tasks.iter().find(has).map(View::full_name);
    }
}

impl View for Volume {
    const KIND: &'static str = "Volume";
    const LIST: &'static str = "VolumeList";
    const CHANGE: &'static str = "VolumeChange";
    const ONE: &'static str = "volume";
    const MANY: &'static str = "volumes";
    const COLUMNS: &'static [&'static str] = &["VOLUME", "ROLE", "AGENT", "SIZE", "AGENT STATE", "TASK"];
    const WIDE: &'static [&'static str] = &["HOSTNAME"];
    const CALLED_AT_MASTERS: bool = false;
    type Shape<'a> = Shape;

    fn call(list: List) -> Call {
        Call::Agents(list)
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Agents(agents) = reply {
            Some(agents.iter().flat_map(of_agent).collect())
        } else {
            None
        }
    }

    fn of_event(_: EventKind) -> Change<Self> {
        Change::Other
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn full_name(&self) -> String {
        format!("{}/{}/{}", self.agent, self.role, self.id)
    }

    fn aliases(&self) -> Vec<String> {
        Vec::new()
    }

    fn selected(&self, list: &List) -> bool {
        matches(&list.agent, &[self.agent.as_str(), &self.hostname])
    }

    fn cells(&self, _now_ms: u64) -> Vec<Cell> {
        let tone = if self.state == AgentState::Active { Tone::Plain } else { Tone::Bad };
        vec![
            Cell::new(self.id.as_str()),
            Cell::new(self.role.as_str()),
            Cell::new(self.agent.as_str()),
            Cell::new(Scalar::Disk.show(self.disk_bytes)),
            Cell::toned(self.state.as_str(), tone),
            Cell::new(self.task.as_deref().unwrap_or_default()),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        vec![Cell::new(&self.hostname)]
    }

    fn shape(&self) -> Shape {
        Shape {
            id: self.id.to_string(),
            role: self.role.to_string(),
            agent_id: self.agent.to_string(),
            hostname: self.hostname.clone(),
            agent_state: self.state.as_str(),
            disk_bytes: self.disk_bytes,
            task: self.task.clone(),
        }
    }

    fn sheet(&self, _now_ms: u64) -> Sheet {
        let mut sheet = Sheet::default();
        sheet
            .fact("Volume", self.id.as_str())
            .fact("Role", self.role.as_str())
            .fact("Agent", format!("{} ({}), {}", self.hostname, self.agent, self.state.as_str()))
            .fact("Size", Scalar::Disk.show(self.disk_bytes))
            .fact("Task", self.task.as_deref().unwrap_or("none has it"));
        sheet
    }
}

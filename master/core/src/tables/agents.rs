//! Which agent speaks on which link, and what of the pool the allocator has been told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::agent::AgentInfo;
use proto::id::AgentId;

use crate::input::LinkId;

/// The links of connected agents. An agent has one link at most: the newest.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_agent: BTreeMap<AgentId, LinkId>,
    by_link: BTreeMap<LinkId, AgentId>,
    /// Agents that were connected since this leader began.
    heard: BTreeSet<AgentId>,
    /// Agents that the allocator knows, with what they say of themselves as offers show it.
    pooled: BTreeMap<AgentId, Arc<AgentInfo>>,
    /// How many accepts with reservations or volumes are proposed and not yet committed: until none is, the allocator
    /// is ahead of the log.
    transforming: BTreeMap<AgentId, u32>,
}

impl Table {
    /// Binds an agent to a link; returns the link it replaces.
    pub fn link(&mut self, agent: AgentId, link: LinkId) -> Option<LinkId> {
        self.heard.insert(agent.clone());
        let old = self.by_agent.insert(agent.clone(), link).filter(|old| *old != link);
        if let Some(old) = old {
            self.by_link.remove(&old);
        }
        self.by_link.insert(link, agent);
        old
    }

    /// Forgets a link; returns the agent that spoke on it.
    pub fn unlink(&mut self, link: LinkId) -> Option<AgentId> {
        let agent = self.by_link.remove(&link)?;
        self.by_agent.remove(&agent);
        Some(agent)
    }

    /// The link of a connected agent.
    pub fn link_of(&self, agent: &AgentId) -> Option<LinkId> {
        self.by_agent.get(agent).copied()
    }

    /// Whether the agent was connected since this leader began.
    pub fn was_linked(&self, agent: &AgentId) -> bool {
        self.heard.contains(agent)
    }

    /// The agent on a link.
    pub fn on(&self, link: LinkId) -> Option<&AgentId> {
        self.by_link.get(&link)
    }

    /// The agent is in the pool; returns what it said of itself before, when it was there already.
    pub fn pool(&mut self, info: Arc<AgentInfo>) -> Option<Arc<AgentInfo>> {
        self.pooled.insert(info.id.clone(), info)
    }

    /// The agent is not in the pool any more; true when it was before.
    pub fn unpool(&mut self, agent: &AgentId) -> bool {
        self.pooled.remove(agent).is_some()
    }

    /// An agent of the pool.
    pub fn pooled(&self, agent: &AgentId) -> Option<&Arc<AgentInfo>> {
        self.pooled.get(agent)
    }

    /// An accept that reserves or makes volumes is proposed.
    pub fn transforms(&mut self, agent: &AgentId) {
        *self.transforming.entry(agent.clone()).or_default() += 1;
    }

    /// Such an accept is committed; true when no other is on its way.
    pub fn transformed(&mut self, agent: &AgentId) -> bool {
        let Some(left) = self.transforming.get_mut(agent) else { return true };
        *left = left.saturating_sub(1);
        let none = *left == 0;
        if none {
            self.transforming.remove(agent);
        }
        none
    }

    /// All links.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.by_link.keys().copied()
    }
}

//! Shapes: what demands ask for, each kept once, with the agents that could ever have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::agent::AgentInfo;
use proto::attributes::Constraints;
use proto::demand::Demand;
use proto::quantities::Quantities;
use proto::resources::{Amount, Resources};

use crate::bits::Bits;
use crate::slots::Slots;

/// Every shape that some demand has, and every class of agents that some shape needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub shapes: Slots<Shape>,
    by_key: BTreeMap<ShapeKey, u32>,
    pub classes: Slots<Class>,
    by_needs: BTreeMap<ClassKey, u32>,
}

/// What one task needs of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub scalars: Quantities,
    /// So many integers of a range.
    pub ranges: Vec<(Arc<str>, u64)>,
    /// These items of a set.
    pub sets: Vec<(Arc<str>, BTreeSet<String>)>,
    /// The agents that come into question; `None` for all.
    pub class: Option<u32>,
    key: Option<Box<ShapeKey>>,
    /// How many demands have it.
    refs: u32,
    /// How many demands that want more have it.
    pub waiting: u32,
    /// In the allocation of this number it was found to fit no agent.
    pub fits_none: u32,
    /// The same of the agents that had changed.
    pub fits_no_change: u32,
}

/// A set of agents: those that meet constraints and have what is scarce.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    constraints: Constraints,
    scarce: Vec<Arc<str>>,
    /// The agents in it.
    pub agents: Bits,
    refs: u32,
}

type ClassKey = (Constraints, Vec<Arc<str>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ShapeKey {
    fixed: [u64; proto::quantities::FIXED],
    custom: Vec<(Arc<str>, u64)>,
    ranges: Vec<(Arc<str>, u64)>,
    sets: Vec<(Arc<str>, BTreeSet<String>)>,
    class: Option<u32>,
}

// === impl Table ===

impl Table {
    /// Whether the agent with this total belongs to a class.
    fn belongs(class: &Class, info: &AgentInfo, total: &Resources) -> bool {
        let has = |name: &Arc<str>| {
            total.portions().iter().any(|portion| {
                let amount = &portion.amount;
                match &**name {
                    "gpus" => amount.scalars.fixed()[3] > 0,
                    _ => {
                        amount.scalars.custom().iter().any(|(n, _)| n == name)
                            || amount.ranges().iter().any(|(n, _)| n == name)
                            || amount.sets().iter().any(|(n, _)| n == name)
                    }
                }
            })
        };
        class.constraints.allow(info) && class.scarce.iter().all(has)
    }

    /// The shape of a demand, counted once more; made if it is new.
    pub fn hold<'a>(
        &mut self,
        demand: &Demand,
        agents: impl Iterator<Item = (u32, &'a AgentInfo, &'a Resources)>,
    ) -> u32 {
        let class = self.class_of(demand, agents);
        let counts = demand.shape.ranges().iter().map(|(name, ranges)| (name.clone(), ranges.count()));
        let key = ShapeKey {
            fixed: *demand.shape.scalars.fixed(),
            custom: demand.shape.scalars.custom().to_vec(),
            ranges: counts.collect(),
            sets: demand.shape.sets().to_vec(),
            class,
        };
        if let Some(shape) = self.by_key.get(&key) {
            self.shapes[*shape].refs += 1;
            return *shape;
        }
        if let Some(class) = class {
            self.classes[class].refs += 1;
        }
        let shape = Shape { class, key: Some(Box::new(key.clone())), refs: 1, ..Shape::of(&demand.shape) };
        let index = self.shapes.insert(shape);
        self.by_key.insert(key, index);
        index
    }

    /// One demand less has the shape.
    pub fn release(&mut self, index: u32) {
        let shape = &mut self.shapes[index];
        shape.refs = shape.refs.saturating_sub(1);
        if shape.refs > 0 {
            return;
        }
        let gone = self.shapes.remove(index);
        if let Some(key) = gone.key {
            self.by_key.remove(&key);
        }
        if let Some(class) = gone.class {
            let row = &mut self.classes[class];
            row.refs = row.refs.saturating_sub(1);
            if row.refs == 0 {
                let row = self.classes.remove(class);
                self.by_needs.remove(&(row.constraints, row.scarce));
            }
        }
    }

    /// An agent is there or has changed.
    pub fn set_agent(&mut self, agent: u32, info: &AgentInfo, total: &Resources) {
        let classes: Vec<u32> = self.classes.indices().collect();
        for class in classes {
            let belongs = Table::belongs(&self.classes[class], info, total);
            self.classes[class].agents.set(agent, belongs);
        }
    }

    /// An agent is gone.
    pub fn drop_agent(&mut self, agent: u32) {
        let classes: Vec<u32> = self.classes.indices().collect();
        for class in classes {
            self.classes[class].agents.remove(agent);
        }
    }

    /// Whether an agent comes into question for a shape.
    pub fn allows(&self, shape: &Shape, agent: u32) -> bool {
        shape.class.is_none_or(|class| self.classes[class].agents.has(agent))
    }

    fn class_of<'a>(
        &mut self,
        demand: &Demand,
        agents: impl Iterator<Item = (u32, &'a AgentInfo, &'a Resources)>,
    ) -> Option<u32> {
        let scarce = scarce_of(&demand.shape);
        if demand.constraints.0.is_empty() && scarce.is_empty() {
            return None;
        }
        let key = (demand.constraints.clone(), scarce);
        if let Some(class) = self.by_needs.get(&key) {
            return Some(*class);
        }
        let (constraints, scarce) = key.clone();
        let mut class = Class { constraints, scarce, ..Class::default() };
        for (agent, info, total) in agents {
            if Table::belongs(&class, info, total) {
                class.agents.insert(agent);
            }
        }
        let index = self.classes.insert(class);
        self.by_needs.insert(key, index);
        Some(index)
    }
}

/// What of a shape few agents have: everything but cpus, memory, disk and ports.
fn scarce_of(shape: &Amount) -> Vec<Arc<str>> {
    let scalars = shape.scalars.iter().map(|(scalar, _)| Arc::from(scalar.name()));
    let names = scalars
        .chain(shape.ranges().iter().map(|(name, _)| name.clone()))
        .chain(shape.sets().iter().map(|(name, _)| name.clone()));
    let mut scarce: Vec<Arc<str>> =
        names.filter(|name: &Arc<str>| !matches!(&**name, "cpus" | "mem" | "disk" | "ports")).collect();
    scarce.sort();
    scarce.dedup();
    scarce
}

// === impl Shape ===

impl Shape {
    /// A shape that is in no table: for explanations.
    pub fn of(amount: &Amount) -> Self {
        Shape {
            scalars: amount.scalars.clone(),
            ranges: amount.ranges().iter().map(|(name, ranges)| (name.clone(), ranges.count())).collect(),
            sets: amount.sets().to_vec(),
            ..Shape::default()
        }
    }
}

//! The registry as a snapshot, and back.

use std::fmt;

use proto::caller::Caller;
use proto::log::{OperationRecord, RegistryImage, RightsSet, TaskRecord};
use proto::rights::Rights;
use proto::wire::{Malformed, Wire};

use crate::history::History;
use crate::registry::{Framework, Registry};
use crate::secrets;

/// The newest layout that this version knows.
const FORMAT: u64 = 4;
/// From this layout on each volume has a birth: what knows nothing of births must not write them away.
const VOLUMES_HOLD_DATA: u64 = 2;
/// From this layout on there may be secrets: what knows of none must not write them away. Written only where there are any.
const HOLDS_SECRETS: u64 = 3;
/// From this layout on the list of masters may have been changed: what knows of none must not go by that of the founding.
const HOLDS_ROSTER: u64 = 4;

/// Why bytes are not a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadImage {
    /// They do not decode.
    Malformed(Malformed),
    /// They were written by a newer version.
    Newer(u64),
}

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadImage::Malformed(bad) => write!(f, "the snapshot is malformed: {bad}"),
            BadImage::Newer(format) => {
                write!(
                    f,
                    "the snapshot has format {format}, this version reads up to {FORMAT}; upgrade this master"
                )
            }
        }
    }
}

fn remembered(principal: &Caller, rights: &Rights) -> RightsSet {
    RightsSet { principal: principal.clone(), rights: Some(rights.clone()) }
}

impl Registry {
    /// Everything, as bytes.
    pub fn to_image(&self) -> Vec<u8> {
        let frameworks = self.frameworks.values().map(|framework| {
            let mut record = framework.record.clone();
            record.operations = framework
                .operation_order
                .iter()
                .filter_map(|id| {
                    let index = framework.operation(id)?;
                    Some(OperationRecord { operation: id.clone(), index })
                })
                .collect();
            record
        });
        let ended: Vec<TaskRecord> =
            self.frameworks.values().flat_map(|framework| framework.ended.iter().cloned()).collect();
        RegistryImage {
            format: match (&self.roster, self.secrets.is_empty()) {
                (Some(_), _) => HOLDS_ROSTER,
                (None, false) => HOLDS_SECRETS,
                (None, true) => VOLUMES_HOLD_DATA,
            },
            agents: self.agents.values().cloned().collect(),
            frameworks: frameworks.collect(),
            tasks: self.tasks.values().cloned().collect(),
            ended,
            roles: self.roles.values().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            removed_frameworks: self.removed.iter().cloned().collect(),
            rights: self.rights.iter().map(|(who, rights)| remembered(who, rights)).collect(),
            history: self.history.all().cloned().collect(),
            secrets: self.secrets.values().cloned().collect(),
            restored: self.restored,
            roster: self.roster.clone(),
        }
        .encode()
    }

    /// From bytes that [`to_image`](Registry::to_image) wrote; no bytes are an empty registry.
    pub fn from_image(bytes: &[u8]) -> Result<Registry, BadImage> {
        if bytes.is_empty() {
            return Ok(Registry::default());
        }
        let image = RegistryImage::decode(bytes).map_err(BadImage::Malformed)?;
        if image.format > FORMAT {
            return Err(BadImage::Newer(image.format));
        }
        let mut registry = Registry {
            agents: image.agents.into_iter().map(|a| (a.info.id.clone(), a)).collect(),
            roles: image.roles.into_iter().map(|r| (r.role.clone(), r)).collect(),
            tokens: image.tokens.into_iter().map(|t| (t.id.clone(), t)).collect(),
            removed: image.removed_frameworks.into(),
            rights: image.rights.into_iter().filter_map(|r| Some((r.principal, r.rights?))).collect(),
            history: History::of_image(image.history),
            secrets: secrets::of_image(image.secrets),
            restored: image.restored,
            roster: image.roster,
            ..Registry::default()
        };
        for mut record in image.frameworks {
            let operations = std::mem::take(&mut record.operations);
            let id = record.id.clone();
            let mut framework = Framework::new(record);
            operations.into_iter().for_each(|o| framework.remember_operation(o.operation, o.index));
            registry.frameworks.insert(id, framework);
        }
        for task in image.ended {
            if let Some(framework) = registry.frameworks.get_mut(&task.framework) {
                framework.remember_ended(task);
            }
        }
        image.tasks.into_iter().for_each(|task| registry.insert_task(task));
        if image.format < VOLUMES_HOLD_DATA {
            registry.adopt_volumes();
        }
        Ok(registry)
    }
}

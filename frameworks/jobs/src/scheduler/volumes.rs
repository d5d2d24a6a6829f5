//! The volumes of jobs: what is told of them, and what of a job cannot change while they are there.

use framework_sdk::desired::{GroupName, InstanceName};
use framework_sdk::id::VolumeId;
use framework_sdk::reconciler::{KeptVolume, VolumeIs, VolumeStep};
use framework_sdk::refusal::{Code, Refusal};

use super::Jobs;
use super::group::name_of;
use super::report::Note;
use crate::spec::JobSpec;
use crate::store::Job;
use crate::wire;

impl Jobs {
    fn kept(&self, name: &str) -> Vec<KeptVolume> {
        name_of(name).map(|group: GroupName| self.reconciler.volumes_of(&group)).unwrap_or_default()
    }

    /// A job that has volumes says of them what it said when they were made.
    pub(super) fn check_volumes(&self, new: &JobSpec, ephemeral: bool) -> Result<(), Refusal> {
        if ephemeral && !new.volumes.is_empty() {
            let why =
                "a job that is forgotten when it is over cannot have volumes: nobody could destroy them";
            return Err(Refusal::new(Code::Invalid, why).with_help("leave out `volumes`, or keep the job"));
        }
        let Some(stored) = self.state.jobs.get(&new.name) else { return Ok(()) };
        let there = self.kept(&new.name).iter().any(|volume| volume.is != VolumeIs::ToBeDestroyed);
        if !there || stored.spec.shares_volumes(new) {
            return Ok(());
        }
        let message = format!(
            "job {0} has volumes: what it says of their names and sizes, and its role, cannot change while they are there",
            new.name
        );
        let help = format!(
            "leave that as it is, give another name, or destroy them with `stoa job stop --purge {}`",
            new.name
        );
        Err(Refusal::new(Code::Conflict, message).with_help(help))
    }

    pub(super) fn volume_moved(&mut self, instance: &InstanceName, volume: VolumeId, step: VolumeStep) {
        let job = instance.group.to_string();
        if let Some((known, _)) = self.work.get_key_value(job.as_str()) {
            self.touched.insert(known.clone());
        }
        self.report(Note::Volume { job, volume, step });
    }

    /// The volumes of a job as people see them.
    pub(super) fn volumes(&self, name: &str, stored: &Job) -> Vec<wire::VolumeView> {
        let view = |kept: KeptVolume| {
            let spec = stored.spec.volumes.iter().find(|volume| volume.name == kept.name);
            let state = match kept.is {
                VolumeIs::AskedFor => wire::VolumeState::VolumeAskedFor,
                VolumeIs::There => wire::VolumeState::VolumeKept,
                VolumeIs::ToBeDestroyed => wire::VolumeState::VolumeToBeDestroyed,
            };
            wire::VolumeView {
                hostname: self.hostname(stored, &kept),
                volume_id: kept.id.to_string(),
                name: kept.name,
                instance: kept.instance.number,
                state: state.into(),
                agent_id: kept.agent.to_string(),
                size_bytes: spec.map_or(0, |volume| volume.size_bytes),
            }
        };
        self.kept(name).into_iter().map(view).collect()
    }

    fn hostname(&self, stored: &Job, kept: &KeptVolume) -> String {
        if let Some(agent) = self.reconciler.agent(&kept.agent) {
            return agent.hostname.clone();
        }
        let instance = stored.instances.get(&kept.instance.number);
        let there = instance.filter(|instance| instance.agent.as_ref() == Some(&kept.agent));
        there.map(|instance| instance.hostname.clone()).unwrap_or_default()
    }

    /// Who waits for the machine that its volumes are on, and for how long.
    pub(super) fn held_by_volumes(&self, name: &str, stored: &Job) -> Vec<String> {
        if stored.stopped || stored.spec.volumes.is_empty() {
            return Vec::new();
        }
        let waits = |kept: &KeptVolume| {
            let number = kept.instance.number;
            let instance = stored.instances.get(&number);
            let waits = instance.is_none_or(|of| of.state == wire::TaskState::TaskWaiting);
            waits && number < stored.spec.instances && kept.is != VolumeIs::ToBeDestroyed
        };
        let mut waiting: Vec<KeptVolume> = self.kept(name).into_iter().filter(waits).collect();
        waiting.dedup_by_key(|kept| kept.instance.number);
        let anew = match stored.spec.volumes.iter().map(|volume| volume.anew_after).max().flatten() {
            Some(after) => format!("after {} without that it begins anew", crate::spec::show_duration(after)),
            None => "it starts nowhere else".to_owned(),
        };
        let why = |kept: KeptVolume| {
            let host = self.hostname(stored, &kept);
            let host = if host.is_empty() { String::new() } else { format!(" ({host})") };
            let (number, agent) = (kept.instance.number, kept.agent);
            format!("instance {number} waits for its volumes on agent {agent}{host}; {anew}")
        };
        waiting.into_iter().map(why).take(super::orders::HELD_MAX).collect()
    }
}

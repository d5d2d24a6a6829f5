//! A member of the group that keeps the frameworks' state, asked anything by anybody.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use master_store::Store;
use master_store_core::{Config, Input, Member, Note, Output, Ticket, WatchId};
use proto::caller::Caller;
use proto::id::MasterId;
use proto::store::{Call, Watch};
use proto::wire::Wire;
use proto_machine::{Machine, Now, Outbox};

use super::disk::Disk;
use super::{STEPS_MAX, Surroundings, World};
use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(in super::super) const MEMBER: Target = Target::new(
    "member",
    "whatever frameworks ask of their state, each question is answered once, watches go forward, and its image is the same",
    Kind::Wire,
    member,
);

#[derive(Default)]
struct Around {
    disk: Disk,
    asked: BTreeSet<u64>,
    answered: u64,
    /// Up to which revision each watch was told.
    watches: BTreeMap<WatchId, u64>,
}

impl Surroundings<Member> for Around {
    fn perform(
        &mut self,
        member: &mut Member,
        now: Now,
        output: Output,
        out: &mut Outbox<Output>,
    ) -> Result<(), String> {
        match output {
            Output::Persist(persist) => {
                let sequence = self.disk.keep(persist)?;
                member.step(now, Input::Raft(master_raft::Input::Stored { sequence }), out);
            }
            Output::Reply { ticket, .. } => {
                ensure(self.asked.remove(&ticket.0), || format!("{ticket:?} is answered and was not asked"))?;
                self.answered += 1;
            }
            Output::ToWatch { watch, reply } => {
                let told = self.watches.entry(watch).or_default();
                ensure(reply.revision >= *told, || {
                    format!("{watch:?} is told of {} after {told}", reply.revision)
                })?;
                *told = reply.revision;
            }
            Output::CloseWatch { watch } => drop(self.watches.remove(&watch)),
            Output::Note(Note::Unreadable { why, .. }) => {
                return Err(format!("it cannot read its own log: {why}"));
            }
            Output::ToPeer { .. }
            | Output::SnapshotToPeer { .. }
            | Output::Saved { .. }
            | Output::Part { .. }
            | Output::Applied(_)
            | Output::Stands(_)
            | Output::Members(_)
            | Output::Note(_) => {}
        }
        Ok(())
    }
}

fn config() -> Config {
    let mut config = Config::new(MasterId(1), BTreeMap::from([(MasterId(1), "m1:1".to_owned())]), 7);
    config.snapshot_after_bytes = 4_000;
    config.limits.space_bytes = 8_000;
    config.limits.value_bytes = 1_000;
    config
}

fn caller(number: u64) -> Caller {
    match number % 4 {
        0 | 1 => Caller::Framework("jobs".into()),
        2 => Caller::Framework("other".into()),
        _ => Caller::User("ada".into()),
    }
}

fn member(input: &[u8]) -> Verdict {
    let member =
        Member::recover(config(), Disk::default().restarted()).map_err(|unfit| format!("{unfit:?}"))?;
    let mut world = World::new(member, Around::default());
    world.pass(AWAKE)?;
    ensure(world.machine.leads(), || "a member alone leads".to_owned())?;
    let mut next = 0;
    for (kind, step) in tree::messages(input).take(STEPS_MAX) {
        next += 1;
        let caller = caller(tree::number(step, 1));
        match kind {
            1 => {
                let Ok(call) = Call::decode(tree::bytes(step, 2)) else { continue };
                world.around.asked.insert(next);
                world.say(Input::Ask { ticket: Ticket(next), caller, call })?;
            }
            2 => {
                let Ok(ask) = Watch::decode(tree::bytes(step, 2)) else { continue };
                world.around.watches.remove(&WatchId(next));
                world.say(Input::Watch { watch: WatchId(next), caller, ask })?;
            }
            3 => world.pass(tree::number(step, 1))?,
            4 => world.say(Input::WatchClosed { watch: WatchId(tree::number(step, 1)) })?,
            5 => {
                let recovered = world.around.disk.restarted();
                let unfit = |unfit| format!("its own disk is unfit: {unfit:?}");
                world.machine = Member::recover(config(), recovered).map_err(unfit)?;
                world.around.asked.clear();
                world.around.watches.clear();
                world.pass(AWAKE)?;
                ensure(world.machine.leads(), || "a member alone leads again".to_owned())?;
            }
            6 => world.say(Input::Save { ticket: Ticket(next) })?,
            // What a member alone has no peer for.
            7 => {
                let bytes = Bytes::copy_from_slice(tree::bytes(step, 2));
                world.say(Input::Raft(master_raft::Input::Peer { from: master_raft::NodeId(2), bytes }))?;
            }
            _ => {}
        }
    }
    world.pass(AWAKE)?;
    ensure(world.around.asked.is_empty(), || format!("{:?} were never answered", world.around.asked))?;
    let store = world.machine.store();
    let again =
        Store::from_image(&store.to_image()).map_err(|bad| format!("its own image is refused: {bad}"))?;
    ensure(again == *store, || "its image gives another store".to_owned())?;
    Ok(if world.around.answered > 0 { Taken::Yes } else { Taken::No })
}

/// A member alone leads after this, in milliseconds.
const AWAKE: u64 = 1_200;

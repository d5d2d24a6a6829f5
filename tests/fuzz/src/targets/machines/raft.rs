//! Consensus, with peers that follow no protocol.

use bytes::Bytes;
use master_raft::{Config, Image, Input, NodeId, Output, Raft, Role};
use prost::Message as _;
use proto_machine::{Machine, Now, Outbox};
use proto_wire::raft as wire;

use super::disk::Disk;
use super::{STEPS_MAX, Surroundings, World};
use crate::engine::tree;
use crate::target::{Kind, Taken, Target, Verdict, ensure};

const ME: u64 = 1;
const SEED: u64 = 7;

pub(in super::super) const RAFT: Target = Target::new(
    "raft",
    "whatever peers send, a member votes once a term, takes nothing committed back, and starts again from its disk",
    Kind::Wire,
    raft,
);

#[derive(Default)]
struct Around {
    disk: Disk,
    committed: u64,
    refused: bool,
}

impl Surroundings<Raft> for Around {
    fn perform(
        &mut self,
        raft: &mut Raft,
        now: Now,
        output: Output,
        out: &mut Outbox<Output>,
    ) -> Result<(), String> {
        match output {
            Output::Persist(persist) => {
                let sequence = self.disk.keep(persist)?;
                raft.step(now, Input::Stored { sequence }, out);
            }
            Output::Commit { index, .. } => {
                ensure(index > self.committed, || format!("{index} is committed after {}", self.committed))?;
                self.leave_out(index - 1)?;
                self.committed = index;
            }
            Output::InstallSnapshot { index, .. } => {
                ensure(index > self.committed, || format!("a snapshot of {index} after {}", self.committed))?;
                self.committed = index;
            }
            Output::SnapshotWanted { index } => {
                // What it covers is soon nowhere else.
                self.leave_out(index)?;
                let image = Image::Bytes(Bytes::from_static(b"image"));
                raft.step(now, Input::SnapshotTaken { index, image }, out);
            }
            Output::Refused { .. } => self.refused = true,
            Output::Send { .. }
            | Output::SendSnapshot { .. }
            | Output::Role(_)
            | Output::Dropped { .. }
            | Output::ReadReady { .. }
            | Output::ReadDropped { .. }
            | Output::Members { .. }
            | Output::MembersChanged { .. } => {}
        }
        Ok(())
    }
}

impl Around {
    /// Up to this entry, what was not handed out is of consensus itself.
    fn leave_out(&mut self, index: u64) -> Result<(), String> {
        for at in self.committed + 1..=index {
            ensure(self.disk.is_of_consensus(at), || format!("{at} is left out after {}", self.committed))?;
        }
        self.committed = self.committed.max(index);
        Ok(())
    }
}

fn config() -> Config {
    let mut config = Config::new(NodeId(ME), &[NodeId(1), NodeId(2), NodeId(3)], SEED);
    config.snapshot_after_bytes = 2_000;
    config
}

fn raft(input: &[u8]) -> Verdict {
    let machine =
        Raft::recover(config(), Disk::default().restarted()).map_err(|unfit| format!("{unfit:?}"))?;
    let mut world = World::new(machine, Around::default());
    let mut taken = Taken::No;
    for (kind, step) in tree::messages(input).take(STEPS_MAX) {
        match kind {
            1 => {
                world.around.refused = false;
                world.say(peer(&world.machine, step))?;
                if !world.around.refused {
                    taken = Taken::Yes;
                }
            }
            2 => world.pass(tree::number(step, 1))?,
            3 => world.say(Input::Propose {
                tag: tree::number(step, 1),
                data: Bytes::copy_from_slice(tree::bytes(step, 2)),
            })?,
            4 => world.say(Input::ReadIndex { tag: tree::number(step, 1) })?,
            5 => {
                let recovered = world.around.disk.restarted();
                world.around.committed = 0;
                let unfit = |unfit| format!("its own disk is unfit: {unfit:?}");
                world.machine = Raft::recover(config(), recovered).map_err(unfit)?;
            }
            6 => world.say(Input::TransferLeader { to: NodeId(tree::number(step, 1)) })?,
            7 => {
                let (peer, delivered) = (NodeId(tree::number(step, 1)), tree::number(step, 2) == 1);
                world.say(Input::SnapshotReport { peer, delivered })?;
            }
            _ => {}
        }
    }
    world.pass(100)?;
    Ok(taken)
}

/// What a peer sends: field 1 says who it is, field 2 the message; with field 3 its numbers are near those that hold now.
fn peer(raft: &Raft, step: &[u8]) -> Input {
    let from = NodeId(tree::number(step, 1));
    let bytes = Bytes::copy_from_slice(tree::bytes(step, 2));
    let Ok(mut message) = wire::Message::decode(bytes.clone()) else { return Input::Peer { from, bytes } };
    if tree::number(step, 3) != 0 {
        let status = raft.status();
        let (Role::Leader { term } | Role::Follower { term, .. } | Role::Candidate { term }) = status.role;
        let near = |number: u64, now: u64| (now + number % 4).saturating_sub(1);
        (message.to, message.from) = (ME, from.0);
        message.term = near(message.term, term);
        message.index = near(message.index, status.last_index);
        message.log_term = message.log_term.min(message.term);
        message.commit = message.commit.min(message.index);
        for (entry, index) in message.entries.iter_mut().zip(message.index + 1..) {
            entry.index = index;
            entry.term = entry.term.clamp(message.log_term.min(message.term), message.term);
        }
    }
    let bytes = Bytes::from(message.encode_to_vec());
    if message.snapshot.is_some() {
        return Input::PeerSnapshot { from, bytes, image: Image::Bytes(Bytes::from_static(b"image")) };
    }
    Input::Peer { from, bytes }
}

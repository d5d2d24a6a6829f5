//! The agents' conversation on the wire.

use proto_wire::agent as w;

use crate::agent_link::{
    Acknowledge, DestroyVolumes, ExecInput, ExecOutput, ExecStart, Kill, Launch, LogsChunk, LogsRequest,
    Register, Registered, RunReport, SecretContent, SecretsReply, SecretsRequest, Shutdown, TaskRun,
    TerminalSize, ToAgent, ToAgentKind, ToMaster, Update, VolumesDestroyed,
};
use crate::scheduler::Redirect;
use crate::wire::{Malformed, OneOf, Plain, Wire};

message!(RunReport = w::RunReport {
    plain framework: framework_id,
    plain run: run_id,
    req status: status,
    req task: task,
});
message!(Register = w::Register { req agent: agent, plain epoch: epoch, rep runs: runs });
message!(VolumesDestroyed = w::VolumesDestroyed { rep volumes: volumes });
message!(Update = w::Update { plain framework: framework_id, req status: status });

oneof!(ToMaster = w::to_master::Kind {
    msg Register: Register,
    msg Update: Update,
    unit Heartbeat: Heartbeat,
    msg VolumesDestroyed: VolumesDestroyed,
});
only_oneof! { ToMaster = w::ToMaster; }

message!(Registered = w::Registered {
    plain epoch: epoch,
    plain heartbeat_interval: heartbeat_interval_ms,
    plain silence_limit: silence_limit_ms,
});
message!(TaskRun = w::TaskRun {
    plain run: run_id,
    plain framework: framework_id,
    req task: task,
    plain principal: principal,
    rep volumes: volumes,
});
message!(Launch = w::Launch { rep runs: runs });
message!(Kill = w::Kill { plain run: run_id, plain grace: grace_ms });
message!(Acknowledge = w::Acknowledge { plain run: run_id, plain sequence: sequence });
message!(DestroyVolumes = w::DestroyVolumes { rep volumes: volumes });
message!(Shutdown = w::Shutdown { req refusal: refusal });

impl OneOf<w::to_agent::Kind> for ToAgentKind {
    fn to_oneof(&self) -> w::to_agent::Kind {
        use w::to_agent::Kind as K;
        match self {
            ToAgentKind::Registered(inner) => K::Registered(inner.to_wire()),
            ToAgentKind::Launch(inner) => K::Launch(inner.to_wire()),
            ToAgentKind::Kill(inner) => K::Kill(inner.to_wire()),
            ToAgentKind::Acknowledge(inner) => K::Acknowledge(inner.to_wire()),
            ToAgentKind::Shutdown(inner) => K::Shutdown(inner.to_wire()),
            ToAgentKind::Redirect(inner) => {
                K::Redirect(w::Redirect { leader_address: inner.leader_address.clone() })
            }
            ToAgentKind::Heartbeat => K::Heartbeat(Default::default()),
            ToAgentKind::DestroyVolumes(inner) => K::DestroyVolumes(inner.to_wire()),
            ToAgentKind::Masters(inner) => K::Masters(inner.to_wire()),
        }
    }
    fn from_oneof(kind: w::to_agent::Kind) -> Result<Self, Malformed> {
        use w::to_agent::Kind as K;
        Ok(match kind {
            K::Registered(m) => ToAgentKind::Registered(
                Wire::from_wire(m).map_err(|bad: Malformed| bad.within("registered"))?,
            ),
            K::Launch(m) => {
                ToAgentKind::Launch(Wire::from_wire(m).map_err(|bad: Malformed| bad.within("launch"))?)
            }
            K::Kill(m) => ToAgentKind::Kill(Wire::from_wire(m).map_err(|bad: Malformed| bad.within("kill"))?),
            K::Acknowledge(m) => ToAgentKind::Acknowledge(
                Wire::from_wire(m).map_err(|bad: Malformed| bad.within("acknowledge"))?,
            ),
            K::Shutdown(m) => {
                ToAgentKind::Shutdown(Wire::from_wire(m).map_err(|bad: Malformed| bad.within("shutdown"))?)
            }
            K::Redirect(m) => ToAgentKind::Redirect(Redirect { leader_address: m.leader_address }),
            K::Heartbeat(_) => ToAgentKind::Heartbeat,
            K::Masters(m) => ToAgentKind::Masters(Wire::from_wire(m)?),
            K::DestroyVolumes(m) => ToAgentKind::DestroyVolumes(
                Wire::from_wire(m).map_err(|bad: Malformed| bad.within("destroy_volumes"))?,
            ),
        })
    }
}
impl Wire for ToAgent {
    type Message = w::ToAgent;
    fn to_wire(&self) -> w::ToAgent {
        w::ToAgent { epoch: self.epoch.to_plain(), kind: Some(self.kind.to_oneof()) }
    }
    fn from_wire(message: w::ToAgent) -> Result<Self, Malformed> {
        // A kind of a later version: masters may be newer than agents, and whoever does not know of it needs it not.
        let kind = message.kind.map_or(Ok(ToAgentKind::Heartbeat), OneOf::from_oneof)?;
        Ok(ToAgent { epoch: field_from!(plain message.epoch, "epoch"), kind })
    }
}

message!(LogsRequest = w::LogsRequest {
    plain framework: framework_id,
    plain task: task_id,
    plain stderr: stderr,
    plain follow: follow,
    optp tail_lines: tail_lines,
    optp offset: offset,
});
message!(TerminalSize = w::TerminalSize { plain columns: columns, plain rows: rows });
message!(ExecStart = w::ExecStart {
    plain framework: framework_id,
    plain task: task_id,
    plain argv: argv,
    opt terminal: terminal,
    plain term: term,
});
oneof!(ExecInput = w::exec_input::Kind {
    msg Start: Start,
    text Stdin: Stdin,
    unit StdinEnd: StdinEnd,
    msg Resize: Resize,
});
oneof!(ExecOutput = w::exec_output::Kind { text Stdout: Stdout, text Stderr: Stderr, msg Exit: Exit });
only_oneof! {
    ExecInput = w::ExecInput;
    ExecOutput = w::ExecOutput;
}
message!(LogsChunk = w::LogsChunk { plain data: data, plain offset: offset });
message!(SecretsRequest = w::SecretsRequest { plain run: run_id, plain framework: framework_id, plain task: task_id });
message!(SecretContent = w::SecretContent { plain file: file, plain value: value });
message!(SecretsReply = w::SecretsReply { rep files: files });

//! The switchboard: which input leads to which verb. No decision is taken here.

use std::time::Duration;

use proto::agent_link::{ToAgent, ToAgentKind};
use proto_machine::{Haste, Instant, Machine, Now, Outbox};

use crate::config::{Config, GATHER_WHEN_BUSY, RUNS_WHEN_BUSY};
use crate::image;
use crate::input::{Input, LinkId};
use crate::output::Output;
use crate::state::State;
use crate::verbs::{acknowledge, check, contain, join, kill, launch, leave, report, restore, volumes};

/// An agent.
pub struct Agent {
    state: State,
}

impl Agent {
    /// An agent that knows nothing yet: tell it `Restore`, then `Recovered`.
    pub fn new(config: Config) -> Self {
        Agent { state: State::new(config) }
    }

    /// How many runs are not over.
    pub fn runs_alive(&self) -> usize {
        self.state.runs.alive()
    }

    /// How many runs are not forgotten.
    pub fn runs_known(&self) -> usize {
        self.state.runs.len()
    }

    /// Whether a master has admitted it and still talks to it.
    pub fn is_joined(&self) -> bool {
        self.state.membership.joined()
    }

    fn hear(&mut self, now: Now, link: LinkId, message: ToAgent, out: &mut Outbox<Output>) {
        let s = &mut self.state;
        if !s.membership.listens_to(link) {
            return;
        }
        s.membership.heard(now.monotonic);
        let ToAgent { epoch, kind } = message;
        if let ToAgentKind::Redirect(redirect) = kind {
            // A hint from one that does not lead: it is followed, not obeyed, so its epoch counts for nothing.
            return join::redirected(s, now, redirect, out);
        }
        if let ToAgentKind::Masters(masters) = kind {
            // The same: where masters are is no order.
            return join::told_of(s, &masters, out);
        }
        if !join::obeys(s, now, epoch, out) {
            return;
        }
        match kind {
            ToAgentKind::Registered(registered) => join::registered(s, now, &registered, out),
            ToAgentKind::Launch(order) => launch::launch(s, now, order, out),
            ToAgentKind::Kill(order) => kill::requested(s, now, &order, out),
            ToAgentKind::Acknowledge(word) => acknowledge::acknowledge(s, now, &word, out),
            ToAgentKind::DestroyVolumes(order) => volumes::destroy(s, order, out),
            ToAgentKind::Shutdown(order) => leave::leave(s, now, order.refusal, out),
            ToAgentKind::Heartbeat | ToAgentKind::Redirect(_) | ToAgentKind::Masters(_) => {}
        }
    }
}

impl Machine for Agent {
    type Input = Input;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input, out: &mut Outbox<Output>) {
        let s = &mut self.state;
        match input {
            Input::Restore(restore) => restore::restore(s, restore),
            Input::Recovered(found) => {
                restore::recovered(s, now, found, out);
                join::start(s, now, out);
            }
            Input::Linked(link) => join::linked(s, now, link, out),
            Input::Unlinked(link) => join::unlinked(s, now, link, out),
            Input::FromMaster(link, message) => self.hear(now, link, message, out),
            Input::Container(event) => contain::contain(s, now, event, out),
            Input::VolumeRemoved(volume) => volumes::removed(s, now, volume, out),
            Input::InfoChanged(info) => join::info_changed(s, now, info, out),
            Input::Room(room) => launch::room(s, room),
            Input::EndRuns => leave::end_runs(s, now, out),
            Input::Rewrite => out.push(Output::Rewrite(image::image(s))),
        }
    }

    fn wake(&mut self, now: Now, out: &mut Outbox<Output>) {
        join::wake(&mut self.state, now, out);
        report::wake(&mut self.state, now, out);
        acknowledge::wake(&mut self.state, now, out);
        check::wake(&mut self.state, now, out);
    }

    fn wake_at(&self) -> Option<Instant> {
        let s = &self.state;
        [s.membership.due_at(), s.updates.due(), s.parting.due(), s.checks.due()].into_iter().flatten().min()
    }

    /// What becomes of containers can wait, and what the master says to it; a launch or a kill never waits behind these.
    fn haste(input: &Input) -> Haste {
        match input {
            Input::Container(_) | Input::VolumeRemoved(_) => Haste::Waits,
            Input::FromMaster(_, ToAgent { kind: ToAgentKind::Acknowledge(_), .. }) => Haste::Waits,
            Input::FromMaster(..)
            | Input::Restore(_)
            | Input::Recovered(_)
            | Input::Linked(_)
            | Input::Unlinked(_)
            | Input::InfoChanged(_)
            | Input::Room(_)
            | Input::EndRuns
            | Input::Rewrite => Haste::Now,
        }
    }

    fn gathers_for(&self, now: Instant) -> Duration {
        let s = &self.state;
        let busy = s.runs.alive() > RUNS_WHEN_BUSY && s.updates.are_many(now);
        if busy { GATHER_WHEN_BUSY } else { Duration::ZERO }
    }
}

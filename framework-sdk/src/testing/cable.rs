//! `Cable`: one instance's own way to the pretend masters, which a test cuts.

use std::sync::Arc;

use proto::store;

use super::{Shared, State};
use crate::profile::Profile;

/// Says of a call to the store whether it is meant.
type Which = Box<dyn Fn(&store::Call) -> bool + Send>;

/// Where a cable is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before what is asked is carried out.
    Before,
    /// After it is carried out: the answer is lost.
    After,
}

/// One instance's own way to the pretend masters, with its credentials. Cut, it is as if the instance was killed, or its machine
/// cut off: what stands by it breaks, and nobody is reached.
pub struct Cable {
    shared: Arc<Shared>,
    number: usize,
    profile: Profile,
}

/// How a way to the masters is.
pub(super) struct Wiring {
    /// The masters' doors, in their order.
    pub addresses: Vec<String>,
    pub is_cut: bool,
    /// It is cut at the next call of which this holds.
    cut_at: Option<(Which, Cut)>,
}

// === impl Cable ===

impl Cable {
    pub(super) fn new(shared: Arc<Shared>, number: usize, profile: Profile) -> Self {
        Cable { shared, number, profile }
    }

    /// What the instance connects with.
    pub fn profile(&self) -> Profile {
        self.profile.clone()
    }

    /// Cuts it.
    pub fn cut(&self) {
        let mut state = self.shared.lock();
        state.cut(self.number);
        self.shared.flush(state);
    }

    /// Cuts it at the next call to the store of which this holds.
    pub fn cut_at(&self, holds: impl Fn(&store::Call) -> bool + Send + 'static, cut: Cut) {
        self.shared.lock().cables[self.number].cut_at = Some((Box::new(holds), cut));
    }

    /// Mends it: the masters can be reached again.
    pub fn mend(&self) {
        let mut state = self.shared.lock();
        state.cables[self.number].is_cut = false;
        self.shared.notify(state);
    }

    /// Resolves when it is cut.
    pub async fn until_cut(&self) {
        let mut changed = self.shared.changed.subscribe();
        while !self.shared.lock().cables[self.number].is_cut {
            // The sender lives as long as `self`, so this never fails.
            let _ = changed.changed().await;
        }
    }
}

// === impl Wiring ===

impl Wiring {
    pub fn new(addresses: Vec<String>) -> Self {
        Wiring { addresses, is_cut: false, cut_at: None }
    }

    /// Where it is to be cut, if this is the call.
    pub fn takes(&mut self, call: &store::Call) -> Option<Cut> {
        self.cut_at.take_if(|(holds, _)| holds(call)).map(|(_, cut)| cut)
    }
}

// === impl State ===

impl State {
    pub(super) fn cut(&mut self, cable: usize) {
        self.cables[cable].is_cut = true;
        if self.session.as_ref().is_some_and(|session| session.cable == cable) {
            self.fake.disconnect();
            self.end_session();
        }
    }
}

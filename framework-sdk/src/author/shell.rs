//! The shell of a framework: saves what has to be kept, and tells what happens.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, mpsc as blocking};

use framework_sdk_core::reconciler::{Change, Event, Order, Output, Ticket};
use tracing::warn;

use super::kept::{Kept, changes};
use super::listeners::Listeners;
use crate::run::Teller;
use crate::store::{StateStore, StoreError};

/// Takes an event in, or says why not: then it is told again.
pub(super) type OnTask =
    Box<dyn FnMut(&Event, &mut Kept<'_>) -> Result<(), Box<dyn Error + Send + Sync>> + Send>;

#[derive(Debug, thiserror::Error)]
#[error("what the framework should keep could not be saved")]
pub(super) struct NotSaved(#[source] pub StoreError);

/// Does what the reconciler wants of its shell.
pub(super) struct Shell {
    pub store: Box<dyn StateStore>,
    pub fence: u64,
    /// What the author keeps.
    pub own: BTreeMap<String, String>,
    pub on_task: Option<OnTask>,
    pub listeners: Arc<Listeners>,
    pub given: blocking::Receiver<Teller<Order>>,
    pub teller: Option<Teller<Order>>,
}

impl Drop for Shell {
    /// The framework's thread is over, however it ended: whoever listens must learn it.
    fn drop(&mut self) {
        self.listeners.close();
    }
}

impl Shell {
    pub fn perform(&mut self, output: Output) -> Result<(), NotSaved> {
        match output {
            Output::Save(changes) => self.store.commit(&changes, self.fence).map_err(NotSaved),
            Output::Tell(event, ticket) => {
                if self.is_taken_in(&event, ticket)? {
                    self.listeners.tell(&event);
                }
                Ok(())
            }
        }
    }

    fn is_taken_in(&mut self, event: &Event, ticket: Option<Ticket>) -> Result<bool, NotSaved> {
        let (Some(ticket), Some(take_in)) = (ticket, &mut self.on_task) else { return Ok(true) };
        let mut kept = Kept::new(&self.own);
        let outcome = take_in(event, &mut kept);
        match &outcome {
            Ok(()) => {
                let changed = kept.into_changed();
                if !changed.is_empty() {
                    self.store.commit(&changes(&changed), self.fence).map_err(NotSaved)?;
                }
                for (key, value) in changed {
                    Change { key, value }.apply_to(&mut self.own);
                }
            }
            Err(error) => warn!(%error, %event, "not taken in; it will be told again"),
        }
        if self.teller.is_none() {
            self.teller = self.given.recv().ok();
        }
        if let Some(teller) = &self.teller {
            teller.tell_now(Order::TakenIn(ticket, outcome.is_ok()));
        }
        Ok(outcome.is_ok())
    }
}

//! `Listeners`: who wants to hear what happens.

use std::sync::{Mutex, PoisonError};

use framework_sdk_core::desired::GroupName;
use framework_sdk_core::reconciler::Event;
use tokio::sync::mpsc;

/// Who wants to hear what.
#[derive(Debug)]
pub(super) struct Listeners(Mutex<Option<Vec<Listener>>>);

#[derive(Debug)]
struct Listener {
    /// `None`: of everything.
    group: Option<GroupName>,
    events: mpsc::UnboundedSender<Event>,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners(Mutex::new(Some(Vec::new())))
    }
}

// === impl Listeners ===

impl Listeners {
    pub fn listen(&self, group: Option<GroupName>) -> mpsc::UnboundedReceiver<Event> {
        let (events, heard) = mpsc::unbounded_channel();
        if let Some(listeners) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            listeners.push(Listener { group, events });
        }
        heard
    }

    pub fn tell(&self, event: &Event) {
        let concerns = |listener: &Listener| match (&listener.group, event) {
            (None, _) | (Some(_), Event::Ended(_)) => true,
            (Some(group), event) => event.group() == Some(group),
        };
        if let Some(listeners) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            listeners.retain(|listener| !concerns(listener) || listener.events.send(event.clone()).is_ok());
        }
        if matches!(event, Event::Ended(_)) {
            self.close();
        }
    }

    /// Nothing more will be told.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

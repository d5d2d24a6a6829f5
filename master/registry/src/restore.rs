//! A log that is begun anew from a backup: what the old one gave after it must not be given again, nor be believed to be known.

use std::borrow::Cow;

use proto::id::RunId;
use proto::log::Restored;
use proto::operator::Happened;

use crate::history::History;
use crate::registry::Registry;

impl Registry {
    /// The registry of a log that begins anew at `restored.index`.
    ///
    /// Its history begins anew, too: events that followed in the old log had numbers that would be given again. The first one
    /// has the number of its place in the log, which is beyond them; whoever follows sees that some are missing.
    pub fn restored(mut self, restored: Restored) -> Registry {
        let told = Happened {
            sequence: restored.index,
            at_ms: restored.at_ms,
            index: restored.index,
            kind: Cow::Borrowed("restored"),
            message: format!("from a backup that knew the log up to {}", restored.known_index),
            ..Happened::default()
        };
        self.history = History::of_image(vec![told.into()]);
        self.restored = Some(restored);
        self
    }

    /// Whether a run was launched by the log that a backup was made of. What became of such a run only its agent knows.
    pub fn is_of_before(&self, run: RunId) -> bool {
        self.restored.is_some_and(|restored| run < RunId::at(restored.index, 0))
    }
}

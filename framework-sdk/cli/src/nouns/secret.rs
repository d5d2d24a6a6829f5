//! Secrets: which there are. What they hold is nobody's to read.

use proto::operator::{Call, EventKind, List, ReplyKind, SecretView};
use proto::quantities::Scalar;
use serde::Serialize;

use super::{Change, View};
use crate::duration::show_age;
use crate::sheet::Sheet;
use crate::table::Cell;

/// A secret in JSON.
#[derive(Debug, Serialize)]
pub struct Shape {
    name: String,
    role: String,
    version: u64,
    size_bytes: u64,
    changed_ms: u64,
}

impl View for SecretView {
    const KIND: &'static str = "Secret";
    const LIST: &'static str = "SecretList";
    const CHANGE: &'static str = "SecretChange";
    const ONE: &'static str = "secret";
    const MANY: &'static str = "secrets";
    const COLUMNS: &'static [&'static str] = &["SECRET", "ROLE", "VERSION", "SIZE", "CHANGED"];
    const WIDE: &'static [&'static str] = &[];
    type Shape<'a> = Shape;

    fn call(_: List) -> Call {
        Call::Secrets
    }

    fn of_reply(reply: ReplyKind) -> Option<Vec<Self>> {
        if let ReplyKind::Secrets(secrets) = reply { Some(secrets) } else { None }
    }

    fn of_event(_: EventKind) -> Change<Self> {
        Change::Other
    }

    fn id(&self) -> String {
        self.name.to_string()
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.role, self.name)
    }

    fn aliases(&self) -> Vec<String> {
        Vec::new()
    }

    fn selected(&self, _: &List) -> bool {
        true
    }

    fn cells(&self, now_ms: u64) -> Vec<Cell> {
        vec![
            Cell::new(self.name.as_str()),
            Cell::new(self.role.as_str()),
            Cell::new(self.version.to_string()),
            Cell::new(Scalar::Mem.show(self.size_bytes)),
            Cell::new(show_age(self.changed_ms, now_ms)),
        ]
    }

    fn wide_cells(&self, _now_ms: u64) -> Vec<Cell> {
        Vec::new()
    }

    fn shape(&self) -> Shape {
        Shape {
            name: self.name.to_string(),
            role: self.role.to_string(),
            version: self.version,
            size_bytes: self.size_bytes,
            changed_ms: self.changed_ms,
        }
    }

    fn sheet(&self, now_ms: u64) -> Sheet {
        let mut sheet = Sheet::default();
        sheet
            .fact("Secret", self.name.as_str())
            .fact("Role", format!("{}, and those below it", self.role))
            .fact("Version", self.version.to_string())
            .fact("Size", Scalar::Mem.show(self.size_bytes))
            .fact("Changed", format!("{} ago", show_age(self.changed_ms, now_ms)));
        sheet
    }
}

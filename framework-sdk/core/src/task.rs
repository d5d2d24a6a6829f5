//! Tasks in one line, for a start.

use std::collections::BTreeMap;

use proto::check::Checks;
use proto::id::TaskId;
use proto::resources::Resources;
use proto::task::{CommandInfo, TaskInfo};

/// A task that runs a script by `/bin/sh -c`; everything else as by default, its resources still to be placed.
pub fn shell(id: TaskId, script: &str) -> TaskInfo {
    command(id, CommandInfo { argv: vec![script.to_owned()], shell: true, ..CommandInfo::default() })
}

/// A task that runs a program; everything else as by default, its resources still to be placed.
pub fn argv<S: Into<String>>(id: TaskId, argv: impl IntoIterator<Item = S>) -> TaskInfo {
    command(id, CommandInfo { argv: argv.into_iter().map(Into::into).collect(), ..CommandInfo::default() })
}

fn command(id: TaskId, command: CommandInfo) -> TaskInfo {
    TaskInfo {
        name: id.to_string(),
        id,
        command,
        resources: Resources::EMPTY,
        kill_grace: TaskInfo::KILL_GRACE_DEFAULT,
        labels: BTreeMap::new(),
        group: None,
        checks: Checks::default(),
        longest_run: None,
    }
}

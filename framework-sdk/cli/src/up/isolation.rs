//! What isolation tasks do not get on this machine, in one line: which kinds as the agents tell it, why as they log it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use proto::attributes::{AttributeValue, Attributes};

/// The attributes that say what isolation an agent has.
const PREFIX: &str = "isolation/";

/// A log may have grown for months; an agent that has just started said its isolation within the last of it.
const TAIL_BYTES: u64 = 1 << 20;

/// The end of a log.
pub(super) fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line for people; `None` when every agent has all of it. `log` is that of an agent.
pub(super) fn line<'a>(agents: impl IntoIterator<Item = &'a Attributes>, log: &str) -> Option<String> {
    let off: BTreeSet<&str> = agents.into_iter().flat_map(kinds_off).collect();
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for kind in off {
        let why = why(log, kind).unwrap_or_else(|| "the log of the agent says why".to_owned());
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, kinds)) => kinds.push(kind),
            None => reasons.push((why, vec![kind])),
        }
    }
    let told: Vec<String> =
        reasons.into_iter().map(|(why, kinds)| format!("{} ({why})", kinds.join(", "))).collect();
    (!told.is_empty()).then(|| format!("not in force for tasks: {}", told.join("; ")))
}

fn kinds_off(attributes: &Attributes) -> impl Iterator<Item = &str> {
    attributes.0.iter().filter_map(|(name, value)| {
        let off = matches!(value, AttributeValue::Text(word) if word == "off");
        name.strip_prefix(PREFIX).filter(|_| off)
    })
}

/// The reason in an agent's log: `isolation KIND off REASON`, the last one said.
fn why(log: &str, kind: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let (_, said) = line.split_once("isolation ")?;
        // Nothing but the message where the log is JSON.
        let mut words = said.split('"').next()?.split_whitespace();
        let found = words.next() == Some(kind) && words.next() == Some("off");
        let why = words.collect::<Vec<_>>().join(" ");
        (found && !why.is_empty()).then_some(why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(kinds: &[(&str, &str)]) -> Attributes {
        let attribute = |(kind, word): &(&str, &str)| {
            (format!("{PREFIX}{kind}"), AttributeValue::Text((*word).to_owned()))
        };
        Attributes(kinds.iter().map(attribute).collect())
    }

    #[test]
    fn nothing_is_said_where_everything_holds() {
        let whole = agent(&[("cpu", "enforced"), ("users", "enforced")]);
        assert_eq!(line([&whole, &whole], ""), None);
        assert_eq!(line([], ""), None);
    }

    #[test]
    fn what_does_not_hold_is_told_with_its_reason() {
        let log = "12:00 INFO agent: isolation cpu              enforced  cgroup v1\n\
                   12:00 INFO agent: isolation memory           off       denied: Permission denied (os error 13)\n\
                   12:00 INFO agent: isolation pids             off       denied: Permission denied (os error 13)\n\
                   {\"message\":\"isolation users            off       not permitted\",\"x\":1}\n";
        let some = agent(&[("cpu", "enforced"), ("memory", "off"), ("users", "off")]);
        let other = agent(&[("pids", "off"), ("kill", "off"), ("memory", "off")]);
        assert_eq!(
            line([&some, &other], log).as_deref(),
            Some(
                "not in force for tasks: kill (the log of the agent says why); memory, pids (denied: Permission \
                 denied (os error 13)); users (not permitted)"
            )
        );
    }
}

//! Attributes: what an agent is like; constraints: what a framework will accept of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::agent::AgentInfo;

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A word: `zone=b`.
    Text(String),
    /// A number, in thousandths: `rack=12`.
    Scalar(i64),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Text(text) => f.write_str(text),
            AttributeValue::Scalar(milli) => {
                let sign = if *milli < 0 { "-" } else { "" };
                write!(f, "{sign}{}", crate::quantities::show_milli(milli.unsigned_abs()))
            }
        }
    }
}

/// Attributes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub BTreeMap<String, AttributeValue>);

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&parts.join(","))
    }
}

/// One condition on one attribute. `hostname` and `agent` (the agent's id) can be named like attributes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// The attribute's name.
    pub attribute: String,
    /// What must hold of it.
    pub predicate: Predicate,
}

/// What must hold of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It shows as one of these.
    In(Vec<String>),
    /// It shows as none of these (or is not there).
    NotIn(Vec<String>),
    /// It is a number of at least so many thousandths.
    AtLeast(i64),
    /// It is a number of at most so many thousandths.
    AtMost(i64),
}

/// Conditions that must all hold; none hold of every agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraints(pub Vec<Constraint>);

// === impl Constraints ===

impl Constraints {
    /// Whether every condition holds of the agent.
    pub fn allow(&self, agent: &AgentInfo) -> bool {
        self.first_refusal(agent).is_none()
    }

    /// The first condition that does not hold of the agent.
    pub fn first_refusal(&self, agent: &AgentInfo) -> Option<&Constraint> {
        self.0.iter().find(|constraint| !constraint.allows(agent))
    }
}

/// The longest name of a resource or an attribute, in bytes: they become metric labels and columns.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether something can be the name of a resource or an attribute: the same rule where it is declared, where it is asked
/// for, and where it travels.
pub fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(good)
}

// === impl Constraint ===

impl Constraint {
    /// Whether it holds of the agent.
    pub fn allows(&self, agent: &AgentInfo) -> bool {
        let value = match self.attribute.as_str() {
            "hostname" => Some(AttributeValue::Text(agent.hostname.clone())),
            "agent" => Some(AttributeValue::Text(agent.id.to_string())),
            name => agent.attributes.0.get(name).cloned(),
        };
        let number = match &value {
            Some(AttributeValue::Scalar(milli)) => Some(*milli),
            Some(AttributeValue::Text(_)) | None => None,
        };
        match &self.predicate {
            Predicate::Exists => value.is_some(),
            Predicate::NotExists => value.is_none(),
            Predicate::In(words) => value.is_some_and(|v| words.contains(&v.to_string())),
            Predicate::NotIn(words) => !value.is_some_and(|v| words.contains(&v.to_string())),
            Predicate::AtLeast(milli) => number.is_some_and(|n| n >= *milli),
            Predicate::AtMost(milli) => number.is_some_and(|n| n <= *milli),
        }
    }

    /// Reads `zone=b`, `zone=b|c`, `zone!=b`, `zone`, `!zone`, `rack>=3`, `rack<=9`.
    pub fn parse(text: &str) -> Result<Constraint, BadConstraint> {
        let bad = || BadConstraint(text.to_owned());
        let words = |list: &str| list.split('|').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
        let milli = |number: &str| {
            let (negative, digits) =
                number.trim().strip_prefix('-').map_or((false, number.trim()), |d| (true, d));
            let milli = crate::quantities::parse_milli(digits).ok().and_then(|n| i64::try_from(n).ok());
            milli.map(|n| if negative { -n } else { n }).ok_or_else(bad)
        };
        let text_ = text.trim();
        let (attribute, predicate) = if let Some((name, list)) = text_.split_once("!=") {
            (name, Predicate::NotIn(words(list)))
        } else if let Some((name, number)) = text_.split_once(">=") {
            (name, Predicate::AtLeast(milli(number)?))
        } else if let Some((name, number)) = text_.split_once("<=") {
            (name, Predicate::AtMost(milli(number)?))
        } else if let Some((name, list)) = text_.split_once('=') {
            (name, Predicate::In(words(list.trim_start_matches('='))))
        } else if let Some(name) = text_.strip_prefix('!') {
            (name, Predicate::NotExists)
        } else {
            (text_, Predicate::Exists)
        };
        let attribute = attribute.trim();
        // A word that begins with `=` would be read as another one when it is shown: `zone==b` is `zone=b`.
        let other =
            matches!(&predicate, Predicate::In(words) if words.iter().any(|word| word.starts_with('=')));
        if other || !is_name(attribute) {
            return Err(bad());
        }
        Ok(Constraint { attribute: attribute.to_owned(), predicate })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.attribute;
        let show = |milli: &i64| AttributeValue::Scalar(*milli).to_string();
        match &self.predicate {
            Predicate::Exists => write!(f, "{name}"),
            Predicate::NotExists => write!(f, "!{name}"),
            Predicate::In(words) => write!(f, "{name}={}", words.join("|")),
            Predicate::NotIn(words) => write!(f, "{name}!={}", words.join("|")),
            Predicate::AtLeast(milli) => write!(f, "{name}>={}", show(milli)),
            Predicate::AtMost(milli) => write!(f, "{name}<={}", show(milli)),
        }
    }
}

/// Why a text is not a constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadConstraint(pub String);

impl fmt::Display for BadConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a constraint; write zone=b, zone=b|c, zone!=b, zone, !zone, rack>=3 or rack<=9, with a name of at \
             most {NAME_BYTES_MAX} letters (a to z), digits and - _ . /",
            self.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_is_read_as_it_is_shown() {
        for text in ["zone=b", "zone=b|c", "zone!=b|=c", "zone", "!zone", "rack>=3", "rack<=-9.5", "kind=a=b"]
        {
            let constraint = Constraint::parse(text).expect(text);
            assert_eq!(constraint.to_string(), text);
            assert_eq!(Constraint::parse(&constraint.to_string()), Ok(constraint));
        }
        assert_eq!(Constraint::parse(" zone == b | c ").expect("spaces").to_string(), "zone=b|c");
    }

    #[test]
    fn what_nobody_could_declare_or_send_is_no_constraint() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for text in ["", "!", "zo ne", "z\u{f6}ne=b", "zone= =b", "zone=a|=b", "rack>=x", &long] {
            assert!(Constraint::parse(text).is_err(), "{text}");
        }
    }
}

//! What a principal may beyond what its kind may: the roles it may take offers in.

use std::fmt;
use std::str::FromStr;

use crate::caller::Caller;
use crate::role::Role;

/// The most patterns that one principal has: more would be better said as a role above them.
pub const PATTERNS_MAX: usize = 64;

/// Some roles: `eng` that one, `eng/*` those below it, `*` all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RolePattern {
    /// All.
    Any,
    /// This one, and not those below it.
    One(Role),
    /// Those below this one, however deep, and not itself.
    Below(Role),
}

/// What a principal may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The roles it may take offers in.
    pub roles: Vec<RolePattern>,
}

// === impl RolePattern ===

impl RolePattern {
    /// Whether it is about this role.
    pub fn matches(&self, role: &Role) -> bool {
        match self {
            RolePattern::Any => true,
            RolePattern::One(one) => one == role,
            RolePattern::Below(above) => role != above && role.is_within(above),
        }
    }
}

impl fmt::Display for RolePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RolePattern::Any => f.write_str("*"),
            RolePattern::One(role) => write!(f, "{role}"),
            RolePattern::Below(role) => write!(f, "{role}/*"),
        }
    }
}

impl FromStr for RolePattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("{text:?} names no roles; write eng for one, eng/* for those below it, * for all");
        if text == "*" {
            return Ok(RolePattern::Any);
        }
        match text.strip_suffix("/*") {
            Some(above) => Role::new(above).map(RolePattern::Below).map_err(|_| bad()),
            None => Role::new(text).map(RolePattern::One).map_err(|_| bad()),
        }
    }
}

// === impl Rights ===

impl Rights {
    /// All roles.
    pub fn all() -> Rights {
        Rights { roles: vec![RolePattern::Any] }
    }

    /// What a principal may of which nobody said anything: a framework takes offers in the default role, in the role of
    /// its own name, and in those below that.
    pub fn of_kind(caller: &Caller) -> Rights {
        match caller {
            Caller::Framework(name) => {
                let mut roles = vec![RolePattern::One(Role::default_role())];
                if let Ok(own) = Role::new(name) {
                    roles.extend([RolePattern::One(own.clone()), RolePattern::Below(own)]);
                }
                roles.dedup();
                Rights { roles }
            }
            // People hold every operator's right.
            Caller::User(_) => Rights::all(),
            Caller::Master(_) | Caller::Agent(_) => Rights::default(),
        }
    }

    /// Whether it may take offers in this role.
    pub fn takes(&self, role: &Role) -> bool {
        self.roles.iter().any(|pattern| pattern.matches(role))
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.roles.is_empty() {
            return f.write_str("none");
        }
        let roles: Vec<String> = self.roles.iter().map(ToString::to_string).collect();
        f.write_str(&roles.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(path: &str) -> Role {
        Role::new(path).unwrap()
    }

    #[test]
    fn patterns_match_names_and_never_beginnings() {
        let matches =
            |pattern: &str, path: &str| pattern.parse::<RolePattern>().unwrap().matches(&role(path));
        assert!(matches("*", "anything/at.all"));
        assert!(matches("eng", "eng") && !matches("eng", "eng/web") && !matches("eng", "engine"));
        assert!(matches("eng/*", "eng/web") && matches("eng/*", "eng/web/one"));
        assert!(
            !matches("eng/*", "eng") && !matches("eng/*", "engine/web") && !matches("eng/*", "x/eng/web")
        );
    }

    #[test]
    fn patterns_read_back_and_others_are_none() {
        for text in ["*", "eng", "eng/web", "eng/web/*"] {
            assert_eq!(text.parse::<RolePattern>().unwrap().to_string(), text);
        }
        for text in ["", "/*", "**", "e*", "*/web", "eng/*/web", "eng/", "eng/**", "a b", "eng/*/*"] {
            assert!(text.parse::<RolePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn whom_nobody_named_has_the_roles_of_its_own_name() {
        let of = |name: &str| Rights::of_kind(&Caller::Framework(name.into()));
        assert!(of("spark").takes(&role("default")) && of("spark").takes(&role("spark/etl")));
        assert!(!of("spark").takes(&role("prod")) && !of("spark").takes(&role("default/one")));
        assert_eq!(of("ada@home").to_string(), "default", "which is no name of a role");
        assert!(!of("*").takes(&role("prod")));
        assert!(Rights::of_kind(&Caller::User("ada".into())).takes(&role("prod")));
        assert!(!Rights::default().takes(&role("default")));
    }
}

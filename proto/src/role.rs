//! Role paths such as `eng/web`, and their weights.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest role path, in bytes.
pub const ROLE_BYTES_MAX: usize = 256;

/// A role: a path of names parted by `/`. A child's share counts inside its parent's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(Arc<str>);

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRole(pub String);

impl fmt::Display for BadRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a role; use names of letters, digits, - _ and . parted by /, such as eng/web",
            self.0
        )
    }
}

// === impl Role ===

impl Role {
    /// Checks and wraps a path.
    pub fn new(path: &str) -> Result<Self, BadRole> {
        let name_ok = |name: &str| {
            !name.is_empty()
                && !name.starts_with(['-', '.'])
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if path.len() <= ROLE_BYTES_MAX && path.split('/').all(name_ok) {
            Ok(Self(Arc::from(path)))
        } else {
            Err(BadRole(path.to_owned()))
        }
    }

    /// The role of whoever names none: `default`.
    pub fn default_role() -> Self {
        Self(Arc::from("default"))
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names along the path, from the top.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The parent role; `None` at the top.
    pub fn parent(&self) -> Option<Role> {
        self.0.rsplit_once('/').map(|(parent, _)| Role(Arc::from(parent)))
    }

    /// Whether this role is `ancestor` itself or stands below it.
    pub fn is_within(&self, ancestor: &Role) -> bool {
        self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Role {
    type Err = BadRole;
    fn from_str(path: &str) -> Result<Self, BadRole> {
        Self::new(path)
    }
}

/// The weight of a role in thousandths: 1000 is the ordinary share, 2000 is owed twice as much. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    /// The weight in thousandths; `None` for zero.
    pub fn from_milli(milli: u32) -> Option<Self> {
        (milli > 0).then_some(Self(milli))
    }

    /// The weight in thousandths.
    pub fn milli(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked() {
        for good in ["default", "eng/web", "a.b-c_d/e1"] {
            assert!(Role::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a//b", "a/", "-a", "a/..", "a b", "é", "*"] {
            assert!(Role::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn within_follows_names_not_letters() {
        let role = |p| Role::new(p).unwrap();
        assert!(role("eng/web").is_within(&role("eng")));
        assert!(role("eng").is_within(&role("eng")));
        assert!(!role("engine").is_within(&role("eng")));
        assert_eq!(role("eng/web").parent(), Some(role("eng")));
    }
}

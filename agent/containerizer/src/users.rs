//! Names of users to numbers: from the system's files, and for users kept elsewhere (LDAP, SSSD) from its own tools.
//!
//! Not through libc's `getpwnam`: it loads whatever the machine's name service is made of into the agent. Blocking.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A user in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// Answers are trusted this long, so that launches in bulk do not read the files each.
const FRESH: Duration = Duration::from_secs(10);

/// Answers already given.
#[derive(Default)]
pub(crate) struct Users {
    known: HashMap<String, (Instant, Option<User>)>,
}

impl Users {
    /// The user of this name, if there is one.
    pub(crate) fn find(&mut self, name: &str) -> Option<User> {
        if let Some((at, user)) = self.known.get(name)
            && at.elapsed() < FRESH
        {
            return user.clone();
        }
        let user = if is_name(name) { look_up(name) } else { None };
        self.known.retain(|_, (at, _)| at.elapsed() < FRESH);
        self.known.insert(name.to_owned(), (Instant::now(), user.clone()));
        user
    }
}

/// Whether a word may be given to the system's tools as a name: no option, no separator.
fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.len() <= 256
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.@$".contains(&byte))
}

fn look_up(name: &str) -> Option<User> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some((uid, gid)) = in_passwd(&passwd, name) {
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        return Some(User { uid, gid, groups: in_group(&group, name, gid) });
    }
    let (uid, gid) = in_passwd(&output("getent", &["passwd", name])?, name)?;
    let groups = output("id", &["-G", "--", name])?;
    Some(User { uid, gid, groups: groups.split_whitespace().filter_map(|id| id.parse().ok()).collect() })
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    if out.status.success() { String::from_utf8(out.stdout).ok() } else { None }
}

/// Uid and gid of a name in the form of `/etc/passwd`.
fn in_passwd(text: &str, name: &str) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some((uid, gid))
    })
}

/// The primary group, and those that list the name in the form of `/etc/group`.
fn in_group(text: &str, name: &str, primary: u32) -> Vec<u32> {
    let listed = text.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let gid: u32 = fields.next()?.parse().ok()?;
        let member = fields.next()?.split(',').any(|member| member == name);
        (member && gid != primary).then_some(gid)
    });
    [primary].into_iter().chain(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:1001:1002::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:1002:\ndocker:x:998:alice,web\nx:y:z\nadm:x:4:webx\n";

    #[test]
    fn a_user_is_found_with_all_its_groups() {
        assert_eq!(in_passwd(PASSWD, "web"), Some((1001, 1002)));
        assert_eq!(in_passwd(PASSWD, "we"), None);
        assert_eq!(in_group(GROUP, "web", 1002), [1002, 998]);
    }

    #[test]
    fn root_is_known_and_nonsense_is_not() {
        let mut users = Users::default();
        assert_eq!(users.find("root").map(|user| user.uid), Some(0));
        for name in ["", "-G", "no-such-user-here", "a:b", "root\n", "ro ot", "0"] {
            assert_eq!(users.find(name), None, "{name:?}");
        }
    }
}

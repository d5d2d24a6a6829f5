//! Where the kernel's cgroup trees are mounted.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::isolate::Version;

/// A mounted tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) version: Version,
    pub(crate) point: PathBuf,
    /// The controllers that can be used in it.
    pub(crate) controllers: Vec<String>,
}

/// The trees this process sees.
pub(crate) fn of_this_process() -> io::Result<Vec<Mount>> {
    let mut mounts = parse(&fs::read_to_string("/proc/self/mountinfo")?);
    for mount in &mut mounts {
        if mount.version == Version::V2 {
            let listed = fs::read_to_string(mount.point.join("cgroup.controllers")).unwrap_or_default();
            mount.controllers = listed.split_whitespace().map(str::to_owned).collect();
        }
    }
    Ok(mounts)
}

/// The cgroup lines of a mountinfo file (proc(5)): `id parent dev root POINT options optional... - TYPE source SUPER`.
fn parse(mountinfo: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(unescape(before.split(' ').nth(4)?));
        let mut after = after.split(' ');
        let version = match after.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let options = after.nth(1).unwrap_or_default();
        let controllers = match version {
            Version::V1 => options.split(',').map(str::to_owned).collect(),
            Version::V2 => Vec::new(),
        };
        Some(Mount { version, point, controllers })
    };
    mountinfo.lines().filter_map(line).collect()
}

/// Spaces and the like stand as backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            (_, _) => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_v2_and_other_mounts_are_told_apart() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            41 31 0:38 / /my\\040mnt rw,relatime - cgroup2 cgroup2 rw,nsdelegate\nbroken line\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(
            (mounts[0].version, &mounts[0].controllers[1..]),
            (Version::V1, &["cpu".into(), "cpuacct".into()][..])
        );
        assert_eq!((mounts[1].version, &mounts[1].point), (Version::V2, &PathBuf::from("/my mnt")));
    }
}

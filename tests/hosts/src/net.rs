//! Hosts made of network namespaces on a bridge of their own, and the links between them, which can fail.

use std::path::{Path, PathBuf};

use crate::command::{Tools, well};

/// A host: a network namespace with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name in the lab, such as `master-1`.
    pub name: String,
    /// Its address on the bridge.
    pub address: String,
    namespace: String,
}

/// The hosts, on one bridge that nothing else is on.
pub struct Net {
    prefix: String,
    hosts: Vec<Host>,
    tools: Tools,
}

// === impl Host ===

impl Host {
    /// Where the kernel shows its network namespace.
    pub fn namespace_file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    /// Every process in it, tasks and their keepers included.
    pub fn processes(&self) -> Vec<u32> {
        use std::os::unix::fs::MetadataExt;
        let Ok(own) = std::fs::metadata(self.namespace_file()) else { return Vec::new() };
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let here = |pid: &u32| {
            let seen = std::fs::metadata(format!("/proc/{pid}/ns/net"));
            seen.is_ok_and(|seen| (seen.dev(), seen.ino()) == (own.dev(), own.ino()))
        };
        pids.filter(here).collect()
    }
}

// === impl Net ===

impl Net {
    /// Makes the hosts and their links.
    ///
    /// # Errors
    /// When this is not root, or `ip` cannot.
    pub fn of(names: &[&str], tools: Tools) -> Result<Net, String> {
        let prefix = format!("stoa-{}", std::process::id());
        let switch = format!("{prefix}-net");
        well("ip", &["netns", "add", &switch])?;
        let mut net = Net { prefix, hosts: Vec::new(), tools };
        well("ip", &["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        well("ip", &["-n", &switch, "link", "set", "br0", "up"])?;
        for (name, number) in names.iter().zip(1..) {
            let namespace = format!("{}-{name}", net.prefix);
            well("ip", &["netns", "add", &namespace])?;
            let host = Host { name: (*name).to_owned(), address: format!("10.77.0.{number}"), namespace };
            net.hosts.push(host.clone());
            let (end, inside) = (format!("v{number}"), host.namespace.as_str());
            well(
                "ip",
                &[
                    "-n", &switch, "link", "add", &end, "type", "veth", "peer", "name", "eth0", "netns",
                    inside,
                ],
            )?;
            well("ip", &["-n", &switch, "link", "set", &end, "master", "br0", "up"])?;
            well("ip", &["-n", inside, "addr", "add", &format!("{}/24", host.address), "dev", "eth0"])?;
            well("ip", &["-n", inside, "link", "set", "eth0", "up"])?;
            well("ip", &["-n", inside, "link", "set", "lo", "up"])?;
            let chain = "table ip faults { chain out { type filter hook output priority 0; }; }";
            net.tools.nft(inside, chain)?;
        }
        Ok(net)
    }

    /// A host by its name.
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap_or_else(|| unreachable!("no host {name}"))
    }

    /// All of them.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The tools by which links fail.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Drops all that goes from one host to another; the way back stays as it is.
    ///
    /// # Errors
    /// What nft said.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<(), String> {
        let to = &self.host(to).address;
        self.tools.nft(&self.host(from).namespace, &format!("add rule ip faults out ip daddr {to} drop"))
    }

    /// Drops all between two hosts.
    ///
    /// # Errors
    /// What nft said.
    pub fn cut(&self, one: &str, other: &str) -> Result<(), String> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// Cuts each of some hosts off from each of the others.
    ///
    /// # Errors
    /// What nft said.
    pub fn part(&self, some: &[&str], others: &[&str]) -> Result<(), String> {
        some.iter().try_for_each(|one| others.iter().try_for_each(|other| self.cut(one, other)))
    }

    /// Loses so many percent of what a host sends, here and there.
    ///
    /// # Errors
    /// What nft said.
    pub fn lose(&self, from: &str, percent: u32) -> Result<(), String> {
        let namespace = &self.host(from).namespace;
        self.tools.nft(
            namespace,
            &format!("add rule ip faults out oif eth0 numgen random mod 100 < {percent} drop"),
        )
    }

    /// Every link works again.
    ///
    /// # Errors
    /// What nft said.
    pub fn heal(&self) -> Result<(), String> {
        self.hosts.iter().try_for_each(|host| self.tools.nft(&host.namespace, "flush chain ip faults out"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let own = self.hosts.iter().map(|host| host.namespace.clone());
        for namespace in own.chain([format!("{}-net", self.prefix)]) {
            // What cannot be removed is told by the next `ip netns`; there is nobody to tell here.
            let _ = well("ip", &["netns", "del", &namespace]);
        }
    }
}

//! What each master and agent says of itself on its page of metrics: its clock, its disk, its certificate, its files.

use std::time::Duration;

use proto_grpc::{Dialer, PageError, PeerRole, read_metrics};
use proto_pki::Credentials;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Check, EXPIRES_SOON, fail, names, ok, warn};
use crate::duration::show_duration;
use crate::failure::chain;

/// How long one page may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pages that are read at once.
const AT_ONCE: usize = 32;
/// A clock that is further off makes times in events and logs hard to compare.
const SKEW_MAX_MS: f64 = 500.0;
/// A disk with less left is to be looked at, and with much less it is about to fail.
const FREE_LOW: f64 = 0.15;
const FREE_GONE: f64 = 0.03;
/// A limit of files that a busy process reaches.
const FILES_LOW: f64 = 1024.0;
const FILES_USED: f64 = 0.8;
/// A bucket of the histograms: a sync of the log that takes longer is felt by everybody.
const SLOW: &str = "0.025";
/// Of so many syncs a share can be told.
const SYNCS_MIN: f64 = 100.0;

/// Whose page is read.
#[derive(Clone, Debug)]
pub(in crate::verbs) struct Whose {
    /// In words, such as `agent-3` or `master 2`.
    pub name: String,
    pub address: String,
    pub role: PeerRole,
}

/// What came of it.
pub(in crate::verbs) struct Seen {
    pub whose: Whose,
    pub page: Result<Page, String>,
}

/// A page of metrics in Prometheus' text format.
#[derive(Clone, Debug, Default)]
pub(in crate::verbs) struct Page {
    text: String,
    /// Its clock less ours, as far as can be said: what the way takes is in doubt and counts for it.
    pub ahead_ms: Option<f64>,
}

// === impl Page ===

impl Page {
    /// The value of a metric that has one line only, or of its first.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.line(name, "")?.1.parse().ok()
    }

    /// A label of the first line of a metric.
    pub fn label(&self, name: &str, label: &str) -> Option<&str> {
        let (labels, _) = self.line(name, "")?;
        let rest = labels.split(&format!("{label}=\"")).nth(1)?;
        rest.split('"').next()
    }

    /// How many of its samples are above the bucket of this bound, and how many there are.
    fn above(&self, histogram: &str, bound: &str) -> Option<(f64, f64)> {
        let all: f64 = self.line(&format!("{histogram}_count"), "")?.1.parse().ok()?;
        let bucket = format!("le=\"{bound}\"");
        let within: f64 = self.line(&format!("{histogram}_bucket"), &bucket)?.1.parse().ok()?;
        Some((all - within, all))
    }

    fn line(&self, name: &str, with: &str) -> Option<(&str, &str)> {
        self.text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let whole = labels.is_empty() || labels.starts_with('{');
            (whole && labels.contains(with)).then_some((labels, value))
        })
    }
}

/// Reads the pages of all of them.
pub(in crate::verbs) async fn look(
    all: Vec<Whose>,
    credentials: &Credentials,
    now: fn() -> u64,
) -> Vec<Seen> {
    let dialer = match Dialer::new(credentials) {
        Ok(dialer) => dialer,
        Err(error) => {
            let unseen = |whose| Seen { whose, page: Err(error.reason()) };
            return all.into_iter().map(unseen).collect();
        }
    };
    let mut waiting = all.into_iter();
    let mut reading = JoinSet::new();
    let mut seen = Vec::new();
    loop {
        while reading.len() < AT_ONCE
            && let Some(whose) = waiting.next()
        {
            let dialer = dialer.clone();
            reading.spawn(async move {
                let page = read(&whose, &dialer, now).await;
                Seen { whose, page }
            });
        }
        match reading.join_next().await {
            Some(Ok(one)) => seen.push(one),
            // A reader does not panic on what it reads; if one does, its panic has been printed.
            Some(Err(_)) => {}
            None => break,
        }
    }
    seen.sort_by(|a, b| super::super::resolve::natural(&a.whose.name, &b.whose.name));
    seen
}

async fn read(whose: &Whose, dialer: &Dialer, now: fn() -> u64) -> Result<Page, String> {
    // Twice: what the first one takes to connect says nothing of the way.
    let asked = now();
    let text = match timeout(PATIENCE, read_metrics(&whose.address, whose.role, dialer)).await {
        Ok(Ok(text)) => text,
        Ok(Err(PageError::Connect(error))) => return Err(error.reason()),
        // The door let us in; what it says of itself is not for everybody.
        Ok(Err(PageError::Refused { .. })) => String::new(),
        Ok(Err(error)) => return Err(chain(&error)),
        Err(_) => return Err(format!("no answer within {}", show_duration(PATIENCE))),
    };
    let answered = now();
    let mut page = Page { text, ahead_ms: None };
    if let Some(seconds) = page.value("process_clock_seconds") {
        let (theirs, asked, answered) = (seconds * 1000.0, asked as f64, answered as f64);
        // Somewhere between the question and the answer.
        page.ahead_ms = Some(if theirs < asked {
            theirs - asked
        } else if theirs > answered {
            theirs - answered
        } else {
            0.0
        });
    }
    Ok(page)
}

fn pages(seen: &[Seen]) -> Vec<(&str, &Page)> {
    seen.iter().filter_map(|seen| Some((seen.whose.name.as_str(), seen.page.as_ref().ok()?))).collect()
}

/// Whether their clocks agree with this machine's.
pub(in crate::verbs) fn clocks_of(seen: &[Seen]) -> Option<Check> {
    clocks(&pages(seen))
}

/// What can be said of all of them.
pub(super) fn checks(seen: &[Seen], now_ms: u64) -> Vec<Check> {
    let pages = pages(seen);
    let mut checks = vec![doors(seen)];
    checks.extend(clocks(&pages));
    checks.extend(certificates(&pages, now_ms));
    checks.extend(disks(&pages));
    checks.extend(files(&pages));
    checks.extend(syncs(&pages));
    checks.extend(authority(&pages));
    checks
}

fn doors(seen: &[Seen]) -> Check {
    let closed: Vec<String> = seen
        .iter()
        .filter_map(|seen| {
            let why = seen.page.as_ref().err()?;
            Some(format!("{} at {} ({why})", seen.whose.name, seen.whose.address))
        })
        .collect();
    if closed.is_empty() {
        return ok("doors", format!("{} masters and agents let this machine in", seen.len()));
    }
    fail(
        "doors",
        format!("not reachable from here: {}", names(closed.iter().map(String::as_str))),
        "is the process running, is its --listen or --advertise an address that this machine can reach, and does a \
         firewall let it in? `stoa logs` needs it",
    )
}

/// Those of which something is so, each with a word on it.
fn those<'a>(pages: &[(&'a str, &'a Page)], of: impl Fn(&Page) -> Option<String>) -> Vec<String> {
    pages.iter().filter_map(|(name, page)| of(page).map(|word| format!("{name} ({word})"))).collect()
}

fn listed(all: &[String]) -> String {
    names(all.iter().map(String::as_str))
}

fn clocks(pages: &[(&str, &Page)]) -> Option<Check> {
    let known = pages.iter().filter(|(_, page)| page.ahead_ms.is_some()).count();
    let off = those(pages, |page| {
        let ahead = page.ahead_ms.filter(|ahead| ahead.abs() > SKEW_MAX_MS)?;
        let side = if ahead > 0.0 { "ahead" } else { "behind" };
        Some(format!("{:.1} s {side}", ahead.abs() / 1000.0))
    });
    if off.is_empty() {
        return (known > 0).then(|| ok("clocks", format!("{known} agree with this machine's")));
    }
    let what = format!("more than {SKEW_MAX_MS} ms from this machine's: {}", listed(&off));
    Some(warn(
        "clocks",
        what,
        "let the machines keep time by NTP (chrony or systemd-timesyncd), this one too",
    ))
}

fn certificates(pages: &[(&str, &Page)], now_ms: u64) -> Option<Check> {
    let now_s = now_ms as f64 / 1000.0;
    let ends = |page: &Page| page.value("certificate_ends_seconds");
    let known = pages.iter().filter(|(_, page)| ends(page).is_some()).count();
    let soon = those(pages, |page| {
        let ends = ends(page)?;
        // A quarter of the time in which it is renewed is for tries that fail. Older versions renew nothing.
        let late = match page.value("certificate_renews_seconds") {
            Some(renews) => now_s > renews + (ends - renews) / 4.0,
            None => ends - now_s < EXPIRES_SOON.as_secs_f64(),
        };
        late.then(|| show_duration(Duration::from_secs((ends - now_s).max(0.0) as u64)))
    });
    if soon.is_empty() {
        return (known > 0).then(|| ok("certificates", format!("{known} are good")));
    }
    let fix = "their logs say why they are not renewed: an agent asks any master, a master needs its authority. Once one has \
               ended: `stoa token create --kind agent` or `--kind master --name NUMBER`, then start it with --join TOKEN and \
               without the old credentials";
    Some(warn("certificates", format!("end soon: {}", listed(&soon)), fix))
}

fn disks(pages: &[(&str, &Page)]) -> Vec<Check> {
    let kinds = [
        (
            "disk",
            "directory_free_bytes",
            "directory_bytes",
            "delete what is not needed, or give it a larger disk",
        ),
        ("inodes", "directory_free_inodes", "directory_inodes", "delete small files that are not needed"),
    ];
    let mut checks = Vec::new();
    for (name, free, all, fix) in kinds {
        let part = |page: &Page| {
            let (free, all) = (page.value(free)?, page.value(all)?);
            (all > 0.0).then(|| free / all)
        };
        let known = pages.iter().filter(|(_, page)| part(page).is_some()).count();
        let least = pages.iter().filter_map(|(_, page)| part(page)).fold(1.0, f64::min);
        // The worst first: the end of a long list is left out.
        let mut pages = pages.to_vec();
        pages.sort_by(|(_, a), (_, b)| part(a).unwrap_or(1.0).total_cmp(&part(b).unwrap_or(1.0)));
        let low = those(&pages, |page| {
            part(page).filter(|part| *part < FREE_LOW).map(|part| format!("{:.0} %", part * 100.0))
        });
        let what = format!("little is free: {}", listed(&low));
        let fix = format!("{fix}; sandboxes of ended tasks are kept for --sandbox-keep-s");
        match (low.is_empty(), known) {
            (true, 0) => {}
            (true, _) => checks.push(ok(name, format!("{:.0} % and more is free everywhere", least * 100.0))),
            (false, _) if least < FREE_GONE => checks.push(fail(name, what, fix)),
            (false, _) => checks.push(warn(name, what, fix)),
        }
    }
    checks
}

fn files(pages: &[(&str, &Page)]) -> Option<Check> {
    let known = pages.iter().filter(|(_, page)| page.value("process_max_fds").is_some()).count();
    let low = those(pages, |page| {
        let (open, most) = (page.value("process_open_fds")?, page.value("process_max_fds")?);
        (most < FILES_LOW || open > most * FILES_USED).then(|| format!("{open} of {most}"))
    });
    if low.is_empty() {
        return (known > 0).then(|| ok("files", format!("{known} may open more than they have open")));
    }
    let what = format!("few files can be opened more: {}", listed(&low));
    Some(warn(
        "files",
        what,
        "start them with a higher limit: LimitNOFILE=65536 of systemd, or `ulimit -n 65536`",
    ))
}

fn syncs(pages: &[(&str, &Page)]) -> Option<Check> {
    let of = |page: &Page| {
        let logs = ["log_sync_seconds", "agent_ledger_sync_seconds"];
        logs.into_iter().find_map(|log| page.above(log, SLOW)).filter(|(_, all)| *all >= SYNCS_MIN)
    };
    let known = pages.iter().filter(|(_, page)| of(page).is_some()).count();
    let slow = those(pages, |page| {
        let (above, all) = of(page)?;
        (above > all / 100.0).then(|| format!("{:.0} % of {all}", above / all * 100.0))
    });
    if slow.is_empty() {
        return (known > 0)
            .then(|| ok("fsync", format!("99 of 100 take less than 25 ms on all {known} that wrote much")));
    }
    let what = format!("more than 1 of 100 take longer than 25 ms: {}", listed(&slow));
    Some(warn("fsync", what, "give the log a disk of its own, best an SSD with power-loss protection"))
}

fn authority(pages: &[(&str, &Page)]) -> Option<Check> {
    let known = pages.iter().filter(|(_, page)| page.value("authority_key_exposed").is_some()).count();
    let exposed = those(pages, |page| {
        page.value("authority_key_exposed").filter(|exposed| *exposed > 0.0).map(|_| "ca-key.pem".to_owned())
    });
    if exposed.is_empty() {
        return (known > 0)
            .then(|| ok("authority", format!("its key is its owner's alone on {known} masters")));
    }
    let what = format!("others than its owner can read its key: {}", listed(&exposed));
    Some(fail(
        "authority",
        what,
        "`chmod 600 ca-key.pem` there; who has read it can be anybody to this cluster",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_name_and_label() {
        let text = "# TYPE a gauge\nab{role=\"x\"} 9\na{role=\"agent\",version=\"1.2\"} 4.5\nh_bucket{le=\"0.025\"} 90\n\
                    h_bucket{le=\"+Inf\"} 100\nh_count 100\n";
        let page = Page { text: text.to_owned(), ahead_ms: None };
        assert_eq!((page.value("a"), page.value("b")), (Some(4.5), None));
        assert_eq!((page.label("a", "version"), page.label("a", "id")), (Some("1.2"), None));
        assert_eq!(page.above("h", SLOW), Some((10.0, 100.0)));
    }
}

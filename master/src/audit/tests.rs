//! The audit log as files: what is written, what is counted, and what is found when somebody has been at it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use proto::id::FrameworkId;
use proto_audit::{Broken, Checker, Found, How, Seal, WITNESSED};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("stoa-audit-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Scratch(dir)
    }

    fn start(&self, keep_bytes: u64) -> Arc<Audit> {
        Audit::start(&self.0, MasterId(1), keep_bytes).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        let lines = files::read(&self.0, Place::default(), |_| true).unwrap().lines;
        lines.iter().map(|line| Entry::parse(line).unwrap()).collect()
    }

    fn check(&self, seals: &[Seal]) -> Result<Found, Broken> {
        let mut checker = Checker::new(Some(1));
        let mut place = Place::default();
        loop {
            let page = files::read(&self.0, place, |_| true).unwrap();
            for line in &page.lines {
                checker.take(line)?;
            }
            place = page.next;
            if !page.more {
                break;
            }
        }
        for seal in seals {
            checker.seal(*seal)?;
        }
        checker.end()
    }

    /// The text of the only file, changed.
    fn tamper(&self, change: impl FnOnce(String) -> String) {
        let (_, path) = files::segments(&self.0).unwrap().remove(0);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn order(number: usize) -> Draft {
    Draft::done("user/ada", "10.0.0.9:4000".to_owned(), "set-quota", format!("role-{number}")).at(7)
}

fn audited(who: &str, outcome: Result<u64, Code>, count: u64) -> Audited {
    Audited {
        who: who.to_owned(),
        via: None,
        call: "accept",
        object: FrameworkId::new("F1-1").unwrap().to_string(),
        outcome,
        message: String::new(),
        count,
    }
}

#[test]
fn what_was_said_is_there_after_a_restart_and_whole() {
    let dir = Scratch::new("restart");
    for round in 0..3 {
        let audit = dir.start(16 << 20);
        (0..5).for_each(|number| audit.say(order(5 * round + number)));
        audit.close();
    }
    let entries = dir.entries();
    assert_eq!(entries.len(), 15);
    let first = &entries[0];
    assert_eq!((first.who.as_str(), first.call.as_str(), first.index), ("user/ada", "set-quota", 7));
    assert_eq!((first.object.as_str(), first.from.as_str()), ("role-0", "10.0.0.9:4000"));
    assert_eq!(dir.check(&[]).map(|found| found.entries), Ok(15));
    let (_, path) = files::segments(&dir.0).unwrap().remove(0);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&dir.0)), (0o600, 0o700), "it is nobody else's to read");
}

#[test]
fn an_edit_a_removal_an_insertion_and_a_cut_end_are_found() {
    let dir = Scratch::new("tampered");
    let fill = || {
        let _ = fs::remove_dir_all(&dir.0);
        let audit = dir.start(16 << 20);
        (0..9).for_each(|number| audit.say(order(number)));
        audit.close();
    };
    fill();
    let head = dir.check(&[]).unwrap().head;
    let seal = Seal { master: 1, head };
    dir.tamper(|text| text.replace("role-3", "role-8"));
    assert_eq!(dir.check(&[]), Err(Broken { sequence: 4, how: How::Edited }));
    fill();
    dir.tamper(|text| {
        text.lines().filter(|line| !line.contains("role-3")).map(|line| format!("{line}\n")).collect()
    });
    assert_eq!(dir.check(&[]), Err(Broken { sequence: 4, how: How::Missing(4) }));
    fill();
    dir.tamper(|text| {
        text.lines()
            .flat_map(|line| vec![format!("{line}\n"); 1 + usize::from(line.contains("role-3"))])
            .collect()
    });
    assert_eq!(dir.check(&[]), Err(Broken { sequence: 4, how: How::Inserted }));
    fill();
    let head = dir.check(&[]).unwrap().head;
    let seal = Seal { head, ..seal };
    dir.tamper(|text| text.lines().take(7).map(|line| format!("{line}\n")).collect());
    assert_eq!(dir.check(&[]).map(|found| found.entries), Ok(7), "nobody has seen more");
    assert_eq!(dir.check(&[seal]), Err(Broken { sequence: 8, how: How::Cut(9) }));
    // A master that goes on behind the cut writes other lines under the same numbers.
    let audit = dir.start(16 << 20);
    (0..4).for_each(|number| audit.say(order(number)));
    audit.close();
    assert_eq!(dir.check(&[seal]), Err(Broken { sequence: 9, how: How::Rewritten }));
}

#[test]
fn a_line_that_the_power_tore_is_cut_off_and_the_log_goes_on() {
    let dir = Scratch::new("torn");
    let audit = dir.start(16 << 20);
    (0..3).for_each(|number| audit.say(order(number)));
    audit.close();
    dir.tamper(|text| text[..text.len() - 20].to_owned());
    let audit = dir.start(16 << 20);
    audit.say(order(9));
    audit.close();
    let objects: Vec<String> = dir.entries().into_iter().map(|entry| entry.object).collect();
    assert_eq!(objects, ["role-0", "role-1", "role-9"]);
    assert_eq!(dir.check(&[]).map(|found| found.head.sequence), Ok(3));
}

#[test]
fn repetitions_are_counted_for_each_who_call_and_code_and_nothing_is_left_out_of_the_count() {
    let dir = Scratch::new("counted");
    let audit = dir.start(16 << 20);
    for _ in 0..10_000 {
        audit.of_machine(audited("framework/evil", Err(Code::StaleOffer), 1));
        audit.of_machine(audited("framework/evil", Err(Code::Denied), 1));
        audit.of_machine(audited("framework/good", Ok(4), 3));
    }
    audit.close();
    let entries = dir.entries();
    assert!(entries.len() < 60, "{} lines of 30,000", entries.len());
    let sum = |code: &str| -> u64 {
        entries.iter().filter(|entry| entry.code == code).map(|entry| entry.count).sum()
    };
    assert_eq!((sum("stale-offer"), sum("denied"), sum("")), (10_000, 10_000, 30_000));
    assert!(entries.iter().all(|entry| (entry.verdict == Verdict::Done) == entry.code.is_empty()));
}

#[test]
fn what_a_master_does_by_itself_is_a_line_each_and_of_unknown_outcome_is_said_so() {
    let dir = Scratch::new("own");
    let audit = dir.start(16 << 20);
    for _ in 0..3 {
        audit.of_machine(Audited { call: "end-framework", ..audited("", Ok(9), 1) });
    }
    audit.say(order(1).refused(Code::LeaderLost, "the leader changed"));
    audit.close();
    let entries = dir.entries();
    assert_eq!(entries.iter().filter(|entry| entry.who == "master/1").count(), 3);
    assert_eq!(entries[3].verdict, Verdict::Unknown);
}

#[test]
fn what_is_kept_is_bounded_and_what_was_seen_of_others_is_kept_with_it() {
    let dir = Scratch::new("bounded");
    let keep = 64 << 10;
    let audit = dir.start(keep);
    let head = Head { sequence: 5, ..Head::default() };
    audit.say(Draft::done("master/2", String::new(), WITNESSED, head.to_string()));
    for number in 0..2000 {
        // Not more at once than can wait.
        while audit.shared.lost.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        audit.say(order(number));
    }
    audit.close();
    let bytes: u64 =
        files::segments(&dir.0).unwrap().iter().map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= keep + (keep / 4), "{bytes}");
    let found = dir.check(&[]).unwrap();
    assert!(found.first > 1 && found.head.sequence > 2000, "{found:?}");
    let seen: Vec<Seal> = dir.entries().iter().filter_map(Entry::witnessed).collect();
    assert_eq!(seen.last(), Some(&Seal { master: 2, head }));
}

#[test]
fn what_strangers_say_is_cut_short() {
    let long = "é".repeat(TEXT_BYTES_MAX);
    let draft = Draft::done("nobody", String::new(), "join", long.clone()).refused(Code::BadToken, &long);
    assert!(draft.object.len() <= TEXT_BYTES_MAX + 3 && draft.message.len() <= TEXT_BYTES_MAX + 3);
}

#[tokio::test]
async fn readers_get_the_last_ones_go_on_from_there_and_wait_for_what_comes() {
    let dir = Scratch::new("read");
    let audit = dir.start(16 << 20);
    let mut written = audit.shared.written.subscribe();
    (0..9).for_each(|number| audit.say(order(number)));
    audit.say(order(10).refused(Code::Denied, "no"));
    written.wait_for(|sequence| *sequence >= 10).await.unwrap();
    let last = audit.read(&AuditRead { last: 3, ..AuditRead::default() }).await.unwrap();
    assert_eq!((last.lines.len(), last.master), (3, MasterId(1)));
    let denied = AuditRead { last: 9, denied: true, ..AuditRead::default() };
    assert_eq!(audit.read(&denied).await.unwrap().lines.len(), 1);
    let others = AuditRead { last: 9, principal: "user/eve".into(), ..AuditRead::default() };
    assert_eq!(audit.read(&others).await.unwrap().lines.len(), 0);
    let on = AuditRead { from: Some(last.next), wait: Duration::from_secs(20), ..AuditRead::default() };
    let telling = async {
        tokio::task::yield_now().await;
        audit.say(order(11));
    };
    let (heard, ()) = tokio::join!(audit.read(&on), telling);
    assert!(heard.unwrap().lines[0].contains("role-11"));
    audit.close();
}

#[test]
fn a_disk_that_refuses_stops_nobody_and_what_is_missing_is_counted() {
    let dir = Scratch::new("refused");
    fs::write(&dir.0, "no directory").unwrap();
    let audit = dir.start(16 << 20);
    (0..5).for_each(|number| audit.say(order(number)));
    audit.close();
    assert_eq!(audit.shared.lost.load(Ordering::Relaxed), 5 + 0);
    fs::remove_file(&dir.0).unwrap();
}

//! What came of a run: every answer explained, and the same histories spoilt, so that it is known that the searches say no.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests_history::Broken;
use tests_history::object::{Action, Op as ObjectOp, search_objects};
use tests_history::order::{Explained, explain};
use tests_history::spoil::Spoil;
use tests_history::store::{Op, Searched, search_key, search_keys};
use tests_history::watch::{History, Told};

use crate::nemesis::Happened;
use crate::run::Run;
use crate::store::Space;

/// Steps that the search of one key or object may take. Ten thousand times what a key takes; more is undecided, and red.
const STEPS: u64 = 3_000_000;

/// Prints what came of it. False: something cannot be explained, or a spoilt history could.
pub fn tell(
    run: &Run,
    spaces: Vec<Space>,
    objects: &[ObjectOp],
    faults: &[Happened],
    calls: Duration,
) -> Result<bool, String> {
    let begun = Instant::now();
    let mut good = true;
    let mut say = |name: &str, verdict: Result<String, Broken>| match verdict {
        Ok(text) => println!("{name}: {text}"),
        Err(why) => {
            good = false;
            println!("{name}: BROKEN: {why}");
        }
    };
    let recorded = spaces.iter().map(|space| answered(&space.ops)).sum::<u64>()
        + objects.iter().filter(|op| op.answered.is_some()).count() as u64;
    for mut space in spaces {
        let name = space.name.clone();
        say(&name, whole(&space));
        say(&format!("{name}, spoilt"), spoilt(&mut space));
    }
    say("registry", search_objects(objects, STEPS).map(|searched| of_objects(objects, searched)));
    say("registry, spoilt", spoilt_object(objects));

    let (killed, stopped): (Vec<&Happened>, Vec<&Happened>) =
        faults.iter().partition(|one| one.fault.kills());
    let slowest = faults.iter().map(|one| one.healed.as_millis()).max().unwrap_or(0);
    let masters = |faults: &[&Happened]| faults.iter().map(|one| one.masters).sum::<usize>();
    println!(
        "{recorded} calls answered and explained in {:.1} s ({:.0} a second), {} changes without an answer, {} reads without \
         or as of earlier; the slowest answer took {} ms",
        calls.as_secs_f64(),
        recorded as f64 / calls.as_secs_f64(),
        run.unknown(),
        run.void(),
        run.longest_ms(),
    );
    println!(
        "{} masters killed in {} faults, {} stopped in {}; all were there again within {slowest} ms; checked in {:.1} s",
        masters(&killed),
        killed.len(),
        masters(&stopped),
        stopped.len(),
        begun.elapsed().as_secs_f64(),
    );
    if recorded < run.wanted() {
        good = false;
        println!("BROKEN: {} answers were wanted", run.wanted());
    }
    println!("{}", if good { "linearizable" } else { "NOT linearizable" });
    Ok(good)
}

fn answered(ops: &[Op]) -> u64 {
    ops.iter().filter(|op| op.answered.is_some()).count() as u64
}

/// All of what one space was asked and told.
fn whole(space: &Space) -> Result<String, Broken> {
    let Searched { keys, longest, steps } = search_keys(&space.ops, STEPS)?;
    let history = History::of(&space.heard.whole, space.heard.last)?;
    let mut told = space.heard.whole.changes.len() as u64;
    for part in &space.heard.parts {
        told += history.agrees(part)?;
    }
    let Explained { writes, reads, unknown, unknown_done } = explain(&space.ops, &history)?;
    Ok(format!(
        "{writes} changes and {reads} reads; of {unknown} changes without an answer {unknown_done} were made; {keys} keys, at \
         most {longest} calls and {steps} steps for one; watches told {told} changes up to revision {}",
        history.last()
    ))
}

/// The same with one answer changed: the search and the order must both say no, and so must what is looked at of watches.
fn spoilt(space: &mut Space) -> Result<String, Broken> {
    let history = History::of(&space.heard.whole, space.heard.last)?;
    let mut seen = Vec::new();
    let missed = |how: &str| Err(Broken(format!("{how} was not seen")));
    for spoil in Spoil::ALL {
        let half = space.ops.len() / 2;
        let Some(done) = spoil.spoil(&mut space.ops, half) else {
            return missed(&format!("{spoil:?}: there was no place for it, so it"));
        };
        let (searched, ordered) = (search_key(&space.ops, done.key, STEPS), explain(&space.ops, &history));
        done.mend(&mut space.ops);
        if searched.is_ok() {
            return missed(&format!("{spoil:?}, by the search,"));
        }
        if ordered.is_ok() {
            return missed(&format!("{spoil:?}, by the order,"));
        }
        seen.push(format!("{spoil:?}"));
    }
    let told = &space.heard.whole;
    let middle = told.changes.len() / 2;
    if middle + 2 >= told.changes.len() {
        return missed("too little was told; that it could be spoilt");
    }
    for how in ["a gap", "a double", "a turn"] {
        let mut changes = told.changes.clone();
        match how {
            "a gap" => {
                changes.remove(middle);
            }
            "a double" => changes.insert(middle, changes[middle].clone()),
            // At most two changes have the same revision, and these may be told in either order.
            _ => changes.swap(middle, middle + 2),
        }
        let spoilt = Told { changes, name: told.name.clone(), ..*told };
        if History::of(&spoilt, space.heard.last).is_ok_and(|spoilt| explain(&space.ops, &spoilt).is_ok()) {
            return missed(how);
        }
        seen.push(how.to_owned());
    }
    Ok(format!("seen: {}", seen.join(", ")))
}

fn of_objects(ops: &[ObjectOp], Searched { keys, longest, steps }: Searched) -> String {
    let (reads, writes): (Vec<&ObjectOp>, Vec<&ObjectOp>) =
        ops.iter().partition(|op| matches!(op.action, Action::Read { .. }));
    let unknown = writes.iter().filter(|op| op.answered.is_none()).count();
    format!(
        "{} orders and {} reads, {unknown} orders without an answer; {keys} objects, at most {longest} calls and {steps} steps \
         for one",
        writes.len() - unknown,
        reads.len(),
    )
}

/// A read is told what an earlier one was told, though something else was set in between.
fn spoilt_object(ops: &[ObjectOp]) -> Result<String, Broken> {
    let mut reads: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut sets: BTreeMap<(&str, u64), (u64, u64)> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate().skip(ops.len() / 2) {
        let Some(answered) = op.answered else { continue };
        match op.action {
            Action::Set(value) => {
                sets.insert((&op.object, value), (op.called, answered));
            }
            // Numbers of bytes come again; everything else is set once.
            Action::Read { value, version: None } => {
                let before = reads.insert(&op.object, (value, answered));
                let set = sets.get(&(op.object.as_str(), value));
                let (Some((old, told)), Some((called, done))) = (before, set) else { continue };
                if told >= *called || *done >= op.called {
                    continue;
                }
                let mut spoilt = ops.to_vec();
                spoilt[at].action = Action::Read { value: old, version: None };
                return match search_objects(&spoilt, STEPS) {
                    Err(_) => Ok("seen: a stale read".to_owned()),
                    Ok(_) => Err(Broken(format!("that {op:?} is told {old} was not seen"))),
                };
            }
            Action::Read { version: Some(_), .. } | Action::Remove(_) => {}
        }
    }
    Err(Broken("nothing was read before and after it was set".to_owned()))
}

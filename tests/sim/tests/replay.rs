//! A replay shows what each step said and changed, and is the run that it shows.

use std::cell::RefCell;
use std::rc::Rc;

use tests_sim::options::SECOND;
use tests_sim::replay::{Window, replay};
use tests_sim::trim::Trim;

fn lines(seed: u64, window: &Window) -> Vec<String> {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let told = lines.clone();
    assert!(replay(seed, &Trim::default(), window, move |line| told.borrow_mut().push(line)));
    lines.take()
}

#[test]
fn steps_are_shown_with_what_they_changed() {
    let window = Window { from: 0, to: 20 * SECOND, node: None };
    let all = lines(42, &window);
    let has = |what: &str| all.iter().any(|line| line.contains(what));
    for what in ["master-1 starts", "+ leads in term", "<- master-", "- run ", "+ job ", "Register"] {
        assert!(has(what), "{what} is not shown");
    }
    let one = lines(42, &Window { node: Some("agent-1".to_owned()), ..window });
    assert!(one.len() > 10 && one.len() < all.len() / 2, "{} of {} lines", one.len(), all.len());
    let is_of_others = |line: &&String| {
        let who = line.split("s ").nth(1).unwrap_or_default();
        line.contains("takes its turn") && !who.starts_with("agent-1 ")
    };
    assert_eq!(one.iter().find(is_of_others), None);
}

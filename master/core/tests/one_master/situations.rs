//! Situations in which something waits: the verdict that is expected of each, with names, and every remedy done for real.

#[path = "situations/nouns.rs"]
mod nouns;
#[path = "situations/script.rs"]
mod script;
#[path = "situations/supposed.rs"]
mod supposed;
#[path = "situations/table.rs"]
mod table;

use std::collections::BTreeSet;

use proto::explain::{Explanation, Remedy};
use proto::id::DemandId;
use proto::operator::{DemandRef, Explain, ReplyKind};

use master_core::Input;
use script::Script;
use table::SITUATIONS;

/// One situation, and what is to be said of it. The framework that waits is `web`.
struct Situation {
    name: &'static str,
    /// How it comes about.
    build: fn(&mut Script),
    /// What happens in the same moment as the question.
    at_once: fn(&mut Script) -> Vec<Input>,
    /// The demand that is asked about; empty: the framework as a whole.
    demand: &'static str,
    code: &'static str,
    /// Parts of the verdict, and of the notes; with a `=` before it, the whole verdict.
    says: &'static [&'static str],
    /// A step of the funnel and who fell out there.
    fell_out: Option<(&'static str, &'static [&'static str])>,
    /// The kinds of the changes of each remedy that helps, in order; `*` stands for any more.
    helps: &'static [&'static [&'static str]],
}

fn nothing_more(_: &mut Script) -> Vec<Input> {
    Vec::new()
}

// === impl Situation ===

impl Situation {
    /// What most have.
    const PLAIN: Situation = Situation {
        name: "",
        build: |_| {},
        at_once: nothing_more,
        demand: "web",
        code: "",
        says: &[],
        fell_out: None,
        helps: &[],
    };

    fn built(&self) -> Script {
        let mut script = Script::new();
        (self.build)(&mut script);
        script
    }

    fn question(&self) -> Explain {
        let framework = "web".to_owned();
        match self.demand {
            "" => Explain::Framework(framework),
            demand => Explain::Demand(DemandRef { framework, demand: DemandId::new(demand).unwrap() }),
        }
    }

    fn asked(&self, script: &mut Script) -> Explanation {
        let with = (self.at_once)(script);
        match script.asks(self.question(), with) {
            ReplyKind::Explain(mut told) if told.len() == 1 => told.remove(0),
            other => panic!("{}: not one explanation: {other:?}", self.name),
        }
    }

    /// The same again, and what would help is done: then the offer is there.
    fn prove(&self, remedy: &Remedy) {
        let mut script = self.built();
        script.forget_offered();
        // What changes the order comes before what is decided in the moment of the question, all else after it.
        let (first, then): (Vec<_>, Vec<_>) = remedy.steps.iter().partition(|step| step.kind == "weight");
        first.iter().for_each(|step| script.does(step, "web"));
        let with = (self.at_once)(&mut script);
        script.say_all(with);
        then.iter().for_each(|step| script.does(step, "web"));
        script.pass(std::time::Duration::from_secs(1));
        let demand = Some(self.demand).filter(|demand| !demand.is_empty());
        assert!(script.was_offered("web", demand), "{}: {remedy:#?} was done and does not help", self.name);
    }
}

impl Situation {
    /// What of an explanation is not as it should be.
    fn faults(&self, told: &Explanation) -> Vec<String> {
        let mut faults = Vec::new();
        if told.code != self.code {
            faults.push(format!("code {} instead of {}", told.code, self.code));
        }
        let subject = match self.demand {
            "" => "framework web".to_owned(),
            demand => format!("demand {demand} of web: "),
        };
        if !told.subject.starts_with(&subject) {
            faults.push(format!("it is about {}", told.subject));
        }
        let said = format!("{} {}", told.verdict, told.notes.join(" "));
        let is_said = |part: &str| match part.strip_prefix('=') {
            Some(whole) => told.verdict == whole,
            None => said.contains(part),
        };
        let missing = self.says.iter().filter(|part| !is_said(part));
        faults.extend(missing.map(|part| format!("{part:?} is missing")));
        if let Some((name, hosts)) = self.fell_out {
            let step = told.funnel.iter().find(|step| step.name == name);
            let fell_out = step.map(|step| step.fell_out.as_slice()).unwrap_or_default();
            if fell_out != hosts {
                faults.push(format!("at {name} fell out {fell_out:?} instead of {hosts:?}"));
            }
        }
        let helps: Vec<Vec<&str>> = told.tried.iter().filter(|remedy| remedy.helps).map(kinds).collect();
        if helps != self.helps || told.help.len() != helps.len() {
            faults.push(format!("{helps:?} help instead of {:?}", self.helps));
        }
        faults
    }
}

#[test]
fn every_situation_has_its_verdict() {
    let mut faults = Vec::new();
    for situation in SITUATIONS {
        let told = situation.asked(&mut situation.built());
        let wrong = situation.faults(&told);
        if !wrong.is_empty() {
            faults.push(format!("{}: {}\n{told:#?}", situation.name, wrong.join("; ")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn no_situation_passes_for_another() {
    let answers: Vec<Explanation> =
        SITUATIONS.iter().map(|situation| situation.asked(&mut situation.built())).collect();
    for (at, situation) in SITUATIONS.iter().enumerate() {
        for (other, told) in answers.iter().enumerate().filter(|(other, _)| *other != at) {
            let other = &SITUATIONS[other];
            assert!(!situation.faults(told).is_empty(), "{} passes for {}", other.name, situation.name);
        }
    }
}

fn kinds(remedy: &Remedy) -> Vec<&str> {
    remedy.steps.iter().map(|step| step.kind.as_str()).collect()
}

#[test]
fn what_is_said_to_help_helps() {
    let mut proved = BTreeSet::new();
    for situation in SITUATIONS {
        let told = situation.asked(&mut situation.built());
        for remedy in told.tried.iter().filter(|remedy| remedy.helps) {
            situation.prove(remedy);
            proved.extend(remedy.steps.iter().map(|step| step.kind.clone()));
        }
    }
    let all: BTreeSet<String> =
        proto::explain::RemedyKind::ALL.iter().map(|kind| kind.code().to_owned()).collect();
    assert_eq!(proved, all, "every kind of remedy was done for real");
}

#[test]
fn there_are_enough_of_them_and_they_differ() {
    let names: BTreeSet<&str> = SITUATIONS.iter().map(|situation| situation.name).collect();
    assert_eq!(names.len(), SITUATIONS.len(), "each has a name of its own");
    assert!(SITUATIONS.len() >= 25);
    let codes: BTreeSet<&str> = SITUATIONS.iter().map(|situation| situation.code).collect();
    assert!(codes.len() >= 18, "{codes:?}");
    // Without what stands in the way each of them would be said to be served: no verdict is said whatever happens.
    let mut free = Script::new();
    free.framework("web", "web");
    free.agent("a", 4000);
    free.wants("web", 1, script::cpus(1000), &[]);
    let told = table::SITUATIONS[0].asked(&mut free);
    assert_eq!(told.code, "served", "{told:?}");
}

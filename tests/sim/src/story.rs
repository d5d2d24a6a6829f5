//! Stories: a short script, and the golden transcript of everything that everybody said.

use crate::check::Verdict;
use crate::node::Node;
use crate::options::{FrameworkPlan, Habits, Options, Personality, SECOND};
use crate::world::{Event, World};

/// Between the script and its transcript.
pub const RULE: &str = "----\n";
/// The longest that a story waits for something.
const PATIENCE: u64 = 600 * SECOND;

/// What happened, as lines.
#[derive(Debug, Default)]
pub struct Transcript {
    lines: Vec<String>,
    last: u64,
}

impl Transcript {
    /// One says something to another.
    pub fn says(&mut self, at: u64, from: &str, to: &str, what: &str) {
        self.pass(at);
        self.lines.push(format!("{from:<8} -> {to:<8}  {what}"));
    }

    /// A node does something.
    pub fn does(&mut self, at: u64, who: &str, what: &str) {
        self.pass(at);
        self.lines.push(format!("{who:<8}              {what}"));
    }

    fn pass(&mut self, at: u64) {
        let waited = at.saturating_sub(self.last) / SECOND;
        if waited > 0 {
            self.lines.push(format!("... {waited}s"));
        }
        self.last = at;
    }

    /// The lines so far.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Plays a script and gives the transcript, or says what is wrong with it.
///
/// ```text
/// cluster masters=3 agents=2 framework=demanding tasks=1
/// run until=leader|offered|launched|running|done    run for=SECONDS
/// crash NODE    start NODE        NODE: agent-1, framework-1, master-2, leader, chosen (the agent of the first launch)
/// ```
pub fn play(script: &str) -> Result<String, String> {
    let mut world: Option<World> = None;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = match (&words[..], world.as_mut()) {
            (["cluster", settings @ ..], None) => {
                world = Some(cluster(settings)?);
                Ok(())
            }
            (["run", how], Some(world)) => run(world, how),
            (["crash", who], Some(world)) => node(world, who).map(|node| world.die(node)),
            (["start", who], Some(world)) => node(world, who).map(|node| {
                let life = world.life(node).0;
                world.queue.push(world.now, Event::Begin(node, life));
            }),
            _ => Err("is not understood here".to_owned()),
        };
        said.map_err(|why| format!("{line:?} {why}"))?;
    }
    Ok(world.and_then(|world| world.transcript).map(|transcript| transcript.text()).unwrap_or_default())
}

fn cluster(settings: &[&str]) -> Result<World, String> {
    let (mut masters, mut agents, mut tasks) = (1, 1, 1);
    let mut personality = Personality::Demanding;
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or_else(|| format!("{setting} is not NAME=VALUE"))?;
        let number = || value.parse().map_err(|_| format!("{value:?} is not a number"));
        match name {
            "masters" => masters = number()?,
            "agents" => agents = number()?,
            "tasks" => tasks = number()?,
            "framework" => {
                personality = match value {
                    "demanding" => Personality::Demanding,
                    "greedy" => Personality::Greedy,
                    "silent" => Personality::Silent,
                    _ => return Err(format!("{value:?} is no framework of stories")),
                };
            }
            _ => return Err(format!("{name:?} is no setting")),
        }
    }
    let plan = FrameworkPlan { personality, jobs: tasks as u32, habits: Habits::default() };
    let mut world = World::new(Options::still(masters, agents, vec![plan]), 1);
    world.transcript = Some(Transcript::default());
    Ok(world)
}

fn run(world: &mut World, how: &str) -> Result<(), String> {
    let verdict: Verdict = match how.split_once('=') {
        Some(("for", seconds)) => {
            let seconds: u64 = seconds.parse().map_err(|_| format!("{seconds:?} is not a number"))?;
            world.run_until(world.now + seconds * SECOND)
        }
        Some(("until", what)) => {
            let end = world.now + PATIENCE;
            loop {
                if reached(world, what)? {
                    break Ok(());
                }
                if world.now > end {
                    return Err("never came".to_owned());
                }
                if let Err(broken) = world.one() {
                    break Err(broken);
                }
            }
        }
        Some(_) | None => return Err("is not for=SECONDS or until=WHAT".to_owned()),
    };
    verdict.map_err(|broken| format!("broke a promise: {broken}"))
}

fn reached(world: &World, what: &str) -> Result<bool, String> {
    let launches = &world.checks.launches;
    Ok(match what {
        "leader" => world.leaders().len() == 1,
        "offered" => world.checks.offers.counts().0 > 0,
        "launched" => launches.wishes().any(|(_, wish)| wish.run.is_some()),
        "running" => world.checks.one_place.count() > 0,
        "done" => world.frameworks.iter().all(|framework| framework.memory.is_done()),
        _ => return Err(format!("{what:?} is nothing to wait for")),
    })
}

fn node(world: &World, who: &str) -> Result<Node, String> {
    let nobody = || format!("{who} is nobody");
    match who {
        "leader" => world.leaders().first().copied().ok_or_else(nobody),
        "chosen" => {
            let mut offers = world.checks.launches.wishes().flat_map(|(_, wish)| &wish.offers);
            let agent = offers.find_map(|offer| world.checks.offers.agent_of(*offer)).ok_or_else(nobody)?;
            let at = world.agents.iter().position(|node| node.info.id == *agent).ok_or_else(nobody)?;
            Ok(Node::Agent(at + 1))
        }
        _ => world.nodes().into_iter().find(|node| node.to_string() == who).ok_or_else(nobody),
    }
}

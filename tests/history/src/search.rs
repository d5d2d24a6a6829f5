//! `search`: is there an order of what was done in which every answer is right? (Wing and Gong 1993, with Lowe's memory.)

use std::collections::BTreeSet;

/// What is asked and changed, one thing after another.
pub trait Model {
    /// How it stands.
    type State: Clone + Ord;
    /// What is done to it, with what came of it.
    type Action;

    /// How it stood before anything was done.
    fn first(&self) -> Self::State;

    /// How it stands after an action, or `None` where what came of the action cannot have come of it there. An action whose
    /// answer is not known is one that was carried out: that it was not is the search's business.
    fn after(&self, state: &Self::State, action: &Self::Action) -> Option<Self::State>;
}

/// Something that was done, as whoever did it saw it.
#[derive(Clone, Debug)]
pub struct Event<A> {
    /// When it was asked for.
    pub called: u64,
    /// When it was answered; `None`: never, so it may take effect at any time from then on, or never.
    pub answered: Option<u64>,
    /// What, and what came of it.
    pub action: A,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order. It took so many steps to find.
    Ordered(u64),
    /// There is none. At best so many of the answered ones can be put in order, and then none of `stuck` (numbers of events)
    /// can be the next.
    Impossible {
        /// How many.
        placed: usize,
        /// Which could not be next.
        stuck: Vec<usize>,
    },
    /// It was not found within the steps that were allowed. That is no better than an impossible one.
    Undecided,
}

/// Where the search stands: everything before `low` is placed, and some behind it.
struct Search<'a, M: Model> {
    events: &'a [Event<M::Action>],
    /// The answered ones in the order in which they were called, and when each was called and answered.
    known: Vec<(usize, u64, u64)>,
    /// Those without an answer, in the same order.
    unknown: Vec<(usize, u64)>,
    placed: Vec<bool>,
    placed_unknown: Vec<bool>,
    low: usize,
    /// How many of the answered ones are placed.
    count: usize,
}

/// A place in the order, and what can stand there.
struct Frame<S> {
    state: S,
    candidates: Vec<Pick>,
    next: usize,
    /// What was placed to come here, and where `low` was before.
    came: Option<(Pick, usize)>,
}

#[derive(Clone, Copy)]
enum Pick {
    Known(usize),
    Unknown(usize),
}

/// Everything that decides what can follow.
type Spot<S> = (usize, Vec<usize>, Vec<usize>, S);

/// Looks for an order, in at most `limit` steps.
pub fn search<M: Model>(model: &M, events: &[Event<M::Action>], limit: u64) -> Verdict {
    let mut search = Search::<M>::new(events);
    let mut seen: BTreeSet<Spot<M::State>> = BTreeSet::new();
    let (mut steps, mut best) = (0, (0, Vec::new()));
    let first = model.first();
    let candidates = search.candidates();
    let mut stack = vec![Frame { state: first, candidates, next: 0, came: None }];
    while let Some(frame) = stack.last_mut() {
        if search.count == search.known.len() {
            return Verdict::Ordered(steps);
        }
        let Some(pick) = frame.candidates.get(frame.next).copied() else {
            if best.1.is_empty() || search.count > best.0 {
                best = (
                    search.count,
                    frame.candidates.iter().filter_map(|pick| search.answered(*pick)).collect(),
                );
            }
            let came = frame.came;
            stack.pop();
            if let Some((pick, low)) = came {
                search.lift(pick, low);
            }
            continue;
        };
        frame.next += 1;
        steps += 1;
        if steps > limit {
            return Verdict::Undecided;
        }
        let Some(state) = model.after(&frame.state, search.action(pick)) else { continue };
        if matches!(pick, Pick::Unknown(_)) && state == frame.state {
            // It would change nothing here, and can still stand further back.
            continue;
        }
        let alone = frame.candidates.len() == 1;
        let low = search.low;
        search.place(pick);
        // A place with one way on is come to by one way, or was remembered before.
        if !alone && !seen.insert(search.spot(&state)) {
            search.lift(pick, low);
            continue;
        }
        let candidates = search.candidates();
        stack.push(Frame { state, candidates, next: 0, came: Some((pick, low)) });
    }
    Verdict::Impossible { placed: best.0, stuck: best.1 }
}

// === impl Search ===

impl<'a, M: Model> Search<'a, M> {
    fn new(events: &'a [Event<M::Action>]) -> Self {
        let mut known: Vec<(usize, u64, u64)> = events
            .iter()
            .enumerate()
            .filter_map(|(at, event)| event.answered.map(|answered| (at, event.called, answered)))
            .collect();
        known.sort_by_key(|(at, called, _)| (*called, *at));
        let without = events.iter().enumerate().filter(|(_, event)| event.answered.is_none());
        let mut unknown: Vec<(usize, u64)> = without.map(|(at, event)| (at, event.called)).collect();
        unknown.sort_by_key(|(at, called)| (*called, *at));
        let (placed, placed_unknown) = (vec![false; known.len()], vec![false; unknown.len()]);
        Search { events, known, unknown, placed, placed_unknown, low: 0, count: 0 }
    }

    /// What can be next: whatever was called before everything that is left was answered. Answered ones first, the one
    /// that was answered first before all: most often it is the one.
    fn candidates(&self) -> Vec<Pick> {
        let mut bound = u64::MAX;
        let mut known: Vec<(u64, usize)> = Vec::new();
        for (at, (_, called, answered)) in self.known.iter().enumerate().skip(self.low) {
            if *called > bound {
                break;
            }
            if !self.placed[at] {
                bound = bound.min(*answered);
                known.push((*answered, at));
            }
        }
        known.sort_unstable();
        let open = self.unknown.iter().enumerate();
        let open = open.take_while(|(_, (_, called))| *called <= bound).map(|(at, _)| at);
        let open = open.filter(|at| !self.placed_unknown[*at]).map(Pick::Unknown);
        known.into_iter().map(|(_, at)| Pick::Known(at)).chain(open).collect()
    }

    fn action(&self, pick: Pick) -> &'a M::Action {
        let at = match pick {
            Pick::Known(at) => self.known[at].0,
            Pick::Unknown(at) => self.unknown[at].0,
        };
        &self.events[at].action
    }

    /// The number of the event, if it was answered.
    fn answered(&self, pick: Pick) -> Option<usize> {
        match pick {
            Pick::Known(at) => Some(self.known[at].0),
            Pick::Unknown(_) => None,
        }
    }

    fn place(&mut self, pick: Pick) {
        match pick {
            Pick::Known(at) => {
                self.placed[at] = true;
                self.count += 1;
                while self.placed.get(self.low).copied().unwrap_or(false) {
                    self.low += 1;
                }
            }
            Pick::Unknown(at) => self.placed_unknown[at] = true,
        }
    }

    fn lift(&mut self, pick: Pick, low: usize) {
        match pick {
            Pick::Known(at) => {
                self.placed[at] = false;
                self.count -= 1;
                self.low = low;
            }
            Pick::Unknown(at) => self.placed_unknown[at] = false,
        }
    }

    fn spot(&self, state: &M::State) -> Spot<M::State> {
        let mut beyond = Vec::with_capacity(self.count - self.low);
        let mut at = self.low;
        while beyond.len() < self.count - self.low {
            if self.placed[at] {
                beyond.push(at);
            }
            at += 1;
        }
        let open = self.placed_unknown.iter().enumerate().filter(|(_, placed)| **placed);
        (self.low, beyond, open.map(|(at, _)| at).collect(), state.clone())
    }
}

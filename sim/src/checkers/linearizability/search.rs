//! The search for an order: depth first, operations linearized only when an answer asks for it, nothing searched twice.

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::SHOWN;
use super::problem::{Action, NULL, Problem, Value};

/// How a search ended.
pub(super) enum Found {
    /// There is an order.
    Order,
    /// There is none; how far it went.
    NoOrder(Deepest),
    /// It took more steps than allowed.
    GaveUp,
}

/// The furthest that any order goes.
#[derive(Default)]
pub(super) struct Deepest {
    /// The answer that no order gets beyond.
    pub(super) answer: usize,
    /// How many operations the order holds.
    pub(super) linearized: usize,
    /// The last of them.
    pub(super) last: Vec<usize>,
    /// Operations that are open at that answer and placed.
    pub(super) placed: Vec<usize>,
    /// The values that the register can hold at that answer.
    pub(super) states: Vec<Value>,
}

/// A state of the search: the next answer, what the register holds, and which open operations are placed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Config(Box<[u64]>);

impl Config {
    fn start(problem: &Problem) -> Self {
        let mut config = Config(vec![0; 1 + problem.bits.div_ceil(64)].into());
        config.set(0, NULL);
        config
    }

    fn answer(&self) -> usize {
        (self.0[0] >> 32) as usize
    }

    fn state(&self) -> Value {
        self.0[0] as Value
    }

    fn set(&mut self, answer: usize, state: Value) {
        self.0[0] = (answer as u64) << 32 | u64::from(state);
    }

    fn has(&self, bit: usize) -> bool {
        self.0[1 + bit / 64] >> (bit % 64) & 1 == 1
    }

    fn flip(&mut self, bit: usize) {
        self.0[1 + bit / 64] ^= 1 << (bit % 64);
    }

    /// Returns its weight in the limit of steps.
    fn weight(&self) -> u64 {
        1 + self.0.len() as u64 / 8
    }
}

/// A state whose continuations are being tried.
struct Frame {
    config: Config,
    /// Operations still to be tried, the last one first.
    untried: Vec<usize>,
    /// The length of the order that led here.
    depth: usize,
}

/// Searches, and says how many steps it took.
pub(super) fn search(problem: &Problem, limit: u64) -> (u64, Found) {
    let mut seen: HashSet<Config, FixedState> = HashSet::with_hasher(FixedState::with_seed(0));
    let mut stack: Vec<Frame> = Vec::new();
    let mut order: Vec<usize> = Vec::new();
    let mut deepest = Deepest::default();
    let mut steps = 0;
    let mut next = Some(Config::start(problem));
    loop {
        if let Some(mut config) = next.take() {
            pass_forced(problem, &mut config, &mut order);
            if config.answer() == problem.answers.len() {
                return (steps, Found::Order);
            }
            deepest.note(problem, &config, &order);
            if seen.insert(config.clone()) {
                steps += config.weight();
                if steps > limit {
                    return (steps, Found::GaveUp);
                }
                let untried = continuations(problem, &config);
                let depth = order.len();
                stack.push(Frame {
                    config,
                    untried,
                    depth,
                });
            }
        }
        let Some(frame) = stack.last_mut() else {
            return (steps, Found::NoOrder(deepest));
        };
        order.truncate(frame.depth);
        match frame.untried.pop() {
            Some(number) => next = place(problem, &frame.config, number, &mut order),
            None => drop(stack.pop()),
        }
    }
}

/// Does what needs no choice: open reads that the register answers now are placed, since they change nothing; and answers of
/// operations that are placed pass.
fn pass_forced(problem: &Problem, config: &mut Config, order: &mut Vec<usize>) {
    while let Some(&answered) = problem.answers.get(config.answer()) {
        let state = config.state();
        for &number in &problem.open[config.answer()] {
            let candidate = &problem.candidates[number];
            if candidate.action == Action::Read(state) && !config.has(candidate.bit) {
                config.flip(candidate.bit);
                order.push(number);
            }
        }
        let bit = problem.candidates[answered].bit;
        if !config.has(bit) {
            return;
        }
        config.flip(bit);
        config.set(config.answer() + 1, state);
    }
}

/// Returns the operations that can be placed next, the most promising last: those that leave what the waiting answer needs, or are that answer.
fn continuations(problem: &Problem, config: &Config) -> Vec<usize> {
    let waiting = problem.answers[config.answer()];
    let needs = match problem.candidates[waiting].action {
        Action::Read(value) | Action::Cas(value, _) => Some(value),
        Action::Write(_) => None,
    };
    let unknown = &problem.unknown[..problem.unknown_called[config.answer()]];
    let open = &problem.open[config.answer()];
    let possible = |number: &&usize| {
        let candidate = &problem.candidates[**number];
        !config.has(candidate.bit)
            && candidate.action.apply(config.state()).is_some()
            && candidate.twin.is_none_or(|twin| config.has(twin))
    };
    let mut out: Vec<usize> = unknown
        .iter()
        .rev()
        .chain(open.iter().rev())
        .filter(possible)
        .copied()
        .collect();
    out.sort_by_key(|number| {
        let leaves = problem.candidates[*number].action.leaves();
        (*number == waiting, needs.is_some() && leaves == needs)
    });
    out
}

fn place(
    problem: &Problem,
    config: &Config,
    number: usize,
    order: &mut Vec<usize>,
) -> Option<Config> {
    let candidate = &problem.candidates[number];
    let state = candidate.action.apply(config.state())?;
    let mut config = config.clone();
    config.flip(candidate.bit);
    config.set(config.answer(), state);
    order.push(number);
    Some(config)
}

impl Deepest {
    fn note(&mut self, problem: &Problem, config: &Config, order: &[usize]) {
        let answer = config.answer();
        if answer < self.answer {
            return;
        }
        if answer > self.answer {
            self.states.clear();
        }
        if answer > self.answer || order.len() > self.linearized {
            self.answer = answer;
            self.linearized = order.len();
            self.last = order[order.len().saturating_sub(SHOWN)..].to_vec();
            let unknown = &problem.unknown[..problem.unknown_called[answer]];
            let open = unknown.iter().chain(&problem.open[answer]).copied();
            let placed = open.filter(|number| config.has(problem.candidates[*number].bit));
            self.placed = placed.collect();
        }
        if self.states.len() < SHOWN && !self.states.contains(&config.state()) {
            self.states.push(config.state());
        }
    }
}

//! One key's operations in the form that the search needs: small integers, and what is open when.

use std::collections::BTreeMap;

use crate::history::{Call, Operation, Outcome, Scalar};

/// A value, numbered; [`NULL`] is what the register holds at first.
pub(super) type Value = u32;

/// The number of `null`.
pub(super) const NULL: Value = 0;

/// The most entries in [`Problem::open`]: beyond it so many calls overlap that no search would end.
const MAX_OPEN_ENTRIES: usize = 20_000_000;

/// The effect of an operation on the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Read(Value),
    Write(Value),
    Cas(Value, Value),
}

impl Action {
    /// The register afterwards, `None` if the action cannot happen in this state.
    pub(super) fn apply(self, state: Value) -> Option<Value> {
        match self {
            Action::Read(seen) => (seen == state).then_some(state),
            Action::Write(value) => Some(value),
            Action::Cas(old, new) => (old == state).then_some(new),
        }
    }

    /// The value it leaves, `None` for a read.
    pub(super) fn leaves(self) -> Option<Value> {
        match self {
            Action::Read(_) => None,
            Action::Write(value) | Action::Cas(_, value) => Some(value),
        }
    }
}

/// An operation that has to or may be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its index among the key's operations.
    pub(super) operation: usize,
    pub(super) action: Action,
    /// Its place in the set of those placed. An answered operation frees its bit with its answer.
    pub(super) bit: usize,
    /// For one of unknown outcome: the bit of the one before it that does the same. They are alike from the later one's
    /// call on, so the earlier is placed first.
    pub(super) twin: Option<usize>,
}

/// One key's operations. Numbers in its lists are indices of `candidates`.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub(super) candidates: Vec<Candidate>,
    /// The answered ones in the order of their answers.
    pub(super) answers: Vec<usize>,
    /// Before each answer: the answered ones that have been called and not yet been answered.
    pub(super) open: Vec<Vec<usize>>,
    /// Before each answer: how many of `unknown` have been called.
    pub(super) unknown_called: Vec<usize>,
    /// Operations of unknown outcome, in the order of their calls.
    pub(super) unknown: Vec<usize>,
    /// How many bits the set of those placed needs.
    pub(super) bits: usize,
    /// The values by their numbers.
    pub(super) values: Vec<Scalar>,
}

enum Step {
    Call,
    Answer,
}

impl Problem {
    /// `None` when too many calls overlap.
    pub(super) fn new(operations: &[&Operation]) -> Option<Problem> {
        let mut problem = Problem::default();
        let mut numbers = Numbers::default();
        let mut steps: Vec<(u64, Step, usize)> = Vec::new();
        let mut unknown = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            let called = operation.called.line;
            match operation.ended {
                Some((Outcome::Ok, end)) => {
                    let Some(action) = numbers.action(operation) else {
                        continue;
                    };
                    let number = problem.add(index, action);
                    steps.push((called, Step::Call, number));
                    steps.push((end.line, Step::Answer, number));
                }
                Some((Outcome::Fail, _)) => {}
                Some((Outcome::Info, _)) | None => {
                    if let Some(action) = numbers.action(operation) {
                        unknown.push((index, called, action));
                    }
                }
            }
        }
        problem.values = numbers.values;
        let seen = problem.observed(&unknown);
        for (index, called, action) in unknown {
            if action.leaves().is_some_and(|value| seen[value as usize]) {
                let number = problem.add(index, action);
                problem.unknown.push(number);
                steps.push((called, Step::Call, number));
            }
        }
        steps.sort_by_key(|(line, _, _)| *line);
        problem.lay_out(&steps).then_some(problem)
    }

    fn add(&mut self, operation: usize, action: Action) -> usize {
        self.candidates.push(Candidate {
            operation,
            action,
            bit: 0,
            twin: None,
        });
        self.candidates.len() - 1
    }

    /// Marks the values that an operation read or compared with. A write of unknown outcome that leaves another value can be taken out of
    /// any order: what follows it is a write, or nothing.
    fn observed(&self, unknown: &[(usize, u64, Action)]) -> Vec<bool> {
        let mut seen = vec![false; self.values.len()];
        let answered = self.candidates.iter().map(|one| one.action);
        for action in answered.chain(unknown.iter().map(|(_, _, action)| *action)) {
            if let Action::Read(value) | Action::Cas(value, _) = action {
                seen[value as usize] = true;
            }
        }
        seen
    }

    /// Walks through the calls and answers. False when too many overlap.
    fn lay_out(&mut self, steps: &[(u64, Step, usize)]) -> bool {
        let is_unknown: Vec<bool> = {
            let mut flags = vec![false; self.candidates.len()];
            self.unknown.iter().for_each(|number| flags[*number] = true);
            flags
        };
        let (mut open, mut free, mut bits) = (Vec::new(), Vec::new(), 0);
        let (mut called, mut entries) = (0, 0);
        for (_, step, number) in steps {
            match step {
                Step::Call if is_unknown[*number] => called += 1,
                Step::Call => {
                    self.candidates[*number].bit = free.pop().unwrap_or_else(|| {
                        bits += 1;
                        bits - 1
                    });
                    open.push(*number);
                }
                Step::Answer => {
                    entries += open.len();
                    if entries > MAX_OPEN_ENTRIES {
                        return false;
                    }
                    self.open.push(open.clone());
                    self.unknown_called.push(called);
                    self.answers.push(*number);
                    open.retain(|other| other != number);
                    free.push(self.candidates[*number].bit);
                }
            }
        }
        let mut twins: BTreeMap<Action, usize> = BTreeMap::new();
        for number in &self.unknown {
            let candidate = &mut self.candidates[*number];
            candidate.bit = bits;
            candidate.twin = twins.insert(candidate.action, bits);
            bits += 1;
        }
        self.bits = bits;
        true
    }
}

/// Gives values their numbers.
struct Numbers {
    values: Vec<Scalar>,
    numbers: BTreeMap<Scalar, Value>,
}

impl Default for Numbers {
    fn default() -> Self {
        let mut numbers = Numbers {
            values: Vec::new(),
            numbers: BTreeMap::new(),
        };
        let null = numbers.number(&Scalar::null());
        debug_assert_eq!(null, NULL);
        numbers
    }
}

impl Numbers {
    fn number(&mut self, value: &Scalar) -> Value {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        // 2^32 values would need more memory than a history may have.
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }

    /// `None` for a read without a result.
    fn action(&mut self, operation: &Operation) -> Option<Action> {
        Some(match &operation.call {
            Call::Read => Action::Read(self.number(operation.seen.as_ref()?)),
            Call::Write(value) => Action::Write(self.number(value)),
            Call::Cas { old, new } => Action::Cas(self.number(old), self.number(new)),
        })
    }
}

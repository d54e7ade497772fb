//! Random histories of one register, judged here and by an independent checker, which knows no open operations: they are
//! completed at the end, where those of unknown outcome always fit.

use arbitrary::{Result, Unstructured};
use todc_utils::specifications::Specification;
use todc_utils::{Action, WGLChecker};

use super::*;
use crate::rng::{Rng, Stream};

const HISTORIES: u64 = 200;
const MAX_OPERATIONS: usize = 500;
const MAX_PROCESSES: usize = 6;
/// With the processes: no more than ten calls at once, beyond which the other judge takes too long.
const MAX_UNKNOWN: usize = 4;

/// A call that is being made while a history is drawn.
struct Running {
    operation: usize,
    /// Whether it has taken effect, or has failed to.
    done: bool,
}

/// Plays a real register: every operation takes effect at one instant, so that there is an order.
struct Player {
    register: Scalar,
    values: i64,
    line: u64,
    operations: Vec<Operation>,
}

impl Player {
    fn draw(u: &mut Unstructured<'_>) -> Result<Vec<Operation>> {
        let mut player = Player {
            register: Scalar::null(),
            values: u.int_in_range(1..=5)?,
            line: 0,
            operations: Vec::new(),
        };
        let processes = u.int_in_range(1..=MAX_PROCESSES)?;
        let mut running: Vec<Option<Running>> = (0..processes).map(|_| None).collect();
        // Operations whose callers gave up before they took effect.
        let mut late: Vec<usize> = Vec::new();
        let mut unknown = 0;
        for _ in 0..u.int_in_range(1..=MAX_OPERATIONS * 3)? {
            if !late.is_empty() && u.ratio(1, 20)? {
                let operation = late.swap_remove(u.choose_index(late.len())?);
                player.take_effect(operation);
            }
            let process = u.choose_index(processes)?;
            player.line += 1;
            match running[process].take() {
                None if player.operations.len() < MAX_OPERATIONS => {
                    let operation = player.call(u, process)?;
                    let done = false;
                    running[process] = Some(Running { operation, done });
                }
                None => {}
                Some(Running { operation, done }) if unknown < MAX_UNKNOWN && u.ratio(1, 30)? => {
                    unknown += 1;
                    player.end(operation, Outcome::Info);
                    if !done {
                        late.push(operation);
                    }
                }
                Some(Running { operation, done }) if !done => {
                    player.take_effect(operation);
                    let done = true;
                    running[process] = Some(Running { operation, done });
                }
                // A cas that did not find its value has failed already.
                Some(Running { operation, .. }) if player.operations[operation].ended.is_some() => {
                }
                Some(Running { operation, .. }) => player.end(operation, Outcome::Ok),
            }
        }
        for operation in player
            .operations
            .iter_mut()
            .filter(|one| one.ended.is_none())
        {
            operation.seen = None;
        }
        Ok(player.operations)
    }

    fn call(&mut self, u: &mut Unstructured<'_>, process: usize) -> Result<usize> {
        let call = match u.int_in_range(0..=3)? {
            0 | 1 => Call::Read,
            2 => Call::Write(value(u, self.values)?),
            _ => {
                let (old, new) = (value(u, self.values)?, value(u, self.values)?);
                Call::Cas { old, new }
            }
        };
        self.operations.push(Operation {
            process: Scalar::number(process as i64),
            key: Scalar::text("x"),
            call,
            called: Place {
                line: self.line,
                time: 0,
            },
            ended: None,
            seen: None,
        });
        Ok(self.operations.len() - 1)
    }

    /// A cas that does not find its value fails.
    fn take_effect(&mut self, number: usize) {
        let operation = &mut self.operations[number];
        let answered = operation.ended.is_none();
        match &operation.call {
            Call::Read if answered => operation.seen = Some(self.register.clone()),
            Call::Read => {}
            Call::Write(value) => self.register = value.clone(),
            Call::Cas { old, new } if *old == self.register => self.register = new.clone(),
            Call::Cas { .. } if answered => self.end(number, Outcome::Fail),
            Call::Cas { .. } => {}
        }
    }

    fn end(&mut self, operation: usize, outcome: Outcome) {
        let place = Place {
            line: self.line,
            time: 0,
        };
        let operation = &mut self.operations[operation];
        operation.ended = Some((outcome, place));
        if outcome != Outcome::Ok {
            operation.seen = None;
        }
    }
}

/// One of a few values, so that many are alike.
fn value(u: &mut Unstructured<'_>, most: i64) -> Result<Scalar> {
    Ok(match u.int_in_range(0..=most)? {
        0 => Scalar::null(),
        number => Scalar::number(number),
    })
}

/// Changes what some operations did, so that mostly there is no order any more.
fn mutate(u: &mut Unstructured<'_>, operations: &mut [Operation]) -> Result<()> {
    for _ in 0..u.int_in_range(1..=3)? {
        if operations.is_empty() {
            break;
        }
        let operation = &mut operations[u.choose_index(operations.len())?];
        let value = value(u, 5)?;
        match &mut operation.call {
            Call::Read => {
                if let Some(seen) = &mut operation.seen {
                    *seen = value;
                }
            }
            Call::Write(old) => *old = value,
            Call::Cas { old, .. } => *old = value,
        }
        if let Some((outcome @ Outcome::Fail, _)) = &mut operation.ended {
            *outcome = Outcome::Ok;
        }
    }
    Ok(())
}

/// Returns the history before the event of a line. A failed operation has failed from the start: it never happens.
fn before(line: u64, operations: &[Operation]) -> Vec<Operation> {
    let mut prefix = operations.to_vec();
    prefix.retain(|operation| operation.called.line < line);
    for operation in &mut prefix {
        if let Some((Outcome::Ok | Outcome::Info, end)) = operation.ended
            && end.line >= line
        {
            operation.ended = None;
            operation.seen = None;
        }
    }
    prefix
}

#[derive(Clone, Debug)]
enum Step {
    Read(Scalar),
    Write(Scalar),
    Cas(Scalar, Scalar),
    /// A compare-and-set of unknown outcome: it may have changed nothing.
    MaybeCas(Scalar, Scalar),
}

struct Register;

impl Specification for Register {
    type State = Scalar;
    type Operation = Step;

    fn init() -> Scalar {
        Scalar::null()
    }

    fn apply(step: &Step, state: &Scalar) -> (bool, Scalar) {
        match step {
            Step::Read(seen) => (seen == state, state.clone()),
            Step::Write(value) => (true, value.clone()),
            Step::Cas(old, new) => (old == state, new.clone()),
            Step::MaybeCas(old, new) if old == state => (true, new.clone()),
            Step::MaybeCas(..) => (true, state.clone()),
        }
    }
}

/// The other judge.
fn second_judge(operations: &[Operation]) -> bool {
    let mut events = Vec::new();
    for (process, operation) in operations.iter().enumerate() {
        let end = match operation.ended {
            Some((Outcome::Ok, end)) => Some(end.line),
            Some((Outcome::Info, _)) | None => None,
            Some((Outcome::Fail, _)) => continue,
        };
        let step = match (&operation.call, &operation.seen) {
            (Call::Read, Some(seen)) if end.is_some() => Step::Read(seen.clone()),
            (Call::Read, _) => continue,
            (Call::Write(value), _) => Step::Write(value.clone()),
            (Call::Cas { old, new }, _) if end.is_some() => Step::Cas(old.clone(), new.clone()),
            (Call::Cas { old, new }, _) => Step::MaybeCas(old.clone(), new.clone()),
        };
        events.push((operation.called.line, process, Action::Call(step.clone())));
        events.push((end.unwrap_or(u64::MAX), process, Action::Response(step)));
    }
    events.sort_by_key(|(line, ..)| *line);
    let actions: Vec<_> = events
        .into_iter()
        .map(|(_, process, action)| (process, action))
        .collect();
    // The other one panics on a history without events.
    actions.is_empty()
        || WGLChecker::<Register>::is_linearizable(todc_utils::History::from_actions(actions))
}

fn first_judge(operations: &[Operation]) -> Verdict {
    let operations: Vec<&Operation> = operations.iter().collect();
    check_key(&operations, STEPS).1
}

fn list(operations: &[Operation]) -> String {
    operations
        .iter()
        .map(|operation| format!("{operation}\n"))
        .collect()
}

/// Draws histories, most of them short, a few of the greatest length. The same in every run, however slow the machine.
fn each(mut property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    for seed in 0..HISTORIES {
        let length = match seed % 40 {
            0 => 6_000,
            short => 32 + 32 * short as usize,
        };
        let bytes = Rng::new(seed, Stream::Seeds, 0).bytes(length);
        property(&mut Unstructured::new(&bytes)).expect("running out of bytes is no error");
    }
}

#[test]
fn what_a_register_did_has_an_order() {
    each(|u| {
        let operations = Player::draw(u)?;
        let list = list(&operations);
        assert_eq!(first_judge(&operations), Verdict::Linearizable, "{list}");
        assert!(second_judge(&operations), "{list}");
        Ok(())
    });
}

#[test]
fn two_judges_agree_and_the_prefix_is_the_shortest() {
    let (mut good, mut bad) = (0, 0);
    each(|u| {
        let mut operations = Player::draw(u)?;
        mutate(u, &mut operations)?;
        let list = list(&operations);
        match (first_judge(&operations), second_judge(&operations)) {
            (Verdict::Linearizable, true) => good += 1,
            (Verdict::Broken(found), false) => {
                bad += 1;
                let line = found.stuck.ended.map_or(0, |(_, end)| end.line);
                let before_it = second_judge(&before(line, &operations));
                let with_it = second_judge(&before(line + 1, &operations));
                assert!(before_it && !with_it, "{found}\n{list}");
            }
            (first, second) => panic!("{first:?}, the other judge says {second}:\n{list}"),
        }
        Ok(())
    });
    assert!(good > 20 && bad > 20, "{good} with an order, {bad} without");
}

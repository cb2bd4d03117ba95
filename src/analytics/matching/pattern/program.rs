//! A pattern as a program: instructions that either take a row or choose where to go on.
//!
//! No way leads from an instruction back to itself without a row taken. An iteration of a repetition
//! that takes no rows ends it, as in Perl; so that the program knows, what may be empty stands in it
//! twice, once for "no row taken yet" and once for "some".

use crate::model::{Error, Result};
use crate::query::matching::Node;

/// An instruction. The numbers are places in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes a row for a variable.
    Row {
        /// Which.
        variable: u32,
        /// Whether the row is left out of what is shown.
        excluded: bool,
        /// Where to go on.
        next: u32,
    },
    /// Two ways; the first is preferred.
    Split(u32, u32),
    /// Only before the first row.
    Start(u32),
    /// Only behind the last row.
    End(u32),
    /// A match.
    Accept,
}

/// A compiled pattern.
pub struct Program {
    /// The instructions.
    pub steps: Vec<Step>,
    /// Where a match begins.
    pub entry: u32,
    /// The instructions that take no row, those first that others lead to.
    pub order: Vec<u32>,
    /// Whether several instructions lead to one.
    pub joins: Vec<bool>,
}

/// More instructions are a mistake in the pattern.
const MAX_STEPS: usize = 50_000;

/// Where to go on: with no row taken since something began, or with some.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Next {
    empty: u32,
    taken: u32,
}

impl Next {
    const fn both(at: u32) -> Self {
        Self {
            empty: at,
            taken: at,
        }
    }
}

impl Program {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// INVALID_QUERY where the program would be too large.
    pub fn of(node: &Node) -> Result<Self> {
        let mut steps = vec![Step::Accept];
        let entry = build(&mut steps, node, Next::both(0), false)?;
        let order = order(&steps);
        let mut leading = vec![0_u32; steps.len()];
        for step in &steps {
            for next in step.targets().into_iter().flatten() {
                leading[next as usize] += 1;
            }
        }
        Ok(Self {
            joins: leading.into_iter().map(|n| n > 1).collect(),
            steps,
            entry,
            order,
        })
    }
}

impl Step {
    const fn targets(self) -> [Option<u32>; 2] {
        match self {
            Self::Row { next, .. } | Self::Start(next) | Self::End(next) => [Some(next), None],
            Self::Split(first, second) => [Some(first), Some(second)],
            Self::Accept => [None, None],
        }
    }
}

fn push(steps: &mut Vec<Step>, step: Step) -> Result<u32> {
    if steps.len() >= MAX_STEPS {
        return Err(Error::invalid(
            "pattern.pattern",
            "is too large: repeat less, or nest less that may be empty",
        ));
    }
    steps.push(step);
    Ok(u32::try_from(steps.len() - 1).unwrap_or_default())
}

fn build(steps: &mut Vec<Step>, node: &Node, next: Next, excluded: bool) -> Result<u32> {
    match node {
        Node::Empty => Ok(next.empty),
        Node::Variable(variable) => push(
            steps,
            Step::Row {
                variable: *variable,
                excluded,
                next: next.taken,
            },
        ),
        Node::Start => push(steps, Step::Start(next.empty)),
        Node::End => push(steps, Step::End(next.empty)),
        Node::Excluded(of) => build(steps, of, next, true),
        Node::Concat(all) => {
            let mut next = next;
            for node in all.iter().rev() {
                next = before(steps, node, next, excluded)?;
            }
            Ok(next.empty)
        }
        Node::Alternation(arms) => {
            let mut entries = Vec::with_capacity(arms.len());
            for arm in arms {
                entries.push(build(steps, arm, next, excluded)?);
            }
            let mut entry = entries.pop().unwrap_or(next.empty);
            while let Some(first) = entries.pop() {
                entry = push(steps, Step::Split(first, entry))?;
            }
            Ok(entry)
        }
        Node::Repeat {
            of,
            min,
            max,
            greedy,
        } => {
            let mut next = match max {
                None => endless(steps, of, next, *greedy, excluded)?,
                Some(max) => optional(steps, of, next, max - min, *greedy, excluded)?,
            };
            for _ in 0..*min {
                next = before(steps, of, next, excluded)?;
            }
            Ok(next.empty)
        }
    }
}

/// Where to go on before a part that others follow.
fn before(steps: &mut Vec<Step>, node: &Node, next: Next, excluded: bool) -> Result<Next> {
    let taken = build(steps, node, Next::both(next.taken), excluded)?;
    let empty = if next.empty == next.taken {
        taken
    } else {
        build(steps, node, next, excluded)?
    };
    Ok(Next { empty, taken })
}

fn split(steps: &mut Vec<Step>, more: u32, less: u32, greedy: bool) -> Result<u32> {
    push(steps, choice(more, less, greedy))
}

const fn choice(more: u32, less: u32, greedy: bool) -> Step {
    if greedy {
        Step::Split(more, less)
    } else {
        Step::Split(less, more)
    }
}

/// Any number of times.
fn endless(
    steps: &mut Vec<Step>,
    node: &Node,
    next: Next,
    greedy: bool,
    excluded: bool,
) -> Result<Next> {
    // Its ways are known once its body is there.
    let head = push(steps, Step::Accept)?;
    let body = Next {
        empty: next.taken,
        taken: head,
    };
    let again = build(steps, node, body, excluded)?;
    steps[head as usize] = choice(again, next.taken, greedy);
    if next.empty == next.taken {
        return Ok(Next::both(head));
    }
    let body = Next {
        empty: next.empty,
        taken: head,
    };
    let first = build(steps, node, body, excluded)?;
    Ok(Next {
        empty: split(steps, first, next.empty, greedy)?,
        taken: head,
    })
}

/// At most so many times.
fn optional(
    steps: &mut Vec<Step>,
    node: &Node,
    next: Next,
    times: u32,
    greedy: bool,
    excluded: bool,
) -> Result<Next> {
    let mut at = next;
    for _ in 0..times {
        let taken = Next {
            empty: next.taken,
            taken: at.taken,
        };
        let taken = build(steps, node, taken, excluded)?;
        let taken = split(steps, taken, next.taken, greedy)?;
        let empty = if next.empty == next.taken {
            taken
        } else {
            let empty = Next {
                empty: next.empty,
                taken: at.taken,
            };
            let empty = build(steps, node, empty, excluded)?;
            split(steps, empty, next.empty, greedy)?
        };
        at = Next { empty, taken };
    }
    Ok(at)
}

/// The instructions that take no row, those first that others lead to without a row taken.
fn order(steps: &[Step]) -> Vec<u32> {
    let mut order = Vec::new();
    let mut seen = vec![false; steps.len()];
    let mut stack = Vec::new();
    for start in (0_u32..).take(steps.len()) {
        stack.push((start, false));
        while let Some((at, done)) = stack.pop() {
            let step = steps[at as usize];
            if matches!(step, Step::Row { .. }) {
                continue;
            }
            if done {
                order.push(at);
                continue;
            }
            if std::mem::replace(&mut seen[at as usize], true) {
                continue;
            }
            stack.push((at, true));
            stack.extend(
                step.targets()
                    .into_iter()
                    .flatten()
                    .map(|next| (next, false)),
            );
        }
    }
    order
}

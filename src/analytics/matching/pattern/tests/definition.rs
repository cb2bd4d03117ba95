//! A matcher that is nothing but the definition of preference. Slow, and short enough to be believed.

use super::{Row, Told};
use crate::analytics::matching::pattern::Value;
use crate::query::CompareOp;
use crate::query::matching::{
    Aggregation, Comparison, Expression, Node, Pattern, Predicate, Rows, Skip,
};

/// The definition: tries everything in order of preference. Gives up after too many steps.
struct Naive<'a> {
    pattern: &'a Pattern,
    masks: &'a [u64],
    times: &'a [i64],
    values: &'a [Value],
    start: usize,
    number: u64,
    steps: u32,
}

type Then<'k> = &'k mut dyn FnMut(&mut Naive<'_>, &mut Vec<Row>) -> bool;

impl Naive<'_> {
    fn accepts(&self, path: &[Row], variable: u32) -> bool {
        let row = self.start + path.len();
        let Some(mask) = self.masks.get(row) else {
            return false;
        };
        let in_time = (self.pattern.within)
            .is_none_or(|within| self.times[row] - self.times[self.start] <= within);
        let mut path = path.to_vec();
        path.push((variable, false));
        let predicate = &self.pattern.variables[variable as usize].predicate;
        in_time
            && predicate
                .as_ref()
                .is_none_or(|p| self.holds(p, *mask, &path))
    }

    fn holds(&self, predicate: &Predicate, mask: u64, path: &[Row]) -> bool {
        match predicate {
            Predicate::Bit(bit) => mask >> bit & 1 == 1,
            Predicate::And(all) => all.iter().all(|p| self.holds(p, mask, path)),
            Predicate::Or(all) => all.iter().any(|p| self.holds(p, mask, path)),
            Predicate::Compare(left, Comparison::Op(op), right) => {
                let (Some(a), Some(b)) = (self.value(left, path), self.value(right, path)) else {
                    return false;
                };
                match op {
                    CompareOp::Lt => a < b,
                    CompareOp::Gt => a > b,
                    CompareOp::Lte => a <= b,
                    CompareOp::Gte => a >= b,
                    CompareOp::Eq => a == b,
                    CompareOp::Ne => a != b,
                }
            }
            Predicate::Compare(..) => unreachable!("not generated"),
            Predicate::BitOf(of, bit) => (self.row(of, path))
                .and_then(|row| self.masks.get(row))
                .is_some_and(|mask| mask >> bit & 1 == 1),
        }
    }

    fn rows(&self, of: Option<u32>, path: &[Row]) -> Vec<usize> {
        let all = path.iter().enumerate();
        all.filter(|(_, (v, _))| of.is_none_or(|of| of == *v))
            .map(|(i, _)| self.start + i)
            .collect()
    }

    /// The row that a field is read of.
    fn row(&self, expression: &Expression, path: &[Row]) -> Option<usize> {
        let now = self.start + path.len() - 1;
        match expression {
            Expression::Field(_) => Some(now),
            Expression::Offset(_, by) => usize::try_from(i64::try_from(now).unwrap() + by).ok(),
            Expression::First(_, of, n) => self.rows(*of, path).get(*n as usize).copied(),
            Expression::Last(_, of, n) => {
                let rows = self.rows(*of, path);
                rows.into_iter().rev().nth(*n as usize)
            }
            _ => None,
        }
    }

    fn value(&self, expression: &Expression, path: &[Row]) -> Option<i64> {
        let at = |row: usize| match self.values.get(row) {
            Some(Value::Integer(n)) => Some(*n),
            _ => None,
        };
        match expression {
            Expression::Aggregate(function, _, of) => {
                let numbers: Vec<i64> = self.rows(*of, path).into_iter().filter_map(at).collect();
                match function {
                    Aggregation::Count => i64::try_from(numbers.len()).ok(),
                    Aggregation::Sum => (!numbers.is_empty()).then(|| numbers.iter().sum()),
                    Aggregation::Min => numbers.iter().min().copied(),
                    _ => numbers.iter().max().copied(),
                }
            }
            Expression::MatchNumber => i64::try_from(self.number).ok(),
            field => at(self.row(field, path)?),
        }
    }

    fn node(&mut self, node: &Node, excluded: bool, path: &mut Vec<Row>, then: Then<'_>) -> bool {
        self.steps += 1;
        if self.steps > 20_000 {
            return false;
        }
        let row = self.start + path.len();
        match node {
            Node::Empty => then(self, path),
            Node::Start => row == 0 && then(self, path),
            Node::End => row == self.masks.len() && then(self, path),
            Node::Variable(v) => {
                if !self.accepts(path, *v) {
                    return false;
                }
                path.push((*v, excluded));
                if then(self, path) {
                    return true;
                }
                path.pop();
                false
            }
            Node::Excluded(of) => self.node(of, true, path, then),
            Node::Alternation(arms) => arms.iter().any(|arm| self.node(arm, excluded, path, then)),
            Node::Concat(all) => self.concat(all, excluded, path, then),
            Node::Repeat {
                of,
                min,
                max,
                greedy,
            } => self.repeat(of, (*min, *max, *greedy), 0, excluded, path, then),
        }
    }

    fn concat(
        &mut self,
        all: &[Node],
        excluded: bool,
        path: &mut Vec<Row>,
        then: Then<'_>,
    ) -> bool {
        let Some((first, rest)) = all.split_first() else {
            return then(self, path);
        };
        self.node(first, excluded, path, &mut |naive, path| {
            naive.concat(rest, excluded, path, then)
        })
    }

    fn repeat(
        &mut self,
        of: &Node,
        bounds: (u32, Option<u32>, bool),
        done: u32,
        excluded: bool,
        path: &mut Vec<Row>,
        then: Then<'_>,
    ) -> bool {
        let (min, max, greedy) = bounds;
        if done >= min && !greedy && then(self, path) {
            return true;
        }
        if max.is_none_or(|max| done < max) {
            let before = path.len();
            let again = self.node(of, excluded, path, &mut |naive, path| {
                if path.len() == before && done >= min {
                    return then(naive, path);
                }
                naive.repeat(of, bounds, done + 1, excluded, path, then)
            });
            if again {
                return true;
            }
        }
        done >= min && greedy && then(self, path)
    }
}

/// All matches by the definition; `None` where it takes too long.
pub fn reference(
    pattern: &Pattern,
    masks: &[u64],
    times: &[i64],
    values: &[Value],
) -> Option<Result<Vec<Told>, ()>> {
    let mut told = Vec::new();
    let (mut at, mut number, mut covered) = (0, 1, 0);
    while at < masks.len() {
        let mut naive = Naive {
            pattern,
            masks,
            times,
            values,
            start: at,
            number,
            steps: 0,
        };
        let mut path = Vec::new();
        let found = naive.node(&pattern.node, false, &mut path, &mut |_, _| true);
        if naive.steps > 20_000 {
            return None;
        }
        if !found {
            if pattern.rows == Rows::AllWithUnmatched && at >= covered {
                told.push((None, at, Vec::new()));
            }
            at += 1;
            continue;
        }
        if pattern.show_empty || !path.is_empty() {
            told.push((Some(number), at, path.clone()));
        }
        number += 1;
        covered = covered.max(at + path.len());
        let mapped = |v: &u32| path.iter().position(|(to, _)| to == v);
        at = match pattern.skip {
            _ if path.is_empty() => at + 1,
            Skip::PastLast => at + path.len(),
            Skip::ToNext => at + 1,
            Skip::ToFirst(v) => match mapped(&v) {
                None | Some(0) => return Some(Err(())),
                Some(i) => at + i,
            },
            Skip::ToLast(v) => match path.iter().rposition(|(to, _)| *to == v) {
                None | Some(0) => return Some(Err(())),
                Some(i) => at + i,
            },
        };
    }
    Some(Ok(told))
}

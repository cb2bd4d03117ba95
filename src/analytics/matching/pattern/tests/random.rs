//! Random patterns over random events: what is found is what the definition finds.

use super::definition::reference;
use super::{find, pattern};
use crate::analytics::matching::pattern::Value;
use crate::analytics::matching::sequence::tests::Random;
use crate::query::CompareOp;
use crate::query::matching::{Aggregation, Comparison, Expression, Node, Predicate, Rows, Skip};

fn random_node(random: &mut Random, depth: u32) -> Node {
    let inner = |random: &mut Random| random_node(random, depth.saturating_sub(1));
    let some = |random: &mut Random| -> Vec<Node> {
        (0..2 + random.next(2)).map(|_| inner(random)).collect()
    };
    match random.next(if depth == 0 { 3 } else { 12 }) {
        0..3 => Node::Variable(u32::try_from(random.next(3)).unwrap()),
        3 => {
            [Node::Empty, Node::Start, Node::End][usize::try_from(random.next(3)).unwrap()].clone()
        }
        4..7 => Node::Concat(some(random)),
        7..9 => Node::Alternation(some(random)),
        9 => Node::Excluded(Box::new(inner(random))),
        _ => {
            let min = u32::try_from(random.next(3)).unwrap();
            let more = u32::try_from(random.next(3)).unwrap();
            Node::Repeat {
                of: Box::new(inner(random)),
                min,
                max: random.chance(50).then_some((min + more).max(1)),
                greedy: random.chance(60),
            }
        }
    }
}

fn random_expression(random: &mut Random) -> Expression {
    let of = random
        .chance(70)
        .then(|| u32::try_from(random.next(3)).unwrap());
    let n = u32::try_from(random.next(2)).unwrap();
    let function = [
        Aggregation::Count,
        Aggregation::Sum,
        Aggregation::Min,
        Aggregation::Max,
    ][usize::try_from(random.next(4)).unwrap()];
    match random.next(6) {
        0 => Expression::Offset(0, if random.chance(50) { -1 } else { 1 }),
        1 => Expression::First(0, of, n),
        2 => Expression::Last(0, of, n),
        3 => Expression::Aggregate(function, Some(0), of),
        4 => Expression::MatchNumber,
        _ => Expression::Field(0),
    }
}

fn random_predicate(random: &mut Random, v: u32, path: bool) -> (Predicate, Option<u32>) {
    if !path || random.chance(40) {
        return (Predicate::Bit(v), Some(v));
    }
    let op = [
        CompareOp::Lt,
        CompareOp::Gt,
        CompareOp::Lte,
        CompareOp::Gte,
        CompareOp::Eq,
        CompareOp::Ne,
    ][usize::try_from(random.next(6)).unwrap()];
    let other = random_expression(random);
    let compare = if random.chance(30) {
        Predicate::BitOf(other, u32::try_from(random.next(3)).unwrap())
    } else {
        Predicate::Compare(Expression::Field(0), Comparison::Op(op), other)
    };
    match random.next(3) {
        0 => (compare, None),
        1 => (Predicate::And(vec![Predicate::Bit(v), compare]), Some(v)),
        _ => (Predicate::Or(vec![Predicate::Bit(v), compare]), None),
    }
}

fn compare_with_reference(rounds: u32, seed: u64, path: bool) {
    let mut random = Random(seed);
    let (mut compared, mut matched) = (0, 0);
    for round in 0..rounds {
        let depth = u32::try_from(random.next(4)).unwrap();
        let mut pattern = pattern(random_node(&mut random, depth), &["A", "B", "C"]);
        for v in 0..3 {
            let variable = &mut pattern.variables[v as usize];
            let (predicate, bound) = random_predicate(&mut random, v, path);
            variable.predicate = Some(predicate);
            variable.bound = bound;
        }
        pattern.within = random
            .chance(20)
            .then(|| i64::try_from(random.next(5)).unwrap());
        let v = u32::try_from(random.next(3)).unwrap();
        pattern.skip = [
            Skip::PastLast,
            Skip::PastLast,
            Skip::ToNext,
            Skip::ToFirst(v),
            Skip::ToLast(v),
        ][usize::try_from(random.next(5)).unwrap()];
        pattern.show_empty = random.chance(80);
        if random.chance(20) {
            pattern.rows = Rows::AllWithUnmatched;
        }
        let n = random.next(9);
        let masks: Vec<u64> = (0..n).map(|_| random.next(8)).collect();
        let mut now = 0;
        let times: Vec<i64> = (0..n)
            .map(|_| {
                now += i64::try_from(random.next(3)).unwrap();
                now
            })
            .collect();
        let values: Vec<Value> = (0..n)
            .map(|_| match random.next(5) {
                0 => Value::Missing,
                value => Value::Integer(i64::try_from(value).unwrap()),
            })
            .collect();
        let Some(expected) = reference(&pattern, &masks, &times, &values) else {
            continue;
        };
        let found = find(&pattern, &masks, &times, &values).map_err(drop);
        assert_eq!(
            found, expected,
            "seed {seed:x}, round {round}: {pattern:?} in {masks:?} at {times:?} of {values:?}"
        );
        compared += 1;
        matched += u32::from(expected.is_ok_and(|told| !told.is_empty()));
    }
    assert!(
        compared > rounds / 2 && matched > rounds / 4,
        "{compared} compared, {matched} matched"
    );
}

#[test]
fn the_preferred_match_is_that_of_the_definition() {
    compare_with_reference(12_000, 0x5EED_0001, false);
}

#[test]
fn predicates_over_other_rows_hold_as_the_definition_has_them() {
    compare_with_reference(12_000, 0x5EED_0002, true);
}

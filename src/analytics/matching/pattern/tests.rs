//! Patterns against matches that were derived by hand, and against a matcher that is nothing but the
//! definition of preference: it tries everything in order.

use super::{Matcher, Table, Value};
use crate::analytics::matching::Events;
use crate::analytics::matching::sequence::tests::Random;
use crate::query::matching::{
    Aggregation, Comparison, Conditions, Expression, Node, Pattern, Predicate, Rows, Skip,
    Variable, parse_pattern,
};
use crate::query::{CompareOp, Condition};

type Row = (u32, bool);
/// The number, the first row, and the rows of a match.
type Told = (Option<u64>, usize, Vec<Row>);

fn pattern(node: Node, names: &[&str]) -> Pattern {
    let variables = (0_u32..).zip(names).map(|(v, name)| Variable {
        name: (*name).to_owned(),
        predicate: Some(Predicate::Bit(v)),
        bound: Some(v),
    });
    Pattern {
        key: Vec::new(),
        by: Vec::new(),
        node,
        variables: variables.collect(),
        conditions: Conditions(
            names
                .iter()
                .map(|_| (Condition::always(), Vec::new()))
                .collect(),
        ),
        fields: Vec::new(),
        within: None,
        relevant: false,
        skip: Skip::PastLast,
        measures: Vec::new(),
        rows: Rows::One,
        show_empty: true,
    }
}

fn find(
    pattern: &Pattern,
    masks: &[u64],
    times: &[i64],
    values: &[Value],
) -> Result<Vec<Told>, String> {
    let matcher = Matcher::new(pattern).map_err(|e| e.to_string())?;
    let table = Table {
        events: Events { times, masks },
        values,
        width: usize::from(!values.is_empty()),
    };
    let mut told = Vec::new();
    let found = matcher.find(table, &mut matcher.reach(), &mut |found| {
        told.push((found.number, found.start, found.rows.to_vec()));
        Ok(())
    });
    found.map_err(|e| e.to_string())?;
    Ok(told)
}

/// The matches of a text over letters, as the letters of their rows: `ABx` begins with rows that were
/// mapped to A and B, and leaves one out.
fn letters(text: &str, rows: &str, change: impl Fn(&mut Pattern)) -> Result<Vec<String>, String> {
    let (node, names) = parse_pattern(text).unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut pattern = pattern(node, &names);
    change(&mut pattern);
    let masks: Vec<u64> = rows
        .chars()
        .map(|c| {
            let bits = (0_u64..).zip(&names);
            // A lower-case letter is an event that any variable accepts.
            bits.fold(0, |all, (v, name)| {
                let is = name.starts_with(c) || c.is_ascii_lowercase();
                all | u64::from(is) << v
            })
        })
        .collect();
    let times: Vec<i64> = (0..).take(masks.len()).collect();
    let told = find(&pattern, &masks, &times, &[])?;
    Ok(told
        .into_iter()
        .map(|(number, start, rows)| {
            let rows: String = rows
                .iter()
                .map(|(v, excluded)| {
                    if *excluded {
                        "x".to_owned()
                    } else {
                        names[*v as usize].to_owned()
                    }
                })
                .collect();
            let number = number.map_or("-".to_owned(), |n| n.to_string());
            format!("{number}@{start}:{rows}")
        })
        .collect())
}

#[test]
fn constructs_match_as_derived_by_hand() {
    let plain = |text: &str, rows: &str| letters(text, rows, |_| {}).unwrap();
    // Concatenation, one after the other, and on behind the match.
    assert_eq!(plain("A B", "ABABA"), ["1@0:AB", "2@2:AB"]);
    assert_eq!(plain("A B", "ACB"), Vec::<String>::new());
    // Greedy takes all, and gives back what the rest needs.
    assert_eq!(plain("A+ B", "AAAB"), ["1@0:AAAB"]);
    assert_eq!(plain("A* B", "aaa"), ["1@0:AAB"]);
    assert_eq!(plain("A*? B", "aaa"), ["1@0:B", "2@1:B", "3@2:B"]);
    assert_eq!(plain("A{2,3}", "AAAAA"), ["1@0:AAA", "2@3:AA"]);
    assert_eq!(plain("A{2,3}?", "AAAAA"), ["1@0:AA", "2@2:AA"]);
    assert_eq!(plain("A{2}", "AAAAA"), ["1@0:AA", "2@2:AA"]);
    // The first alternative is preferred, even where the second is longer.
    assert_eq!(plain("(A | A B) C?", "ABC"), ["1@0:A"]);
    assert_eq!(plain("(A B | A) C?", "ABC"), ["1@0:ABC"]);
    assert_eq!(plain("A | B", "z"), ["1@0:A"]);
    // PERMUTE prefers the order in which its members are written.
    assert_eq!(plain("PERMUTE(A, B, C)", "CAB"), ["1@0:CAB"]);
    assert_eq!(plain("PERMUTE(A, B)", "zz"), ["1@0:AB"]);
    // Anchors.
    assert_eq!(plain("^A", "AA"), ["1@0:A"]);
    assert_eq!(plain("A$", "AA"), ["1@1:A"]);
    assert_eq!(plain("^A B$", "AB"), ["1@0:AB"]);
    assert_eq!(plain("^A B$", "ABA"), Vec::<String>::new());
    // Exclusion.
    assert_eq!(plain("A {- B+ -} C", "ABBC"), ["1@0:AxxC"]);
    // Empty matches stand at a row each, and are numbered.
    assert_eq!(plain("A*", "BAB"), ["1@0:", "2@1:A", "3@2:"]);
    assert_eq!(plain("A??", "A"), ["1@0:"]);
    assert_eq!(plain("()", "AB"), ["1@0:", "2@1:"]);
    // A repetition ends where it would go round without a row.
    assert_eq!(plain("(A*)* B", "AAB"), ["1@0:AAB"]);
    assert_eq!(plain("(A? | B)* C", "AC"), ["1@0:AC"]);
    assert_eq!(plain("(A | B?)+ C", "ABAC"), ["1@0:ABAC"]);
}

#[test]
fn matching_goes_on_where_it_is_told_to() {
    let skip = |skip: Skip, text: &str, rows: &str| letters(text, rows, |p| p.skip = skip);
    assert_eq!(
        skip(Skip::ToNext, "A+ B", "AAB").unwrap(),
        ["1@0:AAB", "2@1:AB"]
    );
    assert_eq!(
        skip(Skip::ToLast(1), "A B+ C?", "ABBAB").unwrap(),
        ["1@0:ABB", "2@3:AB"]
    );
    assert_eq!(
        skip(Skip::ToFirst(1), "A B", "ABAB").unwrap(),
        ["1@0:AB", "2@2:AB"]
    );
    let refused = skip(Skip::ToFirst(0), "A B", "AB").unwrap_err();
    assert!(
        refused.contains("goes back to the first event"),
        "{refused}"
    );
    let refused = skip(Skip::ToLast(2), "A B C?", "AB").unwrap_err();
    assert!(refused.contains("a match has none"), "{refused}");
    // An empty match goes on at the next row whatever was asked.
    assert_eq!(skip(Skip::ToLast(0), "A*", "B").unwrap(), ["1@0:"]);
    let rest = letters("A B", "CABAC", |p| p.rows = Rows::AllWithUnmatched).unwrap();
    assert_eq!(rest, ["-@0:", "1@1:AB", "-@3:", "-@4:"]);
    let omitted = letters("A*", "BAB", |p| p.show_empty = false).unwrap();
    assert_eq!(omitted, ["2@1:A"]);
    let within = letters("A+ B?", "AAAB", |p| p.within = Some(1)).unwrap();
    assert_eq!(within, ["1@0:AA", "2@2:AB"]);
}

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
        }
    }

    fn value(&self, expression: &Expression, path: &[Row]) -> Option<i64> {
        let at = |row: usize| match self.values.get(row) {
            Some(Value::Integer(n)) => Some(*n),
            _ => None,
        };
        let rows = |of: &Option<u32>| -> Vec<usize> {
            let all = path.iter().enumerate();
            all.filter(|(_, (v, _))| of.is_none_or(|of| of == *v))
                .map(|(i, _)| self.start + i)
                .collect()
        };
        let now = self.start + path.len() - 1;
        match expression {
            Expression::Field(_) => at(now),
            Expression::Offset(_, by) => {
                at(usize::try_from(i64::try_from(now).unwrap() + by).ok()?)
            }
            Expression::First(_, of, n) => at(*rows(of).get(*n as usize)?),
            Expression::Last(_, of, n) => at(*rows(of).iter().rev().nth(*n as usize)?),
            Expression::Aggregate(function, _, of) => {
                let numbers: Vec<i64> = rows(of).into_iter().filter_map(at).collect();
                match function {
                    Aggregation::Count => i64::try_from(numbers.len()).ok(),
                    Aggregation::Sum => (!numbers.is_empty()).then(|| numbers.iter().sum()),
                    Aggregation::Min => numbers.iter().min().copied(),
                    _ => numbers.iter().max().copied(),
                }
            }
            Expression::MatchNumber => i64::try_from(self.number).ok(),
            _ => unreachable!("not generated"),
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
fn reference(
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
    let compare = Predicate::Compare(
        Expression::Field(0),
        Comparison::Op(op),
        random_expression(random),
    );
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

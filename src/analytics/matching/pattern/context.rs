//! What expressions know of a match while it grows: a few registers, brought up to date row by row.

use super::value::Value;
use crate::analytics::matching::Events;
use crate::query::matching::{Aggregation, Arithmetic, Expression, Predicate};

/// The rows of a partition and the values of their fields.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    /// Times and masks.
    pub events: Events<'a>,
    /// The values of all rows, row by row.
    pub values: &'a [Value],
    /// How many values a row has.
    pub width: usize,
}

impl<'a> Table<'a> {
    fn value(&self, row: usize, field: u32) -> &'a Value {
        &self.values[row * self.width + field as usize]
    }
}

/// What a register follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// The n-th row of a variable, or of all: its position.
    First(Option<u32>, u32),
    /// The n-th from the last: its position, behind those after it.
    Last(Option<u32>, u32),
    /// An aggregate.
    Aggregate(Aggregation, Option<u32>, Option<u32>),
}

/// The registers that some expressions need.
#[derive(Default)]
pub struct Plan {
    follows: Vec<(Follows, usize)>,
    /// How many words the registers take.
    pub width: usize,
}

/// No position.
const NONE: u64 = u64::MAX;

impl Plan {
    /// The registers of predicates.
    pub fn of_predicates<'p>(predicates: impl Iterator<Item = &'p Predicate>) -> Self {
        let mut plan = Self::default();
        predicates.for_each(|predicate| plan.predicate(predicate));
        plan
    }

    /// The registers of expressions.
    pub fn of<'e>(expressions: impl Iterator<Item = &'e Expression>) -> Self {
        let mut plan = Self::default();
        expressions.for_each(|expression| plan.expression(expression));
        plan
    }

    fn predicate(&mut self, predicate: &Predicate) {
        match predicate {
            Predicate::Bit(_) => {}
            Predicate::And(all) | Predicate::Or(all) => all.iter().for_each(|p| self.predicate(p)),
            Predicate::Compare(left, _, right) => {
                self.expression(left);
                self.expression(right);
            }
            Predicate::BitOf(of, _) => self.expression(of),
        }
    }

    fn expression(&mut self, expression: &Expression) {
        if let Expression::Arithmetic(_, args) = expression {
            return args.iter().for_each(|arg| self.expression(arg));
        }
        let Some(follows) = follows(expression) else {
            return;
        };
        if self.follows.iter().any(|(known, _)| *known == follows) {
            return;
        }
        self.follows.push((follows, self.width));
        self.width += match follows {
            // Counted down to the row that is meant.
            Follows::First(..) | Follows::Aggregate(..) => 2,
            Follows::Last(_, offset) => offset as usize + 1,
        };
    }

    fn place(&self, follows: Follows) -> usize {
        let found = self.follows.iter().find(|(known, _)| *known == follows);
        found.map_or(0, |(_, at)| *at)
    }

    /// The registers of a match without rows.
    pub fn begin(&self, out: &mut Vec<u64>) {
        for (follows, _) in &self.follows {
            match follows {
                Follows::First(_, n) => out.extend([NONE, u64::from(*n)]),
                Follows::Last(_, n) => out.extend((0..=*n).map(|_| NONE)),
                Follows::Aggregate(Aggregation::Min | Aggregation::Max, ..) => {
                    out.extend([f64::NAN.to_bits(), 0]);
                }
                Follows::Aggregate(..) => out.extend([0_f64.to_bits(), 0]),
            }
        }
    }

    /// A row is mapped to a variable.
    pub fn take(&self, registers: &mut [u64], table: Table<'_>, row: usize, variable: u32) {
        for (follows, at) in &self.follows {
            match follows {
                Follows::First(of, _) => {
                    if of.is_none_or(|of| of == variable) && registers[*at] == NONE {
                        if registers[at + 1] == 0 {
                            registers[*at] = row as u64;
                        } else {
                            registers[at + 1] -= 1;
                        }
                    }
                }
                Follows::Last(of, n) => {
                    if of.is_none_or(|of| of == variable) {
                        registers.copy_within(*at..at + *n as usize, at + 1);
                        registers[*at] = row as u64;
                    }
                }
                Follows::Aggregate(function, field, of) => {
                    if of.is_none_or(|of| of == variable) {
                        let value = field.map(|field| table.value(row, field));
                        add(&mut registers[*at..*at + 2], *function, value);
                    }
                }
            }
        }
    }
}

fn follows(expression: &Expression) -> Option<Follows> {
    match expression {
        Expression::First(_, of, n) => Some(Follows::First(*of, *n)),
        Expression::Last(_, of, n) => Some(Follows::Last(*of, *n)),
        Expression::Aggregate(function, field, of) => {
            Some(Follows::Aggregate(*function, *field, *of))
        }
        _ => None,
    }
}

fn add(state: &mut [u64], function: Aggregation, value: Option<&Value>) {
    if function == Aggregation::Count {
        state[1] += u64::from(!matches!(value, Some(Value::Missing | Value::Null)));
        return;
    }
    let Some(number) = value.and_then(Value::as_number) else {
        return;
    };
    let known = f64::from_bits(state[0]);
    let now = match function {
        Aggregation::Min => known.min(number),
        Aggregation::Max => known.max(number),
        _ => known + number,
    };
    state[0] = now.to_bits();
    state[1] += 1;
}

/// Where an expression is evaluated.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The partition.
    pub table: Table<'a>,
    /// The registers, the row at hand taken.
    pub registers: &'a [u64],
    /// What they follow.
    pub plan: &'a Plan,
    /// The row at hand and its variable; `None` in a match without rows.
    pub at: Option<(usize, u32)>,
    /// The number of the match.
    pub number: u64,
    /// The names of the variables.
    pub names: &'a [Box<str>],
}

impl Context<'_> {
    fn row(&self, field: u32, row: u64) -> Value {
        usize::try_from(row)
            .ok()
            .filter(|row| *row < self.table.events.times.len())
            .map_or(Value::Missing, |row| self.table.value(row, field).clone())
    }

    /// The row that an expression reads a field of.
    fn position(&self, expression: &Expression) -> Option<usize> {
        let (at, _) = self.at?;
        let row = match expression {
            Expression::Field(_) => at as u64,
            Expression::Offset(_, offset) => (at as u64).checked_add_signed(*offset)?,
            Expression::First(_, of, n) => self.registers[self.plan.place(Follows::First(*of, *n))],
            Expression::Last(_, of, n) => {
                self.registers[self.plan.place(Follows::Last(*of, *n)) + *n as usize]
            }
            _ => return None,
        };
        usize::try_from(row).ok()
    }

    /// Evaluates an expression.
    #[allow(clippy::cast_precision_loss)] // Counts far below 2^53, and doubles by their meaning.
    pub fn value(&self, expression: &Expression) -> Value {
        let Some((at, variable)) = self.at else {
            return match expression {
                Expression::MatchNumber => Value::Integer(self.number.cast_signed()),
                Expression::Aggregate(Aggregation::Count, ..) => Value::Integer(0),
                Expression::Literal(literal) => Value::of(literal),
                _ => Value::Missing,
            };
        };
        match expression {
            Expression::Field(field) => self.table.value(at, *field).clone(),
            Expression::Literal(literal) => Value::of(literal),
            Expression::Offset(field, offset) => {
                let row = (at as u64).checked_add_signed(*offset);
                row.map_or(Value::Missing, |row| self.row(*field, row))
            }
            Expression::First(field, of, n) => {
                let place = self.plan.place(Follows::First(*of, *n));
                self.row(*field, self.registers[place])
            }
            Expression::Last(field, of, n) => {
                let place = self.plan.place(Follows::Last(*of, *n));
                self.row(*field, self.registers[place + *n as usize])
            }
            Expression::Aggregate(function, field, of) => {
                let place = self.plan.place(Follows::Aggregate(*function, *field, *of));
                let (value, count) = (
                    f64::from_bits(self.registers[place]),
                    self.registers[place + 1],
                );
                match function {
                    Aggregation::Count => Value::Integer(count.cast_signed()),
                    _ if count == 0 => Value::Missing,
                    Aggregation::Avg => Value::computed(value / count as f64),
                    _ => Value::computed(value),
                }
            }
            Expression::Arithmetic(op, args) => self.arithmetic(*op, args),
            Expression::Classifier => Value::Text(self.names[variable as usize].clone()),
            Expression::MatchNumber => Value::Integer(self.number.cast_signed()),
        }
    }

    #[allow(clippy::cast_precision_loss)] // Milliseconds with a fraction are a double.
    fn arithmetic(&self, op: Arithmetic, args: &[Expression]) -> Value {
        let mut values = args.iter().map(|arg| self.value(arg));
        if op == Arithmetic::EpochMs {
            return match values.next() {
                Some(Value::Time(micros)) => Value::computed(micros as f64 / 1000.0),
                _ => Value::Missing,
            };
        }
        let mut numbers = values.map(|value| value.as_number());
        let Some(Some(first)) = numbers.next() else {
            return Value::Missing;
        };
        let result = numbers.try_fold(first, |a, b| {
            let b = b?;
            match op {
                Arithmetic::Add => Some(a + b),
                Arithmetic::Sub => Some(a - b),
                Arithmetic::Mul => Some(a * b),
                _ => (b != 0.0).then(|| a / b),
            }
        });
        result.map_or(Value::Missing, Value::computed)
    }

    /// Whether a predicate holds.
    pub fn holds(&self, predicate: &Predicate) -> bool {
        match predicate {
            Predicate::Bit(bit) => {
                (self.at).is_some_and(|(row, _)| self.table.events.masks[row] >> bit & 1 == 1)
            }
            Predicate::And(all) => all.iter().all(|p| self.holds(p)),
            Predicate::Or(any) => any.iter().any(|p| self.holds(p)),
            Predicate::Compare(left, op, right) => {
                self.value(left).compare(*op, &self.value(right))
            }
            Predicate::BitOf(of, bit) => (self.position(of))
                .and_then(|row| self.table.events.masks.get(row))
                .is_some_and(|mask| mask >> bit & 1 == 1),
        }
    }
}

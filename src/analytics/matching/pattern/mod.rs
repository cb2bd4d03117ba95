//! Matching patterns in one partition, with the semantics of SQL:2016's MATCH_RECOGNIZE.
//!
//! Most patterns ask nothing of an event that depends on how others were mapped. Their matches are
//! read off the sets of [`Reach`]: at each choice the preferred way is taken that leads to a match, so
//! nothing is ever taken back. What depends on the mapping, or on where the match began, is searched
//! for, with the same sets to cut the ways that cannot lead to a match.

mod context;
mod program;
mod reach;
mod search;
#[cfg(test)]
mod tests;
mod value;

use self::context::{Context, Plan};
use self::program::{Program, Step};
use self::reach::NOWHERE;
use self::search::Search;
use super::Events;
use crate::model::{Error, Result};
use crate::query::matching::{Expression, Pattern, Predicate, Rows, Skip};

pub use self::context::Table;
pub use self::reach::Reach;
pub use self::value::Value;

/// A pattern, ready to match partitions.
pub struct Matcher<'q> {
    pattern: &'q Pattern,
    program: Program,
    /// The registers of predicates, and those of measures.
    predicates: Plan,
    measures: Plan,
    names: Vec<Box<str>>,
    /// By variable, whether its predicate looks at how other events were mapped.
    on_path: Vec<bool>,
    /// Variables by the bits of a mask, where these are few.
    by_mask: Vec<u64>,
}

/// A match, or a row that is in none.
pub struct Found<'f> {
    /// The number of the match; `None` for a row in none.
    pub number: Option<u64>,
    /// The row that it begins with, or that it stands at.
    pub start: usize,
    /// For each of its rows, the variable and whether it is left out of what is shown.
    pub rows: &'f [(u32, bool)],
}

/// Takes what is found, in the order of rows.
pub type Sink<'s> = &'s mut dyn FnMut(&Found<'_>) -> Result<()>;

/// Finds the match of a number that begins at a row, and adds its rows.
type Find<'f> = &'f mut dyn FnMut(usize, u64, &mut Vec<(u32, bool)>) -> Result<bool>;

/// Bits of masks for which variables are looked up.
const TABULATED: usize = 12;

impl<'q> Matcher<'q> {
    /// Prepares a pattern.
    ///
    /// # Errors
    /// INVALID_QUERY where it is too large.
    pub fn new(pattern: &'q Pattern) -> Result<Self> {
        let variables = &pattern.variables;
        let predicates = variables.iter().filter_map(|v| v.predicate.as_ref());
        let mut matcher = Self {
            program: Program::of(&pattern.node)?,
            predicates: Plan::of_predicates(predicates),
            measures: Plan::of(pattern.measures.iter().map(|(_, e)| e)),
            names: variables.iter().map(|v| v.name.as_str().into()).collect(),
            on_path: variables
                .iter()
                .map(|v| v.predicate.as_ref().is_some_and(Predicate::looks_at_path))
                .collect(),
            by_mask: Vec::new(),
            pattern,
        };
        let bits = pattern.conditions.0.len();
        if bits <= TABULATED {
            matcher.by_mask = (0..1_u64 << bits)
                .map(|mask| matcher.bits_of(mask))
                .collect();
        }
        Ok(matcher)
    }

    /// The variables whose bits a mask has: for those that need no more, whether they accept it.
    fn bits_of(&self, mask: u64) -> u64 {
        let variables = (0..).zip(&self.pattern.variables);
        variables.fold(0, |all, (v, variable)| {
            let accepts = match &variable.predicate {
                Some(Predicate::Bit(bit)) => mask >> bit & 1 == 1,
                _ => variable.bound.is_none_or(|bit| mask >> bit & 1 == 1),
            };
            all | u64::from(accepts) << v
        })
    }

    /// The variables that a row of this mask may be mapped to.
    fn accepts(&self, mask: u64) -> u64 {
        match self.by_mask.len().checked_sub(1) {
            // Below 2^12.
            Some(last) => self.by_mask[usize::try_from(mask).unwrap_or(usize::MAX) & last],
            None => self.bits_of(mask),
        }
    }

    /// Whether the mask of a row is all that its variables depend on.
    fn by_mask_alone(&self) -> bool {
        let predicates = self.pattern.variables.iter();
        let mut predicates = predicates.filter_map(|v| v.predicate.as_ref());
        predicates.all(|p| matches!(p, Predicate::Bit(_)))
    }

    /// For each row the variables that it may be mapped to.
    fn accepted(&self, table: Table<'_>) -> Result<Vec<u64>> {
        let masks = table.events.masks;
        let mut accepted: Vec<u64> = masks.iter().map(|mask| self.accepts(*mask)).collect();
        for (v, variable) in (0_u32..).zip(&self.pattern.variables) {
            let Some(predicate) = &variable.predicate else {
                continue;
            };
            if matches!(predicate, Predicate::Bit(_)) || self.on_path[v as usize] {
                continue;
            }
            for (row, bits) in accepted.iter_mut().enumerate() {
                table.events.go_on(row)?;
                if *bits >> v & 1 == 1 && !self.context(table, &[], row, v, 0).holds(predicate) {
                    *bits &= !(1 << v);
                }
            }
        }
        Ok(accepted)
    }

    fn context<'a>(
        &'a self,
        table: Table<'a>,
        registers: &'a [u64],
        row: usize,
        variable: u32,
        number: u64,
    ) -> Context<'a> {
        Context {
            table,
            registers,
            plan: &self.predicates,
            at: Some((row, variable)),
            number,
            names: &self.names,
        }
    }

    /// Finds the matches of a partition. `reach` is kept from one partition to the next.
    ///
    /// # Errors
    /// Those of the sink; MATCH_LIMIT; INVALID_QUERY where matching cannot go on as asked.
    pub fn find(&self, table: Table<'_>, reach: &mut Reach, sink: Sink<'_>) -> Result<()> {
        let masks = table.events.masks;
        let n = masks.len();
        let variables = u32::try_from(self.pattern.variables.len()).unwrap_or(u32::MAX);
        if self.by_mask_alone() && self.pattern.within.is_none() {
            reach.read(&self.program, n, variables, |row| self.accepts(masks[row]))?;
            return self.each(
                table.events,
                &mut |at, _, path| Ok(self.walk(reach, at, path)),
                sink,
            );
        }
        let accepted = self.accepted(table)?;
        reach.read(&self.program, n, variables, |row| accepted[row])?;
        if self.pattern.within.is_none() && !self.on_path.contains(&true) {
            return self.each(
                table.events,
                &mut |at, _, path| Ok(self.walk(reach, at, path)),
                sink,
            );
        }
        let mut search = Search::new(self, table, reach, &accepted);
        let entry = self.program.entry;
        self.each(
            table.events,
            &mut |at, number, path| {
                Ok(search.may_begin(at, entry) && search.from(at, number, path)?)
            },
            sink,
        )
    }

    /// Takes one match after the other, as `find` finds the one that begins at a row.
    fn each(&self, events: Events<'_>, find: Find<'_>, sink: Sink<'_>) -> Result<()> {
        let mut path = Vec::new();
        let n = events.masks.len();
        let (mut at, mut number, mut covered) = (0, 1, 0);
        let mut taken = 0;
        while at < n {
            taken += 1;
            events.go_on(taken)?;
            path.clear();
            let found = find(at, number, &mut path)?;
            if !found {
                if self.pattern.rows == Rows::AllWithUnmatched && at >= covered {
                    sink(&Found {
                        number: None,
                        start: at,
                        rows: &[],
                    })?;
                }
                at += 1;
                continue;
            }
            if !path.is_empty() || self.pattern.show_empty {
                sink(&Found {
                    number: Some(number),
                    start: at,
                    rows: &path,
                })?;
            }
            number += 1;
            covered = covered.max(at + path.len());
            at = self.behind(at, &path)?;
        }
        Ok(())
    }

    /// Where matching goes on behind a match.
    fn behind(&self, start: usize, rows: &[(u32, bool)]) -> Result<usize> {
        let variable = match self.pattern.skip {
            _ if rows.is_empty() => return Ok(start + 1),
            Skip::PastLast => return Ok(start + rows.len()),
            Skip::ToNext => return Ok(start + 1),
            Skip::ToFirst(variable) | Skip::ToLast(variable) => variable,
        };
        let is = |(v, _): &(u32, bool)| *v == variable;
        let found = match self.pattern.skip {
            Skip::ToFirst(_) => rows.iter().position(is),
            _ => rows.iter().rposition(is),
        };
        let name = &self.names[variable as usize];
        match found {
            Some(0) => Err(Error::invalid(
                "pattern.afterMatch",
                format!(
                    "goes back to the first event of a match, which {name} is mapped to: it would be found for ever"
                ),
            )),
            Some(row) => Ok(start + row),
            None => Err(Error::invalid(
                "pattern.afterMatch",
                format!("goes to an event of {name}, and a match has none"),
            )),
        }
    }

    /// Reads off the match that begins at a row; `false` where none does.
    fn walk(&self, reach: &mut Reach, start: usize, path: &mut Vec<(u32, bool)>) -> bool {
        let (mut at, mut row) = (self.program.entry, start);
        loop {
            at = reach.next_row(&self.program, row, at);
            if at == NOWHERE {
                return false;
            }
            let Step::Row {
                variable,
                excluded,
                next,
            } = self.program.steps[at as usize]
            else {
                return true;
            };
            path.push((variable, excluded));
            row += 1;
            at = next;
        }
    }

    /// What is kept from one partition to the next.
    pub fn reach(&self) -> Reach {
        Reach::new(&self.program)
    }

    /// The measures at the rows of a match for which `wanted` is true, and at its end.
    pub fn measure(
        &self,
        table: Table<'_>,
        found: &Found<'_>,
        wanted: impl Fn(bool) -> bool,
        each: &mut dyn FnMut(&[Value]),
    ) {
        let expressions = || self.pattern.measures.iter().map(|(_, e)| e);
        let mut registers = Vec::new();
        self.measures.begin(&mut registers);
        let mut context = None;
        for (i, (variable, excluded)) in found.rows.iter().enumerate() {
            let row = found.start + i;
            self.measures.take(&mut registers, table, row, *variable);
            context = Some((row, *variable));
            if wanted(*excluded) {
                let values = self.measured(table, found, &registers, context, expressions());
                each(&values);
            }
        }
        let values = self.measured(table, found, &registers, context, expressions());
        each(&values);
    }

    fn measured<'e>(
        &self,
        table: Table<'_>,
        found: &Found<'_>,
        registers: &[u64],
        at: Option<(usize, u32)>,
        expressions: impl Iterator<Item = &'e Expression>,
    ) -> Vec<Value> {
        let context = Context {
            table,
            registers,
            plan: &self.measures,
            at,
            number: found.number.unwrap_or(0),
            names: &self.names,
        };
        expressions.map(|e| context.value(e)).collect()
    }
}

//! Blocks: a SELECT each. Steps gather in them, and conditions move below what only hands them through.

use std::borrow::Cow;

use super::push::below;
use crate::query::pipeline::{MatchStage, Step};
use crate::query::{Condition, OrderBy};

/// What is known while blocks are written.
pub struct Compiler {
    /// Whether the database's own collation orders text by code point.
    pub code_point_collation: bool,
    /// What was moved.
    pub rules: Vec<[String; 4]>,
}

/// A SELECT.
#[derive(Clone)]
pub struct Block<'p> {
    /// Which rows of the block before it takes.
    pub conditions: Vec<Cow<'p, Condition>>,
    /// What it computes of them.
    pub step: Option<&'p Step>,
    /// The first rows that it leaves out, and how many it gives then.
    pub offset: Option<u64>,
    pub limit: Option<u64>,
    /// The order in which it counts them.
    pub order: &'p [OrderBy],
    /// Whether it gets events, and which columns beside.
    pub event: bool,
    pub columns: Vec<&'p str>,
    /// Where the first block reads: the events, or a table expression.
    pub from: Option<&'static str>,
    /// Or the matches that a stage found.
    pub matched: Option<&'p MatchStage>,
}

impl<'p> Block<'p> {
    pub const fn is_cut(&self) -> bool {
        self.limit.is_some() || self.offset.is_some()
    }

    /// What comes out of it, as an empty block.
    pub fn behind(&self) -> Self {
        let (mut event, mut columns) = (self.event, self.columns.clone());
        match self.step {
            Some(Step::Bucket(_, _, column) | Step::Window(_, column)) => columns.push(&column.sql),
            Some(Step::Outliers {
                score, expected, ..
            }) => columns.extend([score.sql.as_str(), expected.sql.as_str()]),
            Some(Step::Project(made)) => {
                event = false;
                columns = made.iter().map(|(_, column)| column.sql.as_str()).collect();
            }
            Some(Step::Group {
                keys, aggregates, ..
            }) => {
                event = false;
                columns = (keys.iter().map(|(_, column)| column.sql.as_str()))
                    .chain(aggregates.iter().map(|(_, column)| column.sql.as_str()))
                    .collect();
            }
            _ => {}
        }
        Self::new(event, columns, None)
    }

    /// An empty block over rows of these columns.
    pub const fn new(event: bool, columns: Vec<&'p str>, from: Option<&'static str>) -> Self {
        Self {
            conditions: Vec::new(),
            step: None,
            offset: None,
            limit: None,
            order: &[],
            event,
            columns,
            from,
            matched: None,
        }
    }
}

impl Compiler {
    /// The blocks of steps over events, or over `first`.
    pub fn blocks<'p>(
        &mut self,
        steps: impl IntoIterator<Item = &'p Step>,
        first: Option<Block<'p>>,
    ) -> Vec<Block<'p>> {
        let mut done: Vec<Block<'p>> = Vec::new();
        let mut open = first.unwrap_or_else(|| Block::new(true, Vec::new(), None));
        for step in steps {
            match step {
                Step::Match(condition) => {
                    if open.is_cut() {
                        close(&mut done, &mut open);
                    }
                    match open.step {
                        None => open.conditions.push(Cow::Borrowed(condition)),
                        Some(computed) => {
                            let (below, above) = below(condition, computed);
                            if !below.is_empty() {
                                self.moved(computed, below.len());
                                open.conditions.extend(below.into_iter().map(Cow::Owned));
                            }
                            if !above.is_empty() {
                                close(&mut done, &mut open);
                                open.conditions.extend(above.into_iter().map(Cow::Owned));
                            }
                        }
                    }
                }
                Step::Limit(count, order) => {
                    let same = !open.is_cut() || open.order == order.as_slice();
                    if open.step.is_some() || !same {
                        close(&mut done, &mut open);
                    }
                    open.limit = Some(open.limit.map_or(*count, |limit| limit.min(*count)));
                    open.order = order;
                }
                Step::Offset(count, order) => {
                    let same = open.offset.is_none() || open.order == order.as_slice();
                    if open.step.is_some() || open.limit.is_some() || !same {
                        close(&mut done, &mut open);
                    }
                    open.offset = Some(open.offset.unwrap_or(0).saturating_add(*count));
                    open.order = order;
                }
                step => {
                    if open.step.is_some() || open.is_cut() {
                        close(&mut done, &mut open);
                    }
                    open.step = Some(step);
                }
            }
        }
        done.push(open);
        done
    }

    fn moved(&mut self, over: &Step, count: usize) {
        let what = match over {
            Step::Group { .. } => "group",
            _ => "project",
        };
        self.rules.push([
            "predicate pushdown".to_owned(),
            format!("{count} condition(s) behind the {what}"),
            format!("the same before the {what}"),
            format!("they read only what the {what} hands through: fewer rows get that far"),
        ]);
    }
}

fn close<'p>(done: &mut Vec<Block<'p>>, open: &mut Block<'p>) {
    let next = open.behind();
    done.push(std::mem::replace(open, next));
}

//! Pipelines as one statement.
//!
//! Steps gather in blocks, each a SELECT over the one before: a block takes conditions until it
//! computes something, and is closed by a limit. So a prefix of matches is the WHERE of the event table
//! itself, and PostgreSQL flattens what is left of the nesting. Conditions on what a block only hands
//! through move below it ([`push`]).

mod block;
mod computed;
mod facet;
mod group;
mod matches;
mod nest;
mod push;
mod window;

use serde_json::{Value as Wire, json};

pub use matches::{EventSource, SOURCE, event_source};

use super::select::{MAX_BINDS, Purpose, Statement, Target};
use super::writer::Writer;
use crate::model::{Error, Result, field::Column as EventColumn};
use crate::query::pipeline::{Pipeline, Row, Step};

/// A pipeline's statement, and what was done to make it.
pub struct Compiled {
    /// The statement.
    pub statement: Statement,
    /// Rules that moved conditions: rule, before, after, reason.
    pub rules: Vec<[String; 4]>,
}

/// Compiles a pipeline. Needs no database. Where a stage looks for matches it is what comes behind
/// that stage; the matches are to be bound as the first value.
///
/// # Errors
/// INVALID_QUERY for more values than a statement can have.
pub fn pipeline(pipeline: &Pipeline, target: &Target, purpose: Purpose) -> Result<Compiled> {
    let first = pipeline.matched.as_ref().map(matches::first);
    let binds = first.iter().map(|_| matches::placeholder()).collect();
    let mut w = Writer::behind_binds(&target.table, binds);
    let mut compiler = block::Compiler {
        code_point_collation: target.code_point_collation,
        rules: Vec::new(),
    };
    let token = purpose == Purpose::Buffered;
    if let Some((Step::Facet(facets), before)) = pipeline.steps.split_last() {
        compiler.facets(&mut w, (first.as_ref(), before), facets, token);
    } else {
        let blocks = compiler.blocks(&pipeline.steps, first);
        compiler.result(&mut w, &blocks, &pipeline.row, token);
    }
    let (sql, binds) = w.finish();
    if binds.len() > MAX_BINDS {
        return Err(Error::invalid(
            "",
            "has more than the 65,535 values that PostgreSQL takes: put values into lists, as one `in` for many `eq`",
        ));
    }
    let row = &pipeline.row;
    let events = if row.event {
        EventColumn::EVENT.len()
    } else {
        0
    };
    let named: Vec<_> = row.columns.iter().filter(|c| c.name.is_some()).collect();
    let places = |is: fn(&crate::query::pipeline::Column) -> bool| {
        let wanted = named.iter().enumerate().filter(|(_, column)| is(column));
        wanted.map(|(place, _)| events + place).collect()
    };
    let visible = events + named.len();
    let statement = Statement {
        columns: names(row),
        visible,
        json_scalars: places(|column| column.json_scalar),
        computed: places(|column| column.computed),
        keys: Vec::new(),
        token: token.then_some(visible),
        limit: None,
        identity: 0,
        since: None,
        sql,
        binds,
    };
    Ok(Compiled {
        statement,
        rules: compiler.rules,
    })
}

/// The names of a row's columns; none for whole events, whose members have names of their own.
fn names(row: &Row) -> Option<Vec<String>> {
    let own = row.columns.iter().filter_map(|column| column.name.clone());
    let own: Vec<String> = own.collect();
    if row.event && own.is_empty() {
        return None;
    }
    let event = EventColumn::EVENT.map(|column| column.name().to_owned());
    let event = event.into_iter().filter(|_| row.event);
    Some(event.chain(own).collect())
}

impl Compiled {
    /// The rules as plans show them.
    pub fn rules_json(&self) -> Vec<Wire> {
        let rules = self.rules.iter().map(|[rule, before, after, reason]| {
            json!({ "rule": rule, "before": before, "after": after, "reason": reason })
        });
        rules.collect()
    }
}

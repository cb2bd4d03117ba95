//! Questions of analysis as SQL: one statement each, so that all of an answer has one snapshot.
//!
//! Numbers stay `numeric`, in which sums and products of JSON numbers are exact; a quotient or a
//! root is rounded once, at the end, where the digits that cancel are gone.

mod outliers;
mod process;
mod statistics;

use super::select::{Statement, Target};
use super::writer::Writer;
use crate::model::field::{Column, Field, Kind};
use crate::query::{Analysis, Condition, Question};

/// Compiles a question. Needs no database.
pub fn analyse(analysis: &Analysis, target: &Target) -> Statement {
    let mut w = Writer::new(&target.table);
    let of = &analysis.filter;
    let columns = match &analysis.question {
        Question::Statistics {
            field,
            keys,
            percentiles,
        } => w.statistics(of, field, keys, percentiles),
        Question::Histogram {
            field,
            bins,
            min,
            max,
        } => w.histogram(of, field, *bins, (*min, *max)),
        Question::Correlation { x, y } => w.correlation(of, x, y),
        Question::Outliers { field, rule } => w.outlying_events(of, field, *rule),
        Question::Flow { by } => w.flow(of, by),
        Question::Variants { by, limit } => w.variants(of, by, *limit),
        Question::TimeInState { by, state, until } => w.time_in_state(of, by, state, *until),
    };
    report(w, columns)
}

/// A statement whose columns are this package's own, the snapshot behind them. All its numbers come as
/// the nearest double.
fn report(w: Writer<'_>, columns: &[&str]) -> Statement {
    let (sql, binds) = w.finish();
    let sql = format!("SELECT q.*, (SELECT pg_current_snapshot()::text) FROM ({sql}) AS q");
    Statement {
        sql,
        binds,
        columns: Some(columns.iter().map(|&name| name.to_owned()).collect()),
        visible: columns.len(),
        json_scalars: Vec::new(),
        computed: (0..columns.len()).collect(),
        keys: Vec::new(),
        token: Some(columns.len()),
        limit: None,
        identity: 0,
        since: None,
    }
}

impl Writer<'_> {
    /// `FROM` the events of a filter of which none of these fields is missing.
    fn events_with(&mut self, filter: &Condition, present: &[Field]) -> &mut Self {
        let table = self.table.quoted();
        self.sql(" FROM ").sql(&table).sql(" AS e");
        let mut open = " WHERE ";
        if !filter.is_always() {
            self.sql(open).condition(filter);
            open = " AND ";
        }
        for field in present.iter().filter(|field| field.nullable()) {
            self.sql(open).value(field).sql(" IS NOT NULL");
            open = " AND ";
        }
        self
    }

    /// The field's value as JSON, as rows have it: what is missing is NULL, a time is its text.
    pub fn json_value(&mut self, field: &Field) -> &mut Self {
        match field.kind() {
            Kind::Json => self.value(field),
            Kind::Text | Kind::Uuid => self.sql("to_jsonb((").field(field).sql(")::text)"),
            Kind::Time => {
                self.sql("to_jsonb(");
                self.iso(&|w| {
                    w.field(field);
                });
                self.sql(")")
            }
        }
    }

    /// A point in time as the text that rows have: with microseconds where there are any.
    pub fn iso(&mut self, at: &dyn Fn(&mut Self)) -> &mut Self {
        self.sql("to_char((");
        at(self);
        self.sql(") AT TIME ZONE 'UTC', CASE WHEN extract(microseconds FROM (");
        at(self);
        self.sql("))::int % 1000 = 0 THEN 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"' ELSE 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"' END)")
    }

    /// The order of events.
    fn in_time(&mut self) -> &mut Self {
        self.event_column(super::field::EVENTS, Column::Timestamp)
            .sql(", ")
            .event_column(super::field::EVENTS, Column::Id)
    }

    /// The values of fields, one after the other.
    fn values(&mut self, fields: &[Field]) -> &mut Self {
        self.join(fields, ", ", |w, field| {
            w.value(field);
        })
    }
}

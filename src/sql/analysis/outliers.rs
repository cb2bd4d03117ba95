//! Numbers far from the others.
//!
//! `mad`: the modified z-score of Iglewicz and Hoaglin (1993), 0.6745·(x − median) ÷ MAD; where more
//! than half of the numbers are the same and so MAD is 0, their (x − median) ÷ (1.253314·MeanAD).
//! `iqr`: how many interquartile ranges beyond the nearer quartile (Tukey's fences at 1.5).
//! `zscore`: (x − mean) ÷ the sample's standard deviation. Where all are the same, none is far.

use crate::model::field::{Column, Field};
use crate::query::{Condition, OutlierMethod, OutlierRule};
use crate::sql::field::EVENTS;
use crate::sql::writer::{Bind, Writer};

impl Writer<'_> {
    pub(super) fn outlying_events(
        &mut self,
        filter: &Condition,
        field: &Field,
        rule: OutlierRule,
    ) -> &'static [&'static str] {
        self.sql("WITH v AS (SELECT ")
            .event_column(EVENTS, Column::Id)
            .sql(" AS id, ")
            .numbers(field)
            .sql("::float8 AS zx");
        self.events_with(filter, &[]);
        self.sql("), ").scored("v", rule.method).sql(" SELECT ");
        self.join(Column::EVENT, ", ", |w, column| {
            w.event_column(EVENTS, column);
        });
        let table = self.table.quoted();
        self.sql(", o.zx, o.zs, o.ze FROM (SELECT * FROM zo WHERE ");
        self.beyond(rule.threshold)
            .sql(") AS o JOIN ")
            .sql(&table)
            .sql(" AS e ON ");
        self.event_column(EVENTS, Column::Id)
            .sql(" = o.id ORDER BY abs(o.zs) DESC, o.id");
        &[
            "id",
            "type",
            "timestamp",
            "tags",
            "metadata",
            "data",
            "value",
            "score",
            "expected",
        ]
    }

    /// Common table expressions that end in `zo`: the rows of `from` that have a number `zx`, with
    /// its score `zs` and what was expected, `ze`.
    pub fn scored(&mut self, from: &str, method: OutlierMethod) -> &mut Self {
        let (facts, score, expected) = match method {
            OutlierMethod::Mad => (
                "zm AS (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY zx) AS m FROM ?), zf AS (SELECT m, percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(zx - m)) AS d, avg(abs(zx - m)) AS a FROM ? CROSS JOIN zm GROUP BY m)",
                "CASE WHEN d > 0 THEN 0.6745 * (zx - m) / d WHEN a > 0 THEN (zx - m) / (1.253314 * a) ELSE 0 END",
                "m",
            ),
            OutlierMethod::Iqr => (
                "zf AS (SELECT q[1] AS a, q[2] AS m, q[3] AS b FROM (SELECT percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY zx) AS q FROM ?) AS zq)",
                "CASE WHEN b = a THEN 0 WHEN zx > b THEN (zx - b) / (b - a) WHEN zx < a THEN (zx - a) / (b - a) ELSE 0 END",
                "m",
            ),
            OutlierMethod::Zscore => (
                "zf AS (SELECT avg(zx) AS m, stddev_samp(zx) AS d FROM ?)",
                "CASE WHEN d > 0 THEN (zx - m) / d ELSE 0 END",
                "m",
            ),
        };
        self.sql(&facts.replace('?', from));
        self.sql(", zo AS (SELECT z.*, ")
            .sql(score)
            .sql("::float8 AS zs, ")
            .sql(expected)
            .sql(" AS ze FROM ")
            .sql(from);
        self.sql(" AS z CROSS JOIN zf WHERE zx IS NOT NULL)")
    }

    /// Whether a scored row is far.
    pub fn beyond(&mut self, threshold: f64) -> &mut Self {
        self.sql("abs(zs) > ")
            .typed(Bind::Float(threshold), "float8")
    }
}

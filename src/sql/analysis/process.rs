//! Processes: what happens in a case, in (timestamp, id) order. One scan, sorted once.

use crate::model::field::{Column, Field};
use crate::model::time::Timestamp;
use crate::query::Condition;
use crate::sql::field::EVENTS;
use crate::sql::writer::{Bind, Writer};

impl Writer<'_> {
    /// Every pair of events that follow each other, with how many of the second end their case. The
    /// first event of a case follows nothing. All of a flow can be read off these few rows.
    pub(super) fn flow(&mut self, filter: &Condition, by: &[Field]) -> &'static [&'static str] {
        self.sql("WITH o AS (SELECT ")
            .event_column(EVENTS, Column::Type)
            .sql(" AS t, lag(")
            .event_column(EVENTS, Column::Type)
            .sql(") OVER w AS p, lead(")
            .event_column(EVENTS, Column::Type)
            .sql(") OVER w IS NULL AS z, ");
        self.event_column(EVENTS, Column::Timestamp)
            .sql(" - lag(")
            .event_column(EVENTS, Column::Timestamp)
            .sql(") OVER w AS d");
        self.events_with(filter, by);
        self.sql(" WINDOW w AS (PARTITION BY ")
            .values(by)
            .sql(" ORDER BY ")
            .in_time()
            .sql("))");
        self.sql(" SELECT p, t, count(*), count(*) FILTER (WHERE z), percentile_cont(0.5) WITHIN GROUP (ORDER BY (extract(epoch FROM d) * 1000)::float8) FROM o GROUP BY p, t");
        &["from", "to", "count", "ends", "medianMs"]
    }

    /// The courses of cases, the most frequent first, then by their types.
    pub(super) fn variants(
        &mut self,
        filter: &Condition,
        by: &[Field],
        limit: Option<u64>,
    ) -> &'static [&'static str] {
        self.sql("WITH c AS (SELECT array_agg(")
            .event_column(EVENTS, Column::Type)
            .sql(" ORDER BY ")
            .in_time()
            .sql(") AS p, max(")
            .event_column(EVENTS, Column::Timestamp)
            .sql(") - min(")
            .event_column(EVENTS, Column::Timestamp)
            .sql(") AS d");
        self.events_with(filter, by);
        self.sql(" GROUP BY ").values(by).sql(")");
        self.sql(" SELECT to_jsonb(p), count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY (extract(epoch FROM d) * 1000)::float8), sum(count(*)) OVER () FROM c GROUP BY p ORDER BY count(*) DESC, p COLLATE \"C\"");
        if let Some(limit) = limit {
            // The first row tells how many cases there are.
            self.sql(" LIMIT ").number(limit.max(1));
        }
        &["path", "count", "medianDurationMs", "cases"]
    }

    /// Visits of states: from the event that says another state than the one before to the next such
    /// event. The last of a case ends at `until`, else with its case.
    pub(super) fn time_in_state(
        &mut self,
        filter: &Condition,
        by: &[Field],
        state: &Field,
        until: Option<Timestamp>,
    ) -> &'static [&'static str] {
        self.sql("WITH o AS (SELECT jsonb_build_array(");
        self.join(by, ", ", |w, field| {
            w.json_value(field);
        });
        self.sql(") AS k, ")
            .state(state)
            .sql(" AS s, ")
            .event_column(EVENTS, Column::Timestamp)
            .sql(" AS t, ")
            .event_column(EVENTS, Column::Id)
            .sql(" AS i");
        self.events_with(filter, by);
        if let Some(until) = until {
            self.sql(if has_where(filter, by) {
                " AND "
            } else {
                " WHERE "
            });
            self.event_column(EVENTS, Column::Timestamp)
                .sql(" < ")
                .typed(Bind::Time(until), "timestamptz");
        }
        self.sql("), f AS (SELECT *, max(t) OVER (PARTITION BY k) AS z FROM o), ");
        self.sql("p AS (SELECT *, lag(s) OVER (PARTITION BY k ORDER BY t, i) AS b FROM f WHERE s IS NOT NULL), ");
        self.sql("v AS (SELECT s, t, coalesce(lead(t) OVER (PARTITION BY k ORDER BY t, i), ");
        match until {
            Some(until) => self.typed(Bind::Time(until), "timestamptz"),
            None => self.sql("z"),
        };
        self.sql(") AS u FROM p WHERE b IS DISTINCT FROM s), ");
        self.sql("d AS (SELECT s, extract(epoch FROM u - t) * 1000 AS ms FROM v)");
        self.sql(" SELECT s, sum(ms), avg(ms), percentile_cont(0.95) WITHIN GROUP (ORDER BY ms::float8), count(*) FROM d GROUP BY s ORDER BY sum(ms) DESC, s COLLATE \"C\"");
        &["state", "totalMs", "meanMs", "p95Ms", "visits"]
    }

    /// A state as text; JSON null is none.
    fn state(&mut self, field: &Field) -> &mut Self {
        self.sql("(").field_text(field).sql(")::text")
    }
}

fn has_where(filter: &Condition, by: &[Field]) -> bool {
    !filter.is_always() || by.iter().any(Field::nullable)
}

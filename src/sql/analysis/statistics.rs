//! Moments, percentiles, histograms and correlations.
//!
//! With S1 to S4 the exact sums of the powers of n numbers,
//! `n·S2 − S1²`, `n²·S3 − 3n·S1·S2 + 2·S1³` and `n³·S4 − 4n²·S1·S3 + 6n·S1²·S2 − 3·S1⁴`
//! are exact too: n², n³ and n⁴ times the central moments. Nothing cancels after the first rounding.

use crate::model::field::Field;
use crate::query::{Condition, Selected};
use crate::sql::writer::{Bind, Writer};

impl Writer<'_> {
    pub(super) fn statistics(
        &mut self,
        filter: &Condition,
        field: &Field,
        keys: &[Selected],
        percentiles: &[f64],
    ) -> &'static [&'static str] {
        let grouped = !keys.is_empty();
        self.sql("WITH v AS (SELECT ");
        if grouped {
            self.sql("jsonb_build_array(");
            self.join(keys, ", ", |w, key| {
                w.json_value(&key.field);
            });
            self.sql(") AS k, ");
        }
        self.numbers(field).sql(" AS x");
        self.events_with(filter, &[]);
        self.sql("), s AS (SELECT ");
        self.sql(if grouped { "k" } else { "'[]'::jsonb AS k" });
        self.sql(", count(*) AS r, count(x)::numeric AS n, sum(x) AS s1, sum(x * x) AS s2, sum(x * x * x) AS s3, sum(x * x * x * x) AS s4, min(x) AS lo, max(x) AS hi, percentile_cont((ARRAY[0.5");
        for share in percentiles {
            self.sql(", ").typed(Bind::Float(*share), "float8");
        }
        self.sql("])::float8[]) WITHIN GROUP (ORDER BY x::float8) AS p FROM v");
        self.sql(if grouped { " GROUP BY k" } else { "" });
        self.sql("), d AS (SELECT ");
        self.sql(if grouped { "s.k, " } else { "" });
        self.sql(
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(v.x::float8 - s.p[1])) AS mad FROM v ",
        );
        self.sql(if grouped {
            "JOIN s ON v.k = s.k GROUP BY s.k"
        } else {
            "CROSS JOIN s"
        });
        self.sql("), m AS (SELECT *, n * s2 - s1 * s1 AS a2, n * n * s3 - 3 * n * s1 * s2 + 2 * s1 * s1 * s1 AS a3, n * n * n * s4 - 4 * n * n * s1 * s3 + 6 * n * s1 * s1 * s2 - 3 * s1 * s1 * s1 * s1 AS a4 FROM s)");
        self.sql(" SELECT m.k, m.n::int8, m.r - m.n::int8, s1 / NULLIF(n, 0), sqrt(a2 / NULLIF(n * (n - 1), 0)), a2 / NULLIF(n * (n - 1), 0), a3 / NULLIF(a2 * sqrt(a2), 0), a4 / NULLIF(a2 * a2, 0) - 3, lo, hi, s1, to_jsonb(p[2:]), mad FROM m ");
        self.sql(if grouped {
            "JOIN d ON d.k = m.k ORDER BY m.k"
        } else {
            "CROSS JOIN d"
        });
        &[
            "group",
            "count",
            "nulls",
            "mean",
            "stddev",
            "variance",
            "skewness",
            "kurtosis",
            "min",
            "max",
            "sum",
            "percentiles",
            "mad",
        ]
    }

    pub(super) fn histogram(
        &mut self,
        filter: &Condition,
        field: &Field,
        bins: u64,
        (min, max): (Option<f64>, Option<f64>),
    ) -> &'static [&'static str] {
        self.sql("WITH v AS (SELECT ").numbers(field).sql(" AS x");
        self.events_with(filter, &[]);
        self.sql("), b AS (SELECT ");
        self.edge(min, "min").sql(" AS lo, ");
        self.edge(max, "max").sql(" AS hi");
        // Both given: one row, whatever there is.
        self.sql(if min.is_some() && max.is_some() {
            "), "
        } else {
            " FROM v), "
        });
        // All numbers are the same: one bin, of no width, holds them.
        self.sql("w AS (SELECT lo, hi, CASE WHEN lo = hi THEN 1 ELSE ")
            .number(bins)
            .sql(" END AS c FROM b WHERE lo <= hi), ");
        self.sql("h AS (SELECT CASE WHEN lo = hi THEN 1 ELSE least(width_bucket(x, lo, hi, c), c) END AS i, count(*) AS n FROM v CROSS JOIN w WHERE x BETWEEN lo AND hi GROUP BY 1)");
        self.sql(" SELECT lo + (hi - lo) * (g.i - 1) / c, lo + (hi - lo) * g.i / c, coalesce(h.n, 0) FROM w CROSS JOIN LATERAL generate_series(1, c) AS g(i) LEFT JOIN h ON h.i = g.i ORDER BY g.i");
        &["from", "to", "count"]
    }

    fn edge(&mut self, given: Option<f64>, function: &str) -> &mut Self {
        match given {
            Some(edge) => self.typed(Bind::Numeric(edge.to_string()), "numeric"),
            None => self.sql(function).sql("(x)"),
        }
    }

    pub(super) fn correlation(
        &mut self,
        filter: &Condition,
        x: &Field,
        y: &Field,
    ) -> &'static [&'static str] {
        self.sql("WITH v AS (SELECT x, y FROM (SELECT ")
            .numbers(x)
            .sql(" AS x, ")
            .numbers(y)
            .sql(" AS y");
        self.events_with(filter, &[]);
        self.sql(") AS i WHERE x IS NOT NULL AND y IS NOT NULL), ");
        // Twice the mean rank of equal numbers, and 1.
        self.sql("r AS (SELECT x, y, (2 * rank() OVER (ORDER BY x) + count(*) OVER (PARTITION BY x))::numeric AS a, (2 * rank() OVER (ORDER BY y) + count(*) OVER (PARTITION BY y))::numeric AS b FROM v), ");
        self.sql("s AS (SELECT count(*)::numeric AS n, sum(x) AS x, sum(y) AS y, sum(x * x) AS xx, sum(y * y) AS yy, sum(x * y) AS xy, sum(a) AS a, sum(b) AS b, sum(a * a) AS aa, sum(b * b) AS bb, sum(a * b) AS ab FROM r), ");
        self.sql("d AS (SELECT n, x, y, xx, xy, n * xx - x * x AS vx, n * yy - y * y AS vy, n * xy - x * y AS vxy, n * aa - a * a AS va, n * bb - b * b AS vb, n * ab - a * b AS vab FROM s)");
        self.sql(" SELECT n::int8, vxy / NULLIF(sqrt(vx * vy), 0), vab / NULLIF(sqrt(va * vb), 0), vxy / NULLIF(vx, 0), (y * xx - x * xy) / NULLIF(vx, 0), vxy * vxy / NULLIF(vx * vy, 0) FROM d");
        &["n", "pearson", "spearman", "slope", "intercept", "r2"]
    }
}

//! Window functions.

use super::block::{Block, Compiler};
use super::group::is_number;
use crate::model::field::Field;
use crate::query::pipeline::{Column, WindowCall, WindowFunction};
use crate::sql::keyset::sort_keys;
use crate::sql::writer::{Bind, Writer};

/// Below this share of a weight nothing is left of it in a double.
const NOTHING: f64 = 1e-150;

impl Compiler {
    pub(super) fn window(
        &self,
        w: &mut Writer<'_>,
        call: &WindowCall,
        column: &Column,
        block: &Block<'_>,
        before: &[Block<'_>],
    ) {
        if let (WindowFunction::Ewma(alpha), Some(field)) = (&call.function, &call.field) {
            return self.ewma(w, (call, *alpha, field), column, block, before);
        }
        w.sql("SELECT ");
        Self::pass(w, block);
        w.sql(", ");
        self.value(w, call);
        w.sql(" AS ").ident(&column.sql);
        self.input(w, block, before);
    }

    fn value(&self, w: &mut Writer<'_>, call: &WindowCall) {
        let over = |w: &mut Writer<'_>, frame: &str| {
            w.sql(" OVER (");
            parts(w, call);
            w.order_by(&sort_keys(&call.order, self.code_point_collation))
                .sql(frame)
                .sql(")");
        };
        let number = |w: &mut Writer<'_>| {
            if let Some(field) = &call.field {
                w.numbers(field);
            }
        };
        let change = |w: &mut Writer<'_>| {
            w.sql("(");
            number(w);
            w.sql(" - lag(");
            number(w);
            w.sql(")");
            over(w, "");
            w.sql(")");
        };
        match &call.function {
            WindowFunction::Lag(size) | WindowFunction::Lead(size) => {
                let lag = matches!(call.function, WindowFunction::Lag(_));
                w.sql(if lag { "lag(" } else { "lead(" });
                match &call.field {
                    Some(Field::Foreign(foreign)) if is_number(foreign) => {
                        w.column(foreign.relation, &foreign.column);
                    }
                    Some(field) => {
                        w.field(field);
                    }
                    None => {}
                }
                w.sql(", ").number(*size).sql(")");
                over(w, "");
            }
            WindowFunction::Rank => {
                w.sql("rank()");
                over(w, "");
            }
            WindowFunction::RowNumber => {
                w.sql("row_number()");
                over(w, "");
            }
            WindowFunction::RunningSum => {
                w.sql("sum(");
                number(w);
                w.sql(")");
                over(w, " ROWS UNBOUNDED PRECEDING");
            }
            WindowFunction::MovingAvg(size) => {
                w.sql("avg(");
                number(w);
                w.sql(")");
                let frame = format!(" ROWS BETWEEN {} PRECEDING AND CURRENT ROW", size - 1);
                over(w, &frame);
            }
            WindowFunction::Delta => change(w),
            WindowFunction::Rate(time) => {
                w.sql("(");
                change(w);
                w.sql(" / NULLIF(extract(epoch FROM ")
                    .field(time)
                    .sql(" - lag(")
                    .field(time)
                    .sql(")");
                over(w, "");
                w.sql("), 0))");
            }
            // Written by `ewma`.
            WindowFunction::Ewma(_) => {}
        }
    }

    /// s₁ = x₁ and sₙ = α·xₙ + (1 − α)·sₙ₋₁; a row without a number keeps what was before.
    ///
    /// Written out it is a sum of weights, (1 − α)ⁿ·x₁ + α·Σ (1 − α)ⁿ⁻ⁱ·xᵢ, and so a running sum of
    /// xᵢ·(1 − α)⁻ⁱ. That outgrows a double in time: rows are counted in stretches so long that of what
    /// came before a stretch and its predecessor nothing is left. All terms of a sum but the last few
    /// are small beside it, so nothing is lost.
    fn ewma(
        &self,
        w: &mut Writer<'_>,
        (call, alpha, field): (&WindowCall, f64, &Field),
        column: &Column,
        block: &Block<'_>,
        before: &[Block<'_>],
    ) {
        let decay = 1.0 - alpha;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Clamped.
        let stretch = if decay > 0.0 {
            (NOTHING.ln() / decay.ln()).clamp(1.0, 1e9) as u64
        } else {
            1
        };
        let keys = sort_keys(&call.order, self.code_point_collation);
        let power = |w: &mut Writer<'_>, exponent: &str| {
            w.sql("power(")
                .typed(Bind::Float(decay), "float8")
                .sql(", ")
                .sql(exponent)
                .sql(")");
        };
        let partition = |w: &mut Writer<'_>, also: &str| {
            parts(w, call);
            w.sql(match (call.partition.is_empty(), also.is_empty()) {
                (_, true) => "",
                (true, false) => "PARTITION BY ",
                (false, false) => ", ",
            });
            w.sql(also);
        };
        w.sql("SELECT ");
        Self::pass(w, block);
        w.sql(", to_jsonb(CASE WHEN zk > 0 THEN zl + ");
        power(w, "zj + 1");
        w.sql(
            " * CASE WHEN zc = 0 THEN max(CASE WHEN zk = 1 AND zx IS NOT NULL THEN zx END) OVER (",
        );
        partition(w, "");
        w.sql(") ELSE max(CASE WHEN zx IS NOT NULL AND zj = ")
            .number(stretch - 1)
            .sql(" THEN zl END) OVER (");
        partition(w, "");
        w.sql(" ORDER BY zc RANGE BETWEEN 1 PRECEDING AND 1 PRECEDING) END END)::numeric AS ")
            .ident(&column.sql);
        w.sql(" FROM (SELECT e.*, ")
            .typed(Bind::Float(alpha), "float8")
            .sql(" * ");
        power(w, "zj");
        w.sql(" * sum(zx * ");
        power(w, "-zj");
        w.sql(") OVER (");
        partition(w, "zc");
        w.order_by(&keys)
            .sql(" ROWS UNBOUNDED PRECEDING) AS zl FROM (SELECT e.*, (zk - 1) / ")
            .number(stretch)
            .sql(" AS zc, (zk - 1) % ")
            .number(stretch)
            .sql(" AS zj FROM (SELECT ");
        Self::pass(w, block);
        w.sql(", ").numbers(field).sql("::float8 AS zx, count(");
        w.numbers(field).sql(") OVER (");
        partition(w, "");
        w.order_by(&keys).sql(" ROWS UNBOUNDED PRECEDING) AS zk");
        self.input(w, block, before);
        w.sql(") AS e) AS e) AS e");
    }
}

fn parts(w: &mut Writer<'_>, call: &WindowCall) {
    if call.partition.is_empty() {
        return;
    }
    w.sql("PARTITION BY ")
        .join(&call.partition, ", ", |w, field| {
            w.value(field);
        });
}

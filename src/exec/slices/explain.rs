//! The plan of a query that is cut: that of each slice's statement, and that of what merges them.
//!
//! Everything is asked of the leader's connection, one after the other; where the plan is analyzed, each
//! slice is measured with the server to itself.

use serde_json::{Value as Wire, json};

use super::super::arguments::{arguments, sql_text};
use super::super::ascii::IntoAscii;
use super::super::batch::Batch;
use super::super::connection::Connection;
use super::super::frame::Frame;
use super::super::stop::Stop;
use super::Slices;
use super::gather::Gathered;
use crate::model::{Error, Result, time::Timestamp};
use crate::plan::{Meet, Slicing};
use crate::sql::{Bind, Merged, Share, explain, merged, partial};

impl Slices {
    /// Explains the query as `workers` slices of it would run.
    pub(super) async fn explained(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        workers: usize,
        analyze: bool,
    ) -> Result<Batch> {
        let mut leader = frame.lease().await?;
        let floor = frame.engine.pool.seen_snapshot();
        let outcome = self
            .document(frame, slicing, workers, analyze, leader.connection())
            .await;
        leader.end_transaction(&outcome).await;
        let document = outcome?;
        let end = frame.end(1, &floor);
        // As an EXPLAIN of the server's comes: one row of one column, a list of one document.
        let json = json!({ "columns": ["plan"], "rows": [[document]], "end": end });
        Ok(Batch::new(json.to_string().into_bytes_ascii(), true))
    }

    async fn document(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        workers: usize,
        analyze: bool,
        leader: &mut Connection,
    ) -> Result<Wire, Stop> {
        let exported = leader.begin_exporting().await?;
        let shares = self
            .shares(frame, slicing, leader, &exported, workers)
            .await?;
        self.tell(frame, Self::said(slicing, &shares));
        leader.one_process().await?;
        let (statements, merging) = self.statements(frame, slicing, &shares, exported.clock)?;
        let mut slices = Vec::new();
        let (mut rows, mut cost, mut measured) = (0.0_f64, 0.0_f64, 0.0_f64);
        for ((sql, binds), share) in statements.iter().zip(&shares) {
            let document = plan_of(leader, sql, binds, analyze).await?;
            let number = |of: &Wire, key: &str| of[key].as_f64().unwrap_or(0.0);
            let root = &document["Plan"];
            rows += number(root, "Plan Rows");
            // They run at the same time.
            cost = cost.max(number(root, "Total Cost"));
            measured = measured.max(number(&document, "Execution Time"));
            slices.push(slice(share, root));
        }
        if let Some((sql, binds)) = merging {
            let document = plan_of(leader, &sql, &binds, false).await?;
            cost += document["Plan"]["Total Cost"].as_f64().unwrap_or(0.0);
            slices.push(document["Plan"].clone());
        }
        let root = json!({
            "Node Type": "Parallel merge",
            "Plan Rows": rows,
            "Total Cost": cost,
            "Plans": slices,
        });
        Ok(if analyze {
            json!({ "Plan": root, "Execution Time": measured })
        } else {
            json!({ "Plan": root })
        })
    }

    /// The statements of the slices; and the one that merges them, where the server does.
    #[allow(clippy::type_complexity)] // Texts and their values, for one caller.
    fn statements(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        shares: &[Share],
        clock: Timestamp,
    ) -> Result<(Vec<(String, Vec<Bind>)>, Option<(String, Vec<Bind>)>), Stop> {
        let target = frame.engine.target();
        let (Meet::Groups(merge), Some(grouping)) = (slicing.meet, &self.query.grouping) else {
            let asked = self.rows_of(frame, shares, slicing.meet, clock)?;
            let all = asked.statements.into_iter().map(|s| (s.sql, s.binds));
            return Ok((all.collect(), None));
        };
        let parts = (0_u64..)
            .zip(shares)
            .map(|slice| partial(&self.query, grouping, &target, slice, merge, clock))
            .collect::<Result<Vec<_>>>()
            .map_err(Stop::Refused)?;
        let types = parts.first().map_or(&[][..], |part| &part.types);
        let nothing = Merged {
            columns: Gathered::new(types).into_arrays(),
            merge,
        };
        let last = merged(&self.query, &target, self.purpose, &nothing, clock);
        let last = last.map_err(Stop::Refused)?;
        let parts = parts.into_iter().map(|part| (part.sql, part.binds));
        Ok((parts.collect(), Some((last.sql, last.binds))))
    }
}

fn slice(share: &Share, root: &Wire) -> Wire {
    let mut slice = json!({
        "Node Type": "Parallel slice",
        "Filter": described(share),
        "Plan Rows": root["Plan Rows"],
        "Total Cost": root["Total Cost"],
        "Plans": [root],
    });
    for key in [
        "Actual Rows",
        "Actual Loops",
        "Actual Total Time",
        "Shared Hit Blocks",
        "Shared Read Blocks",
    ] {
        if let Some(measured) = root.get(key) {
            slice[key] = measured.clone();
        }
    }
    slice
}

fn described(share: &Share) -> String {
    match share {
        Share::Pages {
            from: None,
            to: None,
        } => "all pages".to_owned(),
        Share::Pages { from, to: None } => format!("page >= {}", from.unwrap_or(0)),
        Share::Pages { from, to: Some(to) } => {
            format!("page >= {} AND page < {to}", from.unwrap_or(0))
        }
        Share::Groups { of, this } => format!("hash of the group % {of} = {this}"),
        Share::Time {
            from: None,
            to: None,
        } => "all times".to_owned(),
        Share::Time {
            from: Some(from),
            to: None,
        } => format!("timestamp >= {from}"),
        Share::Time {
            from: None,
            to: Some(to),
        } => format!("timestamp < {to}"),
        Share::Time {
            from: Some(from),
            to: Some(to),
        } => {
            format!("timestamp >= {from} AND timestamp < {to}")
        }
    }
}

/// What EXPLAIN says of a statement.
async fn plan_of(
    connection: &mut Connection,
    sql: &str,
    binds: &[Bind],
    analyze: bool,
) -> Result<Wire, Stop> {
    use sqlx::Row;
    let values = arguments(binds).map_err(Stop::Refused)?;
    let text = sql_text(&explain::statement(sql, analyze));
    let row = sqlx::query_with(text, values)
        .persistent(false)
        .fetch_one(&mut connection.driver)
        .await?;
    let document: Wire = row.try_get::<sqlx::types::Json<Wire>, _>(0)?.0;
    (document.get(0).cloned())
        .ok_or_else(|| Stop::Ours(Error::Internal("EXPLAIN gave no plan".into())))
}

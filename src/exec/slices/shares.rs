//! Which events each slice reads: by the groups' hash, by pages, or by times that part the events evenly.

use sqlx::Row;

use super::{Slices, catalog};
use crate::exec::arguments::{arguments, sql_text};
use crate::exec::connection::Connection;
use crate::exec::frame::Frame;
use crate::exec::snapshot::Exported;
use crate::exec::stop::Stop;
use crate::model::time::Timestamp;
use crate::plan::{Cut, Slicing, cuts, times};
use crate::sql::{Share, bucket_starts};

impl Slices {
    /// How a query was cut, in words.
    pub fn said(slicing: Slicing, shares: &[Share]) -> Result<String, String> {
        let by = match (shares.first(), slicing.cut) {
            (Some(Share::Pages { .. }), _) => "the pages of the table",
            (_, Cut::Buckets) => "bucket",
            (_, Cut::Groups) => "the hash of the group",
            _ => "timestamp",
        };
        match shares.len() {
            1 => Err(format!("there is nothing to cut by {by}")),
            slices => Ok(format!("{slices} slices by {by}")),
        }
    }

    /// The slices, as many as there are workers or fewer.
    pub async fn shares(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        leader: &mut Connection,
        exported: &Exported,
        workers: usize,
    ) -> Result<Vec<Share>, Stop> {
        if slicing.cut == Cut::Groups {
            let of = workers as u64;
            return Ok((0..of).map(|this| Share::Groups { of, this }).collect());
        }
        let target = frame.engine.target();
        if slicing.cut == Cut::Pages
            && let Some(pages) = catalog::pages(&mut leader.driver, &target.table).await?
        {
            return Ok(shares_of_pages(pages, workers));
        }
        let window = times(&self.query, exported.clock);
        let known = if let Some(known) = frame.engine.slices.bounds() {
            known
        } else {
            let read = catalog::bounds(&mut leader.driver, &target.table).await?;
            frame.engine.slices.keep_bounds(read)
        };
        let mut at = cuts(&known, window, workers);
        if at.is_empty() && known.is_empty() {
            let ends = catalog::ends(&mut leader.driver, &target.table).await?;
            at = cuts(&ends, window, workers);
        }
        if let (Cut::Buckets, Some(bucket)) = (
            slicing.cut,
            self.query.grouping.as_ref().and_then(|g| g.bucket.as_ref()),
        ) {
            let (sql, binds) = bucket_starts(bucket, at, &target);
            let values = arguments(&binds).map_err(Stop::Refused)?;
            at = sqlx::query_with(sql_text(&sql), values)
                .fetch_all(&mut leader.driver)
                .await?
                .iter()
                .map(|row| row.try_get(0).map(Timestamp::from_micros))
                .collect::<Result<_, _>>()?;
        }
        let from = std::iter::once(None).chain(at.iter().copied().map(Some));
        let to = at.iter().copied().map(Some).chain(std::iter::once(None));
        Ok(from
            .zip(to)
            .map(|(from, to)| Share::Time { from, to })
            .collect())
    }
}

/// As many pages for each: where there are fewer than workers, one slice reads them all.
fn shares_of_pages(pages: u32, workers: usize) -> Vec<Share> {
    let slices = u32::try_from(workers).unwrap_or(u32::MAX).min(pages.max(1));
    let each = pages.div_ceil(slices);
    (0..slices)
        .map(|slice| Share::Pages {
            from: (slice > 0).then(|| slice.saturating_mul(each)),
            // Pages that are added meanwhile hold nothing that the snapshot sees.
            to: (slice + 1 < slices).then(|| (slice + 1).saturating_mul(each)),
        })
        .collect()
}

//! Buckets of time.
//!
//! A bucket without a zone is cut from points in time by `date_bin`. One with a zone is cut from
//! the zone's local time and brought back, so that a day is a day across daylight-saving changes,
//! as `date_trunc(…, zone)` has it. Months are counted: month arithmetic, as `date_bin` has none.

use super::writer::{Bind, Writer};
use crate::query::{Bucket, Every};

/// Writes a point in time.
pub type Time<'t> = &'t dyn Fn(&mut Writer<'_>);

/// Of buckets that are lengths: a Monday.
const ORIGIN: &str = "2000-01-03";
/// Of months, which then are those of the calendar.
const MONTH_ORIGIN: &str = "2000-01-01";

impl Writer<'_> {
    /// Where the bucket of `at` begins, as a point in time.
    pub fn bucket_start(&mut self, bucket: &Bucket, at: Time<'_>) -> &mut Self {
        self.instant(bucket, &|w| {
            w.bucket_edge(bucket, at);
        })
    }

    /// An edge as a point in time.
    pub fn instant(&mut self, bucket: &Bucket, edge: Time<'_>) -> &mut Self {
        if !bucket.is_local() {
            edge(self);
            return self;
        }
        self.sql("(");
        edge(self);
        self.sql(" AT TIME ZONE ").zone(bucket).sql(")")
    }

    /// Where the bucket of `at` begins, in the time that the bucket is cut from.
    fn bucket_edge(&mut self, bucket: &Bucket, at: Time<'_>) -> &mut Self {
        match bucket.every {
            Every::Micros(length) => {
                self.sql("date_bin(").interval(length).sql(", ");
                self.local(bucket, at).sql(", ").origin(bucket).sql(")")
            }
            Every::Months(_) => {
                self.sql("(")
                    .origin(bucket)
                    .sql(" + make_interval(months => ");
                self.month_number(bucket, at).sql("))")
            }
        }
    }

    /// How many months after the origin the bucket of `at` begins.
    fn month_number(&mut self, bucket: &Bucket, at: Time<'_>) -> &mut Self {
        let Every::Months(every) = bucket.every else {
            return self;
        };
        self.sql("(floor((").months_between(bucket, at);
        if bucket.origin.is_some() {
            // The origin may lie within its month: a month counts once it is whole.
            self.sql(" - CASE WHEN ")
                .origin(bucket)
                .sql(" + make_interval(months => ");
            self.months_between(bucket, at).sql(") > ");
            self.local(bucket, at).sql(" THEN 1 ELSE 0 END");
        }
        self.sql(") / ")
            .number(every.into())
            .sql("::numeric)::int * ");
        self.number(every.into()).sql(")")
    }

    /// The difference of the months of `at` and the origin, whatever their days.
    fn months_between(&mut self, bucket: &Bucket, at: Time<'_>) -> &mut Self {
        let months = |w: &mut Self, time: Time<'_>| {
            w.sql("(extract(year FROM ");
            time(w);
            w.sql(")::int * 12 + extract(month FROM ");
            time(w);
            w.sql(")::int)");
        };
        self.sql("(");
        months(self, &|w| {
            w.local(bucket, at);
        });
        self.sql(" - ");
        months(self, &|w| {
            w.origin(bucket);
        });
        self.sql(")")
    }

    /// `at` in the time that the bucket is cut from.
    fn local(&mut self, bucket: &Bucket, at: Time<'_>) -> &mut Self {
        if !bucket.is_local() {
            at(self);
            return self;
        }
        self.sql("((");
        at(self);
        self.sql(") AT TIME ZONE ").zone(bucket).sql(")")
    }

    fn origin(&mut self, bucket: &Bucket) -> &mut Self {
        let default = match bucket.every {
            Every::Micros(_) => ORIGIN,
            Every::Months(_) => MONTH_ORIGIN,
        };
        match (bucket.origin, bucket.is_local()) {
            (Some(origin), true) => self
                .sql("(")
                .typed(Bind::Time(origin), "timestamptz")
                .sql(" AT TIME ZONE ")
                .zone(bucket)
                .sql(")"),
            (Some(origin), false) => self.typed(Bind::Time(origin), "timestamptz"),
            (None, true) => self.sql("timestamp '").sql(default).sql("'"),
            (None, false) => self.sql("timestamptz '").sql(default).sql("Z'"),
        }
    }

    fn zone(&mut self, bucket: &Bucket) -> &mut Self {
        match &bucket.zone {
            Some(zone) => self.typed(Bind::Text(zone.clone()), "text"),
            None => self.sql("'UTC'"),
        }
    }

    /// The edges of all buckets from that of `first` to that of `last`, as a set of rows.
    pub fn bucket_edges(&mut self, bucket: &Bucket, first: Time<'_>, last: Time<'_>) -> &mut Self {
        match bucket.every {
            Every::Micros(length) => {
                self.sql("generate_series(")
                    .bucket_edge(bucket, first)
                    .sql(", ");
                self.bucket_edge(bucket, last)
                    .sql(", ")
                    .interval(length)
                    .sql(")")
            }
            Every::Months(every) => {
                self.sql("(SELECT ").origin(bucket);
                self.sql(" + make_interval(months => m) FROM generate_series(");
                self.month_number(bucket, first).sql(", ");
                self.month_number(bucket, last).sql(", ");
                self.number(every.into()).sql(") AS m)")
            }
        }
    }
}

impl Bucket {
    /// Whether it is cut from local time.
    pub const fn is_local(&self) -> bool {
        self.zone.is_some() || matches!(self.every, Every::Months(_))
    }
}

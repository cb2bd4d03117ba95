//! The stamp: under which circumstances a statement ran, as one text beside its rows.
//!
//! Two answers with the same stamp, but for its snapshot and its clock, came about alike; what makes an
//! entry unfit to be kept is told in it as well.

use super::Base;
use crate::model::{
    field::Column,
    table::{TRANSACTION_ID, TableNames, quote_ident},
};
use crate::query::{EventQuery, Window};
use crate::sql::writer::{Bind, Writer};

/// The settings that an answer can depend on, and whose it is, as one number in text.
pub const REALM: &str = "hashtextextended(concat_ws(',', current_user, current_setting('search_path'), \
     current_setting('TimeZone'), current_setting('DateStyle'), current_setting('row_security'), \
     current_setting('server_version_num'), current_setting('server_encoding')), 0)";

/// Snapshot, nonce, start of the server, realm, and whether it is a standby, as one text: all that has to be as
/// it was where no transaction has ended since. A tenth of the cost of a check.
pub fn unchanged(table: &TableNames) -> String {
    let incarnation = table.incarnation();
    format!(
        "SELECT concat_ws('|', pg_current_snapshot(), coalesce((SELECT nonce::text FROM {incarnation}), ''), \
         extract(epoch FROM pg_postmaster_start_time()), {REALM}, pg_is_in_recovery())"
    )
}

impl Writer<'_> {
    /// The rows of a statement, each with the stamp; the stamp alone where there are none. Of the two
    /// relations the first has one row, and a nested loop, the only join that there is without a
    /// condition, keeps the order of the second. OFFSET 0: the stamp is made once, not for each row.
    pub fn beside(&mut self, sql: &str, stamp: impl FnOnce(&mut Self)) {
        self.sql("SELECT q.*, h.stamp FROM (SELECT ");
        stamp(self);
        self.sql(" AS stamp FROM pg_current_snapshot() AS s OFFSET 0) AS h LEFT JOIN (");
        self.sql(sql).sql(") AS q ON true");
    }

    /// Snapshot, nonce, start of the server, realm, fingerprint, troubles, clock, and when an event of
    /// the future comes to pass. Without a base it is a fill.
    pub fn stamp_fields(&mut self, query: &EventQuery, partitioned: bool, base: Option<Base<'_>>) {
        let table = self.table;
        self.sql("s::text, coalesce((SELECT nonce::text FROM ")
            .sql(&table.incarnation());
        self.sql("), ''), extract(epoch FROM pg_postmaster_start_time())::text, ");
        self.sql(REALM).sql(", ");
        self.fingerprint(partitioned);
        self.sql(
            ", concat('', CASE WHEN pg_current_xact_id_if_assigned() IS NOT NULL THEN 'w' END, ",
        );
        self.sql("CASE WHEN pg_is_in_recovery() THEN 's' END, ");
        self.sql("CASE WHEN row_security_active(")
            .name()
            .sql(") THEN 'r' END, ");
        self.sql("CASE WHEN current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN 'i' END");
        match base {
            // Events of transactions yet to come: a dump of an older cluster. They would count twice.
            None => {
                self.sql(", CASE WHEN EXISTS (SELECT FROM ")
                    .sql(&table.quoted());
                self.sql(" AS x WHERE x.").sql(TRANSACTION_ID);
                self.sql(" >= pg_snapshot_xmax(s)) THEN 'a' END");
            }
            // Updates and deletes since, by the same rule of visibility.
            Some(base) => {
                self.sql(", CASE WHEN EXISTS (SELECT FROM ")
                    .sql(&table.rotations());
                self.sql(" AS x WHERE x.").sql(TRANSACTION_ID).sql(" >= ");
                self.xid(base.snapshot.xmin());
                self.sql(" AND NOT pg_visible_in_snapshot(x.")
                    .sql(TRANSACTION_ID);
                self.sql(", ").bind(Bind::Text(base.snapshot.to_string()));
                self.sql("::text::pg_snapshot)) THEN 'c' END");
            }
        }
        self.sql("), (extract(epoch FROM now()) * 1000000)::int8, ");
        if is_of_the_clock(query) {
            let time = quote_ident(table.columns.of(Column::Timestamp));
            self.sql("coalesce((SELECT (extract(epoch FROM min(x.")
                .sql(&time);
            self.sql(")) * 1000000)::int8 FROM ").sql(&table.quoted());
            self.sql(" AS x WHERE x.")
                .sql(&time)
                .sql(" >= now())::text, '')");
        } else {
            self.sql("''");
        }
        self.sql(", ").window_edges(query);
    }

    /// The first and the last bucket of a window that ends at the clock.
    fn window_edges(&mut self, query: &EventQuery) -> &mut Self {
        let bucket = query.grouping.as_ref().and_then(|g| g.bucket.as_ref());
        let (Some(Window::Last(length)), Some(bucket), true) =
            (query.window, bucket, is_of_the_clock(query))
        else {
            return self.sql("''");
        };
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        self.sql("concat((extract(epoch FROM ")
            .bucket_start(bucket, &|w| {
                w.sql("now() - ").interval(micros);
            });
        self.sql(") * 1000000)::int8, ',', (extract(epoch FROM ");
        self.bucket_start(bucket, &|w| {
            w.sql("now() - ").interval(1);
        });
        self.sql(") * 1000000)::int8)")
    }

    /// What TRUNCATE, ATTACH, DETACH, DROP or a disabled trigger change and ANALYZE, VACUUM and new
    /// indexes do not, as a number; behind `!` what is wrong with the table.
    fn fingerprint(&mut self, partitioned: bool) {
        let of_row = "concat_ws(',', c.oid, c.xmin, c.relkind, c.relhassubclass, t.list)";
        let triggers = " LEFT JOIN LATERAL (SELECT string_agg(concat_ws('.', t.oid, t.xmin), ',' ORDER BY t.oid) AS list, \
             count(*) FILTER (WHERE t.tgenabled = 'A' AND t.tgname IN ('zzz_tamma_guard_insert', 'zzz_tamma_guard_update', 'tamma_2_log_rotation')) AS guards \
             FROM pg_trigger AS t WHERE t.tgrelid = c.oid) AS t ON true";
        self.sql("coalesce((");
        if partitioned {
            self.sql("WITH RECURSIVE tree(id) AS (SELECT to_regclass(")
                .name();
            self.sql(")::oid UNION ALL SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.id) ");
            self.sql("SELECT concat(hashtextextended(string_agg(")
                .sql(of_row);
            self.sql(", ';' ORDER BY c.oid), 0), '!', CASE WHEN NOT bool_and(c.relkind IN ('r', 'p')) THEN 'k' END, ");
            self.sql("CASE WHEN NOT bool_and(t.guards = 3) THEN 't' END) FROM tree JOIN pg_class AS c ON c.oid = tree.id");
            self.sql(triggers);
        } else {
            self.sql("SELECT concat(hashtextextended(").sql(of_row);
            self.sql(", 0), '!', CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'k' END, ");
            self.sql("CASE WHEN c.relkind = 'p' OR c.relhassubclass THEN 'p' END, ");
            self.sql("CASE WHEN t.guards <> 3 THEN 't' END) FROM pg_class AS c");
            self.sql(triggers)
                .sql(" WHERE c.oid = to_regclass(")
                .name()
                .sql(")");
        }
        self.sql("), '')");
    }

    /// The event table's name as a value.
    fn name(&mut self) -> &mut Self {
        let name = self.table.quoted();
        self.bind(Bind::Text(name)).sql("::text")
    }

    pub fn xid(&mut self, id: u64) -> &mut Self {
        self.bind(Bind::Text(id.to_string())).sql("::text::xid8")
    }
}

/// Whether the answer changes by time alone. The pages behind the first keep its clock.
pub fn is_of_the_clock(query: &EventQuery) -> bool {
    matches!(query.window, Some(Window::Last(_))) && query.after.is_none()
}

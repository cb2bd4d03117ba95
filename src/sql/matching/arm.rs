//! One arm of what a matcher reads: the events whose conditions take their key from the same fields.

use super::{Arm, NEW, Projection};
use crate::model::field::{Column, Field, Kind};
use crate::model::{snapshot::Snapshot, table::TRANSACTION_ID};
use crate::query::Condition;
use crate::sql::field::EVENTS;
use crate::sql::select::Target;
use crate::sql::writer::{Bind, Writer};

impl<'q> Writer<'_> {
    /// The log.
    pub(super) fn events(&mut self) -> &mut Self {
        let table = self.table.quoted();
        let table = self.stand_in.unwrap_or(&table);
        self.sql(" FROM ").sql(table).sql(" AS ").alias(EVENTS)
    }

    /// The events of an arm, with their keys and masks.
    pub(super) fn arm(
        &mut self,
        projection: &Projection<'q>,
        arm: &Arm<'q>,
        arms: &[Arm<'q>],
        kinds: &[Kind],
        target: &Target,
    ) -> &mut Self {
        self.sql("SELECT ");
        for (i, (field, kind)) in arm.fields.iter().zip(kinds).enumerate() {
            self.key_field(field, *kind, target)
                .sql(" AS k")
                .number(i as u64)
                .sql(", ");
        }
        self.event_column(EVENTS, Column::Timestamp)
            .sql(" AS t, ")
            .event_column(EVENTS, Column::Id)
            .sql(" AS i, ")
            .mask(&arm.bits)
            .new_bit(projection.since)
            .sql(" AS m");
        for (i, field) in projection.fields.iter().enumerate() {
            self.sql(", ").field(field).sql(" AS v").number(i as u64);
        }
        self.events().sql(" WHERE true");
        self.filter_after(" AND ", projection.query);
        if let Some(relevant) = projection.relevant {
            let bits = arm.bits.iter().filter(|(bit, _)| relevant >> bit & 1 == 1);
            if !bits.clone().any(|(_, c)| c.is_always()) {
                self.sql(" AND (").join(bits, " OR ", |w, (_, condition)| {
                    w.condition(condition);
                });
                self.sql(")");
            }
        }
        if let Some(keys) = projection.keys {
            for ((field, kind), list) in arm.fields.iter().zip(kinds).zip(keys) {
                self.sql(" AND ");
                if *kind == Kind::Text && field.kind() == Kind::Text {
                    // Equal under any collation that tells texts apart, and as an index on it has it.
                    self.sql("(").field(field).sql(")");
                } else {
                    self.key_field(field, *kind, target);
                }
                self.sql(" = ANY(").bind(list.bind()).sql(")");
            }
            return self;
        }
        // What is in a list of keys is not null.
        if !projection.null_keys && projection.rare == 0 {
            for (field, kind) in arm.fields.iter().zip(kinds) {
                if field.nullable() {
                    self.sql(" AND ")
                        .key_field(field, *kind, target)
                        .sql(" IS NOT NULL");
                }
            }
        }
        if !kinds.is_empty() {
            self.rare_keys(projection, arm, arms, kinds, target);
        }
        self
    }

    /// The same. What has no key is left out of what was read, not tested before it is: taking a key out
    /// of JSON twice costs more than all else that is done to an event.
    pub(super) fn fenced_arm(
        &mut self,
        projection: &Projection<'q>,
        arm: &Arm<'q>,
        arms: &[Arm<'q>],
        kinds: &[Kind],
        target: &Target,
    ) -> &mut Self {
        let nullable: Vec<usize> = (0..kinds.len())
            .filter(|i| arm.fields[*i].nullable())
            .collect();
        let has_list = projection.rare != 0 || projection.keys.is_some();
        if projection.null_keys || has_list || nullable.is_empty() {
            return self.arm(projection, arm, arms, kinds, target);
        }
        let all = Projection {
            null_keys: true,
            ..*projection
        };
        self.sql("SELECT * FROM (")
            .arm(&all, arm, arms, kinds, target)
            .sql(" OFFSET 0) AS a WHERE ")
            .join(nullable, " AND ", |w, i| {
                w.sql("a.k").number(i as u64).sql(" IS NOT NULL");
            })
    }

    /// Only keys that have an event with each of the rare bits.
    fn rare_keys(
        &mut self,
        projection: &Projection<'q>,
        arm: &Arm<'q>,
        arms: &[Arm<'q>],
        kinds: &[Kind],
        target: &Target,
    ) {
        let all = arms.iter().flat_map(|other| {
            let fields = other.fields;
            other.bits.iter().map(move |(bit, c)| (*bit, *c, fields))
        });
        for (bit, condition, fields) in all {
            if projection.rare >> bit & 1 == 0 {
                continue;
            }
            self.sql(" AND (")
                .key_row(arm.fields, kinds, target)
                .sql(") IN (SELECT ")
                .key_row(fields, kinds, target);
            // The alias is the same: inside, it means the events of the subquery.
            self.events().sql(" WHERE ").condition(condition);
            self.filter_after(" AND ", projection.query);
            self.sql(")");
        }
    }

    fn key_row(&mut self, fields: &[Field], kinds: &[Kind], target: &Target) -> &mut Self {
        self.join(fields.iter().zip(kinds), ", ", |w, (field, kind)| {
            w.key_field(field, *kind, target);
        })
    }

    /// A field of the key. JSON null is no key.
    fn key_field(&mut self, field: &Field, kind: Kind, target: &Target) -> &mut Self {
        match (kind, field.kind()) {
            (Kind::Text, Kind::Text) => self.sql("(").field(field).sql(")"),
            (Kind::Text, _) => self.sql("(").field_text(field).sql(")"),
            _ => return self.value(field),
        };
        if target.code_point_collation {
            self
        } else {
            self.sql(" COLLATE \"C\"")
        }
    }

    /// One bit more for what a snapshot could not see.
    fn new_bit(&mut self, since: Option<&Snapshot>) -> &mut Self {
        let Some(since) = since else {
            return self;
        };
        self.sql(" | CASE WHEN ")
            .alias(EVENTS)
            .sql(".")
            .sql(TRANSACTION_ID)
            .sql(" >= ")
            .xid(since.xmin())
            .sql(" AND NOT pg_visible_in_snapshot(")
            .alias(EVENTS)
            .sql(".")
            .sql(TRANSACTION_ID)
            .sql(", ")
            .bind(Bind::Text(since.to_string()))
            .sql("::text::pg_snapshot) THEN ")
            .number(NEW)
            .sql("::int8 ELSE 0::int8 END")
    }

    /// The bits of the conditions that hold.
    fn mask(&mut self, bits: &[(usize, &Condition)]) -> &mut Self {
        if bits.is_empty() {
            return self.sql("0::int8");
        }
        self.sql("(").join(bits, " | ", |w, (bit, condition)| {
            let value = 1_u64 << bit;
            if condition.is_always() {
                w.number(value).sql("::int8");
            } else {
                w.sql("CASE WHEN ")
                    .condition(condition)
                    .sql(" THEN ")
                    .number(value)
                    .sql("::int8 ELSE 0::int8 END");
            }
        });
        self.sql(")")
    }
}

//! The SQL files of `migrations/`, whose README says what they are.

use std::borrow::Cow;

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType},
};

use super::render::render;
use crate::model::table::TableNames;

/// A migration that is applied once and recorded.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) version: i64,
    /// The file's name without number and ending.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) sql: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs in a transaction of its own.
    Script,
    /// Builds the index `idx_<table><suffix>`.
    Index { suffix: &'static str },
}

/// How the event table came to be: decides on the default for immutability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Created,
    Adopted,
}

/// Something that is brought about whenever it is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Guards,
    ImmutableOn,
    ImmutableOff,
    Nonce,
}

/// The migration that creates the log of rotations and the nonce's table.
pub(super) const ROTATIONS: i64 = 1;
/// The migration that creates or adopts the event table.
pub(super) const EVENTS: i64 = 2;
/// The migration that creates the gate of conditional appends.
pub(super) const GATE: i64 = 9;
/// The migration that creates the tables that event tables of a schema share.
pub(super) const QUERY_TABLES: i64 = 3;

macro_rules! numbered {
    ($version:literal, $number:literal, $name:literal, $kind:expr) => {
        Numbered {
            version: $version,
            name: $name,
            kind: $kind,
            sql: include_str!(concat!("../../migrations/", $number, "_", $name, ".sql")),
        }
    };
}

const fn index(suffix: &'static str) -> Kind {
    Kind::Index { suffix }
}

const LOG: Numbered = numbered!(1, "0001", "rotations", Kind::Script);
const CREATE: Numbered = numbered!(2, "0002", "create_events", Kind::Script);
const ADOPT: Numbered = numbered!(2, "0002", "adopt_events", Kind::Script);
const REST: [Numbered; 9] = [
    numbered!(3, "0003", "query_tables", Kind::Script),
    numbered!(4, "0004", "index_timestamp", index("_timestamp")),
    numbered!(5, "0005", "index_transaction_id", index("_transaction_id")),
    numbered!(6, "0006", "index_composite_1", index("_composite_1")),
    numbered!(7, "0007", "index_composite_2", index("_composite_2")),
    numbered!(8, "0008", "index_composite_3", index("_composite_3")),
    numbered!(9, "0009", "append_gate", Kind::Script),
    numbered!(10, "0010", "renew_incarnation", Kind::Script),
    numbered!(11, "0011", "partition_gate", Kind::Script),
];

/// The numbered migrations in order.
pub(super) fn numbered(origin: Origin) -> impl Iterator<Item = &'static Numbered> {
    let events = match origin {
        Origin::Created => &CREATE,
        Origin::Adopted => &ADOPT,
    };
    [&LOG, events].into_iter().chain(&REST)
}

impl Origin {
    /// Which form of the migration has this checksum.
    pub(super) fn of_checksum(checksum: &[u8]) -> Option<Self> {
        [(&CREATE, Self::Created), (&ADOPT, Self::Adopted)]
            .into_iter()
            .find(|(numbered, _)| *numbered.checksum() == *checksum)
            .map(|(_, origin)| origin)
    }
}

impl Numbered {
    /// As reports name it: `0002_create_events`.
    pub(super) fn title(&self) -> String {
        format!("{:04}_{}", self.version, self.name)
    }

    /// Over the template, so that other names do not look like an edited migration.
    pub(super) fn checksum(&self) -> Cow<'static, [u8]> {
        self.template().checksum
    }

    /// For sqlx, with its statements. An index's are run apart, so it has none.
    pub(super) fn to_migration(&self, names: &TableNames) -> Migration {
        let sql = match self.kind {
            Kind::Script => render(self.sql, names, &[]),
            Kind::Index { .. } => String::new(),
        };
        Migration {
            sql: AssertSqlSafe(sql).into_sql_str(),
            ..self.template()
        }
    }

    fn template(&self) -> Migration {
        Migration::new(
            self.version,
            Cow::Owned(self.name.replace('_', " ")),
            MigrationType::Simple,
            self.sql.into_sql_str(),
            false,
        )
    }
}

impl Setting {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Guards => "guards",
            Self::ImmutableOn => "immutable_on",
            Self::ImmutableOff => "immutable_off",
            Self::Nonce => "nonce",
        }
    }

    const fn sql(self) -> &'static str {
        match self {
            Self::Guards => include_str!("../../migrations/state/guards.sql"),
            Self::ImmutableOn => include_str!("../../migrations/state/immutable_on.sql"),
            Self::ImmutableOff => include_str!("../../migrations/state/immutable_off.sql"),
            Self::Nonce => include_str!("../../migrations/state/nonce.sql"),
        }
    }

    pub(super) fn render(self, names: &TableNames) -> String {
        render(self.sql(), names, &[])
    }
}

/// The table in which sqlx records what was applied, quoted.
pub(super) fn record(names: &TableNames) -> String {
    names.beside(&record_name(names))
}

/// Its bare name.
pub(super) fn record_name(names: &TableNames) -> String {
    names.derived("", "_migrations")
}

#[cfg(test)]
mod tests {
    use super::super::render::render_index;
    use super::*;

    fn all(names: &TableNames) -> Vec<String> {
        let mut sql: Vec<String> = [Origin::Created, Origin::Adopted]
            .into_iter()
            .flat_map(numbered)
            .map(|n| match n.kind {
                Kind::Script => render(n.sql, names, &[]),
                Kind::Index { .. } => render_index(n.sql, names, String::new(), &names.quoted()),
            })
            .collect();
        let settings = [
            Setting::Guards,
            Setting::ImmutableOn,
            Setting::ImmutableOff,
            Setting::Nonce,
        ];
        sql.extend(settings.map(|s| s.render(names)));
        sql
    }

    #[test]
    fn every_placeholder_is_known() {
        for sql in all(&TableNames::default()) {
            assert!(!sql.contains("{{"), "{sql}");
        }
    }

    #[test]
    fn the_bytes_are_the_same_on_every_platform() {
        for n in numbered(Origin::Created).chain(numbered(Origin::Adopted)) {
            assert!(!n.sql.contains('\r'), "{}", n.title());
        }
    }

    #[test]
    fn names_neither_end_a_quote_nor_pass_for_a_placeholder() {
        let names = TableNames {
            schema: "{{events}}".to_owned(),
            name: "$body$ $_body$".to_owned(),
            ..TableNames::default()
        };
        let function = all(&names).remove(0);
        assert!(function.contains(r#""{{events}}"."$body$ $_body$_rotations""#));
        assert!(function.contains("AS $__body$\n"));
    }

    #[test]
    fn the_checksum_does_not_depend_on_names() {
        for n in numbered(Origin::Adopted) {
            let names = TableNames {
                name: "other".to_owned(),
                ..TableNames::default()
            };
            assert_eq!(n.to_migration(&names).checksum, n.checksum());
        }
        let created = CREATE.checksum();
        assert_eq!(Origin::of_checksum(&created), Some(Origin::Created));
        assert_eq!(
            Origin::of_checksum(&ADOPT.checksum()),
            Some(Origin::Adopted)
        );
        assert_eq!(Origin::of_checksum(b""), None);
    }
}

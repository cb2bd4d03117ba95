//! The names of the event table and its columns, checked and quoted in one place.

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::field::Column;

/// The longest name PostgreSQL keeps, in bytes. It cuts a longer one without a word.
const MAX_IDENTIFIER: usize = 63;

/// The column that numbers events in the order they were inserted.
pub const POSITION: &str = "position";

/// The column that says which transaction inserted an event.
pub const TRANSACTION_ID: &str = "transaction_id";

/// Columns that every PostgreSQL table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// The event table of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableNames {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
    /// Its columns.
    pub columns: ColumnNames,
}

/// What the table calls its columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnNames {
    /// `id`
    pub id: String,
    /// `type`
    pub r#type: String,
    /// `timestamp`
    pub timestamp: String,
    /// `tags`
    pub tags: String,
    /// `metadata`
    pub metadata: String,
    /// `data`
    pub data: String,
    /// `createdAt`
    pub created_at: String,
}

/// A name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: {problem}")]
pub struct NameError {
    /// Where in the client's options, for example `table.columns.createdAt`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Default for TableNames {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            name: "events".to_owned(),
            columns: ColumnNames::default(),
        }
    }
}

impl Default for ColumnNames {
    fn default() -> Self {
        Self {
            id: "event_id".to_owned(),
            r#type: "event_type".to_owned(),
            timestamp: "timestamp".to_owned(),
            tags: "tags".to_owned(),
            metadata: "metadata".to_owned(),
            data: "data".to_owned(),
            created_at: "created_at".to_owned(),
        }
    }
}

impl ColumnNames {
    /// The name of a column.
    pub fn of(&self, column: Column) -> &str {
        match column {
            Column::Id => &self.id,
            Column::Type => &self.r#type,
            Column::Timestamp => &self.timestamp,
            Column::Tags => &self.tags,
            Column::Metadata => &self.metadata,
            Column::Data => &self.data,
            Column::CreatedAt => &self.created_at,
        }
    }

    /// Each column by its key in the client's options.
    fn by_option(&self) -> [(&'static str, &str); 7] {
        [
            ("id", &self.id),
            ("type", &self.r#type),
            ("timestamp", &self.timestamp),
            ("tags", &self.tags),
            ("metadata", &self.metadata),
            ("data", &self.data),
            ("createdAt", &self.created_at),
        ]
    }
}

impl TableNames {
    /// `"schema"."name"`.
    pub fn quoted(&self) -> String {
        self.beside(&self.name)
    }

    /// `"schema"."…"`: another object in the table's schema.
    pub fn beside(&self, name: &str) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(name))
    }

    /// The log of transactions that changed or removed events, quoted.
    pub fn rotations(&self) -> String {
        self.beside(&self.rotations_name())
    }

    /// Its bare name.
    pub fn rotations_name(&self) -> String {
        self.derived("", "_rotations")
    }

    /// The table of the nonce that a crash removes, quoted.
    pub fn incarnation(&self) -> String {
        self.beside(&self.incarnation_name())
    }

    /// Its bare name.
    pub fn incarnation_name(&self) -> String {
        self.derived("", "_incarnation")
    }

    /// The function that makes a new nonce where there is none, quoted.
    pub fn renew_incarnation(&self) -> String {
        self.beside(&self.derived("", "_renew_incarnation"))
    }

    /// The table whose lock keeps conditional appends and other writers apart, quoted.
    pub fn gate(&self) -> String {
        self.beside(&self.gate_name())
    }

    /// Its bare name.
    pub fn gate_name(&self) -> String {
        self.derived("", "_gate")
    }

    /// The function that takes that lock for a conditional append, quoted.
    pub fn close_gate(&self) -> String {
        self.beside(&self.derived("", "_close_gate"))
    }

    /// A name made from the table's: `events_rotations`. Where PostgreSQL would cut it, and so make
    /// it meet another, the table's part is shortened to its beginning and a hash.
    pub fn derived(&self, prefix: &str, suffix: &str) -> String {
        let room = MAX_IDENTIFIER.saturating_sub(prefix.len() + suffix.len());
        if self.name.len() <= room {
            return format!("{prefix}{}{suffix}", self.name);
        }
        let hash = format!("~{:08x}", xxh3_64(self.name.as_bytes()) >> 32);
        let kept = self
            .name
            .floor_char_boundary(room.saturating_sub(hash.len()));
        format!("{prefix}{}{hash}{suffix}", &self.name[..kept])
    }

    /// Whether every name can be used.
    ///
    /// # Errors
    /// The first that cannot, by its place in the client's options.
    pub fn check(&self) -> Result<(), NameError> {
        let refuse = |path: &str, problem: String| {
            Err(NameError {
                path: path.to_owned(),
                problem,
            })
        };
        for (path, name) in [("table.schema", &self.schema), ("table.name", &self.name)] {
            if let Some(problem) = identifier_problem(name) {
                return refuse(path, problem.to_owned());
            }
        }
        let columns = self.columns.by_option();
        for (i, (option, name)) in columns.iter().enumerate() {
            let path = format!("table.columns.{option}");
            if let Some(problem) = identifier_problem(name) {
                return refuse(&path, problem.to_owned());
            }
            if SYSTEM_COLUMNS.contains(name) {
                return refuse(&path, format!("{name} is a system column of PostgreSQL"));
            }
            if [POSITION, TRANSACTION_ID].contains(name) {
                return refuse(&path, format!("{name} is a column of this module's own"));
            }
            if let Some((other, _)) = columns[..i].iter().find(|(_, n)| n == name) {
                return refuse(&path, format!("is the same as table.columns.{other}"));
            }
        }
        Ok(())
    }
}

/// Why a text cannot be an identifier; `None` where it can.
pub fn identifier_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > MAX_IDENTIFIER {
        Some("is longer than the 63 bytes of a PostgreSQL name")
    } else if text.contains('\0') {
        Some("contains U+0000")
    } else {
        None
    }
}

/// An identifier in double quotes.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> TableNames {
        TableNames {
            name: name.to_owned(),
            ..TableNames::default()
        }
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(named("e\"v").quoted(), "\"public\".\"e\"\"v\"");
    }

    #[test]
    fn derived_names_are_never_cut() {
        assert_eq!(named("events").derived("idx_", "_x"), "idx_events_x");
        let long = named(&"ä".repeat(31));
        let other = named(&format!("{}b", "ä".repeat(31)));
        for suffix in ["_rotations", "_guard_transaction_id"] {
            let derived = long.derived("", suffix);
            assert!(derived.len() <= MAX_IDENTIFIER, "{derived}");
            assert!(derived.ends_with(suffix));
            assert_ne!(derived, other.derived("", suffix));
        }
    }

    #[test]
    fn names_that_cannot_be_used() {
        assert_eq!(TableNames::default().check(), Ok(()));
        let path_of = |change: fn(&mut TableNames)| {
            let mut names = TableNames::default();
            change(&mut names);
            names.check().err().map(|e| e.path)
        };
        for (change, path) in [
            (
                (|t| t.schema.clear()) as fn(&mut TableNames),
                "table.schema",
            ),
            (|t| t.name = "x".repeat(64), "table.name"),
            (|t| t.columns.id = "a\0b".into(), "table.columns.id"),
            (|t| t.columns.tags = "xmin".into(), "table.columns.tags"),
            (|t| t.columns.data = POSITION.into(), "table.columns.data"),
            (
                |t| t.columns.created_at = "data".into(),
                "table.columns.createdAt",
            ),
        ] {
            assert_eq!(path_of(change).as_deref(), Some(path));
        }
    }
}

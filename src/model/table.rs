//! The names of the event table and its columns, checked and quoted in one place.

use super::field::Column;

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
}

impl TableNames {
    /// `"schema"."name"`.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

/// Why a text cannot be an identifier; `None` where it can.
pub fn identifier_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > 63 {
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

//! Structs from rows. sqlx's derive would need its macros, and those a second build of its core.

/// Reads a struct from the columns of the same names.
macro_rules! from_row {
    ($type:ident { $($field:ident),+ }) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $type {
            fn from_row(row: &sqlx::postgres::PgRow) -> sqlx::Result<Self> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}

pub(super) use from_row;

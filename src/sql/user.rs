//! The caller's own SQL, where its columns need another form.

/// The statement with every column that is not `readable` as JSON: arrays as lists, composites as
/// objects, the rest as text.
pub fn as_json(sql: &str, readable: &[bool]) -> String {
    let names: Vec<String> = (1..=readable.len()).map(|i| format!("c{i}")).collect();
    let columns: Vec<String> = names
        .iter()
        .zip(readable)
        .map(|(name, readable)| {
            if *readable {
                format!("t.{name}")
            } else {
                format!("to_jsonb(t.{name})")
            }
        })
        .collect();
    let inner = sql.trim_end().trim_end_matches(';');
    // The line break ends a comment that the caller's SQL may end with.
    format!(
        "SELECT {} FROM ({inner}\n) AS t({})",
        columns.join(", "),
        names.join(", ")
    )
}

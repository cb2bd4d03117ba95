//! How names get into the SQL files of `migrations/`.

use uuid::Uuid;

use crate::ddl::session;
use crate::model::table::{TableNames, quote_ident};

/// An index's statement: `create` is how it begins, `target` the table, quoted.
pub(super) fn render_index(
    template: &str,
    names: &TableNames,
    create: String,
    target: &str,
) -> String {
    let more = [("create_index", create), ("target", target.to_owned())];
    render(template, names, &more)
}

/// `template` with its placeholders replaced, which `migrations/README.md` explains.
pub(super) fn render(
    template: &str,
    names: &TableNames,
    more: &[(&'static str, String)],
) -> String {
    let columns = &names.columns;
    let function = |suffix| names.beside(&names.derived("", suffix));
    let mut values = vec![
        ("events", names.quoted()),
        ("schema", quote_ident(&names.schema)),
        ("id", quote_ident(&columns.id)),
        ("type", quote_ident(&columns.r#type)),
        ("timestamp", quote_ident(&columns.timestamp)),
        ("tags", quote_ident(&columns.tags)),
        ("metadata", quote_ident(&columns.metadata)),
        ("data", quote_ident(&columns.data)),
        ("created_at", quote_ident(&columns.created_at)),
        ("rotations", names.rotations()),
        ("incarnation", names.incarnation()),
        ("renew_incarnation", names.renew_incarnation()),
        ("gate", names.gate()),
        ("enter_gate", function("_enter_gate")),
        ("enter_gate_by_row", function("_enter_gate_by_row")),
        ("close_gate", names.close_gate()),
        ("refuse_change", function("_refuse_change")),
        ("log_rotation", function("_log_rotation")),
        ("guard_transaction_id", function("_guard_transaction_id")),
        ("events_text", quote_literal(&names.quoted())),
        // Unique for good, as a name made from the table's would not be after a rename: two tables
        // that shared it would take each other's changes for logged.
        (
            "setting",
            quote_literal(&format!("tamma_events.rotated_{}", Uuid::now_v7().simple())),
        ),
        (
            "schema_lock",
            lock_key(&["schema", &names.schema]).to_string(),
        ),
    ];
    values.extend_from_slice(more);
    // A dollar quote that no name can end.
    let mut quote = "$body$".to_owned();
    while values.iter().any(|(_, value)| value.contains(&quote)) {
        quote.insert(1, '_');
    }
    values.push(("$", quote));

    // One pass, so that a name which looks like a placeholder stays what it is.
    let mut sql = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        sql.push_str(before);
        let known = after
            .split_once("}}")
            .and_then(|(name, tail)| Some((values.iter().find(|(n, _)| *n == name)?, tail)));
        let (text, tail) = known.map_or(("{{", after), |((_, value), tail)| (value.as_str(), tail));
        sql.push_str(text);
        rest = tail;
    }
    sql.push_str(rest);

    sql
}

/// A string literal. `standard_conforming_strings` is on in this module's sessions.
fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The key of an advisory lock. PostgreSQL keeps those of each database apart.
pub(super) fn lock_key(parts: &[&str]) -> i64 {
    session::lock_key("migrate", parts)
}

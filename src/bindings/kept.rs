//! Rows that JavaScript has parsed and keeps, so that it need not parse them again.
//!
//! Rows that are sent a second time carry their number. JavaScript keeps what they come to and says so;
//! from then on the number is sent in their place, until it says that it has let them go. All of it
//! happens on one thread. What a caller gets is made anew each time: here it is only about text.

use napi::{Env, Result};
use napi_derive::napi;

use super::port::Port;
use crate::exec::{Batch, Rows};

/// Shorter rows are parsed as quickly as they are looked up.
const SHORTEST: usize = 512;
/// Longer ones would push out too many others.
const LONGEST: usize = 256 << 10;

/// The text of a batch, as JavaScript wants it.
pub fn text(port: &Port, batch: Batch) -> Vec<u8> {
    match &batch.rows {
        Some(rows) if port.holds(rows.id()) => by_number(rows, &batch.json),
        Some(rows) if (SHORTEST..LONGEST).contains(&rows.len()) && rows.are_sent_again() => {
            numbered(rows, &batch.json)
        }
        _ => batch.into_json(),
    }
}

/// The number in the place of the rows. What follows them closes their list first.
fn by_number(rows: &Rows, behind: &[u8]) -> Vec<u8> {
    let mut text = format!("{{\"kept\":{}", rows.id()).into_bytes();
    text.extend_from_slice(behind.strip_prefix(b"]").unwrap_or(b"}"));
    text
}

/// The rows with their number before them.
fn numbered(rows: &Rows, behind: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(rows.len() + behind.len() + 24);
    text.extend_from_slice(format!("{{\"keep\":{},", rows.id()).as_bytes());
    text.extend_from_slice(rows.strip_prefix(b"{").unwrap_or(rows));
    text.extend_from_slice(behind);
    text
}

/// What JavaScript says of rows.
#[napi]
pub struct NativeRows;

#[napi]
impl NativeRows {
    /// That they are kept, by their number.
    #[napi(catch_unwind)]
    pub fn keep(env: Env, id: i64) -> Result<()> {
        Port::of(env.raw())?.hold_rows(id.cast_unsigned());
        Ok(())
    }

    /// That they are not kept any more.
    #[napi(catch_unwind)]
    pub fn let_go(env: Env, ids: Vec<i64>) -> Result<()> {
        let port = Port::of(env.raw())?;
        for id in ids {
            port.let_rows_go(id.cast_unsigned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_in_the_place_of_rows() {
        let rows = Rows::new(b"{\"columns\":[\"a\"],\"rows\":[1,2".to_vec());
        let id = rows.id();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let end = b"],\"end\":{\"rowCount\":2}}";
        assert_eq!(
            text(by_number(&rows, end)),
            format!("{{\"kept\":{id},\"end\":{{\"rowCount\":2}}}}")
        );
        assert_eq!(
            text(numbered(&rows, end)),
            format!(
                "{{\"keep\":{id},\"columns\":[\"a\"],\"rows\":[1,2],\"end\":{{\"rowCount\":2}}}}"
            )
        );
        let whole = Rows::new(b"{\"rows\":[1,2]}".to_vec());
        assert_eq!(
            text(by_number(&whole, b"")),
            format!("{{\"kept\":{}}}", whole.id())
        );
    }
}

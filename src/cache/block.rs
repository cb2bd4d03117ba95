//! Contributions to groups, row by row, in the server's own binary form: each value has its length before it.
//!
//! Where groups are looked up, rows are found by their first values, byte by byte.

use xxhash_rust::xxh3::xxh3_64;

/// Rows that never change once they are found by their keys.
#[derive(Clone, Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// A hash of each row's key, and the row, by the hash.
    places: Vec<(u32, u32)>,
}

impl Block {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|row| self.row(row))
    }

    /// All rows, one behind the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn row(&self, row: usize) -> Option<&[u8]> {
        let begin = row
            .checked_sub(1)
            .map_or(Some(0), |i| self.ends.get(i).copied())?;
        self.bytes.get(begin..*self.ends.get(row)?)
    }

    /// Where the row that is being written goes.
    pub const fn row_bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the row that is being written.
    pub fn end_row(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Adds a whole row.
    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.end_row();
    }

    /// Has rows found by their first `keys` values.
    pub fn index(&mut self, keys: usize) {
        let hashes = self.iter().map(|row| hash(key(row, keys)));
        let mut places: Vec<_> = hashes.zip(0_u32..).collect();
        places.sort_unstable();
        self.places = places;
    }

    /// The rows of a key of so many values, in the order in which they were added.
    pub fn of<'b>(&'b self, wanted: &'b [u8], keys: usize) -> impl Iterator<Item = &'b [u8]> {
        let hash = hash(wanted);
        let first = self.places.partition_point(|(other, _)| *other < hash);
        let alike = self.places.get(first..).unwrap_or_default();
        (alike.iter().take_while(move |(other, _)| *other == hash))
            .filter_map(|(_, row)| self.row(*row as usize))
            .filter(move |row| key(row, keys) == wanted)
    }

    /// Gives back what it has no use for.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 8 + self.places.capacity() * 8 + 96
    }
}

#[allow(clippy::cast_possible_truncation)] // Half a hash is one too.
fn hash(key: &[u8]) -> u32 {
    xxh3_64(key) as u32
}

/// The next value of a row, its length before it.
pub fn take<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, _) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
    let (value, behind) = rest.split_at_checked(4 + length)?;
    *rest = behind;
    Some(value)
}

/// The first values of a row.
pub fn key(row: &[u8], values: usize) -> &[u8] {
    let mut rest = row;
    for _ in 0..values {
        if take(&mut rest).is_none() {
            break;
        }
    }
    row.get(..row.len() - rest.len()).unwrap_or(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            let length = value.map_or(-1, |v| i32::try_from(v.len()).unwrap());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(value.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn rows_are_found_by_their_first_values() {
        let mut block = Block::default();
        for (a, b, c) in [
            ("x", Some("1"), "p"),
            ("x", None, "q"),
            ("x", Some("1"), "r"),
            ("", Some("x1"), "s"),
        ] {
            block.push(&row(&[
                Some(a.as_bytes()),
                b.map(str::as_bytes),
                Some(c.as_bytes()),
            ]));
        }
        block.index(2);
        let of = |a: &str, b: Option<&str>| {
            let wanted = row(&[Some(a.as_bytes()), b.map(str::as_bytes)]);
            let found: Vec<_> = block.of(&wanted, 2).map(<[u8]>::to_vec).collect();
            found
                .iter()
                .map(|row| char::from(*row.last().unwrap()))
                .collect::<String>()
        };
        assert_eq!(of("x", Some("1")), "pr");
        assert_eq!(of("x", None), "q");
        assert_eq!(of("", Some("x1")), "s");
        assert_eq!(of("x", Some("")), "");
        assert_eq!((block.rows(), block.iter().count()), (4, 4));
    }
}

//! The key of matches, as a kept answer has it.

/// A key.
#[derive(Clone, Debug)]
pub struct Key {
    /// As JSON.
    pub text: Vec<u8>,
    /// Its fields, as they compare.
    pub fields: Box<[u8]>,
}

/// Bytes of memory that keys take.
pub fn weight(keys: &[Key]) -> usize {
    let each = |key: &Key| key.text.capacity() + key.fields.len() + 64;
    keys.iter().map(each).sum()
}

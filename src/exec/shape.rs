//! What statements have in common that differ only in their values: their text and its fingerprint.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use super::halves::Halves;
use super::normal;

/// A statement without its values.
#[derive(Debug)]
pub struct Shape {
    /// Of the whole text.
    pub fingerprint: u64,
    /// The text, shortened where it is very long.
    pub text: String,
}

/// More of a statement than anybody reads.
const LONGEST: usize = 4 << 10;
/// Shapes in each of the two halves.
const KEPT: usize = 1024;

impl Shape {
    /// The shape of a compiled statement.
    pub fn of_compiled(sql: &str) -> Self {
        Self::of(normal::compiled(sql))
    }

    /// The shape of the caller's own SQL.
    pub fn of_user(sql: &str) -> Self {
        Self::of(normal::user(sql))
    }

    fn of(mut text: String) -> Self {
        let fingerprint = xxh3_64(text.as_bytes());
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        Self { fingerprint, text }
    }

    /// The fingerprint as callers see it.
    pub fn hex(&self) -> String {
        format!("{:016x}", self.fingerprint)
    }
}

/// Shapes by the text that was sent, so that a repeated statement costs one hash.
pub struct Shapes(Mutex<Halves<u64, Shape>>);

impl Default for Shapes {
    fn default() -> Self {
        Self(Mutex::new(Halves::new(KEPT)))
    }
}

impl Shapes {
    /// The shape of a text, made where it is not known. What a text is made into may depend only
    /// on the text.
    pub fn of(&self, sql: &str, make: impl FnOnce() -> Shape) -> Arc<Shape> {
        let key = xxh3_64(sql.as_bytes());
        if let Some(known) = self.lock().get(key) {
            return known;
        }
        let new = Arc::new(make());
        self.lock().keep(key, Arc::clone(&new));
        new
    }

    fn lock(&self) -> MutexGuard<'_, Halves<u64, Shape>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Shape, Shapes};

    #[test]
    fn a_shape_is_made_once_and_forgotten_in_time() {
        let shapes = Shapes::default();
        let first = shapes.of("SELECT 1", || Shape::of_user("SELECT 1"));
        for i in 0..10 * KEPT {
            let text = format!("SELECT a{i}");
            shapes.of(&text, || Shape::of_user(&text));
            let again = shapes.of("SELECT 1", || unreachable!("it is asked for all the time"));
            assert_eq!(again.fingerprint, first.fingerprint);
        }
        let halves = shapes.0.lock().unwrap();
        assert!(halves.len() <= 2 * KEPT);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let shape = Shape::of_compiled(&"é".repeat(4097));
        assert!(shape.text.len() < 4200 && shape.text.ends_with('…'));
        assert_ne!(
            shape.fingerprint,
            Shape::of_compiled(&"é".repeat(4098)).fingerprint
        );
    }
}

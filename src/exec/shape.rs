//! What statements have in common that differ only in their values: their text and its fingerprint.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use xxhash_rust::xxh3::xxh3_64;

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

/// Shapes by the text that was sent, so that a repeated statement costs one hash. The newer half
/// becomes the older when it is full, and what is still asked for moves over.
#[derive(Default)]
pub struct Shapes(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    newer: HashMap<u64, Arc<Shape>>,
    older: HashMap<u64, Arc<Shape>>,
}

impl Shapes {
    /// The shape of a text, made where it is not known. What a text is made into may depend only
    /// on the text.
    pub fn of(&self, sql: &str, make: impl FnOnce() -> Shape) -> Arc<Shape> {
        let key = xxh3_64(sql.as_bytes());
        if let Some(known) = self.known(key) {
            return known;
        }
        let new = Arc::new(make());
        self.keep(key, &new);
        new
    }

    fn known(&self, key: u64) -> Option<Arc<Shape>> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = halves.newer.get(&key) {
            return Some(Arc::clone(found));
        }
        let found = halves.older.remove(&key)?;
        halves.keep(key, &found);
        Some(found)
    }

    fn keep(&self, key: u64, shape: &Arc<Shape>) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        halves.keep(key, shape);
    }
}

impl Halves {
    fn keep(&mut self, key: u64, shape: &Arc<Shape>) {
        if self.newer.len() >= KEPT {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(key, Arc::clone(shape));
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
        assert!(halves.newer.len() + halves.older.len() <= 2 * KEPT);
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

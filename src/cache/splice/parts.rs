//! The rows of an answer as they go out, in batches that share their bytes with the answer before it
//! where nothing in them has changed.

use std::{collections::HashSet, iter::Peekable, sync::Arc};

use crate::cache::answer::Body;
use crate::exec::Rows as Json;
use crate::model::time::Timestamp;

/// A batch: all of its JSON, and of the last one all up to its last row.
#[derive(Clone, Debug)]
pub struct Part {
    /// The JSON.
    pub json: Arc<Json>,
    /// Where the rows of each bucket stand, where that may be asked.
    pub marks: Box<[Mark]>,
}

/// Where the rows of a bucket stand in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The bucket.
    pub bucket: Timestamp,
    /// Where its first row begins.
    pub at: usize,
    /// How many there are.
    pub rows: u64,
}

impl Default for Part {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

/// Larger texts parse slower in V8.
const FULL: usize = 64 << 10;
/// A batch that another follows ends so.
const END: &[u8] = b"]}";
/// And begins so, unless it is the first.
const HEAD: &[u8] = b"{\"rows\":[";

impl Part {
    /// A batch that was made at once.
    pub fn new(json: Vec<u8>, marks: Vec<Mark>) -> Self {
        Self {
            json: Arc::new(Json::new(json)),
            marks: marks.into(),
        }
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.json.len() + self.marks.len() * size_of::<Mark>()
    }

    /// The rows of each bucket. `end` is where the last one ends.
    fn buckets(&self, end: usize) -> impl Iterator<Item = Piece<'_>> {
        let ends = self.marks.iter().skip(1).map(|mark| mark.at - 1);
        (self.marks.iter())
            .zip(ends.chain(std::iter::once(end)))
            .filter_map(|(mark, end)| {
                Some(Piece {
                    bucket: mark.bucket,
                    rows: mark.rows,
                    json: self.json.get(mark.at..end)?,
                })
            })
    }
}

/// The rows of a bucket, or some of them.
struct Piece<'b> {
    bucket: Timestamp,
    rows: u64,
    json: &'b [u8],
}

/// All batches, with where their rows end.
fn batches(body: &Body) -> impl Iterator<Item = (&Arc<Part>, usize)> {
    let whole = body
        .batches
        .iter()
        .map(|part| (part, part.json.len() - END.len()));
    whole.chain(std::iter::once((&body.tail, body.tail.json.len())))
}

/// Writes batches.
struct Writer<'h> {
    head: &'h [u8],
    batches: Vec<Arc<Part>>,
    json: Vec<u8>,
    marks: Vec<Mark>,
    rows: u64,
}

impl Writer<'_> {
    fn begin(&mut self) {
        if self.json.is_empty() {
            let head = if self.batches.is_empty() {
                self.head
            } else {
                HEAD
            };
            self.json.extend_from_slice(head);
        }
    }

    fn add(&mut self, rows: &Piece<'_>) {
        if self.json.len() >= FULL {
            self.flush();
        }
        self.begin();
        if !self.marks.is_empty() {
            self.json.push(b',');
        }
        self.marks.push(Mark {
            bucket: rows.bucket,
            at: self.json.len(),
            rows: rows.rows,
        });
        self.json.extend_from_slice(rows.json);
        self.rows += rows.rows;
    }

    fn flush(&mut self) {
        self.begin();
        self.json.extend_from_slice(END);
        let (json, marks) = (
            std::mem::take(&mut self.json),
            std::mem::take(&mut self.marks),
        );
        self.batches.push(Arc::new(Part::new(json, marks)));
    }

    /// Adds a batch as it is.
    fn share(&mut self, part: &Arc<Part>, is_first: bool) {
        if !self.marks.is_empty() || (self.batches.is_empty() && !is_first) {
            self.flush();
        }
        self.json.clear();
        self.rows += part.marks.iter().map(|mark| mark.rows).sum::<u64>();
        self.batches.push(Arc::clone(part));
    }
}

/// The rows of a body in the order of their buckets, where those of the touched buckets are `anew`'s.
/// `None` where it is not known where buckets stand, or more is in small pieces than is worth it.
pub fn spliced(
    body: &Body,
    anew: &Body,
    touched: &HashSet<Timestamp>,
    descending: bool,
) -> Option<Body> {
    let (first, _) = batches(body).next()?;
    let head = first.json.get(..first.marks.first()?.at)?;
    let comes_before = |a: Timestamp, b: Timestamp| if descending { a > b } else { a < b };
    let mut writer = Writer {
        head,
        batches: Vec::with_capacity(body.batches.len() + 1),
        json: Vec::new(),
        marks: Vec::new(),
        rows: 0,
    };
    let marked = |of: &Body| -> u64 {
        let marks = batches(of).flat_map(|(part, _)| part.marks.iter());
        marks.map(|mark| mark.rows).sum()
    };
    let is_known = marked(body) == body.rows && marked(anew) == anew.rows;
    let mut others = batches(anew)
        .flat_map(|(part, end)| part.buckets(end))
        .peekable();
    let mut parts = batches(body).enumerate().peekable();
    while let Some((place, (part, end))) = parts.next() {
        // Where the next batch begins; what comes before that belongs to this one.
        let next = match parts.peek() {
            None => None,
            Some((_, (next, _))) => match next.marks.first() {
                Some(mark) => Some(mark.bucket),
                // The last one has no rows, or they are not known.
                None if next.json.ends_with(b"[") => None,
                None => return None,
            },
        };
        let is_here = |rows: &Piece<'_>| next.is_none_or(|next| comes_before(rows.bucket, next));
        let is_last = parts.peek().is_none();
        let is_touched = part.marks.iter().any(|mark| touched.contains(&mark.bucket));
        if !is_last && !is_touched && !others.peek().is_some_and(is_here) {
            writer.share(part, place == 0);
            continue;
        }
        for rows in part.buckets(end) {
            add_before(&mut writer, &mut others, |other| {
                !comes_before(rows.bucket, other.bucket)
            });
            if !touched.contains(&rows.bucket) {
                writer.add(&rows);
            }
        }
        add_before(&mut writer, &mut others, is_here);
    }
    writer.begin();
    let tail = Part::new(writer.json, writer.marks);
    let total: usize = writer.batches.iter().map(|part| part.json.len()).sum();
    let is_scattered = writer.batches.len() > 8 + 2 * total / FULL;
    if !is_known || others.peek().is_some() || is_scattered {
        return None;
    }
    Some(Body {
        batches: writer.batches,
        tail: Arc::new(tail),
        rows: writer.rows,
        cursor: None,
        kept: None,
        states: None,
        again: None,
        leaders: None,
    })
}

fn add_before<'b>(
    writer: &mut Writer<'_>,
    others: &mut Peekable<impl Iterator<Item = Piece<'b>>>,
    here: impl Fn(&Piece<'_>) -> bool,
) {
    while let Some(rows) = others.next_if(&here) {
        writer.add(&rows);
    }
}

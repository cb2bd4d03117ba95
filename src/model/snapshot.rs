//! What a statement could see: PostgreSQL's `pg_snapshot`.
//!
//! A snapshot of a primary sees exactly the transactions that had committed when it was taken: those
//! below `xmin`, and those below `xmax` that were not running. So what one snapshot sees and another
//! does not is a set of ranges of transaction ids, known without asking the server, and an index on
//! the events' transaction ids reads it.

use std::fmt;

/// The transactions that had committed at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// All below had ended.
    xmin: u64,
    /// None from here on had begun.
    xmax: u64,
    /// Those between the two that were running, ascending.
    running: Vec<u64>,
}

/// Transaction ids from the first up to the second, which is outside.
pub type Range = (u64, u64);

impl Snapshot {
    /// Sees no transaction at all, not even the 0 of events that are older than the column.
    pub const NOTHING: Self = Self {
        xmin: 0,
        xmax: 0,
        running: Vec::new(),
    };

    /// Reads the text of a `pg_snapshot`, such as `10:20:10,14`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax, list) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let running: Vec<u64> = match list {
            "" => Vec::new(),
            list => list.split(',').map(number).collect::<Option<_>>()?,
        };
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let in_order = running.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = running.iter().all(|id| (xmin..xmax).contains(id));
        (xmin <= xmax && in_order && inside).then_some(Self {
            xmin,
            xmax,
            running,
        })
    }

    /// What a standby's snapshot is sure of. Its text leaves out which transactions between its bounds
    /// were running, so nothing from the first of them on counts as seen.
    pub fn settled(text: &str) -> Option<String> {
        let xmin = Self::parse(text)?.xmin;
        Some(format!("{xmin}:{xmin}:"))
    }

    /// All transactions below had ended.
    pub const fn xmin(&self) -> u64 {
        self.xmin
    }

    /// No transaction from here on had begun.
    pub const fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Those between the two that had not ended, ascending.
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// Whether the events of a transaction, if it committed, are part of what is seen.
    pub fn sees(&self, transaction: u64) -> bool {
        transaction < self.xmin
            || (transaction < self.xmax && self.running.binary_search(&transaction).is_err())
    }

    /// Whether this one was taken no later than `later`, as far as they tell: then `later` sees at
    /// least what this one sees. Of two snapshots of one server this or the reverse holds.
    pub fn precedes(&self, later: &Self) -> bool {
        self.xmax <= later.xmax
            && (later.running.iter())
                .take_while(|id| **id < self.xmax)
                .all(|id| self.running.binary_search(id).is_ok())
    }

    /// What is not seen: all ids in these ranges, ascending and apart from each other.
    fn unseen(&self) -> Vec<Range> {
        let points = self.running.iter().map(|id| (*id, id + 1));
        joined(points.chain(std::iter::once((self.xmax, u64::MAX))))
    }

    /// What is seen: all ids in these ranges, ascending and apart from each other.
    fn seen(&self) -> Vec<Range> {
        let mut ranges = Vec::with_capacity(self.running.len() + 1);
        let mut begin = 0;
        for id in &self.running {
            push(&mut ranges, (begin, *id));
            begin = id + 1;
        }
        push(&mut ranges, (begin, self.xmax));
        ranges
    }
}

/// What an answer or a write has seen: a snapshot, and of a write its own transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// What had committed.
    pub snapshot: Snapshot,
    /// The transaction that wrote, which no snapshot taken inside it shows as ended.
    pub own: Option<u64>,
}

impl Seen {
    /// Nothing at all.
    pub const NOTHING: Self = Self {
        snapshot: Snapshot::NOTHING,
        own: None,
    };

    /// Reads `snapshot` or `snapshot+transaction`.
    pub fn parse(text: &str) -> Option<Self> {
        let (snapshot, own) = match text.split_once('+') {
            None => (text, None),
            Some((snapshot, own)) => (snapshot, Some(number(own)?)),
        };
        Some(Self {
            snapshot: Snapshot::parse(snapshot)?,
            own,
        })
    }

    /// Whether the events of a transaction, if it committed, are part of what was seen.
    pub fn sees(&self, transaction: u64) -> bool {
        self.own == Some(transaction) || self.snapshot.sees(transaction)
    }

    /// Whether a statement under `snapshot` sees all of it.
    pub fn is_within(&self, snapshot: &Snapshot) -> bool {
        self.snapshot.precedes(snapshot) && self.own.is_none_or(|own| snapshot.sees(own))
    }

    /// The transactions that were not seen, as ranges; the last has no end.
    pub fn unseen(&self) -> Vec<Range> {
        without(self.snapshot.unseen(), self.own)
    }

    /// The transactions that were not seen and that `now` sees, as ranges: ascending, apart from each
    /// other, each with both ends.
    pub fn news(&self, now: &Snapshot) -> Vec<Range> {
        let (unseen, seen) = (self.unseen(), now.seen());
        let (mut i, mut j) = (0, 0);
        let mut news = Vec::new();
        while let (Some(a), Some(b)) = (unseen.get(i), seen.get(j)) {
            push(&mut news, (a.0.max(b.0), a.1.min(b.1)));
            if a.1 < b.1 {
                i += 1;
            } else {
                j += 1;
            }
        }
        news
    }
}

impl From<Snapshot> for Seen {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            own: None,
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (i, id) in self.running.iter().enumerate() {
            write!(f, "{}{id}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.own {
            None => self.snapshot.fmt(f),
            Some(own) => write!(f, "{}+{own}", self.snapshot),
        }
    }
}

/// Digits alone: `u64`'s own parser takes a sign too.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn push(ranges: &mut Vec<Range>, range: Range) {
    if range.0 < range.1 {
        ranges.push(range);
    }
}

/// Ascending ranges, those that touch made one.
fn joined(ranges: impl Iterator<Item = Range>) -> Vec<Range> {
    let mut all: Vec<Range> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.1 == range.0 => last.1 = range.1,
            _ => push(&mut all, range),
        }
    }
    all
}

/// Ranges without one id.
fn without(ranges: Vec<Range>, id: Option<u64>) -> Vec<Range> {
    let Some(id) = id else { return ranges };
    let mut left = Vec::with_capacity(ranges.len() + 1);
    for (from, to) in ranges {
        if (from..to).contains(&id) {
            push(&mut left, (from, id));
            push(&mut left, (id + 1, to));
        } else {
            left.push((from, to));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    #[test]
    fn text_comes_back_as_it_was() {
        for text in ["10:20:10,14,15", "7:7:", "0:0:", "3:18446744073709551615:"] {
            assert_eq!(snapshot(text).to_string(), text);
        }
        let seen = Seen::parse("10:20:14+20").unwrap();
        assert_eq!(
            (seen.own, seen.to_string().as_str()),
            (Some(20), "10:20:14+20")
        );
    }

    #[test]
    fn what_the_server_never_writes_is_refused() {
        for text in [
            "",
            ":",
            "::",
            "1:2",
            "1:2:3:4",
            "2:1:",
            "1:3:2,2",
            "1:4:3,2",
            "1:3:3",
            "2:3:1",
            "a:2:",
            "1:2: ",
            "+1:2:",
            "-1:2:",
            "1:2:1,",
            "1:99999999999999999999:",
        ] {
            assert_eq!(Snapshot::parse(text), None, "{text:?}");
        }
        for text in ["1:2:+", "1:2:+x", "1:2:+-3", "+3"] {
            assert_eq!(Seen::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn news_is_cut_at_what_still_runs() {
        let before = Seen::parse("10:20:10,14+22").unwrap();
        let now = snapshot("14:30:14,25,26");
        // 10 has committed since; 14, 25 and 26 still run; 22 was our own.
        assert_eq!(before.news(&now), [(10, 11), (20, 22), (23, 25), (27, 30)]);
        assert_eq!(before.news(&snapshot("10:20:10,14")), []);
        assert_eq!(
            Seen::NOTHING.news(&snapshot("5:9:5,7")),
            [(0, 5), (6, 7), (8, 9)]
        );
    }

    /// Snapshots in the order in which they were taken, while transactions begin and end.
    fn history(seed: u64) -> Vec<Snapshot> {
        let mut state = seed;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        let (mut next, mut running, mut taken) = (3_u64, Vec::<u64>::new(), Vec::new());
        for _ in 0..60 {
            match random(3) {
                0 => {
                    running.push(next);
                    next += 1;
                }
                1 if !running.is_empty() => drop(running.remove(random(running.len()))),
                _ => taken.push(Snapshot {
                    xmin: running.first().copied().unwrap_or(next),
                    xmax: next,
                    running: running.clone(),
                }),
            }
        }
        taken
    }

    #[test]
    fn snapshots_of_a_server_are_in_order() {
        for seed in 0..200 {
            let taken = history(seed);
            for (i, first) in taken.iter().enumerate() {
                for (j, second) in taken.iter().enumerate() {
                    let within =
                        |a: &Snapshot, b: &Snapshot| (0..70).all(|id| !a.sees(id) || b.sees(id));
                    let precedes = first.precedes(second);
                    assert!(precedes || i > j, "{seed}: {first} {second}");
                    assert!(
                        !precedes || within(first, second),
                        "{seed}: {first} {second}"
                    );
                    // The earlier of two that see the same may only have missed a transaction's begin.
                    assert!(
                        precedes || within(second, first),
                        "{seed}: {first} {second}"
                    );
                }
            }
        }
    }

    #[test]
    fn news_is_what_one_sees_and_the_other_does_not() {
        for seed in 0..200 {
            let taken = history(seed);
            for first in &taken {
                for second in &taken {
                    let before = Seen {
                        snapshot: first.clone(),
                        own: Some(seed % 40),
                    };
                    let news = before.news(second);
                    for id in 0..70 {
                        let inside = news.iter().any(|(from, to)| (*from..*to).contains(&id));
                        let wanted = second.sees(id) && !before.sees(id);
                        assert_eq!(inside, wanted, "{seed}: {before} {second} {id}");
                    }
                    assert!(news.windows(2).all(|pair| pair[0].1 <= pair[1].0));
                }
            }
        }
    }
}

//! What is known of the circumstances of an answer, and by which of them it is still believed.

use crate::model::{snapshot::Snapshot, time::Timestamp};

/// The circumstances of a statement, all read under its own snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What it could see.
    pub snapshot: Snapshot,
    /// A crash removes it, and a promotion.
    pub nonce: String,
    /// When the server was started: a cold copy put back has the same nonce.
    pub started: String,
    /// Role, search path, zone: what an answer depends on beside the query.
    pub realm: String,
    /// Partitions, their catalog rows and triggers.
    pub fingerprint: String,
    /// The server's clock.
    pub clock: Timestamp,
    /// When the first event comes to pass that is in the future.
    pub horizon: Option<Timestamp>,
    /// Where the first and the last bucket begin of a window that ends at the clock.
    pub edges: Option<(Timestamp, Timestamp)>,
}

/// What a statement says of itself.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its circumstances.
    pub stamp: Stamp,
    /// Letters, each for something that is wrong.
    pub troubles: String,
    /// What stands behind the stamp.
    pub more: Vec<String>,
}

/// Why an answer is not kept as an exact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The objects of the migrations are missing, or may not be read.
    NotMigrated,
    /// The server is a standby: its snapshots leave out running transactions.
    Standby,
    /// Row-level security: a policy can read other tables.
    RowSecurity,
    /// The statement ran in a transaction that has written.
    Writes,
    /// The session is not REPEATABLE READ: a pooler, or another setting.
    Isolation,
    /// A view, or a foreign partition.
    NotATable,
    /// The triggers that guard `transaction_id` are missing or disabled.
    Unguarded,
    /// Events carry transaction ids of the future: a dump of another cluster.
    Ahead,
    /// A crash took the nonce, and nobody has made a new one.
    NoNonce,
}

impl Refusal {
    /// For people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotMigrated => {
                "the event table lacks what the exact cache reads (transaction_id, and the tables beside it), or the role may not read it: migrate() makes it"
            }
            Self::Standby => {
                "the server is a standby: its snapshots leave out running transactions"
            }
            Self::RowSecurity => "row-level security is active: a policy can read other tables",
            Self::Writes => "the statement ran in a transaction that had written",
            Self::Isolation => {
                "the session is not REPEATABLE READ: a pooler in transaction mode, or a setting"
            }
            Self::NotATable => "the event table is a view, or has a foreign partition",
            Self::Unguarded => {
                "the triggers that guard transaction_id are missing or disabled: migrate() makes them"
            }
            Self::Ahead => {
                "events carry transaction ids of the future: they came from another cluster"
            }
            Self::NoNonce => {
                "the nonce is missing since a crash: the next read, or migrate(), makes a new one"
            }
        }
    }
}

impl Said {
    /// Reads a stamp's text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let mut next = || parts.next();
        let snapshot = Snapshot::parse(next()?)?;
        let (nonce, started, realm) = (next()?, next()?, next()?);
        let (fingerprint, of_table) = next()?.split_once('!').unwrap_or(("", ""));
        let of_session = next()?;
        let micros = |text: &str| text.parse().ok().map(Timestamp::from_micros);
        let clock = micros(next()?)?;
        let horizon = micros(next()?);
        let edges = next()?.split_once(',');
        let edges = edges.and_then(|(first, last)| Some((micros(first)?, micros(last)?)));
        Some(Self {
            stamp: Stamp {
                snapshot,
                nonce: nonce.to_owned(),
                started: started.to_owned(),
                realm: realm.to_owned(),
                fingerprint: fingerprint.to_owned(),
                clock,
                horizon,
                edges,
            },
            troubles: format!("{of_table}{of_session}"),
            more: parts.map(str::to_owned).collect(),
        })
    }

    /// Whether the table turned out to have partitions, and was read as one without.
    pub fn is_partitioned(&self) -> bool {
        self.troubles.contains('p')
    }

    /// Why an answer of this statement may not be kept as exact.
    pub fn refusal(&self) -> Option<Refusal> {
        let letters = [
            ('s', Refusal::Standby),
            ('r', Refusal::RowSecurity),
            ('w', Refusal::Writes),
            ('i', Refusal::Isolation),
            ('k', Refusal::NotATable),
            ('t', Refusal::Unguarded),
            ('a', Refusal::Ahead),
        ];
        let found = letters
            .iter()
            .find(|(letter, _)| self.troubles.contains(*letter));
        if let Some((_, refusal)) = found {
            return Some(*refusal);
        }
        if self.stamp.fingerprint.is_empty() {
            return Some(Refusal::NotATable);
        }
        // Two absent nonces are not equal.
        self.stamp.nonce.is_empty().then_some(Refusal::NoNonce)
    }

    /// Whether events were changed or removed since.
    pub fn is_rotated(&self) -> bool {
        self.troubles.contains('c')
    }

    /// What a check found.
    pub fn news(&self) -> Option<News> {
        match self.more.as_slice() {
            [new, matching, left] => News::read(new, Some(matching), left),
            [new, left] => News::read(new, None, left),
            _ => None,
        }
    }
}

/// What is new since a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// New events.
    pub events: u64,
    /// Those that match; all of them, where that was not asked.
    pub matching: u64,
    /// Whether a row has left the window.
    pub left: bool,
}

impl News {
    fn read(new: &str, matching: Option<&String>, left: &str) -> Option<Self> {
        let events = new.parse().ok()?;
        Some(Self {
            events,
            matching: matching.map_or(Some(events), |m| m.parse().ok())?,
            left: left != "f",
        })
    }
}

impl Stamp {
    /// Whether what was seen under this stamp, and all that came after it, is all that is seen under
    /// another: the same incarnation, the same table, the same role, and no step back in time.
    pub fn leads_to(&self, later: &Self) -> bool {
        !self.nonce.is_empty()
            && self.nonce == later.nonce
            && self.started == later.started
            && self.realm == later.realm
            && self.fingerprint == later.fingerprint
            && self.snapshot.precedes(&later.snapshot)
            && self.clock <= later.clock
            && self.horizon.is_none_or(|at| at > later.clock)
    }

    /// Whether `text`, what [`unchanged`](crate::sql::unchanged) says now, says that nothing has happened since. Of
    /// two snapshots that are the same no transaction has ended between, and without one that ends there
    /// are no new events, no deletions, no other partitions or triggers. Time goes on all the same.
    pub fn is_now(&self, text: &str) -> bool {
        let mut parts = text.split('|');
        let mut is = |expected: &str| parts.next() == Some(expected);
        !self.nonce.is_empty()
            && is(&self.snapshot.to_string())
            && is(&self.nonce)
            && is(&self.started)
            && is(&self.realm)
            && is("f")
    }

    /// Whether it has seen what another of the same incarnation has not.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.nonce == other.nonce
            && self.started == other.started
            && other.snapshot != self.snapshot
            && other.snapshot.precedes(&self.snapshot)
    }

    /// Bytes of its texts.
    pub fn weight(&self) -> usize {
        let texts = [&self.nonce, &self.started, &self.realm, &self.fingerprint];
        texts.iter().map(|t| t.capacity() + 16).sum::<usize>() + self.snapshot.running().len() * 8
    }
}

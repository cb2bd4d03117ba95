//! Indexes that begin with another's keys. Such an index does whatever the other does, and reads the
//! table in the same order: all that it costs more is its wider entries. The planner holds otherwise.
//! It believes less of the table's order of an index of several keys, and does not count the row that
//! a sort by the rest of the order reads beyond a limit.

use std::collections::BTreeMap;

use super::super::definition::{Key, Method};
use super::{Answer, LEVEL, PAGE, WhatIf, levels};

/// What a candidate does by itself, by questions.
pub(super) type Alone = BTreeMap<usize, Answer>;

impl WhatIf<'_> {
    /// Concludes what longer candidates cost from what was said of the shorter ones.
    pub(super) fn carry_over(&mut self) {
        for long in 0..self.candidates.len() {
            for short in 0..self.candidates.len() {
                if long != short && self.begins_with(long, short) {
                    self.conclude(long, short);
                }
            }
        }
    }

    fn begins_with(&self, long: usize, short: usize) -> bool {
        let (long, short) = (
            &self.candidates[long].definition,
            &self.candidates[short].definition,
        );
        let same = |(a, b): (&Key, &Key)| a.sql == b.sql && a.suffix == b.suffix;
        long.method == Method::Btree
            && short.method == Method::Btree
            && long.predicate == short.predicate
            && long.keys.len() > short.keys.len()
            && short.include.is_empty()
            && long.keys.iter().zip(&short.keys).all(same)
    }

    /// How often the next row of a share of all, in the table's own order, is on another page.
    fn pages_per_row(&self, share: f64) -> f64 {
        let on_a_page = (self.size.rows * PAGE / self.size.bytes.max(PAGE)).max(1.0);
        let some = (1.0 - share.clamp(0.0, 1.0)).powf(on_a_page);
        (1.0 - some) / (share * on_a_page).max(f64::MIN_POSITIVE)
    }

    fn conclude(&mut self, long: usize, short: usize) {
        let (wide, narrow) = (self.figures[long], self.figures[short]);
        let entries = (self.size.rows * narrow.share).max(1.0);
        let wider = (wide.bytes - narrow.bytes).max(0.0) / entries;
        let page = self.pages_per_row(narrow.share);
        let deeper = LEVEL * (levels(wide.bytes) - levels(narrow.bytes)).max(0.0);
        let answers: Vec<_> = (self.alone[short].iter())
            .map(|(question, answer)| {
                let own = self.alone[long].get(question);
                let spared = own.is_some_and(|own| own.ahead.is_none());
                let ahead = answer.ahead.filter(|_| spared);
                let ahead = ahead.map_or(0.0, |row| row.max(page));
                let more = answer.rows * wider / PAGE + deeper;
                (*question, (answer.cost - ahead).max(0.0) + more)
            })
            .collect();
        for (question, cost) in answers {
            self.candidates[long].questions.insert(question);
            self.known[question].conclude(long, cost);
        }
    }
}

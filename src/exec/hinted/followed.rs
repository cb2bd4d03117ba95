//! Index hints of one statement: followed before it runs, proved after.

use super::catalog::{self, Facts};
use super::choose::Try;
use super::ladder::indexes_of;
use super::ready::{Over, Ready};
use super::verdict::{self, Proof, Verdict};
use super::{begin, forced_path, not_honoured, reason};
use crate::exec::connection::Connection;
use crate::exec::frame::Frame;
use crate::exec::stop::Stop;
use crate::model::Error;
use crate::query::EventQuery;
use crate::sql::Statement;

/// A statement whose hints name indexes.
pub struct Asked<'a> {
    /// The query, with its hints.
    pub query: &'a EventQuery,
    /// What is run.
    pub statement: &'a Statement,
    /// The relations that it reads, quoted.
    pub tables: &'a [String],
    /// Its plan is wanted, not its rows; with `true` it runs all the same.
    pub explain: Option<bool>,
    /// The statement over another table, where it is not the query's own.
    pub over: Option<&'a Over<'a>>,
}

/// A statement whose hints are followed, as far as they can be: in the transaction that was begun.
pub struct Followed<'a> {
    asked: Asked<'a>,
    facts: Facts,
    chosen: Try,
    verdicts: Vec<Verdict>,
    /// Scans before it ran.
    planned: Vec<i64>,
}

impl<'a> Asked<'a> {
    /// Begins a transaction, and follows the hints in it.
    ///
    /// # Errors
    /// Why a required index can't be used.
    pub async fn follow(
        self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<Followed<'a>, Stop> {
        begin(frame, connection).await?;
        let names = self.names();
        let facts = catalog::look_up(&mut connection.driver, &names, self.tables).await?;
        let ready = self.ready(&facts);
        check_forced(&ready)?;
        let (chosen, verdicts) = ready.choose(frame, connection).await?;
        let planned = catalog::scans(&mut connection.driver, &ready.oids()).await?;
        Ok(Followed {
            asked: self,
            facts,
            chosen,
            verdicts,
            planned,
        })
    }

    fn names(&self) -> Vec<&'a str> {
        let hints = &self.query.hints;
        let names = hints.use_index.iter().chain(&hints.force_index);
        names.map(String::as_str).collect()
    }

    fn ready<'r>(&'r self, facts: &'r Facts) -> Ready<'r> {
        Ready {
            explain: self.explain,
            query: self.query,
            statement: self.statement,
            names: self.names(),
            facts,
            over: self.over,
        }
    }
}

impl Followed<'_> {
    /// What stands before the statement in its text.
    pub fn comment(&self) -> &str {
        &self.chosen.comment
    }

    /// The statement has run: proves that the indexes were used, and tells it.
    ///
    /// # Errors
    /// Why the server could not be asked.
    pub async fn prove(self, frame: &Frame<'_>, connection: &mut Connection) -> Result<(), Stop> {
        let ready = self.asked.ready(&self.facts);
        let after = catalog::scans(&mut connection.driver, &ready.oids()).await?;
        let runs = ready.explain != Some(false);
        let mut again = None;
        let mut proofs = Vec::with_capacity(self.verdicts.len());
        for nth in 0..self.verdicts.len() {
            let before = ready.count(nth, &self.planned);
            let by_planning = before - ready.count(nth, &self.chosen.before);
            let scans = ready.count(nth, &after) - before - by_planning;
            proofs.push(if !runs {
                Proof::NotRun
            } else if !self.facts.counts {
                Proof::NotCounted
            } else if scans > 0 {
                Proof::Scans(scans)
            } else {
                if again.is_none() {
                    let driver = &mut connection.driver;
                    let document =
                        catalog::plan(driver, ready.statement, &self.chosen.comment).await?;
                    again = Some(indexes_of(&document));
                }
                if again.as_ref() == Some(&self.chosen.used) {
                    Proof::NeverReached
                } else {
                    Proof::PlanChanged
                }
            });
        }
        let hints = &self.asked.query.hints;
        verdict::tell(frame, hints, &self.verdicts, &proofs, &self.chosen.used);
        Ok(())
    }
}

/// What can be said of required indexes without a plan. When only the plan is wanted it says so itself,
/// except where there is no such index.
fn check_forced(ready: &Ready<'_>) -> Result<(), Stop> {
    for (nth, found) in ready.facts.indexes.iter().enumerate() {
        if !ready.is_forced(nth) {
            continue;
        }
        let path = forced_path(ready, nth);
        let name = ready.names[nth];
        match found {
            None => return Err(Stop::Refused(Error::unknown_index(path, name))),
            Some(found) if ready.explain != Some(false) => {
                if let Some(reason) = reason::at_sight(found, ready.facts) {
                    return Err(Stop::Refused(not_honoured(path, name, &reason)));
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

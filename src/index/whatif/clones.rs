//! The tier of the sampled clones: real indexes on parts of the table, whose costs are carried over
//! to its size.

use sqlx::PgConnection;

use super::super::definition::Method;
use super::super::search::Config;
use super::super::store;
use super::explain::{Price, Stream, price};
use super::figures::percent;
use super::{Answer, WhatIf, catalog, run};
use crate::exec::fault;
use crate::model::{
    Result,
    table::{TableNames, quote_ident},
};
use crate::sql::Target;

/// Rows of the larger clone.
const CLONE_ROWS: f64 = 40_000.0;
/// One row of so many is in the smaller one.
const PART: u32 = 4;
/// The clones' names.
pub(super) const CLONES: [&str; 2] = ["tamma_whatif", "tamma_whatif_part"];

pub(super) struct Clone {
    target: Target,
    rows: f64,
    indexes: Vec<String>,
}

/// Runs what may fail, outside of a transaction. False where it did.
async fn attempted(conn: &mut PgConnection, sql: &str) -> bool {
    let done = store::run(conn, sql).await;
    if let Err(error) = &done {
        tracing::debug!(target: "tamma_events::indexes", %error, "not available for what-if");
    }
    done.is_ok()
}

impl WhatIf<'_> {
    /// Clones are temporary tables of the session. They are vacuumed, which no transaction can do:
    /// without its marks of what all can see, an index that holds all that is asked for looks no
    /// better than any other. [`super::end`] drops them, and so does the end of the session.
    pub(super) async fn make_clones(&mut self) -> Result<()> {
        let sample = percent(self.size, CLONE_ROWS);
        let [large, small] = CLONES;
        run(self.conn, &catalog::drop_clones(&CLONES)).await?;
        let whole = self.size.rows <= CLONE_ROWS;
        let mut made = vec![(large, catalog::clone(&self.names, large, sample))];
        if !whole {
            made.push((small, catalog::clone_of(large, small, PART)));
        }
        let own = catalog::bodies(self.conn, &self.names)
            .await
            .map_err(fault)?;
        let expressions = self.expressions();
        for (name, sql) in made {
            if !attempted(self.conn, &sql).await {
                self.clones.clear();
                return Ok(());
            }
            let rows = catalog::rows(self.conn, name).await.map_err(fault)?;
            let mut clone = Clone {
                target: Target {
                    table: TableNames {
                        schema: "pg_temp".to_owned(),
                        name: name.to_owned(),
                        columns: self.names.columns.clone(),
                    },
                    code_point_collation: self.code_point_collation,
                    stand_in: None,
                },
                rows,
                indexes: Vec::new(),
            };
            // What is there is to be seen beside each candidate.
            for (place, body) in own.iter().enumerate() {
                let sql = catalog::create_index(&format!("{name}_own_{place}"), name, body);
                attempted(self.conn, &sql).await;
            }
            for (place, candidate) in self.candidates.iter().enumerate() {
                let index = format!("{name}_{place}");
                let sql = catalog::create_index(&index, name, &candidate.body);
                if !attempted(self.conn, &sql).await {
                    self.figures[place].unfit = true;
                    clone.indexes.push(String::new());
                    continue;
                }
                let bytes = catalog::index_size(self.conn, &index)
                    .await
                    .map_err(fault)?;
                if name == large && rows > 0.0 {
                    let scaled = if candidate.definition.method == Method::Brin {
                        bytes
                    } else {
                        bytes * (self.size.rows / rows).max(1.0)
                    };
                    self.figures[place].bytes = scaled;
                }
                clone.indexes.push(index);
            }
            for (place, expression) in expressions.iter().enumerate() {
                let known = quote_ident(&format!("{name}_known_{place}"));
                let (known, clone) = (format!("pg_temp.{known}"), clone.target.table.quoted());
                let sql = store::create_statistics(&known, &clone, expression);
                attempted(self.conn, &sql).await;
            }
            run(self.conn, &catalog::analyze(name)).await?;
            self.clones.push(clone);
        }
        Ok(())
    }

    /// What the clones say of the questions without any candidate.
    pub(super) async fn sample_base(&mut self) -> Result<()> {
        if self.clones.is_empty() {
            return Ok(());
        }
        let all: Vec<_> = (0..self.questions.len()).collect();
        let without = Config::new();
        let forbidden = self.priced(&without, &all, false).await?;
        let allowed = self.priced(&without, &all, true).await?;
        let least = forbidden
            .into_iter()
            .zip(allowed)
            .map(|(a, b)| a.cost.min(b.cost));
        self.sample_base = least.collect();
        Ok(())
    }

    /// Costs of questions with these, and which of them each plan used.
    pub(super) async fn sampled(
        &mut self,
        config: &Config,
        questions: &[usize],
    ) -> Result<Vec<Answer>> {
        let mut priced = self.priced(config, questions, false).await?;
        for (question, answer) in questions.iter().zip(&mut priced) {
            // A sample of blocks is wrong in the same way with them and without.
            let base = self.sample_base[*question];
            if base > 0.0 {
                answer.cost *= self.base[*question] / base;
            }
        }
        Ok(priced)
    }

    /// Lines through what the two clones say, to the table's size.
    async fn priced(
        &mut self,
        config: &Config,
        questions: &[usize],
        sequential: bool,
    ) -> Result<Vec<Answer>> {
        let mut points = vec![Vec::new(); questions.len()];
        let mut all_used = vec![Config::new(); questions.len()];
        for place in 0..self.clones.len() {
            let clone = &self.clones[place];
            let hidden: Vec<_> = (clone.indexes.iter().enumerate())
                .filter(|(i, name)| !config.contains(i) && !name.is_empty())
                .map(|(_, name)| name.clone())
                .collect();
            let mut statements = Vec::with_capacity(questions.len());
            for question in questions {
                let share = clone.rows / self.size.rows.max(1.0);
                statements.push(self.questions[*question].on(&clone.target, share)?);
            }
            run(self.conn, catalog::SAVEPOINT).await?;
            if !hidden.is_empty() {
                run(self.conn, &catalog::drop_indexes(&hidden)).await?;
            }
            if !sequential {
                // A small table is read whole where a large one would not be.
                run(self.conn, catalog::NO_SEQUENTIAL).await?;
            }
            for (i, statement) in statements.iter().enumerate() {
                let price = price(self.conn, statement).await?;
                let clone = &self.clones[place];
                all_used[i].extend(
                    (clone.indexes.iter().enumerate())
                        .filter(|(_, name)| price.used.contains(*name))
                        .map(|(place, _)| place),
                );
                points[i].push((clone.rows, price));
            }
            run(self.conn, catalog::BACK).await?;
        }
        let answers = (questions.iter().zip(&points).zip(all_used))
            .map(|((question, points), used)| self.scaled(*question, points, used));
        Ok(answers.collect())
    }

    fn scaled(&self, question: usize, points: &[(f64, Price)], used: Config) -> Answer {
        let line = |of: &dyn Fn(&Price) -> f64| {
            let points: Vec<_> = points.iter().map(|(n, price)| (*n, of(price))).collect();
            at_size(self.size.rows, &points)
        };
        let streams: Option<Vec<_>> = points.iter().map(|(_, price)| price.stopped).collect();
        let wanted = self.questions[question].wanted();
        let (Some(wanted), Some(_)) = (wanted, streams) else {
            return Answer {
                cost: line(&|price| price.cost),
                used,
                rows: line(&|price| price.rows),
                ahead: None,
            };
        };
        // A limit stays what it is while the table grows: what it stops is carried over, then stopped.
        let part = |of: fn(Stream) -> f64| line(&|price| price.stopped.map_or(0.0, of));
        let stream = Stream {
            startup: part(|s| s.startup),
            total: part(|s| s.total),
            rows: part(|s| s.rows),
        };
        let ahead = points.iter().any(|(_, price)| price.ahead) && stream.rows > wanted;
        Answer {
            cost: stream.first(wanted),
            used,
            rows: stream.rows.min(wanted),
            ahead: ahead.then(|| stream.row()),
        }
    }
}

/// A line through points, to a size.
fn at_size(rows: f64, points: &[(f64, f64)]) -> f64 {
    match points {
        [(n, cost)] => cost * (rows / n.max(1.0)).max(1.0),
        [(n2, c2), (n1, c1)] if (n2 - n1) > 1.0 => {
            let slope = ((c2 - c1) / (n2 - n1)).max(0.0);
            slope.mul_add((rows - n2).max(0.0), *c2)
        }
        [(_, cost), ..] => *cost,
        [] => f64::INFINITY,
    }
}

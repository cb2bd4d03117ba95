//! Golden tests: which candidates a query has; and what the search finds, against all sets.

use std::collections::BTreeSet;

use serde_json::{Value as Wire, json};

use super::candidates::{Candidate, Data, candidates, path_of};
use super::definition::Definition;
use super::manage::columns;
use super::search::{Budget, Config, Costs, search};
use super::workload::Question;
use crate::model::{Result, catalog::Catalog, field::Field, table::TableNames};
use crate::query::EventQuery;
use crate::sql::{Purpose, Target, compile};

fn question(query: &Wire) -> Question {
    let query = EventQuery::parse(query, &Catalog::default()).unwrap();
    let target = Target {
        table: TableNames::default(),
        code_point_collation: true,
        stand_in: None,
    };
    Question {
        fingerprint: String::new(),
        statement: compile(&query, &target, Purpose::Buffered).unwrap(),
        query,
        weight: 1.0,
    }
}

fn of(query: &Wire, data: &Data) -> Vec<Candidate> {
    candidates(&[question(query)], &TableNames::default(), data)
}

fn bodies(query: &Wire) -> Vec<String> {
    let data = Data {
        time_correlation: 1.0,
        ..Data::default()
    };
    of(query, &data).into_iter().map(|c| c.body).collect()
}

macro_rules! golden {
    ($name:ident: $query:tt => [$($body:expr),* $(,)?]) => {
        #[test]
        fn $name() {
            let mut expected: Vec<String> = vec![$($body.to_owned()),*];
            expected.sort();
            let mut found = bodies(&json!($query));
            found.sort();
            assert_eq!(found, expected);
        }
    };
}

golden!(a_tag_newest_first: {
    "filter": { "issueIds": ["42"] }, "orderBy": [{ "field": "timestamp", "direction": "desc" }], "limit": 20
} => [
    r#"USING btree (("tags"->>'issueId'))"#,
    r#"USING btree (("tags"->>'issueId'), "timestamp" DESC)"#,
    r#"USING btree (("tags"->>'issueId'), "timestamp" DESC, "event_id")"#,
    r#"USING btree ("timestamp" DESC)"#,
    r#"USING btree ("timestamp" DESC, "event_id")"#,
]);
golden!(containment_is_for_gin: {
    "filter": { "where": { "field": "data", "op": "contains", "value": { "a": 1 } } }
} => [r#"USING gin ("data" "jsonb_path_ops")"#]);
golden!(a_window_is_for_time: {
    "filter": { "startTime": "2026-01-01", "endTime": "2026-02-01" }
} => [r#"USING btree ("timestamp")"#, r#"USING brin ("timestamp")"#]);
golden!(a_range_of_numbers_in_json: {
    "filter": { "where": { "field": "data.n", "op": "gt", "value": 5 } }
} => [r#"USING btree (("data"->'n'))"#]);
golden!(a_range_of_text_is_by_code_point: {
    "filter": { "where": { "field": "data.s", "op": "gt", "value": "a" } }
} => [r#"USING btree ((("data" ->> 's') COLLATE "C"))"#]);
golden!(nothing_to_gain: { "filter": { "where": { "field": "type", "op": "regex", "value": "x" } } } => []);
golden!(a_negation_is_served_by_nothing: {
    "filter": { "where": { "not": { "field": "type", "op": "eq", "value": "x" } } }
} => []);

#[test]
fn events_that_lack_a_tag_are_left_out_where_many_do() {
    let query = json!({ "filter": { "issueIds": ["42"] } });
    let some = |share: f64| {
        let data = Data {
            present: [("tags.issueId".to_owned(), share)].into(),
            ..Data::default()
        };
        of(&query, &data)
            .iter()
            .any(|c| c.body.contains("IS NOT NULL"))
    };
    assert!(some(0.1));
    assert!(!some(0.95));
}

#[test]
fn only_a_literal_that_recurs_makes_a_partial_index() {
    let asks = |value: &str, limit: u64| {
        question(
            &json!({ "filter": { "where": { "field": "tags.area", "op": "eq", "value": value } }, "limit": limit }),
        )
    };
    let partial = |questions: &[Question]| {
        let found = candidates(questions, &TableNames::default(), &Data::default());
        found.iter().any(|c| c.body.contains("WHERE"))
    };
    // Once may be by chance; always the same is no parameter; two values are one.
    assert!(!partial(&[asks("src", 1)]));
    assert!(partial(&[asks("src", 1), asks("src", 2)]));
    assert!(!partial(&[asks("src", 1), asks("src", 2), asks("docs", 1)]));
    let typed = question(&json!({ "filter": { "eventTypes": ["A.B"] } }));
    assert!(partial(&[typed]));
}

#[test]
fn each_question_keeps_candidates_where_there_are_too_many() {
    let questions: Vec<_> = (0..60)
        .map(|n| {
            let field = format!("tags.t{n}");
            question(&json!({ "filter": { "where": { "field": field, "op": "eq", "value": "x" } }, "orderBy": [{ "field": "timestamp" }], "limit": 5 }))
        })
        .collect();
    let all = candidates(&questions, &TableNames::default(), &Data::default());
    for place in 0..questions.len() {
        let own = |c: &&Candidate| c.questions.contains(&place) && c.first.starts_with("tags");
        assert!(all.iter().any(|c| own(&c)), "{place}");
    }
}

#[test]
fn candidates_are_definitions_that_create_index_takes() {
    let query = json!({ "filter": { "issueIds": ["42"], "eventTypes": ["A.B"], "where": { "field": "data[\"it's\"].b[0]", "op": "eq", "value": 1 } }, "limit": 5 });
    let table = TableNames::default();
    let mut names = BTreeSet::new();
    for candidate in of(&query, &Data::default()) {
        let parsed = Definition::parse(&candidate.wire, &table, &columns(&table)).unwrap();
        assert_eq!(parsed.body(&table, None), candidate.body);
        assert!(parsed.name.len() <= 63);
        assert!(names.insert(parsed.name));
    }
    assert!(names.len() > 5);
}

#[test]
fn a_field_has_one_path() {
    for path in [
        "type",
        "timestamp",
        "tags.issueId",
        "tags.a.b",
        "data.usage.tokens",
        "data.files[0].name",
        "data[\"any.key\"]",
        "data[\"\"]",
        "metadata[\"a\\\"b\"].c",
    ] {
        let field = Field::parse(path).unwrap();
        assert_eq!(
            Field::parse(&path_of(&field).unwrap()).unwrap(),
            field,
            "{path}"
        );
    }
}

/// Made-up costs: each question is served best by some sets.
struct Made {
    /// By question: what each candidate brings it down to.
    served: Vec<Vec<f64>>,
    sizes: Vec<f64>,
    writes: Vec<f64>,
}

impl Made {
    fn cost(&self, config: &Config) -> f64 {
        let reads: f64 = (self.served.iter())
            .map(|costs| config.iter().map(|c| costs[*c]).fold(1000.0, f64::min))
            .sum();
        reads + config.iter().map(|c| self.writes[*c]).sum::<f64>()
    }
}

impl Costs for Made {
    async fn total(&mut self, config: &Config) -> Result<f64> {
        Ok(self.cost(config))
    }

    fn least(&self) -> f64 {
        0.0
    }

    fn size(&self, candidate: usize) -> f64 {
        self.sizes[candidate]
    }

    fn tax(&self, _: usize) -> f64 {
        0.05
    }
}

/// Xorshift: the same workloads each time.
fn random(state: &mut u64) -> f64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    #[allow(clippy::cast_precision_loss)] // 20 bits.
    let value = (*state >> 44) as f64 / f64::from(1 << 20);
    value
}

#[tokio::test]
async fn the_search_is_close_to_the_best_of_all_sets() {
    let mut state = 4711;
    let mut missed = 0;
    for _ in 0..200 {
        let candidates = 12;
        let mut costs = Made {
            served: (0..8)
                .map(|_| {
                    (0..candidates)
                        .map(|_| {
                            if random(&mut state) < 0.3 {
                                1000.0 * random(&mut state)
                            } else {
                                1000.0
                            }
                        })
                        .collect()
                })
                .collect(),
            sizes: (0..candidates)
                .map(|_| 1e6 * (0.1 + random(&mut state)))
                .collect(),
            writes: (0..candidates)
                .map(|_| 100.0 * random(&mut state))
                .collect(),
        };
        let budget = Budget {
            count: 4,
            bytes: 2.5e6,
            tax: 0.25,
        };
        let found = search(&mut costs, candidates, budget).await.unwrap();
        assert!(found.len() <= budget.count);
        assert!(found.iter().map(|c| costs.sizes[*c]).sum::<f64>() <= budget.bytes);
        let best = (0_u32..1 << candidates)
            .map(|bits| {
                (0..candidates)
                    .filter(|i| bits >> i & 1 == 1)
                    .collect::<Config>()
            })
            .filter(|set| {
                set.len() <= 4 && set.iter().map(|c| costs.sizes[*c]).sum::<f64>() <= 2.5e6
            })
            .map(|set| costs.cost(&set))
            .fold(f64::INFINITY, f64::min);
        missed += u32::from(costs.cost(&found) > best * 1.05);
    }
    assert!(missed <= 20, "{missed} of 200 were more than 5 % off");
}

#[tokio::test]
async fn the_search_keeps_to_what_writing_may_cost() {
    let mut costs = Made {
        served: vec![vec![10.0, 1000.0, 1000.0], vec![1000.0, 10.0, 1000.0]],
        sizes: vec![1e6; 3],
        writes: vec![1.0; 3],
    };
    let mut budget = Budget {
        count: 3,
        bytes: f64::INFINITY,
        tax: 0.1,
    };
    let found = search(&mut costs, 3, budget).await.unwrap();
    assert_eq!(found, Config::from([0, 1]));
    budget.tax = 0.09;
    assert_eq!(search(&mut costs, 3, budget).await.unwrap().len(), 1);
}

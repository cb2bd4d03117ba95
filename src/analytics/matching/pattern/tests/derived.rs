//! Matches that were derived by hand from the standard, over letters.

use super::{find, pattern};
use crate::analytics::matching::pattern::{Matcher, Table};
use crate::analytics::matching::{Events, sequence::tests::Random};
use crate::query::matching::{Pattern, Rows, Skip, parse_pattern};

/// The matches of a text over letters, as the letters of their rows: `ABx` begins with rows that were
/// mapped to A and B, and leaves one out.
fn letters(text: &str, rows: &str, change: impl Fn(&mut Pattern)) -> Result<Vec<String>, String> {
    let (node, names) = parse_pattern(text).unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut pattern = pattern(node, &names);
    change(&mut pattern);
    let masks: Vec<u64> = rows
        .chars()
        .map(|c| {
            let bits = (0_u64..).zip(&names);
            // A lower-case letter is an event that any variable accepts.
            bits.fold(0, |all, (v, name)| {
                let is = name.starts_with(c) || c.is_ascii_lowercase();
                all | u64::from(is) << v
            })
        })
        .collect();
    let times: Vec<i64> = (0..).take(masks.len()).collect();
    let told = find(&pattern, &masks, &times, &[])?;
    Ok(told
        .into_iter()
        .map(|(number, start, rows)| {
            let rows: String = rows
                .iter()
                .map(|(v, excluded)| {
                    if *excluded {
                        "x".to_owned()
                    } else {
                        names[*v as usize].to_owned()
                    }
                })
                .collect();
            let number = number.map_or("-".to_owned(), |n| n.to_string());
            format!("{number}@{start}:{rows}")
        })
        .collect())
}

#[test]
fn constructs_match_as_derived_by_hand() {
    let plain = |text: &str, rows: &str| letters(text, rows, |_| {}).unwrap();
    // Concatenation, one after the other, and on behind the match.
    assert_eq!(plain("A B", "ABABA"), ["1@0:AB", "2@2:AB"]);
    assert_eq!(plain("A B", "ACB"), Vec::<String>::new());
    // Greedy takes all, and gives back what the rest needs.
    assert_eq!(plain("A+ B", "AAAB"), ["1@0:AAAB"]);
    assert_eq!(plain("A* B", "aaa"), ["1@0:AAB"]);
    assert_eq!(plain("A*? B", "aaa"), ["1@0:B", "2@1:B", "3@2:B"]);
    assert_eq!(plain("A{2,3}", "AAAAA"), ["1@0:AAA", "2@3:AA"]);
    assert_eq!(plain("A{2,3}?", "AAAAA"), ["1@0:AA", "2@2:AA"]);
    assert_eq!(plain("A{2}", "AAAAA"), ["1@0:AA", "2@2:AA"]);
    // The first alternative is preferred, even where the second is longer.
    assert_eq!(plain("(A | A B) C?", "ABC"), ["1@0:A"]);
    assert_eq!(plain("(A B | A) C?", "ABC"), ["1@0:ABC"]);
    assert_eq!(plain("A | B", "z"), ["1@0:A"]);
    // PERMUTE prefers the order in which its members are written.
    assert_eq!(plain("PERMUTE(A, B, C)", "CAB"), ["1@0:CAB"]);
    assert_eq!(plain("PERMUTE(A, B)", "zz"), ["1@0:AB"]);
    // Anchors.
    assert_eq!(plain("^A", "AA"), ["1@0:A"]);
    assert_eq!(plain("A$", "AA"), ["1@1:A"]);
    assert_eq!(plain("^A B$", "AB"), ["1@0:AB"]);
    assert_eq!(plain("^A B$", "ABA"), Vec::<String>::new());
    // Exclusion.
    assert_eq!(plain("A {- B+ -} C", "ABBC"), ["1@0:AxxC"]);
    // Empty matches stand at a row each, and are numbered.
    assert_eq!(plain("A*", "BAB"), ["1@0:", "2@1:A", "3@2:"]);
    assert_eq!(plain("A??", "A"), ["1@0:"]);
    assert_eq!(plain("()", "AB"), ["1@0:", "2@1:"]);
    // A repetition ends where it would go round without a row.
    assert_eq!(plain("(A*)* B", "AAB"), ["1@0:AAB"]);
    assert_eq!(plain("(A? | B)* C", "AC"), ["1@0:AC"]);
    assert_eq!(plain("(A | B?)+ C", "ABAC"), ["1@0:ABAC"]);
}

#[test]
fn matching_goes_on_where_it_is_told_to() {
    let skip = |skip: Skip, text: &str, rows: &str| letters(text, rows, |p| p.skip = skip);
    assert_eq!(
        skip(Skip::ToNext, "A+ B", "AAB").unwrap(),
        ["1@0:AAB", "2@1:AB"]
    );
    assert_eq!(
        skip(Skip::ToLast(1), "A B+ C?", "ABBAB").unwrap(),
        ["1@0:ABB", "2@3:AB"]
    );
    assert_eq!(
        skip(Skip::ToFirst(1), "A B", "ABAB").unwrap(),
        ["1@0:AB", "2@2:AB"]
    );
    let refused = skip(Skip::ToFirst(0), "A B", "AB").unwrap_err();
    assert!(
        refused.contains("goes back to the first event"),
        "{refused}"
    );
    let refused = skip(Skip::ToLast(2), "A B C?", "AB").unwrap_err();
    assert!(refused.contains("a match has none"), "{refused}");
    // An empty match goes on at the next row whatever was asked.
    assert_eq!(skip(Skip::ToLast(0), "A*", "B").unwrap(), ["1@0:"]);
    let rest = letters("A B", "CABAC", |p| p.rows = Rows::AllWithUnmatched).unwrap();
    assert_eq!(rest, ["-@0:", "1@1:AB", "-@3:", "-@4:"]);
    let omitted = letters("A*", "BAB", |p| p.show_empty = false).unwrap();
    assert_eq!(omitted, ["2@1:A"]);
    let within = letters("A+ B?", "AAAB", |p| p.within = Some(1)).unwrap();
    assert_eq!(within, ["1@0:AA", "2@2:AB"]);
}

/// Reading is one step of the automaton a row: what could cost more with more rows is the automaton.
#[test]
fn the_automaton_does_not_grow_with_the_rows() {
    for (text, bits) in [("(A*)*B", 1), ("A B* C*", 0b111), ("(A|B)*? C", 0b011)] {
        let (node, names) = parse_pattern(text).unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pattern = pattern(node, &names);
        let matcher = Matcher::new(&pattern).unwrap();
        let sets = |rows: i64| {
            let times: Vec<i64> = (0..rows).collect();
            let mut random = Random(7);
            let masks: Vec<u64> = times.iter().map(|_| 1 << random.next(4) & bits).collect();
            let table = Table {
                events: Events {
                    watch: None,
                    times: &times,
                    masks: &masks,
                },
                values: &[],
                width: 0,
            };
            let (mut reach, mut taken) = (matcher.reach(), 0);
            let found = matcher.find(table, &mut reach, &mut |found| {
                taken += found.rows.len();
                Ok(())
            });
            found.unwrap();
            assert!(taken <= masks.len(), "{text}: no row is walked over twice");
            reach.len()
        };
        assert_eq!(sets(1_000), sets(200_000), "{text}");
    }
}

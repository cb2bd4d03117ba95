//! Contributions as they come, go and come back.

use super::*;

/// A row of these values.
fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        let length = value.map_or(-1, |v| i32::try_from(v.len()).unwrap());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(value.unwrap_or_default());
    }
    bytes
}

fn states(types: &[Typed], merge: Merge, rows: &[Vec<u8>]) -> States {
    let mut states = States::new(types, merge, Some(1));
    for row in rows {
        states.open().push(row);
    }
    states.rows = i32::try_from(rows.len()).unwrap();
    states.finish();
    states.settle();
    states
}

fn rows(states: &States) -> Vec<Vec<u8>> {
    states.all().map(<[u8]>::to_vec).collect()
}

#[test]
fn come_back_as_they_were() {
    let both = [row(&[Some(b"12345678"), None]), row(&[None, Some(b"")])];
    let states = states(&[Typed::Time, Typed::Json], Merge::Apart, &both);
    let bytes: Vec<u8> = states.parts().flatten().copied().collect();
    let mut rest = &bytes[..];
    let mut part = |size: &Wire| {
        let (part, behind) = rest.split_at_checked(usize::try_from(size.as_u64()?).ok()?)?;
        rest = behind;
        Some(part)
    };
    let read = States::read(&states.outline(), &mut part).unwrap();
    assert_eq!(format!("{read:?}"), format!("{states:?}"));
    let short = |_: &Wire| None;
    assert!(States::read(&states.outline(), short).is_none());
}

#[test]
fn buckets_that_have_left_the_window_go() {
    let at = |micros: i64| Timestamp::from_micros(micros).to_postgres().to_be_bytes();
    let (early, late) = (at(5), at(7));
    let three = [
        row(&[Some(&early), Some(b"a")]),
        row(&[Some(&late), None]),
        row(&[Some(&early), Some(b"")]),
    ];
    let [first, second, third] = three.clone();
    let types = [Typed::Time, Typed::Text];
    let parts = states(&types, Merge::States, &three);
    let kept = parts.since(Timestamp::from_micros(6));
    assert_eq!(rows(&kept), std::slice::from_ref(&second));
    assert_eq!(parts.since(Timestamp::from_micros(5)).rows(), 3);
    let replaced = states(&types, Merge::Apart, &three).with(&kept);
    assert_eq!(
        rows(&replaced),
        [first.clone(), third.clone(), second.clone()]
    );
    let both = kept.with(&parts);
    assert_eq!(rows(&both), [second, first, three[1].clone(), third]);
    assert_eq!(both.since(Timestamp::from_micros(9)).rows(), 0);
}

#[test]
fn what_was_added_is_found_however_often() {
    let one = |key: &str, n: u8| row(&[Some(key.as_bytes()), Some(&[n])]);
    let types = [Typed::Text, Typed::Integer];
    let base: Vec<_> = (0..100).map(|n| one(&n.to_string(), n)).collect();
    let mut all = states(&types, Merge::States, &base);
    for n in 0..200 {
        all = all.with(&states(
            &types,
            Merge::States,
            &[one("7", n), one("new", n)],
        ));
    }
    assert!(all.blocks.len() < 10, "{} blocks", all.blocks.len());
    assert_eq!(all.rows(), 500);
    let keys = [one("7", 0), one("new", 0), one("none", 0)];
    let given = all.of_keys(keys.iter().map(|row| key(row, 1)));
    assert!(matches!(given.columns[1], Bind::Binary { items: 401, .. }));
    assert_eq!(all.keys().filter(|key| key.ends_with(b"7")).count(), 210);
}

#[test]
fn numbers_in_json_are_equal_in_more_than_one_way() {
    let of = |text: &[u8]| {
        states(
            &[Typed::Json],
            Merge::States,
            &[row(&[Some(&[&[1], text].concat())])],
        )
    };
    for text in ["1", "-1.0", "[1]", "{}"] {
        assert!(!of(text.as_bytes()).are_bytewise(), "{text}");
    }
    for text in ["\"1\"", "true", "null"] {
        assert!(of(text.as_bytes()).are_bytewise(), "{text}");
    }
    assert!(states(&[Typed::Json], Merge::States, &[row(&[None])]).are_bytewise());
    assert!(states(&[Typed::Text], Merge::States, &[row(&[Some(b"1")])]).are_bytewise());
}

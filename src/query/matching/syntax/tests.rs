//! What the grammar takes and refuses, and that no text makes the parser panic.

use super::*;

fn variable(v: u32) -> Node {
    Node::Variable(v)
}

fn repeat(of: Node, min: u32, max: Option<u32>, greedy: bool) -> Node {
    Node::Repeat {
        of: Box::new(of),
        min,
        max,
        greedy,
    }
}

#[test]
fn what_the_contract_writes() {
    let (node, names) = parse("(A | B)+? C{2,3} D*").unwrap();
    assert_eq!(names, ["A", "B", "C", "D"]);
    let either = Node::Alternation(vec![variable(0), variable(1)]);
    assert_eq!(
        node,
        Node::Concat(vec![
            repeat(either, 1, None, false),
            repeat(variable(2), 2, Some(3), true),
            repeat(variable(3), 0, None, true)
        ])
    );
    assert_eq!(
        parse("permute(A, B)").unwrap().0,
        Node::Alternation(vec![
            Node::Concat(vec![variable(0), variable(1)]),
            Node::Concat(vec![variable(1), variable(0)])
        ])
    );
    assert_eq!(
        parse("^A B$").unwrap().0,
        Node::Concat(vec![Node::Start, variable(0), variable(1), Node::End])
    );
    let excluded = Node::Excluded(Box::new(repeat(variable(1), 1, None, true)));
    assert_eq!(
        parse("A {- B+ -} C").unwrap().0,
        Node::Concat(vec![variable(0), excluded, variable(2)])
    );
    assert_eq!(
        parse("A{,3}?").unwrap().0,
        repeat(variable(0), 0, Some(3), false)
    );
    assert_eq!(parse("()").unwrap().0, Node::Empty);
}

#[test]
fn errors_point_at_the_character() {
    for (text, position) in [
        ("", 0),
        ("A |", 3),
        ("A (B", 2),
        ("A B)", 3),
        ("A**", 2),
        ("A{2,1}", 1),
        ("A{}", 2),
        ("A{0}", 1),
        ("A{99999}", 2),
        ("* A", 0),
        ("A é", 2),
        ("^* A", 1),
        ("A {- B", 2),
        ("A -} B", 2),
        ("A, B", 1),
        ("PERMUTE(A, )", 11),
        ("A{2 B", 4),
    ] {
        assert_eq!(parse(text).unwrap_err().position, position, "{text}");
    }
    let deep = format!("{}A{}", "(".repeat(60), ")".repeat(60));
    assert_eq!(parse(&deep).unwrap_err().position, 51);
    assert!(parse("((A{1000}){1000}){1000}").is_err());
    assert!(parse("PERMUTE(A,B,C,D,E,F,G)").is_err());
}

#[test]
fn every_text_is_parsed_or_refused() {
    let pieces = [
        "A", "B", "C1", "_x", "(", ")", "|", "*", "+", "?", "{", "}", "{-", "-}", "{2,3}", "{,4}",
        "{5}", "^", "$", "PERMUTE(", ",", " ", "é", "😀", "-", "99", "\\", "\0", "permute",
    ];
    let rounds = match std::env::var("TAMMA_FUZZ_MINUTES") {
        Ok(_) => 1_000_000,
        Err(_) => 100_000,
    };
    let mut state = 0x5EED_u64;
    let mut parsed = 0;
    for _ in 0..rounds {
        let mut text = String::new();
        loop {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let roll = usize::try_from(state >> 20 & 0xFFFF).unwrap();
            if roll % 12 == 0 {
                break;
            }
            text.push_str(pieces[roll / 12 % pieces.len()]);
        }
        match parse(&text) {
            Ok(_) => parsed += 1,
            Err(wrong) => assert!(wrong.position <= text.encode_utf16().count(), "{text}"),
        }
    }
    assert!(parsed > rounds / 100, "{parsed} of {rounds} were patterns");
}

//! Globs as Redis reads them: `*`, `?`, `[abc]`, `[^a-z]`, and a backslash before what is meant as it
//! stands. They are matched with the whole text.

/// Whether a glob matches a text. Takes time of the product of their lengths at most.
pub fn matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    // The last star, and where what it stands for ends for now.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if glob.get(g) == Some(&'*') {
            star = Some((g, t));
            g += 1;
            continue;
        }
        let next = match text.get(t) {
            None if g == glob.len() => return true,
            None => None,
            Some(c) => one(&glob[g..], *c),
        };
        if let Some(width) = next {
            g += width;
            t += 1;
            continue;
        }
        match star {
            Some((at, end)) if end < text.len() => {
                star = Some((at, end + 1));
                g = at + 1;
                t = end + 1;
            }
            _ => return false,
        }
    }
}

/// The length of the glob's first item, where it matches the character.
fn one(glob: &[char], c: char) -> Option<usize> {
    match glob {
        [] => None,
        ['?', ..] => Some(1),
        ['[', rest @ ..] => class(rest, c).map(|width| width + 1),
        ['\\', literal, ..] => (*literal == c).then_some(2),
        [literal, ..] => (*literal == c).then_some(1),
    }
}

/// The length of a class behind its bracket, where it matches. One that never ends goes to the end.
fn class(glob: &[char], c: char) -> Option<usize> {
    let negated = glob.first() == Some(&'^');
    let mut at = usize::from(negated);
    let mut found = false;
    while let Some(first) = glob.get(at) {
        match (first, glob.get(at + 1), glob.get(at + 2)) {
            (']', ..) => break,
            ('\\', Some(literal), _) => {
                found |= *literal == c;
                at += 2;
            }
            (from, Some('-'), Some(to)) if *to != ']' => {
                let (low, high) = if from <= to { (from, to) } else { (to, from) };
                found |= (*low..=*high).contains(&c);
                at += 3;
            }
            (literal, ..) => {
                found |= *literal == c;
                at += 1;
            }
        }
    }
    (found != negated).then_some((at + 1).min(glob.len()))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn as_redis_has_it() {
        for (glob, text) in [
            ("*", ""),
            ("*", "a:b"),
            ("dashboard:*", "dashboard:a:b"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("h\\*llo", "h*llo"),
            ("[\\]]", "]"),
            ("a*b*c", "a1b2b3c"),
            ("**", "é"),
            ("?", "é"),
            ("[a", "a"),
            ("\\", "\\"),
        ] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("", "a"),
            ("a", ""),
            ("dashboard:*", "my dashboard:a"),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("h\\*llo", "hello"),
            ("h[a-b]llo", "hcllo"),
            ("a*b", "a1bc"),
            ("A", "a"),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
        // Not exponential.
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
    }
}

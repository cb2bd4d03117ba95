//! The text of a pattern: what SQL:2016 writes between the parentheses of `PATTERN (…)`.
//!
//! ```text
//! pattern   = branch { "|" branch }
//! branch    = factor { factor }
//! factor    = primary [ ("*" | "+" | "?" | "{n}" | "{n,}" | "{,m}" | "{n,m}") [ "?" ] ]
//! primary   = name | "^" | "$" | "(" [ pattern ] ")" | "{-" pattern "-}"
//!           | "PERMUTE" "(" pattern { "," pattern } ")"
//! ```

/// A pattern over numbered variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// No rows.
    Empty,
    /// One row, mapped to a variable.
    Variable(u32),
    /// One after the other.
    Concat(Vec<Self>),
    /// One of them; the earlier is preferred.
    Alternation(Vec<Self>),
    /// Repetition.
    Repeat {
        /// What is repeated.
        of: Box<Self>,
        /// At least.
        min: u32,
        /// At most; `None` without end.
        max: Option<u32>,
        /// Whether more is preferred to less.
        greedy: bool,
    },
    /// Its rows are left out of what is shown.
    Excluded(Box<Self>),
    /// Before the first row of the partition.
    Start,
    /// Behind its last row.
    End,
}

/// What is wrong with a text, and where: an offset in UTF-16 units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong and what would be right.
    pub problem: &'static str,
    /// The offset of the character.
    pub position: usize,
}

/// The deepest nesting, the largest repetition, the most that PERMUTE permutes.
const MAX_DEPTH: usize = 50;
const MAX_COUNT: u32 = 10_000;
const MAX_PERMUTED: usize = 6;
const MAX_LENGTH: usize = 10_000;
/// The most nodes that a text expands to.
const MAX_NODES: usize = 20_000;

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    nodes: usize,
    names: Vec<String>,
}

/// Parses a text: the pattern, and its variables in the order in which they first appear.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str) -> Result<(Node, Vec<String>), Wrong> {
    // Everything before the first character that is not ASCII is a unit each in UTF-16 too.
    if text.len() > MAX_LENGTH {
        return Err(Wrong {
            problem: "is longer than 10,000 characters",
            position: MAX_LENGTH,
        });
    }
    let mut parser = Parser {
        text: text.as_bytes(),
        at: 0,
        depth: 0,
        nodes: 0,
        names: Vec::new(),
    };
    parser.space();
    if parser.peek().is_none() {
        return Err(parser.wrong("is empty: name a variable, or write () for no rows"));
    }
    let node = parser.alternation()?;
    match parser.peek() {
        None => Ok((node, parser.names)),
        Some(b')') => Err(parser.wrong("has a ')' that nothing opens")),
        Some(b',') => Err(parser.wrong("has a ',' outside of PERMUTE(…)")),
        Some(b'-') => Err(parser.wrong("has a '-}' that nothing opens")),
        Some(_) => Err(parser.wrong(EXPECTED)),
    }
}

const EXPECTED: &str = "needs a variable, '(', '{-', '^', '$' or PERMUTE here";

impl Parser<'_> {
    const fn wrong(&self, problem: &'static str) -> Wrong {
        Wrong {
            problem,
            position: self.at,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn starts(&self, with: &[u8]) -> bool {
        self.text[self.at..].starts_with(with)
    }

    /// Steps over one character and the space behind it.
    fn step(&mut self, bytes: usize) {
        self.at += bytes;
        self.space();
    }

    fn count(&mut self, nodes: usize) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.wrong("makes the pattern too large: repeat less, or permute less"));
        }
        Ok(())
    }

    fn alternation(&mut self) -> Result<Node, Wrong> {
        let mut branches = vec![self.branch()?];
        while self.peek() == Some(b'|') {
            self.step(1);
            branches.push(self.branch()?);
        }
        Ok(one_or(branches, Node::Alternation))
    }

    fn branch(&mut self) -> Result<Node, Wrong> {
        let mut factors = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'|' | b')' | b',') => break,
                Some(b'-') if self.starts(b"-}") => break,
                _ => factors.push(self.factor()?),
            }
        }
        if factors.is_empty() {
            return Err(self.wrong(EXPECTED));
        }
        Ok(one_or(factors, Node::Concat))
    }

    fn factor(&mut self) -> Result<Node, Wrong> {
        let before = self.nodes;
        let node = self.primary()?;
        let size = self.nodes - before;
        let at = self.at;
        let Some((min, max)) = self.quantifier()? else {
            return Ok(node);
        };
        if matches!(node, Node::Start | Node::End) {
            self.at = at;
            return Err(self.wrong("repeats an anchor, which has no rows"));
        }
        let greedy = self.peek() != Some(b'?');
        if !greedy {
            self.step(1);
        }
        if matches!(self.peek(), Some(b'*' | b'+' | b'?'))
            || (self.peek() == Some(b'{') && !self.starts(b"{-"))
        {
            return Err(self.wrong("has a second quantifier: put parentheses around the first"));
        }
        let copies = max.unwrap_or(min.max(1)).max(1) as usize;
        self.count(size.saturating_mul(copies.saturating_sub(1)))?;
        Ok(Node::Repeat {
            of: Box::new(node),
            min,
            max,
            greedy,
        })
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, Wrong> {
        let range = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') if !self.starts(b"{-") => return self.braces().map(Some),
            _ => return Ok(None),
        };
        self.step(1);
        Ok(Some(range))
    }

    fn braces(&mut self) -> Result<(u32, Option<u32>), Wrong> {
        let open = self.at;
        self.step(1);
        let min = self.number()?;
        let range = if self.peek() == Some(b',') {
            self.step(1);
            let max = self.number()?;
            if min.is_none() && max.is_none() {
                return Err(self.wrong("needs a number of times in its braces"));
            }
            (min.unwrap_or(0), max)
        } else {
            match min {
                Some(times) => (times, Some(times)),
                None => return Err(self.wrong("needs a number of times in its braces")),
            }
        };
        if self.peek() != Some(b'}') {
            return Err(self.wrong("needs a '}' behind the number of times"));
        }
        if range.1.is_some_and(|max| max < range.0 || max == 0) {
            self.at = open;
            return Err(self.wrong("has a quantifier whose most is 0, or less than its least"));
        }
        self.step(1);
        Ok(range)
    }

    fn number(&mut self) -> Result<Option<u32>, Wrong> {
        let start = self.at;
        let mut value = 0_u32;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value
                .saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'));
            if value > MAX_COUNT {
                self.at = start;
                return Err(self.wrong("repeats more than 10,000 times"));
            }
            self.at += 1;
        }
        let found = self.at > start;
        self.space();
        Ok(found.then_some(value))
    }

    fn primary(&mut self) -> Result<Node, Wrong> {
        self.count(1)?;
        match self.peek() {
            Some(b'^') => {
                self.step(1);
                Ok(Node::Start)
            }
            Some(b'$') => {
                self.step(1);
                Ok(Node::End)
            }
            Some(b'(') => {
                let open = self.at;
                self.step(1);
                if self.peek() == Some(b')') {
                    self.step(1);
                    return Ok(Node::Empty);
                }
                let node = self.inside()?;
                self.close(b")", open, "has a '(' that is not closed")?;
                Ok(node)
            }
            Some(b'{') if self.starts(b"{-") => {
                let open = self.at;
                self.step(2);
                let node = self.inside()?;
                self.close(b"-}", open, "has a '{-' that is not closed by '-}'")?;
                Ok(Node::Excluded(Box::new(node)))
            }
            Some(b'{' | b'*' | b'+' | b'?') => {
                Err(self.wrong("has a quantifier with nothing before it"))
            }
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => self.name(),
            _ => Err(self.wrong(EXPECTED)),
        }
    }

    fn inside(&mut self) -> Result<Node, Wrong> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong("is nested deeper than 50 levels"));
        }
        self.depth += 1;
        let node = self.alternation()?;
        self.depth -= 1;
        Ok(node)
    }

    fn close(&mut self, with: &[u8], open: usize, problem: &'static str) -> Result<(), Wrong> {
        if self.starts(with) {
            self.step(with.len());
            return Ok(());
        }
        if self.peek().is_none() {
            self.at = open;
            return Err(self.wrong(problem));
        }
        Err(self.wrong(EXPECTED))
    }

    fn name(&mut self) -> Result<Node, Wrong> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            self.at += 1;
        }
        // ASCII letters, digits and underscores.
        let name = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        self.space();
        if name.eq_ignore_ascii_case("PERMUTE") && self.peek() == Some(b'(') {
            return self.permute();
        }
        let known = self.names.iter().position(|n| *n == name);
        let variable = known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        if variable >= 60 {
            self.at = start;
            return Err(self.wrong("has more than 60 variables"));
        }
        Ok(Node::Variable(u32::try_from(variable).unwrap_or_default()))
    }

    fn permute(&mut self) -> Result<Node, Wrong> {
        let (open, before) = (self.at, self.nodes);
        self.step(1);
        let mut members = vec![self.inside()?];
        while self.peek() == Some(b',') {
            self.step(1);
            members.push(self.inside()?);
        }
        self.close(b")", open, "has a PERMUTE( that is not closed")?;
        if members.len() > MAX_PERMUTED {
            self.at = open;
            return Err(self.wrong("permutes more than 6"));
        }
        let orders: usize = (1..=members.len()).product();
        let size = self.nodes - before;
        self.count(size.saturating_mul(orders - 1))?;
        let mut branches = Vec::with_capacity(orders);
        permutations(&members, &mut Vec::new(), &mut branches);
        Ok(one_or(branches, Node::Alternation))
    }
}

/// All orders, those first that keep the earlier members in front.
fn permutations(members: &[Node], chosen: &mut Vec<usize>, out: &mut Vec<Node>) {
    if chosen.len() == members.len() {
        let order = chosen.iter().map(|i| members[*i].clone()).collect();
        out.push(one_or(order, Node::Concat));
        return;
    }
    for i in 0..members.len() {
        if !chosen.contains(&i) {
            chosen.push(i);
            permutations(members, chosen, out);
            chosen.pop();
        }
    }
}

fn one_or(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 {
        nodes.swap_remove(0)
    } else {
        join(nodes)
    }
}

impl Node {
    /// The variables that a row of every match is mapped to, as bits.
    pub fn required(&self) -> u64 {
        match self {
            Self::Empty | Self::Start | Self::End | Self::Repeat { min: 0, .. } => 0,
            Self::Variable(v) => 1 << v,
            Self::Concat(all) => all.iter().fold(0, |bits, node| bits | node.required()),
            Self::Alternation(arms) => arms.iter().fold(u64::MAX, |bits, a| bits & a.required()),
            Self::Repeat { of, .. } | Self::Excluded(of) => of.required(),
        }
    }

    /// Whether something is excluded.
    pub fn excludes(&self) -> bool {
        match self {
            Self::Excluded(_) => true,
            Self::Concat(all) | Self::Alternation(all) => all.iter().any(Self::excludes),
            Self::Repeat { of, .. } => of.excludes(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
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
            "A", "B", "C1", "_x", "(", ")", "|", "*", "+", "?", "{", "}", "{-", "-}", "{2,3}",
            "{,4}", "{5}", "^", "$", "PERMUTE(", ",", " ", "é", "😀", "-", "99", "\\", "\0",
            "permute",
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
}

//! The grammar of a pattern's text, a function for each of its rules. PERMUTE becomes the alternation
//! that it stands for, so that the matcher knows nothing of it.

use super::reader::{EXPECTED, MAX_DEPTH, MAX_LENGTH, MAX_PERMUTED, Parser};
use super::{Node, Wrong};

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

impl Parser<'_> {
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

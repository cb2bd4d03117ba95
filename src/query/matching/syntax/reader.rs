//! The characters under the parser, and the limits of what a text may become. A caller's text can be
//! short and still stand for a pattern without end: what it expands to is counted while it is read.

use super::Wrong;

/// The deepest nesting, the largest repetition, the most that PERMUTE permutes.
pub const MAX_DEPTH: usize = 50;
const MAX_COUNT: u32 = 10_000;
pub const MAX_PERMUTED: usize = 6;
pub const MAX_LENGTH: usize = 10_000;
/// The most nodes that a text expands to.
const MAX_NODES: usize = 20_000;

pub const EXPECTED: &str = "needs a variable, '(', '{-', '^', '$' or PERMUTE here";

/// A text, and how far it is read.
pub struct Parser<'t> {
    /// The text.
    pub text: &'t [u8],
    /// The offset that is read next.
    pub at: usize,
    /// How many groups are open.
    pub depth: usize,
    /// The nodes so far, with those that repetition adds.
    pub nodes: usize,
    /// The variables so far.
    pub names: Vec<String>,
}

impl Parser<'_> {
    /// What is wrong with what is read next.
    pub const fn wrong(&self, problem: &'static str) -> Wrong {
        Wrong {
            problem,
            position: self.at,
        }
    }

    /// The next character; nothing at the end.
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Steps over space.
    pub fn space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Whether the rest starts so.
    pub fn starts(&self, with: &[u8]) -> bool {
        self.text[self.at..].starts_with(with)
    }

    /// Steps over one character and the space behind it.
    pub fn step(&mut self, bytes: usize) {
        self.at += bytes;
        self.space();
    }

    /// Counts nodes, of which there may be only so many.
    pub fn count(&mut self, nodes: usize) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.wrong("makes the pattern too large: repeat less, or permute less"));
        }
        Ok(())
    }

    /// A number, where one stands here.
    pub fn number(&mut self) -> Result<Option<u32>, Wrong> {
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

    /// Steps over what closes a group; `problem` where the text ends before it.
    pub fn close(&mut self, with: &[u8], open: usize, problem: &'static str) -> Result<(), Wrong> {
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
}

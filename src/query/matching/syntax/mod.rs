//! The text of a pattern: what SQL:2016 writes between the parentheses of `PATTERN (…)`.
//!
//! ```text
//! pattern   = branch { "|" branch }
//! branch    = factor { factor }
//! factor    = primary [ ("*" | "+" | "?" | "{n}" | "{n,}" | "{,m}" | "{n,m}") [ "?" ] ]
//! primary   = name | "^" | "$" | "(" [ pattern ] ")" | "{-" pattern "-}"
//!           | "PERMUTE" "(" pattern { "," pattern } ")"
//! ```

mod parser;
mod reader;
#[cfg(test)]
mod tests;

pub use parser::parse;

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

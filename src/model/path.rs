//! Where in the caller's input a parser stands. Costs nothing until an error shows it.

use std::fmt;

/// A place in the caller's input, as a chain back to the root.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    /// The input itself.
    Root,
    /// A member of an object.
    Key(&'a Path<'a>, &'a str),
    /// An element of an array.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The member `name` of what is here.
    pub const fn key(&'a self, name: &'a str) -> Self {
        Self::Key(self, name)
    }

    /// The element `index` of what is here.
    pub const fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, name) => f.write_str(name),
            Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_caller_would_write_it() {
        let root = Path::Root;
        let (filter, place, and) = (root.key("filter"), Path::Root, "and");
        let list = filter.key(and);
        assert_eq!(list.index(1).key("op").to_string(), "filter.and[1].op");
        assert_eq!(place.to_string(), "");
    }
}

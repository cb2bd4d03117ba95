//! The parser of queries, by what it takes and what it refuses.

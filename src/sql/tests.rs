//! Golden tests: each construct and the SQL it becomes.

//! The caller's own SQL in a definition: one immutable expression or predicate, and nothing else.
//!
//! It is parsed, and only what is known to be harmless is let through. What is sent to the server is
//! never the caller's text but what this module writes from the parsed tree, every name and value
//! quoted anew: where this parser and PostgreSQL's would read a text differently, theirs has nothing
//! left to misread. Which functions are immutable stands in the server's catalog: they are looked up
//! before anything is built by the index manager.

mod allowed;
mod rewrite;

use std::collections::BTreeSet;

use sqlparser::{
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer, Whitespace},
};

use self::rewrite::Writer;
use crate::model::{Error, Result};

/// Longer than any sane definition.
const LONGEST: usize = 4096;
/// The deepest nesting.
const DEEPEST: usize = 48;

/// A checked expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// As this module writes it.
    pub sql: String,
    /// Functions in it: the catalog must call them immutable.
    pub functions: BTreeSet<Called>,
}

/// A function that is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Called {
    /// Its name.
    pub name: String,
    /// How many arguments it is given.
    pub arguments: usize,
    /// Whether one of them is a time without a zone, as `… AT TIME ZONE 'UTC'` makes it: then of
    /// functions that share a name the one is meant that depends on no setting.
    pub civil: bool,
}

/// Checks an expression or predicate over the table's columns.
///
/// # Errors
/// INDEX_INVALID at `path`.
pub fn check(text: &str, columns: &[String], path: &str) -> Result<Checked> {
    let refuse = |problem: String| Error::index_invalid(path, problem);
    if text.len() > LONGEST {
        return Err(refuse("is longer than 4,096 bytes".to_owned()));
    }
    if text.contains('\0') {
        return Err(refuse("contains U+0000".to_owned()));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize()
        .map_err(|e| refuse(format!("is no SQL expression: {}", e.message)))?;
    for token in &tokens {
        match token {
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
            ) => return Err(refuse("has a comment".to_owned())),
            Token::SemiColon => return Err(refuse("has more than one statement".to_owned())),
            Token::Placeholder(_) => {
                return Err(refuse("has a placeholder: write the value".to_owned()));
            }
            _ => {}
        }
    }
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(DEEPEST)
        .with_tokens(tokens);
    let parsed = parser
        .parse_expr()
        .map_err(|e| refuse(format!("is no SQL expression: {}", plain(&e.to_string()))))?;
    if parser.peek_token_ref().token != Token::EOF {
        return Err(refuse("goes on behind its expression".to_owned()));
    }
    let mut writer = Writer {
        columns,
        sql: String::with_capacity(text.len() + 16),
        functions: BTreeSet::new(),
        reads_row: false,
    };
    writer.expr(&parsed, 0).map_err(refuse)?;
    if !writer.reads_row {
        return Err(refuse("reads no column of the table".to_owned()));
    }
    Ok(Checked {
        sql: writer.sql,
        functions: writer.functions,
    })
}

/// The parser's message without its own prefix, and of bounded length.
fn plain(message: &str) -> String {
    let told = message
        .strip_prefix("sql parser error: ")
        .unwrap_or(message);
    told.chars().take(200).collect()
}

//! The caller's own SQL in a definition: one immutable expression or predicate, and nothing else.
//!
//! It is parsed, and only what is known to be harmless is let through. What is sent to the server is
//! never the caller's text but what this module writes from the parsed tree, every name and value
//! quoted anew: where this parser and PostgreSQL's would read a text differently, theirs has nothing
//! left to misread. Which functions are immutable stands in the server's catalog: they are looked up
//! before anything is built by the index manager.

use std::collections::BTreeSet;

use sqlparser::{
    ast::{
        Array, BinaryOperator, CaseWhen, CastKind, DataType, ExactNumberInfo, Expr, Function,
        FunctionArg, FunctionArgExpr, FunctionArguments, Ident, InTarget, ObjectName,
        ObjectNamePart, UnaryOperator, Value,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer, Whitespace},
};

use super::literal::quote_literal;
use crate::model::{Error, Result, table::quote_ident};

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

struct Writer<'a> {
    columns: &'a [String],
    sql: String,
    functions: BTreeSet<Called>,
    reads_row: bool,
}

type Checking = std::result::Result<(), String>;

impl Writer<'_> {
    fn put(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    /// Every node in parentheses of its own: no rule of precedence is left to differ in.
    #[allow(clippy::too_many_lines)] // One arm for each construct that is let through.
    fn expr(&mut self, expr: &Expr, depth: usize) -> Checking {
        if depth > DEEPEST {
            return Err("is nested too deep".to_owned());
        }
        let depth = depth + 1;
        match expr {
            Expr::Nested(inner) => self.expr(inner, depth),
            Expr::Identifier(name) => self.column(name),
            Expr::Value(value) => self.value(&value.value),
            Expr::Prefixed { .. } => Err("has a string of a kind that is not taken".to_owned()),
            Expr::BinaryOp { left, op, right } => {
                let op = binary(op)?;
                self.put("(");
                self.expr(left, depth)?;
                self.put(" ").put(op).put(" ");
                self.expr(right, depth)?;
                self.put(")");
                Ok(())
            }
            Expr::UnaryOp { op, expr } => {
                let op = match op {
                    UnaryOperator::Not => "NOT ",
                    UnaryOperator::Minus => "- ",
                    UnaryOperator::Plus => "+ ",
                    other => return Err(format!("uses the operator {other}")),
                };
                self.put("(").put(op);
                self.expr(expr, depth)?;
                self.put(")");
                Ok(())
            }
            Expr::IsNull(inner) => self.postfix(inner, " IS NULL", depth),
            Expr::IsNotNull(inner) => self.postfix(inner, " IS NOT NULL", depth),
            Expr::IsTrue(inner) => self.postfix(inner, " IS TRUE", depth),
            Expr::IsNotTrue(inner) => self.postfix(inner, " IS NOT TRUE", depth),
            Expr::IsFalse(inner) => self.postfix(inner, " IS FALSE", depth),
            Expr::IsNotFalse(inner) => self.postfix(inner, " IS NOT FALSE", depth),
            Expr::IsDistinctFrom(a, b) => self.pair(a, " IS DISTINCT FROM ", b, depth),
            Expr::IsNotDistinctFrom(a, b) => self.pair(a, " IS NOT DISTINCT FROM ", b, depth),
            Expr::In {
                expr,
                target: InTarget::List(items),
                negated,
                global: false,
            } => {
                self.put("(");
                self.expr(expr, depth)?;
                self.put(if *negated { " NOT IN (" } else { " IN (" });
                self.list(items, depth)?;
                self.put("))");
                Ok(())
            }
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                self.put("(");
                self.expr(expr, depth)?;
                self.put(if *negated {
                    " NOT BETWEEN "
                } else {
                    " BETWEEN "
                });
                self.expr(low, depth)?;
                self.put(" AND ");
                self.expr(high, depth)?;
                self.put(")");
                Ok(())
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => {
                let op = if *negated { " NOT LIKE " } else { " LIKE " };
                self.pair(expr, op, pattern, depth)
            }
            Expr::ILike {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => {
                let op = if *negated { " NOT ILIKE " } else { " ILIKE " };
                self.pair(expr, op, pattern, depth)
            }
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => {
                let to = type_name(data_type)
                    .ok_or_else(|| format!("casts to {data_type}, which is not taken here"))?;
                self.put("(");
                self.expr(expr, depth)?;
                self.put("::").put(to).put(")");
                Ok(())
            }
            Expr::Collate { expr, collation } => {
                let name = single(collation).ok_or("names a collation by more than its name")?;
                let name = name.value.as_str();
                if !["C", "POSIX"].contains(&name) {
                    return Err(format!("has the collation {name:?}: only \"C\" is taken"));
                }
                self.put("(");
                self.expr(expr, depth)?;
                self.put(" COLLATE ").put(&quote_ident(name)).put(")");
                Ok(())
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => {
                if !matches!(&**time_zone, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_)))
                {
                    return Err("has a time zone that is no literal".to_owned());
                }
                self.pair(timestamp, " AT TIME ZONE ", time_zone, depth)
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(
                operand.as_deref(),
                conditions,
                else_result.as_deref(),
                depth,
            ),
            Expr::Array(Array { elem, named: true }) => {
                self.put("ARRAY[");
                self.list(elem, depth)?;
                self.put("]");
                Ok(())
            }
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                is_some: false,
            } => {
                self.put("(");
                self.expr(left, depth)?;
                self.put(" = ANY(");
                self.expr(right, depth)?;
                self.put("))");
                Ok(())
            }
            Expr::Function(function) => self.function(function, depth),
            Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::In {
                target: InTarget::Subquery(_),
                ..
            } => Err("has a subquery".to_owned()),
            Expr::CompoundIdentifier(_) => {
                Err("qualifies a column: an index sees its own table only".to_owned())
            }
            _ => Err("has a construct that is not taken in an index".to_owned()),
        }
    }

    fn postfix(&mut self, inner: &Expr, test: &str, depth: usize) -> Checking {
        self.put("(");
        self.expr(inner, depth)?;
        self.put(test).put(")");
        Ok(())
    }

    fn pair(&mut self, a: &Expr, between: &str, b: &Expr, depth: usize) -> Checking {
        self.put("(");
        self.expr(a, depth)?;
        self.put(between);
        self.expr(b, depth)?;
        self.put(")");
        Ok(())
    }

    fn list(&mut self, items: &[Expr], depth: usize) -> Checking {
        if items.is_empty() {
            return Err("has an empty list".to_owned());
        }
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.put(", ");
            }
            self.expr(item, depth)?;
        }
        Ok(())
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        depth: usize,
    ) -> Checking {
        self.put("(CASE");
        if let Some(operand) = operand {
            self.put(" ");
            self.expr(operand, depth)?;
        }
        for when in conditions {
            self.put(" WHEN ");
            self.expr(&when.condition, depth)?;
            self.put(" THEN ");
            self.expr(&when.result, depth)?;
        }
        if let Some(otherwise) = otherwise {
            self.put(" ELSE ");
            self.expr(otherwise, depth)?;
        }
        self.put(" END)");
        Ok(())
    }

    fn column(&mut self, name: &Ident) -> Checking {
        let name = folded(name);
        if !self.columns.contains(&name) {
            return Err(format!("names {name:?}, which is no column of the table"));
        }
        self.reads_row = true;
        self.put(&quote_ident(&name));
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Checking {
        match value {
            Value::Number(digits, false) if is_number(digits) => self.put(digits),
            Value::SingleQuotedString(text) => self.put(&quote_literal(text)),
            Value::Boolean(true) => self.put("true"),
            Value::Boolean(false) => self.put("false"),
            Value::Null => self.put("NULL"),
            _ => return Err("has a literal of a kind that is not taken: use '…'".to_owned()),
        };
        Ok(())
    }

    fn function(&mut self, function: &Function, depth: usize) -> Checking {
        let Function {
            name,
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::List(list),
            within_group,
            filter: None,
            null_treatment: None,
            over: None,
        } = function
        else {
            return Err(
                "calls a function as an aggregate, a window or without arguments".to_owned(),
            );
        };
        if !within_group.is_empty()
            || list.duplicate_treatment.is_some()
            || !list.clauses.is_empty()
        {
            return Err("calls a function as an aggregate".to_owned());
        }
        let name = folded(
            single(name)
                .ok_or("calls a function by more than its name: only PostgreSQL's own are taken")?,
        );
        // Not a function of the catalog, and harmless.
        let is_syntax = ["coalesce", "nullif", "greatest", "least"].contains(&name.as_str());
        if is_syntax {
            self.put(&name).put("(");
        } else {
            self.functions.insert(Called {
                name: name.clone(),
                arguments: list.args.len(),
                civil: list.args.iter().any(is_civil),
            });
            self.put("pg_catalog.").put(&quote_ident(&name)).put("(");
        }
        for (i, arg) in list.args.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
                return Err("calls a function with * or named arguments".to_owned());
            };
            if i > 0 {
                self.put(", ");
            }
            self.expr(arg, depth)?;
        }
        self.put(")");
        Ok(())
    }
}

fn is_civil(arg: &FunctionArg) -> bool {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(mut expr)) = arg.clone() else {
        return false;
    };
    while let Expr::Nested(inner) = expr {
        expr = *inner;
    }
    matches!(expr, Expr::AtTimeZone { .. })
}

/// As PostgreSQL reads a name: in lower case, unless it is quoted.
fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
}

fn binary(op: &BinaryOperator) -> std::result::Result<&'static str, String> {
    Ok(match op {
        BinaryOperator::Plus => "+",
        BinaryOperator::Minus => "-",
        BinaryOperator::Multiply => "*",
        BinaryOperator::Divide => "/",
        BinaryOperator::Modulo => "%",
        BinaryOperator::StringConcat => "||",
        BinaryOperator::Gt => ">",
        BinaryOperator::Lt => "<",
        BinaryOperator::GtEq => ">=",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::And => "AND",
        BinaryOperator::Or => "OR",
        BinaryOperator::PGRegexMatch => "~",
        BinaryOperator::PGRegexIMatch => "~*",
        BinaryOperator::PGRegexNotMatch => "!~",
        BinaryOperator::PGRegexNotIMatch => "!~*",
        BinaryOperator::PGStartsWith => "^@",
        BinaryOperator::Arrow => "->",
        BinaryOperator::LongArrow => "->>",
        BinaryOperator::HashArrow => "#>",
        BinaryOperator::HashLongArrow => "#>>",
        BinaryOperator::AtArrow => "@>",
        BinaryOperator::ArrowAt => "<@",
        BinaryOperator::Question => "?",
        BinaryOperator::QuestionAnd => "?&",
        BinaryOperator::QuestionPipe => "?|",
        other => return Err(format!("uses the operator {other}")),
    })
}

/// Types whose casts from what JSON gives cannot depend on a setting.
fn type_name(of: &DataType) -> Option<&'static str> {
    Some(match of {
        DataType::Text => "text",
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => "integer",
        DataType::BigInt(None) | DataType::Int8(None) => "bigint",
        DataType::SmallInt(None) | DataType::Int2(None) => "smallint",
        DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) => {
            "numeric"
        }
        DataType::DoublePrecision | DataType::Float8 => "double precision",
        DataType::Real | DataType::Float4 => "real",
        DataType::Boolean | DataType::Bool => "boolean",
        DataType::Uuid => "uuid",
        DataType::JSONB => "jsonb",
        _ => return None,
    })
}

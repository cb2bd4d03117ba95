//! Writes a parsed expression anew, construct by construct: what has no arm here is refused.

use std::collections::BTreeSet;

use sqlparser::ast::{
    Array, BinaryOperator, CaseWhen, CastKind, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, InTarget, UnaryOperator, Value,
};

use super::allowed::{binary, folded, is_number, single, type_name};
use super::{Called, DEEPEST};
use crate::model::table::quote_ident;
use crate::sql::literal::quote_literal;

/// Writes, and notes what it wrote.
pub struct Writer<'a> {
    /// The columns that there are.
    pub columns: &'a [String],
    /// What is written.
    pub sql: String,
    /// What is called in it.
    pub functions: BTreeSet<Called>,
    /// Whether a column is read.
    pub reads_row: bool,
}

/// What is wrong, without the path.
pub type Checking = Result<(), String>;

impl Writer<'_> {
    fn put(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    /// Every node in parentheses of its own: no rule of precedence is left to differ in.
    #[allow(clippy::too_many_lines)] // One arm for each construct that is let through.
    pub fn expr(&mut self, expr: &Expr, depth: usize) -> Checking {
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

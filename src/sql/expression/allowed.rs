//! The names, numbers, operators and types that a definition may have: lists of what is known to be
//! harmless, so that what PostgreSQL adds one day is refused until someone has looked at it.

use sqlparser::ast::{
    BinaryOperator, DataType, ExactNumberInfo, Ident, ObjectName, ObjectNamePart,
};

/// As PostgreSQL reads a name: in lower case, unless it is quoted.
pub fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// A name that nothing qualifies.
pub fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name),
        _ => None,
    }
}

/// Whether digits are no more than a number.
pub fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
}

/// An operator between two expressions.
pub fn binary(op: &BinaryOperator) -> Result<&'static str, String> {
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
pub fn type_name(of: &DataType) -> Option<&'static str> {
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

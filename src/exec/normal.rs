//! SQL text as monitoring keeps it: without values.
//!
//! A compiled statement holds none but the number of its LIMIT. In the caller's own SQL every
//! literal may be one, and a comment may say anything.

/// A compiled statement: its LIMIT is written as `?`.
pub fn compiled(sql: &str) -> String {
    Scanner::new(sql, false).run()
}

/// The caller's own SQL: literals are written as `?`, comments are left out.
pub fn user(sql: &str) -> String {
    Scanner::new(sql, true).run()
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    hide: bool,
    out: String,
    after_limit: bool,
}

const fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn in_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, hide: bool) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            hide,
            out: String::with_capacity(text.len()),
            after_limit: false,
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn run(mut self) -> String {
        while self.at < self.bytes.len() {
            let from = self.at;
            match self.peek(0) {
                b'\'' => self.literal(from, false),
                b'"' => {
                    self.quoted(b'"', false);
                    self.copy(from);
                }
                b'$' => self.dollar(),
                b'-' if self.peek(1) == b'-' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment(),
                byte if byte.is_ascii_digit() => self.number(),
                byte if starts_word(byte) => self.word(),
                byte if byte.is_ascii_whitespace() => {
                    self.at += 1;
                    self.space();
                }
                _ => {
                    self.at += 1;
                    self.copy(from);
                }
            }
        }
        if self.hide {
            self.out.truncate(self.out.trim_end().len());
        }
        self.out
    }

    /// What was read since `from`, as it is. All bytes that tokens end at are ASCII, so the cuts
    /// are between characters.
    fn copy(&mut self, from: usize) {
        self.out
            .push_str(self.text.get(from..self.at).unwrap_or_default());
        self.after_limit = false;
    }

    fn space(&mut self) {
        if !(self.out.is_empty() || self.out.ends_with(' ')) {
            self.out.push(' ');
        }
    }

    /// Goes past a quoted text, whose quote is doubled inside. One that never ends goes to the end.
    fn quoted(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            if escapes && byte == b'\\' {
                self.at += 2;
            } else if byte != quote {
                self.at += 1;
            } else if self.peek(1) == quote {
                self.at += 2;
            } else {
                self.at += 1;
                return;
            }
        }
        self.at = self.bytes.len();
    }

    fn literal(&mut self, from: usize, escapes: bool) {
        self.quoted(b'\'', escapes);
        if self.hide {
            self.hidden();
        } else {
            self.copy(from);
        }
    }

    fn hidden(&mut self) {
        self.out.push('?');
        self.after_limit = false;
    }

    /// `$1`, or `$tag$ … $tag$`.
    fn dollar(&mut self) {
        let from = self.at;
        let mut end = from + 1;
        while self
            .bytes
            .get(end)
            .is_some_and(|b| in_word(*b) && *b != b'$')
        {
            end += 1;
        }
        let is_tag = self.bytes.get(end) == Some(&b'$')
            && !self.bytes.get(from + 1).is_some_and(u8::is_ascii_digit);
        if !is_tag {
            self.at = end;
            return self.copy(from);
        }
        let tag = self.text.get(from..=end).unwrap_or("$$");
        let rest = self.text.get(end + 1..).unwrap_or_default();
        self.at = rest
            .find(tag)
            .map_or(self.bytes.len(), |found| end + 1 + found + tag.len());
        if self.hide {
            self.hidden();
        } else {
            self.copy(from);
        }
    }

    fn line_comment(&mut self) {
        while self.at < self.bytes.len() && self.peek(0) != b'\n' {
            self.at += 1;
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return self.space();
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) {
        let from = self.at;
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            let signed = matches!(byte, b'+' | b'-')
                && self.at > from
                && matches!(self.bytes[self.at - 1], b'e' | b'E');
            if !(in_word(byte) || byte == b'.' || signed) {
                break;
            }
            self.at += 1;
        }
        if self.hide || self.after_limit {
            self.hidden();
        } else {
            self.copy(from);
        }
    }

    fn word(&mut self) {
        let from = self.at;
        while self.at < self.bytes.len() && in_word(self.peek(0)) {
            self.at += 1;
        }
        let word = self.text.get(from..self.at).unwrap_or_default();
        let is = |prefix: &str| word.eq_ignore_ascii_case(prefix);
        if self.peek(0) == b'\'' && (is("e") || is("b") || is("x") || is("n")) {
            return self.literal(from, is("e"));
        }
        if self.peek(0) == b'&' && self.peek(1) == b'\'' && is("u") {
            self.at += 1;
            return self.literal(from, false);
        }
        let limits = is("limit");
        self.copy(from);
        self.after_limit = limits;
    }
}

#[cfg(test)]
mod tests {
    use super::{compiled, user};

    #[test]
    fn a_limit_is_no_part_of_a_compiled_statement() {
        assert_eq!(
            compiled("SELECT data->'LIMIT 5' FROM \"LIMIT 6\" WHERE a1 = $12 LIMIT 101 OFFSET $13"),
            "SELECT data->'LIMIT 5' FROM \"LIMIT 6\" WHERE a1 = $12 LIMIT ? OFFSET $13"
        );
    }

    #[test]
    fn no_literal_is_left_of_the_callers_sql() {
        for (sql, kept) in [
            ("SELECT  1,\n 'a''b', t1.x", "SELECT ?, ?, t1.x"),
            ("SELECT E'a\\'s3cret', 2", "SELECT ?, ?"),
            (
                "SELECT U&'s3\\0061', b'01', X'FF', N'x'",
                "SELECT ?, ?, ?, ?",
            ),
            (
                "SELECT $$s3cret$$, $q$a $$ s3cret$q$, $1",
                "SELECT ?, ?, $1",
            ),
            (
                "SELECT 1 -- s3cret\n, 2 /* s3 /* s3 */ s3 */ , 3",
                "SELECT ? , ? , ?",
            ),
            ("SELECT 1.5e-10, .5, 0xFF, 1_000", "SELECT ?, .?, ?, ?"),
            (
                "SELECT \"a 'b\" , 'never closed s3cret",
                "SELECT \"a 'b\" , ?",
            ),
            (
                "SELECT a$1, \"ü\", ü1 FROM \"x\"\"y\" /* s3",
                "SELECT a$1, \"ü\", ü1 FROM \"x\"\"y\"",
            ),
            (
                "SELECT 'é😀', x FROM é WHERE y = $2",
                "SELECT ?, x FROM é WHERE y = $2",
            ),
        ] {
            assert_eq!(user(sql), kept, "{sql}");
            assert!(!user(sql).contains("s3"));
        }
    }
}

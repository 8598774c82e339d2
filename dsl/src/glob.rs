//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*` and `?`, no classes, nothing crosses a line feed.
//!
//! Knows nothing of variables or paths.

use crate::nfa::{Run, Token};

/// A pattern.
#[derive(Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

/// An escape of a character that needs none; `None` at the end of the pattern.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InvalidEscape(pub Option<char>);

impl Glob {
    /// `\` escapes `*`, `?`, `\` and, for the substitution around it, `}` and `/`.
    pub fn parse(pattern: &str) -> Result<Glob, InvalidEscape> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::ManyBut('\n'),
                '?' => Token::AnyBut('\n'),
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(c),
                    other => return Err(InvalidEscape(other)),
                },
                c => Token::Char(c),
            });
        }
        Ok(Glob { tokens })
    }

    /// `value` without the shortest or longest match at its start.
    pub fn trim_prefix<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let end = extent(&self.tokens, value.chars(), longest).unwrap_or(0);
        &value[end..]
    }

    /// `value` without the shortest or longest match at its end.
    pub fn trim_suffix<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let length = extent(&self.reversed(), value.chars().rev(), longest).unwrap_or(0);
        &value[..value.len() - length]
    }

    /// `value` with its first match replaced by `replacement` as it is.
    pub fn replace_first(&self, value: &str, replacement: &str) -> String {
        match self.find(value, &self.starts(value), 0) {
            Some((start, end)) => [&value[..start], replacement, &value[end..]].concat(),
            None => value.to_owned(),
        }
    }

    /// `value` with all matches replaced, leftmost and longest first, as Go's regular expressions do it: an empty match
    /// right behind a match does not count, and `replacement` is a template, see [`template`]. `None` where the result
    /// would be longer than `max_bytes`.
    pub fn replace_all(&self, value: &str, replacement: &str, max_bytes: usize) -> Option<String> {
        let starts = self.starts(value);
        let mut out = String::with_capacity(value.len());
        let (mut copied, mut from) = (0, 0);
        while let Some((start, end)) = self.find(value, &starts, from) {
            out.push_str(&value[copied..start]);
            if end > copied || start == 0 {
                template(replacement, &value[start..end], &mut out);
                if out.len() > max_bytes {
                    return None;
                }
            }
            copied = end;
            let width = value[from..].chars().next().map_or(0, char::len_utf8);
            from = if from + width > end {
                from + width
            } else if width == 0 {
                break;
            } else {
                end
            };
        }
        out.push_str(&value[copied..]);
        Some(out)
    }

    fn reversed(&self) -> Vec<Token> {
        self.tokens.iter().rev().cloned().collect()
    }

    /// The offsets at which a match starts, descending: one pass of the reversed pattern from the end.
    fn starts(&self, value: &str) -> Vec<usize> {
        let tokens = self.reversed();
        let mut run = Run::idle(&tokens);
        run.restart();
        let mut found = Vec::new();
        if run.accepts() {
            found.push(value.len());
        }
        for (at, c) in value.char_indices().rev() {
            run.step(c);
            run.restart();
            if run.accepts() {
                found.push(at);
            }
        }
        found
    }

    /// The first match from `from` on, the longest of those that start there.
    fn find(&self, value: &str, starts: &[usize], from: usize) -> Option<(usize, usize)> {
        let index = starts.partition_point(|&start| start >= from).checked_sub(1)?;
        let start = *starts.get(index)?;
        extent(&self.tokens, value[start..].chars(), true).map(|length| (start, start + length))
    }
}

/// The length in bytes of the shortest or longest match at the start of `chars`.
fn extent(tokens: &[Token], chars: impl Iterator<Item = char>, longest: bool) -> Option<usize> {
    let mut run = Run::new(tokens);
    let mut best = run.accepts().then_some(0);
    let mut length = 0;
    for c in chars {
        if run.is_dead() || (best.is_some() && !longest) {
            break;
        }
        run.step(c);
        length += c.len_utf8();
        if run.accepts() {
            best = Some(length);
        }
    }
    best
}

/// Appends `text` with `$0` and `${0}` as `matched`, `$$` as `$`, and every other `$name` as nothing: no pattern of ours
/// has groups. A `$` that begins no name stays.
fn template(text: &str, matched: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let body = rest.strip_prefix('{').unwrap_or(rest);
        let length = body.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(body.len());
        let (name, after) = body.split_at(length);
        let after = if body.len() == rest.len() { Some(after) } else { after.strip_prefix('}') };
        match after {
            Some(after) if !name.is_empty() => {
                if name == "0" {
                    out.push_str(matched);
                }
                rest = after;
            }
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_matches_are_replaced_in_linear_time() {
        let value = "a".repeat(60_000);
        let glob = Glob::parse("*x").expect("valid");
        assert_eq!(glob.replace_all(&value, "y", usize::MAX).as_deref(), Some(value.as_str()));
        let glob = Glob::parse("a*a*a*a*a*b").expect("valid");
        assert_eq!(glob.replace_first(&value, "y"), value);
    }

    #[test]
    fn stars_end_at_line_feeds() {
        let glob = Glob::parse("*").expect("valid");
        assert_eq!(glob.replace_all("ab\n\ncd", "x", 5).as_deref(), Some("x\nx\nx"));
        assert_eq!(glob.replace_all("ab\n\ncd", "x", 2), None);
    }
}

//! The machine behind expansion: one loop over the text with an explicit stack of open substitutions.
//!
//! All open substitutions write into one buffer and remember where they began, so an operand that turns out to be the
//! result is already in its place: that is what keeps deep nesting linear.

use super::operator::{self, Operator};
use super::{ExpandError, ExpandErrorKind, Variables};
use std::collections::HashSet;

/// What happens to quotes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Quotes {
    /// They group, and are removed.
    #[default]
    Removed,
    /// They group, and stay.
    Kept,
    /// They are ordinary characters.
    Ordinary,
}

/// How to read.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    pub escape: char,
    pub quotes: Quotes,
    /// Escape characters stay in the result.
    pub raw_escapes: bool,
    /// A substitution of an unset variable stays as it is written.
    pub keep_unset: bool,
    /// Whether to split into words.
    pub split: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Mode { escape: '\\', quotes: Quotes::Removed, raw_escapes: false, keep_unset: false, split: false }
    }
}

#[derive(Default)]
pub(super) struct Lexed {
    pub value: String,
    pub words: Vec<String>,
    pub unset: Vec<String>,
    pub used: Vec<String>,
}

/// What is being read: the text itself or an operand of a substitution.
enum Frame {
    Base,
    /// The word of `${name op word}`.
    Operand {
        name: String,
        operator: Operator,
    },
    /// The pattern of `${name/pattern/…}`.
    Pattern {
        name: String,
        all: bool,
    },
    /// The replacement, behind the pattern at `at` in the output.
    Replacement {
        name: String,
        all: bool,
        at: usize,
    },
}

struct Open {
    frame: Frame,
    /// Where its output begins.
    start: usize,
    /// Offset of its `$` in the text.
    opened: usize,
    raw_escapes: bool,
    /// The open `"`: its offset in the text, and in the output.
    quoted: Option<(usize, usize)>,
}

impl Open {
    fn stop(&self) -> Option<char> {
        match self.frame {
            Frame::Base => None,
            Frame::Pattern { .. } => Some('/'),
            Frame::Operand { .. } | Frame::Replacement { .. } => Some('}'),
        }
    }
}

struct Machine<'t> {
    text: &'t str,
    pos: usize,
    mode: Mode,
    vars: &'t dyn Variables,
    out: String,
    stack: Vec<Open>,
    word: String,
    words: Vec<String>,
    seen: HashSet<String>,
    used: Vec<String>,
    unset: Vec<String>,
}

/// Reads `text` to its end.
pub(super) fn run(text: &str, mode: Mode, vars: &dyn Variables) -> Result<Lexed, ExpandError> {
    let base = Open { frame: Frame::Base, start: 0, opened: 0, raw_escapes: mode.raw_escapes, quoted: None };
    let mut machine = Machine {
        text,
        pos: 0,
        mode,
        vars,
        out: String::with_capacity(text.len()),
        stack: Vec::new(),
        word: String::new(),
        words: Vec::new(),
        seen: HashSet::new(),
        used: Vec::new(),
        unset: Vec::new(),
    };
    machine.run(base)?;
    machine.end_word();
    Ok(Lexed { value: machine.out, words: machine.words, unset: machine.unset, used: machine.used })
}

impl<'t> Machine<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn fail<T>(&self, kind: ExpandErrorKind, from: usize) -> Result<T, ExpandError> {
        Err(ExpandError { kind, range: from..self.pos })
    }

    /// The loop. `top` is the innermost open substitution; the ones around it are on the stack.
    fn run(&mut self, mut top: Open) -> Result<(), ExpandError> {
        loop {
            let mark = self.out.len();
            if top.quoted.is_none() && !self.mode.split {
                self.plain(&top);
            }
            let Some(c) = self.next() else {
                return match (top.quoted, top.stop()) {
                    (_, Some(stop)) => self.fail(ExpandErrorKind::Unterminated(stop), top.opened),
                    (Some((quote, _)), None) => self.fail(ExpandErrorKind::UnterminatedQuote('"'), quote),
                    (None, None) => Ok(()),
                };
            };
            if let Some((_, quote_mark)) = top.quoted {
                match c {
                    '"' => {
                        if self.mode.quotes == Quotes::Kept {
                            self.out.push('"');
                        }
                        top.quoted = None;
                        self.emit_quoted(&top, quote_mark);
                    }
                    '$' => self.dollar(&mut top, self.pos - 1)?,
                    c if c == self.mode.escape => self.escape_in_quotes(top.raw_escapes),
                    c => self.out.push(c),
                }
                continue;
            }
            match c {
                c if Some(c) == top.stop() => self.close(&mut top)?,
                '$' => self.dollar(&mut top, self.pos - 1)?,
                '\'' if self.mode.quotes != Quotes::Ordinary => {
                    self.single_quoted()?;
                    self.emit_quoted(&top, mark);
                }
                '"' if self.mode.quotes != Quotes::Ordinary => {
                    top.quoted = Some((self.pos - 1, mark));
                    if self.mode.quotes == Quotes::Kept {
                        self.out.push('"');
                    }
                }
                '<' => self.heredoc_blanks(&top),
                c if c == self.mode.escape => {
                    if top.raw_escapes {
                        self.out.push(c);
                    }
                    self.out.extend(self.peek());
                    let _ = self.next();
                    self.emit_quoted(&top, mark);
                }
                c if self.mode.split && matches!(top.frame, Frame::Base) => self.split_at(c),
                c => self.out.push(c),
            }
        }
    }

    /// Copies what holds no special character, as a whole.
    fn plain(&mut self, top: &Open) {
        let rest = &self.text.as_bytes()[self.pos..];
        let escape = self.mode.escape;
        let stop = top.stop();
        let special =
            |b: u8| matches!(b, b'$' | b'\'' | b'"') || char::from(b) == escape || stop == Some(char::from(b));
        // Every special character is ASCII, so the cut is at a boundary of characters.
        let length = rest.iter().position(|&b| b.is_ascii() && special(b)).unwrap_or(rest.len());
        self.out.push_str(&self.text[self.pos..self.pos + length]);
        self.pos += length;
    }

    /// Blanks behind `<<` belong to the word: `<< EOF` is one head.
    fn heredoc_blanks(&mut self, top: &Open) {
        let mark = self.out.len();
        self.out.push('<');
        if self.peek() == Some('<') {
            self.out.extend(self.peek());
            let _ = self.next();
            while let Some(c @ ('\t' | '\r' | ' ')) = self.peek() {
                self.out.push(c);
                let _ = self.next();
            }
        }
        self.emit_quoted(top, mark);
    }

    fn single_quoted(&mut self) -> Result<(), ExpandError> {
        let open = self.pos - 1;
        let rest = &self.text[self.pos..];
        let Some(length) = rest.find('\'') else {
            self.pos = self.text.len();
            return self.fail(ExpandErrorKind::UnterminatedQuote('\''), open);
        };
        self.pos += length + 1;
        let kept = self.mode.quotes == Quotes::Kept;
        self.out.push_str(if kept { &self.text[open..self.pos] } else { &rest[..length] });
        Ok(())
    }

    /// Within `"`, the escape character escapes only `"`, `$` and itself.
    fn escape_in_quotes(&mut self, raw: bool) {
        let escape = self.mode.escape;
        if raw {
            self.out.push(escape);
        }
        match self.peek() {
            None => {}
            Some(c) if matches!(c, '"' | '$') || c == escape => {
                self.out.push(c);
                let _ = self.next();
            }
            Some(_) => self.out.push(escape),
        }
    }

    /// What stands behind a `$`; a substitution with an operand becomes the new top.
    fn dollar(&mut self, top: &mut Open, opened: usize) -> Result<(), ExpandError> {
        let mark = self.out.len();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                self.out.push('$');
            } else {
                self.value_of(name, opened)?;
            }
            self.emit_value(top, mark);
            return Ok(());
        }
        let _ = self.next();
        match self.peek() {
            None => return self.fail(ExpandErrorKind::Unterminated('}'), opened),
            Some('{' | '}' | ':') => {
                let _ = self.next();
                return self.fail(ExpandErrorKind::BadSubstitution, opened);
            }
            Some(_) => {}
        }
        let name = self.name();
        let modifier = self.pos;
        let frame = match self.next() {
            Some('}') => {
                self.value_of(name, opened)?;
                self.emit_value(top, mark);
                return Ok(());
            }
            Some('/') => {
                let all = self.peek() == Some('/');
                if all {
                    let _ = self.next();
                }
                Frame::Pattern { name: name.to_owned(), all }
            }
            None => return self.fail(ExpandErrorKind::Unterminated('}'), opened),
            Some(first) => {
                let second = if first == ':' { self.next() } else { Some(first) };
                let Some(operator) = second.and_then(|c| Operator::new(c, first == ':')) else {
                    let text = self.text[modifier..self.pos].to_owned();
                    return self.fail(ExpandErrorKind::UnsupportedModifier(text), opened);
                };
                Frame::Operand { name: name.to_owned(), operator }
            }
        };
        let raw_escapes = match &frame {
            Frame::Operand { operator, .. } => operator.takes_pattern(),
            _ => true,
        };
        let start = self.out.len();
        if self.mode.keep_unset && self.vars.get(name).is_none() {
            self.out.push_str(&self.text[opened..self.pos]);
        }
        let outer = std::mem::replace(top, Open { frame, start, opened, raw_escapes, quoted: None });
        self.stack.push(outer);
        Ok(())
    }

    /// The name at the position: letters, digits and `_`, a number, or one special parameter; perhaps empty.
    fn name(&mut self) -> &'t str {
        let rest = &self.text[self.pos..];
        let end = |text: &str, part: fn(char) -> bool| text.find(|c: char| !part(c)).unwrap_or(text.len());
        let length = match rest.chars().next() {
            Some(c) if c.is_numeric() => end(rest, char::is_numeric),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => end(rest, |c| c.is_alphanumeric() || c == '_'),
        };
        self.pos += length;
        &rest[..length]
    }

    fn look_up(&mut self, name: &str) -> Option<&'t str> {
        let value = self.vars.get(name);
        if !self.seen.contains(name) {
            self.seen.insert(name.to_owned());
            self.used.push(name.to_owned());
            if value.is_none() {
                self.unset.push(name.to_owned());
            }
        }
        value
    }

    /// Puts out the value of the variable that was written from `opened` on.
    fn value_of(&mut self, name: &str, opened: usize) -> Result<(), ExpandError> {
        match self.look_up(name) {
            Some(value) => self.out.push_str(value),
            None if self.mode.keep_unset => self.out.push_str(&self.text[opened..self.pos]),
            None => {}
        }
        if self.out.len() > super::MAX_EXPANDED_BYTES { self.fail(ExpandErrorKind::TooLong, opened) } else { Ok(()) }
    }

    /// Ends the innermost substitution (or its pattern) and leaves its result in the output.
    fn close(&mut self, top: &mut Open) -> Result<(), ExpandError> {
        if let Frame::Pattern { name, all } = &mut top.frame {
            let (name, all) = (std::mem::take(name), *all);
            if self.mode.keep_unset && self.vars.get(&name).is_none() {
                self.out.push('/');
            }
            top.frame = Frame::Replacement { name, all, at: self.out.len() };
            return Ok(());
        }
        let outer = self.stack.pop();
        let Some(outer) = outer else { return Ok(()) };
        let done = std::mem::replace(top, outer);
        let (name, kept) = match &done.frame {
            Frame::Operand { name, .. } | Frame::Replacement { name, .. } => (name, self.mode.keep_unset),
            Frame::Base | Frame::Pattern { .. } => return Ok(()),
        };
        let value = self.look_up(name);
        let result = match &done.frame {
            _ if kept && value.is_none() => {
                self.out.push('}');
                Ok(())
            }
            Frame::Operand { name, operator } => operator::apply(*operator, name, value, &mut self.out, done.start),
            Frame::Replacement { all, at, .. } => operator::replace(value, *all, &mut self.out, done.start, *at),
            Frame::Base | Frame::Pattern { .. } => Ok(()),
        };
        if let Err(kind) = result {
            return self.fail(kind, done.opened);
        }
        if self.out.len() > super::MAX_EXPANDED_BYTES {
            return self.fail(ExpandErrorKind::TooLong, done.opened);
        }
        self.emit_value(top, done.start);
        Ok(())
    }

    /// The output from `mark` on is the value of a substitution: it is split unless quoted.
    fn emit_value(&mut self, top: &Open, mark: usize) {
        if top.quoted.is_none() {
            self.emit_split(top, mark);
        }
    }

    fn emit_split(&mut self, top: &Open, mark: usize) {
        if !self.mode.split || !matches!(top.frame, Frame::Base) {
            return;
        }
        let new = self.out.split_off(mark);
        for c in new.chars() {
            self.split_at(c);
        }
    }

    /// White space ends a word, everything else goes on with it.
    fn split_at(&mut self, c: char) {
        if c.is_whitespace() {
            self.end_word();
        } else {
            self.word.push(c);
        }
    }

    fn emit_quoted(&mut self, top: &Open, mark: usize) {
        if self.mode.split && matches!(top.frame, Frame::Base) {
            self.word.push_str(&self.out[mark..]);
            self.out.truncate(mark);
        }
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

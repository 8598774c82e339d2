//! Physical lines to logical lines: directives, comments, continuations, and the bodies of heredocs on request.
//!
//! Owns every rule about line ends. Knows nothing of instructions; whoever asks for a logical line decides whether
//! a heredoc follows it. One pass, byte slices of the source wherever a logical line is one physical line.

use crate::ast::{Directives, Word};
use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::extended;
use crate::span::{Span, Spanned};
use std::borrow::Cow;

/// The longest line in bytes that BuildKit's scanner takes, its line feed not counted.
const MAX_LINE_BYTES: usize = 65_535;

/// A logical line: its continuations joined, comments and empty lines within it dropped.
pub(crate) struct Logical<'a> {
    pub text: Cow<'a, str>,
    pub map: SourceMap,
    /// Both counted from 1.
    pub first_line: u32,
    pub last_line: u32,
    /// The whole of it in the source, from its first byte that is no blank.
    pub span: Span,
    pub comments: Vec<Word>,
    /// The lines of the extended language above it.
    pub extended: Vec<extended::Line>,
    /// A line of it was longer than allowed; already reported.
    pub too_long: bool,
}

/// Where the bytes of a logical line stand in the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceMap {
    /// `(offset in the logical line, offset in the source)` of each piece, ascending.
    pieces: Vec<(usize, usize)>,
}

impl SourceMap {
    /// The map of a piece of text that stands at `source`, byte by byte.
    pub fn verbatim(source: usize) -> Self {
        SourceMap { pieces: vec![(0, source)] }
    }

    /// The map of the logical line from `start` on.
    pub fn behind(&self, start: usize) -> Self {
        let later = self.pieces.iter().filter(|&&(at, _)| at > start).map(|&(at, source)| (at - start, source));
        SourceMap { pieces: std::iter::once((0, self.locate(start))).chain(later).collect() }
    }

    /// Goes on at `source` from `offset` on.
    fn push(&mut self, offset: usize, source: usize) {
        match self.pieces.last_mut() {
            // The piece before was empty, so its place is the new one's.
            Some(last) if last.0 >= offset => *last = (offset, source),
            _ => self.pieces.push((offset, source)),
        }
    }

    /// The offset in the source of the byte at `offset`.
    fn locate(&self, offset: usize) -> usize {
        let index = self.pieces.partition_point(|&(start, _)| start <= offset).saturating_sub(1);
        self.pieces.get(index).map_or(0, |&(start, source)| source + (offset - start))
    }

    /// The span in the source of the range of the logical line.
    pub fn span(&self, start: usize, end: usize) -> Span {
        let from = self.locate(start);
        // The end is behind the last byte, which may stand in an earlier piece than the next one.
        Span::new(from, if end > start { self.locate(end - 1) + 1 } else { from })
    }
}

/// Where the extended language begins in a comment: behind `#`, blanks and `kiln:`.
fn extension(comment: &str) -> Option<usize> {
    let body = comment.get(1..)?.trim_start_matches([' ', '\t']);
    let rest = body.strip_prefix("kiln:")?;
    Some(comment.len() - rest.len())
}

/// A physical line without its line end.
struct Physical<'a> {
    text: &'a str,
    start: usize,
    /// Offset behind the line feed.
    next: usize,
}

/// The reader of one source text.
pub(crate) struct Lexer<'a> {
    source: &'a str,
    pos: usize,
    /// Lines read so far.
    line: u32,
    in_directives: bool,
    escape_written: bool,
    comments: Vec<Word>,
    extended: Vec<extended::Line>,
    /// Whether the last line of the extended language goes on in the next comment.
    is_open: bool,
    pub directives: Directives,
    pub diagnostics: Vec<Diagnostic>,
}

/// The body of a heredoc, as written.
pub(crate) struct Body {
    pub content: String,
    pub span: Span,
    pub terminated: bool,
}

impl<'a> Lexer<'a> {
    /// The reader of `source` from `start` on, a whole file.
    pub fn new(source: &'a str, start: usize) -> Self {
        let mark = if source[start..].starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer {
            source,
            pos: start + mark,
            line: 0,
            in_directives: true,
            escape_written: false,
            comments: Vec::new(),
            extended: Vec::new(),
            is_open: false,
            directives: Directives { syntax: None, escape: '\\', check: None },
            diagnostics: Vec::new(),
        }
    }

    /// The reader of `source` from `start` on, a part of a file: `lines` stand before it, and its escape character is known.
    pub fn of_part(source: &'a str, start: usize, lines: u32, escape: char) -> Self {
        let mut lexer = Lexer::new(source, start);
        (lexer.pos, lexer.line, lexer.in_directives) = (start, lines, false);
        lexer.directives.escape = escape;
        lexer
    }

    /// Offset behind the last line read, its line end counted.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Lines read so far.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Offset behind the last line read, its line end not counted.
    pub fn end_of_last_line(&self) -> usize {
        self.source[..self.pos].trim_end_matches(['\r', '\n']).len()
    }

    fn physical(&mut self) -> Option<Physical<'a>> {
        let rest = &self.source[self.pos..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').unwrap_or(rest.len());
        let start = self.pos;
        self.pos = (start + length + 1).min(self.source.len());
        self.line += 1;
        // Only the carriage returns right before the line feed belong to the line end.
        Some(Physical { text: rest[..length].trim_end_matches('\r'), start, next: self.pos })
    }

    /// Reports a line that is too long.
    fn check_length(&mut self, line: &Physical<'_>) -> bool {
        let too_long = line.next - line.start > MAX_LINE_BYTES + 1 || line.text.len() > MAX_LINE_BYTES;
        if too_long {
            let span = Span::new(line.start, line.start + line.text.len());
            let message = format!("dockerfile line greater than max allowed size of {MAX_LINE_BYTES}");
            let help = "continue it on the next line, or put the text into a file";
            self.diagnostics.push(Diagnostic::error("LineTooLong", span, message).with_help(help));
        }
        too_long
    }

    /// The next logical line that is not empty; the comments before it are gathered on the way.
    pub fn logical(&mut self) -> Option<Logical<'a>> {
        loop {
            let line = self.physical()?;
            let too_long = self.check_length(&line);
            let text = line.text.trim_start();
            let start = line.start + (line.text.len() - text.len());
            if self.in_directives {
                self.in_directives = self.directive(text, start);
                if self.in_directives {
                    continue;
                }
            }
            if text.starts_with('#') {
                self.comment(text, start);
                continue;
            }
            self.close_extension();
            match self.without_continuation(text) {
                None if text.is_empty() => {}
                None => {
                    let span = Span::new(start, start + text.len());
                    return Some(Logical {
                        text: Cow::Borrowed(text),
                        map: SourceMap::verbatim(start),
                        first_line: self.line,
                        last_line: self.line,
                        span,
                        comments: std::mem::take(&mut self.comments),
                        extended: std::mem::take(&mut self.extended),
                        too_long,
                    });
                }
                Some(head) => return Some(self.continued(head, start, too_long)),
            }
        }
    }

    /// The logical line that begins with `head` and goes on in the next line.
    fn continued(&mut self, head: &str, start: usize, mut too_long: bool) -> Logical<'a> {
        let first_line = self.line;
        let mut text = head.to_owned();
        let mut map = SourceMap::verbatim(start);
        let mut empty: Option<Span> = None;
        while let Some(line) = self.physical() {
            too_long |= self.check_length(&line);
            let trimmed = line.text.trim_start();
            if trimmed.starts_with('#') {
                if extension(trimmed).is_some() {
                    let at = line.start + (line.text.len() - trimmed.len());
                    let span = Span::new(at, at + trimmed.trim_end().len());
                    let message = "a # kiln: comment within an instruction is not read";
                    self.diagnostics.push(
                        Diagnostic::error("MisplacedExtension", span, message)
                            .with_help("move it above the instruction"),
                    );
                }
                continue;
            }
            if trimmed.is_empty() {
                empty.get_or_insert(Span::new(line.start, line.start + line.text.len()));
                continue;
            }
            let piece = self.without_continuation(line.text);
            map.push(text.len(), line.start);
            text.push_str(piece.unwrap_or(line.text));
            if piece.is_none() {
                break;
            }
        }
        if let Some(span) = empty {
            let message = "Empty continuation line";
            self.diagnostics.push(
                Diagnostic::warning("NoEmptyContinuation", span, message)
                    .with_help("remove the empty line, or write `#` in it; a later Docker will refuse it"),
            );
        }
        Logical {
            text: Cow::Owned(text),
            map,
            first_line,
            last_line: self.line,
            span: Span::new(start, self.end_of_last_line()),
            comments: std::mem::take(&mut self.comments),
            extended: std::mem::take(&mut self.extended),
            too_long,
        }
    }

    /// The lines of the extended language behind the last instruction, once all is read.
    pub fn trailing(&mut self) -> Vec<extended::Line> {
        self.close_extension();
        std::mem::take(&mut self.extended)
    }

    /// The line without the escape character that continues it; `None` if it ends here.
    ///
    /// An escape character that another one precedes continues nothing, however many there are.
    fn without_continuation<'t>(&self, line: &'t str) -> Option<&'t str> {
        let escape = self.directives.escape;
        let head = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
        (!head.ends_with(escape)).then_some(head)
    }

    /// Keeps a comment for the instruction below; an empty one parts what stands above from it.
    fn comment(&mut self, text: &str, start: usize) {
        if self.is_open {
            return self.continue_extension(text, start);
        }
        if let Some(offset) = extension(text) {
            return self.begin_extension(text, start, offset);
        }
        let body = text[1..].trim();
        if body.is_empty() {
            self.comments.clear();
        } else {
            let at = start + text.trim_end().len() - body.len();
            self.comments.push(Spanned::new(body.to_owned(), Span::new(at, at + body.len())));
        }
    }

    /// Begins a line of the extended language, whose text begins at `offset` in the comment.
    fn begin_extension(&mut self, text: &str, start: usize, offset: usize) {
        let body = text[offset..].trim_end();
        let head = self.without_continuation(body);
        self.is_open = head.is_some();
        self.extended.push(extended::Line {
            text: head.unwrap_or(body).to_owned(),
            map: SourceMap::verbatim(start + offset),
            span: Span::new(start, start + text.trim_end().len()),
            comments: self.comments.clone(),
            lines: (self.line, self.line),
            body: None,
        });
    }

    /// Goes on with the last line of the extended language; `# kiln:` may be repeated.
    fn continue_extension(&mut self, text: &str, start: usize) {
        let offset = extension(text).unwrap_or(1);
        let body = text[offset..].trim_end();
        let head = self.without_continuation(body);
        self.is_open = head.is_some();
        if let Some(line) = self.extended.last_mut() {
            line.map.push(line.text.len(), start + offset);
            line.text.push_str(head.unwrap_or(body));
            line.span.end = Span::new(start + text.trim_end().len(), 0).start;
        }
    }

    /// A line of the extended language that goes on needs a comment to go on in.
    fn close_extension(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        if let Some(line) = self.extended.last() {
            let escape = self.directives.escape;
            let message = format!("the {escape} at the end of this line continues nothing: no comment follows");
            let help = format!("remove the {escape}, or begin the next line with #");
            self.diagnostics.push(Diagnostic::error("MisplacedExtension", line.span, message).with_help(help));
        }
    }

    /// Takes `text` as a directive; `false` if it is none, which ends their zone.
    fn directive(&mut self, text: &str, start: usize) -> bool {
        let Some(found) = directive::read(text, "#") else { return false };
        let at = start + found.offset;
        let span = Span::new(at, at + found.value.len());
        let value = Spanned::new(found.value.to_owned(), span);
        let keep = |slot: &mut Option<Word>| {
            let repeated = slot.is_some();
            slot.get_or_insert_with(|| value);
            repeated
        };
        let repeated = match found.kind {
            directive::Kind::Syntax => keep(&mut self.directives.syntax),
            directive::Kind::Check => keep(&mut self.directives.check),
            directive::Kind::Escape if self.escape_written => true,
            directive::Kind::Escape => {
                self.escape_written = true;
                match found.value {
                    "\\" => self.directives.escape = '\\',
                    "`" => self.directives.escape = '`',
                    other => self.diagnostics.push(Diagnostic::error(
                        "InvalidEscape",
                        span,
                        format!("invalid escape token '{other}' does not match ` or \\"),
                    )),
                }
                false
            }
        };
        if repeated {
            let message = format!("only one {} parser directive can be used", found.name);
            self.diagnostics.push(Diagnostic::error("DuplicateDirective", span, message));
        }
        true
    }

    /// Reads lines up to and including `terminator`; to the end of the file if there is none.
    pub fn heredoc_body(&mut self, terminator: &str, chomp: bool) -> Body {
        let start = self.pos;
        while let Some(line) = self.physical() {
            self.check_length(&line);
            let candidate = if chomp { line.text.trim_start_matches('\t') } else { line.text };
            if candidate == terminator {
                let content = self.source[start..line.start].to_owned();
                return Body { content, span: Span::new(start, line.start), terminated: true };
            }
        }
        Body { content: self.source[start..].to_owned(), span: Span::new(start, self.source.len()), terminated: false }
    }
}

//! Logical lines to nodes: what BuildKit's parser reports of a file, before any instruction's own rules.
//!
//! Accepts what BuildKit's parser accepts, unknown instructions included; the typed layer in [`crate::parser`] judges
//! them. Reads on after an error and leaves the faulty instruction out.

use crate::ast::{Directives, Heredoc, Word};
use crate::diagnostic::Diagnostic;
use crate::extended::{self, Dialect};
use crate::heredoc;
use crate::json::{self, Array};
use crate::keyword::Keyword;
use crate::lexer::{Lexer, Logical, SourceMap};
use crate::span::{Span, Spanned};
use crate::split::{self, Piece};
use std::ops::Range;

/// An instruction by the rules of lines alone.
#[derive(Debug)]
pub(crate) struct Node {
    /// From the keyword to the end of the last line.
    pub span: Span,
    pub first_line: u32,
    pub last_line: u32,
    pub keyword: Word,
    /// `None` for an unknown instruction.
    pub kind: Option<Keyword>,
    pub original: String,
    pub flags: Vec<Word>,
    pub values: Vec<Word>,
    pub json: bool,
    /// Text behind the JSON array, which counts for nothing.
    pub behind_array: Option<Span>,
    /// `ENV key value`, without `=`.
    pub legacy: bool,
    /// What ONBUILD holds.
    pub trigger: Option<Box<Node>>,
    /// Bodies as written, tabs not yet stripped.
    pub heredocs: Vec<Heredoc>,
    pub comments: Vec<Word>,
    /// The lines of the extended language above it, and its own flags of that language.
    pub extended: Vec<extended::Line>,
}

/// A file as nodes.
pub(crate) struct Nodes {
    pub nodes: Vec<Node>,
    pub directives: Directives,
    pub diagnostics: Vec<Diagnostic>,
    /// The lines of the extended language behind the last node.
    pub trailing: Vec<extended::Line>,
    /// Whether an instruction was left out.
    pub incomplete: bool,
}

/// What of a source is read.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// All of it from here on: a whole file.
    File(usize),
    /// All of it from here on: a part of a file before which so many lines stand, with this escape character.
    Body(usize, u32, char),
}

/// Reads a whole file.
pub(crate) fn read(source: &str, dialect: Dialect) -> Nodes {
    read_part(source, Part::File(0), dialect)
}

/// Reads a part of a source. Spans count in the source.
pub(crate) fn read_part(source: &str, part: Part, dialect: Dialect) -> Nodes {
    let mut lexer = match part {
        Part::File(start) => Lexer::new(source, start),
        Part::Body(start, lines, escape) => Lexer::of_part(source, start, lines, escape),
    };
    let mut nodes: Vec<Node> = Vec::new();
    let mut incomplete = false;
    // Lines of the extended language whose instruction is still to come.
    let mut above: Vec<extended::Line> = Vec::new();
    while let Some(mut line) = lexer.logical() {
        above.append(&mut line.extended);
        if dialect == Dialect::Kiln
            && let Some(keyword) = begins_extension(&line.text)
        {
            let body = (keyword == extended::Keyword::Def).then(|| definition(&mut lexer, &line));
            let Logical { text, map, span, comments, first_line, last_line, .. } = line;
            let lines = (first_line, last_line);
            above.push(extended::Line { text: text.into_owned(), map, span, comments, lines, body });
            continue;
        }
        let escape = lexer.directives.escape;
        let reader = LineReader { text: &line.text, map: &line.map, escape, dialect };
        let read = reader.node(0..line.text.len(), false);
        let takes_heredocs = match &read {
            Ok(node) => takes_heredocs(node) && line.text.contains("<<"),
            Err(_) => false,
        };
        match read {
            Err(diagnostic) => {
                lexer.diagnostics.push(diagnostic);
                incomplete = true;
                // Flags of an instruction that is left out are not the next one's.
                above.retain(|line| !line.is_flags());
            }
            Ok(_) if line.too_long => {
                incomplete = true;
                above.retain(|line| !line.is_flags());
            }
            Ok(mut node) => {
                if takes_heredocs && !bodies(&mut lexer, &line, &mut node) {
                    incomplete = true;
                    above.retain(|line| !line.is_flags());
                    continue;
                }
                above.append(&mut node.extended);
                node.extended = std::mem::take(&mut above);
                node.span = Span { start: node.span.start, end: line.span.end.max(node.span.end) };
                if !node.heredocs.is_empty() {
                    node.span.end = Span::new(lexer.end_of_last_line(), 0).start;
                }
                node.first_line = line.first_line;
                node.last_line = lexer.line().max(line.last_line);
                node.comments = line.comments;
                nodes.push(node);
            }
        }
    }
    above.append(&mut lexer.trailing());
    let takes_text = |line: &extended::Line| {
        let keyword = begins_extension(&line.text);
        matches!(keyword, Some(extended::Keyword::Include | extended::Keyword::Use))
    };
    // What is read for another file may have definitions only, and a file may have all its instructions from others.
    let is_main = matches!(part, Part::File(0));
    if nodes.is_empty() && !incomplete && is_main && !above.iter().any(takes_text) {
        let message = if source.trim_start_matches('\u{feff}').trim().is_empty() {
            "the Dockerfile cannot be empty"
        } else {
            "file with no instructions"
        };
        let help = "a Dockerfile needs at least one FROM";
        lexer.diagnostics.push(Diagnostic::error("EmptyFile", Span::new(0, source.len()), message).with_help(help));
    }
    let Lexer { directives, diagnostics, .. } = lexer;
    Nodes { nodes, directives, diagnostics, trailing: above, incomplete }
}

/// The instruction of the extended language that a line is.
fn begins_extension(line: &str) -> Option<extended::Keyword> {
    line.split_whitespace().next().and_then(extended::Keyword::parse)
}

/// Takes the lines between a DEF and its END. They are read each time they are used, with the parameters replaced; here
/// only what ends them is looked for, and what they may not hold.
fn definition(lexer: &mut Lexer<'_>, def: &Logical<'_>) -> extended::Body {
    let (start, lines, told) = (lexer.position(), lexer.line(), lexer.diagnostics.len());
    let mut body = extended::Body { start, end: start, lines, nodes: Vec::new(), extended: Vec::new() };
    let mut depth = 1_usize;
    while let Some(mut line) = lexer.logical() {
        let mut inner = std::mem::take(&mut line.extended);
        let bare = begins_extension(&line.text);
        let is_bare = bare.is_some();
        let span = line.span;
        if is_bare {
            let text = line.text.clone().into_owned();
            let map = line.map.clone();
            inner.push(extended::Line { text, map, span, comments: Vec::new(), lines: (0, 0), body: None });
        }
        for one in inner {
            match begins_extension(&one.text) {
                Some(extended::Keyword::If | extended::Keyword::Def) => depth += 1,
                Some(extended::Keyword::End) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                // What is wrong with the lines is told where they are used.
                lexer.diagnostics.truncate(told);
                body.end = one.span.start as usize;
                return body;
            }
            body.extended.push(one);
        }
        if is_bare {
            continue;
        }
        let reader =
            LineReader { text: &line.text, map: &line.map, escape: lexer.directives.escape, dialect: Dialect::Kiln };
        let Ok(mut node) = reader.node(0..line.text.len(), false) else { continue };
        if takes_heredocs(&node) && line.text.contains("<<") && !bodies(lexer, &line, &mut node) {
            break;
        }
        body.nodes.push(node);
    }
    body.end = lexer.position();
    let error = Diagnostic::error("UnbalancedBranch", def.span, "there is no END for this DEF");
    lexer.diagnostics.push(error.with_help("write END behind its last instruction"));
    body
}

/// Whether heredocs may follow the node.
fn takes_heredocs(node: &Node) -> bool {
    let inner = node.trigger.as_deref().unwrap_or(node);
    inner.kind.is_some_and(Keyword::takes_heredocs) && !inner.json
}

/// Reads the bodies of the heredocs that `line` announces; `false` if one does not end.
fn bodies(lexer: &mut Lexer<'_>, line: &Logical<'_>, node: &mut Node) -> bool {
    for head in heredoc::in_line(&line.text) {
        let body = lexer.heredoc_body(&head.name, head.chomp);
        if !body.terminated {
            let message = format!("unterminated heredoc: no line holds only '{}'", head.name);
            let mut error = Diagnostic::error("UnterminatedHeredoc", line.span, message);
            if let Some(at) = near_miss(&body.content, &head.name) {
                let start = body.span.start as usize + at;
                error = error
                    .with_related(Span::new(start, start + head.name.len()), "this line holds more than the word")
                    .with_help("the word that ends a heredoc stands alone on its line, without blanks");
            }
            lexer.diagnostics.push(error);
            return false;
        }
        node.heredocs.push(Heredoc {
            name: head.name,
            descriptor: head.descriptor,
            expand: head.expand,
            chomp: head.chomp,
            content: body.content,
            span: body.span,
        });
    }
    true
}

/// The place of a line that would end the heredoc but for its blanks.
fn near_miss(content: &str, name: &str) -> Option<usize> {
    let mut at = 0;
    for line in content.split_inclusive('\n') {
        if line.trim() == name {
            return Some(at + line.len() - line.trim_start().len());
        }
        at += line.len();
    }
    None
}

fn is_ascii_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Whether an array and what follows it are a shell's test: `[ "$X" ] && make`.
///
/// BuildKit dropped the text behind an array up to 0.14 and takes the whole for a shell form since. Each of the two
/// makes nonsense of what was written for the other; only a test with an operator behind it can run as a shell form.
fn is_shell_test(array: &str, rest: &str) -> bool {
    let inner = array.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or_default();
    inner.starts_with(is_ascii_blank)
        && inner.ends_with(is_ascii_blank)
        && !inner.trim().is_empty()
        && (rest.starts_with(['&', '|', ';']))
}

/// What is needed to make nodes of a logical line.
struct LineReader<'l> {
    text: &'l str,
    map: &'l SourceMap,
    escape: char,
    dialect: Dialect,
}

impl LineReader<'_> {
    fn word(&self, (text, range): Piece) -> Word {
        Spanned::new(text, self.map.span(range.start, range.end))
    }

    fn error(&self, code: &'static str, range: &Range<usize>, message: String) -> Diagnostic {
        Diagnostic::error(code, self.map.span(range.start, range.end), message)
    }

    /// The node of the instruction in `range`. `nested` says that it is a trigger already: the trigger of a trigger is
    /// never allowed, so it is not read, and no file can make this recurse further.
    fn node(&self, range: Range<usize>, nested: bool) -> Result<Node, Diagnostic> {
        let (keyword, rest) = split::keyword(self.text, range.clone());
        let mut extended = Vec::new();
        let mut take_extended = |at: usize| {
            let length = extended::flag_length(&self.text[at..]).filter(|_| self.dialect == Dialect::Kiln)?;
            let text = self.text[at..at + length].to_owned();
            let (map, span) = (self.map.behind(at), self.map.span(at, at + length));
            extended.push(extended::Line { text, map, span, comments: Vec::new(), lines: (0, 0), body: None });
            Some(at + length)
        };
        let (flags, args) = split::flags(self.text, rest, self.escape, &mut take_extended);
        let keyword_text = self.text[keyword.clone()].to_owned();
        let kind = Keyword::parse(&keyword_text);
        let mut node = Node {
            span: self.map.span(range.start, range.end),
            first_line: 0,
            last_line: 0,
            keyword: self.word((keyword_text, keyword)),
            kind,
            original: self.text[range].to_owned(),
            flags: flags.into_iter().map(|flag| self.word(flag)).collect(),
            values: Vec::new(),
            json: false,
            behind_array: None,
            legacy: false,
            trigger: None,
            heredocs: Vec::new(),
            comments: Vec::new(),
            extended,
        };
        let Some(kind) = kind else {
            node.values = vec![self.word((String::new(), args.start..args.start))];
            return Ok(node);
        };
        match kind {
            Keyword::Add | Keyword::Copy | Keyword::Volume => {
                if !self.json(&mut node, &args)? {
                    self.words(&mut node, split::blank_delimited(self.text, args));
                }
            }
            Keyword::Cmd | Keyword::Entrypoint | Keyword::Run | Keyword::Shell => {
                if !self.json(&mut node, &args)? {
                    self.whole(&mut node, args);
                }
            }
            Keyword::Healthcheck => {
                let text = &self.text[args.clone()];
                // Only the blanks of ASCII part the type from its command.
                let end = text.find(is_ascii_blank).unwrap_or(text.len());
                let command = args.end - text[end..].trim_start_matches(is_ascii_blank).len()..args.end;
                self.whole(&mut node, args.start..args.start + end);
                if !self.json(&mut node, &command)? {
                    self.whole(&mut node, command);
                }
            }
            Keyword::Expose | Keyword::From => self.words(&mut node, split::blank_delimited(self.text, args)),
            Keyword::Maintainer | Keyword::StopSignal | Keyword::User | Keyword::Workdir => self.whole(&mut node, args),
            Keyword::Arg => self.words(&mut node, split::quoted(self.text, args, self.escape)),
            Keyword::Env | Keyword::Label => self.assignments(&mut node, kind, args)?,
            Keyword::OnBuild if args.is_empty() => {}
            Keyword::OnBuild if nested => node.values = vec![self.word((String::new(), args.start..args.start))],
            Keyword::OnBuild => node.trigger = Some(Box::new(self.node(args, true)?)),
        }
        Ok(node)
    }

    fn words(&self, node: &mut Node, pieces: Vec<Piece>) {
        node.values.extend(pieces.into_iter().map(|piece| self.word(piece)));
    }

    /// The whole of the arguments as one value, if there are any.
    fn whole(&self, node: &mut Node, args: Range<usize>) {
        if !args.is_empty() {
            node.values.push(self.word((self.text[args.clone()].to_owned(), args)));
        }
    }

    /// Takes the arguments as a JSON array; `false` if they are none.
    fn json(&self, node: &mut Node, args: &Range<usize>) -> Result<bool, Diagnostic> {
        match json::array(&self.text[args.clone()]) {
            Array::NotJson => Ok(false),
            Array::NotStrings => {
                let message = "when using JSON array syntax, arrays must be comprised of strings only";
                Err(self
                    .error("JsonNotStrings", args, message.to_owned())
                    .with_help("put each item in double quotes, or write the command without brackets"))
            }
            Array::Strings(items, end) => {
                let rest = split::trimmed(self.text, args.start + end..args.end);
                if !rest.is_empty() {
                    if is_shell_test(&self.text[args.start..args.start + end], &self.text[rest.clone()]) {
                        return Ok(false);
                    }
                    node.behind_array = Some(self.map.span(rest.start, rest.end));
                }
                node.json = true;
                let pieces = items.into_iter().map(|(text, from, to)| (text, args.start + from..args.start + to));
                self.words(node, pieces.collect());
                Ok(true)
            }
        }
    }

    /// `key=value …`, or the old `key value` with one pair.
    fn assignments(&self, node: &mut Node, kind: Keyword, args: Range<usize>) -> Result<(), Diagnostic> {
        let words = split::quoted(self.text, args.clone(), self.escape);
        let Some(first) = words.first() else { return Ok(()) };
        if !first.0.contains('=') {
            let (key, value) = split::keyword(self.text, args.clone());
            if value.is_empty() {
                return Err(self
                    .error("MissingValue", &args, format!("{kind} must have two arguments"))
                    .with_help(format!("write {kind} {}=value", &self.text[key])));
            }
            node.legacy = true;
            self.whole(node, key);
            self.whole(node, value);
            return Ok(());
        }
        for (text, range) in words {
            let Some((key, value)) = text.split_once('=') else {
                let message = format!("Syntax error - can't find = in {text:?}. Must be of the form: name=value");
                return Err(self
                    .error("MissingEquals", &range, message)
                    .with_help("quote the value if it holds blanks"));
            };
            let middle = range.start + key.len();
            node.values.push(self.word((key.to_owned(), range.start..middle)));
            node.values.push(self.word((value.to_owned(), middle + 1..range.end)));
        }
        Ok(())
    }
}

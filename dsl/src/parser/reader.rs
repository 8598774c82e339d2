//! The order in which a file is read: its instructions, the lines of the extended language between them, and in their
//! places the files that it includes and the definitions that it uses.
//!
//! Knows nothing of what single instructions and lines say.

use super::{Parsed, check_directive, instruction, suggestion, takes_key};
use crate::ast::{Command, Directives, Document, Export, Instruction, KeyBinding, KeyFlag, TargetDecl, Word};
use crate::diagnostic::{Diagnostic, Severity};
use crate::extended::branch::{self, Mark};
use crate::extended::definition::{Call, Definition};
use crate::extended::include::{self, Loader};
use crate::extended::{self, Dialect, Keyword as Extension, Line, target};
use crate::key::set::Names;
use crate::keyword::Keyword;
use crate::raw::{self, Node, Part};
use crate::source::{Origin, Sources};
use crate::span::{Span, Spanned};
use crate::suggest;
use std::path::Path;
use std::sync::Arc;

/// How much text one file may come to with all that it includes and uses, in bytes: definitions that use each other
/// twice grow without bound otherwise.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// How deep files and definitions may stand in each other; every level costs call stack.
const MAX_DEPTH: usize = 64;

/// Reads the file called `name`.
pub(super) fn read(name: &str, text: &str, dialect: Dialect, load: &mut Loader<'_>) -> Parsed {
    let mut reader = Reader {
        load,
        sources: Sources::new(name, text),
        open: Vec::new(),
        names: Names::default(),
        definitions: Vec::new(),
        keys: Vec::new(),
        marks: Vec::new(),
        targets: Vec::new(),
        checks: Vec::new(),
        instructions: Vec::new(),
        in_stage: false,
        unsure: false,
        is_full: false,
        diagnostics: Vec::new(),
    };
    // Paths of INCLUDE are seen from here, wherever the file is.
    let path = Path::new(name).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let directives = reader.text(Part::File(0), dialect, path, None);
    std::mem::take(&mut reader.names).finish(&mut reader.diagnostics);
    let any_error = reader.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    if let (false, false, Some(last)) = (reader.in_stage, any_error, reader.instructions.last()) {
        let message = "dockerfile contains no stages to build: it has no FROM";
        reader.diagnostics.push(
            Diagnostic::error("NoStages", last.span, message).with_help("add FROM with a base image, or FROM scratch"),
        );
    }
    if let (true, false) = (reader.instructions.is_empty(), any_error) {
        let span = Span::new(0, text.len());
        let message = "neither the file nor what it includes has an instruction";
        reader.error("EmptyFile", span, message, "a Dockerfile needs at least one FROM");
    }
    reader.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    let Reader { instructions, keys, marks, targets, checks, diagnostics, sources, .. } = reader;
    Parsed {
        document: Document {
            directives,
            instructions,
            keys,
            marks,
            targets,
            checks,
            bound: Vec::new(),
            asked: Vec::new(),
        },
        diagnostics,
        sources,
    }
}

/// A text that is being read.
struct Open {
    /// The path of the file, as INCLUDE counts; that of a definition's body is its file's.
    path: String,
    dialect: Dialect,
    escape: char,
    /// Its own alternatives, those of what it includes and uses left out.
    marks: Vec<Mark>,
    /// Where it names the file that is being read.
    at: Option<Span>,
    /// The definition whose body it is.
    definition: Option<String>,
}

struct Reader<'l, 'f> {
    load: &'l mut Loader<'f>,
    sources: Sources,
    open: Vec<Open>,
    names: Names,
    /// Each with the path of its file.
    definitions: Vec<(Definition, String)>,
    keys: Vec<KeyBinding>,
    marks: Vec<Mark>,
    targets: Vec<TargetDecl>,
    checks: Vec<Word>,
    instructions: Vec<Arc<Instruction>>,
    /// A faulty FROM opens a stage all the same: what follows it is not to blame.
    in_stage: bool,
    unsure: bool,
    /// Nothing more is included or used: it is too much already, which was told.
    is_full: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(code, span, message).with_help(help));
    }

    /// Reads one text of the sources into the document.
    fn text(&mut self, part: Part, dialect: Dialect, path: String, definition: Option<String>) -> Directives {
        let read = raw::read_part(self.sources.text(), part, dialect);
        let at = self.open.last().and_then(|open| open.at);
        let escape = read.directives.escape;
        self.diagnostics.extend(read.diagnostics);
        if self.open.is_empty() {
            check_directive(&read.directives, &mut self.diagnostics);
        }
        let outer = self.open.first().map(|open| open.escape);
        if let (Some(outer), Some(at)) = (outer.filter(|outer| *outer != escape), at) {
            let message =
                format!("the escape character of {path} is {escape}, and that of the file around it is {outer}");
            self.error("InvalidInclude", at, message, "write the same # escape= in both files");
        }
        self.open.push(Open { path, dialect, escape, marks: Vec::new(), at: None, definition });
        self.unsure |= read.incomplete;
        for node in read.nodes {
            self.node(node, dialect);
        }
        self.trailing(read.trailing);
        if let Some(open) = self.open.pop() {
            branch::check(&open.marks, &mut self.diagnostics);
        }
        read.directives
    }

    fn node(&mut self, mut node: Node, dialect: Dialect) {
        let key = self.above(&mut node);
        let outside = !self.in_stage && !self.unsure;
        match node.kind {
            Some(Keyword::From) => self.in_stage = true,
            Some(Keyword::Arg) => {}
            Some(kind) if outside => {
                let message = format!("no build stage in current context: {kind} stands before the first FROM");
                self.error("NoBuildStage", node.span, message, "only ARG may stand before the first FROM");
                return;
            }
            Some(_) => {}
            None => self.unsure |= suggestion(&node) == Some(Keyword::From.name()),
        }
        let name = node.keyword.value.to_ascii_uppercase();
        if let Some(mut instruction) = instruction(node, dialect, &mut self.diagnostics) {
            instruction.key = key.filter(|key| takes_key(key, &name, &instruction.command, &mut self.diagnostics));
            self.instructions.push(Arc::new(instruction));
        }
    }

    /// Takes the lines above an instruction; gives the key that the flags among them state.
    fn above(&mut self, node: &mut Node) -> Option<KeyFlag> {
        if let Some(line) = node.trigger.as_ref().and_then(|trigger| trigger.extended.first()) {
            let (span, help) = (line.span, "a key belongs to the build that runs the step: state it there");
            self.error("UnknownFlag", span, "ONBUILD's instruction takes no --key", help);
        }
        let flags = self.lines(std::mem::take(&mut node.extended));
        let written = flags.key?;
        let expr = written.value?;
        let set = self.names.resolve(&expr, &mut self.diagnostics)?;
        Some(KeyFlag { expr, set, span: written.span })
    }

    /// Takes the lines behind the last instruction of a text.
    fn trailing(&mut self, lines: Vec<Line>) {
        for line in lines.iter().filter(|line| line.is_flags()) {
            let help = "write them right above the instruction that they are meant for";
            self.error("MisplacedExtension", line.span, "no instruction follows these flags", help);
        }
        self.lines(lines.into_iter().filter(|line| !line.is_flags()).collect());
    }

    fn lines(&mut self, lines: Vec<Line>) -> extended::Flags {
        let mut flags = extended::Flags::default();
        let dialect = self.open.last().map(|open| open.dialect).unwrap_or_default();
        for line in lines {
            let (keyword, start) = match line.kind() {
                Ok(extended::Kind::Instruction(keyword, start)) => (keyword, start),
                Ok(extended::Kind::Flags) => {
                    flags.read(&line, &mut self.diagnostics);
                    continue;
                }
                Err(diagnostic) => {
                    self.diagnostics.push(*diagnostic);
                    continue;
                }
            };
            if keyword.changes_the_image() && dialect == Dialect::Dockerfile {
                let message = format!("{keyword} changes the image, and Docker would not see it");
                self.error("NeedsKilnFile", line.span, message, "call the file *.kiln, and write it without # kiln:");
                continue;
            }
            self.line(&line, keyword, start);
        }
        flags
    }

    fn line(&mut self, line: &Line, keyword: Extension, start: usize) {
        match keyword {
            Extension::Key => {
                if let Some(key) = extended::key_instruction(line, start, &mut self.diagnostics) {
                    self.names.bind(&key.name, key.expr.as_ref(), &mut self.diagnostics);
                    self.keys.push(key);
                }
            }
            Extension::If | Extension::Else | Extension::End => {
                let mark = branch::read(line, keyword, start, self.instructions.len(), &mut self.diagnostics);
                if let Some(open) = self.open.last_mut() {
                    open.marks.push(mark.clone());
                }
                self.marks.push(mark);
            }
            Extension::Include => match include::read(line, start) {
                Ok(path) => self.include(&path.value, path.span),
                Err(error) => self.diagnostics.push(*error),
            },
            Extension::Target | Extension::Check if self.is_in_choice() => {
                let message = format!("{keyword} stands in no IF: it names what there is, whatever is taken");
                self.error("InvalidTarget", line.span, message, "move it out of the IF");
            }
            Extension::Target => match target::target(line, start, line.comments.clone()) {
                Ok(found) => self.target(found),
                Err(error) => self.diagnostics.push(*error),
            },
            Extension::Check => match target::check(line, start) {
                Ok(stages) => self.checks.extend(stages),
                Err(error) => self.diagnostics.push(*error),
            },
            Extension::Export => match target::export(line, start) {
                Ok(export) => self.export(line, export),
                Err(error) => self.diagnostics.push(*error),
            },
            Extension::Def => self.define(line, start),
            Extension::Use => match Call::read(line, start) {
                Ok(call) => self.call(&call, line.span),
                Err(error) => self.diagnostics.push(*error),
            },
        }
    }

    /// Whether an IF of the text that is being read is open.
    fn is_in_choice(&self) -> bool {
        let count = |is: fn(&branch::MarkKind) -> bool| {
            self.open.last().map_or(0, |open| open.marks.iter().filter(|mark| is(&mark.kind)).count())
        };
        count(|kind| matches!(kind, branch::MarkKind::If(_))) > count(|kind| matches!(kind, branch::MarkKind::End))
    }

    fn target(&mut self, found: TargetDecl) {
        let same = |other: &&TargetDecl| other.name.value.eq_ignore_ascii_case(&found.name.value);
        match self.targets.iter().find(same) {
            Some(first) => {
                let message = format!("the target {} is there twice", found.name.value);
                let error = Diagnostic::error("InvalidTarget", found.name.span, message);
                let error = error.with_related(first.name.span, "first here").with_help("give it another name");
                self.diagnostics.push(error);
            }
            None => self.targets.push(found),
        }
    }

    /// An EXPORT stands among the instructions of its stage.
    fn export(&mut self, line: &Line, export: Export) {
        if !self.in_stage && !self.unsure {
            let message = "no build stage in current context: EXPORT stands before the first FROM";
            return self.error("NoBuildStage", line.span, message, "write it into the stage whose files it takes");
        }
        let keyword = Extension::Export.name();
        self.instructions.push(Arc::new(Instruction {
            span: line.span,
            first_line: line.lines.0,
            last_line: line.lines.1,
            keyword: Spanned::new(keyword.to_owned(), line.span),
            original: line.text.trim().to_owned(),
            flags: Vec::new(),
            value: vec![export.path.value.clone(), export.directory.value.clone()],
            json: false,
            heredocs: Vec::new(),
            comments: Vec::new(),
            key: None,
            command: Command::Export(export),
        }));
    }

    /// Whether a text of this length may still be read.
    fn has_room(&mut self, length: usize, at: Span) -> bool {
        if self.is_full {
            return false;
        }
        if self.sources.text().len() + length > MAX_TEXT_BYTES {
            let message = format!("with this the file comes to more than {} MiB", MAX_TEXT_BYTES >> 20);
            self.error("TooMuchText", at, message, "use fewer definitions within each other");
            self.is_full = true;
            return false;
        }
        if self.open.len() == MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} files and definitions inside each other");
            self.error("TooMuchText", at, message, "include the files one behind the other");
            self.is_full = true;
            return false;
        }
        true
    }

    fn include(&mut self, written: &str, at: Span) {
        let from = self.open.last().map_or("", |open| open.path.as_str());
        let path = include::join(from, written);
        if let Some(position) = self.open.iter().position(|open| open.path == path) {
            let mut error = Diagnostic::error("IncludeCycle", at, format!("{path} includes itself"));
            for open in &self.open[position..] {
                if let Some(at) = open.at.filter(|span| *span != at) {
                    error = error.with_related(at, "by way of this INCLUDE");
                }
            }
            self.diagnostics.push(error.with_help("move what both need into a file that includes neither"));
            return;
        }
        let text = match (self.load)(&path) {
            Ok(text) => text,
            Err(reason) => {
                let help = "the path counts from the directory of the file that says INCLUDE";
                return self.error("InvalidInclude", at, format!("failed to read {path}: {reason}"), help);
            }
        };
        if !self.has_room(text.len(), at) {
            return;
        }
        // As the reader of a message finds it: from where the first file's name counts.
        let directory = self.sources.name().rfind('/').map_or("", |slash| &self.sources.name()[..=slash]);
        let name = format!("{directory}{path}");
        let (start, _) = self.sources.push(name, &text, Origin::Included(at));
        if let Some(open) = self.open.last_mut() {
            open.at = Some(at);
        }
        self.text(Part::File(start), Dialect::of_file(Path::new(&path)), path, None);
    }

    fn define(&mut self, line: &Line, start: usize) {
        let Some(body) = &line.body else {
            let message = "DEF has lines of its own, which a comment has not";
            return self.error("MisplacedExtension", line.span, message, "write it without # kiln:");
        };
        let Some(open) = self.open.last() else { return };
        let (escape, path) = (open.escape, open.path.clone());
        if self.is_in_choice() {
            let message = "a DEF stands in no IF: it is known before anything is decided";
            return self.error(
                "InvalidDefinition",
                line.span,
                message,
                "write the IF into the DEF, or around each USE",
            );
        }
        let Some(found) = Definition::read(line, body, start, escape, &mut self.diagnostics) else { return };
        let same = |(other, _): &&(Definition, String)| other.name.value.eq_ignore_ascii_case(&found.name.value);
        if let Some((first, first_path)) = self.definitions.iter().find(same) {
            // A file that two others include says the same twice.
            let text = |one: &Definition| self.sources.text().get(one.body.start as usize..one.body.end as usize);
            if *first_path == path && first.lines == found.lines && text(first) == text(&found) {
                return;
            }
            let message = format!("{} is defined twice", found.name.value);
            let error = Diagnostic::error("DuplicateDefinition", found.name.span, message);
            let error = error.with_related(first.name.span, "first defined here").with_help("give it another name");
            self.diagnostics.push(error);
            return;
        }
        self.definitions.push((found, path));
    }

    fn call(&mut self, call: &Call, at: Span) {
        let named = |(one, _): &&(Definition, String)| one.name.value.eq_ignore_ascii_case(&call.name.value);
        let Some((found, path)) = self.definitions.iter().find(named) else {
            let names = self.definitions.iter().map(|(one, _)| one.name.value.as_str());
            let help = match suggest::nearest(&call.name.value, names) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("define it above: DEF {}(…) … END", call.name.value),
            };
            return self.error(
                "UnknownDefinition",
                call.name.span,
                format!("nothing above is called {}", call.name.value),
                help,
            );
        };
        let (name, body, path) = (found.name.value.clone(), found.body, path.clone());
        let (lines, escape) = (found.lines, found.escape);
        if self.open.iter().any(|open| open.definition.as_ref() == Some(&name)) {
            let help = "a DEF may USE others, and never what it stands in itself";
            return self.error("InvalidUse", call.name.span, format!("{name} uses itself"), help);
        }
        match found.expand(self.sources.text(), call) {
            Ok(text) if self.has_room(text.len(), at) => {
                let origin = Origin::Used { name: name.clone(), at, body };
                let (start, _) = self.sources.push(name.clone(), &text, origin);
                self.text(Part::Body(start, lines, escape), Dialect::Kiln, path, Some(name));
            }
            Ok(_) => {}
            Err(error) => self.diagnostics.push(*error),
        }
    }
}

//! A document whose alternatives are decided, as a plain Dockerfile that means the same.
//!
//! Branches become stages with names that Docker takes, their variables ARGs; what Docker can ignore stands behind
//! `# kiln:`. Pure. Knows nothing of how alternatives are decided.

use crate::ast::{ArgDecl, Command, Document, From, Instruction, Word};
use crate::diagnostic::Diagnostic;
use crate::extended;
use crate::extended::branch_name::BranchName;
use crate::split;
use std::collections::HashMap;

/// How long a line is made at most, in bytes; a Dockerfile's lines have at most 65,535.
const MAX_LINE_BYTES: usize = 60_000;

/// The stages of branches by the names that they get.
struct Names(HashMap<String, String>);

impl Names {
    fn of(document: &Document) -> Names {
        let mut taken: Vec<String> = Vec::new();
        let names = stages(document).filter_map(|(_, from)| from.name.as_ref()).map(|name| name.value.to_lowercase());
        let (branches, plain): (Vec<String>, Vec<String>) = names.partition(|name| BranchName::is_meant(name));
        taken.extend(plain);
        let mut map = HashMap::new();
        for branch in branches {
            let sign = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
            let base: String = branch.trim_end_matches(']').chars().map(sign).collect();
            let mut name = base.clone();
            let mut number = 2;
            while taken.contains(&name) {
                name = format!("{base}-{number}");
                number += 1;
            }
            taken.push(name.clone());
            map.insert(branch, name);
        }
        Names(map)
    }

    fn name<'a>(&'a self, written: &'a str) -> &'a str {
        self.0.get(&written.to_lowercase()).map_or(written, String::as_str)
    }

    /// A text in which the names of branches stand that `written` tells of.
    fn within(&self, text: &str, written: &str) -> String {
        if BranchName::is_meant(written) { text.replacen(written, self.name(written), 1) } else { text.to_owned() }
    }
}

/// The FROMs of a document by the places of their instructions.
fn stages(document: &Document) -> impl Iterator<Item = (usize, &From)> {
    document.instructions.iter().enumerate().filter_map(|(at, one)| match &one.command {
        Command::From(from) => Some((at, from)),
        _ => None,
    })
}

/// The Dockerfile. It ends with the stage of this number, or with the last one.
///
/// # Errors
/// What has no form in a Dockerfile, each with its place.
pub fn dockerfile(document: &Document, last: Option<usize>) -> Result<String, Vec<Diagnostic>> {
    let starts: Vec<usize> = stages(document).map(|(at, _)| at).collect();
    let end = last.and_then(|last| starts.get(last + 1).copied()).unwrap_or(document.instructions.len());
    let mut printer = Printer {
        names: Names::of(document),
        escape: document.directives.escape,
        out: String::new(),
        problems: Vec::new(),
    };
    printer.directives(document);
    printer.decided(document);
    for key in &document.keys {
        if let Some(expr) = &key.expr {
            let text = printer.key(&expr.to_string());
            printer.out += &format!("# kiln: KEY {} = {text}\n", key.name.value);
        }
    }
    for (at, instruction) in document.instructions[..end].iter().enumerate() {
        match &instruction.command {
            Command::Arg(declared) if starts.first().is_none_or(|&first| at < first) => {
                printer.argument(instruction, declared, document);
            }
            _ => printer.instruction(instruction),
        }
    }
    printer.targets(document, end == document.instructions.len());
    match printer.problems.is_empty() {
        true => Ok(printer.out),
        false => Err(printer.problems),
    }
}

struct Printer {
    names: Names,
    escape: char,
    out: String,
    problems: Vec<Diagnostic>,
}

impl Printer {
    fn directives(&mut self, document: &Document) {
        let directives = &document.directives;
        if let Some(syntax) = &directives.syntax {
            self.out += &format!("# syntax={}\n", syntax.value);
        }
        if self.escape != '\\' {
            self.out += &format!("# escape={}\n", self.escape);
        }
        if let Some(check) = &directives.check {
            self.out += &format!("# check={}\n", check.value);
        }
    }

    /// What decided the alternatives that are not in the file any more.
    fn decided(&mut self, document: &Document) {
        if document.asked.is_empty() {
            return;
        }
        let words = document.asked.iter().map(|one| match &one.value {
            Some(value) => format!("{}={}", one.name, value.replace('\n', "\\n")),
            None => format!("{} not set", one.name),
        });
        self.out += &format!("# Alternatives are decided for {}.\n#\n", words.collect::<Vec<_>>().join(", "));
    }

    /// An ARG before the first FROM: one that the build gave a value, by which an alternative was decided, has it as its
    /// default.
    fn argument(&mut self, instruction: &Instruction, declared: &[ArgDecl], document: &Document) {
        let given = |name: &str| {
            let asked = document.asked.iter().find(|one| one.is_given && one.name == name)?;
            // No word of a Dockerfile holds a line feed.
            asked.value.as_deref().filter(|value| !value.contains('\n')).map(|value| self.quoted(value))
        };
        let texts: Vec<(Option<String>, String)> = declared
            .iter()
            .map(|one| {
                let (name, value) = (&one.name.value, given(&one.name.value));
                let written = value.as_deref().or(one.default.as_ref().map(|default| default.value.as_str()));
                (value.clone(), written.map_or_else(|| name.clone(), |text| format!("{name}={text}")))
            })
            .collect();
        if texts.iter().all(|(value, _)| value.is_none()) {
            return self.instruction(instruction);
        }
        for comment in &instruction.comments {
            self.out += &format!("# {}\n", comment.value);
        }
        let texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
        self.out += &format!("ARG {}\n", texts.join(" "));
    }

    /// A value as a word of a Dockerfile.
    fn quoted(&self, value: &str) -> String {
        if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@+,".contains(c)) {
            return value.to_owned();
        }
        let escaped = value.chars().flat_map(|c| {
            let escape = (matches!(c, '"' | '$') || c == self.escape).then_some(self.escape);
            escape.into_iter().chain([c])
        });
        format!("\"{}\"", escaped.collect::<String>())
    }

    /// The text of a key, names of branches in it as they are now.
    fn key(&self, text: &str) -> String {
        let longest = |names: &HashMap<String, String>| {
            let mut all: Vec<(String, String)> = names.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
            all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
            all
        };
        longest(&self.names.0)
            .into_iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(&format!("stage:{from}:"), &format!("stage:{to}:")))
    }

    fn instruction(&mut self, instruction: &Instruction) {
        for comment in &instruction.comments {
            self.out += &format!("# {}\n", comment.value);
        }
        if let Some(key) = &instruction.key {
            let text = self.key(&key.expr.to_string());
            self.out += &format!("# kiln: --key={text}\n");
        }
        let text = match &instruction.command {
            Command::From(from) => {
                self.from(instruction, from);
                return;
            }
            Command::Export(_) => {
                self.out += &format!("# kiln: {}\n", instruction.original);
                return;
            }
            Command::Copy(copy) => {
                let written = copy.from.as_ref().map_or("", |from| from.value.as_str());
                self.names.within(&instruction.original, written)
            }
            Command::Run(run) => run.mounts.iter().fold(instruction.original.clone(), |text, mount| {
                match crate::mount::from_range(&mount.value) {
                    Some(range) => self.names.within(&text, &mount.value[range]),
                    None => text,
                }
            }),
            _ => instruction.original.clone(),
        };
        let text = if instruction.key.is_some() { without_keys(&text, self.escape) } else { text };
        self.line(&text);
        for heredoc in &instruction.heredocs {
            self.out += &format!("{}{}\n", heredoc.content, heredoc.name);
        }
    }

    fn from(&mut self, instruction: &Instruction, from: &From) {
        if let Some(first) = from.merged.first() {
            let message = format!("no Dockerfile says FROM {} + {}", from.image.value, first.value);
            let error = Diagnostic::error("InvalidConversion", first.span, message);
            let help = "copy from the stages with COPY --from, which copies the files and does not share the layers";
            self.problems.push(error.with_help(help));
            return;
        }
        let mut line = "FROM".to_owned();
        if let Some(platform) = &from.platform {
            line += &format!(" --platform={}", self.bound(platform, &from.bindings));
        }
        let image = self.bound(&from.image, &from.bindings);
        line += &format!(" {}", self.names.name(&image));
        if let Some(name) = &from.name {
            let word = instruction.value.get(1).filter(|word| word.eq_ignore_ascii_case("as"));
            line += &format!(" {} {}", word.map_or("AS", String::as_str), self.names.name(&name.value));
        }
        self.out += &format!("{line}\n");
        if !from.bindings.is_empty() {
            let pairs: Vec<String> = from.bindings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.out += &format!("ARG {}\n", pairs.join(" "));
        }
    }

    /// A word of FROM with the variables of its branch replaced; the others stay.
    fn bound(&mut self, word: &Word, bindings: &[(String, String)]) -> String {
        let mut out = String::new();
        let mut rest = word.value.as_str();
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let from = &rest[at..];
            let inner = from.strip_prefix("${").unwrap_or(&from[1..]);
            let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
            let value = bindings.iter().find(|(name, _)| *name == inner[..end]).map(|(_, value)| value.as_str());
            let is_braced = from.starts_with("${");
            match value {
                Some(value) if !is_braced || inner[end..].starts_with('}') => {
                    out.push_str(value);
                    rest = &inner[end + usize::from(is_braced)..];
                }
                Some(_) => {
                    let message = format!("an operator on {}, a variable of FOR, has no form in FROM", &inner[..end]);
                    let error = Diagnostic::error("InvalidConversion", word.span, message);
                    self.problems.push(error.with_help("write the values so that none is needed"));
                    return word.value.clone();
                }
                None => {
                    out.push('$');
                    rest = &from[1..];
                }
            }
        }
        out + rest
    }

    /// TARGET and CHECK, where the stages that they name are there.
    fn targets(&mut self, document: &Document, is_whole: bool) {
        if !is_whole {
            return;
        }
        let names: Vec<String> =
            stages(document).filter_map(|(_, from)| from.name.as_ref()).map(|name| name.value.clone()).collect();
        let meant = |word: &Word| -> Vec<String> {
            let Some(wanted) = BranchName::parse(&word.value) else { return vec![word.value.clone()] };
            let is_meant = |name: &&String| {
                let Some(name) = BranchName::parse(name) else { return false };
                let value = |choice: &extended::branch_name::Choice| match choice {
                    extended::branch_name::Choice::One(value) => value.clone(),
                    extended::branch_name::Choice::All => "*".to_owned(),
                };
                let values: Vec<String> = name.values.iter().map(value).collect();
                name.stage.eq_ignore_ascii_case(&wanted.stage) && wanted.matches(&values)
            };
            names.iter().filter(is_meant).map(|name| self.names.name(name).to_owned()).collect()
        };
        let mut lines = String::new();
        for target in &document.targets {
            let members: Vec<String> = target.members.iter().flat_map(meant).collect();
            for comment in &target.comments {
                lines += &format!("# {}\n", comment.value);
            }
            lines += &format!("# kiln: TARGET {} = {}\n", target.name.value, members.join(" + "));
        }
        let checks: Vec<String> = document.checks.iter().flat_map(meant).collect();
        let last = names.last().map(|name| self.names.name(name));
        if let Some(word) = document.checks.first().filter(|_| checks.iter().any(|name| Some(name.as_str()) == last)) {
            let message = "the last stage is a CHECK, and Docker would build it as the image";
            let error = Diagnostic::error("InvalidConversion", word.span, message);
            self.problems.push(error.with_help("move the stage above another one, or name the image's with --target"));
        }
        if !checks.is_empty() {
            lines += &format!("# kiln: CHECK {}\n", checks.join(" "));
        }
        self.out += &lines;
    }

    /// A logical line, in pieces where it is too long for one.
    fn line(&mut self, text: &str) {
        let mut rest = text;
        while rest.len() > MAX_LINE_BYTES {
            let limit = (0..=MAX_LINE_BYTES).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(0);
            // The next line begins with the blank, and with nothing that would be a comment.
            let may_break = |at: &usize| !rest[*at..].trim_start().starts_with('#') && *at > 0;
            let Some(at) = rest[..limit].rmatch_indices(' ').map(|(at, _)| at).find(may_break) else { break };
            self.out += &format!("{}{}\n", &rest[..at], self.escape);
            rest = &rest[at..];
        }
        self.out += &format!("{rest}\n");
    }
}

/// An instruction's line without the flags of the extended language.
fn without_keys(text: &str, escape: char) -> String {
    let (_, arguments) = split::keyword(text, 0..text.len());
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut take = |at: usize| {
        let end = at + extended::flag_length(&text[at..])?;
        found.push((at, end));
        Some(end)
    };
    split::flags(text, arguments, escape, &mut take);
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in found {
        out.push_str(&text[at..start]);
        at = end + (text[end..].len() - text[end..].trim_start().len());
    }
    out + &text[at..]
}

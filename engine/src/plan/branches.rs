//! Which instructions a build has: the alternatives of IF, decided by build arguments and the platform, and the branches
//! of FOR, each with its own instructions.
//!
//! Pure, and before everything else: the checks and the plan see a document without alternatives, in which each branch is
//! a stage. A condition sees the platform arguments, the ARGs that stand above it, before the first FROM, and the
//! variables of the branch that it stands in.

use super::Options;
use super::matrix::{Branch, Matrices};
use super::stages::{Globals, Watched, platform_args, platform_globals, word};
use kiln_dsl::ast::{Asked, Bound, Command, Document, From, Instruction};
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::expand::Variables as _;
use kiln_dsl::extended::branch::MarkKind;
use kiln_dsl::extended::condition::{Condition, unknown_name};
use std::cell::RefCell;
use std::sync::Arc;

/// Which branches a document is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unroll {
    /// All of them.
    All,
    /// One of each matrix, the target's where it names one: what the build checks look at, because what is wrong in one
    /// branch is wrong in the others.
    One,
}

/// One IF while its lines are walked.
#[derive(Clone, PartialEq)]
struct Frame {
    /// Whether the instructions around it are taken.
    is_reached: bool,
    /// Whether one of its branches was taken already.
    was_taken: bool,
    /// Whether the branch of now is taken.
    is_taken: bool,
    /// Whether that depends on the platform that is built for.
    is_bound: bool,
}

/// The document without alternatives, its matrices unrolled.
///
/// # Errors
/// What is wrong with the conditions and the matrices, or that nothing is left to build.
pub fn choose(document: &Document, options: &Options, unroll: Unroll) -> Result<Document, Vec<Diagnostic>> {
    let is_matrix = |one: &Arc<Instruction>| matches!(&one.command, Command::From(from) if !from.axes.is_empty());
    let has_references = |one: &Arc<Instruction>| Matrices::reads_branch(one);
    if document.marks.is_empty() && !document.instructions.iter().any(|one| is_matrix(one) || has_references(one)) {
        return Ok(document.clone());
    }
    let mut walk = Walk::new(document, options, unroll);
    walk.run(false);
    if let (Some(mark), false, true) = (document.marks.first(), walk.is_in_stage, walk.problems.is_empty()) {
        let message = "no branch that is taken has a FROM, so there is nothing to build";
        walk.problems.push(Diagnostic::error("NoStages", mark.span, message));
    }
    match walk.problems.iter().any(|one| one.severity == Severity::Error) {
        true => Err(walk.problems),
        false => Ok(Document {
            instructions: walk.taken,
            marks: Vec::new(),
            bound: walk.bound,
            asked: walk.asked,
            ..document.clone()
        }),
    }
}

/// Where the walk is.
#[derive(Clone, PartialEq)]
struct Cursor {
    /// The next instruction.
    at: usize,
    /// The next mark.
    mark: usize,
    frames: Vec<Frame>,
}

struct Walk<'a> {
    document: &'a Document,
    options: &'a Options,
    unroll: Unroll,
    cursor: Cursor,
    globals: Globals,
    /// The arguments that there are, values or not.
    declared: Vec<String>,
    /// The variables of the branch that is walked through.
    bindings: Vec<(String, String)>,
    matrices: Matrices,
    is_in_stage: bool,
    taken: Vec<Arc<Instruction>>,
    /// The place of the last FROM among those.
    stage: usize,
    bound: Vec<Bound>,
    asked: Vec<Asked>,
    problems: Vec<Diagnostic>,
}

impl<'a> Walk<'a> {
    fn new(document: &'a Document, options: &'a Options, unroll: Unroll) -> Self {
        Walk {
            document,
            options,
            unroll,
            cursor: Cursor { at: 0, mark: 0, frames: Vec::new() },
            globals: platform_globals(options),
            declared: platform_args(options).into_iter().map(|(name, _)| name.to_owned()).collect(),
            bindings: Vec::new(),
            matrices: Matrices::default(),
            is_in_stage: false,
            taken: Vec::new(),
            stage: 0,
            bound: Vec::new(),
            asked: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Takes what is to be taken from here to the end, or to the next FROM that is.
    fn run(&mut self, is_branch: bool) {
        let document = self.document;
        loop {
            while let Some(mark) = document.marks.get(self.cursor.mark).filter(|mark| mark.at <= self.cursor.at) {
                self.cursor.mark += 1;
                self.mark(&mark.kind);
            }
            let Some(instruction) = document.instructions.get(self.cursor.at) else { return };
            if self.is_taken() {
                match &instruction.command {
                    Command::From(_) if is_branch => return,
                    Command::From(from) => {
                        self.cursor.at += 1;
                        self.from(instruction, from);
                        continue;
                    }
                    _ => self.instruction(instruction),
                }
            }
            self.cursor.at += 1;
        }
    }

    fn is_taken(&self) -> bool {
        self.cursor.frames.last().is_none_or(|frame| frame.is_reached && frame.is_taken)
    }

    fn mark(&mut self, kind: &MarkKind) {
        match kind {
            MarkKind::If(condition) => {
                let is_reached = self.is_taken();
                let (is_taken, is_bound) = self.decide(condition, is_reached);
                self.cursor.frames.push(Frame { is_reached, was_taken: is_taken, is_taken, is_bound });
            }
            MarkKind::ElseIf(condition) => {
                let asks = self.cursor.frames.last().is_some_and(|frame| frame.is_reached && !frame.was_taken);
                let (is_taken, is_bound) = self.decide(condition, asks);
                if let Some(frame) = self.cursor.frames.last_mut() {
                    frame.is_taken = is_taken;
                    frame.is_bound |= is_bound;
                    frame.was_taken |= is_taken;
                }
            }
            MarkKind::Else => {
                if let Some(frame) = self.cursor.frames.last_mut() {
                    frame.is_taken = !frame.was_taken;
                    frame.was_taken = true;
                }
            }
            MarkKind::End => {
                self.cursor.frames.pop();
            }
        }
    }

    /// Whether a condition that is asked holds, and whether it asked for the platform that is built for. Of one that is not
    /// asked nothing is told: its arguments may be declared in a branch that is not taken.
    fn decide(&mut self, condition: &Condition, asks: bool) -> (bool, bool) {
        if !asks {
            return (false, false);
        }
        let watched = Watched::new(&self.globals);
        let asked = RefCell::new(Vec::new());
        let get = |name: &str| {
            if let Some((_, value)) = self.bindings.iter().find(|(other, _)| other == name) {
                return Some(Some(value.as_str()));
            }
            let found = self.declared.iter().any(|other| other == name).then(|| watched.get(name));
            if let Some(value) = found {
                let (value, is_given) = (value.map(str::to_owned), self.options.build_arg(name).is_some());
                asked.borrow_mut().push(Asked { name: name.to_owned(), value, is_given });
            }
            found
        };
        let holds = match condition.holds(&get) {
            Ok(holds) => holds,
            Err(unknown) => {
                let known = self.declared.iter().chain(self.bindings.iter().map(|(name, _)| name));
                let finding = unknown_name(&unknown, known.map(String::as_str));
                if !self.problems.contains(&finding) {
                    self.problems.push(finding);
                }
                false
            }
        };
        let is_bound = watched.was_tainted.get();
        for one in asked.into_inner() {
            if !self.asked.contains(&one) {
                self.asked.push(one);
            }
        }
        // One around a FROM is about that stage, and not about the one above it.
        let next = self.document.instructions.get(self.cursor.at);
        let is_about_stages = next.is_some_and(|next| matches!(next.command, Command::From(_)));
        if is_bound && self.is_in_stage && !is_about_stages {
            self.bound.push(Bound { owner: self.stage, at: self.taken.len() });
        }
        (holds, is_bound)
    }

    /// Takes an instruction that all else depends on: if it is there for the platform alone, so is that.
    fn take_owner(&mut self, instruction: Arc<Instruction>) {
        let at = self.taken.len();
        if self.cursor.frames.iter().any(|frame| frame.is_bound) {
            self.bound.push(Bound { owner: at, at });
        }
        self.stage = at;
        self.taken.push(instruction);
    }

    /// Takes a FROM that is reached: a stage, or all branches of one with what follows in each.
    fn from(&mut self, instruction: &Arc<Instruction>, from: &From) {
        self.is_in_stage = true;
        let escape = self.document.directives.escape;
        if from.axes.is_empty() {
            let taken = self.matrices.from(instruction, from, &[], escape, &self.globals.scope, &mut self.problems);
            self.take_owner(taken);
            return;
        }
        let branches =
            self.matrices.add(from, escape, &self.globals.scope, self.options, self.unroll, &mut self.problems);
        let start = self.cursor.clone();
        let mut end: Option<Cursor> = None;
        for Branch { bindings, .. } in branches {
            self.cursor = start.clone();
            let scope = &self.globals.scope;
            let taken = self.matrices.from(instruction, from, &bindings, escape, scope, &mut self.problems);
            self.take_owner(taken);
            self.bindings = bindings;
            self.run(true);
            match &end {
                None => end = Some(self.cursor.clone()),
                Some(end) if *end == self.cursor => {}
                Some(_) => {
                    let message = "the branches of this stage do not end at the same FROM";
                    let help = "an IF with a FROM in it cannot ask for a variable of FOR";
                    self.problems.push(Diagnostic::error("InvalidMatrix", instruction.span, message).with_help(help));
                    break;
                }
            }
        }
        self.bindings.clear();
    }

    fn instruction(&mut self, instruction: &Arc<Instruction>) {
        let escape = self.document.directives.escape;
        match &instruction.command {
            Command::Arg(declarations) if !self.is_in_stage => {
                let is_bound = self.cursor.frames.iter().any(|frame| frame.is_bound);
                for declaration in declarations {
                    let name = &declaration.name.value;
                    let watched = Watched::new(&self.globals);
                    let value = match (self.options.build_arg(name), &declaration.default) {
                        (Some(given), _) => Some((given.to_owned(), false)),
                        (None, Some(default)) => {
                            word(&default.value, default.span, escape, &watched, &mut self.problems)
                                .map(|value| (value, is_bound || watched.was_tainted.get()))
                        }
                        (None, None) => None,
                    };
                    if let Some((value, is_tainted)) = value {
                        self.globals.set(name, value, is_tainted);
                    }
                    self.declared.push(name.clone());
                }
                self.take_owner(Arc::clone(instruction));
                return;
            }
            _ if self.matrices.concerns(instruction) => {
                let (bindings, scope) = (&self.bindings, &self.globals.scope);
                self.taken.extend(self.matrices.resolved(instruction, bindings, escape, scope, &mut self.problems));
                return;
            }
            _ => {}
        }
        self.taken.push(Arc::clone(instruction));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_dsl::extended::Dialect;
    use kiln_dsl::parser;
    use proptest::prelude::*;

    fn chosen(text: &str, args: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let parsed = parser::parse_as(text, Dialect::Kiln);
        assert!(!parsed.has_errors(), "{text}: {:?}", parsed.diagnostics);
        let mut options = Options::new(kiln_dsl::platform::Platform::host());
        options.build_args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match choose(&parsed.document, &options, Unroll::All) {
            Ok(document) => Ok(document.instructions.iter().map(|one| one.original.clone()).collect()),
            Err(problems) => Err(problems.into_iter().map(|one| one.message).collect::<Vec<_>>().join("; ")),
        }
    }

    const TEXT: &str = "ARG V=1\nARG DEBUG\nIF V >= 2\nFROM new AS base\nELSE IF V == \"1\"\nFROM old AS base\nELSE\n\
                        FROM none AS base\nEND\nFROM base\nIF DEBUG\nRUN debug\nIF V > 1\nRUN newer\nEND\nELSE\nRUN release\nEND\n";

    #[test]
    fn one_branch_of_each_choice_is_taken() {
        let plain = ["ARG V=1", "ARG DEBUG"];
        for (args, rest) in [
            (&[][..], &["FROM old AS base", "FROM base", "RUN release"][..]),
            (&[("V", "2"), ("DEBUG", "1")], &["FROM new AS base", "FROM base", "RUN debug", "RUN newer"]),
            (&[("V", "0.9"), ("DEBUG", "yes")], &["FROM none AS base", "FROM base", "RUN debug"]),
        ] {
            assert_eq!(chosen(TEXT, args).unwrap(), [&plain[..], rest].concat(), "{args:?}");
        }
    }

    #[test]
    fn conditions_see_what_stands_above_them() {
        let early = "IF V == \"1\"\nARG V=1\nEND\nFROM a\n";
        assert_eq!(chosen(early, &[]), Err("no build argument is called V".to_owned()));
        let stage = "FROM a\nARG V=1\nIF V == \"1\"\nRUN x\nEND\n";
        assert_eq!(chosen(stage, &[]), Err("no build argument is called V".to_owned()));
        let nested = "ARG A=1\nFROM a\nIF not A\nIF NONE\nRUN x\nEND\nEND\n";
        assert_eq!(chosen(nested, &[]).unwrap(), ["ARG A=1", "FROM a"]);
        let within = "ARG A=1\nIF A\nARG B=2\nEND\nIF B == \"2\"\nFROM b\nELSE\nFROM c\nEND\n";
        assert_eq!(chosen(within, &[]).unwrap(), ["ARG A=1", "ARG B=2", "FROM b"]);
        assert!(chosen("IF TARGETARCH == BUILDARCH\nFROM a\nEND\n", &[]).is_ok());
        let none = "ARG A\nIF A\nFROM a\nEND\n";
        assert!(chosen(none, &[]).unwrap_err().contains("nothing to build"));
    }

    proptest! {
        /// Whatever the conditions are, what is taken is what stands there by hand.
        #[test]
        fn a_choice_is_the_branch_written_alone(holds in proptest::collection::vec(any::<bool>(), 3)) {
            let condition = |at: usize| if holds[at] { "T" } else { "F" };
            let text = format!(
                "ARG T=1\nARG F=0\nFROM a\nIF {}\nRUN 1\nIF {}\nRUN 2\nELSE\nRUN 3\nEND\nELSE IF {}\nRUN 4\nELSE\nRUN 5\nEND\nRUN 6\n",
                condition(0), condition(1), condition(2),
            );
            let taken: &[&str] = match (holds[0], holds[1], holds[2]) {
                (true, true, _) => &["RUN 1", "RUN 2"],
                (true, false, _) => &["RUN 1", "RUN 3"],
                (false, _, true) => &["RUN 4"],
                (false, _, false) => &["RUN 5"],
            };
            let by_hand = format!("ARG T=1\nARG F=0\nFROM a\n{}\nRUN 6\n", taken.join("\n"));
            prop_assert_eq!(chosen(&text, &[]), chosen(&by_hand, &[]));
        }
    }
}

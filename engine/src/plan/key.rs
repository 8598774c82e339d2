//! A stated key with all filled in that the plan knows: variables, stages, paths from the working directory.
//!
//! Pure. What the parts come to is for the engine to look at once the step's inputs are there.

use super::Planner;
use super::stages::{self, StageText};
use super::state::StageState;
use super::step::{ContextId, Origin};
use crate::graph::NodeId;
use crate::key::declared::{
    Declared, Glob, LinePattern, Parent, Part, Place, PlacedPath, Rhythm, Usual, Variable, What,
};
use crate::tree::TreePath;
use kiln_dsl::ast::{Instruction, KeyFlag};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::expand::Variables as _;
use kiln_dsl::key::set::Element;
use kiln_dsl::key::{self, Atom, Git};
use kiln_dsl::remote::Http;
use kiln_dsl::span::{Span, Spanned};

/// The stages that an instruction's key reads.
pub(super) fn stages_read(instruction: &Instruction) -> impl Iterator<Item = &str> {
    let elements = instruction.key.iter().flat_map(|key| &key.set.elements);
    elements.filter_map(|element| match place_of(&element.atom) {
        Some(key::Place::Stage(name)) => Some(name.value.as_str()),
        _ => None,
    })
}

fn place_of(atom: &Atom) -> Option<&key::Place> {
    match atom {
        Atom::Files(files) => Some(&files.place),
        Atom::Absent(path) | Atom::Data { path, .. } | Atom::Lines { path, .. } => Some(&path.place),
        _ => None,
    }
}

impl Planner<'_> {
    /// The key that `flag` states for a step in this state; stages that it reads join `inputs`.
    pub(super) fn declared(
        &mut self,
        flag: &KeyFlag,
        stage: &StageText<'_>,
        state: &StageState,
        inputs: &mut Vec<NodeId>,
    ) -> Option<Declared> {
        let mut declared =
            Declared { parts: Vec::new(), usual: Usual::default(), rhythm: Rhythm::Keyed, span: flag.span };
        let mut is_sound = true;
        for element in &flag.set.elements {
            match &element.atom {
                Atom::Default | Atom::Traced | Atom::Parent => take_usual(&mut declared.usual, &element.atom),
                Atom::Always => declared.rhythm = Rhythm::Always,
                // Nothing more counts than what always does; the platform does always.
                Atom::Never | Atom::Platform => {}
                _ => match self.part(element, stage, state, inputs) {
                    Some(part) => declared.parts.push(part),
                    None => is_sound = false,
                },
            }
        }
        for element in &flag.set.without {
            match &element.atom {
                Atom::Parent => declared.usual.parent = Parent::Ignored,
                Atom::Env(names) => self.without(Variable::Env, names, element, state, &mut declared.usual),
                Atom::Arg(names) => self.without(Variable::Arg, names, element, state, &mut declared.usual),
                _ => {}
            }
        }
        is_sound.then_some(declared)
    }

    /// Takes a variable out of the usual key; one that is not in it is most likely misspelt.
    fn without(
        &mut self,
        kind: Variable,
        names: &[Spanned<String>],
        element: &Element,
        state: &StageState,
        usual: &mut Usual,
    ) {
        for name in names {
            let is_arg = state.args.iter().any(|(other, _)| *other == name.value);
            if state.scope.get(&name.value).is_none() || is_arg != (kind == Variable::Arg) {
                let other = if kind == Variable::Env { Variable::Arg } else { Variable::Env };
                let (word, other) = (kind.word(), other.word());
                let message = format!("no {word} is called {} here, so it cannot be taken out", name.value);
                let finding = Diagnostic::error("NotInKey", element.span, message);
                let is_other = state.scope.get(&name.value).is_some();
                self.problems.push(match is_other {
                    true => finding.with_help(format!("it is an {other}: write {}", other_word(kind, &name.value))),
                    false => finding.with_help("remove it from the key"),
                });
                continue;
            }
            usual.without.push((kind, name.value.clone()));
        }
    }

    fn part(
        &mut self,
        element: &Element,
        stage: &StageText<'_>,
        state: &StageState,
        inputs: &mut Vec<NodeId>,
    ) -> Option<Part> {
        let place = match place_of(&element.atom) {
            Some(place) => self.place(place, element.span, stage, inputs)?,
            None => Place::Snapshot,
        };
        let from = match place {
            Place::Snapshot => TreePath::new(state.workdir()),
            _ => TreePath::root(),
        };
        let placed = |path: &key::PathArg| PlacedPath {
            place: place.clone(),
            path: match path.path.value.starts_with('/') {
                true => TreePath::new(&path.path.value),
                false => TreePath::new([from.as_bytes(), b"/", path.path.value.as_bytes()].concat()),
            },
        };
        let (label, what) = match &element.atom {
            Atom::Files(files) => {
                let texts: Vec<String> = files
                    .globs
                    .iter()
                    .map(|glob| format!("{}{}", if glob.negated { "!" } else { "" }, glob.pattern.value))
                    .collect();
                let globs =
                    files.globs.iter().map(|glob| Glob::new(glob.negated, &glob.pattern.value, &from)).collect();
                (format!("files {}{}", files.place, texts.join(" ")), What::Files { place: place.clone(), globs })
            }
            Atom::Absent(path) => (format!("absence of {path}"), What::Absent(placed(path))),
            Atom::Data { format, path, selectors } => {
                let selector = selectors.first().map(|one| one.value.clone()).unwrap_or_default();
                let label = format!("{} {path} {selector}", format.word());
                (label, What::Data { format: *format, path: placed(path), selector })
            }
            Atom::Lines { path, pattern } => {
                let regex = match regex_lite::Regex::new(&pattern.value) {
                    Ok(regex) => regex,
                    Err(error) => {
                        let message = format!("{:?} is no regular expression: {error}", pattern.value);
                        self.problems.push(Diagnostic::error("InvalidKeyArgument", pattern.span, message));
                        return None;
                    }
                };
                (
                    format!("lines of {path} like {}", pattern.value),
                    What::Lines { path: placed(path), pattern: LinePattern(regex) },
                )
            }
            Atom::Env(names) => {
                let name = names.first()?;
                let value = state.scope.get(&name.value).map(str::to_owned);
                (format!("ENV {}", name.value), What::Variable { kind: Variable::Env, name: name.value.clone(), value })
            }
            Atom::Arg(names) => {
                let name = names.first()?;
                let is_declared = state.args.iter().any(|(other, _)| *other == name.value);
                let value = state.scope.get(&name.value).filter(|_| is_declared).map(str::to_owned);
                (format!("ARG {}", name.value), What::Variable { kind: Variable::Arg, name: name.value.clone(), value })
            }
            Atom::Secret(id) => (format!("secret {}", id.value), What::Secret(id.value.clone())),
            Atom::Run(command) => (format!("output of {}", command.value), What::Run(command.value.clone())),
            Atom::Image(name) => {
                let what = What::Image { name: name.value.clone(), platform: state.platform.clone() };
                (format!("image {}", name.value), what)
            }
            Atom::Http(url) => {
                let shown = Http { url: url.value.clone(), file_name: String::new() }.shown();
                (format!("answer of {shown}"), What::Http(url.value.clone()))
            }
            Atom::Git(git) => {
                let word = match git {
                    Git::Head => "git head".to_owned(),
                    Git::Dirty => "git dirty".to_owned(),
                    Git::Path(path) => format!("git {}", path.value),
                };
                let context = match self.main_context(stage, element.span) {
                    Origin::Context(ContextId(id)) => Some(id),
                    Origin::Step { .. } => None,
                };
                (word, What::Git { context, what: git.clone() })
            }
            Atom::Time(period) => (format!("time {period}"), What::Time(*period)),
            Atom::Platform | Atom::Parent | Atom::Traced | Atom::Default | Atom::Always | Atom::Never => return None,
        };
        let text = element.text.clone();
        let label = element.normalisers.iter().fold(label, |label, one| format!("{label} | {}", one.word()));
        let normalisers = element.normalisers.clone();
        Some(Part { label, text, span: element.span, optional: element.optional, normalisers, what })
    }

    fn place(
        &mut self,
        place: &key::Place,
        span: Span,
        stage: &StageText<'_>,
        inputs: &mut Vec<NodeId>,
    ) -> Option<Place> {
        let name = match place {
            key::Place::Snapshot => return Some(Place::Snapshot),
            key::Place::Context => {
                return Some(match self.main_context(stage, span) {
                    Origin::Context(ContextId(id)) => Place::Context(id),
                    Origin::Step { node, name } => {
                        inputs.extend(node);
                        Place::Step { node, name }
                    }
                });
            }
            key::Place::Stage(name) => name,
        };
        let Some(index) = self.stage_named(&name.value, stage.index, true) else {
            let error =
                Diagnostic::error("UnknownStage", name.span, format!("no stage above is called {}", name.value));
            let above = self.stages[..stage.index].iter().filter_map(|stage| stage.name.as_deref());
            let error = match kiln_dsl::suggest::nearest(&name.value, above) {
                Some(near) => error.with_help(format!("did you mean {near}?")),
                None if stages::by_name(self.stages, &name.value).is_some() => {
                    error.with_help("a key reads the result of a stage that stands above")
                }
                None => error.with_help("name a stage with FROM … AS"),
            };
            self.problems.push(error);
            return None;
        };
        self.stage(index);
        let source = self.done[index].as_ref()?;
        let node = source.node;
        self.is_tainted |= source.is_tainted;
        inputs.extend(node);
        Some(Place::Step { node, name: format!("stage {:?}", self.stages[index].label()) })
    }
}

fn take_usual(usual: &mut Usual, atom: &Atom) {
    usual.environment |= *atom != Atom::Parent;
    usual.parent = match (atom, usual.parent) {
        (Atom::Parent, _) | (_, Parent::Whole) => Parent::Whole,
        (Atom::Traced, _) | (_, Parent::Traced) => Parent::Traced,
        _ => Parent::Usual,
    };
}

/// The other kind's way to name a variable.
fn other_word(kind: Variable, name: &str) -> String {
    match kind {
        Variable::Env => format!("arg({name})"),
        Variable::Arg => format!("env({name})"),
    }
}

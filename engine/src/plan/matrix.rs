//! The branches of a stage with FOR, and what the names of branches mean in FROM, COPY and mounts.
//!
//! Pure. Knows nothing of IF; whoever walks through the file asks here for each stage and each instruction.

use super::Options;
use super::branches::Unroll;
use super::instruction::mount_from;
use super::scope::Scope;
use super::stages::word;
use kiln_dsl::ast::{Command, From, Instruction, Source, Word};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::expand::Layered;
use kiln_dsl::extended::branch_name::{self, BranchName};
use kiln_dsl::span::Span;
use kiln_dsl::{mount, suggest};
use std::sync::Arc;

/// The most branches that a stage has; a slip in a product of lists is told before it fills the memory.
const MAX_BRANCHES: usize = 10_000;

/// All stages with branches that stand above.
#[derive(Default)]
pub struct Matrices {
    list: Vec<Matrix>,
}

/// A stage with branches.
struct Matrix {
    /// Its name as written.
    name: String,
    /// Where that stands.
    span: Span,
    axes: Vec<String>,
    branches: Vec<Branch>,
    /// The only branch that the document has, if it has not all.
    only: Option<usize>,
}

/// One branch.
#[derive(Clone)]
pub struct Branch {
    /// The variables with their values, in the order of the FORs.
    pub bindings: Vec<(String, String)>,
    values: Vec<String>,
}

impl Matrix {
    fn branch_name(&self, at: usize) -> String {
        // Where only one branch is there, it stands for the others.
        let branch = &self.branches[self.only.unwrap_or(at)];
        branch_name::of(&self.name, &branch.values)
    }

    fn names(&self) -> Vec<String> {
        self.branches.iter().map(|branch| branch_name::of(&self.name, &branch.values)).collect()
    }
}

/// A few of many names, for a help.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// The values of an axis with the place of each.
fn values(axis: &kiln_dsl::ast::Axis, escape: char, scope: &Scope, out: &mut Vec<Diagnostic>) -> Vec<Word> {
    let mut all: Vec<Word> = Vec::new();
    let name = &axis.name.value;
    let error = |span, message: String| Diagnostic::error("InvalidMatrix", span, message);
    for written in &axis.values {
        let Some(expanded) = word(&written.value, written.span, escape, scope, out) else { continue };
        for value in expanded.split_whitespace() {
            if !branch_name::is_value(value) {
                let message = format!("{value:?} cannot be a value of {name}");
                let help = "a value becomes a part of names: no blanks, quotes, commas, brackets, braces, $, * and \\";
                out.push(error(written.span, message).with_help(help));
            } else if let Some(other) = all.iter().find(|other| other.value.eq_ignore_ascii_case(value)) {
                let message = format!("the value {value} of {name} is there twice");
                let finding = error(written.span, message).with_related(other.span, "first here");
                out.push(finding.with_help("remove one of the two; case does not count in names"));
            } else {
                all.push(Word::new(value.to_owned(), written.span));
            }
        }
    }
    if let (true, Some(first), true) = (all.is_empty(), axis.values.first(), out.is_empty()) {
        let message = format!("FOR {name} has no values once its variables are expanded");
        out.push(error(first.span, message).with_help("give the ARG a default before the first FROM"));
    }
    all
}

impl Matrices {
    /// Whether an instruction names a branch that it reads from.
    pub fn reads_branch(instruction: &Instruction) -> bool {
        match &instruction.command {
            Command::From(from) => BranchName::is_meant(&from.image.value),
            Command::Copy(copy) => copy.from.as_ref().is_some_and(|from| BranchName::is_meant(&from.value)),
            Command::Run(run) => run.mounts.iter().any(|mount| BranchName::is_meant(&mount.value)),
            _ => false,
        }
    }

    /// Whether an instruction cannot be taken as it is.
    pub fn concerns(&self, instruction: &Instruction) -> bool {
        let from_whole = |name: &str| self.named(name).is_some();
        match &instruction.command {
            Command::Copy(copy) => {
                copy.from.as_ref().is_some_and(|from| BranchName::is_meant(&from.value) || from_whole(&from.value))
            }
            Command::Run(run) => run.mounts.iter().any(|mount| {
                let from = mount_from(&mount.value).unwrap_or_default();
                BranchName::is_meant(&from) || from_whole(&from)
            }),
            _ => false,
        }
    }

    fn named(&self, name: &str) -> Option<&Matrix> {
        self.list.iter().rev().find(|matrix| matrix.name.eq_ignore_ascii_case(name))
    }

    /// Adds the matrix of a stage; gives its branches, or the one that is asked for.
    pub fn add(
        &mut self,
        from: &From,
        escape: char,
        scope: &Scope,
        options: &Options,
        unroll: Unroll,
        out: &mut Vec<Diagnostic>,
    ) -> Vec<Branch> {
        let Some(name) = &from.name else { return Vec::new() };
        let axes: Vec<Vec<Word>> = from.axes.iter().map(|axis| values(axis, escape, scope, out)).collect();
        let count = axes.iter().fold(1_usize, |count, values| count.saturating_mul(values.len()));
        if count > MAX_BRANCHES {
            let message = format!("{count} branches are more than the {MAX_BRANCHES} that a stage may have");
            out.push(Diagnostic::error("InvalidMatrix", from.axes[0].name.span, message));
            return Vec::new();
        }
        let mut branches: Vec<Vec<String>> = vec![Vec::new()];
        for values in &axes {
            let longer = |branch: &Vec<String>| {
                let branch = branch.clone();
                values.iter().map(move |value| [branch.clone(), vec![value.value.clone()]].concat())
            };
            branches = branches.iter().flat_map(longer).collect();
        }
        leave_out(from, &mut branches, escape, scope, out);
        let names: Vec<String> = from.axes.iter().map(|axis| axis.name.value.clone()).collect();
        let bound = |values: Vec<String>| {
            let bindings = names.iter().cloned().zip(values.iter().cloned()).collect();
            Branch { bindings, values: values.iter().map(|value| value.to_lowercase()).collect() }
        };
        let branches: Vec<Branch> = branches.into_iter().map(bound).collect();
        if let (true, true) = (branches.is_empty(), out.is_empty()) {
            let message = format!("EXCEPT leaves no branch of {}", name.value);
            out.push(Diagnostic::error("InvalidMatrix", name.span, message));
        }
        let targeted = options.target.as_deref().and_then(BranchName::parse).and_then(|target| {
            let is_own = target.stage.eq_ignore_ascii_case(&name.value);
            branches.iter().position(|branch| is_own && target.matches(&branch.values))
        });
        let only = (unroll == Unroll::One).then(|| targeted.unwrap_or(0)).filter(|_| !branches.is_empty());
        let taken = match only {
            None => branches.clone(),
            Some(only) => vec![branches[only].clone()],
        };
        self.list.push(Matrix { name: name.value.clone(), span: name.span, axes: names, branches, only });
        taken
    }

    /// The FROM of a stage, or of a branch with its variables.
    pub fn from(
        &self,
        instruction: &Arc<Instruction>,
        from: &From,
        bindings: &[(String, String)],
        escape: char,
        scope: &Scope,
        out: &mut Vec<Diagnostic>,
    ) -> Arc<Instruction> {
        let mut named = from.clone();
        let mut is_changed = !bindings.is_empty();
        if let Some(name) = named.name.as_mut().filter(|_| !bindings.is_empty()) {
            let values: Vec<String> = bindings.iter().map(|(_, value)| value.to_lowercase()).collect();
            name.value = branch_name::of(&name.value, &values);
        } else if let Some(name) = &from.name
            && let Some(matrix) = self.named(&name.value)
        {
            let message = format!("{} is the name of a stage with branches already", name.value);
            let finding = Diagnostic::error("InvalidMatrix", name.span, message).with_related(matrix.span, "here");
            out.push(finding.with_help("give one of the two another name"));
        }
        if !self.list.is_empty() || BranchName::is_meant(&from.image.value) {
            let seen = Layered { first: bindings, below: scope };
            // What cannot be expanded is told where FROM is.
            let expanded = kiln_dsl::expand::word(&from.image.value, escape, &seen).ok();
            if let Some(name) = expanded.and_then(|expanded| self.one(&expanded.value, from.image.span, out)) {
                named.image.value = name;
                is_changed = true;
            }
        }
        if !is_changed {
            return Arc::clone(instruction);
        }
        (named.axes, named.exceptions, named.bindings) = (Vec::new(), Vec::new(), bindings.to_vec());
        Arc::new(Instruction { command: Command::From(named), ..(**instruction).clone() })
    }

    /// The one branch that a name means; `None` where it means no branch, or is wrong, which is told.
    fn one(&self, name: &str, span: Span, out: &mut Vec<Diagnostic>) -> Option<String> {
        let (matrix, found) = self.find(name, span, out)?;
        if let [only] = found.as_slice() {
            return Some(matrix.branch_name(*only));
        }
        let message = format!("{name} means {} branches, and one is needed here", found.len());
        let help = format!("write one of {}", some(&matrix.names()));
        out.push(Diagnostic::error("UnknownBranch", span, message).with_help(help));
        None
    }

    /// The branches that a name means, at least one.
    fn find(&self, name: &str, span: Span, out: &mut Vec<Diagnostic>) -> Option<(&Matrix, Vec<usize>)> {
        let error = |message: String| Diagnostic::error("UnknownBranch", span, message);
        if !BranchName::is_meant(name) {
            let matrix = self.named(name)?;
            let names = matrix.names();
            let message = format!("the stage {name} has {} branches, and none is named here", names.len());
            out.push(error(message).with_help(format!("write one of {}", some(&names))));
            return None;
        }
        let Some(wanted) = BranchName::parse(name) else {
            let help = "write stage[value], with a value for each FOR, or stage[*]";
            out.push(error(format!("{name:?} is no name of a branch")).with_help(help));
            return None;
        };
        let Some(matrix) = self.named(&wanted.stage) else {
            let finding = error(format!("no stage above that is called {} has branches", wanted.stage));
            let near = suggest::nearest(&wanted.stage, self.list.iter().map(|matrix| matrix.name.as_str()));
            out.push(match near {
                Some(near) => finding.with_help(format!("did you mean {near}?")),
                None => finding.with_help("a stage has branches where its FROM says FOR, and stands above its uses"),
            });
            return None;
        };
        let all = 0..matrix.branches.len();
        let found: Vec<usize> = all.filter(|&at| wanted.matches(&matrix.branches[at].values)).collect();
        if found.is_empty() {
            let names = matrix.names();
            let help = match suggest::nearest(name, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there is {}", some(&names)),
            };
            let finding = error(format!("there is no branch {wanted}")).with_related(matrix.span, "the stage");
            out.push(finding.with_help(help));
            return None;
        }
        Some((matrix, found))
    }

    /// What an instruction comes to once the branches that it reads from are known.
    pub fn resolved(
        &self,
        instruction: &Instruction,
        bindings: &[(String, String)],
        escape: char,
        scope: &Scope,
        out: &mut Vec<Diagnostic>,
    ) -> Vec<Arc<Instruction>> {
        let expanded = |text: &str, span: Span, out: &mut Vec<Diagnostic>| match text.split_once('[') {
            Some((_, values)) if values.contains('$') => {
                word(text, span, escape, &Layered { first: bindings, below: scope }, out)
            }
            _ => Some(text.to_owned()),
        };
        match &instruction.command {
            Command::Copy(copy) => {
                let Some(from) = &copy.from else { return Vec::new() };
                let Some(name) = expanded(&from.value, from.span, out) else { return Vec::new() };
                self.copies(instruction, from, &name, out)
            }
            Command::Run(run) => {
                let mut changed = instruction.clone();
                let mut mounts = run.mounts.clone();
                for mount in &mut mounts {
                    let Some(range) = mount::from_range(&mount.value) else { continue };
                    let written = mount.value[range.clone()].to_owned();
                    let Some(name) = expanded(&written, mount.span, out) else { continue };
                    let Some(name) = self.one(&name, mount.span, out) else { continue };
                    mount.value.replace_range(range, &name);
                    replace(&mut changed, &written, &name);
                }
                if let Command::Run(run) = &mut changed.command {
                    run.mounts = mounts;
                }
                vec![Arc::new(changed)]
            }
            _ => vec![Arc::new(instruction.clone())],
        }
    }

    /// COPY from the branches that `name` means: one for each.
    fn copies(
        &self,
        instruction: &Instruction,
        from: &Word,
        name: &str,
        out: &mut Vec<Diagnostic>,
    ) -> Vec<Arc<Instruction>> {
        let Some((matrix, found)) = self.find(name, from.span, out) else { return Vec::new() };
        let open = BranchName::parse(name).map(|name| name.open(matrix.axes.len())).unwrap_or_default();
        let Command::Copy(copy) = &instruction.command else { return Vec::new() };
        let holder = |axis: usize| format!("{{{}}}", matrix.axes[axis]);
        if let Some(missing) = open.iter().map(|&axis| holder(axis)).find(|text| !copy.destination.value.contains(text))
        {
            let message = format!("the destination does not hold {missing}: the branches would overwrite each other");
            let help = format!("write {missing} where the value belongs, as in /results/{missing}");
            out.push(Diagnostic::error("MissingVariable", copy.destination.span, message).with_help(help));
            return Vec::new();
        }
        let found = if matrix.only.is_some() { &found[..1] } else { &found[..] };
        let one = |&at: &usize| {
            let mut changed = instruction.clone();
            replace(&mut changed, &from.value, &matrix.branch_name(at));
            let Command::Copy(copy) = &mut changed.command else { return Arc::new(changed) };
            copy.from = Some(Word::new(matrix.branch_name(at), from.span));
            let words = copy.sources.iter_mut().filter_map(|source| match source {
                Source::Path(word) => Some(word),
                Source::Heredoc(_) => None,
            });
            let words = words.chain([&mut copy.destination]).chain(&mut copy.excludes);
            let words: Vec<&mut Word> = words.chain(&mut copy.chown).chain(&mut copy.chmod).collect();
            let values = &matrix.branches[at].bindings;
            for word in words {
                for &axis in &open {
                    word.value = word.value.replace(&holder(axis), &values[axis].1);
                }
            }
            for &axis in &open {
                changed.original = changed.original.replace(&holder(axis), &values[axis].1);
            }
            Arc::new(changed)
        };
        found.iter().map(one).collect()
    }
}

/// Takes the branches out of `branches` that EXCEPT names.
fn leave_out(from: &From, branches: &mut Vec<Vec<String>>, escape: char, scope: &Scope, out: &mut Vec<Diagnostic>) {
    let all = branches.clone();
    for exception in &from.exceptions {
        let mut wanted: Vec<(usize, String)> = Vec::new();
        for (name, value) in &exception.pairs {
            let axis = from.axes.iter().position(|axis| axis.name.value == name.value);
            if let (Some(axis), Some(value)) = (axis, word(&value.value, value.span, escape, scope, out)) {
                wanted.push((axis, value));
            }
        }
        let is_meant = |branch: &Vec<String>| {
            wanted.iter().all(|(axis, value)| branch.get(*axis).is_some_and(|own| own.eq_ignore_ascii_case(value)))
        };
        if !all.iter().any(is_meant) && out.is_empty() {
            let words: Vec<String> =
                exception.pairs.iter().map(|(name, value)| format!("{}={}", name.value, value.value)).collect();
            let message = format!("no branch has {}, so EXCEPT leaves none out", words.join(" and "));
            let help = "name values that stand behind the IN of their variables, or remove the EXCEPT";
            out.push(Diagnostic::error("InvalidMatrix", exception.span, message).with_help(help));
        }
        branches.retain(|branch| !is_meant(branch));
    }
}

/// Puts the name of a branch where it was written, in the texts that an instruction keeps.
fn replace(instruction: &mut Instruction, written: &str, name: &str) {
    if written != name {
        instruction.original = instruction.original.replacen(written, name, 1);
        for flag in &mut instruction.flags {
            flag.value = flag.value.replacen(written, name, 1);
        }
    }
}

#[cfg(test)]
mod tests;

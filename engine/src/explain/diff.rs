//! Two builds as if the second had been made after the first: what differs, and what that drags along.
//!
//! Made of the keys that both kept, so that nothing has to run again. Pure.

use super::align::{self, Item, Origin};
use super::compare::{self, Listing};
use super::files;
use super::record::{Before, Build, Dragged, Why};
use super::verdict::{Hit, Miss, Verdict};
use super::{Change, Presence, secrecy};
use crate::key::Component;
use crate::stack::Stacks;

/// A build with its steps' keys.
pub type WithKeys<'a> = (&'a Build, &'a [Vec<Component>]);

/// `new`, each step explained by what `old` had. Steps that differ count as run, with the time that they took.
pub fn diff(
    (old, old_keys): WithKeys<'_>,
    (new, new_keys): WithKeys<'_>,
    listing: Listing<'_>,
    stacks: &Stacks<'_>,
) -> Build {
    fn items(build: &Build) -> Vec<Item<'_>> {
        let steps = build.steps.iter();
        steps.map(|step| Item { stage: &step.stage, platform: &step.platform, text: &step.written }).collect()
    }
    let aligned = align::align(&items(old), &items(new));
    let mut build = new.clone();
    build.before = Some(Before {
        id: old.id,
        started_nanos: old.started_nanos,
        asked: old.asked.clone(),
        removed: aligned.removed.iter().map(|&index| old.steps[index].name.clone()).collect(),
        stages_moved: aligned.stages_moved,
    });
    let empty: &[Component] = &[];
    let key = |keys: &'_ [Vec<Component>], index: usize| keys.get(index).cloned().unwrap_or_default();
    for index in 0..build.steps.len() {
        let origin = aligned.origins[index];
        let Some(before) = origin.old().map(|at| (at, &old.steps[at])) else {
            let text = Some(build.steps[index].instruction.clone());
            let change = Change::Text { label: "the instruction".to_owned(), old: None, new: text };
            let step = &mut build.steps[index];
            step.why = Why { changes: vec![change], ..Why::default() };
            step.verdict = ended(step.layer.is_some() || step.key.is_some(), Miss::FirstTime);
            continue;
        };
        let (at, before) = before;
        let (a, b) = (key(old_keys, at), key(new_keys, index));
        let mut why = Why::default();
        if a.is_empty() || b.is_empty() {
            if before.instruction != build.steps[index].instruction {
                why.changes.push(instruction_change(&before.instruction, &build.steps[index].instruction));
            } else if secrecy::names_in(&before.instruction).any(|name| is_other_argument(old, new, name)) {
                why.changes.push(Change::Hidden { label: "the instruction".to_owned(), how: Presence::Changed });
            }
        } else {
            let found = compare::compare(&a, if b.is_empty() { empty } else { &b }, listing, stacks);
            why.dragged = found
                .changes
                .iter()
                .filter_map(|change| {
                    let label = change.label();
                    // What comes from another stage is that stage's doing.
                    let is_from_stage = label == "files" && build.steps[index].instruction.contains("--from=");
                    let root = if is_from_stage { changed_input(&build, index) } else { setter(&build, index, label) };
                    root.map(|root| (label.to_owned(), Some(root)))
                })
                .chain(found.stacks.iter().map(|stack| (stack.label.clone(), changed_input(&build, index))))
                .map(|(label, root)| {
                    let name = root.map_or_else(|| gone(&build, index), |root| build.steps[root].name.clone());
                    Dragged { label, root, name }
                })
                .collect();
            why.changes = found.changes;
        }
        if let Origin::Moved(_) = origin {
            why.changes.push(Change::Moved { old: at + 1, new: index + 1 });
        }
        let step = &mut build.steps[index];
        let is_same = why.changes.is_empty() && why.dragged.is_empty();
        if step.layer != before.layer
            && let (Some(a), Some(b)) = (before.layer, step.layer)
        {
            why.unstable = is_same && step.key.is_some() && step.key == before.key;
            why.output = Some(match (listing(a), listing(b)) {
                (Some(a), Some(b)) => files::diff(&a, &b),
                _ => super::FileSet::default(),
            });
        }
        why.same_output = !is_same && step.layer.is_some() && step.layer == before.layer;
        step.why = why;
        step.verdict = match super::causes::has_own_change(step) {
            _ if is_same && step.key.is_none() => Verdict::Hit(Hit::Configuration),
            _ if is_same => Verdict::Hit(Hit::Local),
            true => ended(step.key.is_some(), Miss::Changed),
            false => ended(step.key.is_some(), Miss::ParentChanged),
        };
        step.earlier = Some(if before.verdict.ran() { before.duration } else { before.earlier.unwrap_or(0.0) });
        step.duration =
            if step.verdict.ran() { step.duration.max(new.steps[index].earlier.unwrap_or(0.0)) } else { 0.0 };
    }
    build
}

/// An instruction that only changes the configuration never runs, whatever it was.
fn ended(is_step: bool, miss: Miss) -> Verdict {
    if is_step { Verdict::Miss(miss) } else { Verdict::Hit(Hit::Configuration) }
}

/// Whether two builds were given different values of an argument.
fn is_other_argument(old: &Build, new: &Build, name: &str) -> bool {
    let given =
        |build: &Build| build.asked.build_args.iter().find(|(other, _)| other == name).map(|(_, digest)| *digest);
    given(old) != given(new)
}

/// The change of an instruction's text; one that sets a secret is not repeated.
pub fn instruction_change(old: &str, new: &str) -> Change {
    let label = "the instruction".to_owned();
    match [old, new].iter().any(|text| secrecy::sets_secret(text)) {
        true => Change::Hidden { label, how: Presence::Changed },
        false => Change::Text { label, old: Some(old.to_owned()), new: Some(new.to_owned()) },
    }
}

/// The instruction before `index` in its stage that sets the variable of this component and differs itself.
fn setter(build: &Build, index: usize, label: &str) -> Option<usize> {
    let (keyword, name) = label.split_once(' ').filter(|(keyword, _)| matches!(*keyword, "ENV" | "ARG"))?;
    let (stage, platform) = (&build.steps[index].stage, &build.steps[index].platform);
    (0..index).rev().find(|&at| {
        let step = &build.steps[at];
        step.stage == *stage
            && step.platform == *platform
            && step.instruction.split_once(' ').is_some_and(|(word, rest)| word == keyword && sets(rest, name))
            && !step.why.changes.is_empty()
    })
}

/// Whether a list of assignments sets `name`.
pub fn sets(assignments: &str, name: &str) -> bool {
    let mut rest = assignments;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].chars().next();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !before.is_some_and(|c| is_word(c) || c == '$' || c == '{') && !after.is_some_and(is_word) {
            return true;
        }
        rest = &rest[at + name.len()..];
    }
    false
}

/// The first of the steps on which `index` stands that differs by itself.
fn changed_input(build: &Build, index: usize) -> Option<usize> {
    let mut all = vec![false; index + 1];
    all[index] = true;
    for at in (0..=index).rev() {
        if all[at] {
            for &input in build.steps[at].inputs.iter().filter(|&&input| input < at) {
                all[input] = true;
            }
        }
    }
    (0..index).find(|&at| all[at] && !build.steps[at].why.changes.is_empty() && build.steps[at].verdict.ran())
}

/// The name of an instruction that is gone from the stage of `index`.
fn gone(build: &Build, index: usize) -> String {
    let stage = &build.steps[index].stage;
    let removed = build.before.iter().flat_map(|before| &before.removed);
    let mut of_stage =
        removed.filter(|name| stage.bytes().all(|b| b.is_ascii_digit()) || name.contains(stage.as_str()));
    of_stage.next().cloned().unwrap_or_else(|| "layers that are no longer below".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::causes::tests::{build, step};
    use super::super::causes::{CauseRoot, causes};
    use super::*;
    use crate::digest::{KeyId, LayerId};
    use crate::key::{Key, Value};

    fn layer(n: u8) -> LayerId {
        LayerId::from_bytes([n; 32])
    }

    fn key(command: &str, below: &[u8]) -> Vec<Component> {
        let stack = crate::stack::Stack::of(below.iter().map(|n| layer(*n)));
        let parent = Component { label: "parent".into(), value: Value::Stack(stack) };
        Key::new("RUN", vec![Component::text("the command", command), parent]).components().to_vec()
    }

    fn made(names: &[(&str, u8)], keys: &[Vec<Component>]) -> Build {
        let mut build = build(Vec::new());
        for (index, (name, made)) in names.iter().enumerate() {
            let mut step = step(name, Verdict::Hit(Hit::Local), 0.0, Why::default());
            step.inputs = index.checked_sub(1).into_iter().collect();
            step.layer = Some(layer(*made));
            step.key = Some(Key::id_of(&keys[index]));
            build.steps.push(step);
        }
        build
    }

    #[test]
    fn an_edited_step_drags_along_what_stands_on_it() {
        let (a, b) = ([key("a", &[0]), key("b", &[0, 1])], [key("x", &[0]), key("b", &[0, 3])]);
        let old = made(&[("RUN a", 1), ("RUN b", 2)], &a);
        let new = made(&[("RUN x", 3), ("RUN b", 4)], &b);
        let found = diff((&old, &a), (&new, &b), &|_| None, &Stacks::new(|_| None));
        let all = causes(&found);
        assert_eq!(all.len(), 1);
        assert_eq!((&all[0].root, all[0].ran.as_slice()), (&CauseRoot::Step(0), [0, 1].as_slice()));
    }

    #[test]
    fn a_build_differs_in_nothing_from_itself_and_another_output_of_the_same_key_is_found() {
        let keys = [key("a", &[0])];
        let old = made(&[("RUN a", 1)], &keys);
        let same = diff((&old, &keys), (&old, &keys), &|_| None, &Stacks::new(|_| None));
        assert!(causes(&same).is_empty() && !same.steps[0].why.unstable);
        let new = made(&[("RUN a", 2)], &keys);
        assert!(diff((&old, &keys), (&new, &keys), &|_| None, &Stacks::new(|_| None)).steps[0].why.unstable);
        assert_ne!(new.steps[0].key, Some(KeyId::from_bytes([0; 32])));
    }

    #[test]
    fn a_variable_is_set_only_by_its_whole_name() {
        for text in ["A=1", "B=2 A=1", "A", "A 1", "\"A\"=1"] {
            assert!(sets(text, "A"), "{text}");
        }
        for text in ["AB=1", "B=$A", "B=${A}", "B=1", ""] {
            assert!(!sets(text, "A"), "{text}");
        }
    }
}

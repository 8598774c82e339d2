//! Two keys of one step, component by component: what the step's own inputs changed, and which of what
//! earlier steps made is another.
//!
//! Pure: listings are handed in by a closure.

use super::change::{Change, FileSet, Presence};
use super::files;
use crate::digest::LayerId;
use crate::key::{Component, Value};
use crate::stack::{Difference, Stack, Stacks};
use crate::tree::{Entry, Tree};

/// How two keys of one step differ.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// What differs of its own: texts, values, files.
    pub changes: Vec<Change>,
    /// Which stacks of layers differ.
    pub stacks: Vec<Differing>,
}

/// A stack of layers that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differing {
    /// The component.
    pub label: String,
    /// The first layer that differs, counted from the bottom.
    pub first: usize,
    /// That layer on the older side, if it reaches so far.
    pub old: Option<LayerId>,
    /// And on the newer one.
    pub new: Option<LayerId>,
}

/// Finds a listing by its digest; `None` where it is no longer there.
pub type Listing<'a> = &'a dyn Fn(LayerId) -> Option<Tree>;

/// What differs from `old` to `new`, in the order of the newer key.
pub fn compare(old: &[Component], new: &[Component], listing: Listing<'_>, stacks: &Stacks<'_>) -> Comparison {
    let mut found = Comparison::default();
    let find =
        |list: &[Component], label: &str| list.iter().find(|one| one.label == label).map(|one| one.value.clone());
    // With a `--chmod` the modes of the files are no part of them, so they are not compared with files that have some.
    let sets_mode = |list: &[Component]| matches!(find(list, "--chmod"), Some(Value::Text(mode)) if !mode.is_empty());
    let without_modes = |id| {
        listing(id)
            .map(|tree| Tree::new(tree.into_entries().into_iter().map(|entry| Entry { mode: 0, ..entry }).collect()))
    };
    let has_modes = sets_mode(old) == sets_mode(new);
    let listing: Listing<'_> = if has_modes { listing } else { &without_modes };
    for component in new {
        let before = find(old, &component.label);
        if before.as_ref() != Some(&component.value) {
            add(&mut found, &component.label, before.as_ref(), Some(&component.value), listing, stacks);
        }
    }
    for component in old.iter().filter(|one| find(new, &one.label).is_none()) {
        add(&mut found, &component.label, Some(&component.value), None, listing, stacks);
    }
    if !has_modes {
        found.changes.retain(|change| !matches!(change, Change::Files { set, .. } if set.known && set.is_empty()));
    }
    found
}

/// How many components are the same: the more, the nearer.
pub fn sameness(old: &[Component], new: &[Component]) -> usize {
    old.iter().filter(|one| new.contains(one)).count()
}

fn add(
    found: &mut Comparison,
    label: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    listing: Listing<'_>,
    stacks: &Stacks<'_>,
) {
    let label = label.to_owned();
    let change = match (old, new) {
        (Some(Value::Files { tree: a, .. }), Some(Value::Files { tree: b, .. })) => {
            let set = match (listing(*a), listing(*b)) {
                (Some(a), Some(b)) => files::diff(&a, &b),
                _ => FileSet::default(),
            };
            Change::Files { label, set }
        }
        (Some(Value::Layers(a)), Some(Value::Layers(b))) => {
            let first = a.iter().zip(b).take_while(|(x, y)| x == y).count();
            found.stacks.push(Differing { label, first, old: a.get(first).copied(), new: b.get(first).copied() });
            return;
        }
        (Some(Value::Stack(a)), Some(Value::Stack(b))) => {
            let Difference { first, old, new } = stacks.difference(a, b);
            found.stacks.push(Differing { label, first: usize::try_from(first).unwrap_or(usize::MAX), old, new });
            return;
        }
        // As keys had it before they named snapshots.
        (Some(Value::Layers(a)), Some(Value::Stack(b))) => {
            let a = Stack::of(a.iter().copied());
            if a != *b {
                add(found, &label, Some(&Value::Stack(a)), new, listing, stacks);
            }
            return;
        }
        (Some(Value::Hidden(_)), _) | (_, Some(Value::Hidden(_))) => {
            Change::Hidden { label, how: Presence::of(old, new) }
        }
        _ => {
            let text = |value: Option<&Value>| match value {
                Some(Value::Text(text)) => Some(text.clone()),
                Some(Value::Files { count, .. }) => Some(format!("{count} files")),
                Some(Value::Layers(layers)) => Some(format!("{} layers", layers.len())),
                Some(Value::Stack(stack)) => Some(format!("{} layers", stack.count())),
                Some(Value::Hidden(_)) | None => None,
            };
            Change::Text { label, old: text(old), new: text(new) }
        }
    };
    found.changes.push(change);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(label: &str, layers: &[u8]) -> Component {
        let layers = layers.iter().map(|n| LayerId::from_bytes([*n; 32]));
        Component { label: label.into(), value: Value::Stack(Stack::of(layers)) }
    }

    fn unknown() -> Stacks<'static> {
        Stacks::new(|_| None)
    }

    #[test]
    fn a_list_of_layers_as_keys_had_it_is_the_snapshot_of_these_layers() {
        let list = |layers: &[u8]| {
            let layers = layers.iter().map(|n| LayerId::from_bytes([*n; 32])).collect();
            [Component { label: "parent".into(), value: Value::Layers(layers) }]
        };
        let new = [layers("parent", &[1, 2])];
        assert_eq!(compare(&list(&[1, 2]), &new, &|_| None, &unknown()), Comparison::default());
        assert_eq!(compare(&list(&[1, 3]), &new, &|_| None, &unknown()).stacks[0].first, 1);
    }

    #[test]
    fn what_a_step_has_of_its_own_is_told_apart_from_what_it_stands_on() {
        let old = [layers("parent", &[9, 1, 2]), Component::text("ENV A", "1"), Component::text("ENV C", "1")];
        let new = [layers("parent", &[9, 3]), Component::text("ENV A", "2"), Component::text("ENV B", "1")];
        let found = compare(&old, &new, &|_| None, &unknown());
        let words: Vec<String> = found.changes.iter().map(Change::words).collect();
        assert_eq!(words, ["ENV A changed", "ENV B added", "ENV C removed"]);
        let layer = |n: u8| Some(LayerId::from_bytes([n; 32]));
        assert_eq!(found.stacks, [Differing { label: "parent".into(), first: 1, old: layer(1), new: layer(3) }]);
        assert_eq!(sameness(&old, &new), 0);
        assert_eq!(sameness(&old, &old), 3);
    }

    #[test]
    fn a_stack_that_only_lost_its_top_has_no_newer_layer_there() {
        let found = compare(&[layers("parent", &[9, 1])], &[layers("parent", &[9])], &|_| None, &unknown());
        assert_eq!((found.stacks[0].first, found.stacks[0].new), (1, None));
    }

    #[test]
    fn modes_are_not_compared_where_only_one_side_has_any() {
        let tree = |mode, content: u8| {
            let content = crate::digest::ContentId::from_bytes([content; 32]);
            let kind = crate::tree::Kind::File { size: 1, content };
            let (path, xattrs, mtime) = (crate::tree::TreePath::new("a"), Vec::new(), crate::tree::Mtime::default());
            Tree::new(vec![Entry { path, kind, mode, uid: 0, gid: 0, xattrs, mtime }])
        };
        let key = |chmod: &str, tree: &Tree| {
            let value = Value::Files { tree: tree.id(), count: 1 };
            [Component::text("--chmod", chmod), Component { label: "files".into(), value }]
        };
        let words = |old: (&str, &Tree), new: (&str, &Tree)| {
            let listing = |id| [old.1, new.1].into_iter().find(|tree| tree.id() == id).cloned();
            let found = compare(&key(old.0, old.1), &key(new.0, new.1), &listing, &unknown());
            found.changes.iter().map(Change::words).collect::<Vec<_>>()
        };
        let (with, without, edited) = (tree(0o644, 1), tree(0, 1), tree(0, 2));
        assert_eq!(words(("", &with), ("0755", &without)), ["--chmod changed"]);
        assert_eq!(words(("0755", &edited), ("", &with)), ["--chmod changed", "a changed"]);
        let other = tree(0o600, 1);
        let umask = "mode of a changed from 644 to 600 (another umask?)";
        assert_eq!(words(("", &with), ("", &other)), [umask]);
    }

    #[test]
    fn a_value_that_speaks_of_secrets_is_never_repeated() {
        let key = |value: &str| [Component::variable("ARG", "NPM_TOKEN", value)];
        let found = compare(&key("hunter2"), &key("hunter3"), &|_| None, &unknown());
        assert_eq!(found.changes, [Change::Hidden { label: "ARG NPM_TOKEN".into(), how: Presence::Changed }]);
        assert!(!format!("{:?}", key("hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_listing_that_is_gone_leaves_only_that_the_files_changed() {
        let files = |n: u8| {
            let value = Value::Files { tree: LayerId::from_bytes([n; 32]), count: 1 };
            [Component { label: "files".into(), value }]
        };
        let found = compare(&files(1), &files(2), &|_| None, &unknown());
        assert_eq!(found.changes[0].words(), "files changed");
    }
}

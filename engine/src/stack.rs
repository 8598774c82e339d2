//! The layers of a snapshot by their identities: a list that shares all below its top with the list that it was made of.
//!
//! Its identity is the chain of its layers' digests, so a stack is compared and hashed by 32 bytes whatever its depth.
//! One that was read from a record knows its top only; what is below is found by identity. Knows nothing of files.

use crate::digest::{LayerId, SnapshotId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A list of layers.
#[derive(Clone, Default)]
pub struct Stack(Option<Arc<Link>>);

struct Link {
    id: SnapshotId,
    count: u64,
    layer: LayerId,
    below: Below,
}

enum Below {
    Stack(Stack),
    /// It was read from a record.
    Elsewhere,
}

impl Stack {
    /// The stack without layers.
    pub fn empty() -> Self {
        Stack(None)
    }

    /// The stack of these layers, the bottom one first.
    pub fn of(layers: impl IntoIterator<Item = LayerId>) -> Self {
        layers.into_iter().fold(Stack::empty(), |stack, layer| stack.with(layer))
    }

    /// This stack with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: LayerId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.id().as_bytes());
        hasher.update(layer.as_bytes());
        let (id, below) = (hasher.finalize().into(), Below::Stack(self.clone()));
        Stack(Some(Arc::new(Link { id, count: self.count() + 1, layer, below })))
    }

    /// The chain of the layers' digests.
    pub fn id(&self) -> SnapshotId {
        static EMPTY: std::sync::LazyLock<SnapshotId> =
            std::sync::LazyLock::new(|| blake3::Hasher::new_derive_key(CONTEXT).finalize().into());
        self.0.as_ref().map_or_else(|| *EMPTY, |link| link.id)
    }

    /// How many layers there are.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |link| link.count)
    }

    /// The topmost layer.
    pub fn top(&self) -> Option<LayerId> {
        self.0.as_ref().map(|link| link.layer)
    }

    fn cursor(&self) -> Cursor<'_> {
        Cursor { id: self.id(), count: self.count(), link: self.0.as_deref() }
    }
}

const CONTEXT: &str = "kiln snapshot v1";

impl PartialEq for Stack {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Stack {}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("id", &self.id()).field("count", &self.count()).finish()
    }
}

impl Drop for Link {
    /// One link after the other: a deep stack that is dropped at once must not use a frame for each.
    fn drop(&mut self) {
        let take = |below: &mut Below| match std::mem::replace(below, Below::Elsewhere) {
            Below::Stack(mut stack) => stack.0.take(),
            Below::Elsewhere => None,
        };
        let mut next = take(&mut self.below);
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = take(&mut link.below);
        }
    }
}

/// Kept as identity, number of layers and the topmost one: of one size, whatever the depth.
impl Serialize for Stack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().map(|link| (link.id, link.count, link.layer)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Option<(SnapshotId, u64, LayerId)> = Option::deserialize(deserializer)?;
        Ok(Stack(parts.map(|(id, count, layer)| Arc::new(Link { id, count, layer, below: Below::Elsewhere }))))
    }
}

/// The first layer in which two stacks differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Its place, counted from the bottom.
    pub first: u64,
    /// What the older stack has there, if it reaches so far.
    pub old: Option<LayerId>,
    /// What the newer stack has there.
    pub new: Option<LayerId>,
}

/// Finds what is below the topmost layer of a stack, and that layer; `None` where nobody knows any more.
pub type Find<'a> = Box<dyn Fn(SnapshotId) -> Option<(SnapshotId, LayerId)> + Send + Sync + 'a>;

/// Compares stacks of which one is known by its identity only.
pub struct Stacks<'a> {
    find: Find<'a>,
    /// What was found before: a chain of steps asks for one pair of stacks after the other, each on the one before.
    known: Mutex<HashMap<(SnapshotId, SnapshotId), Difference>>,
}

/// So many comparisons are remembered.
const KNOWN_MAX: usize = 4096;

struct Cursor<'a> {
    id: SnapshotId,
    count: u64,
    link: Option<&'a Link>,
}

impl<'a> Stacks<'a> {
    /// Looks stacks up with `find`.
    pub fn new(find: impl Fn(SnapshotId) -> Option<(SnapshotId, LayerId)> + Send + Sync + 'a) -> Self {
        Stacks { find: Box::new(find), known: Mutex::default() }
    }

    /// The first layer in which `new` differs from `old`. What cannot be looked up any more counts as different.
    pub fn difference(&self, old: &Stack, new: &Stack) -> Difference {
        let (mut a, mut b) = (old.cursor(), new.cursor());
        let mut found = Difference { first: a.count.min(b.count), old: None, new: None };
        let mut passed = Vec::new();
        while a.id != b.id {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(a.id, b.id)).copied();
            if let Some(known) = known {
                found = known;
                break;
            }
            passed.push((a.id, b.id));
            let (deeper_a, deeper_b) = (a.count >= b.count, b.count >= a.count);
            let below = (deeper_a.then(|| self.down(&a)), deeper_b.then(|| self.down(&b)));
            let lost = matches!(below, (Some(None), _) | (_, Some(None)));
            found = Difference { first: a.count.max(b.count).saturating_sub(1), old: None, new: None };
            if let Some(Some((layer, next))) = below.0 {
                (a, found.old) = (next, Some(layer));
            }
            if let Some(Some((layer, next))) = below.1 {
                (b, found.new) = (next, Some(layer));
            }
            if lost {
                // The top of a stack that was read is known even so.
                let top = |at: &Cursor<'_>| at.link.map(|link| link.layer);
                found.old = found.old.or_else(|| top(&a).filter(|_| deeper_a));
                found.new = found.new.or_else(|| top(&b).filter(|_| deeper_b));
                break;
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + passed.len() > KNOWN_MAX {
            known.clear();
        }
        // The pairs nearest the top are those that the next step comes to.
        known.extend(passed.into_iter().take(KNOWN_MAX).map(|pair| (pair, found)));
        found
    }

    fn down<'c>(&self, at: &Cursor<'c>) -> Option<(LayerId, Cursor<'c>)> {
        if let Some(Link { layer, below: Below::Stack(below), .. }) = at.link {
            return Some((*layer, below.cursor()));
        }
        let (id, layer) = (self.find)(at.id)?;
        Some((layer, Cursor { id, count: at.count.saturating_sub(1), link: None }))
    }
}

impl std::fmt::Debug for Stacks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stacks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(n: u8) -> LayerId {
        LayerId::from_bytes([n; 32])
    }

    fn kept(stack: &Stack) -> Stack {
        postcard::from_bytes(&postcard::to_stdvec(stack).unwrap()).unwrap()
    }

    /// All stacks that these layers make, from the bottom up.
    fn rows(layers: &[u8]) -> HashMap<SnapshotId, (SnapshotId, LayerId)> {
        let mut stack = Stack::empty();
        let mut all = HashMap::new();
        for n in layers {
            let next = stack.with(layer(*n));
            all.insert(next.id(), (stack.id(), layer(*n)));
            stack = next;
        }
        all
    }

    #[test]
    fn a_stack_is_kept_in_one_size_and_is_itself_again() {
        let deep = Stack::of((0..200).map(layer));
        assert_eq!(kept(&deep), deep);
        assert_eq!((kept(&deep).count(), kept(&deep).top()), (200, Some(layer(199))));
        assert!(postcard::to_stdvec(&deep).unwrap().len() < 80);
        assert_eq!(kept(&Stack::empty()), Stack::empty());
    }

    #[test]
    fn a_stack_of_a_million_layers_is_dropped() {
        drop(Stack::of((0..1_000_000_u32).map(|n| layer(n as u8))));
    }

    #[test]
    fn what_nobody_knows_any_more_counts_as_different() {
        let (old, new) = (kept(&Stack::of([1, 2].map(layer))), Stack::of([1, 3].map(layer)));
        let stacks = Stacks::new(|_| None);
        assert_eq!(stacks.difference(&old, &new), Difference { first: 1, old: Some(layer(2)), new: Some(layer(3)) });
    }

    proptest! {
        #[test]
        fn the_first_difference_is_that_of_the_lists(
            common in prop::collection::vec(0_u8..3, 0..6),
            old in prop::collection::vec(0_u8..3, 0..4),
            new in prop::collection::vec(0_u8..3, 0..4),
            more in prop::collection::vec(0_u8..3, 0..3),
        ) {
            let a: Vec<u8> = [common.clone(), old].concat();
            let b: Vec<u8> = [common, new].concat();
            let rows = rows(&a);
            let stacks = Stacks::new(|id| rows.get(&id).copied());
            let (old, mut stack) = (kept(&Stack::of(a.iter().copied().map(layer))), Stack::of(b.iter().copied().map(layer)));
            let mut list = b;
            // Asked again for a stack on it, of which the most is remembered.
            for next in std::iter::once(None).chain(more.into_iter().map(Some)) {
                if let Some(next) = next {
                    list.push(next);
                    stack = stack.with(layer(next));
                }
                let first = a.iter().zip(&list).take_while(|(x, y)| x == y).count();
                let is = |list: &[u8]| list.get(first).copied().map(layer);
                let expected = Difference { first: first as u64, old: is(&a), new: is(&list) };
                let found = stacks.difference(&old, &stack);
                prop_assert_eq!(found, expected);
            }
        }
    }
}

//! The encoding of keys, version 1.
//!
//! BLAKE3 in key-derivation mode (context `kiln key v1`) over the number of components and, for
//! each, its label, a byte for its type and its payload. Numbers are u64 little-endian; texts and
//! lists are preceded by their length, so that no two lists of components read alike.
//!
//! | byte | type | payload |
//! |---|---|---|
//! | 1 | text | its bytes |
//! | 2 | files | 32 bytes of the tree's digest; the count follows from it |
//! | 3 | layers | 32 bytes each |
//! | 4 | hidden | 32 bytes: BLAKE3, context `kiln hidden value v1`, of the value |
//! | 5 | a snapshot's layers | 32 bytes of the snapshot's digest |

use super::{Component, Value};
use crate::digest::{KeyId, StepId};

fn number(hasher: &mut blake3::Hasher, number: usize) {
    hasher.update(&(number as u64).to_le_bytes());
}

fn bytes(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    number(hasher, bytes.len());
    hasher.update(bytes);
}

/// The digest of a list of components.
pub fn digest(components: &[Component]) -> KeyId {
    let mut hasher = blake3::Hasher::new_derive_key("kiln key v1");
    number(&mut hasher, components.len());
    for component in components {
        bytes(&mut hasher, component.label.as_bytes());
        match &component.value {
            Value::Text(text) => {
                hasher.update(&[1]);
                bytes(&mut hasher, text.as_bytes());
            }
            Value::Files { tree, .. } => {
                hasher.update(&[2]);
                hasher.update(tree.as_bytes());
            }
            Value::Layers(layers) => {
                hasher.update(&[3]);
                number(&mut hasher, layers.len());
                for layer in layers {
                    hasher.update(layer.as_bytes());
                }
            }
            Value::Hidden(digest) => {
                hasher.update(&[4]);
                hasher.update(digest);
            }
            Value::Stack(stack) => {
                hasher.update(&[5]);
                hasher.update(stack.id().as_bytes());
            }
        }
    }
    hasher.finalize().into()
}

/// What stands for a value that is shown to nobody.
pub fn hidden(value: &str) -> [u8; 32] {
    *blake3::Hasher::new_derive_key("kiln hidden value v1").update(value.as_bytes()).finalize().as_bytes()
}

/// The identity of a step across builds.
pub fn step(parts: &[&str]) -> StepId {
    let mut hasher = blake3::Hasher::new_derive_key("kiln step v1");
    number(&mut hasher, parts.len());
    for part in parts {
        bytes(&mut hasher, part.as_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::LayerId;
    use proptest::prelude::*;

    /// A change here makes every record unreachable: raise the version in the context instead.
    #[test]
    fn the_digest_of_a_known_key_stays_what_it_was() {
        let components = [
            Component::text("command", "make"),
            Component { label: "files".into(), value: Value::Files { tree: LayerId::from_bytes([1; 32]), count: 2 } },
            Component { label: "parent".into(), value: Value::Layers(vec![LayerId::from_bytes([2; 32])]) },
        ];
        assert_eq!(digest(&components).to_hex(), "f00c3a31d04a252f7616a805d9b85115b3b394feedf4b45820df3b5ff15be9fc");
    }

    fn component() -> impl Strategy<Value = Component> {
        let value = prop_oneof![
            "[a-c=\\-]{0,4}".prop_map(Value::Text),
            any::<[u8; 1]>().prop_map(|b| Value::Files { tree: LayerId::from_bytes([b[0]; 32]), count: 1 }),
            proptest::collection::vec(0u8..3, 0..3)
                .prop_map(|ids| Value::Layers(ids.into_iter().map(|id| LayerId::from_bytes([id; 32])).collect())),
            any::<[u8; 1]>().prop_map(|b| Value::Hidden([b[0]; 32])),
            proptest::collection::vec(0u8..3, 0..3).prop_map(|ids| {
                Value::Stack(crate::stack::Stack::of(ids.into_iter().map(|id| LayerId::from_bytes([id; 32]))))
            }),
        ];
        ("[a-c=\\-]{0,4}", value).prop_map(|(label, value)| Component { label, value })
    }

    proptest! {
        #[test]
        fn different_lists_have_different_digests(
            a in proptest::collection::vec(component(), 0..4),
            b in proptest::collection::vec(component(), 0..4),
        ) {
            prop_assert_eq!(a == b, digest(&a) == digest(&b));
        }

        #[test]
        fn parts_that_join_alike_are_told_apart(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
            prop_assert_eq!((&a, &b) == (&c, &d), step(&[&a, &b]) == step(&[&c, &d]));
        }
    }
}

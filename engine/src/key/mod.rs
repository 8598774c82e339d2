//! What decides whether a step may be skipped: a list of named components and its digest.
//!
//! One list serves both: its digest is the look-up key, the list itself is kept in the record and
//! is what an explanation is made of, so the two cannot disagree. Pure: what the components say
//! was read elsewhere.

pub mod coverage;
pub mod declared;
mod encode;
pub mod eval;

use crate::digest::{KeyId, LayerId, StepId};
use crate::explain::secrecy::{self, SecretArguments};
use crate::stack::Stack;
use serde::{Deserialize, Serialize};

/// One named thing that a step's result depends on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Component {
    /// What it is called, unique in its key: `command`, `ENV PATH`, `files`, `parent`.
    pub label: String,
    /// What it is.
    pub value: Value,
}

/// What a component is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Value {
    /// A text, shown as it is.
    Text(String),
    /// Files: the digest of their tree, whose listing the store keeps, and how many there are.
    Files {
        /// The tree's digest.
        tree: LayerId,
        /// Its number of entries.
        count: u64,
    },
    /// Layers, the bottom one first.
    Layers(Vec<LayerId>),
    /// The digest of a text that is shown to nobody.
    Hidden([u8; 32]),
    /// The layers of a snapshot.
    Stack(Stack),
}

/// A finished key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    components: Vec<Component>,
    id: KeyId,
}

impl Key {
    /// The key of a step of this kind (`RUN`, `COPY`, …) with these components.
    pub fn new(kind: &'static str, components: Vec<Component>) -> Self {
        let mut all = vec![Component { label: "step".to_owned(), value: Value::Text(kind.to_owned()) }];
        all.extend(components);
        let id = encode::digest(&all);
        Key { components: all, id }
    }

    /// The digest under which a record is looked up.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The digest of a key that has these components.
    pub fn id_of(components: &[Component]) -> KeyId {
        encode::digest(components)
    }

    /// The components in their order, given away.
    pub fn into_components(self) -> Vec<Component> {
        self.components
    }

    /// The components in their order.
    pub fn components(&self) -> &[Component] {
        &self.components
    }
}

impl Component {
    /// A component that is a text.
    pub fn text(label: impl Into<String>, value: impl Into<String>) -> Self {
        Component { label: label.into(), value: Value::Text(value.into()) }
    }

    /// The same without the values of secret arguments: a text that has one is kept as its digest.
    #[must_use]
    pub fn without(self, secrets: &SecretArguments) -> Self {
        let label = secrets.named_in(&self.label).into_owned();
        match self.value {
            Value::Text(text) if secrets.are_in(&text) => {
                Component { label, value: Value::Hidden(encode::hidden(&text)) }
            }
            value => Component { label, value },
        }
    }

    /// A component that is a variable: its value, or its digest where the name speaks of a secret.
    pub fn variable(kind: &str, name: &str, value: &str) -> Self {
        let label = format!("{kind} {name}");
        match secrecy::is_secret(name) {
            true => Component { label, value: Value::Hidden(encode::hidden(value)) },
            false => Component::text(label, value),
        }
    }
}

/// The identity of a step across builds: the same place in the same project, whatever its inputs.
/// `parts` are what tells it apart from others.
pub fn step_id(parts: &[&str]) -> StepId {
    encode::step(parts)
}

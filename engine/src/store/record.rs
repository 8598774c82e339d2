//! What is remembered of one execution of a step.
//!
//! A record keeps its key's components, not only their digest: that is what an explanation is
//! made of. Knows nothing of how they are compared.

use crate::digest::LayerId;
use crate::explain::{BuildId, Made};
use crate::key::Component;
use serde::{Deserialize, Serialize};

/// One execution of a step and what it was found under.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Everything that decided whether the step had to run.
    pub components: Vec<Component>,
    /// The layer that it made.
    pub layer: LayerId,
    /// The build in which it ran.
    pub build: BuildId,
    /// What the step is called, for people.
    pub name: String,
    /// When it ran; nanoseconds since 1970. The image's history says so too.
    pub created_nanos: i64,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

impl Record {
    /// The execution, as a build's record tells of it.
    pub fn made(&self) -> Made {
        Made { build: self.build, nanos: self.created_nanos, name: self.name.clone(), millis: self.duration_ms }
    }
}

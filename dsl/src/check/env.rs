//! The variables that an instruction sees, in the order in which they were set.
//!
//! Knows nothing of instructions.

use crate::expand::Variables;
use std::collections::HashMap;

/// Variables by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Env {
    values: HashMap<String, (usize, String)>,
    set: usize,
}

impl Env {
    /// Sets a variable; one that was set before moves to the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.set += 1;
        self.values.insert(name.to_owned(), (self.set, value.into()));
    }

    /// The names in their order.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<(usize, &str)> = self.values.iter().map(|(name, (at, _))| (*at, name.as_str())).collect();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// The name that is probably meant by one that is not set, as BuildKit guesses it.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        // Beyond this a guess costs more than it helps: it is made for each variable that is not set.
        const MAX_NAMES: usize = 1_000;
        if self.values.len() > MAX_NAMES { None } else { crate::suggest::nearest_exact(name, self.names()) }
    }
}

impl Variables for Env {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str())
    }
}

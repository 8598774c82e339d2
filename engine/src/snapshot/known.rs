//! What was looked up in a stack, kept for the stacks that are made of it.
//!
//! A chain of steps asks for the same few paths again and again, each step with one layer more. So an answer is kept with
//! the number of layers that it holds for, and only the layers above are asked. The top of a chain has the answers, and
//! a stack that is made of it takes them over; a second one that is made of the same begins with none. What is in a
//! directory is kept as well where a stack is deep, so that a new name costs no walk. Knows nothing of layers.

use super::said::{self, Names, Said};
use super::{Found, LookupError, Snapshot};
use crate::tree::TreePath;
use std::collections::{HashMap, HashSet};

/// A path costs about 200 bytes.
const PATHS_MAX: usize = 512;

/// The names of all directories together; each costs about 60 bytes.
const NAMES_MAX: usize = 20_000;

/// In a stack of more layers a new name is looked for among the names of its directory first: reading these costs more
/// than a few looks.
const DEEP: u64 = 32;

/// Answers, each with the number of layers from the bottom that it holds for.
#[derive(Debug, Default)]
pub(super) struct Known {
    paths: HashMap<TreePath, (u64, Option<Found>)>,
    names: HashMap<TreePath, (u64, Listed)>,
}

/// The names in a directory.
pub(super) type Listed = HashSet<Box<[u8]>>;

impl Known {
    /// What `stack`, to whose chain these answers belong, has at `path`, which is not the root.
    pub fn look_up(&mut self, stack: &Snapshot, path: &TreePath) -> Result<Option<Found>, LookupError> {
        let count = stack.stack.count();
        if let Some((holds, found)) = self.paths.get_mut(path) {
            if let Some(newer) = topmost(stack, *holds, path)? {
                *found = newer;
            }
            *holds = count;
            return Ok(found.clone());
        }
        let is_absent = count > DEEP
            && match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => !self.names(stack, &parent)?.contains(name),
                _ => false,
            };
        let found = if is_absent { None } else { topmost(stack, 0, path)?.flatten() };
        if self.paths.len() >= PATHS_MAX {
            self.paths.clear();
        }
        self.paths.insert(path.clone(), (count, found.clone()));
        Ok(found)
    }

    /// The names in a directory; none where it is none.
    pub fn names(&mut self, stack: &Snapshot, directory: &TreePath) -> Result<&Listed, LookupError> {
        let all: usize = self.names.values().map(|(_, names)| names.len() + 1).sum();
        if all > NAMES_MAX {
            self.names.clear();
        }
        let (holds, names) = self.names.entry(directory.clone()).or_default();
        let mut above = Vec::new();
        for snapshot in stack.chain().take_while(|snapshot| snapshot.stack.count() > *holds) {
            let Some(layer) = snapshot.top() else { break };
            let said = said::names(layer, directory)?;
            let hides = said.hides;
            above.push(said);
            if hides {
                break;
            }
        }
        for Names { hides, names: own } in above.into_iter().rev() {
            if hides {
                names.clear();
            }
            for (name, is_there) in own {
                match is_there {
                    true => names.insert(name),
                    false => names.remove(&name),
                };
            }
        }
        *holds = stack.stack.count();
        Ok(names)
    }
}

/// What the topmost layer says that says something, of those that are not among the lowest `holds`.
fn topmost(stack: &Snapshot, holds: u64, path: &TreePath) -> Result<Option<Option<Found>>, LookupError> {
    for snapshot in stack.chain().take_while(|snapshot| snapshot.stack.count() > holds) {
        let Some(layer) = snapshot.top() else { break };
        match said::of(layer, path)? {
            Said::Nothing => {}
            Said::Hidden => return Ok(Some(None)),
            Said::Is(found) => return Ok(Some(Some(found))),
        }
    }
    Ok(None)
}

//! Makes a trace of what was observed, and checks that it covers the layer that the step left.
//!
//! Knows nothing of where the observations come from.

use super::{Aspect, Dependency, Observed, Space, View};
use crate::tree::{Kind, Tree, TreePath};

/// Gathers what of one space a step depended on.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    wanted: Vec<(TreePath, Aspect)>,
}

/// A change in a layer at a place that the step was not seen to look at: the tracer missed something.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the step changed /{} and was not seen to look at it", path.display())]
pub struct LayerNotTraced {
    /// Where.
    pub path: TreePath,
}

impl Recorder {
    /// Takes what a tracer saw.
    pub fn observed(&mut self, observed: &Observed) {
        for seen in &observed.seen {
            let path = TreePath::new(&seen.path);
            if seen.listed {
                self.wanted.push((path.clone(), Aspect::Listing));
            }
            let aspect = if seen.read { Aspect::Content } else { Aspect::Entry };
            self.wanted.push((path, aspect));
        }
    }

    /// Takes a path that was looked at for the step.
    pub fn add(&mut self, path: TreePath, aspect: Aspect) {
        self.wanted.push((path, aspect));
    }

    /// The space with the states in `view`.
    pub fn finish(self, name: &str, view: &View<'_>) -> Space {
        let mut cursor = view.cursor();
        let mut wanted = self.wanted;
        wanted.sort_unstable();
        // Having read a file says more than having looked at it.
        wanted.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            let more = same && (kept.1, later.1) == (Aspect::Entry, Aspect::Content);
            if more {
                kept.1 = Aspect::Content;
            }
            more || (same && later.1 == kept.1)
        });
        let dependencies = wanted.into_iter().map(|(path, aspect)| {
            let state = cursor.state(&path, aspect);
            Dependency { path, aspect, state }
        });
        Space { name: name.into(), dependencies: dependencies.collect(), layers: view.layers().collect() }
    }
}

impl Space {
    fn has(&self, path: &TreePath, aspect: Aspect) -> bool {
        let order = |one: &Dependency| (&one.path, one.aspect).cmp(&(path, aspect));
        self.dependencies.binary_search_by(order).is_ok()
    }

    /// Checks that the state which each change in the layer met belongs to this space, whose layers are
    /// `view`: only then does the layer mean the same on another stack where that state is the same.
    ///
    /// # Errors
    /// With the first change for which that does not hold.
    pub fn covers(&self, layer: &Tree, view: &View<'_>) -> Result<(), LayerNotTraced> {
        let mut cursor = view.cursor();
        // The directory that holds nothing of the layers below, so that what is in it met nothing.
        let mut fresh: Option<&TreePath> = None;
        let mut whole: Option<&TreePath> = None;
        for entry in layer.entries() {
            let path = &entry.path;
            if [fresh, whole].iter().flatten().any(|above| path != *above && path.starts_with(above)) {
                continue;
            }
            if self.has(path, Aspect::Subtree) {
                whole = Some(path);
                continue;
            }
            let met_directory = cursor.is_directory(path);
            let is_seen = self.has(path, Aspect::Entry) || self.has(path, Aspect::Content);
            // What hides a directory must have found it empty, or emptied it.
            let hides = !matches!(entry.kind, Kind::Dir { opaque: false });
            if !path.is_root() && (!is_seen || (hides && met_directory && !self.has(path, Aspect::Listing))) {
                return Err(LayerNotTraced { path: path.clone() });
            }
            if hides || !met_directory {
                fresh = Some(path);
            }
        }
        Ok(())
    }
}

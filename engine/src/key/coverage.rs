//! What a step read, against what its stated key names.
//!
//! A file is covered if a part of the key names its path, or holds its very content (a file of the context that was
//! copied). Pure apart from the world that the parts were evaluated in.

use super::declared::{Declared, Place, What};
use super::eval::{Fault, Matcher, World};
use crate::digest::ContentId;
use crate::tree::{Kind, Tree, TreePath};
use std::collections::HashSet;

/// The coverage of one key.
pub struct Coverage {
    /// For each `files(…)` of the step's own root: what it takes in, what it leaves out.
    globs: Vec<(Vec<Matcher>, Vec<Matcher>)>,
    paths: HashSet<TreePath>,
    contents: HashSet<ContentId>,
}

impl Coverage {
    /// What `declared` covers; `listings` are those that its parts came to.
    pub fn new(declared: &Declared, listings: &[Tree], world: &dyn World) -> Result<Self, Fault> {
        let mut coverage = Coverage { globs: Vec::new(), paths: HashSet::new(), contents: HashSet::new() };
        for part in &declared.parts {
            match &part.what {
                What::Files { place: Place::Snapshot, globs } => {
                    let (mut taken, mut left) = (Vec::new(), Vec::new());
                    for glob in globs {
                        let matcher = Matcher::of(glob, &Place::Snapshot, world)?;
                        if glob.negated { left.push(matcher) } else { taken.push(matcher) }
                    }
                    coverage.globs.push((taken, left));
                }
                What::Absent(path) | What::Data { path, .. } | What::Lines { path, .. }
                    if path.place == Place::Snapshot =>
                {
                    coverage.paths.insert(world.resolve(&Place::Snapshot, &path.path)?);
                }
                _ => {}
            }
        }
        for entry in listings.iter().flat_map(Tree::entries) {
            if let Kind::File { content, .. } = &entry.kind {
                coverage.contents.insert(*content);
            }
        }
        Ok(coverage)
    }

    /// Whether the key holds a file with this content, wherever it is.
    pub fn holds(&self, content: ContentId) -> bool {
        self.contents.contains(&content)
    }

    /// Whether the key covers the file at `path` with this content.
    pub fn covers(&self, path: &TreePath, content: Option<ContentId>) -> bool {
        let is_in = |all: &[Matcher]| all.iter().any(|matcher| matcher.matches(path));
        self.paths.contains(path)
            || content.is_some_and(|content| self.holds(content))
            || self.globs.iter().any(|(taken, left)| is_in(taken) && !is_in(left))
    }
}

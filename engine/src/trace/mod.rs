//! What a step depended on in its input snapshot, and whether another snapshot is the same in all of it.
//!
//! - [`Observed`]: what a tracer saw while a step ran.
//! - [`Trace`]: the same as dependencies, each with the state that it had.
//! - [`View`]: a stack of listings, looked into without touching a disk.
//! - [`codec`]: how a trace is kept.
//!
//! Knows nothing of how a step is watched, and reads no file.

pub mod codec;
mod record;
mod view;

pub use record::{LayerNotTraced, Recorder};
pub use view::{Stacked, View};

use crate::digest::LayerId;
use crate::tree::TreePath;
use std::fmt;

/// One path that a step looked at, whether it was there or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seen {
    /// Below the root, without a slash at either end.
    pub path: Box<[u8]>,
    /// A file's content was read, not only its attributes.
    pub read: bool,
    /// A directory's names were asked for.
    pub listed: bool,
}

/// What a tracer saw in one stack of directories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Every path that was looked at.
    pub seen: Vec<Seen>,
    /// Why that may not be all, in words.
    pub incomplete: Option<String>,
}

/// What of a path a step depended on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Aspect {
    /// What is there: of a file everything (type, mode, owner, attributes, content, its other names), of a
    /// link its target, of a directory its mode, owner and attributes; or that nothing is.
    Entry,
    /// The same, of a file whose content was read.
    Content,
    /// The names and types of what is in a directory.
    Listing,
    /// Everything at the path and below.
    Subtree,
}

impl Aspect {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Aspect::Entry => "looked at",
            Aspect::Content => "read",
            Aspect::Listing => "listed",
            Aspect::Subtree => "used as a whole",
        }
    }
}

/// A digest of what something was like. Equal for equal states and, but for a collision of BLAKE3, for no others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State(pub(crate) [u8; 32]);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State(b3:{})", &blake3::Hash::from_bytes(self.0).to_hex()[..12])
    }
}

/// One dependency: a path, what of it, and its state when the step ran.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// Where, in its space.
    pub path: TreePath,
    /// What of it.
    pub aspect: Aspect,
    /// What it was like.
    pub state: State,
}

/// What a step depended on in one stack of layers: its root, or what one of its mounts shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Space {
    /// Where it appears in the step: empty for the root, else the mount's target and, where one file is mounted, which.
    pub name: Box<str>,
    /// The layers that it consisted of, the bottom one first.
    pub layers: Vec<LayerId>,
    /// Sorted by path and aspect, none twice.
    pub dependencies: Vec<Dependency>,
}

/// Everything that one execution of a step depended on besides what its key says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// By stack, the root first.
    pub spaces: Vec<Space>,
    /// It talked, or may have talked, to another machine: what it made is no function of files.
    pub networked: bool,
    /// Why the dependencies may not be all, in words. Such a trace never lets a step be skipped.
    pub incomplete: Option<String>,
}

/// A dependency whose state is another one now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The space's name.
    pub space: Box<str>,
    /// Where.
    pub path: TreePath,
    /// What of it.
    pub aspect: Aspect,
}

impl Trace {
    /// How many dependencies there are.
    pub fn len(&self) -> usize {
        self.spaces.iter().map(|space| space.dependencies.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Space {
    /// The files whose content the step read.
    pub fn reads(&self) -> impl Iterator<Item = &TreePath> {
        let read = self.dependencies.iter().filter(|one| one.aspect == Aspect::Content);
        read.map(|one| &one.path)
    }

    /// The first dependency whose state is not the same in `new`; `old` are the space's own layers where
    /// they are still known: then only what differs between the two stacks is looked at.
    pub fn first_difference(&self, old: Option<&View<'_>>, new: &View<'_>) -> Option<Difference> {
        self.differences(old, new).next()
    }

    /// All dependencies whose state is not the same in `new`.
    pub fn differences<'a>(
        &'a self,
        old: Option<&'a View<'a>>,
        new: &'a View<'a>,
    ) -> impl Iterator<Item = Difference> + 'a {
        let touched = old.map(|old| view::touched(&self.dependencies, old, new));
        let mut cursor = new.cursor();
        self.dependencies.iter().enumerate().filter_map(move |(index, dependency)| {
            if touched.as_ref().is_some_and(|touched| !touched[index]) {
                return None;
            }
            let same = cursor.state(&dependency.path, dependency.aspect) == dependency.state;
            (!same).then(|| Difference {
                space: self.name.clone(),
                path: dependency.path.clone(),
                aspect: dependency.aspect,
            })
        })
    }
}

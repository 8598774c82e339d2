//! What stands at the head of a build's record: all but its steps, so that lists and the search for a build that equals
//! the next one read a few hundred bytes of each.

use crate::digest::{ImageKey, LayerId};
use crate::explain::Build;
use crate::explain::report::BuildTotals;
use serde::{Deserialize, Serialize};

/// The head of a build's record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The build without its steps.
    pub build: Build,
    /// What a list says of the steps.
    pub totals: BuildTotals,
    /// Whether nothing had changed since the build whose steps these are: each of them is a hit now.
    pub is_unchanged: bool,
    /// All that a later build must find as it was to be the same; none for a build that no other is compared with so.
    pub replay: Option<Replay>,
}

/// What decided a build, and what it gave. Where all of it is as it was, every step hits and the results are these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// The digest of what was asked for: the request, the Dockerfile with what it includes, the program itself.
    pub asked: [u8; 32],
    /// The images whose configuration the plan needed, by name and platform, and what they were.
    pub images: Vec<(String, String, ImageKey)>,
    /// The host as a base, if it is one.
    pub host: Option<LayerId>,
    /// The contexts in their order.
    pub contexts: Vec<ContextSeen>,
    /// The warnings before the first step.
    pub warnings: Vec<String>,
    /// What was built.
    pub results: Vec<Given>,
    /// The store's epoch before the first look-up: see [`crate::store::db::Db::epoch`].
    pub epoch: u64,
    /// The state of the directory of layers behind the last step; none where it was too young to be told apart.
    pub layers: Option<Stamp>,
}

/// A context as a build saw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ContextSeen {
    /// The digest of its ignore file.
    pub ignore: [u8; 32],
    /// The first parts of all paths that the steps read; none where they reach anything.
    pub reach: Option<Vec<Vec<u8>>>,
    /// The digest of the files there; none where no step read one.
    pub files: Option<[u8; 32]>,
}

/// One result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Given {
    /// What it is called.
    pub name: String,
    /// The image, or the index.
    pub image: ImageKey,
    /// The canonical names that it got.
    pub names: Vec<String>,
    /// The images by their platforms.
    pub images: Vec<(String, ImageKey)>,
}

/// The state of a directory: another one after each entry that comes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// Device and inode.
    pub place: (u64, u64),
    /// When its entries last changed, in nanoseconds since 1970.
    pub changed_nanos: i64,
}

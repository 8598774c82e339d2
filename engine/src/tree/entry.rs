//! One entry of a tree: a path and everything about it that an image keeps.
//!
//! Knows nothing of where the bytes are.

use crate::digest::ContentId;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A path inside a tree: relative, `/`-separated, without `.`, `..`, empty parts or a leading or
/// trailing slash. The root itself is the empty path. Not necessarily UTF-8.
///
/// Paths order part by part, so a directory is followed by all that is below it: `a`, `a/b`, `a.b`.
/// Copies share their bytes: a context's paths stand in several trees at once.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct TreePath(Arc<[u8]>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        TreePath::default()
    }

    /// Takes any path and normalises it lexically: `/a//b/../c/.` is `a/c`, and `..` stops at the root.
    pub fn new(path: impl AsRef<[u8]>) -> Self {
        if is_normal(path.as_ref()) {
            return TreePath(path.as_ref().into());
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.as_ref().split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        TreePath(parts.join(&b'/').into())
    }

    /// Takes a path that is normalised already; `None` where it is not.
    pub fn from_clean(path: &[u8]) -> Option<Self> {
        let clean = path.is_empty() || path.split(|&b| b == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
        clean.then(|| TreePath(path.into()))
    }

    /// The bytes; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts from the root down.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|part| !part.is_empty())
    }

    /// The last part; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.parts().next_back()
    }

    /// The path of the directory that holds this one; `None` for the root.
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(TreePath(self.0[..end].into()))
    }

    /// All directories above this path, the root first, the path itself not included.
    pub fn ancestors(&self) -> Vec<TreePath> {
        let mut all = Vec::new();
        let mut next = self.parent();
        while let Some(path) = next {
            next = path.parent();
            all.push(path);
        }
        all.reverse();
        all
    }

    /// `path` below this one; `path` is normalised first and cannot climb out.
    #[must_use]
    pub fn join(&self, path: impl AsRef<[u8]>) -> TreePath {
        if self.is_root() {
            return TreePath::new(path);
        }
        if is_normal(path.as_ref()) {
            return TreePath([self.as_bytes(), b"/", path.as_ref()].concat().into());
        }
        let below = TreePath::new(path);
        if below.is_root() {
            return self.clone();
        }
        TreePath([self.as_bytes(), b"/", below.as_bytes()].concat().into())
    }

    /// What remains of this path below `base`; `None` where it is not below or equal.
    pub fn strip_prefix(&self, base: &TreePath) -> Option<TreePath> {
        if base.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(base.as_bytes())?;
        match rest.first() {
            None => Some(TreePath::root()),
            Some(b'/') => Some(TreePath(rest[1..].into())),
            Some(_) => None,
        }
    }

    /// Whether this path is `base` or below it.
    pub fn starts_with(&self, base: &TreePath) -> bool {
        base.is_root() || self.0.strip_prefix(base.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// The path as one below `/` for a person; invalid UTF-8 is replaced.
    pub fn display(&self) -> impl fmt::Display + '_ {
        String::from_utf8_lossy(&self.0)
    }
}

/// Whether `path` stands as a [`TreePath`] keeps it and is not the root: what nearly all are, and what needs
/// no list of parts.
fn is_normal(path: &[u8]) -> bool {
    path.split(|&b| b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// Compares as if `/` were the smallest byte, which is the order of a depth-first walk.
pub fn path_cmp(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0u16 } else { u16::from(*byte) + 1 };
    match a.iter().zip(b).position(|(x, y)| x != y) {
        Some(at) => rank(&a[at]).cmp(&rank(&b[at])),
        None => a.len().cmp(&b.len()),
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        path_cmp(&self.0, &other.0)
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath(/{})", self.display())
    }
}

/// A moment as the file system keeps it: nanoseconds since 1970, negative before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Mtime {
    /// Whole seconds.
    pub seconds: i64,
    /// The rest, below 1,000,000,000.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its bytes.
        content: ContentId,
    },
    /// A directory. In a layer, `opaque` hides what lower layers have in it.
    Dir {
        /// Whether lower layers' entries are hidden.
        opaque: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as stored.
        target: Box<[u8]>,
    },
    /// Another name for the regular file at `to`, which sorts before this one in the same tree.
    /// Mode, owner, xattrs and time of this entry repeat those of `to`.
    Hardlink {
        /// The first name of the file.
        to: TreePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket: copied by nothing, packed by nothing, but it may stand in a layer.
    Socket,
    /// In a layer: the path was removed. Mode, owner and time of such an entry are zero.
    Whiteout,
}

/// Extended attributes, sorted by name. Names that the overlay itself uses
/// (`trusted.overlay.*`, `user.overlay.*`) and `security.selinux` never appear.
pub type Xattrs = Vec<(Box<[u8]>, Box<[u8]>)>;

/// One path of a tree with all that an image keeps of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: `mode & 0o7777`.
    pub mode: u32,
    /// Owner as the image sees it.
    pub uid: u32,
    /// Group as the image sees it.
    pub gid: u32,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// When the content changed; never part of a digest.
    pub mtime: Mtime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_normalise_and_cannot_climb_out() {
        assert_eq!(TreePath::new("/a//b/../c/.").as_bytes(), b"a/c");
        assert_eq!(TreePath::new("../../etc").as_bytes(), b"etc");
        assert_eq!(TreePath::new("a/...b/.c").as_bytes(), b"a/...b/.c");
        assert_eq!(TreePath::new("a").join("../b/"), TreePath::new("a/b"));
        assert_eq!(TreePath::root().join("b/c"), TreePath::new("a/../b/c"));
        assert_eq!((TreePath::new(""), TreePath::new("/")), (TreePath::root(), TreePath::root()));
        assert_eq!(TreePath::new("a/b").parent(), Some(TreePath::new("a")));
        assert_eq!(TreePath::new("a").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
        assert_eq!(TreePath::new("a/b/c").ancestors(), [TreePath::root(), TreePath::new("a"), TreePath::new("a/b")]);
        assert_eq!(TreePath::new("a/b").strip_prefix(&TreePath::new("a")), Some(TreePath::new("b")));
        assert_eq!(TreePath::new("ab").strip_prefix(&TreePath::new("a")), None);
    }

    #[test]
    fn a_directory_comes_before_what_is_in_it_and_that_before_its_neighbours() {
        let mut paths = ["a.b", "a/b", "a", "a/b/c", "a-"].map(TreePath::new);
        paths.sort();
        assert_eq!(paths.map(|p| p.display().to_string()), ["a", "a/b", "a/b/c", "a-", "a.b"]);
    }
}

//! What a step has looked at so far: every name that the kernel asked for, whether it was there or not.
//!
//! Knows nothing of messages and opens no file.

use super::layers::Name;
use crate::trace::Seen;
use crate::tree::union::{Found, Parts};
use std::collections::HashMap;
use std::sync::Arc;

/// The number of a node, as the kernel uses it.
pub(super) type NodeId = u64;

/// The root's number.
pub(super) const ROOT: NodeId = 1;

/// Where the layers have something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// What was found.
    pub found: Found,
    /// Of a directory, its parts.
    pub parts: Option<Parts>,
}

/// Something that exists.
struct Node {
    /// Below the root, without a slash at either end.
    path: Box<[u8]>,
    place: Place,
    /// Its content was asked for, or, of a directory, its names.
    read: bool,
    /// A directory's names as they were first listed.
    names: Option<Arc<[Name]>>,
    /// Whether all that is in it is told when it is listed.
    told: bool,
    /// How many files it was listed with that have not been looked up since.
    unseen_files: usize,
}

impl Node {
    fn new(path: Box<[u8]>, place: Place) -> Self {
        Node { path, place, read: false, names: None, told: false, unseen_files: 0 }
    }
}

/// All nodes, and the names that led to them.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// By directory and name; 0 for a name that nothing has.
    children: HashMap<(NodeId, Box<[u8]>), NodeId>,
    /// Files with several names: device and inode.
    linked: HashMap<(u64, u64), NodeId>,
    /// Further names of files that are known by another.
    other_names: Vec<Box<[u8]>>,
    crawl: Crawl,
}

/// Whether the step goes through whole directories and looks at each file, as `find -size` does. Then
/// everything in a directory is told at once when it is listed, and counts as looked at.
#[derive(Default)]
struct Crawl {
    /// How many files lay in directories of which every file was looked up.
    evidence: usize,
    /// Directories that were told wholly since one was not.
    told: usize,
    /// How many more times one was not.
    probes: u32,
}

impl Crawl {
    /// Whether all that is in a directory with so many files is to be told.
    fn tells(&mut self, files: usize) -> bool {
        if self.evidence < CRAWL_EVIDENCE {
            return false;
        }
        // Only directories: they are gone into, and say nothing of whether files are looked at.
        if files == 0 {
            return true;
        }
        let limit = (CRAWL_PROBE << self.probes.min(16)).min(CRAWL_LONGEST);
        // A large directory would be a dear probe.
        if self.told < limit || (files > CRAWL_PROBE_FILES && self.told < limit + CRAWL_LONGEST) {
            self.told += 1;
            return true;
        }
        *self = Crawl { evidence: CRAWL_EVIDENCE / 2, told: 0, probes: self.probes + 1 };
        false
    }
}

/// From how many files on a step is believed to look at all.
const CRAWL_EVIDENCE: usize = 40;
/// After so many directories one is not told wholly, to see whether the step still looks at all; twice as many
/// each time that it does, up to [`CRAWL_LONGEST`].
const CRAWL_PROBE: usize = 16;
const CRAWL_LONGEST: usize = 256;
/// A directory with more files than this is not the one that is not told, unless no other comes for long.
const CRAWL_PROBE_FILES: usize = 32;
/// `DT_DIR`.
const DIRECTORY: u8 = 4;

impl Nodes {
    /// Only the root, with its parts.
    pub(super) fn new(root: Parts) -> Self {
        let place = Place { found: Found::Implied(0), parts: Some(root) };
        Nodes {
            nodes: vec![Node::new(Box::default(), place)],
            children: HashMap::new(),
            linked: HashMap::new(),
            other_names: Vec::new(),
            crawl: Crawl::default(),
        }
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Where a node is.
    pub(super) fn path(&self, id: NodeId) -> Option<&[u8]> {
        Some(&self.node(id)?.path)
    }

    /// Where the layers have it.
    pub(super) fn place(&self, id: NodeId) -> Option<&Place> {
        Some(&self.node(id)?.place)
    }

    /// Where a name in a directory is.
    pub(super) fn path_of(&self, directory: NodeId, name: &[u8]) -> Option<Box<[u8]>> {
        let above = self.path(directory)?;
        Some(if above.is_empty() { name.into() } else { [above, b"/", name].concat().into() })
    }

    /// Notes that a name is not there.
    pub(super) fn absent(&mut self, directory: NodeId, name: &[u8]) {
        self.children.insert((directory, name.into()), 0);
    }

    /// Notes that a name is there and gives its node. `links` names the file by device and inode where
    /// it may have several names.
    pub(super) fn present(
        &mut self,
        directory: NodeId,
        name: &[u8],
        place: Place,
        links: Option<(u64, u64)>,
    ) -> Option<NodeId> {
        let key = (directory, Box::from(name));
        if let Some(known) = self.children.get(&key).filter(|known| **known != 0) {
            return Some(*known);
        }
        let path = self.path_of(directory, name)?;
        let id = match links.and_then(|file| self.linked.get(&file)) {
            Some(known) => {
                self.other_names.push(path);
                *known
            }
            None => {
                self.nodes.push(Node::new(path, place));
                self.nodes.len() as NodeId
            }
        };
        if let Some(file) = links {
            self.linked.insert(file, id);
        }
        self.children.insert(key, id);
        Some(id)
    }

    /// Notes that a file was looked up for the first time in a directory that may have been listed before.
    pub(super) fn looked_up(&mut self, directory: NodeId) {
        let Some(node) = self.node_mut(directory) else { return };
        let Some(names) = node.names.clone() else { return };
        node.unseen_files = node.unseen_files.saturating_sub(1);
        if node.unseen_files == 0 {
            self.crawl.evidence += files(&names);
        }
    }

    /// Notes that a file's content was asked for.
    pub(super) fn read(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id) {
            node.read = true;
        }
    }

    /// The names of a directory that was listed before, and whether all that is in it is told.
    pub(super) fn names(&self, id: NodeId) -> Option<(Arc<[Name]>, bool)> {
        let node = self.node(id)?;
        Some((node.names.clone()?, node.told))
    }

    /// Notes that a directory was listed, and with what. Says whether all that is in it should be told.
    pub(super) fn listed(&mut self, id: NodeId, names: Arc<[Name]>) -> bool {
        let files = files(&names);
        if let Some(node) = self.node_mut(id) {
            node.read = true;
            node.unseen_files = files;
            node.names = Some(names);
        }
        let told = self.crawl.tells(files);
        if let Some(node) = self.node_mut(id) {
            node.told = told;
        }
        told
    }

    /// Everything that was looked at, in no order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let mut all = Vec::with_capacity(self.children.len() + 1);
        for node in &self.nodes {
            let (read, listed) = if node.place.parts.is_some() { (false, node.read) } else { (node.read, false) };
            all.push(Seen { path: node.path.clone(), read, listed });
        }
        all.extend(self.other_names.iter().map(|path| Seen { path: path.clone(), read: false, listed: false }));
        for ((directory, name), id) in &self.children {
            if *id == 0
                && let Some(path) = self.path_of(*directory, name)
            {
                all.push(Seen { path, read: false, listed: false });
            }
        }
        all
    }
}

fn files(names: &[Name]) -> usize {
    names.iter().filter(|name| name.kind != DIRECTORY).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Place = Place { found: Found::Implied(0), parts: None };
    const DIR: Place = Place { found: Found::Implied(0), parts: Some(Parts::new()) };

    fn names(count: u8) -> Arc<[Name]> {
        let name = |n| Name { name: Box::from([b'a' + n]), inode: 0, kind: 8, found: Found::Implied(0) };
        (0..count).map(name).collect()
    }

    fn paths(nodes: &Nodes) -> Vec<String> {
        let mut all: Vec<String> =
            nodes.seen().iter().map(|seen| String::from_utf8_lossy(&seen.path).into_owned()).collect();
        all.sort();
        all
    }

    #[test]
    fn every_name_that_was_asked_for_is_seen_once() {
        let mut nodes = Nodes::new(Parts::new());
        let etc = nodes.present(ROOT, b"etc", DIR, None).unwrap();
        assert_eq!(nodes.present(ROOT, b"etc", DIR, None), Some(etc));
        nodes.absent(etc, b"none");
        let one = nodes.present(etc, b"one", FILE, Some((1, 2))).unwrap();
        assert_eq!(nodes.present(etc, b"two", FILE, Some((1, 2))), Some(one));
        assert_eq!(paths(&nodes), ["", "etc", "etc/none", "etc/one", "etc/two"]);
        assert_eq!(nodes.present(99, b"x", FILE, None), None);
        assert_eq!(nodes.path(0), None);
    }

    #[test]
    fn a_step_that_looks_at_every_file_is_told_whole_directories_and_probed() {
        let mut nodes = Nodes::new(Parts::new());
        for turn in 0..2u8 {
            let dir = nodes.present(ROOT, &[b'd', turn], DIR, None).unwrap();
            assert!(!nodes.listed(dir, names(20)), "turn {turn}");
            (0..20).for_each(|_| nodes.looked_up(dir));
        }
        let next = nodes.present(ROOT, b"next", DIR, None).unwrap();
        let told: Vec<bool> = (0..18).map(|_| nodes.listed(next, names(20))).collect();
        assert!(told[..16].iter().all(|told| *told));
        assert_eq!(told[16..], [false, false]);
    }

    #[test]
    fn a_directory_of_directories_is_told_to_a_step_that_looks_at_all_and_a_large_one_is_no_probe() {
        let crawl = |told| Crawl { evidence: CRAWL_EVIDENCE, told, probes: 0 };
        assert!(!Crawl { evidence: CRAWL_EVIDENCE - 1, ..crawl(0) }.tells(0));
        assert!(crawl(CRAWL_PROBE).tells(0));
        assert!(!crawl(CRAWL_PROBE).tells(CRAWL_PROBE_FILES));
        assert!(crawl(CRAWL_PROBE).tells(CRAWL_PROBE_FILES + 1));
        assert!(!crawl(CRAWL_PROBE + CRAWL_LONGEST).tells(CRAWL_PROBE_FILES + 1), "it comes to an end");
    }

    #[test]
    fn a_step_that_only_lists_is_never_told_more() {
        let mut nodes = Nodes::new(Parts::new());
        for turn in 0..100u8 {
            let dir = nodes.present(ROOT, &[b'd', turn], DIR, None).unwrap();
            assert!(!nodes.listed(dir, names(20)));
            nodes.looked_up(dir);
        }
    }
}

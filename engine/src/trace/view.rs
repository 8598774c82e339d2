//! A stack of layers' listings as the one tree that the overlay makes of them, and the state of any path in it.
//!
//! A state is BLAKE3 in key-derivation mode (context `kiln state v1`) over a byte for what was found and
//!
//! | byte | found | then |
//! |---|---|---|
//! | 0 | nothing | |
//! | 1 | something | the entry's canonical part (see [`crate::tree::codec`]) with an empty path, a hard link as its file and a directory as not opaque; the number of its names and these, each with its length, where a file has several |
//! | 2 | what the host has there | the digest of the host's layer |
//! | 3 | a directory's names | for each, sorted: its length, the name, its kind's number; then 1 and the digest of the host's layer where the host's directory lies below |
//! | 4 | a whole subtree | for each layer, the topmost first, that has entries there or hides what is there: their number and canonical parts; for the host's its digest |
//!
//! Numbers are u64 little-endian. Knows nothing of steps.

use super::{Aspect, Dependency, State};
use crate::digest::LayerId;
use crate::tree::codec::put_entry;
use crate::tree::union::{self, Parts};
use crate::tree::{Entry, Kind, Tree, TreePath};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

/// One layer of a stack.
#[derive(Clone, Copy, Debug)]
pub enum Stacked<'a> {
    /// One with a listing.
    Listed {
        /// Its identity.
        id: LayerId,
        /// Its listing.
        tree: &'a Tree,
    },
    /// The host's own files, of which only the identity is known.
    Host {
        /// It.
        id: LayerId,
    },
}

impl<'a> Stacked<'a> {
    fn id(&self) -> LayerId {
        match self {
            Stacked::Listed { id, .. } | Stacked::Host { id } => *id,
        }
    }

    fn entries(&self) -> &'a [Entry] {
        match self {
            Stacked::Listed { tree, .. } => tree.entries(),
            Stacked::Host { .. } => &[],
        }
    }
}

/// A stack of layers' listings.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The topmost first.
    layers: Vec<Stacked<'a>>,
    /// For each layer, the further names of files: first name to all names.
    names: Vec<HashMap<&'a TreePath, Vec<&'a TreePath>>>,
}

/// What is at a path.
enum Found<'a> {
    Nothing,
    /// An entry, and in which layer.
    Entry(&'a Entry, usize),
    /// A directory that a layer holds without saying so; it is made with the usual attributes.
    Implied,
    Host(LayerId),
}

/// Walks a view. Cheap where paths come in their order.
pub struct Cursor<'a, 'v> {
    view: &'v View<'a>,
    /// The directories above the last path, from the root down, each with how long its path is.
    above: Vec<(usize, Parts)>,
    last: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> View<'a> {
    /// A stack of these layers, the bottom one first.
    pub fn new(layers: impl IntoIterator<Item = Stacked<'a>, IntoIter: DoubleEndedIterator>) -> Self {
        let layers: Vec<Stacked<'a>> = layers.into_iter().rev().collect();
        let names = layers.iter().map(|layer| names_of(layer.entries())).collect();
        View { layers, names }
    }

    /// The layers' identities, the bottom one first.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = LayerId> + '_ {
        self.layers.iter().rev().map(Stacked::id)
    }

    /// The layers, the bottom one first.
    pub fn stacked(&self) -> impl DoubleEndedIterator<Item = Stacked<'a>> + '_ {
        self.layers.iter().rev().copied()
    }

    /// A cursor at the root.
    pub fn cursor(&self) -> Cursor<'a, '_> {
        let all = self.layers.iter().enumerate();
        let parts = all.map(|(index, layer)| (index, union::root_range(layer.entries()))).collect();
        Cursor { view: self, above: vec![(0, parts)], last: Vec::new(), buffer: Vec::new() }
    }

    /// What is at a path; a further name of a file is the file. `None` for nothing, and for what only the host knows.
    pub fn entry(&self, path: &TreePath) -> Option<Entry> {
        match self.cursor().find(path) {
            Found::Nothing | Found::Host(_) => None,
            Found::Implied => Some(Entry { path: path.clone(), ..IMPLIED.clone() }),
            Found::Entry(entry, layer) => {
                let entries = self.layers[layer].entries();
                let first = match &entry.kind {
                    Kind::Hardlink { to } => entries.binary_search_by(|other| other.path.cmp(to)).ok(),
                    _ => None,
                };
                Some(Entry { path: path.clone(), ..first.map_or(entry, |first| &entries[first]).clone() })
            }
        }
    }

    /// The names in a directory, those of the host not among them.
    pub fn names(&self, directory: &TreePath) -> Vec<Box<[u8]>> {
        let mut cursor = self.cursor();
        let (names, _) = cursor.names(directory);
        names.into_iter().filter(|(_, kind)| *kind != WHITEOUT).map(|(name, _)| name.into()).collect()
    }

    /// The state of one path.
    pub fn state(&self, path: &TreePath, aspect: Aspect) -> State {
        self.cursor().state(path, aspect)
    }
}

fn names_of(entries: &[Entry]) -> HashMap<&TreePath, Vec<&TreePath>> {
    let mut all: HashMap<&TreePath, Vec<&TreePath>> = HashMap::new();
    for entry in entries {
        if let Kind::Hardlink { to } = &entry.kind {
            all.entry(to).or_insert_with(|| vec![to]).push(&entry.path);
        }
    }
    all
}

impl<'a> Cursor<'a, '_> {
    /// The state of a path.
    pub fn state(&mut self, path: &TreePath, aspect: Aspect) -> State {
        let mut hasher = FRESH.clone();
        match aspect {
            Aspect::Entry | Aspect::Content => self.put_entry(&mut hasher, path),
            Aspect::Listing => self.put_listing(&mut hasher, path),
            Aspect::Subtree => self.put_subtree(&mut hasher, path),
        }
        State(*hasher.finalize().as_bytes())
    }

    /// Whether a directory is at a path.
    pub fn is_directory(&mut self, path: &TreePath) -> bool {
        match self.find(path) {
            Found::Implied => true,
            Found::Entry(entry, _) => matches!(entry.kind, Kind::Dir { .. }),
            Found::Nothing | Found::Host(_) => false,
        }
    }

    fn put_entry(&mut self, hasher: &mut blake3::Hasher, path: &TreePath) {
        let (entry, layer) = match self.find(path) {
            Found::Nothing => {
                hasher.update(&[0]);
                return;
            }
            Found::Host(id) => {
                hasher.update(&[2]).update(id.as_bytes());
                return;
            }
            Found::Implied => (&*IMPLIED, usize::MAX),
            Found::Entry(entry, layer) => (entry, layer),
        };
        let mut names: &[&TreePath] = &[];
        let mut plain = Entry { path: TreePath::root(), ..entry.clone() };
        match &entry.kind {
            Kind::Dir { .. } => plain.kind = Kind::Dir { opaque: false },
            Kind::Hardlink { to } => {
                let entries = self.view.layers[layer].entries();
                if let Ok(at) = entries.binary_search_by(|other| other.path.cmp(to)) {
                    plain.kind = entries[at].kind.clone();
                }
                names = self.view.names[layer].get(to).map_or(&[], Vec::as_slice);
            }
            Kind::File { .. } => {
                names = self.view.names[layer].get(&entry.path).map_or(&[], Vec::as_slice);
            }
            _ => {}
        }
        self.buffer.clear();
        self.buffer.push(1);
        put_entry(&mut self.buffer, &plain);
        self.buffer.extend_from_slice(&(names.len() as u64).to_le_bytes());
        for name in names {
            put_bytes(&mut self.buffer, name.as_bytes());
        }
        hasher.update(&self.buffer);
    }

    /// The names in a directory with the numbers of their kinds, and the host's layer where it has the directory.
    fn names(&mut self, path: &TreePath) -> (BTreeMap<&'a [u8], u8>, Option<LayerId>) {
        let mut names: BTreeMap<&[u8], u8> = BTreeMap::new();
        let mut host = None;
        self.enter(path.as_bytes());
        for (layer, range) in self.above.last().map_or(&[][..], |(_, parts)| parts) {
            match self.view.layers[*layer] {
                Stacked::Host { id } => host = Some(id),
                Stacked::Listed { tree, .. } => {
                    let entries = &tree.entries()[range.clone()];
                    for (name, number) in union::names(entries, path.as_bytes().len()) {
                        let kind = number.map_or(DIRECTORY, |number| kind_number(&entries[number].kind));
                        names.entry(name).or_insert(kind);
                    }
                }
            }
        }
        (names, host)
    }

    fn put_listing(&mut self, hasher: &mut blake3::Hasher, path: &TreePath) {
        let (names, host) = self.names(path);
        self.buffer.clear();
        self.buffer.push(3);
        for (name, kind) in names {
            if kind != WHITEOUT || host.is_some() {
                put_bytes(&mut self.buffer, name);
                self.buffer.push(kind);
            }
        }
        if let Some(id) = host {
            self.buffer.push(1);
            self.buffer.extend_from_slice(id.as_bytes());
        }
        hasher.update(&self.buffer);
    }

    fn put_subtree(&mut self, hasher: &mut blake3::Hasher, path: &TreePath) {
        self.buffer.clear();
        self.buffer.push(4);
        for layer in &self.view.layers {
            match layer {
                Stacked::Host { id } => self.buffer.extend_from_slice(id.as_bytes()),
                Stacked::Listed { tree, .. } => {
                    let above = path.ancestors();
                    let hides = |entry: &&Entry| !matches!(entry.kind, Kind::Dir { opaque: false });
                    let above = above.iter().filter_map(|dir| tree.get(dir)).filter(hides);
                    let all: Vec<&Entry> = above.chain(tree.below(path)).collect();
                    // A layer that says nothing about it makes no difference to it.
                    if !all.is_empty() {
                        self.buffer.extend_from_slice(&(all.len() as u64).to_le_bytes());
                        all.iter().for_each(|entry| put_entry(&mut self.buffer, entry));
                    }
                }
            }
        }
        hasher.update(&self.buffer);
    }

    /// Makes the directory at `path` the one that is looked into; it has no parts if it is none.
    fn enter(&mut self, bytes: &[u8]) {
        while let Some((length, _)) = self.above.last() {
            let inside = *length == 0
                || (self.last.get(..*length) == bytes.get(..*length)
                    && matches!(bytes.get(*length), None | Some(b'/')));
            if inside {
                break;
            }
            self.above.pop();
        }
        while let Some((length, parts)) = self.above.last().filter(|(length, _)| *length != bytes.len()) {
            let length = *length;
            let start = if length == 0 { 0 } else { length + 1 };
            let rest = &bytes[start..];
            let end = start + rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let (_, below) = self.view.step(parts, &bytes[..end]);
            self.above.push((end, below));
        }
        self.last.clear();
        self.last.extend_from_slice(bytes);
    }

    fn find(&mut self, path: &TreePath) -> Found<'a> {
        let bytes = path.as_bytes();
        if bytes.is_empty() {
            return Found::Implied;
        }
        let parent = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.enter(&bytes[..parent]);
        match self.above.last() {
            Some((_, parts)) => self.view.step(parts, bytes).0,
            None => Found::Nothing,
        }
    }
}

impl<'a> View<'a> {
    /// What is at `path` in a directory with these parts, and the parts of what is there.
    fn step(&self, parts: &Parts, path: &[u8]) -> (Found<'a>, Parts) {
        let entries = |layer: usize| match self.layers[layer] {
            Stacked::Listed { tree, .. } => Some(tree.entries()),
            Stacked::Host { .. } => None,
        };
        let Ok((found, below)) = union::step(parts, path, entries, |_| Ok::<_, Infallible>(union::Peek::Anything));
        let found = match found {
            union::Found::Nothing => Found::Nothing,
            union::Found::Entry(layer, number) => Found::Entry(&self.layers[layer].entries()[number], layer),
            union::Found::Implied(_) => Found::Implied,
            union::Found::Unlisted(layer, _) => Found::Host(self.layers[layer].id()),
        };
        (found, below)
    }
}

/// A hasher that has seen nothing: to derive its key from the context takes longer than most states.
static FRESH: std::sync::LazyLock<blake3::Hasher> =
    std::sync::LazyLock::new(|| blake3::Hasher::new_derive_key("kiln state v1"));

/// The number of a kind that hides what is below.
const WHITEOUT: u8 = 9;
const DIRECTORY: u8 = 2;

/// A directory that no entry describes: see [`crate::tree::disk::DirWriter`].
static IMPLIED: std::sync::LazyLock<Entry> = std::sync::LazyLock::new(|| Entry {
    path: TreePath::root(),
    kind: Kind::Dir { opaque: false },
    mode: 0o755,
    uid: 0,
    gid: 0,
    xattrs: Vec::new(),
    mtime: crate::tree::Mtime::default(),
});

fn kind_number(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } | Kind::Hardlink { .. } => 1,
        Kind::Dir { .. } => DIRECTORY,
        Kind::Symlink { .. } => 3,
        Kind::CharDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
        Kind::Fifo => 7,
        Kind::Socket => 8,
        Kind::Whiteout => WHITEOUT,
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Which dependencies may have another state in `new` than in `old`: those that a layer says something
/// about which is not in both stacks at the same place from the bottom.
pub(super) fn touched(dependencies: &[Dependency], old: &View<'_>, new: &View<'_>) -> Vec<bool> {
    let common = old.layers().zip(new.layers()).take_while(|(a, b)| a == b).count();
    let mut touched = vec![false; dependencies.len()];
    for layer in old.layers.iter().rev().skip(common).chain(new.layers.iter().rev().skip(common)) {
        match layer {
            Stacked::Host { .. } => touched.fill(true),
            Stacked::Listed { tree, .. } => touch(dependencies, tree.entries(), &mut touched),
        }
    }
    touched
}

/// Marks the dependencies that a layer says something about. Both lists are sorted by path.
fn touch(dependencies: &[Dependency], entries: &[Entry], touched: &mut [bool]) {
    // Entries that say something of all that is below them, from the root down.
    let mut hiding: Vec<&TreePath> = Vec::new();
    let mut next = 0;
    for (dependency, touched) in dependencies.iter().zip(touched) {
        let path = &dependency.path;
        while let Some(entry) = entries.get(next).filter(|entry| entry.path < *path) {
            if !matches!(entry.kind, Kind::Dir { opaque: false }) {
                hiding.retain(|above| entry.path.starts_with(above));
                hiding.push(&entry.path);
            }
            next += 1;
        }
        let own = entries.get(next).is_some_and(|entry| entry.path == *path);
        let below = || {
            let after = next + usize::from(own);
            entries.get(after).is_some_and(|entry| entry.path.starts_with(path))
        };
        *touched = *touched || own || hiding.iter().any(|above| path.starts_with(above)) || below();
    }
}

#[cfg(test)]
mod tests;

//! A stack of layers looked into as the one tree that an overlay makes of them, one step down at a time.
//!
//! Whiteouts, opaque directories and files hide what lies below them. A layer need not have a listing;
//! then somebody who can see its files is asked. Knows nothing of where layers are.

use super::entry::{Entry, Kind, path_cmp};
use std::cmp::Ordering;
use std::ops::Range;

/// Where a directory's contents lie: for each layer that has a part of it, the topmost first, the range
/// of its entries below the directory.
pub type Parts = Vec<(usize, Range<usize>)>;

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// An entry: its layer, and its number there.
    Entry(usize, usize),
    /// A directory that the listing of this layer holds without saying so.
    Implied(usize),
    /// Something in this layer, which has no listing.
    Unlisted(usize, Peek),
}

/// What a layer without a listing has at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    /// Nothing.
    Nothing,
    /// A mark that hides what is below.
    Whiteout,
    /// A directory.
    Directory {
        /// It hides what lower layers have in theirs.
        opaque: bool,
    },
    /// Anything else.
    Other,
    /// It cannot be told; it may have everything.
    Anything,
}

/// The entries of a layer that lie in its root.
pub fn root_range(entries: &[Entry]) -> Range<usize> {
    let start = usize::from(entries.first().is_some_and(|entry| entry.path.is_root()));
    start..entries.len()
}

/// What is at `path` in a directory with these parts, and the parts of what is there. `entries` gives a layer's
/// listing, `peek` asks a layer that has none.
pub fn step<'a, E>(
    parts: &Parts,
    path: &[u8],
    entries: impl Fn(usize) -> Option<&'a [Entry]>,
    mut peek: impl FnMut(usize) -> Result<Peek, E>,
) -> Result<(Found, Parts), E> {
    let mut found = Found::Nothing;
    let mut below = Parts::new();
    let mut first = |what| {
        if found == Found::Nothing {
            found = what;
        }
    };
    for (layer, range) in parts {
        let Some(listing) = entries(*layer) else {
            let peeked = peek(*layer)?;
            match peeked {
                Peek::Nothing => continue,
                Peek::Whiteout => break,
                Peek::Directory { .. } | Peek::Other | Peek::Anything => first(Found::Unlisted(*layer, peeked)),
            }
            if peeked != Peek::Other {
                below.push((*layer, 0..0));
            }
            if peeked != (Peek::Directory { opaque: false }) {
                break;
            }
            continue;
        };
        let within = &listing[range.clone()];
        let at = within.partition_point(|entry| path_cmp(entry.path.as_bytes(), path) == Ordering::Less);
        let own = within.get(at).filter(|entry| entry.path.as_bytes() == path);
        let number = range.start + at;
        let after = number + usize::from(own.is_some());
        let inside = || after..after + inside(&listing[after..range.end], path);
        match own.map(|entry| &entry.kind) {
            Some(Kind::Whiteout) => break,
            Some(Kind::Dir { opaque }) => {
                first(Found::Entry(*layer, number));
                below.push((*layer, inside()));
                if *opaque {
                    break;
                }
            }
            Some(_) => {
                first(Found::Entry(*layer, number));
                break;
            }
            None => {
                let inside = inside();
                if !inside.is_empty() {
                    first(Found::Implied(*layer));
                    below.push((*layer, inside));
                }
            }
        }
    }
    Ok((found, below))
}

/// How many of these entries, which follow that of `path`, are below it.
fn inside(entries: &[Entry], path: &[u8]) -> usize {
    let is_below =
        |entry: &Entry| entry.path.as_bytes().strip_prefix(path).is_some_and(|rest| rest.first() == Some(&b'/'));
    entries.partition_point(is_below)
}

/// The names right in a directory, sorted, each with the number of its entry; `None` for a directory that no entry
/// describes. `entries` are what one listing has below it, `length` is how long its path is.
pub fn names(entries: &[Entry], length: usize) -> impl Iterator<Item = (&[u8], Option<usize>)> {
    let skip = if length == 0 { 0 } else { length + 1 };
    let mut next = 0;
    std::iter::from_fn(move || {
        let number = next;
        let rest = entries.get(number)?.path.as_bytes().get(skip..)?;
        let end = rest.iter().position(|byte| *byte == b'/');
        let name = &rest[..end.unwrap_or(rest.len())];
        let path = &entries[number].path.as_bytes()[..skip + name.len()];
        let own = usize::from(end.is_none());
        next += own + inside(&entries[number + own..], path);
        Some((name, end.is_none().then_some(number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Mtime, TreePath};

    fn entry(path: &str) -> Entry {
        let kind = Kind::Dir { opaque: false };
        Entry {
            path: TreePath::new(path),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        }
    }

    #[test]
    fn the_names_of_a_directory_are_those_right_below_it() {
        let all: Vec<Entry> = ["a", "a/x", "a/x/y", "a.b", "c/d/e", "c/f", "g"].map(entry).to_vec();
        let of = |range: Range<usize>, length| {
            let text = |(name, number): (&[u8], Option<usize>)| (String::from_utf8_lossy(name).into_owned(), number);
            names(&all[range], length).map(text).collect::<Vec<_>>()
        };
        let named = |name: &str, number| (name.to_owned(), number);
        assert_eq!(of(0..7, 0), [named("a", Some(0)), named("a.b", Some(3)), named("c", None), named("g", Some(6))]);
        assert_eq!(of(1..3, 1), [named("x", Some(0))]);
        assert_eq!(of(4..6, 1), [named("d", None), named("f", Some(1))]);
        assert_eq!(of(0..0, 1), []);
    }

    #[test]
    fn a_layer_without_a_listing_is_asked_and_hides_what_it_says() {
        let low: Vec<Entry> = ["a", "a/x"].map(entry).to_vec();
        let look = |peek| {
            let entries = |layer| (layer == 1).then_some(low.as_slice());
            let parts = vec![(0, 0..0), (1, 0..2)];
            step(&parts, b"a", entries, |_| Ok::<_, ()>(peek)).unwrap()
        };
        assert_eq!(look(Peek::Nothing), (Found::Entry(1, 0), vec![(1, 1..2)]));
        assert_eq!(look(Peek::Whiteout), (Found::Nothing, vec![]));
        let both = Peek::Directory { opaque: false };
        assert_eq!(look(both), (Found::Unlisted(0, both), vec![(0, 0..0), (1, 1..2)]));
        let alone = Peek::Directory { opaque: true };
        assert_eq!(look(alone), (Found::Unlisted(0, alone), vec![(0, 0..0)]));
        assert_eq!(look(Peek::Other), (Found::Unlisted(0, Peek::Other), vec![]));
    }
}

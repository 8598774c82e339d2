//! The directory of a layer that was laid out: all of it, or only what an earlier layer lacks.
//!
//! Files are written by all threads. Each is hashed while it is copied, or is known to be what was laid
//! out: its bytes were kept, or its signature is that of a file settled before it was hashed. A file that
//! is another by now is an error, never a layer that lies about its content.

use super::layout::{Bytes, Layout};
use crate::digest::ContentId;
use crate::tree::disk::{self, DirWriter};
use crate::tree::scan::Facts;
use crate::tree::{Entry, Kind, Tree, TreePath, stat};
use rayon::prelude::*;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::path::Path;

/// Files that one task writes.
const FILES_PER_TASK: usize = 64;

/// A task with so many bytes gets no further file.
const BYTES_PER_TASK: u64 = 4 << 20;

/// An earlier layer serves as a base only where less than one entry in this many differs.
const DELTA_SHARE: usize = 8;

/// A layer that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The kernel refused something.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A source file could not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// In the source.
        path: TreePath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A source file is no longer what it was when its digest was taken.
    #[error("{} changed while it was copied", path.display())]
    Changed {
        /// In the source.
        path: TreePath,
    },
}

/// Which entries have to be written when `old` is already on disk, below. `None`: all of them,
/// because something was removed or changed its type, which a directory on top cannot express
/// without hiding what other layers have there.
pub fn difference<'a>(old: &Tree, new: &'a Tree) -> Option<Vec<&'a Entry>> {
    let limit = new.len() / DELTA_SHARE;
    let mut changed: Vec<&Entry> = Vec::new();
    let mut before = old.entries().iter().peekable();
    for entry in new.entries() {
        match before.peek() {
            Some(other) if other.path < entry.path => return None,
            Some(other) if other.path == entry.path => {
                let same_type = std::mem::discriminant(&other.kind) == std::mem::discriminant(&entry.kind);
                if !same_type || matches!(entry.kind, Kind::Hardlink { .. }) {
                    return None;
                }
                let without_time = |entry: &Entry| Entry { mtime: crate::tree::Mtime::default(), ..entry.clone() };
                if without_time(other) != without_time(entry) {
                    changed.push(entry);
                }
                before.next();
            }
            _ => changed.push(entry),
        }
        if changed.len() > limit {
            return None;
        }
    }
    if before.next().is_some() {
        return None;
    }
    // A file with several names is changed under all of them, or not at all.
    let touches_link =
        |entry: &Entry| matches!(&entry.kind, Kind::Hardlink { to } if changed.iter().any(|c| c.path == *to));
    if new.entries().iter().any(touches_link) {
        return None;
    }
    // The directories above must stand in the difference too, or the overlay shows bare ones.
    let mut with_parents = changed.clone();
    for entry in changed {
        for dir in entry.path.ancestors() {
            with_parents.extend(new.get(&dir));
        }
    }
    with_parents.sort_by(|a, b| a.path.cmp(&b.path));
    with_parents.dedup_by(|a, b| a.path == b.path);
    Some(with_parents)
}

/// An entry to be written, and where its bytes are.
type Placed<'a> = (&'a Entry, &'a Bytes);

/// Where the bytes of a layer come from.
pub struct Source<'a> {
    /// The files that stand in the Dockerfile.
    pub inline: &'a [(String, String)],
    /// Opens a file of the source.
    pub open: &'a (dyn Fn(&TreePath) -> io::Result<File> + Sync),
    /// What is known of its files.
    pub facts: &'a Facts,
}

/// Writes the entries of `layout` for which `wanted` says so below `dir`.
pub fn write(
    layout: &Layout,
    source: &Source<'_>,
    wanted: &(dyn Fn(&TreePath) -> bool + Sync),
    dir: &Path,
) -> Result<(), WriteError> {
    let chosen: Vec<Placed<'_>> =
        layout.tree.entries().iter().zip(&layout.bytes).filter(|(entry, _)| wanted(&entry.path)).collect();
    let mut frame = DirWriter::new(dir)?;
    for (entry, _) in chosen.iter().filter(|(entry, _)| matches!(entry.kind, Kind::Dir { .. })) {
        frame.mkdir(entry)?;
    }
    tasks(&chosen).into_par_iter().try_for_each(|task| -> Result<(), WriteError> {
        let mut writer = DirWriter::new(dir)?;
        for (entry, bytes) in task {
            match &entry.kind {
                Kind::Dir { .. } | Kind::Hardlink { .. } => {}
                Kind::File { size, content } => {
                    let file = writer.create(&entry.path, entry.mode)?;
                    source.fill(&file, &entry.path, bytes, *size, content)?;
                    writer.finish_file(&file, entry)?;
                }
                Kind::Symlink { .. } => writer.symlink(entry)?,
                _ => writer.special_if_possible(entry)?,
            }
        }
        Ok(())
    })?;
    for (entry, _) in &chosen {
        if let Kind::Hardlink { to } = &entry.kind {
            frame.hardlink(to, &entry.path)?;
        }
    }
    frame.finish()?;
    Ok(())
}

/// Cuts the entries into pieces of about the same work: many small files, or a large one.
fn tasks<'e, 'a>(entries: &'e [Placed<'a>]) -> Vec<&'e [Placed<'a>]> {
    let mut tasks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, (entry, _)) in entries.iter().enumerate() {
        if at - start == FILES_PER_TASK || bytes >= BYTES_PER_TASK {
            tasks.push(&entries[start..at]);
            (start, bytes) = (at, 0);
        }
        if let Kind::File { size, .. } = entry.kind {
            bytes += size;
        }
    }
    tasks.push(&entries[start..]);
    tasks
}

impl Source<'_> {
    /// Writes into the new `file` the bytes that its entry promises.
    fn fill(
        &self,
        mut file: &File,
        at: &TreePath,
        bytes: &Bytes,
        size: u64,
        content: &ContentId,
    ) -> Result<(), WriteError> {
        let from = match bytes {
            Bytes::None => return Ok(()),
            Bytes::Inline(number) => {
                let text = self.inline.get(*number).map_or("", |(_, text)| text.as_str());
                return file.write_all(text.as_bytes()).map_err(read_failed(at));
            }
            Bytes::Source(path) => path,
        };
        if let Some(kept) = self.facts.kept.get(content) {
            return file.write_all(kept).map_err(read_failed(at));
        }
        let opened = (self.open)(from).map_err(read_failed(from))?;
        let is_right = match self.facts.settled.get(from) {
            // The kernel copies faster than anything that looks at the bytes. Any change since they were
            // hashed would show in the signature, also one made while this copies.
            Some(signature) => {
                let copied = disk::copy_file(&opened, file).map_err(read_failed(from))?;
                let now = stat::signature(&opened).map_err(|errno| read_failed(from)(errno.into()))?;
                copied == size && now == *signature
            }
            None => disk::copy_file_hashed(&opened, file).map_err(read_failed(from))?.1 == *content,
        };
        if is_right { Ok(()) } else { Err(WriteError::Changed { path: from.clone() }) }
    }
}

fn read_failed(path: &TreePath) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.clone();
    move |source| WriteError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Mtime, TreePath};
    use std::fs;

    fn layout(content: &[u8]) -> Layout {
        let kind = Kind::File { size: content.len() as u64, content: blake3::hash(content).into() };
        let path = TreePath::new("copy");
        let entry = Entry { path, kind, mode: 0o644, uid: 0, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() };
        let entry =
            Entry { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw(), ..entry };
        Layout {
            tree: Tree::new(vec![entry]),
            bytes: vec![Bytes::Source(TreePath::new("source"))],
            ..Layout::default()
        }
    }

    fn write_with(layout: &Layout, facts: &Facts, source: &Path, out: &Path) -> Result<(), WriteError> {
        let open = |_: &TreePath| File::open(source);
        write(layout, &Source { inline: &[], open: &open, facts }, &|_| true, out)
    }

    #[test]
    fn a_settled_file_is_copied_and_one_that_changed_since_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (source, out) = (dir.path().join("source"), dir.path().join("out"));
        fs::write(&source, "first").unwrap();
        fs::create_dir(&out).unwrap();
        let signature = stat::signature(File::open(&source).unwrap()).unwrap();
        let facts = Facts { settled: [(TreePath::new("source"), signature)].into(), ..Facts::default() };
        write_with(&layout(b"first"), &facts, &source, &out).unwrap();
        assert_eq!(fs::read(out.join("copy")).unwrap(), b"first");

        std::thread::sleep(std::time::Duration::from_millis(40));
        fs::write(&source, "other").unwrap();
        fs::remove_file(out.join("copy")).unwrap();
        let error = write_with(&layout(b"first"), &facts, &source, &out).unwrap_err();
        assert!(matches!(error, WriteError::Changed { .. }), "{error}");
    }

    #[test]
    fn kept_bytes_are_written_without_the_source() {
        let out = tempfile::tempdir().unwrap();
        let facts =
            Facts { kept: [(blake3::hash(b"kept").into(), b"kept".as_slice().into())].into(), ..Facts::default() };
        write_with(&layout(b"kept"), &facts, Path::new("/absent"), out.path()).unwrap();
        assert_eq!(fs::read(out.path().join("copy")).unwrap(), b"kept");
    }

    #[test]
    fn tasks_hold_every_entry_once_and_a_large_file_ends_one() {
        let layouts: Vec<Layout> =
            (0..200u64).map(|at| layout(&vec![0; if at == 100 { 5 << 20 } else { 1 }])).collect();
        let entries: Vec<Placed<'_>> = layouts.iter().map(|one| (&one.tree.entries()[0], &one.bytes[0])).collect();
        let sizes: Vec<usize> = tasks(&entries).iter().map(|task| task.len()).collect();
        assert_eq!(sizes, [64, 37, 64, 35]);
    }
}

//! The directory of a layer that was laid out: all of it, or only what an earlier layer lacks.
//!
//! Files are written by all threads, each hashed while it is copied: a file that no longer is what
//! was laid out is an error, never a layer that lies about its content.

use super::layout::{Bytes, Layout};
use crate::tree::disk::{self, DirWriter};
use crate::tree::{Entry, Kind, Tree, TreePath};
use rayon::prelude::*;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::path::Path;

/// Files that one task writes.
const FILES_PER_TASK: usize = 64;

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

/// Writes the entries of `layout` for which `wanted` says so below `dir`.
pub fn write(
    layout: &Layout,
    inline: &[(String, String)],
    wanted: &(dyn Fn(&TreePath) -> bool + Sync),
    open: &(dyn Fn(&TreePath) -> io::Result<File> + Sync),
    dir: &Path,
) -> Result<(), WriteError> {
    let chosen: Vec<(&Entry, &Bytes)> =
        layout.entries.iter().zip(&layout.bytes).filter(|(entry, _)| wanted(&entry.path)).collect();
    let mut frame = DirWriter::new(dir)?;
    for (entry, _) in chosen.iter().filter(|(entry, _)| matches!(entry.kind, Kind::Dir { .. })) {
        frame.mkdir(entry)?;
    }
    chosen.par_chunks(FILES_PER_TASK).try_for_each(|chunk| -> Result<(), WriteError> {
        let mut writer = DirWriter::new(dir)?;
        for (entry, bytes) in chunk {
            match &entry.kind {
                Kind::Dir { .. } | Kind::Hardlink { .. } => {}
                Kind::File { content, .. } => {
                    let file = writer.create(&entry.path, entry.mode)?;
                    match bytes {
                        Bytes::Source(path) => {
                            let failed = |source| WriteError::Read { path: path.clone(), source };
                            let from = open(path).map_err(failed)?;
                            let (_, copied) = disk::copy_file_hashed(&from, &file).map_err(failed)?;
                            if copied != *content {
                                return Err(WriteError::Changed { path: path.clone() });
                            }
                        }
                        Bytes::Inline(number) => {
                            let text = inline.get(*number).map_or("", |(_, text)| text.as_str());
                            let failed = |source| WriteError::Read { path: entry.path.clone(), source };
                            (&file).write_all(text.as_bytes()).map_err(failed)?;
                        }
                        Bytes::None => {}
                    }
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

//! One layer on the disk against its listing.

use crate::tree::disk::in_user_namespace;
use crate::tree::scan::{self, Choice, Options, Owner};
use crate::tree::upper::fold_links;
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is wrong with a layer that lies in `dirs`, the topmost first; `None` for a sound one.
pub(super) fn difference(dirs: &[PathBuf], listing: &Tree) -> Option<String> {
    let mut found: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for dir in dirs.iter().rev() {
        match read(dir) {
            Ok(entries) => found.extend(entries.into_iter().map(|entry| (entry.path.clone(), entry))),
            Err(message) => return Some(message),
        }
    }
    // The root itself is the store's directory.
    for wanted in listing.entries().iter().filter(|entry| !entry.path.is_root()) {
        let path = wanted.path.display();
        match found.remove(&wanted.path) {
            // Nobody could make it here.
            None if is_device(wanted) && in_user_namespace() => {}
            None => return Some(format!("/{path} is missing")),
            Some(there) if there.kind != wanted.kind => {
                return Some(match (&there.kind, &wanted.kind) {
                    (Kind::File { .. }, Kind::File { .. }) => format!("/{path} has another content"),
                    _ => format!("/{path} is of another kind"),
                });
            }
            Some(there) if timeless(&there) != timeless(wanted) => {
                return Some(format!("/{path} has another mode, owner or attribute"));
            }
            Some(_) => {}
        }
    }
    // An overlay copies directories up for nothing; they are in no listing.
    let stray = found.values().find(|entry| entry.kind != Kind::Dir { opaque: false })?;
    Some(format!("/{} is not in its listing", stray.path.display()))
}

fn is_device(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. })
}

fn timeless(entry: &Entry) -> Entry {
    Entry { mtime: Mtime::default(), ..entry.clone() }
}

fn read(dir: &Path) -> Result<Vec<Entry>, String> {
    let keep = |_: &TreePath, _: bool| Choice::Keep;
    let options = Options { filter: &keep, owner: Owner::Kept, cache: None, overlay: true };
    match scan::scan(dir, &options) {
        Ok(scan) => Ok(fold_links(scan.tree.into_entries(), &scan.links)),
        Err(scan::ScanError::Io { path, source, .. }) if path.is_root() => {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Err(match source.kind() {
                std::io::ErrorKind::NotFound => format!("its directory layers/{name} is missing"),
                _ => format!("its directory layers/{name} cannot be read: {source}"),
            })
        }
        Err(scan::ScanError::Io { path, source, .. }) => Err(format!("/{} cannot be read: {source}", path.display())),
    }
}

//! The image's root file system, flattened: as a tar, or in a directory.
//!
//! Knows nothing of configurations and blobs.

use super::Error;
use crate::image::flatten::{Flat, flatten};
use crate::image::layer::ImageLayer;
use crate::tree::disk::{self, DirWriter, copy_file};
use crate::tree::entry::{Entry, Kind, Mtime, TreePath};
use crate::tree::pack::{self, PackOptions};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The directory of one platform's files where there are several: `linux_arm_v7`.
pub fn platform_dir(platform: &str) -> String {
    platform.replace('/', "_")
}

/// Writes `type=tar`. The root directory itself is left out, as BuildKit leaves it out.
pub fn write_tar(layers: &[ImageLayer<'_>], options: &PackOptions, out: &mut dyn Write) -> Result<(), Error> {
    let (entries, places) = flattened(layers);
    let open = |path: &TreePath| open(layers, &places, path);
    Ok(pack::pack(&entries, &open, options, out)?)
}

/// Writes `type=tar` with the files of each platform in a directory of its own.
pub fn write_tar_of(
    roots: &[(String, Vec<ImageLayer<'_>>)],
    options: &PackOptions,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut all = Vec::new();
    let mut origins: HashMap<TreePath, (usize, TreePath)> = HashMap::new();
    let mut places = Vec::with_capacity(roots.len());
    for (at, (dir, layers)) in roots.iter().enumerate() {
        let within = |path: &TreePath| TreePath::new([dir.as_bytes(), b"/", path.as_bytes()].concat());
        let (entries, own) = flattened(layers);
        all.push(Entry {
            path: TreePath::new(dir.as_str()),
            kind: Kind::Dir { opaque: false },
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        });
        for mut entry in entries {
            let path = within(&entry.path);
            if let Kind::Hardlink { to } = &mut entry.kind {
                *to = within(to);
            }
            origins.insert(path.clone(), (at, entry.path));
            all.push(Entry { path, ..entry });
        }
        places.push(own);
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let open = |path: &TreePath| {
        let (at, path) = origins.get(path).ok_or(io::ErrorKind::NotFound)?;
        open(&roots[*at].1, &places[*at], path)
    };
    Ok(pack::pack(&all, &open, options, out)?)
}

/// What `type=local` did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalOutcome {
    /// Devices that could not be made without privileges, and sockets.
    pub skipped: Vec<TreePath>,
}

/// Writes `type=local` into `dir`, which is made if it is not there: directories are merged, files are
/// replaced, and what the image does not have stays. Everything belongs to the user who writes, modes and
/// times are the image's, attributes are kept where they begin with `user.`. No link that is in `dir` is
/// followed. A `dir` that does not exist appears when it is complete.
pub fn write_local(layers: &[ImageLayer<'_>], dir: &Path) -> Result<LocalOutcome, Error> {
    let failed = |source| Error::Write { path: dir.to_owned(), source };
    if dir.try_exists().map_err(failed)? {
        return fill(layers, dir);
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    let temp = tempfile::Builder::new().prefix(".kiln-").permissions(everyone).tempdir_in(parent).map_err(failed)?;
    let outcome = fill(layers, temp.path())?;
    std::fs::rename(temp.path(), dir).map_err(failed)?;
    // Nothing is left there to be removed.
    let _moved = temp.keep();
    Ok(outcome)
}

fn fill(layers: &[ImageLayer<'_>], dir: &Path) -> Result<LocalOutcome, Error> {
    let (entries, places) = flattened(layers);
    let mut writer = DirWriter::new(dir)?.ignoring_owners();
    let mut outcome = LocalOutcome::default();
    for mut entry in entries {
        entry.xattrs.retain(|(name, _)| name.starts_with(b"user."));
        if !matches!(entry.kind, Kind::Dir { .. }) {
            writer.remove(&entry.path)?;
        }
        match &entry.kind {
            Kind::Dir { .. } => match writer.mkdir(&entry) {
                Err(disk::Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                    writer.remove(&entry.path)?;
                    writer.mkdir(&entry)?;
                }
                done => done?,
            },
            Kind::File { .. } => {
                let failed = |source| Error::Read { path: entry.path.clone(), source };
                let source = open(layers, &places, &entry.path).map_err(failed)?;
                let file = writer.create(&entry.path, entry.mode)?;
                copy_file(&source, &file)
                    .map_err(|source| Error::Write { path: dir.join(entry.path.display().to_string()), source })?;
                writer.finish_file(&file, &entry)?;
            }
            Kind::Hardlink { to } => writer.hardlink(to, &entry.path)?,
            Kind::Symlink { .. } => writer.symlink(&entry)?,
            Kind::Socket | Kind::Whiteout => outcome.skipped.push(entry.path),
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => match writer.special(&entry) {
                Err(disk::Error::Device { .. }) => outcome.skipped.push(entry.path),
                done => done?,
            },
        }
    }
    writer.finish()?;
    Ok(outcome)
}

/// Which layer has a file.
type Places = HashMap<TreePath, usize>;

fn flattened(layers: &[ImageLayer<'_>]) -> (Vec<Entry>, Places) {
    let lists: Vec<&[Entry]> = layers.iter().map(|layer| layer.entries).collect();
    let mut places = Places::new();
    let mut entries = Vec::new();
    for (at, entry) in flatten(&lists) as Vec<Flat<'_>> {
        if entry.path.is_root() {
            continue;
        }
        if matches!(entry.kind, Kind::File { .. }) {
            places.insert(entry.path.clone(), at);
        }
        entries.push(entry.into_owned());
    }
    (entries, places)
}

fn open(layers: &[ImageLayer<'_>], places: &Places, path: &TreePath) -> io::Result<File> {
    let at = *places.get(path).ok_or(io::ErrorKind::NotFound)?;
    (layers[at].open)(path)
}

#[cfg(test)]
mod tests;

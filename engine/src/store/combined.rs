//! One directory that means what many mean on each other, for overlays: the kernel takes 500 lower directories at most.
//!
//! A combined directory has the files of the others as hard links and the directories with the attributes of the topmost.
//! What is removed and what is opaque stays marked, so it may lie anywhere in a stack. Groups begin at the bottom and
//! have one size, so the steps of a stage share all but the topmost; they last as long as the store is open.

use super::{Staged, Store, StoreError, io_at};
use crate::tree::{disk, stat};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Stacks of at most so many directories are mounted as they are: the kernel's limit, less some for what a step adds.
const AS_THEY_ARE: usize = 480;

/// So many are made one.
const GROUP: usize = 240;

/// The combined directories of this process, by what they were made of.
#[derive(Default)]
pub(super) struct Combined(Mutex<HashMap<Vec<PathBuf>, Arc<Staged>>>);

impl Store {
    /// Directories that mean the same for an overlay as `lowers`, the topmost first, and are not too many.
    pub fn combined(&self, lowers: Vec<PathBuf>) -> Result<Vec<PathBuf>, StoreError> {
        if lowers.len() <= AS_THEY_ARE {
            return Ok(lowers);
        }
        // The host's own files, which lie at the bottom, stay where they are.
        let own = lowers.iter().take_while(|dir| dir.starts_with(self.root())).count();
        let (own, rest) = lowers.split_at(own);
        let loose = own.len() % GROUP;
        let mut all = own[..loose].to_vec();
        for group in own[loose..].chunks(GROUP) {
            all.push(self.group(group)?);
        }
        all.extend_from_slice(rest);
        Ok(all)
    }

    fn group(&self, dirs: &[PathBuf]) -> Result<PathBuf, StoreError> {
        let mut known = self.combined.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(staged) = known.get(dirs) {
            return Ok(staged.path().to_path_buf());
        }
        let staged = self.stage()?;
        for dir in dirs.iter().rev() {
            lay(dir, staged.path()).map_err(io_at("failed to combine layers with", dir))?;
        }
        let path = staged.path().to_path_buf();
        known.insert(dirs.to_vec(), Arc::new(staged));
        Ok(path)
    }
}

/// Lays what is in the directory `upper` over what is in `lower`.
fn lay(upper: &Path, lower: &Path) -> io::Result<()> {
    for entry in fs::read_dir(upper)? {
        let entry = entry?;
        let (from, to) = (entry.path(), lower.join(entry.file_name()));
        let found = fs::symlink_metadata(&from)?;
        let below = match fs::symlink_metadata(&to) {
            Ok(below) => Some(below),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if !found.is_dir() {
            remove(&to, below.as_ref())?;
            link(&from, &to, &found)?;
            continue;
        }
        let opaque = is_opaque(&from)?;
        // Whatever is no directory hides what lies below it, and still does under one.
        let hides = opaque || below.as_ref().is_some_and(|below| !below.is_dir());
        let stays = below.as_ref().is_some_and(|below| below.is_dir()) && !opaque;
        if !stays {
            remove(&to, below.as_ref())?;
            fs::create_dir(&to)?;
        }
        let was_opaque = stays && is_opaque(&to)?;
        lay(&from, &to)?;
        describe(&from, &to, &found)?;
        if hides || was_opaque {
            rustix::fs::setxattr(&to, disk::OPAQUE_XATTR, b"y", XattrFlags::empty())?;
            set_times(&to, &found)?;
        }
    }
    Ok(())
}

fn remove(path: &Path, found: Option<&fs::Metadata>) -> io::Result<()> {
    match found {
        None => Ok(()),
        Some(found) if found.is_dir() => fs::remove_dir_all(path),
        Some(_) => fs::remove_file(path),
    }
}

/// Makes `to` the same file, or one like it where a file system refuses more names for one.
fn link(from: &Path, to: &Path, found: &fs::Metadata) -> io::Result<()> {
    match rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(errno) if found.is_file() && errno != rustix::io::Errno::EXIST => {}
        Err(errno) if !found.file_type().is_symlink() && !found.file_type().is_char_device() => {
            return Err(errno.into());
        }
        Err(_) if found.file_type().is_symlink() => {
            std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
            return std::os::unix::fs::lchown(to, Some(found.uid()), Some(found.gid()));
        }
        Err(_) => {
            let mode = Mode::from_raw_mode(found.mode() & 0o7777);
            return Ok(rustix::fs::mknodat(CWD, to, FileType::CharacterDevice, mode, found.rdev())?);
        }
    }
    fs::copy(from, to)?;
    describe(from, to, found)
}

/// Gives `to` the attributes of `from`.
fn describe(from: &Path, to: &Path, found: &fs::Metadata) -> io::Result<()> {
    let own = fs::symlink_metadata(to)?;
    if (own.uid(), own.gid()) != (found.uid(), found.gid()) {
        std::os::unix::fs::chown(to, Some(found.uid()), Some(found.gid()))?;
    }
    fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    for name in names(to)?.into_iter().filter(|name| name.as_slice() != disk::OPAQUE_XATTR.as_bytes()) {
        rustix::fs::removexattr(to, name.as_slice())?;
    }
    for name in names(from)? {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::getxattr(from, name.as_slice(), value.as_mut_slice())?;
        rustix::fs::setxattr(to, name.as_slice(), &value[..length], XattrFlags::empty())?;
    }
    set_times(to, found)
}

fn set_times(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The names of a file's extended attributes.
fn names(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::listxattr(path, list.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    Ok(list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

fn is_opaque(path: &Path) -> io::Result<bool> {
    fs::File::open(path).map(stat::is_opaque)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Entry, Kind, Mtime, TreePath};
    use disk::DirWriter;

    fn write(dir: &Path, entries: &[(&str, Option<Kind>)]) {
        fs::create_dir(dir).unwrap();
        let mut writer = DirWriter::new(dir).unwrap();
        for (path, kind) in entries {
            let path = TreePath::new(path);
            match kind {
                None => {
                    let mut file = writer.create(&path, 0o644).unwrap();
                    io::Write::write_all(&mut file, dir.file_name().unwrap().as_encoded_bytes()).unwrap();
                }
                Some(Kind::Whiteout) => writer.whiteout(&path).unwrap(),
                Some(kind) => {
                    let (kind, mtime) = (kind.clone(), Mtime { seconds: 1, nanos: 0 });
                    let entry = Entry { path, kind, mode: 0o750, uid: 0, gid: 0, xattrs: Vec::new(), mtime };
                    writer.mkdir(&entry).unwrap();
                }
            }
        }
        writer.finish().unwrap();
    }

    #[test]
    fn many_directories_are_few_that_mean_the_same() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let dir = |opaque| Some(Kind::Dir { opaque });
        let mut lowers = Vec::new();
        for number in 0..600 {
            let name = place.path().join(format!("layers/{number:03}"));
            match number {
                3 => write(
                    &name,
                    &[
                        ("a", dir(false)),
                        ("a/low", None),
                        ("b", None),
                        ("gone", None),
                        ("o", dir(false)),
                        ("o/x", None),
                    ],
                ),
                4 => write(
                    &name,
                    &[
                        ("a", dir(false)),
                        ("a/high", None),
                        ("b", dir(false)),
                        ("b/in", None),
                        ("o", dir(true)),
                        ("o/y", None),
                    ],
                ),
                5 => write(&name, &[("gone", Some(Kind::Whiteout)), ("never", Some(Kind::Whiteout))]),
                _ => write(&name, &[(&format!("f{number}"), None)]),
            }
            lowers.insert(0, name);
        }
        let few = store.combined(lowers.clone()).unwrap();
        assert_eq!(few.len(), 120 + 2);
        assert_eq!(few[..120], lowers[..120]);
        let low = few.last().unwrap();
        let read = |name: &str| fs::read_to_string(low.join(name)).unwrap();
        assert_eq!(
            (read("a/low"), read("a/high"), read("b/in"), read("o/y")),
            ("003".into(), "004".into(), "004".into(), "004".into())
        );
        assert!(!low.join("o/x").exists() && is_opaque(&low.join("o")).unwrap());
        // The file that a directory took the place of hid what may be below all of these.
        assert!(is_opaque(&low.join("b")).unwrap() && !is_opaque(&low.join("a")).unwrap());
        assert!(fs::symlink_metadata(low.join("gone")).unwrap().file_type().is_char_device());
        assert!(fs::symlink_metadata(low.join("never")).unwrap().file_type().is_char_device());
        let a = fs::metadata(low.join("a")).unwrap();
        assert_eq!((a.mode() & 0o7777, a.mtime()), (0o750, 1));
        assert_eq!(fs::metadata(low.join("f0")).unwrap().ino(), fs::metadata(lowers[599].join("f0")).unwrap().ino());
        // The next step shares them, and a stack that is not too deep stays as it is.
        let mut deeper = lowers.clone();
        deeper.insert(0, place.path().join("layers/599"));
        assert_eq!(store.combined(deeper).unwrap()[121..], few[120..]);
        assert_eq!(store.combined(lowers[..400].to_vec()).unwrap(), lowers[..400]);
    }
}

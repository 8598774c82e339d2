//! The built-in base `kiln/host`: the host's own programs, below an empty layer.
//!
//! The layer's directory holds the skeleton of a root and the few files of /etc that programs need;
//! `/usr` (and `/bin`, `/lib`… where they are no links into it) are laid under the step's root as
//! overlays of their own, because a directory of the store below `/` cannot share an overlay with
//! `/` itself. The identity covers what can change there: os-release, the package databases, and the
//! stat signatures of the tools and libraries.

use crate::digest::LayerId;
use crate::store::{Layer, Store, StoreError};
use crate::tree::disk::{self, DirWriter};
use crate::tree::{Entry, Kind, Mtime, TreePath, stat};
use rayon::prelude::*;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Top-level directories that hold programs and libraries.
const PROGRAM_DIRS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Directories that a root has and programs expect, with their modes.
const SKELETON: [(&str, u32); 12] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// What of /etc the linker, name look-ups, TLS and `alternatives` need.
const ETC: [&str; 18] = [
    "alternatives",
    "ca-certificates.conf",
    "debian_version",
    "gai.conf",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "login.defs",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki",
    "protocols",
    "services",
    "shells",
    "ssl",
];

/// Where the tools, the libraries and the package databases are; each directory is listed, not
/// walked: what lies deeper belongs to packages, whose databases change with them.
const SIGNED: [&str; 16] = [
    "/bin",
    "/etc/alternatives",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/bin",
    "/usr/local/include",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/sbin",
    "/var/lib/pacman/local",
    "/var/lib/rpm",
];

/// Package databases that are one file.
const DATABASES: [&str; 3] = ["/var/lib/dpkg/status", "/lib/apk/db/installed", "/var/lib/rpm/rpmdb.sqlite"];

/// Files of /etc above this size are left out: no program needs them to run.
const ETC_FILE_MAX_BYTES: u64 = 4 << 20;

/// Why the host cannot be a base.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Something could not be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The skeleton could not be written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn read_failed(path: &Path) -> impl FnOnce(io::Error) -> HostError {
    let path = path.to_path_buf();
    move |source| HostError::Read { path, source }
}

/// The host as a layer.
pub fn layer(store: &Store) -> Result<Arc<Layer>, HostError> {
    let id = identity()?;
    store.pin(id.as_bytes())?;
    let place = store.directory("host").join(id.to_hex());
    if !place.is_dir() {
        let made = store.session()?.directory("host")?;
        write_skeleton(&made)?;
        match fs::rename(&made, &place) {
            Err(error) if !place.is_dir() => return Err(read_failed(&place)(error)),
            _ => {}
        }
    }
    Ok(Arc::new(Layer::host(id, vec![place], program_dirs())))
}

/// The program directories that are directories; the others are links into /usr.
fn program_dirs() -> Vec<PathBuf> {
    let all = PROGRAM_DIRS.iter().map(|name| Path::new("/").join(name));
    all.filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())).collect()
}

/// What the host is, as far as steps can tell.
fn identity() -> Result<LayerId, HostError> {
    let mut hasher = blake3::Hasher::new_derive_key("kiln host v1");
    let mut put = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    put(&fs::read("/etc/os-release").unwrap_or_default());
    put(std::env::consts::ARCH.as_bytes());
    for path in DATABASES {
        put(path.as_bytes());
        if let Ok(meta) = fs::metadata(path) {
            put(format!("{} {} {}", meta.size(), meta.ctime(), meta.ctime_nsec()).as_bytes());
        }
    }
    let mut directories: Vec<PathBuf> = SIGNED.iter().map(PathBuf::from).collect();
    // Debian keeps its libraries one level down.
    for parent in ["/usr/lib", "/lib"] {
        directories.push(PathBuf::from(format!("{parent}/{}-linux-gnu", std::env::consts::ARCH)));
    }
    let signed: Vec<Vec<u8>> = directories.par_iter().map(|path| sign(path)).collect();
    for (path, signature) in directories.iter().zip(&signed) {
        put(path.as_os_str().as_bytes());
        put(signature);
    }
    for name in ETC {
        if let Ok(meta) = fs::symlink_metadata(Path::new("/etc").join(name)) {
            put(format!("{name} {} {} {}", meta.size(), meta.ctime(), meta.ctime_nsec()).as_bytes());
        }
    }
    Ok(LayerId::from(hasher.finalize()))
}

/// The names in a directory with their stat signatures; nothing for one that is not there, or that is
/// a link to one that is signed itself.
fn sign(path: &Path) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::DIRECTORY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::CLOEXEC;
    let Ok(dir) = rustix::fs::open(path, flags, rustix::fs::Mode::empty()) else { return Vec::new() };
    let Ok(names) = crate::tree::scan::list(&dir, &TreePath::root()) else { return Vec::new() };
    for name in names {
        let Ok(found) = stat::stat_at(dir.as_fd(), &name) else { continue };
        let stat::Signature { inode, size, ctime, .. } = found.signature;
        let mut line = name.into_bytes();
        line.push(0);
        for number in [inode, size, ctime.seconds.unsigned_abs(), u64::from(ctime.nanos)] {
            line.extend_from_slice(&number.to_le_bytes());
        }
        lines.push(line);
    }
    lines.concat()
}

fn dir_entry(path: &str, mode: u32) -> Entry {
    Entry {
        path: TreePath::new(path),
        kind: Kind::Dir { opaque: false },
        mode,
        uid: 0,
        gid: 0,
        xattrs: Vec::new(),
        mtime: Mtime::default(),
    }
}

fn write_skeleton(at: &Path) -> Result<(), HostError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).map_err(read_failed(at))?;
    let mut writer = DirWriter::new(at)?;
    for (name, mode) in SKELETON {
        writer.mkdir(&dir_entry(name, mode))?;
    }
    writer.mkdir(&dir_entry("var/tmp", 0o1777))?;
    for name in PROGRAM_DIRS {
        let path = Path::new("/").join(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => writer.mkdir(&dir_entry(name, 0o755))?,
            Ok(meta) if meta.is_symlink() => copy_link(&mut writer, &path)?,
            _ => {}
        }
    }
    for name in ETC {
        copy_etc(&mut writer, &Path::new("/etc").join(name))?;
    }
    writer.finish()?;
    Ok(())
}

fn copy_link(writer: &mut DirWriter, path: &Path) -> Result<(), HostError> {
    let target = fs::read_link(path).map_err(read_failed(path))?;
    let kind = Kind::Symlink { target: target.as_os_str().as_bytes().into() };
    Ok(writer.symlink(&Entry { kind, mode: 0o777, ..dir_entry(&path.to_string_lossy(), 0) })?)
}

/// Copies a file, link or directory of /etc; what cannot be read (private keys) is left out.
fn copy_etc(writer: &mut DirWriter, path: &Path) -> Result<(), HostError> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let name = path.to_string_lossy();
    if meta.is_symlink() {
        return copy_link(writer, path);
    }
    if meta.is_dir() {
        // Keys are nobody's business but their owner's.
        if path.file_name() == Some(OsStr::new("private")) {
            return Ok(());
        }
        writer.mkdir(&dir_entry(&name, 0o755))?;
        let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        return paths.iter().try_for_each(|path| copy_etc(writer, path));
    }
    if !meta.is_file() || meta.len() > ETC_FILE_MAX_BYTES || meta.mode() & 0o044 == 0 {
        return Ok(());
    }
    let Ok(source) = fs::File::open(path) else { return Ok(()) };
    let entry = Entry {
        kind: Kind::File { size: meta.len(), content: blake3::hash(b"").into() },
        mtime: Mtime { seconds: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) },
        ..dir_entry(&name, meta.mode() & 0o755)
    };
    let file = writer.create(&entry.path, entry.mode)?;
    disk::copy_file(&source, &file).map_err(read_failed(path))?;
    Ok(writer.finish_file(&file, &entry)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_the_same_twice() {
        assert_eq!(identity().unwrap(), identity().unwrap());
    }

    #[test]
    fn the_skeleton_has_what_a_shell_needs() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let layer = layer(&store).unwrap();
        let root = &layer.dirs()[0];
        assert!(root.join("etc/passwd").is_file());
        assert!(root.join("usr").is_dir());
        assert_eq!(fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
        assert!(layer.host_dirs().contains(&PathBuf::from("/usr")));
    }
}

//! A context that arrives as a stream of bytes: an archive, or one file.
//!
//! An archive is told by its content and unpacked as ADD would, into a fresh directory that becomes a layer; nothing is
//! ever written through a name that is already there. Knows nothing of where the bytes come from.

use super::{SourceError, io_at};
use crate::store::{Layer, Store};
use crate::tree::archive::{self, ArchiveOptions};
use crate::tree::disk::DirWriter;
use crate::tree::unpack::NoLower;
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

/// Mode of a file that was downloaded, as in Docker.
const FILE_MODE: u32 = 0o600;

/// A stream that was taken into the store.
pub enum Taken {
    /// It was an archive: its files.
    Archive(Arc<Layer>),
    /// It was anything else: its bytes, which is a Dockerfile in the end.
    Other(Vec<u8>),
}

/// The longest text that a stream which is no archive may be, in bytes.
const TEXT_MAX_BYTES: u64 = 16 << 20;

impl Taken {
    /// Takes a whole stream; `what` is its name for people.
    pub fn from_stream(store: &Store, mut stream: impl Read, what: &str) -> Result<Taken, SourceError> {
        let path = store.session()?.unique("context");
        let failed = io_at("failed to write", &path);
        let copied = File::create_new(&path).and_then(|mut file| io::copy(&mut stream, &mut file).map(|_| file));
        let file = copied.map_err(failed)?;
        let result = Taken::from_file(store, file, what);
        // What is left goes with the session.
        let _ = fs::remove_file(&path);
        result
    }

    fn from_file(store: &Store, mut file: File, what: &str) -> Result<Taken, SourceError> {
        let failed = |source| SourceError::Io { action: "failed to read", path: PathBuf::from(what), source };
        // It was written by this function's caller, and its offset stands at the end.
        let mut file = reopened(&mut file).map_err(failed)?;
        if archive::is_archive(&mut file).map_err(failed)? {
            file.rewind().map_err(failed)?;
            let layer = unpack(store, file, what)?;
            // A layer is found again once it is recorded.
            store.flush()?;
            return Ok(Taken::Archive(layer));
        }
        file.rewind().map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(TEXT_MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Taken::Other(bytes))
    }
}

/// The same file, open for reading from its start.
fn reopened(file: &mut File) -> io::Result<File> {
    use std::os::fd::AsRawFd as _;
    file.flush()?;
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Unpacks an archive, compressed or not, into a layer of its own.
pub(super) fn unpack(store: &Store, archive: impl Read + Send, what: &str) -> Result<Arc<Layer>, SourceError> {
    let staged = store.stage()?;
    let mut writer = DirWriter::new(staged.path())?;
    let options =
        ArchiveOptions { destination: &TreePath::root(), owner: None, mtime: Mtime::default(), lower: &NoLower };
    let entries = archive::unpack_archive(archive, &mut writer, Vec::new(), &options)
        .map_err(|source| SourceError::Unpack { what: what.to_owned(), source })?;
    writer.finish()?;
    Ok(store.commit_layer(&Tree::new(entries), staged, &[])?)
}

/// A layer with one file, as it is written; given up unless it is finished.
pub(super) struct OneFile {
    staged: crate::store::Staged,
    path: PathBuf,
    name: String,
    file: File,
    size: u64,
    hasher: blake3::Hasher,
}

impl OneFile {
    pub(super) fn new(store: &Store, name: &str) -> Result<Self, SourceError> {
        let staged = store.stage()?;
        let path = staged.path().join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(&path);
        let file = file.map_err(io_at("failed to make", &path))?;
        Ok(OneFile { staged, path, name: name.to_owned(), file, size: 0, hasher: blake3::Hasher::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(io_at("failed to write", &self.path))
    }

    /// What was written, for looking at it.
    pub(super) fn reader(&mut self) -> Result<File, SourceError> {
        reopened(&mut self.file).map_err(io_at("failed to read", &self.path))
    }

    /// The layer, in which the file has this time.
    pub(super) fn finish(self, store: &Store, mtime: Mtime) -> Result<Arc<Layer>, SourceError> {
        let path = &self.path;
        // The mode that the file was made with went through the umask.
        self.file
            .set_permissions(fs::Permissions::from_mode(FILE_MODE))
            .map_err(io_at("failed to set the mode of", path))?;
        let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path.as_path(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| io_at("failed to set the time of", path)(errno.into()))?;
        let entry = Entry {
            path: TreePath::new(&self.name),
            kind: Kind::File { size: self.size, content: self.hasher.finalize().into() },
            mode: FILE_MODE,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime,
        };
        Ok(store.commit_layer(&Tree::new(vec![entry]), self.staged, &[])?)
    }
}

//! Reading an entry's metadata from the disk: type, mode, owner, times, link target, attributes.
//!
//! Works on an open directory and a name, so that no path is resolved twice. Knows nothing of
//! digests.

use super::entry::{Kind, Mtime, Xattrs};
use crate::digest::ContentId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What of a file's attributes tells that it may have changed: (ctime, inode, size, mtime), the
/// device and the type with the mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Device of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// When the content changed.
    pub mtime: Mtime,
    /// When the inode changed; a program cannot set it.
    pub ctime: Mtime,
}

/// What one `statx` says.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// The type.
    pub file_type: FileType,
    /// `mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u32,
    /// Device number, for devices.
    pub device_number: (u32, u32),
    /// What tells of a change.
    pub signature: Signature,
}

fn time(stamp: rustix::fs::StatxTimestamp) -> Mtime {
    Mtime { seconds: stamp.tv_sec, nanos: stamp.tv_nsec }
}

impl From<Statx> for Stat {
    fn from(statx: Statx) -> Self {
        Stat {
            file_type: FileType::from_raw_mode(statx.stx_mode.into()),
            mode: u32::from(statx.stx_mode) & 0o7777,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            links: statx.stx_nlink,
            device_number: (statx.stx_rdev_major, statx.stx_rdev_minor),
            signature: Signature {
                device: (u64::from(statx.stx_dev_major) << 32) | u64::from(statx.stx_dev_minor),
                inode: statx.stx_ino,
                size: statx.stx_size,
                mtime: time(statx.stx_mtime),
                ctime: time(statx.stx_ctime),
            },
        }
    }
}

/// The attributes of `name` in `dir`; a symbolic link is not followed.
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS).map(Stat::from)
}

/// The signature of an open file.
pub fn signature(file: impl AsFd) -> Result<Signature, Errno> {
    stat_of(file).map(|stat| stat.signature)
}

/// The attributes of an open file.
pub fn stat_of(file: impl AsFd) -> Result<Stat, Errno> {
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map(Stat::from)
}

/// Opens the directory `name` in `dir` for reading; a symbolic link is an error.
pub fn open_dir_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Opens the regular file `name` in `dir` for reading; a symbolic link is an error, and a pipe
/// that took the file's place does not block. Reading it leaves its access time alone where that is
/// allowed: writing 20,000 inodes back costs more than reading the files.
pub fn open_file_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may ask for it.
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// The target of the symbolic link `name` in `dir`.
pub fn read_link_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Box<[u8]>, Errno> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes().into())
}

/// Whether an attribute belongs to the overlay or the host rather than to the file.
fn is_foreign(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name.starts_with(b"system.")
        || name == b"security.selinux"
}

/// The extended attributes of an open file that an image keeps, sorted by name.
pub fn xattrs(file: impl AsFd) -> Result<Xattrs, Errno> {
    let mut names = vec![0u8; 1024];
    let length = loop {
        match rustix::fs::flistxattr(&file, &mut names) {
            Ok(length) => break length,
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP | Errno::BADF) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    };
    let mut all: Xattrs = Vec::new();
    for name in names[..length].split(|&b| b == 0).filter(|name| !name.is_empty() && !is_foreign(name)) {
        let mut value = vec![0u8; 256];
        loop {
            match rustix::fs::fgetxattr(&file, name, &mut value) {
                Ok(length) => {
                    all.push((name.into(), value[..length].into()));
                    break;
                }
                Err(Errno::RANGE) => value.resize(value.len() * 4, 0),
                // Removed between the two calls: it is simply not there.
                Err(Errno::NODATA) => break,
                Err(error) => return Err(error),
            }
        }
    }
    all.sort();
    Ok(all)
}

/// The kind of an entry that has no content of its own; `None` for files, directories and links,
/// which need more than a `stat`.
pub fn special_kind(stat: &Stat) -> Option<Kind> {
    let (major, minor) = stat.device_number;
    match stat.file_type {
        FileType::CharacterDevice if (major, minor) == (0, 0) => Some(Kind::Whiteout),
        FileType::CharacterDevice => Some(Kind::CharDevice { major, minor }),
        FileType::BlockDevice => Some(Kind::BlockDevice { major, minor }),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::Socket => Some(Kind::Socket),
        _ => None,
    }
}

/// Chunks above this size are hashed by all threads; below it one thread is cheaper.
const PARALLEL_HASH_BYTES: usize = 1 << 20;

/// How much of a large file is read at once.
const CHUNK_BYTES: usize = 4 << 20;

/// The content of a file, as it was read.
pub struct Hashed {
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub content: ContentId,
    /// The bytes, where they were asked for.
    pub bytes: Option<Box<[u8]>>,
}

/// The digest and length of an open file's content, from its start.
pub fn hash_file(file: &OwnedFd, expected_size: u64) -> Result<(u64, ContentId), Errno> {
    read_file(file, expected_size, false).map(|read| (read.size, read.content))
}

/// The same, and the bytes themselves where the file fits one chunk and `keep` asks for them.
pub fn read_file(file: &OwnedFd, expected_size: u64, keep: bool) -> Result<Hashed, Errno> {
    thread_local! {
        // Files are mostly small: allocating this for each would cost more than reading it.
        static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let wanted = usize::try_from(expected_size).unwrap_or(usize::MAX).saturating_add(1).clamp(4096, CHUNK_BYTES);
    let mut buffer = BUFFER.take();
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    let read = read_into(file, expected_size, keep, &mut buffer[..wanted]);
    // A large one is worth allocating each time: many threads would hold many.
    if buffer.len() <= PARALLEL_HASH_BYTES {
        BUFFER.set(buffer);
    }
    read
}

fn read_into(file: &OwnedFd, expected_size: u64, keep: bool, buffer: &mut [u8]) -> Result<Hashed, Errno> {
    let mut hasher = blake3::Hasher::new();
    let mut size = 0u64;
    loop {
        let mut filled = 0;
        let mut is_end = false;
        while filled < buffer.len() && !is_end {
            match rustix::io::read(file, &mut buffer[filled..]) {
                Ok(0) => is_end = true,
                Ok(count) => {
                    filled += count;
                    // A regular file gives less than was asked for at its end only, and here that is
                    // where it was expected.
                    is_end = filled < buffer.len() && size + filled as u64 == expected_size;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if filled > PARALLEL_HASH_BYTES {
            hasher.update_rayon(&buffer[..filled]);
        } else {
            hasher.update(&buffer[..filled]);
        }
        size += filled as u64;
        if is_end {
            let bytes = (keep && size == filled as u64).then(|| buffer[..filled].into());
            return Ok(Hashed { size, content: hasher.finalize().into(), bytes });
        }
    }
}

/// Whether an open directory of an overlay hides what lower layers have in it.
pub fn is_opaque(dir: impl AsFd) -> bool {
    let mut value = [0u8; 2];
    matches!(rustix::fs::fgetxattr(dir, "user.overlay.opaque", &mut value), Ok(1) if value[0] == b'y')
}

//! The messages of `/dev/fuse` that a read-only file system exchanges, as bytes.
//!
//! The layouts are those of the kernel's `include/uapi/linux/fuse.h`, version 7.31 and on. All numbers
//! are in the machine's own order. Knows nothing of files.

/// What the kernel asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// The whole message's length in bytes.
    pub length: u32,
    /// Which operation.
    pub opcode: u32,
    /// Goes back with the answer.
    pub unique: u64,
    /// What it is about; 1 is the root.
    pub node: u64,
    /// Which thread asks, by its number in the server's own namespace; 0 for one that is not in it.
    pub asker: u32,
}

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const REPLY_HEADER_BYTES: usize = 16;

/// Operations by their numbers; whatever is not here is refused.
pub(super) mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const READLINK: u32 = 5;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const ACCESS: u32 = 34;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
    pub const READDIRPLUS: u32 = 44;
    pub const LSEEK: u32 = 46;
    pub const STATX: u32 = 52;
}

/// Features that are asked for at the start.
mod flag {
    pub const ASYNC_READ: u32 = 1 << 0;
    pub const DO_READDIRPLUS: u32 = 1 << 13;
    pub const NO_OPEN_SUPPORT: u32 = 1 << 17;
    pub const PARALLEL_DIROPS: u32 = 1 << 18;
    pub const MAX_PAGES: u32 = 1 << 22;
    pub const CACHE_SYMLINKS: u32 = 1 << 23;
    pub const NO_OPENDIR_SUPPORT: u32 = 1 << 24;
    pub const EXPLICIT_INVAL_DATA: u32 = 1 << 25;
    pub const WANTED: u32 = ASYNC_READ
        | DO_READDIRPLUS
        | NO_OPEN_SUPPORT
        | PARALLEL_DIROPS
        | MAX_PAGES
        | CACHE_SYMLINKS
        | NO_OPENDIR_SUPPORT
        | EXPLICIT_INVAL_DATA;
    /// Without these a file would have to be opened and closed by message, which this server does not do.
    pub const NEEDED: u32 = NO_OPEN_SUPPORT | NO_OPENDIR_SUPPORT | MAX_PAGES;
}

const MAJOR: u32 = 7;
/// The version whose layouts these are.
const MINOR: u32 = 31;

/// The most that one READ asks for, in bytes.
pub(super) const MAX_READ_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;
/// The kernel waits no longer than this for anything it was told, in seconds: sixty-eight years.
const FOREVER_SECONDS: u64 = 1 << 31;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl Header {
    /// Reads a message's header; gives it and what follows it.
    pub(super) fn parse(message: &[u8]) -> Option<(Header, &[u8])> {
        let header = Header {
            length: u32_at(message, 0)?,
            opcode: u32_at(message, 4)?,
            unique: u64_at(message, 8)?,
            node: u64_at(message, 16)?,
            asker: u32_at(message, 32)?,
        };
        Some((header, message.get(HEADER_BYTES..)?))
    }
}

/// The offset and size that a READ or READDIR asks for.
pub(super) fn read_range(body: &[u8]) -> Option<(u64, usize)> {
    let size = usize::try_from(u32_at(body, 16)?).ok()?;
    Some((u64_at(body, 8)?, size.min(MAX_READ_BYTES)))
}

/// The room for an attribute and its name; no name for LISTXATTR.
pub(super) fn xattr_request(body: &[u8]) -> Option<(usize, &[u8])> {
    let size = usize::try_from(u32_at(body, 0)?).ok()?;
    Some((size, name(body.get(8..)?)))
}

/// A name: what comes before the zero byte.
pub(super) fn name(body: &[u8]) -> &[u8] {
    body.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A message under construction.
#[derive(Default)]
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }
}

/// The header of an answer whose body has this length.
pub(super) fn reply_header(unique: u64, errno: i32, body: usize) -> [u8; REPLY_HEADER_BYTES] {
    let mut header = [0; REPLY_HEADER_BYTES];
    let length = u32::try_from(REPLY_HEADER_BYTES + body).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..8].copy_from_slice(&(-errno).to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

/// The answer to INIT, or `None` where the kernel lacks something that is needed.
pub(super) fn init(body: &[u8]) -> Option<Reply> {
    let (major, minor, readahead, offered) = (u32_at(body, 0)?, u32_at(body, 4)?, u32_at(body, 8)?, u32_at(body, 12)?);
    if major != MAJOR || minor < MINOR || offered & flag::NEEDED != flag::NEEDED {
        return None;
    }
    let mut reply = Reply::default();
    reply.u32(MAJOR).u32(MINOR).u32(readahead.max(MAX_READ_BYTES as u32)).u32(offered & flag::WANTED);
    // Background requests and the mark at which they count as congested; writes never come.
    reply.u16(64).u16(48).u32(PAGE_BYTES as u32);
    reply.u32(1).u16((MAX_READ_BYTES / PAGE_BYTES) as u16).u16(0);
    reply.0.resize(64, 0);
    Some(reply)
}

/// A file's attributes as the kernel takes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Attributes {
    pub inode: u64,
    pub size: u64,
    /// Access, content and inode times: seconds and nanoseconds.
    pub times: [(i64, u32); 3],
    /// Type and permission bits.
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    /// The device number in the kernel's own 32-bit form.
    pub device: u32,
}

impl Reply {
    fn attributes(&mut self, it: &Attributes) -> &mut Self {
        let [accessed, modified, changed] = it.times;
        self.u64(it.inode).u64(it.size).u64(it.size.div_ceil(512));
        self.u64(accessed.0.cast_unsigned()).u64(modified.0.cast_unsigned()).u64(changed.0.cast_unsigned());
        self.u32(accessed.1).u32(modified.1).u32(changed.1);
        self.u32(it.mode).u32(it.links).u32(it.uid).u32(it.gid).u32(it.device);
        self.u32(PAGE_BYTES as u32).u32(0)
    }

    /// A node that is known for good; node 0 is a name that nothing has.
    pub(super) fn entry(&mut self, node: u64, attributes: &Attributes) -> &mut Self {
        self.u64(node).u64(0).u64(FOREVER_SECONDS).u64(FOREVER_SECONDS).u32(0).u32(0).attributes(attributes)
    }

    /// The answer to GETATTR.
    pub(super) fn attr(&mut self, attributes: &Attributes) -> &mut Self {
        self.u64(FOREVER_SECONDS).u32(0).u32(0).attributes(attributes)
    }

    /// The answer to STATFS: names may have 255 bytes, and nothing can be written.
    pub(super) fn statfs(&mut self) -> &mut Self {
        self.u64(0).u64(0).u64(0).u64(0).u64(0).u32(PAGE_BYTES as u32).u32(255).u32(PAGE_BYTES as u32);
        self.0.resize(80, 0);
        self
    }

    /// Whether an entry of a directory leaves the message no longer than `room` bytes.
    pub(super) fn fits(&self, room: usize, plus: bool, name: &[u8]) -> bool {
        self.0.len() + dirent_bytes(plus, name) <= room
    }

    /// Adds an entry of a directory. `plus` is the node with its attributes; node 0 tells the kernel
    /// nothing about it.
    pub(super) fn dirent(
        &mut self,
        plus: Option<(u64, Attributes)>,
        inode: u64,
        next_offset: u64,
        kind: u32,
        name: &[u8],
    ) {
        let end = self.0.len() + dirent_bytes(plus.is_some(), name);
        if let Some((node, attributes)) = plus {
            self.entry(node, &attributes);
        }
        self.u64(inode).u64(next_offset).u32(u32::try_from(name.len()).unwrap_or(u32::MAX)).u32(kind);
        self.0.extend_from_slice(name);
        self.0.resize(end, 0);
    }
}

/// What an entry of a directory takes.
fn dirent_bytes(plus: bool, name: &[u8]) -> usize {
    const DIRENT_BYTES: usize = 24;
    const ENTRY_BYTES: usize = 128;
    (DIRENT_BYTES + name.len()).next_multiple_of(8) + if plus { ENTRY_BYTES } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_lengths_that_the_kernel_expects() {
        let mut entry = Reply::default();
        entry.entry(2, &Attributes::default());
        assert_eq!(entry.0.len(), 128);
        let mut attr = Reply::default();
        attr.attr(&Attributes::default());
        assert_eq!(attr.0.len(), 104);
        let mut statfs = Reply::default();
        statfs.statfs();
        assert_eq!(statfs.0.len(), 80);
        let mut dirent = Reply::default();
        dirent.dirent(None, 1, 1, 4, b"name");
        assert_eq!(dirent.0.len(), 32);
        dirent.dirent(Some((0, Attributes::default())), 1, 1, 4, b"name");
        assert_eq!(dirent.0.len(), 32 + 160);
        assert!(dirent.fits(224, false, b"name") && !dirent.fits(223, false, b"name"));
        assert_eq!(reply_header(7, 2, 8)[..8], [24u32.to_ne_bytes(), (-2i32).to_ne_bytes()].concat()[..]);
    }

    #[test]
    fn a_kernel_without_what_is_needed_is_refused() {
        let ask = |minor: u32, flags: u32| {
            init(&[7u32, minor, 4096, flags].map(u32::to_ne_bytes).concat()).map(|reply| reply.0.len())
        };
        assert_eq!(ask(31, !0), Some(64));
        assert_eq!(ask(30, !0), None);
        assert_eq!(ask(40, !(1 << 17)), None);
        assert_eq!(init(b"short").map(|_| ()), None);
    }

    #[test]
    fn a_short_message_is_no_message() {
        assert_eq!(Header::parse(&[0; 39]), None);
        assert_eq!(read_range(&[0; 19]), None);
        assert_eq!(xattr_request(&[0; 3]), None);
        assert_eq!(name(b"etc\0rest"), b"etc");
    }
}

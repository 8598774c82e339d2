//! The canonical encoding of a tree, version 1.
//!
//! All numbers are little-endian; `bytes` are a u32 length and that many bytes. A tree on disk is
//! the magic `kilntre1`, a u64 count, and each entry as its *canonical part* followed by its time
//! (i64 seconds, u32 nanoseconds). A canonical part is
//!
//! `u8 kind · bytes path · u32 mode · u32 uid · u32 gid · payload · u32 count · (bytes name · bytes value)*`
//!
//! | kind | meaning | payload |
//! |---|---|---|
//! | 1 | regular file | u64 size, 32 bytes of BLAKE3 |
//! | 2 | directory | u8 opaque |
//! | 3 | symbolic link | bytes target |
//! | 4 | hard link | bytes path of the first name |
//! | 5, 6 | character, block device | u32 major, u32 minor |
//! | 7, 8, 9 | named pipe, socket, whiteout | |
//!
//! The digest is BLAKE3 in key-derivation mode (context `kiln tree v1`) over the count and the
//! canonical parts, so times never count. Entries stand in path order, which makes it unique.

use super::Tree;
use super::entry::{Entry, Kind, Mtime, TreePath};
use crate::digest::{ContentId, LayerId};

const MAGIC: &[u8; 8] = b"kilntre1";
const DIGEST_CONTEXT: &str = "kiln tree v1";

/// A stored tree that cannot be read: the store is damaged, or newer than this program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are not those of a tree of this version.
    #[error("not a tree of a version this kiln reads")]
    Magic,
    /// The data ends too early or says something impossible.
    #[error("tree damaged at byte {at}")]
    Damaged {
        /// Where reading stopped, from the start of the data.
        at: usize,
    },
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("paths, link targets and xattrs are far below 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends the canonical part of `entry`.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let tag = match entry.kind {
        Kind::File { .. } => 1,
        Kind::Dir { .. } => 2,
        Kind::Symlink { .. } => 3,
        Kind::Hardlink { .. } => 4,
        Kind::CharDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
        Kind::Fifo => 7,
        Kind::Socket => 8,
        Kind::Whiteout => 9,
    };
    out.push(tag);
    put_bytes(out, entry.path.as_bytes());
    for number in [entry.mode, entry.uid, entry.gid] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    match &entry.kind {
        Kind::File { size, content } => {
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(content.as_bytes());
        }
        Kind::Dir { opaque } => out.push(u8::from(*opaque)),
        Kind::Symlink { target } => put_bytes(out, target),
        Kind::Hardlink { to } => put_bytes(out, to.as_bytes()),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            out.extend_from_slice(&major.to_le_bytes());
            out.extend_from_slice(&minor.to_le_bytes());
        }
        Kind::Fifo | Kind::Socket | Kind::Whiteout => {}
    }
    let count = u32::try_from(entry.xattrs.len()).expect("a file has far fewer than 4 G attributes");
    out.extend_from_slice(&count.to_le_bytes());
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

/// The digest of `tree`, times left out.
pub fn digest(tree: &Tree) -> LayerId {
    let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
    hasher.update(&(tree.len() as u64).to_le_bytes());
    let mut buffer = Vec::with_capacity(1 << 16);
    for entry in tree.entries() {
        put_entry(&mut buffer, entry);
        if buffer.len() > (1 << 16) - 4096 {
            hasher.update(&buffer);
            buffer.clear();
        }
    }
    hasher.update(&buffer);
    hasher.finalize().into()
}

/// The tree as it is kept on disk.
pub fn encode(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + tree.len() * 96);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(tree.len() as u64).to_le_bytes());
    for entry in tree.entries() {
        put_entry(&mut out, entry);
        out.extend_from_slice(&entry.mtime.seconds.to_le_bytes());
        out.extend_from_slice(&entry.mtime.nanos.to_le_bytes());
    }
    out
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.data.len());
        let end = end.ok_or(DecodeError::Damaged { at: self.at })?;
        let bytes = &self.data[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take gives N bytes"))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn entry(&mut self) -> Result<Entry, DecodeError> {
        let start = self.at;
        let tag = self.array::<1>()?[0];
        let path = TreePath::new(self.bytes()?);
        let (mode, uid, gid) = (self.u32()?, self.u32()?, self.u32()?);
        let kind = match tag {
            1 => Kind::File { size: u64::from_le_bytes(self.array()?), content: ContentId::from_bytes(self.array()?) },
            2 => Kind::Dir { opaque: self.array::<1>()?[0] != 0 },
            3 => Kind::Symlink { target: self.bytes()?.into() },
            4 => Kind::Hardlink { to: TreePath::new(self.bytes()?) },
            5 => Kind::CharDevice { major: self.u32()?, minor: self.u32()? },
            6 => Kind::BlockDevice { major: self.u32()?, minor: self.u32()? },
            7 => Kind::Fifo,
            8 => Kind::Socket,
            9 => Kind::Whiteout,
            _ => return Err(DecodeError::Damaged { at: start }),
        };
        let count = self.u32()?;
        let mut xattrs = Vec::new();
        for _ in 0..count {
            xattrs.push((self.bytes()?.into(), self.bytes()?.into()));
        }
        let mtime = Mtime { seconds: i64::from_le_bytes(self.array()?), nanos: self.u32()? };
        Ok(Entry { path, kind, mode, uid, gid, xattrs, mtime })
    }
}

/// Reads what [`encode`] wrote.
pub fn decode(data: &[u8]) -> Result<Tree, DecodeError> {
    let mut reader = Reader { data, at: 0 };
    if reader.take(MAGIC.len()) != Ok(MAGIC) {
        return Err(DecodeError::Magic);
    }
    let count = u64::from_le_bytes(reader.array()?);
    // The smallest entry has 37 bytes: a damaged count must not reserve memory that no data backs.
    let capacity = usize::try_from(count).unwrap_or(usize::MAX).min(data.len() / 37);
    let mut entries = Vec::with_capacity(capacity);
    for _ in 0..count {
        let at = reader.at;
        let entry = reader.entry()?;
        if entries.last().is_some_and(|last: &Entry| last.path >= entry.path) {
            return Err(DecodeError::Damaged { at });
        }
        entries.push(entry);
    }
    if reader.at != data.len() {
        return Err(DecodeError::Damaged { at: reader.at });
    }
    Ok(Tree::new(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Tree {
        let file = Entry {
            path: TreePath::new("a/f"),
            kind: Kind::File { size: 3, content: blake3::hash(b"abc").into() },
            mode: 0o644,
            uid: 1,
            gid: 2,
            xattrs: vec![(b"user.k".as_slice().into(), b"v".as_slice().into())],
            mtime: Mtime { seconds: 7, nanos: 9 },
        };
        let link = Entry {
            path: TreePath::new("a/l"),
            kind: Kind::Symlink { target: b"f".as_slice().into() },
            xattrs: Vec::new(),
            ..file
        };
        let gone = Entry { path: TreePath::new("b"), kind: Kind::Whiteout, xattrs: Vec::new(), ..file };
        Tree::new(vec![file, link, gone])
    }

    /// A change here breaks every store: raise the version in the magic and the context instead.
    #[test]
    fn the_digest_of_a_known_tree_stays_what_it_was() {
        assert_eq!(sample().id().to_hex(), "11fd71fa06f74fa7aaa6bd93d170f4d7844b03ae3f8405d665434eb65b05632c");
        assert_eq!(Tree::default().id().to_hex(), "68639eb01921368f37c465ab20c2144f24a7efe62fc6be1ded783eb7129eafd0");
    }

    #[test]
    fn times_do_not_change_the_digest_and_everything_else_does() {
        let tree = sample();
        let change = |edit: &dyn Fn(&mut Entry)| {
            let mut entries = tree.entries().to_vec();
            edit(&mut entries[0]);
            Tree::new(entries).id()
        };
        assert_eq!(change(&|e| e.mtime.seconds += 1), tree.id());
        assert_ne!(change(&|e| e.mode = 0o600), tree.id());
        assert_ne!(change(&|e| e.uid = 9), tree.id());
        assert_ne!(change(&|e| e.gid = 9), tree.id());
        assert_ne!(change(&|e| e.xattrs.clear()), tree.id());
        assert_ne!(change(&|e| e.path = TreePath::new("a/g")), tree.id());
        assert_ne!(change(&|e| e.kind = Kind::Fifo), tree.id());
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        assert_eq!(decode(b"kilntre0"), Err(DecodeError::Magic));
    }

    proptest! {
        #[test]
        fn damaged_data_is_refused_and_never_panics(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let mut data = encode(&sample());
            let at = at % data.len();
            data[at] = byte;
            let _ = decode(&data);
            data.truncate(cut % (data.len() + 1));
            let _ = decode(&data);
        }
    }
}

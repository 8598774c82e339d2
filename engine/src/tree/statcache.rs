//! What was hashed before, and by which signs it is known to be unchanged.
//!
//! A file is not read again when its device, inode, size, mtime and ctime are those it had when it
//! was hashed, *and* its ctime was clearly older than that moment: a file written within the same
//! tick of the clock as it was read could change once more without a sign (git calls this racy).
//! No program can set a ctime, so an edit that keeps size and mtime is seen.
//!
//! On disk: the magic `kilnstc1`, then for each directory `bytes path · u32 length` and a block of
//! that length: `u16 name length · name · u64 device · u64 inode · u64 size · (i64, u32) mtime ·
//! (i64, u32) ctime · 32 bytes digest · u32 count · (bytes name · bytes value)*` by name.
//! Little-endian. A damaged file is an empty cache: nothing is lost but time.

use super::entry::{Mtime, Xattrs};
use super::stat::Signature;
use crate::digest::ContentId;
use std::collections::HashMap;

const MAGIC: &[u8; 8] = b"kilnstc1";

/// One file as it was when it was hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its signs.
    pub signature: Signature,
    /// The digest of its bytes.
    pub content: ContentId,
    /// Its extended attributes; a change of them changes the ctime.
    pub xattrs: Xattrs,
}

/// The cache of one directory tree, read-only.
#[derive(Default)]
pub struct StatCache {
    data: Vec<u8>,
    /// The block of each directory: start and end in `data`.
    blocks: HashMap<Box<[u8]>, (usize, usize)>,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    fn time(&mut self) -> Option<Mtime> {
        Some(Mtime { seconds: i64::from_le_bytes(self.array()?), nanos: u32::from_le_bytes(self.array()?) })
    }

    fn entry(&mut self) -> Option<(&'a [u8], Known)> {
        let length = u16::from_le_bytes(self.array()?);
        let name = self.take(length.into())?;
        let signature = Signature {
            device: self.u64()?,
            inode: self.u64()?,
            size: self.u64()?,
            mtime: self.time()?,
            ctime: self.time()?,
        };
        let content = ContentId::from_bytes(self.array()?);
        let count = u32::from_le_bytes(self.array()?);
        let mut xattrs = Vec::new();
        for _ in 0..count {
            xattrs.push((self.bytes()?.into(), self.bytes()?.into()));
        }
        Some((name, Known { signature, content, xattrs }))
    }
}

impl StatCache {
    /// Reads what the writer made; damaged data is an empty cache.
    pub fn decode(data: Vec<u8>) -> Self {
        let mut blocks = HashMap::new();
        let mut reader = Reader(&data);
        if reader.take(MAGIC.len()) != Some(MAGIC.as_slice()) {
            return StatCache::default();
        }
        while !reader.0.is_empty() {
            let Some(path) = reader.bytes() else { return StatCache::default() };
            let Some(length) = reader.array().map(u32::from_le_bytes) else { return StatCache::default() };
            let start = data.len() - reader.0.len();
            if reader.take(length as usize).is_none() {
                return StatCache::default();
            }
            blocks.insert(path.into(), (start, start + length as usize));
        }
        StatCache { data, blocks }
    }

    /// The files known in the directory at `path`, by name.
    pub fn directory(&self, path: &[u8]) -> Vec<(&[u8], Known)> {
        let Some(&(start, end)) = self.blocks.get(path) else { return Vec::new() };
        let mut reader = Reader(&self.data[start..end]);
        let mut all = Vec::with_capacity((end - start) / 110);
        while let Some(entry) = reader.entry() {
            all.push(entry);
        }
        all
    }

    /// How many directories are known.
    pub fn directories(&self) -> usize {
        self.blocks.len()
    }
}

/// One directory's block, as it will be written.
pub struct Block {
    /// The directory.
    pub path: Box<[u8]>,
    /// Its encoded files.
    pub data: Vec<u8>,
}

/// Appends one file to a block; files come by name.
pub fn put(block: &mut Vec<u8>, name: &[u8], known: &Known) {
    let Ok(length) = u16::try_from(name.len()) else { return };
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(name);
    let signature = &known.signature;
    for number in [signature.device, signature.inode, signature.size] {
        block.extend_from_slice(&number.to_le_bytes());
    }
    for time in [signature.mtime, signature.ctime] {
        block.extend_from_slice(&time.seconds.to_le_bytes());
        block.extend_from_slice(&time.nanos.to_le_bytes());
    }
    block.extend_from_slice(known.content.as_bytes());
    block.extend_from_slice(&(known.xattrs.len() as u32).to_le_bytes());
    for part in known.xattrs.iter().flat_map(|(name, value)| [name, value]) {
        block.extend_from_slice(&(part.len() as u32).to_le_bytes());
        block.extend_from_slice(part);
    }
}

/// The encoding of a whole cache.
pub fn encode(blocks: &[Block]) -> Vec<u8> {
    let size: usize = blocks.iter().map(|block| block.path.len() + block.data.len() + 8).sum();
    let mut out = Vec::with_capacity(MAGIC.len() + size);
    out.extend_from_slice(MAGIC);
    for block in blocks {
        out.extend_from_slice(&(block.path.len() as u32).to_le_bytes());
        out.extend_from_slice(&block.path);
        out.extend_from_slice(&(block.data.len() as u32).to_le_bytes());
        out.extend_from_slice(&block.data);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(inode: u64) -> Known {
        let time = Mtime { seconds: 5, nanos: 6 };
        Known {
            signature: Signature { device: 1, inode, size: 3, mtime: time, ctime: time },
            content: blake3::hash(b"abc").into(),
            xattrs: vec![(b"user.a".as_slice().into(), b"b".as_slice().into())],
        }
    }

    fn sample() -> Vec<u8> {
        let mut data = Vec::new();
        put(&mut data, b"one", &known(1));
        put(&mut data, b"two", &known(2));
        encode(&[
            Block { path: b"".as_slice().into(), data },
            Block { path: b"src".as_slice().into(), data: Vec::new() },
        ])
    }

    #[test]
    fn what_was_written_is_read_by_directory() {
        let cache = StatCache::decode(sample());
        assert_eq!(cache.directories(), 2);
        assert_eq!(cache.directory(b""), [(b"one".as_slice(), known(1)), (b"two".as_slice(), known(2))]);
        assert!(cache.directory(b"src").is_empty());
        assert!(cache.directory(b"absent").is_empty());
    }

    proptest! {
        #[test]
        fn damaged_data_never_panics(cut in 0usize..400, at in 0usize..400, byte: u8) {
            let mut data = sample();
            let length = data.len();
            data[at % length] = byte;
            data.truncate(cut % (length + 1));
            let cache = StatCache::decode(data);
            let _ = (cache.directory(b""), cache.directory(b"src"));
        }
    }
}

//! One layer of an image: what its tar adds, and what it takes away.
//!
//! Paths are absolute and clean. Knows nothing of the layers around it.

use super::tar::{self, Member};
use ::tar::EntryType;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

/// A path in the image, absolute; names may be any bytes.
pub type Path = Vec<u8>;

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// Its bytes.
        size: u64,
        /// BLAKE3 of its content.
        digest: blake3::Hash,
        /// The content where it is short.
        text: Option<Vec<u8>>,
    },
    /// Another name of the file at this path.
    Hardlink(Path),
    /// A symbolic link with its target as written.
    Symlink(Vec<u8>),
    /// A character device with its numbers.
    Char(u32, u32),
    /// A block device with its numbers.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// An entry without its path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id bits and the sticky bit.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A layer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layer {
    /// What it has.
    pub nodes: BTreeMap<Path, Node>,
    /// Paths that it removes.
    pub removed: BTreeSet<Path>,
    /// Directories whose content below it removes.
    pub opaque: BTreeSet<Path>,
}

/// Files up to this many bytes are shown by their content.
const SHORT_BYTES: u64 = 80;

impl Layer {
    /// Reads an uncompressed layer tar.
    pub fn read(reader: impl Read) -> io::Result<Layer> {
        let mut layer = Layer::default();
        tar::members(reader, &mut |member, content| layer.take(member, content))?;
        Ok(layer)
    }

    fn take(&mut self, member: Member, content: &mut dyn Read) -> io::Result<()> {
        let path = clean(&member.path);
        let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let (parent, name) = (path[..slash].to_vec(), &path[slash + 1..]);
        if name == b".wh..wh..opq" {
            self.opaque.insert(if parent.is_empty() { b"/".to_vec() } else { parent });
            return Ok(());
        }
        if let Some(name) = name.strip_prefix(b".wh.") {
            self.removed.insert([&parent, &b"/"[..], name].concat());
            return Ok(());
        }
        let (major, minor) = member.device;
        let kind = match member.kind {
            EntryType::Directory => Kind::Dir,
            EntryType::Symlink => Kind::Symlink(member.link),
            EntryType::Link => Kind::Hardlink(clean(&member.link)),
            EntryType::Char => Kind::Char(major, minor),
            EntryType::Block => Kind::Block(major, minor),
            EntryType::Fifo => Kind::Fifo,
            EntryType::Regular | EntryType::Continuous => file(member.size, content)?,
            other => {
                let text = format!("the layer has a member of the unknown kind {other:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        };
        let Member { mode, uid, gid, mtime, xattrs, .. } = member;
        self.nodes.insert(path, Node { kind, mode, uid, gid, mtime, xattrs });
        Ok(())
    }
}

fn file(size: u64, content: &mut dyn Read) -> io::Result<Kind> {
    let mut hasher = blake3::Hasher::new();
    let mut text = None;
    if size <= SHORT_BYTES {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        hasher.update(&bytes);
        text = Some(bytes);
    } else {
        hasher.update_reader(content)?;
    }
    Ok(Kind::File { size, digest: hasher.finalize(), text })
}

/// `./a//b/` as `/a/b`. A tar's paths begin at the image's root.
pub fn clean(path: &[u8]) -> Path {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    [b"/", parts.join(&b'/').as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_clean() {
        assert_eq!(clean(b"./a//b/"), b"/a/b");
        assert_eq!(clean(b"./"), b"/");
        assert_eq!(clean(b"../x"), b"/x");
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (path, kind) in
            [("d/", EntryType::Directory), ("d/.wh.x", EntryType::Regular), ("d/.wh..wh..opq", EntryType::Regular)]
        {
            let mut header = ::tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            builder.append_data(&mut header, path, &b""[..]).expect("in memory");
        }
        let layer = Layer::read(&*builder.into_inner().expect("in memory")).expect("valid");
        assert_eq!(layer.nodes.keys().collect::<Vec<_>>(), [b"/d"]);
        assert!(layer.removed.contains(&b"/d/x"[..]) && layer.opaque.contains(&b"/d"[..]));
    }
}

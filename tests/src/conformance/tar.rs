//! The members of a tar with every PAX record as bytes: values may hold line feeds and zeros, as those of
//! `security.capability` do, which the tar crate's own reader of these records does not survive.
//!
//! Knows nothing of layers.

use std::collections::BTreeMap;
use std::io::{self, Read};
use tar::EntryType;

/// A member before its content is read.
#[derive(Clone, Debug)]
pub struct Member {
    /// As the header says it.
    pub kind: EntryType,
    /// As written, with all dots and slashes.
    pub path: Vec<u8>,
    /// The target of a link of either kind.
    pub link: Vec<u8>,
    /// Permission bits, set-id bits and the sticky bit.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Bytes of content.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Device numbers, major and minor.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Calls `each` for every member with a reader of its content.
pub fn members(reader: impl Read, each: &mut dyn FnMut(Member, &mut dyn Read) -> io::Result<()>) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    let mut global: Records = Vec::new();
    let mut local: Records = Vec::new();
    let (mut long_name, mut long_link) = (None, None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let header = entry.header().clone();
        match header.entry_type() {
            EntryType::XHeader => local = records(&content(&mut entry)?)?,
            EntryType::XGlobalHeader => global = records(&content(&mut entry)?)?,
            EntryType::GNULongName => long_name = Some(until_zero(content(&mut entry)?)),
            EntryType::GNULongLink => long_link = Some(until_zero(content(&mut entry)?)),
            kind => {
                let mut member = Member {
                    kind,
                    path: long_name.take().unwrap_or_else(|| header.path_bytes().into_owned()),
                    link: long_link
                        .take()
                        .unwrap_or_else(|| header.link_name_bytes().map_or_else(Vec::new, |name| name.into_owned())),
                    mode: header.mode()? & 0o7777,
                    uid: header.uid()?,
                    gid: header.gid()?,
                    size: header.size()?,
                    mtime: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
                    // Old archives leave the fields of what is no device empty.
                    device: match kind {
                        EntryType::Char | EntryType::Block => {
                            (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
                        }
                        _ => (0, 0),
                    },
                    xattrs: BTreeMap::new(),
                };
                for (key, value) in global.iter().chain(&local) {
                    apply(&mut member, key, value)?;
                }
                local.clear();
                each(member, &mut entry)?;
            }
        }
    }
    Ok(())
}

/// The records of a PAX header in their order.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn content(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn until_zero(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// `LENGTH KEY=VALUE\n`, where the length counts the whole record.
fn records(mut bytes: &[u8]) -> io::Result<Records> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "malformed PAX record");
    let mut all = Vec::new();
    while bytes.first().is_some_and(|&byte| byte != 0) {
        let space = bytes.iter().position(|&byte| byte == b' ').ok_or_else(wrong)?;
        let length: usize = number(&bytes[..space])?;
        let record = bytes.get(space + 1..length).ok_or_else(wrong)?;
        let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(wrong)?;
        all.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Ok(all)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> io::Result<T> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed number in a PAX record"))
}

fn apply(member: &mut Member, key: &[u8], value: &[u8]) -> io::Result<()> {
    match key {
        b"path" => member.path = value.to_vec(),
        b"linkpath" => member.link = value.to_vec(),
        b"uid" => member.uid = number(value)?,
        b"gid" => member.gid = number(value)?,
        b"size" => member.size = number(value)?,
        b"mtime" => {
            let whole = value.split(|&byte| byte == b'.').next().unwrap_or_default();
            member.mtime = number(whole)?;
        }
        key => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                member.xattrs.insert(name.to_vec(), value.to_vec());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_line_feeds_and_zeros() {
        let found = records(b"12 path=a/b\n21 SCHILY.xattr.x=\n\0\n").expect("valid records");
        assert_eq!(found[0], (b"path".to_vec(), b"a/b".to_vec()));
        assert_eq!(found[1], (b"SCHILY.xattr.x".to_vec(), b"\n\0".to_vec()));
        assert!(records(b"99 path=a\n").is_err());
    }
}

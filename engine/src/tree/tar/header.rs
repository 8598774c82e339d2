//! A header block: where its fields are, how numbers are written in it, and its check sum.
//!
//! Writes the head of a member as plain ustar where that holds everything, with a PAX extension
//! before it where it does not. Knows nothing of entries.

use super::BLOCK_BYTES;
use crate::tree::entry::Xattrs;
use std::io::{self, Write};
use std::ops::Range;

/// One 512-byte header.
pub type Block = [u8; BLOCK_BYTES];

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;

/// Magic and version of POSIX archives.
pub(super) const USTAR: &[u8; 8] = b"ustar\x0000";
/// Magic and version of GNU archives.
pub(super) const GNU: &[u8; 8] = b"ustar  \0";

/// The largest number that an octal field of eight bytes holds.
const MAX_OCTAL_7: u64 = 0o7_777_777;
/// The largest number that an octal field of twelve bytes holds.
const MAX_OCTAL_11: u64 = 0o77_777_777_777;

/// What stands at the head of a member.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The path, with a trailing slash for a directory.
    pub path: &'a [u8],
    /// The type flag.
    pub kind: u8,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of data that follow.
    pub size: u64,
    /// Whole seconds since 1970.
    pub mtime: i64,
    /// Target of a link; empty for everything else.
    pub link: &'a [u8],
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, by name.
    pub xattrs: &'a Xattrs,
}

/// The sum of all bytes of the header, its own field counted as spaces: unsigned, and as the signed
/// sum that some old writers stored.
pub(in crate::tree) fn checksums(block: &Block) -> (u64, i64) {
    let mut unsigned = 0u64;
    let mut signed = 0i64;
    for (at, &byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { byte };
        unsigned += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    (unsigned, signed)
}

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
}

/// A number as header fields hold it: octal digits, padded with spaces and NULs, or (GNU) a
/// big-endian two's complement number whose first bit is set. `None` where it is neither, or too large.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        // The second bit is the sign; the first is only a mark.
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, &byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative { byte & 0x7f } else { byte };
            value = value.checked_mul(256)? + i128::from(byte);
        }
        return i64::try_from(value).ok();
    }
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|&b| b == 0 || b == b' ').unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if rest.iter().any(|&b| b != 0 && b != b' ') {
        return None;
    }
    digits.iter().try_fold(0i64, |value, &digit| {
        if !(b'0'..=b'7').contains(&digit) {
            return None;
        }
        value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))
    })
}

/// Writes the head of a member: the header, with a PAX extension before it only where needed.
pub fn write_head(out: &mut dyn Write, head: &Head<'_>) -> io::Result<()> {
    let mut records = Vec::new();
    let mut block: Block = [0; BLOCK_BYTES];
    if !put_path(&mut block, head.path) {
        record(&mut records, b"path", head.path);
        let cut = &head.path[..head.path.len().min(NAME.len())];
        block[NAME][..cut.len()].copy_from_slice(cut);
    }
    if head.link.len() > LINK.len() {
        record(&mut records, b"linkpath", head.link);
    }
    let link = &head.link[..head.link.len().min(LINK.len())];
    block[LINK][..link.len()].copy_from_slice(link);
    for (field, key, value) in [(UID, "uid", head.uid), (GID, "gid", head.gid)] {
        if u64::from(value) > MAX_OCTAL_7 {
            record(&mut records, key.as_bytes(), value.to_string().as_bytes());
        }
        octal(&mut block[field], if u64::from(value) > MAX_OCTAL_7 { 0 } else { value.into() });
    }
    if head.size > MAX_OCTAL_11 {
        record(&mut records, b"size", head.size.to_string().as_bytes());
    }
    octal(&mut block[SIZE], if head.size > MAX_OCTAL_11 { 0 } else { head.size });
    match u64::try_from(head.mtime) {
        Ok(mtime) if mtime <= MAX_OCTAL_11 => octal(&mut block[MTIME], mtime),
        _ => {
            record(&mut records, b"mtime", head.mtime.to_string().as_bytes());
            octal(&mut block[MTIME], 0);
        }
    }
    for (name, value) in head.xattrs {
        record(&mut records, &[super::PAX_XATTR_PREFIX, name].concat(), value);
    }
    octal(&mut block[MODE], u64::from(head.mode & 0o7777));
    octal(&mut block[MAJOR], head.device.0.into());
    octal(&mut block[MINOR], head.device.1.into());
    block[TYPE] = head.kind;
    seal(&mut block);
    if !records.is_empty() {
        let mut extension: Block = [0; BLOCK_BYTES];
        extension[NAME][..PAX_NAME.len()].copy_from_slice(PAX_NAME);
        for field in [MODE, UID, GID, MTIME, MAJOR, MINOR] {
            octal(&mut extension[field], 0);
        }
        octal(&mut extension[SIZE], records.len() as u64);
        extension[TYPE] = b'x';
        seal(&mut extension);
        out.write_all(&extension)?;
        out.write_all(&records)?;
        pad(out, records.len() as u64)?;
    }
    out.write_all(&block)
}

/// Fills the last block after `size` bytes of data with zeros.
pub fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let over = (size % BLOCK_BYTES as u64) as usize;
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK_BYTES][over..]) }
}

/// What readers without PAX would call an extension.
const PAX_NAME: &[u8] = b"PaxHeaders/entry";

fn seal(block: &mut Block) {
    block[MAGIC].copy_from_slice(USTAR);
    let (sum, _) = checksums(block);
    // Six digits, NUL, space: the form that all readers take.
    let digits = format!("{sum:06o}\0 ");
    block[CHECKSUM].copy_from_slice(digits.as_bytes());
}

fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let digits = format!("{value:0width$o}");
    // A value that the field cannot hold was given a PAX record, or (a device number) is no number
    // that Linux has: its low digits stay.
    field[..width].copy_from_slice(&digits.as_bytes()[digits.len() - width..]);
}

/// Whether `path` went into name and prefix.
fn put_path(block: &mut Block, path: &[u8]) -> bool {
    if path.len() <= NAME.len() {
        block[NAME][..path.len()].copy_from_slice(path);
        return true;
    }
    if path.len() > PREFIX.len() + 1 + NAME.len() {
        return false;
    }
    // Split at the last slash that leaves a prefix that fits; a directory's own slash is no place.
    let last = (path.len() - 1).min(PREFIX.len() + 1);
    let Some(slash) = path[..last].iter().rposition(|&b| b == b'/') else { return false };
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    if prefix.is_empty() || name.len() > NAME.len() {
        return false;
    }
    block[NAME][..name.len()].copy_from_slice(name);
    block[PREFIX][..prefix.len()].copy_from_slice(prefix);
    true
}

/// Appends a PAX record: its own length in decimal, a space, `key=value` and a newline.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + decimal_digits(length) {
        length = rest + decimal_digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn decimal_digits(value: usize) -> usize {
    value.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_gnu_binary_and_nothing_else() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None, "too large");
        for bad in [b"0000648\0", b"-000001\0", b"1 1    \0", b"0x10000\0"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..200 {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'v'; length]);
            let digits = records.iter().position(|&b| b == b' ').unwrap();
            let stated: usize = std::str::from_utf8(&records[..digits]).unwrap().parse().unwrap();
            assert_eq!(stated, records.len());
        }
    }

    #[test]
    fn a_path_is_split_only_where_both_halves_fit() {
        let fits = |path: &[u8]| put_path(&mut [0; BLOCK_BYTES], path);
        assert!(fits(&[b'a'; 100]));
        assert!(!fits(&[b'a'; 101]), "no slash");
        assert!(fits(&[[b'p'; 155].as_slice(), b"/", &[b'n'; 100]].concat()));
        assert!(!fits(&[[b'p'; 156].as_slice(), b"/", &[b'n'; 99]].concat()));
        assert!(!fits(&[[b'd'; 110].as_slice(), b"/"].concat()), "a directory's slash is no place to split");
        assert!(!fits(&[b"/".as_slice(), &[b'n'; 101]].concat()));
    }
}

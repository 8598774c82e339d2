//! The records of a PAX extension, and which of them this reader takes.
//!
//! An empty value takes an earlier one back and leaves the header's own. Unknown keys are skipped.

use super::super::PAX_XATTR_PREFIX;
use super::{Error, MAX_SPARSE_PIECES};
use crate::tree::entry::{Mtime, Xattrs};

/// What stood before a header to complete it.
#[derive(Default, Debug)]
pub(super) struct Extension {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    /// From GNU `L`; a PAX path is preferred.
    pub(super) long_path: Option<Vec<u8>>,
    /// From GNU `K`; a PAX linkpath is preferred.
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: SparseRecords,
}

/// What the `GNU.sparse.*` records say.
#[derive(Default, Debug)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    /// The file's own name; the member's path is a made-up one.
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Offset and length of each piece, in versions 0.0 and 0.1.
    pub(super) map: Vec<u64>,
    pub(super) has_map: bool,
}

impl SparseRecords {
    pub(super) fn is_used(&self) -> bool {
        self.major.is_some() || self.has_map
    }
}

impl Extension {
    pub(super) fn parse(mut data: &[u8], offset: u64) -> Result<Self, Error> {
        let mut extension = Extension::default();
        while !data.is_empty() {
            let (key, value, rest) = split_record(data).ok_or(Error::Field { offset, field: "pax record" })?;
            extension.apply(key, value).map_err(|field| Error::Field { offset, field })?;
            data = rest;
        }
        // Of several values for one name the last counts; the sort keeps their order.
        extension.xattrs.sort_by(|a, b| a.0.cmp(&b.0));
        extension.xattrs.reverse();
        extension.xattrs.dedup_by(|later, kept| later.0 == kept.0);
        extension.xattrs.reverse();
        Ok(extension)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.linkpath = text(),
            b"size" => self.size = optional(value, decimal).ok_or("pax size")?,
            b"uid" => self.uid = optional(value, id).ok_or("pax uid")?,
            b"gid" => self.gid = optional(value, id).ok_or("pax gid")?,
            b"mtime" => self.mtime = optional(value, time).ok_or("pax mtime")?,
            b"GNU.sparse.major" => self.sparse.major = optional(value, decimal).ok_or("sparse map")?,
            b"GNU.sparse.minor" => self.sparse.minor = optional(value, decimal).ok_or("sparse map")?,
            b"GNU.sparse.name" => {
                if value.contains(&0) {
                    return Err("path");
                }
                self.sparse.name = text();
            }
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = optional(value, decimal).ok_or("sparse map")?;
            }
            b"GNU.sparse.numblocks" => self.sparse.has_map = true,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // Version 0.0 repeats the pair; the order of the two words is that of the map.
                let offset_next = self.sparse.map.len().is_multiple_of(2);
                if offset_next != (key == b"GNU.sparse.offset") {
                    return Err("sparse map");
                }
                self.sparse.push(decimal(value).ok_or("sparse map")?)?;
            }
            b"GNU.sparse.map" => {
                self.sparse.map.clear();
                for word in value.split(|&b| b == b',').filter(|word| !word.is_empty()) {
                    self.sparse.push(decimal(word).ok_or("sparse map")?)?;
                }
            }
            key => {
                if let Some(name) = key.strip_prefix(PAX_XATTR_PREFIX) {
                    if name.is_empty() || name.contains(&0) {
                        return Err("xattr name");
                    }
                    self.xattrs.push((name.into(), value.into()));
                }
            }
        }
        Ok(())
    }
}

impl SparseRecords {
    fn push(&mut self, word: u64) -> Result<(), &'static str> {
        self.has_map = true;
        if self.map.len() >= 2 * MAX_SPARSE_PIECES {
            return Err("sparse map");
        }
        self.map.push(word);
        Ok(())
    }
}

/// Key, value and what follows of `LENGTH key=value\n`, where LENGTH counts the whole record.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(8).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    if length <= space + 1 || length > data.len() {
        return None;
    }
    let (record, rest) = data.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    if equals == 0 || record[..equals].contains(&0) {
        return None;
    }
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// `Some(None)` for the empty value, `None` for an invalid one.
fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value.is_empty() { Some(None) } else { parse(value).map(Some) }
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

fn id(value: &[u8]) -> Option<u32> {
    decimal(value)?.try_into().ok()
}

/// Seconds with an optional sign and fraction; digits beyond nanoseconds are cut.
fn time(value: &[u8]) -> Option<Mtime> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, fraction) = match digits.iter().position(|&b| b == b'.') {
        Some(dot) => (&digits[..dot], &digits[dot + 1..]),
        None => (digits, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0;
    for at in 0..9 {
        nanos = nanos * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    }
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    Some(match (negative, nanos) {
        (false, nanos) => Mtime { seconds, nanos },
        (true, 0) => Mtime { seconds: -seconds, nanos: 0 },
        (true, nanos) => Mtime { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_signs_and_fractions() {
        let mtime = |seconds, nanos| Some(Mtime { seconds, nanos });
        assert_eq!(time(b"12"), mtime(12, 0));
        assert_eq!(time(b"12.5"), mtime(12, 500_000_000));
        assert_eq!(time(b"12.1234567899"), mtime(12, 123_456_789));
        assert_eq!(time(b"-1.25"), mtime(-2, 750_000_000));
        assert_eq!(time(b"-3"), mtime(-3, 0));
        for bad in ["", "-", ".5", "1.x", "1e3", "99999999999999999999"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_record_must_fill_the_length_that_it_states() {
        assert!(Extension::parse(b"9 path=a\n", 0).is_ok());
        for bad in ["8 path=a\n", "11 path=a\n", "9 path=aX", "x path=a\n", "5 =a\n", "path=a\n", "9999999999 path=a\n"]
        {
            assert!(Extension::parse(bad.as_bytes(), 0).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn of_two_values_the_last_counts_and_the_empty_one_takes_back() {
        let twice = Extension::parse(b"9 path=a\n9 path=b\n22 SCHILY.xattr.u.k=1\n22 SCHILY.xattr.u.k=2\n", 0).unwrap();
        assert_eq!(twice.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(twice.xattrs, [(b"u.k".as_slice().into(), b"2".as_slice().into())]);
        assert_eq!(Extension::parse(b"9 path=a\n8 path=\n", 0).unwrap().path, None);
    }
}

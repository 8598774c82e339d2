//! The maps of sparse files: which stretches of the file the archive holds.
//!
//! A map is checked before anything is read by it: in order, without overlap, inside the file, and
//! together exactly as long as the stored data.

use super::super::BLOCK_BYTES;
use super::super::header::{self, Block};
use super::extension::{SparseRecords, decimal};
use super::source::Source;
use super::{Error, MAX_SPARSE_BYTES, MAX_SPARSE_PIECES, Piece64};
use std::io::Read;

/// Place of the four first pairs in an old GNU header, and their number.
const OLD_GNU_MAP: usize = 386;
const OLD_GNU_PAIRS: usize = 4;
/// Whether another block of pairs follows: in the header and in such a block.
const OLD_GNU_MORE: usize = 482;
const OLD_GNU_BLOCK_PAIRS: usize = 21;
const OLD_GNU_BLOCK_MORE: usize = 504;
const OLD_GNU_SIZE: std::ops::Range<usize> = 483..495;

/// A file of which the archive holds only parts.
#[derive(Debug)]
pub(super) struct Map {
    /// Length of the whole file.
    pub(super) size: u64,
    /// Offset and length of each stored stretch.
    stretches: Vec<(u64, u64)>,
}

impl Map {
    fn new(size: u64, stretches: Vec<(u64, u64)>) -> Option<Self> {
        if size > MAX_SPARSE_BYTES || stretches.len() > MAX_SPARSE_PIECES {
            return None;
        }
        let mut end = 0;
        for &(offset, length) in &stretches {
            if offset < end {
                return None;
            }
            end = offset.checked_add(length)?;
        }
        (end <= size).then_some(Map { size, stretches })
    }

    /// The pieces, last first; `None` unless they take exactly `stored` bytes.
    pub(super) fn pieces(&self, stored: u64) -> Option<Vec<Piece64>> {
        let total: u64 = self.stretches.iter().map(|(_, length)| length).sum();
        if total != stored {
            return None;
        }
        let mut pieces = Vec::with_capacity(2 * self.stretches.len() + 1);
        let mut end = 0;
        for &(offset, length) in &self.stretches {
            pieces.push(Piece64::Hole(offset - end));
            pieces.push(Piece64::Data(length));
            end = offset + length;
        }
        pieces.push(Piece64::Hole(self.size - end));
        pieces.reverse();
        Some(pieces)
    }
}

/// The map in an old GNU header and the blocks that follow it.
pub(super) fn old_gnu<R: Read>(source: &mut Source<R>, block: &Block, offset: u64) -> Result<Map, Error> {
    let invalid = Error::Field { offset, field: "sparse map" };
    let mut stretches = Vec::new();
    let Some(size) = field(&block[OLD_GNU_SIZE]) else { return Err(invalid) };
    if !pairs(&block[OLD_GNU_MAP..], OLD_GNU_PAIRS, &mut stretches) {
        return Err(invalid);
    }
    let mut more = block[OLD_GNU_MORE] != 0;
    while more {
        let next = source.block()?;
        if !pairs(&next, OLD_GNU_BLOCK_PAIRS, &mut stretches) || stretches.len() > MAX_SPARSE_PIECES {
            return Err(invalid);
        }
        more = next[OLD_GNU_BLOCK_MORE] != 0;
    }
    Map::new(size, stretches).ok_or(invalid)
}

/// The map in PAX records (0.0 and 0.1), or before the data (1.0), which takes it from `stored`.
pub(super) fn pax<R: Read>(
    source: &mut Source<R>,
    records: &SparseRecords,
    stored: &mut u64,
    offset: u64,
) -> Result<Map, Error> {
    let invalid = || Error::Field { offset, field: "sparse map" };
    let size = records.size.ok_or_else(invalid)?;
    let words = match (records.major, records.minor) {
        (None, None) | (Some(0), Some(0 | 1)) => records.map.clone(),
        (Some(1), Some(0)) => words_before_data(source, stored, offset)?,
        _ => return Err(invalid()),
    };
    if words.len() % 2 != 0 {
        return Err(invalid());
    }
    let stretches = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    Map::new(size, stretches).ok_or_else(invalid)
}

/// Version 1.0: the number of pairs and the pairs, a decimal number a line, padded to a block.
fn words_before_data<R: Read>(source: &mut Source<R>, stored: &mut u64, offset: u64) -> Result<Vec<u64>, Error> {
    let invalid = || Error::Field { offset, field: "sparse map" };
    let mut words = Vec::new();
    let mut wanted = None;
    let mut line = Vec::new();
    while wanted.is_none_or(|wanted| words.len() < wanted) {
        *stored = stored.checked_sub(BLOCK_BYTES as u64).ok_or_else(invalid)?;
        for byte in source.block()? {
            if byte != b'\n' {
                // The longest number has 20 digits.
                if line.len() >= 20 {
                    return Err(invalid());
                }
                line.push(byte);
                continue;
            }
            let word = decimal(&line).ok_or_else(invalid)?;
            line.clear();
            match wanted {
                None if word > MAX_SPARSE_PIECES as u64 => return Err(invalid()),
                None => wanted = Some(2 * word as usize),
                Some(_) => words.push(word),
            }
            if wanted == Some(words.len()) {
                break;
            }
        }
    }
    Ok(words)
}

fn field(bytes: &[u8]) -> Option<u64> {
    header::number(bytes)?.try_into().ok()
}

/// Reads pairs up to the first empty one; whether all were valid.
fn pairs(bytes: &[u8], most: usize, stretches: &mut Vec<(u64, u64)>) -> bool {
    for pair in bytes.chunks_exact(24).take(most) {
        if pair[0] == 0 {
            break;
        }
        let (Some(offset), Some(length)) = (field(&pair[..12]), field(&pair[12..])) else { return false };
        stretches.push((offset, length));
    }
    true
}

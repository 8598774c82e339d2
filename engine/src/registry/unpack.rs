//! The tar of a fetched layer: unpacked as it is read, and verified against its diff id at its end.
//!
//! How it is packed is seen from its first bytes, not from its media type: there are pushers whose media types lie, and
//! the diff id proves the result. Knows nothing of what is in the tar.

use crate::digest::Sha256;
use flate2::read::MultiGzDecoder;
use sha2::Digest as _;
use std::io::{self, BufReader, Chain, Cursor, Read};

/// RFC 1952: the identification and the only method there is.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];
/// RFC 8878, 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a layer's tar is not what its image says.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The packed data is damaged, ends early, or cannot be read.
    #[error("cannot unpack the layer with the diff id {diff_id}")]
    Read {
        /// What it should be.
        diff_id: Sha256,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// It unpacks to something else.
    #[error("the layer unpacks to the diff id {actual}, not {expected}")]
    DiffId {
        /// What the image's configuration states.
        expected: Sha256,
        /// What came out.
        actual: Sha256,
    },
}

/// A layer whose first bytes have been looked at.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

enum Packed<R: Read> {
    No(Whole<R>),
    Gzip(Box<MultiGzDecoder<Whole<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Whole<R>>>>),
}

/// Reads a layer's tar. A reader that stops before the end proves nothing: [`Unpacked::finish`] does.
pub struct Unpacked<R: Read> {
    packed: Packed<R>,
    hasher: sha2::Sha256,
    diff_id: Sha256,
}

impl<R: Read> Unpacked<R> {
    /// Begins to read a layer that should have this diff id.
    ///
    /// # Errors
    /// Its first bytes cannot be read.
    pub fn new(mut reader: R, diff_id: Sha256) -> Result<Self, UnpackError> {
        let failed = |source| UnpackError::Read { diff_id, source };
        let mut start = Vec::new();
        (&mut reader).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
        let (gzip, zstd) = (start.starts_with(&GZIP_MAGIC), start == ZSTD_MAGIC);
        let whole = Cursor::new(start).chain(reader);
        let packed = match (gzip, zstd) {
            // Several members in a row are one stream: pigz and seekable layers are written so.
            (true, _) => Packed::Gzip(Box::new(MultiGzDecoder::new(whole))),
            (_, true) => Packed::Zstd(Box::new(zstd::stream::read::Decoder::new(whole).map_err(failed)?)),
            _ => Packed::No(whole),
        };
        Ok(Unpacked { packed, hasher: sha2::Sha256::new(), diff_id })
    }

    /// Reads what is left, and proves that all of it was what the image says.
    ///
    /// # Errors
    /// It cannot be read to its end, or is another layer.
    pub fn finish(mut self) -> Result<(), UnpackError> {
        let expected = self.diff_id;
        io::copy(&mut self, &mut io::sink()).map_err(|source| UnpackError::Read { diff_id: expected, source })?;
        let actual = Sha256::from_bytes(self.hasher.finalize().into());
        match actual == expected {
            true => Ok(()),
            false => Err(UnpackError::DiffId { expected, actual }),
        }
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.packed {
            Packed::No(reader) => reader.read(buffer)?,
            Packed::Gzip(reader) => reader.read(buffer)?,
            Packed::Zstd(reader) => reader.read(buffer)?,
        };
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn tar() -> Vec<u8> {
        (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    fn unpack(packed: &[u8], tar: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let diff_id = Sha256::of(tar);
        let mut unpacked = Unpacked::new(packed, diff_id)?;
        let mut bytes = vec![0; tar.len() / 2];
        unpacked.read_exact(&mut bytes).map_err(|source| UnpackError::Read { diff_id, source })?;
        unpacked.finish().map(|()| bytes)
    }

    #[test]
    fn every_packing_gives_the_same_tar_and_is_proven() {
        let tar = tar();
        let members = [gzip(&tar[..1000]), gzip(&tar[1000..])].concat();
        let frames = [zstd::encode_all(&tar[..9], 1).unwrap(), zstd::encode_all(&tar[9..], 1).unwrap()].concat();
        for packed in [tar.clone(), gzip(&tar), members, frames] {
            assert_eq!(unpack(&packed, &tar).unwrap(), tar[..tar.len() / 2]);
        }
        for tiny in [&b""[..], b"x", b"\x1f\x8b"] {
            Unpacked::new(tiny, Sha256::of(tiny)).unwrap().finish().unwrap();
        }
    }

    #[test]
    fn a_layer_that_ends_early_is_no_layer() {
        let tar = tar();
        for packed in [gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
            for end in [packed.len() - 1, packed.len() / 2, 5] {
                assert!(matches!(unpack(&packed[..end], &tar), Err(UnpackError::Read { .. })), "{end}");
            }
        }
        assert!(matches!(unpack(&tar[..tar.len() - 1], &tar), Err(UnpackError::DiffId { .. })));
    }

    #[test]
    fn a_layer_with_other_content_is_refused() {
        let tar = tar();
        let mut other = tar.clone();
        other[7] ^= 1;
        assert!(
            matches!(unpack(&gzip(&other), &tar), Err(UnpackError::DiffId { expected, .. }) if expected == Sha256::of(&tar))
        );
    }
}

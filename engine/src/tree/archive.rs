//! Recognises archives by their content and unpacks them as ADD does.
//!
//! Formats are told by magic numbers and a tar by the check sum of its first header, never by a name.
//! Decompressors are linked in: no program is ever run, and so none of an image. An archive is plain:
//! `.wh.` is an ordinary name in it. Knows nothing of contexts, flags or where archives come from.

use super::disk::DirWriter;
use super::entry::{Entry, Mtime, TreePath};
use super::tar::BLOCK_BYTES;
use super::tar::read::{self, Reader};
use super::unpack::{Error, Lower, Semantics, Unpacker};
use std::io::{self, Read};

/// How a stream is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not, or in a way that is not known.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// bzip2, of one or more streams.
    Bzip2,
    /// xz, of one or more streams.
    Xz,
    /// Zstandard, of one or more frames.
    Zstd,
}

/// What xz may use: `xz -9` needs 65 MiB, and a larger dictionary is an attack.
const XZ_MEMORY_BYTES: u64 = 256 << 20;

/// The largest Zstandard window, as a power of two: what `zstd -d` takes without being told to.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// Told by the first bytes of a stream; eight suffice.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            // Before the first block its number, or the end of a stream without blocks.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Compression::Bzip2,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, ..] => Compression::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame, with which a seekable or signed file may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// Undoes whatever compression `reader` begins with. Returns the plain stream and what it was.
pub fn decompress<'a>(mut reader: impl Read + Send + 'a) -> io::Result<(Box<dyn Read + Send + 'a>, Compression)> {
    let mut start = Vec::with_capacity(8);
    reader.by_ref().take(8).read_to_end(&mut start)?;
    let compression = Compression::of(&start);
    let whole = io::BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(start).chain(reader));
    let plain: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_BYTES, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    Ok((plain, compression))
}

/// Two system calls for each 128 KiB of a compressed file.
const BUFFER_BYTES: usize = 128 << 10;

/// Whether `reader` is what ADD unpacks: a tar with at least one member, compressed or not. What is
/// damaged at its beginning is no archive. An error is one of reading, and only where nothing is compressed.
pub fn is_archive(reader: impl Read + Send) -> io::Result<bool> {
    let (mut plain, compression) = decompress(reader)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    match plain.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block) {
        Ok(_) => {}
        Err(_) if compression != Compression::None => return Ok(false),
        Err(error) => return Err(error),
    }
    let Ok(first) = <[u8; BLOCK_BYTES]>::try_from(block.as_slice()) else { return Ok(false) };
    if !read::is_header(&first) {
        return Ok(false);
    }
    Ok(matches!(Reader::new(io::Cursor::new(block).chain(plain)).next_member(), Ok(Some(_))))
}

/// Where and how an archive is unpacked.
pub struct ArchiveOptions<'a> {
    /// The directory for the archive's root, below the image's root. Links in it are followed; what is
    /// missing of it is made 0755.
    pub destination: &'a TreePath,
    /// Owns everything that is written, instead of whom the archive names: numbers of user and group.
    pub owner: Option<(u32, u32)>,
    /// The time of directories that are made for the destination.
    pub mtime: Mtime,
    /// What the layer lies on: its directories stay, with the attributes that they have there, and its
    /// links are followed.
    pub lower: &'a dyn Lower,
}

/// Unpacks an archive, compressed or not, through `writer` into a layer in which `layer` stands already
/// (from an archive before, or nothing). Returns all entries of the layer, sorted; their paths start at
/// the layer's root. Calling [`DirWriter::finish`] is left to the caller.
pub fn unpack_archive(
    reader: impl Read + Send,
    writer: &mut DirWriter,
    layer: Vec<Entry>,
    options: &ArchiveOptions<'_>,
) -> Result<Vec<Entry>, Error> {
    let (plain, _) = decompress(reader).map_err(|source| read::Error::Io { offset: 0, source })?;
    let place = Semantics::Archive { destination: TreePath::root(), owner: options.owner };
    let mut unpacker = Unpacker::new(writer, options.lower, place);
    unpacker.resume(layer);
    let destination = unpacker.resolve_all(options.destination)?;
    unpacker.ensure_dir(&destination, options.owner.unwrap_or_default(), options.mtime)?;
    unpacker.set_destination(destination);
    let mut reader = Reader::new(plain);
    while let Some(member) = reader.next_member()? {
        unpacker.member(member, &mut reader)?;
    }
    Ok(unpacker.finish())
}

#[cfg(test)]
mod tests;

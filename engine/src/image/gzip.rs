//! gzip with all cores and always the same bytes.
//!
//! The input is cut every [`CHUNK_BYTES`], whatever the number of threads; each chunk is deflated by
//! itself, ends at a byte (a sync flush), and all together are one member, so that every reader takes it.
//! Format: RFC 1951 and 1952. Knows nothing of what it compresses.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use rayon::prelude::*;
use std::io::{self, Write};

/// Large enough that what a chunk loses by not seeing the one before is below one part in a thousand.
pub const CHUNK_BYTES: usize = 1 << 20;

/// No name, no time, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A last block without content.
const END: [u8; 2] = [0x03, 0x00];

/// Compresses what is written to it; [`GzipWriter::finish`] ends the stream.
pub struct GzipWriter<W> {
    out: W,
    level: Compression,
    crc: Crc,
    /// Full chunks, and the one that is being filled at the end.
    chunks: Vec<Vec<u8>>,
    /// How many chunks are compressed at once.
    width: usize,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses into `out`; `level` is between 0 and 9.
    pub fn new(mut out: W, level: u32) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        let width = rayon::current_num_threads().clamp(1, MAX_WIDTH);
        Ok(GzipWriter { out, level: Compression::new(level.min(9)), crc: Crc::new(), chunks: Vec::new(), width })
    }

    /// Writes what is still held and the end of the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.compress()?;
        self.out.write_all(&END)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }

    fn compress(&mut self) -> io::Result<()> {
        let level = self.level;
        let chunks = std::mem::take(&mut self.chunks);
        let compressed: Vec<io::Result<Vec<u8>>> = chunks.par_iter().map(|chunk| deflate(chunk, level)).collect();
        for chunk in compressed {
            self.out.write_all(&chunk?)?;
        }
        Ok(())
    }
}

/// More threads would hold more memory than is promised for a build.
const MAX_WIDTH: usize = 16;

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_BYTES) {
            if self.chunks.len() == self.width {
                self.compress()?;
            }
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let chunk = self.chunks.last_mut().expect("one was pushed if there was none");
        let part = &bytes[..bytes.len().min(CHUNK_BYTES - chunk.len())];
        chunk.extend_from_slice(part);
        self.crc.update(part);
        Ok(part.len())
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn deflate(chunk: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(level, false);
    let mut out = Vec::with_capacity(chunk.len() / 2 + 1024);
    loop {
        let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let status = compress.compress_vec(&chunk[done..], &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        // A flush is complete when it leaves room in the output.
        let all_taken = compress.total_in() == chunk.len() as u64;
        if all_taken && out.len() < out.capacity() {
            return Ok(out);
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("the compressor ended by itself"));
        }
        out.reserve(chunk.len() / 4 + 1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        // Half of it cannot be compressed.
        (0..length).map(|at| if at / 5000 % 2 == 0 { next() } else { (at / 97) as u8 }).collect()
    }

    fn compressed(bytes: &[u8], piece: usize, threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut gzip = GzipWriter::new(Vec::new(), 6).unwrap();
            bytes.chunks(piece).for_each(|piece| gzip.write_all(piece).unwrap());
            gzip.finish().unwrap()
        })
    }

    #[test]
    fn one_member_of_every_length_reads_as_it_was_written() {
        for length in [0, 1, 5000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES / 2] {
            let bytes = sample(length);
            let gzip = compressed(&bytes, 60_000, 2);
            let mut plain = Vec::new();
            // This decoder reads a single member and leaves the rest.
            let mut decoder = flate2::bufread::GzDecoder::new(&gzip[..]);
            decoder.read_to_end(&mut plain).unwrap();
            assert!(plain == bytes, "{length}");
            assert!(decoder.into_inner().is_empty(), "{length}");
        }
    }

    #[test]
    fn neither_threads_nor_the_size_of_writes_change_the_bytes() {
        let bytes = sample(3 * CHUNK_BYTES + 17);
        let one = compressed(&bytes, bytes.len(), 1);
        assert!(one == compressed(&bytes, 333, 4));
        assert!(one.len() < bytes.len() * 6 / 10, "and it does compress");
    }
}

//! Copies a file's bytes by the cheapest means the two file systems offer.
//!
//! Knows nothing of metadata or paths.

use crate::digest::ContentId;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Write as _};

/// Large enough that system calls do not count, small enough to stay in the second-level cache.
const BUFFER_BYTES: usize = 256 << 10;

/// How much one `copy_file_range` call is asked to do.
const RANGE_BYTES: usize = 1 << 30;

/// Copies `source`, from its start to its end, into the empty file `target`: by sharing blocks, in
/// the kernel, or by reading and writing. Returns the number of bytes.
pub fn copy_file(source: &File, target: &File) -> io::Result<u64> {
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(target.metadata()?.len());
    }
    let mut offset = 0;
    loop {
        match rustix::fs::copy_file_range(source, Some(&mut offset), target, None, RANGE_BYTES) {
            // Files of proc and some network file systems claim to be empty here and are not.
            Ok(0) if offset == 0 => break,
            Ok(0) => return Ok(offset),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) if offset == 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    copy_bytes(source, target, |_| {})
}

/// As [`copy_file`], and the digest of the bytes that were written, in one pass over them.
pub fn copy_file_hashed(source: &File, target: &File) -> io::Result<(u64, ContentId)> {
    let mut hasher = blake3::Hasher::new();
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        // The clone is hashed by its source: `target` need not be open for reading. A source that
        // changes meanwhile is the caller's to notice, as with any copy.
        let size = copy_loop(source, |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        return Ok((size, hasher.finalize().into()));
    }
    let size = copy_bytes(source, target, |bytes| {
        hasher.update(bytes);
    })?;
    Ok((size, hasher.finalize().into()))
}

fn copy_bytes(source: &File, mut target: &File, mut see: impl FnMut(&[u8])) -> io::Result<u64> {
    copy_loop(source, |bytes| {
        see(bytes);
        target.write_all(bytes)
    })
}

fn copy_loop(mut source: &File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    thread_local! {
        // Files are mostly small: allocating this for each would cost more than copying it.
        static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER_BYTES, 0);
        let mut size = 0;
        loop {
            match source.read(buffer) {
                Ok(0) => return Ok(size),
                Ok(read) => {
                    take(&buffer[..read])?;
                    size += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

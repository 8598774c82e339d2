//! The stream of an archive, in whole blocks and with the place for errors.

use super::super::BLOCK_BYTES;
use super::super::header::Block;
use super::Error;
use std::io::{self, Read};

/// The stream and the place in it.
pub(super) struct Source<R> {
    inner: R,
    /// How many bytes were read.
    pub(super) offset: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Source { inner, offset: 0 }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.inner.read(buffer) {
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { offset: self.offset, source }),
            }
        }
    }

    /// As many bytes as there are, up to the buffer's length.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    pub(super) fn exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        if self.fill(buffer)? < buffer.len() {
            return Err(Error::Truncated { offset: self.offset });
        }
        Ok(())
    }

    pub(super) fn block(&mut self) -> Result<Block, Error> {
        let mut block = [0; BLOCK_BYTES];
        self.exact(&mut block)?;
        Ok(block)
    }

    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<(), Error> {
        let mut buffer = [0; 8 << 10];
        while bytes > 0 {
            let part = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
            self.exact(&mut buffer[..part])?;
            bytes -= part as u64;
        }
        Ok(())
    }
}

//! Reads an archive as a stream: POSIX ustar, PAX (paths, numbers, times, xattrs), GNU long names,
//! and sparse files in the old GNU form and PAX 0.0, 0.1 and 1.0.
//!
//! Whatever is ambiguous is read as Go's `archive/tar` reads it, because images are made with it.
//! Everything that a header can make the reader allocate is bounded. Knows nothing of paths' meaning.

mod extension;
mod source;
mod sparse;

use super::BLOCK_BYTES;
use super::header::{self, Block};
use crate::tree::entry::{Mtime, Xattrs};
use extension::Extension;
use source::Source;
use std::io::{self, Read};

/// The largest PAX extension or GNU long name, the same as Go's; a larger one is refused unread.
pub const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// The most pieces that a sparse file may have: a map of about the size of the largest extension.
pub const MAX_SPARSE_PIECES: usize = 1 << 16;

/// The longest sparse file: its holes are hashed like other bytes, and this much takes half a minute.
pub const MAX_SPARSE_BYTES: u64 = 64 << 30;

/// Why an archive could not be read. Offsets count bytes of the (uncompressed) archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source failed.
    #[error("cannot read the archive at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The archive ends inside a member.
    #[error("the archive ends at byte {offset}, inside a member")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// Not a header: the check sum is wrong.
    #[error("no tar header at byte {offset}: wrong check sum")]
    Checksum {
        /// Where the header begins.
        offset: u64,
    },
    /// A field or record has no valid value.
    #[error("invalid {field} in the tar header at byte {offset}")]
    Field {
        /// Where the header begins.
        offset: u64,
        /// Which.
        field: &'static str,
    },
    /// An extension larger than any honest one.
    #[error("the tar header at byte {offset} announces {size} bytes of extension; {limit} are allowed")]
    TooLong {
        /// Where the header begins.
        offset: u64,
        /// What it announces.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A kind of member that no image has.
    #[error("the tar member at byte {offset} has the unknown type {kind:?}")]
    Type {
        /// Where the header begins.
        offset: u64,
        /// The type flag.
        kind: char,
    },
}

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberKind {
    /// A regular file; its data follow.
    File,
    /// Another name for the member called `link`.
    Hardlink,
    /// A symbolic link to `link`.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Dir,
    /// A named pipe.
    Fifo,
}

/// One member as its headers describe it. Paths are as stored: judge them before use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its path. Holds no NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Where a link points. Holds no NUL.
    pub link: Vec<u8>,
    /// `mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of the file, holes included; 0 for everything else.
    pub size: u64,
    /// When it changed.
    pub mtime: Mtime,
    /// Device numbers, major and minor.
    pub device: (u32, u32),
    /// Extended attributes, sorted by name, each name once.
    pub xattrs: Xattrs,
}

/// A piece of a file's data, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// So many bytes now stand at the start of the buffer; never 0.
    Bytes(usize),
    /// So many zeros that the archive does not hold.
    Hole(u64),
}

/// Reads members one after another. After an error the reader is not to be used again.
pub struct Reader<R> {
    source: Source<R>,
    /// Stored bytes of the current member that were not read yet.
    stored: u64,
    /// Zeros after the stored bytes up to the next block.
    padding: u64,
    /// The remaining pieces of the current member, last first.
    pieces: Vec<Piece64>,
    ended: bool,
}

/// A piece as the sparse map knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece64 {
    Data(u64),
    Hole(u64),
}

impl<R: Read> Reader<R> {
    /// Reads the uncompressed archive `inner`, which should be buffered.
    pub fn new(inner: R) -> Self {
        let source = Source::new(inner);
        Reader { source, stored: 0, padding: 0, pieces: Vec::new(), ended: false }
    }

    /// The next member; what is left of the one before is skipped. `None` at the end: a block of zeros
    /// or the end of the stream between two members.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.source.skip(self.stored)?;
        self.source.skip(self.padding)?;
        (self.stored, self.padding) = (0, 0);
        self.pieces.clear();
        let mut extension = Extension::default();
        loop {
            let offset = self.source.offset;
            let mut block = [0; BLOCK_BYTES];
            match self.source.fill(&mut block)? {
                BLOCK_BYTES if block != [0; BLOCK_BYTES] => {}
                0 | BLOCK_BYTES => {
                    self.ended = true;
                    return Ok(None);
                }
                _ => return Err(Error::Truncated { offset: self.source.offset }),
            }
            verify(&block, offset)?;
            match block[header::TYPE] {
                b'x' => {
                    let records = self.extension_data(&block, offset)?;
                    // A second extension before one member replaces the first, as in Go.
                    extension = Extension {
                        long_path: extension.long_path,
                        long_link: extension.long_link,
                        ..Extension::parse(&records, offset)?
                    };
                }
                // Global records, git's commit comment mostly: nobody who unpacks images applies them.
                b'g' => drop(self.extension_data(&block, offset)?),
                b'L' => extension.long_path = Some(long_name(self.extension_data(&block, offset)?)),
                b'K' => extension.long_link = Some(long_name(self.extension_data(&block, offset)?)),
                // A volume's label.
                b'V' => drop(self.extension_data(&block, offset)?),
                _ => return self.member(&block, offset, extension).map(Some),
            }
        }
    }

    /// The next piece of the current member's data; `None` when there is no more.
    pub fn next_piece(&mut self, buffer: &mut [u8]) -> Result<Option<Piece>, Error> {
        loop {
            match self.pieces.pop() {
                None => return Ok(None),
                Some(Piece64::Hole(0) | Piece64::Data(0)) => {}
                Some(Piece64::Hole(length)) => return Ok(Some(Piece::Hole(length))),
                Some(Piece64::Data(length)) => {
                    let part = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
                    let read = self.source.read(&mut buffer[..part])?;
                    if read == 0 {
                        return Err(Error::Truncated { offset: self.source.offset });
                    }
                    self.stored -= read as u64;
                    self.pieces.push(Piece64::Data(length - read as u64));
                    return Ok(Some(Piece::Bytes(read)));
                }
            }
        }
    }

    /// Reads what follows the archive, so that whoever digests the stream sees all of it.
    pub fn drain(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 8 << 10];
        while self.source.read(&mut buffer)? > 0 {}
        Ok(())
    }

    fn extension_data(&mut self, block: &Block, offset: u64) -> Result<Vec<u8>, Error> {
        let size = unsigned(block, header::SIZE, "size", offset)?;
        if size > MAX_EXTENSION_BYTES {
            return Err(Error::TooLong { offset, size, limit: MAX_EXTENSION_BYTES });
        }
        let mut data = vec![0; size as usize];
        self.source.exact(&mut data)?;
        self.source.skip(padding(size))?;
        Ok(data)
    }

    fn member(&mut self, block: &Block, offset: u64, extension: Extension) -> Result<Member, Error> {
        let posix = block[header::MAGIC] == *header::USTAR;
        let gnu = block[header::MAGIC] == *header::GNU;
        let mut path = Vec::new();
        let prefix = header::text(&block[header::PREFIX]);
        if posix && !prefix.is_empty() {
            path.extend_from_slice(prefix);
            path.push(b'/');
        }
        path.extend_from_slice(header::text(&block[header::NAME]));
        let path = extension.path.or(extension.long_path).unwrap_or(path);
        let link = header::text(&block[header::LINK]).to_vec();
        let link = extension.linkpath.or(extension.long_link).unwrap_or(link);
        if path.contains(&0) || link.contains(&0) {
            return Err(Error::Field { offset, field: "path" });
        }
        let kind = match block[header::TYPE] {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 | b'0' if path.ends_with(b"/") => MemberKind::Dir,
            0 | b'0' | b'7' | b'S' => MemberKind::File,
            b'1' => MemberKind::Hardlink,
            b'2' => MemberKind::Symlink,
            b'3' => MemberKind::CharDevice,
            b'4' => MemberKind::BlockDevice,
            b'5' => MemberKind::Dir,
            b'6' => MemberKind::Fifo,
            kind => return Err(Error::Type { offset, kind: kind.into() }),
        };
        let mut stored = match extension.size {
            Some(size) => size,
            None => unsigned(block, header::SIZE, "size", offset)?,
        };
        if kind != MemberKind::File {
            // What only has a header has no data, whatever size it states.
            stored = 0;
        }
        self.padding = padding(stored);
        self.stored = stored;
        let mut size = stored;
        if kind == MemberKind::File {
            let map = if block[header::TYPE] == b'S' {
                if !gnu {
                    return Err(Error::Field { offset, field: "sparse map" });
                }
                Some(sparse::old_gnu(&mut self.source, block, offset)?)
            } else if extension.sparse.is_used() {
                Some(sparse::pax(&mut self.source, &extension.sparse, &mut self.stored, offset)?)
            } else {
                None
            };
            self.pieces = match map {
                Some(map) => {
                    size = map.size;
                    map.pieces(self.stored).ok_or(Error::Field { offset, field: "sparse map" })?
                }
                None => vec![Piece64::Data(stored)],
            };
        }
        let id = |value: Option<u32>, range, field| match value {
            Some(value) => Ok(value),
            None => unsigned(block, range, field, offset)?.try_into().map_err(|_| Error::Field { offset, field }),
        };
        let mtime = match extension.mtime {
            Some(mtime) => mtime,
            None => Mtime {
                seconds: header::number(&block[header::MTIME]).ok_or(Error::Field { offset, field: "mtime" })?,
                nanos: 0,
            },
        };
        let device = if matches!(kind, MemberKind::CharDevice | MemberKind::BlockDevice) {
            (id(None, header::MAJOR, "device number")?, id(None, header::MINOR, "device number")?)
        } else {
            (0, 0)
        };
        Ok(Member {
            path: extension.sparse.name.unwrap_or(path),
            kind,
            link,
            mode: (unsigned(block, header::MODE, "mode", offset)? & 0o7777) as u32,
            uid: id(extension.uid, header::UID, "uid")?,
            gid: id(extension.gid, header::GID, "gid")?,
            size: if kind == MemberKind::File { size } else { 0 },
            mtime,
            device,
            xattrs: extension.xattrs,
        })
    }
}

/// Whether `block`, the first of a file, is a tar header: the cheap part of sniffing.
pub fn is_header(block: &Block) -> bool {
    *block != [0; BLOCK_BYTES] && verify(block, 0).is_ok()
}

fn verify(block: &Block, offset: u64) -> Result<(), Error> {
    let stored = header::number(&block[header::CHECKSUM]).ok_or(Error::Checksum { offset })?;
    let (unsigned, signed) = header::checksums(block);
    if u64::try_from(stored) == Ok(unsigned) || stored == signed {
        return Ok(());
    }
    Err(Error::Checksum { offset })
}

fn unsigned(block: &Block, range: std::ops::Range<usize>, field: &'static str, offset: u64) -> Result<u64, Error> {
    header::number(&block[range]).and_then(|value| value.try_into().ok()).ok_or(Error::Field { offset, field })
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK_BYTES as u64
}

fn long_name(mut data: Vec<u8>) -> Vec<u8> {
    data.truncate(header::text(&data).len());
    data
}

#[cfg(test)]
mod tests;

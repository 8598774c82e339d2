//! Regular files of a layer: their bytes from the archive or from below, and their further names.

use super::super::super::disk::copy_file_hashed;
use super::super::super::entry::{Entry, Kind, TreePath};
use super::super::super::tar::read::{Member, Piece, Reader};
use super::names::{checked, link_target};
use super::{BUFFER_BYTES, Error, Node, Semantics, Unpacker, is_dir};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};

static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

impl Unpacker<'_> {
    pub(super) fn link(&mut self, path: TreePath, member: &Member) -> Result<(), Error> {
        let mut target = checked(link_target(member)?)?;
        if let Semantics::Archive { destination, .. } = &self.semantics {
            target = destination.join(target.as_bytes());
        }
        let target = self.resolve(&target)?;
        let failed = Error::LinkTarget { path: path.clone(), target: target.clone() };
        let found = match self.nodes.get(&target) {
            Some(node) if node.entry.kind != Kind::Whiteout => Some((node.entry.clone(), Some(node.inode))),
            Some(_) => None,
            None => self.lower_at(&target).map(|entry| (entry, None)),
        };
        let Some((source, inode)) = found else { return Err(failed) };
        if is_dir(&source.kind) || target.starts_with(&path) {
            // A file that is linked to itself is there already.
            return if target == path && !is_dir(&source.kind) && inode.is_some() { Ok(()) } else { Err(failed) };
        }
        match (&source.kind, inode) {
            (Kind::File { .. }, Some(inode)) => {
                self.parents(&path, source.mtime)?;
                if self.nodes.contains_key(&path) {
                    self.remove(&path)?;
                }
                self.writer.hardlink(&target, &path)?;
                let entry = Entry { path: path.clone(), ..source };
                self.nodes.insert(path, Node { entry, inode });
                Ok(())
            }
            (Kind::File { .. }, None) => self.copy_from_lower(path, &target, source),
            (Kind::Hardlink { to }, None) => {
                let to = to.clone();
                match self.lower.entry(&to) {
                    Some(file) if matches!(file.kind, Kind::File { .. }) => self.copy_from_lower(path, &to, file),
                    _ => Err(failed),
                }
            }
            (Kind::Whiteout, None) => Err(failed),
            // Links to links and nodes: another one like it is the same to whoever uses it.
            _ => self.put(Entry { path, ..source }, |_, _| Ok(())),
        }
    }

    fn copy_from_lower(&mut self, path: TreePath, from: &TreePath, source: Entry) -> Result<(), Error> {
        let from = from.clone();
        self.put(Entry { path, ..source }, |unpacker, entry| {
            let failed = |source| Error::Content { path: entry.path.clone(), source };
            let lower = unpacker.lower.open(&from).map_err(failed)?;
            let file = unpacker.writer.create(&entry.path, entry.mode)?;
            let failed = |source| Error::Content { path: entry.path.clone(), source };
            let (size, content) = copy_file_hashed(&lower, &file).map_err(failed)?;
            entry.kind = Kind::File { size, content };
            Ok(unpacker.writer.finish_file(&file, entry)?)
        })
    }

    pub(super) fn write_members_file<R: Read>(
        &mut self,
        entry: &mut Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), Error> {
        let mut file = self.writer.create(&entry.path, entry.mode)?;
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        let mut ends_in_hole = false;
        let failed = |source: io::Error| Error::Content { path: entry.path.clone(), source };
        while let Some(piece) = reader.next_piece(&mut self.buffer)? {
            ends_in_hole = matches!(piece, Piece::Hole(_));
            match piece {
                Piece::Bytes(length) => {
                    hasher.update(&self.buffer[..length]);
                    file.write_all(&self.buffer[..length]).map_err(failed)?;
                    size += length as u64;
                }
                Piece::Hole(length) => {
                    size += length;
                    file.seek(SeekFrom::Start(size)).map_err(failed)?;
                    let mut left = length;
                    while left > 0 {
                        let part = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
                        hasher.update(&ZEROS[..part]);
                        left -= part as u64;
                    }
                }
            }
        }
        if ends_in_hole {
            file.set_len(size).map_err(failed)?;
        }
        entry.kind = Kind::File { size, content: hasher.finalize().into() };
        Ok(self.writer.finish_file(&file, entry)?)
    }
}

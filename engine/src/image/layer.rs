//! A layer as a blob: one pass makes the tar, its digest (the diff id), the compressed bytes and theirs.
//!
//! Knows nothing of where blobs are kept: it writes beside and renames into the directory that it is
//! given, under the blob's hexadecimal digest.

use super::gzip::GzipWriter;
use crate::digest::Sha256;
use crate::tree::entry::{Entry, TreePath};
use crate::tree::pack::{self, PackOptions};
use rayon::prelude::*;
use sha2::Digest as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a layer could not become a blob.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its tree could not be packed.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// The blob could not be written.
    #[error("cannot write a layer below {}", dir.display())]
    Write {
        /// Where.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The tree is no longer the one whose digest is known.
    #[error("the layer {expected} now packs as {found}: its files were changed")]
    Changed {
        /// The diff id that was known.
        expected: Sha256,
        /// What came out.
        found: Sha256,
    },
}

/// How a blob is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LayerCompression {
    /// Not at all: the blob is the tar.
    Uncompressed,
    /// gzip, level 0 to 9.
    Gzip(u32),
    /// Zstandard, level 1 to 22.
    Zstd(i32),
}

impl Default for LayerCompression {
    fn default() -> Self {
        LayerCompression::Gzip(6)
    }
}

impl LayerCompression {
    /// Reads what `compression=` takes: `uncompressed`, `gzip` or `zstd`, each at its usual level.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "uncompressed" => Some(LayerCompression::Uncompressed),
            "gzip" => Some(LayerCompression::Gzip(6)),
            "zstd" => Some(LayerCompression::Zstd(3)),
            _ => None,
        }
    }

    /// The same with another level, moved into what the format has.
    #[must_use]
    pub fn with_level(self, level: i32) -> Self {
        match self {
            LayerCompression::Uncompressed => self,
            LayerCompression::Gzip(_) => LayerCompression::Gzip(level.clamp(0, 9).unsigned_abs()),
            LayerCompression::Zstd(_) => LayerCompression::Zstd(level.clamp(1, 22)),
        }
    }

    /// The blob's media type.
    pub fn media_type(self) -> &'static str {
        match self {
            LayerCompression::Uncompressed => "application/vnd.oci.image.layer.v1.tar",
            LayerCompression::Gzip(_) => "application/vnd.oci.image.layer.v1.tar+gzip",
            LayerCompression::Zstd(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// How layers become blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LayerOptions {
    /// How they are compressed.
    pub compression: LayerCompression,
    /// How they are packed.
    pub pack: PackOptions,
}

/// A layer as a blob on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackedLayer {
    /// Digest of the uncompressed tar.
    pub diff_id: Sha256,
    /// Where the blob is.
    pub path: PathBuf,
    /// Digest of the blob.
    pub digest: Sha256,
    /// Length of the blob in bytes.
    pub size: u64,
    /// What the blob is: a media type of an OCI or Docker layer.
    pub media_type: String,
}

/// Opens a regular file of a layer.
pub type OpenFile<'a> = Box<dyn Fn(&TreePath) -> io::Result<File> + Sync + 'a>;

/// A layer as it comes from the store.
pub struct ImageLayer<'a> {
    /// What it holds, sorted by path.
    pub entries: &'a [Entry],
    /// Opens its files.
    pub open: OpenFile<'a>,
    /// Its diff id where it is known under the same [`PackOptions`]: packing then proves that it still holds.
    pub diff_id: Option<Sha256>,
    /// Its blob where there is one, pulled or packed before: it is used as it is.
    pub blob: Option<PackedLayer>,
}

/// The layer's blob: the one that it has, or a new one in `dir`, an existing directory.
pub fn pack_layer(layer: &ImageLayer<'_>, options: &LayerOptions, dir: &Path) -> Result<PackedLayer, Error> {
    if let Some(blob) = &layer.blob {
        return Ok(blob.clone());
    }
    let failed = |source| Error::Write { dir: dir.to_owned(), source };
    let temp = tempfile::Builder::new().prefix(".layer-").tempfile_in(dir).map_err(failed)?;
    let blob = Hashing::new(BufWriter::with_capacity(BUFFER_BYTES, temp));
    let (blob, diff_id) = match options.compression {
        LayerCompression::Uncompressed => {
            let tar = write_tar(layer, options, blob)?;
            let diff_id = tar.digest();
            (tar, diff_id)
        }
        LayerCompression::Gzip(level) => {
            let gzip = Hashing::new(GzipWriter::new(blob, level).map_err(failed)?);
            let tar = write_tar(layer, options, gzip)?;
            let diff_id = tar.digest();
            (tar.inner.finish().map_err(failed)?, diff_id)
        }
        LayerCompression::Zstd(level) => {
            let encoder = zstd::stream::write::Encoder::new(blob, level).map_err(failed)?;
            let tar = write_tar(layer, options, Hashing::new(encoder))?;
            let diff_id = tar.digest();
            (tar.inner.finish().map_err(failed)?, diff_id)
        }
    };
    unchanged(layer, diff_id)?;
    let (digest, size) = (blob.digest(), blob.length);
    let temp = blob.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    let path = dir.join(digest.to_hex());
    temp.persist(&path).map_err(|error| failed(error.error))?;
    Ok(PackedLayer { diff_id, path, digest, size, media_type: options.compression.media_type().to_owned() })
}

/// The blobs of all layers, made side by side. The first error, by the order of layers, is returned.
pub fn pack_layers(layers: &[ImageLayer<'_>], options: &LayerOptions, dir: &Path) -> Result<Vec<PackedLayer>, Error> {
    let packed: Vec<_> = layers.par_iter().map(|layer| pack_layer(layer, options, dir)).collect();
    packed.into_iter().collect()
}

/// The layer's diff id: the known one, or that of the tar, which goes nowhere.
pub fn diff_id(layer: &ImageLayer<'_>, options: &PackOptions) -> Result<Sha256, Error> {
    let known = layer.blob.as_ref().map(|blob| blob.diff_id).or(layer.diff_id);
    if let Some(known) = known {
        return Ok(known);
    }
    let options = LayerOptions { pack: *options, ..LayerOptions::default() };
    Ok(write_tar(layer, &options, Hashing::new(io::sink()))?.digest())
}

/// The diff ids of all layers, found side by side.
pub fn diff_ids(layers: &[ImageLayer<'_>], options: &PackOptions) -> Result<Vec<Sha256>, Error> {
    let ids: Vec<_> = layers.par_iter().map(|layer| diff_id(layer, options)).collect();
    ids.into_iter().collect()
}

/// Few enough system calls, and little memory for each of many layers.
const BUFFER_BYTES: usize = 256 << 10;

fn write_tar<W: Write>(layer: &ImageLayer<'_>, options: &LayerOptions, tar: Hashing<W>) -> Result<Hashing<W>, Error> {
    // Headers are many small writes: hashing and compressing like them in larger pieces.
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, tar);
    pack::pack(layer.entries, &layer.open, &options.pack, &mut buffered)?;
    buffered.into_inner().map_err(|error| Error::Pack(pack::Error::Write(error.into_error())))
}

fn unchanged(layer: &ImageLayer<'_>, found: Sha256) -> Result<(), Error> {
    match layer.diff_id {
        Some(expected) if expected != found => Err(Error::Changed { expected, found }),
        _ => Ok(()),
    }
}

/// Digests and counts what passes.
struct Hashing<W> {
    inner: W,
    hasher: sha2::Sha256,
    length: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Hashing { inner, hasher: sha2::Sha256::new(), length: 0 }
    }

    fn digest(&self) -> Sha256 {
        Sha256::from_bytes(self.hasher.clone().finalize().into())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;

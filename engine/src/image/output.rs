//! The forms in which an image leaves: OCI layout, docker archive, root file system.
//!
//! - [`archive`]: `type=oci` and `type=docker`: blobs with an index, as a tar or a directory.
//! - [`rootfs`]: `type=tar` and `type=local`: what a container would see.
//!
//! **Invariant**: a file appears whole or not at all, being written beside its place and renamed.
//! Knows nothing of registries and stores.

pub mod archive;
pub mod rootfs;

use super::layer;
use crate::digest::Sha256;
use crate::tree::{disk, pack};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The output failed.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream failed.
    #[error("cannot write the archive")]
    Stream(#[source] io::Error),
    /// A blob could not be read.
    #[error("cannot read the layer {digest} from {}", path.display())]
    Blob {
        /// Its digest.
        digest: Sha256,
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A blob is shorter or longer than its descriptor says.
    #[error("the layer {digest} is damaged: it is no longer {size} bytes long")]
    BlobSize {
        /// Its digest.
        digest: Sha256,
        /// What its descriptor says.
        size: u64,
    },
    /// What is at the destination is no OCI layout.
    #[error("{} is not the index of an OCI layout", path.display())]
    Index {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file of a layer could not be read.
    #[error("cannot read /{} of the image", path.display())]
    Read {
        /// Which.
        path: crate::tree::TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer could not be packed.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// The root file system could not be packed.
    #[error(transparent)]
    Pack(#[from] pack::Error),
    /// The root file system could not be written to a directory.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

/// How files are called until they are whole.
pub const TEMPORARY_PREFIX: &str = ".kiln-";

/// Writes the file `path` through `fill`: beside its place, and renamed when all is written. Its mode is
/// that of any new file.
pub fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        // A device or pipe is written to; renaming over `/dev/null` would take it from everybody.
        let mut out = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        fill(&mut out)?;
        return out.flush().map_err(failed);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // The umask narrows it, as with every file that a program creates.
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let temp = builder.prefix(TEMPORARY_PREFIX).permissions(everyone).tempfile_in(dir).map_err(failed)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, temp);
    fill(&mut out)?;
    let temp = out.into_inner().map_err(|error| failed(error.into_error()))?;
    temp.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Few enough system calls.
const BUFFER_BYTES: usize = 256 << 10;

/// Copies a blob, which must have exactly its length.
fn copy_blob(blob: &layer::PackedLayer, out: &mut dyn Write) -> Result<(), Error> {
    let failed = |source| Error::Blob { digest: blob.digest, path: blob.path.clone(), source };
    let mut file = File::open(&blob.path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() != blob.size {
        return Err(Error::BlobSize { digest: blob.digest, size: blob.size });
    }
    let copied = io::copy(&mut file, out).map_err(Error::Stream)?;
    if copied != blob.size {
        return Err(Error::BlobSize { digest: blob.digest, size: blob.size });
    }
    Ok(())
}

//! Tars and configurations by their SHA-256.

use super::{Store, StoreError, io_at};
use crate::digest::Sha256;
use std::fs;
use std::path::{Path, PathBuf};

impl Store {
    /// Where the blob with this digest is, or will be.
    pub fn blob_path(&self, digest: Sha256) -> PathBuf {
        self.directory("blobs").join(digest.to_hex())
    }

    /// Whether the blob is there; if so, it stays for as long as this store is open.
    pub fn has_blob(&self, digest: Sha256) -> bool {
        self.pin(digest.as_bytes()).is_ok() && self.blob_path(digest).exists()
    }

    /// Takes the finished file at `path`, whose SHA-256 is known to be `digest`.
    pub fn adopt_blob(&self, path: &Path, digest: Sha256) -> Result<(), StoreError> {
        let place = self.blob_path(digest);
        self.pin(digest.as_bytes())?;
        fs::rename(path, &place).map_err(io_at("failed to move a blob to", &place))
    }
}

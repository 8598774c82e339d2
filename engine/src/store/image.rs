//! Images as the store knows them: a configuration and layers; tars only where they exist.

use crate::digest::{ImageKey, LayerId, Sha256};
use kiln_dsl::platform::Platform;
use serde::{Deserialize, Serialize};

/// A tar of the store: as pulled, or as packed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the uncompressed tar.
    pub diff_id: Sha256,
    /// SHA-256 of the blob as stored.
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// Its OCI media type.
    pub media_type: String,
}

/// One layer of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageLayerRef {
    /// The layer.
    pub id: LayerId,
    /// The tar it came from: re-exported byte for byte. `None` for a layer that kiln made.
    pub blob: Option<BlobRef>,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The OCI configuration as JSON. For an image that kiln built, `rootfs.diff_ids` is empty: it
    /// is filled when the image is first packed.
    pub config: Vec<u8>,
    /// The layers, the bottom one first.
    pub layers: Vec<ImageLayerRef>,
    /// When the store learned of it, in seconds since 1970.
    pub created: i64,
    /// Whether it runs anywhere; false where it stands on the host's own files.
    pub portable: bool,
    /// The OCI image id of a pulled or imported image, whose configuration is final.
    pub image_id: Option<Sha256>,
}

/// An [`ImageRecord`] as it is written, read without a copy of what is long.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(rename = "config", borrow)]
    _config: &'a [u8],
    #[serde(rename = "layers")]
    _layers: Vec<ImageLayerRef>,
    #[serde(rename = "created")]
    _created: i64,
    #[serde(rename = "portable")]
    _portable: bool,
    image_id: Option<Sha256>,
}

impl ImageRecord {
    /// The image id in a record as it is written; `None` where it is none.
    pub(super) fn image_id_in(bytes: &[u8]) -> Option<Option<Sha256>> {
        postcard::from_bytes::<Written<'_>>(bytes).ok().map(|written| written.image_id)
    }
}

/// The images of several platforms under one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IndexRecord {
    /// Each platform (`linux/arm64`) with its image, in the order asked for.
    pub images: Vec<(String, ImageKey)>,
    /// When the store learned of it, in seconds since 1970.
    pub created: i64,
    /// The digest of the OCI index, once it was made.
    pub digest: Option<Sha256>,
}

impl IndexRecord {
    /// The index's name: its platforms and their images.
    pub fn key(&self) -> ImageKey {
        let mut hasher = blake3::Hasher::new_derive_key("kiln index v1");
        for (platform, image) in &self.images {
            hasher.update(&(platform.len() as u64).to_le_bytes());
            hasher.update(platform.as_bytes());
            hasher.update(image.as_bytes());
        }
        hasher.finalize().into()
    }

    /// The image for a platform.
    pub fn image_for(&self, platform: &Platform) -> Option<ImageKey> {
        let is_it = |text: &str| Platform::parse(text).is_ok_and(|one| one == *platform);
        self.images.iter().find(|(text, _)| is_it(text)).map(|(_, key)| *key)
    }
}

impl ImageRecord {
    /// The image's name before any tar is packed: its configuration and its layers' trees.
    pub fn key(&self) -> ImageKey {
        let mut hasher = blake3::Hasher::new_derive_key("kiln image v1");
        hasher.update(&(self.config.len() as u64).to_le_bytes());
        hasher.update(&self.config);
        for layer in &self.layers {
            hasher.update(layer.id.as_bytes());
            // Two tars of one tree differ in their times, and so do the images made of them.
            match &layer.blob {
                Some(blob) => hasher.update(&[1]).update(blob.diff_id.as_bytes()),
                None => hasher.update(&[0]),
            };
        }
        hasher.finalize().into()
    }
}

//! An image from an OCI layout on the host, as a base: `oci-layout://PATH[:TAG|@DIGEST]`.
//!
//! Every blob is verified against its digest, so that a layout cannot say one thing and hold another; a manifest that
//! was taken before costs reading its index. Format: the OCI image specification, "Image Layout".

use crate::digest::{ImageKey, Sha256};
use crate::image::config::ImageConfig;
use crate::snapshot::Snapshot;
use crate::store::adopt::{AdoptError, Below};
use crate::store::{BlobRef, ImageLayerRef, ImageRecord, Store, StoreError, now};
use crate::tree::archive::decompress;
use kiln_dsl::platform::Platform;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// How the name of such an image begins.
pub(super) const SCHEME: &str = "oci-layout:";

/// The annotation with the tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The longest index, manifest or configuration, in bytes.
const DOCUMENT_MAX_BYTES: u64 = 8 << 20;

/// Why a layout gave no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutBaseError {
    #[error("failed to read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not valid: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{} has not the digest of its name", path.display())]
    Digest { path: PathBuf },
    #[error("{} has no image {wanted}; it has {have}", path.display())]
    NoImage { path: PathBuf, wanted: String, have: String },
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: HashMap<String, String>,
    platform: Option<OciPlatform>,
}

#[derive(Deserialize, Clone)]
struct OciPlatform {
    architecture: String,
    os: String,
    #[serde(default)]
    variant: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

struct Layout<'a> {
    root: PathBuf,
    store: &'a Store,
}

/// The image that `name` means, in the store.
pub(super) fn load(store: &Store, name: &str, platform: &Platform) -> Result<ImageKey, LayoutBaseError> {
    let place = name.trim_start_matches(SCHEME).trim_start_matches("//");
    let (path, wanted) = match place.split_once('@') {
        Some((path, digest)) => (path, Some(digest)),
        // A colon behind the last slash parts the tag, unless the directory is called so.
        None => match place.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !Path::new(place).is_dir() => (path, Some(tag)),
            _ => (place, None),
        },
    };
    let layout = Layout { root: PathBuf::from(path), store };
    let descriptor = layout.choose(wanted, platform)?;
    let digest = layout.digest(&descriptor)?;
    let mut hasher = blake3::Hasher::new_derive_key("kiln oci layout v1");
    hasher.update(digest.as_bytes());
    let memo = *hasher.finalize().as_bytes();
    if let Some(key) = store.db().memo::<ImageKey>(&memo)?
        && is_whole(store, key)?
    {
        return Ok(key);
    }
    let image = layout.take(&descriptor)?;
    let key = store.db().put_image(&image)?;
    store.db().put_memo(&memo, &key)?;
    store.flush()?;
    Ok(key)
}

fn is_whole(store: &Store, key: ImageKey) -> Result<bool, StoreError> {
    let Some(image) = store.db().image(key)? else { return Ok(false) };
    for layer in &image.layers {
        if store.layer(layer.id)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Layout<'_> {
    fn malformed(&self, path: &Path, reason: &dyn std::fmt::Display) -> LayoutBaseError {
        LayoutBaseError::Malformed { path: path.to_path_buf(), reason: reason.to_string() }
    }

    fn document(&self, path: &Path) -> Result<Vec<u8>, LayoutBaseError> {
        let failed = |source| LayoutBaseError::Read { path: path.to_path_buf(), source };
        let mut bytes = Vec::new();
        fs::File::open(path).and_then(|file| file.take(DOCUMENT_MAX_BYTES).read_to_end(&mut bytes)).map_err(failed)?;
        Ok(bytes)
    }

    fn digest(&self, descriptor: &Descriptor) -> Result<Sha256, LayoutBaseError> {
        Sha256::parse(&descriptor.digest)
            .ok_or_else(|| self.malformed(&self.root, &format!("{:?} is no sha256 digest", descriptor.digest)))
    }

    fn blob_path(&self, digest: Sha256) -> PathBuf {
        self.root.join("blobs").join("sha256").join(digest.to_hex())
    }

    /// A small blob, verified.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutBaseError> {
        let digest = self.digest(descriptor)?;
        let path = self.blob_path(digest);
        let bytes = self.document(&path)?;
        if Sha256::of(&bytes) != digest { Err(LayoutBaseError::Digest { path }) } else { Ok(bytes) }
    }

    /// The manifest that a tag or digest means, for the platform where there are several.
    fn choose(&self, wanted: Option<&str>, platform: &Platform) -> Result<Descriptor, LayoutBaseError> {
        let path = self.root.join("index.json");
        let index: Index =
            serde_json::from_slice(&self.document(&path)?).map_err(|error| self.malformed(&path, &error))?;
        let tag = |one: &Descriptor| one.annotations.get(REF_NAME).cloned();
        let is_wanted = |one: &&Descriptor| match wanted {
            Some(wanted) => one.digest == wanted || tag(one).as_deref() == Some(wanted),
            None => index.manifests.len() == 1 || tag(one).as_deref() == Some("latest"),
        };
        let named: Vec<&Descriptor> = index.manifests.iter().filter(is_wanted).collect();
        let none = |have: Vec<String>| LayoutBaseError::NoImage {
            path: self.root.clone(),
            wanted: wanted.unwrap_or("latest").to_owned(),
            have: have.join(", "),
        };
        let have = || index.manifests.iter().map(|one| tag(one).unwrap_or_else(|| one.digest.clone())).collect();
        let first = named.iter().find(|one| fits(one, platform)).or(named.first()).ok_or_else(|| none(have()))?;
        if !first.media_type.ends_with("image.index.v1+json") && !first.media_type.ends_with("manifest.list.v2+json") {
            return Ok((*first).clone());
        }
        let inner: Index =
            serde_json::from_slice(&self.blob(first)?).map_err(|error| self.malformed(&self.root, &error))?;
        let found = inner.manifests.iter().find(|one| one.platform.is_some() && fits(one, platform));
        found.cloned().ok_or_else(|| LayoutBaseError::NoImage {
            path: self.root.clone(),
            wanted: format!("for {platform}"),
            have: inner.manifests.iter().filter_map(shown_platform).collect::<Vec<_>>().join(", "),
        })
    }

    /// Takes the image into the store.
    fn take(&self, descriptor: &Descriptor) -> Result<ImageRecord, LayoutBaseError> {
        let manifest: Manifest =
            serde_json::from_slice(&self.blob(descriptor)?).map_err(|error| self.malformed(&self.root, &error))?;
        let bytes = self.blob(&manifest.config)?;
        let config = ImageConfig::read_base(&bytes).map_err(|error| self.malformed(&self.root, &error))?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(self.malformed(&self.root, &"the configuration names another number of layers"));
        }
        let mut layers = Vec::with_capacity(manifest.layers.len());
        let mut below: Vec<Sha256> = Vec::new();
        let mut snapshot = Snapshot::empty();
        for (layer, &diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let digest = self.digest(layer)?;
            let blob = self.copy_blob(digest)?;
            let id = match self.store.layer_of_diff_id(diff_id, &below)? {
                Some(id) => id,
                None => {
                    let failed = |source| LayoutBaseError::Read { path: blob.clone(), source };
                    let (tar, _) = decompress(fs::File::open(&blob).map_err(failed)?).map_err(failed)?;
                    let lower = Below { diff_ids: &below, lower: &super::copy_step::Below(&snapshot) };
                    self.store.adopt_layer(tar, Some(diff_id), lower)?.layer
                }
            };
            self.store.flush()?;
            let stored = self.store.layer(id)?.ok_or_else(|| StoreError::Damaged {
                what: format!("layer {id}"),
                detail: "it is no longer there".to_owned(),
            })?;
            snapshot = snapshot.with(stored);
            below.push(diff_id);
            let media_type = layer.media_type.clone();
            layers.push(ImageLayerRef { id, blob: Some(BlobRef { diff_id, digest, size: layer.size, media_type }) });
        }
        let image_id = Some(Sha256::of(&bytes));
        Ok(ImageRecord { config: bytes, layers, created: now(), portable: true, image_id })
    }

    /// Copies a blob into the store, which verifies it.
    fn copy_blob(&self, digest: Sha256) -> Result<PathBuf, LayoutBaseError> {
        if !self.store.has_blob(digest) {
            let (from, to) = (self.blob_path(digest), self.store.session()?.unique("blob"));
            let copied = copy(&from, &to).map_err(|source| LayoutBaseError::Read { path: from.clone(), source })?;
            if copied != digest {
                return Err(LayoutBaseError::Digest { path: from });
            }
            self.store.adopt_blob(&to, digest)?;
        }
        Ok(self.store.blob_path(digest))
    }
}

/// Copies a file; gives the digest of what was copied.
fn copy(from: &Path, to: &Path) -> io::Result<Sha256> {
    use sha2::Digest as _;
    const BUFFER_BYTES: usize = 128 << 10;
    let (mut from, mut to) = (fs::File::open(from)?, fs::File::create_new(to)?);
    let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; BUFFER_BYTES]);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(Sha256::from_bytes(hasher.finalize().into()));
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}

fn fits(descriptor: &Descriptor, platform: &Platform) -> bool {
    descriptor.platform.as_ref().is_none_or(|one| {
        let variant = platform.variant.as_deref().unwrap_or_default();
        one.os == platform.os && one.architecture == platform.arch && (variant.is_empty() || one.variant == variant)
    })
}

fn shown_platform(descriptor: &Descriptor) -> Option<String> {
    let platform = descriptor.platform.as_ref()?;
    Some(format!("{}/{}", platform.os, platform.architecture))
}

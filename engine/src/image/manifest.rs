//! An image put together: configuration, blobs, manifest, and the digests that name them.
//!
//! Format: <https://github.com/opencontainers/image-spec/blob/main/manifest.md>. A pure value: whoever
//! writes or pushes it reads the blobs themselves. Knows nothing of files but their names.

use super::config::ImageConfig;
use super::config::json_bytes;
use super::layer::PackedLayer;
use super::time::Timestamp;
use crate::digest::Sha256;
use serde::Serialize;
use std::collections::BTreeMap;

/// Media type of a configuration.
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Names a blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// `sha256:…`.
    #[serde(serialize_with = "as_text")]
    pub digest: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// What else is said of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on; only in an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Platform {
    /// CPU, by its Go name.
    pub architecture: String,
    /// Operating system, by its Go name.
    pub os: String,
    /// Variant of the CPU.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// A whole image: everything but the bytes of its layers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assembled {
    /// The configuration's bytes; their digest is the image id.
    pub config: Vec<u8>,
    /// The manifest's bytes; their digest is what registries call the image's.
    pub manifest: Vec<u8>,
    /// The layers, the lowest first.
    pub layers: Vec<PackedLayer>,
    /// What it runs on.
    pub platform: Platform,
    /// When it was made.
    pub created: Option<Timestamp>,
}

impl Assembled {
    /// Puts an image together. The configuration's diff ids are replaced by those of `layers`;
    /// `annotations` go to the manifest.
    pub fn new(config: &ImageConfig, layers: Vec<PackedLayer>, annotations: &BTreeMap<String, String>) -> Self {
        let mut config = config.clone();
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let json = config.to_json();
        let layer_descriptors = layers
            .iter()
            .map(|layer| Descriptor {
                media_type: oci_type(&layer.media_type).to_owned(),
                digest: layer.digest,
                size: layer.size,
                annotations: BTreeMap::new(),
                platform: None,
            })
            .collect();
        let manifest = json_bytes(&Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config: descriptor(CONFIG_TYPE, &json),
            layers: layer_descriptors,
            annotations,
        });
        let platform = Platform { architecture: config.architecture, os: config.os, variant: config.variant };
        Assembled { config: json, manifest, layers, platform, created: config.created }
    }

    /// The image id: the configuration's digest.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&self.config)
    }

    /// The manifest's descriptor, as an index holds it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor { platform: Some(self.platform.clone()), ..descriptor(MANIFEST_TYPE, &self.manifest) }
    }
}

/// The image id that a configuration and layers of these diff ids have, without any blob.
pub fn image_id(config: &ImageConfig, diff_ids: &[Sha256]) -> Sha256 {
    let mut config = config.clone();
    config.rootfs.diff_ids = diff_ids.to_vec();
    config.id()
}

/// Names a document by its bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Sha256::of(bytes),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
        platform: None,
    }
}

/// A pulled blob may carry Docker's name for the same format; an OCI manifest has OCI's.
fn oci_type(media_type: &str) -> &str {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        other => other,
    }
}

fn as_text<S: serde::Serializer>(digest: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_docker_writes_for_the_same_image() {
        // Of the image FROM scratch in the tests of `config`, as `docker save` wrote it.
        let expected = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:9acf906bbdcb221702587cdc8bf091bbe81e5d3f94a7d7132bb5cdb4479a0901","size":431},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:6144c5744b6cae71b44318647d96de16bc6998a49a24773b00f0efc7f634863b","size":2048}]}"#;
        let config = r#"{"architecture":"amd64","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"WorkingDir":"/"},"created":"2026-11-24T04:26:31.902150802Z","history":[{"created":"2026-11-24T04:26:31.902150802Z","created_by":"COPY src.txt / # buildkit","comment":"buildkit.dockerfile.v0"}],"os":"linux"}"#;
        let config = ImageConfig::read_base(config.as_bytes()).unwrap();
        let diff_id = Sha256::parse("sha256:6144c5744b6cae71b44318647d96de16bc6998a49a24773b00f0efc7f634863b").unwrap();
        let layer = PackedLayer {
            diff_id,
            path: "/blob".into(),
            digest: diff_id,
            size: 2048,
            media_type: "application/vnd.docker.image.rootfs.diff.tar".to_owned(),
        };
        let image = Assembled::new(&config, vec![layer], &BTreeMap::new());
        assert_eq!(String::from_utf8(image.manifest.clone()).unwrap(), expected);
        assert_eq!(image.id(), image_id(&config, &[diff_id]));
    }
}

//! Reads manifests, indexes and image configurations: bytes in, checked values out.
//!
//! Formats: OCI image-spec 1.1 and Docker's image manifest, version 2, schema 2. Knows nothing of where the bytes come from;
//! their digests are checked by those who fetch them.

use super::{
    error::{Kind, clean},
    platform::Platform,
};
use crate::digest::Sha256;
use serde::Deserialize;
use std::collections::BTreeMap;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What a manifest request accepts: everything that [`parse`] reads.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Something in a registry, by its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Of the bytes as they are transferred.
    pub digest: Sha256,
    /// How many bytes there are.
    pub size: u64,
    /// What they are.
    pub media_type: String,
    /// Where else they can be had; only layers that must not be distributed use this.
    pub urls: Vec<String>,
}

/// How a layer's tar is packed, by its media type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// One entry of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) descriptor: Descriptor,
    pub(super) platform: Option<Platform>,
}

/// What a manifest is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Manifest {
    /// Images for several platforms. Attestations are left out.
    Index(Vec<Entry>),
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, the lowest first, each with its packing.
        layers: Vec<(Descriptor, Compression)>,
    },
}

/// What of an image's configuration a pull needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Config {
    /// `None` where the configuration does not say.
    pub(super) platform: Option<Platform>,
    pub(super) diff_ids: Vec<Sha256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<Vec<RawDescriptor>>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    platform: Option<RawPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(flatten)]
    platform: RawPlatform,
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl RawPlatform {
    fn read(&self) -> Option<Platform> {
        let stated = |text: &str| !text.is_empty() && text != "unknown";
        (stated(&self.os) && stated(&self.architecture))
            .then(|| Platform::new(&self.os, &self.architecture, self.variant.as_deref()))
    }
}

impl RawDescriptor {
    fn read(&self, what: &str) -> Result<Descriptor, Kind> {
        let digest = Sha256::parse(&self.digest).ok_or_else(|| {
            let detail = format!("the digest {:?} of {what} is not a SHA-256", clean(&self.digest));
            Kind::Malformed { what: "the manifest".to_owned(), detail }
        })?;
        let (media_type, urls) = (clean(&self.media_type), self.urls.clone().unwrap_or_default());
        Ok(Descriptor { digest, size: self.size, media_type, urls })
    }

    /// What BuildKit puts beside the images of an index: provenance and lists of materials.
    fn is_attestation(&self) -> bool {
        let marked = self.annotations.as_ref().is_some_and(|all| all.contains_key("vnd.docker.reference.type"));
        marked || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

/// Reads a manifest or index.
///
/// # Errors
/// It is of a kind that no longer exists, no image, or contradicts itself. A document that could be read both as an index
/// and as an image is refused (CVE-2021-41190).
pub(super) fn parse(bytes: &[u8], content_type: &str) -> Result<(Manifest, String), Kind> {
    let malformed = |detail: String| Kind::Malformed { what: "the manifest".to_owned(), detail };
    let document: Document = serde_json::from_slice(bytes).map_err(|error| {
        malformed(format!("line {}, column {}: {}", error.line(), error.column(), clean(&error.to_string())))
    })?;
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_schema1 = |text: &str| text.starts_with("application/vnd.docker.distribution.manifest.v1+");
    let stated = document.media_type.as_deref().filter(|text| !text.is_empty());
    if document.schema_version == Some(1) || document.fs_layers.is_some() || is_schema1(stated.unwrap_or(content_type))
    {
        return Err(Kind::Schema1);
    }
    let media_type = match stated {
        Some(stated) => stated,
        // OCI documents need not state it, and plain servers do not know it.
        None if matches!(content_type, OCI_INDEX | OCI_MANIFEST | DOCKER_LIST | DOCKER_MANIFEST) => content_type,
        None if document.manifests.is_some() => OCI_INDEX,
        None if document.config.is_some() => OCI_MANIFEST,
        None => content_type,
    };
    let manifest = match media_type {
        OCI_INDEX | DOCKER_LIST => {
            if document.config.is_some() || document.layers.is_some() {
                return Err(malformed("it is an index and has layers".to_owned()));
            }
            let entries = document.manifests.unwrap_or_default();
            let images = entries.iter().filter(|entry| !entry.is_attestation());
            let read = |raw: &RawDescriptor| {
                let platform = raw.platform.as_ref().and_then(RawPlatform::read);
                Ok(Entry { descriptor: raw.read("an image")?, platform })
            };
            Manifest::Index(images.map(read).collect::<Result<_, Kind>>()?)
        }
        OCI_MANIFEST | DOCKER_MANIFEST => {
            if document.manifests.is_some() {
                return Err(malformed("it is an image and has manifests".to_owned()));
            }
            let config = document.config.ok_or_else(|| malformed("it has no config".to_owned()))?.read("its config")?;
            if !matches!(config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG | "application/octet-stream") {
                // A chart, a signature, a policy: registries hold more than images.
                return Err(Kind::Unsupported { what: "the config".to_owned(), media_type: config.media_type });
            }
            let layers = document.layers.unwrap_or_default();
            Manifest::Image { config, layers: layers.iter().map(read_layer).collect::<Result<_, Kind>>()? }
        }
        other => return Err(Kind::Unsupported { what: "the manifest".to_owned(), media_type: clean(other) }),
    };
    Ok((manifest, media_type.to_owned()))
}

fn read_layer(raw: &RawDescriptor) -> Result<(Descriptor, Compression), Kind> {
    let descriptor = raw.read("a layer")?;
    let packing = match descriptor.media_type.as_str() {
        "application/vnd.docker.image.rootfs.diff.tar" => Some(Compression::None),
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Compression::Gzip),
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Compression::Zstd),
        "application/vnd.docker.image.rootfs.foreign.diff.tar" => Some(Compression::None),
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Some(Compression::Gzip),
        other => {
            let kind = other
                .strip_prefix("application/vnd.oci.image.layer.v1.tar")
                .or_else(|| other.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar"));
            match kind {
                Some("") => Some(Compression::None),
                Some("+gzip") => Some(Compression::Gzip),
                Some("+zstd") => Some(Compression::Zstd),
                _ => None,
            }
        }
    };
    match packing {
        Some(packing) => Ok((descriptor, packing)),
        None => Err(Kind::Unsupported {
            what: format!("the layer {}", descriptor.digest),
            media_type: descriptor.media_type,
        }),
    }
}

/// Reads an image's configuration.
///
/// # Errors
/// It is no JSON of this form, or has a diff id that is not a SHA-256.
pub(super) fn parse_config(bytes: &[u8]) -> Result<Config, Kind> {
    let malformed = |detail: String| Kind::Malformed { what: "the image's config".to_owned(), detail };
    let raw: RawConfig = serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("line {}, column {}", error.line(), error.column())))?;
    let texts = raw.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
    let read = |text: &String| {
        Sha256::parse(text).ok_or_else(|| malformed(format!("the diff id {:?} is not a SHA-256", clean(text))))
    };
    let diff_ids = texts.iter().map(read).collect::<Result<_, Kind>>()?;
    Ok(Config { platform: raw.platform.read(), diff_ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(media_type: &str, layer: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{media_type}"config":{{"mediaType":"{OCI_CONFIG}","digest":"{DIGEST}","size":2}},
            "layers":[{{"mediaType":"{layer}","digest":"{DIGEST}","size":0}}]}}"#
        )
    }

    fn parsed(text: &str, content_type: &str) -> Result<(Manifest, String), Kind> {
        parse(text.as_bytes(), content_type)
    }

    #[test]
    fn a_layers_media_type_says_how_it_is_packed() {
        let table = [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression::Gzip),
        ];
        for (media_type, expected) in table {
            let (manifest, _) = parsed(&image("", media_type), OCI_MANIFEST).unwrap();
            assert!(matches!(manifest, Manifest::Image { layers, .. } if layers[0].1 == expected), "{media_type}");
        }
        let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
        assert!(
            matches!(parsed(&image("", encrypted), ""), Err(Kind::Unsupported { media_type, .. }) if media_type == encrypted)
        );
    }

    #[test]
    fn the_documents_own_type_goes_before_the_servers_word() {
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let stated = format!(r#""mediaType":"{DOCKER_MANIFEST}","#);
        for content_type in ["text/plain", DOCKER_MANIFEST, "", "application/json; charset=utf-8"] {
            assert_eq!(parsed(&image(&stated, layer), content_type).unwrap().1, DOCKER_MANIFEST);
            let guessed = if content_type == DOCKER_MANIFEST { DOCKER_MANIFEST } else { OCI_MANIFEST };
            assert_eq!(parsed(&image("", layer), content_type).unwrap().1, guessed);
        }
    }

    #[test]
    fn a_document_that_is_both_index_and_image_is_refused() {
        let both = image("", "application/vnd.oci.image.layer.v1.tar").replacen('{', r#"{"manifests":[],"#, 1);
        for content_type in [OCI_INDEX, OCI_MANIFEST, ""] {
            assert!(matches!(parsed(&both, content_type), Err(Kind::Malformed { .. })), "{content_type}");
        }
    }

    #[test]
    fn attestations_are_no_images() {
        let entry = |rest: &str| format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{DIGEST}","size":1{rest}}}"#);
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{},{},{},{}]}}"#,
            entry(r#","platform":{"os":"linux","architecture":"arm","variant":"v6"}"#),
            entry(r#","platform":{"os":"unknown","architecture":"unknown"}"#),
            entry(r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#),
            entry(""),
        );
        let (Manifest::Index(entries), media_type) = parsed(&index, "").unwrap() else { panic!("no index") };
        let platforms: Vec<_> = entries.iter().map(|entry| entry.platform.as_ref().map(Platform::to_string)).collect();
        assert_eq!((platforms, media_type.as_str()), (vec![Some("linux/arm/v6".to_owned()), None], OCI_INDEX));
    }

    #[test]
    fn what_is_no_image_is_told_apart() {
        let schema1 = r#"{"schemaVersion":1,"name":"a","fsLayers":[{"blobSum":"x"}]}"#;
        assert!(matches!(
            parsed(schema1, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            Err(Kind::Schema1)
        ));
        let chart = image("", "x").replace(OCI_CONFIG, "application/vnd.cncf.helm.config.v1+json");
        assert!(matches!(parsed(&chart, ""), Err(Kind::Unsupported { .. })));
        assert!(matches!(parsed("<html>", "text/html"), Err(Kind::Malformed { .. })));
        assert!(matches!(parsed("{}", "text/html"), Err(Kind::Unsupported { .. })));
        let sha512 = image("", "application/vnd.oci.image.layer.v1.tar").replace("sha256:", "sha512:");
        assert!(matches!(parsed(&sha512, ""), Err(Kind::Malformed { detail, .. }) if detail.contains("sha512:")));
    }

    #[test]
    fn a_config_gives_its_platform_and_diff_ids() {
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}}}}"#
        );
        let config = parse_config(text.as_bytes()).unwrap();
        assert_eq!(
            config,
            Config { platform: Some(Platform::new("linux", "arm64", None)), diff_ids: vec![Sha256::of(b"")] }
        );
        assert_eq!(parse_config(b"{}").unwrap(), Config { platform: None, diff_ids: vec![] });
        assert!(parse_config(br#"{"rootfs":{"diff_ids":["x"]}}"#).is_err());
        assert!(parse_config(b"[").is_err());
    }
}

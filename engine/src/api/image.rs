//! What is said about an image in the store, and what can be done to its names.
//!
//! Knows nothing of tables: every value is exact, in bytes and seconds.

use crate::digest::{ImageKey, LayerId, Sha256};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// An image of the store in a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ImageSummary {
    /// Its completed names, sorted; empty for an image that only a build's record holds.
    pub names: Vec<String>,
    /// Kiln's name of it (`b3:…`).
    #[serde(serialize_with = "as_text")]
    pub key: ImageKey,
    /// Its OCI id (`sha256:…`), once it was computed; of images for several platforms the digest of their index.
    #[serde(serialize_with = "as_optional_text")]
    pub image_id: Option<Sha256>,
    /// Seconds since 1970; `None` where its config has no time.
    pub created: Option<i64>,
    /// The bytes of all files in its layers, shared ones included.
    pub size: u64,
    /// Whether it means the same on another machine: false above `kiln/host`.
    pub portable: bool,
    /// The platforms that it is for: several under one name where there are images for several; empty where its config
    /// says none.
    pub platforms: Vec<String>,
}

/// All that the store knows of an image.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ImageDetail {
    /// The line of it.
    #[serde(flatten)]
    pub summary: ImageSummary,
    /// Its layers, the lowest first.
    #[serde(serialize_with = "as_texts")]
    pub layers: Vec<LayerId>,
    /// Its OCI config; null for images of several platforms.
    pub config: serde_json::Value,
    /// The image of each platform, where there are several under one name; then `layers` is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageDetail>,
}

/// One instruction in the history of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HistoryRow {
    /// Seconds since 1970; `None` where the config has no time.
    pub created: Option<i64>,
    /// The instruction as OCI histories write it.
    pub created_by: String,
    /// The bytes of the files that its layer has; 0 where it has none.
    pub size: u64,
    /// Its layer (`b3:…`); `None` for configuration.
    #[serde(serialize_with = "as_optional_text")]
    pub layer: Option<LayerId>,
    /// The comment of the history entry, empty if there is none.
    pub comment: String,
    /// Whether the entry is marked as one without a layer.
    pub empty: bool,
}

/// A base image to be made from a root file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportRequest {
    /// Its name, as typed; the engine checks and completes it.
    pub name: String,
    /// The archive, compressed or not; the engine looks at its first bytes.
    pub source: ImportSource,
    /// Its platform, as typed; `None` is the host's.
    pub platform: Option<String>,
    /// The store's directory; made if it is not there.
    pub store: PathBuf,
}

/// Where an archive comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImportSource {
    /// A file, relative to the working directory.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// What taking one name away did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Removal {
    /// The completed names that are gone.
    pub untagged: Vec<String>,
    /// The image, if no name is left; its layers go with the next `prune`.
    #[serde(serialize_with = "as_optional_text")]
    pub forgotten: Option<ImageKey>,
}

fn as_text<T: ToString, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.to_string())
}

fn as_optional_text<T: ToString, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_some(&value.to_string()),
        None => to.serialize_none(),
    }
}

fn as_texts<T: ToString, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_serialises_its_digests_as_people_write_them() {
        let key = ImageKey::from_bytes([0x11; 32]);
        let summary = ImageSummary {
            names: vec![],
            key,
            image_id: None,
            created: Some(5),
            size: 7,
            portable: true,
            platforms: vec!["linux/amd64".to_owned()],
        };
        let expected = format!(
            r#"{{"names":[],"key":"b3:{}","image_id":null,"created":5,"size":7,"portable":true,"platforms":["linux/amd64"]}}"#,
            "11".repeat(32)
        );
        assert_eq!(serde_json::to_string(&summary).unwrap(), expected);
    }
}

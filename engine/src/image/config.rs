//! The image configuration: what runs, and how the image came to be.
//!
//! Written as BuildKit writes it, so that the same build has the same image id: the outer keys sorted,
//! those of `config` in the order of the specification, Go's escapes in strings. Format:
//! <https://github.com/opencontainers/image-spec/blob/main/config.md> and Docker's additions
//! (`Healthcheck`, `OnBuild`, `Shell`). Of a base's other keys an image inherits what BuildKit lets it
//! inherit. Knows nothing of instructions.

mod json;

pub(in crate::image) use json::to_vec as json_bytes;

use super::time::Timestamp;
use crate::digest::Sha256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The PATH of an image that sets none.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The comment on every entry that a Dockerfile made.
pub const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// An image's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct ImageConfig {
    /// CPU, by its Go name.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// From MAINTAINER.
    #[serde(default, deserialize_with = "nullable")]
    pub author: String,
    /// What runs.
    #[serde(default, deserialize_with = "nullable")]
    pub config: RunConfig,
    /// When it was made; the last of the history.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// One entry for each instruction, the base image's first.
    #[serde(default, deserialize_with = "nullable")]
    pub history: Vec<History>,
    /// Operating system, by its Go name.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// The layers.
    #[serde(default, deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// Variant of the CPU, such as `v8`.
    #[serde(default, deserialize_with = "nullable")]
    pub variant: String,
    /// Everything else that the base image said.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What a container of the image runs, and with what.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user`, `uid`, or either with `:group`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub user: String,
    /// `port/protocol`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Program and first arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program where there is no entry point.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    pub cmd: Vec<String>,
    /// Paths with volumes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub volumes: BTreeSet<String>,
    /// Where it runs.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub working_dir: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that ends it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub stop_signal: String,
    /// On Windows, that the command is escaped; BuildKit sets it wherever CMD was given.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "nullable")]
    pub args_escaped: bool,
    /// How to tell whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for whoever builds on this image.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub on_build: Vec<String>,
    /// What runs the shell form of instructions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "words")]
    pub shell: Vec<String>,
    /// Everything else that the base image said.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// How to tell whether a container works. Durations in nanoseconds; 0 is the default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, or `CMD` or `CMD-SHELL` and the command.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "nullable")]
    pub interval: i64,
    /// For one check.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "nullable")]
    pub timeout: i64,
    /// At the start, in which failures do not count.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "nullable")]
    pub start_period: i64,
    /// Between two checks at the start.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "nullable")]
    pub start_interval: i64,
    /// How many failures in a row count.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "nullable")]
    pub retries: i64,
}

/// What made one layer, or changed the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When. Where it is unknown, [`ImageConfig::complete_times`] says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The instruction: see [`super::history`].
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub created_by: String,
    /// Who.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub author: String,
    /// [`HISTORY_COMMENT`], or what another tool said.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub comment: String,
    /// Whether it made no layer.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "nullable")]
    pub empty_layer: bool,
}

impl History {
    /// An entry that a Dockerfile's instruction made. `layer` is its layer's time; none means that it
    /// made no layer.
    pub fn of_instruction(created_by: String, layer: Option<Timestamp>) -> Self {
        History {
            created: layer,
            created_by,
            author: String::new(),
            comment: HISTORY_COMMENT.to_owned(),
            empty_layer: layer.is_none(),
        }
    }
}

/// The layers' diff ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    /// Digests of the uncompressed layers, the lowest first.
    #[serde(with = "digests")]
    pub diff_ids: Vec<Sha256>,
}

impl Default for RootFs {
    fn default() -> Self {
        RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// Keys of a base's configuration that an image made from it has too, beside those with a field of their own.
/// All others tell of how the base itself was built or imported, and BuildKit drops them.
const INHERITED_KEYS: [&str; 2] = ["os.version", "os.features"];

impl ImageConfig {
    /// What a stage FROM scratch begins with.
    pub fn scratch(architecture: &str, os: &str, variant: &str) -> Self {
        let config =
            RunConfig { env: vec![DEFAULT_PATH.to_owned()], working_dir: "/".to_owned(), ..RunConfig::default() };
        ImageConfig {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.to_owned(),
            config,
            ..ImageConfig::default()
        }
    }

    /// Reads an image's configuration, for a stage to begin with: PATH is set where the image sets none.
    pub fn read_base(json: &[u8]) -> serde_json::Result<Self> {
        let mut image: ImageConfig = serde_json::from_slice(json)?;
        image.other.retain(|key, _| INHERITED_KEYS.contains(&key.as_str()));
        image.config.other.clear();
        if !image.config.env.iter().any(|pair| pair.starts_with("PATH=")) {
            image.config.env.push(DEFAULT_PATH.to_owned());
        }
        Ok(image)
    }

    /// The bytes, whose digest is the image id.
    pub fn to_json(&self) -> Vec<u8> {
        let mut fields: BTreeMap<&str, Vec<u8>> =
            self.other.iter().map(|(key, value)| (key.as_str(), json::to_vec(value))).collect();
        fields.insert("architecture", json::to_vec(&self.architecture));
        fields.insert("config", json::to_vec(&self.config));
        fields.insert("history", json::to_vec(&self.history));
        fields.insert("os", json::to_vec(&self.os));
        fields.insert("rootfs", json::to_vec(&self.rootfs));
        for (key, value) in [("author", &self.author), ("variant", &self.variant)] {
            if !value.is_empty() {
                fields.insert(key, json::to_vec(value));
            }
        }
        if let Some(created) = &self.created {
            fields.insert("created", json::to_vec(created));
        }
        json::object(&fields)
    }

    /// The image id.
    pub fn id(&self) -> Sha256 {
        Sha256::of(&self.to_json())
    }

    /// Gives times to entries without a layer, and to the image: such an entry has the time of the layer
    /// before it, and before the first new layer the time of that; the image has the last entry's.
    pub fn complete_times(&mut self) {
        let first_after_gap =
            self.history.iter().skip_while(|entry| entry.created.is_some()).find_map(|entry| entry.created);
        let mut time = first_after_gap.or_else(|| self.history.iter().rev().find_map(|entry| entry.created));
        let mut gap = false;
        for entry in &mut self.history {
            match entry.created {
                Some(created) if gap => time = Some(created),
                Some(_) => {}
                None => {
                    gap = true;
                    entry.created = time;
                }
            }
        }
        if let Some(last) = self.history.last().and_then(|entry| entry.created) {
            self.created = Some(last);
        }
    }

    /// Moves the image's time to `epoch`, and every entry's that is later (`SOURCE_DATE_EPOCH`).
    pub fn clamp_times(&mut self, epoch: i64) {
        for entry in &mut self.history {
            entry.created = entry.created.map(|created| created.clamped(epoch));
        }
        self.created = Some(Timestamp::new(epoch, 0));
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Go writes an empty list as `null` and reads it so.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A command is a list, or in old images one word.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
        None,
    }
    Ok(match Words::deserialize(deserializer)? {
        Words::Many(words) => words,
        Words::One(word) => vec![word],
        Words::None => Vec::new(),
    })
}

/// A set is an object whose values say nothing.
mod set {
    use super::{BTreeMap, BTreeSet, Deserialize, Deserializer, Serializer, Value};

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|key| (key, Value::Object(serde_json::Map::new()))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}

/// Digests as `sha256:…`.
mod digests {
    use super::{Deserialize, Deserializer, Serializer, Sha256};

    pub(super) fn serialize<S: Serializer>(digests: &[Sha256], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(digests.iter().map(Sha256::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Sha256>, D::Error> {
        let texts = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
        let parse = |text: &String| Sha256::parse(text).ok_or_else(|| serde::de::Error::custom("no sha256 digest"));
        texts.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests;

//! An image with its blobs: an OCI layout as a directory or a tar, and the docker archive, which is the
//! same tar with Docker's own list of contents beside the index, so that old and new daemons load it.
//!
//! Formats: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>; Docker's
//! `manifest.json` and `repositories` as `docker save` writes them. The bytes depend on the image and the
//! names only.

use super::{Error, copy_blob, write_file};
use crate::digest::Sha256;
use crate::image::config::json_bytes;
use crate::image::manifest::{Assembled, Descriptor, INDEX_TYPE};
use crate::image::reference::Tagged;
use crate::image::time::Timestamp;
use crate::tree::tar::BLOCK_BYTES;
use crate::tree::tar::header::{self, Head};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// What stands in the file `oci-layout`.
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The annotation with the tag, which the specification defines.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the full name, by which containerd and Docker import.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation with the image's time.
const CREATED: &str = "org.opencontainers.image.created";

/// What one name stands for: an image, or the images of several platforms with the index that lists them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    images: Vec<Assembled>,
    /// The index's bytes; none for an image alone.
    index: Option<Vec<u8>>,
    /// Names, each once.
    names: Vec<Tagged>,
    /// What stands in the place of a tag where there is no name.
    title: Option<String>,
}

impl Content {
    /// One image.
    pub fn image(image: Assembled, names: &[Tagged]) -> Self {
        Content { images: vec![image], index: None, names: unique(names).cloned().collect(), title: None }
    }

    /// Images of several platforms.
    pub fn index(images: Vec<Assembled>, names: &[Tagged]) -> Self {
        let index = json_bytes(&Index::of(images.iter().map(Assembled::descriptor).collect()));
        Content { images, index: Some(index), names: unique(names).cloned().collect(), title: None }
    }

    /// The same, told apart in a layout by `title` where it has no name.
    #[must_use]
    pub fn titled(self, title: Option<String>) -> Self {
        Content { title, ..self }
    }

    /// What registries call it: the digest of the manifest, or of the index.
    pub fn digest(&self) -> Sha256 {
        match &self.index {
            Some(index) => Sha256::of(index),
            None => self.images[0].descriptor().digest,
        }
    }

    /// The image id, or the digest of the index.
    pub fn id(&self) -> Sha256 {
        match &self.index {
            Some(index) => Sha256::of(index),
            None => self.images[0].id(),
        }
    }

    fn descriptor(&self) -> Descriptor {
        match &self.index {
            Some(index) => crate::image::manifest::descriptor(INDEX_TYPE, index),
            None => self.images[0].descriptor(),
        }
    }

    /// The documents, each a blob.
    fn documents(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.images.iter().flat_map(|image| [&image.config, &image.manifest]).chain(&self.index)
    }

    fn layers(&self) -> impl Iterator<Item = &crate::image::layer::PackedLayer> {
        self.images.iter().flat_map(|image| &image.layers)
    }
}

/// Writes `type=oci` as a tar: an OCI layout.
pub fn write_oci_tar(content: &Content, out: &mut dyn Write) -> Result<(), Error> {
    write_tar(content, BTreeMap::new(), out)
}

/// Writes `type=docker`: what `docker load` takes. It has a place for one platform only, so of several the first is
/// what old daemons load; who asks for that is told before.
pub fn write_docker_tar(content: &Content, out: &mut dyn Write) -> Result<(), Error> {
    let (image, names) = (&content.images[0], content.names.as_slice());
    let mut files = BTreeMap::from([("manifest.json".to_owned(), docker_manifest(image, names))]);
    if let (Some(repositories), false) = (repositories(image, names), names.is_empty()) {
        files.insert("repositories".to_owned(), repositories);
    }
    write_tar(content, files, out)
}

/// Writes `type=oci,tar=false`: adds the image to the OCI layout `dir`, which is made if it is not there.
/// Names that the index has for other images become names of this one. Blobs come first and the index
/// last, so a layout that others read is whole at every moment.
pub fn write_oci_dir(content: &Content, dir: &Path) -> Result<(), Error> {
    let blobs = dir.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).map_err(|source| Error::Write { path: blobs.clone(), source })?;
    for layer in content.layers() {
        let path = blobs.join(layer.digest.to_hex());
        // A blob's name says what is in it; only its length is compared, as reading would cost a copy.
        if path.metadata().is_ok_and(|meta| meta.len() == layer.size) {
            continue;
        }
        write_file(&path, |out| copy_blob(layer, out))?;
    }
    for bytes in content.documents() {
        let path = blobs.join(crate::digest::Sha256::of(bytes).to_hex());
        write_bytes(&path, bytes)?;
    }
    let index = merged_index(dir, index_entries(content))?;
    write_bytes(&dir.join("oci-layout"), LAYOUT)?;
    write_bytes(&dir.join("index.json"), &index)
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_file(path, |out| out.write_all(bytes).map_err(Error::Stream))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<T> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<T>,
}

impl<T> Index<T> {
    fn of(manifests: Vec<T>) -> Self {
        Index { schema_version: 2, media_type: INDEX_TYPE, manifests }
    }
}

/// An entry for each name, or one without a name.
fn index_entries(content: &Content) -> Vec<Descriptor> {
    let mut plain = content.descriptor();
    if let Some(created) = content.images.iter().filter_map(|image| image.created).max_by_key(|time| time.seconds()) {
        // To the second, as BuildKit has it.
        let created = Timestamp::new(created.seconds(), 0);
        plain.annotations.insert(CREATED.to_owned(), created.to_string());
    }
    let named = |name: &Tagged| {
        let mut descriptor = plain.clone();
        descriptor.annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
        descriptor.annotations.insert(REF_NAME.to_owned(), name.tag.clone());
        descriptor
    };
    if content.names.is_empty() {
        plain.annotations.extend(content.title.clone().map(|title| (REF_NAME.to_owned(), title)));
        return vec![plain];
    }
    content.names.iter().map(named).collect()
}

/// The index of `dir` with these entries added and what they rename left out.
fn merged_index(dir: &Path, entries: Vec<Descriptor>) -> Result<Vec<u8>, Error> {
    let path = dir.join("index.json");
    let old = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(json_bytes(&Index::of(entries)));
        }
        Err(source) => return Err(Error::Write { path, source }),
    };
    let mut index: serde_json::Map<String, Value> =
        serde_json::from_slice(&old).map_err(|source| Error::Index { path, source })?;
    let new: Vec<Value> = entries
        .iter()
        .map(|entry| serde_json::to_value(entry).expect("a descriptor has only strings and numbers"))
        .collect();
    let identity = |entry: &Value| {
        let annotation = |name| entry["annotations"][name].as_str().map(str::to_owned);
        match annotation(IMAGE_NAME).or(annotation(REF_NAME)) {
            Some(name) => name,
            None => entry["digest"].as_str().unwrap_or_default().to_owned(),
        }
    };
    let replaced: BTreeSet<String> = new.iter().map(identity).collect();
    let mut manifests = match index.remove("manifests") {
        Some(Value::Array(manifests)) => manifests,
        _ => Vec::new(),
    };
    manifests.retain(|entry| !replaced.contains(&identity(entry)));
    manifests.extend(new);
    index.insert("manifests".to_owned(), Value::Array(manifests));
    Ok(json_bytes(&index))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn docker_manifest(image: &Assembled, names: &[Tagged]) -> Vec<u8> {
    let tags: Vec<String> = unique(names).map(Tagged::familiar).collect();
    let layers = image.layers.iter().map(|layer| blob_name(layer.digest)).collect();
    let repo_tags = (!tags.is_empty()).then_some(tags);
    json_bytes(&[DockerImage { config: blob_name(image.id()), repo_tags, layers }])
}

/// Repository, tag, and the topmost layer; an image without layers has none.
fn repositories(image: &Assembled, names: &[Tagged]) -> Option<Vec<u8>> {
    let top = image.layers.last()?.diff_id.to_hex();
    let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    for name in names {
        repositories.entry(name.familiar_name()).or_default().insert(&name.tag, &top);
    }
    Some(json_bytes(&repositories))
}

fn unique(names: &[Tagged]) -> impl Iterator<Item = &Tagged> {
    names.iter().enumerate().filter(|(at, name)| !names[..*at].contains(name)).map(|(_, name)| name)
}

fn blob_name(digest: crate::digest::Sha256) -> String {
    format!("blobs/sha256/{}", digest.to_hex())
}

/// Writes all blobs, the index and `files`, sorted by name, with the time 0.
fn write_tar(content: &Content, files: BTreeMap<String, Vec<u8>>, out: &mut dyn Write) -> Result<(), Error> {
    let mut small = files;
    small.insert("index.json".to_owned(), json_bytes(&Index::of(index_entries(content))));
    small.insert("oci-layout".to_owned(), LAYOUT.to_vec());
    for bytes in content.documents() {
        small.insert(blob_name(crate::digest::Sha256::of(bytes)), bytes.clone());
    }
    // The same layer may stand in an image more than once.
    let layers: BTreeMap<String, _> = content.layers().map(|layer| (blob_name(layer.digest), layer)).collect();
    for dir in ["blobs/", "blobs/sha256/"] {
        member(out, dir, 0)?;
    }
    let all: BTreeSet<&String> = small.keys().chain(layers.keys()).collect();
    for name in all {
        let size = if let Some(layer) = layers.get(name) {
            member(out, name, layer.size)?;
            copy_blob(layer, out)?;
            layer.size
        } else {
            let bytes = &small[name];
            member(out, name, bytes.len() as u64)?;
            out.write_all(bytes).map_err(Error::Stream)?;
            bytes.len() as u64
        };
        header::pad(out, size).map_err(Error::Stream)?;
    }
    out.write_all(&[0; 2 * BLOCK_BYTES]).map_err(Error::Stream)
}

fn member(out: &mut dyn Write, name: &str, size: u64) -> Result<(), Error> {
    let (kind, mode) = if name.ends_with('/') { (b'5', 0o755) } else { (b'0', 0o644) };
    let (path, link) = (name.as_bytes(), b"".as_slice());
    let head =
        Head { path, kind, mode, uid: 0, gid: 0, size, mtime: 0, link, device: (0, 0), xattrs: const { &Vec::new() } };
    header::write_head(out, &head).map_err(Error::Stream)
}

#[cfg(test)]
mod tests;

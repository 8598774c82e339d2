//! Reads an image from a docker archive, or from an OCI layout as a directory or a tar.
//!
//! Knows nothing of who made it.

use super::layer::Layer;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// An image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its OCI configuration.
    pub config: Value,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no image.
    #[error("{} is no image: {reason}", path.display())]
    NoImage {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A file's content and its bytes.
pub type Sized = (Box<dyn Read>, u64);

/// The files of an archive or of a layout's directory.
pub struct Files {
    path: PathBuf,
    /// Where each member's content stands in the tar, and its bytes; `None` for a directory.
    members: Option<HashMap<String, (u64, u64)>>,
}

impl Files {
    /// Opens a tar or a directory.
    pub fn open(path: &Path) -> Result<Files, ReadError> {
        let fail = |source| ReadError::Io { path: path.to_owned(), source };
        if path.is_dir() {
            return Ok(Files { path: path.to_owned(), members: None });
        }
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(File::open(path).map_err(fail)?);
        for entry in archive.entries_with_seek().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.path().map_err(fail)?.to_string_lossy().trim_start_matches("./").to_owned();
            members.insert(name, (entry.raw_file_position(), entry.size()));
        }
        Ok(Files { path: path.to_owned(), members: Some(members) })
    }

    /// A reader of one file and its size; `None` where there is no such file.
    pub fn file(&self, name: &str) -> Result<Option<Sized>, ReadError> {
        let fail = |source| ReadError::Io { path: self.path.join(name), source };
        let Some(members) = &self.members else {
            return match File::open(self.path.join(name)) {
                Ok(file) => {
                    let size = file.metadata().map_err(fail)?.len();
                    Ok(Some((Box::new(file), size)))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(fail(error)),
            };
        };
        let Some(&(offset, size)) = members.get(name) else { return Ok(None) };
        let mut file = File::open(&self.path).map_err(fail)?;
        file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        Ok(Some((Box::new(file.take(size)), size)))
    }

    /// The content of a file.
    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let Some((mut reader, _)) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|source| ReadError::Io { path: self.path.join(name), source })?;
        Ok(Some(bytes))
    }

    fn no_image(&self, reason: impl Into<String>) -> ReadError {
        ReadError::NoImage { path: self.path.clone(), reason: reason.into() }
    }

    fn json(&self, name: &str) -> Result<Value, ReadError> {
        let bytes = self.bytes(name)?.ok_or_else(|| self.no_image(format!("it has no {name}")))?;
        serde_json::from_slice(&bytes).map_err(|error| self.no_image(format!("{name}: {error}")))
    }

    /// The names of the files of the configuration and of the layers.
    pub fn parts(&self) -> Result<(String, Vec<String>), ReadError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let parts = if self.bytes("manifest.json")?.is_some() {
            let manifest = &self.json("manifest.json")?[0];
            let layers = manifest["Layers"].as_array().and_then(|all| all.iter().map(text).collect());
            // Docker writes no list at all for an image without layers.
            text(&manifest["Config"]).zip(layers.or(Some(Vec::new())))
        } else {
            let mut manifest = self.json("index.json")?;
            while let Some(first) = manifest["manifests"][0]["digest"].as_str() {
                manifest = self.json(&blob(first))?;
            }
            let digest = |value: &Value| value["digest"].as_str().map(blob);
            let layers = manifest["layers"].as_array().and_then(|all| all.iter().map(digest).collect());
            digest(&manifest["config"]).zip(layers)
        };
        parts.ok_or_else(|| self.no_image("its manifest names no configuration or no layers"))
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

impl Image {
    /// Reads the (first) image of an archive or layout.
    pub fn read(path: &Path) -> Result<Image, ReadError> {
        let files = Files::open(path)?;
        let (config, layers) = files.parts()?;
        let layers = layers
            .iter()
            .map(|name| {
                let fail = |source| ReadError::Io { path: path.join(name), source };
                let (reader, _) = files.file(name)?.ok_or_else(|| files.no_image(format!("it has no {name}")))?;
                Layer::read(decompressed(reader).map_err(fail)?).map_err(fail)
            })
            .collect::<Result<_, ReadError>>()?;
        Ok(Image { config: files.json(&config)?, layers })
    }

    /// How many layers the base has: those of the history's entries before the first of a build.
    pub fn base_layers(&self) -> usize {
        let built = |entry: &&Value| entry["comment"].as_str() != Some(super::listing::BUILD_COMMENT);
        let history = self.config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
        let base = history.iter().take_while(built);
        base.filter(|entry| entry["empty_layer"].as_bool() != Some(true)).count().min(self.layers.len())
    }
}

/// Without its compression, which its first bytes tell.
fn decompressed(reader: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::new(reader);
    let start = io::BufRead::fill_buf(&mut reader)?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::MultiGzDecoder::new(reader))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::new(reader)?)
    } else {
        Box::new(reader)
    })
}

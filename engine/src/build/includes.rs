//! The Dockerfile as a document: read with the files that it includes, wherever the build's files are.
//!
//! Files are included from the project only: the context's directory if the Dockerfile is in it, else the Dockerfile's.
//! Knows nothing of what the texts say.

use super::File;
use crate::api::BuildError;
use crate::snapshot::Snapshot;
use crate::store::Layer;
use crate::tree::TreePath;
use kiln_dsl::parser::{self, Parsed};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The longest file that is included, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Where included files are read.
pub(crate) struct Includes {
    place: Place,
    /// The files of the host that were asked for, whether they are there or not.
    asked: RefCell<Vec<Asked>>,
}

/// A file of the host and the digest of what was read of it; none where it could not be read.
pub(crate) type Asked = (PathBuf, Option<blake3::Hash>);

enum Place {
    /// Nowhere, for this reason.
    Nowhere(&'static str),
    /// The directory of the Dockerfile, and the one that nothing outside of may be read.
    Host { directory: PathBuf, root: PathBuf },
    /// The directory of the Dockerfile in a fetched context.
    Layer(Arc<Layer>, TreePath),
}

impl Includes {
    fn of(place: Place) -> Self {
        Includes { place, asked: RefCell::default() }
    }

    /// Nothing can be included, for this reason.
    pub fn none(reason: &'static str) -> Self {
        Includes::of(Place::Nowhere(reason))
    }

    /// Files of the host, beside the Dockerfile.
    pub fn of_host(context: &Path, dockerfile: &Path) -> Self {
        let directory = match dockerfile.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let (context, beside) = (real(context), real(&directory));
        let root = if beside.starts_with(&context) { context } else { beside };
        Includes::of(Place::Host { directory, root })
    }

    /// Files of a fetched context, beside the Dockerfile.
    pub fn of_layer(layer: &Arc<Layer>, dockerfile: &str) -> Self {
        let above = TreePath::new(dockerfile).parent().unwrap_or_else(TreePath::root);
        Includes::of(Place::Layer(Arc::clone(layer), above))
    }

    /// The files of the host that a reading asked for, so that a watcher looks at them too.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// The text of a file by its path from the Dockerfile's directory; why there is none.
    fn load(&self, path: &str) -> Result<String, String> {
        let bytes = match &self.place {
            Place::Nowhere(reason) => return Err((*reason).to_owned()),
            Place::Host { directory, root } => {
                let path = directory.join(path);
                let read = read_below(root, &path);
                let digest = read.as_ref().ok().map(|bytes| blake3::hash(bytes));
                self.asked.borrow_mut().push((path, digest));
                read?
            }
            Place::Layer(layer, directory) => read_in_layer(layer, directory, path)?,
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The bytes of a file of a fetched context by its path from `directory`, which has `..` at its head only.
fn read_in_layer(layer: &Arc<Layer>, directory: &TreePath, path: &str) -> Result<Vec<u8>, String> {
    let (mut at, mut rest) = (directory.clone(), path);
    while let Some(below) = rest.strip_prefix("../") {
        at = at.parent().ok_or("it is outside of the context")?;
        rest = below;
    }
    let (snapshot, path) = (Snapshot::of([Arc::clone(layer)]), at.join(rest));
    match snapshot.read(&path, MAX_BYTES + 1).map_err(|error| error.to_string())? {
        Some(bytes) if bytes.len() as u64 > MAX_BYTES => Err(too_large()),
        Some(bytes) => Ok(bytes),
        None => Err("there is no such file in the context".to_owned()),
    }
}

fn too_large() -> String {
    format!("it is larger than {} MiB", MAX_BYTES >> 20)
}

/// The bytes of a file, if it is in the directory `root`.
fn read_below(root: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let words = |error: io::Error| error.to_string();
    let real = std::fs::canonicalize(path).map_err(words)?;
    if !real.starts_with(root) {
        return Err(format!("it is outside of the project, {}", root.display()));
    }
    let about = std::fs::metadata(&real).map_err(words)?;
    if !about.is_file() {
        // A pipe would be waited for without an end.
        return Err("it is no file".to_owned());
    }
    if about.len() > MAX_BYTES {
        return Err(too_large());
    }
    std::fs::read(&real).map_err(words)
}

/// Reads a Dockerfile, right or wrong; `file` then knows the texts of all that it includes.
pub(crate) fn read(file: &mut File, includes: &Includes) -> Parsed {
    let text = file.sources.main().to_owned();
    let parsed = parser::parse_file(&file.name, &text, file.dialect(), &mut |path| includes.load(path));
    file.sources = parsed.sources.clone();
    parsed
}

/// What a Dockerfile says.
pub(super) fn parse(file: &mut File, includes: &Includes) -> Result<Parsed, BuildError> {
    let parsed = read(file, includes);
    match parsed.has_errors() {
        true => Err(file.findings(parsed.diagnostics)),
        false => Ok(parsed),
    }
}

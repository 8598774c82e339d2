//! Which file of a directory is its Dockerfile, and its text.
//!
//! Knows nothing of what the text says.

use super::File;
use crate::api::BuildError;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The longest Dockerfile that is read, in bytes: more than any real one, and less than what would fill the memory.
pub(super) const DOCKERFILE_MAX_BYTES: u64 = 16 << 20;

/// What it may be called, the first one that is there counts.
pub(super) const NAMES: [&str; 4] = ["Dockerfile", "dockerfile", "Dockerfile.kiln", "build.kiln"];

/// Where the Dockerfile is looked for, in this order.
pub fn dockerfiles(root: &Path, given: Option<&Path>) -> Vec<PathBuf> {
    match given {
        Some(path) => vec![path.to_path_buf()],
        None => NAMES.map(|name| root.join(name)).to_vec(),
    }
}

/// The Dockerfile of a directory, or the given one.
pub(crate) fn read_dockerfile(root: &Path, given: Option<&Path>) -> Result<(PathBuf, File), BuildError> {
    if !root.is_dir() {
        let source = match std::fs::metadata(root) {
            Ok(_) => io::ErrorKind::NotADirectory.into(),
            Err(error) => error,
        };
        return Err(BuildError::Context { path: root.to_path_buf(), source });
    }
    let mut missing = None;
    for path in dockerfiles(root, given) {
        match read(&path) {
            Ok(text) => {
                let name = path.display().to_string();
                return Ok((path, File::new(name, text)));
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => missing = missing.or(Some((path, source))),
            // One that is there and cannot be read is not passed over for another.
            Err(source) => return Err(BuildError::Dockerfile { path, source }),
        }
    }
    let (path, source) = missing.expect("there was at least one candidate, and it was not there");
    Err(BuildError::Dockerfile { path, source })
}

/// The text of a file, or of a pipe, that is no longer than a Dockerfile may be.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(DOCKERFILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    text(&bytes)
}

/// The text that was read, if it is no longer than a Dockerfile may be: who reads it asks for one byte more.
pub(super) fn text(bytes: &[u8]) -> io::Result<String> {
    match bytes.len() as u64 > DOCKERFILE_MAX_BYTES {
        true => Err(io::Error::other(format!("it is larger than {} MiB", DOCKERFILE_MAX_BYTES >> 20))),
        false => Ok(String::from_utf8_lossy(bytes).into_owned()),
    }
}

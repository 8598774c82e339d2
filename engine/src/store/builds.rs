//! The records of builds, one file each: `builds/PROJECT/TIME-ID`.
//!
//! Files, not rows of the database: a row costs a sync of the disk, and a build in which nothing changed
//! writes nothing else. What a power cut leaves half written does not decode, and is as good as
//! none. A project (a context with its Dockerfile) keeps its newest [`BUILDS_PER_PROJECT`].

use super::{Store, StoreError, io_at};
use crate::explain::{Build, BuildId};
use crate::key::Component;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many builds of one project are remembered.
pub const BUILDS_PER_PROJECT: usize = 50;

/// The first bytes of a record: another version is as good as none.
const MAGIC: &[u8] = b"kiln build 4\n";

/// The digest of a project's name: the directory of its builds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ProjectId([u8; 8]);

impl ProjectId {
    /// The project with this context and this Dockerfile.
    pub fn new(context: &str, dockerfile: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("kiln project v1");
        for part in [context, dockerfile] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        ProjectId(id)
    }

    fn directory(self, store: &Store) -> PathBuf {
        store.directory("builds").join(format!("{:016x}", u64::from_be_bytes(self.0)))
    }
}

/// A build of the store that was not read yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its name.
    pub id: BuildId,
    /// When it began, in nanoseconds since 1970.
    pub started_nanos: i64,
    path: PathBuf,
}

/// The keys of a build's steps, each with all components; empty for a step without one.
pub type Keys = Vec<Vec<Component>>;

impl Store {
    /// Keeps a build with its keys, and forgets the project's oldest.
    pub fn put_build(&self, project: ProjectId, build: &Build, keys: &Keys) -> Result<(), StoreError> {
        let damaged = |error: postcard::Error| StoreError::Damaged {
            what: format!("the record of build {}", build.id),
            detail: error.to_string(),
        };
        let mut data = postcard::to_extend(build, MAGIC.to_vec()).map_err(damaged)?;
        data = postcard::to_extend(keys, data).map_err(damaged)?;
        let directory = project.directory(self);
        let name = format!("{:016x}-{}", build.started_nanos, build.id);
        let beside = directory.join(format!(".{name}"));
        let write = || {
            fs::write(&beside, &data)?;
            fs::rename(&beside, directory.join(&name))
        };
        let written = match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&directory).and_then(|()| write())
            }
            other => other,
        };
        written.map_err(io_at("failed to write", &directory.join(&name)))?;
        let builds = list(&directory).map_err(io_at("failed to list", &directory))?;
        for old in builds.iter().skip(BUILDS_PER_PROJECT) {
            let _another_process_did = fs::remove_file(&old.path);
        }
        Ok(())
    }

    /// The builds of a project, the newest first.
    pub fn builds_of(&self, project: ProjectId) -> Result<Vec<Stored>, StoreError> {
        let directory = project.directory(self);
        list(&directory).map_err(io_at("failed to list", &directory))
    }

    /// All builds, the newest first.
    pub fn builds(&self) -> Result<Vec<Stored>, StoreError> {
        let top = self.directory("builds");
        let mut all = Vec::new();
        let entries = match fs::read_dir(&top) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            Err(error) => return Err(io_at("failed to list", &top)(error)),
        };
        for entry in entries {
            let path = entry.map_err(io_at("failed to list", &top))?.path();
            all.extend(list(&path).map_err(io_at("failed to list", &path))?);
        }
        sort(&mut all);
        Ok(all)
    }

    /// Reads a build; `None` where it is gone or damaged.
    pub fn build(&self, stored: &Stored) -> Result<Option<Build>, StoreError> {
        Ok(read(&stored.path)?.and_then(|data| split(&data).map(|(build, _)| build)))
    }

    /// Reads a build with its keys; `None` where it is gone or damaged.
    pub fn build_with_keys(&self, stored: &Stored) -> Result<Option<(Build, Keys)>, StoreError> {
        Ok(read(&stored.path)?.and_then(|data| {
            let (build, rest) = split(&data)?;
            Some((build, postcard::from_bytes(rest).ok()?))
        }))
    }

    /// Forgets a build; gives the bytes that became free.
    pub fn remove_build(&self, stored: &Stored) -> Result<u64, StoreError> {
        let size = fs::symlink_metadata(&stored.path).map_or(0, |found| found.len());
        match fs::remove_file(&stored.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_at("failed to remove", &stored.path)(error))
            }
            _ => Ok(size),
        }
    }
}

fn split(data: &[u8]) -> Option<(Build, &[u8])> {
    postcard::take_from_bytes(data.strip_prefix(MAGIC)?).ok()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at("failed to read", path)(error)),
    }
}

/// The builds in a project's directory, the newest first; none where it is not there.
fn list(directory: &Path) -> io::Result<Vec<Stored>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('-'));
        let Some((Ok(started_nanos), Some(id))) =
            parts.map(|(time, id)| (i64::from_str_radix(time, 16), BuildId::from_hex(id)))
        else {
            continue;
        };
        all.push(Stored { id, started_nanos, path: entry.path() });
    }
    sort(&mut all);
    Ok(all)
}

fn sort(builds: &mut [Stored]) {
    builds.sort_by_key(|build| std::cmp::Reverse((build.started_nanos, build.id)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::End;
    use crate::explain::record::Asked;

    fn build(number: u8) -> Build {
        Build {
            id: BuildId::from_bytes([number; 6]),
            started_nanos: i64::from(number),
            duration: 1.0,
            asked: Asked::default(),
            end: End::Built,
            image: None,
            names: Vec::new(),
            before: None,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_project_keeps_its_newest_builds_and_reads_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let project = ProjectId::new("/ctx", "/ctx/Dockerfile");
        let keys = vec![vec![Component::text("the command", "make")]];
        let most = u8::try_from(BUILDS_PER_PROJECT).unwrap();
        for number in 0..most + 2 {
            store.put_build(project, &build(number), &keys).unwrap();
        }
        let stored = store.builds_of(project).unwrap();
        assert_eq!(stored.len(), BUILDS_PER_PROJECT);
        assert_eq!(store.build_with_keys(&stored[0]).unwrap(), Some((build(most + 1), keys)));
        assert_eq!(store.build(&stored[1]).unwrap(), Some(build(most)));
        assert_eq!(store.builds().unwrap(), stored);
        assert!(store.builds_of(ProjectId::new("/ctx", "/ctx/other")).unwrap().is_empty());
    }

    #[test]
    fn a_damaged_record_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let project = ProjectId::new("/ctx", "/ctx/Dockerfile");
        store.put_build(project, &build(1), &Vec::new()).unwrap();
        let stored = store.builds_of(project).unwrap().remove(0);
        let whole = fs::read(&stored.path).unwrap();
        for length in 0..whole.len() {
            fs::write(&stored.path, &whole[..length]).unwrap();
            assert_eq!(store.build_with_keys(&stored).unwrap(), None, "{length} bytes");
        }
        fs::write(&stored.path, b"kiln build 9\n").unwrap();
        assert_eq!(store.build(&stored).unwrap(), None);
        assert!(store.remove_build(&stored).unwrap() > 0);
        assert!(store.builds().unwrap().is_empty());
    }
}

//! The records of builds, two files each: `builds/PROJECT/TIME-ID`, the [`Head`], and beside it `TIME-ID.steps`.
//!
//! Files, not rows of the database: a row costs a sync of the disk, and a build in which nothing changed
//! writes nothing else. Such a build has the steps of the build that it equals: a name of the same file, and a head that
//! says so. What a power cut leaves half written does not decode, and is as good as none; steps are written before
//! their head and go after it. A project (a context with its Dockerfile) keeps its newest [`BUILDS_PER_PROJECT`].

mod head;
mod steps;

pub use head::{ContextSeen, Given, Head, Replay, Stamp};
pub use steps::Steps;

use super::{Store, StoreError, io_at};
use crate::explain::{Build, BuildId, BuildStep};
use crate::key::Component;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many builds of one project are remembered.
pub const BUILDS_PER_PROJECT: usize = 50;

/// The first bytes of a head: another version is as good as none.
const MAGIC: &[u8] = b"kiln build 5\n";

/// How the name of a build's steps ends.
const STEPS: &str = ".steps";

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

/// Where the steps of a new record come from.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// They are these, with their keys and the order in which they would end where nothing had changed.
    Steps(&'a [BuildStep], &'a Keys, &'a [usize]),
    /// They are those of another build.
    Of(&'a Stored),
}

impl Store {
    /// Keeps a build, and forgets the project's oldest.
    pub fn put_build(&self, project: ProjectId, head: &Head, body: Body<'_>) -> Result<(), StoreError> {
        let build = &head.build;
        let damaged = |error: postcard::Error| StoreError::Damaged {
            what: format!("the record of build {}", build.id),
            detail: error.to_string(),
        };
        let data = postcard::to_extend(head, MAGIC.to_vec()).map_err(damaged)?;
        let directory = project.directory(self);
        let name = format!("{:016x}-{}", build.started_nanos, build.id);
        let path = directory.join(&name);
        let beside = directory.join(format!(".{name}"));
        let steps = steps_of(&path);
        let written = match body {
            Body::Of(other) => link(&steps_of(&other.path), &steps, &beside),
            Body::Steps(all, keys, order) => {
                let data = steps::encode(all, keys, order).map_err(damaged)?;
                match write(&beside, &steps, &data) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        fs::create_dir_all(&directory).and_then(|()| write(&beside, &steps, &data))
                    }
                    other => other,
                }
            }
        };
        written.map_err(io_at("failed to write", &steps))?;
        write(&beside, &path, &data).map_err(io_at("failed to write", &path))?;
        let builds = list(&directory).map_err(io_at("failed to list", &directory))?;
        for old in builds.iter().skip(BUILDS_PER_PROJECT) {
            let _another_process_did = remove(&old.path);
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

    /// The head of a build; `None` where it is gone or damaged.
    pub fn head(&self, stored: &Stored) -> Result<Option<Head>, StoreError> {
        let read = read(&stored.path)?;
        Ok(read.and_then(|data| postcard::from_bytes(data.strip_prefix(MAGIC)?).ok()))
    }

    /// The bytes of a build's steps, for [`Steps::read`]; `None` where they are gone.
    pub fn steps(&self, stored: &Stored) -> Result<Option<Vec<u8>>, StoreError> {
        read(&steps_of(&stored.path))
    }

    /// Names the file that holds a build's steps; builds that have the same steps share it.
    pub fn place_of_steps(&self, stored: &Stored) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;
        fs::symlink_metadata(steps_of(&stored.path)).ok().map(|found| (found.dev(), found.ino()))
    }

    /// Reads a build; `None` where it is gone or damaged.
    pub fn build(&self, stored: &Stored) -> Result<Option<Build>, StoreError> {
        let Some(head) = self.head(stored)? else { return Ok(None) };
        let data = self.steps(stored)?;
        Ok(data.as_deref().and_then(Steps::read).map(|steps| whole(head, &steps)))
    }

    /// Reads a build with its keys; `None` where it is gone or damaged.
    pub fn build_with_keys(&self, stored: &Stored) -> Result<Option<(Build, Keys)>, StoreError> {
        let Some(head) = self.head(stored)? else { return Ok(None) };
        let data = self.steps(stored)?;
        let read = data.as_deref().and_then(Steps::read).and_then(|steps| Some((steps.keys()?, steps)));
        Ok(read.map(|(keys, steps)| (whole(head, &steps), keys)))
    }

    /// The keys of a build's steps; `None` where they are gone or damaged.
    pub fn keys_of(&self, stored: &Stored) -> Result<Option<Keys>, StoreError> {
        let data = self.steps(stored)?;
        Ok(data.as_deref().and_then(Steps::read).and_then(|steps| steps.keys()))
    }
}

/// A build with its steps.
fn whole(head: Head, steps: &Steps<'_>) -> Build {
    let step = |at| match head.is_unchanged {
        true => steps.step(at).unchanged(),
        false => steps.step(at),
    };
    Build { steps: (0..steps.len()).map(step).collect(), ..head.build }
}

/// Where the steps of the build at `path` are.
pub(crate) fn steps_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(STEPS);
    PathBuf::from(name)
}

/// The name of the build whose steps a file of this name holds.
pub(crate) fn owner_of_steps(name: &str) -> Option<&str> {
    name.strip_suffix(STEPS)
}

fn write(beside: &Path, place: &Path, data: &[u8]) -> io::Result<()> {
    fs::write(beside, data)?;
    fs::rename(beside, place)
}

/// Gives a file one more name, or makes a copy where that cannot be.
fn link(old: &Path, new: &Path, beside: &Path) -> io::Result<()> {
    fs::hard_link(old, new).or_else(|_| {
        fs::copy(old, beside)?;
        fs::rename(beside, new)
    })
}

/// Forgets a build: removes its head and then its steps. Gives the bytes that became free.
pub(crate) fn remove(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut freed = 0;
    for path in [path.to_path_buf(), steps_of(path)] {
        let size = fs::symlink_metadata(&path).map_or(0, |found| found.len() / found.nlink().max(1));
        match fs::remove_file(&path) {
            Ok(()) => freed += size,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(freed)
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
    use crate::explain::report::BuildTotals;
    use crate::explain::{Made, Miss, Verdict, Why};

    fn head(number: u8) -> Head {
        let build = Build {
            id: BuildId::from_bytes([number; 6]),
            started_nanos: i64::from(number),
            duration: 1.0,
            asked: Asked::default(),
            end: End::Built,
            image: None,
            names: Vec::new(),
            before: None,
            steps: Vec::new(),
        };
        Head { totals: BuildTotals::new(&build), build, is_unchanged: false, replay: None }
    }

    fn step(made: Option<Made>) -> BuildStep {
        BuildStep {
            name: "RUN make".into(),
            stage: "0".into(),
            platform: String::new(),
            instruction: "RUN make".into(),
            written: "RUN make".into(),
            line: 1,
            file: None,
            inputs: Vec::new(),
            verdict: Verdict::Miss(Miss::FirstTime),
            reason: "first time".into(),
            key: Some(crate::digest::KeyId::from_bytes([1; 32])),
            layer: None,
            stack: None,
            duration: 2.0,
            earlier: None,
            why: Why::default(),
            made,
        }
    }

    #[test]
    fn a_project_keeps_its_newest_builds_and_reads_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let project = ProjectId::new("/ctx", "/ctx/Dockerfile");
        let (steps, keys) = ([step(None)], vec![vec![Component::text("the command", "make")]]);
        let most = u8::try_from(BUILDS_PER_PROJECT).unwrap();
        for number in 0..most + 2 {
            store.put_build(project, &head(number), Body::Steps(&steps, &keys, &[0])).unwrap();
        }
        let stored = store.builds_of(project).unwrap();
        assert_eq!(stored.len(), BUILDS_PER_PROJECT);
        let build = |number| Build { steps: steps.to_vec(), ..head(number).build };
        assert_eq!(store.build_with_keys(&stored[0]).unwrap(), Some((build(most + 1), keys.clone())));
        assert_eq!(store.build(&stored[1]).unwrap(), Some(build(most)));
        assert_eq!(store.head(&stored[1]).unwrap(), Some(head(most)));
        assert_eq!(store.keys_of(&stored[2]).unwrap(), Some(keys));
        assert_eq!(store.builds().unwrap(), stored);
        assert!(store.builds_of(ProjectId::new("/ctx", "/ctx/other")).unwrap().is_empty());
        let files = fs::read_dir(stored[0].path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 2 * BUILDS_PER_PROJECT);
    }

    #[test]
    fn a_build_in_which_nothing_changed_has_the_steps_of_another_as_hits_and_outlives_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let project = ProjectId::new("/ctx", "/ctx/Dockerfile");
        let made = Made { build: BuildId::from_bytes([1; 6]), nanos: 5, name: "RUN make".into(), millis: 2000 };
        let (steps, keys) = ([step(Some(made.clone()))], vec![vec![Component::text("the command", "make")]]);
        store.put_build(project, &head(1), Body::Steps(&steps, &keys, &[0])).unwrap();
        let first = store.builds_of(project).unwrap().remove(0);
        store.put_build(project, &Head { is_unchanged: true, ..head(2) }, Body::Of(&first)).unwrap();
        let second = store.builds_of(project).unwrap().remove(0);
        assert_eq!(store.place_of_steps(&first), store.place_of_steps(&second));
        assert_eq!(store.build(&first).unwrap().unwrap().steps, steps);
        assert!(remove(&first.path).unwrap() > 0);
        let (build, found) = store.build_with_keys(&second).unwrap().unwrap();
        assert_eq!((found, build.steps[0].made.as_ref()), (keys, Some(&made)));
        assert_eq!(build.steps[0].verdict.kind(), Some("local"));
        assert_eq!((build.steps[0].earlier, &build.steps[0].why.compared), (Some(2.0), &Some(made.compared())));
    }

    #[test]
    fn a_damaged_record_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let project = ProjectId::new("/ctx", "/ctx/Dockerfile");
        let keys = vec![Vec::new()];
        store.put_build(project, &head(1), Body::Steps(&[step(None)], &keys, &[0])).unwrap();
        let stored = store.builds_of(project).unwrap().remove(0);
        for path in [stored.path.clone(), steps_of(&stored.path)] {
            let whole = fs::read(&path).unwrap();
            for length in 0..whole.len() {
                fs::write(&path, &whole[..length]).unwrap();
                assert_eq!(store.build_with_keys(&stored).unwrap(), None, "{length} bytes");
            }
            fs::write(&path, &whole).unwrap();
        }
        assert!(store.build_with_keys(&stored).unwrap().is_some());
        // A kill came between the steps and their head.
        fs::remove_file(&stored.path).unwrap();
        assert_eq!((store.build(&stored).unwrap(), store.builds().unwrap().len()), (None, 0));
        fs::write(&stored.path, b"kiln build 9\n").unwrap();
        assert_eq!(store.build(&stored).unwrap(), None);
        assert!(remove(&stored.path).unwrap() > 0);
        assert!(store.builds().unwrap().is_empty() && !steps_of(&stored.path).exists());
    }
}

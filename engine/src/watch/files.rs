//! The files beside the context that decide what is built: Dockerfile, ignore file, project file.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The files, as they were when they were last looked at.
#[derive(Default)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    contents: Vec<Option<blake3::Hash>>,
}

impl Files {
    /// These files as they are now. One that is not there may come.
    pub fn of(paths: Vec<PathBuf>) -> Self {
        let contents = paths.iter().map(|path| content(path)).collect();
        Files { paths, contents }
    }

    /// Looks at these files too, as they were when they were read; gives whether one of them is new.
    pub fn extend(&mut self, read: Vec<(PathBuf, Option<blake3::Hash>)>) -> bool {
        let known = self.paths.len();
        for (path, content) in read {
            match self.paths.iter().position(|other| *other == path) {
                // What was read is what counts: it may have changed before this list knew of it.
                Some(at) => self.contents[at] = content,
                None => {
                    self.paths.push(path);
                    self.contents.push(content);
                }
            }
        }
        self.paths.len() > known
    }

    /// Looks again; gives those that are another than before.
    pub fn changed(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, known) in self.paths.iter().zip(&mut self.contents) {
            let now = content(path);
            if now != *known {
                *known = now;
                changed.push(path.clone());
            }
        }
        changed
    }

    /// The directories to watch for them, which are there.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        self.paths.iter().filter_map(|path| std::fs::canonicalize(parent(path)).ok()).collect()
    }

    /// Whether an event at this path may be about one of them.
    pub fn may_concern(&self, path: &Path) -> bool {
        let name: Option<&OsStr> = path.file_name();
        self.paths.iter().any(|file| file.file_name() == name)
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// What cannot be read is as good as not there: the build says why.
fn content(path: &Path) -> Option<blake3::Hash> {
    std::fs::read(path).ok().map(|bytes| blake3::hash(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_comes_goes_or_has_another_content_has_changed_and_a_touched_one_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("Dockerfile"), dir.path().join(".dockerignore"));
        std::fs::write(&one, "FROM a").unwrap();
        let mut files = Files::of(vec![one.clone(), two.clone()]);
        assert!(files.changed().is_empty());
        std::fs::write(&one, "FROM a").unwrap();
        assert!(files.changed().is_empty());
        std::fs::write(&two, "x").unwrap();
        assert_eq!(files.changed(), std::slice::from_ref(&two));
        std::fs::remove_file(&two).unwrap();
        std::fs::write(&one, "FROM b").unwrap();
        assert_eq!(files.changed(), [one, two]);
        assert!(files.may_concern(Path::new("/elsewhere/Dockerfile")) && !files.may_concern(Path::new("/a/x")));
    }
}

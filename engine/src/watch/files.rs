//! What decides what is built, beside the files of the contexts: Dockerfile, ignore files, project file, the
//! commit that a repository stands at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What one of them is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A Dockerfile, or the place where one may be, or a file that it includes.
    Dockerfile,
    /// An ignore file of the context with this number.
    Ignore(usize),
    /// The path of a context, which may be a link that comes to lead elsewhere.
    Root,
    /// The directory of a context, of whose repository a key asks the commit.
    Commit(usize),
    /// Anything else that a build is asked for by.
    Other,
}

struct Known {
    role: Role,
    path: PathBuf,
    state: Option<blake3::Hash>,
}

/// The files, as they were when they were last looked at.
#[derive(Default)]
pub(super) struct Files {
    all: Vec<Known>,
    /// Whether commits count: only where the plan asks for one.
    with_commits: bool,
}

impl Files {
    /// These as they are now. One that is not there may come.
    pub fn of(paths: Vec<(Role, PathBuf)>) -> Self {
        let known = |(role, path): (Role, PathBuf)| Known { role, state: state(role, &path), path };
        Files { all: paths.into_iter().map(known).collect(), with_commits: false }
    }

    /// Says whether the plan asks for a commit.
    pub fn count_commits(&mut self, do_count: bool) {
        self.with_commits = do_count;
    }

    fn counts(&self, known: &Known) -> bool {
        self.with_commits || !matches!(known.role, Role::Commit(_))
    }

    /// Looks at these files too, which a Dockerfile includes, as they were when they were read; gives whether one of
    /// them is new.
    pub fn extend(&mut self, read: Vec<(PathBuf, Option<blake3::Hash>)>) -> bool {
        let before = self.all.len();
        for (path, state) in read {
            match self.all.iter_mut().find(|known| known.role == Role::Dockerfile && known.path == path) {
                // What was read is what counts: it may have changed before this list knew of it.
                Some(known) => known.state = state,
                None => self.all.push(Known { role: Role::Dockerfile, path, state }),
            }
        }
        self.all.len() > before
    }

    /// Looks again; gives those that are another than before.
    pub fn changed(&mut self) -> Vec<(Role, PathBuf)> {
        let with_commits = self.with_commits;
        let mut changed = Vec::new();
        for known in &mut self.all {
            if !with_commits && matches!(known.role, Role::Commit(_)) {
                continue;
            }
            let now = state(known.role, &known.path);
            if now != known.state {
                known.state = now;
                changed.push((known.role, known.path.clone()));
            }
        }
        changed
    }

    /// The directories to watch for them, which are there.
    pub fn directories(&self) -> BTreeSet<PathBuf> {
        let parents = self.watched().filter_map(|path| std::fs::canonicalize(parent(&path)).ok());
        parents.collect()
    }

    /// Whether an event at this path may be about one of them.
    pub fn may_concern(&self, path: &Path) -> bool {
        self.watched().any(|file| file.file_name() == path.file_name())
    }

    /// All paths at which something may happen that changes one of them: a link's end too.
    fn watched(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.all.iter().filter(|known| self.counts(known)).flat_map(|known| match known.role {
            Role::Commit(_) => Repository::of(&known.path).map(|found| found.files()).unwrap_or_default(),
            Role::Root => vec![known.path.clone()],
            Role::Dockerfile | Role::Ignore(_) | Role::Other => {
                let end = std::fs::canonicalize(&known.path).ok().filter(|end| *end != known.path);
                [known.path.clone()].into_iter().chain(end).collect()
            }
        })
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
fn state(role: Role, path: &Path) -> Option<blake3::Hash> {
    use std::os::unix::ffi::OsStrExt as _;
    match role {
        Role::Dockerfile | Role::Ignore(_) | Role::Other => std::fs::read(path).ok().map(|bytes| blake3::hash(&bytes)),
        Role::Root => std::fs::canonicalize(path).ok().map(|real| blake3::hash(real.as_os_str().as_bytes())),
        Role::Commit(_) => {
            let mut hasher = blake3::Hasher::new();
            for file in Repository::of(path)?.files() {
                let bytes = std::fs::read(file).unwrap_or_default();
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
            }
            Some(hasher.finalize())
        }
    }
}

/// Where a repository keeps which commit it stands at, as gitrepository-layout(5) has it.
struct Repository {
    /// Of this work tree.
    own: PathBuf,
    /// Of all work trees.
    common: PathBuf,
}

impl Repository {
    /// The one that holds a directory.
    fn of(dir: &Path) -> Option<Self> {
        let dir = std::fs::canonicalize(dir).ok()?;
        let entry = dir.ancestors().map(|dir| dir.join(".git")).find(|entry| entry.exists())?;
        let own = match std::fs::read_to_string(&entry) {
            // A further work tree, or a submodule.
            Ok(text) => parent(&entry).join(text.strip_prefix("gitdir:")?.trim()),
            Err(_) => entry,
        };
        let common = std::fs::read_to_string(own.join("commondir")).ok();
        let common = common.map_or_else(|| own.clone(), |text| own.join(text.trim()));
        Some(Repository { own, common })
    }

    fn files(&self) -> Vec<PathBuf> {
        let head = self.own.join("HEAD");
        let branch = std::fs::read_to_string(&head).ok();
        let branch =
            branch.as_deref().and_then(|text| text.strip_prefix("ref:")).map(|name| self.common.join(name.trim()));
        [head, self.common.join("packed-refs")].into_iter().chain(branch).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_comes_goes_or_has_another_content_has_changed_and_a_touched_one_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("Dockerfile"), dir.path().join(".dockerignore"));
        std::fs::write(&one, "FROM a").unwrap();
        let (first, second) = ((Role::Dockerfile, one.clone()), (Role::Ignore(0), two.clone()));
        let mut files = Files::of(vec![first.clone(), second.clone()]);
        assert!(files.changed().is_empty());
        std::fs::write(&one, "FROM a").unwrap();
        assert!(files.changed().is_empty());
        std::fs::write(&two, "x").unwrap();
        assert_eq!(files.changed(), std::slice::from_ref(&second));
        std::fs::remove_file(&two).unwrap();
        std::fs::write(&one, "FROM b").unwrap();
        assert_eq!(files.changed(), [first, second]);
        assert!(files.may_concern(Path::new("/elsewhere/Dockerfile")) && !files.may_concern(Path::new("/a/x")));
    }

    #[test]
    fn a_link_is_watched_at_both_ends_and_a_root_by_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(real.join(name)).unwrap();
        }
        std::fs::write(real.join("a/Shared"), "FROM a").unwrap();
        std::os::unix::fs::symlink("../a/Shared", real.join("b/Dockerfile")).unwrap();
        std::os::unix::fs::symlink("a", real.join("root")).unwrap();
        let mut files = Files::of(vec![(Role::Dockerfile, real.join("b/Dockerfile")), (Role::Root, real.join("root"))]);
        assert_eq!(files.directories(), BTreeSet::from([real.clone(), real.join("a"), real.join("b")]));
        assert!(files.may_concern(&real.join("a/Shared")) && files.may_concern(&real.join("root")));
        std::fs::remove_file(real.join("root")).unwrap();
        std::os::unix::fs::symlink("b", real.join("root")).unwrap();
        assert_eq!(files.changed(), [(Role::Root, real.join("root"))]);
    }

    #[test]
    fn a_commit_is_what_head_and_its_branch_say_and_counts_where_the_plan_asks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at(".git/refs/heads")).unwrap();
        std::fs::create_dir_all(at("sub")).unwrap();
        std::fs::write(at(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(at(".git/refs/heads/main"), "1\n").unwrap();
        let mut files = Files::of(vec![(Role::Commit(0), at("sub"))]);
        assert!(!files.may_concern(&at(".git/HEAD")) && files.directories().is_empty());
        std::fs::write(at(".git/refs/heads/main"), "2\n").unwrap();
        assert!(files.changed().is_empty());
        files.count_commits(true);
        assert!(files.may_concern(&at(".git/refs/heads/main")));
        assert_eq!(files.changed(), [(Role::Commit(0), at("sub"))]);
        std::fs::write(at(".git/HEAD"), "3\n").unwrap();
        assert_eq!(files.changed().len(), 1, "a commit without a branch");
        assert!(files.changed().is_empty());
    }
}

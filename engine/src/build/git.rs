//! What the git repository that holds the context says, by the host's `git` in a clean environment.
//!
//! Git reads no configuration but the repository's own, writes nothing, and starts no program that the repository
//! names. Knows nothing of keys.

use kiln_dsl::key::Git;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Why the repository could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("there is no git on this machine")]
    NoGit,
    #[error("failed to run git in {}", dir.display())]
    Run {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("git says: {0}")]
    Said(String),
}

/// Asks the repository that holds the directory `dir`; `None` where there is none, where it has no commit, or where the
/// commit has nothing at the path.
pub(crate) fn ask(dir: &Path, what: &Git) -> Result<Option<String>, GitError> {
    let head = run(dir, &["rev-parse", "--verify", "-q", "HEAD^{commit}"])?;
    if !head.status.success() {
        // Nothing is printed where only the commit is missing.
        let said = String::from_utf8_lossy(&head.stderr);
        return match said.trim() {
            "" => Ok(None),
            said if said.contains("not a git repository") => Ok(None),
            said => Err(GitError::Said(first_line(said))),
        };
    }
    match what {
        Git::Head => Ok(Some(text(&head))),
        Git::Dirty => {
            let status = checked(run(dir, &["status", "--porcelain", "--", "."])?)?;
            Ok(Some(if status.stdout.is_empty() { "clean" } else { "dirty" }.to_owned()))
        }
        Git::Path(path) => {
            // Seen from the directory, wherever in the repository that is.
            let name = format!("HEAD:./{}", path.value.trim_start_matches('/'));
            let found = run(dir, &["rev-parse", "--verify", "-q", &name])?;
            Ok(found.status.success().then(|| text(&found)))
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn first_line(said: &str) -> String {
    said.lines().next().unwrap_or_default().to_owned()
}

fn checked(output: Output) -> Result<Output, GitError> {
    match output.status.success() {
        true => Ok(output),
        false => Err(GitError::Said(first_line(&String::from_utf8_lossy(&output.stderr)))),
    }
}

fn run(dir: &Path, args: &[&str]) -> Result<Output, GitError> {
    let mut command = Command::new("git");
    command.env_clear().stdin(Stdio::null()).current_dir(dir).args(args);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.envs([
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_COUNT", "3"),
        ("GIT_CONFIG_KEY_0", "core.fsmonitor"),
        ("GIT_CONFIG_VALUE_0", "false"),
        ("GIT_CONFIG_KEY_1", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_1", "/dev/null"),
        // The context may be somebody else's where root builds; nothing in it is run.
        ("GIT_CONFIG_KEY_2", "safe.directory"),
        ("GIT_CONFIG_VALUE_2", "*"),
    ]);
    command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if dir.is_dir() => GitError::NoGit,
        _ => GitError::Run { dir: dir.to_path_buf(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_dsl::span::{Span, Spanned};

    fn git(dir: &Path, args: &[&str]) -> bool {
        let mut command = Command::new("git");
        command.current_dir(dir).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    #[test]
    fn a_repository_tells_its_commit_its_paths_and_whether_it_is_dirty() {
        let dir = tempfile::tempdir().unwrap();
        let path = |text: &str| Git::Path(Spanned::new(text.to_owned(), Span::default()));
        if !git(dir.path(), &["--version"]) {
            eprintln!("skipped: there is no git");
            return;
        }
        assert_eq!(ask(dir.path(), &Git::Head).unwrap(), None);
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a"), "1").unwrap();
        assert!(git(dir.path(), &["init", "-q"]));
        assert_eq!(ask(dir.path(), &Git::Head).unwrap(), None);
        assert!(git(dir.path(), &["add", "."]) && git(dir.path(), &["commit", "-q", "-m", "one"]));
        let head = ask(dir.path(), &Git::Head).unwrap().unwrap();
        assert_eq!(head.len(), 40);
        let sub = ask(dir.path(), &path("sub")).unwrap();
        assert!(sub.is_some());
        assert_eq!(ask(&dir.path().join("sub"), &path("a")).unwrap(), ask(dir.path(), &path("sub/a")).unwrap());
        assert_eq!(ask(dir.path(), &path("none")).unwrap(), None);
        assert_eq!(ask(dir.path(), &Git::Dirty).unwrap().as_deref(), Some("clean"));
        std::fs::write(dir.path().join("new"), "1").unwrap();
        assert_eq!(ask(dir.path(), &Git::Dirty).unwrap().as_deref(), Some("dirty"));
        // A directory beside the change is clean.
        assert_eq!(ask(&dir.path().join("sub"), &Git::Dirty).unwrap().as_deref(), Some("clean"));
        assert!(git(dir.path(), &["add", "."]) && git(dir.path(), &["commit", "-q", "-m", "two"]));
        assert_ne!(ask(dir.path(), &Git::Head).unwrap(), Some(head));
        assert_eq!(ask(dir.path(), &path("sub")).unwrap(), sub);
    }
}

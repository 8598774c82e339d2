//! A git repository at a commit, by the host's `git` in a clean environment.
//!
//! `ls-remote` says which commit a name means now; what was checked out of a commit is remembered, so a repository that
//! did not move costs one question, and one named by its commit none. Git reads no configuration of the host, asks for
//! no password, and speaks the network's protocols only: a repository cannot lead it to a file of the host.

use super::process::{self, Ended};
use super::{Fetched, Fetcher, Freshness, SourceError, io_at, memo_of};
use crate::digest::LayerId;
use crate::registry::Secret;
use crate::store::{Layer, Staged};
use crate::tree::scan::{self, Choice, Options, Owner};
use base64::Engine as _;
use kiln_dsl::remote::{Git, is_commit_id, redact};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A repository and what is taken of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GitSource {
    /// The repository.
    pub remote: Git,
    /// Whether `.git` is taken along.
    pub keep_git_dir: bool,
}

impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.remote.shown())?;
        let (reference, subdir) = (self.remote.reference.as_deref(), self.remote.subdir.as_deref());
        match (reference, subdir) {
            (None, None) => Ok(()),
            (reference, None) => write!(f, "#{}", reference.unwrap_or_default()),
            (reference, Some(subdir)) => write!(f, "#{}:{subdir}", reference.unwrap_or_default()),
        }
    }
}

/// Why a repository gave nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`url` is shown without credentials; the messages say the rest")]
pub enum GitError {
    /// The host has no git.
    #[error("cannot fetch {url}: there is no git on this machine")]
    NoGit { url: String },
    /// Git said no.
    #[error("git failed to {action} {url}: {said}")]
    Failed { action: &'static str, url: String, said: String },
    /// The repository has no such branch or tag.
    #[error("{url} has no branch or tag {reference:?}")]
    NoReference { url: String, reference: String },
    /// The server does not give the commit.
    #[error("{url} has no commit {commit}")]
    NoCommit { url: String, commit: String },
    /// It has no commit at all.
    #[error("{url} is empty")]
    Empty { url: String },
    /// The commit is another one.
    #[error("{url} is at commit {actual}, not {expected}")]
    Commit { url: String, expected: String, actual: String },
    /// The subdirectory is not there, or is reached through a link.
    #[error("{url} has no directory {subdir:?}")]
    NoSubdir { url: String, subdir: String },
}

impl GitError {
    pub(super) fn advice(&self) -> Option<String> {
        Some(match self {
            GitError::NoGit { .. } => "install git: ADD and contexts use it for repositories".to_owned(),
            GitError::Failed { said, .. }
                if said.contains("could not read Username") || said.contains("Authentication") =>
            {
                "give a token with --secret id=GIT_AUTH_TOKEN,env=NAME".to_owned()
            }
            GitError::Failed { said, .. } if said.contains("Host key verification failed") => {
                "add the server's key to ~/.ssh/known_hosts: ssh-keyscan HOST >> ~/.ssh/known_hosts".to_owned()
            }
            GitError::Failed { said, .. } if said.contains("Permission denied") => {
                "give the agent that holds the key with --ssh default".to_owned()
            }
            GitError::NoReference { .. } => "name a branch, a tag, or a commit by all of its 40 digits".to_owned(),
            _ => return None,
        })
    }
}

/// What a name means now.
struct Resolved {
    commit: String,
    /// The ref that is the commit, where a name was looked up.
    reference: Option<String>,
    /// The tag object that stands for the commit.
    tag: Option<String>,
}

pub(super) fn fetch(fetcher: &Fetcher<'_>, source: &GitSource, begun: &dyn Fn()) -> Result<Fetched, SourceError> {
    let git = Runner::new(fetcher, source)?;
    let resolved = match source.remote.is_commit() {
        true => {
            let commit = source.remote.reference.clone().unwrap_or_default();
            Resolved { commit, reference: None, tag: None }
        }
        false => git.resolve()?,
    };
    if let Some(expected) = &source.remote.checksum
        && !resolved.commit.starts_with(expected)
        && !resolved.tag.as_ref().is_some_and(|tag| tag.starts_with(expected))
    {
        let (url, actual) = (source.remote.shown(), resolved.commit);
        return Err(GitError::Commit { url, expected: expected.clone(), actual }.into());
    }
    let Git { remote, subdir, submodules, commit_times, .. } = &source.remote;
    let kept = if source.keep_git_dir { resolved.reference.as_deref().unwrap_or("HEAD") } else { "" };
    let subdir = subdir.as_deref().unwrap_or_default();
    let how = format!("{submodules} {commit_times}");
    let memo = memo_of(&["git", remote, &resolved.commit, subdir, kept, &how]);
    if let Some(id) = fetcher.store.db().memo::<LayerId>(&memo)?
        && let Some(layer) = fetcher.store.layer(id)?
    {
        return Ok(Fetched { layer, freshness: Freshness::Same });
    }
    begun();
    let layer = git.check_out(&resolved)?;
    fetcher.store.flush()?;
    fetcher.store.db().put_memo(&memo, &layer.id())?;
    Ok(Fetched { layer, freshness: Freshness::Transferred })
}

/// Runs git for one source.
struct Runner<'a> {
    fetcher: &'a Fetcher<'a>,
    source: &'a GitSource,
    /// The address without credentials, as git is given it.
    url: String,
    /// A header that proves who asks, and the address it is for.
    header: Option<(String, Secret)>,
    /// An empty directory in place of a home.
    home: Staged,
}

impl<'a> Runner<'a> {
    fn new(fetcher: &'a Fetcher<'a>, source: &'a GitSource) -> Result<Self, SourceError> {
        let home = Staged::new(fetcher.store.session()?.directory("home")?);
        let (url, header) = without_credentials(fetcher, &source.remote.remote)?;
        Ok(Runner { fetcher, source, url, header, home })
    }

    fn shown(&self) -> String {
        redact(&self.source.remote.remote)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        // The programs that git is made of, and ssh.
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let protocols = format!("http:https:ssh:git{}", self.fetcher.protocols);
        command.envs([
            ("GIT_ALLOW_PROTOCOL", protocols.as_str()),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            // The user's keys and known hosts, but no configuration and no question.
            ("GIT_SSH_COMMAND", "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes"),
            ("LC_ALL", "C"),
        ]);
        command.env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path());
        if let Some(agent) = (self.fetcher.agent)() {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let options = self.fetcher.options;
        let proxies = [("http_proxy", &options.proxies.http), ("https_proxy", &options.proxies.https)];
        for (name, value) in proxies {
            command.envs(value.as_ref().map(|value| (name, value)));
        }
        command.env("no_proxy", format!("localhost,127.0.0.1,::1,{}", options.proxies.exceptions));
        if let Some(certificates) = &options.certificates {
            command.env("GIT_SSL_CAINFO", certificates);
        }
        let mut settings = vec![
            ("core.hooksPath", "/dev/null".to_owned()),
            ("core.autocrlf", "false".to_owned()),
            ("core.fsmonitor", "false".to_owned()),
            ("core.logAllRefUpdates", "false".to_owned()),
            ("advice.detachedHead", "false".to_owned()),
            ("gc.auto", "0".to_owned()),
            ("init.defaultBranch", "main".to_owned()),
            ("http.userAgent", options.user_agent.clone()),
        ];
        // In the environment, where other users cannot see it as they see arguments.
        let key = self.header.as_ref().map(|(url, _)| format!("http.{url}.extraHeader"));
        if let (Some(key), Some((_, header))) = (&key, &self.header) {
            settings.push((key, format!("Authorization: {}", header.reveal())));
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (index, (key, value)) in settings.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), key).env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command
    }

    fn run(&self, directory: &Path, args: &[&str]) -> Result<Ended, SourceError> {
        let mut command = self.command();
        command.current_dir(directory).args(args);
        match process::run(&mut command, self.fetcher.cancel) {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => Err(SourceError::Cancelled),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(GitError::NoGit { url: self.shown() }.into()),
            Err(source) => Err(SourceError::Io { action: "failed to run", path: PathBuf::from("git"), source }),
        }
    }

    /// What git prints; `action` is what is said to have failed if it does.
    fn output(&self, directory: &Path, action: &'static str, args: &[&str]) -> Result<String, SourceError> {
        let ended = self.run(directory, args)?;
        match ended.status.success() {
            true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
            false => Err(self.failed(action, &ended).into()),
        }
    }

    fn failed(&self, action: &'static str, ended: &Ended) -> GitError {
        GitError::Failed { action, url: self.shown(), said: summary(&ended.stderr) }
    }

    /// Asks which commit the reference is.
    fn resolve(&self) -> Result<Resolved, SourceError> {
        let reference = self.source.remote.reference.as_deref();
        let name = reference.unwrap_or("HEAD");
        let peeled = format!("{name}^{{}}");
        let args = ["ls-remote", "--", &self.url, name, &peeled];
        let listing = self.output(self.home.path(), "ask", &args)?;
        choose(&listing, reference).ok_or_else(|| {
            let url = self.shown();
            match reference {
                Some(reference) => GitError::NoReference { url, reference: reference.to_owned() }.into(),
                None => GitError::Empty { url }.into(),
            }
        })
    }

    /// Fetches the commit, as little of its history as the server allows.
    fn fetch_commit(&self, work: &Path, resolved: &Resolved) -> Result<(), SourceError> {
        let commit = resolved.commit.as_str();
        let tag = resolved.reference.as_deref().filter(|name| name.starts_with("refs/tags/"));
        let kept_tag = tag.filter(|_| self.source.keep_git_dir).map(|tag| format!("+{tag}:{tag}"));
        let shallow = ["fetch", "-q", "--no-tags", "--no-recurse-submodules", "--depth=1", "origin"];
        let whole = ["fetch", "-q", "--no-recurse-submodules", "origin"];
        let everything = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let mut ways: Vec<Vec<&str>> = Vec::new();
        match (&kept_tag, &resolved.reference) {
            (Some(tag), _) => ways.push([&shallow[..], &[tag]].concat()),
            (None, reference) => {
                ways.push([&shallow[..], &[commit]].concat());
                ways.extend(reference.as_ref().map(|name| [&shallow[..], &[name.as_str()]].concat()));
            }
        }
        ways.push([&whole[..], &everything].concat());
        let is_there = format!("{commit}^{{commit}}");
        let mut last = None;
        for way in &ways {
            let ended = self.run(work, way)?;
            if ended.status.success() && self.run(work, &["cat-file", "-e", &is_there])?.status.success() {
                return Ok(());
            }
            let worked = ended.status.success();
            if !worked && is_final(&ended.stderr) {
                return Err(self.failed("fetch", &ended).into());
            }
            last = (!worked).then(|| self.failed("fetch", &ended));
        }
        // The last way took everything there is: if it worked, the commit is not part of it.
        let none = || GitError::NoCommit { url: self.shown(), commit: commit.to_owned() };
        Err(last.unwrap_or_else(none).into())
    }

    /// The files of a commit as a layer.
    fn check_out(&self, resolved: &Resolved) -> Result<Arc<Layer>, SourceError> {
        let store = self.fetcher.store;
        let staged = store.stage()?;
        let work = staged.path();
        let format = if resolved.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        self.output(work, "prepare for", &["init", "-q", "--template=", format, "."])?;
        self.output(work, "prepare for", &["remote", "add", "origin", &self.url])?;
        self.fetch_commit(work, resolved)?;
        self.output(work, "check out", &["checkout", "-q", "--detach", &resolved.commit])?;
        if self.source.remote.submodules && work.join(".gitmodules").is_file() {
            let args = ["submodule", "update", "--init", "--recursive", "--depth=1", "-q"];
            self.output(work, "fetch the submodules of", &args)?;
        }
        let times = match self.source.remote.commit_times {
            true => {
                let args = ["log", "-1", "--format=%ct", &resolved.commit];
                self.output(work, "read", &args)?.trim().parse().ok()
            }
            false => None,
        };
        let subdir = self.source.remote.subdir.as_deref();
        let keeps = self.source.keep_git_dir && subdir.is_none();
        if keeps {
            for leftover in ["FETCH_HEAD", "ORIG_HEAD"] {
                // Not every way of fetching leaves them.
                let _ = fs::remove_file(work.join(".git").join(leftover));
            }
        }
        let staged = match subdir {
            Some(subdir) => self.only(subdir, &staged)?,
            None => staged,
        };
        settle(staged.path(), keeps, times)?;
        let options = Options { filter: &|_, _| Choice::Keep, owner: Owner::Root, cache: None, overlay: false };
        let tree = scan::scan(staged.path(), &options)?.tree;
        Ok(store.commit_layer(&tree, staged, &[])?)
    }

    /// The subdirectory alone. Each part of its path must be a directory itself: a link in the repository leads nowhere.
    fn only(&self, subdir: &str, whole: &Staged) -> Result<Staged, SourceError> {
        let missing = || GitError::NoSubdir { url: self.shown(), subdir: subdir.to_owned() };
        let mut path = whole.path().to_path_buf();
        for part in subdir.split('/') {
            path.push(part);
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
            if !is_dir || part == ".git" {
                return Err(missing().into());
            }
        }
        let place = self.fetcher.store.stage()?;
        fs::rename(&path, place.path()).map_err(io_at("failed to move", &path))?;
        Ok(place)
    }
}

/// The address without user and password, and the header that stands for them or for a secret.
fn without_credentials(fetcher: &Fetcher<'_>, remote: &str) -> Result<(String, Option<(String, Secret)>), SourceError> {
    let Some((scheme, rest)) = remote.split_once("://") else { return Ok((remote.to_owned(), None)) };
    let end = rest.find('/').unwrap_or(rest.len());
    let (user, host) = match rest[..end].rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, &rest[..end]),
    };
    if !matches!(scheme, "http" | "https") {
        return Ok((remote.to_owned(), None));
    }
    let (url, origin) = (format!("{scheme}://{host}{}", &rest[end..]), format!("{scheme}://{host}/"));
    let ids = ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"].map(|name| [format!("{name}.{host}"), name.to_owned()]).concat();
    let basic = |pair: &str| Secret::new(format!("basic {}", base64::engine::general_purpose::STANDARD.encode(pair)));
    let header = match (fetcher.secret(&ids)?, user) {
        (Some((0 | 1, header)), _) => Some(header),
        (Some((_, token)), _) => Some(basic(&format!("x-access-token:{}", token.reveal()))),
        (None, Some(user)) => {
            let user = if user.contains(':') { user.to_owned() } else { format!("{user}:") };
            Some(basic(&user))
        }
        (None, None) => None,
    };
    Ok((url, header.map(|header| (origin, header))))
}

/// The commit that `reference` means in what `ls-remote` lists: a ref by its whole name, then a branch, then a tag, as
/// `git checkout` decides.
fn choose(listing: &str, reference: Option<&str>) -> Option<Resolved> {
    let lines = listing.lines().filter_map(|line| line.split_once('\t')).filter(|(id, _)| is_commit_id(id));
    let lines: Vec<(&str, &str)> = lines.collect();
    let find = |name: &str| lines.iter().find(|(_, other)| *other == name).map(|(id, _)| (*id).to_owned());
    let Some(reference) = reference else {
        return find("HEAD").map(|commit| Resolved { commit, reference: Some("HEAD".to_owned()), tag: None });
    };
    let short = |prefix: &str| format!("{prefix}{}", reference.strip_prefix(prefix).unwrap_or(reference));
    for name in [reference.to_owned(), short("refs/"), short("refs/heads/"), short("refs/tags/")] {
        let Some(id) = find(&name) else { continue };
        let (commit, tag) = match find(&format!("{name}^{{}}")) {
            Some(commit) => (commit, Some(id)),
            None => (id, None),
        };
        return Some(Resolved { commit, reference: Some(name), tag });
    }
    None
}

/// Whether another way of fetching cannot help either.
fn is_final(stderr: &[u8]) -> bool {
    const SIGNS: [&str; 8] = [
        "Could not resolve host",
        "Failed to connect",
        "unable to connect",
        "Connection refused",
        "timed out",
        "could not read Username",
        "Authentication failed",
        "Permission denied",
    ];
    let text = String::from_utf8_lossy(stderr);
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// What git says, in one line and without its own prefixes.
fn summary(stderr: &[u8]) -> String {
    const LONGEST_CHARS: usize = 400;
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.trim_start_matches("fatal: ").trim_start_matches("error: "));
    let said: String = lines.collect::<Vec<_>>().join("; ");
    said.chars().filter(|c| !c.is_control()).take(LONGEST_CHARS).collect()
}

/// Gives files the modes that git knows, whatever the umask was, and `seconds` as their time; removes `.git` wherever it
/// is unless it is kept.
fn settle(directory: &Path, keeps: bool, seconds: Option<i64>) -> Result<(), SourceError> {
    for entry in fs::read_dir(directory).map_err(io_at("failed to list", directory))? {
        let entry = entry.map_err(io_at("failed to list", directory))?;
        let path = entry.path();
        let meta = fs::symlink_metadata(&path).map_err(io_at("failed to look at", &path))?;
        if entry.file_name() == OsStr::new(".git") && !keeps {
            let removed = if meta.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(io_at("failed to remove", &path))?;
            continue;
        }
        let is_executable = meta.permissions().mode() & 0o100 != 0;
        let mode = if meta.is_dir() || is_executable { 0o755 } else { 0o644 };
        if !meta.is_symlink() {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(io_at("failed to set the mode of", &path))?;
        }
        if meta.is_dir() {
            settle(&path, keeps, seconds)?;
        }
        if let Some(tv_sec) = seconds {
            let time = Timespec { tv_sec, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| io_at("failed to set the time of", &path)(errno.into()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_branch_goes_before_a_tag_and_a_tag_is_what_it_stands_for() {
        let id = |digit: char| digit.to_string().repeat(40);
        let listing = format!(
            "{}\tHEAD\n{}\trefs/heads/v1\n{}\trefs/heads/x/v1\n{}\trefs/tags/v1\n{}\trefs/tags/v2\n{}\trefs/tags/v2^{{}}\n",
            id('0'),
            id('1'),
            id('2'),
            id('3'),
            id('4'),
            id('5')
        );
        let chosen = |reference: Option<&str>| choose(&listing, reference).map(|found| found.commit);
        assert_eq!(chosen(None), Some(id('0')));
        assert_eq!(chosen(Some("v1")), Some(id('1')));
        assert_eq!(chosen(Some("tags/v1")), Some(id('3')));
        assert_eq!(chosen(Some("refs/tags/v1")), Some(id('3')));
        assert_eq!(chosen(Some("x/v1")), Some(id('2')));
        assert_eq!(chosen(Some("v2")), Some(id('5')));
        assert_eq!(choose(&listing, Some("v2")).unwrap().tag, Some(id('4')));
        assert_eq!(chosen(Some("1")), None);
        assert_eq!(choose("garbage\nx\tHEAD\n", None).map(|found| found.commit), None);
    }

    #[test]
    fn what_git_says_is_one_clean_line() {
        assert_eq!(summary(b"fatal: a\n\nerror: b\x1b[0m\n"), "a; b[0m");
    }
}

//! What a source of ADD, or a build context, names when it is no path: a URL or a git repository.
//!
//! The rules are BuildKit's: an `http` or `https` address is a repository only if its path ends in `.git`, `./x` and `../x`
//! never are, and what is asked of a repository stands behind `#` or, by name, behind `?`. Fetches nothing.

use crate::suggest;
use std::borrow::Cow;

/// What a text names beyond the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remote {
    /// A file behind an `http` or `https` address.
    Http(Http),
    /// A git repository.
    Git(Git),
}

/// An `http` or `https` address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    /// As written, credentials included.
    pub url: String,
    /// The last part of its path, by which the file is called; `__unnamed__` where there is none.
    pub file_name: String,
}

/// A git repository, and what is wanted of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Git {
    /// What `git` is given, credentials included, fragment and query removed.
    pub remote: String,
    /// A branch, tag, commit or any other ref; the repository's `HEAD` where there is none.
    pub reference: Option<String>,
    /// The directory of it that is taken; the whole where there is none. Relative, without `..`.
    pub subdir: Option<String>,
    /// `checksum` or `commit`: the beginning of the commit that it must be.
    pub checksum: Option<String>,
    /// `keep-git-dir`, where it is written.
    pub keep_git_dir: Option<bool>,
    /// `submodules`: taken along unless it says no.
    pub submodules: bool,
    /// `mtime=commit`: files have the commit's time, not the time of the check-out.
    pub commit_times: bool,
}

/// Why a text that names a repository cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemoteError {
    /// A key that no repository has.
    #[error("unexpected query {key:?} in the address of a git repository")]
    UnknownQuery {
        /// As written.
        key: String,
    },
    /// The same thing said in two ways.
    #[error("the git {what} is given twice: {first:?} and {second:?}")]
    Conflict {
        /// `ref`, `subdir` or `checksum`.
        what: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A value that its key does not take.
    #[error("invalid value {value:?} for {key} in the address of a git repository")]
    InvalidValue {
        /// The key.
        key: String,
        /// As written.
        value: String,
    },
    /// A ref that git would take for an option.
    #[error("the git ref {0:?} begins with a dash")]
    DashedRef(String),
    /// A subdirectory that leads out of the repository.
    #[error("the git subdirectory {0:?} leads out of the repository")]
    SubdirOutside(String),
}

impl RemoteError {
    /// The way out, if one is known.
    pub fn help(&self) -> Option<String> {
        match self {
            RemoteError::UnknownQuery { key } => Some(match suggest::nearest(key, QUERIES.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the keys are {}", QUERIES.join(", ")),
            }),
            RemoteError::InvalidValue { .. } => Some("write true or false, or leave the key out".to_owned()),
            _ => None,
        }
    }
}

const QUERIES: [&str; 10] =
    ["ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules", "mtime", "fetch-by-commit"];

/// The name of a file whose address has none.
const UNNAMED: &str = "__unnamed__";

impl Remote {
    /// What a build context names: as [`Remote::parse`], but `github.com/owner/name` is a repository too.
    ///
    /// # Errors
    /// As [`Remote::parse`].
    pub fn parse_context(text: &str) -> Result<Option<Remote>, RemoteError> {
        match text.starts_with("github.com/") {
            true => git(&format!("https://{text}")).map(|git| Some(Remote::Git(git))),
            false => Remote::parse(text),
        }
    }

    /// What `text` names; `None` for a path.
    ///
    /// # Errors
    /// It names a git repository and asks for something that cannot be.
    pub fn parse(text: &str) -> Result<Option<Remote>, RemoteError> {
        if text.starts_with("./") || text.starts_with("../") {
            return Ok(None);
        }
        if is_scp(text) {
            return git(text).map(|git| Some(Remote::Git(git)));
        }
        let Some((scheme, _)) = text.split_once("://") else { return Ok(None) };
        match scheme.to_ascii_lowercase().as_str() {
            "git" | "ssh" => git(text).map(|git| Some(Remote::Git(git))),
            "http" | "https" if path_of(text).ends_with(".git") => git(text).map(|git| Some(Remote::Git(git))),
            "http" | "https" => {
                let path = percent_decoded(path_of(text));
                let file_name = match path.rsplit('/').find(|part| !part.is_empty()) {
                    Some(part) if !matches!(part, "." | "..") => part.to_owned(),
                    _ => UNNAMED.to_owned(),
                };
                Ok(Some(Remote::Http(Http { url: text.to_owned(), file_name })))
            }
            _ => Ok(None),
        }
    }
}

impl Http {
    /// The address as it may be shown.
    pub fn shown(&self) -> String {
        redact(&self.url)
    }

    /// Who is asked: name and port as written.
    pub fn authority(&self) -> &str {
        authority_of(&self.url)
    }
}

impl Git {
    /// The address as it may be shown, without what is wanted of it.
    pub fn shown(&self) -> String {
        redact(&self.remote)
    }

    /// Whether the reference is a commit by its whole name.
    pub fn is_commit(&self) -> bool {
        self.reference.as_deref().is_some_and(is_commit_id)
    }
}

/// Whether a text is the whole name of a commit.
pub fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `text` with the credentials of a URL in it replaced, for whatever people see.
pub fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        // A user name alone is how ssh is spoken to.
        Some((user, _)) if scheme.eq_ignore_ascii_case("ssh") && !user.contains(':') => text.to_owned(),
        Some((_, host)) => format!("{scheme}://xxxxx:xxxxx@{host}{}", &rest[end..]),
        None => text.to_owned(),
    }
}

/// [`redact`] for every URL in a text of several words, quoted or not.
pub fn redact_all(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
    Cow::Owned(text.split_inclusive(is_end).map(redact).collect())
}

fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The path of a URL, neither query nor fragment.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').map_or("", |at| &rest[at..])
}

/// Whether a text is git's short form for ssh: `user@host:path`.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let word = |text: &str, more: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
            && !text.starts_with('-')
    };
    word(user, "-_") && word(host, "-.") && !rest.starts_with("://")
}

fn git(text: &str) -> Result<Git, RemoteError> {
    let (address, fragment) = text.split_once('#').map_or((text, None), |(address, rest)| (address, Some(rest)));
    let (remote, query) = match is_scp(text) {
        true => (address, None),
        false => address.split_once('?').map_or((address, None), |(remote, query)| (remote, Some(query))),
    };
    let remote = match remote.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => remote.to_owned(),
    };
    let mut git = Git { remote, submodules: true, ..Git::default() };
    if let Some(fragment) = fragment {
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        git.reference = (!reference.is_empty()).then(|| reference.to_owned());
        git.subdir = (!subdir.is_empty()).then(|| subdir.to_owned());
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').map_or((pair, ""), |(key, value)| (key, value));
        git.query(&percent_decoded(key), percent_decoded(value))?;
    }
    if let Some(reference) = git.reference.as_ref().filter(|reference| reference.starts_with('-')) {
        return Err(RemoteError::DashedRef(reference.clone()));
    }
    if let Some(subdir) = git.subdir.take() {
        let parts: Vec<&str> = subdir.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err(RemoteError::SubdirOutside(subdir));
        }
        git.subdir = (!parts.is_empty()).then(|| parts.join("/"));
    }
    Ok(git)
}

impl Git {
    fn query(&mut self, key: &str, value: String) -> Result<(), RemoteError> {
        let set = |what: &'static str, place: &mut Option<String>, value: String| match place {
            Some(first) if *first != value => Err(RemoteError::Conflict { what, first: first.clone(), second: value }),
            _ => {
                *place = (!value.is_empty()).then_some(value);
                Ok(())
            }
        };
        let flag = |value: &str| match value {
            "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err(RemoteError::InvalidValue { key: key.to_owned(), value: value.to_owned() }),
        };
        match key {
            "ref" => set("ref", &mut self.reference, value),
            "tag" => set("ref", &mut self.reference, format!("refs/tags/{value}")),
            "branch" => set("ref", &mut self.reference, format!("refs/heads/{value}")),
            "subdir" => set("subdir", &mut self.subdir, value),
            "checksum" | "commit" => set("checksum", &mut self.checksum, value),
            "keep-git-dir" => flag(&value).map(|yes| self.keep_git_dir = Some(yes)),
            "submodules" => flag(&value).map(|yes| self.submodules = yes),
            // How a commit is asked for is decided by what the server can do.
            "fetch-by-commit" => flag(&value).map(drop),
            "mtime" if value == "commit" => {
                self.commit_times = true;
                Ok(())
            }
            "mtime" if value == "checkout" => Ok(()),
            "mtime" => Err(RemoteError::InvalidValue { key: key.to_owned(), value }),
            _ => Err(RemoteError::UnknownQuery { key: key.to_owned() }),
        }
    }
}

/// `%2F` and the like undone; what is not UTF-8 afterwards, or no such code, stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|b| (*b as char).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text,
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match Remote::parse_context(text) {
            Ok(None) => "a path".to_owned(),
            Ok(Some(Remote::Http(http))) => format!("http {} as {}", http.shown(), http.file_name),
            Ok(Some(Remote::Git(git))) => {
                let said = [
                    git.reference.as_ref().map(|text| format!("ref={text}")),
                    git.subdir.as_ref().map(|text| format!("subdir={text}")),
                    git.checksum.as_ref().map(|text| format!("checksum={text}")),
                    git.keep_git_dir.map(|yes| format!("keep-git-dir={yes}")),
                    (!git.submodules).then(|| "no submodules".to_owned()),
                    git.commit_times.then(|| "times of the commit".to_owned()),
                ];
                let said: Vec<String> = said.into_iter().flatten().collect();
                format!("git {} [{}]", git.shown(), said.join(" "))
            }
            Err(error) => {
                format!("error: {error}{}", error.help().map(|help| format!(" ({help})")).unwrap_or_default())
            }
        }
    }

    #[test]
    fn an_address_is_a_path_a_file_or_a_repository() {
        let all = [
            "src",
            "./repo.git",
            "../git@host:repo",
            "git@github.com:moby/buildkit.git",
            "git@github.com:moby/buildkit.git#v1:docs",
            "me@my-host.lan:x",
            "@host:x",
            "a b@host:x",
            "github.com/moby/buildkit",
            "github.com/moby/buildkit#master",
            "https://github.com/moby/buildkit",
            "https://github.com/moby/buildkit.git",
            "https://github.com/moby/buildkit.git#v0.1:/sub/./dir/",
            "https://github.com/moby/buildkit.git#:sub",
            "HTTPS://host/repo.git?tag=v1&subdir=a%2Fb&keep-git-dir",
            "https://host/repo.git?branch=x&submodules=false&mtime=commit&commit=abc",
            "https://host/repo.git?ref=a#a",
            "https://user:pass@host/repo.git#main",
            "ssh://git@host:22/repo#main",
            "ssh://git:secret@host/repo",
            "git://host/repo",
            "http://host/file.tar.gz?x=1#y",
            "http://host/a%20b",
            "http://host/dir/",
            "http://host",
            "http://host/?q=/x.git",
            "https://user:pass@host/x/..",
            "file:///repo.git",
            "oci-layout://x",
        ];
        let shown: Vec<String> = all.iter().map(|text| format!("{text}\n    {}", parsed(text))).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn what_a_repository_cannot_be_asked_for_is_an_error() {
        let all = [
            "https://host/repo.git#a?ref=b",
            "https://host/repo.git?ref=a#b",
            "https://host/repo.git?subdir=a#:b",
            "https://host/repo.git?tag=a&branch=a",
            "https://host/repo.git?branchh=a",
            "https://host/repo.git?depth=1",
            "https://host/repo.git?submodules=perhaps",
            "https://host/repo.git?mtime=now",
            "https://host/repo.git#--upload-pack=x",
            "git@host:repo.git#-x",
            "https://host/repo.git#main:../..",
            "https://host/repo.git?subdir=a/../../b",
        ];
        let shown: Vec<String> = all.iter().map(|text| format!("{text}\n    {}", parsed(text))).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn a_source_of_add_may_be_a_directory_called_github_com() {
        assert_eq!(Remote::parse("github.com/a/b"), Ok(None));
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(redact("https://u:p@host/x@y"), "https://xxxxx:xxxxx@host/x@y");
        assert_eq!(redact("https://token@host"), "https://xxxxx:xxxxx@host");
        assert_eq!(redact("https://host/a@b"), "https://host/a@b");
        assert_eq!(redact("ssh://git@host/x"), "ssh://git@host/x");
        assert_eq!(redact("src/u:p@x"), "src/u:p@x");
        let text = "ADD [\"https://u:p@host/a\",'ftp://t@host'] \\\n  http://u:p@[::1]:8/x \"/y@z\"";
        let shown =
            "ADD [\"https://xxxxx:xxxxx@host/a\",'ftp://xxxxx:xxxxx@host'] \\\n  http://xxxxx:xxxxx@[::1]:8/x \"/y@z\"";
        assert_eq!(redact_all(text), shown);
    }
}

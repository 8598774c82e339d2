//! What a build reads from elsewhere: files behind URLs, git repositories, archives on standard input.
//!
//! Each becomes a layer of the store, named by its content, so that what stands on it is keyed by what was fetched and
//! not by when. A source is asked for again in every build, as cheaply as its protocol allows: one conditional request,
//! one `ls-remote`. Knows nothing of plans, steps or contexts.

mod archive;
mod checksum;
mod git;
mod http;
mod process;

pub use archive::Taken;
pub use checksum::Checksum;
pub use git::{GitError, GitSource};
pub use http::{CONTEXT_FILE, HttpSource, Shape};

use crate::cancel::Cancel;
use crate::registry::{Options, OptionsError, Secret, Transport};
use crate::store::{Layer, Store, StoreError};
use crate::tree::{disk, scan, unpack};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// What is fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// What an `http` or `https` address answers.
    Http(HttpSource),
    /// A git repository at a commit.
    Git(GitSource),
}

/// Something that was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its files.
    pub layer: Arc<Layer>,
    /// Whether they had to come over the network.
    pub freshness: Freshness,
}

/// Whether something was there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// The other side says that nothing changed, or cannot change.
    Same,
    /// It was transferred.
    Transferred,
}

/// Looks a secret's value up; `None` where the build was not given it.
pub type Secrets<'a> = dyn Fn(&str) -> io::Result<Option<Vec<u8>>> + Sync + 'a;

/// What fetching needs of the build.
pub struct Fetcher<'a> {
    store: &'a Store,
    options: &'a Options,
    secrets: &'a Secrets<'a>,
    /// The socket of the ssh agent that the build was given, asked for when git runs.
    agent: Box<dyn Fn() -> Option<PathBuf> + Sync + 'a>,
    cancel: &'a Cancel,
    transport: OnceLock<Transport>,
    /// More protocols for git than the network's; only tests have any.
    protocols: &'static str,
}

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`url` is shown without credentials; the messages say the rest")]
pub enum SourceError {
    /// No answer, or a broken one.
    #[error("failed to fetch {url}: {reason}")]
    Http { url: String, reason: String },
    /// Another answer than the content.
    #[error("failed to fetch {url}: the server answered {status}")]
    Status { url: String, status: u16 },
    /// The content is not what was asked for.
    #[error("{url} has the checksum {actual}, not {expected}")]
    Checksum { url: String, expected: String, actual: String },
    /// The archive that a context is cannot be unpacked.
    #[error("failed to unpack {what}")]
    Unpack {
        what: String,
        #[source]
        source: unpack::Error,
    },
    /// Git said no, or is not there.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A secret that the fetch needs could not be read.
    #[error("failed to read the secret {id:?}")]
    Secret {
        id: String,
        #[source]
        source: io::Error,
    },
    /// The connections could not be set up.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The files could not be written.
    #[error("{action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The files could not be written.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The files could not be read back.
    #[error(transparent)]
    Scan(#[from] scan::ScanError),
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The build was stopped.
    #[error("the build was interrupted")]
    Cancelled,
}

impl SourceError {
    /// The way out, if one is known.
    pub fn advice(&self) -> Option<String> {
        match self {
            SourceError::Status { status: 401 | 403, .. } => Some(
                "give a token with --secret id=HTTP_AUTH_TOKEN_HOST,env=NAME, or a whole header with \
                 HTTP_AUTH_HEADER_HOST, HOST being the server's name"
                    .to_owned(),
            ),
            SourceError::Status { status: 404, .. } => Some("check the address".to_owned()),
            SourceError::Checksum { actual, .. } => {
                Some(format!("if the new content is what you want, write --checksum={actual}"))
            }
            SourceError::Git(error) => error.advice(),
            _ => None,
        }
    }
}

fn io_at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_path_buf();
    move |source| SourceError::Io { action, path, source }
}

impl fmt::Display for Source {
    /// As people may see it: without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Http(http) => f.write_str(&http.remote.shown()),
            Source::Git(git) => git.fmt(f),
        }
    }
}

impl<'a> Fetcher<'a> {
    /// A fetcher for one build. Opens no connection.
    pub fn new(
        store: &'a Store,
        options: &'a Options,
        secrets: &'a Secrets<'a>,
        agent: Box<dyn Fn() -> Option<PathBuf> + Sync + 'a>,
        cancel: &'a Cancel,
    ) -> Self {
        Fetcher { store, options, secrets, agent, cancel, transport: OnceLock::new(), protocols: "" }
    }

    /// The source's files. `begun` is called once if they have to come over the network.
    pub fn fetch(&self, source: &Source, begun: &dyn Fn()) -> Result<Fetched, SourceError> {
        match source {
            Source::Http(source) => http::fetch(self, source, begun),
            Source::Git(source) => git::fetch(self, source, begun),
        }
    }

    fn transport(&self) -> Result<&Transport, SourceError> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let made = Transport::new(self.options)?;
        Ok(self.transport.get_or_init(|| made))
    }

    /// The first of these secrets that the build was given, as text without the line's end.
    fn secret(&self, ids: &[String]) -> Result<Option<(usize, Secret)>, SourceError> {
        for (index, id) in ids.iter().enumerate() {
            let failed = |source| SourceError::Secret { id: id.clone(), source };
            let Some(value) = (self.secrets)(id).map_err(failed)? else { continue };
            let text = String::from_utf8(value)
                .map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))?;
            return Ok(Some((index, Secret::new(text.trim()))));
        }
        Ok(None)
    }

    fn check_cancel(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() { Err(SourceError::Cancelled) } else { Ok(()) }
    }
}

/// The name of a memo: what is remembered of one source.
fn memo_of(parts: &[&str]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("kiln source v1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

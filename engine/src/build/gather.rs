//! What a build begins with: its contexts and its Dockerfile, wherever they are.
//!
//! A context that is no directory of the host is fetched before anything can be planned, because the Dockerfile is in
//! it; named ones are fetched when a step needs them. Ignore files count for directories of the host only.

use super::context::{BuildContext, ContextError};
use super::dockerfile::{DOCKERFILE_MAX_BYTES, NAMES};
use super::includes::Includes;
use super::walk::Memories;
use super::{File, baseline, boxed, dockerfile, open_context, read_dockerfile, store_error};
use crate::api::{BuildError, Context, NamedContext, Request};
use crate::plan::{ContextBase, ContextId, context_key};
use crate::snapshot::Snapshot;
use crate::source::{CONTEXT_FILE, Fetcher, GitSource, HttpSource, Shape, Source, SourceError, Taken};
use crate::store::builds::ProjectId;
use crate::store::{Layer, Store};
use crate::tree::TreePath;
use kiln_dsl::remote::{Http, Remote};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The build argument that keeps `.git` in a context that is a repository.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// Why a Dockerfile that stands alone includes nothing.
const ALONE: &str = "this Dockerfile came alone, without files beside it";
const BEHIND_URL: &str = "a Dockerfile behind a URL has no files beside it";

/// Where `-f -` is read.
const STDIN: &str = "/dev/stdin";

/// What was gathered.
pub(super) struct Gathered {
    /// The Dockerfile.
    pub file: File,
    /// The directories of the host.
    pub contexts: Vec<BuildContext>,
    /// What COPY and ADD read.
    pub main: ContextBase,
    /// The named contexts.
    pub named: Vec<(String, ContextBase)>,
    /// Where the Dockerfile's INCLUDEs are read.
    pub includes: Includes,
    /// The context and the Dockerfile as the store remembers the build by.
    pub project: (String, String, ProjectId),
}

/// Gathers everything that `request` names.
pub(super) fn gather(
    request: &Request,
    store: &Store,
    fetcher: &Fetcher<'_>,
    memories: &Memories,
) -> Result<Gathered, BuildError> {
    let gatherer = Gatherer { request, store, fetcher, memories };
    let mut gathered = match &request.context {
        Context::Directory(root) => gatherer.directory(root)?,
        Context::Stdin => gatherer.stdin()?,
        Context::Remote(text) => gatherer.remote(text)?,
    };
    for (name, context) in &request.contexts {
        let base = gatherer.named(name, context, &mut gathered.contexts)?;
        gathered.named.push((context_key(name), base));
    }
    Ok(gathered)
}

/// What `text` names elsewhere, to be fetched as a context.
pub(super) fn remote_source(request: &Request, text: &str) -> Result<Source, BuildError> {
    let wrong = |reason: String| BuildError::Context { path: PathBuf::from(text), source: io::Error::other(reason) };
    match Remote::parse_context(text).map_err(|error| wrong(error.to_string()))? {
        Some(Remote::Http(remote)) => Ok(Source::Http(HttpSource { remote, checksum: None, shape: Shape::Context })),
        Some(Remote::Git(remote)) => {
            let asked = request.build_args.iter().find(|(name, _)| name == KEEP_GIT_DIR);
            let keeps =
                asked.is_some_and(|(_, value)| matches!(value.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE"));
            let keep_git_dir = remote.keep_git_dir.unwrap_or(keeps);
            Ok(Source::Git(GitSource { remote, keep_git_dir }))
        }
        None => Err(wrong("it is neither a URL nor a git repository".to_owned())),
    }
}

struct Gatherer<'a> {
    request: &'a Request,
    store: &'a Store,
    fetcher: &'a Fetcher<'a>,
    memories: &'a Memories,
}

impl Gatherer<'_> {
    fn failed(&self, what: &str, error: SourceError) -> BuildError {
        match error {
            SourceError::Cancelled => BuildError::Cancelled,
            SourceError::Store(error) => store_error(&self.request.store, error),
            error => BuildError::Fetch { step: format!("reading {what}"), place: None, source: boxed(error) },
        }
    }

    fn directory(&self, root: &Path) -> Result<Gathered, BuildError> {
        let (path, file, includes) = match self.dockerfile_elsewhere(self.request.dockerfile.as_deref())? {
            Some(file) => (PathBuf::from("Dockerfile"), file, Includes::none(BEHIND_URL)),
            None => {
                let (path, file) = read_dockerfile(root, self.request.dockerfile.as_deref())?;
                let includes = Includes::of_host(root, if path == Path::new(STDIN) { Path::new("") } else { &path });
                (path, file, includes)
            }
        };
        let contexts = vec![open_context(root, &path, self.memories.main())?];
        let project = baseline::project(root, &path);
        Ok(Gathered { file, contexts, main: ContextBase::Local(ContextId(0)), named: Vec::new(), includes, project })
    }

    /// A Dockerfile behind a URL.
    fn dockerfile_elsewhere(&self, given: Option<&Path>) -> Result<Option<File>, BuildError> {
        let Some(text) = given.and_then(Path::to_str).filter(|_| given.is_some_and(|path| !path.exists())) else {
            return Ok(None);
        };
        let Ok(Some(Remote::Http(remote))) = Remote::parse(text) else { return Ok(None) };
        let Http { file_name, .. } = remote.clone();
        let source = Source::Http(HttpSource { remote, checksum: None, shape: Shape::File });
        let name = source.to_string();
        let layer = self.fetch(&source, &format!("the Dockerfile {name}"))?;
        let text = self.read(&layer, &file_name)?.unwrap_or_default();
        Ok(Some(File::new(name, text)))
    }

    fn fetch(&self, source: &Source, what: &str) -> Result<Arc<Layer>, BuildError> {
        self.fetcher.fetch(source, &|| ()).map(|fetched| fetched.layer).map_err(|error| self.failed(what, error))
    }

    fn stdin(&self) -> Result<Gathered, BuildError> {
        let what = "standard input";
        let conflict = |reason: &str| BuildError::Context { path: what.into(), source: io::Error::other(reason) };
        if self.request.dockerfile.as_deref() == Some(Path::new(STDIN)) {
            return Err(conflict("it cannot be both the context and the Dockerfile"));
        }
        match Taken::from_stream(self.store, io::stdin().lock(), what).map_err(|error| self.failed(what, error))? {
            Taken::Archive(layer) => self.in_layer(&layer, what, what),
            Taken::Other(_) if self.request.dockerfile.is_some() => {
                Err(conflict("it is a Dockerfile, and -f/--file names another one"))
            }
            Taken::Other(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Err(conflict("it is empty")),
            Taken::Other(bytes) => {
                let file = File::new("-", String::from_utf8_lossy(&bytes));
                Ok(self.gathered(file, what, ContextBase::Empty, Includes::none(ALONE)))
            }
        }
    }

    fn remote(&self, text: &str) -> Result<Gathered, BuildError> {
        let source = remote_source(self.request, text)?;
        let shown = source.to_string();
        let layer = self.fetch(&source, &format!("the context {shown}"))?;
        let is_file = matches!(&source, Source::Http(_))
            && self.request.dockerfile.is_none()
            && layer.tree().is_ok_and(|tree| tree.len() == 1);
        if is_file && let Some(text) = self.read(&layer, CONTEXT_FILE)? {
            let file = File::new(shown.as_str(), text);
            return Ok(self.gathered(file, &shown, ContextBase::Layer(layer.id()), Includes::none(ALONE)));
        }
        self.in_layer(&layer, &shown, &shown)
    }

    /// The Dockerfile is in the fetched context, or on standard input.
    fn in_layer(&self, layer: &Arc<Layer>, shown: &str, context: &str) -> Result<Gathered, BuildError> {
        let main = ContextBase::Layer(layer.id());
        if let Some(file) = self.dockerfile_elsewhere(self.request.dockerfile.as_deref())? {
            return Ok(self.gathered(file, context, main, Includes::none(BEHIND_URL)));
        }
        let given = self.request.dockerfile.as_ref();
        if let Some(path) = given.filter(|path| *path == Path::new(STDIN)) {
            let text =
                dockerfile::read(path).map_err(|source| BuildError::Dockerfile { path: path.clone(), source })?;
            let file = File::new("-", text);
            return Ok(self.gathered(file, context, main, Includes::of_layer(layer, "Dockerfile")));
        }
        let candidates = match given {
            Some(path) => vec![path.display().to_string()],
            None => NAMES.map(str::to_owned).to_vec(),
        };
        for name in &candidates {
            if let Some(text) = self.read(layer, name)? {
                let includes = Includes::of_layer(layer, name);
                return Ok(self.gathered(File::new(name.as_str(), text), context, main, includes));
            }
        }
        let path = PathBuf::from(format!("{} in {shown}", candidates[0]));
        Err(BuildError::Dockerfile { path, source: io::ErrorKind::NotFound.into() })
    }

    fn read(&self, layer: &Arc<Layer>, name: &str) -> Result<Option<String>, BuildError> {
        let read = Snapshot::of([layer.clone()]).read(&TreePath::new(name), DOCKERFILE_MAX_BYTES + 1);
        let failed = |source| BuildError::Dockerfile { path: name.into(), source };
        let Some(bytes) = read.map_err(|error| failed(io::Error::other(error)))? else { return Ok(None) };
        dockerfile::text(&bytes).map(Some).map_err(failed)
    }

    fn gathered(&self, file: File, context: &str, main: ContextBase, includes: Includes) -> Gathered {
        let project = (context.to_owned(), file.name.clone(), ProjectId::new(context, &file.name));
        Gathered { file, contexts: Vec::new(), main, named: Vec::new(), includes, project }
    }

    fn named(
        &self,
        name: &str,
        context: &NamedContext,
        contexts: &mut Vec<BuildContext>,
    ) -> Result<ContextBase, BuildError> {
        Ok(match context {
            NamedContext::Directory(path) => {
                let failed = |source| BuildError::Context { path: path.clone(), source };
                if !std::fs::metadata(path).map_err(failed)?.is_dir() {
                    return Err(failed(io::ErrorKind::NotADirectory.into()));
                }
                let opened =
                    BuildContext::open_named(name, path, self.memories.named(name)).map_err(|error| match error {
                        ContextError::Read { path, source } => BuildError::Context { path, source },
                        ContextError::Ignore { ref path, .. } => {
                            BuildError::Context { path: path.clone(), source: io::Error::other(error) }
                        }
                    })?;
                contexts.push(opened);
                ContextBase::Local(ContextId(contexts.len() - 1))
            }
            NamedContext::Remote(text) => ContextBase::Remote(remote_source(self.request, text)?),
            NamedContext::Image(image) => ContextBase::Image(image.clone()),
            NamedContext::Stage(stage) => ContextBase::Stage(stage.clone()),
        })
    }
}

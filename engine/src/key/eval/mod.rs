//! A stated key to components: each part is looked at and becomes one.
//!
//! Pure apart from [`World`], through which everything outside is read; the same world gives the same components. A
//! part that finds nothing is an error unless it is optional, and then it gives no component, which differs from any
//! that it could give.

pub mod data;
mod files;
#[cfg(test)]
mod tests;
mod text;

pub(super) use files::Matcher;

use super::declared::{Part, Place, PlacedPath, What};
use super::{Component, Value};
use crate::image::time::Timestamp;
use crate::tree::{Entry, Tree, TreePath};
use kiln_dsl::key::Git;
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;
use std::error::Error;

/// Longer texts are kept as their digest and length: a record is no place for a lock file.
const TEXT_MAX_BYTES: usize = 4 << 10;

/// Files that are read for a value or for lines are at most this long.
pub const FILE_MAX_BYTES: u64 = 256 << 20;

/// A failure of the world, with its own words.
pub type Fault = Box<dyn Error + Send + Sync>;

/// All that a key can read. Paths have no links in them but the last part.
pub trait World {
    /// Where `path` really is in a place, links followed; what is not there is kept as it is.
    fn resolve(&self, place: &Place, path: &TreePath) -> Result<TreePath, Fault>;
    /// What is at a resolved path, its content digested; `None` where nothing is, the root included.
    fn entry(&self, place: &Place, path: &TreePath) -> Result<Option<Entry>, Fault>;
    /// All that is below a resolved directory, in the order of paths; nothing where it is none.
    fn below(&self, place: &Place, dir: &TreePath) -> Result<Vec<Entry>, Fault>;
    /// The content of the regular file at a resolved path.
    fn read(&self, place: &Place, path: &TreePath) -> Result<Vec<u8>, Fault>;
    /// A digest of a secret's value that only this store can make; `None` where the build was not given it.
    fn secret(&self, id: &str) -> Result<Option<String>, Fault>;
    /// What a command writes to its standard output when it runs in the step's place. Not to end well is a fault.
    fn run(&self, command: &str) -> Result<Vec<u8>, Fault>;
    /// The digest of an image; `None` where there is none of the name.
    fn image(&self, name: &str, platform: &Platform) -> Result<Option<String>, Fault>;
    /// The content behind an address; `None` where the server says that there is none.
    fn http(&self, url: &str) -> Result<Option<Vec<u8>>, Fault>;
    /// What the repository of a context says; `None` where there is none, or nothing at the path.
    fn git(&self, context: Option<usize>, what: &Git) -> Result<Option<String>, Fault>;
    /// Seconds since 1970.
    fn now(&self) -> i64;
}

/// What a part came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluated {
    /// For the key.
    pub component: Component,
    /// The listing behind a component of files.
    pub listing: Option<Tree>,
}

/// A part that cannot be evaluated, and where it stands.
#[derive(Debug, thiserror::Error)]
#[error("{text}: {reason}")]
pub struct EvalError {
    /// The part as written.
    pub text: String,
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub reason: Reason,
    /// What the world said, if it did.
    #[source]
    pub source: Option<Fault>,
}

/// Why a part cannot be evaluated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    /// There is nothing to look at.
    #[error("{0}")]
    Nothing(String),
    /// It is there, and is not what it should be.
    #[error("{0}")]
    Wrong(String),
    /// It could not be looked at.
    #[error("it could not be looked at")]
    Unreadable,
}

impl EvalError {
    /// The way out.
    pub fn advice(&self) -> Option<String> {
        match self.reason {
            Reason::Nothing(_) => Some(format!("write optional({}) if it need not be there", self.text)),
            _ => None,
        }
    }
}

/// Looks at all parts.
pub fn evaluate(parts: &[Part], world: &dyn World) -> Result<Vec<Evaluated>, EvalError> {
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        match look(part, world) {
            Ok(evaluated) => all.push(evaluated),
            Err(Failure::Reason(Reason::Nothing(_))) if part.optional => {}
            Err(failure) => {
                let (reason, source) = match failure {
                    Failure::Reason(reason) => (reason, None),
                    Failure::Fault(fault) => (Reason::Unreadable, Some(fault)),
                };
                return Err(EvalError { text: part.text.clone(), span: part.span, reason, source });
            }
        }
    }
    Ok(all)
}

/// Why looking at a part gave nothing.
enum Failure {
    Reason(Reason),
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

fn nothing(words: impl Into<String>) -> Failure {
    Failure::Reason(Reason::Nothing(words.into()))
}

fn wrong(words: impl Into<String>) -> Failure {
    Failure::Reason(Reason::Wrong(words.into()))
}

fn look(part: &Part, world: &dyn World) -> Result<Evaluated, Failure> {
    let text = |value: &str| Ok(Evaluated { component: text_component(&part.label, value), listing: None });
    match &part.what {
        What::Variable { kind, name, value } => {
            let value = value.as_deref().ok_or_else(|| nothing("it is not set here"))?;
            Ok(Evaluated { component: Component::variable(kind.word(), name, value), listing: None })
        }
        What::Files { place, globs } => {
            let tree = files::tree(place, globs, &part.normalisers, world)?;
            let value = Value::Files { tree: tree.id(), count: tree.len() as u64 };
            let component = Component { label: part.label.clone(), value };
            Ok(Evaluated { component, listing: Some(tree) })
        }
        What::Absent(path) => {
            let real = world.resolve(&path.place, &path.path)?;
            let is_there = real.is_root() || world.entry(&path.place, &real)?.is_some();
            text(if is_there { "present" } else { "absent" })
        }
        What::Data { format, path, selector } => {
            let bytes = file(path, world)?;
            let data = data::read(*format, &bytes)
                .map_err(|error| wrong(format!("/{} is no {}: {error}", path.path.display(), format.word())))?;
            let found = data
                .select(selector)
                .ok_or_else(|| nothing(format!("there is no {selector} in /{}", path.path.display())))?;
            text(&found.to_string())
        }
        What::Lines { path, pattern } => {
            let bytes = file(path, world)?;
            let name = path.path.file_name().unwrap_or_default();
            let bytes = text::normalise(&bytes, name, &part.normalisers).map_err(wrong)?;
            let lossy = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = lossy.lines().filter(|line| pattern.0.is_match(line)).collect();
            if lines.is_empty() {
                return Err(nothing(format!("no line of /{} matches", path.path.display())));
            }
            text(&lines.join("\n"))
        }
        What::Secret(id) => {
            let digest = world.secret(id)?;
            text(&digest.ok_or_else(|| nothing("the build was not given it: pass --secret"))?)
        }
        What::Run(command) => {
            let output = world.run(command)?;
            let output = text::normalise(&output, b"", &part.normalisers).map_err(wrong)?;
            text(&bytes_words(&output))
        }
        What::Image { name, platform } => {
            text(&world.image(name, platform)?.ok_or_else(|| nothing("there is no such image"))?)
        }
        What::Http(url) => {
            let content = world.http(url)?.ok_or_else(|| nothing("the server says that there is nothing"))?;
            let content = text::normalise(&content, b"", &part.normalisers).map_err(wrong)?;
            text(&digest_words(&content))
        }
        What::Git { context, what } => {
            let found = world.git(*context, what)?;
            text(&found.ok_or_else(|| {
                nothing(match what {
                    Git::Path(_) => "the commit has nothing there",
                    _ => "the context is in no git repository with a commit",
                })
            })?)
        }
        What::Time(period) => {
            let period = i64::try_from(period.seconds()).unwrap_or(i64::MAX);
            let begin = world.now().div_euclid(period).saturating_mul(period);
            text(&format!("since {}", Timestamp::new(begin, 0)))
        }
    }
}

/// The content of the file that a path names.
fn file(path: &PlacedPath, world: &dyn World) -> Result<Vec<u8>, Failure> {
    let shown = path.path.display();
    let real = world.resolve(&path.place, &path.path)?;
    match world.entry(&path.place, &real)? {
        Some(entry) if matches!(entry.kind, crate::tree::Kind::File { .. }) => Ok(world.read(&path.place, &real)?),
        Some(_) => Err(wrong(format!("/{shown} is no regular file"))),
        None => Err(nothing(format!("/{shown} is not in {}", path.place.words()))),
    }
}

fn text_component(label: &str, value: &str) -> Component {
    match value.len() > TEXT_MAX_BYTES {
        true => Component::text(label, digest_words(value.as_bytes())),
        false => Component::text(label, value),
    }
}

/// Bytes as a text that stands for them alone: themselves, or their digest.
fn bytes_words(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= TEXT_MAX_BYTES => text.to_owned(),
        _ => digest_words(bytes),
    }
}

fn digest_words(bytes: &[u8]) -> String {
    format!("b3:{} ({} bytes)", blake3::hash(bytes).to_hex(), bytes.len())
}

//! A RUN whose key is stated: the components of the key, and the world that they are looked at in.
//!
//! What a part means is [`crate::key::eval`]'s; here is where it is read: the step's snapshot, the context, other
//! stages, the sandbox, the registry, the clock. Nothing is read before a part asks for it.

use super::bind_mount::Shown;
use super::context::BuildContext;
use super::run_step::Prepared;
use super::secrets::Secrets;
use super::steps::Steps;
use super::{git, keys};
use crate::api::BuildError;
use crate::digest::{ContentId, LayerId};
use crate::event::{Event, Stream};
use crate::explain::Why;
use crate::graph::NodeId;
use crate::key::coverage::Coverage;
use crate::key::declared::{Declared, Parent, Place, Rhythm, Variable, What};
use crate::key::eval::{self, EvalError, FILE_MAX_BYTES, Fault, World};
use crate::key::{Component, Key};
use crate::plan::{ImageNeed, Origin, RunStep, Step, StepKind};
use crate::sandbox;
use crate::snapshot::{NotMadeYet, Snapshot, Type};
use crate::source::{self, HttpSource, Shape, SourceError};
use crate::trace::{Space, Trace};
use crate::tree::{Entry, Kind, TreePath, stat};
use kiln_dsl::key::Git;
use kiln_dsl::platform::Platform;
use kiln_dsl::remote::Http;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::OnceLock;

/// What a key's command may write to standard output; a key is no place for more.
const OUTPUT_MAX_BYTES: usize = 1 << 20;

/// A key that could not be compared with what its step read.
#[derive(Debug, thiserror::Error)]
#[error("failed to compare its key with what it read")]
struct CoverageError(#[source] Fault);

/// How many paths one warning names.
const PATHS_SHOWN: usize = 5;

/// What an address's answer is called in the store.
const ANSWER: &str = "answer";

/// A command of a key that did not end well, or that wrote too much.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{exit}{}", if .last.is_empty() { String::new() } else { format!(": {last}") })]
    Failed {
        exit: crate::api::Exit,
        /// Its last line on standard error.
        last: String,
    },
    #[error("it wrote more than {OUTPUT_MAX_BYTES} bytes: let it print a digest of them")]
    TooMuch,
}

/// A command of a key that only a build runs, and whose output on the same inputs is not remembered.
#[derive(Debug, thiserror::Error)]
#[error("the command is not run before the build")]
struct NotRunYet;

/// Whether a step's key cannot be known before a build: what it reads is made by that build, or it is what a command
/// prints that was not run yet.
pub(super) fn is_for_the_build(error: &BuildError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        // What an I/O error was made of is not its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let is =
            error.is::<NotRunYet>() || error.is::<NotMadeYet>() || inner.is_some_and(|inner| inner.is::<NotMadeYet>());
        if is {
            return true;
        }
        next = error.source();
    }
    false
}

impl Steps<'_> {
    /// The components of a stated key, and what running the step needs.
    pub(super) fn prepare_declared(
        &self,
        step: &Step,
        run: &RunStep,
        declared: &Declared,
    ) -> Result<(Vec<Component>, Prepared), BuildError> {
        let mut prepared = Prepared::default();
        let mut components = keys::run(run, self.offline(run));
        if declared.usual.environment {
            let (mounted, parts) = self.mounted(step, run)?;
            components.extend(keys::environment(run).into_iter().filter(|component| {
                let is = |(kind, name): &(Variable, String)| component.label == format!("{} {name}", kind.word());
                !declared.usual.without.iter().any(is)
            }));
            components.extend(mounted.iter().map(|(target, tree)| keys::mounted(target, tree)));
            components.extend(parts);
            prepared.mounted = mounted;
        }
        let world = StepWorld { steps: self, step, run };
        let evaluated = eval::evaluate(&declared.parts, &world).map_err(|error| self.key_error(step, error))?;
        for one in evaluated {
            // What `default` and a part both name is one thing.
            if !components.iter().any(|known| known.label == one.component.label) {
                components.push(one.component);
                prepared.listings.extend(one.listing);
            }
        }
        if declared.usual.parent != Parent::Ignored {
            components.push(keys::parent(&self.snapshot(step.parent)));
        }
        Ok((components, prepared))
    }

    fn key_error(&self, step: &Step, error: EvalError) -> BuildError {
        let place = Some(self.file.place(error.span));
        BuildError::Key {
            step: self.plan.shown[step.shown].name.clone(),
            place,
            advice: error.advice(),
            source: super::boxed(error),
        }
    }

    /// What a command writes in the place of `run`, on the same snapshot and with the same environment. Remembered
    /// under all that it can see but the network and the clock, as the result of a RUN is.
    fn key_command(&self, step: &Step, run: &RunStep, command: &str) -> Result<Vec<u8>, Fault> {
        let mut argv = run.shell.clone();
        argv.push(command.to_owned());
        // No mounts: a key shows what it is made of, and a secret must not get there.
        let run = RunStep { argv, mounts: Vec::new(), script: None, key: None, ..run.clone() };
        let mut components = keys::run(&run, self.offline(&run));
        components.extend(keys::environment(&run));
        components.push(keys::parent(&self.snapshot(step.parent)));
        let memo = *Key::new("KEY", components).id().as_bytes();
        if !self.no_cache(step)
            && let Some(output) = self.store.db().memo::<Vec<u8>>(&memo)?
        {
            return Ok(output);
        }
        if self.store.is_frozen() {
            return Err(NotRunYet.into());
        }
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut take = |stream, bytes: &[u8]| {
            let to: &mut Vec<u8> = if stream == Stream::Stdout { &mut output } else { &mut errors };
            // One byte too many tells that there were too many.
            let room = (OUTPUT_MAX_BYTES + 1).saturating_sub(to.len());
            to.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        let secrets = OnceLock::<Secrets>::new();
        let (exit, _) = self.run_in_sandbox(step, &run, &Prepared::default(), &secrets, &mut take)?;
        let exit = match exit {
            sandbox::Exit::Code(0) if output.len() > OUTPUT_MAX_BYTES => return Err(CommandError::TooMuch.into()),
            sandbox::Exit::Code(0) => {
                self.store.db().put_memo(&memo, &output)?;
                return Ok(output);
            }
            sandbox::Exit::Code(code) => crate::api::Exit::Code(code),
            sandbox::Exit::Signal(signal) => crate::api::Exit::Signal(signal),
        };
        let last = String::from_utf8_lossy(&errors).trim_end().lines().last().unwrap_or_default().to_owned();
        let last = secrets.get().map_or(last.clone(), |secrets| secrets.hidden_in(last));
        Err(CommandError::Failed { exit, last }.into())
    }

    /// Says which files that the build copied a step read although its stated key does not cover them; in a strict build
    /// that is an error. What comes from the base image or from earlier RUN steps is not looked at: no key names all of
    /// a shell. Nor is a step whose key says `never`: it leaves everything out on purpose.
    pub(super) fn check_coverage(
        &self,
        step: &Step,
        run: &RunStep,
        prepared: &Prepared,
        trace: Option<&Trace>,
    ) -> Result<(), BuildError> {
        let Some(declared) = run.key.as_deref().filter(|declared| is_checked(declared)) else { return Ok(()) };
        let name = &self.plan.shown[step.shown].name;
        let Some(trace) = trace.filter(|trace| trace.incomplete.is_none()) else {
            if self.request.strict {
                let message = format!("{name} was not watched, so its key could not be checked");
                self.sink.emit(Event::Warning { message });
            }
            return Ok(());
        };
        let found = self.uncovered(step, run, prepared, declared, trace);
        let uncovered = found.map_err(|fault| self.step_error(step, CoverageError(fault)))?;
        if uncovered.is_empty() {
            return Ok(());
        }
        let paths = paths_words(&uncovered, &run.workdir);
        if self.request.strict {
            let place = Some(self.file.place(declared.span));
            return Err(BuildError::Uncovered { step: name.clone(), place, paths });
        }
        self.sink.emit(Event::Warning { message: format!("{name} read {paths}, which its key does not cover") });
        Ok(())
    }

    fn uncovered(
        &self,
        step: &Step,
        run: &RunStep,
        prepared: &Prepared,
        declared: &Declared,
        trace: &Trace,
    ) -> Result<Vec<TreePath>, Fault> {
        let world = StepWorld { steps: self, step, run };
        let coverage = Coverage::new(declared, &prepared.listings, &world)?;
        let snapshot = self.snapshot(step.parent);
        let mut all = Vec::new();
        for (path, content) in copied_reads(trace.spaces.first(), &snapshot, &self.copied_layers(step.parent))? {
            if !coverage.covers(path, Some(content)) {
                all.push(path.clone());
            }
        }
        // Under the usual environment all that is mounted is in the key. No path of the root names what a mount shows.
        let shown = if declared.usual.environment { Vec::new() } else { self.shown_by(run)? };
        for ((mount, shown), space) in shown.iter().zip(trace.spaces.iter().skip(1)) {
            let read = match shown {
                Shown::Context(laid) => {
                    space.reads().filter_map(|path| Some((path, content_of(laid.tree().get(path)?)?))).collect()
                }
                Shown::Stage(snapshot) => {
                    let copied = self.copied_layers(mount.origin.as_ref().and_then(Origin::node));
                    copied_reads(Some(space), snapshot, &copied)?
                }
            };
            let uncovered = read.into_iter().filter(|(_, content)| !coverage.holds(*content));
            all.extend(uncovered.map(|(path, _)| shown.place_of(mount, path)));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The layers of a step and below that COPY and ADD made in this build.
    fn copied_layers(&self, of: Option<NodeId>) -> Vec<LayerId> {
        let mut all = Vec::new();
        let mut next = of;
        while let Some(id) = next {
            let node = self.plan.graph.get(id);
            if let (StepKind::Copy(_), Some(done)) = (&node.kind, self.result(id)) {
                all.extend(done.snapshot.stack().top());
            }
            next = node.parent;
        }
        all
    }

    /// A secret's digest under a key that is the store's own, so that nobody else can try values out.
    fn secret_digest(&self, id: &str) -> Result<Option<String>, Fault> {
        let Some(value) = self.secret(id)? else { return Ok(None) };
        let key = self.store.own_key()?;
        Ok(Some(blake3::keyed_hash(&key, &value).to_hex().to_string()))
    }
}

/// The files that a step read in a space, which is this snapshot, and that one of these layers has; each with its content.
fn copied_reads<'t>(
    space: Option<&'t Space>,
    snapshot: &Snapshot,
    copied: &[LayerId],
) -> Result<Vec<(&'t TreePath, ContentId)>, Fault> {
    let mut all = Vec::new();
    for path in space.into_iter().flat_map(Space::reads) {
        // The topmost layer that has the path; the host's own files were not copied.
        for layer in snapshot.from_top().filter(|layer| !layer.is_host()) {
            let Some(entry) = layer.tree()?.get(path) else { continue };
            all.extend(content_of(entry).filter(|_| copied.contains(&layer.id())).map(|content| (path, content)));
            break;
        }
    }
    Ok(all)
}

fn content_of(entry: &Entry) -> Option<ContentId> {
    match entry.kind {
        Kind::File { content, .. } => Some(content),
        _ => None,
    }
}

/// Whether a step's stated key says that it runs in every build.
pub(super) fn runs_always(step: &Step) -> bool {
    stated(step).is_some_and(|declared| declared.rhythm == Rhythm::Always)
}

/// Whether a step's stated key leaves out what is below it.
pub(super) fn ignores_parent(step: &Step) -> bool {
    stated(step).is_some_and(|declared| declared.usual.parent == Parent::Ignored)
}

/// How a step's layers below count: as usual where it states no key, or one that says so.
pub(super) fn parent(step: &Step) -> Parent {
    match stated(step) {
        None => Parent::Usual,
        // Nothing is looked up for it, by whatever it was seen to read.
        Some(declared) if declared.rhythm == Rhythm::Always => Parent::Whole,
        Some(declared) => declared.usual.parent,
    }
}

/// Whether what a step reads is to be compared with its key.
fn is_checked(declared: &Declared) -> bool {
    let is_said = !declared.parts.is_empty() || declared.usual.environment;
    declared.usual.parent == Parent::Ignored && declared.rhythm == Rhythm::Keyed && is_said
}

/// Some of the paths, those in the working directory as seen from there.
fn paths_words(paths: &[TreePath], workdir: &str) -> String {
    let from = TreePath::new(workdir);
    let word = |path: &TreePath| match path.strip_prefix(&from).filter(|_| !from.is_root()) {
        Some(relative) => relative.display().to_string(),
        None => format!("/{}", path.display()),
    };
    let shown: Vec<String> = paths.iter().take(PATHS_SHOWN).map(word).collect();
    match paths.len().saturating_sub(PATHS_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Whether only the time that a step's stated key allows is over.
pub(super) fn is_time_alone(step: &Step, why: &Why) -> bool {
    let is_time = |label: &str| {
        let mut parts = stated(step).into_iter().flat_map(|declared| &declared.parts);
        parts.any(|part| matches!(part.what, What::Time(_)) && part.label == label)
    };
    why.dragged.is_empty() && !why.changes.is_empty() && why.changes.iter().all(|change| is_time(change.label()))
}

fn stated(step: &Step) -> Option<&Declared> {
    match &step.kind {
        StepKind::Run(run) => run.key.as_deref(),
        _ => None,
    }
}

/// The paths of contexts that a stated key reads, as patterns, each with its context's number.
pub(super) fn context_patterns(declared: &Declared) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for part in &declared.parts {
        match &part.what {
            What::Files { place: Place::Context(id), globs } => {
                all.extend(globs.iter().filter(|glob| !glob.negated).map(|glob| (*id, glob.text.clone())));
            }
            What::Git { context: Some(id), what: Git::Dirty } => all.push((*id, "/".to_owned())),
            What::Absent(path) | What::Data { path, .. } | What::Lines { path, .. } => {
                if let Place::Context(id) = path.place {
                    all.push((id, path.path.display().to_string()));
                }
            }
            _ => {}
        }
    }
    all
}

/// The whole of a file that a key reads.
fn whole(file: File) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_MAX_BYTES {
        true => Err(format!("it is longer than {FILE_MAX_BYTES} bytes").into()),
        false => Ok(bytes),
    }
}

/// What is behind a place.
enum Behind<'a> {
    Snapshot(Snapshot),
    Context(&'a BuildContext),
}

/// What one step's key can read.
struct StepWorld<'a, 'b> {
    steps: &'a Steps<'b>,
    step: &'a Step,
    run: &'a RunStep,
}

impl StepWorld<'_, '_> {
    /// What is behind a place.
    fn behind(&self, place: &Place) -> Behind<'_> {
        match place {
            Place::Snapshot => Behind::Snapshot(self.steps.snapshot(self.step.parent)),
            Place::Step { node, .. } => Behind::Snapshot(self.steps.snapshot(*node)),
            Place::Context(id) => Behind::Context(&self.steps.contexts[*id]),
        }
    }
}

impl World for StepWorld<'_, '_> {
    fn resolve(&self, place: &Place, path: &TreePath) -> Result<TreePath, Fault> {
        Ok(match self.behind(place) {
            Behind::Snapshot(snapshot) => snapshot.resolve(path, true)?,
            Behind::Context(context) => context.tree(self.steps.store)?.resolve(path)?,
        })
    }

    fn entry(&self, place: &Place, path: &TreePath) -> Result<Option<Entry>, Fault> {
        let snapshot = match self.behind(place) {
            Behind::Snapshot(snapshot) => snapshot,
            Behind::Context(context) => return Ok(context.tree(self.steps.store)?.tree.get(path).cloned()),
        };
        let Some(found) = snapshot.lookup(path)?.filter(|_| !path.is_root()) else { return Ok(None) };
        let mut xattrs = found.xattrs;
        let kind = match found.file_type {
            Type::Dir => Kind::Dir { opaque: false },
            Type::Symlink(target) => Kind::Symlink { target },
            Type::File => {
                let file: std::os::fd::OwnedFd = snapshot.open(path)?.into();
                xattrs = stat::xattrs(&file).map_err(io::Error::from)?;
                let (size, content) = stat::hash_file(&file, 0).map_err(io::Error::from)?;
                Kind::File { size, content }
            }
            Type::Other => Kind::Fifo,
        };
        let (mode, uid, gid, mtime) = (found.mode, found.uid, found.gid, found.mtime);
        Ok(Some(Entry { path: path.clone(), kind, mode, uid, gid, xattrs, mtime }))
    }

    fn below(&self, place: &Place, dir: &TreePath) -> Result<Vec<Entry>, Fault> {
        let mut entries = match self.behind(place) {
            Behind::Snapshot(snapshot) => snapshot.tree_below(dir)?.tree.into_entries(),
            Behind::Context(context) => context.tree(self.steps.store)?.tree.below(dir).to_vec(),
        };
        entries.retain(|entry| entry.path != *dir);
        Ok(entries)
    }

    fn read(&self, place: &Place, path: &TreePath) -> Result<Vec<u8>, Fault> {
        whole(match self.behind(place) {
            Behind::Snapshot(snapshot) => snapshot.open(path)?,
            Behind::Context(context) => context.open_file(path)?,
        })
    }

    fn secret(&self, id: &str) -> Result<Option<String>, Fault> {
        self.steps.secret_digest(id)
    }

    fn run(&self, command: &str) -> Result<Vec<u8>, Fault> {
        self.steps.key_command(self.step, self.run, command)
    }

    fn image(&self, name: &str, platform: &Platform) -> Result<Option<String>, Fault> {
        let need =
            ImageNeed { name: name.to_owned(), platform: platform.clone(), span: Default::default(), near: None };
        Ok(self.steps.bases.digest(&need)?)
    }

    fn http(&self, url: &str) -> Result<Option<Vec<u8>>, Fault> {
        let remote = Http { url: url.to_owned(), file_name: ANSWER.to_owned() };
        let source = source::Source::Http(HttpSource { remote, checksum: None, shape: Shape::File });
        match self.steps.fetcher.fetch(&source, &|| ()) {
            Ok(fetched) => whole(Snapshot::of([fetched.layer]).open(&TreePath::new(ANSWER))?).map(Some),
            Err(SourceError::Status { status: 404 | 410, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn git(&self, context: Option<usize>, what: &Git) -> Result<Option<String>, Fault> {
        match context {
            Some(id) => Ok(git::ask(self.steps.contexts[id].root(), what)?),
            None => Ok(None),
        }
    }

    fn now(&self) -> i64 {
        super::steps::nanos_now().div_euclid(1_000_000_000)
    }
}

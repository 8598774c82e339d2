//! One build: from a request to an image in the store, and wherever else it shall go.
//!
//! The way of the data, each part in a file of its own: [`context`] and the Dockerfile are read, the
//! plan is made (asking [`bases`] for images it lacks), [`steps`] settles and runs the graph, and
//! [`finish`] makes the image. Events leave as they happen; nothing is printed.

mod agents;
mod arguments;
mod baseline;
mod bases;
mod bind_mount;
mod binfmt;
mod book;
mod cache_mount;
mod context;
mod copy_step;
mod declared;
mod dockerfile;
mod export;
mod finish;
mod forecast;
mod gather;
mod git;
mod host;
mod includes;
mod keys;
mod layout_base;
mod merge_step;
mod named;
mod outline;
mod reads;
mod record;
mod run_step;
mod secrets;
mod sources;
mod steps;
mod stops;
mod traced;
mod unchanged;
mod walk;
mod wanted;
mod why;
mod workshop;

pub(crate) use bases::OtherPlatform;
pub use host::HostError;
pub use outline::{Outline, OutlineResult, OutlineStep, outline};

use crate::api::{BuildError, Cancel, Entitlement, Outcome, Place, Request, Source};
use crate::event::{Counts, Event, Sink, StepInfo};
use crate::explain::End;
use crate::explain::report::{BuildReport, PathReport};
use crate::explain::secrecy::SecretArguments;
use crate::plan::{self, Images, Options, Plan, PlanError, Planned};
use crate::store::{Store, StoreError};
use crate::tree::TreePath;
pub(crate) use context::BuildContext;
pub use dockerfile::dockerfiles;
pub(crate) use dockerfile::read_dockerfile;
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::extended::Dialect;
use kiln_dsl::platform::Platform;
use kiln_dsl::source::Sources;
use kiln_dsl::span::Span;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A Dockerfile with its text.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// As people know it.
    pub name: String,
    /// Its whole text; once it is parsed, with what it includes.
    pub sources: Sources,
}

impl File {
    /// The file called `name` with this text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let name = name.into();
        File { sources: Sources::new(name.as_str(), text), name }
    }

    /// The file of a place, where that is an included one.
    pub fn included(&self, span: Span) -> Option<String> {
        Some(self.sources.file_of(span)).filter(|name| *name != self.sources.name()).map(str::to_owned)
    }

    /// A line as it is told beside a message: `line 3`, of an included file `common.kiln:3`.
    pub fn line(&self, span: Span) -> String {
        let line = self.sources.line(span);
        self.included(span).map_or_else(|| format!("line {line}"), |name| format!("{name}:{line}"))
    }

    /// In which language it is written. Of an address only the path says it.
    pub fn dialect(&self) -> Dialect {
        let path = match self.name.contains("://") {
            true => self.name.split(['?', '#']).next().unwrap_or_default(),
            false => &self.name,
        };
        Dialect::of_file(Path::new(path))
    }

    /// Why the file cannot be built.
    pub fn findings(&self, diagnostics: Vec<Diagnostic>) -> BuildError {
        BuildError::Diagnostics { sources: Box::new(self.sources.clone()), diagnostics }
    }

    fn place(&self, span: Span) -> Box<Place> {
        let place = |span: Span, trail| {
            let shown = self.sources.shown(span);
            Place { file: shown.name.to_owned(), text: (*shown.text).into(), span: shown.span, trail }
        };
        let trail = self.sources.trail(span).into_iter().map(|(at, words)| (words, place(at, Vec::new())));
        Box::new(place(span, trail.collect()))
    }
}

pub(crate) use copy_step::changed_meanwhile;
pub(crate) use host::layer as host_layer;
pub(crate) use includes::{Includes, read};
pub(crate) use reads::Identity;
pub(crate) use run_step::{account_files, existing, host_overlays};
pub(crate) use stops::Stops;
pub(crate) use walk::{Change, Memories, Memory};
pub(crate) use workshop::Workshop;

/// Builds what `request` asks for.
pub fn build(request: &Request, sink: &dyn Sink, cancel: &Cancel) -> Result<Outcome, BuildError> {
    build_in(&Workshop::new(&request.store, Memories::default()), request, sink, cancel, None)
}

/// Builds with what other builds of this process left in `shop`. With `stops`, single steps can be stopped.
pub(crate) fn build_in(
    shop: &Workshop,
    request: &Request,
    sink: &dyn Sink,
    cancel: &Cancel,
    stops: Option<&Stops>,
) -> Result<Outcome, BuildError> {
    let started = Instant::now();
    let request = &*arguments::applied(request)?;
    let store = shop.store().map_err(|error: StoreError| store_error(&request.store, error))?;
    // Before the first look-up: what is found from here on is found again as long as this is the epoch.
    let epoch = store.db().epoch().map_err(|error| store_error(&request.store, error))?;
    let secrets = |id: &str| sources::secret(request, id);
    let agents = agents::Agents::new(request);
    let fetcher = sources::fetcher(request, store, &secrets, &agents, cancel);
    let gathered = gather::gather(request, store, &fetcher, &shop.memories)?;
    let gather::Gathered { mut file, contexts, main, named, project, includes } = gathered;
    let begun = record::Begun::new(started, project);
    let options = options(request, main, named);
    let parsed = includes::parse(&mut file, &includes);
    shop.set_included(includes.asked());
    let parsed = parsed?;
    let bases = bases::Bases::new(request, store, sink, &file);
    // What is watched is known without.
    let asked = if shop.is_lasting() { None } else { unchanged::asked(request, &file) };
    if let Some(asked) = asked.filter(|asked| asked.may_be_told && !cancel.is_cancelled()) {
        let parts =
            unchanged::Parts { request, store, sink, file: &file, contexts: &contexts, bases: &bases, begun: &begun };
        if let Some(unchanged) = unchanged::find(parts, asked).map_err(|error| store_error(&request.store, error))? {
            let outcome = unchanged.tell()?;
            tell_unkept(unchanged.record(&outcome), sink);
            return Ok(outcome);
        }
    }
    let told = unchanged::Told::new(sink);
    let sheets = wanted::sheets(request, &options, parsed, &file)?;
    let request = &*wanted::stages_named(request, &sheets, &file)?;
    let (plan, images) = make_plan(&sheets, &bases, &file, &told)?;
    let groups = wanted::groups(request, &sheets, &plan)?;
    finish::check_names(request)?;
    binfmt::check(&plan, &file)?;
    for message in arguments::notes(request, sheets.iter().map(|sheet| &sheet.document), &plan) {
        told.emit(Event::Warning { message });
    }
    let local = contexts.first().filter(|_| options.main == plan::ContextBase::Local(plan::ContextId(0)));
    tell_findings(&sheets, &images, local, &file, &told)?;
    let seen = asked.map(|asked| unchanged::Seen { asked, epoch, images: images.clone(), warnings: told.warnings() });
    shop.set_planned(workshop::Planned { reads: reads::Reads::of(&plan), options, images });
    let baseline = baseline::Baseline::load(store, begun.project, request, &plan, &file);
    let book = book::Book::new(&plan, &file, sink, secret_arguments(request));
    sink.emit(announce(&plan, &file, &begun));
    let parts = steps::Parts {
        request,
        store,
        sink,
        cancel,
        stops,
        failures: shop.failures.as_ref(),
        file: &file,
        plan: &plan,
        contexts: &contexts,
        bases: &bases,
        fetcher: &fetcher,
        agents: &agents,
        book: &book,
        baseline: &baseline,
        begun: &begun,
    };
    let steps = steps::Steps::new(parts);
    let result = run(request, store, (&plan, &groups), &steps, started);
    let result = result.map_err(|error| named::named(error, &steps.secrets));
    let replay = match (seen, &result) {
        (Some(seen), Ok(outcome)) => unchanged::replay(seen, request, store, (&plan, &contexts), &steps, outcome),
        _ => None,
    };
    let planned = (&plan, &file, contexts.as_slice());
    tell_unkept(record::write(&begun, request, store, planned, (&book, &baseline), (&result, replay)), sink);
    result
}

/// Says that the record of a build could not be written. The image is there: what explains it is worth a warning, and no
/// failure.
fn tell_unkept(written: Result<(), StoreError>, sink: &dyn Sink) {
    let Err(error) = written else { return };
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let words: Vec<String> = causes.map(ToString::to_string).collect();
    sink.emit(Event::Warning { message: format!("this build cannot be explained later: {}", words.join(": ")) });
}

/// The steps of the newest plan that the Dockerfile, as it is now, has no more; `None` where that cannot be said
/// without asking elsewhere.
pub(crate) fn no_longer_planned(shop: &Workshop, request: &Request) -> Option<HashSet<usize>> {
    let known = shop.planned()?;
    let crate::api::Context::Directory(root) = &request.context else { return None };
    let request = &*arguments::applied(request).ok()?;
    let (path, mut file) = read_dockerfile(root, request.dockerfile.as_deref()).ok()?;
    let parsed = includes::parse(&mut file, &Includes::of_host(root, &path)).ok()?;
    let sheets = wanted::sheets(request, &known.options, parsed, &file).ok()?;
    let wanted: Vec<plan::Wanted<'_>> = sheets.iter().map(wanted::Sheet::wanted).collect();
    match plan::plan(&wanted, &known.images) {
        Ok(Planned::Plan(plan, _)) => Some(known.reads.without(&reads::Reads::of(&plan))),
        Ok(Planned::Needs(_)) | Err(_) => None,
    }
}

/// Says what building `request` would do, if `changed` paths of the context were edited too. Runs nothing and
/// writes nothing.
pub fn plan(
    request: &Request,
    changed: &[PathBuf],
    sink: &dyn Sink,
    cancel: &Cancel,
) -> Result<BuildReport, BuildError> {
    let store_failed = |error: StoreError| store_error(&request.store, error);
    if !request.store.join("VERSION").exists() {
        // A store that is not there is an empty one, and planning makes none.
        let empty = tempfile::tempdir().map_err(|source| {
            store_failed(StoreError::Io {
                action: "failed to make a directory for",
                path: request.store.clone(),
                source,
            })
        })?;
        Store::open(empty.path()).map_err(store_failed)?;
        return plan(&Request { store: empty.path().to_path_buf(), ..request.clone() }, changed, sink, cancel);
    }
    let started = Instant::now();
    let request = &*arguments::applied(request)?;
    let store = Store::open_frozen(&request.store).map_err(store_failed)?;
    let secrets = |id: &str| sources::secret(request, id);
    let agents = agents::Agents::new(request);
    let fetcher = sources::fetcher(request, &store, &secrets, &agents, cancel);
    let gathered = gather::gather(request, &store, &fetcher, &Memories::default())?;
    let gather::Gathered { mut file, mut contexts, main, named, project, includes } = gathered;
    let options = options(request, main, named);
    let parsed = includes::parse(&mut file, &includes)?;
    let sheets = wanted::sheets(request, &options, parsed, &file)?;
    let request = &*wanted::stages_named(request, &sheets, &file)?;
    let bases = bases::Bases::new(request, &store, sink, &file);
    let (plan, _) = make_plan(&sheets, &bases, &file, sink)?;
    wanted::groups(request, &sheets, &plan)?;
    let root = match &request.context {
        crate::api::Context::Directory(root) => root.as_path(),
        _ => Path::new("/"),
    };
    let paths: Vec<TreePath> = changed.iter().map(|path| in_context(root, path)).collect();
    if let Some(context) = contexts.first_mut() {
        context.pretend_changed(paths.clone());
    }
    let begun = record::Begun::new(started, project);
    let baseline = baseline::Baseline::load(&store, begun.project, request, &plan, &file);
    // The steps' endings are the answer; as events they would be taken for a build.
    let book = book::Book::new(&plan, &file, &Silent, secret_arguments(request));
    let parts = steps::Parts {
        request,
        store: &store,
        sink,
        cancel,
        stops: None,
        failures: None,
        file: &file,
        plan: &plan,
        contexts: &contexts,
        bases: &bases,
        fetcher: &fetcher,
        agents: &agents,
        book: &book,
        baseline: &baseline,
        begun: &begun,
    };
    let steps = steps::Steps::new(parts);
    steps.forecast().map_err(|error| named::named(error, &steps.secrets))?;
    let (build, _) = record::build(&begun, request, (&plan, &file, &contexts), (&book, &baseline), End::Built);
    let mut report = BuildReport::new(&build).planned();
    for path in paths {
        let name = path.display().to_string();
        let reads = |file: &PathReport| TreePath::new(&file.path).starts_with(&path);
        let changes = report.steps.iter().flat_map(|step| &step.why.changes);
        if !changes.filter_map(|change| change.files.as_ref()).any(|files| files.paths.iter().any(reads)) {
            report.notes.push(format!("no step reads {name}"));
        }
    }
    Ok(report)
}

/// A path of the host as one of the context in `root`.
fn in_context(root: &Path, path: &Path) -> TreePath {
    use std::os::unix::ffi::OsStrExt as _;
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let inside = absolute(path).strip_prefix(absolute(root)).map(Path::to_path_buf);
    // What is not below the context from here is meant from there.
    TreePath::new(inside.as_deref().unwrap_or(path).as_os_str().as_bytes())
}

/// The values of a request's arguments that are told by the arguments' names.
fn secret_arguments(request: &Request) -> SecretArguments {
    SecretArguments::of(&request.build_args)
}

struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}

/// Runs the steps, and makes the image of them.
fn run(
    request: &Request,
    store: &Store,
    (plan, groups): (&Plan, &[wanted::Group]),
    steps: &steps::Steps<'_>,
    started: Instant,
) -> Result<Outcome, BuildError> {
    if let Err(error) = steps.execute() {
        // What was made before the failure is kept; a failed write must not hide the failure.
        let _ = store.flush();
        return Err(error);
    }
    let exports = export::find(plan, steps)?;
    let results = finish::finish(request, store, (plan, groups), steps)?;
    let unstable = steps.book.unstable();
    if request.verify && !unstable.is_empty() {
        let _ = store.flush();
        return Err(BuildError::NotDeterministic { steps: unstable });
    }
    store.flush().map_err(|error| store_error(&request.store, error))?;
    export::write(request, plan, steps, &exports)?;
    Ok(Outcome { results, counts: steps.book.counts(), duration: started.elapsed().as_secs_f64() })
}

fn store_error(store: &Path, error: StoreError) -> BuildError {
    BuildError::Store { path: store.to_path_buf(), source: Box::new(error) }
}

pub(crate) fn open_context(root: &Path, dockerfile: &Path, memory: Memory) -> Result<BuildContext, BuildError> {
    BuildContext::open(root, dockerfile, memory).map_err(|error| match error {
        context::ContextError::Read { path, source } => BuildError::Context { path, source },
        context::ContextError::Ignore { ref path, .. } => {
            BuildError::Context { path: path.clone(), source: std::io::Error::other(error) }
        }
    })
}

fn context_name(root: &Path) -> String {
    std::fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf()).display().to_string()
}

/// What is the same for all that a request wants.
fn options(request: &Request, main: plan::ContextBase, contexts: Vec<(String, plan::ContextBase)>) -> Options {
    Options {
        build_args: request.build_args.clone(),
        labels: request.labels.clone(),
        offline: request.network == crate::api::NetworkMode::None,
        main,
        contexts,
        allowed: plan::Allowed {
            network_host: request.network == crate::api::NetworkMode::Host
                || request.allow.contains(&Entitlement::NetworkHost),
            insecure: request.allow.contains(&Entitlement::SecurityInsecure),
        },
        ..Options::new(Platform::host())
    }
}

/// Plans, fetching what is known of images until nothing is missing.
fn make_plan(
    sheets: &[wanted::Sheet],
    bases: &bases::Bases<'_>,
    file: &File,
    sink: &dyn Sink,
) -> Result<(Plan, Images), BuildError> {
    let (plan, images, findings) = planned(sheets, file, |need| bases.resolve(need))?;
    for finding in findings {
        sink.emit(Event::Warning { message: finding_words(&finding, file) });
    }
    Ok((plan, images))
}

/// Plans, asking `resolve` of images until nothing is missing; gives what is known of them then, and findings that do
/// not stop the plan.
fn planned(
    sheets: &[wanted::Sheet],
    file: &File,
    mut resolve: impl FnMut(&plan::ImageNeed) -> Result<plan::KnownImage, BuildError>,
) -> Result<(Plan, Images, Vec<Diagnostic>), BuildError> {
    let mut images = Images::new();
    let wanted: Vec<plan::Wanted<'_>> = sheets.iter().map(wanted::Sheet::wanted).collect();
    loop {
        match plan::plan(&wanted, &images) {
            Ok(Planned::Plan(plan, findings)) => return Ok((*plan, images, findings)),
            Ok(Planned::Needs(needs)) => {
                for need in needs {
                    let known = resolve(&need)?;
                    images.insert((need.name, need.platform), known);
                }
            }
            Err(PlanError::Findings(diagnostics)) => return Err(file.findings(diagnostics)),
            Err(PlanError::UnknownTarget { name, stages }) => {
                return Err(BuildError::UnknownTarget { name, file: file.name.clone(), stages });
            }
        }
    }
}

/// Says what the build checks find in the stages that are built; an error where the file allows no finding.
fn tell_findings(
    sheets: &[wanted::Sheet],
    images: &Images,
    context: Option<&BuildContext>,
    file: &File,
    sink: &dyn Sink,
) -> Result<(), BuildError> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut violations = Vec::new();
    for sheet in sheets {
        for stage in sheet.checked_stages() {
            let (found, violated) = crate::check::warnings(&sheet.parsed, &sheet.options, stage, images, context);
            // What is found for two results is told once.
            let is_new = |one: &Diagnostic| {
                !findings.iter().any(|other| (other.span, &other.message) == (one.span, &one.message))
            };
            let found: Vec<Diagnostic> = found.into_iter().filter(is_new).collect();
            findings.extend(found);
            violations.extend(violated);
        }
    }
    findings.sort_by_key(|found| found.span.start);
    violations.dedup();
    for finding in &findings {
        // The form of Docker's warnings.
        let line = file.line(finding.span);
        sink.emit(Event::Warning { message: format!("{}: {} ({line})", finding.code, finding.message) });
    }
    if violations.is_empty() {
        return Ok(());
    }
    let rules = violations.into_iter().map(kiln_dsl::check::Rule::name).collect();
    Err(BuildError::Violations { file: file.name.clone(), rules })
}

fn finding_words(finding: &Diagnostic, file: &File) -> String {
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    };
    let (name, line) = (file.sources.file_of(finding.span), file.sources.line(finding.span));
    format!("{name}:{line}: {word}: {}", finding.message)
}

fn announce(plan: &Plan, file: &File, begun: &record::Begun) -> Event {
    let steps = plan
        .shown
        .iter()
        .map(|shown| StepInfo {
            name: shown.name.clone(),
            stage: shown.stage.clone(),
            instruction: shown.instruction.clone(),
            line: shown.line,
            file: file.included(shown.span),
            platform: shown.lane.clone(),
        })
        .collect();
    Event::BuildStarted { build: begun.id.to_string(), steps }
}

/// An error of another module, as a cause.
fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> Source {
    Box::new(error)
}

/// Counts with nothing in them but the number of steps.
fn no_counts(steps: usize) -> Counts {
    Counts { steps, ..Counts::default() }
}

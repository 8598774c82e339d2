//! The loop: one thread that owns all state, fed by events, by builds that end and by the clock.

use super::debounce::Debounce;
use super::eyes::{Eyes, Seen};
use super::files::{Files, Role};
use super::place::Place;
use super::{Driver, Ended, Options};
use crate::api::{BuildError, Context, Destination, NamedContext, Outcome, Output, Request};
use crate::build::{
    Change, Identity, Memories, Stops, Workshop, build_in, changed_meanwhile, dockerfiles, no_longer_planned,
};
use crate::cancel::Cancel;
use crate::container::Runner;
use crate::image::output::TEMPORARY_PREFIX;
use crate::tree::TreePath;
use crate::tree::refresh::Depth;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// How often everything is looked at where the kernel cannot watch.
const POLL: Duration = Duration::from_secs(1);

/// How long git may hold its index: a checkout of many files is one change.
const GIT_LOCK_MAX: Duration = Duration::from_secs(10);

/// A step that was stopped so often in a row for newer states may end.
const MOST_STOPS: u32 = 2;

enum Message {
    Seen(Seen),
    /// A build has scanned the context.
    Scanned,
    Built(Box<Result<Outcome, BuildError>>),
    Interrupted,
}

/// Builds, and builds again whenever something has changed that is built from. Returns when `cancel` is used, or
/// with [`Options::once`] after the first rebuild, with that build's result.
///
/// # Errors
/// The build that [`Options::once`] waits for failed, or no thread or descriptor is left.
pub fn watch(driver: &dyn Driver, options: &Options, cancel: &Cancel) -> Result<(), BuildError> {
    let (sender, messages) = mpsc::channel();
    let done = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| no_thread(errno.into()))?;
    std::thread::scope(|scope| {
        let interrupted = sender.clone();
        std::thread::Builder::new()
            .name("kiln-interrupt".to_owned())
            .spawn_scoped(scope, || wait_for_interrupt(cancel, &done, interrupted))
            .map_err(no_thread)?;
        let result = Loop::new(scope, driver, options, sender).run(&messages);
        let _ends_the_thread = rustix::io::write(&done, &1u64.to_ne_bytes());
        result
    })
}

fn no_thread(source: io::Error) -> BuildError {
    BuildError::Step { step: "watching".to_owned(), place: None, source: Box::new(source) }
}

fn wait_for_interrupt(cancel: &Cancel, done: &OwnedFd, tell: mpsc::Sender<Message>) {
    loop {
        let mut both = [PollFd::new(cancel, PollFlags::IN), PollFd::new(done, PollFlags::IN)];
        match poll(&mut both, None) {
            Err(rustix::io::Errno::INTR) => {}
            _ => break,
        }
    }
    if cancel.is_cancelled() {
        let _gone = tell.send(Message::Interrupted);
    }
    drop(tell);
}

/// A build that runs.
struct Building {
    stops: Arc<Stops>,
    cancel: Cancel,
    superseded: bool,
}

struct Loop<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    driver: &'env dyn Driver,
    options: &'env Options,
    sender: mpsc::Sender<Message>,
    shop: Option<Arc<Workshop>>,
    memories: Memories,
    request: Option<Request>,
    /// The contexts that are directories, by their numbers in a plan.
    places: Vec<Place>,
    eyes: Option<Eyes>,
    /// How often everything is looked at, where that has to be.
    poll: Option<Duration>,
    files: Files,
    /// What builds write: no change there is one.
    written: Vec<PathBuf>,
    debounce: Debounce,
    /// Since when git has been waited for.
    held: Option<Instant>,
    files_dirty: bool,
    building: Option<Building>,
    /// A build has to follow the one that runs.
    again: bool,
    /// How often in a row each step was stopped.
    stopped: HashMap<Identity, u32>,
    builds: u64,
    /// The last build that was not given up has failed.
    failed: bool,
}

impl<'scope, 'env> Loop<'scope, 'env> {
    fn new(
        scope: &'scope Scope<'scope, 'env>,
        driver: &'env dyn Driver,
        options: &'env Options,
        sender: mpsc::Sender<Message>,
    ) -> Self {
        let scanned = std::sync::Mutex::new(sender.clone());
        let memories = Memories::telling(move || {
            let sender = scanned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _gone = sender.send(Message::Scanned);
        });
        Loop {
            scope,
            driver,
            options,
            sender,
            shop: None,
            memories,
            request: None,
            places: Vec::new(),
            eyes: None,
            poll: options.poll,
            files: Files::default(),
            written: Vec::new(),
            debounce: Debounce::new(options.debounce),
            held: None,
            files_dirty: false,
            building: None,
            again: false,
            stopped: HashMap::new(),
            builds: 0,
            failed: false,
        }
    }

    fn run(mut self, messages: &mpsc::Receiver<Message>) -> Result<(), BuildError> {
        if self.poll.is_none() {
            self.open_eyes();
        }
        self.build()?;
        loop {
            let now = Instant::now();
            let deadline = [self.debounce.deadline(), self.poll.map(|poll| now + poll)].into_iter().flatten().min();
            let message = match deadline {
                Some(deadline) => messages.recv_timeout(deadline.saturating_duration_since(now)),
                None => messages.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Seen(seen)) => self.seen(seen),
                Ok(Message::Scanned) => self.look(),
                Ok(Message::Built(result)) => {
                    if let Some(end) = self.built(*result)? {
                        return end;
                    }
                }
                Ok(Message::Interrupted) => {
                    self.stop(messages);
                    return Ok(());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.poll.is_some() && self.debounce.deadline().is_none() {
                        self.everything_is_dirty();
                        self.check()?;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.debounce.is_over(Instant::now()) && !self.is_held() {
                self.check()?;
            }
        }
    }

    fn open_eyes(&mut self) {
        let tell = std::sync::Mutex::new(self.sender.clone());
        let opened = Eyes::open(move |seen| {
            let tell = tell.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _gone = tell.send(Message::Seen(seen));
        });
        match opened {
            Ok(eyes) => self.eyes = Some(eyes),
            Err(blind) => self.go_blind(&blind.to_string()),
        }
    }

    /// The kernel does not watch: everything is looked at again and again.
    fn go_blind(&mut self, reason: &str) {
        self.eyes = None;
        self.poll = Some(POLL);
        self.driver.note(&format!("{reason}: looking for changes every {} s instead", POLL.as_secs()));
    }

    /// Takes events in.
    fn seen(&mut self, seen: Seen) {
        let mut counts = false;
        match seen {
            Seen::Missed => {
                self.everything_is_dirty();
                counts = true;
            }
            Seen::Paths(paths) => {
                for (path, depth) in paths {
                    counts |= self.mark(&path, depth);
                }
            }
        }
        if counts {
            self.debounce.event(Instant::now());
        }
    }

    /// Marks a path dirty; says whether it may matter at all.
    fn mark(&mut self, path: &Path, depth: Depth) -> bool {
        if self.is_own(path) {
            return false;
        }
        let concerns = self.files.may_concern(path);
        self.files_dirty |= concerns;
        if depth == Depth::All
            && let Some(eyes) = &mut self.eyes
            && let Err(blind) = eyes.forget(path)
        {
            self.go_blind(&blind.to_string());
        }
        let mut counts = concerns;
        for place in &mut self.places {
            let marked = place.mark(path, depth, self.failed);
            // A root that is another directory by now may have other files beside the context too.
            self.files_dirty |= marked && path == place.root();
            counts |= marked;
        }
        counts
    }

    fn everything_is_dirty(&mut self) {
        self.files_dirty = true;
        self.places.iter_mut().for_each(Place::mark_all);
    }

    /// Whether a path is one that builds write, or a file that becomes one.
    fn is_own(&self, path: &Path) -> bool {
        let beside = |own: &PathBuf| {
            let name = path.file_name().unwrap_or_default().as_bytes();
            own.parent() == path.parent() && name.starts_with(TEMPORARY_PREFIX.as_bytes())
        };
        self.written.iter().any(|own| path.starts_with(own) || beside(own))
    }

    /// Whether git is in the middle of something: then a little more is to come.
    fn is_held(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.held.get_or_insert(now);
        let is_locked = || self.places.iter().any(|place| place.root().join(".git/index.lock").exists());
        let held = now - since < GIT_LOCK_MAX && is_locked();
        match held {
            true => self.debounce.hold(now),
            false => self.held = None,
        }
        held
    }

    /// Looks at what may have changed, and builds if it has.
    fn check(&mut self) -> Result<(), BuildError> {
        let mut paths: Vec<PathBuf> = Vec::new();
        let mut worth = false;
        let mut stale: Option<HashSet<usize>> = Some(HashSet::new());
        if std::mem::take(&mut self.files_dirty) {
            for (role, path) in self.files.changed() {
                worth = true;
                stale = stale.and_then(|stale| Some(&stale | &self.stale_by(role)?));
                if role == Role::Root {
                    self.request = None;
                }
                paths.push(path);
            }
        }
        for number in 0..self.places.len() {
            let store = self.shop.as_ref().and_then(|shop| shop.store().ok());
            match self.places[number].look(store, self.failed) {
                Change::Paths(mut changed) => {
                    let place = &self.places[number];
                    changed.retain(|path| !self.is_own(&place.at(path)));
                    let affected = self.affected(number, &changed);
                    if !changed.is_empty() && affected.as_ref().is_none_or(|affected| !affected.is_empty()) {
                        worth = true;
                        paths.extend(changed.iter().map(|path| place.shown(path)));
                    }
                    stale = stale.and_then(|stale| Some(&stale | &affected?));
                }
                Change::Lost => {
                    worth = true;
                    stale = None;
                }
            }
        }
        self.look();
        if worth {
            paths.sort();
            paths.dedup();
            self.driver.changed(&paths);
            self.supersede(stale.as_ref());
            self.build()?;
        }
        Ok(())
    }

    /// The steps that changed paths of a context make worthless; `None` where that cannot be said.
    fn affected(&self, number: usize, changed: &[TreePath]) -> Option<HashSet<usize>> {
        let planned = self.shop.as_ref()?.planned()?;
        Some(planned.reads.affected(number, changed, self.places[number].has_links()))
    }

    /// The steps that a changed file beside the contexts makes worthless; `None` where that cannot be said.
    fn stale_by(&self, role: Role) -> Option<HashSet<usize>> {
        let shop = self.shop.as_ref()?;
        match role {
            Role::Dockerfile => no_longer_planned(shop, self.request.as_ref()?),
            Role::Ignore(number) => Some(shop.planned()?.reads.readers_of(number)),
            Role::Commit(_) => Some(shop.planned()?.reads.askers()),
            Role::Root | Role::Other => None,
        }
    }

    /// Gives the running build up for a newer state: steps that it has made worthless are stopped, others may end.
    fn supersede(&mut self, stale: Option<&HashSet<usize>>) {
        let Some(building) = &mut self.building else { return };
        building.superseded = true;
        let planned = self.shop.as_ref().and_then(|shop| shop.planned());
        let name = |step: usize| planned.as_ref().map(|planned| planned.reads.identity(step)).unwrap_or_default();
        let stopped = &mut self.stopped;
        let worthless = |step: usize| {
            let often = stopped.get(&name(step)).copied().unwrap_or_default();
            stale.is_none_or(|stale| stale.contains(&step)) && often < MOST_STOPS
        };
        let now: Vec<Identity> = building.stops.supersede(&worthless).into_iter().map(name).collect();
        stopped.retain(|step, _| now.contains(step));
        for step in now {
            *stopped.entry(step).or_default() += 1;
        }
    }

    /// Watches what the plan can read by now; what was not watched before is looked at again.
    fn look(&mut self) {
        let Some(eyes) = &mut self.eyes else { return };
        let mut wanted = self.files.directories();
        for place in &self.places {
            wanted.extend(place.root().parent().map(Path::to_path_buf));
            match place.directories() {
                Some(directories) => wanted.extend(directories),
                // Not known at the moment: what was watched is watched on.
                None => wanted.extend(eyes.watched().filter(|dir| dir.starts_with(place.root())).cloned()),
            }
        }
        let new = match eyes.watch(wanted) {
            Ok(new) => new,
            Err(blind) => {
                self.go_blind(&blind.to_string());
                return;
            }
        };
        if new.is_empty() {
            return;
        }
        self.files_dirty = true;
        for dir in new {
            self.places.iter_mut().for_each(|place| place.mark_new(&dir));
        }
        // As soon as possible: nothing says that more is to come.
        self.debounce.event(Instant::now());
    }

    /// Builds, now or after the build that runs.
    fn build(&mut self) -> Result<(), BuildError> {
        if self.building.is_some() {
            self.again = true;
            return Ok(());
        }
        self.again = false;
        let Some(request) = self.driver.request() else { return Ok(()) };
        self.prepare(&request);
        let Some(shop) = self.shop.clone() else { return Ok(()) };
        let stops = Arc::new(Stops::default());
        let cancel = Cancel::new().map_err(no_thread)?;
        let building = Building { stops: stops.clone(), cancel: cancel.clone(), superseded: false };
        let (sender, sink) = (self.sender.clone(), self.driver.begin());
        let work = move || {
            let result = build_in(&shop, &request, &*sink, &cancel, Some(&stops));
            drop(sink);
            let _gone = sender.send(Message::Built(Box::new(result)));
        };
        std::thread::Builder::new().name("kiln-build".to_owned()).spawn_scoped(self.scope, work).map_err(no_thread)?;
        self.building = Some(building);
        self.builds += 1;
        Ok(())
    }

    /// Notes what a request is about, before its build begins.
    fn prepare(&mut self, request: &Request) {
        if self.shop.is_none() || self.request.as_ref().is_some_and(|known| known.store != request.store) {
            self.shop = Some(Arc::new(Workshop::new(&request.store, self.memories.clone()).lasting()));
        }
        if self.request.as_ref() == Some(request) {
            return;
        }
        let here = PathBuf::from(".");
        let root = match &request.context {
            Context::Directory(root) => root,
            // What is elsewhere tells nobody; its Dockerfile may be here.
            Context::Stdin | Context::Remote(_) => &here,
        };
        let directory = |(name, context): &(String, NamedContext)| match context {
            NamedContext::Directory(path) => Some((Some(name.clone()), path.clone())),
            _ => None,
        };
        // In the order in which a build numbers them.
        let named = request.contexts.iter().filter_map(directory);
        let all: Vec<(Option<String>, PathBuf)> = [(None, root.clone())].into_iter().chain(named).collect();
        let mut files: Vec<(Role, PathBuf)> = Vec::new();
        for path in dockerfiles(root, request.dockerfile.as_deref()) {
            files.push((Role::Ignore(0), PathBuf::from(format!("{}.dockerignore", path.display()))));
            files.push((Role::Dockerfile, path));
        }
        self.places.clear();
        for (number, (name, path)) in all.into_iter().enumerate() {
            files.push((Role::Ignore(number), path.join(".dockerignore")));
            files.push((Role::Root, path.clone()));
            files.push((Role::Commit(number), path.clone()));
            let memory = match &name {
                Some(name) => self.memories.named(name),
                None => self.memories.main(),
            };
            self.places.push(Place::new(&path, name.is_some(), memory));
        }
        files.extend(self.driver.files().into_iter().map(|path| (Role::Other, path)));
        self.files = Files::of(files);
        self.written = request.outputs.iter().filter_map(destination).chain(self.driver.written()).collect();
        for path in &mut self.written {
            *path = without_links(path);
        }
        self.request = Some(request.clone());
        self.look();
    }

    /// A build has ended; with a result where watching ends with it.
    fn built(&mut self, result: Result<Outcome, BuildError>) -> Result<Option<Result<(), BuildError>>, BuildError> {
        let superseded = self.building.take().is_some_and(|building| building.superseded);
        let included = self.shop.as_ref().map(|shop| shop.included()).unwrap_or_default();
        if self.files.extend(included) {
            // They may have changed since they were read, unseen.
            self.files_dirty = true;
            self.debounce.event(Instant::now());
            self.look();
        }
        let moved = result.as_ref().is_err_and(changed_meanwhile);
        if superseded || moved {
            if moved && !self.again {
                // The event of it may be on its way still.
                for place in &mut self.places {
                    place.mark_all();
                    place.look(self.shop.as_ref().and_then(|shop| shop.store().ok()), self.failed);
                }
            }
            self.tell(Ended::Superseded);
            self.build()?;
            return Ok(None);
        }
        self.stopped.clear();
        self.failed = result.is_err();
        let planned = self.shop.as_ref().and_then(|shop| shop.planned());
        self.files.count_commits(planned.is_some_and(|planned| !planned.reads.askers().is_empty()));
        self.look();
        let last = self.options.once && self.builds > 1;
        let failed = last && result.is_err();
        if failed {
            return Ok(Some(result.map(|_| ())));
        }
        if let (Ok(_), Some(Ok(store))) = (&result, self.shop.as_ref().map(|shop| shop.store())) {
            // What the next build needs it pins itself.
            let _ = store.release_pins();
        }
        self.tell(Ended::Whole(result));
        if last {
            return Ok(Some(Ok(())));
        }
        if self.again {
            self.build()?;
        }
        Ok(None)
    }

    fn tell(&self, ended: Ended) {
        if let Some(shop) = &self.shop {
            self.driver.ended(ended, &Runner::of(shop.clone()));
        }
    }

    /// Ends everything that runs.
    fn stop(&mut self, messages: &mpsc::Receiver<Message>) {
        let Some(building) = self.building.take() else { return };
        building.cancel.cancel();
        building.stops.supersede(&|_| true);
        while let Ok(message) = messages.recv() {
            if let Message::Built(_) = message {
                return;
            }
        }
    }
}

/// Where an output goes, if that is a path.
fn destination(output: &Output) -> Option<PathBuf> {
    match output {
        Output::Oci { dest, .. } | Output::Docker { dest } | Output::Tar { dest } => match dest {
            Destination::Path(path) => Some(path.clone()),
            Destination::Stdout => None,
        },
        Output::Local { dest } => Some(dest.clone()),
    }
}

/// The path as events name it, even if nothing is there yet.
fn without_links(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = std::fs::canonicalize(parent).unwrap_or_else(|_| parent.to_path_buf());
    path.file_name().map_or(parent.clone(), |name| parent.join(name))
}

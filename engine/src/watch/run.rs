//! The loop: one thread that owns all state, fed by events, by builds that end and by the clock.

use super::debounce::Debounce;
use super::eyes::{Eyes, Seen};
use super::files::Files;
use super::{Driver, Ended, Options};
use crate::api::{BuildError, Context, Destination, Outcome, Output, Request};
use crate::build::{Change, Memory, Stops, Workshop, build_in, changed_meanwhile, dockerfiles};
use crate::cancel::Cancel;
use crate::container::Runner;
use crate::image::output::TEMPORARY_PREFIX;
use crate::tree::refresh::{Depth, Dirty};
use crate::tree::{Kind, TreePath};
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
    memory: Memory,
    request: Option<Request>,
    /// The context's directory, without links.
    root: PathBuf,
    eyes: Option<Eyes>,
    /// How often everything is looked at, where that has to be.
    poll: Option<Duration>,
    files: Files,
    /// What builds write: no change there is one.
    written: Vec<PathBuf>,
    debounce: Debounce,
    /// Since when git has been waited for.
    held: Option<Instant>,
    dirty: Dirty,
    all_dirty: bool,
    files_dirty: bool,
    building: Option<Building>,
    /// A build has to follow the one that runs.
    again: bool,
    /// How often in a row each step was stopped.
    stopped: HashMap<usize, u32>,
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
        let memory = Memory::telling(move || {
            let sender = scanned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _gone = sender.send(Message::Scanned);
        });
        Loop {
            scope,
            driver,
            options,
            sender,
            shop: None,
            memory,
            request: None,
            root: PathBuf::new(),
            eyes: None,
            poll: options.poll,
            files: Files::default(),
            written: Vec::new(),
            debounce: Debounce::new(options.debounce),
            held: None,
            dirty: Dirty::new(),
            all_dirty: false,
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
                        (self.all_dirty, self.files_dirty) = (true, true);
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
                (self.all_dirty, self.files_dirty, counts) = (true, true, true);
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
        if path == self.root {
            // Deleted, or made again; of its own attributes nothing is built.
            let is_other = depth == Depth::All;
            self.all_dirty |= is_other;
            self.files_dirty |= is_other;
            return is_other;
        }
        let Ok(below) = path.strip_prefix(&self.root) else { return concerns };
        let path = TreePath::new(below.as_os_str().as_bytes());
        let kept = self.memory.lock();
        let Some(kept) = kept.as_ref() else {
            // A build that failed to read the context is tried again with whatever happens in it.
            self.all_dirty |= self.failed;
            return concerns || self.failed;
        };
        let out = |dir: &TreePath| kept.walk.choose(dir, true) == crate::tree::scan::Choice::Skip;
        if path.ancestors().iter().filter(|dir| !dir.is_root()).any(out) {
            return concerns;
        }
        let is_out = |is_dir| kept.walk.choose(&path, is_dir) == crate::tree::scan::Choice::Skip;
        if is_out(false) && is_out(true) {
            return concerns;
        }
        let known = self.dirty.entry(path).or_insert(depth);
        *known = (*known).max(depth);
        true
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
        let held = now - since < GIT_LOCK_MAX && self.root.join(".git/index.lock").exists();
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
            let changed = self.files.changed();
            if !changed.is_empty() {
                worth = true;
                stale = None;
            }
            paths.extend(changed);
        }
        let dirty = std::mem::take(&mut self.dirty);
        let change = match std::mem::take(&mut self.all_dirty) {
            true => self.rescan(),
            false if dirty.is_empty() => Change::Paths(Vec::new()),
            false => self.memory.refresh(&dirty),
        };
        match change {
            Change::Paths(mut changed) => {
                changed.retain(|path| !self.is_own(&self.root.join(std::ffi::OsStr::from_bytes(path.as_bytes()))));
                let affected = self.affected(&changed);
                if !changed.is_empty() && affected.as_ref().is_none_or(|affected| !affected.is_empty()) {
                    worth = true;
                    paths
                        .extend(changed.iter().map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()))));
                }
                stale = stale.and_then(|stale| Some(stale.union(&affected?).copied().collect()));
            }
            Change::Lost => {
                worth = true;
                stale = None;
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

    fn rescan(&mut self) -> Change {
        if self.memory.lock().is_none() {
            // Nothing of the context was built from, unless that was what failed.
            return if self.failed { Change::Lost } else { Change::Paths(Vec::new()) };
        }
        match self.shop.as_ref().map(|shop| shop.store()) {
            Some(Ok(store)) => self.memory.rescan(store),
            _ => Change::Lost,
        }
    }

    /// The steps that changed paths make worthless; `None` where that cannot be said.
    fn affected(&self, changed: &[TreePath]) -> Option<HashSet<usize>> {
        let reads = self.shop.as_ref()?.reads()?;
        let kept = self.memory.lock();
        let has_links = kept.as_ref().is_none_or(|kept| {
            kept.source.tree.entries().iter().any(|entry| matches!(entry.kind, Kind::Symlink { .. }))
        });
        Some(reads.affected(changed, has_links))
    }

    /// Gives the running build up for a newer state: steps that it has made worthless are stopped, others may end.
    fn supersede(&mut self, stale: Option<&HashSet<usize>>) {
        let Some(building) = &mut self.building else { return };
        building.superseded = true;
        let stopped = &mut self.stopped;
        let worthless = |step: usize| {
            let often = stopped.get(&step).copied().unwrap_or_default();
            stale.is_none_or(|stale| stale.contains(&step)) && often < MOST_STOPS
        };
        let now = building.stops.supersede(&worthless);
        stopped.retain(|step, _| now.contains(step));
        for step in now {
            *stopped.entry(step).or_default() += 1;
        }
    }

    /// Watches what the plan can read by now; what was not watched before is looked at again.
    fn look(&mut self) {
        let Some(eyes) = &mut self.eyes else { return };
        let mut wanted = self.files.directories();
        wanted.extend(self.root.parent().map(Path::to_path_buf));
        if self.memory.lock().is_none() {
            // Not known at the moment: what was watched is watched on.
            wanted.extend(eyes.watched().cloned());
        }
        if let Some(kept) = self.memory.lock().as_ref() {
            wanted.insert(self.root.clone());
            wanted.extend(kept.dirs.iter().map(|dir| self.root.join(std::ffi::OsStr::from_bytes(dir.as_bytes()))));
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
            match dir.strip_prefix(&self.root) {
                Ok(below) if below.as_os_str().is_empty() => self.all_dirty = true,
                Ok(below) => drop(self.dirty.insert(TreePath::new(below.as_os_str().as_bytes()), Depth::All)),
                Err(_) => {}
            }
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
            self.shop = Some(Arc::new(Workshop::new(&request.store, self.memory.clone()).lasting()));
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
        self.root = std::fs::canonicalize(root).unwrap_or_else(|_| root.clone());
        let mut paths = dockerfiles(root, request.dockerfile.as_deref());
        let ignores: Vec<PathBuf> =
            paths.iter().map(|path| PathBuf::from(format!("{}.dockerignore", path.display()))).collect();
        paths.extend(ignores);
        paths.push(root.join(".dockerignore"));
        paths.extend(self.driver.files());
        self.files = Files::of(paths);
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
            self.look();
        }
        let moved = result.as_ref().is_err_and(changed_meanwhile);
        if superseded || moved {
            if moved && !self.again {
                // The event of it may be on its way still.
                self.rescan();
            }
            self.tell(Ended::Superseded);
            self.build()?;
            return Ok(None);
        }
        self.stopped.clear();
        self.failed = result.is_err();
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

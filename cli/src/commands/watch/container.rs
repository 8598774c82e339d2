//! The image's command that runs after each good build: one at a time, ended before the next begins.
//!
//! Two cannot run side by side, because on the host's network they would want the same port. So the old one goes
//! first, and comes back where the new one fails at once.

use crate::streams::Stream;
use kiln_engine::api::{Cancel, Exit, ManageError};
use kiln_engine::container::{RunRequest, Runner};
use kiln_engine::sandbox::Attached;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A command that fails sooner has not come up; one that runs longer is one to come back to.
const COMES_UP: Duration = Duration::from_secs(2);

/// The container that runs, if one does.
#[derive(Default)]
pub struct Container {
    running: Option<Running>,
    /// The newest image whose command came up.
    good: Option<String>,
    /// The newest one whose command did not.
    bad: Arc<Mutex<Option<String>>>,
}

struct Running {
    /// The image, and since when.
    now: Arc<Mutex<(String, Instant)>>,
    terminate: Cancel,
    cancel: Cancel,
    thread: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Container {
    /// Whether this image runs already, or is known to fail at once.
    pub fn is_settled(&self, image: &str) -> bool {
        let runs = self.running.as_ref().is_some_and(|one| !one.thread.is_finished() && lock(&one.now).0 == image);
        runs || lock(&self.bad).as_deref() == Some(image)
    }

    /// Makes the next one ready, ends the one that runs, and starts it. How it ends is told on `err`; where it fails
    /// at once, the last image whose command came up runs again.
    pub fn start(
        &mut self,
        runner: &Runner,
        request: &RunRequest,
        stop_timeout: Duration,
        err: &Stream,
    ) -> Result<(), StartError> {
        let container = runner.prepare(request)?;
        if let Some(running) = self.running.as_ref().filter(|running| !running.thread.is_finished()) {
            let (image, since) = lock(&running.now).clone();
            if since.elapsed() >= COMES_UP {
                self.good = Some(image);
            }
        }
        self.stop(stop_timeout);
        let (terminate, cancel) = (Cancel::new()?, Cancel::new()?);
        let now = Arc::new(Mutex::new((request.image.clone(), Instant::now())));
        let fallback = self.good.clone().map(|image| RunRequest { image, ..request.clone() });
        let turn = Turn {
            runner: runner.clone(),
            now: now.clone(),
            bad: self.bad.clone(),
            stops: terminate.clone(),
            kills: cancel.clone(),
            err: err.clone(),
        };
        let work = move || turn.run(container, fallback);
        let thread = std::thread::Builder::new().name("kiln-run".to_owned()).spawn(work)?;
        self.running = Some(Running { now, terminate, cancel, thread });
        Ok(())
    }

    /// Ends the one that runs: SIGTERM, and after the timeout all of it at once.
    pub fn stop(&mut self, timeout: Duration) {
        let Some(Running { terminate, cancel, thread, .. }) = self.running.take() else { return };
        terminate.cancel();
        let since = Instant::now();
        while !thread.is_finished() && since.elapsed() < timeout {
            std::thread::sleep(LOOK);
        }
        cancel.cancel();
        let _ended = thread.join();
    }

    /// Waits for the one that runs.
    pub fn wait(&mut self) {
        if let Some(running) = self.running.take() {
            let _ended = running.thread.join();
        }
    }
}

/// What the thread needs in which a container runs.
struct Turn {
    runner: Runner,
    now: Arc<Mutex<(String, Instant)>>,
    bad: Arc<Mutex<Option<String>>>,
    stops: Cancel,
    kills: Cancel,
    err: Stream,
}

impl Turn {
    fn run(&self, container: kiln_engine::container::Container, fallback: Option<RunRequest>) {
        let since = Instant::now();
        let Some(has_failed) = self.run_one(&container) else { return };
        drop(container);
        if !has_failed || since.elapsed() >= COMES_UP {
            return;
        }
        *lock(&self.bad) = Some(lock(&self.now).0.clone());
        let Some(request) = fallback else { return };
        self.tell("the image before it runs again");
        match self.runner.prepare(&request) {
            Ok(container) => {
                *lock(&self.now) = (request.image, Instant::now());
                let _told = self.run_one(&container);
            }
            Err(error) => self.tell_error(&error),
        }
    }

    /// Runs a container to its end; whether it failed, or nothing where it was asked to end.
    fn run_one(&self, container: &kiln_engine::container::Container) -> Option<bool> {
        let ended = match Attached::to_stderr() {
            Ok(streams) => container.run(streams, &self.stops, &self.kills),
            Err(error) => {
                self.tell(&format!("error: failed to open standard error: {error}"));
                return None;
            }
        };
        if self.stops.is_cancelled() {
            return None;
        }
        match ended {
            Ok(exit) => {
                self.tell(&format!("the command has ended: {exit}"));
                Some(exit != Exit::Code(0))
            }
            Err(error) => {
                self.tell_error(&error);
                Some(true)
            }
        }
    }

    fn tell(&self, text: &str) {
        self.err.write_or_forget(format!("{text}\n").as_bytes());
    }

    fn tell_error(&self, error: &ManageError) {
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let words: Vec<String> = causes.map(ToString::to_string).collect();
        self.tell(&format!("error: {}", words.join(": ")));
    }
}

/// Why a container does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine says why.
    #[error(transparent)]
    Engine(#[from] ManageError),
    /// No descriptor or thread is left.
    #[error(transparent)]
    System(#[from] io::Error),
}

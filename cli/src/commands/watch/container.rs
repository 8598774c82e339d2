//! The image's command that runs after each good build: one at a time, ended before the next begins.

use crate::streams::Stream;
use kiln_engine::api::{Cancel, ManageError};
use kiln_engine::container::{RunRequest, Runner};
use kiln_engine::sandbox::Attached;
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The container that runs, if one does.
#[derive(Default)]
pub struct Container {
    running: Option<Running>,
}

struct Running {
    image: String,
    terminate: Cancel,
    cancel: Cancel,
    thread: JoinHandle<()>,
}

impl Container {
    /// Whether this image runs already.
    pub fn is_running(&self, image: &str) -> bool {
        self.running.as_ref().is_some_and(|running| running.image == image && !running.thread.is_finished())
    }

    /// Makes the next one ready, ends the one that runs, and starts it. How it ends is told on `err`.
    pub fn start(
        &mut self,
        runner: &Runner,
        request: &RunRequest,
        stop_timeout: Duration,
        err: &Stream,
    ) -> Result<(), StartError> {
        let container = runner.prepare(request)?;
        self.stop(stop_timeout);
        let (terminate, cancel) = (Cancel::new()?, Cancel::new()?);
        let streams = Attached::to_stderr()?;
        let (stops, kills, err) = (terminate.clone(), cancel.clone(), err.clone());
        let work = move || {
            let ended = container.run(streams, &stops, &kills);
            if !stops.is_cancelled() {
                let text = match ended {
                    Ok(exit) => format!("the command has ended: {exit}\n"),
                    Err(error) => {
                        let causes =
                            std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                        let words: Vec<String> = causes.map(ToString::to_string).collect();
                        format!("error: {}\n", words.join(": "))
                    }
                };
                err.write_or_forget(text.as_bytes());
            }
        };
        let thread = std::thread::Builder::new().name("kiln-run".to_owned()).spawn(work)?;
        self.running = Some(Running { image: request.image.clone(), terminate, cancel, thread });
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

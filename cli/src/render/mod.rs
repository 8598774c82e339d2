//! Shows the engine's events: one renderer a form, each a function from events to text.
//!
//! A renderer is pure but for the log that it may keep in a file; [`LineSink`] and [`tty::TtySink`]
//! are the thin writers below them. Knows nothing of how a build works.

pub mod block;
pub mod json;
mod line;
mod log;
pub mod plain;
pub mod quiet;
pub mod screen;
pub mod tty;

#[cfg(test)]
pub mod script;

use crate::streams::Stream;
use kiln_engine::event::{Event, Sink, Verdict};
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are gathered before they are written; one event seldom needs more.
const WRITE_BUFFER_BYTES: usize = 32 * 1024;

/// Turns events into text, each as it comes.
pub trait Render: Send {
    /// Writes what `event` adds, if anything. Fails only where `out` does.
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()>;
}

/// For so long lines of steps that hit may wait for others to be written with, at most: a build in which nothing changed
/// may have a hundred thousand of them.
const GATHERED: Duration = Duration::from_millis(20);

/// Says which events are written together: those of steps that hit follow each other at once.
struct Gathering {
    steps: usize,
    finished: usize,
    written: Instant,
}

impl Gathering {
    fn new() -> Self {
        Gathering { steps: 0, finished: 0, written: Instant::now() }
    }

    /// Whether what this event adds can wait for the next one, which will come soon.
    fn can_wait(&mut self, event: &Event) -> bool {
        match event {
            Event::BuildStarted { steps, .. } => (self.steps, self.finished) = (steps.len(), 0),
            Event::StepFinished { .. } => self.finished += 1,
            _ => {}
        }
        let is_hit = matches!(event, Event::StepFinished { verdict: Verdict::Hit(_), .. });
        let can = is_hit && self.finished < self.steps && self.written.elapsed() < GATHERED;
        if !can {
            self.written = Instant::now();
        }
        can
    }
}

/// Writes what a renderer makes of each event in one piece, at once where the next event may be long in coming.
///
/// A build whose reader is gone goes on: the first failure is kept, and nothing is written after it.
pub struct LineSink<R> {
    state: Mutex<State<R>>,
    stream: Stream,
}

struct State<R> {
    render: R,
    result: io::Result<()>,
    gathering: Gathering,
    waiting: Vec<u8>,
}

impl<R: Render> LineSink<R> {
    /// Writes to `stream`.
    pub fn new(render: R, stream: Stream) -> Self {
        let (result, gathering, waiting) = (Ok(()), Gathering::new(), Vec::new());
        LineSink { state: Mutex::new(State { render, result, gathering, waiting }), stream }
    }

    /// The first failure to write.
    pub fn finish(self) -> io::Result<()> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).result
    }
}

impl<R: Render> Sink for LineSink<R> {
    fn emit(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { render, result, gathering, waiting } = &mut *state;
        if result.is_ok() {
            let can_wait = gathering.can_wait(&event);
            *result = match can_wait && waiting.len() < WRITE_BUFFER_BYTES {
                true => render.event(&event, waiting),
                false => {
                    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, &self.stream);
                    let written = out.write_all(waiting);
                    waiting.clear();
                    let written = written.and_then(|()| render.event(&event, &mut out)).and_then(|()| out.flush());
                    // What could not be written is not tried again when the buffer goes.
                    let _unwritten = out.into_parts();
                    written
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::memory::{Broken, Memory};

    #[test]
    fn lines_of_hits_are_written_together_and_none_is_left_once_the_last_step_ended() {
        let memory = Memory::default();
        let sink = LineSink::new(plain::Plain::default(), memory.stream(false));
        let events = script::unchanged();
        let mut seen = Vec::new();
        for event in events {
            sink.emit(event);
            seen.push(memory.text().lines().count());
        }
        // The machine may have been slow: then some lines have come sooner.
        assert!(seen.is_sorted() && seen[..4].iter().all(|count| *count <= 3), "{seen:?}");
        assert_eq!(seen[4..], [4, 5]);
        assert_eq!(memory.text(), script::rendered(plain::Plain::default(), &script::unchanged()));
    }

    #[test]
    fn a_reader_that_is_gone_does_not_stop_the_build_and_is_reported_once() {
        let sink = LineSink::new(json::Json, Broken(io::ErrorKind::BrokenPipe).stream());
        script::successful().into_iter().for_each(|event| sink.emit(event));
        assert_eq!(sink.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

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
use kiln_engine::event::{Event, Sink};
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};

/// Bytes that are gathered before they are written; one event seldom needs more.
const WRITE_BUFFER_BYTES: usize = 32 * 1024;

/// Turns events into text, each as it comes.
pub trait Render: Send {
    /// Writes what `event` adds, if anything. Fails only where `out` does.
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()>;
}

/// Writes what a renderer makes of each event at once, in one piece.
///
/// A build whose reader is gone goes on: the first failure is kept, and nothing is written after it.
pub struct LineSink<R> {
    state: Mutex<(R, io::Result<()>)>,
    stream: Stream,
}

impl<R: Render> LineSink<R> {
    /// Writes to `stream`.
    pub fn new(render: R, stream: Stream) -> Self {
        LineSink { state: Mutex::new((render, Ok(()))), stream }
    }

    /// The first failure to write.
    pub fn finish(self) -> io::Result<()> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1
    }
}

impl<R: Render> Sink for LineSink<R> {
    fn emit(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (render, result) = &mut *state;
        if result.is_ok() {
            let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, &self.stream);
            *result = render.event(&event, &mut out).and_then(|()| out.flush());
            // What could not be written is not tried again when the buffer goes.
            let _unwritten = out.into_parts();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::memory::Broken;

    #[test]
    fn a_reader_that_is_gone_does_not_stop_the_build_and_is_reported_once() {
        let sink = LineSink::new(json::Json, Broken(io::ErrorKind::BrokenPipe).stream());
        script::successful().into_iter().for_each(|event| sink.emit(event));
        assert_eq!(sink.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

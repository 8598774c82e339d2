//! `--progress tty`: paints a [`Screen`] on a terminal, at most ten times a second.
//!
//! While nothing runs there is nothing to animate: events are painted as they come, and the
//! painter's thread begins with the first step that runs. Knows nothing of what is painted.

use super::screen::{Screen, Size};
use super::{Gathering, WRITE_BUFFER_BYTES};
use crate::streams::Stream;
use kiln_engine::event::{Event, Sink};
use std::io::{BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two paintings: fast enough for a clock, slow enough to cost nothing.
const PAINT_INTERVAL: Duration = Duration::from_millis(100);

/// Says how large the terminal is now.
pub type Measure = fn() -> Size;

/// The writer.
pub struct TtySink {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    stream: Stream,
    measure: Measure,
    began: Instant,
}

struct State {
    screen: Screen,
    painter: Painter,
    gathering: Gathering,
}

/// The thread that paints while steps run.
enum Painter {
    /// No step has run yet, or no thread could be had: each event is painted at once.
    None,
    /// It paints; events only change the screen.
    Running(JoinHandle<()>),
    /// The build is over; nothing is painted but what is left.
    Stopped,
}

impl TtySink {
    /// Paints on `stream`, whose size `measure` says.
    pub fn new(stream: Stream, colour: bool, measure: Measure) -> Self {
        let state = State { screen: Screen::new(colour), painter: Painter::None, gathering: Gathering::new() };
        let (state, wake) = (Mutex::new(state), Condvar::new());
        TtySink { shared: Arc::new(Shared { state, wake, stream, measure, began: Instant::now() }) }
    }
}

impl Sink for TtySink {
    fn emit(&self, event: Event) {
        let shared = &self.shared;
        let is_last = matches!(event, Event::BuildFinished { .. });
        let mut state = shared.lock();
        let can_wait = state.gathering.can_wait(&event);
        state.screen.event(event, shared.began.elapsed());
        if is_last {
            let painter = std::mem::replace(&mut state.painter, Painter::Stopped);
            drop(state);
            shared.wake.notify_all();
            if let Painter::Running(thread) = painter {
                // A painter that panicked has painted all it could; the build's result counts.
                let _painted = thread.join();
            }
            shared.paint(&mut shared.lock());
            return;
        }
        if matches!(state.painter, Painter::None) && state.screen.is_running() {
            let painter = Arc::clone(shared);
            let spawned = Builder::new().name("painter".into()).spawn(move || painter.run());
            state.painter = spawned.map_or(Painter::None, Painter::Running);
        }
        if !matches!(state.painter, Painter::Running(_)) && !can_wait {
            shared.paint(&mut state);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A terminal that is gone has no reader, so what cannot be written is dropped.
    fn paint(&self, state: &mut State) {
        let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, &self.stream);
        let painted = state.screen.paint(self.began.elapsed(), (self.measure)(), &mut out);
        let _gone = painted.and_then(|()| out.flush());
        let _unwritten = out.into_parts();
    }

    fn run(&self) {
        let mut state = self.lock();
        while !matches!(state.painter, Painter::Stopped) {
            state = self.wake.wait_timeout(state, PAINT_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
            if !matches!(state.painter, Painter::Stopped) {
                self.paint(&mut state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::script;
    use crate::streams::memory::Memory;

    fn measure() -> Size {
        Size { columns: 80, rows: 24 }
    }

    #[test]
    fn a_build_without_a_running_step_starts_no_thread_and_paints_every_line() {
        let memory = Memory::default();
        let sink = TtySink::new(memory.stream(true), false, measure);
        for event in script::unchanged() {
            sink.emit(event);
            assert!(!matches!(sink.shared.lock().painter, Painter::Running(_)));
        }
        assert_eq!(memory.text().lines().filter(|line| line.ends_with("... hit (local)")).count(), 4);
        assert!(!memory.text().contains('\x1b'));
    }

    #[test]
    fn the_painter_ends_with_the_build_and_leaves_no_block() {
        let memory = Memory::default();
        let sink = TtySink::new(memory.stream(true), false, measure);
        script::successful().into_iter().for_each(|event| sink.emit(event));
        assert_eq!(Arc::strong_count(&sink.shared), 1, "the painter still holds the screen");
        let text = memory.text();
        assert!(text.ends_with("in 1m04s, 4 steps: 2 hit, 2 miss\n"), "{text}");
    }

    #[test]
    fn a_running_step_is_repainted_while_no_event_comes() {
        let memory = Memory::default();
        let sink = TtySink::new(memory.stream(true), false, measure);
        sink.emit(script::started());
        sink.emit(script::start(1, "first time"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while memory.text().matches("1 running, 0 of 4 steps done").count() < 2 {
            assert!(Instant::now() < deadline, "no second painting: {:?}", memory.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        sink.emit(script::failed());
        assert!(memory.text().contains("build failed after 500ms"));
    }
}

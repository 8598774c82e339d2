//! Builds as lists of events, for the tests of renderers and commands.

use super::Render;
use kiln_engine::event::{Counts, Event, Hit, Miss, StepInfo, Stream, Verdict};

/// What a renderer makes of these events.
pub fn rendered(mut render: impl Render, events: &[Event]) -> String {
    let mut out = Vec::new();
    for event in events {
        render.event(event, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

pub fn info(name: &str, stage: &str, line: u32) -> StepInfo {
    let instruction = name.split_once("] ").map_or(name, |(_, rest)| rest).to_owned();
    StepInfo { name: name.into(), stage: stage.into(), instruction, line, file: None, platform: "linux/amd64".into() }
}

pub fn started() -> Event {
    Event::BuildStarted {
        build: "0001".into(),
        steps: vec![
            info("[build 1/3] FROM docker.io/library/busybox:latest", "build", 1),
            info("[build 2/3] RUN make\n  -C src", "build", 2),
            info("[build 3/3] COPY out /out", "build", 4),
            info("[web 2/2] RUN npm ci", "web", 7),
        ],
    }
}

pub fn start(step: usize, reason: &str) -> Event {
    Event::StepStarted { step, reason: reason.into() }
}

pub fn log(step: usize, text: &str) -> Event {
    Event::StepLog { step, stream: Stream::Stdout, text: text.into() }
}

pub fn finish(step: usize, verdict: Verdict, reason: &str, duration: f64) -> Event {
    Event::StepFinished { step, verdict, reason: reason.into(), duration, why: Box::default() }
}

fn finished(hits: usize, misses: usize, duration: f64) -> Event {
    Event::BuildFinished {
        ok: true,
        image: Some(format!("b3:{}", "11".repeat(32))),
        image_id: None,
        results: Vec::new(),
        counts: Counts { steps: hits + misses, hits, misses, failed: 0, cancelled: 0 },
        duration,
        error: None,
    }
}

/// Two branches side by side, one step a hit.
pub fn successful() -> Vec<Event> {
    vec![
        started(),
        finish(0, Verdict::Hit(Hit::Local), "local", 0.0),
        start(1, "src/a.c changed"),
        log(1, "cc -c src/a.c\n"),
        start(3, "first time"),
        log(3, "10%\r100%\n"),
        log(1, "\x1b[31mld\x1b[0m -o app\nno newline at the end"),
        finish(1, Verdict::Miss(Miss::Changed), "src/a.c changed", 1.234),
        Event::Warning { message: "build argument UNUSED is not consumed".into() },
        finish(3, Verdict::Miss(Miss::FirstTime), "first time", 62.0),
        finish(2, Verdict::Hit(Hit::EarlyCutoff), "early cutoff", 0.0),
        finished(2, 2, 63.5),
    ]
}

/// Nothing changed.
pub fn unchanged() -> Vec<Event> {
    let hits = (0..4).map(|step| finish(step, Verdict::Hit(Hit::Local), "local", 0.0));
    std::iter::once(started()).chain(hits).chain([finished(4, 0, 0.004)]).collect()
}

/// A step fails while another runs.
pub fn failing() -> Vec<Event> {
    vec![
        started(),
        finish(0, Verdict::Hit(Hit::Local), "local", 0.0),
        start(1, "src/a.c changed"),
        start(3, "first time"),
        log(1, "cc -c src/a.c\n"),
        log(3, "added 12 packages\n"),
        Event::StepLog { step: 1, stream: Stream::Stderr, text: "src/a.c:1: error: no main\n\tstop\n".into() },
        finish(1, Verdict::Failed(Some(Miss::Changed)), "exit code 2", 0.3),
        finish(3, Verdict::Cancelled, "another step failed", 0.4),
        finish(2, Verdict::Cancelled, "another step failed", 0.0),
        failed(),
    ]
}

pub fn failed() -> Event {
    Event::BuildFinished {
        ok: false,
        image: None,
        image_id: None,
        results: Vec::new(),
        counts: Counts { steps: 4, hits: 1, misses: 0, failed: 1, cancelled: 2 },
        duration: 0.5,
        error: Some("[build 2/3] RUN make -C src failed: exit code 2".into()),
    }
}

/// A step prints so many lines and fails.
pub fn failing_with_lines(lines: usize) -> Vec<Event> {
    let mut events = vec![started(), start(1, "first time")];
    events.extend((0..lines).map(|n| log(1, &format!("line {n}\n"))));
    events.extend([finish(1, Verdict::Failed(Some(Miss::FirstTime)), "exit code 1", 9.0), failed()]);
    events
}

//! The words that all renderers for people share: a step's name, its outcome, the build's summary.
//!
//! Pure; knows nothing of colour or width.

use crate::text::{clean, quantity};
use kiln_engine::event::{Counts, Event, Hit, Miss, StepInfo, Verdict};
use std::fmt::Write as _;

/// A step's name on one line.
pub fn name(info: &StepInfo) -> String {
    clean::one_line(&info.name)
}

/// What stands before a step's log lines: the bracketed part of its name, else its number from 1.
pub fn prefix(name: &str, index: usize) -> String {
    match name.find(']') {
        Some(end) if name.starts_with('[') => name[..=end].to_owned(),
        _ => format!("#{}", index + 1),
    }
}

/// ` (src/a.c changed) 1.2s`: the reason, and for what ran its time.
pub fn outcome(verdict: Verdict, reason: &str, duration: f64) -> String {
    let mut out = in_brackets(reason);
    if verdict.ran() {
        let _infallible = write!(out, " {}", quantity::duration(duration));
    }
    out
}

/// ` (src/a.c changed)`, or nothing.
pub fn in_brackets(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({})", clean::one_line(reason)) }
}

/// `5 steps: 3 hit, 2 miss`
pub fn counts(counts: &Counts) -> String {
    let plural = if counts.steps == 1 { "" } else { "s" };
    let mut out = format!("{} step{plural}", counts.steps);
    let parts = [
        (counts.hits, Verdict::Hit(Hit::Local)),
        (counts.misses, Verdict::Miss(Miss::Changed)),
        (counts.failed, Verdict::Failed(None)),
        (counts.cancelled, Verdict::Cancelled),
    ];
    let mut separator = ": ";
    for (count, verdict) in parts {
        if count > 0 {
            let _infallible = write!(out, "{separator}{count} {}", verdict.word());
            separator = ", ";
        }
    }
    out
}

/// The line that ends a build: `built b3:… sha256:… in 1.2s, 5 steps: 3 hit, 2 miss`. Nothing for
/// other events.
pub fn summary(event: &Event) -> Option<String> {
    let Event::BuildFinished { ok, image, image_id, results, counts: all, duration, error: _ } = event else {
        return None;
    };
    let mut out = String::from(if *ok { "built" } else { "build failed" });
    for id in [image, image_id].into_iter().flatten() {
        let _infallible = write!(out, " {id}");
    }
    // Whole ids of several would fill the screen; kiln images has them.
    let names: Vec<String> = results.iter().map(|built| clean::one_line(&built.name)).collect();
    if !names.is_empty() {
        let _infallible = write!(out, " {}", names.join(", "));
    }
    let preposition = if *ok { "in" } else { "after" };
    let _infallible = write!(out, " {preposition} {}, {}", quantity::duration(*duration), counts(all));
    Some(out)
}

//! Explanations as text: what began it first, what it dragged along as a count and its seconds.
//!
//! Pure: a report in, lines out. The words for verdicts and kinds are the engine's.

mod changes;
pub mod graph;
pub mod outline;
pub mod step;
mod words;

use crate::text::{clean, quantity};
use kiln_engine::event::{Miss, Verdict};
use kiln_engine::explain::report::{BuildReport, CauseReport, ChangeReport, StepReport, UnskippedReport};
use std::fmt::Write as _;

/// Lines of one component, and steps of one list, unless all are asked for.
const LINES_MAX: usize = 5;

/// Paths that differ in an output up to which early cutoff failed by little.
const NEARLY_SAME_PATHS: usize = 20;

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detail {
    /// Everything, however long.
    pub all: bool,
    /// Seconds since 1970.
    pub now: i64,
}

impl Detail {
    fn lines(self) -> usize {
        if self.all { usize::MAX } else { LINES_MAX }
    }
}

/// A build in words: `build 3f2a9c01b7d4, 2 minutes ago: built in 12.4s`, its causes, its notes.
pub fn build(report: &BuildReport, detail: Detail) -> String {
    let mut out = String::new();
    header(&mut out, report, detail);
    for cause in &report.causes {
        out.push('\n');
        self::cause(&mut out, report, cause, detail);
    }
    for step in report.steps.iter().filter(|step| matches!(step.verdict, Verdict::Failed(_))) {
        let why = if step.reason.is_empty() { String::new() } else { format!(": {}", clean::one_line(&step.reason)) };
        let time = quantity::duration(step.duration);
        let _infallible = write!(out, "\n{} failed after {time}{why}\n", name(step));
    }
    out.push('\n');
    footer(&mut out, report);
    out
}

fn header(out: &mut String, report: &BuildReport, detail: Detail) {
    let time = quantity::duration(report.duration);
    let _infallible = match &report.build {
        Some(build) => {
            let age = quantity::age(report.started, detail.now);
            let preposition = if report.end == "built" { "in" } else { "after" };
            writeln!(out, "build {build}, {age}: {} {preposition} {time}", report.end)
        }
        None => {
            let ran = report.steps.iter().filter(|step| step.verdict.ran()).count();
            let steps = report.steps.len();
            match ran {
                0 => writeln!(out, "plan: none of {} would run", count(steps, "step")),
                _ => writeln!(out, "plan: {ran} of {} would run, in about {time}", count(steps, "step")),
            }
        }
    };
    if let Some(before) = &report.compared_with {
        let age = quantity::age(before.started, detail.now);
        let _infallible = writeln!(out, "compared with build {}, {age}", before.build);
    }
}

fn cause(out: &mut String, report: &BuildReport, cause: &CauseReport, detail: Detail) {
    let is_plan = report.build.is_none();
    let root = cause.step.and_then(|step| report.steps.get(step));
    match (root, &cause.name) {
        (Some(root), _) => {
            let is_added = |change: &ChangeReport| change.how == "added" && change.component == "the instruction";
            let changes = &root.why.changes;
            let word = match !changes.is_empty() && changes.iter().all(is_added) {
                true => "added",
                false => cause.kind,
            };
            let _infallible = writeln!(out, "{}: {word}", name(root));
            changes::own(out, &root.why, &root.instruction, detail);
        }
        (None, Some(name)) => {
            let _infallible = writeln!(out, "{}: {}", clean::one_line(name), cause.kind);
        }
        (None, None) => {
            let _infallible = writeln!(out, "{}", circumstance(cause.kind));
        }
    }
    ran(out, report, cause, root, is_plan, detail);
    for step in cause.ran.iter().filter_map(|&step| report.steps.get(step)) {
        if let Some(unskipped) = &step.why.unskipped {
            let _infallible = writeln!(out, "  {} {}", name(step), self::unskipped(unskipped, step, is_plan));
        }
        outcome(out, report, step);
    }
}

/// Why a step was not skipped, and what would have let it be.
fn unskipped(unskipped: &UnskippedReport, step: &StepReport, is_plan: bool) -> String {
    let words = clean::one_line(&unskipped.words);
    let verb = if is_plan { "would save" } else { "would have saved" };
    let saved = quantity::duration(step.duration);
    match unskipped.because {
        "networked" => format!("{words}: --trace=all, or `# kiln: --key=traced` above it, {verb} {saved}"),
        _ => words,
    }
}

/// What a kind of miss that no change explains means.
fn circumstance(kind: &str) -> String {
    let meaning = [
        (Miss::FirstTime, "no earlier execution is known"),
        (Miss::Evicted, "the results are no longer in the store"),
        (Miss::Expired, "the time that the key allows is over"),
        (Miss::Forced, "--no-cache looks no result up"),
        (Miss::PreviousFailed, "nothing changed since it failed"),
        (Miss::Uncacheable, "the key says that it always runs"),
    ];
    let meaning = meaning.iter().find(|(miss, _)| miss.word() == kind).map(|(_, meaning)| *meaning);
    meaning.map_or_else(|| kind.to_owned(), |meaning| format!("{kind}: {meaning}"))
}

/// The steps that ran for a cause: their count and seconds, and their names where there is room.
fn ran(
    out: &mut String,
    report: &BuildReport,
    cause: &CauseReport,
    root: Option<&StepReport>,
    is_plan: bool,
    detail: Detail,
) {
    let verb = if is_plan { "would run" } else { "ran" };
    let others: Vec<&StepReport> = cause
        .ran
        .iter()
        .filter_map(|&step| report.steps.get(step))
        .filter(|step| root.is_none_or(|root| root.step != step.step))
        .collect();
    let root_ran = root.filter(|root| root.verdict.ran());
    let seconds: f64 = others.iter().map(|step| step.duration).sum();
    let total = quantity::duration(seconds);
    let _infallible = match (root_ran, others.len()) {
        (Some(root), 0) => writeln!(out, "  it {verb}: {}", quantity::duration(root.duration)),
        (Some(root), more) => {
            let own = quantity::duration(root.duration);
            writeln!(out, "  it {verb}: {own}; dragged along: {}, {total}", count(more, "step"))
        }
        (None, 0) if root.is_some() || cause.kind == "removed" => writeln!(out, "  nothing {verb} because of it"),
        (None, 0) => Ok(()),
        (None, more) if root.is_none() && cause.kind != "removed" => {
            writeln!(out, "  {} {verb}: {total}", count(more, "step"))
        }
        (None, more) => writeln!(out, "  dragged along: {}, {total}", count(more, "step")),
    };
    // Names of what was only dragged along are for those who ask.
    if detail.all || root.is_none() && cause.kind != "removed" {
        for step in others.iter().take(detail.lines()) {
            let _infallible = writeln!(out, "    {}  {}", name(step), quantity::duration(step.duration));
        }
        if others.len() > detail.lines() {
            let _infallible = writeln!(out, "    and {} more: --all shows them", others.len() - detail.lines());
        }
    }
}

/// What a step's output says: that it is not deterministic, or what little kept the next steps from hitting.
fn outcome(out: &mut String, report: &BuildReport, step: &StepReport) {
    let Some(output) = &step.why.output else { return };
    let Some(first) = output.paths.first() else { return };
    let more = output.added + output.removed + output.changed + output.renamed - 1;
    let paths = match more {
        0 => format!("/{}", clean::one_line(&first.path)),
        _ => format!("/{} and {more} more", clean::one_line(&first.path)),
    };
    let dragged_on = report.steps.iter().any(|later| later.verdict.ran() && later.inputs.contains(&step.step));
    let _infallible = match step.why.not_deterministic {
        true => writeln!(out, "  not deterministic: {} gave another output under the same key: {paths}", name(step)),
        false if dragged_on && more < NEARLY_SAME_PATHS => {
            writeln!(out, "  cutoff behind {} prevented by {paths}", name(step))
        }
        false => Ok(()),
    };
}

fn footer(out: &mut String, report: &BuildReport) {
    let hits = report.steps.iter().filter(|step| matches!(step.verdict, Verdict::Hit(_))).count();
    let cancelled = report.steps.iter().filter(|step| step.verdict == Verdict::Cancelled).count();
    let is_plan = report.build.is_none();
    if report.causes.is_empty() && !report.steps.iter().any(|step| step.verdict.ran()) && cancelled == 0 {
        out.push_str(if is_plan {
            "nothing changed: every step would hit\n"
        } else {
            "nothing changed: every step hit\n"
        });
    }
    let verb = if is_plan { "would hit" } else { "hit" };
    let saves = match (is_plan, report.saved) {
        (_, saved) if saved < 0.001 => String::new(),
        (true, saved) => format!(", which saves {}", quantity::duration(saved)),
        (false, saved) => format!(", which saved {}", quantity::duration(saved)),
    };
    let _infallible = writeln!(out, "{hits} of {} {verb}{saves}", count(report.steps.len(), "step"));
    if cancelled > 0 {
        let _infallible = writeln!(out, "{} did not run", count(cancelled, "step"));
    }
    if is_plan && report.critical_path.len() > 1 {
        let names = report.critical_path.iter().filter_map(|&step| report.steps.get(step)).map(name);
        let chain: Vec<String> = names.collect();
        let time = quantity::duration(report.critical_seconds);
        let _infallible = writeln!(out, "the longest chain takes {time}: {}", chain.join(" → "));
    }
    for note in &report.notes {
        let _infallible = writeln!(out, "note: {}", clean::one_line(note));
    }
    if let Some(error) = &report.error {
        let _infallible = writeln!(out, "error: {}", clean::one_line(error));
    }
}

/// Columns of a step's name: more is cut, the line in the Dockerfile has the rest.
const NAME_COLUMNS: usize = 72;

/// A step's name on one line.
fn name(step: &StepReport) -> String {
    clean::fit(&clean::one_line(&step.name), NAME_COLUMNS)
}

/// `1 step`, `2 steps`
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

//! One step explained in full: verdict, with what it was compared, every change, its key.
//!
//! Pure.

use super::{Detail, changes};
use crate::text::{clean, quantity};
use kiln_engine::event::Verdict;
use kiln_engine::explain::report::StepDetail;
use std::fmt::Write as _;

/// Columns of a component's value unless all is asked for.
const VALUE_COLUMNS: usize = 80;

/// The step in words.
pub fn step(detail: &StepDetail, how: Detail) -> String {
    let (step, why) = (&detail.step, &detail.step.why);
    let mut out = String::new();
    let kind = step.verdict.kind().map(|kind| format!(": {kind}")).unwrap_or_default();
    let time = if step.verdict.ran() { format!(", {}", quantity::duration(step.duration)) } else { String::new() };
    let _infallible = writeln!(out, "{}", clean::one_line(&step.name));
    let _infallible = writeln!(out, "{}{kind}{time}", step.verdict.word());
    if let Some(compared) = &why.compared_with {
        let (age, name) = (quantity::age(compared.time, how.now), clean::one_line(&compared.step));
        let build = compared.build.as_deref().map(|build| format!(" in build {build}")).unwrap_or_default();
        let _infallible = match step.verdict {
            Verdict::Hit(_) => writeln!(out, "made by {name}{build}, {age}"),
            _ if compared.failed => writeln!(out, "compared with {name}{build}, {age}, which failed"),
            _ => writeln!(out, "compared with {name}{build}, {age}"),
        };
    }
    if let (Verdict::Hit(_), Some(saved)) = (step.verdict, why.earlier_duration.filter(|saved| *saved >= 0.001)) {
        let _infallible = writeln!(out, "saved {}", quantity::duration(saved));
    }
    for change in &why.changes {
        changes::lines(&mut out, change, &step.instruction, how);
    }
    for dragged in &why.dragged_along_by {
        let _infallible = writeln!(out, "  {} ← {}", dragged.component, clean::one_line(&dragged.name));
    }
    if let Some(unskipped) = &why.unskipped {
        let _infallible = writeln!(out, "  it {}", super::unskipped(unskipped, step, false));
    }
    if why.same_output {
        out.push_str("  it made the same as before: what follows hits\n");
    }
    if let Some(output) = &why.output {
        let word = if why.not_deterministic { "not deterministic: the same key made another output" } else { "output" };
        let _infallible = writeln!(out, "  {word}: +{} −{} ~{}", output.added, output.removed, output.changed);
        for path in output.paths.iter().take(how.lines()) {
            let _infallible = writeln!(out, "    {}", changes::path_line(path));
        }
        let total = output.added + output.removed + output.changed + output.renamed;
        if total > how.lines() {
            let _infallible = writeln!(out, "    and {} more: --all shows them", total - how.lines());
        }
    }
    if let Some(layer) = &step.layer {
        let _infallible = writeln!(out, "layer {layer}");
    }
    if let Some(key) = &step.key {
        let _infallible = writeln!(out, "key {key}");
    }
    for component in &detail.components {
        let value = clean::one_line(&component.value);
        let value = if how.all { value } else { clean::fit(&value, VALUE_COLUMNS) };
        let _infallible = writeln!(out, "  {}: {value}", clean::one_line(&component.component));
    }
    if detail.has_log {
        let _infallible = writeln!(out, "its output is kept: kiln log {} {}", detail.build, step.step + 1);
    }
    out
}

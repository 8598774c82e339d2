//! The stages and steps of a file, for people.
//!
//! Pure. A step's number is what others that wait for it name.

use crate::text::clean;
use kiln_engine::build::{Outline, OutlineStep};
use std::fmt::Write as _;

/// All stages in their order, each step with its number, its line and what it waits for beside the one before it.
pub fn text(outline: &Outline) -> String {
    let mut out = String::new();
    let width = outline.steps.len().to_string().len();
    let is_multi = outline.results.iter().any(|result| result.platform != outline.results[0].platform);
    let mut before: Option<&OutlineStep> = None;
    for step in &outline.steps {
        if before.is_none_or(|before| (&before.stage, &before.platform) != (&step.stage, &step.platform)) {
            let gap = if before.is_some() { "\n" } else { "" };
            let platform = if is_multi { format!(" ({})", step.platform) } else { String::new() };
            let _infallible = writeln!(out, "{gap}{}{platform}", step.stage);
        }
        let waits: Vec<String> =
            step.needs.iter().filter(|&&need| need + 1 != step.step).map(ToString::to_string).collect();
        let waits = if waits.is_empty() { String::new() } else { format!("  ← {}", waits.join(", ")) };
        let mark = if step.has_layers { ' ' } else { '·' };
        let instruction = clean::one_line(&step.instruction);
        let _infallible = writeln!(out, "  {:>width$} {mark} {instruction}{waits}", step.step);
        before = Some(step);
    }
    let results: Vec<String> = outline
        .results
        .iter()
        .map(|result| match is_multi {
            true => format!("{} for {}", result.stage, result.platform),
            false => result.stage.clone(),
        })
        .collect();
    let _infallible = write!(out, "\nbuilt: {}\n", results.join(", "));
    if !outline.images.is_empty() {
        let _infallible = writeln!(out, "images, taken as if they set nothing: {}", outline.images.join(", "));
    }
    out
}

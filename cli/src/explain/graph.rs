//! A build's steps as a drawing: the languages of Graphviz and Mermaid.
//!
//! Pure. Instructions that only change the configuration are left out: nothing waits for them.

use crate::commands::Language;
use crate::text::{clean, quantity};
use kiln_engine::event::{Hit, Verdict};
use kiln_engine::explain::report::{BuildReport, StepReport};
use std::fmt::Write as _;

/// Columns of an instruction in a box.
const LABEL_COLUMNS: usize = 40;

/// The steps that are drawn, each with the drawn steps that it needs.
fn boxes(report: &BuildReport) -> Vec<(&StepReport, Vec<usize>)> {
    let is_drawn = |step: &StepReport| step.verdict != Verdict::Hit(Hit::Configuration);
    // What a left-out instruction stands on stands in its place.
    let mut stands_for: Vec<Vec<usize>> = Vec::with_capacity(report.steps.len());
    let mut all = Vec::new();
    for step in &report.steps {
        let mut inputs: Vec<usize> = Vec::new();
        for &input in step.inputs.iter().filter(|&&input| input < step.step) {
            inputs.extend_from_slice(&stands_for[input]);
        }
        inputs.sort_unstable();
        inputs.dedup();
        match is_drawn(step) {
            true => {
                stands_for.push(vec![step.step]);
                all.push((step, inputs));
            }
            false => stands_for.push(inputs),
        }
    }
    all
}

fn label(step: &StepReport) -> [String; 2] {
    let kind = step.verdict.kind().map(|kind| format!(" ({kind})")).unwrap_or_default();
    let time = if step.verdict.ran() { format!(" {}", quantity::duration(step.duration)) } else { String::new() };
    let name = clean::fit(&clean::one_line(&step.instruction), LABEL_COLUMNS);
    [name, format!("{}{kind}{time}", step.verdict.word())]
}

/// Groups steps by stage, where there are several platforms by both, in the order of their first steps.
fn stages<'a>(report: &BuildReport, steps: &[(&'a StepReport, Vec<usize>)]) -> Vec<(String, Vec<&'a StepReport>)> {
    let is_multi = report.platform.contains(',');
    let mut all: Vec<(String, Vec<&StepReport>)> = Vec::new();
    for (step, _) in steps {
        let name = match is_multi && !step.platform.is_empty() {
            true => format!("{} {}", step.platform, step.stage),
            false => step.stage.clone(),
        };
        match all.iter_mut().find(|(stage, _)| *stage == name) {
            Some((_, list)) => list.push(step),
            None => all.push((name, vec![step])),
        }
    }
    all
}

/// The drawing in a language.
pub fn drawn(report: &BuildReport, language: Language) -> String {
    match language {
        Language::Dot => dot(report),
        Language::Mermaid => mermaid(report),
        Language::Json => {
            let text = serde_json::to_string_pretty(&report.steps).expect("names are text and maps have text keys");
            text + "\n"
        }
    }
}

/// For `dot -Tsvg`.
fn dot(report: &BuildReport) -> String {
    let steps = boxes(report);
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out =
        String::from("digraph build {\n  rankdir=LR;\n  node [shape=box, style=filled, fontname=monospace];\n");
    for (number, (stage, list)) in stages(report, &steps).into_iter().enumerate() {
        let _infallible = writeln!(out, "  subgraph cluster_{number} {{\n    label=\"{}\";", quoted(&stage));
        for step in list {
            let [name, verdict] = label(step).map(|text| quoted(&text));
            let colour = match step.verdict {
                Verdict::Hit(_) => "palegreen",
                Verdict::Miss(_) => "khaki",
                Verdict::Failed(_) => "salmon",
                Verdict::Cancelled => "lightgrey",
            };
            let _infallible = writeln!(out, "    s{} [label=\"{name}\\n{verdict}\", fillcolor={colour}];", step.step);
        }
        out.push_str("  }\n");
    }
    for (step, inputs) in &steps {
        for input in inputs {
            let _infallible = writeln!(out, "  s{input} -> s{};", step.step);
        }
    }
    out.push_str("}\n");
    out
}

/// For a Markdown page.
fn mermaid(report: &BuildReport) -> String {
    let steps = boxes(report);
    // Mermaid reads HTML entities in quoted labels, and nothing else escapes a quote.
    let quoted =
        |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    let mut out = String::from("flowchart LR\n");
    for (number, (stage, list)) in stages(report, &steps).into_iter().enumerate() {
        let _infallible = writeln!(out, "  subgraph g{number} [\"{}\"]", quoted(&stage));
        for step in list {
            let [name, verdict] = label(step).map(|text| quoted(&text));
            let class = step.verdict.word();
            let _infallible = writeln!(out, "    s{}[\"{name}<br>{verdict}\"]:::{class}", step.step);
        }
        out.push_str("  end\n");
    }
    for (step, inputs) in &steps {
        for input in inputs {
            let _infallible = writeln!(out, "  s{input} --> s{}", step.step);
        }
    }
    for (class, colour) in [("hit", "#98fb98"), ("miss", "#f0e68c"), ("failed", "#fa8072"), ("cancelled", "#d3d3d3")] {
        let _infallible = writeln!(out, "  classDef {class} fill:{colour}");
    }
    out
}

//! The findings as BuildKit's `lint` request gives them, with kiln's spans, fixes and levels beside.
//!
//! Fields that Docker has keep its names and meaning: lines count from 1, an instruction of several lines has a range
//! for each. Knows nothing of what is found.

use super::position;
use base64::Engine as _;
use kiln_dsl::check::Finding;
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::source::Sources;
use kiln_dsl::span::Span;
use kiln_engine::api::CheckReport;
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    warnings: Vec<Warning>,
    sources: Vec<Source<'a>>,
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    build_error: Option<BuildError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning {
    rule_name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    detail: String,
    location: Location,
    level: Severity,
    span: Range,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<Related>,
}

#[derive(Serialize)]
struct Related {
    message: String,
    span: Range,
}

#[derive(Serialize)]
struct BuildError {
    message: String,
    location: Location,
    /// Every error; Docker stops at the first.
    errors: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
    span: Range,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Serialize)]
struct Location {
    /// Which of the sources it is; the first one is not told, as in Docker.
    #[serde(rename = "sourceIndex", skip_serializing_if = "is_first")]
    source_index: usize,
    ranges: Vec<Range>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_first(index: &usize) -> bool {
    *index == 0
}

#[derive(Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Serialize)]
struct Position {
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    character: Option<usize>,
}

#[derive(Serialize)]
struct Source<'a> {
    filename: &'a str,
    language: &'static str,
    data: String,
}

/// The findings as JSON.
pub fn text(found: &CheckReport) -> String {
    let source = &found.sources;
    let mut warnings: Vec<(u32, Warning)> =
        found.report.findings.iter().map(|one| (one.lines.0, warning(one, source))).collect();
    warnings.extend(found.notes().map(|one| (line(source, one.span), note(one, source))));
    warnings.sort_by_key(|(line, _)| *line);
    let errors: Vec<&Diagnostic> = found.errors().collect();
    let report = Report {
        warnings: warnings.into_iter().map(|(_, warning)| warning).collect(),
        sources: source.files().map(|(name, text)| file(name, text)).collect(),
        build_error: errors.first().map(|first| BuildError {
            message: first.message.clone(),
            location: line_of(source, first.span),
            errors: errors.iter().map(|one| problem(one, source)).collect(),
        }),
    };
    serde_json::to_string_pretty(&report).expect("all keys are text") + "\n"
}

fn file<'a>(filename: &'a str, text: &str) -> Source<'a> {
    let data = base64::engine::general_purpose::STANDARD.encode(text);
    Source { filename, language: "Dockerfile", data }
}

fn warning(finding: &Finding, text: &Sources) -> Warning {
    let span = |span: Span| range(text, span);
    let related = finding.related.iter().map(|(at, words)| Related { message: words.clone(), span: span(*at) });
    Warning {
        rule_name: finding.rule.name(),
        description: finding.rule.description(),
        url: finding.rule.url(),
        detail: finding.message.clone(),
        location: lines(text.shown(finding.span).index, finding.lines.0, finding.lines.1),
        level: finding.diagnostic().severity,
        span: span(finding.span),
        fix: Some(finding.help.clone()),
        related: related.collect(),
    }
}

fn note(found: &Diagnostic, text: &Sources) -> Warning {
    Warning {
        rule_name: found.code,
        description: "",
        url: String::new(),
        detail: found.message.clone(),
        location: line_of(text, found.span),
        level: found.severity,
        span: range(text, found.span),
        fix: found.help.clone(),
        related: Vec::new(),
    }
}

fn problem(found: &Diagnostic, text: &Sources) -> Problem {
    Problem { code: found.code, message: found.message.clone(), span: range(text, found.span), fix: found.help.clone() }
}

fn line(text: &Sources, span: Span) -> u32 {
    u32::try_from(text.line(span)).unwrap_or(u32::MAX)
}

fn line_of(text: &Sources, span: Span) -> Location {
    let at = line(text, span);
    lines(text.shown(span).index, at, at)
}

fn lines(source_index: usize, first: u32, last: u32) -> Location {
    let at = |line: u32| Position { line: line as usize, character: None };
    Location { source_index, ranges: (first..=last).map(|line| Range { start: at(line), end: at(line) }).collect() }
}

fn range(text: &Sources, span: Span) -> Range {
    let shown = text.shown(span);
    let at = |offset: u32| {
        let (line, column) = position(&shown.text, offset);
        Position { line, character: Some(column - 1) }
    };
    Range { start: at(shown.span.start), end: at(shown.span.end) }
}

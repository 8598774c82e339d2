//! The findings as SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0): one run, one artifact.
//!
//! Columns count characters from 1, as `columnKind` says. Knows nothing of what is found.

use super::{all, position};
use kiln_dsl::check::Rule;
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::span::Span;
use kiln_engine::api::CheckReport;
use serde_json::{Value, json};

/// The findings as SARIF.
pub fn text(found: &CheckReport) -> String {
    let all = all(found);
    let rules: Vec<Value> = Rule::all().map(rule).collect();
    let results: Vec<Value> = all.iter().map(|one| result(one, found)).collect();
    let artifact =
        |(name, _): (&str, &str)| json!({ "location": { "uri": uri(name) }, "sourceLanguage": "dockerfile" });
    let artifacts: Vec<Value> = found.sources.files().map(artifact).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "kiln",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "artifacts": artifacts,
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).expect("all keys are text") + "\n"
}

fn rule(rule: Rule) -> Value {
    let level = if rule.is_advice() { "note" } else { "warning" };
    let mut value = json!({
        "id": rule.name(),
        "name": rule.name(),
        "shortDescription": { "text": rule.description() },
        "defaultConfiguration": { "level": level, "enabled": !rule.is_experimental() },
    });
    if !rule.url().is_empty() {
        value["helpUri"] = rule.url().into();
    }
    value
}

fn result(one: &Diagnostic, found: &CheckReport) -> Value {
    let level = match one.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "note",
    };
    let message = match &one.help {
        Some(help) => format!("{}\n{help}", one.message),
        None => one.message.clone(),
    };
    let mut value = json!({
        "ruleId": one.code,
        "level": level,
        "message": { "text": message },
        "locations": [location(one.span, found, None)],
    });
    if let Some(index) = Rule::all().position(|rule| rule.name() == one.code) {
        value["ruleIndex"] = index.into();
    }
    if !one.related.is_empty() {
        let places = one.related.iter().map(|(span, words)| location(*span, found, Some(words)));
        value["relatedLocations"] = places.collect();
    }
    value
}

fn location(span: Span, found: &CheckReport, words: Option<&String>) -> Value {
    let shown = found.sources.shown(span);
    let at = |offset| position(&shown.text, offset);
    let ((line, column), (end_line, end_column)) = (at(shown.span.start), at(shown.span.end));
    let mut value = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(shown.name), "index": shown.index },
            "region": {
                "startLine": line,
                "startColumn": column,
                "endLine": end_line,
                "endColumn": end_column,
            },
        },
    });
    if let Some(words) = words {
        value["message"] = json!({ "text": words });
    }
    value
}

/// A path as a relative or absolute reference: what a URI may not hold is escaped.
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

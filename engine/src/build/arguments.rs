//! Build arguments that mean something to the builder itself, and those that mean nothing to anybody.
//!
//! The names are BuildKit's. What kiln does not need is said once, so that nobody waits for its effect.

use crate::api::{BuildError, Request};
use crate::plan::Plan;
use kiln_dsl::ast::{Command, Document};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Seconds since 1970 that stand for every time in the image.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Arguments without effect here, and why.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("BUILDKIT_SYNTAX", "kiln is its own front end"),
    ("BUILDKIT_INLINE_CACHE", "the store is the cache"),
    ("BUILDKIT_SBOM_SCAN_CONTEXT", "kiln makes no attestations"),
    ("BUILDKIT_SBOM_SCAN_STAGE", "kiln makes no attestations"),
];

/// Arguments that every build has, declared or not.
const PREDEFINED: [&str; 16] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETOSVERSION",
    "BUILDOSVERSION",
];

/// The request with what its build arguments say of it.
pub(super) fn applied(request: &Request) -> Result<Cow<'_, Request>, BuildError> {
    let Some((_, value)) = request.build_args.iter().find(|(name, _)| name == SOURCE_DATE_EPOCH) else {
        return Ok(Cow::Borrowed(request));
    };
    if value.is_empty() {
        return Ok(Cow::Borrowed(request));
    }
    match value.parse::<i64>() {
        Ok(seconds) if seconds >= 0 => Ok(Cow::Owned(Request { source_date_epoch: Some(seconds), ..request.clone() })),
        _ => Err(BuildError::Unsupported {
            what: format!("the build argument {SOURCE_DATE_EPOCH}={value}"),
            place: None,
            advice: Some("give seconds since 1970".to_owned()),
        }),
    }
}

/// What is to be said of the arguments: those without effect, and those that no ARG declares.
pub(super) fn notes<'d>(request: &Request, documents: impl Iterator<Item = &'d Document>, plan: &Plan) -> Vec<String> {
    let mut declared: BTreeSet<&str> = BTreeSet::new();
    for instruction in documents.flat_map(|document| &document.instructions) {
        if let Command::Arg(declarations) = &instruction.command {
            declared.extend(declarations.iter().map(|one| one.name.value.as_str()));
        }
    }
    // Triggers of a base image stand in no file.
    for shown in &plan.shown {
        let names = shown.instruction.strip_prefix("ARG ").unwrap_or_default().split_ascii_whitespace();
        declared.extend(names.map(|word| word.split('=').next().unwrap_or(word)));
    }
    let mut notes = Vec::new();
    for (name, _) in &request.build_args {
        if let Some((_, why)) = WITHOUT_EFFECT.iter().find(|(other, _)| other == name) {
            notes.push(format!("the build argument {name} has no effect: {why}"));
            continue;
        }
        let is_ours = name.starts_with("BUILDKIT_") || name == SOURCE_DATE_EPOCH;
        if is_ours || declared.contains(name.as_str()) || PREDEFINED.contains(&name.to_ascii_uppercase().as_str()) {
            continue;
        }
        let near = kiln_dsl::suggest::nearest(name, declared.iter().copied());
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        notes.push(format!("the build argument {name} is not consumed: no ARG declares it{hint}"));
    }
    notes
}

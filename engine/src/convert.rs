//! A file of the extended language as a plain Dockerfile: reads it, decides its alternatives, and asks the language.
//!
//! Nothing is fetched and nothing is written.

use crate::api::BuildError;
use crate::build::{File, Includes, read};
use crate::plan::{self, Unroll};
use kiln_dsl::ast::{Command, Document};
use kiln_dsl::convert::dockerfile;
use kiln_dsl::platform::Platform;
use std::path::{Path, PathBuf};

/// What is to be converted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConvertRequest {
    /// The file.
    pub file: PathBuf,
    /// The stage that the result ends with, so that Docker builds it; `None` is the last one.
    pub target: Option<String>,
    /// Build arguments, each name once: they decide alternatives.
    pub build_args: Vec<(String, String)>,
    /// What is built for, as typed; `None` is the host's.
    pub platform: Option<String>,
}

/// The Dockerfile.
pub fn convert(request: &ConvertRequest) -> Result<String, BuildError> {
    let failed = |source| BuildError::Dockerfile { path: request.file.clone(), source };
    let bytes = std::fs::read(&request.file).map_err(failed)?;
    let mut file = File::new(request.file.display().to_string(), String::from_utf8_lossy(&bytes));
    let includes = Includes::of_host(request.file.parent().unwrap_or(Path::new("")), &request.file);
    let parsed = read(&mut file, &includes);
    if parsed.has_errors() {
        return Err(file.findings(parsed.diagnostics));
    }
    let platform = match &request.platform {
        None => Platform::host(),
        Some(text) => Platform::parse(text)
            .map_err(|error| BuildError::Platform { platform: text.clone(), reason: error.to_string() })?,
    };
    let options = plan::Options {
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        build_platform: Platform::host(),
        ..plan::Options::new(platform)
    };
    let document = plan::choose(&parsed.document, &options, Unroll::All).map_err(|problems| file.findings(problems))?;
    let goals = plan::goals(&document, request.target.as_deref()).map_err(|problem| file.findings(vec![problem]))?;
    let names = names(&document);
    let place = |wanted: &Option<String>| match wanted {
        None => names.len().checked_sub(1),
        Some(wanted) => names
            .iter()
            .rposition(|name| name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
            .or_else(|| wanted.parse().ok().filter(|&index: &usize| index < names.len())),
    };
    let mut last = None;
    if let Some(target) = &request.target {
        for wanted in &goals.stages {
            let Some(found) = place(wanted) else {
                let stages = names.into_iter().flatten().collect();
                return Err(BuildError::UnknownTarget { name: target.clone(), file: file.name, stages });
            };
            last = last.max(Some(found));
        }
    }
    dockerfile(&document, last).map_err(|problems| file.findings(problems))
}

fn names(document: &Document) -> Vec<Option<String>> {
    let all = document.instructions.iter().filter_map(|one| match &one.command {
        Command::From(from) => Some(from.name.as_ref().map(|name| name.value.clone())),
        _ => None,
    });
    all.collect()
}

//! `kiln check [CONTEXT]`: what is probably not meant in a Dockerfile, for people and for programs.
//!
//! `kiln build --check` and `--call=check` come here too. What is found is the engine's; how it is shown is here.

mod json;
mod sarif;

use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::report::{self, Look};
use crate::session::Session;
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_engine::api::{CheckReport, CheckRequest};
use std::path::PathBuf;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory whose Dockerfile and ignore file are checked
    #[arg(value_name = "CONTEXT", default_value = ".")]
    context: PathBuf,
    /// The Dockerfile; `-` is standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Check this stage and those that it needs [default: all stages]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A build argument; a bare name takes the environment's value (repeatable)
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// The platform to check for [default: the host's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// How findings are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How findings are printed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Each finding in its line of the file, with what to do about it
    Text,
    /// The JSON of `docker build --call=check,format=json`, with spans and fixes
    Json,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
}

impl Args {
    /// Checks.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let request = CheckRequest {
            context: self.context,
            dockerfile: self.file.map(|file| if file.as_os_str() == "-" { "/dev/stdin".into() } else { file }),
            target: self.target,
            build_args: super::build::build_args(&self.build_args, session.environment)?,
            platform: self.platform,
            store: session.environment.store(),
        };
        check(&request, self.format, session)
    }
}

/// Checks and prints; a file that cannot be built, and findings that the file does not allow, are a failure.
pub fn check(request: &CheckRequest, format: Format, session: &Session<'_>) -> Result<Exit, Failure> {
    let found = session.engine.check(request)?;
    let text = match format {
        Format::Text => text(&found, look(session)),
        Format::Json => json::text(&found),
        Format::Sarif => sarif::text(&found),
    };
    session.print(&text)?;
    let is_failure = found.errors().next().is_some() || !found.report.violations().is_empty();
    Ok(if is_failure { Exit::Failure } else { Exit::Success })
}

/// What `--call` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Build.
    Build,
    /// Check only.
    Check(Format),
}

/// Reads `--call METHOD[,format=FORMAT]`.
pub fn call(text: &str) -> Result<Call, UsageError> {
    let mut parts = text.split(',');
    let method = parts.next().unwrap_or_default();
    let mut format = Format::Text;
    for part in parts {
        format = match part.split_once('=') {
            Some(("format", "json")) => Format::Json,
            Some(("format", "text")) => Format::Text,
            Some(("format", "sarif")) => Format::Sarif,
            _ => {
                return Err(UsageError::value("--call", text, format!("{part:?} is no option of it"))
                    .with_help("write --call=check or --call=check,format=json"));
            }
        };
    }
    match method {
        "build" => Ok(Call::Build),
        "check" | "lint" => Ok(Call::Check(format)),
        _ => Err(UsageError::value("--call", text, format!("there is no method {method:?}"))
            .with_help("the methods are build and check; kiln parse shows what the file says")),
    }
}

/// Findings are data, so how they look is asked of standard output.
fn look(session: &Session<'_>) -> Look {
    let width = if session.out.is_terminal() { (session.measure)().columns } else { 0 };
    Look::of(&session.out, session.environment, width)
}

/// All findings, the reader's and the checks', in the order of the file.
fn all(found: &CheckReport) -> Vec<Diagnostic> {
    let checks = found.report.findings.iter().map(kiln_dsl::check::Finding::diagnostic);
    let mut all: Vec<Diagnostic> = found.errors().chain(found.notes()).cloned().chain(checks).collect();
    all.sort_by_key(|one| one.span.start);
    all
}

fn text(found: &CheckReport, look: Look) -> String {
    let mut out = String::new();
    let all = all(found);
    for mut one in all.iter().cloned() {
        if let Some(url) = kiln_dsl::check::Rule::parse(one.code).map(kiln_dsl::check::Rule::url)
            && !url.is_empty()
        {
            one.help = one.help.map(|help| format!("{help}\nsee {url}"));
        }
        out += &report::finding(&one, &found.sources, look);
        out.push('\n');
    }
    out += &summary(&all);
    let violations: Vec<&str> = found.report.violations().into_iter().map(kiln_dsl::check::Rule::name).collect();
    if !violations.is_empty() {
        out += &format!("The file allows no findings (error=true) of {}.\n", violations.join(", "));
    }
    out
}

/// The last line, in Docker's words where nothing is an error.
fn summary(all: &[Diagnostic]) -> String {
    let count = |severity: Severity, word: &str| {
        let count = all.iter().filter(|one| one.severity == severity).count();
        (count > 0).then(|| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
    };
    let advice = all.iter().filter(|one| one.severity == Severity::Advice).count();
    let advice = (advice > 0).then(|| format!("{advice} of advice"));
    let parts: Vec<String> =
        [count(Severity::Error, "error"), count(Severity::Warning, "warning"), advice].into_iter().flatten().collect();
    match parts.as_slice() {
        [] => "Check complete, no warnings found.\n".to_owned(),
        parts => format!("Check complete: {}.\n", parts.join(", ")),
    }
}

/// Line and column of an offset, both from 1; the column counts characters.
fn position(text: &str, offset: u32) -> (usize, usize) {
    let offset = (offset as usize).min(text.len());
    let offset = (0..=offset).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests;

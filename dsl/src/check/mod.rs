//! The build checks: what is probably not meant in a file that can be built.
//!
//! Docker's 22 checks under their names, and kiln's own as advice. Pure: what is known of base images and of the ignore
//! file is given. [`syntax`] looks at each instruction as it stands; [`bases`] at what FROM names; [`stage`] walks
//! through a stage with the values that its variables have; [`own`] holds what only kiln says.

mod bases;
mod config;
mod env;
mod own;
mod reference;
mod rule;
mod secrets;
mod stage;
mod stages;
mod syntax;

pub use config::{Config, ConfigError};
pub use rule::Rule;

use crate::ast::{Document, Instruction};
use crate::diagnostic::{Diagnostic, Severity};
use crate::ignore::Ignore;
use crate::parser::Parsed;
use crate::platform::Platform;
use crate::span::Span;
use serde::Serialize;

/// The build argument that stands in the place of the file's `# check=`.
pub const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the checks depend on beside the file.
pub struct Options<'a> {
    /// `--build-arg` values, each name once.
    pub build_args: &'a [(String, String)],
    /// `--target`; the last stage where there is none.
    pub target: Option<&'a str>,
    /// Whether the stages that the target does not need are looked at too.
    pub all_stages: bool,
    /// What the image is built for.
    pub platform: &'a Platform,
    /// What the build runs on.
    pub build_platform: &'a Platform,
    /// The context's ignore file, if it has one.
    pub ignore: Option<&'a Ignore>,
    /// What is known of an image; an unknown one is taken for an image that sets nothing.
    pub base: &'a dyn Fn(&str, &Platform) -> Option<Base>,
}

/// What is known of a base image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Base {
    /// Its variables.
    pub env: Vec<(String, String)>,
    /// Whether it sets a shell.
    pub has_shell: bool,
    /// Its ONBUILD triggers.
    pub on_build: Vec<String>,
    /// What it is for.
    pub platform: Option<Platform>,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The check.
    pub rule: Rule,
    /// What is found, in Docker's words where it is one of Docker's checks.
    pub message: String,
    /// The place, as narrow as it is known.
    pub span: Span,
    /// First and last line of the instruction, from 1: the place in Docker's reports.
    pub lines: (u32, u32),
    /// Further places with a word on each.
    pub related: Vec<(Span, String)>,
    /// What to do about it.
    pub help: String,
}

impl Finding {
    /// The finding as a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        let finding = Diagnostic::warning(self.rule.name(), self.span, self.message.clone()).with_help(&self.help);
        let severity = if self.rule.is_advice() { Severity::Advice } else { Severity::Warning };
        Diagnostic { severity, related: self.related.clone(), ..finding }
    }
}

/// All that the checks found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The findings in the order of the file.
    pub findings: Vec<Finding>,
    /// Why a part of the file has no value; the checks of what follows it in its stage did not run.
    pub errors: Vec<Diagnostic>,
    /// Whether findings are a failure, because the file or a build argument says so.
    pub error_on_findings: bool,
}

impl Report {
    /// The rules that are broken although the file says that none may be.
    pub fn violations(&self) -> Vec<Rule> {
        if !self.error_on_findings {
            return Vec::new();
        }
        let mut rules: Vec<Rule> =
            self.findings.iter().map(|finding| finding.rule).filter(|rule| !rule.is_advice()).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// Runs all checks on a file that was read.
pub fn check(parsed: &Parsed, options: &Options<'_>) -> Report {
    let mut out = Out::default();
    let given = options.build_args.iter().find(|(name, _)| name == CHECK_ARG);
    let config = match (given, &parsed.document.directives.check) {
        (Some((_, text)), _) => Config::parse(text).map_err(|error| (error, Span::default())),
        // The parser has told what is wrong with the directive.
        (None, Some(word)) => Ok(Config::of_directive(&word.value).unwrap_or_default()),
        (None, None) => Ok(Config::default()),
    };
    match config {
        Ok(config) => out.config = config,
        Err((error, span)) => {
            let message = format!("{error} in the build argument {CHECK_ARG}");
            out.errors.push(Diagnostic::error("InvalidCheck", span, message));
        }
    }
    syntax::continuations(parsed, &mut out);
    syntax::check(&parsed.document, &mut out);
    let globals = bases::globals(&parsed.document, options, &mut out);
    let stages = bases::check(&parsed.document, &globals, options, &mut out);
    stage::check(&stages, &globals, &parsed.document, options, &mut out);
    own::check(&parsed.document, &stages, options, &mut out);
    out.findings.sort_by_key(|finding| (finding.lines.0, finding.span.start, finding.rule));
    Report { findings: out.findings, errors: out.errors, error_on_findings: out.config.error }
}

/// Gathers findings, less what the file does not want.
#[derive(Default)]
struct Out {
    config: Config,
    findings: Vec<Finding>,
    errors: Vec<Diagnostic>,
}

impl Out {
    /// Whether `rule` is to be looked for at all.
    fn wants(&self, rule: Rule, at: &Instruction) -> bool {
        self.config.runs_with(Config::of_comments(&at.comments).as_ref(), rule)
    }

    /// Notes a finding in `at`; gives it back for further places.
    fn report(
        &mut self,
        rule: Rule,
        at: &Instruction,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<&mut Finding> {
        if !self.wants(rule, at) {
            return None;
        }
        self.findings.push(Finding {
            rule,
            message: message.into(),
            span,
            lines: (at.first_line, at.last_line),
            related: Vec::new(),
            help: help.into(),
        });
        self.findings.last_mut()
    }
}

/// The instruction whose lines hold `span`.
fn instruction_at(document: &Document, span: Span) -> Option<&Instruction> {
    let after = document.instructions.partition_point(|instruction| instruction.span.start <= span.start);
    let found = document.instructions.get(after.checked_sub(1)?)?;
    Some(&**found).filter(|instruction| span.start <= instruction.span.end)
}

impl Parsed {
    /// The warnings of the parser that are no build checks, for whoever shows the checks' findings beside them.
    pub fn notes(&self) -> impl Iterator<Item = &Diagnostic> {
        let is_note =
            |finding: &&Diagnostic| finding.severity == Severity::Warning && Rule::parse(finding.code).is_none();
        self.diagnostics.iter().filter(is_note)
    }
}

#[cfg(test)]
mod tests;

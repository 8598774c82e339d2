//! Checks a Dockerfile: reads it, its ignore file and what the store knows of base images, and asks the language.
//!
//! Knows nothing of single checks: they are [`kiln_dsl::check`]'s. Nothing is pulled and nothing is written.

use crate::api::{BuildError, CheckReport, CheckRequest};
use crate::build::{self, Includes, Memory, open_context, read_dockerfile};
use crate::image::config::ImageConfig;
use crate::plan::{self, Images};
use crate::registry::Reference;
use crate::store::Store;
use kiln_dsl::ast::Command;
use kiln_dsl::check::{self, Base, Options};
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::parser::Parsed;
use kiln_dsl::platform::Platform;
use std::path::Path;

/// Checks what `request` names.
pub fn check(request: &CheckRequest) -> Result<CheckReport, BuildError> {
    let (path, mut file) = read_dockerfile(&request.context, request.dockerfile.as_deref())?;
    let mut parsed = build::read(&mut file, &Includes::of_host(&request.context, &path));
    let context = open_context(&request.context, &path, Memory::default())?;
    let host = Platform::host();
    let platform = match &request.platform {
        None => host.clone(),
        Some(text) => Platform::parse(text)
            .map_err(|error| BuildError::Platform { platform: text.clone(), reason: error.to_string() })?,
    };
    let options = plan::Options {
        build_args: request.build_args.clone(),
        build_platform: host.clone(),
        target: request.target.clone(),
        ..plan::Options::new(platform.clone())
    };
    if !parsed.has_errors() {
        // Checked is what would be built: other branches are for other arguments.
        match plan::choose(&parsed.document, &options, plan::Unroll::One) {
            Ok(document) => parsed.document = document,
            Err(problems) => parsed.diagnostics.extend(problems),
        }
    }
    let is_declared = |name: &&str| parsed.document.targets.iter().any(|one| one.name.value.eq_ignore_ascii_case(name));
    // What a TARGET is made of may be any stage: all are checked.
    let target = request.target.as_deref().filter(|name| !is_declared(name));
    known_target(target, &parsed, &file.name)?;
    let store = request.store.as_deref().and_then(open);
    let base = |name: &str, platform: &Platform| store.as_ref().and_then(|store| stored(store, name, platform));
    let report = check::check(
        &parsed,
        &Options {
            build_args: &request.build_args,
            target,
            all_stages: true,
            platform: &platform,
            build_platform: &host,
            ignore: Some(context.ignore()),
            base: &base,
        },
    );
    let diagnostics = parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let diagnostics = diagnostics.chain(parsed.notes()).cloned().collect();
    Ok(CheckReport { sources: file.sources, diagnostics, report })
}

/// That a target is a stage of the file, by its name or its number.
fn known_target(target: Option<&str>, parsed: &Parsed, file: &str) -> Result<(), BuildError> {
    let Some(target) = target else { return Ok(()) };
    let heads = parsed.document.instructions.iter().filter_map(|instruction| match &instruction.command {
        Command::From(from) => Some(from.name.as_ref().map(|name| name.value.to_lowercase())),
        _ => None,
    });
    let names: Vec<Option<String>> = heads.collect();
    let lower = target.to_lowercase();
    if names.iter().flatten().any(|name| *name == lower) || target.parse().is_ok_and(|index: usize| index < names.len())
    {
        return Ok(());
    }
    let stages = names.into_iter().flatten().collect();
    Err(BuildError::UnknownTarget { name: target.to_owned(), file: file.to_owned(), stages })
}

/// The findings of Docker's checks in the stages that a build needs, and the reader's notes, in the order of the file.
pub(crate) fn warnings(
    parsed: &Parsed,
    options: &crate::plan::Options,
    target: &Option<String>,
    images: &Images,
    context: Option<&crate::build::BuildContext>,
) -> (Vec<Diagnostic>, Vec<check::Rule>) {
    let base = |name: &str, platform: &Platform| {
        images.get(&(name.to_owned(), platform.clone())).map(|known| base_of(&known.config))
    };
    let report = check::check(
        parsed,
        &Options {
            build_args: &options.build_args,
            target: target.as_deref(),
            all_stages: false,
            platform: &options.platform,
            build_platform: &options.build_platform,
            ignore: context.map(crate::build::BuildContext::ignore),
            base: &base,
        },
    );
    let violations = report.violations();
    let findings = report.findings.iter().filter(|finding| !finding.rule.is_advice()).map(check::Finding::diagnostic);
    let mut all: Vec<Diagnostic> = parsed.notes().cloned().chain(findings).collect();
    all.sort_by_key(|found| found.span.start);
    (all, violations)
}

/// The store, if there is one that can be read: a check needs none.
fn open(path: &Path) -> Option<Store> {
    path.is_dir().then(|| Store::open(path).ok()).flatten()
}

/// What the store knows of the image of this name.
fn stored(store: &Store, name: &str, platform: &Platform) -> Option<Base> {
    let name = Reference::parse(name).ok()?.to_string();
    let key = store.db().name(&name).ok()??;
    let key = match store.db().index(key).ok()? {
        Some(index) => index.image_for(platform)?,
        None => key,
    };
    let image = store.db().image(key).ok()??;
    Some(base_of(&ImageConfig::read_base(&image.config).ok()?))
}

fn base_of(config: &ImageConfig) -> Base {
    let pairs = config.config.env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, "")));
    let is_known = !config.os.is_empty() && !config.architecture.is_empty();
    Base {
        env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        has_shell: !config.config.shell.is_empty(),
        on_build: config.config.on_build.clone(),
        platform: is_known.then(|| Platform::new(&config.os, &config.architecture, &config.variant)),
    }
}

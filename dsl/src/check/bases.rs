//! What FROM names: its arguments, its platform, the images that come of their defaults.
//!
//! Knows nothing of what follows a FROM in its stage.

use super::env::Env;
use super::stages::{self, Stage, Stages};
use super::{Options, Out, Rule, reference};
use crate::ast::{Command, Document, Instruction, Word};
use crate::diagnostic::Diagnostic;
use crate::expand::{self, Expanded, Layered, Variables as _};
use crate::extended::branch_name::BranchName;
use crate::platform::Platform;
use std::collections::HashSet;

/// The variables that FROM sees.
pub(super) struct Globals {
    /// The variables.
    pub env: Env,
    /// The names that an ARG before the first FROM declares, with or without a value.
    pub declared: HashSet<String>,
}

/// The arguments that every file has without declaring them.
fn predefined(options: &Options<'_>, target: &str) -> Env {
    let (build, wanted) = (options.build_platform, options.platform);
    let variant = |platform: &Platform| platform.variant.clone().unwrap_or_default();
    let all = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.arch.clone()),
        ("BUILDVARIANT", variant(build)),
        ("TARGETPLATFORM", wanted.to_string()),
        ("TARGETOS", wanted.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", wanted.arch.clone()),
        ("TARGETVARIANT", variant(wanted)),
        ("TARGETSTAGE", if target.is_empty() { "default".to_owned() } else { target.to_owned() }),
    ];
    let mut env = Env::default();
    for (name, value) in all {
        env.set(name, build_arg(options, name).unwrap_or(&value));
    }
    env
}

/// The value of a `--build-arg`.
pub(super) fn build_arg<'a>(options: &'a Options<'_>, name: &str) -> Option<&'a str> {
    options.build_args.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// The instructions before the first FROM.
fn head(document: &Document) -> impl Iterator<Item = &Instruction> {
    let all = document.instructions.iter().map(std::convert::AsRef::as_ref);
    all.take_while(|instruction: &&Instruction| !matches!(instruction.command, Command::From(_)))
}

/// The variables with, or without, what the build gives.
pub(super) fn globals(document: &Document, options: &Options<'_>, out: &mut Out) -> Globals {
    let last = stages::split(document).last();
    let last = last.and_then(|(_, head, _)| head.name.as_ref()).map(|name| name.value.to_lowercase());
    let target = options.target.map(str::to_owned).or(last).unwrap_or_default();
    let predefined = predefined(options, &target);
    let escape = document.directives.escape;
    let (defaults, _) = declare(document, predefined.clone(), &|_| None, escape);
    default_names(document, &defaults, escape, out);
    let (env, mut errors) = declare(document, predefined, &|name| build_arg(options, name), escape);
    out.errors.append(&mut errors);
    let declared = head(document).filter_map(|instruction| match &instruction.command {
        Command::Arg(declarations) => Some(declarations.iter().map(|one| one.name.value.clone())),
        _ => None,
    });
    Globals { env, declared: declared.flatten().collect() }
}

fn declare<'a>(
    document: &Document,
    mut env: Env,
    given: &dyn Fn(&str) -> Option<&'a str>,
    escape: char,
) -> (Env, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    for instruction in head(document) {
        let Command::Arg(declarations) = &instruction.command else { continue };
        for declaration in declarations {
            let name = &declaration.name.value;
            match (given(name), &declaration.default) {
                (Some(value), _) => env.set(name, value),
                (None, Some(default)) => match expand::word(&default.value, escape, &env) {
                    Ok(expanded) => env.set(name, expanded.value),
                    Err(error) => errors.push(failed(default, &error)),
                },
                (None, None) => {}
            }
        }
    }
    (env, errors)
}

/// That a word has no value.
pub(super) fn failed(word: &Word, error: &expand::ExpandError) -> Diagnostic {
    Diagnostic::error("InvalidExpansion", word.span, error.to_string())
}

/// Whether each FROM names an image when the build gives no argument.
fn default_names(document: &Document, defaults: &Env, escape: char, out: &mut Out) {
    for (from, head, _) in stages::split(document) {
        let seen = Layered { first: &head.bindings, below: defaults };
        let Ok(expanded) = expand::word(&head.image.value, escape, &seen) else { return };
        // A branch of a matrix is a stage, and named as no image is.
        if BranchName::is_meant(&expanded.value) {
            continue;
        }
        if !reference::is_valid(&expanded.value) {
            let message =
                format!("Default value for ARG {} results in empty or invalid base image name", head.image.value);
            let help = match expanded.used.first() {
                Some(name) => format!("give ARG {name} a default before the first FROM with which the name is valid"),
                None => "write the name in lower case, as NAME[:TAG]".to_owned(),
            };
            out.report(Rule::InvalidDefaultArgInFrom, from, head.image.span, message, help);
        }
    }
}

/// Expands what each FROM names, and checks it.
pub(super) fn check<'a>(document: &'a Document, globals: &Globals, options: &Options<'_>, out: &mut Out) -> Stages<'a> {
    let mut stages = Stages::default();
    let escape = document.directives.escape;
    for (from, head, instructions) in stages::split(document) {
        let errors = out.errors.len();
        let seen = Layered { first: &head.bindings, below: &globals.env };
        let base = match expand::word(&head.image.value, escape, &seen) {
            Ok(expanded) => {
                undefined(from, &head.image, &expanded, globals, out);
                expanded.value
            }
            Err(error) => {
                out.errors.push(failed(&head.image, &error));
                String::new()
            }
        };
        let platform = head.platform.as_ref().and_then(|word| {
            let expanded = expand::word(&word.value, escape, &seen);
            let expanded = expanded.map_err(|error| out.errors.push(failed(word, &error))).ok()?;
            undefined(from, word, &expanded, globals, out);
            platform(from, head.name.as_ref(), word, &expanded, globals, out)
        });
        let parent = stages.by_name(&base);
        if parent.is_none() && !out.errors[errors..].iter().any(|error| error.span == head.image.span) {
            no_image(&head.image, &base, out);
        }
        let name = head.name.as_ref().map(|name| name.value.to_lowercase());
        image_platform(from, head, &base, parent, platform.as_ref(), options, out);
        // What is wrong with their names is the plan's question.
        let merged = head.merged.iter().filter_map(|word| expand::word(&word.value, escape, &seen).ok());
        let merged = merged.filter_map(|expanded| stages.by_name(&expanded.value)).collect();
        stages.push(Stage { from, head, name, base, parent, merged, platform, instructions });
    }
    stages
}

/// Notes a base that is neither a stage nor the name of an image.
fn no_image(word: &Word, base: &str, out: &mut Out) {
    let error = |code, message: String| Diagnostic::error(code, word.span, message);
    if base.is_empty() {
        let message = format!("base name ({}) should not be blank", word.value);
        let help = "give the ARG a default before the first FROM, or pass --build-arg";
        out.errors.push(error("BlankBaseName", message).with_help(help));
    } else if !reference::is_valid(base) {
        let message = format!("failed to parse stage name {}: invalid reference format", crate::quote::go_quote(base));
        let help = if base.chars().any(char::is_uppercase) {
            "the name of an image is written in lower case"
        } else {
            "write FROM NAME[:TAG] or the name of a stage above"
        };
        out.errors.push(error("InvalidBaseName", message).with_help(help));
    }
}

/// Whether all variables of a FROM are declared.
fn undefined(from: &Instruction, word: &Word, expanded: &Expanded, globals: &Globals, out: &mut Out) {
    for name in expanded.unset.iter().filter(|name| !globals.declared.contains(*name)) {
        let mut options: Vec<&str> = globals.declared.iter().map(String::as_str).collect();
        options.sort_unstable();
        options.extend(globals.env.names());
        let guess = crate::suggest::nearest_exact(name, options);
        let mut message = format!("FROM argument '{name}' is not declared");
        let help = match guess {
            Some(guess) => {
                message += &format!(" (did you mean {guess}?)");
                format!("write ${guess}, or declare ARG {name} before the first FROM")
            }
            None => format!("declare it before the first FROM: ARG {name}=…"),
        };
        out.report(Rule::UndefinedArgInFrom, from, word.span, message, help);
    }
}

fn platform(
    from: &Instruction,
    name: Option<&Word>,
    word: &Word,
    expanded: &Expanded,
    globals: &Globals,
    out: &mut Out,
) -> Option<Platform> {
    const TARGET: &str = "TARGETPLATFORM";
    if expanded.unset.is_empty()
        && expanded.used == [TARGET]
        && globals.env.get(TARGET) == Some(expanded.value.as_str())
    {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            word.value
        );
        out.report(Rule::RedundantTargetPlatform, from, word.span, message, "remove the flag");
    }
    let platform = match Platform::parse(&expanded.value) {
        Ok(platform) => platform,
        Err(error) => {
            let message = format!("{:?} is no platform: {error}", expanded.value);
            out.errors.push(Diagnostic::error("InvalidPlatform", word.span, message));
            return None;
        }
    };
    let says_so = name.is_some_and(|name| {
        let lower = name.value.to_lowercase();
        lower.contains(&platform.os) || lower.contains(&platform.arch)
    });
    if expanded.used.is_empty() && !says_so {
        let message =
            format!("FROM --platform flag should not use constant value {}", crate::quote::go_quote(&expanded.value));
        let help = "leave the flag out and build with --platform, or write --platform=$BUILDPLATFORM for a stage that \
                    runs on the builder; a stage whose name holds the architecture is not asked";
        out.report(Rule::FromPlatformFlagConstDisallowed, from, word.span, message, help);
    }
    Some(platform)
}

/// Whether an image that is known is for the platform that the stage wants.
fn image_platform(
    from: &Instruction,
    head: &crate::ast::From,
    base: &str,
    parent: Option<usize>,
    platform: Option<&Platform>,
    options: &Options<'_>,
    out: &mut Out,
) {
    let expected = platform.unwrap_or(options.platform);
    if parent.is_some() || base.is_empty() || base == "scratch" {
        return;
    }
    let Some(actual) = (options.base)(base, expected).and_then(|known| known.platform) else { return };
    if (&actual.os, &actual.arch) != (&expected.os, &expected.arch) {
        let message = format!(
            "Base image {base} was pulled with platform {:?}, expected {:?} for current build",
            actual.to_string(),
            expected.to_string()
        );
        let help = "pull the image for that platform, or name the image's platform with FROM --platform";
        out.report(Rule::InvalidBaseImagePlatform, from, head.image.span, message, help);
    }
}

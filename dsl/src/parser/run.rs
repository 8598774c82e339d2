//! The instructions that hold a command: RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK.
//!
//! Knows nothing of the shell that a shell form is given to.

use super::config::at_least_one;
use super::flags::{self, Flags, Takes};
use super::from::warn_of_flags;
use crate::ast::{CommandLine, Healthcheck, Run, Word};
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::keyword::Keyword;
use crate::mount::Mount;
use crate::raw::Node;

/// The arguments as a command.
fn command_line(node: &Node, values: &[Word]) -> CommandLine {
    let mut texts = values.iter().map(|word| word.value.clone());
    if node.json { CommandLine::Exec(texts.collect()) } else { CommandLine::Shell(texts.next().unwrap_or_default()) }
}

/// `RUN [FLAGS] …`
pub(super) fn run(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Run> {
    let known = [("mount", Takes::Many), ("network", Takes::One), ("security", Takes::One), ("device", Takes::Many)];
    let mut flags = flags::read(&node.flags, Keyword::Run, &known, out)?;
    let mounts = flags.many("mount");
    let mut sound = true;
    for mount in &mounts {
        if let Err(error) = Mount::check(&mount.value) {
            let diagnostic = Diagnostic::error("InvalidMount", mount.span, error.to_string());
            out.push(match error.help() {
                Some(help) => diagnostic.with_help(help),
                None => diagnostic,
            });
            sound = false;
        }
    }
    let network = one_of(&mut flags, "network", &["default", "none", "host"], "invalid network mode", out);
    let security = one_of(&mut flags, "security", &["sandbox", "insecure"], "invalid security mode", out);
    let (network, security) = (network?, security?);
    sound.then(|| Run {
        line: command_line(node, &node.values),
        mounts,
        network,
        security,
        devices: flags.many("device"),
    })
}

/// A flag with a closed set of values; the outer `None` says that it has another one.
fn one_of(
    flags: &mut Flags,
    name: &str,
    allowed: &[&'static str],
    what: &str,
    out: &mut Vec<Diagnostic>,
) -> Option<Option<Word>> {
    let Some(word) = flags.written(name) else { return Some(None) };
    if allowed.contains(&word.value.as_str()) {
        return Some(Some(word));
    }
    let error = Diagnostic::error("InvalidFlagValue", word.span, format!("{what} {:?}", word.value));
    out.push(error.with_help(format!("--{name} is one of {}", allowed.join(", "))));
    None
}

/// `CMD …`, `ENTRYPOINT …`
pub(super) fn plain(node: &Node, keyword: Keyword, out: &mut Vec<Diagnostic>) -> Option<CommandLine> {
    flags::read(&node.flags, keyword, &[], out)?;
    if !node.json && node.values.first().is_some_and(|word| word.value.starts_with('[')) {
        let message = format!("{keyword} begins with a bracket and is no JSON array, so it is given to the shell");
        let span = node.values.first().map_or(node.span, |word| word.span);
        let help = "in the exec form each item stands in double quotes, with commas between";
        out.push(Diagnostic::warning("ExecFormNotJson", span, message).with_help(help));
    }
    Some(command_line(node, &node.values))
}

/// `SHELL ["…"]`
pub(super) fn shell(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    flags::read(&node.flags, Keyword::Shell, &[], out)?;
    let Some(first) = node.values.first() else {
        out.push(at_least_one(node, Keyword::Shell));
        return None;
    };
    if !node.json {
        let message = format!("SHELL requires the arguments to be in JSON form: {}", first.value);
        let help = "write SHELL [\"/bin/bash\", \"-c\"]";
        out.push(Diagnostic::error("NotJson", first.span, message).with_help(help));
        return None;
    }
    Some(node.values.iter().map(|word| word.value.clone()).collect())
}

const HEALTHCHECK_FLAGS: [flags::Spec; 5] = [
    ("interval", Takes::One),
    ("timeout", Takes::One),
    ("start-period", Takes::One),
    ("start-interval", Takes::One),
    ("retries", Takes::One),
];

/// `HEALTHCHECK NONE`, `HEALTHCHECK [OPTIONS] CMD …`
pub(super) fn healthcheck(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Healthcheck> {
    let Some((kind, command)) = node.values.split_first() else {
        out.push(at_least_one(node, Keyword::Healthcheck));
        return None;
    };
    let fail = |word: &Word, message: &str| Diagnostic::error("InvalidHealthcheck", word.span, message);
    match kind.value.to_uppercase().as_str() {
        "NONE" => {
            warn_of_flags(node, Keyword::Healthcheck, out);
            if let Some(extra) = command.first() {
                out.push(fail(extra, "HEALTHCHECK NONE takes no arguments"));
                return None;
            }
            Some(Healthcheck::None)
        }
        "CMD" => {
            let mut flags = flags::read(&node.flags, Keyword::Healthcheck, &HEALTHCHECK_FLAGS, out)?;
            let mut errors = Vec::new();
            if command.is_empty() {
                errors.push(fail(kind, "Missing command after HEALTHCHECK CMD"));
            }
            let mut time = |name: &str| flags.one(name).and_then(|word| interval(&word, name, &mut errors));
            let check = Healthcheck::Cmd {
                interval: time("interval"),
                timeout: time("timeout"),
                start_period: time("start-period"),
                start_interval: time("start-interval"),
                line: command_line(node, command),
                retries: flags.one("retries").and_then(|word| retries(&word, &mut errors)),
            };
            let sound = errors.is_empty();
            out.append(&mut errors);
            sound.then_some(check)
        }
        other => {
            let error = fail(kind, &format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"));
            out.push(error.with_help("write HEALTHCHECK CMD followed by the command, or HEALTHCHECK NONE"));
            None
        }
    }
}

/// A time of zero or at least a millisecond, in nanoseconds.
fn interval(word: &Word, name: &str, out: &mut Vec<Diagnostic>) -> Option<u64> {
    const MINIMUM_NANOSECONDS: u64 = 1_000_000;
    let message = match duration::parse(&word.value).map(u64::try_from) {
        Ok(Ok(nanoseconds)) if nanoseconds == 0 || nanoseconds >= MINIMUM_NANOSECONDS => return Some(nanoseconds),
        Ok(_) => format!("Interval {name:?} cannot be less than 1ms"),
        Err(error) => error.to_string(),
    };
    out.push(Diagnostic::error("InvalidFlagValue", word.span, message));
    None
}

fn retries(word: &Word, out: &mut Vec<Diagnostic>) -> Option<u32> {
    let message = match word.value.parse::<i32>().map(u32::try_from) {
        Ok(Ok(retries)) => return Some(retries),
        Ok(Err(_)) => format!("--retries cannot be negative ({})", word.value),
        Err(_) => format!("--retries is no whole number: {:?}", word.value),
    };
    out.push(Diagnostic::error("InvalidFlagValue", word.span, message));
    None
}

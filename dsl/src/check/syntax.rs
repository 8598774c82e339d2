//! What can be said of instructions as they stand, without the value of any variable: casing, names, old forms.
//!
//! Knows nothing of images and of the context.

use super::{Out, Rule, instruction_at, stages};
use crate::ast::{Command, Document, Instruction};
use crate::parser::Parsed;
use crate::quote::go_quote;
use crate::span::Span;
use std::collections::HashMap;

/// Names that a stage cannot be referred to by.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// Passes on what the reader of lines found.
pub(super) fn continuations(parsed: &Parsed, out: &mut Out) {
    for found in parsed.diagnostics.iter().filter(|found| found.code == Rule::NoEmptyContinuation.name()) {
        let Some(at) = instruction_at(&parsed.document, found.span) else { continue };
        let last = at.last_line;
        let help = found.help.clone().unwrap_or_default();
        if let Some(finding) = out.report(Rule::NoEmptyContinuation, at, found.span, &found.message, help) {
            // Docker names the line on which the instruction ends, its heredocs not counted.
            let below: usize = at.heredocs.iter().map(|heredoc| heredoc.content.matches('\n').count() + 1).sum();
            let last = last.saturating_sub(u32::try_from(below).unwrap_or(u32::MAX));
            finding.lines = (last, last);
        }
    }
}

/// Checks each instruction, and then all of them together.
pub(super) fn check(document: &Document, out: &mut Out) {
    for instruction in &document.instructions {
        match &instruction.command {
            Command::From(from) => {
                let (from_word, name) = (&instruction.keyword.value, from.name.as_ref());
                if let Some(name) = name {
                    stage_casing(instruction, name, out);
                    keyword_casing(instruction, from_word, out);
                    let lower = name.value.to_lowercase();
                    let stage = lower.split('[').next().unwrap_or_default();
                    description("FROM", &[stage], instruction, out);
                }
            }
            Command::Arg(declarations) => {
                let names: Vec<&str> = declarations.iter().map(|one| one.name.value.as_str()).collect();
                description("ARG", &names, instruction, out);
            }
            Command::Maintainer(name) => {
                out.report(
                    Rule::MaintainerDeprecated,
                    instruction,
                    instruction.keyword.span,
                    "Maintainer instruction is deprecated in favor of using label",
                    format!("write LABEL org.opencontainers.image.authors={}", go_quote(&name.value)),
                );
            }
            _ => {}
        }
    }
    stage_names(document, out);
    majority(document, out);
}

fn stage_casing(from: &Instruction, name: &crate::ast::Word, out: &mut Out) {
    let lower = name.value.to_lowercase();
    if name.value != lower {
        let message = format!("Stage name '{}' should be lowercase", name.value);
        out.report(Rule::StageNameCasing, from, name.span, message, format!("write {lower}"));
    }
}

fn keyword_casing(from: &Instruction, from_word: &str, out: &mut Out) {
    let Some(as_word) = from.value.get(1) else { return };
    let (lower, upper) = (from_word == from_word.to_lowercase(), from_word == from_word.to_uppercase());
    // What is in no single case is a finding of its own.
    let wanted = match (lower, upper) {
        (true, _) => as_word.to_lowercase(),
        (_, true) => as_word.to_uppercase(),
        _ => return,
    };
    if *as_word != wanted {
        let message = format!("'{as_word}' and '{from_word}' keywords' casing do not match");
        out.report(Rule::FromAsCasing, from, as_span(from, as_word), message, format!("write {wanted}"));
    }
}

/// The place of the word `as`: the word before the stage's name.
fn as_span(from: &Instruction, as_word: &str) -> Span {
    let Command::From(head) = &from.command else { return from.span };
    let (Some(name), image) = (&head.name, head.image.span) else { return from.span };
    // Between image and name stand this word and blanks; only a continued line holds more.
    let blanks = (name.span.start - image.end).saturating_sub(u32::try_from(as_word.len()).unwrap_or(u32::MAX));
    if blanks == 2 {
        Span { start: image.end + 1, end: name.span.start - 1 }
    } else {
        Span { start: image.end, end: name.span.start }
    }
}

/// The comment right above is the description that `docker build --call=outline` shows, if it begins with the name.
fn description(keyword: &str, names: &[&str], at: &Instruction, out: &mut Out) {
    // Settings of checks and kiln's own lines are no descriptions.
    let is_setting = |text: &str| text.starts_with("check=") || text.starts_with("kiln:");
    let Some(comment) = at.comments.last().filter(|comment| !is_setting(&comment.value)) else { return };
    let first = comment.value.split(' ').next().unwrap_or_default();
    if names.is_empty() || names.contains(&first) {
        return;
    }
    let example = if names.len() == 1 { names[0] } else { "<arg_key>" };
    out.report(
        Rule::InvalidDefinitionDescription,
        at,
        comment.span,
        format!("Comment for {keyword} should follow the format: `# {example} <description>`"),
        "begin the comment with the name, or put an empty comment line (`#`) below it",
    );
}

fn stage_names(document: &Document, out: &mut Out) {
    let mut seen: HashMap<String, Span> = HashMap::new();
    for (from, head, _) in stages::split(document) {
        let Some(name) = &head.name else { continue };
        let lower = name.value.to_lowercase();
        let quoted = go_quote(&lower);
        if RESERVED.contains(&lower.as_str()) {
            let message = format!("Stage name should not use the same name as reserved stage {quoted}");
            let help = "give the stage another name: this one cannot be used in FROM and COPY --from";
            out.report(Rule::ReservedStageName, from, name.span, message, help);
        }
        if let Some(first) = seen.insert(lower, name.span) {
            let message = format!("Duplicate stage name {quoted}, stage names should be unique");
            let help = "give one of the stages another name: the name means the last of them";
            if let Some(finding) = out.report(Rule::DuplicateStageName, from, name.span, message, help) {
                finding.related.push((first, "first used here".to_owned()));
            }
        }
    }
}

/// Which of its keywords are written in the case of most of them. An ARG before the first FROM does not vote.
fn majority(document: &Document, out: &mut Out) {
    let first = document.instructions.iter().position(|one| matches!(one.command, Command::From(_)));
    let instructions = first.map_or(&[][..], |first| &document.instructions[first..]);
    let instructions: Vec<_> = instructions.iter().filter(|one| !matches!(one.command, Command::Export(_))).collect();
    let count = |change: fn(&str) -> String| {
        instructions.iter().filter(|one| change(&one.keyword.value) == one.keyword.value).count()
    };
    let is_lower = count(str::to_lowercase) > count(str::to_uppercase);
    let case = if is_lower { "lowercase" } else { "uppercase" };
    for instruction in instructions {
        let keyword = &instruction.keyword.value;
        let wanted = if is_lower { keyword.to_lowercase() } else { keyword.to_uppercase() };
        if *keyword != wanted {
            let message = format!("Command '{keyword}' should match the case of the command majority ({case})");
            let span = instruction.keyword.span;
            out.report(Rule::ConsistentInstructionCasing, instruction, span, message, format!("write {wanted}"));
        }
    }
}

//! One step's changes as lines: values as word diffs, file sets as +added −removed ~changed.
//!
//! Pure. At most a few lines a component; values that are shown to nobody are not in the report.

use super::{Detail, words};
use crate::text::clean;
use kiln_engine::explain::report::{ChangeReport, FilesReport, PathReport, WhyReport};
use std::fmt::Write as _;

/// A value up to so many characters is shown whole beside what it was.
const WHOLE_VALUE_CHARS: usize = 40;

/// The changes of a step that no other one began. `instruction` is what the step's own text need not repeat.
pub fn own(out: &mut String, why: &WhyReport, instruction: &str, detail: Detail) {
    for change in &why.changes {
        if why.dragged_along_by.iter().all(|dragged| dragged.component != change.component) {
            lines(out, change, instruction, detail);
        }
    }
}

/// One change.
pub fn lines(out: &mut String, change: &ChangeReport, instruction: &str, detail: Detail) {
    let label = clean::one_line(&change.component);
    if let Some(set) = &change.files {
        files(out, &label, set, detail);
        return;
    }
    let _infallible = match (&change.old, &change.new) {
        _ if change.hidden => writeln!(out, "  {label} {} (its value is hidden)", change.how),
        _ if change.how == "moved" => {
            let place = |value: &Option<String>| value.clone().unwrap_or_default();
            writeln!(out, "  moved from place {} to place {}", place(&change.old), place(&change.new))
        }
        (Some(old), Some(new)) => return value(out, &label, old, new, detail),
        (None, Some(new)) if new == instruction => Ok(()),
        (None, Some(new)) => writeln!(out, "  {label} added: {}", short(new)),
        (Some(old), None) => writeln!(out, "  {label} removed: {}", short(old)),
        (None, None) => writeln!(out, "  {label} {}", change.how),
    };
}

fn short(value: &str) -> String {
    clean::fit(&clean::one_line(value), 2 * WHOLE_VALUE_CHARS)
}

fn value(out: &mut String, label: &str, old: &str, new: &str, detail: Detail) {
    let (old, new) = (unquoted(old), unquoted(new));
    if old.contains('\n') || new.contains('\n') {
        return text_lines(out, label, &old, &new, detail);
    }
    let is_short = |value: &str| value.chars().count() <= WHOLE_VALUE_CHARS && !value.contains(' ');
    let _infallible = if is_short(&old) && is_short(&new) {
        let word = |value: &str| if value.is_empty() { "(empty)".to_owned() } else { clean::one_line(value) };
        writeln!(out, "  {label}: {} → {}", word(&old), word(&new))
    } else {
        writeln!(out, "  {label}: {}", clean::line(&words::diff(&old, &new)))
    };
}

/// A list of one shell command as people wrote it.
fn unquoted(value: &str) -> String {
    let Ok(argv) = serde_json::from_str::<Vec<String>>(value) else { return value.to_owned() };
    match argv.as_slice() {
        [_, flag, command] if flag == "-c" => command.clone(),
        _ => value.to_owned(),
    }
}

/// Texts of several lines: those that went and those that came.
fn text_lines(out: &mut String, label: &str, old: &str, new: &str, detail: Detail) {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(|(x, y)| x == y).count();
    let gone = a[start..a.len() - end].iter().map(|line| ('-', line));
    let come = b[start..b.len() - end].iter().map(|line| ('+', line));
    let _infallible = writeln!(out, "  {label}:");
    let all: Vec<(char, &&str)> = gone.chain(come).collect();
    for (sign, line) in all.iter().take(detail.lines()) {
        let _infallible = writeln!(out, "    {sign} {}", clean::line(line));
    }
    rest(out, all.len(), detail);
}

fn rest(out: &mut String, length: usize, detail: Detail) {
    if length > detail.lines() {
        let _infallible = writeln!(out, "    and {} more: --all shows them", length - detail.lines());
    }
}

fn files(out: &mut String, label: &str, set: &FilesReport, detail: Detail) {
    if !set.known {
        let _infallible = writeln!(out, "  {label} changed (the earlier listing is no longer in the store)");
        return;
    }
    let counts = [("+", set.added), ("−", set.removed), ("~", set.changed), ("→", set.renamed)];
    let counts: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(sign, count)| format!("{sign}{count}")).collect();
    let _infallible = writeln!(out, "  {label}: {}", counts.join(" "));
    for path in set.paths.iter().take(detail.lines()) {
        let _infallible = writeln!(out, "    {}", path_line(path));
    }
    let total = set.added + set.removed + set.changed + set.renamed;
    if total > set.paths.len() && detail.all {
        let _infallible = writeln!(out, "    and {} more, which are not kept", total - set.paths.len());
    }
    rest(out, total, detail);
    if !set.paths.is_empty() && set.paths.iter().all(|path| path.how == "mode") {
        out.push_str("    only modes differ: another umask is the likely cause\n");
    }
    if let Some(name) = &set.ignore_file {
        let _infallible = writeln!(out, "    {name} changed: it decides what is seen");
    }
}

/// `~ src/a.js`, `→ old → new`, `~ run.sh mode 644 → 755`
pub fn path_line(path: &PathReport) -> String {
    let name = clean::one_line(&path.path);
    let value = |value: &Option<String>| value.as_deref().map(clean::one_line).unwrap_or_default();
    match path.how {
        "added" => format!("+ {name}"),
        "removed" => format!("− {name}"),
        "renamed" => format!("→ {} → {name}", value(&path.old)),
        "content" => format!("~ {name}"),
        how if path.old.is_some() => format!("~ {name} {how} {} → {}", value(&path.old), value(&path.new)),
        how => format!("~ {name} {how}"),
    }
}

//! Ignore files and `--exclude`: which paths of a context are left out.
//!
//! The rules are those of Docker's patternmatcher, as its tree walk applies them: patterns in order, the last one that
//! matches wins, `!` takes back, a match of a directory covers all below it. Each pattern is one of four kinds; the
//! three cheap ones compare text, the general one is a [`crate::nfa`] run once over the path, which sees the match of
//! every parent on its way. Docker compiles to regular expressions instead; ours has no blow-up and no compilation.
//! Knows nothing of files on disk.

mod compile;

use crate::nfa::{self, Run, Token};
use std::borrow::Cow;

/// A list of patterns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
    any_negated: bool,
}

/// A line that is no pattern.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: invalid pattern {pattern:?}: {reason}")]
pub struct IgnoreError {
    /// The line, or the pattern's place in a list; counted from 1.
    pub line: u32,
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    line: u32,
    written: String,
    negated: bool,
    kind: Kind,
}

/// How a pattern is compared with a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// The path is the text.
    Exact(String),
    /// The path begins with the text.
    Prefix(String),
    /// The path ends with the text, or is the text without its leading `/`.
    Suffix(String),
    /// Everything else. The plain text at both ends of the pattern refuses most paths without a run.
    Tokens { tokens: Vec<Token>, prefix: String, suffix: String },
}

impl Ignore {
    /// Reads an ignore file.
    ///
    /// # Errors
    /// The first line that is no pattern.
    pub fn parse(text: &str) -> Result<Ignore, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut ignore = Ignore::default();
        for (line, written) in (1..).zip(text.lines()) {
            // A comment begins in the first column; behind blanks, `#` is a character like any other.
            if written.starts_with('#') || written.trim().is_empty() {
                continue;
            }
            let (negated, pattern) = match written.trim().strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, written.trim()),
            };
            let pattern = if pattern.is_empty() { Cow::Borrowed("") } else { compile::clean(pattern) };
            // A leading `/` means the root of the context, as no `/` does.
            let pattern = match pattern.strip_prefix('/') {
                Some(rest) if !rest.is_empty() => rest,
                _ => &pattern,
            };
            ignore.push(line, written.trim(), negated, pattern)?;
        }
        Ok(ignore)
    }

    /// Takes patterns one by one, as `--exclude` has them: no comments, and a leading `/` matches nothing.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn from_patterns<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<Ignore, IgnoreError> {
        let mut ignore = Ignore::default();
        for (line, written) in (1..).zip(patterns) {
            let trimmed = written.trim();
            if trimmed.is_empty() {
                continue;
            }
            // The `!` counts as part of the first component while the path is cleaned.
            let cleaned = compile::clean(trimmed);
            let (negated, pattern) = match cleaned.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, cleaned.as_ref()),
            };
            ignore.push(line, trimmed, negated, pattern)?;
        }
        Ok(ignore)
    }

    fn push(&mut self, line: u32, written: &str, negated: bool, pattern: &str) -> Result<(), IgnoreError> {
        let fail = |reason: String| IgnoreError { line, pattern: written.to_owned(), reason };
        if pattern.is_empty() {
            return Err(fail("nothing stands behind the !".to_owned()));
        }
        let kind = compile::kind(pattern).map_err(|error| fail(error.to_string()))?;
        self.any_negated |= negated;
        self.patterns.push(Pattern { line, written: written.to_owned(), negated, kind });
        Ok(())
    }

    /// Whether it leaves nothing out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a pattern leaves out whatever there is.
    pub fn excludes_everything(&self) -> bool {
        let all = |pattern: &Pattern| {
            let cleaned = compile::clean(&pattern.written);
            matches!(cleaned.strip_prefix('/').unwrap_or(&cleaned), "*" | "**" | "**/*")
        };
        self.patterns.iter().any(|pattern| !pattern.negated && all(pattern))
    }

    /// Whether any pattern takes back.
    pub fn has_negated(&self) -> bool {
        self.any_negated
    }

    /// Whether `path`, relative and parted by `/`, is left out. Patterns do not tell directories from files, so
    /// `_is_dir` decides nothing.
    pub fn excluded(&self, path: &[u8], _is_dir: bool) -> bool {
        if !self.any_negated {
            return self.patterns.iter().any(|pattern| pattern.kind.matches_any_level(path));
        }
        self.deciding(path).is_some()
    }

    /// The line and the pattern that leave `path` out; `None` if it is not left out.
    pub fn matching_line(&self, path: &[u8]) -> Option<(u32, &str)> {
        self.deciding(path).map(|pattern| (pattern.line, pattern.written.as_str()))
    }

    /// Whether a path below the excluded directory `dir` may be taken back, so that a walk must enter it.
    pub fn may_reinclude_below(&self, dir: &[u8]) -> bool {
        self.any_negated && self.patterns.iter().any(|pattern| pattern.negated && pattern.kind.may_match_below(dir))
    }

    /// The pattern that leaves `path` out.
    ///
    /// Goes down from the first component, as a walk does, and carries which patterns have matched a parent: a
    /// pattern that could not change the verdict at a parent is not asked there, and its match there is not
    /// remembered. Docker's walk has this effect, and it shows where patterns overlap.
    fn deciding(&self, path: &[u8]) -> Option<&Pattern> {
        let count = 1 + path.iter().filter(|&&b| b == b'/').count();
        let levels = |pattern: &Pattern| {
            // Most patterns match nothing of a path, which is cheaper to find out than where they match.
            if pattern.kind.matches_any_level(path) { pattern.kind.levels(path, count) } else { Vec::new() }
        };
        let direct: Vec<Vec<bool>> = self.patterns.iter().map(levels).collect();
        if direct.iter().all(Vec::is_empty) {
            return None;
        }
        let mut from_parent = vec![false; self.patterns.len()];
        let mut verdict = None;
        for (level, _) in boundaries(path).enumerate() {
            verdict = None;
            for (index, pattern) in self.patterns.iter().enumerate() {
                if !from_parent[index] {
                    if pattern.negated != verdict.is_some() {
                        continue;
                    }
                    from_parent[index] = direct[index].get(level).copied().unwrap_or(false);
                }
                if from_parent[index] {
                    verdict = (!pattern.negated).then_some(pattern);
                }
            }
        }
        verdict
    }
}

impl Kind {
    /// Whether the pattern matches `path` or one of its parents.
    fn matches_any_level(&self, path: &[u8]) -> bool {
        match self {
            Kind::Exact(text) => path.strip_prefix(text.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/', ..])),
            // What a parent begins with, the path begins with.
            Kind::Prefix(text) => path.starts_with(text.as_bytes()),
            Kind::Suffix(text) => boundaries(path).any(|end| ends_with(&path[..end], text)),
            Kind::Tokens { tokens, prefix, suffix } => {
                if !path.starts_with(prefix.as_bytes())
                    || !boundaries(path).any(|end| path[..end].ends_with(suffix.as_bytes()))
                {
                    return false;
                }
                let mut run = Run::new(tokens);
                for c in nfa::chars(path) {
                    if run.is_dead() || (c == '/' && run.accepts()) {
                        break;
                    }
                    run.step(c);
                }
                run.accepts()
            }
        }
    }

    /// For each of the path's `count` levels, the topmost first, whether the pattern matches the path down to it.
    fn levels(&self, path: &[u8], count: usize) -> Vec<bool> {
        match self {
            Kind::Exact(text) => boundaries(path).map(|end| path[..end] == *text.as_bytes()).collect(),
            Kind::Prefix(text) => boundaries(path).map(|end| path[..end].starts_with(text.as_bytes())).collect(),
            Kind::Suffix(text) => boundaries(path).map(|end| ends_with(&path[..end], text)).collect(),
            Kind::Tokens { tokens, .. } => {
                let mut run = Run::new(tokens);
                let mut levels = Vec::with_capacity(count);
                for c in nfa::chars(path) {
                    if run.is_dead() {
                        break;
                    }
                    if c == '/' {
                        levels.push(run.accepts());
                    }
                    run.step(c);
                }
                if levels.len() < count {
                    levels.push(run.accepts());
                }
                levels.resize(count, false);
                levels
            }
        }
    }

    /// Whether the pattern can match anything below `dir`; it may say yes too often, never no wrongly.
    fn may_match_below(&self, dir: &[u8]) -> bool {
        if self.matches_any_level(dir) {
            return true;
        }
        let below = |text: &str| text.as_bytes().strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"));
        match self {
            Kind::Exact(text) => below(text),
            Kind::Prefix(text) => below(text),
            Kind::Suffix(_) => true,
            Kind::Tokens { tokens, .. } => {
                let mut run = Run::new(tokens);
                for c in nfa::chars(dir).chain(['/']) {
                    run.step(c);
                    if run.is_dead() {
                        return false;
                    }
                }
                true
            }
        }
    }
}

fn ends_with(path: &[u8], suffix: &str) -> bool {
    path.ends_with(suffix.as_bytes()) || suffix.strip_prefix('/').is_some_and(|name| path == name.as_bytes())
}

/// The ends of the path's levels: before each `/`, and the whole.
fn boundaries(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    slashes.chain([path.len()])
}

#[cfg(test)]
mod tests;

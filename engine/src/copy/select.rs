//! Source patterns against a tree of files.
//!
//! A pattern without wildcards names one path, whose symbolic links are followed inside the tree; a
//! pattern with wildcards matches part by part, in path order, and may match nothing. Pure.

use crate::snapshot::{Found, LookupError, Type, resolve_with};
use crate::tree::scan::Facts;
use crate::tree::{Entry, Kind, Tree, TreePath};
use kiln_dsl::ignore::Ignore;
use kiln_dsl::pattern::Pattern;
use std::borrow::Cow;
use std::collections::HashMap;

/// A tree to copy from. Hard links stand as files in it; `links` says which are one file.
#[derive(Clone, Debug, Default)]
pub struct SourceTree {
    /// The entries.
    pub tree: Tree,
    /// Files with several names: the same number is the same file.
    pub links: HashMap<TreePath, (u64, u64)>,
    /// What is known of the files beside that.
    pub facts: Facts,
}

/// How sources are compared with the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Matching {
    /// As patterns; one without wildcards must be there.
    #[default]
    Patterns,
    /// As directories of which a part is taken: `--parents`.
    Parents,
    /// As they are: every character is itself.
    Literal,
}

/// One thing to copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selected {
    /// As written or matched, which decides the name it gets.
    pub written: TreePath,
    /// Where it really is.
    pub real: TreePath,
    /// Whether it is a directory, whose contents are copied.
    pub is_dir: bool,
    /// What of the directory is copied, with the directories on the way; all of it where there is no such list.
    pub include: Option<Ignore>,
}

/// A pattern that selects nothing or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// A path that is not there.
    #[error("{path} not found")]
    NotFound {
        /// As written.
        path: String,
        /// Its number among the sources.
        index: usize,
    },
    /// A pattern that is none.
    #[error("invalid pattern {pattern:?}: {reason}")]
    Pattern {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Symbolic links that lead in circles.
    #[error(transparent)]
    Links(#[from] LookupError),
}

impl SourceTree {
    fn lookup(&self, path: &TreePath) -> Option<Found> {
        if path.is_root() {
            return Some(found(Type::Dir, 0o755));
        }
        let entry = self.tree.get(path)?;
        let file_type = match &entry.kind {
            Kind::Dir { .. } => Type::Dir,
            Kind::Symlink { target } => Type::Symlink(target.clone()),
            Kind::File { .. } | Kind::Hardlink { .. } => Type::File,
            _ => Type::Other,
        };
        Some(found(file_type, entry.mode))
    }

    /// Where `path` really is, links followed inside the tree.
    pub fn resolve(&self, path: &TreePath) -> Result<TreePath, LookupError> {
        resolve_with(path, true, &|path| Ok(self.lookup(path)))
    }

    /// What the patterns select, in their order.
    pub fn select(&self, patterns: &[String], matching: Matching) -> Result<Vec<Selected>, SelectError> {
        let mut all = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            match matching {
                Matching::Patterns => self.select_one(index, pattern, &mut all)?,
                Matching::Parents => self.select_with_parents(index, pattern, &mut all)?,
                Matching::Literal => all.push(self.select_literal(index, pattern, TreePath::new(pattern))?),
            }
        }
        Ok(all)
    }

    /// As BuildKit does it: the directory before the pivot is copied, of which the rest is an include pattern. One
    /// without wildcards names something that must be there.
    fn select_with_parents(&self, index: usize, pattern: &str, all: &mut Vec<Selected>) -> Result<(), SelectError> {
        let (walked, wanted) = pivot(pattern);
        let first = all.len();
        self.select_one(index, walked, all)?;
        let wanted = clean(wanted);
        if wanted.is_empty() {
            return Ok(());
        }
        let include = Ignore::from_patterns(std::iter::once(wanted.as_str()))
            .map_err(|error| SelectError::Pattern { pattern: pattern.to_owned(), reason: error.reason })?;
        let is_literal = !wanted.split('/').any(has_wildcard);
        for one in &mut all[first..] {
            let is_there = || self.tree.get(&one.real.join(wanted.as_bytes())).is_some();
            if !one.is_dir || (is_literal && !is_there()) {
                return Err(SelectError::NotFound { path: pattern.to_owned(), index });
            }
            one.include = Some(include.clone());
        }
        Ok(())
    }

    fn select_literal(&self, index: usize, pattern: &str, written: TreePath) -> Result<Selected, SelectError> {
        let real = self.resolve(&written)?;
        match self.lookup(&real) {
            Some(found) => Ok(Selected { written, real, is_dir: found.file_type == Type::Dir, include: None }),
            None => Err(SelectError::NotFound { path: pattern.to_owned(), index }),
        }
    }

    fn select_one(&self, index: usize, pattern: &str, all: &mut Vec<Selected>) -> Result<(), SelectError> {
        let (fixed, wild) = split_wildcards(pattern);
        if wild.is_empty() {
            all.push(self.select_literal(index, pattern, TreePath::new(&fixed))?);
            return Ok(());
        }
        let matcher = Pattern::parse(&wild)
            .map_err(|error| SelectError::Pattern { pattern: pattern.to_owned(), reason: error.to_string() })?;
        let base = self.resolve(&TreePath::new(&fixed))?;
        let mut inside_match: Option<TreePath> = None;
        for entry in self.tree.below(&base) {
            if inside_match.as_ref().is_some_and(|dir| entry.path.starts_with(dir)) {
                continue;
            }
            let Some(relative) = entry.path.strip_prefix(&base).filter(|relative| !relative.is_root()) else {
                continue;
            };
            if !matcher.matches(relative.as_bytes()) {
                continue;
            }
            if matches!(entry.kind, Kind::Dir { .. }) {
                inside_match = Some(entry.path.clone());
            }
            let real = self.resolve(&entry.path)?;
            // A matched link that leads nowhere is copied as the link it is.
            let (real, is_dir) = match self.lookup(&real) {
                Some(found) => (real, found.file_type == Type::Dir),
                None => return Err(SelectError::NotFound { path: entry.path.display().to_string(), index }),
            };
            all.push(Selected { written: entry.path.clone(), real, is_dir, include: None });
        }
        Ok(())
    }

    /// The entries below a selected directory that are copied, with their paths below it. A directory that is itself
    /// left out comes along where something below it does not. The directory's own metadata is not copied: the
    /// destination's are made or kept.
    pub fn taken(&self, one: &Selected, excludes: Option<&Ignore>) -> Vec<(&Entry, TreePath)> {
        let mut all = Vec::new();
        let mut skipped: Option<&TreePath> = None;
        // Directories on the way that are left out unless something below them is not.
        let mut way: Vec<(&Entry, TreePath)> = Vec::new();
        for entry in self.tree.below(&one.real) {
            if skipped.is_some_and(|dir| entry.path.starts_with(dir)) {
                continue;
            }
            let Some(relative) = entry.path.strip_prefix(&one.real).filter(|path| !path.is_root()) else { continue };
            let is_dir = matches!(entry.kind, Kind::Dir { .. });
            let included = one.include.as_ref().is_none_or(|include| include.excluded(relative.as_bytes(), is_dir));
            let excluded = excludes.is_some_and(|rules| rules.excluded(relative.as_bytes(), is_dir));
            if included && !excluded {
                way.retain(|(dir, _)| entry.path.starts_with(&dir.path));
                all.append(&mut way);
                all.push((entry, relative));
                continue;
            }
            if is_dir && excluded && !excludes.is_some_and(|rules| rules.may_reinclude_below(relative.as_bytes())) {
                skipped = Some(&entry.path);
            } else if is_dir {
                way.retain(|(dir, _)| entry.path.starts_with(&dir.path));
                way.push((entry, relative));
            }
        }
        all
    }

    /// Everything that copying `selected` reads, by its place in this tree: what the key of the step
    /// is made of. With `without_modes`, modes do not count, because a `--chmod` replaces them.
    pub fn read_by(&self, selected: &[Selected], excludes: Option<&Ignore>, without_modes: bool) -> Cow<'_, Tree> {
        let whole = selected.len() == 1 && selected[0].real.is_root() && selected[0].include.is_none();
        if whole && excludes.is_none() && !without_modes && self.links.is_empty() {
            return Cow::Borrowed(&self.tree);
        }
        let mut entries: Vec<Entry> = Vec::new();
        for one in selected {
            let mut push = |entry: &Entry| {
                let mode = if without_modes { 0 } else { entry.mode };
                entries.push(Entry { mode, ..entry.clone() });
            };
            if one.is_dir {
                self.taken(one, excludes).into_iter().for_each(|(entry, _)| push(entry));
            } else {
                self.tree.get(&one.real).into_iter().for_each(push);
            }
        }
        Cow::Owned(Tree::new(crate::tree::upper::fold_links(Tree::new(entries).into_entries(), &self.links)))
    }
}

fn found(file_type: Type, mode: u32) -> Found {
    Found { file_type, mode, uid: 0, gid: 0, mtime: crate::tree::Mtime::default(), xattrs: Vec::new() }
}

/// What stands before and behind the `/./` of a source under `--parents`; without one, all of it stands behind.
pub fn pivot(pattern: &str) -> (&str, &str) {
    match pattern.split_once("/./") {
        Some((walked, wanted)) if !walked.is_empty() => (walked, wanted),
        Some((_, wanted)) => ("/", wanted),
        None => ("/", pattern),
    }
}

/// A pattern as a relative path: `.` and `..` resolved, the root never left.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The parts of a path before its first wildcard, and the rest.
pub(crate) fn split_wildcards(pattern: &str) -> (String, String) {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let first = parts.iter().position(|part| has_wildcard(part)).unwrap_or(parts.len());
    (parts[..first].join("/"), parts[first..].join("/"))
}

/// Whether a part of a path has an unescaped `*`, `?` or `[`.
pub fn has_wildcard(part: &str) -> bool {
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// The first part of what a pattern can reach, for reading no more of a context than is copied;
/// `None` where it can reach anything.
pub fn first_part(pattern: &str) -> Option<TreePath> {
    let path = TreePath::new(split_wildcards(pattern).0);

    path.parts().next().map(TreePath::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Mtime;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: TreePath::new(path),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        }
    }

    fn source() -> SourceTree {
        let file = || Kind::File { size: 0, content: blake3::hash(b"").into() };
        let link = |target: &str| Kind::Symlink { target: target.as_bytes().into() };
        let entries = vec![
            entry("a.js", file()),
            entry("b.js", file()),
            entry("dir", Kind::Dir { opaque: false }),
            entry("dir/c.js", file()),
            entry("ln", link("dir")),
            entry("out", link("../../dir/c.js")),
        ];
        SourceTree { tree: Tree::new(entries), ..SourceTree::default() }
    }

    fn select(patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        match source().select(&patterns, Matching::Patterns) {
            Ok(all) => all.iter().map(|one| format!("{}>{}", one.written.display(), one.real.display())).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn literal_sources_follow_links_and_must_exist() {
        assert_eq!(select(&["a.js", "/dir/"]), ["a.js>a.js", "dir>dir"]);
        assert_eq!(select(&["ln"]), ["ln>dir"]);
        assert_eq!(select(&["out"]), ["out>dir/c.js"]);
        assert_eq!(select(&["../../a.js"]), ["a.js>a.js"]);
        assert_eq!(select(&["."]), [">"]);
        assert_eq!(select(&["none"]), ["none not found"]);
    }

    #[test]
    fn wildcards_match_part_by_part_and_may_match_nothing() {
        assert_eq!(select(&["*.js"]), ["a.js>a.js", "b.js>b.js"]);
        assert_eq!(select(&["d*/*.js"]), ["dir/c.js>dir/c.js"]);
        assert_eq!(select(&["*.css"]), Vec::<String>::new());
        assert_eq!(select(&["[ab].js", "d?r"]), ["a.js>a.js", "b.js>b.js", "dir>dir"]);
    }

    fn taken(pattern: &str, excludes: &[&str]) -> String {
        let source = source();
        let excludes = Ignore::from_patterns(excludes.iter().copied()).unwrap();
        match source.select(&[pattern.to_owned()], Matching::Parents) {
            Ok(all) => {
                let taken = all.iter().flat_map(|one| source.taken(one, Some(&excludes)));
                taken.map(|(_, path)| path.display().to_string()).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn with_parents_a_file_brings_its_directories_from_the_pivot_on() {
        assert_eq!(taken("dir/c.js", &[]), "dir dir/c.js");
        assert_eq!(taken("./dir/c.js", &[]), "dir dir/c.js");
        assert_eq!(taken("dir/./c.js", &[]), "c.js");
        assert_eq!(taken("/./dir", &[]), "dir dir/c.js");
        assert_eq!(taken("d*/./*.js", &[]), "c.js");
        assert_eq!(taken("**/*.js", &[]), "a.js b.js dir dir/c.js");
        assert_eq!(taken("**/*.js", &["dir"]), "a.js b.js");
        assert_eq!(taken("*.css", &[]), "");
        assert_eq!(taken("ln", &[]), "ln");
        assert_eq!(taken("ln/c.js", &[]), "ln/c.js not found");
        assert_eq!(taken("ln/./c.js", &[]), "c.js");
        assert_eq!(taken("none/x", &[]), "none/x not found");
        assert_eq!(taken("a.js/./x", &[]), "a.js/./x not found");
        assert_eq!(taken(".", &["**/*.js"]), "dir ln out");
    }

    #[test]
    fn a_pattern_says_how_much_of_a_context_it_can_reach() {
        assert_eq!(first_part("src/*.js"), Some(TreePath::new("src")));
        assert_eq!(first_part("*.js"), None);
        assert_eq!(first_part("."), None);
        assert_eq!(first_part("/x/../y"), None.or(first_part("y")));
    }
}

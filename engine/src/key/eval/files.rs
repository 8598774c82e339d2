//! `files(…)`: patterns to one listing, of which only what counts is left.
//!
//! A pattern that matches a directory takes in all that is below it; one without wildcards names a path, whose links
//! are followed. Links that patterns match count as the links they are. Pure apart from the world.

use super::{Failure, Fault, World, nothing, text, wrong};
use crate::key::declared::{Glob, Place};
use crate::tree::{Entry, Kind, Tree, TreePath};
use kiln_dsl::ignore::Ignore;
use kiln_dsl::key::Normaliser;
use std::collections::BTreeMap;

/// The listing of what the patterns select.
pub(super) fn tree(
    place: &Place,
    globs: &[Glob],
    normalisers: &[Normaliser],
    world: &dyn World,
) -> Result<Tree, Failure> {
    let mut excluded = Vec::new();
    for glob in globs.iter().filter(|glob| glob.negated) {
        excluded.push(Matcher::new(glob, place, world)?);
    }
    let mut found: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for glob in globs.iter().filter(|glob| !glob.negated) {
        let matcher = Matcher::new(glob, place, world)?;
        let mut matched = false;
        for entry in matcher.entries(place, world)? {
            if excluded.iter().any(|other| other.matches(&entry.path)) {
                continue;
            }
            matched = true;
            found.insert(entry.path.clone(), entry);
        }
        if !matched {
            return Err(nothing(format!("{:?} matches nothing in {}", glob.text, place.words())));
        }
    }
    let counts = Counts::of(normalisers);
    let mut entries = Vec::with_capacity(found.len());
    for entry in found.into_values() {
        entries.push(counts.apply(entry, place, normalisers, world)?);
    }
    Ok(Tree::new(entries))
}

/// A pattern in a place: its fixed part resolved, the rest ready to match.
pub(in crate::key) struct Matcher {
    base: TreePath,
    rest: Option<Ignore>,
}

impl Matcher {
    fn new(glob: &Glob, place: &Place, world: &dyn World) -> Result<Self, Failure> {
        let base = world.resolve(place, &glob.base)?;
        let rest = match glob.rest.as_str() {
            "" => None,
            rest => Some(Ignore::from_patterns(std::iter::once(rest)).map_err(|error| wrong(error.to_string()))?),
        };
        Ok(Matcher { base, rest })
    }

    /// The matcher of a pattern, for those who know of no failure but the world's.
    pub fn of(glob: &Glob, place: &Place, world: &dyn World) -> Result<Self, Fault> {
        Matcher::new(glob, place, world).map_err(|failure| match failure {
            Failure::Fault(fault) => fault,
            Failure::Reason(reason) => reason.into(),
        })
    }

    /// Whether it selects `path`, as far as paths decide.
    pub fn matches(&self, path: &TreePath) -> bool {
        match (&self.rest, path.strip_prefix(&self.base)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(rest), Some(relative)) => !relative.is_root() && rest.excluded(relative.as_bytes(), false),
        }
    }

    /// What it selects.
    fn entries(&self, place: &Place, world: &dyn World) -> Result<Vec<Entry>, Failure> {
        let mut all = Vec::new();
        if self.rest.is_none() {
            all.extend(if self.base.is_root() { None } else { world.entry(place, &self.base)? });
            // A file has nothing below it.
            if all.iter().any(|entry| !matches!(entry.kind, Kind::Dir { .. })) {
                return Ok(all);
            }
        }
        all.extend(world.below(place, &self.base)?.into_iter().filter(|entry| self.matches(&entry.path)));
        Ok(all)
    }
}

/// What of a file counts.
struct Counts {
    content: bool,
    mode: bool,
    owner: bool,
}

impl Counts {
    /// All of it, unless normalisers say what.
    fn of(normalisers: &[Normaliser]) -> Self {
        let has = |one| normalisers.contains(&one);
        let is_said = normalisers.iter().any(|one| !one.is_about_text() && *one != Normaliser::Names);
        let names_only = has(Normaliser::Names) && !is_said;
        let all = !is_said && !names_only;
        let text = normalisers.iter().any(|one| one.is_about_text());
        Counts {
            content: all || has(Normaliser::Content) || text,
            mode: all || has(Normaliser::Mode),
            owner: all || has(Normaliser::Owner),
        }
    }

    fn apply(
        &self,
        mut entry: Entry,
        place: &Place,
        normalisers: &[Normaliser],
        world: &dyn World,
    ) -> Result<Entry, Failure> {
        if let Kind::File { size, content } = &mut entry.kind {
            if !self.content {
                (*size, *content) = (0, blake3::hash(b"").into());
            } else if normalisers.iter().any(|one| one.is_about_text()) {
                let bytes = world.read(place, &entry.path)?;
                let name = entry.path.file_name().unwrap_or_default();
                let read = text::normalise(&bytes, name, normalisers).map_err(wrong)?;
                (*size, *content) = (read.len() as u64, blake3::hash(&read).into());
            }
        }
        if let Kind::Symlink { target } = &mut entry.kind
            && !self.content
        {
            *target = Box::default();
        }
        if !self.mode {
            entry.mode = 0;
        }
        if !self.owner {
            (entry.uid, entry.gid) = (0, 0);
        }
        if !self.mode || !self.owner {
            entry.xattrs.clear();
        }
        entry.mtime = crate::tree::Mtime::default();
        Ok(entry)
    }
}

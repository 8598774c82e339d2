//! Which steps of a plan read which paths of the context. Pure.

use super::declared;
use crate::copy::select::split_wildcards;
use crate::plan::{ContextId, Origin, Plan, StepKind};
use crate::tree::TreePath;
use kiln_dsl::ignore::Ignore;
use kiln_dsl::pattern::Pattern;
use std::collections::HashSet;

/// The context of the command line.
const CONTEXT: Origin = Origin::Context(ContextId(0));

/// What one step reads.
#[derive(Default)]
struct Reader {
    sources: Vec<Source>,
    excludes: Option<Ignore>,
}

/// What one source names.
struct Source {
    /// The part without wildcards.
    fixed: TreePath,
    wild: Wild,
}

enum Wild {
    /// Everything at and below the fixed part.
    All,
    Matching(Pattern),
}

/// What the steps of a plan read, each step by its place in [`Plan::shown`].
pub(crate) struct Reads {
    readers: Vec<Reader>,
    /// The steps that need a step's result.
    dependents: Vec<Vec<usize>>,
}

impl Reads {
    /// What the steps of `plan` read.
    pub fn of(plan: &Plan) -> Self {
        let mut readers: Vec<Reader> = plan.shown.iter().map(|_| Reader::default()).collect();
        let mut dependents = vec![Vec::new(); plan.shown.len()];
        for (id, step) in plan.graph.nodes() {
            dependents[step.shown].extend(plan.graph.dependents(id).map(|other| plan.graph.get(other).shown));
            let reader = &mut readers[step.shown];
            match &step.kind {
                StepKind::Copy(copy) if copy.origin == CONTEXT => {
                    reader.sources.extend(copy.sources.iter().map(|(pattern, _)| Source::of(pattern)));
                    reader.excludes = Ignore::from_patterns(copy.excludes.iter().map(String::as_str)).ok();
                }
                StepKind::Run(run) => {
                    let mounts = run.mounts.iter().filter(|mount| mount.origin == Some(CONTEXT));
                    reader.sources.extend(mounts.map(|mount| Source::of(mount.mount.source.as_deref().unwrap_or("/"))));
                    let stated = run.key.iter().flat_map(|key| declared::context_patterns(key));
                    // A pattern of a key takes in more than one of COPY: whatever is where it begins.
                    let begins = stated.filter(|(id, _)| *id == 0).map(|(_, pattern)| split_wildcards(&pattern).0);
                    reader.sources.extend(begins.map(|fixed| Source { fixed: TreePath::new(fixed), wild: Wild::All }));
                }
                _ => {}
            }
        }
        Reads { readers, dependents }
    }

    /// The steps that read one of `paths`, and all that need their results. Where the context has symbolic
    /// links, what they lead to is not worked out: then whoever reads anything is meant.
    pub fn affected(&self, paths: &[TreePath], has_links: bool) -> HashSet<usize> {
        let reads =
            |reader: &Reader| !reader.sources.is_empty() && (has_links || paths.iter().any(|path| reader.reads(path)));
        let mut waiting: Vec<usize> = (0..self.readers.len()).filter(|step| reads(&self.readers[*step])).collect();
        let mut affected: HashSet<usize> = HashSet::new();
        while let Some(step) = waiting.pop() {
            if affected.insert(step) {
                waiting.extend(&self.dependents[step]);
            }
        }
        affected
    }
}

impl Source {
    fn of(pattern: &str) -> Self {
        let (fixed, wild) = split_wildcards(pattern);
        let wild = match Pattern::parse(&wild) {
            Ok(pattern) if !wild.is_empty() => Wild::Matching(pattern),
            // What is no pattern is the build's error to tell.
            _ => Wild::All,
        };
        Source { fixed: TreePath::new(fixed), wild }
    }

    fn reads(&self, path: &TreePath, excludes: Option<&Ignore>) -> bool {
        // Something above it may have become a directory, or ceased to be one.
        if self.fixed.starts_with(path) {
            return true;
        }
        let Some(relative) = path.strip_prefix(&self.fixed) else { return false };
        match &self.wild {
            Wild::All => !excludes.is_some_and(|rules| rules.excluded(relative.as_bytes(), false)),
            Wild::Matching(pattern) => {
                let mut above = relative.ancestors();
                above.push(relative);
                above.iter().any(|part| pattern.matches(part.as_bytes()))
            }
        }
    }
}

impl Reader {
    fn reads(&self, path: &TreePath) -> bool {
        self.sources.iter().any(|source| source.reads(path, self.excludes.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(patterns: &[&str], excludes: &[&str], path: &str) -> bool {
        let reader = Reader {
            sources: patterns.iter().map(|pattern| Source::of(pattern)).collect(),
            excludes: Ignore::from_patterns(excludes.iter().copied()).ok(),
        };
        reader.reads(&TreePath::new(path))
    }

    #[test]
    fn a_source_reads_itself_what_is_below_and_what_makes_the_way_to_it() {
        assert!(reads(&["src/"], &[], "src/a/b") && reads(&["/src"], &[], "src") && reads(&["."], &[], "x"));
        assert!(reads(&["src/app"], &[], "src"));
        assert!(!reads(&["src/"], &[], "docs/a") && !reads(&["src"], &[], "src2"));
    }

    #[test]
    fn a_pattern_reads_what_it_matches_and_what_is_below_that() {
        assert!(reads(&["*.json"], &[], "package.json") && !reads(&["*.json"], &[], "README.md"));
        assert!(reads(&["p*/x"], &[], "pa/x/deep") && !reads(&["p*/x"], &[], "pa/y"));
        assert!(!reads(&["*.json"], &[], "src/package.json"));
    }

    #[test]
    fn what_is_excluded_is_not_read() {
        assert!(!reads(&["."], &["*.md"], "README.md") && reads(&["."], &["*.md"], "main.rs"));
    }

    #[test]
    fn whoever_needs_a_step_that_reads_is_affected() {
        let mut readers: Vec<Reader> = (0..4).map(|_| Reader::default()).collect();
        readers[1].sources.push(Source::of("src"));
        let plan = Reads { readers, dependents: vec![vec![1], vec![2], vec![], vec![]] };
        let affected = |path: &str, links| {
            let mut all: Vec<usize> = plan.affected(&[TreePath::new(path)], links).into_iter().collect();
            all.sort_unstable();
            all
        };
        assert_eq!(affected("src/a", false), [1, 2]);
        assert!(affected("docs", false).is_empty());
        assert_eq!(affected("docs", true), [1, 2]);
    }
}

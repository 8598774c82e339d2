//! Which steps of a plan read which paths of the contexts, and which are those of another plan. Pure.

use super::{declared, keys};
use crate::copy::select::split_wildcards;
use crate::key::declared::What;
use crate::key::{Component, Key};
use crate::plan::{ContextId, Origin, Plan, Step, StepKind};
use crate::tree::TreePath;
use kiln_dsl::ignore::Ignore;
use kiln_dsl::pattern::Pattern;
use std::collections::HashSet;

/// What one step reads.
#[derive(Default)]
struct Reader {
    sources: Vec<Source>,
    excludes: Option<Ignore>,
    /// It asks for the commit of a context's repository.
    asks_commit: bool,
}

/// What one source names.
struct Source {
    context: usize,
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
    /// What each step does and stands on, all but the content of files.
    identities: Vec<Identity>,
}

/// The same in two plans where a step does the same on the same.
pub(crate) type Identity = [u8; 32];

impl Reads {
    /// What the steps of `plan` read.
    pub fn of(plan: &Plan) -> Self {
        let mut readers: Vec<Reader> = plan.shown.iter().map(|_| Reader::default()).collect();
        let mut dependents = vec![Vec::new(); plan.shown.len()];
        let mut identities = vec![Identity::default(); plan.shown.len()];
        let mut of_node: Vec<Identity> = Vec::with_capacity(plan.graph.len());
        for (id, step) in plan.graph.nodes() {
            let inputs: Vec<Identity> = plan.graph.inputs(id).map(|input| of_node[input.index()]).collect();
            of_node.push(identity(step, &inputs));
            // An image that an instruction reads comes before it and is shown with it.
            identities[step.shown] = of_node[id.index()];
            dependents[step.shown].extend(plan.graph.dependents(id).map(|other| plan.graph.get(other).shown));
            let reader = &mut readers[step.shown];
            match &step.kind {
                StepKind::Copy(copy) => {
                    let Origin::Context(ContextId(context)) = copy.origin else { continue };
                    reader.sources.extend(copy.sources.iter().map(|(pattern, _)| Source::of(context, pattern)));
                    reader.excludes = Ignore::from_patterns(copy.excludes.iter().map(String::as_str)).ok();
                }
                StepKind::Run(run) => {
                    for mount in &run.mounts {
                        let Some(Origin::Context(ContextId(context))) = mount.origin else { continue };
                        reader.sources.push(Source::of(context, mount.mount.source.as_deref().unwrap_or("/")));
                    }
                    for (context, pattern) in run.key.iter().flat_map(|key| declared::context_patterns(key)) {
                        // A pattern of a key takes in more than one of COPY: whatever is where it begins.
                        let fixed = TreePath::new(split_wildcards(&pattern).0);
                        reader.sources.push(Source { context, fixed, wild: Wild::All });
                    }
                    let mut parts = run.key.iter().flat_map(|key| &key.parts);
                    reader.asks_commit = parts.any(|part| matches!(part.what, What::Git { context: Some(_), .. }));
                }
                _ => {}
            }
        }
        Reads { readers, dependents, identities }
    }

    /// The steps that read one of `paths` of a context, and all that need their results. Where the context has
    /// symbolic links, what they lead to is not worked out: then whoever reads anything of it is meant.
    pub fn affected(&self, context: usize, paths: &[TreePath], has_links: bool) -> HashSet<usize> {
        self.with_dependents(|step| {
            let reader = &self.readers[step];
            match has_links && !paths.is_empty() {
                true => reader.reads_any_of(context),
                false => paths.iter().any(|path| reader.reads(context, path)),
            }
        })
    }

    /// The steps that read anything of a context, and all that need their results.
    pub fn readers_of(&self, context: usize) -> HashSet<usize> {
        self.with_dependents(|step| self.readers[step].reads_any_of(context))
    }

    /// The steps that ask for a commit, and all that need their results.
    pub fn askers(&self) -> HashSet<usize> {
        self.with_dependents(|step| self.readers[step].asks_commit)
    }

    /// The steps that `newer` does not have.
    pub fn without(&self, newer: &Reads) -> HashSet<usize> {
        let kept: HashSet<&Identity> = newer.identities.iter().collect();
        (0..self.identities.len()).filter(|step| !kept.contains(&self.identities[*step])).collect()
    }

    /// What names a step in other plans.
    pub fn identity(&self, step: usize) -> Identity {
        self.identities.get(step).copied().unwrap_or_default()
    }

    fn with_dependents(&self, is_meant: impl Fn(usize) -> bool) -> HashSet<usize> {
        let mut waiting: Vec<usize> = (0..self.readers.len()).filter(|step| is_meant(*step)).collect();
        let mut affected: HashSet<usize> = HashSet::new();
        while let Some(step) = waiting.pop() {
            if affected.insert(step) {
                waiting.extend(&self.dependents[step]);
            }
        }
        affected
    }
}

/// What a step does on steps with these identities. Two that are told apart though they are the same only cost an
/// execution that is stopped; two that are not, though they differ, one that goes on in vain.
fn identity(step: &Step, inputs: &[Identity]) -> Identity {
    let text = |label: &str, value: String| Component::text(label, value);
    let mut parts = match &step.kind {
        StepKind::Base(base) => vec![text("base", format!("{base:?}"))],
        StepKind::Source(source) => vec![text("source", format!("{source:?}"))],
        StepKind::Merge(merge) => vec![text("merge", format!("{merge:?}"))],
        StepKind::Workdir(workdir) => vec![text("workdir", format!("{workdir:?}"))],
        StepKind::Copy(copy) => {
            let origin = match &copy.origin {
                Origin::Context(id) => format!("{id:?}"),
                Origin::Step { node, .. } => format!("{}", node.is_some()),
            };
            let owner = format!("{:?} {}", copy.chown, copy.link);
            keys::copy(copy, text("files", origin), None, owner)
        }
        StepKind::Run(run) => {
            let mut parts = keys::run(run, run.offline);
            parts.extend(keys::environment(run));
            parts.extend(run.key.iter().map(|key| text("key", format!("{key:?}"))));
            let contexts = run.mounts.iter().map(|mount| match mount.origin {
                Some(Origin::Context(id)) => format!("{id:?}"),
                _ => String::new(),
            });
            parts.push(text("mounted contexts", contexts.collect::<Vec<_>>().join(" ")));
            parts
        }
    };
    parts.extend(inputs.iter().map(|input| text("input", format!("{input:?}"))));
    *Key::new("IDENTITY", parts).id().as_bytes()
}

impl Source {
    fn of(context: usize, pattern: &str) -> Self {
        let (fixed, wild) = split_wildcards(pattern);
        let wild = match Pattern::parse(&wild) {
            Ok(pattern) if !wild.is_empty() => Wild::Matching(pattern),
            // What is no pattern is the build's error to tell.
            _ => Wild::All,
        };
        Source { context, fixed: TreePath::new(fixed), wild }
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
    fn reads(&self, context: usize, path: &TreePath) -> bool {
        let mut sources = self.sources.iter().filter(|source| source.context == context);
        sources.any(|source| source.reads(path, self.excludes.as_ref()))
    }

    fn reads_any_of(&self, context: usize) -> bool {
        self.sources.iter().any(|source| source.context == context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(patterns: &[&str], excludes: &[&str], path: &str) -> bool {
        let reader = Reader {
            sources: patterns.iter().map(|pattern| Source::of(0, pattern)).collect(),
            excludes: Ignore::from_patterns(excludes.iter().copied()).ok(),
            asks_commit: false,
        };
        reader.reads(0, &TreePath::new(path))
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
        readers[1].sources.push(Source::of(0, "src"));
        readers[3].sources.push(Source::of(1, "src"));
        let dependents = vec![vec![1], vec![2], vec![], vec![]];
        let plan = Reads { readers, dependents, identities: vec![Identity::default(); 4] };
        let sorted = |found: HashSet<usize>| {
            let mut all: Vec<usize> = found.into_iter().collect();
            all.sort_unstable();
            all
        };
        let affected = |context, path: &str, links| sorted(plan.affected(context, &[TreePath::new(path)], links));
        assert_eq!(affected(0, "src/a", false), [1, 2]);
        assert_eq!(affected(1, "src/a", false), [3]);
        assert!(affected(0, "docs", false).is_empty());
        assert_eq!(affected(0, "docs", true), [1, 2]);
        assert_eq!(sorted(plan.readers_of(0)), [1, 2]);
        assert!(plan.affected(0, &[], true).is_empty());
    }

    fn planned(text: &str) -> Reads {
        let parsed = kiln_dsl::parser::parse(text);
        let host = kiln_dsl::platform::Platform::host();
        let options = crate::plan::Options::new(host);
        let wanted = crate::plan::Wanted { document: &parsed.document, options: &options, stages: &[None] };
        let Ok(crate::plan::Planned::Plan(plan, _)) = crate::plan::plan(&[wanted], &crate::plan::Images::new()) else {
            panic!("{text:?} is no plan");
        };
        Reads::of(&plan)
    }

    #[test]
    fn a_step_is_the_same_in_another_plan_where_it_does_the_same_on_the_same() {
        let old =
            planned("FROM scratch AS a\nCOPY x /\nRUN make\nRUN test\nFROM scratch\nCOPY y /\nCOPY --from=a /x /");
        let gone = |text: &str| {
            let mut all: Vec<usize> = old.without(&planned(text)).into_iter().collect();
            all.sort_unstable();
            all
        };
        let same = "# a comment\nFROM scratch AS a\nCOPY x /\n\nRUN make\nRUN test\nLABEL a=b\n\
                    FROM scratch\nCOPY y /\nCOPY --from=a /x /";
        assert!(gone(same).is_empty());
        let edited = same.replace("RUN test", "RUN test -v");
        assert_eq!(gone(&edited), [3, 6], "what stands on it too");
        let another = same.replace("COPY x /", "ENV A=1\nCOPY x /");
        assert_eq!(gone(&another), [2, 3, 6], "a variable that only RUN sees");
    }
}

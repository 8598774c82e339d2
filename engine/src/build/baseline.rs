//! The build that a build is compared with: the newest of the same project, of the same target where there
//! is one.
//!
//! Read once, before the first step; the keys of its steps only when a step misses. What cannot be read is
//! as good as not there.

use super::book::written;
use super::{File, context_name};
use crate::api::Request;
use crate::digest::{KeyId, LayerId};
use crate::explain::align::{self, Alignment, Item, Origin};
use crate::explain::record::Before;
use crate::explain::{Build, BuildStep, Compared, Presence, Verdict};
use crate::key::Component;
use crate::plan::Plan;
use crate::store::Store;
use crate::store::builds::{Head, Keys, ProjectId, Stored};
use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

/// The earlier build, and which instruction of it is which of this one.
pub(crate) struct Baseline {
    stored: Vec<Stored>,
    /// Which of them it is.
    chosen: usize,
    pub build: Option<Build>,
    pub alignment: Alignment,
    keys: OnceLock<Keys>,
    by_key: OnceLock<HashMap<KeyId, Compared>>,
    now: OnceLock<HashMap<usize, usize>>,
    makers: OnceLock<HashMap<LayerId, usize>>,
}

/// How many builds are searched for a key that the store has no record of.
const BUILDS_SEARCHED: usize = 20;

/// The project of a build: its context with its Dockerfile, wherever they are named from.
pub(crate) fn project(root: &Path, dockerfile: &Path) -> (String, String, ProjectId) {
    let (context, file) = (context_name(root), context_name(dockerfile));
    let id = ProjectId::new(&context, &file);
    (context, file, id)
}

impl Baseline {
    pub fn load(store: &Store, project: ProjectId, request: &Request, plan: &Plan, file: &File) -> Self {
        let stored = store.builds_of(project).unwrap_or_default();
        let (target, platform) = (super::record::target(request), super::record::platform(plan));
        // Of most builds the head is enough.
        let of_target = |one: &Stored| {
            let fits = |head: Head| head.build.asked.target == target && head.build.asked.platform == platform;
            store.head(one).is_ok_and(|head| head.is_some_and(fits))
        };
        let read = |(index, one)| Some((index, store.build(one).ok()??));
        let all = || stored.iter().enumerate();
        let found = all().filter(|(_, one)| of_target(one)).find_map(read).or_else(|| all().find_map(read));
        let (chosen, build) = found.map_or((0, None), |(index, build)| (index, Some(build)));
        let old: Vec<Item<'_>> = build
            .iter()
            .flat_map(|build| &build.steps)
            .map(|step| Item { stage: &step.stage, platform: &step.platform, text: &step.written })
            .collect();
        let texts: Vec<_> = plan.shown.iter().map(|shown| written(shown, file)).collect();
        let items = plan.shown.iter().zip(&texts);
        let new: Vec<Item<'_>> =
            items.map(|(shown, text)| Item { stage: &shown.stage, platform: &shown.lane, text }).collect();
        let alignment = align::align(&old, &new);
        Baseline {
            stored,
            chosen,
            build,
            alignment,
            keys: OnceLock::new(),
            by_key: OnceLock::new(),
            now: OnceLock::new(),
            makers: OnceLock::new(),
        }
    }

    /// The earlier instruction that this one was.
    pub fn old(&self, shown: usize) -> Option<&BuildStep> {
        self.build.as_ref()?.steps.get(self.alignment.origins[shown].old()?)
    }

    /// Whether an instruction was written or moved since; `false` where nothing earlier is known.
    pub fn is_new_or_moved(&self, shown: usize) -> bool {
        self.build.is_some() && matches!(self.alignment.origins[shown], Origin::New | Origin::Moved(_))
    }

    /// The key of the earlier instruction; empty where it had none, or is not known.
    pub fn components(&self, store: &Store, shown: usize) -> &[Component] {
        let Some(old) = self.alignment.origins[shown].old() else { return &[] };
        let keys = self.keys.get_or_init(|| {
            let stored = self.stored.get(self.chosen).filter(|_| self.build.is_some());
            stored.and_then(|stored| store.keys_of(stored).ok().flatten()).unwrap_or_default()
        });
        keys.get(old).map_or(&[], Vec::as_slice)
    }

    /// The newest execution under exactly this key that the project's builds know of.
    pub fn with_key(&self, store: &Store, key: KeyId) -> Option<Compared> {
        let by_key = self.by_key.get_or_init(|| {
            let mut all = HashMap::new();
            let newest = self.stored.iter().take(BUILDS_SEARCHED);
            for build in newest.filter_map(|stored| store.build(stored).ok().flatten()) {
                for step in build.steps.into_iter().filter(|step| step.verdict.ran()) {
                    let compared = Compared {
                        build: Some(build.id),
                        nanos: build.started_nanos,
                        name: step.name,
                        failed: matches!(step.verdict, Verdict::Failed(_)),
                    };
                    step.key.map(|key| all.entry(key).or_insert(compared));
                }
            }
            all
        });
        by_key.get(&key).cloned()
    }

    /// The place, in this build, of what was an instruction of the earlier one.
    pub fn now(&self, old: usize) -> Option<usize> {
        let now = self.now.get_or_init(|| {
            let origins = self.alignment.origins.iter().enumerate();
            origins.rev().filter_map(|(now, origin)| Some((origin.old()?, now))).collect()
        });
        now.get(&old).copied()
    }

    /// The first instruction of the earlier build whose layer is this one.
    pub fn maker(&self, layer: LayerId) -> Option<usize> {
        let makers = self.makers.get_or_init(|| {
            let steps = self.build.iter().flat_map(|build| &build.steps).enumerate();
            let made: Vec<_> = steps.filter_map(|(at, step)| Some((step.layer?, at))).collect();
            made.into_iter().rev().collect()
        });
        makers.get(&layer).copied()
    }

    /// What happened to a build argument since.
    pub fn build_arg(&self, name: &str, value: Option<&str>) -> Option<Presence> {
        let build = self.build.as_ref()?;
        let old = build.asked.build_args.iter().find(|(other, _)| other == name).map(|(_, digest)| *digest);
        let new = value.map(super::record::digest);
        (old != new).then(|| Presence::of(old.as_ref(), new.as_ref()))
    }

    /// What is kept of it with this build.
    pub fn summary(&self) -> Option<Before> {
        let build = self.build.as_ref()?;
        Some(Before {
            id: build.id,
            started_nanos: build.started_nanos,
            asked: build.asked.clone(),
            removed: self.alignment.removed.iter().map(|&old| build.steps[old].name.clone()).collect(),
            stages_moved: self.alignment.stages_moved,
        })
    }
}

//! `kiln builds`, `explain`, `diff` and `log`: what the store remembers of builds.
//!
//! Reads records and listings; what they mean is [`crate::explain`]'s.

use super::{open, store_failed};
use crate::api::ManageError;
use crate::digest::LayerId;
use crate::event::Stream;
use crate::explain::report::{BuildReport, BuildRow, ComponentReport, StepDetail, StepReport};
use crate::explain::{Build, diff as explain_diff};
use crate::key::{Component, Value};
use crate::registry::Reference;
use crate::stack::Stacks;
use crate::store::Store;
use crate::store::builds::{Keys, Steps, Stored};
use std::path::Path;

/// Which build is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Which<'a> {
    /// An id, the beginning of one, or the name of an image; none is the last build.
    pub name: Option<&'a str>,
    /// The directory whose builds come first where no name is given.
    pub directory: Option<&'a Path>,
}

/// The beginning of an id is at least so long: shorter ones would be taken for numbers of steps.
const PREFIX_MIN: usize = 4;

/// All builds, the newest first.
pub fn builds(path: &Path) -> Result<Vec<BuildRow>, ManageError> {
    let Some(store) = open(path)? else { return Ok(Vec::new()) };
    let failed = store_failed(path);
    let mut rows = Vec::new();
    for stored in store.builds().map_err(&failed)? {
        let head = store.head(&stored).map_err(&failed)?;
        rows.extend(head.map(|head| BuildRow::new(&head.build, &head.totals)));
    }
    Ok(rows)
}

/// Whether a word means a build of the store.
pub fn is_build(path: &Path, name: &str) -> Result<bool, ManageError> {
    let Some(store) = open(path)? else { return Ok(false) };
    Ok(find(&store, path, Which { name: Some(name), directory: None })?.is_some())
}

/// A build explained.
pub fn explain(path: &Path, which: Which<'_>) -> Result<BuildReport, ManageError> {
    let (_, build, _) = load(path, which)?;
    Ok(BuildReport::new(&build))
}

/// One step of a build, with its key. `step` is its number from 1, or a part of its name.
pub fn explain_step(path: &Path, which: Which<'_>, step: &str) -> Result<StepDetail, ManageError> {
    let (store, build, keys) = load(path, which)?;
    let index = step_of(&build, step)?;
    let found = &build.steps[index];
    let has_log = found.key.is_some_and(|key| store.has_log(key));
    Ok(StepDetail {
        build: build.id.to_string(),
        step: StepReport::new(index, found),
        components: keys.get(index).into_iter().flatten().map(ComponentReport::new).collect(),
        has_log,
    })
}

/// What a step wrote when it ran: pieces in their order.
pub fn log(path: &Path, which: Which<'_>, step: &str) -> Result<Vec<(Stream, String)>, ManageError> {
    let (store, build, _) = load(path, which)?;
    let found = &build.steps[step_of(&build, step)?];
    let log = match found.key {
        Some(key) => store.log(key).map_err(store_failed(path))?,
        None => None,
    };
    log.ok_or_else(|| ManageError::NoLog { step: found.name.clone() })
}

/// What differs between two builds, as if the second had been made after the first.
pub fn diff(path: &Path, old: &str, new: &str) -> Result<BuildReport, ManageError> {
    let unknown = |name: &str| ManageError::UnknownBuild { name: Some(name.to_owned()) };
    let store = open(path)?.ok_or_else(|| unknown(old))?;
    let of = |name| read(&store, path, Which { name: Some(name), directory: None })?.ok_or_else(|| unknown(name));
    let ((old, old_keys), (new, new_keys)) = (of(old)?, of(new)?);
    let listing = |id| store.tree(id).ok().flatten();
    let stacks = Stacks::new(|id| store.db().stack(id).ok().flatten());
    let differs = explain_diff::diff((&old, &old_keys), (&new, &new_keys), &listing, &stacks);
    Ok(BuildReport::new(&differs))
}

fn load(path: &Path, which: Which<'_>) -> Result<(Store, Build, Keys), ManageError> {
    let unknown = || ManageError::UnknownBuild { name: which.name.map(str::to_owned) };
    let store = open(path)?.ok_or_else(unknown)?;
    let (build, keys) = read(&store, path, which)?.ok_or_else(unknown)?;
    Ok((store, build, keys))
}

fn read(store: &Store, path: &Path, which: Which<'_>) -> Result<Option<(Build, Keys)>, ManageError> {
    match find(store, path, which)? {
        Some(stored) => store.build_with_keys(&stored).map_err(store_failed(path)),
        None => Ok(None),
    }
}

fn find(store: &Store, path: &Path, which: Which<'_>) -> Result<Option<Stored>, ManageError> {
    let failed = store_failed(path);
    let all = store.builds().map_err(&failed)?;
    let Some(name) = which.name else {
        // A record that a power cut left half written counts for nothing.
        let mut newest = None;
        for stored in &all {
            let Some(head) = store.head(stored).map_err(&failed)? else { continue };
            let is_here = which.directory.is_none_or(|here| Path::new(&head.build.asked.context) == here);
            let is_whole = || Ok(store.steps(stored).map_err(&failed)?.as_deref().and_then(Steps::read).is_some());
            if (is_here || newest.is_none()) && is_whole()? {
                if is_here {
                    return Ok(Some(stored.clone()));
                }
                newest = Some(stored.clone());
            }
        }
        return Ok(newest);
    };
    if name.len() >= PREFIX_MIN
        && let Some(stored) = all.iter().find(|stored| stored.id.to_string().starts_with(name))
    {
        return Ok(Some(stored.clone()));
    }
    let Ok(reference) = Reference::parse(name) else { return Ok(None) };
    let canonical = reference.to_string();
    for stored in all {
        if store.head(&stored).map_err(&failed)?.is_some_and(|head| head.build.names.contains(&canonical)) {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

/// What a step of a build left behind, and how commands ran there.
pub(crate) struct AfterStep {
    /// What the step is called.
    pub name: String,
    /// The layers after it, or before it where it failed; the bottom one first.
    pub layers: Vec<LayerId>,
    pub env: Vec<(String, String)>,
    pub workdir: String,
    pub user: String,
    /// The image that its stage begins with, by its id, where no command told the rest.
    pub base: Option<String>,
}

/// What is known of the state after a step; the last build's where none is named.
pub(crate) fn after_step(store: &Store, path: &Path, which: Which<'_>, step: &str) -> Result<AfterStep, ManageError> {
    let unknown = || ManageError::UnknownBuild { name: which.name.map(str::to_owned) };
    let (build, keys) = read(store, path, which)?.ok_or_else(unknown)?;
    let index = step_of(&build, step)?;
    let found = &build.steps[index];
    let component = |at: usize, label: &str| {
        let component = keys.get(at)?.iter().find(|component| component.label == label)?;
        Some(&component.value)
    };
    // A command that failed stands on what its key says.
    let below = match component(index, "parent") {
        Some(Value::Stack(stack)) if found.stack.is_none() => Some(stack.id()),
        _ => None,
    };
    let same_stage = |at: &usize| build.steps[*at].stage == found.stage && build.steps[*at].platform == found.platform;
    let earlier: Vec<usize> = (0..=index).rev().filter(same_stage).collect();
    let stack = || earlier.iter().find_map(|&at| build.steps[at].stack);
    let layers = match below.or_else(stack) {
        Some(snapshot) => store.stack(snapshot).map_err(store_failed(path))?,
        None => None,
    };
    let layers = layers.ok_or_else(|| ManageError::NoFiles { step: found.name.clone() })?;
    let text = |at: usize, label: &str| match component(at, label) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let command = earlier.iter().copied().find(|&at| component(at, "the command").is_some());
    let mut after = AfterStep {
        name: found.name.clone(),
        layers,
        env: Vec::new(),
        workdir: command.map(|at| text(at, "the working directory")).unwrap_or_default(),
        user: command.map(|at| text(at, "the user")).unwrap_or_default(),
        base: None,
    };
    match command {
        Some(at) => {
            for Component { label, value } in keys.get(at).into_iter().flatten() {
                // What is hidden in a key is known to nobody.
                if let (Some((_, name)), Value::Text(value)) = (label.split_once(' '), value)
                    && (label.starts_with("ENV ") || label.starts_with("ARG "))
                {
                    after.env.push((name.to_owned(), value.clone()));
                }
            }
        }
        None => after.base = earlier.iter().map(|&at| text(at, "the image")).find(|image| !image.is_empty()),
    }
    Ok(after)
}

/// The place of the step that `name` means: its number from 1, else a part of its name.
fn step_of(build: &Build, name: &str) -> Result<usize, ManageError> {
    if let Ok(number) = name.parse::<usize>()
        && (1..=build.steps.len()).contains(&number)
    {
        return Ok(number - 1);
    }
    // `build:3` is the step whose name begins with `[build 3/`.
    if let Some((stage, number)) = name.split_once(':')
        && number.parse::<usize>().is_ok()
        && let Some(index) = build.steps.iter().position(|step| step.name.starts_with(&format!("[{stage} {number}/")))
    {
        return Ok(index);
    }
    let wanted = name.to_lowercase();
    let fits: Vec<usize> =
        (0..build.steps.len()).filter(|&index| build.steps[index].name.to_lowercase().contains(&wanted)).collect();
    let named = |fits: &[usize]| -> Vec<String> {
        fits.iter().map(|&index| format!("{} {}", index + 1, build.steps[index].name)).collect()
    };
    let (build_id, name) = (build.id.to_string(), name.to_owned());
    match fits.as_slice() {
        [one] => Ok(*one),
        [] => {
            let steps = named(&(0..build.steps.len()).collect::<Vec<_>>());
            Err(ManageError::UnknownStep { build: build_id, name, steps })
        }
        several => Err(ManageError::AmbiguousStep { build: build_id, name, fits: named(several) }),
    }
}

//! A build's error without the values of arguments whose names speak of secrets. Knows nothing of what went wrong.

use super::copy_step::changed_meanwhile;
use crate::api::BuildError;
use crate::explain::secrecy::SecretArguments;

/// The error with the arguments' names in the place of their values.
pub(super) fn named(error: BuildError, secrets: &SecretArguments) -> BuildError {
    // That a file changed meanwhile is found by what the error is made of.
    if changed_meanwhile(&error) {
        return error;
    }
    let text = |text: String| secrets.named_in(&text).into_owned();
    match error {
        BuildError::Step { step, place, source } => {
            BuildError::Step { step, place, source: secrets.named_in_error(source) }
        }
        BuildError::Fetch { step, place, source } => {
            BuildError::Fetch { step, place, source: secrets.named_in_error(source) }
        }
        BuildError::Key { step, place, source, advice } => {
            BuildError::Key { step, place, source: secrets.named_in_error(source), advice: advice.map(text) }
        }
        BuildError::Pull { image, place, near, source } => {
            BuildError::Pull { image: text(image), place, near, source: secrets.named_in_error(source) }
        }
        BuildError::MissingSource { step, place, path, root, excluded, similar } => BuildError::MissingSource {
            step,
            place,
            path: text(path),
            root: text(root),
            excluded,
            similar: similar.map(text),
        },
        BuildError::MergeConflict { step, place, conflicts } => {
            BuildError::MergeConflict { step, place, conflicts: text(conflicts) }
        }
        BuildError::Uncovered { step, place, paths } => BuildError::Uncovered { step, place, paths: text(paths) },
        BuildError::Missed { step, place, reason } => BuildError::Missed { step, place, reason: text(reason) },
        BuildError::NotDeterministic { steps } => {
            BuildError::NotDeterministic { steps: steps.into_iter().map(text).collect() }
        }
        other => other,
    }
}

//! A part of a stated key that the rest of the key has already, so that it decides nothing.
//!
//! Only what follows from the key alone: whether a command needs what its key names is seen when it runs.

use super::super::stages::Stage;
use super::super::{Out, Rule};
use crate::key::set::{Element, KeySet};
use crate::key::{Atom, Place};

pub(in super::super) fn check(stage: &Stage<'_>, out: &mut Out) {
    for at in stage.instructions {
        let Some(key) = &at.key else { continue };
        for element in &key.set.elements {
            if let Some((why, help)) = needless(element, &key.set) {
                let message = format!("Key part '{}' decides nothing: {why}", element.text);
                // A part that a KEY line names stands elsewhere; the finding is the step's.
                let span =
                    if (key.span.start..key.span.end).contains(&element.span.start) { element.span } else { key.span };
                out.report(Rule::NeedlessKeyPart, at, span, message, help);
            }
        }
    }
}

/// Why an element of a key decides nothing, and what to do about it.
fn needless(element: &Element, set: &KeySet) -> Option<(&'static str, String)> {
    let is_out = |atom: &Atom| set.without.iter().any(|other| other.atom == *atom);
    let has_default = set.has(&Atom::Default);
    let has_parent = set.has(&Atom::Parent) || (has_default && !is_out(&Atom::Parent));
    let text = &element.text;
    let in_snapshot = match &element.atom {
        Atom::Files(files) => files.place == Place::Snapshot,
        Atom::Absent(path) | Atom::Data { path, .. } | Atom::Lines { path, .. } => path.place == Place::Snapshot,
        _ => false,
    };
    match &element.atom {
        Atom::Platform => Some(("the platform is in every key", "remove it".to_owned())),
        Atom::Parent if has_default => Some(("default has it", "remove it".to_owned())),
        Atom::Env(_) | Atom::Arg(_) if has_default && !is_out(&element.atom) => {
            Some(("default has all variables", "remove it".to_owned()))
        }
        _ if in_snapshot && has_parent => Some((
            "the key has all files below the step",
            match has_default {
                true => format!("remove it, or write default - parent + {text}"),
                false => "remove it, or remove parent".to_owned(),
            },
        )),
        _ => None,
    }
}

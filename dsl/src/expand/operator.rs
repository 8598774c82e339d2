//! What the operators of `${name…}` make of a value and an operand.
//!
//! The operand stands at the end of the output; the result takes its place.

use super::{ExpandErrorKind, MAX_EXPANDED_BYTES};
use crate::glob::{Glob, InvalidEscape};

/// An operator with one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Operator {
    kind: Kind,
    /// Written with `:`, which makes an empty value count as unset.
    empty_is_unset: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Default,
    Alternative,
    Require,
    TrimPrefix,
    TrimSuffix,
}

impl Operator {
    /// The operator of `c`; `None` for an unknown one, and for a `:` before one that takes a pattern.
    pub fn new(c: char, empty_is_unset: bool) -> Option<Operator> {
        let kind = match c {
            '-' => Kind::Default,
            '+' => Kind::Alternative,
            '?' => Kind::Require,
            '#' if !empty_is_unset => Kind::TrimPrefix,
            '%' if !empty_is_unset => Kind::TrimSuffix,
            _ => return None,
        };
        Some(Operator { kind, empty_is_unset })
    }

    /// Whether the operand is a pattern, in which escapes stay.
    pub fn takes_pattern(self) -> bool {
        matches!(self.kind, Kind::TrimPrefix | Kind::TrimSuffix)
    }
}

/// Replaces the operand, which is `out[start..]`, by the result.
pub(super) fn apply(
    operator: Operator,
    name: &str,
    value: Option<&str>,
    out: &mut String,
    start: usize,
) -> Result<(), ExpandErrorKind> {
    let present = value.filter(|value| !(operator.empty_is_unset && value.is_empty()));
    match (operator.kind, present) {
        // The operand is the result, and already there.
        (Kind::Default, None) | (Kind::Alternative, Some(_)) => {}
        (Kind::Alternative, None) => out.truncate(start),
        (Kind::Default | Kind::Require, Some(value)) => {
            out.truncate(start);
            out.push_str(value);
        }
        (Kind::Require, None) => {
            let default = if value.is_none() { "is not allowed to be unset" } else { "is not allowed to be empty" };
            let written = &out[start..];
            let message = if written.is_empty() { default } else { written }.to_owned();
            return Err(ExpandErrorKind::Required { name: name.to_owned(), message });
        }
        (Kind::TrimPrefix | Kind::TrimSuffix, _) => {
            let operand = out.split_off(start);
            let sign = if operator.kind == Kind::TrimPrefix { '#' } else { '%' };
            let longest = operand.strip_prefix(sign);
            let pattern = longest.unwrap_or(&operand);
            let glob = Glob::parse(pattern).map_err(|error| invalid(pattern, error))?;
            let value = value.unwrap_or_default();
            out.push_str(match operator.kind {
                Kind::TrimPrefix => glob.trim_prefix(value, longest.is_some()),
                _ => glob.trim_suffix(value, longest.is_some()),
            });
        }
    }
    Ok(())
}

/// Replaces pattern and replacement, `out[start..at]` and `out[at..]`, by the value with its matches replaced.
pub(super) fn replace(
    value: Option<&str>,
    all: bool,
    out: &mut String,
    start: usize,
    at: usize,
) -> Result<(), ExpandErrorKind> {
    let replacement = out.split_off(at);
    let pattern = out.split_off(start);
    let glob = Glob::parse(&pattern).map_err(|error| invalid(&pattern, error))?;
    let value = value.unwrap_or_default();
    let replaced = if all {
        glob.replace_all(value, &replacement, MAX_EXPANDED_BYTES).ok_or(ExpandErrorKind::TooLong)?
    } else {
        glob.replace_first(value, &replacement)
    };
    out.push_str(&replaced);
    Ok(())
}

fn invalid(pattern: &str, error: InvalidEscape) -> ExpandErrorKind {
    ExpandErrorKind::InvalidPattern {
        pattern: pattern.to_owned(),
        escape: error.0.map(String::from).unwrap_or_default(),
    }
}

//! How a step ended, and why: the one closed list that text, JSON and the store share.
//!
//! Each value carries the word that is printed for it; nothing else spells one. Knows nothing of how
//! it was found.

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Its result was known: nothing ran.
    Hit(Hit),
    /// It ran.
    Miss(Miss),
    /// It failed: it ran for this cause, or could not even be looked up.
    Failed(Option<Miss>),
    /// It did not run, because something else failed or the build was stopped.
    Cancelled,
}

/// Why a result was known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Hit {
    /// The store has a record under the same key.
    Local,
    /// The files below changed, but none that the earlier execution depended on.
    Traced,
    /// Nothing that the step's declared key names changed; what is below it is not in that key.
    Declared,
    /// A step before it ran again and came out the same.
    EarlyCutoff,
    /// An instruction that only changes the image's configuration: there is never anything to run.
    Configuration,
}

/// Why a step had to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Miss {
    /// No earlier execution of it is known.
    FirstTime,
    /// Something that it depends on by itself is not what it was.
    Changed,
    /// Only what earlier steps made is not what it was.
    ParentChanged,
    /// Its key is the one of an earlier execution, whose result the store no longer has.
    Evicted,
    /// Only the time that its key allows is over.
    Expired,
    /// No earlier result was to be looked up.
    Forced,
    /// With this key it was tried before, and failed.
    PreviousFailed,
    /// Its key says that it always runs.
    Uncacheable,
}

impl Verdict {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Hit(_) => "hit",
            Verdict::Miss(_) => "miss",
            Verdict::Failed(_) => "failed",
            Verdict::Cancelled => "cancelled",
        }
    }

    /// The word for its kind: `local`, `parent changed`. None for a step that did not get so far.
    pub fn kind(self) -> Option<&'static str> {
        match self {
            Verdict::Hit(hit) => Some(hit.word()),
            Verdict::Miss(miss) => Some(miss.word()),
            Verdict::Failed(miss) => miss.map(Miss::word),
            Verdict::Cancelled => None,
        }
    }

    /// Whether its command was started or its files were written.
    pub fn ran(self) -> bool {
        matches!(self, Verdict::Miss(_) | Verdict::Failed(_))
    }
}

impl Hit {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Hit; 5] = [Hit::Local, Hit::Traced, Hit::Declared, Hit::EarlyCutoff, Hit::Configuration];

    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Hit::Local => "local",
            Hit::Traced => "traced",
            Hit::Declared => "declared",
            Hit::EarlyCutoff => "early cutoff",
            Hit::Configuration => "configuration",
        }
    }
}

impl Miss {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Miss; 8] = [
        Miss::FirstTime,
        Miss::Changed,
        Miss::ParentChanged,
        Miss::Evicted,
        Miss::Expired,
        Miss::Forced,
        Miss::PreviousFailed,
        Miss::Uncacheable,
    ];

    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Miss::FirstTime => "first time",
            Miss::Changed => "changed",
            Miss::ParentChanged => "parent changed",
            Miss::Evicted => "evicted",
            Miss::Expired => "expired",
            Miss::Forced => "forced",
            Miss::PreviousFailed => "previous failed",
            Miss::Uncacheable => "uncacheable",
        }
    }
}

/// A verdict as the two fields `verdict` and `kind` of an object.
pub fn as_fields<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Verdict", 2)?;
    fields.serialize_field("verdict", verdict.word())?;
    fields.serialize_field("kind", &verdict.kind())?;
    fields.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_word_stands_for_two_kinds() {
        let words: Vec<&str> = Hit::ALL.map(Hit::word).into_iter().chain(Miss::ALL.map(Miss::word)).collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
    }

    #[test]
    fn a_verdict_is_two_fields_beside_others() {
        #[derive(Serialize)]
        struct Row {
            step: usize,
            #[serde(flatten, serialize_with = "as_fields")]
            verdict: Verdict,
        }
        let json = |verdict| serde_json::to_string(&Row { step: 1, verdict }).unwrap();
        assert_eq!(json(Verdict::Miss(Miss::ParentChanged)), r#"{"step":1,"verdict":"miss","kind":"parent changed"}"#);
        assert_eq!(json(Verdict::Cancelled), r#"{"step":1,"verdict":"cancelled","kind":null}"#);
    }
}

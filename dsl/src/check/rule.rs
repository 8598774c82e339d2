//! The checks by name: what each says in general, where it is documented, who else has it.
//!
//! Knows nothing of how a check finds anything.

use serde::{Serialize, Serializer};
use std::fmt;

/// A check. The first 22 are Docker's build checks, under Docker's names; the others are kiln's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "`Rule::description` says what each is")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
    CopyBeforeInstall,
    UnusedCacheMount,
    UnusedArg,
    UnusedStage,
    NeedlessKeyPart,
}

use Rule::*;

/// Name, the last part of the page's address (empty: no page), and what it says in general.
const TABLE: [(Rule, &str, &str, &str); 27] = [
    (StageNameCasing, "StageNameCasing", "stage-name-casing", "Stage names should be lowercase"),
    (FromAsCasing, "FromAsCasing", "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword"),
    (
        NoEmptyContinuation,
        "NoEmptyContinuation",
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        ConsistentInstructionCasing,
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    (DuplicateStageName, "DuplicateStageName", "duplicate-stage-name", "Stage names should be unique"),
    (ReservedStageName, "ReservedStageName", "reserved-stage-name", "Reserved words should not be used as stage names"),
    (
        JSONArgsRecommended,
        "JSONArgsRecommended",
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    (
        MaintainerDeprecated,
        "MaintainerDeprecated",
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    (UndefinedArgInFrom, "UndefinedArgInFrom", "undefined-arg-in-from", "FROM command must use declared ARGs"),
    (
        WorkdirRelativePath,
        "WorkdirRelativePath",
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the \
         base image changes",
    ),
    (UndefinedVar, "UndefinedVar", "undefined-var", "Variables should be defined before their use"),
    (
        MultipleInstructionsDisallowed,
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        LegacyKeyValueFormat,
        "LegacyKeyValueFormat",
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        InvalidBaseImagePlatform,
        "InvalidBaseImagePlatform",
        "",
        "Base image platform does not match expected target platform",
    ),
    (
        RedundantTargetPlatform,
        "RedundantTargetPlatform",
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        SecretsUsedInArgOrEnv,
        "SecretsUsedInArgOrEnv",
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (
        InvalidDefaultArgInFrom,
        "InvalidDefaultArgInFrom",
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        FromPlatformFlagConstDisallowed,
        "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value",
    ),
    (
        CopyIgnoredFile,
        "CopyIgnoredFile",
        "copy-ignored-file",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    (
        InvalidDefinitionDescription,
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is \
         not intended to be a description comment, add an empty line or comment between the instruction and the \
         comment.",
    ),
    (
        ExposeProtoCasing,
        "ExposeProtoCasing",
        "expose-proto-casing",
        "Protocol in EXPOSE instruction should be lowercase",
    ),
    (
        ExposeInvalidFormat,
        "ExposeInvalidFormat",
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a \
         future release",
    ),
    (
        CopyBeforeInstall,
        "CopyBeforeInstall",
        "",
        "Files that an installation does not need should be copied after it, so that their changes do not repeat it",
    ),
    (UnusedCacheMount, "UnusedCacheMount", "", "A cache mount should be used by the command that it is mounted for"),
    (UnusedArg, "UnusedArg", "", "A declared argument should be used"),
    (UnusedStage, "UnusedStage", "", "A stage should be part of the image, or be used by a stage that is"),
    (NeedlessKeyPart, "NeedlessKeyPart", "", "What a stated key names should decide something"),
];

impl Rule {
    /// Every check, Docker's first.
    pub fn all() -> impl Iterator<Item = Rule> {
        TABLE.iter().map(|row| row.0)
    }

    /// The check of this name, in this very spelling.
    pub fn parse(name: &str) -> Option<Rule> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    fn row(self) -> &'static (Rule, &'static str, &'static str, &'static str) {
        &TABLE[self as usize]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What it says in general, a sentence without its stop.
    pub fn description(self) -> &'static str {
        self.row().3
    }

    /// Docker's page about it; empty where there is none.
    pub fn url(self) -> String {
        match self.row().2 {
            "" => String::new(),
            page => format!("https://docs.docker.com/go/dockerfile/rule/{page}/"),
        }
    }

    /// Whether it runs only where the file asks for it.
    pub fn is_experimental(self) -> bool {
        self == InvalidDefinitionDescription
    }

    /// Whether only kiln has it. Its findings are advice: they never fail a check or a build.
    pub fn is_advice(self) -> bool {
        self >= CopyBeforeInstall
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_check_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!((row.0 as usize, row.1), (index, format!("{:?}", row.0).as_str()));
            assert_eq!(Rule::parse(row.1), Some(row.0));
        }
        assert_eq!(TABLE.iter().filter(|row| !row.0.is_advice()).count(), 22);
        assert_eq!(UndefinedVar.url(), "https://docs.docker.com/go/dockerfile/rule/undefined-var/");
    }
}

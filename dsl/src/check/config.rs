//! Which checks run: `# check=skip=A,B;error=true;experimental=all`, for a file or for one instruction.
//!
//! Knows nothing of findings. The notation is BuildKit's, its limits and slips included: three options at most, the
//! value ends at its first blank, a name that no check has does nothing.

use super::rule::Rule;
use crate::ast::Word;
use crate::directive;
use std::collections::BTreeSet;

/// The settings in force.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    skip_all: bool,
    skip: BTreeSet<String>,
    experimental_all: bool,
    experimental: BTreeSet<String>,
    /// Whether a finding is a failure.
    pub error: bool,
}

/// Text that is no setting.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// No option of this name, or one without a value.
    #[error("invalid check option {0:?}")]
    Option(String),
    /// `error=` with something else than a Boolean.
    #[error("failed to parse check option {0:?}: it is neither true nor false")]
    Boolean(String),
}

/// As many parts are told apart; the last one keeps what follows.
const MAX_OPTIONS: usize = 3;

impl Config {
    /// Reads the value of a directive or of a build argument.
    ///
    /// # Errors
    /// On an option that does not exist or has no sensible value.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(config);
        }
        for part in text.splitn(MAX_OPTIONS, ';') {
            let Some((name, value)) = part.split_once('=') else { return Err(ConfigError::Option(part.to_owned())) };
            let names = || value.split(',').map(|name| name.trim().to_owned()).collect();
            match (name.trim(), value.trim()) {
                ("skip", "all") => config.skip_all = true,
                ("skip", _) => config.skip = names(),
                ("experimental", "all") => config.experimental_all = true,
                ("experimental", _) => config.experimental = names(),
                ("error", value) => {
                    config.error = match value {
                        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
                        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
                        _ => return Err(ConfigError::Boolean(part.to_owned())),
                    }
                }
                (name, _) => return Err(ConfigError::Option(name.to_owned())),
            }
        }
        Ok(config)
    }

    /// Reads the value of a `# check=` directive, which ends at its first blank.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn of_directive(value: &str) -> Result<Config, ConfigError> {
        Config::parse(value.split(' ').next().unwrap_or_default())
    }

    /// What a comment above an instruction adds for that instruction alone; the first `# check=` counts.
    pub(super) fn of_comments(comments: &[Word]) -> Option<Config> {
        let found = comments.iter().find_map(|comment| directive::read(&comment.value, ""));
        let found = found.filter(|directive| directive.kind == directive::Kind::Check)?;
        Config::of_directive(found.value).ok()
    }

    /// Whether findings of `rule` are wanted.
    pub(super) fn runs(&self, rule: Rule) -> bool {
        if rule.is_experimental() {
            return self.experimental_all || self.experimental.contains(rule.name());
        }
        !self.skip_all && !self.skip.contains(rule.name())
    }

    /// Whether this and the instruction's own settings want findings of `rule`.
    pub(super) fn runs_with(&self, own: Option<&Config>, rule: Rule) -> bool {
        match own {
            None => self.runs(rule),
            Some(own) if rule.is_experimental() => self.runs(rule) || own.runs(rule),
            Some(own) => self.runs(rule) && own.runs(rule),
        }
    }

    /// The names in it that no check has.
    pub fn unknown_names(&self) -> impl Iterator<Item = &str> {
        let names = self.skip.iter().chain(&self.experimental);
        names.map(String::as_str).filter(|name| !name.is_empty() && Rule::parse(name).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_order_with_blanks_around_them() {
        let config = Config::parse(" error = true ; skip= StageNameCasing , UndefinedVar;experimental=all").unwrap();
        assert!(config.error && !config.runs(Rule::UndefinedVar) && !config.runs(Rule::StageNameCasing));
        assert!(config.runs(Rule::FromAsCasing) && config.runs(Rule::InvalidDefinitionDescription));
        let config = Config::parse("skip=all").unwrap();
        assert!(Rule::all().all(|rule| !config.runs(rule)));
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert!(!Config::default().runs(Rule::InvalidDefinitionDescription));
    }

    #[test]
    fn what_is_no_option_is_refused_by_name() {
        let told = |text| Config::parse(text).unwrap_err().to_string();
        insta::assert_snapshot!([told("skip"), told("skip=a;what=b"), told("error=perhaps"), told(";")].join("\n"), @r#"
        invalid check option "skip"
        invalid check option "what"
        failed to parse check option "error=perhaps": it is neither true nor false
        invalid check option ""
        "#);
    }

    #[test]
    fn a_directive_ends_at_its_first_blank_and_unknown_names_are_found() {
        let config = Config::of_directive("skip=UndefinedVar, StageNameCasing").unwrap();
        assert!(!config.runs(Rule::UndefinedVar) && config.runs(Rule::StageNameCasing));
        let config = Config::parse("skip=Nosuch,all").unwrap();
        assert_eq!(config.unknown_names().collect::<Vec<_>>(), ["Nosuch", "all"]);
    }
}

//! `kiln.ron`, the project file: what a project says once, so that nobody has to type it.
//!
//! It is looked for in the context directory and nowhere else. RON; a field that is not known is an error,
//! so that a slip is never taken for a wish. Variables of the environment go before it, and flags before
//! both. Knows nothing of what the values are used for.

use crate::failure::UsageError;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::span::Span;
use kiln_dsl::suggest;
use kiln_engine::registry::{Mirror, Options};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Its name.
pub const FILE: &str = "kiln.ron";

/// What a project says. Each part has a default, so that a file states only what it is about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Project {
    /// How registries are reached.
    pub registry: Registry,
}

/// How registries are reached.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// The mirrors of each registry, asked in their order before it.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Registries (`host:port`) that are spoken to without TLS.
    pub insecure: Vec<String>,
}

impl Project {
    /// The project file in the directory `context`; a default where there is none.
    pub fn of(context: &Path) -> Result<Self, UsageError> {
        let path = context.join(FILE);
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&name, &text),
            // A context that is not there is the build's error.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Project::default())
            }
            Err(error) => Err(UsageError::Unreadable { file: name, reason: error.to_string() }),
        }
    }

    /// Adds what the environment leaves open: mirrors for registries that it names none for, and the list of
    /// registries without TLS where it has none.
    pub fn complete(&self, options: &mut Options) {
        for (registry, urls) in &self.registry.mirrors {
            let mirrors: Vec<Mirror> = urls.iter().filter_map(|url| Mirror::new(registry, url).ok()).collect();
            if !mirrors.iter().any(|mine| options.mirrors.iter().any(|known| known.registry == mine.registry)) {
                options.mirrors.extend(mirrors);
            }
        }
        if options.insecure.is_empty() {
            options.insecure.clone_from(&self.registry.insecure);
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Project, UsageError> {
    let wrong = |span: Span, message: String, help: Option<String>| {
        let finding = Diagnostic { help, ..Diagnostic::error("ProjectFile", span, message) };
        UsageError::Project { file: name.to_owned(), text: text.to_owned(), finding: Box::new(finding) }
    };
    let project: Project = ron::from_str(text).map_err(|error| {
        let span = Span::new(offset(text, error.span.start), offset(text, error.span.end));
        let help = match &error.code {
            ron::Error::NoSuchStructField { expected, found, .. } => suggest::nearest(found, expected.iter().copied())
                .map(|near| format!("did you mean {near}?"))
                .or_else(|| Some(format!("the fields are {}", expected.join(", ")))),
            _ => None,
        };
        let message = match &error.code {
            ron::Error::NoSuchStructField { found, .. } => format!("there is no field {found:?} here"),
            code => code.to_string(),
        };
        wrong(span, message, help)
    })?;
    for (registry, urls) in &project.registry.mirrors {
        for url in urls {
            if let Err(error) = Mirror::new(registry, url) {
                // RON does not say where a value stood; a text that has no escapes is found again.
                let quoted = format!("{url:?}");
                let span = text.find(&quoted).map_or(Span::new(0, 0), |at| Span::new(at, at + quoted.len()));
                return Err(wrong(span, error.to_string(), None));
            }
        }
    }
    Ok(project)
}

/// Where a line and a column are in bytes.
fn offset(text: &str, position: ron::error::Position) -> usize {
    let line: usize = text.split_inclusive('\n').take(position.line.saturating_sub(1)).map(str::len).sum();
    let column: usize = text[line..].chars().take(position.col.saturating_sub(1)).map(char::len_utf8).sum();
    line + column
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::report::{self, Look};

    fn shown(text: &str) -> String {
        match parse("kiln.ron", text) {
            Ok(project) => format!("{project:?}"),
            Err(error) => report::failure(&Failure::Usage(error), Look { colour: false, unicode: false, width: 100 }),
        }
    }

    #[test]
    fn a_file_states_only_what_it_is_about() {
        let text = r#"(registry: (mirrors: {"docker.io": ["http://localhost:5000"]}, insecure: ["reg.lan:5000"]))"#;
        let project = parse("kiln.ron", text).unwrap();
        assert_eq!(project.registry.mirrors["docker.io"], ["http://localhost:5000"]);
        assert_eq!(parse("kiln.ron", "()").unwrap(), Project::default());
    }

    #[test]
    fn what_means_nothing_is_shown_with_its_line_and_column() {
        let all = [
            "(registry: (\n    miror: {},\n))",
            "(registery: ())",
            "(registry: (mirrors: {\"docker.io\": \"http://x\"}))",
            "(registry: (insecure: [5]))",
            "(registry: (",
            "",
            "(\n  registry: (mirrors: {\"docker.io\": [\"localhost:5000\"]}),\n)",
        ];
        let mut text = String::new();
        for one in all {
            text.push_str(&format!("{}\n", shown(one)));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_environment_goes_before_the_file_for_the_registries_that_it_names() {
        let text = r#"(registry: (
            mirrors: {"docker.io": ["http://file:1", "http://file:2"], "ghcr.io": ["http://file:3"]},
            insecure: ["a"],
        ))"#;
        let project = parse("kiln.ron", text).unwrap();
        let complete = |variables: &[(&str, &str)]| {
            let value =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            let mut options = Options::from_environment(value).unwrap();
            project.complete(&mut options);
            format!("{:?} {:?}", options.mirrors, options.insecure)
        };
        assert_eq!(
            complete(&[]),
            "[Mirror(docker.io at http://file:1), Mirror(docker.io at http://file:2), Mirror(ghcr.io at http://file:3)] [\"a\"]"
        );
        assert_eq!(
            complete(&[("KILN_REGISTRY_MIRROR", "http://env"), ("KILN_INSECURE_REGISTRIES", "b")]),
            "[Mirror(docker.io at http://env), Mirror(ghcr.io at http://file:3)] [\"b\"]"
        );
    }
}

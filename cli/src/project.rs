//! `kiln.ron`, the project file: what a project says once, so that nobody has to type it.
//!
//! It is looked for in the context directory and nowhere else. RON; a field that is not known is an error,
//! so that a slip is never taken for a wish. Variables of the environment go before it, and flags before
//! both. Knows nothing of what the values are used for.

mod scan;
mod target;

pub use target::{Secret, Target, Watch};

use crate::environment::Environment;
use crate::failure::UsageError;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::expand;
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;
use kiln_dsl::suggest;
use kiln_engine::registry::{Mirror, Options};
use scan::{Item, ItemKind};
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
    /// What every target has unless it says something else.
    pub defaults: Target,
    /// The targets that are built where none is named.
    pub default: Vec<String>,
    /// The targets.
    pub targets: BTreeMap<String, Target>,
    /// Names for several targets, or groups of them.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The file as people know it, its text, and what stands where.
    #[serde(skip)]
    source: Source,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Source {
    name: String,
    text: String,
    items: Vec<Item>,
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

    /// The file as people know it.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Whether a word is a target or a group.
    pub fn has(&self, name: &str) -> bool {
        self.targets.contains_key(name) || self.groups.contains_key(name)
    }

    /// Whether the project has targets at all.
    pub fn has_targets(&self) -> bool {
        !self.targets.is_empty()
    }

    /// The targets in the order of the file.
    pub fn ordered(&self) -> Vec<&str> {
        let is_named = |item: &&Item| matches!(item.path.as_slice(), [top, _] if top == "targets" || top == "groups");
        let keys = self.source.items.iter().filter(is_named).filter(|item| matches!(item.kind, ItemKind::Key(_)));
        keys.filter_map(|item| item.path.last().map(String::as_str)).collect()
    }

    /// The comment above a target or a group.
    pub fn comment(&self, name: &str) -> Option<&str> {
        self.source.items.iter().find_map(|item| match (item.path.as_slice(), &item.kind) {
            ([top, key], ItemKind::Key(comment)) if (top == "targets" || top == "groups") && key == name => {
                Some(comment.as_str()).filter(|comment| !comment.is_empty())
            }
            _ => None,
        })
    }

    /// The targets that words mean, groups resolved, each once.
    ///
    /// # Errors
    /// A word that is neither a target nor a group.
    pub fn members(&self, words: &[String]) -> Result<Vec<String>, UsageError> {
        let mut all: Vec<String> = Vec::new();
        let mut next: Vec<&str> = words.iter().rev().map(String::as_str).collect();
        // A group that holds itself was refused when the file was read.
        while let Some(word) = next.pop() {
            if let Some(group) = self.groups.get(word) {
                next.extend(group.iter().rev().map(String::as_str));
            } else if !self.targets.contains_key(word) {
                let names = self.ordered();
                let help = suggest::nearest(word, names.iter().copied()).map_or_else(
                    || format!("the targets are {}", names.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                let reason = format!("{} has no such target, and there is no such directory", self.file());
                return Err(UsageError::value("TARGET", word, reason).with_help(help));
            } else if !all.iter().any(|other| other == word) {
                all.push(word.to_owned());
            }
        }
        Ok(all)
    }

    /// A target with all that it inherits, variables of the environment in their places.
    ///
    /// # Errors
    /// A variable that cannot be expanded.
    pub fn resolved(&self, name: &str, environment: &Environment) -> Result<Target, UsageError> {
        let mut target = self.inherited(name).over(self.defaults.clone());
        // As `--build-arg NAME`: what is only a variable that is not set leaves the Dockerfile its default.
        target.args.retain(|_, text| bare_variable(text).is_none_or(|name| environment.any_text(name).is_some()));
        target.try_map(&|text| match text.contains('$') {
            false => Ok(text.to_owned()),
            true => {
                let names = mentioned(text).map(|name| (name.to_owned(), environment.any_text(name)));
                let values: BTreeMap<String, String> = names.filter_map(|(name, value)| Some((name, value?))).collect();
                let expanded = expand::heredoc(text, &values).map(|found| found.value);
                expanded.map_err(|error| self.wrong(&[], Some(text), error.to_string(), None))
            }
        })
    }

    fn inherited(&self, name: &str) -> Target {
        let own = self.targets.get(name).cloned().unwrap_or_default();
        let parents = own.inherits.clone();
        let below = parents.iter().fold(Target::default(), |below, parent| self.inherited(parent).over(below));
        own.over(below)
    }

    /// An error of a value that a target has, shown where it stands; as it was where that is not known.
    pub fn placed(&self, target: &str, error: UsageError) -> UsageError {
        let UsageError::Value { flag, value, reason, help } = &error else { return error };
        let has = |path: &[String]| match path {
            [top, ..] if top == "defaults" => true,
            [top, name, ..] => top == "targets" && (name == target || self.ancestors(target).contains(name)),
            _ => false,
        };
        let secret = value.strip_prefix("id=").and_then(|rest| rest.split(',').next());
        let found = self.source.items.iter().find(|item| {
            has(&item.path)
                && match &item.kind {
                    ItemKind::Text(text) => text == value,
                    ItemKind::Key(_) => matches!(item.path.as_slice(), [.., field, id] if field == "secrets" && Some(id.as_str()) == secret),
                }
        });
        match found {
            Some(item) => {
                self.wrong_at(item.span, format!("invalid value {value:?} for {flag}: {reason}"), help.clone())
            }
            None => error,
        }
    }

    fn ancestors(&self, name: &str) -> Vec<String> {
        let own = self.targets.get(name).map(|target| target.inherits.clone()).unwrap_or_default();
        own.iter().flat_map(|parent| self.ancestors(parent)).chain(own.clone()).collect()
    }

    fn wrong_at(&self, span: Span, message: String, help: Option<String>) -> UsageError {
        let finding = Diagnostic { help, ..Diagnostic::error("ProjectFile", span, message) };
        let Source { name, text, .. } = &self.source;
        UsageError::Project { file: name.clone(), text: text.clone(), finding: Box::new(finding) }
    }

    /// An error at a text below some keys; without the text at the last key.
    fn wrong(&self, path: &[&str], text: Option<&str>, message: String, help: Option<String>) -> UsageError {
        let is_below = |item: &&Item| item.path.len() >= path.len() && item.path.iter().zip(path).all(|(a, b)| a == b);
        let mut below = self.source.items.iter().filter(is_below);
        let found = match text {
            Some(text) => below.find(|item| matches!(&item.kind, ItemKind::Text(other) if other == text)),
            None => below.next(),
        };
        self.wrong_at(found.map_or(Span::new(0, 0), |item| item.span), message, help)
    }

    /// Refuses names that nothing has, and what stands on itself.
    fn check(&self) -> Result<(), UsageError> {
        let names: Vec<&str> = self.targets.keys().chain(self.groups.keys()).map(String::as_str).collect();
        let targets: Vec<&str> = self.targets.keys().map(String::as_str).collect();
        let unknown = |path: &[&str], word: &str, all: &[&str], what: &str| {
            let near = suggest::nearest(word, all.iter().copied());
            let help =
                near.map_or_else(|| format!("known are {}", all.join(", ")), |near| format!("did you mean {near}?"));
            self.wrong(path, Some(word), format!("no {what} is called {word:?}"), Some(help))
        };
        for name in &names {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || !name.chars().all(is_plain) || name.starts_with(['-', '.']) {
                let top = if self.targets.contains_key(*name) { "targets" } else { "groups" };
                let help = "use letters, digits, -, _ and ., and begin with none of - and .".to_owned();
                return Err(self.wrong(&[top, name], None, format!("{name:?} is no name for a target"), Some(help)));
            }
        }
        if let Some(both) = self.groups.keys().find(|name| self.targets.contains_key(*name)) {
            let message = format!("{both:?} is a target already");
            return Err(self.wrong(&["groups", both], None, message, Some("give the group another name".into())));
        }
        if let Some(word) = self.default.iter().find(|word| !names.contains(&word.as_str())) {
            return Err(unknown(&["default"], word, &names, "target or group"));
        }
        for (group, members) in &self.groups {
            if let Some(word) = members.iter().find(|word| !names.contains(&word.as_str())) {
                return Err(unknown(&["groups", group], word, &names, "target or group"));
            }
            let held = |name: &str| self.groups.get(name).cloned().unwrap_or_default();
            if let Some(way) = circle(group, &held) {
                let message = format!("the group holds itself: {way}");
                return Err(self.wrong(&["groups", group], None, message, None));
            }
        }
        for (name, target) in &self.targets {
            if let Some(word) = target.inherits.iter().find(|word| !targets.contains(&word.as_str())) {
                return Err(unknown(&["targets", name, "inherits"], word, &targets, "target"));
            }
            let held = |name: &str| self.targets.get(name).map(|one| one.inherits.clone()).unwrap_or_default();
            if let Some(way) = circle(name, &held) {
                let message = format!("the target inherits from itself: {way}");
                return Err(self.wrong(&["targets", name, "inherits"], None, message, None));
            }
            for text in target.platforms.iter().filter(|text| !text.contains('$') && *text != "local") {
                if let Err(error) = Platform::parse(text) {
                    let path = ["targets", name, "platforms"];
                    return Err(self.wrong(&path, Some(text), format!("{text:?} is no platform: {error}"), None));
                }
            }
        }
        if let Some(word) = self.defaults.inherits.first() {
            let message = "the defaults inherit from nothing: every target has them already".to_owned();
            return Err(self.wrong(&["defaults"], Some(word), message, Some("write inherits in a target".into())));
        }
        Ok(())
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

/// The variable that a text is and nothing else.
fn bare_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

/// The names of the variables that a text may ask for.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// The way from a name through what it holds back to itself.
fn circle(start: &str, held: &dyn Fn(&str) -> Vec<String>) -> Option<String> {
    let mut ways: Vec<Vec<String>> = held(start).into_iter().map(|next| vec![next]).collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        if last == start {
            return Some([&[start.to_owned()][..], &way].concat().join(" → "));
        }
        if seen.insert(last.clone()) {
            ways.extend(held(last).into_iter().map(|next| [&way[..], &[next]].concat()));
        }
    }
    None
}

/// Reads a project file.
///
/// # Errors
/// What is wrong with it, with its place.
pub fn parse(name: &str, text: &str) -> Result<Project, UsageError> {
    let wrong = |span: Span, message: String, help: Option<String>| {
        let finding = Diagnostic { help, ..Diagnostic::error("ProjectFile", span, message) };
        UsageError::Project { file: name.to_owned(), text: text.to_owned(), finding: Box::new(finding) }
    };
    // An option is written as its value.
    let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
    let mut project: Project = options.from_str(text).map_err(|error| {
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
    project.source = Source { name: name.to_owned(), text: text.to_owned(), items: scan::scan(text) };
    project.check()?;
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
            Ok(_) => "it is read".to_owned(),
            Err(error) => report::failure(&Failure::Usage(error), Look { colour: false, unicode: false, width: 100 }),
        }
    }

    #[test]
    fn a_file_states_only_what_it_is_about() {
        let text = r#"(registry: (mirrors: {"docker.io": ["http://localhost:5000"]}, insecure: ["reg.lan:5000"]))"#;
        let project = parse("kiln.ron", text).unwrap();
        assert_eq!(project.registry.mirrors["docker.io"], ["http://localhost:5000"]);
        assert!(!parse("kiln.ron", "()").unwrap().has_targets());
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
    fn targets_that_mean_nothing_are_shown_with_their_place_and_what_was_meant() {
        let all = [
            "(targets: {\"web\": (stge: \"web\")})",
            "(targets: {\"web\": (tags: \"web\")})",
            "(targets: {\"web\": (inherits: [\"bse\"]), \"base\": ()})",
            "(targets: {\n  \"a\": (inherits: [\"b\"]),\n  \"b\": (inherits: [\"a\"]),\n})",
            "(targets: {\"web\": ()}, groups: {\"all\": [\"wbe\"]})",
            "(targets: {\"web\": ()}, groups: {\"all\": [\"every\"], \"every\": [\"web\", \"all\"]})",
            "(targets: {\"web\": ()}, groups: {\"web\": []})",
            "(targets: {\"web\": ()}, default: [\"app\"])",
            "(targets: {\"-web\": ()})",
            "(targets: {\"web\": (platforms: [\"linux/amd64\", \"linux/a/b/c\"])})",
            "(targets: {\"web\": (secrets: {\"npm\": var(\"T\")})})",
            "(targets: {\"web\": (watch: (exce: \"x\"))})",
            "(defaults: (inherits: [\"web\"]), targets: {\"web\": ()})",
        ];
        let mut text = String::new();
        for one in all {
            text.push_str(&format!("{}\n", shown(one)));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let page = include_str!("../../docs/project-file.md");
        let example = page.split("```ron\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let project = parse("docs/project-file.md", example).unwrap();
        assert_eq!(project.members(&project.default).unwrap(), ["web", "lint", "docs"]);
        let release = project.resolved("release", &Environment::fixed(&[])).unwrap();
        assert_eq!((release.tags, release.stage.as_deref()), (vec!["example/web:dev".to_owned()], Some("web")));
    }

    #[test]
    fn a_target_has_what_it_says_then_what_it_inherits_then_the_defaults() {
        let text = r#"(
            defaults: (args: {"A": "default", "D": "default"}, platforms: ["linux/amd64"], network: "none"),
            targets: {
                "one": (args: {"A": "one", "B": "one"}, tags: ["one"], stage: "one", pull: true),
                "two": (args: {"B": "two"}, tags: ["two:${TAG:-none}", "two"]),
                "app": (inherits: ["one", "two"], args: {"C": "$C", "UNSET": "${UNSET}"}, stage: "app"),
            },
        )"#;
        let project = parse("kiln.ron", text).unwrap();
        let target = project.resolved("app", &Environment::fixed(&[("C", "from outside")])).unwrap();
        let args: Vec<(&str, &str)> = target.args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(args, [("A", "one"), ("B", "two"), ("C", "from outside"), ("D", "default")]);
        assert_eq!(
            (target.tags, target.stage.as_deref()),
            (vec!["two:none".to_owned(), "two".to_owned()], Some("app"))
        );
        assert_eq!((target.pull, target.network.as_deref()), (Some(true), Some("none")));
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

//! `kiln targets [DIR]`: what a project offers to build: the targets of its kiln.ron, and the stages of its Dockerfile.
//!
//! Reads those two files and nothing else, and runs everywhere. A comment above a target is what is said of it; above a
//! FROM it is the line that begins with the stage's name, as `docker build --call=targets` has it.

use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::project::{self, Project};
use crate::report;
use crate::session::Session;
use crate::text::{clean, table::table};
use kiln_dsl::ast::Command;
use kiln_dsl::diagnostic::Severity;
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory of the project
    #[arg(value_name = "DIRECTORY", default_value = ".")]
    directory: PathBuf,
    /// The Dockerfile whose stages are listed [default: DIRECTORY/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// All that is offered.
#[derive(Serialize, Default)]
struct Offer {
    /// What the project file has.
    targets: Vec<Named>,
    /// What TARGET lines of the Dockerfile have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    file_targets: Vec<FileTarget>,
    /// What the Dockerfile has.
    stages: Vec<Stage>,
    /// The Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// A target or a group of the project file.
#[derive(Serialize)]
struct Named {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Whether it is built where no target is named.
    default: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    #[serde(skip)]
    words: String,
}

/// A TARGET of the Dockerfile.
#[derive(Serialize)]
struct FileTarget {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    members: Vec<String>,
}

/// A stage of the Dockerfile.
#[derive(Serialize)]
struct Stage {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Whether it is built where none is named.
    default: bool,
    /// Whether it must succeed and is no image: CHECK.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    check: bool,
    base: String,
}

impl Args {
    /// Prints the list.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        if !self.directory.is_dir() {
            let shown = self.directory.display().to_string();
            return Err(UsageError::value("DIRECTORY", &shown, "it is no directory").into());
        }
        let project = Project::of(&self.directory)?;
        let targets = named(&project, session)?;
        let offer = Offer { targets, ..self.of_file(session, !project.targets.is_empty())? };
        let text = match self.json {
            true => serde_json::to_string_pretty(&offer).expect("names are text") + "\n",
            false => drawn(&offer),
        };
        session.print(&text)?;
        Ok(Exit::Success)
    }

    /// What the Dockerfile has. Where the project has targets it need not be there.
    fn of_file(&self, session: &Session<'_>, is_optional: bool) -> Result<Offer, Failure> {
        let candidates = kiln_engine::build::dockerfiles(&self.directory, self.file.as_deref());
        let found = candidates.iter().find(|path| path.is_file()).cloned();
        let Some(path) = found.or_else(|| (!is_optional || self.file.is_some()).then(|| candidates[0].clone())) else {
            return Ok(Offer::default());
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|source| Failure::Read { from: name.clone(), source })?;
        let beside = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut load =
            |included: &str| std::fs::read_to_string(beside.join(included)).map_err(|error| error.to_string());
        let parsed = parser::parse_file(&name, &text, Dialect::of_file(&path), &mut load);
        let sources = &parsed.sources;
        for one in parsed.diagnostics.iter().filter(|one| one.severity == Severity::Error) {
            session.err.write_or_forget((report::finding(one, sources, session.look()) + "\n").as_bytes());
        }
        let mut stages = Vec::new();
        for instruction in &parsed.document.instructions {
            let Command::From(from) = &instruction.command else { continue };
            let number = stages.len();
            let stage = from.name.as_ref().map_or_else(|| number.to_string(), |name| name.value.clone());
            let place = sources.shown(instruction.span);
            let above: Vec<&str> = place.text.get(..place.span.start as usize).unwrap_or_default().lines().collect();
            let description = from.name.as_ref().and_then(|name| comment(&above, &name.value));
            let check = parsed.document.checks.iter().any(|word| word.value.eq_ignore_ascii_case(&stage));
            stages.push(Stage { name: stage, description, default: false, check, base: from.image.value.clone() });
        }
        if let Some(last) = stages.last_mut() {
            last.default = true;
        }
        let declared = parsed.document.targets.iter().map(|target| {
            let lines: Vec<&str> =
                target.comments.iter().map(|word| word.value.trim_start_matches('#').trim()).collect();
            let named = lines.iter().find_map(|line| begins_with(line, &target.name.value));
            let whole = Some(lines.join(" ")).filter(|text| !text.is_empty());
            FileTarget {
                name: target.name.value.clone(),
                description: named.or(whole),
                members: target.members.iter().map(|word| word.value.clone()).collect(),
            }
        });
        Ok(Offer { targets: Vec::new(), file_targets: declared.collect(), stages, file: Some(name) })
    }
}

fn named(project: &Project, session: &Session<'_>) -> Result<Vec<Named>, UsageError> {
    let mut all = Vec::new();
    let default = project.members(&project.default)?;
    for name in project.ordered() {
        let description = project.comment(name).map(str::to_owned);
        if let Some(members) = project.groups.get(name) {
            let words = members.join(", ");
            let is_default = project.default.iter().any(|other| other == name);
            all.push(Named::group(name, description, is_default, members.clone(), words));
            continue;
        }
        let target = project.resolved(name, session.environment)?;
        if !target.hidden {
            all.push(Named::target(name, description, default.iter().any(|other| other == name), target));
        }
    }
    Ok(all)
}

impl Named {
    fn group(name: &str, description: Option<String>, default: bool, members: Vec<String>, words: String) -> Self {
        let (context, file, stage) = (None, None, None);
        let (tags, platforms) = (Vec::new(), Vec::new());
        Named { name: name.to_owned(), description, default, members, context, file, stage, tags, platforms, words }
    }

    fn target(name: &str, description: Option<String>, default: bool, target: project::Target) -> Self {
        let words = target.words();
        let project::Target { context, file, stage, tags, platforms, .. } = target;
        let members = Vec::new();
        Named { name: name.to_owned(), description, default, members, context, file, stage, tags, platforms, words }
    }
}

/// What the comment right above a stage says of it: the line that begins with the stage's name.
fn comment(above: &[&str], name: &str) -> Option<String> {
    let lines = above.iter().rev().map_while(|line| line.trim_start().strip_prefix('#')).map(str::trim);
    lines.into_iter().find_map(|line| begins_with(line, name))
}

/// What a line says behind a name that it begins with.
fn begins_with(line: &str, name: &str) -> Option<String> {
    let (first, rest) = line.split_once(char::is_whitespace)?;
    first.trim_end_matches(':').eq_ignore_ascii_case(name).then(|| rest.trim().to_owned())
}

fn drawn(offer: &Offer) -> String {
    let star = |is_default: bool| if is_default { "*" } else { "" };
    let mut text = String::new();
    if !offer.targets.is_empty() {
        let rows: Vec<[String; 4]> = offer
            .targets
            .iter()
            .map(|one| {
                let description = clean::one_line(one.description.as_deref().unwrap_or_default());
                [one.name.clone(), star(one.default).to_owned(), clean::one_line(&one.words), description]
            })
            .collect();
        text += &table(["TARGET", "", "WHAT", "DESCRIPTION"], &rows);
    }
    if let Some(file) = offer.file.as_ref().filter(|_| !offer.file_targets.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        let rows: Vec<[String; 4]> = offer
            .file_targets
            .iter()
            .map(|one| {
                let description = clean::one_line(one.description.as_deref().unwrap_or_default());
                [clean::one_line(&one.name), String::new(), clean::one_line(&one.members.join(" + ")), description]
            })
            .collect();
        let heading = format!("TARGET OF {}", clean::one_line(file));
        text += &table([heading.as_str(), "", "WHAT", "DESCRIPTION"], &rows);
    }
    if let Some(file) = offer.file.as_ref().filter(|_| !offer.stages.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        let rows: Vec<[String; 4]> = offer
            .stages
            .iter()
            .map(|one| {
                let description = clean::one_line(one.description.as_deref().unwrap_or_default());
                [
                    clean::one_line(&one.name),
                    star(one.default).to_owned(),
                    format!("{}from {}", if one.check { "check, " } else { "" }, clean::one_line(&one.base)),
                    description,
                ]
            })
            .collect();
        let heading = format!("STAGE OF {}", clean::one_line(file));
        text += &table([heading.as_str(), "", "WHAT", "DESCRIPTION"], &rows);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kiln_with;

    const PROJECT: &str = "(\n  defaults: (file: \"Dockerfile\"),\n  default: [\"all\"],\n  targets: {\n    // The web server.\n    \"web\": (stage: \"web\", \
        tags: [\"web:${TAG:-dev}\"], platforms: [\"linux/amd64\"]),\n    \"base\": (hidden: true),\n    // Finds what is wrong,\n    // fast.\n    \"lint\": (inherits: [\"base\"], \
        context: \"tools\"),\n  },\n  groups: {\n    // What CI builds.\n    \"all\": [\"web\", \"lint\"],\n  },\n)\n";
    const DOCKERFILE: &str =
        "# web serves the pages.\nFROM scratch AS web\n\n# Nothing of it.\nFROM web AS test\nFROM test\n";

    fn shown(files: &[(&str, &str)], more: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let path = dir.path().to_str().unwrap();
        let args = [&["targets", path], more].concat();
        kiln_with(&[("TAG", "1.2")], args).replace(path, "DIR")
    }

    #[test]
    fn targets_and_stages_are_listed_with_their_comments() {
        insta::assert_snapshot!(shown(&[("kiln.ron", PROJECT), ("Dockerfile", DOCKERFILE)], &[]));
    }

    #[test]
    fn as_json_they_have_all_that_is_known() {
        insta::assert_snapshot!(shown(&[("kiln.ron", PROJECT), ("Dockerfile", DOCKERFILE)], &["--json"]));
    }

    #[test]
    fn a_project_may_have_only_one_of_the_two_and_not_neither() {
        insta::assert_snapshot!(
            [shown(&[("Dockerfile", DOCKERFILE)], &[]), shown(&[("kiln.ron", PROJECT)], &[]), shown(&[], &[]),]
                .join("---\n")
        );
    }

    #[test]
    fn targets_and_checks_of_the_extended_language_are_listed() {
        let text = "FROM scratch AS app\nFROM scratch AS test FOR V IN 1 2\nFROM scratch AS lint\n\
            # Everything that CI wants.\nTARGET all = app + test[*] + lint\nCHECK lint\n";
        let files = [("build.kiln", text)];
        insta::assert_snapshot!([shown(&files, &[]), shown(&files, &["--json"])].join("---\n"));
    }

    #[test]
    fn a_comment_is_a_stages_where_it_begins_with_its_name() {
        let lines = ["FROM a", "# build: makes it", "#  and more"];
        assert_eq!(comment(&lines, "Build").as_deref(), Some("makes it"));
        assert_eq!(comment(&lines, "other"), None);
        assert_eq!(comment(&["# build makes it", ""], "build"), None);
    }
}

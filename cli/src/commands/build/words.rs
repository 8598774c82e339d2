//! What the words of `kiln build` are: a context, targets of the project file, or stages of the Dockerfile.
//!
//! | word | is |
//! |---|---|
//! | `-`, a URL, anything with a slash, `.` and `..` | the context |
//! | the name of a target or a group of `kiln.ron` | a target, even where a directory has its name |
//! | the name of a directory | the context, whose `kiln.ron` then has the targets |
//! | anything else | a stage, where there is a Dockerfile and no `kiln.ron` with targets, and no --target; else an error |
//!
//! Reads the project file and looks which words are directories; knows nothing of what a target is.

use super::Args;
use crate::failure::UsageError;
use crate::project::Project;
use kiln_dsl::remote::Remote;
use std::path::{Path, PathBuf};

/// What the words are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// The context, where a word is one.
    pub context: Option<PathBuf>,
    /// The project file of the context; a default where there is none.
    pub project: Project,
    /// The targets, groups resolved; those that the project builds by default where no word is one.
    pub targets: Vec<String>,
    /// The stages.
    pub stages: Vec<String>,
}

/// Tells them apart. Where stages are named by a flag, the project's targets are none of this.
pub fn tell(args: &Args) -> Result<Words, UsageError> {
    let (words, is_plain) = (args.words.as_slice(), !args.targets.is_empty());
    let text = |word: &PathBuf| word.to_str().map(str::to_owned);
    let is_place = |word: &PathBuf| {
        let Some(text) = text(word) else { return true };
        text.contains('/')
            || matches!(text.as_str(), "" | "-" | "." | "..")
            || matches!(Remote::parse_context(&text), Ok(Some(_)) | Err(_))
    };
    let mut context: Option<PathBuf> = None;
    let mut names: Vec<&PathBuf> = Vec::new();
    for word in words {
        match (is_place(word), &context) {
            (false, _) => names.push(word),
            (true, None) => context = Some(word.clone()),
            (true, Some(first)) => return Err(two(first, word)),
        }
    }
    let of = |context: &Option<PathBuf>| match context.as_deref().unwrap_or(Path::new(".")) {
        directory if directory.is_dir() => Project::of(directory),
        // What is elsewhere has no project file that could be read before it is there.
        _ => Ok(Project::default()),
    };
    let mut project = of(&context)?;
    let is_own = |project: &Project, name: &PathBuf| text(name).is_some_and(|name| project.has(&name));
    if let Some(at) = names.iter().position(|name| !is_own(&project, name) && name.is_dir()) {
        let directory = names.remove(at);
        if let Some(first) = &context {
            return Err(two(first, directory));
        }
        context = Some(directory.clone());
        project = of(&context)?;
        if let Some(second) = names.iter().find(|name| !is_own(&project, name) && name.is_dir()) {
            return Err(two(directory, second));
        }
    }
    if !project.has_targets() && context.is_none() && names.len() == 1 {
        let mut files = kiln_engine::build::dockerfiles(Path::new("."), args.file.as_deref()).into_iter();
        // Where there is nothing to have a stage, it is a directory that is not there.
        if is_plain || !(args.file.is_some() || files.any(|file| file.exists())) {
            context = Some(names.remove(0).clone());
        }
    }
    let names: Vec<String> = names.iter().filter_map(|name| text(name)).collect();
    let (targets, stages) = match project.has_targets() {
        false => (Vec::new(), names),
        true if names.is_empty() && is_plain => (Vec::new(), names),
        true if names.is_empty() => (project.members(&project.default)?, names),
        true if is_plain => {
            return Err(UsageError::Conflict {
                first: "--target".into(),
                second: format!("the target {}", names[0]),
                reason: "a target of kiln.ron says its stage itself",
            });
        }
        true => (project.members(&names)?, Vec::new()),
    };
    Ok(Words { context, project, targets, stages })
}

fn two(first: &Path, second: &Path) -> UsageError {
    let reason = format!("{} is the context already, and a build has one", first.display());
    UsageError::value("CONTEXT", &second.display().to_string(), reason)
        .with_help("name other directories with --build-context NAME=DIRECTORY")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    /// What words are in a directory with these directories, a project with these targets in it, and one in `sub`.
    fn told(words: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for name in ["sub", "app"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let file = "(default: [\"web\"], targets: {\"web\": (), \"app\": (), \"lint\": ()}, groups: {\"all\": [\"app\", \"lint\"]})";
        std::fs::write(dir.path().join("kiln.ron"), file).unwrap();
        // Nothing depends on the working directory: every word that is no name is a whole path.
        let at = |word: &&str| match *word {
            "." | "sub" | "./app" => dir.path().join(word),
            word => PathBuf::from(word),
        };
        let words = words.iter().map(at).map(PathBuf::into_os_string);
        let typed = ["kiln".into(), "build".into()].into_iter().chain(words);
        match tell(&crate::commands::build_args(typed)) {
            Ok(Words { context, targets, stages, .. }) => {
                let context = context.map(|path| path.strip_prefix(dir.path()).map_or(path.clone(), Path::to_path_buf));
                format!("{context:?} {targets:?} {stages:?}")
            }
            Err(error) => format!("{:?}", Failure::Usage(error)).replace(dir.path().to_str().unwrap(), "DIR"),
        }
    }

    #[test]
    fn a_place_is_the_context_and_a_name_is_a_target() {
        assert_eq!(told(&["."]), r#"Some("") ["web"] []"#);
        assert_eq!(told(&[".", "lint"]), r#"Some("") ["lint"] []"#);
        assert_eq!(told(&["all", "web", "."]), r#"Some("") ["app", "lint", "web"] []"#);
        // A directory of the name of a target is meant with a slash.
        assert_eq!(told(&[".", "app"]), r#"Some("") ["app"] []"#);
        assert_eq!(told(&["./app"]), r#"Some("app") [] []"#);
        // Without targets a name is a stage.
        assert_eq!(told(&["sub", "test"]), r#"Some("sub") [] ["test"]"#);
        assert_eq!(told(&["https://example.com/a.git", "test"]), r#"Some("https://example.com/a.git") [] ["test"]"#);
    }

    #[test]
    fn what_is_neither_is_told_with_what_was_meant() {
        assert!(told(&[".", "lnt"]).contains("did you mean lint?"));
        assert!(told(&[".", "nothing"]).contains("the targets are web, app, lint, all"));
        assert!(told(&[".", "./app"]).contains("is the context already"));
    }
}

//! A case: a folder with a Dockerfile and its context, and `case.ron` for what a folder cannot say.
//!
//! Finds and reads cases. Knows nothing of builders.

use super::setup::Operation;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The file that describes a case; the builders do not see it.
pub const CASE_FILE: &str = "case.ron";

/// A case as found.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its folder, relative to the suite's.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What `case.ron` says.
    pub text: CaseText,
}

/// The content of `case.ron`; every field may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseText {
    /// What the case shows, for people.
    pub why: String,
    /// The Dockerfile, relative to the folder; without it, what the builders take of themselves.
    pub file: Option<String>,
    /// The context, relative to the folder.
    pub context: Option<String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--build-arg`, values as they are.
    pub build_args: BTreeMap<String, String>,
    /// `--secret`.
    pub secrets: Vec<Secret>,
    /// More arguments for both builders. `{folder}` stands for the folder as the builder sees it.
    pub flags: Vec<String>,
    /// More arguments for kiln alone.
    pub kiln_flags: Vec<String>,
    /// More arguments for Docker alone.
    pub docker_flags: Vec<String>,
    /// Variables of the builders' environment.
    pub environment: BTreeMap<String, String>,
    /// What is done to a copy of the folder before anything is built.
    pub setup: Vec<Operation>,
    /// Images that are built before, by the same builder.
    pub before: Vec<Before>,
    /// What has to come out.
    pub expect: Expect,
    /// A Dockerfile that makes Docker build the image that kiln has to build of the case's own; only what is
    /// made is compared, not how.
    pub stand_in: Option<String>,
    /// What the error of kiln has to say, where both fail.
    pub says: Option<String>,
    /// Paths in the image whose content is not compared, with all below them.
    pub ignore_contents: Vec<String>,
    /// Paths in the image that are not compared, with all below them.
    pub ignore_paths: Vec<String>,
}

/// A secret: from a file of the folder or of this value.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Its name in the Dockerfile.
    pub id: String,
    /// Its value.
    pub value: String,
}

/// An image that a case's Dockerfile uses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// Its Dockerfile, relative to the folder. Its context is the case's.
    pub file: String,
    /// The name under which the case uses it.
    pub tag: String,
}

/// What has to come out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub enum Expect {
    /// The same image.
    #[default]
    Equal,
    /// Neither builds it.
    Fail,
    /// The same image, or neither builds it: for cases whose answer only Docker knows.
    Agree,
    /// Kiln builds another image, or only one of the two builds one: deliberately, for this reason. It is an
    /// error if they agree.
    Differs(String),
    /// What this version of Docker cannot know: kiln does what the documentation says. The text says where.
    Documented(String),
}

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `case.ron` is wrong.
    #[error("{}: {source}", path.display())]
    Text {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its place.
        #[source]
        source: Box<ron::error::SpannedError>,
    },
}

/// All cases of a folder, by name. A folder with a `Dockerfile` or a `case.ron` is a case; any other
/// is looked into.
pub fn find(root: &Path) -> Result<Vec<Case>, CaseError> {
    let mut cases = Vec::new();
    find_below(root, "", &mut cases)?;
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn find_below(folder: &Path, name: &str, cases: &mut Vec<Case>) -> Result<(), CaseError> {
    if [CASE_FILE, "Dockerfile", "dockerfile"].iter().any(|file| folder.join(file).is_file()) {
        let name = if name.is_empty() {
            folder.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned())
        } else {
            name.to_owned()
        };
        cases.push(Case { name, folder: folder.to_owned(), text: read(&folder.join(CASE_FILE))? });
        return Ok(());
    }
    let fail = |source| CaseError::Io { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() {
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = if name.is_empty() { own } else { format!("{name}/{own}") };
            find_below(&entry.path(), &name, cases)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<CaseText, CaseError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|source| CaseError::Text { path: path.to_owned(), source: Box::new(source) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(CaseText::default()),
        Err(source) => Err(CaseError::Io { path: path.to_owned(), source }),
    }
}

fn parse(text: &str) -> Result<CaseText, ron::error::SpannedError> {
    use ron::extensions::Extensions;
    let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
    options.from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_only_what_differs_from_the_usual() {
        let text = parse(
            r#"(target: "app", build_args: {"A": "1"}, expect: Documented("newer"), setup: [Chmod(path: "a", mode: 0o4755)])"#,
        );
        let text = text.expect("valid");
        assert_eq!(text.target.as_deref(), Some("app"));
        assert_eq!(text.expect, Expect::Documented("newer".to_owned()));
        assert_eq!(text.setup.len(), 1);
        assert!(parse("(targte: \"app\")").is_err());
    }
}

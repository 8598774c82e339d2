//! Other tools' lists of builds, as a project file: docker bake files in HCL and JSON, and compose files.
//!
//! A reader a format makes [`Draft`]s of what is there; what has no counterpart becomes a [`Remark`], never nothing.
//! [`ron`] writes the drafts down. Pure.

mod compose;
mod convert;
mod finish;
mod functions;
mod hcl;
mod ron;

use crate::project::Secret;

/// What kind of file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A bake file in HCL.
    Hcl,
    /// A bake file in JSON.
    Json,
    /// A compose file.
    Compose,
}

impl Kind {
    /// The kind that a file's name says.
    pub fn of_name(name: &str) -> Option<Kind> {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase())?;
        match extension.as_str() {
            "hcl" => Some(Kind::Hcl),
            "json" => Some(Kind::Json),
            "yml" | "yaml" => Some(Kind::Compose),
            _ => None,
        }
    }
}

/// Something that the project file does not say as the other file does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Line, from 1; 0 where it is about the whole file.
    pub line: usize,
    /// In words.
    pub words: String,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Project {
    /// What is built where nothing is named.
    pub default: Vec<String>,
    /// Groups in their order.
    pub groups: Vec<(String, Vec<String>)>,
    /// Targets in their order.
    pub targets: Vec<(String, Draft)>,
    /// What could not be taken as it is.
    pub remarks: Vec<Remark>,
}

/// A target.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Draft {
    pub comment: Option<String>,
    pub inherits: Vec<String>,
    pub context: Option<String>,
    pub file: Option<String>,
    pub stage: Option<String>,
    pub args: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    pub contexts: Vec<(String, String)>,
    pub tags: Vec<String>,
    pub platforms: Vec<String>,
    pub outputs: Vec<String>,
    pub secrets: Vec<(String, Secret)>,
    pub ssh: Vec<String>,
    pub allow: Vec<String>,
    pub add_hosts: Vec<String>,
    pub network: Option<String>,
    pub shm_size: Option<String>,
    pub no_cache: Option<bool>,
    pub no_cache_filter: Vec<String>,
    pub pull: Option<bool>,
    pub hidden: bool,
}

/// Reads a file of this kind.
///
/// # Errors
/// In words, where it is none.
pub fn read(kind: Kind, text: &str) -> Result<Project, String> {
    match kind {
        Kind::Hcl => hcl::read(text),
        Kind::Json => hcl::read_json(text),
        Kind::Compose => compose::read(text),
    }
}

/// The text of the project file.
pub fn written(project: &Project, from: &str) -> String {
    ron::written(project, from)
}

/// The line on which the last of `words` stands, each looked for behind the one before; 0 where one is not there.
fn line_of(text: &str, words: &[&str]) -> usize {
    let mut at = 0;
    for word in words {
        let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        let found = text[at..].match_indices(word).map(|(found, _)| at + found).find(|&found| {
            is_edge(text[..found].chars().next_back()) && is_edge(text[found + word.len()..].chars().next())
        });
        match found {
            Some(found) => at = found + word.len(),
            None => return 0,
        }
    }
    1 + text[..at].matches('\n').count()
}

/// A text as a project file takes it literally.
fn literal(text: &str) -> String {
    text.replace('$', "\\$")
}

#[cfg(test)]
mod tests;

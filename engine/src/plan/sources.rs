//! ADD of what is no file of the context: URLs and git repositories, alone or beside files.
//!
//! Each source is a step of its own that lays its files over those of the one before; a last COPY takes the stack, so
//! that what was fetched decides its key. Files of the context beside them are gathered first. Pure.

use super::instruction::Parts;
use super::stages::StageText;
use super::step::{CopyStep, Origin, SourceStep, StepKind};
use super::{ContextBase, Planner};
use crate::copy::select::Matching;
use crate::graph::NodeId;
use crate::source::{Checksum, GitSource, HttpSource, Shape, Source};
use kiln_dsl::ast::Word;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::remote::{Git, Http, Remote};
use kiln_dsl::span::Span;

/// What an ADD says of all its remote sources.
#[derive(Clone, Default)]
pub struct RemoteFlags {
    /// `--checksum`, expanded.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
}

/// The sources of an ADD or COPY, told apart.
#[derive(Default)]
pub struct Sources {
    /// Paths and patterns.
    pub paths: Vec<(String, Span)>,
    /// What is elsewhere.
    pub remotes: Vec<(Source, Span)>,
}

impl Sources {
    /// What the last COPY takes of the stack.
    fn of_stack(&self) -> Vec<(String, Span)> {
        let whole = self.paths.first().map(|(_, span)| ("/".to_owned(), *span));
        let remotes = self.remotes.iter().map(|(source, span)| match source {
            Source::Http(http) => (format!("/{}", http.remote.file_name), *span),
            Source::Git(_) => ("/".to_owned(), *span),
        });
        whole.into_iter().chain(remotes).collect()
    }
}

impl Planner<'_> {
    /// What a source that is no path is; `None` for a path, or for what is wrong.
    pub(super) fn remote_source(&mut self, text: &str, word: &Word, flags: Option<&RemoteFlags>) -> Option<Source> {
        let remote = match Remote::parse(text) {
            Ok(remote) => remote?,
            Err(error) => {
                let finding = Diagnostic::error("InvalidSource", word.span, error.to_string());
                self.problems.push(match error.help() {
                    Some(help) => finding.with_help(help),
                    None => finding,
                });
                return None;
            }
        };
        let Some(flags) = flags else {
            let what = match remote {
                Remote::Http(_) => "a URL",
                Remote::Git(_) => "a git repository",
            };
            let finding = Diagnostic::error("RemoteCopySource", word.span, format!("COPY cannot read {what}"));
            self.problems.push(finding.with_help("write ADD in place of COPY"));
            return None;
        };
        match remote {
            Remote::Http(remote) => self.http_source(remote, flags).map(Source::Http),
            Remote::Git(remote) => self.git_source(remote, word, flags).map(Source::Git),
        }
    }

    fn http_source(&mut self, remote: Http, flags: &RemoteFlags) -> Option<HttpSource> {
        let checksum = match &flags.checksum {
            None => None,
            Some(word) => match Checksum::parse(&word.value) {
                Ok(checksum) => Some(checksum),
                Err(reason) => {
                    let message = format!("invalid checksum {:?}: {reason}", word.value);
                    self.problems.push(Diagnostic::error("InvalidChecksum", word.span, message));
                    return None;
                }
            },
        };
        Some(HttpSource { remote, checksum, shape: Shape::File })
    }

    fn git_source(&mut self, mut remote: Git, word: &Word, flags: &RemoteFlags) -> Option<GitSource> {
        if let Some(checksum) = &flags.checksum {
            let value = &checksum.value;
            let is_commit = (7..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_hexdigit());
            let message = match &remote.checksum {
                _ if !is_commit => Some(format!("invalid checksum {value:?}: that of a repository is a commit")),
                Some(other) if other != value => Some(format!("the commit is given twice: {other:?} and {value:?}")),
                _ => None,
            };
            if let Some(message) = message {
                self.problems.push(Diagnostic::error("InvalidChecksum", checksum.span, message));
                return None;
            }
            remote.checksum = Some(value.to_ascii_lowercase());
        }
        let keep_git_dir = match (flags.keep_git_dir, remote.keep_git_dir) {
            (Some(one), Some(other)) if one != other => {
                let message = "--keep-git-dir and keep-git-dir= in the address contradict each other";
                self.problems.push(Diagnostic::error("InvalidSource", word.span, message));
                return None;
            }
            (one, other) => one.or(other).unwrap_or(false),
        };
        Some(GitSource { remote, keep_git_dir })
    }

    /// Lays all sources of an ADD into one stack; gives where it is and what is to be copied of it.
    pub(super) fn stack(
        &mut self,
        sources: &Sources,
        parts: &Parts<'_>,
        origin: Origin,
        stage: &StageText<'_>,
    ) -> (Origin, Vec<(String, Span)>) {
        let mut node: Option<NodeId> = None;
        if !sources.paths.is_empty() {
            let inputs = origin.node().into_iter().collect();
            let copy = CopyStep {
                origin,
                sources: sources.paths.clone(),
                inline: Vec::new(),
                destination: "/".to_owned(),
                chown: None,
                chmod: None,
                link: true,
                excludes: parts.excludes.iter().map(|word| word.value.clone()).collect(),
                unpack: parts.unpack,
                matching: Matching::Patterns,
            };
            let names: Vec<&str> = sources.paths.iter().map(|(path, _)| path.as_str()).collect();
            let text = format!("files {}", names.join(" "));
            let span = sources.paths[0].1;
            let text = (text, String::new());
            node = Some(self.helper(StepKind::Copy(Box::new(copy)), None, inputs, text, stage, span));
        }
        for (source, span) in &sources.remotes {
            node = match node {
                // On nothing it is the same step wherever it is read.
                None => self.context_node(&ContextBase::Remote(source.clone()), "", stage, *span),
                Some(_) => {
                    let kind = StepKind::Source(SourceStep::Remote(source.clone()));
                    Some(self.helper(kind, node, Vec::new(), (source.to_string(), String::new()), stage, *span))
                }
            };
        }
        let name = match sources.remotes.as_slice() {
            [(only, _)] if sources.paths.is_empty() => only.to_string(),
            _ => "the sources".to_owned(),
        };
        (Origin::Step { node, name }, sources.of_stack())
    }
}

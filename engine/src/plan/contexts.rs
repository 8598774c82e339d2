//! What the names of a build mean beyond its stages: the main context and the named ones.
//!
//! A named context goes before an image of its name, and stands for a whole stage of its name. Pure: where a context's
//! files are is decided by whoever made the options.

use super::stages::{self, StageText};
use super::state::StageState;
use super::step::{Base, ContextId, CopyStep, Origin, Shown, SourceStep, Step, StepKind};
use super::{Planner, scratch};
use crate::copy::select::Matching;
use crate::digest::LayerId;
use crate::graph::NodeId;
use crate::registry::Reference;
use crate::source::Source;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;

/// Where the files of a context are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContextBase {
    /// Nowhere: a build whose Dockerfile is all that there is.
    Empty,
    /// In a directory of the host.
    Local(ContextId),
    /// In the store, where they were put before.
    Layer(LayerId),
    /// Elsewhere.
    Remote(Source),
    /// In an image, by the name under which images are asked for.
    Image(String),
    /// In a stage of the same file.
    Stage(String),
}

/// The name under which a named context is kept and looked up: an image's name in its short form, without `:latest`.
pub fn context_key(name: &str) -> String {
    let (name, platform) = match name.split_once("::") {
        Some((name, platform)) => (name, Some(platform)),
        None => (name, None),
    };
    let short = match Reference::parse(name) {
        Ok(reference) => reference.familiar(),
        Err(_) => name.to_lowercase(),
    };
    let short = short.strip_suffix(":latest").unwrap_or(&short);
    match platform {
        Some(platform) => format!("{short}::{platform}"),
        None => short.to_owned(),
    }
}

impl Planner<'_> {
    /// The context that is meant by a name, the one for the platform before that for all.
    pub(super) fn context_named(&self, name: &str, platform: &Platform) -> Option<ContextBase> {
        if self.options.contexts.is_empty() || matches!(name, "scratch" | "context") {
            return None;
        }
        let key = context_key(name);
        let for_platform = format!("{key}::{platform}");
        let find = |wanted: &str| self.options.contexts.iter().find(|(name, _)| name == wanted);
        find(&for_platform).or_else(|| find(&key)).map(|(_, base)| base.clone())
    }

    /// The context that stands for a whole stage.
    pub(super) fn replacement(&self, stage: &StageText<'_>) -> Option<ContextBase> {
        let platform = stage.platform.as_ref().unwrap_or(&self.options.platform);
        self.context_named(stage.name.as_deref()?, platform)
    }

    /// Where COPY, ADD and bind mounts read unless they say something else.
    pub(super) fn main_context(&mut self, stage: &StageText<'_>, span: Span) -> Origin {
        let name = "the context".to_owned();
        match self.options.main.clone() {
            ContextBase::Local(id) => Origin::Context(id),
            base => Origin::Step { node: self.context_node(&base, "the context", stage, span), name },
        }
    }

    /// What COPY or a mount reads of a named context.
    pub(super) fn context_origin(
        &mut self,
        base: &ContextBase,
        name: &str,
        stage: &StageText<'_>,
        platform: &Platform,
        span: Span,
    ) -> Option<Origin> {
        let shown = format!("context {name:?}");
        match base {
            ContextBase::Local(id) => Some(Origin::Context(*id)),
            ContextBase::Image(image) => {
                let node = self.image_node(image, platform, stage, span)?;
                Some(Origin::Step { node: Some(node), name: shown })
            }
            ContextBase::Stage(_) => {
                let node = self.stage_of_context(base, span)?.node;
                Some(Origin::Step { node, name: shown })
            }
            base => Some(Origin::Step { node: self.context_node(base, &shown, stage, span), name: shown }),
        }
    }

    /// The state of a stage that begins with, or is, a context.
    pub(super) fn begin_with_context(
        &mut self,
        base: &ContextBase,
        stage: &StageText<'_>,
        platform: Platform,
    ) -> Option<StageState> {
        let name = stage.base.clone();
        self.line = stage.from.first_line;
        let node = match base {
            ContextBase::Image(image) => {
                let known = self.image(image, &platform, stage.from.span)?;
                let base = Base::Image { key: known.key, name: image.clone() };
                let node = self.base_node(base.clone(), stage);
                return Some(StageState::new(known.config, base, Some(node), platform));
            }
            ContextBase::Stage(_) => {
                return self.stage_of_context(base, stage.from.span).map(|state| state.inherited());
            }
            ContextBase::Local(id) => {
                let copy = everything_of(*id, stage.from.span);
                let text = format!("context {name}");
                let kind = StepKind::Copy(Box::new(copy));
                Some(self.helper(kind, None, Vec::new(), (text, String::new()), stage, stage.from.span))
            }
            base => self.context_node(base, &format!("context {name}"), stage, stage.from.span),
        };
        let mut state = StageState::new(scratch(&platform), Base::Scratch, node, platform);
        if let Some(node) = node {
            state.commit(format!("FROM context {name}"), Some(node));
        }
        Some(state)
    }

    /// The stage that a context of the kind `target:` names.
    fn stage_of_context(&mut self, base: &ContextBase, span: Span) -> Option<StageState> {
        let ContextBase::Stage(target) = base else { return None };
        let Some(index) = stages::by_name(self.stages, target) else {
            let names: Vec<&str> = self.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
            let mut finding =
                Diagnostic::error("UnknownStage", span, format!("the context target:{target} names no stage"));
            if let Some(near) = kiln_dsl::suggest::nearest(target, names) {
                finding = finding.with_help(format!("did you mean target:{near}?"));
            }
            self.problems.push(finding);
            return None;
        };
        self.stage(index);
        let state = self.done[index].clone()?;
        self.is_tainted |= state.is_tainted;
        Some(state)
    }

    /// The step that gives a context's files, once for each context.
    pub(super) fn context_node(
        &mut self,
        base: &ContextBase,
        text: &str,
        stage: &StageText<'_>,
        span: Span,
    ) -> Option<NodeId> {
        if let Some((_, node)) = self.fetched.iter().find(|(known, _)| known == base) {
            return Some(*node);
        }
        let (step, text) = match base {
            ContextBase::Layer(id) => (SourceStep::Layer(*id), text.to_owned()),
            ContextBase::Remote(source) => (SourceStep::Remote(source.clone()), source.to_string()),
            _ => return None,
        };
        let node = self.helper(StepKind::Source(step), None, Vec::new(), (text, String::new()), stage, span);
        self.fetched.push((base.clone(), node));
        Some(node)
    }

    /// A step that no instruction states, shown before the one that needs it. What is the same for all platforms has
    /// an empty lane.
    pub(super) fn helper(
        &mut self,
        kind: StepKind,
        parent: Option<NodeId>,
        inputs: Vec<NodeId>,
        (text, lane): (String, String),
        stage: &StageText<'_>,
        span: Span,
    ) -> NodeId {
        let label = stage.label();
        let step = Step { kind, parent, shown: self.interned.shown.len(), stage: label.clone(), ordinal: 0 };
        let node = self.interned.step(span, step, parent.into_iter().chain(inputs).collect());
        let mut words = Vec::new();
        words.extend(Some(lane.as_str()).filter(|lane| self.is_multi && !lane.is_empty()));
        words.extend(Some(label.as_str()).filter(|_| self.stages.len() > 1 || stage.name.is_some()));
        words.push("source");
        let name = format!("[{}] {text}", words.join(" "));
        let shown = Shown {
            name,
            stage: label,
            instruction: text,
            line: self.line,
            span,
            node: Some(node),
            lane,
            previous: None,
            begins: true,
        };
        self.interned.show(shown, Vec::new());
        node
    }
}

/// A step that copies all of a directory of the host.
fn everything_of(id: ContextId, span: Span) -> CopyStep {
    CopyStep {
        origin: Origin::Context(id),
        sources: vec![("/".to_owned(), span)],
        inline: Vec::new(),
        destination: "/".to_owned(),
        chown: None,
        chmod: None,
        link: false,
        excludes: Vec::new(),
        unpack: false,
        matching: Matching::Patterns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_known_by_the_short_name_of_an_image() {
        assert_eq!(context_key("alpine"), "alpine");
        assert_eq!(context_key("alpine:latest"), "alpine");
        assert_eq!(context_key("docker.io/library/alpine:3.20"), "alpine:3.20");
        assert_eq!(context_key("ghcr.io/a/b:latest"), "ghcr.io/a/b");
        assert_eq!(context_key("alpine::linux/arm64"), "alpine::linux/arm64");
        assert_eq!(context_key("Lib"), "lib");
    }
}

//! A stage made from several: `FROM base + deps + assets`.
//!
//! The first stage is what the others are laid on, and the only one whose configuration counts. Of each other one only
//! the layers are taken that no stage before it has. Pure.

use super::Planner;
use super::stages::{self, StageText};
use super::state::StageState;
use super::step::{Base, MergePart, MergeStep, Shown, Step, StepKind};
use crate::graph::NodeId;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::span::Span;
use kiln_dsl::suggest;

impl Planner<'_> {
    /// Lays the other stages of a FROM on the first one's state; `None` where one of them is not known or is wrong.
    pub(super) fn merged(&mut self, stage: &StageText<'_>, first: StageState) -> Option<StageState> {
        let mut state = first;
        if let (false, Some(node)) = (state.inherits, state.node) {
            // The first one is no stage, and its base a step of its own.
            let instruction = format!("FROM {}", stage.base);
            let lane = state.lane(&self.options.platform);
            let label = stage.label();
            let name = match self.is_multi {
                true => format!("[{lane} {label} base] {instruction}"),
                false => format!("[{label} base] {instruction}"),
            };
            let (line, span) = (stage.from.first_line, stage.from.span);
            let (node, previous, begins) = (Some(node), None, true);
            let shown = Shown { name, stage: label, instruction, line, span, node, lane, previous, begins };
            self.interned.show(shown, Vec::new());
        }
        let own = nodes(&state);
        let mut stacked = own.clone();
        let mut parts = Vec::with_capacity(stage.merged.len());
        for (name, span) in &stage.merged {
            let other = self.merged_stage(stage, name, *span)?;
            if !self.fits(stage, &state, name, &other, *span) {
                return None;
            }
            let chain = nodes(&other);
            let (known, added): (Vec<NodeId>, Vec<NodeId>) = chain.iter().partition(|node| stacked.contains(node));
            let below = other.base != Some(Base::Scratch);
            stacked.extend(&added);
            let first = other.config.history.len() - other.made_by.len();
            for (entry, made_by) in other.config.history[first..].iter().zip(&other.made_by) {
                if made_by.is_some_and(|node| added.contains(&node)) {
                    state.config.history.push(entry.clone());
                    state.made_by.push(*made_by);
                }
            }
            state.is_tainted |= other.is_tainted;
            parts.push(MergePart { name: name.clone(), known, added, on_base: below });
        }
        let names: Vec<&str> = [&*stage.base].into_iter().chain(parts.iter().map(|part| &*part.name)).collect();
        let text = format!("FROM {}", names.join(" + "));
        let kind = StepKind::Merge(MergeStep { first: stage.base.clone(), own, parts, last_wins: stage.last_wins });
        let shown = self.interned.shown.len();
        let step = Step { kind, parent: state.node, shown, stage: stage.label(), ordinal: 1 };
        let others = stacked.iter().copied().filter(|node| Some(*node) != state.node);
        let inputs = state.node.into_iter().chain(others).collect();
        let node = self.interned.step(stage.from.span, step, inputs);
        state.node = Some(node);
        state.commit(text, Some(node));
        Some(state)
    }

    /// The state of a stage that is laid on others.
    fn merged_stage(&mut self, stage: &StageText<'_>, name: &str, span: Span) -> Option<StageState> {
        let Some(index) = stages::by_name(&self.stages[..stage.index], name) else {
            let names = self.stages[..stage.index].iter().filter_map(|stage| stage.name.as_deref());
            let finding = Diagnostic::error("UnknownStage", span, format!("{name} is no stage above"));
            self.problems.push(match suggest::nearest(name, names) {
                Some(near) => finding.with_help(format!("did you mean {near}?")),
                None => finding.with_help("only stages of this file are laid on others; COPY --from reads an image"),
            });
            return None;
        };
        self.stage(index);
        self.done[index].clone()
    }

    /// Whether the layers of `other` mean the same on the stack of `state`.
    fn fits(&mut self, stage: &StageText<'_>, state: &StageState, name: &str, other: &StageState, span: Span) -> bool {
        if other.platform != state.platform {
            let message = format!("{name} is for {}, and {} is for {}", other.platform, stage.base, state.platform);
            let help = "give both the same --platform, or copy what is needed with COPY --from";
            self.problems.push(Diagnostic::error("InvalidMerge", span, message).with_help(help));
            return false;
        }
        if other.base == Some(Base::Scratch) || other.base == state.base {
            return true;
        }
        let shown = |base: &Option<Base>| match base {
            Some(Base::Image { name, .. }) => name.clone(),
            Some(Base::Host) => super::HOST_BASE.to_owned(),
            Some(Base::Scratch) | None => "scratch".to_owned(),
        };
        let (own, theirs) = (shown(&state.base), shown(&other.base));
        let message = format!("{name} is made from {theirs}, and {} from {own}", stage.base);
        let help = match state.base {
            Some(Base::Scratch) => format!("write the one that is not made from scratch first: FROM {name} + …"),
            _ => format!("make {name} from {own} or from scratch, or copy what is needed with COPY --from={name}"),
        };
        self.problems.push(Diagnostic::error("InvalidMerge", span, message).with_help(help));
        false
    }
}

/// The steps that make the layers of a stage, in their order, without those of its base.
fn nodes(state: &StageState) -> Vec<NodeId> {
    state.made_by.iter().flatten().copied().collect()
}

//! How a rebuild is shown while watching: one block of what ran and why. What hits is not shown.
//!
//! Steps that run print their line when they end, and RUN steps one when they begin, as they may take long. The
//! output of a step is shown where it failed.

use super::{Render, line};
use crate::text::clean;
use kiln_engine::event::{Event, Verdict};
use std::io::{self, Write};

/// The renderer of one rebuild.
#[derive(Debug, Default)]
pub struct Block {
    steps: Vec<Step>,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    is_run: bool,
    log: String,
}

impl Render for Block {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        match event {
            Event::BuildStarted { steps, .. } => {
                let step = |info| Step {
                    name: line::name(info),
                    is_run: info.instruction.starts_with("RUN"),
                    log: String::new(),
                };
                self.steps = steps.iter().map(step).collect();
                Ok(())
            }
            Event::StepStarted { step, reason } => match self.steps.get(*step) {
                Some(step) if step.is_run => {
                    writeln!(out, "  {} ... running{}", step.name, line::in_brackets(reason))
                }
                _ => Ok(()),
            },
            Event::StepLog { step, text, .. } => {
                if let Some(step) = self.steps.get_mut(*step) {
                    step.log.push_str(text);
                }
                Ok(())
            }
            Event::StepFinished { step, verdict, reason, duration, .. } => {
                let Some(step) = self.steps.get_mut(*step) else { return Ok(()) };
                let log = std::mem::take(&mut step.log);
                if !matches!(verdict, Verdict::Miss(_) | Verdict::Failed(_)) {
                    return Ok(());
                }
                let outcome = line::outcome(*verdict, reason, *duration);
                writeln!(out, "  {} ... {}{outcome}", step.name, verdict.word())?;
                if matches!(verdict, Verdict::Failed(_)) {
                    for text in clean::lines(&log) {
                        writeln!(out, "  | {}", clean::line(text))?;
                    }
                }
                Ok(())
            }
            Event::Warning { message } => writeln!(out, "  warning: {}", clean::one_line(message)),
            Event::BuildFinished { ok: true, .. } => match line::summary(event) {
                Some(summary) => writeln!(out, "{summary}"),
                None => Ok(()),
            },
            // The error itself is told by whoever knows it.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::script;

    #[test]
    fn what_ran_is_shown_and_what_hit_is_not() {
        insta::assert_snapshot!(script::rendered(Block::default(), &script::successful()));
    }

    #[test]
    fn a_failed_step_shows_its_output() {
        insta::assert_snapshot!(script::rendered(Block::default(), &script::failing()));
    }
}

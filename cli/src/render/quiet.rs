//! `--progress quiet` and `-q`: nothing but the whole output of a step that failed.
//!
//! What a quiet build prints on success is the command's, not this renderer's.

use super::log::Log;
use super::{Render, line};
use kiln_engine::event::{Event, Verdict};
use std::io::{self, Write};

/// The renderer.
#[derive(Debug, Default)]
pub struct Quiet {
    steps: Vec<(String, Log)>,
}

impl Render for Quiet {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        match event {
            Event::BuildStarted { build: _, steps } => {
                self.steps = steps.iter().map(|info| (line::name(info), Log::default())).collect();
                Ok(())
            }
            Event::StepLog { step, stream: _, text } => {
                if let Some((_, log)) = self.steps.get_mut(*step) {
                    log.push(text);
                }
                Ok(())
            }
            Event::StepFinished { step, verdict, reason, duration, why: _ } => {
                let Some((name, log)) = self.steps.get_mut(*step) else { return Ok(()) };
                let mut log = std::mem::take(log);
                if matches!(verdict, Verdict::Failed(_)) {
                    writeln!(out, "{name} ... {}{}", verdict.word(), line::outcome(*verdict, reason, *duration))?;
                    log.write_to(out)?;
                }
                Ok(())
            }
            Event::StepStarted { .. } | Event::Warning { .. } | Event::BuildFinished { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::script;

    #[test]
    fn success_is_silent() {
        assert_eq!(script::rendered(Quiet::default(), &script::successful()), "");
    }

    #[test]
    fn a_failing_step_shows_its_own_output_and_no_other() {
        insta::assert_snapshot!(script::rendered(Quiet::default(), &script::failing()));
    }
}

//! `--progress plain`: stable lines for pipes and logs, each with the name of its step.
//!
//! ```text
//! [build 1/3] FROM busybox ... hit (local)
//! [build 2/3] RUN make ... running (src/a.c changed)
//! [build 2/3] | cc -c src/a.c
//! [build 2/3] RUN make ... miss (src/a.c changed) 1.2s
//! built b3:… in 1.2s, 3 steps: 2 hit, 1 miss
//! ```
//! Nothing is coloured and nothing is cut.

use super::{Render, line};
use crate::text::clean;
use kiln_engine::event::{Event, Verdict};
use std::collections::VecDeque;
use std::io::{self, Write};

/// Lines of a failed step that are repeated at the end, where steps that ran beside it no longer
/// come between.
const REPEATED_LINES: usize = 20;

/// The renderer.
#[derive(Debug, Default)]
pub struct Plain {
    steps: Vec<Step>,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Step {
    name: String,
    prefix: String,
    last_lines: VecDeque<String>,
    lines: usize,
}

#[derive(Debug)]
struct Failure {
    step: usize,
    outcome: String,
}

impl Render for Plain {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        match event {
            Event::BuildStarted { build: _, steps } => {
                let named = |(index, info)| {
                    let name = line::name(info);
                    Step { prefix: line::prefix(&name, index), name, last_lines: VecDeque::new(), lines: 0 }
                };
                self.steps = steps.iter().enumerate().map(named).collect();
                Ok(())
            }
            Event::StepStarted { step, reason } => match self.steps.get(*step) {
                Some(step) => writeln!(out, "{} ... running{}", step.name, line::in_brackets(reason)),
                None => Ok(()),
            },
            Event::StepLog { step, stream: _, text } => match self.steps.get_mut(*step) {
                Some(step) => step.log(text, out),
                None => Ok(()),
            },
            Event::StepFinished { step: index, verdict, reason, duration, why: _ } => {
                let Some(step) = self.steps.get_mut(*index) else { return Ok(()) };
                let outcome = line::outcome(*verdict, reason, *duration);
                writeln!(out, "{} ... {}{outcome}", step.name, verdict.word())?;
                if matches!(verdict, Verdict::Failed(_)) {
                    self.failures.push(Failure { step: *index, outcome });
                } else {
                    step.last_lines = VecDeque::new();
                }
                Ok(())
            }
            Event::Warning { message } => writeln!(out, "warning: {}", clean::one_line(message)),
            Event::BuildFinished { .. } => {
                for failure in &self.failures {
                    self.steps[failure.step].repeat(&failure.outcome, out)?;
                }
                match line::summary(event) {
                    Some(summary) if !self.steps.is_empty() => writeln!(out, "{summary}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl Step {
    fn log(&mut self, text: &str, out: &mut dyn Write) -> io::Result<()> {
        for text in clean::lines(text) {
            let text = clean::line(text);
            writeln!(out, "{} | {text}", self.prefix)?;
            self.lines += 1;
            if self.last_lines.len() == REPEATED_LINES {
                self.last_lines.pop_front();
            }
            self.last_lines.push_back(text);
        }
        Ok(())
    }

    /// The block at the end about a step that failed.
    fn repeat(&self, outcome: &str, out: &mut dyn Write) -> io::Result<()> {
        let word = Verdict::Failed(None).word();
        writeln!(out, "{word}: {}{outcome}", self.name)?;
        if self.lines > self.last_lines.len() {
            writeln!(out, "{word}: its last {} lines of {}; all are above", self.last_lines.len(), self.lines)?;
        }
        self.last_lines.iter().try_for_each(|text| writeln!(out, "{word}: | {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::script;

    #[test]
    fn a_successful_build() {
        insta::assert_snapshot!(script::rendered(Plain::default(), &script::successful()));
    }

    #[test]
    fn a_failing_build() {
        insta::assert_snapshot!(script::rendered(Plain::default(), &script::failing()));
    }

    #[test]
    fn a_build_in_which_everything_hits() {
        insta::assert_snapshot!(script::rendered(Plain::default(), &script::unchanged()));
    }

    #[test]
    fn a_long_failing_log_is_whole_above_and_shortened_only_where_it_is_repeated() {
        let text = script::rendered(Plain::default(), &script::failing_with_lines(300));
        for n in 0..300 {
            assert!(text.contains(&format!("[build 2/3] | line {n}\n")), "line {n} is missing");
        }
        assert!(text.contains("failed: its last 20 lines of 300; all are above\nfailed: | line 280\n"), "{text}");
    }

    #[test]
    fn a_step_that_was_never_announced_shows_nothing() {
        let event = Event::StepStarted { step: 9, reason: String::new() };
        assert_eq!(script::rendered(Plain::default(), &[event]), "");
    }
}

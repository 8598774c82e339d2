//! What a terminal shows of a build: finished steps as lines that stay, running ones as a block
//! below them that is painted over.
//!
//! Pure: the time and the size are parameters, and painting gives bytes. Painted by hand, not with
//! indicatif: the block's height changes with every step and every terminal, a failed step's output
//! has to pass through whole, and the cursor is never hidden, so nothing has to be put back
//! when the program is killed.

use super::line;
use super::log::Log;
use crate::text::{clean, quantity};
use kiln_engine::event::{Event, Verdict};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Log lines that are shown of each running step, if there is room.
const TAIL_LINES: usize = 4;

/// The size of a terminal in cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Cells in a line, at least 1.
    pub columns: usize,
    /// Lines, at least 1.
    pub rows: usize,
}

/// What the terminal shows, and what it has yet to show.
#[derive(Debug, Default)]
pub struct Screen {
    colour: bool,
    steps: Vec<Step>,
    running: Vec<usize>,
    done: usize,
    pending: Vec<Pending>,
    painted: Vec<usize>,
    began: Duration,
}

#[derive(Debug)]
struct Step {
    name: String,
    reason: String,
    since: Duration,
    tail: VecDeque<String>,
    log: Log,
}

/// Something that will stay above the block.
#[derive(Debug)]
enum Pending {
    Text(String),
    Step { name: String, verdict: Verdict, outcome: String },
    Output(Log),
}

impl Screen {
    /// An empty one.
    pub fn new(colour: bool) -> Self {
        Screen { colour, ..Screen::default() }
    }

    /// Whether any step runs.
    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Takes one event that happened at `now`.
    pub fn event(&mut self, event: Event, now: Duration) {
        match event {
            Event::BuildStarted { build: _, steps } => {
                self.began = now;
                let quiet = |info| Step {
                    name: line::name(info),
                    reason: String::new(),
                    since: now,
                    tail: VecDeque::new(),
                    log: Log::default(),
                };
                self.steps = steps.iter().map(quiet).collect();
            }
            Event::StepStarted { step: index, reason } => {
                if let Some(step) = self.steps.get_mut(index) {
                    step.reason = line::in_brackets(&reason);
                    step.since = now;
                    self.running.push(index);
                }
            }
            Event::StepLog { step, stream: _, text } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.push(&text);
                }
            }
            Event::StepFinished { step, verdict, reason, duration, why: _ } => {
                self.finish(step, verdict, &reason, duration);
            }
            Event::Warning { message } => {
                self.pending.push(Pending::Text(format!("warning: {}", clean::one_line(&message))));
            }
            Event::BuildFinished { .. } => {
                self.running.clear();
                if let Some(summary) = line::summary(&event).filter(|_| !self.steps.is_empty()) {
                    self.pending.push(Pending::Text(summary));
                }
            }
        }
    }

    fn finish(&mut self, index: usize, verdict: Verdict, reason: &str, duration: f64) {
        let Some(step) = self.steps.get_mut(index) else { return };
        let ran = self.running.iter().position(|&running| running == index);
        if let Some(at) = ran {
            self.running.remove(at);
        }
        self.done += 1;
        step.tail = VecDeque::new();
        let log = std::mem::take(&mut step.log);
        // Steps that never ran because another failed would push its output off the screen.
        if verdict == Verdict::Cancelled && ran.is_none() {
            return;
        }
        let outcome = line::outcome(verdict, reason, duration);
        self.pending.push(Pending::Step { name: step.name.clone(), verdict, outcome });
        if matches!(verdict, Verdict::Failed(_)) && log.lines() > 0 {
            self.pending.push(Pending::Output(log));
        }
    }

    /// Writes what brings the terminal up to date: the old block goes, what is to stay is written, the new block
    /// follows. The cursor is left at the beginning of the line below.
    pub fn paint(&mut self, now: Duration, size: Size, out: &mut dyn Write) -> io::Result<()> {
        let columns = size.columns.max(1);
        // A narrower terminal has wrapped what was painted; its lines are counted as they are now.
        let rows: usize = self.painted.drain(..).map(|width| width.div_ceil(columns).max(1)).sum();
        if rows > 0 {
            write!(out, "\r\x1b[{rows}A\x1b[J")?;
        }
        for pending in std::mem::take(&mut self.pending) {
            self.write_pending(pending, columns, out)?;
        }
        for text in self.block(now, size) {
            self.painted.push(text.width());
            let is_tail = text.starts_with("  | ");
            if self.colour && is_tail { writeln!(out, "\x1b[2m{text}\x1b[0m")? } else { writeln!(out, "{text}")? }
        }
        Ok(())
    }

    fn write_pending(&self, pending: Pending, columns: usize, out: &mut dyn Write) -> io::Result<()> {
        match pending {
            Pending::Text(text) => writeln!(out, "{text}"),
            Pending::Output(mut log) => log.write_to(out),
            Pending::Step { name, verdict, outcome } => {
                let word = verdict.word();
                let rest = format!(" ... {word}{outcome}").width();
                let name = clean::fit(&name, columns.saturating_sub(rest).max(columns / 2));
                let (on, off) = if self.colour { (colour(verdict), "\x1b[0m") } else { ("", "") };
                writeln!(out, "{name} ... {on}{word}{off}{outcome}")
            }
        }
    }

    /// The lines of the running steps, none wider or more than the terminal holds.
    fn block(&self, now: Duration, size: Size) -> Vec<String> {
        if self.running.is_empty() {
            return Vec::new();
        }
        // One line for the cursor, one for the foot.
        let room = size.rows.saturating_sub(2).max(1);
        let all_fit = self.running.len() <= room;
        let shown = if all_fit { self.running.len() } else { room - 1 };
        let tail = if all_fit { ((room - shown) / shown).min(TAIL_LINES) } else { 0 };
        let mut lines = Vec::new();
        for step in self.running[..shown].iter().filter_map(|&index| self.steps.get(index)) {
            let time = quantity::duration(now.saturating_sub(step.since).as_secs_f64());
            let head = format!("{}{}", step.name, step.reason);
            let head = clean::fit(&head, size.columns.saturating_sub(time.len() + 1));
            lines.push(clean::fit(&format!("{head} {time}"), size.columns));
            let skipped = step.tail.len().saturating_sub(tail);
            let last = step.tail.iter().skip(skipped);
            lines.extend(last.map(|text| clean::fit(&format!("  | {text}"), size.columns)));
        }
        if shown < self.running.len() {
            lines.push(clean::fit(&format!("and {} more", self.running.len() - shown), size.columns));
        }
        let time = quantity::duration(now.saturating_sub(self.began).as_secs_f64());
        let foot = format!("{} running, {} of {} steps done, {time}", self.running.len(), self.done, self.steps.len());
        lines.push(clean::fit(&foot, size.columns));
        lines
    }
}

impl Step {
    fn push(&mut self, text: &str) {
        self.log.push(text);
        for text in clean::lines(text) {
            let text = clean::line(text);
            // Blank lines would use up the few that are shown.
            if text.trim().is_empty() {
                continue;
            }
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            self.tail.push_back(text);
        }
    }
}

/// Colour only repeats what the word says.
fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Hit(_) => "\x1b[32m",
        Verdict::Miss(_) => "\x1b[33m",
        Verdict::Failed(_) => "\x1b[1;31m",
        Verdict::Cancelled => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests;

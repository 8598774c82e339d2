//! All that one step wrote, kept until it is known whether anyone must see it.
//!
//! The first mebibyte stays in memory, the rest goes to an unnamed temporary file, so that memory
//! stays flat whatever a step prints. Knows nothing of steps.

use crate::text::clean;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Bytes of a log that stay in memory: more than most steps ever print, little beside a build.
const MEMORY_BYTES: usize = 1 << 20;

/// A log, made safe to show.
#[derive(Debug, Default)]
pub struct Log {
    memory: Vec<u8>,
    spilled: Option<File>,
    lines: u64,
    cap: Option<usize>,
}

impl Log {
    /// Adds what a step wrote, cleaned, line by line.
    pub fn push(&mut self, text: &str) {
        for line in clean::lines(text) {
            self.memory.extend_from_slice(clean::line(line).as_bytes());
            self.memory.push(b'\n');
            self.lines += 1;
        }
        if self.memory.len() > self.cap.unwrap_or(MEMORY_BYTES) {
            self.spill();
        }
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Writes all of it, oldest first.
    pub fn write_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(file) = &mut self.spilled {
            file.seek(SeekFrom::Start(0))?;
            io::copy(file, out)?;
        }
        out.write_all(&self.memory)
    }

    /// Moves what is in memory to the file; where that fails, memory keeps it: a log is never lost.
    fn spill(&mut self) {
        if self.spilled.is_none() {
            self.spilled = tempfile::tempfile().ok();
        }
        let Some(file) = &mut self.spilled else { return };
        let Ok(before) = file.stream_position() else { return };
        match file.write_all(&self.memory) {
            Ok(()) => self.memory.clear(),
            // A half-written part would be shown twice.
            Err(_) => {
                let _still_in_memory = file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_spilled_comes_back_whole_and_in_order() {
        let mut log = Log { cap: Some(16), ..Log::default() };
        let text: Vec<String> = (0..100).map(|n| format!("line {n}\n")).collect();
        text.iter().for_each(|line| log.push(line));
        let mut all = Vec::new();
        log.write_to(&mut all).unwrap();
        assert_eq!(String::from_utf8(all).unwrap(), text.concat());
        assert!(log.spilled.is_some(), "nothing spilled");
        assert_eq!(log.lines(), 100);
    }
}

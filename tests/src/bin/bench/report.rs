//! How results look: lines for the terminal, a page for the documentation. Pure.

use crate::frame::{Bound, FLOOR, Measured, Section, Statistics};
use crate::lab::Lab;
use std::fmt::Write as _;

/// The command that makes the page.
const COMMAND: &str = "cargo build --release -p kiln && cargo run --release -p kiln-tests --bin bench -- --write";

/// From so many samples on, the 99th of 100 says something that the longest does not.
const MANY: usize = 100;

/// One row for the terminal.
pub fn lines(measured: &Measured<'_>) -> String {
    let kept = match measured.is_kept() {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "",
    };
    let mut text = format!("{} — {} {kept}", measured.row.work, bound(measured.row.bound));
    let first = measured.contestants.first().map(|(_, statistics)| statistics.median);
    for (name, Statistics { min, median, p99, max, samples, resident }) in &measured.contestants {
        let ratio = first.map_or(f64::NAN, |first| median / first);
        let resident = *resident as f64 / f64::from(1 << 20);
        let p99 = if *samples >= MANY { format!(" p99 {:>9}", seconds(*p99)) } else { String::new() };
        let _ = write!(
            text,
            "\n  {name:8} {:>9} {:>9}{p99} {:>9}  × {ratio:.2}  {resident:.1} MB",
            seconds(*min),
            seconds(*median),
            seconds(*max)
        );
    }
    text
}

fn bound(bound: Option<Bound>) -> String {
    match bound {
        Some(Bound::Seconds(bound)) => format!("≤ {}", seconds(bound)),
        Some(Bound::TimesFloor(times)) => format!("≤ {times} × floor"),
        Some(Bound::TimesFloorWithin { times, bytes }) => format!("≤ {times} × floor, ≤ {} MB", bytes >> 20),
        Some(Bound::SecondsOverFloor(over)) => format!("≤ floor + {}", seconds(over)),
        Some(Bound::Bytes(bytes)) => format!("≤ {} MB", bytes >> 20),
        Some(Bound::Latency { median, p99 }) => format!("≤ {}, p99 ≤ {}", seconds(median), seconds(p99)),
        Some(Bound::Idle { seconds: most, bytes }) => format!("≤ {}, ≤ {} MB", seconds(most), bytes >> 20),
        None => String::new(),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// The page.
pub struct Page {
    text: String,
}

impl Page {
    /// Begins the page with what a reader has to know.
    pub fn new(lab: &Lab, rounds: Option<usize>) -> Self {
        let mut text = format!(
            "# Benchmarks\n\nWritten by `{COMMAND}`.\n\nEvery figure of a row was taken in the same run, the tools in turn, \
             after one round that does not count; a cell is *minimum / median / maximum*. Ratios are of medians. Absolute \
             times vary with the machine and what else it does; ratios taken in one run are what counts.\n\n\
             Machine: {} cores, Linux {}. ",
            std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        );
        let names: Vec<&str> = lab.tools().iter().map(|tool| tool.name()).collect();
        let _ = write!(text, "Tools: {}", names.join(", "));
        for absent in lab.absent() {
            let _ = write!(text, ", {absent} skipped");
        }
        text.push('.');
        if let Some(rounds) = rounds {
            let _ = write!(text, " Rounds: {rounds}.");
        }
        text.push('\n');
        Page { text }
    }

    /// Adds a section's table: a column for each contestant that any of its rows has.
    pub fn section(&mut self, section: &Section, results: &[Measured<'_>]) {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in results.iter().flat_map(|measured| &measured.contestants) {
            if name != FLOOR && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let has_floor = results.iter().any(|measured| measured.of(FLOOR).is_some());
        let first = names.first().copied().unwrap_or("kiln");
        let mut head: Vec<String> = vec!["work".to_owned()];
        head.extend(names.iter().map(|&name| name.to_owned()));
        head.extend(has_floor.then(|| FLOOR.to_owned()));
        head.extend(names.iter().skip(1).map(|name| format!("{name} ÷ {first}")));
        head.extend(["memory", "bound", "kept"].map(str::to_owned));
        let _ = write!(self.text, "\n## {}\n\n{}\n\n", section.title, section.intro);
        self.line(&head);
        self.line(&vec!["---".to_owned(); head.len()]);
        for measured in results {
            let cell = |name: &str| measured.of(name).map_or_else(String::new, cell);
            let ratio = |name: &&str| {
                let both = measured.of(name).zip(measured.of(first));
                both.map_or_else(String::new, |(other, own)| format!("{:.1}", other.median / own.median))
            };
            let mut cells = vec![measured.row.work.to_owned()];
            cells.extend(names.iter().map(|name| cell(name)));
            cells.extend(has_floor.then(|| cell(FLOOR)));
            cells.extend(names.iter().skip(1).map(ratio));
            cells.push(measured.of(first).map_or_else(String::new, |own| format!("{} MB", own.resident >> 20)));
            cells.push(bound(measured.row.bound));
            cells.push(measured.is_kept().map_or("", |kept| if kept { "yes" } else { "no" }).to_owned());
            self.line(&cells);
        }
    }

    fn line(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// The whole page.
    pub fn finish(self) -> String {
        self.text
    }
}

fn cell(statistics: Statistics) -> String {
    let Statistics { min, median, p99, max, samples, .. } = statistics;
    let p99 = if samples >= MANY { format!("p99 {} / ", seconds(p99)) } else { String::new() };
    format!("{} / {} / {p99}{}", seconds(min), seconds(median), seconds(max))
}

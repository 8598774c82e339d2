//! Measures kiln against Docker and Buildah, interleaved in one run, and writes `docs/benchmarks.md`.
//!
//! `cargo run --release -p kiln-tests --bin bench -- [ROW…] [--rounds N] [--write]`. What is measured
//! stands in [`rows`]; this file knows the arguments and the order, nothing of any one row.

mod context;
mod frame;
mod lab;
mod process;
mod report;
mod rows;

use frame::{Result, Row};
use lab::Lab;

/// What was asked for.
struct Arguments {
    /// Names of rows or sections; empty for all.
    wanted: Vec<String>,
    /// How often each contestant runs, instead of the row's own number.
    rounds: Option<usize>,
    /// Whether `docs/benchmarks.md` is written.
    write: bool,
}

fn arguments() -> Result<Arguments> {
    let mut parsed = Arguments { wanted: Vec::new(), rounds: None, write: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--write" => parsed.write = true,
            "--rounds" => {
                let number = words.next().ok_or("--rounds needs a number")?;
                parsed.rounds = Some(number.parse().map_err(|_| format!("{number:?} is no number of rounds"))?);
            }
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}").into()),
            _ => parsed.wanted.push(word),
        }
    }
    Ok(parsed)
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = arguments()?;
    let sections = rows::sections();
    let known = |word: &String| {
        sections.iter().any(|section| section.name == word || section.rows.iter().any(|row| row.name == word))
    };
    if let Some(word) = arguments.wanted.iter().find(|word| !known(word)) {
        let names: Vec<&str> = sections.iter().flat_map(|section| section.rows.iter().map(|row| row.name)).collect();
        return Err(format!("there is no row {word:?}; the rows are {}", names.join(", ")).into());
    }
    let lab = Lab::open()?;
    for absent in lab.absent() {
        say(&format!("skipped: {absent} (set {} as `peers env` does)", absent.to_uppercase()));
    }
    let mut page = report::Page::new(&lab, arguments.rounds);
    for section in &sections {
        let all = arguments.wanted.iter().any(|word| word == section.name) || arguments.wanted.is_empty();
        let chosen: Vec<&Row> =
            section.rows.iter().filter(|row| all || arguments.wanted.iter().any(|word| word == row.name)).collect();
        if section.rows.is_empty() {
            say(&format!("skipped: {} (what it needs is said in its file)", section.name));
        }
        if chosen.is_empty() {
            continue;
        }
        let mut results = Vec::new();
        for row in chosen {
            let result = frame::measure(&lab, row, arguments.rounds)?;
            say(&report::lines(&result));
            results.push(result);
        }
        page.section(section, &results);
    }
    if arguments.write {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
        std::fs::write(path, page.finish())?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this program's results are for the terminal")]
fn say(text: &str) {
    println!("{text}");
}

//! How fast Dockerfiles become documents, on one core.
//!
//! The texts are those of the corpus that `KILN_CORPUS` names, or that stands beside the project; without it there is no
//! such section.

use crate::frame::{Bound, Contest, Contestant, Result, Row, Sample, Section};
use kiln_dsl::parser;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What has to be read in a second, in bytes.
const BYTES_A_SECOND: f64 = 50e6;

/// All that is read in one round, in bytes, at least.
const BYTES: usize = 50_000_000;

/// The section.
pub fn section() -> Section {
    let texts = corpus();
    let once: usize = texts.iter().map(String::len).sum();
    let mut rows = Vec::new();
    if once > 0 {
        let times = BYTES.div_ceil(once);
        rows.push(Row {
            name: "parse-corpus",
            work: "real Dockerfiles, 50 MB of them",
            rounds: 7,
            bound: Some(Bound::Seconds((once * times) as f64 / BYTES_A_SECOND)),
            setup: Box::new(move |_, _| {
                let texts = texts.clone();
                let run = move |_| {
                    let begun = Instant::now();
                    let mut count = 0;
                    for text in texts.iter().cycle().take(texts.len() * times) {
                        count += std::hint::black_box(parser::parse(text)).document.instructions.len();
                    }
                    assert!(count > 0, "the corpus has instructions");
                    Ok(Sample { seconds: begun.elapsed().as_secs_f64(), resident: 0 })
                };
                let contestant = Contestant { name: "kiln".to_owned(), every: 1, run: Box::new(run) };
                Ok(Contest { edit: Box::new(|_| Ok(())), contestants: vec![contestant] })
            }),
        });
    }
    Section {
        name: "parse",
        title: "Parsing",
        intro: "The parser alone, in one thread, over real Dockerfiles again and again until 50 MB are read: a second is 50 MB/s. \
                `cargo bench -p kiln-dsl` measures its parts.",
        rows,
    }
}

/// The texts of the corpus; none where it is not there.
fn corpus() -> Vec<String> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or_else(beside, PathBuf::from).join("dockerfiles.jsonl");
    let lines = std::fs::read_to_string(path).unwrap_or_default();
    let text = |line: &str| -> Result<String> {
        let case: serde_json::Value = serde_json::from_str(line)?;
        Ok(case["text"].as_str().unwrap_or_default().to_owned())
    };
    lines.lines().filter_map(|line| text(line).ok()).collect()
}

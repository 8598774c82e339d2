//! The table of memory: the largest resident set of kiln and what it starts.

use super::build::{Before, BuildRow};
use crate::context::{dockerfile, large_file, small_files};
use crate::frame::{Bound, Result, Section};
use std::fs;
use std::path::Path;

/// What any context may need.
const LIMIT: Option<Bound> = Some(Bound::Bytes(100 << 20));

/// Small files of the largest context.
const FILES: usize = 100_000;

/// The section.
pub fn section() -> Section {
    Section {
        name: "memory",
        title: "Memory",
        intro: "The largest resident set of the kiln process, pages of its mapped database included. The peers build \
                in daemons and are not compared.",
        rows: ROWS.into_iter().map(Into::into).collect(),
    }
}

const ROWS: [BuildRow; 3] = [
    BuildRow {
        name: "memory-new-100000",
        work: "COPY of 100,000 new files",
        rounds: 1,
        bound: LIMIT,
        make: very_many_files,
        before: Before::Renew,
        salted: false,
        floor: "",
        peers: false,
    },
    BuildRow {
        name: "memory-unchanged-100000",
        work: "nothing changed, COPY of 100,000 files",
        rounds: 3,
        bound: LIMIT,
        make: very_many_files,
        before: Before::Nothing,
        salted: false,
        floor: "",
        peers: false,
    },
    BuildRow {
        name: "memory-1gb",
        work: "COPY of a new file of 1 GB",
        rounds: 1,
        bound: LIMIT,
        make: very_large_file,
        before: Before::Renew,
        salted: false,
        floor: "",
        peers: false,
    },
];

fn very_many_files(context: &Path, salt: u64) -> Result<()> {
    small_files(&context.join("files"), FILES, salt)?;
    dockerfile(context, "FROM BASE\nCOPY files /files\n")
}

fn very_large_file(context: &Path, salt: u64) -> Result<()> {
    fs::create_dir(context.join("files"))?;
    large_file(&context.join("files/large"), 1024, salt)?;
    dockerfile(context, "FROM BASE\nCOPY files /files\n")
}

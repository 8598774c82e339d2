//! `conformance DIR`: does kiln build the images that Docker builds? See `tests/README.md`.
//!
//! Arguments and printing only.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use clap::Parser;
use kiln_tests::conformance::builder::Docker;
use kiln_tests::conformance::case::{Case, Expect};
use kiln_tests::conformance::run::{Failure, RunError, Verdict};
use kiln_tests::conformance::suite::{self, Options};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Builds each case of a directory with kiln and with Docker, and compares the images.
///
/// A case is a folder with a Dockerfile, its context, and perhaps a case.ron. Docker's command is taken
/// from DOCKER; PEERS_DIR and DOCKER_PREFIX say which directory its daemon sees under which name.
#[derive(Parser)]
struct Arguments {
    /// The directory of cases, or one case
    dir: PathBuf,
    /// Only cases whose name contains this (repeatable)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Compare with the golden results of this directory too; without DOCKER, only with them
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Write the golden results of the cases that pass
    #[arg(long, requires = "golden")]
    write_golden: bool,
    /// Keep the copies, the archives of bases and the listings in the work directory
    #[arg(long)]
    keep: bool,
    /// The directory for copies and listings, below PEERS_DIR where Docker takes part
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// The store that kiln uses [default: a new one in the work directory]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// The program to test [default: `kiln` beside this program, built first under cargo]
    #[arg(long, value_name = "FILE", env = "KILN")]
    kiln: Option<PathBuf>,
    /// How many cases run at once
    #[arg(short, long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Show all differences of a case, not only the first
    #[arg(long)]
    all: bool,
}

/// So many differences of one case are shown by default.
const SHOWN_DIFFERENCES: usize = 12;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {}", chain(&*error));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let docker = Docker::from_environment();
    let parent = docker.as_ref().filter(|docker| docker.shared != Path::new("/"));
    let parent = parent.map_or_else(std::env::temp_dir, |docker| docker.shared.clone());
    let work = arguments.work.clone();
    let kiln = match &arguments.kiln {
        Some(kiln) => kiln.canonicalize().map_err(|error| format!("{}: {error}", kiln.display()))?,
        None => kiln_tests::kiln_program()?,
    };
    let options = Options {
        cases: arguments.dir.clone(),
        only: arguments.only.clone(),
        kiln,
        store: arguments.store.clone(),
        docker,
        golden: arguments.golden.clone(),
        write_golden: arguments.write_golden,
        work: work.unwrap_or_else(|| parent.join(format!("conformance-{}", std::process::id()))),
        keep: arguments.keep,
        jobs: arguments.jobs,
    };
    let counts = suite::run(&options, &mut |case, result| show(case, result, arguments.all))?;
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    if options.keep {
        println!("kept in {}", options.work.display());
    }
    Ok(counts.failed == 0)
}

fn show(case: &Case, result: &Result<Verdict, RunError>, all: bool) {
    let word = match result {
        Ok(Verdict::Passed) => "ok",
        Ok(Verdict::Skipped(_)) => "skipped",
        Ok(Verdict::Failed(_)) => "FAILED",
        Err(_) => "ERROR",
    };
    let note = match (&case.text.expect, result) {
        (_, Ok(Verdict::Skipped(reason))) => reason.clone(),
        (_, Ok(Verdict::Failed(_)) | Err(_)) | (Expect::Equal | Expect::Agree, _) => String::new(),
        (Expect::Fail, _) => "both refuse it".to_owned(),
        (Expect::Differs(reason), _) => format!("differs: {reason}"),
        (Expect::Documented(reason), _) => format!("as documented: {reason}"),
    };
    println!("{word:8}{}{}", case.name, if note.is_empty() { note } else { format!(" ({note})") });
    match result {
        Ok(Verdict::Failed(failure)) => show_failure(failure, all),
        Err(error) => indented(&chain(error)),
        _ => {}
    }
}

fn show_failure(failure: &Failure, all: bool) {
    match failure {
        Failure::Differ(differences) => {
            let most = if all { differences.len() } else { SHOWN_DIFFERENCES };
            differences.iter().take(most).for_each(|one| indented(&one.to_string()));
            if differences.len() > most {
                indented(&format!("and {} more; --all shows them", differences.len() - most));
            }
        }
        Failure::KilnRefused(output) => {
            indented("kiln does not build it:");
            indented(output);
        }
        Failure::KilnBuilt => indented("kiln builds it"),
        Failure::Docker(what) => {
            indented("Docker does not do what the case expects:");
            indented(what);
        }
        Failure::NoDifference => indented("kiln and Docker agree: the expected difference is none"),
        Failure::Silent { missing, output } => {
            indented(&format!("kiln's error does not say {missing:?}:"));
            indented(output);
        }
    }
}

fn indented(text: &str) {
    text.lines().for_each(|line| println!("        {line}"));
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

//! All cases of a directory: what is needed to run them, side by side, results in the order of names.
//!
//! Prints nothing.

use super::builder::{Docker, Kiln};
use super::busybox;
use super::case::{self, Case, CaseError};
use super::mirror::{Finder, Mirror};
use super::run::{RunError, Runner, Verdict};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of cases.
    pub cases: PathBuf,
    /// Only cases whose name contains one of these; all where there is none.
    pub only: Vec<String>,
    /// The program `kiln`.
    pub kiln: PathBuf,
    /// Kiln's store; a new one below `work` by default.
    pub store: Option<PathBuf>,
    /// Docker, if results are to be compared with its.
    pub docker: Option<Docker>,
    /// Golden results.
    pub golden: Option<PathBuf>,
    /// Whether golden results are written.
    pub write_golden: bool,
    /// The directory for all that is written meanwhile.
    pub work: PathBuf,
    /// Whether it stays.
    pub keep: bool,
    /// How many cases run at once.
    pub jobs: usize,
}

/// Why a suite did not run.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The cases.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// There is no case.
    #[error("no case below {} has a name with one of {only:?} in it", cases.display())]
    NoCase {
        /// Where.
        cases: PathBuf,
        /// What was asked for.
        only: Vec<String>,
    },
    /// A directory or the mirror.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How many cases ended in which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// As expected.
    pub passed: usize,
    /// Not as expected, or not to be run at all.
    pub failed: usize,
    /// Left out.
    pub skipped: usize,
}

/// Runs the cases; `each` hears of every one, in the order of their names.
pub fn run(options: &Options, each: &mut dyn FnMut(&Case, &Result<Verdict, RunError>)) -> Result<Counts, SuiteError> {
    let mut cases = case::find(&options.cases)?;
    cases.retain(|case| options.only.is_empty() || options.only.iter().any(|part| case.name.contains(part.as_str())));
    if cases.is_empty() {
        return Err(SuiteError::NoCase { cases: options.cases.clone(), only: options.only.clone() });
    }
    let prepare = |path: &Path| {
        let fail = |source| SuiteError::Prepare { path: path.to_owned(), source };
        std::fs::create_dir_all(path).and_then(|()| path.canonicalize()).map_err(fail)
    };
    let work = prepare(&options.work)?;
    let store = prepare(options.store.as_deref().unwrap_or(&work.join("store")))?;
    let fail = |source| SuiteError::Prepare { path: work.clone(), source };
    let mirror = Mirror::start(finder(options.docker.clone(), work.clone())).map_err(fail)?;
    let runner = Runner {
        kiln: Kiln { program: options.kiln.clone(), store, mirror: mirror.address() },
        docker: options.docker.clone(),
        golden: options.golden.clone(),
        write_golden: options.write_golden,
        modes_of_checkout: options.golden.is_some(),
        work: work.clone(),
        keep: options.keep,
    };
    let counts = run_all(&runner, &cases, options.jobs, each);
    if !options.keep {
        std::fs::remove_dir_all(&work).map_err(fail)?;
    }
    Ok(counts)
}

fn run_all(
    runner: &Runner,
    cases: &[Case],
    jobs: usize,
    each: &mut dyn FnMut(&Case, &Result<Verdict, RunError>),
) -> Counts {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, cases.len()) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some((index, case)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, cases.get(at)?)))
                {
                    if sender.send((index, runner.run(case))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut told = 0;
        for (index, result) in receiver {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&told) {
                match &result {
                    Ok(Verdict::Passed) => counts.passed += 1,
                    Ok(Verdict::Skipped(_)) => counts.skipped += 1,
                    Ok(Verdict::Failed(_)) | Err(_) => counts.failed += 1,
                }
                each(&cases[told], &result);
                told += 1;
            }
        }
    });
    counts
}

/// Bases come from Docker; without it there is busybox.
fn finder(docker: Option<Docker>, work: PathBuf) -> Finder {
    Box::new(move |name| {
        let archive = work.join(format!("base-{}.tar", name.replace(['/', ':'], "-")));
        let found = match &docker {
            Some(docker) => docker.save(name, &archive).is_ok(),
            None => name == "busybox:latest" && busybox::write(&archive).is_ok(),
        };
        found.then_some(archive)
    })
}

//! One case from its folder to a verdict.
//!
//! Knows nothing of other cases.

use super::builder::{BuilderError, Built, Docker, Job, Kiln};
use super::case::{CASE_FILE, Case, CaseText, Expect};
use super::listing::{Difference, Listing, Mask};
use super::setup::{self, SetupError};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a golden result says of a case that has no image.
const REFUSED: &str = "refused\n";

/// How cases are run.
#[derive(Debug)]
pub struct Runner {
    /// Kiln.
    pub kiln: Kiln,
    /// Docker; without it results are compared with golden ones.
    pub docker: Option<Docker>,
    /// Where golden results are.
    pub golden: Option<PathBuf>,
    /// Whether they are written, where a case passes.
    pub write_golden: bool,
    /// Whether files get the modes that a checkout gives them, so that a golden result does not depend on
    /// the umask of whoever checked out.
    pub modes_of_checkout: bool,
    /// The directory of all copies; below what Docker sees, where there is Docker.
    pub work: PathBuf,
    /// Whether copies and listings stay.
    pub keep: bool,
}

/// How a case ended.
#[derive(Debug)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed(Failure),
    /// Not run, for this reason.
    Skipped(String),
}

/// What is not as expected.
#[derive(Debug)]
pub enum Failure {
    /// The images differ.
    Differ(Vec<Difference>),
    /// Kiln refused what should have been built.
    KilnRefused(String),
    /// Kiln built what should have been refused.
    KilnBuilt,
    /// Docker's answer is not the expected one: the case is wrong.
    Docker(String),
    /// A deliberate difference is none.
    NoDifference,
    /// Kiln's error does not say what it should.
    Silent {
        /// What is missing in it.
        missing: String,
        /// What it says.
        output: String,
    },
}

/// A case that could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The copy of the folder.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operations of the case.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A builder.
    #[error(transparent)]
    Builder(#[from] BuilderError),
    /// An image that the case needs.
    #[error("{file}, which the case needs, is not built: {output}")]
    Before {
        /// Its Dockerfile.
        file: String,
        /// What the builder said.
        output: String,
    },
}

/// What the other side says of a case.
enum Reference {
    Image(Listing),
    Refused(String),
}

impl Runner {
    /// Runs a case.
    pub fn run(&self, case: &Case) -> Result<Verdict, RunError> {
        if setup::needs_root(&case.text.setup) && !rustix::process::geteuid().is_root() {
            return Ok(Verdict::Skipped("its files can be made by root only".to_owned()));
        }
        let golden = self.golden.as_ref().map(|golden| golden.join(format!("{}.txt", case.name)));
        if self.docker.is_none() && !golden.as_ref().is_some_and(|path| path.is_file()) {
            return Ok(Verdict::Skipped("no Docker, and no golden result".to_owned()));
        }
        let scratch = self.work.join(case.name.replace('/', "."));
        let fail = |source| RunError::Prepare { path: scratch.clone(), source };
        fs::create_dir_all(&scratch).map_err(fail)?;
        let folder = scratch.join("case");
        self.copy(case, &folder).map_err(fail)?;
        setup::apply(&folder, &case.text.setup)?;
        let verdict = match self.build_and_compare(case, &folder, &scratch, golden.as_deref()) {
            Err(RunError::Builder(error @ BuilderError::NoLayers)) => Verdict::Skipped(error.to_string()),
            other => other?,
        };
        if !self.keep {
            fs::remove_dir_all(&scratch).map_err(fail)?;
        }
        Ok(verdict)
    }

    fn copy(&self, case: &Case, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        // `cp -a` keeps what a case of somebody else's may have: links, owners, attributes, times.
        let output = Command::new("cp").args(["-a", "--"]).arg(&case.folder).arg(folder).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        match fs::remove_file(folder.join(CASE_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.modes_of_checkout { checkout_modes(folder) } else { Ok(()) }
    }

    fn build_and_compare(
        &self,
        case: &Case,
        folder: &Path,
        scratch: &Path,
        golden: Option<&Path>,
    ) -> Result<Verdict, RunError> {
        let text = &case.text;
        let mask = Mask {
            contents: text.ignore_contents.clone(),
            paths: text.ignore_paths.clone(),
            making: text.stand_in.is_some(),
        };
        let job = |file, tag| Job { folder, text, scratch, file, tag };
        let plain = CaseText::default();
        for before in &text.before {
            let job = Job { text: &plain, ..job(Some(before.file.as_str()), Some(before.tag.as_str())) };
            if let Built::Refused(output) = self.kiln.build(&job)? {
                return Err(RunError::Before { file: before.file.clone(), output });
            }
            if let Some(docker) = &self.docker
                && let Built::Refused(output) = docker.build(&job)?
            {
                return Err(RunError::Before { file: before.file.clone(), output });
            }
        }
        let kiln = self.kiln.build(&job(None, None))?;
        let kiln = match &kiln {
            Built::Image(image) => Reference::Image(Listing::of(image, &mask)),
            Built::Refused(output) => Reference::Refused(output.clone()),
        };
        let reference = match &self.docker {
            // Docker of this version can only stand in.
            Some(_) if matches!(text.expect, Expect::Documented(_)) && text.stand_in.is_none() => None,
            Some(docker) => Some(match docker.build(&job(text.stand_in.as_deref(), None))? {
                Built::Image(image) => Reference::Image(Listing::of(&image, &mask)),
                Built::Refused(output) => Reference::Refused(output),
            }),
            None => None,
        };
        for before in &text.before {
            if let Some(docker) = &self.docker {
                docker.remove(&before.tag)?;
            }
        }
        if self.keep {
            self.keep_listings(scratch, &kiln, reference.as_ref())?;
        }
        let verdict = match reference {
            Some(reference) => compare(text, &reference, &kiln),
            None => Verdict::Passed,
        };
        let Some(golden) = golden else { return Ok(verdict) };
        let fail = |source| RunError::Prepare { path: golden.to_owned(), source };
        if self.write_golden {
            if matches!(verdict, Verdict::Passed) {
                if let Some(parent) = golden.parent() {
                    fs::create_dir_all(parent).map_err(fail)?;
                }
                fs::write(golden, shown(&kiln)).map_err(fail)?;
            }
            return Ok(verdict);
        }
        if !matches!(verdict, Verdict::Passed) {
            return Ok(verdict);
        }
        let kept = fs::read_to_string(golden).map_err(fail)?;
        Ok(compare_golden(text, &kept, &kiln))
    }

    fn keep_listings(&self, scratch: &Path, kiln: &Reference, reference: Option<&Reference>) -> Result<(), RunError> {
        let mut sides = vec![("kiln.txt", kiln)];
        sides.extend(reference.map(|reference| ("docker.txt", reference)));
        for (name, side) in sides {
            let path = scratch.join(name);
            let text = match side {
                Reference::Image(listing) => listing.text(),
                Reference::Refused(output) => output.clone(),
            };
            fs::write(&path, text).map_err(|source| RunError::Prepare { path, source })?;
        }
        Ok(())
    }
}

fn shown(side: &Reference) -> String {
    match side {
        Reference::Image(listing) => listing.text(),
        Reference::Refused(_) => REFUSED.to_owned(),
    }
}

fn compare_golden(text: &CaseText, kept: &str, kiln: &Reference) -> Verdict {
    match (Listing::parse(kept).filter(|_| kept != REFUSED), kiln) {
        (None, Reference::Refused(output)) => says(text, output),
        (None, Reference::Image(_)) => Verdict::Failed(Failure::KilnBuilt),
        (Some(_), Reference::Refused(output)) => Verdict::Failed(Failure::KilnRefused(output.clone())),
        (Some(expected), Reference::Image(found)) => equal(&expected, found),
    }
}

fn equal(expected: &Listing, found: &Listing) -> Verdict {
    let differences = expected.differences(found);
    if differences.is_empty() { Verdict::Passed } else { Verdict::Failed(Failure::Differ(differences)) }
}

fn says(text: &CaseText, output: &str) -> Verdict {
    match &text.says {
        Some(missing) if !output.contains(missing) => {
            Verdict::Failed(Failure::Silent { missing: missing.clone(), output: output.to_owned() })
        }
        _ => Verdict::Passed,
    }
}

fn compare(text: &CaseText, docker: &Reference, kiln: &Reference) -> Verdict {
    use Reference::{Image, Refused};
    match (&text.expect, docker, kiln) {
        (Expect::Fail | Expect::Agree, Refused(_), Refused(output)) => says(text, output),
        (Expect::Fail | Expect::Agree, Refused(_), Image(_)) => Verdict::Failed(Failure::KilnBuilt),
        (Expect::Fail, Image(_), _) => Verdict::Failed(Failure::Docker("it builds the image".to_owned())),
        (Expect::Differs(_), Refused(_), Refused(_)) => Verdict::Failed(Failure::NoDifference),
        (Expect::Differs(_), Image(expected), Image(found)) if expected == found => {
            Verdict::Failed(Failure::NoDifference)
        }
        (Expect::Differs(_), _, Refused(output)) => says(text, output),
        (Expect::Differs(_), ..) => Verdict::Passed,
        (Expect::Equal | Expect::Documented(_), Refused(output), _) => Verdict::Failed(Failure::Docker(output.clone())),
        (Expect::Equal | Expect::Documented(_) | Expect::Agree, _, Refused(output)) => {
            Verdict::Failed(Failure::KilnRefused(output.clone()))
        }
        (Expect::Equal | Expect::Documented(_) | Expect::Agree, Image(expected), Image(found)) => {
            equal(expected, found)
        }
    }
}

/// What git keeps of modes: whether the owner may execute.
fn checkout_modes(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(());
    }
    let mode = if found.is_dir() || found.permissions().mode() & 0o100 != 0 { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            checkout_modes(&entry?.path())?;
        }
    }
    Ok(())
}

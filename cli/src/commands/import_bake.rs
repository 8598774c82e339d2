//! `kiln import-bake FILE`: a bake file or the builds of a compose file, as a kiln.ron.
//!
//! What has no counterpart is said with its place on standard error; the project file is what is printed.

use crate::bake::{self, Kind};
use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::project;
use crate::session::Session;
use std::path::PathBuf;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A docker bake file (`.hcl`, `.json`) or a compose file (`.yml`, `.yaml`)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the project file there in place of printing it; one that is there is not replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Args {
    /// Reads the file and prints or writes what it comes to.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let name = self.file.display().to_string();
        let Some(kind) = Kind::of_name(&name) else {
            let reason = "it is not known what kind of file that is";
            return Err(UsageError::value("FILE", &name, reason)
                .with_help("name a file that ends in .hcl, .json, .yml or .yaml")
                .into());
        };
        let text =
            std::fs::read_to_string(&self.file).map_err(|source| Failure::Read { from: name.clone(), source })?;
        let unreadable = |reason: String| UsageError::Unreadable { file: name.clone(), reason };
        let found = bake::read(kind, &text).map_err(unreadable)?;
        let short = self.file.file_name().unwrap_or_default().to_string_lossy();
        let written = bake::written(&found, &short);
        // What is printed is accepted: else the error is here, with the place in what would have been printed.
        project::parse(project::FILE, &written)?;
        for remark in &found.remarks {
            let place = if remark.line > 0 { format!("{name}:{}", remark.line) } else { name.clone() };
            session.err.write_or_forget(format!("warning: {place}: {}\n", remark.words).as_bytes());
        }
        match &self.output {
            None => session.print(&written)?,
            Some(path) => {
                use std::io::Write as _;
                let failed = |source| Failure::Write { to: path.display().to_string(), source };
                let mut file = std::fs::File::create_new(path).map_err(failed)?;
                file.write_all(written.as_bytes()).map_err(failed)?;
            }
        }
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    const BAKE: &str = "variable \"TAG\" {\n  default = \"1\"\n}\ntarget \"web\" {\n  tags = [\"web:${TAG}\"]\n  cache-from = [\"x\"]\n}\n";

    #[test]
    fn the_project_file_is_printed_and_what_it_lacks_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker-bake.hcl");
        std::fs::write(&file, BAKE).unwrap();
        let file = file.to_str().unwrap();
        let there = dir.path().join("kiln.ron");
        let there = there.to_str().unwrap();
        let shown = [
            kiln(["import-bake", file]),
            kiln(["import-bake", file, "-o", there]),
            kiln(["targets", dir.path().to_str().unwrap()]),
            kiln(["import-bake", file, "-o", there]),
            kiln(["import-bake", "no/such.hcl"]),
            kiln(["import-bake", "Earthfile"]),
        ];
        insta::assert_snapshot!(shown.join("\n").replace(dir.path().to_str().unwrap(), "DIR"));
    }
}

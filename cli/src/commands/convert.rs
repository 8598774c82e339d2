//! `kiln convert --to dockerfile FILE`: a file of the extended language as one that Docker reads.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use kiln_engine::convert::{ConvertRequest, convert};
use std::path::PathBuf;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What is made of it
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value = "dockerfile")]
    to: To,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The stage that the result ends with, so that Docker builds it [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// A build argument, which decides alternatives; a bare name takes the environment's value (repeatable)
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// The platform, which decides alternatives [default: the host's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

/// What can be made of a file.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// A plain Dockerfile
    Dockerfile,
}

impl Args {
    /// Prints the result.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let To::Dockerfile = self.to;
        let request = ConvertRequest {
            file: self.file,
            target: self.target,
            build_args: super::build::build_args(&self.build_args, session.environment)?,
            platform: self.platform,
        };
        session.print(&convert(&request)?)?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn a_file_is_printed_as_docker_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("build.kiln");
        let text = "KEY k = files(\"stage:test[2]:/x\")\nARG FAST=1\nDEF say(what)\nRUN echo $what\nEND\n\
                    FROM base AS test FOR X IN 1 2\nUSE say(\"hello $X\")\nEXPORT /out AS \"out/$X\"\n\
                    FROM test[2] AS last\nCOPY --from=test[*] /a /a/{X}\nIF FAST\nRUN --mount=from=test[1],target=/m --key=k fast <<E\n# $X\nE\nEND\n\
                    # All of it.\nTARGET all = last + test[*]\nCHECK test[1]\n";
        std::fs::write(&file, text).unwrap();
        insta::assert_snapshot!(kiln(["convert", "--to", "dockerfile", file.to_str().unwrap()]));
    }

    #[test]
    fn what_has_no_form_in_a_dockerfile_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("build.kiln");
        let text = "FROM a AS x\nFROM x AS y FOR V IN 1.2\nFROM x + y[1.2] AS all\nFROM b:${V%.*} AS z FOR V IN 1.2\nCHECK z[*]\n";
        std::fs::write(&file, text).unwrap();
        let told = kiln(["convert", file.to_str().unwrap()]);
        insta::assert_snapshot!(told.replace(dir.path().to_str().unwrap(), "DIR"));
    }
}

//! `kiln import NAME ROOTFS.tar`

use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::session::Session;
use kiln_engine::api::{ImportRequest, ImportSource};
use std::path::PathBuf;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The image's name, which FROM then finds before it asks a registry
    name: String,
    /// The root file system: a tar, plain or compressed with gzip, zstd, xz or bzip2; `-` is standard input
    rootfs: PathBuf,
    /// The platform of its programs [default: the host's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

impl Args {
    /// Imports, and prints kiln's name of the image.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let is_stdin = self.rootfs.as_os_str() == "-";
        if is_stdin && session.stdin_is_terminal {
            let advice = "pipe a tar in, or name a file";
            return Err(UsageError::Terminal { what: "ROOTFS -".into(), advice }.into());
        }
        let source = if is_stdin { ImportSource::Stdin } else { ImportSource::File(self.rootfs) };
        let store = session.store()?;
        let request = ImportRequest { name: self.name, source, platform: self.platform, store };
        let image = session.engine.import(&request)?;
        session.print(&format!("{}\n", image.key))?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fake, kiln, session_on_terminal};

    #[test]
    fn an_import_prints_the_key_of_the_image() {
        insta::assert_snapshot!(kiln(["import", "base", "rootfs.tar.gz"]));
    }

    #[test]
    fn an_archive_is_not_read_from_a_person() {
        insta::assert_snapshot!(session_on_terminal(&Fake::default(), ["import", "base", "-"]));
    }
}

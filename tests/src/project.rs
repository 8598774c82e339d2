//! A context on disk: written from a list of files, edited by the test, gone with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory with a Dockerfile and whatever it copies.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
}

impl Project {
    /// One with these files: path and content.
    ///
    /// # Panics
    /// Where they cannot be written: no test can go on then.
    #[expect(clippy::expect_used, reason = "a test without its files has failed")]
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("kiln-project-").tempdir().expect("a directory for a project");
        let project = Project { dir };
        for (path, content) in files {
            project.write(path, content);
        }
        project
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file with mode 0644, making the directories above it.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[expect(clippy::expect_used, reason = "a test without its files has failed")]
    pub fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("the directory is made");
        }
        fs::write(&path, content).expect("the file is written");
        // Whatever umask the tests run with, the project is the same.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the mode is set");
    }
}

/// An archive of files with these names and contents.
pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).expect("an archive in memory");
    }
    builder.into_inner().expect("an archive in memory")
}

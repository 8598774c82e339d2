//! Git repositories for tests, served by `git daemon` on loopback.

use crate::support::{free_port, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A directory of bare repositories behind a daemon.
pub struct Daemon {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Daemon {
    /// Starts one; `None` where this machine has no git or no `git daemon`.
    pub fn start() -> Option<Daemon> {
        // By its own name: `git daemon` runs it as a child, which would outlive what is killed here.
        let place = Command::new("git").arg("--exec-path").output().ok();
        let place = place.map(|found| Path::new(String::from_utf8_lossy(&found.stdout).trim()).join("git-daemon"));
        let Some(program) = place.filter(|program| program.exists()) else {
            skip("git daemon");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut daemon = Command::new(program);
        daemon.args(["--export-all", "--reuseaddr", "--listen=127.0.0.1", "--informative-errors"]);
        daemon.arg(format!("--port={port}")).arg(format!("--base-path={}", dir.path().display())).arg(dir.path());
        let child = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "git daemon does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Daemon { dir, port, child })
    }

    pub fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}.git", self.port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.git"))
    }

    /// A repository that the daemon serves once something is pushed.
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.path(name);
        let work = self.dir.path().join(format!("{name}.work"));
        git(self.dir.path(), &["init", "-q", "--bare", "-b", "main", bare.to_str().unwrap()]);
        git(self.dir.path(), &["init", "-q", "-b", "main", work.to_str().unwrap()]);
        git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
        Repository { work }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A working copy whose origin is served.
pub struct Repository {
    pub work: PathBuf,
}

impl Repository {
    /// Commits these files and pushes; gives the commit.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.work.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
        self.git(&["push", "-q", "--tags", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn git(&self, args: &[&str]) -> String {
        git(&self.work, args)
    }
}

/// Runs git as nobody in particular.
pub fn git(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_COMMITTER_DATE", "2020-01-02T03:04:05Z").env("GIT_AUTHOR_DATE", "2020-01-02T03:04:05Z");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

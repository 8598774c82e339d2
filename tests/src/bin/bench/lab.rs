//! The place where everything is measured: a scratch directory, kiln with a store of its own, and the
//! peers that the environment names.
//!
//! | variable | meaning |
//! |---|---|
//! | `KILN` | the program; else `kiln` beside this one |
//! | `KILN_BENCH_DIR` | scratch directory; else `bench` in `PEERS_DIR`, else in the temporary directory |
//! | `KILN_BENCH_DEBIAN` | a Debian root file system, for the rows of tracing |
//! | `DOCKER`, `BUILDAH` | the words that begin a command of the peer |
//! | `DOCKER_PREFIX`, `BUILDAH_PREFIX` | where `PEERS_DIR` is for the peer, if it sees other paths |
//!
//! A peer sees only what is below `PEERS_DIR`, where that is set.

use crate::frame::Result;
use crate::{context, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The base image of all rows: busybox, built by each tool from the same files.
pub const BASE: &str = "kiln-bench-base";

/// One builder.
#[derive(Clone)]
pub enum Tool {
    /// This project.
    Kiln {
        /// The program.
        program: PathBuf,
        /// Its store.
        store: PathBuf,
    },
    /// Docker or Buildah.
    Peer {
        /// `docker` or `buildah`.
        name: &'static str,
        /// The words that begin its commands.
        words: Vec<String>,
        /// How a path on this side begins, and how it begins for the peer.
        prefix: Option<(PathBuf, String)>,
    },
}

/// How a build is asked for.
#[derive(Clone, Default)]
pub struct Build {
    /// Further arguments, the same for every tool.
    pub arguments: Vec<String>,
    /// The tag of the result.
    pub tag: String,
}

impl Tool {
    /// As the table calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Tool::Kiln { .. } => "kiln",
            Tool::Peer { name, .. } => name,
        }
    }

    /// The command that builds `context`.
    pub fn build(&self, context: &Path, build: &Build) -> Command {
        let mut command = match self {
            Tool::Kiln { program, store } => {
                let mut command = Command::new(program);
                command.args(["build", "--progress", "plain"]).env("KILN_STORE", store);
                command
            }
            Tool::Peer { name, words, .. } => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                match *name {
                    "docker" => command.args(["build", "--progress", "plain"]),
                    // Without it Buildah keeps no layer and looks none up.
                    _ => command.args(["build", "--layers"]),
                };
                command
            }
        };
        command.args(&build.arguments).arg("-t").arg(&build.tag).arg(self.path(context));
        command
    }

    fn path(&self, path: &Path) -> PathBuf {
        match self {
            Tool::Peer { prefix: Some((here, there)), .. } => match path.strip_prefix(here) {
                Ok(below) => Path::new(there).join(below),
                Err(_) => path.to_path_buf(),
            },
            _ => path.to_path_buf(),
        }
    }
}

/// The place.
pub struct Lab {
    scratch: PathBuf,
    tools: Vec<Tool>,
    absent: Vec<&'static str>,
}

impl Lab {
    /// Looks at the environment, and gives every tool the base image.
    pub fn open() -> Result<Self> {
        let peers = std::env::var_os("PEERS_DIR").map(PathBuf::from);
        let scratch = match std::env::var_os("KILN_BENCH_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => peers.clone().unwrap_or_else(std::env::temp_dir).join("kiln-bench"),
        };
        let scratch = scratch.join(format!("run-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch)?;
        let mut tools = vec![kiln(&scratch)?];
        let mut absent = Vec::new();
        for name in ["docker", "buildah"] {
            match peer(name, peers.as_deref()) {
                Some(tool) => tools.push(tool),
                None => absent.push(name),
            }
        }
        let lab = Lab { scratch, tools, absent };
        lab.make_base()?;
        Ok(lab)
    }

    /// The builders, kiln first.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// kiln.
    pub fn kiln(&self) -> &Tool {
        &self.tools[0]
    }

    /// The peers that are not here.
    pub fn absent(&self) -> &[&'static str] {
        &self.absent
    }

    /// The root file system of the base image, for floors that run a command in it.
    pub fn rootfs(&self) -> PathBuf {
        self.scratch.join("base/rootfs")
    }

    /// A new, empty directory with this name.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.scratch.join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    fn make_base(&self) -> Result<()> {
        let base = self.directory("base")?;
        context::busybox(&base.join("rootfs"))?;
        std::fs::write(base.join("Dockerfile"), "FROM scratch\nCOPY rootfs /\n")?;
        let build = Build { arguments: Vec::new(), tag: format!("{BASE}:latest") };
        for tool in &self.tools {
            process::run(&mut tool.build(&base, &build))?;
        }
        Ok(())
    }
}

fn kiln(scratch: &Path) -> Result<Tool> {
    let program = match std::env::var_os("KILN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("kiln"),
    };
    if !program.is_file() {
        return Err(format!("{} is not there: cargo build --release -p kiln", program.display()).into());
    }
    Ok(Tool::Kiln { program, store: scratch.join("store") })
}

fn peer(name: &'static str, peers: Option<&Path>) -> Option<Tool> {
    let variable = name.to_uppercase();
    let words = std::env::var(&variable).ok()?;
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return None;
    }
    let there = std::env::var(format!("{variable}_PREFIX")).ok();
    let prefix = peers.map(Path::to_path_buf).zip(there);
    Some(Tool::Peer { name, words, prefix })
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What cannot be removed stays in the scratch directory.
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

//! A small image of busybox, and steps on it.

use crate::event::Stream;
use crate::sandbox::{Cancel, Error, Existing, ExistingKind, Exit, Ids, Mount, Network, Security, Spec, Stubs, run};
use crate::tree::Mtime;
use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A base image and a place for the steps that run on it.
pub struct World {
    pub dir: tempfile::TempDir,
    steps: AtomicUsize,
    last_upper: Mutex<PathBuf>,
}

/// What a step did.
#[derive(Debug)]
pub struct Ran {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

/// Whether a test that needs something may be skipped for want of it.
pub fn skip(missing: &str) -> bool {
    assert!(std::env::var_os("KILN_REQUIRE_TOOLS").is_none(), "this test needs {missing}");
    eprintln!("skipped: needs {missing}");
    true
}

impl World {
    /// A world for root; `None` where there is none to be had.
    pub fn new() -> Option<World> {
        if !rustix::process::geteuid().is_root() && skip("root") {
            return None;
        }
        World::anyones()
    }

    /// A world whose files belong to this process.
    pub fn anyones() -> Option<World> {
        if !Path::new("/bin/busybox").exists() && skip("/bin/busybox, statically linked") {
            return None;
        }
        let world =
            World { dir: tempfile::tempdir().unwrap(), steps: AtomicUsize::new(0), last_upper: Mutex::default() };
        fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let base = world.base();
        for dir in ["", "bin", "tmp", "work", "etc", "data", "data/sub"] {
            fs::create_dir(base.join(dir)).unwrap();
        }
        fs::set_permissions(base.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", base.join("bin/busybox")).unwrap();
        let applets = "sh cat echo ls env id head tail sleep setsid kill hostname grep mount unshare stat wc mkdir rm ln \
                       touch readlink chmod chown dd mknod sync find tr test pwd ping mv ps true umount chroot nproc";
        for applet in applets.split_whitespace() {
            symlink("busybox", base.join("bin").join(applet)).unwrap();
        }
        for (file, text) in
            [("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("data/old", "old\n"), ("data/sub/deep", "deep\n")]
        {
            fs::write(base.join(file), text).unwrap();
        }
        Some(world)
    }

    pub fn base(&self) -> PathBuf {
        self.dir.path().join("base")
    }

    /// A step that runs a shell script.
    pub fn spec(&self, script: &str) -> Spec {
        self.fresh(Spec {
            lowers: vec![self.base()],
            upper: PathBuf::new(),
            work: PathBuf::new(),
            scratch: PathBuf::new(),
            argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            user: Ids { uid: 0, gid: 0, groups: vec![0] },
            hostname: "buildkitsandbox".into(),
            network: Network::Host,
            security: Security::Sandbox,
            mounts: Vec::new(),
            extra_hosts: Vec::new(),
            shm_size: 64 << 20,
        })
    }

    /// The same step, with an upper directory that was not used before.
    pub fn fresh(&self, mut spec: Spec) -> Spec {
        let step = self.dir.path().join(format!("step{}", self.steps.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&step).unwrap();
        for (place, name) in [(&mut spec.upper, "upper"), (&mut spec.work, "work"), (&mut spec.scratch, "scratch")] {
            *place = step.join(name);
            fs::create_dir(&*place).unwrap();
        }
        fs::set_permissions(&spec.upper, fs::Permissions::from_mode(0o755)).unwrap();
        spec
    }

    pub fn sh(&self, script: &str) -> Ran {
        self.run(&self.spec(script))
    }

    pub fn run(&self, spec: &Spec) -> Ran {
        self.try_run(spec).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    pub fn try_run(&self, spec: &Spec) -> Result<Ran, Error> {
        self.try_run_with(spec, &Cancel::new().unwrap())
    }

    /// Runs the step on its stubs.
    pub fn try_run_with(&self, spec: &Spec, cancel: &Cancel) -> Result<Ran, Error> {
        self.try_run_bare(&self.stubbed(spec), cancel)
    }

    /// Plans the stubs on the merged lower directories and puts them on top, as a caller does.
    pub fn stubbed(&self, spec: &Spec) -> Spec {
        let mut spec = spec.clone();
        let lowers = spec.lowers.clone();
        let stubs = Stubs::plan(&mut spec.mounts, &|path| merged(&lowers, path)).unwrap();
        let layer = spec.upper.with_file_name("stubs");
        fs::create_dir(&layer).unwrap();
        stubs.write(&layer).unwrap();
        spec.lowers.insert(0, layer);
        spec
    }

    /// Runs a step as it is.
    pub fn try_run_bare(&self, spec: &Spec, cancel: &Cancel) -> Result<Ran, Error> {
        let printed = RefCell::new([Vec::new(), Vec::new()]);
        let mut take = |stream, bytes: &[u8]| {
            printed.borrow_mut()[usize::from(stream == Stream::Stderr)].extend_from_slice(bytes);
        };
        self.last_upper.lock().unwrap().clone_from(&spec.upper);
        let exit = run(spec, &mut take, cancel)?;
        let [stdout, stderr] = printed.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Ran { exit, stdout, stderr })
    }

    /// What the last step changed: every path below its upper directory, sorted, with a word on what it is.
    pub fn upper(&self) -> Vec<String> {
        let mut all = Vec::new();
        let upper = self.last_upper.lock().unwrap().clone();
        list(&upper, &upper, &mut all);
        all.sort();
        all
    }
}

fn list(root: &Path, dir: &Path, all: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display();
        let mut value = [0; 4];
        let opaque = rustix::fs::lgetxattr(&path, "user.overlay.opaque", &mut value).is_ok();
        let kind = found.file_type();
        all.push(match () {
            () if kind.is_dir() && opaque => format!("{name}/ opaque={}", char::from(value[0])),
            () if kind.is_dir() => format!("{name}/"),
            () if kind.is_file() => format!("{name}"),
            () if kind.is_symlink() => format!("{name} link"),
            () => format!("{name} device {}:{}", rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())),
        });
        if kind.is_dir() {
            list(root, &path, all);
        }
    }
}

/// Looks a path up as the overlay would, without whiteouts.
fn merged(lowers: &[PathBuf], path: &Path) -> io::Result<Option<Existing>> {
    for lower in lowers {
        let at = lower.join(path.strip_prefix("/").unwrap());
        let Ok(found) = fs::symlink_metadata(&at) else { continue };
        let kind = match found.file_type() {
            kind if kind.is_dir() => ExistingKind::Directory,
            kind if kind.is_symlink() => ExistingKind::Symlink(fs::read_link(&at)?.as_os_str().as_bytes().into()),
            _ => ExistingKind::File,
        };
        let mtime = Mtime { seconds: found.mtime(), nanos: found.mtime_nsec() as u32 };
        let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
        return Ok(Some(Existing { kind, mode, uid, gid, mtime, xattrs: Vec::new() }));
    }
    Ok(None)
}

/// Whether any process of this machine has a command line that begins like this.
pub fn anyone_runs(command: &str) -> bool {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    processes.into_iter().any(|line| line.starts_with(command.as_bytes()))
}

pub fn directory(target: &str, source: crate::sandbox::MountSource) -> Mount {
    Mount { target: target.into(), source, read_only: false, is_dir: true }
}

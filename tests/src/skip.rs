//! Tests that need an outside program, or root: skipped by name where it is missing, failed where
//! `KILN_REQUIRE_TOOLS` says that nothing may be missing.

use crate::Kiln;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether a test that needs `missing` may be skipped for want of it: always true where it returns.
///
/// # Panics
/// Where `KILN_REQUIRE_TOOLS` is set.
#[expect(clippy::print_stderr, reason = "a skip is said to whoever runs the tests")]
pub fn skip(missing: &str) -> bool {
    assert!(std::env::var_os("KILN_REQUIRE_TOOLS").is_none(), "this test needs {missing}");
    eprintln!("skipped: needs {missing}");
    true
}

/// Says that a comparison with a peer is left out. No run has to have one: `KILN_REQUIRE_TOOLS` does not ask
/// for it, because a daemon is nothing that a package installs.
#[expect(clippy::print_stderr, reason = "a skip is said to whoever runs the tests")]
pub fn skip_peer(missing: &str) {
    eprintln!("skipped: needs {missing}");
}

/// The program `name` on the path, or a skip.
pub fn has_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(name);
    }
    found
}

/// A base image of nothing but a static busybox and two account files.
#[derive(Debug)]
pub struct Busybox;

impl Busybox {
    /// Writes its root file system as a tar below `dir`; `None` where there is no static busybox.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[expect(clippy::expect_used, reason = "a test without its base image has failed")]
    pub fn tar(dir: &Path) -> Option<PathBuf> {
        let program = has_tool("busybox")?;
        let root = dir.join("busybox-root");
        for name in ["bin", "tmp", "etc", "root", "usr", "var", "home", "proc", "dev", "sys"] {
            let place = root.join(name);
            std::fs::create_dir_all(&place).expect("a directory");
            let mode = if name == "tmp" { 0o1777 } else { 0o755 };
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).expect("its mode");
        }
        std::fs::copy(&program, root.join("bin/busybox")).expect("a copy of busybox");
        let listed = Command::new(&program).arg("--list").output().expect("busybox says its names");
        for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
        std::fs::write(root.join("etc/passwd"), passwd).expect("accounts");
        std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n").expect("groups");
        let tar = dir.join("busybox.tar");
        let mut builder = tar::Builder::new(std::fs::File::create(&tar).expect("a tar"));
        builder.follow_symlinks(false);
        builder.append_dir_all(".", &root).expect("a tar of the root");
        builder.finish().expect("a tar of the root");
        std::fs::remove_dir_all(&root).expect("the root goes");
        Some(tar)
    }

    /// Imports it as `busybox` into the program's store; `None` where there is no static busybox.
    pub fn import(kiln: &Kiln) -> Option<()> {
        let tar = Busybox::tar(kiln.scratch())?;
        let _ran = kiln.run(["import".as_ref(), "busybox".as_ref(), tar.as_os_str()]).ok();
        Some(())
    }
}

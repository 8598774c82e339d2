//! kiln without root: the program run as users that have subordinate ids, and as one that has none.

use kiln_tests::{Busybox, Project, has_tool, kiln_program, skip};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// A user that this machine gives nothing.
const NOBODY: u32 = 65534;

/// The number of the first user with a line in /etc/subuid.
fn user_with_subordinate_ids() -> Option<u32> {
    let lines = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let name = lines.lines().next().and_then(|line| line.split(':').next()).map(str::to_owned);
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = |name: String| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(&name))?;
        line.split(':').nth(2)?.parse().ok()
    };
    let found = name.and_then(number);
    if found.is_none() {
        skip("a user with a line in /etc/subuid");
    }
    found
}

/// A directory that the user owns, with a copy of the program that they may run.
struct Home {
    dir: tempfile::TempDir,
    uid: u32,
}

impl Home {
    fn of(uid: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() && skip("root, to become another user") {
            return None;
        }
        let _setpriv = has_tool("setpriv")?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(kiln_program().unwrap(), dir.path().join("kiln")).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(uid), Some(uid)).unwrap();
        Some(Home { dir, uid })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn kiln(&self, args: &[&str]) -> Output {
        let uid = self.uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]);
        command.arg(self.path().join("kiln")).args(args).env_clear().current_dir("/");
        command.env("PATH", "/usr/bin:/bin:/usr/sbin").env("HOME", self.path()).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.kiln(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A project that everybody may read.
fn project(dockerfile: &str) -> Project {
    let project = Project::new(&[("Dockerfile", dockerfile), ("file", "content\n")]);
    std::fs::set_permissions(project.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    project
}

const SEVERAL_OWNERS: &str = "FROM busybox\nCOPY --chown=1000:1001 file /file\nRUN stat -c '%u:%g' /file > /seen && \
    chown 5:6 /seen && id -u > /id\nUSER 1000\nRUN id -u > /tmp/id && test $(cat /tmp/id) = 1000\n";

#[test]
fn a_user_with_subordinate_ids_builds_the_image_that_root_builds() {
    let Some(uid) = user_with_subordinate_ids() else { return };
    let Some(home) = Home::of(uid) else { return };
    let Some(tar) = Busybox::tar(home.path()) else { return };
    let Some(roots) = Home::of(0) else { return };
    let project = project(SEVERAL_OWNERS);
    let context = project.path().display().to_string();
    let layers = |home: &Home| {
        home.ok(&["import", "busybox", &tar.display().to_string()]);
        home.ok(&["build", "--progress=plain", "-t", "app", &context]);
        let told: serde_json::Value = serde_json::from_str(&home.ok(&["inspect", "app"])).unwrap();
        let told = told.as_array().map_or(told.clone(), |all| all[0].clone());
        assert!(home.ok(&["fsck"]).contains("no problems"));
        told["layers"].clone()
    };
    let mine = layers(&home);
    assert!(mine.as_array().is_some_and(|layers| layers.len() >= 4), "{mine}");
    assert_eq!(mine, layers(&roots));
}

#[test]
fn a_user_with_one_id_builds_what_needs_no_other_and_is_told_what_does() {
    let Some(home) = Home::of(NOBODY) else { return };
    let Some(tar) = Busybox::tar(home.path()) else { return };
    // The tar's files belong to whoever made it: root, here.
    home.ok(&["import", "busybox", &tar.display().to_string()]);
    let simple = project("FROM busybox\nCOPY file /\nRUN cat /file > /copy\n");
    home.ok(&["build", &simple.path().display().to_string()]);
    let other = project("FROM busybox\nCOPY --chown=1000 file /\n");
    let output = home.kiln(&["build", "--progress=quiet", &other.path().display().to_string()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("cannot give /file to 1000:1000"), "{error}");
    assert!(error.contains("add a line for this user to /etc/subuid"), "{error}");
}

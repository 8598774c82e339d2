//! Attempts to leave the sandbox, each with its harmless twin where there is one.

use super::world::{World, directory};
use crate::sandbox::{Cancel, Error, Exit, Mount, MountSource, Stubs};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

fn bind(root: &Path, subpath: &str) -> MountSource {
    MountSource::Bind { root: root.to_owned(), subpath: subpath.into() }
}

#[test]
fn a_working_directory_through_a_descriptor_is_refused() {
    let Some(world) = World::new() else { return };
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/1/root", "/proc/self/cwd", "/link"] {
        let _ = symlink("/proc/self/fd/7/../..", world.base().join("link"));
        let mut spec = world.spec("ls /");
        spec.cwd = cwd.into();
        let error = world.try_run(&spec).unwrap_err();
        assert!(error.to_string().starts_with("cannot enter the working directory"), "{cwd}: {error}");
    }
}

#[test]
fn a_working_directory_through_an_image_link_stays_inside_and_works() {
    let Some(world) = World::new() else { return };
    symlink("/data", world.base().join("there")).unwrap();
    let mut spec = world.spec("pwd; cat old");
    spec.cwd = "/there".into();
    assert_eq!(world.run(&spec).stdout, "/data\nold\n");
}

#[test]
fn a_mount_target_through_a_link_to_the_root_stays_inside() {
    let Some(world) = World::new() else { return };
    symlink("/", world.base().join("top")).unwrap();
    symlink("../../../../../../..", world.base().join("up")).unwrap();
    let source = world.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("f"), "from source\n").unwrap();
    for target in ["/top/data", "/up/data", "/data/../../../data"] {
        let mut spec = world.spec("cat /data/f; echo new > /data/g");
        spec.mounts = vec![directory(target, bind(&source, ""))];
        assert_eq!(world.run(&spec).stdout, "from source\n", "{target}");
        assert_eq!(world.upper(), Vec::<String>::new(), "{target}");
    }
    assert_eq!(fs::read_to_string(source.join("g")).unwrap(), "new\n");
}

#[test]
fn a_mount_source_cannot_leave_its_root_but_its_links_work_inside() {
    let Some(world) = World::new() else { return };
    let source = world.dir.path().join("source");
    fs::create_dir_all(source.join("etc")).unwrap();
    fs::write(source.join("etc/hostname"), "inside\n").unwrap();
    for (name, to) in [("abs", "/etc"), ("up", "../../../../../etc"), ("magic", "/proc/self/root/etc")] {
        symlink(to, source.join(name)).unwrap();
    }
    for (subpath, outcome) in
        [("abs", Some("inside\n")), ("up", Some("inside\n")), ("../../../etc", Some("inside\n")), ("magic", None)]
    {
        let mut spec = world.spec("cat /data/hostname");
        spec.mounts = vec![directory("/data", bind(&source, subpath))];
        let ran = world.try_run(&spec).ok().map(|ran| ran.stdout);
        assert_eq!(ran.as_deref(), outcome, "{subpath}");
    }
}

#[test]
fn a_source_swapped_for_a_link_never_shows_the_host() {
    let Some(world) = World::new() else { return };
    let source = world.dir.path().join("source");
    let outside = world.dir.path().join("outside");
    for dir in [&source, &source.join("real"), &outside] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(outside.join("secret"), "host").unwrap();
    symlink(&outside, source.join("trap")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, source.join("real"), CWD, source.join("trap"), RenameFlags::EXCHANGE);
            }
        });
        let mut seen = 0;
        for _ in 0..60 {
            let mut spec = world.spec("ls /data");
            spec.mounts = vec![directory("/data", bind(&source, "real"))];
            if let Ok(ran) = world.try_run(&spec) {
                assert_eq!(ran.stdout, "");
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(seen > 0);
    });
}

#[test]
fn an_image_whose_system_directories_are_links_or_files_touches_nothing_outside() {
    let Some(world) = World::new() else { return };
    let base = world.base();
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, base.join("dev")).unwrap();
    symlink("../../../../../../proc", base.join("proc")).unwrap();
    fs::write(base.join("sys"), "file").unwrap();
    symlink("../run/systemd/resolve/stub-resolv.conf", base.join("etc/resolv.conf")).unwrap();
    symlink(outside.join("hosts"), base.join("etc/hosts")).unwrap();
    let ran = world.sh("echo x > /etc/hosts; echo x > /etc/resolv.conf; ls -d /dev/null /proc/self/status /sys/class");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("/dev/null\n/proc/self/status\n/sys/class\n", ""));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(world.upper(), Vec::<String>::new());
}

#[test]
fn without_stubs_a_linked_system_directory_is_refused() {
    let Some(world) = World::new() else { return };
    let base = world.base();
    symlink("/data", base.join("dev")).unwrap();
    let error = world.try_run_bare(&world.spec("true"), &Cancel::new().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "cannot mount at /dev");
}

#[test]
fn a_step_that_replaces_the_parent_of_a_mount_point_harms_nothing() {
    let Some(world) = World::new() else { return };
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("key"), "precious").unwrap();
    let mut spec =
        world.spec(&format!("rm -rf /run/secrets /run; mv /run /gone; ln -s {} /run; true", outside.display()));
    let source = MountSource::File { content: crate::sandbox::SecretBytes::new(*b"s"), mode: 0o400, uid: 0, gid: 0 };
    spec.mounts = vec![Mount { target: "/run/secrets/key".into(), source, read_only: true, is_dir: false }];
    world.run(&spec);
    assert_eq!(fs::read_to_string(outside.join("key")).unwrap(), "precious");
}

#[test]
fn a_source_of_the_wrong_kind_is_named() {
    let Some(world) = World::new() else { return };
    let source = world.dir.path().join("file");
    fs::write(&source, "").unwrap();
    let mut spec = world.spec("true");
    spec.mounts = vec![directory("/data", bind(world.dir.path(), "file"))];
    let error = world.try_run(&spec).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open the mount source {}", source.display()));
    assert!(matches!(error, Error::Setup { source, .. } if source.raw_os_error() == Some(libc::ENOTDIR)));
}

#[test]
fn a_bind_mount_refuses_writes_where_it_should_and_a_nested_one_still_takes_them() {
    let Some(world) = World::new() else { return };
    let (outer, inner) = (world.dir.path().join("outer"), world.dir.path().join("inner"));
    fs::create_dir_all(outer.join("cache")).unwrap();
    fs::create_dir(&inner).unwrap();
    let mut spec = world.spec("touch /data/x 2>/dev/null || echo refused; touch /data/cache/y && echo taken");
    spec.mounts = vec![
        Mount { read_only: true, ..directory("/data", bind(&outer, "")) },
        directory("/data/cache", bind(&inner, "")),
    ];
    assert_eq!(world.run(&spec).stdout, "refused\ntaken\n");
    assert!(inner.join("y").exists());
}

#[test]
fn a_missing_target_below_a_read_only_bind_is_an_error() {
    let Some(world) = World::new() else { return };
    let outer: PathBuf = world.dir.path().join("outer");
    fs::create_dir(&outer).unwrap();
    let mut spec = world.spec("true");
    let memory = MountSource::Tmpfs { size: None, mode: 0o755 };
    spec.mounts =
        vec![Mount { read_only: true, ..directory("/data", bind(&outer, "")) }, directory("/data/new", memory)];
    assert_eq!(world.try_run(&spec).unwrap_err().to_string(), "cannot mount at /data/new");
    assert_eq!(fs::read_dir(&outer).unwrap().count(), 0);
}

#[test]
fn a_script_that_kills_everything_only_kills_itself() {
    let Some(world) = World::new() else { return };
    let ran = world.sh("kill -KILL 1; kill -KILL -1; echo alive");
    assert!(matches!(ran.exit, Exit::Code(0) | Exit::Signal(libc::SIGKILL)), "{ran:?}");
    assert!(Stubs::default().is_empty());
}

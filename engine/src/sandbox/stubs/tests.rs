//! Where mount points come to lie, on snapshots made of lists.

use super::*;
use crate::sandbox::MountSource;
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt as _;

/// A snapshot: `path/` is a directory, `path -> target` a link, anything else a file.
fn snapshot(lines: &[&str]) -> impl Fn(&Path) -> io::Result<Option<Existing>> + use<> {
    let mut entries = BTreeMap::from([(PathBuf::from("/"), ExistingKind::Directory)]);
    for line in lines {
        let (path, kind) = match line.split_once(" -> ") {
            Some((path, to)) => (path, ExistingKind::Symlink(to.as_bytes().into())),
            None if line.ends_with('/') => (line.trim_end_matches('/'), ExistingKind::Directory),
            None => (*line, ExistingKind::File),
        };
        entries.insert(PathBuf::from(path), kind);
    }
    move |path| {
        let kind = entries.get(path).cloned();
        let mtime = Mtime { seconds: 1_000_000 + path.as_os_str().len() as i64, nanos: 5 };
        Ok(kind.map(|kind| Existing { kind, mode: 0o2711, uid: 7, gid: 8, mtime, xattrs: Vec::new() }))
    }
}

fn mount(target: &str, is_dir: bool) -> Mount {
    let source = MountSource::Tmpfs { size: None, mode: 0o755 };
    Mount { target: target.into(), source, read_only: false, is_dir }
}

const USUAL: [&str; 6] = ["/dev/", "/proc/", "/sys/", "/etc/", "/etc/hosts", "/etc/resolv.conf"];

/// The resolved target and the stubs, directories with a final slash.
fn plan(extra: &[&str], target: &str, is_dir: bool) -> Result<(String, Vec<String>), String> {
    let lines = [&USUAL[..], extra].concat();
    let mut mounts = [mount(target, is_dir)];
    let stubs = Stubs::plan(&mut mounts, &snapshot(&lines)).map_err(|error| error.to_string())?;
    Ok((mounts[0].target.display().to_string(), names(&stubs)))
}

fn names(stubs: &Stubs) -> Vec<String> {
    stubs.paths().map(|(path, is_dir)| format!("/{}{}", path.display(), if is_dir { "/" } else { "" })).collect()
}

fn ok(target: &str, stubs: &[&str]) -> Result<(String, Vec<String>), String> {
    Ok((target.to_owned(), stubs.iter().map(|&path| path.to_owned()).collect()))
}

#[test]
fn what_exists_needs_no_stub() {
    assert_eq!(plan(&["/data/"], "/data", true), ok("/data", &[]));
    assert_eq!(plan(&["/data/", "/data/f"], "/data/f", false), ok("/data/f", &[]));
}

#[test]
fn what_is_missing_is_made_with_the_directories_above_it() {
    assert_eq!(plan(&[], "/a/b", true), ok("/a/b", &["//", "/a/", "/a/b/"]));
    assert_eq!(
        plan(&["/run/"], "/run/secrets/key", false),
        ok("/run/secrets/key", &["//", "/run/", "/run/secrets/", "/run/secrets/key"])
    );
}

#[test]
fn links_lead_to_places_inside_the_root() {
    assert_eq!(plan(&["/data -> /", "/x/"], "/data/x", true), ok("/x", &[]));
    assert_eq!(plan(&["/data -> ../../../..", "/x/"], "/data/x", true), ok("/x", &[]));
    assert_eq!(
        plan(&["/var/", "/run/", "/var/run -> /run"], "/var/run/s", false),
        ok("/run/s", &["//", "/run/", "/run/s"])
    );
    assert_eq!(plan(&["/link -> gone/deep"], "/link", true), ok("/gone/deep", &["//", "/gone/", "/gone/deep/"]));
}

#[test]
fn what_cannot_be_a_mount_point_is_an_error_that_names_it() {
    assert_eq!(plan(&["/f"], "/f/x", true), Err("cannot mount at /f/x: /f is not a directory".into()));
    assert_eq!(plan(&["/f"], "/f", true), Err("cannot mount a directory at /f: it exists and is none".into()));
    assert_eq!(plan(&["/d/"], "/d", false), Err("cannot mount a file at /d: it exists and is none".into()));
    assert_eq!(plan(&["/a -> b", "/b -> a"], "/a", true), Err("cannot mount at /a: too many symbolic links".into()));
    assert_eq!(plan(&["/a -> /"], "/a", true), Err("cannot mount at /a: it is the root".into()));
    assert_eq!(
        plan(&[], "/etc/hosts/x", false),
        Err("cannot mount at /etc/hosts/x: /etc/hosts is not a directory".into())
    );
}

#[test]
fn below_another_mount_nothing_is_planned() {
    let mut mounts = [mount("/cache", true), mount("/cache/token", false), mount("/dev/shm/x", true)];
    let stubs = Stubs::plan(&mut mounts, &snapshot(&USUAL)).unwrap();
    assert_eq!(names(&stubs), ["//", "/cache/"]);
}

#[test]
fn system_mount_points_hide_whatever_an_image_has_in_their_place() {
    let lines = ["/proc -> /etc", "/sys", "/dev -> ../..", "/etc/", "/etc/resolv.conf -> ../run/gone", "/etc/hosts/"];
    let stubs = Stubs::plan(&mut [], &snapshot(&lines)).unwrap();
    assert_eq!(names(&stubs), ["//", "/dev/", "/etc/", "/etc/hosts", "/etc/resolv.conf", "/proc/", "/sys/"]);
    let linked = Stubs::plan(&mut [], &snapshot(&["/dev/", "/proc/", "/sys/", "/etc -> usr/etc"])).unwrap();
    assert_eq!(names(&linked), ["//", "/usr/", "/usr/etc/", "/usr/etc/hosts", "/usr/etc/resolv.conf"]);
    let blocked = Stubs::plan(&mut [], &snapshot(&["/dev/", "/proc/", "/sys/", "/etc"]));
    assert!(matches!(blocked, Err(StubError::NotADirectory { .. })));
}

#[test]
fn outer_mounts_come_first_after_their_links_were_followed() {
    let lines = [&USUAL[..], &["/x/", "/x/y/", "/a -> x/y"]].concat();
    let mut mounts = [mount("/a", true), mount("/x", true)];
    Stubs::plan(&mut mounts, &snapshot(&lines)).unwrap();
    assert_eq!(mounts.map(|mount| mount.target.display().to_string()), ["/x", "/x/y"]);
}

#[test]
fn a_written_layer_repeats_the_attributes_of_what_it_stands_on() {
    let dir = tempfile::tempdir().unwrap();
    let stubs = Stubs::plan(&mut [mount("/etc/a/b", false)], &snapshot(&USUAL)).unwrap();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    stubs.write(dir.path()).unwrap();
    let of = |path: &str| {
        let found = fs::symlink_metadata(dir.path().join(path)).unwrap();
        (found.mode() & 0o7777, found.uid(), found.gid(), found.mtime(), found.mtime_nsec(), found.is_dir())
    };
    assert_eq!(of("etc"), (0o2711, 7, 8, 1_000_004, 5, true));
    assert_eq!(of("etc/a"), (0o755, 0, 0, 1_000_004, 5, true));
    assert_eq!(of("etc/a/b"), (0o644, 0, 0, 1_000_004, 5, false));
    assert!(matches!(stubs.write(dir.path()), Err(StubError::Write { .. })));
}

proptest! {
    #[test]
    fn a_resolved_target_never_climbs_and_every_stub_has_its_parent(
        links in proptest::collection::vec(("/[a-c](/[a-c]){0,2}", "/?([a-c]|\\.\\.)(/([a-c]|\\.\\.)){0,3}"), 0..6),
        target in "/([a-c]|\\.\\.)(/([a-c]|\\.\\.)){0,4}",
    ) {
        let lines: Vec<String> = links.iter().map(|(path, to)| format!("{path} -> {to}")).collect();
        let lines: Vec<&str> = USUAL.iter().copied().chain(lines.iter().map(String::as_str)).collect();
        let mut mounts = [mount(&target, true)];
        if let Ok(stubs) = Stubs::plan(&mut mounts, &snapshot(&lines)) {
            prop_assert!(!mounts[0].target.to_string_lossy().contains(".."));
            for (path, _) in stubs.paths() {
                if let Some(parent) = path.parent() {
                    prop_assert!(stubs.paths().any(|(other, is_dir)| *other == parent && is_dir));
                }
            }
        }
    }
}

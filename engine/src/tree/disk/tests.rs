//! What the writer leaves on disk.

use super::*;
use crate::digest::ContentId;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
    let mtime = Mtime { seconds: 1_000_000_007, nanos: 5 };
    Entry { path: TreePath::new(path), kind, mode, uid: 0, gid: 0, xattrs: Vec::new(), mtime }
}

fn dir(path: &str, mode: u32) -> Entry {
    entry(path, Kind::Dir { opaque: false }, mode)
}

fn file(path: &str, mode: u32, bytes: &[u8]) -> Entry {
    let content = ContentId::from(blake3::hash(bytes));
    entry(path, Kind::File { size: bytes.len() as u64, content }, mode)
}

fn write(writer: &mut DirWriter, entry: &Entry, bytes: &[u8]) {
    let mut target = writer.create(&entry.path, entry.mode).unwrap();
    target.write_all(bytes).unwrap();
    writer.finish_file(&target, entry).unwrap();
}

/// Whether files can be given to anyone: the tests run as root and in no user namespace.
pub(in crate::tree) fn owns_all_ids() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[test]
fn modes_and_times_are_exact_even_of_directories_that_were_written_into() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap().ignoring_owners();
    writer.mkdir(&dir("a", 0o555)).unwrap();
    write(&mut writer, &file("a/f", 0o4666, b"x"), b"x");
    writer.mkdir(&dir("a/b", 0o2777)).unwrap();
    write(&mut writer, &file("a/b/g", 0o000, b"y"), b"y");
    writer.special(&entry("a/p", Kind::Fifo, 0o622)).unwrap();
    writer.finish().unwrap();
    for (path, mode) in [("a", 0o555), ("a/f", 0o4666), ("a/b", 0o2777), ("a/b/g", 0), ("a/p", 0o622)] {
        let meta = temp.path().join(path).symlink_metadata().unwrap();
        assert_eq!(meta.mode() & 0o7777, mode, "{path}");
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_007, 5), "{path}");
    }
}

#[test]
fn parents_that_nothing_describes_are_0755() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap().ignoring_owners();
    write(&mut writer, &file("x/y/z", 0o644, b""), b"");
    writer.finish().unwrap();
    let meta = temp.path().join("x/y").metadata().unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o755);
}

#[test]
fn a_symbolic_link_in_the_way_is_never_walked_through() {
    let temp = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap().ignoring_owners();
    let target = outside.path().as_os_str().as_encoded_bytes().into();
    writer.symlink(&entry("link", Kind::Symlink { target }, 0o777)).unwrap();
    let escaped = writer.create(&TreePath::new("link/f"), 0o644).unwrap_err();
    assert!(matches!(escaped, Error::Io { ref path, .. } if *path == TreePath::new("link")), "{escaped:?}");
    assert!(writer.create(&TreePath::new("link"), 0o644).is_err(), "nor written through");
    assert!(writer.mkdir(&dir("link", 0o755)).is_err(), "nor taken for a directory");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn whiteouts_and_opaque_directories_are_what_overlayfs_reads() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap().ignoring_owners();
    writer.whiteout(&TreePath::new("gone")).unwrap();
    writer.mkdir(&entry("new", Kind::Dir { opaque: true }, 0o755)).unwrap();
    writer.finish().unwrap();
    let gone = temp.path().join("gone").symlink_metadata().unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(temp.path().join("new"), OPAQUE_XATTR, &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"y");
}

#[test]
fn owners_and_xattrs_are_set_and_setuid_survives_the_change_of_owner() {
    if !owns_all_ids() {
        println!("skipped: needs root");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap();
    let mut tool = file("tool", 0o4755, b"x");
    (tool.uid, tool.gid) = (12, 34);
    tool.xattrs = vec![(b"user.k".as_slice().into(), b"v\0w".as_slice().into())];
    write(&mut writer, &tool, b"x");
    let mut link = entry("l", Kind::Symlink { target: b"tool".as_slice().into() }, 0o777);
    (link.uid, link.gid) = (56, 78);
    writer.symlink(&link).unwrap();
    writer.finish().unwrap();
    let meta = temp.path().join("tool").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (12, 34, 0o4755));
    let meta = temp.path().join("l").symlink_metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mtime()), (56, 78, 1_000_000_007));
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(temp.path().join("tool"), "user.k", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"v\0w");
}

#[test]
fn an_owner_that_no_file_can_have_is_an_error_that_names_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap();
    let mut odd = dir("odd", 0o755);
    odd.uid = u32::MAX;
    let error = writer.mkdir(&odd).unwrap_err();
    assert!(matches!(error, Error::UnmappedOwner { uid: u32::MAX, .. }), "{error:?}");
}

#[test]
fn removing_takes_trees_but_not_what_their_links_point_at() {
    let temp = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("keep"), "").unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap().ignoring_owners();
    writer.mkdir(&dir("d/e", 0o500)).unwrap();
    let target = outside.path().as_os_str().as_encoded_bytes().into();
    writer.symlink(&entry("d/l", Kind::Symlink { target }, 0o777)).unwrap();
    writer.remove(&TreePath::new("d")).unwrap();
    writer.remove(&TreePath::new("never")).unwrap();
    write(&mut writer, &file("d", 0o644, b"now a file"), b"now a file");
    writer.finish().unwrap();
    assert_eq!(std::fs::read(temp.path().join("d")).unwrap(), b"now a file");
    assert!(outside.path().join("keep").exists());
}

#[test]
fn hard_links_share_one_file() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap().ignoring_owners();
    write(&mut writer, &file("a/f", 0o644, b"x"), b"x");
    writer.hardlink(&TreePath::new("a/f"), &TreePath::new("b/g")).unwrap();
    writer.finish().unwrap();
    let inode = |path: &str| temp.path().join(path).metadata().unwrap().ino();
    assert_eq!(inode("a/f"), inode("b/g"));
}

#[test]
fn a_copy_has_the_bytes_and_the_digest_of_its_source() {
    let temp = tempfile::tempdir().unwrap();
    for size in [0, 1, 300_000] {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
        let source = temp.path().join("source");
        std::fs::write(&source, &bytes).unwrap();
        let plain = temp.path().join("plain");
        assert_eq!(copy_file(&File::open(&source).unwrap(), &File::create(&plain).unwrap()).unwrap(), size);
        assert_eq!(std::fs::read(&plain).unwrap(), bytes);
        let hashed = temp.path().join("hashed");
        let (length, id) = copy_file_hashed(&File::open(&source).unwrap(), &File::create(&hashed).unwrap()).unwrap();
        assert_eq!((length, id), (size, ContentId::from(blake3::hash(&bytes))));
        assert_eq!(std::fs::read(&hashed).unwrap(), bytes);
    }
}

#[test]
fn a_file_of_proc_that_claims_to_be_empty_is_copied_whole() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("version");
    copy_file(&File::open("/proc/version").unwrap(), &File::create(&target).unwrap()).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), std::fs::read("/proc/version").unwrap());
}

#[test]
fn in_a_user_namespace_an_owner_without_a_number_and_a_device_are_typed_errors() {
    const INSIDE: &str = "KILN_TEST_IN_USER_NAMESPACE";
    if std::env::var_os(INSIDE).is_none() {
        // The same test again, in a namespace where root is the only user.
        let name = "tree::disk::tests::in_a_user_namespace_an_owner_without_a_number_and_a_device_are_typed_errors";
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap()).args(["--exact", name]);
        match command.env(INSIDE, "1").output() {
            Ok(output) if String::from_utf8_lossy(&output.stderr).starts_with("unshare:") => {
                println!("skipped: no user namespaces here");
            }
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
                assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the name is right");
            }
            Err(_) => println!("skipped: no unshare command"),
        }
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap();
    let mut other = dir("other", 0o755);
    other.uid = 12;
    let error = writer.mkdir(&other).unwrap_err();
    assert!(matches!(error, Error::UnmappedOwner { uid: 12, gid: 0, .. }), "{error:?}");
    let error = writer.special(&entry("null", Kind::CharDevice { major: 1, minor: 3 }, 0o666)).unwrap_err();
    assert!(matches!(error, Error::Device { major: 1, minor: 3, .. }), "{error:?}");
    writer.special_if_possible(&entry("null", Kind::CharDevice { major: 1, minor: 3 }, 0o666)).unwrap();
    assert!(!temp.path().join("null").exists());
    writer.whiteout(&TreePath::new("gone")).unwrap();
    writer.mkdir(&entry("opaque", Kind::Dir { opaque: true }, 0o755)).unwrap();
    write(&mut writer, &file("opaque/f", 0o4755, b"x"), b"x");
    writer.finish().unwrap();
}

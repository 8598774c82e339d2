//! Honest layers, hostile layers and their benign twins.

use super::*;
use crate::digest::ContentId;
use crate::tree::disk::OPAQUE_XATTR;
use crate::tree::entry::{Kind, Mtime};
use crate::tree::tar::header::{self, Head};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use tempfile::TempDir;

/// An archive in the making.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn add(mut self, kind: u8, path: &str, link: &str, data: &[u8]) -> Self {
        let head = Head {
            path: path.as_bytes(),
            kind,
            mode: 0o644 | if kind == b'5' { 0o111 } else { 0 },
            uid: 0,
            gid: 0,
            size: data.len() as u64,
            mtime: 1_000_000_000,
            link: link.as_bytes(),
            device: (0, 0),
            xattrs: const { &Vec::new() },
        };
        header::write_head(&mut self.0, &head).unwrap();
        self.0.extend_from_slice(data);
        header::pad(&mut self.0, data.len() as u64).unwrap();
        self
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.add(b'0', path, "", data.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.add(b'5', path, "", b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.add(b'2', path, target, b"")
    }

    fn hardlink(self, path: &str, target: &str) -> Self {
        self.add(b'1', path, target, b"")
    }

    /// Unpacks into `layer` of a directory of its own, beside which nothing may appear.
    fn unpack(self) -> (TempDir, Result<Vec<Entry>, Error>) {
        self.unpack_over(&NoLower)
    }

    fn unpack_over(mut self, lower: &dyn Lower) -> (TempDir, Result<Vec<Entry>, Error>) {
        self.0.extend_from_slice(&[0; 1024]);
        unpack_bytes(&self.0, lower)
    }

    fn refused(self) -> Error {
        self.unpack().1.unwrap_err()
    }
}

fn unpack_bytes(bytes: &[u8], lower: &dyn Lower) -> (TempDir, Result<Vec<Entry>, Error>) {
    let temp = tempfile::tempdir().unwrap();
    let layer = temp.path().join("layer");
    std::fs::create_dir(&layer).unwrap();
    let result = unpack(bytes, &layer, lower);
    let beside: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["layer"], "nothing appears beside the layer");
    (temp, result)
}

fn listing(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .map(|entry| {
            let path = entry.path.display().to_string();
            match &entry.kind {
                Kind::File { size, .. } => format!("{path} file {size}"),
                Kind::Dir { opaque: false } => format!("{path}/"),
                Kind::Dir { opaque: true } => format!("{path}/ opaque"),
                Kind::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
                Kind::Hardlink { to } => format!("{path} = {}", to.display()),
                kind => format!("{path} {kind:?}"),
            }
        })
        .collect()
}

fn read(temp: &TempDir, path: &str) -> String {
    std::fs::read_to_string(temp.path().join("layer").join(path)).unwrap()
}

#[test]
fn paths_in_every_spelling_end_up_below_the_root() {
    let tar = Tar::default().dir("./").dir("./etc/").file("./etc//passwd", "p").file("/abs", "a").file("x/../y", "y");
    let (temp, entries) = tar.unpack();
    assert_eq!(listing(&entries.unwrap()), ["/", "abs file 1", "etc/", "etc/passwd file 1", "y file 1"]);
    assert_eq!(read(&temp, "etc/passwd"), "p");
    assert_eq!(read(&temp, "abs"), "a");
}

#[test]
fn a_path_that_climbs_out_is_refused() {
    for path in ["../x", "a/../../x", "./../../etc/passwd"] {
        assert!(matches!(Tar::default().file(path, "x").refused(), Error::Escapes { .. }), "{path}");
    }
    let refused = Tar::default().hardlink("a", "../../etc/passwd").refused();
    assert!(matches!(refused, Error::Escapes { .. }), "{refused:?}");
}

#[test]
fn a_link_on_the_way_is_resolved_inside_the_root() {
    let tar = Tar::default()
        .symlink("var/run", "/run")
        .file("var/run/pid", "1")
        .symlink("out", "../../../../../../tmp/out")
        .file("out/f", "2")
        .dir("deep/er")
        .symlink("deep/er/up", "..")
        .file("deep/er/up/g", "3");
    let (temp, entries) = tar.unpack();
    let expected = [
        "deep/",
        "deep/er/",
        "deep/er/up -> ..",
        "deep/g file 1",
        "out -> ../../../../../../tmp/out",
        "run/",
        "run/pid file 1",
        "tmp/",
        "tmp/out/",
        "tmp/out/f file 1",
        "var/",
        "var/run -> /run",
    ];
    assert_eq!(listing(&entries.unwrap()), expected);
    assert_eq!(read(&temp, "tmp/out/f"), "2");
}

#[test]
fn links_to_proc_and_the_host_lead_nowhere() {
    let host = tempfile::tempdir().unwrap();
    let target = host.path().to_str().unwrap();
    let tar = Tar::default().symlink("p", "/proc/self/root").file(&format!("p{target}/f"), "x").symlink("h", target);
    let (_temp, entries) = tar.file("h/g", "y").unpack();
    entries.unwrap();
    assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 0);
}

#[test]
fn a_file_replaces_a_link_and_is_not_written_through_it() {
    let host = tempfile::NamedTempFile::new().unwrap();
    let target = host.path().to_str().unwrap();
    let (temp, entries) = Tar::default().symlink("f", target).file("f", "inside").unpack();
    assert_eq!(listing(&entries.unwrap()), ["f file 6"]);
    assert_eq!(read(&temp, "f"), "inside");
    assert_eq!(std::fs::read(host.path()).unwrap(), b"");
}

#[test]
fn circles_of_links_and_files_on_the_way_are_refused() {
    let refused = Tar::default().symlink("a", "b").symlink("b", "a").file("a/f", "").refused();
    assert!(matches!(refused, Error::SymlinkLoop { .. }), "{refused:?}");
    let refused = Tar::default().file("a", "").file("a/f", "").refused();
    assert!(matches!(refused, Error::NotADirectory { .. }), "{refused:?}");
    let refused = Tar::default().file(&"x/".repeat(3000), "").refused();
    assert!(matches!(refused, Error::TooLong { length: 6000, .. }), "{refused:?}");
}

#[test]
fn of_two_members_with_one_path_the_last_wins_whatever_they_are() {
    let tar = Tar::default()
        .file("f", "one")
        .file("f", "second")
        .dir("d")
        .file("d/gone", "")
        .file("d", "now a file")
        .file("e", "")
        .dir("e")
        .file("e/in", "")
        .dir("keep")
        .file("keep/x", "")
        .dir("keep");
    let (temp, entries) = tar.unpack();
    assert_eq!(listing(&entries.unwrap()), ["d file 10", "e/", "e/in file 0", "f file 6", "keep/", "keep/x file 0"]);
    assert_eq!(read(&temp, "f"), "second");
}

#[test]
fn whiteouts_speak_of_lower_layers_wherever_they_stand() {
    let tar = Tar::default()
        .file("a/.wh.gone", "")
        .file("d/f", "")
        .file(".wh.d", "")
        .file(".wh.e", "")
        .file("e/f", "")
        .file("o/.wh..wh..opq", "")
        .file("o/f", "")
        .file("f", "")
        .file(".wh.f", "")
        .file(".wh..wh.plnk/1.2", "aufs");
    let (temp, entries) = tar.unpack();
    let expected = [
        "a/",
        "a/gone Whiteout",
        "d/ opaque",
        "d/f file 0",
        "e/ opaque",
        "e/f file 0",
        "f file 0",
        "o/ opaque",
        "o/f file 0",
    ];
    assert_eq!(listing(&entries.unwrap()), expected);
    for dir in ["d", "e", "o"] {
        let mut value = [0; 4];
        let length = rustix::fs::getxattr(temp.path().join("layer").join(dir), OPAQUE_XATTR, &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"y", "{dir}");
    }
    let gone = temp.path().join("layer/a/gone").symlink_metadata().unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
}

#[test]
fn whiteouts_of_nothing_and_of_the_parent_are_refused() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/f"] {
        let refused = Tar::default().file("a/f", "").file(name, "").refused();
        assert!(matches!(refused, Error::Whiteout { .. }), "{name}: {refused:?}");
    }
}

#[test]
fn a_device_0_0_is_the_whiteout_that_it_would_become() {
    let (_temp, entries) = Tar::default().add(b'3', "gone", "", b"").unpack();
    assert_eq!(listing(&entries.unwrap()), ["gone Whiteout"]);
}

#[test]
fn the_first_name_of_a_file_is_the_file_in_whatever_order_they_came() {
    let tar = Tar::default()
        .file("m/file", "data")
        .hardlink("a", "/m/file")
        .hardlink("z", "./a")
        .symlink("link", "m")
        .hardlink("y", "link/file")
        .symlink("s", "m/file")
        .hardlink("t", "s");
    let (temp, entries) = tar.unpack();
    let expected = ["a file 4", "link -> m", "m/", "m/file = a", "s -> m/file", "t -> m/file", "y = a", "z = a"];
    assert_eq!(listing(&entries.unwrap()), expected);
    let inode = |path: &str| temp.path().join("layer").join(path).metadata().unwrap().ino();
    assert!(["a", "m/file", "y"].iter().all(|name| inode(name) == inode("z")));
}

#[test]
fn replacing_one_name_of_a_file_leaves_the_others() {
    let tar =
        Tar::default().file("a", "old").hardlink("b", "a").hardlink("c", "b").file("a", "newer").hardlink("b", "b");
    let (temp, entries) = tar.unpack();
    assert_eq!(listing(&entries.unwrap()), ["a file 5", "b file 3", "c = b"]);
    assert_eq!((read(&temp, "a"), read(&temp, "c")), ("newer".into(), "old".into()));
}

#[test]
fn a_hard_link_to_no_file_is_refused() {
    let cases = [
        Tar::default().hardlink("a", "missing"),
        Tar::default().dir("d").hardlink("a", "d"),
        Tar::default().hardlink("a", "a"),
        Tar::default().file("d/f", "").hardlink("d", "d/f"),
        Tar::default().file(".wh.w", "").hardlink("a", "w"),
        Tar::default().hardlink("a", "/"),
    ];
    for case in cases {
        let refused = case.refused();
        assert!(matches!(refused, Error::LinkTarget { .. }), "{refused:?}");
    }
}

/// A lower snapshot of directories and files in memory.
#[derive(Default)]
pub(in crate::tree) struct Below(pub(in crate::tree) BTreeMap<TreePath, (Entry, Vec<u8>)>);

impl Below {
    pub(in crate::tree) fn add(mut self, path: &str, kind: Kind, mode: u32, bytes: &[u8]) -> Self {
        let (uid, gid) = if crate::tree::disk::tests::owns_all_ids() { (7, 8) } else { (0, 0) };
        let path = TreePath::new(path);
        let entry = Entry { path: path.clone(), kind, mode, uid, gid, xattrs: Vec::new(), mtime: Mtime::default() };
        self.0.insert(path, (entry, bytes.to_vec()));
        self
    }

    pub(in crate::tree) fn file(self, path: &str, bytes: &[u8]) -> Self {
        let kind = Kind::File { size: bytes.len() as u64, content: ContentId::from(blake3::hash(bytes)) };
        self.add(path, kind, 0o640, bytes)
    }
}

impl Lower for Below {
    fn entry(&self, path: &TreePath) -> Option<Entry> {
        self.0.get(path).map(|(entry, _)| entry.clone())
    }

    fn open(&self, path: &TreePath) -> io::Result<File> {
        use std::io::{Seek as _, Write as _};
        let (_, bytes) = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    }
}

#[test]
fn what_a_layer_leaves_out_comes_from_below() {
    let below = Below::default().add("etc", Kind::Dir { opaque: false }, 0o700, b"").file("bin/sh", b"shell");
    let (temp, entries) = Tar::default().file("etc/new", "").hardlink("ash", "bin/sh").unpack_over(&below);
    let entries = entries.unwrap();
    assert_eq!(listing(&entries), ["ash file 5", "etc/", "etc/new file 0"]);
    assert_eq!(entries[0].mode, 0o640);
    assert_eq!((entries[1].mode, entries[1].uid), (0o700, below.entry(&TreePath::new("etc")).unwrap().uid));
    assert_eq!(read(&temp, "ash"), "shell");
    assert_eq!(temp.path().join("layer/etc").metadata().unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn attributes_of_the_overlay_and_of_selinux_are_dropped() {
    let boxed = |text: &str| text.as_bytes().into();
    let names = ["security.selinux", "trusted.overlay.redirect", "user.kept", "user.overlay.opaque"];
    let xattrs: Vec<_> = names.iter().map(|name| (boxed(name), boxed("y"))).collect();
    let mut tar = Vec::new();
    let (path, link) = (b"f".as_slice(), b"".as_slice());
    let head = Head {
        path,
        kind: b'0',
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0,
        link,
        device: (0, 0),
        xattrs: &xattrs,
    };
    header::write_head(&mut tar, &head).unwrap();
    let (_temp, entries) = unpack_bytes(&tar, &NoLower);
    assert_eq!(entries.unwrap()[0].xattrs, [(boxed("user.kept"), boxed("y"))]);
}

#[test]
fn what_follows_the_archive_is_read_too() {
    let mut bytes = Tar::default().file("f", "x").0;
    bytes.extend_from_slice(&[0; 10_240]);
    let mut reader = &bytes[..];
    let temp = tempfile::tempdir().unwrap();
    unpack(&mut reader, temp.path(), &NoLower).unwrap();
    assert_eq!(reader.len(), 0);
}

fn seed() -> Vec<u8> {
    let long = format!("{}/{}", "l".repeat(120), "m".repeat(120));
    let tar = Tar::default()
        .dir("d")
        .file("d/f", &"content".repeat(100))
        .hardlink("d/g", "d/f")
        .symlink("s", "d")
        .file("s/h", "through")
        .file(&long, "long")
        .file("d/.wh.gone", "")
        .file("o/.wh..wh..opq", "");
    tar.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_damaged_layer_is_an_error_or_a_layer_but_never_a_panic(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = seed();
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // With the check sum repaired the damage reaches the fields behind it.
            let start = at / 512 * 512;
            let block: &mut [u8; 512] = (&mut bytes[start..start + 512]).try_into().unwrap();
            if block[257..262] == *b"ustar" && !(148..156).contains(&(at % 512)) {
                let (sum, _) = header::checksums(block);
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let (_temp, result) = unpack_bytes(&bytes, &NoLower);
        if let Ok(entries) = result {
            prop_assert!(entries.windows(2).all(|pair| pair[0].path < pair[1].path));
        }
    }
}

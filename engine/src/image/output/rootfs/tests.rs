//! What `type=tar` and `type=local` leave.

use super::*;
use crate::digest::ContentId;
use crate::image::layer::OpenFile;
use crate::tree::entry::Mtime;
use std::os::unix::fs::MetadataExt as _;

fn entry(path: &str, kind: Kind) -> Entry {
    let mode = if matches!(kind, Kind::Dir { .. }) { 0o755 } else { 0o640 };
    let (xattrs, mtime) = (Vec::new(), Mtime { seconds: 1_000_000_000, nanos: 0 });
    Entry { path: TreePath::new(path), kind, mode, uid: 12, gid: 34, xattrs, mtime }
}

fn file(path: &str) -> Entry {
    entry(path, Kind::File { size: 5, content: ContentId::from(blake3::hash(b"low__")) })
}

fn dir(path: &str) -> Entry {
    entry(path, Kind::Dir { opaque: false })
}

/// Two layers; every file of the lower holds `low__`, of the upper `upper`.
fn with_layers(check: impl FnOnce(&[ImageLayer<'_>])) {
    let source = tempfile::tempdir().unwrap();
    for name in ["low__", "upper"] {
        std::fs::write(source.path().join(name), name).unwrap();
    }
    let lower = [
        dir("d"),
        file("d/gone"),
        file("d/kept"),
        file("first"),
        entry("link", Kind::Symlink { target: b"d".as_slice().into() }),
        file("replaced"),
        entry("second", Kind::Hardlink { to: TreePath::new("first") }),
        entry("third", Kind::Hardlink { to: TreePath::new("first") }),
    ];
    let upper = [
        entry("", Kind::Dir { opaque: false }),
        Entry { mode: 0o555, ..dir("d") },
        entry("d/gone", Kind::Whiteout),
        entry("first", Kind::Whiteout),
        file("replaced"),
        entry("sock", Kind::Socket),
    ];
    let open = |name: &'static str| -> OpenFile<'_> {
        let source = source.path();
        Box::new(move |_| File::open(source.join(name)))
    };
    let layers = [(&lower[..], "low__"), (&upper[..], "upper")];
    let layers = layers.map(|(entries, name)| ImageLayer { entries, open: open(name), diff_id: None, blob: None });
    check(&layers);
}

#[test]
fn the_tar_holds_what_a_container_would_see() {
    with_layers(|layers| {
        let mut tar = Vec::new();
        write_tar(layers, &PackOptions::default(), &mut tar).unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
        let listing: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                io::Read::read_to_string(&mut entry, &mut text).unwrap();
                let link = entry.link_name().unwrap().map(|link| link.display().to_string()).unwrap_or_default();
                format!("{} {text}{link}", entry.path().unwrap().display())
            })
            .collect();
        let expected = ["d/ ", "d/kept low__", "link d", "replaced upper", "second low__", "third second"];
        assert_eq!(listing, expected);
    });
}

#[test]
fn a_new_directory_has_the_image_s_modes_and_times_and_the_writer_s_owner() {
    with_layers(|layers| {
        let temp = tempfile::tempdir().unwrap();
        let dest = temp.path().join("new/out");
        let outcome = write_local(layers, &dest).unwrap();
        assert_eq!(outcome.skipped, [TreePath::new("sock")]);
        let meta = dest.join("d").metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o555, 1_000_000_000));
        let meta = dest.join("replaced").metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o640, rustix::process::geteuid().as_raw()));
        assert_eq!(std::fs::read(dest.join("replaced")).unwrap(), b"upper");
        assert_eq!(dest.join("second").metadata().unwrap().ino(), dest.join("third").metadata().unwrap().ino());
        assert!(!dest.join("first").exists() && !dest.join("d/gone").exists());
        assert_eq!(std::fs::read_dir(temp.path().join("new")).unwrap().count(), 1, "nothing half-made stays");
    });
}

#[test]
fn an_existing_directory_is_merged_and_its_links_are_not_followed() {
    with_layers(|layers| {
        let temp = tempfile::tempdir().unwrap();
        let dest = temp.path().join("out");
        let outside = temp.path().join("outside");
        std::fs::create_dir_all(dest.join("link/deep")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("target"), "safe").unwrap();
        std::fs::write(dest.join("mine"), "mine").unwrap();
        std::os::unix::fs::symlink(&outside, dest.join("d")).unwrap();
        std::os::unix::fs::symlink(outside.join("target"), dest.join("replaced")).unwrap();
        write_local(layers, &dest).unwrap();
        write_local(layers, &dest).unwrap();
        assert_eq!(std::fs::read(dest.join("mine")).unwrap(), b"mine");
        assert_eq!(std::fs::read(dest.join("replaced")).unwrap(), b"upper");
        assert_eq!(std::fs::read(outside.join("target")).unwrap(), b"safe");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        assert!(dest.join("d").symlink_metadata().unwrap().is_dir());
        assert_eq!(std::fs::read_link(dest.join("link")).unwrap(), Path::new("d"));
    });
}

//! Recognising archives, and what ADD makes of them.

use super::*;
use crate::tree::entry::Kind;
use crate::tree::unpack::NoLower;
use proptest::prelude::*;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

fn tar_of(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

fn add(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, data: &str) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o640);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_size(0);
        builder.append_link(&mut header, path, data).unwrap();
    } else {
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, data.as_bytes()).unwrap();
    }
}

fn simple() -> Vec<u8> {
    tar_of(|tar| {
        add(tar, tar::EntryType::Directory, "d", "");
        add(tar, tar::EntryType::Regular, "d/f", "hello");
        add(tar, tar::EntryType::Regular, ".wh.ordinary", "");
    })
}

fn compressed(bytes: &[u8]) -> Vec<(Compression, Vec<u8>)> {
    let half = bytes.len() / 2;
    let mut gzip = Vec::new();
    let mut bzip = Vec::new();
    let mut xz = Vec::new();
    // In two members each: whoever reads only the first loses the end.
    for part in [&bytes[..half], &bytes[half..]] {
        let mut encoder = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
        let mut encoder = bzip2::write::BzEncoder::new(&mut bzip, bzip2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
        let mut encoder = liblzma::write::XzEncoder::new(&mut xz, 1);
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap();
    }
    let mut zstd = zstd::encode_all(&bytes[..half], 1).unwrap();
    zstd.extend(zstd::encode_all(&bytes[half..], 1).unwrap());
    vec![
        (Compression::None, bytes.to_vec()),
        (Compression::Gzip, gzip),
        (Compression::Bzip2, bzip),
        (Compression::Xz, xz),
        (Compression::Zstd, zstd),
    ]
}

fn options<'a>(destination: &'a TreePath, lower: &'a dyn Lower) -> ArchiveOptions<'a> {
    ArchiveOptions { destination, owner: None, mtime: Mtime { seconds: 77, nanos: 0 }, lower }
}

fn unpacked(
    bytes: &[u8],
    layer: Vec<Entry>,
    options: &ArchiveOptions<'_>,
) -> (tempfile::TempDir, Result<Vec<Entry>, Error>) {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap();
    let entries = unpack_archive(bytes, &mut writer, layer, options);
    writer.finish().unwrap();
    (temp, entries)
}

fn paths(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.path.display().to_string()).collect()
}

#[test]
fn archives_of_every_compression_are_recognised_and_unpacked_whole() {
    for (compression, bytes) in compressed(&simple()) {
        assert_eq!(Compression::of(&bytes), compression);
        assert!(is_archive(&bytes[..]).unwrap(), "{compression:?}");
        let (temp, entries) = unpacked(&bytes, Vec::new(), &options(&TreePath::root(), &NoLower));
        assert_eq!(paths(&entries.unwrap()), [".wh.ordinary", "d", "d/f"], "{compression:?}");
        assert_eq!(std::fs::read(temp.path().join("d/f")).unwrap(), b"hello", "{compression:?}");
        assert!(temp.path().join(".wh.ordinary").metadata().unwrap().is_file());
    }
}

#[test]
fn what_is_no_archive_is_recognised_by_content_too() {
    let mut broken = simple();
    broken[0] ^= 1;
    for (compression, bytes) in compressed(&broken) {
        assert!(!is_archive(&bytes[..]).unwrap(), "{compression:?}");
    }
    for bytes in [&b""[..], b"\x1f\x8b\x08", b"BZhoney", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", &[0; 1024], b"text"] {
        assert!(!is_archive(bytes).unwrap(), "{bytes:?}");
    }
    for (compression, bytes) in compressed(b"just text, much like any other text there is") {
        assert!(!is_archive(&bytes[..]).unwrap(), "{compression:?}");
    }
}

#[test]
fn a_destination_is_made_and_its_owner_is_the_one_asked_for() {
    let owner = crate::tree::disk::tests::owns_all_ids().then_some((3, 4));
    let destination = TreePath::new("opt/app");
    let (temp, entries) = unpacked(&simple(), Vec::new(), &ArchiveOptions { owner, ..options(&destination, &NoLower) });
    let entries = entries.unwrap();
    let expected = ["opt", "opt/app", "opt/app/.wh.ordinary", "opt/app/d", "opt/app/d/f"];
    assert_eq!(paths(&entries), expected);
    let (uid, gid) = owner.unwrap_or_default();
    assert!(entries.iter().all(|entry| (entry.uid, entry.gid) == (uid, gid)));
    let meta = temp.path().join("opt/app").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o755, 77));
    assert_eq!(temp.path().join("opt/app/d/f").metadata().unwrap().mtime(), 1_000_000_000);
}

/// A root with `lib -> usr/lib`, as Debian has it.
struct Merged;

impl Lower for Merged {
    fn entry(&self, path: &TreePath) -> Option<Entry> {
        let (kind, mode) = match path.as_bytes() {
            b"lib" => (Kind::Symlink { target: b"/usr/lib".as_slice().into() }, 0o777),
            b"usr" | b"usr/lib" => (Kind::Dir { opaque: false }, 0o711),
            _ => return None,
        };
        let (uid, gid, xattrs) = (0, 0, Vec::new());
        Some(Entry { path: path.clone(), kind, mode, uid, gid, xattrs, mtime: Mtime::default() })
    }

    fn open(&self, _: &TreePath) -> io::Result<std::fs::File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[test]
fn links_of_the_image_are_followed_and_its_directories_stay_as_they_are() {
    let archive = tar_of(|tar| add(tar, tar::EntryType::Regular, "lib/x", "1"));
    let (_temp, entries) = unpacked(&archive, Vec::new(), &options(&TreePath::root(), &Merged));
    let entries = entries.unwrap();
    assert_eq!(paths(&entries), ["usr", "usr/lib", "usr/lib/x"]);
    assert!(entries[..2].iter().all(|entry| entry.mode == 0o711));
    let (_temp, entries) = unpacked(&simple(), Vec::new(), &options(&TreePath::new("lib"), &Merged));
    assert_eq!(paths(&entries.unwrap()), ["usr", "usr/lib", "usr/lib/.wh.ordinary", "usr/lib/d", "usr/lib/d/f"]);
}

#[test]
fn a_second_archive_continues_the_layer_of_the_first() {
    let temp = tempfile::tempdir().unwrap();
    let mut writer = DirWriter::new(temp.path()).unwrap();
    let root = TreePath::root();
    let first = tar_of(|tar| {
        add(tar, tar::EntryType::Regular, "a", "first");
        add(tar, tar::EntryType::Link, "b", "a");
        add(tar, tar::EntryType::Regular, "c", "kept");
    });
    let second = tar_of(|tar| {
        add(tar, tar::EntryType::Regular, "a", "second");
        add(tar, tar::EntryType::Link, "d", "b");
    });
    let layer = unpack_archive(&first[..], &mut writer, Vec::new(), &options(&root, &NoLower)).unwrap();
    let layer = unpack_archive(&second[..], &mut writer, layer, &options(&root, &NoLower)).unwrap();
    writer.finish().unwrap();
    assert_eq!(paths(&layer), ["a", "b", "c", "d"]);
    assert_eq!(layer[3].kind, Kind::Hardlink { to: TreePath::new("b") });
    assert_eq!(std::fs::read(temp.path().join("d")).unwrap(), b"first");
    assert_eq!(std::fs::read(temp.path().join("a")).unwrap(), b"second");
}

#[test]
fn a_whiteout_device_in_an_archive_is_refused() {
    let archive = tar_of(|tar| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Char);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, "etc/passwd", &b""[..]).unwrap();
    });
    let (_temp, entries) = unpacked(&archive, Vec::new(), &options(&TreePath::root(), &NoLower));
    assert!(matches!(entries, Err(Error::Unsupported { .. })), "{entries:?}");
}

#[test]
fn a_name_that_begins_like_a_magic_number_is_still_a_name() {
    let archive = tar_of(|tar| add(tar, tar::EntryType::Regular, "BZh9-notes", "1"));
    assert!(is_archive(&archive[..]).unwrap());
}

#[test]
fn an_archive_does_not_climb_out_of_its_destination() {
    let destination = TreePath::new("a/b");
    let mut archive = tar_of(|tar| add(tar, tar::EntryType::Regular, "xx/x", "1"));
    archive[..5].copy_from_slice(b"../x\0");
    let block: &mut [u8; 512] = (&mut archive[..512]).try_into().unwrap();
    let (sum, _) = crate::tree::tar::header::checksums(block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let (_temp, entries) = unpacked(&archive, Vec::new(), &options(&destination, &NoLower));
    assert!(matches!(entries, Err(Error::Escapes { .. })), "{entries:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_compression_is_an_error_and_never_a_panic(
        which in 0usize..5,
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (_, mut bytes) = compressed(&simple()).swap_remove(which);
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = is_archive(&bytes[..]);
        let (_temp, result) = unpacked(&bytes, Vec::new(), &options(&TreePath::new("to"), &NoLower));
        if let Ok(entries) = result {
            prop_assert!(entries.iter().all(|entry| entry.path.starts_with(&TreePath::new("to"))));
        }
    }
}

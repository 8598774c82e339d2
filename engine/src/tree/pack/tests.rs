//! The bytes of packed layers, and that unpacking is packing's inverse.

use super::*;
use crate::digest::{ContentId, Sha256};
use crate::tree::entry::Mtime;
use crate::tree::unpack::{NoLower, unpack};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Seek as _;

type Contents = BTreeMap<TreePath, Vec<u8>>;

fn entry(path: &str, kind: Kind) -> Entry {
    let mtime = Mtime { seconds: 1_700_000_000, nanos: 0 };
    Entry { path: TreePath::new(path), kind, mode: 0o644, uid: 0, gid: 0, xattrs: Vec::new(), mtime }
}

fn file(path: &str, bytes: &[u8]) -> Entry {
    entry(path, Kind::File { size: bytes.len() as u64, content: ContentId::from(blake3::hash(bytes)) })
}

fn packed_with(entries: &[Entry], contents: &Contents, options: &PackOptions) -> Result<Vec<u8>, Error> {
    let open = |path: &TreePath| {
        let mut file = tempfile::tempfile()?;
        file.write_all(contents.get(path).map_or(&[][..], Vec::as_slice))?;
        file.rewind()?;
        Ok(file)
    };
    let mut out = Vec::new();
    pack(entries, &open, options, &mut out)?;
    Ok(out)
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    packed_with(entries, &Contents::new(), &PackOptions::default()).unwrap()
}

#[test]
fn a_layer_of_nothing_has_the_digest_that_all_builders_know() {
    let empty = packed(&[]);
    assert_eq!(empty, [0; 1024]);
    let known = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(Sha256::of(&empty).to_string(), known);
}

#[test]
fn names_are_relative_and_directories_end_in_a_slash() {
    let whiteout = Entry { mode: 0, mtime: Mtime::default(), ..entry("a/gone", Kind::Whiteout) };
    let layer = packed(&[
        entry("a", Kind::Dir { opaque: true }),
        file("a/f", b""),
        whiteout,
        entry("a/link", Kind::Hardlink { to: TreePath::new("a/f") }),
        entry("s", Kind::Socket),
        entry("t", Kind::Symlink { target: b"/a/f".as_slice().into() }),
    ]);
    let mut archive = tar::Archive::new(&layer[..]);
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
            (name, link.unwrap_or_default(), entry.header().entry_type().as_byte() as char)
        })
        .collect();
    let expected = [
        ("a/", "", '5'),
        ("a/.wh..wh..opq", "", '0'),
        ("a/f", "", '0'),
        ("a/.wh.gone", "", '0'),
        ("a/link", "a/f", '1'),
        ("t", "/a/f", '2'),
    ];
    assert_eq!(names, expected.map(|(name, link, kind)| (name.to_owned(), link.to_owned(), kind)));
}

#[test]
fn the_bytes_of_a_layer_never_change() {
    let mut tool = file("bin/tool", b"");
    tool.mode = 0o4755;
    tool.xattrs = vec![(b"security.capability".as_slice().into(), b"\x01\0\0\x02".as_slice().into())];
    let long = "d/".repeat(120) + "f";
    let layer = packed(&[entry("bin", Kind::Dir { opaque: false }), tool, file(&long, b"")]);
    assert_eq!(layer.len() % BLOCK_BYTES, 0);
    // Whoever changes this changes the image id of every image that kiln ever built.
    insta::assert_snapshot!(Sha256::of(&layer), @"sha256:c264d177727e725315f42375c4d36238a07eada3e84fb645f7fd70781039c435");
}

#[test]
fn times_are_whole_seconds_and_clamped_only_when_later() {
    let at = |seconds, nanos| Entry { mtime: Mtime { seconds, nanos }, ..file("f", b"") };
    let mtime = |entry: Entry, clamp| {
        let layer = packed_with(&[entry], &Contents::new(), &PackOptions { clamp }).unwrap();
        tar::Archive::new(&layer[..]).entries().unwrap().next().unwrap().unwrap().header().mtime().unwrap()
    };
    assert_eq!(mtime(at(100, 999_999_999), None), 100);
    assert_eq!(mtime(at(100, 0), Some(50)), 50);
    assert_eq!(mtime(at(40, 0), Some(50)), 40);
}

#[test]
fn what_a_layer_cannot_say_is_an_error_and_not_another_layer() {
    for name in [".wh.passwd", "a/.wh..wh..opq"] {
        let error = packed_with(&[file(name, b"")], &Contents::new(), &PackOptions::default()).unwrap_err();
        assert!(matches!(error, Error::ReservedName { .. }), "{error:?}");
    }
    let mut odd = file("f", b"");
    odd.xattrs = vec![(b"user.a=b".as_slice().into(), b"".as_slice().into())];
    let error = packed_with(&[odd], &Contents::new(), &PackOptions::default()).unwrap_err();
    assert!(matches!(error, Error::XattrName { .. }), "{error:?}");
    let error = packed_with(&[file("b", b""), file("a", b"")], &Contents::new(), &PackOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Order { .. }), "{error:?}");
}

#[test]
fn a_file_that_changed_its_length_is_noticed() {
    for bytes in [&b"1234"[..], b"123456"] {
        let contents = Contents::from([(TreePath::new("f"), bytes.to_vec())]);
        let error = packed_with(&[file("f", b"12345")], &contents, &PackOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Size { size: 5, .. }), "{error:?}");
    }
}

/// Trees with everything that can be written without privileges; owners are set where root runs this.
fn trees() -> impl Strategy<Value = (Vec<Entry>, Contents)> {
    let name = prop_oneof![
        4 => "[a-c]{1,2}",
        1 => "[a-z]{90,120}",
        1 => "é\\PC{1,40}",
    ];
    let path = proptest::collection::vec(name, 1..4).prop_map(|parts| parts.join("/"));
    let kind = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..1500).prop_map(Shape::File),
        2 => any::<bool>().prop_map(Shape::Dir),
        1 => "[a-z/.]{1,150}".prop_map(Shape::Symlink),
        1 => Just(Shape::Fifo),
        1 => Just(Shape::Whiteout),
        1 => Just(Shape::Hardlink),
    ];
    let seconds = prop_oneof![Just(0i64), -3_000_000_000i64..10_000_000_000];
    let member = (path, kind, 0u32..0o10000, seconds, 0u32..4_000_000, proptest::option::of("[a-z]{1,8}"));
    proptest::collection::vec(member, 0..12).prop_map(build)
}

#[derive(Clone, Debug)]
enum Shape {
    File(Vec<u8>),
    Dir(bool),
    Symlink(String),
    Fifo,
    Whiteout,
    Hardlink,
}

fn build(members: Vec<(String, Shape, u32, i64, u32, Option<String>)>) -> (Vec<Entry>, Contents) {
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    let mut contents = Contents::new();
    let root = crate::tree::disk::tests::owns_all_ids();
    for (path, shape, mode, seconds, id, xattr) in members {
        let path = TreePath::new(path);
        let blocked = |dir: &TreePath| entries.get(dir).is_some_and(|entry| !matches!(entry.kind, Kind::Dir { .. }));
        if path.is_root() || entries.contains_key(&path) || path.ancestors().iter().any(blocked) {
            continue;
        }
        let mtime = Mtime { seconds, nanos: 0 };
        let (uid, gid) = if root { (id, id / 2) } else { (0, 0) };
        for dir in path.ancestors().into_iter().filter(|dir| !dir.is_root()) {
            let kind = Kind::Dir { opaque: false };
            let implied = Entry { path: dir.clone(), kind, mode: 0o755, uid, gid, xattrs: Vec::new(), mtime };
            entries.entry(dir).or_insert(implied);
        }
        let xattrs: super::super::entry::Xattrs =
            xattr.iter().map(|name| (format!("user.{name}").into_bytes().into(), b"\0v\n".as_slice().into())).collect();
        let mut entry = Entry { path: path.clone(), kind: Kind::Fifo, mode, uid, gid, xattrs: Vec::new(), mtime };
        match shape {
            Shape::File(bytes) => {
                entry.kind = Kind::File { size: bytes.len() as u64, content: ContentId::from(blake3::hash(&bytes)) };
                entry.xattrs = xattrs;
                contents.insert(path.clone(), bytes);
            }
            Shape::Dir(opaque) => (entry.kind, entry.xattrs) = (Kind::Dir { opaque }, xattrs),
            Shape::Symlink(target) => {
                (entry.kind, entry.mode) = (Kind::Symlink { target: target.as_bytes().into() }, 0o777);
            }
            Shape::Fifo => {}
            Shape::Whiteout => {
                entry = Entry { kind: Kind::Whiteout, mode: 0, uid: 0, gid: 0, mtime: Mtime::default(), ..entry };
            }
            Shape::Hardlink => {
                let first = entries.values().find(|first| matches!(first.kind, Kind::File { .. }) && first.path < path);
                let Some(first) = first else { continue };
                entry = Entry { path: path.clone(), kind: Kind::Hardlink { to: first.path.clone() }, ..first.clone() };
            }
        }
        entries.insert(path, entry);
    }
    // A file may have come before the first name of its links.
    (entries.into_values().collect(), contents)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn unpacking_a_packed_layer_gives_the_layer_back((entries, contents) in trees()) {
        let layer = packed_with(&entries, &contents, &PackOptions::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let again = unpack(&layer[..], dir.path(), &NoLower).unwrap();
        prop_assert_eq!(&again, &entries);
        // And what is on disk is what the entries say.
        let open = |path: &TreePath| File::open(dir.path().join(std::str::from_utf8(path.as_bytes()).unwrap()));
        let mut repacked = Vec::new();
        pack(&again, &open, &PackOptions::default(), &mut repacked).unwrap();
        prop_assert_eq!(repacked, layer);
    }
}

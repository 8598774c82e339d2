//! Archives of other writers, and archives that no writer makes.

use super::*;
use crate::tree::tar::header::{Head, pad, write_head};
use std::process::Command;

/// All members with their data, holes as zeros.
fn members(bytes: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, Error> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(member) = reader.next_member()? {
        let mut data = Vec::new();
        let mut buffer = [0; 700];
        while let Some(piece) = reader.next_piece(&mut buffer)? {
            match piece {
                Piece::Bytes(length) => data.extend_from_slice(&buffer[..length]),
                Piece::Hole(length) => data.resize(data.len() + usize::try_from(length).unwrap(), 0),
            }
        }
        assert_eq!(data.len() as u64, member.size);
        all.push((member, data));
    }
    Ok(all)
}

fn head(path: &str, kind: u8, size: u64) -> Head<'_> {
    let (path, link) = (path.as_bytes(), b"".as_slice());
    Head {
        path,
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: 0,
        link,
        device: (0, 0),
        xattrs: const { &Vec::new() },
    }
}

/// An extension with these records, and then a file without data.
fn with_records(records: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(&mut out, &head("x", b'x', records.len() as u64)).unwrap();
    out.extend_from_slice(records.as_bytes());
    pad(&mut out, records.len() as u64).unwrap();
    write_head(&mut out, &head("f", b'0', 0)).unwrap();
    out
}

fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let length = (1..6).map(|digits| rest + digits).find(|length| rest + length.to_string().len() == *length).unwrap();
    format!("{length} {key}={value}\n")
}

#[test]
fn every_field_survives_writing_and_reading() {
    let xattrs = vec![(b"user.a".as_slice().into(), b"1\n2\0".as_slice().into())];
    let path = "é".repeat(200);
    let wide = Head {
        uid: u32::MAX - 1,
        gid: 3_000_000,
        mtime: -5,
        mode: 0o7777,
        link: &[b'l'; 150],
        xattrs: &xattrs,
        ..head(&path, b'2', 0)
    };
    let mut out = Vec::new();
    write_head(&mut out, &wide).unwrap();
    let (member, _) = &members(&out).unwrap()[0];
    assert_eq!(member.path, path.as_bytes());
    assert_eq!((member.uid, member.gid, member.mode), (u32::MAX - 1, 3_000_000, 0o7777));
    assert_eq!(member.mtime, Mtime { seconds: -5, nanos: 0 });
    assert_eq!((&member.link[..], &member.xattrs), (&[b'l'; 150][..], &xattrs));
}

#[test]
fn long_names_of_gnu_archives_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "n/".repeat(200) + "file";
    let mut gnu = tar::Header::new_gnu();
    gnu.set_size(3);
    gnu.set_mode(0o600);
    builder.append_data(&mut gnu, &long, &b"abc"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "short", &long).unwrap();
    let read = members(&builder.into_inner().unwrap()).unwrap();
    assert_eq!((&read[0].0.path[..], &read[0].1[..]), (long.as_bytes(), &b"abc"[..]));
    assert_eq!((&read[1].0.path[..], &read[1].0.link[..]), (&b"short"[..], long.as_bytes()));
}

#[test]
fn sparse_files_of_gnu_tar_are_read_in_all_their_forms() {
    let temp = tempfile::tempdir().unwrap();
    let mut expected = vec![0; 3 << 20];
    // More stretches than an old GNU header has room for, and a hole at the end.
    for stretch in 0..40 {
        let at = stretch * 65_536 + 4096;
        expected[at..at + 5000].fill(b'a' + (stretch % 26) as u8);
    }
    let sparse = std::fs::File::create(temp.path().join("sparse")).unwrap();
    for stretch in 0..40 {
        let at = stretch * 65_536 + 4096;
        std::os::unix::fs::FileExt::write_all_at(&sparse, &expected[at..at + 5000], at as u64).unwrap();
    }
    sparse.set_len(expected.len() as u64).unwrap();
    for format in ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
        let mut command = Command::new("tar");
        command.args(["--sparse", format, "-cf", "-", "sparse"]).current_dir(temp.path());
        if format.starts_with("--sparse") {
            command.arg("--format=posix");
        }
        let Ok(output) = command.output() else {
            println!("skipped: no tar command");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.len() < expected.len() / 2, "{format}: the archive is sparse");
        let read = members(&output.stdout).unwrap();
        assert_eq!(read[0].0.path, b"sparse", "{format}");
        assert!(read[0].1 == expected, "{format}: the content is whole");
    }
}

#[test]
fn times_and_sizes_of_pax_count_more_than_the_header() {
    let records = record("mtime", "12.000000034") + &record("path", "long/name") + &record("uid", "70000");
    let (member, _) = &members(&with_records(&records)).unwrap()[0];
    assert_eq!((member.mtime, member.uid), (Mtime { seconds: 12, nanos: 34 }, 70_000));
    assert_eq!(member.path, b"long/name");
}

#[test]
fn a_size_in_pax_decides_where_the_next_header_is() {
    let mut out = with_records(&record("size", "512"));
    // The header says 0 and PAX says 512: whoever trusts the header takes the data for a header.
    write_head(&mut out, &head("data-not-header", b'0', 0)).unwrap();
    write_head(&mut out, &head("next", b'0', 0)).unwrap();
    let read = members(&out).unwrap();
    let names: Vec<_> = read.iter().map(|(member, data)| (member.path.clone(), data.len())).collect();
    assert_eq!(names, [(b"f".to_vec(), 512), (b"next".to_vec(), 0)]);
}

#[test]
fn an_extension_beyond_all_reason_is_refused_before_it_is_read() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let mut out = Vec::new();
        write_head(&mut out, &head("x", kind, MAX_EXTENSION_BYTES + 1)).unwrap();
        assert!(matches!(members(&out), Err(Error::TooLong { .. })), "{kind}");
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let mut out = Vec::new();
    write_head(&mut out, &head("f", b'0', 1000)).unwrap();
    assert!(matches!(members(&out), Err(Error::Truncated { offset: 512 })));
    out.extend_from_slice(&[b'x'; 1024]);
    out.extend_from_slice(&[b'x'; 512]);
    assert!(matches!(members(&out), Err(Error::Checksum { offset: 1536 })));
    let mut odd = Vec::new();
    write_head(&mut odd, &head("f", b'Z', 0)).unwrap();
    assert!(matches!(members(&odd), Err(Error::Type { offset: 0, kind: 'Z' })));
    for (key, value) in [("size", "-1"), ("size", "99999999999999999999"), ("uid", "4294967296"), ("path", "a\0b")] {
        let result = members(&with_records(&record(key, value)));
        assert!(matches!(result, Err(Error::Field { .. })), "{key}={value:?}: {result:?}");
    }
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let maps = [
        ("0.1", "9223372036854775807", "0,0"),
        ("0.1", "100", "0,200"),
        ("0.1", "100", "50,10,40,10"),
        ("0.1", "100", "18446744073709551615,2"),
        ("0.1", "100", "0"),
        ("0.1", "100", "0,10"),
        ("1.0", "100", ""),
        ("2.0", "100", "0,0"),
    ];
    for (version, size, map) in maps {
        let (major, minor) = version.split_once('.').unwrap();
        let mut records = record("GNU.sparse.realsize", size);
        if version != "0.1" {
            records += &(record("GNU.sparse.major", major) + &record("GNU.sparse.minor", minor));
        }
        records += &record("GNU.sparse.map", map);
        let result = members(&with_records(&records));
        assert!(matches!(result, Err(Error::Field { field: "sparse map", .. })), "{version} {size} {map}: {result:?}");
    }
}

#[test]
fn a_single_block_of_zeros_and_a_missing_one_both_end_an_archive() {
    let mut out = Vec::new();
    write_head(&mut out, &head("f", b'0', 0)).unwrap();
    assert_eq!(members(&out).unwrap().len(), 1);
    out.extend_from_slice(&[0; 512]);
    assert_eq!(members(&out).unwrap().len(), 1);
    assert_eq!(members(b"").unwrap().len(), 0);
    assert!(matches!(members(&[b'x'; 100]), Err(Error::Truncated { .. })));
}

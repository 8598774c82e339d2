//! Blobs of every compression from one tree.

use super::*;
use crate::digest::ContentId;
use crate::tree::archive;
use crate::tree::entry::{Kind, Mtime};
use std::io::Read as _;

fn file(path: &str, bytes: &[u8]) -> Entry {
    let kind = Kind::File { size: bytes.len() as u64, content: ContentId::from(blake3::hash(bytes)) };
    let (xattrs, mtime) = (Vec::new(), Mtime { seconds: 1_000_000_000, nanos: 0 });
    Entry { path: TreePath::new(path), kind, mode: 0o644, uid: 0, gid: 0, xattrs, mtime }
}

/// A layer whose files all have these bytes.
fn layer<'a>(dir: &'a Path, entries: &'a [Entry], bytes: &[u8]) -> ImageLayer<'a> {
    std::fs::write(dir.join("content"), bytes).unwrap();
    ImageLayer { entries, open: Box::new(move |_| File::open(dir.join("content"))), diff_id: None, blob: None }
}

#[test]
fn the_diff_id_does_not_depend_on_the_compression_and_the_blob_is_what_its_digest_says() {
    let temp = tempfile::tempdir().unwrap();
    let bytes = vec![b'x'; 3_000_000];
    let entries = [file("a", &bytes), file("b", &bytes)];
    let layer = layer(temp.path(), &entries, &bytes);
    let known = diff_id(&layer, &PackOptions::default()).unwrap();
    for name in ["uncompressed", "gzip", "zstd"] {
        let compression = LayerCompression::parse(name).unwrap();
        let options = LayerOptions { compression, ..LayerOptions::default() };
        let packed = pack_layer(&layer, &options, temp.path()).unwrap();
        assert_eq!(packed.diff_id, known, "{name}");
        let blob = std::fs::read(&packed.path).unwrap();
        assert_eq!((Sha256::of(&blob), blob.len() as u64), (packed.digest, packed.size), "{name}");
        let mut tar = Vec::new();
        archive::decompress(&blob[..]).unwrap().0.read_to_end(&mut tar).unwrap();
        assert_eq!(Sha256::of(&tar), known, "{name}");
        assert_eq!(packed, pack_layer(&layer, &options, temp.path()).unwrap(), "{name}: twice the same");
    }
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let left = std::fs::read_dir(temp.path()).unwrap().filter(|entry| hidden(&entry.as_ref().unwrap().file_name()));
    assert_eq!(left.count(), 0, "nothing half-made stays");
}

#[test]
fn a_blob_that_exists_is_used_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let known = Sha256::of(b"");
    let path = PathBuf::from("/elsewhere");
    let blob = PackedLayer { diff_id: known, path, digest: Sha256::of(b"blob"), size: 4, media_type: "m".into() };
    let open: OpenFile<'_> = Box::new(|_| Err(io::ErrorKind::NotFound.into()));
    let layer = ImageLayer { entries: &[], open, diff_id: None, blob: Some(blob.clone()) };
    assert_eq!(pack_layer(&layer, &LayerOptions::default(), temp.path()).unwrap(), blob);
    assert_eq!(diff_id(&layer, &PackOptions::default()).unwrap(), known);
}

#[test]
fn a_tree_that_no_longer_packs_as_it_did_is_noticed_and_leaves_no_blob() {
    let temp = tempfile::tempdir().unwrap();
    let blobs = tempfile::tempdir().unwrap();
    let entries = [file("a", b"good")];
    let mut layer = layer(temp.path(), &entries, b"good");
    layer.diff_id = Some(diff_id(&layer, &PackOptions::default()).unwrap());
    std::fs::write(temp.path().join("content"), b"evil").unwrap();
    let error = pack_layer(&layer, &LayerOptions::default(), blobs.path()).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(blobs.path()).unwrap().count(), 0);
}

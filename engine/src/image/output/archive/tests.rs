//! Layouts and archives, read back here and by other tools where these are installed.

use super::*;
use crate::digest::{ContentId, Sha256};
use crate::image::config::{History, ImageConfig};
use crate::image::layer::{ImageLayer, LayerCompression, LayerOptions, pack_layers};
use crate::image::time::Timestamp;
use crate::tree::entry::{Entry, Kind, Mtime, TreePath};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

/// An image of two layers; the blobs are below `dir`.
fn image(dir: &Path, compression: LayerCompression) -> Assembled {
    std::fs::write(dir.join("hello"), "hello").unwrap();
    let entry = |path: &str, kind| {
        let (xattrs, mtime) = (Vec::new(), Mtime { seconds: 1_000_000_000, nanos: 0 });
        Entry { path: TreePath::new(path), kind, mode: 0o755, uid: 0, gid: 0, xattrs, mtime }
    };
    let kind = Kind::File { size: 5, content: ContentId::from(blake3::hash(b"hello")) };
    let lower = [entry("d", Kind::Dir { opaque: false }), entry("d/hello", kind.clone()), entry("old", kind)];
    let upper = [entry("link", Kind::Symlink { target: b"/d/hello".as_slice().into() }), entry("old", Kind::Whiteout)];
    let layers = [&lower[..], &upper[..]].map(|entries| ImageLayer {
        entries,
        open: Box::new(|_| File::open(dir.join("hello"))),
        diff_id: None,
        blob: None,
    });
    let options = LayerOptions { compression, ..LayerOptions::default() };
    let packed = pack_layers(&layers, &options, dir).unwrap();
    let mut config = ImageConfig::scratch("amd64", "linux", "");
    config.config.cmd = vec!["/d/hello".to_owned()];
    for text in ["COPY d / # buildkit", "RUN rm old # buildkit"] {
        config.history.push(History::of_instruction(text.to_owned(), Some(Timestamp::new(1_000_000_000, 0))));
    }
    config.history.push(History::of_instruction("CMD [\"/d/hello\"]".to_owned(), None));
    config.complete_times();
    Assembled::new(&config, packed, &BTreeMap::new())
}

fn names(names: &[&str]) -> Vec<Tagged> {
    names.iter().map(|name| Tagged::parse(name).unwrap()).collect()
}

fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, digest: &Value) -> &'a [u8] {
    let digest = Sha256::parse(digest.as_str().unwrap()).unwrap();
    let bytes = &files[&blob_name(digest)];
    assert_eq!(Sha256::of(bytes), digest);
    bytes
}

#[test]
fn everything_in_a_layout_is_reached_from_its_index_and_is_what_its_digest_says() {
    let temp = tempfile::tempdir().unwrap();
    let image = image(temp.path(), LayerCompression::default());
    let mut tar = Vec::new();
    write_oci_tar(&Content::image(image.clone(), &names(&["a:1", "ghcr.io/b/c", "a:1"])), &mut tar).unwrap();
    let files = files(&tar);
    assert_eq!(files["oci-layout"], LAYOUT);
    let index = json(&files["index.json"]);
    let tags: Vec<_> = index["manifests"].as_array().unwrap().iter().map(|entry| &entry["annotations"]).collect();
    assert_eq!(tags.len(), 2, "a name given twice stands once");
    assert_eq!((&tags[0][REF_NAME], &tags[0][IMAGE_NAME]), (&"1".into(), &"docker.io/library/a:1".into()));
    assert_eq!((&tags[1][REF_NAME], &tags[1][IMAGE_NAME]), (&"latest".into(), &"ghcr.io/b/c:latest".into()));
    let manifest = json(blob(&files, &index["manifests"][0]["digest"]));
    let config = json(blob(&files, &manifest["config"]["digest"]));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), config["rootfs"]["diff_ids"].as_array().unwrap().len());
    for (layer, diff_id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
        let bytes = blob(&files, &layer["digest"]);
        assert_eq!(layer["size"], bytes.len());
        let mut plain = Vec::new();
        crate::tree::archive::decompress(bytes).unwrap().0.read_to_end(&mut plain).unwrap();
        assert_eq!(Sha256::of(&plain).to_string(), diff_id.as_str().unwrap());
    }
    let mut again = Vec::new();
    write_oci_tar(&Content::image(image, &names(&["a:1", "ghcr.io/b/c"])), &mut again).unwrap();
    assert!(tar == again, "the same image has the same bytes");
}

#[test]
fn an_image_without_a_name_has_no_tags() {
    let temp = tempfile::tempdir().unwrap();
    let image = image(temp.path(), LayerCompression::Uncompressed);
    let mut tar = Vec::new();
    write_docker_tar(&Content::image(image, &[]), &mut tar).unwrap();
    let files = files(&tar);
    assert_eq!(json(&files["manifest.json"])[0]["RepoTags"], Value::Null);
    assert!(!files.contains_key("repositories"));
    assert_eq!(json(&files["index.json"])["manifests"][0]["annotations"][REF_NAME], Value::Null);
}

#[test]
fn a_layout_directory_takes_more_images_and_a_name_moves_to_the_newest() {
    let temp = tempfile::tempdir().unwrap();
    let layout = temp.path().join("layout");
    let first = image(temp.path(), LayerCompression::default());
    let second = image(temp.path(), LayerCompression::Zstd(3));
    write_oci_dir(&Content::image(first.clone(), &names(&["a", "b"])), &layout).unwrap();
    write_oci_dir(&Content::image(second.clone(), &names(&["b"])), &layout).unwrap();
    write_oci_dir(&Content::image(second.clone(), &names(&["b"])), &layout).unwrap();
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    let entries: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["annotations"][IMAGE_NAME].as_str().unwrap(), entry["digest"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("docker.io/library/a:latest", first.descriptor().digest.to_string()),
        ("docker.io/library/b:latest", second.descriptor().digest.to_string()),
    ];
    assert_eq!(entries, expected);
    for image in [&first, &second] {
        for layer in &image.layers {
            let bytes = std::fs::read(layout.join(blob_name(layer.digest))).unwrap();
            assert_eq!(Sha256::of(&bytes), layer.digest);
        }
    }
    std::fs::write(layout.join("index.json"), "no json").unwrap();
    assert!(matches!(write_oci_dir(&Content::image(first, &[]), &layout), Err(Error::Index { .. })));
}

#[test]
fn a_damaged_blob_leaves_the_old_archive_in_place() {
    let temp = tempfile::tempdir().unwrap();
    let image = image(temp.path(), LayerCompression::default());
    let dest = temp.path().join("out.tar");
    std::fs::write(&dest, "before").unwrap();
    std::fs::write(&image.layers[0].path, "cut").unwrap();
    let error = write_file(&dest, |out| write_oci_tar(&Content::image(image.clone(), &[]), out)).unwrap_err();
    assert!(matches!(error, Error::BlobSize { .. }), "{error:?}");
    assert_eq!(std::fs::read(&dest).unwrap(), b"before");
    let left: Vec<_> = std::fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.as_encoded_bytes().starts_with(b".kiln-")), "{left:?}");
}

/// The words of the command that `variable` holds, and a directory that the command sees as `/peers`.
fn peer(variable: &str) -> Option<(Vec<String>, PathBuf)> {
    let (Ok(command), Ok(dir)) = (std::env::var(variable), std::env::var("PEERS_DIR")) else {
        println!("skipped: {variable} or PEERS_DIR is not set");
        return None;
    };
    Some((command.split_whitespace().map(str::to_owned).collect(), dir.into()))
}

fn run(words: &[String], arguments: &[&str]) -> String {
    let output = Command::new(&words[0]).args(&words[1..]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn docker_loads_the_archive_under_all_its_names_and_with_the_same_id() {
    let Some((docker, dir)) = peer("DOCKER") else { return };
    let temp = tempfile::Builder::new().prefix("kiln-load-").tempdir_in(&dir).unwrap();
    let seen = |file: &str| format!("/peers/{}/{file}", temp.path().file_name().unwrap().display());
    for compression in ["uncompressed", "gzip", "zstd"] {
        let image = image(temp.path(), LayerCompression::parse(compression).unwrap());
        let tags = [format!("kiln-load-a:{compression}"), format!("example.org/kiln-load/b:{compression}")];
        let file = format!("{compression}.tar");
        let names = names(&[&tags[0], &tags[1]]);
        write_file(&temp.path().join(&file), |out| write_docker_tar(&Content::image(image.clone(), &names), out))
            .unwrap();
        run(&docker, &["load", "-i", &seen(&file)]);
        for tag in &tags {
            let id = run(&docker, &["image", "inspect", "--format", "{{.Id}}", tag]);
            assert_eq!(id.trim(), image.id().to_string(), "{compression} {tag}");
        }
        let container = run(&docker, &["create", &tags[0]]);
        let exported = run(&docker, &["cp", &format!("{}:/link", container.trim()), "-"]);
        assert!(exported.contains("/d/hello"), "the link is there: {exported:?}");
        run(&docker, &["rm", container.trim()]);
        run(&docker, &["rmi", &tags[0], &tags[1]]);
    }
}

#[test]
fn skopeo_reads_the_layout() {
    let Some((skopeo, dir)) = peer("SKOPEO") else { return };
    let temp = tempfile::Builder::new().prefix("kiln-layout-").tempdir_in(&dir).unwrap();
    let image = image(temp.path(), LayerCompression::default());
    let names = names(&["kiln:first"]);
    write_oci_dir(&Content::image(image.clone(), &names), &temp.path().join("layout")).unwrap();
    write_file(&temp.path().join("oci.tar"), |out| write_oci_tar(&Content::image(image.clone(), &names), out)).unwrap();
    let place = format!("/peers/{}", temp.path().file_name().unwrap().display());
    for reference in [format!("oci:{place}/layout:first"), format!("oci-archive:{place}/oci.tar:first")] {
        let inspected = json(run(&skopeo, &["inspect", &reference]).as_bytes());
        assert_eq!(inspected["Digest"], image.descriptor().digest.to_string());
        assert_eq!(inspected["Architecture"], "amd64");
        let layers: Vec<_> = image.layers.iter().map(|layer| Value::from(layer.digest.to_string())).collect();
        assert_eq!(inspected["Layers"].as_array().unwrap(), &layers);
        // Copying reads and verifies every blob.
        run(&skopeo, &["copy", &reference, &format!("dir:{place}/copy")]);
    }
}

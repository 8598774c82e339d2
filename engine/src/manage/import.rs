//! A base image from the archive of a root file system.

use crate::api::{ImageSummary, ImportRequest, ImportSource, ManageError, Source};
use crate::image::config::{History, ImageConfig};
use crate::image::time::Timestamp;
use crate::store::adopt::Below;
use crate::store::{ImageLayerRef, ImageRecord, Store, StoreError, image_name, now};
use crate::tree::archive::decompress;
use kiln_dsl::platform::Platform;
use std::fs::File;
use std::io::{self, Read};

/// An archive that is none.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is empty")]
    Empty,
    #[error("{platform:?} is no platform: {reason}")]
    Platform { platform: String, reason: String },
}

/// Makes an image of one layer, which has the archive's files as they are, and gives it its name. The archive
/// is read once, as a stream. The same archive under the same name is the same image.
///
/// # Errors
/// The name is none, the archive cannot be read, or the store cannot be used. Then nothing of it stays.
pub fn import(request: &ImportRequest) -> Result<ImageSummary, ManageError> {
    let name =
        image_name(&request.name).map_err(|reason| ManageError::InvalidName { name: request.name.clone(), reason })?;
    let from = match &request.source {
        ImportSource::File(path) => path.display().to_string(),
        ImportSource::Stdin => "standard input".to_owned(),
    };
    let failed = |source: Source| ManageError::Import { from: from.clone(), source };
    let platform = match &request.platform {
        None => Platform::host(),
        Some(text) => Platform::parse(text).map_err(|error| {
            failed(Box::new(Unusable::Platform { platform: text.clone(), reason: error.to_string() }))
        })?,
    };
    let reader: Box<dyn Read + Send> = match &request.source {
        ImportSource::File(path) => Box::new(File::open(path).map_err(|error| failed(Box::new(error)))?),
        ImportSource::Stdin => Box::new(io::stdin()),
    };
    let store_failed = super::store_failed(&request.store);
    let store = Store::open(&request.store).map_err(&store_failed)?;
    let (mut plain, _) = decompress(reader).map_err(|error| failed(Box::new(error)))?;
    let mut first = Vec::with_capacity(1);
    plain.by_ref().take(1).read_to_end(&mut first).map_err(|error| failed(Box::new(error)))?;
    if first.is_empty() {
        return Err(failed(Box::new(Unusable::Empty)));
    }
    let whole = io::Cursor::new(first).chain(plain);
    let adopted = store.adopt_layer(whole, None, Below::NOTHING).map_err(|error| failed(Box::new(error)))?;
    let comment = match &request.source {
        ImportSource::File(path) => {
            format!("Imported from {}", path.file_name().unwrap_or_default().to_string_lossy())
        }
        ImportSource::Stdin => "Imported from -".to_owned(),
    };
    let mut config =
        ImageConfig::scratch(&platform.arch, &platform.os, platform.variant.as_deref().unwrap_or_default());
    config.history.push(History { comment, ..History::default() });
    let created = time(&store, &config, &adopted.layer).map_err(&store_failed)?;
    config.history[0].created = Some(created);
    config.complete_times();
    let layers = vec![ImageLayerRef { id: adopted.layer, blob: None }];
    let image = ImageRecord { config: config.to_json(), layers, created: now(), portable: true, image_id: None };
    store.pin(image.key().as_bytes()).map_err(&store_failed)?;
    let keep = || -> Result<ImageSummary, StoreError> {
        let key = image.key();
        // What was packed of it before is still its id.
        let known = store.db().image(key)?;
        if known.is_none() {
            store.db().put_image(&image)?;
        }
        store.db().put_name(&name, key)?;
        store.flush()?;
        let names = super::images::names(&store)?.remove(&key).unwrap_or_default();
        super::images::summary(&store, key, known.as_ref().unwrap_or(&image), names)
    };
    keep().map_err(store_failed)
}

/// When the image was first imported: a second import is to be the same image.
fn time(store: &Store, config: &ImageConfig, layer: &crate::digest::LayerId) -> Result<Timestamp, StoreError> {
    let mut hasher = blake3::Hasher::new_derive_key("kiln import time v1");
    hasher.update(layer.as_bytes());
    hasher.update(&config.to_json());
    let question = *hasher.finalize().as_bytes();
    if let Some((seconds, nanos)) = store.db().memo::<(i64, u32)>(&question)? {
        return Ok(Timestamp::new(seconds, nanos));
    }
    let now = Timestamp::new(Timestamp::now().seconds(), 0);
    store.db().put_memo(&question, &(now.seconds(), 0u32))?;
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;
    use std::io::Write as _;
    use std::path::Path;

    fn rootfs() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in [("etc/", ""), ("etc/os-release", "ID=test\n")] {
            let mut header = tar::Header::new_gnu();
            let is_dir = path.ends_with('/');
            header.set_entry_type(if is_dir { tar::EntryType::Directory } else { tar::EntryType::Regular });
            header.set_mode(if is_dir { 0o755 } else { 0o644 });
            header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
            header.set_gid(u64::from(rustix::process::getegid().as_raw()));
            header.set_mtime(1_600_000_000);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn import_file(shop: &Shop, path: &Path) -> Result<ImageSummary, ManageError> {
        import(&ImportRequest {
            name: "base".to_owned(),
            source: ImportSource::File(path.to_path_buf()),
            platform: None,
            store: shop.path().to_path_buf(),
        })
    }

    #[test]
    fn an_archive_becomes_an_image_of_one_layer_however_it_is_compressed() {
        let shop = Shop::new();
        let dir = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&rootfs()).unwrap();
        let forms = [
            ("plain", rootfs()),
            ("gzip", gzip.finish().unwrap()),
            ("zstd", zstd::stream::encode_all(&rootfs()[..], 1).unwrap()),
        ];
        let mut layers = Vec::new();
        for (name, bytes) in forms {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let image = import_file(&shop, &path).unwrap();
            assert_eq!(
                (image.names.as_slice(), image.size),
                (["docker.io/library/base:latest".to_owned()].as_slice(), 8)
            );
            let found = super::super::inspect(shop.path(), "base").unwrap();
            assert_eq!(found.config["history"][0]["comment"], format!("Imported from {name}"));
            layers.push(found.layers);
        }
        assert!(layers.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn the_same_archive_again_is_the_same_image() {
        let shop = Shop::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rootfs.tar");
        std::fs::write(&path, rootfs()).unwrap();
        let first = import_file(&shop, &path).unwrap();
        assert_eq!(import_file(&shop, &path).unwrap(), first);
    }

    #[test]
    fn what_is_no_archive_becomes_no_image() {
        let shop = Shop::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rootfs.tar");
        let mut cut = rootfs();
        cut.truncate(700);
        for (bytes, cause) in [
            (b"".to_vec(), "it is empty"),
            (b"not a tar, but longer than nothing".to_vec(), "the archive ends at byte 34, inside a member"),
            (vec![b'x'; 512], "no tar header at byte 0: wrong check sum"),
            (cut, "the archive ends at byte 700, inside a member"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = import_file(&shop, &path).unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(source.to_string(), cause);
        }
        assert!(import_file(&shop, &dir.path().join("absent")).is_err());
        assert!(super::super::images(shop.path()).unwrap().is_empty());
    }

    #[test]
    fn an_archive_without_members_is_an_empty_root() {
        let shop = Shop::new();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scratch.tar");
        std::fs::write(&path, [0; 1024]).unwrap();
        assert_eq!(import_file(&shop, &path).unwrap().size, 0);
    }
}

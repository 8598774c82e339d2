//! For tests: a store with images and records that no build made.

use crate::digest::{ImageKey, KeyId, LayerId, StepId};
use crate::image::config::{History, ImageConfig};
use crate::key::Component;
use crate::store::{ImageLayerRef, ImageRecord, Pins, Record, Store, image_name};
use crate::tree::disk::DirWriter;
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A store in a directory of its own.
pub struct Shop {
    dir: tempfile::TempDir,
}

impl Shop {
    pub fn new() -> Self {
        let shop = Shop { dir: tempfile::tempdir().unwrap() };
        drop(shop.store());
        shop
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Opens it; only once at a time in one process.
    pub fn store(&self) -> Store {
        Store::open(self.path()).unwrap()
    }

    /// Another process that has pinned these.
    pub fn user_of(&self, digests: &[&[u8; 32]]) -> Pins {
        let pins = Pins::open(self.path()).unwrap();
        digests.iter().for_each(|digest| pins.pin(digest).unwrap());
        pins
    }

    /// A layer of one file `content`, whose content is its name.
    pub fn layer(&self, content: &str) -> LayerId {
        let store = self.store();
        let staged = store.stage().unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let entry = Entry {
            path: TreePath::new(content),
            kind: Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() },
            mode: 0o644,
            uid,
            gid,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        };
        let mut writer = DirWriter::new(staged.path()).unwrap();
        let mut file = writer.create(&entry.path, entry.mode).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        writer.finish_file(&file, &entry).unwrap();
        writer.finish().unwrap();
        let layer = store.commit_layer(&Tree::new(vec![entry]), staged, &[]).unwrap().id();
        store.flush().unwrap();
        layer
    }

    /// An image of such layers with a name; no name for the empty one.
    pub fn image(&self, name: &str, layers: &[&str]) -> ImageKey {
        let mut config = ImageConfig::scratch("amd64", "linux", "");
        for content in layers {
            let created = crate::image::time::Timestamp::new(1_700_000_000, 0);
            config.history.push(History::of_instruction(format!("COPY {content} / # buildkit"), Some(created)));
        }
        config.history.push(History::of_instruction("CMD [\"x\"]".to_owned(), None));
        config.complete_times();
        let layers: Vec<ImageLayerRef> =
            layers.iter().map(|content| ImageLayerRef { id: self.layer(content), blob: None }).collect();
        let store = self.store();
        let image = ImageRecord { config: config.to_json(), layers, created: 7, portable: true, image_id: None };
        let key = store.db().put_image(&image).unwrap();
        if !name.is_empty() {
            store.db().put_name(&image_name(name).unwrap(), key).unwrap();
        }
        store.flush().unwrap();
        key
    }

    /// A record of a step that made such a layer, with its key.
    pub fn record(&self, step: &str, key: &str, content: &str) -> KeyId {
        let layer = self.layer(content);
        let store = self.store();
        let id = KeyId::from(blake3::hash(key.as_bytes()));
        let record = Record {
            components: vec![Component::text("the command", key)],
            layer,
            build: crate::explain::BuildId::from_bytes([1; 6]),
            name: format!("[1/1] {step}"),
            created_nanos: 1_000_000_000 * i64::from(key.len() as u32),
            duration_ms: 1,
        };
        store.db().put_record(StepId::from(blake3::hash(step.as_bytes())), id, &record).unwrap();
        store.flush().unwrap();
        id
    }

    /// Where the directory of such a layer is.
    pub fn layer_dir(&self, layer: LayerId) -> PathBuf {
        self.path().join("layers").join(layer.to_hex())
    }
}

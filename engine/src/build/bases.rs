//! Base images: what the store knows of a name, and what a registry says where it knows nothing.
//!
//! A name is resolved while planning, because the plan needs the configuration; its layers are fetched
//! by the FROM step, beside other steps. Knows nothing of instructions.

use super::layout_base;
use super::steps::Done;
use super::{File, boxed, copy_step, host, store_error};
use crate::api::{BuildError, Request, Source};
use crate::digest::{ImageKey, LayerId, Sha256};
use crate::event::{Event, Sink};
use crate::image::config::ImageConfig;
use crate::plan::{Base, ImageNeed, KnownImage};
use crate::registry::{self, BlobSink, Client, Reference, Resolved};
use crate::snapshot::Snapshot;
use crate::store::adopt::Below;
use crate::store::{BlobRef, ImageLayerRef, ImageRecord, IndexRecord, Layer, Store, StoreError, now};
use crate::tree::archive::decompress;
use kiln_dsl::platform::Platform;
use std::collections::HashMap;
use std::fs::File as FsFile;
use std::io::{self, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How many layers of one image are fetched at once, as Docker does by default.
const LAYERS_AT_ONCE: usize = 3;

/// The bases of one build.
pub(crate) struct Bases<'a> {
    request: &'a Request,
    store: &'a Store,
    sink: &'a dyn Sink,
    file: &'a File,
    client: OnceLock<Client>,
    /// Images that are resolved and not yet fetched, by their place holder.
    pending: Mutex<HashMap<ImageKey, Arc<Pending>>>,
    /// Held while a name is given to an image.
    naming: Mutex<()>,
}

/// What the store has under a name.
enum Stored {
    /// The image for the platform.
    Known(Box<KnownImage>),
    /// Images for these platforms only.
    Other(Vec<String>),
    /// Nothing, or nothing whole.
    Nothing,
}

/// Why an image is not there for a platform, though its name is known.
#[derive(Debug, thiserror::Error)]
#[error("the store has it for {have}, not for {wanted}, and it could not be had elsewhere")]
pub(crate) struct OtherPlatform {
    have: String,
    wanted: String,
    #[source]
    source: Source,
}

impl OtherPlatform {
    /// The way out.
    pub fn advice(&self) -> String {
        let wanted = &self.wanted;
        format!(
            "give it one for {wanted} (kiln import --platform {wanted}), or write FROM --platform=$BUILDPLATFORM if the stage need not run there"
        )
    }
}

/// What a registry said, if one was asked.
fn registry_error<'e>(source: &'e (dyn std::error::Error + Send + Sync + 'static)) -> Option<&'e registry::Error> {
    match source.downcast_ref::<OtherPlatform>() {
        Some(other) => other.source.downcast_ref(),
        None => source.downcast_ref(),
    }
}

/// The platform of an image, where it is another one than `wanted`. One that says none is for all.
fn other_platform(config: &ImageConfig, wanted: &Platform) -> Option<String> {
    if config.architecture.is_empty() || config.os.is_empty() {
        return None;
    }
    let own = Platform::new(&config.os, &config.architecture, &config.variant);
    // Many images do not say their variant.
    let is_it =
        own.os == wanted.os && own.arch == wanted.arch && (own.variant == wanted.variant || config.variant.is_empty());
    (!is_it).then(|| own.to_string())
}

struct Pending {
    name: String,
    resolved: Resolved,
    need: ImageNeed,
}

impl<'a> Bases<'a> {
    pub fn new(request: &'a Request, store: &'a Store, sink: &'a dyn Sink, file: &'a File) -> Self {
        Bases {
            request,
            store,
            sink,
            file,
            client: OnceLock::new(),
            pending: Mutex::new(HashMap::new()),
            naming: Mutex::new(()),
        }
    }

    fn store_failed(&self, error: StoreError) -> BuildError {
        store_error(&self.request.store, error)
    }

    /// What is known of the image that `need` names.
    pub fn resolve(&self, need: &ImageNeed) -> Result<KnownImage, BuildError> {
        if need.name.starts_with(layout_base::SCHEME) {
            let key = layout_base::load(self.store, &need.name, &need.platform)
                .map_err(|error| self.pull_error(need, error))?;
            let lost = || self.lost(format!("image {key}"));
            return self.known_image(key)?.ok_or_else(lost);
        }
        let reference = Reference::parse(&need.name)
            .map_err(|error| BuildError::InvalidName { name: need.name.clone(), reason: error.to_string() })?;
        let name = reference.to_string();
        let stored = self.stored(&name, &need.platform)?;
        if !self.request.pull
            && let Stored::Known(known) = stored
        {
            return Ok(*known);
        }
        match (self.ask_registry(&reference, &name, need), stored) {
            // With --pull a name that only the store knows is still good: no registry has it.
            (Err(error), Stored::Known(known)) => {
                let message = format!("{}: {error}; the image in the store is used", reference.familiar());
                self.sink.emit(Event::Warning { message });
                Ok(*known)
            }
            (Err(BuildError::Pull { image, place, near, source }), Stored::Other(have)) => {
                let wanted = need.platform.to_string();
                let source = Box::new(OtherPlatform { have: have.join(", "), wanted, source });
                Err(BuildError::Pull { image, place, near, source })
            }
            (result, _) => result,
        }
    }

    /// The image that a name means where nobody else has to be asked.
    pub fn local(&self, name: &str, platform: &Platform) -> Option<ImageKey> {
        if name.starts_with(layout_base::SCHEME) {
            let key = layout_base::load(self.store, name, platform).ok()?;
            return self.known_image(key).ok()?.map(|known| known.key);
        }
        match self.stored(&Reference::parse(name).ok()?.to_string(), platform).ok()? {
            Stored::Known(known) => Some(known.key),
            Stored::Other(_) | Stored::Nothing => None,
        }
    }

    /// What names the image that `need` means, its layers included; `None` where its registry has no such image. It is
    /// looked for where a FROM looks.
    pub fn digest(&self, need: &ImageNeed) -> Result<Option<String>, BuildError> {
        let known = match self.resolve(need) {
            Err(BuildError::Pull { source, .. })
                if registry_error(&*source).is_some_and(registry::Error::is_not_found) =>
            {
                return Ok(None);
            }
            other => other?,
        };
        if let Some(pending) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).get(&known.key) {
            return Ok(Some(pending.resolved.config_digest.to_string()));
        }
        let record = self.store.db().image(known.key).map_err(|error| self.store_failed(error))?;
        // The configuration of an image that was never packed does not name its layers yet.
        let is_final = |record: &ImageRecord| record.layers.iter().all(|layer| layer.blob.is_some());
        let id = record.filter(is_final).and_then(|record| record.image_id);
        Ok(Some(id.map_or_else(|| known.key.to_string(), |id| id.to_string())))
    }

    /// What the store has under a name for a platform.
    fn stored(&self, name: &str, platform: &Platform) -> Result<Stored, BuildError> {
        let failed = |error| self.store_failed(error);
        let Some(key) = self.store.db().name(name).map_err(failed)? else { return Ok(Stored::Nothing) };
        if let Some(index) = self.store.db().index(key).map_err(failed)? {
            let Some(key) = index.image_for(platform) else {
                return Ok(Stored::Other(index.images.into_iter().map(|(platform, _)| platform).collect()));
            };
            return Ok(self.known_image(key)?.map_or(Stored::Nothing, |known| Stored::Known(Box::new(known))));
        }
        Ok(match self.known_image(key)? {
            None => Stored::Nothing,
            Some(known) => match other_platform(&known.config, platform) {
                None => Stored::Known(Box::new(known)),
                Some(other) => Stored::Other(vec![other]),
            },
        })
    }

    /// Gives what was pulled for a platform its name, beside what the name stands for on other platforms.
    fn put_name(&self, name: &str, key: ImageKey, platform: &Platform) -> Result<(), StoreError> {
        // Two platforms of one name may come at once, and what is not written yet is not read.
        let _one_at_a_time = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.flush()?;
        let db = self.store.db();
        let Some(old) = db.name(name)?.filter(|old| *old != key) else {
            return db.put_name(name, key);
        };
        let mut images = match (db.index(old)?, db.image(old)?) {
            (Some(index), _) => index.images,
            (None, Some(image)) => {
                let config = ImageConfig::read_base(&image.config).ok();
                let other = config.and_then(|config| other_platform(&config, platform));
                other.into_iter().map(|other| (other, old)).collect()
            }
            (None, None) => Vec::new(),
        };
        let own = platform.to_string();
        images.retain(|(other, _)| *other != own);
        if images.is_empty() {
            return db.put_name(name, key);
        }
        images.push((own, key));
        let index = db.put_index(&IndexRecord { images, created: now(), digest: None })?;
        db.put_name(name, index)
    }

    fn known_image(&self, key: ImageKey) -> Result<Option<KnownImage>, BuildError> {
        let failed = |error| self.store_failed(error);
        self.store.pin(key.as_bytes()).map_err(failed)?;
        let Some(image) = self.store.db().image(key).map_err(failed)? else { return Ok(None) };
        for layer in &image.layers {
            if self.store.layer(layer.id).map_err(failed)?.is_none() {
                return Ok(None);
            }
        }
        let config = ImageConfig::read_base(&image.config).map_err(|error| {
            failed(StoreError::Damaged { what: format!("the configuration of {key}"), detail: error.to_string() })
        })?;
        Ok(Some(KnownImage { key, config }))
    }

    fn client(&self) -> Result<&Client, BuildError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let failed = |error: registry::OptionsError| BuildError::Pull {
            image: "base images".to_owned(),
            place: None,
            near: None,
            source: boxed(error),
        };
        let client = Client::new(self.request.registry.clone()).map_err(failed)?;
        Ok(self.client.get_or_init(|| client))
    }

    fn pull_error(&self, need: &ImageNeed, error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
        BuildError::Pull {
            image: need.name.clone(),
            place: Some(self.file.place(need.span)),
            near: need.near.clone(),
            source: boxed(error),
        }
    }

    fn ask_registry(&self, reference: &Reference, name: &str, need: &ImageNeed) -> Result<KnownImage, BuildError> {
        let platform =
            registry::Platform::new(&need.platform.os, &need.platform.arch, need.platform.variant.as_deref());
        let resolved = self.client()?.resolve(reference, &platform).map_err(|error| self.pull_error(need, error))?;
        let memo = manifest_memo(resolved.manifest_digest);
        let failed = |error| self.store_failed(error);
        if let Some(key) = self.store.db().memo::<ImageKey>(&memo).map_err(failed)?
            && let Some(known) = self.known_image(key)?
        {
            if !matches!(self.stored(name, &need.platform)?, Stored::Known(other) if other.key == key) {
                self.put_name(name, key, &need.platform).map_err(failed)?;
            }
            return Ok(known);
        }
        let config = ImageConfig::read_base(&resolved.config).map_err(|error| self.pull_error(need, error))?;
        let key = ImageKey::from_bytes(memo);
        let pending = Pending { name: name.to_owned(), resolved, need: need.clone() };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(pending));
        Ok(KnownImage { key, config })
    }

    /// The base's result if nothing has to be fetched for it.
    pub fn known(&self, base: &Base) -> Result<Option<Done>, BuildError> {
        match base {
            Base::Scratch => Ok(Some(Done::empty())),
            Base::Host => Ok(Some(Done { snapshot: Snapshot::of([self.host()?]), ..Done::empty() })),
            Base::Image { key, .. } => {
                if self.pending.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key) {
                    return Ok(None);
                }
                self.done(*key).map(Some)
            }
        }
    }

    /// The host's own files.
    fn host(&self) -> Result<Arc<Layer>, BuildError> {
        let failed = |error| BuildError::Step { step: "FROM kiln/host".to_owned(), place: None, source: boxed(error) };
        host::layer(self.store).map_err(failed)
    }

    fn lost(&self, what: String) -> BuildError {
        self.store_failed(StoreError::Damaged { what, detail: "it is no longer there".to_owned() })
    }

    fn done(&self, key: ImageKey) -> Result<Done, BuildError> {
        let failed = |error| self.store_failed(error);
        let image = self.store.db().image(key).map_err(failed)?.ok_or_else(|| self.lost(format!("image {key}")))?;
        self.done_of(&image)
    }

    fn done_of(&self, image: &ImageRecord) -> Result<Done, BuildError> {
        let failed = |error| self.store_failed(error);
        // An image that was made on the host's files stands on them wherever it is used.
        let host = (!image.portable).then(|| self.host()).transpose()?;
        let own = image.layers.iter().map(|layer| {
            self.store.layer(layer.id).map_err(failed)?.ok_or_else(|| self.lost(format!("layer {}", layer.id)))
        });
        let layers = host.into_iter().map(Ok).chain(own).collect::<Result<Vec<Arc<Layer>>, BuildError>>()?;
        Ok(Done { snapshot: Snapshot::of(layers), base: image.layers.as_slice().into(), ..Done::empty() })
    }

    /// Fetches a base that [`Bases::known`] had no result for.
    pub fn fetch(&self, base: &Base) -> Result<Done, BuildError> {
        let Base::Image { key, .. } = base else {
            return self.known(base).map(|done| done.expect("only images have to be fetched"));
        };
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let Some(pending) = pending else { return self.done(*key) };
        let image = self.pull(&pending)?;
        let failed = |error| self.store_failed(error);
        let stored = self.store.db().put_image(&image).map_err(failed)?;
        self.store.db().put_memo(key.as_bytes(), &stored).map_err(failed)?;
        self.put_name(&pending.name, stored, &pending.need.platform).map_err(failed)?;
        let done = self.done_of_new(&image)?;
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(done)
    }

    /// As [`Bases::done_of`], after waiting for the layers to be recorded.
    fn done_of_new(&self, image: &ImageRecord) -> Result<Done, BuildError> {
        self.store.flush().map_err(|error| self.store_failed(error))?;
        self.done_of(image)
    }

    /// The layer that a fetched blob is, unpacked if it is not known yet.
    fn unpack(
        &self,
        pending: &Pending,
        layer: &registry::Layer,
        below: &[Sha256],
        snapshot: &Snapshot,
    ) -> Result<LayerId, BuildError> {
        let failed = |error| self.store_failed(error);
        if let Some(id) = self.store.layer_of_diff_id(layer.diff_id, below).map_err(failed)? {
            return Ok(id);
        }
        let fail = |error: Source| BuildError::Pull {
            image: pending.need.name.clone(),
            place: Some(self.file.place(pending.need.span)),
            near: None,
            source: error,
        };
        let file = FsFile::open(self.store.blob_path(layer.digest)).map_err(|error| fail(Box::new(error)))?;
        let (tar, _) = decompress(file).map_err(|error| fail(Box::new(error)))?;
        let lower = Below { diff_ids: below, lower: &copy_step::Below(snapshot) };
        let adopted = self.store.adopt_layer(tar, Some(layer.diff_id), lower).map_err(|error| fail(Box::new(error)))?;
        // The next layer is unpacked over this one, which has to be known by then.
        self.store.flush().map_err(failed)?;
        Ok(adopted.layer)
    }

    fn pull(&self, pending: &Pending) -> Result<ImageRecord, BuildError> {
        let Pending { resolved, need, .. } = pending;
        let fail = |error: registry::Error| self.pull_error(need, error);
        let open = |layer: &registry::Layer| -> io::Result<Option<Box<dyn BlobSink + '_>>> {
            if self.store.has_blob(layer.digest) {
                return Ok(None);
            }
            Ok(Some(Box::new(StoreSink::new(self.store, layer.digest)?)))
        };
        self.client()?
            .fetch_layers(&resolved.reference, &resolved.layers, LAYERS_AT_ONCE, &open, &|_, _| ())
            .map_err(fail)?;
        let mut layers = Vec::with_capacity(resolved.layers.len());
        let mut below: Vec<Sha256> = Vec::new();
        let mut snapshot = Snapshot::empty();
        for layer in &resolved.layers {
            let id = self.unpack(pending, layer, &below, &snapshot)?;
            let stored = self.store.layer(id).map_err(|error| self.store_failed(error))?;
            snapshot = match stored {
                Some(stored) => snapshot.with(stored),
                None => return Err(self.lost(format!("layer {id}"))),
            };
            below.push(layer.diff_id);
            let blob = BlobRef {
                diff_id: layer.diff_id,
                digest: layer.digest,
                size: layer.size,
                media_type: layer.media_type.clone(),
            };
            layers.push(ImageLayerRef { id, blob: Some(blob) });
        }
        Ok(ImageRecord {
            config: resolved.config.clone(),
            layers,
            created: now(),
            portable: true,
            image_id: Some(resolved.config_digest),
        })
    }
}

/// Under which an image is remembered by its manifest.
fn manifest_memo(manifest: Sha256) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("kiln manifest v1");
    hasher.update(manifest.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Takes a blob into the store: beside its place until it is whole and verified.
struct StoreSink<'a> {
    store: &'a Store,
    digest: Sha256,
    path: PathBuf,
    file: FsFile,
}

impl<'a> StoreSink<'a> {
    fn new(store: &'a Store, digest: Sha256) -> io::Result<Self> {
        let path = store.session().map_err(io::Error::other)?.unique("blob");
        let file = FsFile::create_new(&path)?;
        Ok(StoreSink { store, digest, path, file })
    }
}

impl BlobSink for StoreSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.store.adopt_blob(&self.path, self.digest).map_err(io::Error::other)
    }
}

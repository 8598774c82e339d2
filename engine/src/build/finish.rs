//! From the target's steps to an image: the configuration with its history, the names, and the forms in
//! which it leaves.
//!
//! A tar is packed only where an output, or somebody who asks for the OCI id, needs its digest; what was
//! packed is remembered by layer.

use super::steps::{Done, Steps};
use super::wanted::{self, Group};
use super::{boxed, store_error};
use crate::api::{Algorithm, BuildError, Built, Destination, Output, Request};
use crate::digest::{ImageKey, Sha256};
use crate::image::config::ImageConfig;
use crate::image::layer::{self, ImageLayer, LayerCompression, LayerOptions, PackedLayer};
use crate::image::manifest::Assembled;
use crate::image::output::archive::{self, Content};
use crate::image::output::{self, rootfs};
use crate::image::reference::Tagged;
use crate::image::time::Timestamp;
use crate::plan::{Plan, Target};
use crate::registry::Reference;
use crate::store::{BlobRef, ImageLayerRef, ImageRecord, IndexRecord, Layer, Store, StoreError, Used, now};
use crate::tree::pack::PackOptions;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// The label of an image that stands on the host's own files.
const PORTABLE_LABEL: &str = "kiln.portable";

/// An image that may have to be packed.
struct Packing<'a> {
    request: &'a Request,
    store: &'a Store,
    config: ImageConfig,
    layers: Vec<(Arc<Layer>, ImageLayerRef)>,
    options: PackOptions,
}

/// One image of a result: what the store keeps of it, and how it is packed.
struct Member<'a> {
    /// The platform that was asked for.
    platform: String,
    key: ImageKey,
    record: ImageRecord,
    /// What the store knows of it already.
    known: Option<ImageRecord>,
    packing: Packing<'a>,
}

/// A result with its images.
struct Whole<'a> {
    group: &'a Group,
    /// Whether it is an index, even of one image.
    is_index: bool,
    members: Vec<Member<'a>>,
    names: Vec<(Tagged, String)>,
    /// The image id, or the digest of the index.
    id: Option<Sha256>,
    /// The digest of the manifest or the index.
    manifest: Option<Sha256>,
}

/// Makes the images, names them, and writes the outputs.
pub(crate) fn finish(
    request: &Request,
    store: &Store,
    (plan, groups): (&Plan, &[Group]),
    steps: &Steps<'_>,
) -> Result<Vec<Built>, BuildError> {
    let targets = wanted::targets(request);
    let mut all = Vec::with_capacity(groups.len());
    for group in groups {
        let tags = targets[group.target].tags.iter().chain(&request.tags);
        let names = canonical_names(tags)?;
        let members = group.members.iter().map(|&member| Member::of(request, store, &plan.results[member], steps));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let is_index = plan.is_multi && (members.len() > 1 || wanted::looks_multi(request));
        all.push(Whole { group, is_index, members, names, id: None, manifest: None });
    }
    let is_one = all.len() == 1;
    for whole in &mut all {
        for output in targets[whole.group.target].outputs.iter() {
            whole.write(output, None)?;
        }
        let title = (!is_one).then(|| whole.group.name.clone());
        for output in &request.outputs {
            whole.write(output, title.as_deref())?;
        }
    }
    all.into_iter().map(|whole| whole.keep(request, store)).collect()
}

/// Whether an image stands on the host's own files, by its own FROM or that of the image it is made of.
fn is_on_host(target: &Target, steps: &Steps<'_>) -> bool {
    let done = target.node.and_then(|node| steps.result(node));
    done.is_some_and(|done| done.snapshot.has_host())
}

impl<'a> Member<'a> {
    fn of(request: &'a Request, store: &'a Store, target: &Target, steps: &Steps<'_>) -> Result<Self, BuildError> {
        let failed = |error: StoreError| store_error(&request.store, error);
        let config = config(request, store, target, steps).map_err(failed)?;
        let done = target.node.and_then(|node| steps.result(node));
        let layers = done.map(Done::image_layers).unwrap_or_default();
        let mut record = ImageRecord {
            config: config.to_json(),
            layers: layers.iter().map(|(_, known)| known.clone()).collect(),
            created: now(),
            portable: !is_on_host(target, steps),
            image_id: None,
        };
        let key = record.key();
        store.pin(key.as_bytes()).map_err(failed)?;
        let known = store.db().image(key).map_err(failed)?;
        record.image_id = known.as_ref().and_then(|known| known.image_id);
        let options = PackOptions { clamp: request.source_date_epoch };
        let packing = Packing { request, store, config, layers, options };
        Ok(Member { platform: target.built_for.to_string(), key, record, known, packing })
    }

    /// The image id, computed once and remembered.
    fn id(&mut self) -> Result<Sha256, BuildError> {
        match self.record.image_id {
            Some(id) => Ok(id),
            None => Ok(*self.record.image_id.insert(self.packing.image_id()?)),
        }
    }
}

impl Whole<'_> {
    /// All images with their blobs, as one thing that has a digest.
    fn content(
        &mut self,
        compression: LayerCompression,
        dest: &str,
        title: Option<&str>,
    ) -> Result<Content, BuildError> {
        let names: Vec<Tagged> = self.names.iter().map(|(tagged, _)| tagged.clone()).collect();
        let mut images = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let image = member.packing.assemble(compression, dest)?;
            member.record.image_id = member.record.image_id.or(Some(image.id()));
            images.push(image);
        }
        let content = match self.is_index {
            true => Content::index(images, &names),
            false => Content::image(images.remove(0), &names),
        };
        let content = content.titled(title.map(str::to_owned));
        self.id = self.id.or(Some(content.id()));
        self.manifest = Some(content.digest());
        Ok(content)
    }

    /// Writes one output. With a title there are other results beside this one, and it keeps apart from them.
    fn write(&mut self, output: &Output, title: Option<&str>) -> Result<(), BuildError> {
        let failed =
            |dest: &str, error: output::Error| BuildError::Export { dest: dest.to_owned(), source: boxed(error) };
        match output {
            Output::Oci { dest, tar, compression } => {
                let shown = shown(dest);
                let chosen = match compression.algorithm {
                    Algorithm::None => LayerCompression::Uncompressed,
                    Algorithm::Gzip => LayerCompression::default(),
                    Algorithm::Zstd => LayerCompression::parse("zstd").unwrap_or_default(),
                };
                let chosen = compression.level.map_or(chosen, |level| chosen.with_level(level));
                let content = self.content(chosen, &shown, title)?;
                match (tar, dest) {
                    (false, Destination::Path(dir)) => archive::write_oci_dir(&content, dir),
                    _ => write_to(dest, |out| archive::write_oci_tar(&content, out)),
                }
                .map_err(|error| failed(&shown, error))
            }
            Output::Docker { dest } => {
                let shown = shown(dest);
                // `docker load` unpacks at once: compressing for it would only cost time twice.
                let content = self.content(LayerCompression::Uncompressed, &shown, title)?;
                write_to(dest, |out| archive::write_docker_tar(&content, out)).map_err(|error| failed(&shown, error))
            }
            Output::Tar { dest } => {
                let shown = shown(dest);
                let options = self.members[0].packing.options;
                let roots = self.roots()?;
                let written = match (self.is_index, roots.as_slice()) {
                    (false, [(_, layers)]) => write_to(dest, |out| rootfs::write_tar(layers, &options, out)),
                    _ => write_to(dest, |out| rootfs::write_tar_of(&roots, &options, out)),
                };
                written.map_err(|error| failed(&shown, error))
            }
            Output::Local { dest } => {
                let top = title.map_or_else(|| dest.clone(), |title| dest.join(title.replace('/', "_")));
                for (dir, layers) in self.roots()? {
                    let dest = if self.is_index { top.join(dir) } else { top.clone() };
                    rootfs::write_local(&layers, &dest).map_err(|error| failed(&dest.display().to_string(), error))?;
                }
                Ok(())
            }
        }
    }

    /// The files of each image, by the directory that they have where there are several.
    fn roots(&self) -> Result<Vec<(String, Vec<ImageLayer<'_>>)>, BuildError> {
        let root = |member: &'_ Member<'_>| rootfs::platform_dir(&member.platform);
        self.members.iter().map(|member| Ok((root(member), member.packing.image_layers()?))).collect()
    }

    /// Keeps what was built in the store, under its names.
    fn keep(mut self, request: &Request, store: &Store) -> Result<Built, BuildError> {
        let failed = |error: StoreError| store_error(&request.store, error);
        if !self.is_index && (request.want_image_id || self.members[0].record.image_id.is_some()) {
            self.id = Some(self.members[0].id()?);
        }
        if self.is_index && request.want_image_id && self.id.is_none() {
            // The digest that an OCI layout would have it under.
            self.content(LayerCompression::default(), "the image id", None)?;
        }
        for member in &self.members {
            if member.known.as_ref().is_none_or(|known| known.image_id != member.record.image_id) {
                store.db().put_image(&member.record).map_err(failed)?;
            }
        }
        let images: Vec<(String, ImageKey)> =
            self.members.iter().map(|member| (member.platform.clone(), member.key)).collect();
        let key = match self.is_index {
            false => images[0].1,
            true => {
                let index = IndexRecord { images: images.clone(), created: now(), digest: self.id };
                let key = index.key();
                store.pin(key.as_bytes()).map_err(failed)?;
                let known = store.db().index(key).map_err(failed)?;
                self.id = self.id.or(known.as_ref().and_then(|known| known.digest));
                if known.is_none_or(|known| known.digest != self.id) {
                    store.db().put_index(&IndexRecord { digest: self.id, ..index }).map_err(failed)?;
                }
                key
            }
        };
        for (_, name) in &self.names {
            if store.db().name(name).map_err(failed)? != Some(key) {
                store.db().put_name(name, key).map_err(failed)?;
            }
        }
        Ok(Built {
            name: self.group.name.clone(),
            image: key,
            image_id: self.id,
            manifest: self.manifest,
            names: self.names.into_iter().map(|(_, name)| name).collect(),
            images,
        })
    }
}

/// That all names that are asked for are some: known before anything runs.
pub(crate) fn check_names(request: &Request) -> Result<(), BuildError> {
    let own = request.targets.iter().flat_map(|target| &target.tags);
    canonical_names(request.tags.iter().chain(own)).map(drop)
}

/// The tags as archives write them, and as the store keeps them.
fn canonical_names<'t>(tags: impl Iterator<Item = &'t String>) -> Result<Vec<(Tagged, String)>, BuildError> {
    let name = |text: &String| {
        let invalid = |reason: String| BuildError::InvalidName { name: text.clone(), reason };
        let reference = Reference::parse(text).map_err(|error| invalid(error.to_string()))?;
        let tagged = Tagged::parse(text).map_err(|error| invalid(error.reason.to_owned()))?;
        Ok((tagged, reference.to_string()))
    };
    tags.map(name).collect()
}

fn time_of(nanos: i64) -> Timestamp {
    Timestamp::new(nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000) as u32)
}

/// The target's configuration with the times of this build's layers.
fn config(request: &Request, store: &Store, target: &Target, steps: &Steps<'_>) -> Result<ImageConfig, StoreError> {
    let mut config = target.config.clone();
    config.rootfs.diff_ids.clear();
    if is_on_host(target, steps) {
        config.config.labels.insert(PORTABLE_LABEL.to_owned(), "false".to_owned());
    }
    let first = config.history.len() - target.made_by.len();
    for (entry, made_by) in config.history[first..].iter_mut().zip(&target.made_by) {
        let done = made_by.and_then(|node| steps.result(node));
        entry.created = done.map(|done| time_of(done.created_nanos));
        // A merge knows only once it is done whether it has a layer.
        entry.empty_layer |= done.is_some_and(|done| !done.has_layer);
    }
    if let Some(epoch) = request.source_date_epoch {
        for entry in &mut config.history[first..] {
            entry.created = Some(Timestamp::new(epoch, 0));
        }
        config.complete_times();
        config.clamp_times(epoch);
        return Ok(config);
    }
    if config.history.iter().all(|entry| entry.created.is_none()) {
        // Nothing in the image has a time. The first build's stays, so that the same build is the same image.
        let mut hasher = blake3::Hasher::new_derive_key("kiln image time v1");
        hasher.update(&config.to_json());
        let question = *hasher.finalize().as_bytes();
        let nanos = match store.db().memo::<i64>(&question)? {
            Some(nanos) => nanos,
            None => {
                let nanos = super::steps::nanos_now();
                store.db().put_memo(&question, &nanos)?;
                nanos
            }
        };
        for entry in &mut config.history {
            entry.created = Some(time_of(nanos));
        }
        config.created = Some(time_of(nanos));
    }
    config.complete_times();
    Ok(config)
}

impl Packing<'_> {
    fn failed(&self, error: StoreError) -> BuildError {
        store_error(&self.request.store, error)
    }

    fn export_failed(&self, dest: &str, error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
        BuildError::Export { dest: dest.to_owned(), source: boxed(error) }
    }

    /// Under which a packed layer is remembered: what its bytes depend on beside the tree.
    fn variant(&self, compression: Option<LayerCompression>) -> Vec<u8> {
        format!("{:?} {compression:?}", self.options.clamp).into_bytes()
    }

    fn image_layer<'l>(&self, layer: &'l Layer, known: &ImageLayerRef) -> Result<ImageLayer<'l>, StoreError> {
        let blob = known.blob.as_ref().filter(|blob| self.store.has_blob(blob.digest)).map(|blob| self.packed(blob));
        Ok(ImageLayer {
            entries: layer.tree()?.entries(),
            open: Box::new(|path| layer.open(path)),
            diff_id: None,
            blob,
        })
    }

    fn packed(&self, blob: &BlobRef) -> PackedLayer {
        PackedLayer {
            diff_id: blob.diff_id,
            path: self.store.blob_path(blob.digest),
            digest: blob.digest,
            size: blob.size,
            media_type: blob.media_type.clone(),
        }
    }

    /// The OCI image id: each layer that is not known is packed once, and goes nowhere.
    fn image_id(&self) -> Result<Sha256, BuildError> {
        let ids: Vec<Result<Sha256, BuildError>> = self
            .layers
            .par_iter()
            .map(|(layer, known)| {
                if let Some(blob) = &known.blob {
                    return Ok(blob.diff_id);
                }
                let variant = self.variant(None);
                if let Some(blob) = self.store.db().packed(layer.id(), &variant).map_err(|error| self.failed(error))? {
                    return Ok(blob.diff_id);
                }
                let image_layer = self.image_layer(layer, known).map_err(|error| self.failed(error))?;
                let diff_id = layer::diff_id(&image_layer, &self.options)
                    .map_err(|error| self.export_failed("the image id", error))?;
                self.remember(layer, &variant, diff_id, None)?;
                Ok(diff_id)
            })
            .collect();
        let ids: Vec<Sha256> = ids.into_iter().collect::<Result<_, _>>()?;
        Ok(crate::image::manifest::image_id(&self.config, &ids))
    }

    fn remember(
        &self,
        layer: &Layer,
        variant: &[u8],
        diff_id: Sha256,
        packed: Option<&PackedLayer>,
    ) -> Result<(), BuildError> {
        let blob = match packed {
            Some(packed) => {
                BlobRef { diff_id, digest: packed.digest, size: packed.size, media_type: packed.media_type.clone() }
            }
            None => BlobRef { diff_id, digest: diff_id, size: 0, media_type: String::new() },
        };
        self.store.db().put_packed(layer.id(), variant, &blob).map_err(|error| self.failed(error))
    }

    /// The image with all its layers as blobs of the store.
    fn assemble(&self, compression: LayerCompression, dest: &str) -> Result<Assembled, BuildError> {
        let dir = self.store.directory("blobs");
        let options = LayerOptions { compression, pack: self.options };
        let packed: Vec<Result<PackedLayer, BuildError>> = self
            .layers
            .par_iter()
            .map(|(layer, known)| {
                let variant = self.variant(Some(compression));
                let earlier = self.store.db().packed(layer.id(), &variant).map_err(|error| self.failed(error))?;
                if let Some(blob) = earlier.filter(|blob| known.blob.is_none() && self.store.has_blob(blob.digest)) {
                    self.store.db().mark_used(Used::Blob(blob.digest)).map_err(|error| self.failed(error))?;
                    return Ok(self.packed(&blob));
                }
                let image_layer = self.image_layer(layer, known).map_err(|error| self.failed(error))?;
                let packed =
                    layer::pack_layer(&image_layer, &options, &dir).map_err(|error| self.export_failed(dest, error))?;
                if known.blob.is_none() {
                    self.remember(layer, &variant, packed.diff_id, Some(&packed))?;
                    self.remember(layer, &self.variant(None), packed.diff_id, None)?;
                }
                Ok(packed)
            })
            .collect();
        let packed = packed.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Assembled::new(&self.config, packed, &BTreeMap::new()))
    }

    fn image_layers(&self) -> Result<Vec<ImageLayer<'_>>, BuildError> {
        let all: Result<Vec<_>, StoreError> =
            self.layers.iter().map(|(layer, known)| self.image_layer(layer, known)).collect();
        all.map_err(|error| self.failed(error))
    }
}

fn shown(dest: &Destination) -> String {
    match dest {
        Destination::Stdout => "standard output".to_owned(),
        Destination::Path(path) => path.display().to_string(),
    }
}

fn write_to(
    dest: &Destination,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), output::Error>,
) -> Result<(), output::Error> {
    match dest {
        Destination::Path(path) => output::write_file(path, fill),
        Destination::Stdout => {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            fill(&mut out)?;
            out.flush().map_err(output::Error::Stream)
        }
    }
}

//! From a name to one image: its manifest for the wanted platform, its configuration, the list of its layers.
//!
//! Every document is checked against the digest that led to it before anything in it is believed.

use super::{
    Client, Error, Warning,
    blob::MemorySink,
    error::Kind,
    manifest::{self, Compression, Descriptor, Entry, Manifest},
    platform::{self, Platform},
    reference::Reference,
    source::{Ask, Source},
    suggest,
};
use crate::digest::Sha256;

/// Largest manifest or index: what registries commonly accept.
const MANIFEST_MAX_BYTES: u64 = 4 << 20;
/// Largest configuration. Histories of hundreds of steps take some hundred kilobytes.
const CONFIG_MAX_BYTES: u64 = 8 << 20;
/// Largest list of tags that is read for a suggestion.
const TAGS_MAX_BYTES: u64 = 1 << 20;
/// How deep indexes may lie in indexes.
const INDEX_DEPTH_MAX: usize = 4;

/// A layer as a registry has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layer {
    /// Of the bytes as they are transferred.
    pub digest: Sha256,
    /// How many bytes are transferred.
    pub size: u64,
    /// What they are.
    pub media_type: String,
    /// How the tar is packed.
    pub compression: Compression,
    /// Of the tar itself.
    pub diff_id: Sha256,
    /// Where else it can be had; see [`Descriptor::urls`].
    pub urls: Vec<String>,
}

impl Layer {
    /// What [`Client::fetch_blob`] fetches.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            digest: self.digest,
            size: self.size,
            media_type: self.media_type.clone(),
            urls: self.urls.clone(),
        }
    }
}

/// An image that a name leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The name that was asked for.
    pub reference: Reference,
    /// Of the image's manifest.
    pub manifest_digest: Sha256,
    /// Of the index that the name leads to, where it leads to one: what a digest in a Dockerfile pins.
    pub index_digest: Option<Sha256>,
    /// The manifest as it was sent.
    pub manifest: Vec<u8>,
    /// The manifest's.
    pub media_type: String,
    /// Of the configuration: Docker's image id.
    pub config_digest: Sha256,
    /// The configuration as it was sent.
    pub config: Vec<u8>,
    /// What the configuration says it is for; what was asked for, where it says nothing.
    pub platform: Platform,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

/// A document and who it is.
struct Document {
    bytes: Vec<u8>,
    digest: Sha256,
    content_type: String,
}

impl Client {
    /// Finds the image that a name means on a platform.
    ///
    /// Mirrors are asked first. Of an index the best entry for the platform is taken; an image that is there for one
    /// platform only is taken with a warning if that is another one, as Docker does.
    ///
    /// # Errors
    /// What the registry itself said, with what its mirrors said before it.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Resolved, Error> {
        let resolved = self.try_sources(reference, |source| self.resolve_at(source, reference, platform))?;
        if resolved.platform.os() != platform.os() || resolved.platform.arch() != platform.arch() {
            self.warn(&Warning::Platform {
                reference: reference.familiar(),
                wanted: platform.to_string(),
                found: resolved.platform.to_string(),
            });
        }
        Ok(resolved)
    }

    fn resolve_at(&self, source: &Source, reference: &Reference, platform: &Platform) -> Result<Resolved, Kind> {
        let repository = reference.repository();
        let mut document = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => self.manifest(source, repository, &digest.to_string(), Some(digest))?,
            (None, tag) => {
                let tag = tag.unwrap_or("latest");
                self.manifest(source, repository, tag, None)
                    .map_err(|kind| self.with_similar(source, reference, kind))?
            }
        };
        let mut index_digest = None;
        for _ in 0..INDEX_DEPTH_MAX {
            match manifest::parse(&document.bytes, &document.content_type)? {
                (Manifest::Image { config, layers }, media_type) => {
                    let (config_bytes, parsed) = self.config(source, repository, &config)?;
                    let layers = join(layers, &parsed.diff_ids)?;
                    return Ok(Resolved {
                        reference: reference.clone(),
                        manifest_digest: document.digest,
                        index_digest,
                        manifest: document.bytes,
                        media_type,
                        config_digest: config.digest,
                        config: config_bytes,
                        platform: parsed.platform.unwrap_or_else(|| platform.clone()),
                        layers,
                    });
                }
                (Manifest::Index(entries), _) => {
                    index_digest = index_digest.or(Some(document.digest));
                    let entry = choose(&entries, platform)?;
                    let digest = entry.descriptor.digest;
                    document = self.manifest(source, repository, &digest.to_string(), Some(digest))?;
                    let actual = document.bytes.len() as u64;
                    if actual != entry.descriptor.size {
                        let what = format!("the manifest {digest}");
                        return Err(Kind::Size { what, expected: entry.descriptor.size, actual });
                    }
                }
            }
        }
        let detail = format!("more than {INDEX_DEPTH_MAX} indexes lie in each other");
        Err(Kind::Malformed { what: "the index".to_owned(), detail })
    }

    /// Fetches a manifest by tag or digest.
    fn manifest(
        &self,
        source: &Source,
        repository: &str,
        name: &str,
        expected: Option<Sha256>,
    ) -> Result<Document, Kind> {
        let what = match expected {
            Some(_) => format!("the manifest {name}"),
            None => format!("tag {name:?} of {repository}"),
        };
        let (path, headers) = (format!("manifests/{name}"), [("accept", manifest::ACCEPT)]);
        let ask = Ask { repository, path: &path, headers: &headers, what: &what, also: &[] };
        let (bytes, header, content_type) = self.small(source, &ask, MANIFEST_MAX_BYTES)?;
        let digest = Sha256::of(&bytes);
        // A header with another algorithm's digest proves nothing here and is left alone.
        let stated = header.as_deref().filter(|text| text.starts_with("sha256:")).map(|text| {
            let detail = "its Docker-Content-Digest is not a digest".to_owned();
            Sha256::parse(text).ok_or(Kind::Malformed { what: what.clone(), detail })
        });
        for expected in [expected, stated.transpose()?].into_iter().flatten() {
            if expected != digest {
                return Err(Kind::Digest { what, expected, actual: digest });
            }
        }
        Ok(Document { bytes, digest, content_type })
    }

    /// Fetches something that is held in memory: its bytes, its digest header, its type.
    fn small(&self, source: &Source, ask: &Ask<'_>, limit: u64) -> Result<(Vec<u8>, Option<String>, String), Kind> {
        let retry = self.retry_for(source);
        let mut failures = 0;
        loop {
            let mut answer = self.ask(source, ask)?;
            let text = |name: &str| answer.header(name).map(str::to_owned);
            let (digest, content_type) = (text("docker-content-digest"), text("content-type").unwrap_or_default());
            match answer.body.read_all(limit) {
                Ok(Some(bytes)) => return Ok((bytes, digest, content_type)),
                Ok(None) => return Err(Kind::TooLarge { what: ask.what.to_owned(), limit }),
                Err(kind) => {
                    failures += 1;
                    std::thread::sleep(retry.delay(failures, None).ok_or(kind)?);
                }
            }
        }
    }

    fn config(
        &self,
        source: &Source,
        repository: &str,
        config: &Descriptor,
    ) -> Result<(Vec<u8>, manifest::Config), Kind> {
        if config.size > CONFIG_MAX_BYTES {
            return Err(Kind::TooLarge { what: "the image's config".to_owned(), limit: CONFIG_MAX_BYTES });
        }
        let mut sink = MemorySink::default();
        self.transfer(source, repository, config, &mut sink, &|_| ())?;
        let parsed = manifest::parse_config(&sink.bytes)?;
        Ok((sink.bytes, parsed))
    }

    /// Adds the tags that look like the one that is not there. Help only: nothing goes wrong when there are none.
    fn with_similar(&self, source: &Source, reference: &Reference, kind: Kind) -> Kind {
        let (Kind::NotFound { what, detail, .. }, Some(tag), false) = (&kind, reference.tag(), source.is_mirror())
        else {
            return kind;
        };
        let ask = Ask { repository: reference.repository(), path: "tags/list", headers: &[], what: "tags", also: &[] };
        let Ok((bytes, ..)) = self.small(source, &ask, TAGS_MAX_BYTES) else {
            return kind;
        };
        let name = reference.familiar();
        let name = name.strip_suffix(tag).unwrap_or(&name);
        let tags = suggest::parse_tags(&bytes);
        let similar = suggest::similar(tag, &tags).into_iter().map(|other| format!("{name}{other}")).collect();
        Kind::NotFound { what: what.clone(), detail: detail.clone(), similar }
    }
}

fn choose<'a>(entries: &'a [Entry], platform: &Platform) -> Result<&'a Entry, Kind> {
    let best = platform::best(platform, entries.iter().map(|entry| entry.platform.as_ref()));
    best.and_then(|place| entries.get(place)).ok_or_else(|| {
        let mut available: Vec<String> =
            entries.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
        available.sort();
        available.dedup();
        Kind::NoPlatform { wanted: platform.to_string(), available }
    })
}

/// Layers of the manifest with the diff ids of the configuration: there is one of each for each.
fn join(layers: Vec<(Descriptor, Compression)>, diff_ids: &[Sha256]) -> Result<Vec<Layer>, Kind> {
    if layers.len() != diff_ids.len() {
        let detail = format!("the manifest has {} layers, the config {}", layers.len(), diff_ids.len());
        return Err(Kind::Malformed { what: "the image".to_owned(), detail });
    }
    let one = |((descriptor, compression), diff_id): ((Descriptor, Compression), &Sha256)| Layer {
        digest: descriptor.digest,
        size: descriptor.size,
        media_type: descriptor.media_type,
        compression,
        diff_id: *diff_id,
        urls: descriptor.urls,
    };
    Ok(layers.into_iter().zip(diff_ids).map(one).collect())
}

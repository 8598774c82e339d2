//! A check of everything in the store against its digests, and the removal of what is damaged.
//!
//! Every file of every layer is read again. What running builds use at the moment is checked too, and only
//! not removed.

mod layer;

use crate::api::{FsckReport, ManageError, Problem};
use crate::digest::{ImageKey, LayerId, Sha256};
use crate::store::db::LayerMeta;
use crate::store::{Pins, Store, StoreError, io_at};
use crate::tree::{Tree, codec};
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What a problem's removal takes: the next build makes it again.
enum Damage {
    /// The layer, with everything that has it.
    Layer(LayerId, Vec<LayerId>),
    Listing(LayerId),
    Blob(Sha256),
    Record(crate::digest::KeyId),
    /// With its names.
    Image(crate::digest::ImageKey),
    Name(String),
}

struct Found {
    name: String,
    message: String,
    damage: Damage,
}

/// Reads everything in the store at `store` again. With `repair`, what is damaged is removed, and what
/// refers to it: the next build makes it again.
///
/// # Errors
/// The store cannot be read, or a repair not be written.
pub fn fsck(store: &Path, repair: bool) -> Result<FsckReport, ManageError> {
    let failed = super::store_failed(store);
    let Some(store) = super::open(store)? else { return Ok(FsckReport::default()) };
    check(&store, repair).map_err(failed)
}

fn check(store: &Store, repair: bool) -> Result<FsckReport, StoreError> {
    let layers = store.db().layers()?;
    let records = store.db().records()?;
    let images = store.db().images()?;
    let mut found = listings(store)?;
    let broken: HashSet<LayerId> =
        found.iter().filter_map(|one| if let Damage::Listing(id) = one.damage { Some(id) } else { None }).collect();
    found.retain(|one| !matches!(one.damage, Damage::Listing(id) if layers.iter().any(|(other, _)| *other == id)));
    found.extend(check_layers(store, &layers, &broken)?);
    let bad: HashSet<LayerId> =
        found.iter().filter_map(|one| if let Damage::Layer(id, _) = one.damage { Some(id) } else { None }).collect();
    let known: HashSet<LayerId> = layers.iter().map(|(id, _)| *id).collect();
    let lost = |id: &LayerId| match (known.contains(id), bad.contains(id)) {
        (false, _) => Some("is not in the store"),
        (true, true) => Some("is damaged"),
        (true, false) => None,
    };
    let (blobs, damaged_blobs) = check_blobs(store)?;
    found.extend(damaged_blobs);
    for (key, record) in &records {
        if let Some(how) = lost(&record.layer) {
            let message = format!("its layer {} {how} ({})", record.layer, record.name);
            found.push(Found { name: format!("record {key}"), message, damage: Damage::Record(*key) });
        }
    }
    let mut broken_images = HashSet::new();
    for (key, image) in &images {
        if let Some((layer, how)) = image.layers.iter().find_map(|layer| Some((layer.id, lost(&layer.id)?))) {
            let message = format!("its layer {layer} {how}");
            found.push(Found { name: format!("image {key}"), message, damage: Damage::Image(*key) });
            broken_images.insert(*key);
        }
    }
    let indexes = store.db().indexes()?;
    for (key, index) in &indexes {
        let is_there = |image: &ImageKey| images.iter().any(|(other, _)| other == image);
        if let Some((platform, image)) = index.images.iter().find(|(_, image)| !is_there(image)) {
            let message = format!("its image {image} for {platform} is not in the store");
            found.push(Found { name: format!("index {key}"), message, damage: Damage::Image(*key) });
        }
    }
    for (name, key) in store.db().names()? {
        let is_known = images.iter().any(|(other, _)| *other == key) || indexes.iter().any(|(other, _)| *other == key);
        if !is_known {
            let message = format!("its image {key} is not in the store");
            found.push(Found { name: name.clone(), message, damage: Damage::Name(name) });
        }
    }
    let mut problems = Vec::with_capacity(found.len());
    let pins = Pins::open(store.root())?;
    for Found { name, mut message, damage } in found {
        let repaired = repair && put_right(store, &pins, &damage)?;
        if repair && !repaired {
            message.push_str("; in use by a running build");
        }
        problems.push(Problem { name, message, repaired });
    }
    store.flush()?;
    Ok(FsckReport {
        images: images.len() as u64,
        layers: layers.len() as u64,
        records: records.len() as u64,
        blobs,
        problems,
    })
}

/// The listings that do not have the digest that is their name.
fn listings(store: &Store) -> Result<Vec<Found>, StoreError> {
    let problem = |path: PathBuf| -> Option<Found> {
        let id = LayerId::from_hex(path.file_name()?.to_str()?)?;
        let message = match read_listing(&path)? {
            Ok(tree) if tree.id() == id => return None,
            Ok(_) => "its content does not have its digest".to_owned(),
            Err(message) => message,
        };
        Some(Found { name: format!("trees/{}", id.to_hex()), message, damage: Damage::Listing(id) })
    };
    Ok(paths_in(&store.directory("trees"))?.into_par_iter().filter_map(problem).collect())
}

/// A listing; `None` where it is not there.
fn read_listing(path: &Path) -> Option<Result<Tree, String>> {
    match fs::read(path) {
        Ok(data) => Some(codec::decode(&data).map_err(|error| error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("it cannot be read: {error}"))),
    }
}

fn paths_in(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = fs::read_dir(dir).map_err(io_at("failed to list", dir))?;
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
}

fn check_layers(
    store: &Store,
    layers: &[(LayerId, LayerMeta)],
    broken: &HashSet<LayerId>,
) -> Result<Vec<Found>, StoreError> {
    let check = |(id, meta): &(LayerId, LayerMeta)| -> Result<Option<Found>, StoreError> {
        let dirs: Vec<PathBuf> = meta.dirs.iter().map(|dir| store.directory("layers").join(dir.to_hex())).collect();
        let own: Vec<LayerId> = meta.dirs.clone();
        let bad = |message: String| {
            Ok(Some(Found { name: format!("layer {id}"), message, damage: Damage::Layer(*id, own.clone()) }))
        };
        if broken.contains(id) {
            return bad("its listing does not have its digest".to_owned());
        }
        store.pin(id.as_bytes())?;
        if store.db().layer(*id)?.is_none() {
            // Collected meanwhile.
            return Ok(None);
        }
        match read_listing(&store.directory("trees").join(id.to_hex())) {
            None => bad("its listing is missing".to_owned()),
            Some(Err(message)) => bad(format!("its listing is damaged: {message}")),
            Some(Ok(tree)) => match layer::difference(&dirs, &tree) {
                Some(message) => bad(message),
                None => Ok(None),
            },
        }
    };
    // Each walk uses all threads for itself.
    let found: Vec<Option<Found>> = layers.iter().map(check).collect::<Result<_, _>>()?;
    store.release_pins()?;
    Ok(found.into_iter().flatten().collect())
}

/// How many blobs there are, and those that do not have the digest that is their name.
fn check_blobs(store: &Store) -> Result<(u64, Vec<Found>), StoreError> {
    let blobs: Vec<(Sha256, PathBuf)> = paths_in(&store.directory("blobs"))?
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            Some((Sha256::parse(&format!("sha256:{name}"))?, path))
        })
        .collect();
    let problem = |(digest, path): &(Sha256, PathBuf)| -> Option<Found> {
        let message = match sha256_of(path) {
            Ok(actual) if actual == *digest => return None,
            Ok(_) => "its content does not have its digest".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => format!("it cannot be read: {error}"),
        };
        Some(Found { name: format!("blob {digest}"), message, damage: Damage::Blob(*digest) })
    };
    Ok((blobs.len() as u64, blobs.par_iter().filter_map(problem).collect()))
}

fn sha256_of(path: &Path) -> io::Result<Sha256> {
    use sha2::Digest as _;
    /// Large enough that system calls do not count.
    const BUFFER_BYTES: usize = 256 << 10;
    let mut file = fs::File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256::from_bytes(hasher.finalize().into())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Removes what is damaged, unless somebody uses it; says whether it did.
fn put_right(store: &Store, pins: &Pins, damage: &Damage) -> Result<bool, StoreError> {
    let digest: Option<[u8; 32]> = match damage {
        Damage::Layer(id, _) | Damage::Listing(id) => Some(*id.as_bytes()),
        Damage::Blob(digest) => Some(*digest.as_bytes()),
        Damage::Image(key) => Some(*key.as_bytes()),
        Damage::Record(_) | Damage::Name(_) => None,
    };
    if let Some(digest) = &digest
        && !pins.take(digest)?
    {
        return Ok(false);
    }
    let done = remove(store, damage);
    if let Some(digest) = &digest {
        pins.give_back(digest)?;
    }
    done.map(|()| true)
}

fn remove(store: &Store, damage: &Damage) -> Result<(), StoreError> {
    let db = store.db();
    match damage {
        Damage::Layer(id, dirs) => {
            db.remove_layer(*id)?;
            for ((layer, variant), _) in db.all_packed()? {
                if layer == *id {
                    db.remove_packed(layer, &variant)?;
                }
            }
            store.flush()?;
            // Which of its directories is damaged need not be known: those that others are made of are
            // found damaged with them, and what has lost a directory is made again.
            for dir in dirs {
                let path = store.directory("layers").join(dir.to_hex());
                let aside = store.session()?.unique("damaged");
                match fs::rename(&path, &aside) {
                    Ok(()) => fs::remove_dir_all(&aside).map_err(io_at("failed to remove", &aside))?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(io_at("failed to move", &path)(error)),
                }
            }
            remove_file(&store.directory("trees").join(id.to_hex()))
        }
        Damage::Listing(id) => remove_file(&store.directory("trees").join(id.to_hex())),
        Damage::Blob(digest) => remove_file(&store.blob_path(*digest)),
        Damage::Record(key) => db.remove_record(*key),
        Damage::Image(key) => {
            for (name, other) in db.names()? {
                if other == *key {
                    db.remove_name(&name)?;
                }
            }
            super::remove::forget_taken(store, *key)
        }
        Damage::Name(name) => db.remove_name(name),
    }
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at("failed to remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

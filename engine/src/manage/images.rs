//! The images of the store, a line each.

use crate::api::{ImageSummary, ManageError};
use crate::digest::ImageKey;
use crate::image::config::ImageConfig;
use crate::store::{ImageRecord, IndexRecord, Store, StoreError};
use kiln_dsl::platform::Platform;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// All images of the store at `store`, the newest first.
///
/// # Errors
/// The store cannot be read.
pub fn images(store: &Path) -> Result<Vec<ImageSummary>, ManageError> {
    let failed = super::store_failed(store);
    let Some(store) = super::open(store)? else { return Ok(Vec::new()) };
    list(&store).map_err(failed)
}

fn list(store: &Store) -> Result<Vec<ImageSummary>, StoreError> {
    let mut names = names(store)?;
    let mut all = Vec::new();
    let mut within: HashSet<ImageKey> = HashSet::new();
    for (key, index) in store.db().indexes()? {
        within.extend(index.images.iter().map(|(_, image)| *image));
        all.push(index_summary(store, key, &index, names.remove(&key).unwrap_or_default())?);
    }
    for (key, image) in store.db().images()? {
        let names = names.remove(&key).unwrap_or_default();
        // An image that is one of several platforms' is told with them.
        if !names.is_empty() || !within.contains(&key) {
            all.push(summary(store, key, &image, names)?);
        }
    }
    all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.names.cmp(&b.names)).then(a.key.cmp(&b.key)));
    Ok(all)
}

/// The names of each image, sorted.
pub(super) fn names(store: &Store) -> Result<HashMap<ImageKey, Vec<String>>, StoreError> {
    let mut names: HashMap<ImageKey, Vec<String>> = HashMap::new();
    for (name, key) in store.db().names()? {
        names.entry(key).or_default().push(name);
    }
    Ok(names)
}

/// The names of each image, sorted, those of the images for several platforms that it is one of included.
pub(super) fn names_with_members(store: &Store) -> Result<HashMap<ImageKey, Vec<String>>, StoreError> {
    let mut names = names(store)?;
    for (key, index) in store.db().indexes()? {
        let own = names.get(&key).cloned().unwrap_or_default();
        for (_, image) in &index.images {
            let mine = names.entry(*image).or_default();
            mine.extend(own.iter().cloned());
            mine.sort();
            mine.dedup();
        }
    }
    Ok(names)
}

/// The line of images for several platforms.
pub(super) fn index_summary(
    store: &Store,
    key: ImageKey,
    index: &IndexRecord,
    names: Vec<String>,
) -> Result<ImageSummary, StoreError> {
    let platforms = index.images.iter().map(|(platform, _)| platform.clone()).collect();
    let mut whole =
        ImageSummary { names, key, image_id: index.digest, created: None, size: 0, portable: true, platforms };
    let mut layers = HashSet::new();
    for (_, image) in &index.images {
        let Some(record) = store.db().image(*image)? else { continue };
        let one = summary(store, *image, &record, Vec::new())?;
        whole.created = whole.created.max(one.created);
        whole.portable &= one.portable;
        for layer in record.layers.iter().filter(|layer| layers.insert(layer.id)) {
            whole.size += store.db().layer(layer.id)?.map_or(0, |meta| meta.size);
        }
    }
    Ok(whole)
}

/// The line of one image.
pub(super) fn summary(
    store: &Store,
    key: ImageKey,
    image: &ImageRecord,
    names: Vec<String>,
) -> Result<ImageSummary, StoreError> {
    let mut size = 0;
    for layer in &image.layers {
        size += store.db().layer(layer.id)?.map_or(0, |meta| meta.size);
    }
    let config = serde_json::from_slice::<ImageConfig>(&image.config).ok();
    let created = config.as_ref().and_then(|config| config.created).map(|time| time.seconds());
    let platform = |config: ImageConfig| {
        let is_told = !config.os.is_empty() && !config.architecture.is_empty();
        is_told.then(|| Platform::new(&config.os, &config.architecture, &config.variant).to_string())
    };
    let platforms = config.and_then(platform).into_iter().collect();
    Ok(ImageSummary { names, key, image_id: image.image_id, created, size, portable: image.portable, platforms })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;

    #[test]
    fn images_are_listed_with_all_their_names_and_sizes() {
        let shop = Shop::new();
        let key = shop.image("app", &["abc", "de"]);
        shop.store().db().put_name("docker.io/library/app:1", key).unwrap();
        shop.image("", &["other"]);
        let images = images(shop.path()).unwrap();
        assert_eq!(images.len(), 2);
        assert_eq!((images[0].names.len(), images[0].size), (0, 5));
        assert_eq!(images[1].names, ["docker.io/library/app:1", "docker.io/library/app:latest"]);
        assert_eq!((images[1].key, images[1].created, images[1].size), (key, Some(1_700_000_000), 5));
    }

    #[test]
    fn a_store_that_is_not_there_has_no_images_and_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        assert_eq!(images(&path).unwrap(), []);
        assert!(!path.exists());
    }
}

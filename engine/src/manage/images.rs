//! The images of the store, a line each.

use crate::api::{ImageSummary, ManageError};
use crate::digest::ImageKey;
use crate::image::config::ImageConfig;
use crate::store::{ImageRecord, Store, StoreError};
use std::collections::HashMap;
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
    for (key, image) in store.db().images()? {
        all.push(summary(store, key, &image, names.remove(&key).unwrap_or_default())?);
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
    let created = serde_json::from_slice::<ImageConfig>(&image.config).ok().and_then(|config| config.created);
    let created = created.map(|time| time.seconds());
    Ok(ImageSummary { names, key, image_id: image.image_id, created, size, portable: image.portable })
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

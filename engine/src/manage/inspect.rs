//! All that the store knows of one image.

use super::find::Found;
use crate::api::{ImageDetail, ManageError};
use crate::digest::{ImageKey, Sha256};
use crate::image::config::ImageConfig;
use crate::image::manifest;
use crate::store::{ImageRecord, Store, StoreError};
use std::collections::BTreeSet;
use std::path::Path;

/// What is known of `image`. The config of an image that was never packed has no diff ids.
///
/// # Errors
/// The store cannot be read, or knows no such image.
pub fn inspect(store: &Path, image: &str) -> Result<ImageDetail, ManageError> {
    let failed = super::store_failed(store);
    let store = super::open(store)?;
    let unknown = || ManageError::UnknownImage { name: image.to_owned(), similar: None };
    let found = super::find::any(store.as_ref(), image, &failed)?;
    let Some(store) = store else { return Err(unknown()) };
    let (key, index) = match found {
        Found::Image(key, record) => return detail(&store, key, &record).map_err(failed),
        Found::Index(key, index) => (key, index),
    };
    let whole = || -> Result<ImageDetail, StoreError> {
        let names = super::images::names(&store)?.remove(&key).unwrap_or_default();
        let summary = super::images::index_summary(&store, key, &index, names)?;
        let mut images = Vec::with_capacity(index.images.len());
        for (platform, key) in &index.images {
            let lost = || StoreError::Damaged {
                what: format!("image {key} for {platform}"),
                detail: "it is no longer there".to_owned(),
            };
            let record = store.db().image(*key)?.ok_or_else(lost)?;
            images.push(detail(&store, *key, &record)?);
        }
        Ok(ImageDetail { summary, layers: Vec::new(), config: serde_json::Value::Null, images })
    };
    whole().map_err(failed)
}

fn detail(store: &Store, key: ImageKey, record: &ImageRecord) -> Result<ImageDetail, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what: format!("the configuration of {key}"),
        detail: error.to_string(),
    };
    let names = super::images::names(store)?.remove(&key).unwrap_or_default();
    let summary = super::images::summary(store, key, record, names)?;
    let bytes = final_config(store, record)?.unwrap_or_else(|| record.config.clone());
    let config = serde_json::from_slice(&bytes).map_err(damaged)?;
    let layers = record.layers.iter().map(|layer| layer.id).collect();
    Ok(ImageDetail { summary, layers, config, images: Vec::new() })
}

/// The config that has the image's id: with the diff ids that its layers were packed with.
fn final_config(store: &Store, image: &ImageRecord) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(id) = image.image_id else { return Ok(None) };
    let Ok(mut config) = serde_json::from_slice::<ImageConfig>(&image.config) else { return Ok(None) };
    if Sha256::of(&image.config) == id {
        return Ok(None);
    }
    let packed = store.db().all_packed()?;
    let variants: BTreeSet<&[u8]> = packed.iter().map(|((_, variant), _)| variant.as_slice()).collect();
    for variant in variants {
        let diff_ids: Option<Vec<Sha256>> = image
            .layers
            .iter()
            .map(|layer| match &layer.blob {
                Some(blob) => Some(blob.diff_id),
                None => {
                    let mut fits = packed.iter().filter(|((other, kind), _)| *other == layer.id && kind == variant);
                    fits.next().map(|(_, blob)| blob.diff_id)
                }
            })
            .collect();
        if let Some(diff_ids) = diff_ids
            && manifest::image_id(&config, &diff_ids) == id
        {
            config.rootfs.diff_ids = diff_ids;
            return Ok(Some(config.to_json()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;
    use crate::store::BlobRef;

    #[test]
    fn an_image_is_shown_with_its_layers_and_config() {
        let shop = Shop::new();
        let key = shop.image("app", &["abc"]);
        let found = inspect(shop.path(), &key.to_hex()[..9]).unwrap();
        assert_eq!(found.summary.names, ["docker.io/library/app:latest"]);
        assert_eq!(found.layers, [shop.layer("abc")]);
        assert_eq!(found.config["architecture"], "amd64");
        assert_eq!(found.config["rootfs"]["diff_ids"], serde_json::json!([]));
    }

    #[test]
    fn once_packed_the_config_is_the_one_that_has_the_id() {
        let shop = Shop::new();
        let key = shop.image("app", &["abc"]);
        let store = shop.store();
        let mut image = store.db().image(key).unwrap().unwrap();
        let diff_id = Sha256::of(b"tar");
        let blob = BlobRef { diff_id, digest: diff_id, size: 0, media_type: String::new() };
        store.db().put_packed(image.layers[0].id, b"None None", &blob).unwrap();
        let config: ImageConfig = serde_json::from_slice(&image.config).unwrap();
        image.image_id = Some(manifest::image_id(&config, &[diff_id]));
        store.db().put_image(&image).unwrap();
        drop(store);
        let found = inspect(shop.path(), "app").unwrap();
        assert_eq!(found.config["rootfs"]["diff_ids"], serde_json::json!([diff_id.to_string()]));
        assert_eq!(found.summary.image_id, image.image_id);
    }
}

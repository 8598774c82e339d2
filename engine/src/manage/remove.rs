//! Names taken away from images, and images that are left without one.

use super::find::{self, Meaning};
use crate::api::{ManageError, Removal};
use crate::digest::ImageKey;
use crate::store::{Pins, Store, StoreError};
use std::path::Path;

/// Takes the name `image` away, or all names where it is an id. An image without a name is forgotten, unless
/// a running build uses it; its layers stay until the next [`prune`](super::prune()).
///
/// # Errors
/// The store cannot be used, or knows no such image.
pub fn remove(store: &Path, image: &str) -> Result<Removal, ManageError> {
    let failed = super::store_failed(store);
    let Some(opened) = super::open(store)? else {
        return Err(ManageError::UnknownImage { name: image.to_owned(), similar: None });
    };
    let meaning = find::meaning(&opened, image, &failed)?;
    let key = meaning.key();
    let own = super::images::names(&opened).map_err(&failed)?.remove(&key).unwrap_or_default();
    let all = super::images::names_with_members(&opened).map_err(&failed)?.remove(&key).unwrap_or_default();
    let others: Vec<String> =
        all.into_iter().filter(|name| !own.contains(name)).map(|name| find::familiar(&name)).collect();
    if own.is_empty() && !others.is_empty() {
        return Err(ManageError::InIndex { image: image.to_owned(), names: others.join(" ") });
    }
    take_away(&opened, &meaning).map_err(failed)
}

fn take_away(store: &Store, meaning: &Meaning) -> Result<Removal, StoreError> {
    let key = meaning.key();
    let mut names = super::images::names(store)?.remove(&key).unwrap_or_default();
    let untagged = match meaning {
        Meaning::Name(name, _) => {
            names.retain(|other| other != name);
            vec![name.clone()]
        }
        Meaning::Id(_) => std::mem::take(&mut names),
    };
    for name in &untagged {
        store.db().remove_name(name)?;
    }
    store.flush()?;
    // What images for several platforms still need keeps one of them, name or not.
    let is_needed = super::images::names_with_members(store)?.get(&key).is_some_and(|names| !names.is_empty());
    let members = store.db().index(key)?.map(|index| index.images).unwrap_or_default();
    let forgotten = if names.is_empty() && !is_needed && forget(store, key)? { Some(key) } else { None };
    if forgotten.is_some() {
        let names = super::images::names_with_members(store)?;
        for (_, member) in members {
            if names.get(&member).is_none_or(Vec::is_empty) {
                forget(store, member)?;
            }
        }
    }
    store.flush()?;
    Ok(Removal { untagged, forgotten })
}

/// Forgets an image that nobody uses; says whether it did.
fn forget(store: &Store, key: ImageKey) -> Result<bool, StoreError> {
    let pins = Pins::open(store.root())?;
    if !pins.take(key.as_bytes())? {
        return Ok(false);
    }
    forget_taken(store, key)?;
    store.flush()?;
    Ok(true)
}

/// Forgets an image that was taken for removal.
pub(super) fn forget_taken(store: &Store, key: ImageKey) -> Result<(), StoreError> {
    store.db().remove_image(key)?;
    store.db().remove_index(key)?;
    for (index, record) in store.db().indexes()? {
        if record.images.iter().any(|(_, image)| *image == key) {
            store.db().remove_index(index)?;
        }
    }
    for (id, other) in store.db().image_ids()? {
        if other == key {
            store.db().remove_image_id(id)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;

    #[test]
    fn an_image_is_forgotten_with_its_last_name() {
        let shop = Shop::new();
        let key = shop.image("app", &["a"]);
        super::super::tag(shop.path(), "app", "app:1").unwrap();
        let first = remove(shop.path(), "app:1").unwrap();
        assert_eq!(first, Removal { untagged: vec!["docker.io/library/app:1".to_owned()], forgotten: None });
        let last = remove(shop.path(), "app").unwrap();
        assert_eq!(last.forgotten, Some(key));
        assert!(matches!(remove(shop.path(), "app"), Err(ManageError::UnknownImage { .. })));
        assert!(shop.layer_dir(shop.layer("a")).is_dir(), "layers go with prune only");
    }

    #[test]
    fn an_id_takes_all_names_away() {
        let shop = Shop::new();
        let key = shop.image("app", &["a"]);
        super::super::tag(shop.path(), "app", "other").unwrap();
        let removal = remove(shop.path(), &key.to_string()).unwrap();
        assert_eq!(removal.untagged, ["docker.io/library/app:latest", "docker.io/library/other:latest"]);
        assert_eq!(removal.forgotten, Some(key));
    }

    #[test]
    fn images_for_several_platforms_go_together_and_one_of_them_not_alone() {
        let shop = Shop::new();
        let (one, two) = (shop.image("kept", &["a"]), shop.image("", &["b"]));
        let images = vec![("linux/amd64".to_owned(), one), ("linux/arm64".to_owned(), two)];
        let store = shop.store();
        let key = store.db().put_index(&crate::store::IndexRecord { images, created: 1, digest: None }).unwrap();
        store.db().put_name("docker.io/library/app:latest", key).unwrap();
        store.flush().unwrap();
        drop(store);
        let error = remove(shop.path(), &two.to_string()).unwrap_err();
        assert_eq!(error.to_string(), format!("{two} belongs to app:latest, which is for several platforms"));
        assert_eq!(error.advice().as_deref(), Some("kiln rmi app:latest takes all of them away"));
        // A name of its own goes, and the image stays for the others.
        assert_eq!(remove(shop.path(), "kept").unwrap().forgotten, None);
        assert_eq!(remove(shop.path(), "app").unwrap().forgotten, Some(key));
        let store = shop.store();
        assert!(store.db().images().unwrap().is_empty() && store.db().indexes().unwrap().is_empty());
    }

    #[test]
    fn an_image_that_a_build_uses_loses_its_name_only() {
        let shop = Shop::new();
        let key = shop.image("app", &["a"]);
        let build = shop.user_of(&[key.as_bytes()]);
        assert_eq!(remove(shop.path(), "app").unwrap().forgotten, None);
        assert!(shop.store().db().image(key).unwrap().is_some());
        drop(build);
        assert_eq!(remove(shop.path(), &key.to_string()).unwrap().forgotten, Some(key));
    }
}

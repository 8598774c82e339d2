//! One more name for an image.

use super::find::Found;
use crate::api::ManageError;
use crate::store::image_name;
use std::path::Path;

/// Gives `image` the name `name`, taking it from the image that had it. Returns the completed name.
///
/// # Errors
/// The store cannot be used, knows no such image, or the name is none.
pub fn tag(store: &Path, image: &str, name: &str) -> Result<String, ManageError> {
    let failed = super::store_failed(store);
    let full = image_name(name).map_err(|reason| ManageError::InvalidName { name: name.to_owned(), reason })?;
    let store = super::open(store)?;
    let key = match super::find::any(store.as_ref(), image, &failed)? {
        Found::Image(key, _) | Found::Index(key, _) => key,
    };
    let Some(store) = store else { return Ok(full) };
    // Pinned first and looked up again: an image that is going gets no name.
    store.pin(key.as_bytes()).map_err(&failed)?;
    let is_there =
        store.db().image(key).map_err(&failed)?.is_some() || store.db().index(key).map_err(&failed)?.is_some();
    if !is_there {
        return Err(ManageError::UnknownImage { name: image.to_owned(), similar: None });
    }
    store.db().put_name(&full, key).map_err(&failed)?;
    store.flush().map_err(failed)?;
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;

    #[test]
    fn a_name_moves_to_the_image_that_gets_it() {
        let shop = Shop::new();
        let (one, two) = (shop.image("one", &["a"]), shop.image("two", &["b"]));
        assert_eq!(tag(shop.path(), "one", "app").unwrap(), "docker.io/library/app:latest");
        assert_eq!(shop.store().db().name("docker.io/library/app:latest").unwrap(), Some(one));
        tag(shop.path(), &two.to_string(), "app").unwrap();
        assert_eq!(shop.store().db().name("docker.io/library/app:latest").unwrap(), Some(two));
        assert!(matches!(tag(shop.path(), "one", "Bad Name"), Err(ManageError::InvalidName { .. })));
        assert!(matches!(tag(shop.path(), "three", "x"), Err(ManageError::UnknownImage { .. })));
    }
}

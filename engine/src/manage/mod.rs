//! The commands on images and the store, a verb a file: what `kiln images`, `prune`, `fsck` and the like
//! do. Each opens the store, does its work and closes it again.
//!
//! A store that is not there is an empty one, and only [`import`](fn@import) makes it. Knows nothing of
//! steps, and nothing of how a result is shown.

mod builds;
mod find;
mod fsck;
mod history;
mod images;
mod import;
mod inspect;
mod prune;
mod remove;
mod tag;

#[cfg(test)]
mod testing;

pub(crate) use builds::after_step;
pub use builds::{Which, builds, diff, explain, explain_step, is_build, log};
pub use fsck::fsck;
pub use history::history;
pub use images::images;
pub use import::import;
pub use inspect::inspect;
pub use prune::prune;
pub use remove::remove;
pub use tag::tag;

use crate::api::ManageError;
use crate::store::{Store, StoreError};
use std::path::Path;

/// The image that `word` means.
pub(crate) fn find_image(
    store: &Store,
    word: &str,
    failed: &dyn Fn(StoreError) -> ManageError,
) -> Result<(crate::digest::ImageKey, crate::store::ImageRecord), ManageError> {
    find::image(Some(store), word, failed)
}

/// The store at `path`, if there is one.
fn open(path: &Path) -> Result<Option<Store>, ManageError> {
    match path.join("VERSION").exists() {
        true => Store::open(path).map(Some).map_err(store_failed(path)),
        false => Ok(None),
    }
}

/// An error of the store, with the store's place.
fn store_failed(path: &Path) -> impl Fn(StoreError) -> ManageError {
    move |error| ManageError::Store { path: path.to_path_buf(), source: Box::new(error) }
}

//! The instructions that made an image, each with the layer that it added.

use crate::api::{HistoryRow, ManageError};
use crate::digest::LayerId;
use crate::image::config::{History, ImageConfig};
use crate::store::{ImageRecord, Store, StoreError};
use std::path::Path;

/// The instructions that made `image`, the base image's included, the newest first.
///
/// # Errors
/// The store cannot be read, or knows no such image.
pub fn history(store: &Path, image: &str) -> Result<Vec<HistoryRow>, ManageError> {
    let failed = super::store_failed(store);
    let store = super::open(store)?;
    let (key, record) = super::find::image(store.as_ref(), image, &failed)?;
    let Some(store) = store else { return Ok(Vec::new()) };
    let config: ImageConfig = serde_json::from_slice(&record.config).map_err(|error| {
        failed(StoreError::Damaged { what: format!("the configuration of {key}"), detail: error.to_string() })
    })?;
    let sizes = sizes(&store, &record).map_err(failed)?;
    let mut rows = rows(&config.history, sizes);
    rows.reverse();
    Ok(rows)
}

fn sizes(store: &Store, image: &ImageRecord) -> Result<Vec<(LayerId, u64)>, StoreError> {
    let size = |id| Ok(store.db().layer(id)?.map_or(0, |meta| meta.size));
    image.layers.iter().map(|layer| Ok((layer.id, size(layer.id)?))).collect()
}

/// Each entry of a history with its layer. An image need not tell of all its layers: those above the last
/// entry that has one stand for themselves.
fn rows(history: &[History], layers: Vec<(LayerId, u64)>) -> Vec<HistoryRow> {
    let mut layers = layers.into_iter();
    let mut rows: Vec<HistoryRow> = history
        .iter()
        .map(|entry| {
            let layer = if entry.empty_layer { None } else { layers.next() };
            HistoryRow {
                created: entry.created.map(|time| time.seconds()),
                created_by: entry.created_by.clone(),
                size: layer.map_or(0, |(_, size)| size),
                layer: layer.map(|(id, _)| id),
                comment: entry.comment.clone(),
                empty: entry.empty_layer,
            }
        })
        .collect();
    rows.extend(layers.map(|(id, size)| HistoryRow {
        created: None,
        created_by: String::new(),
        size,
        layer: Some(id),
        comment: String::new(),
        empty: false,
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;

    #[test]
    fn only_instructions_with_a_layer_have_a_size() {
        let shop = Shop::new();
        shop.image("app", &["abc", "de"]);
        let rows = history(shop.path(), "app").unwrap();
        let shown: Vec<_> = rows.iter().map(|row| (row.created_by.as_str(), row.size, row.layer)).collect();
        let (one, two) = (shop.layer("abc"), shop.layer("de"));
        assert_eq!(
            shown,
            [("CMD [\"x\"]", 0, None), ("COPY de / # buildkit", 2, Some(two)), ("COPY abc / # buildkit", 3, Some(one)),]
        );
        assert!(rows[0].empty && !rows[1].empty);
    }

    #[test]
    fn layers_of_which_the_history_is_silent_are_shown_all_the_same() {
        let id = |byte| LayerId::from_bytes([byte; 32]);
        let told = History { created_by: "ADD".to_owned(), ..History::default() };
        let rows = rows(&[told], vec![(id(1), 5), (id(2), 6)]);
        assert_eq!((rows[0].layer, rows[1].layer, rows[1].size), (Some(id(1)), Some(id(2)), 6));
        assert_eq!((rows[1].created, rows[1].created_by.as_str()), (None, ""));
    }

    #[test]
    fn a_history_with_more_entries_than_layers_ends_without() {
        let told = History { created_by: "RUN x".to_owned(), ..History::default() };
        assert_eq!(rows(&[told], Vec::new())[0].layer, None);
    }
}

//! What `--metadata-file` writes: buildx's names where they mean the same, `kiln.…` for the rest.
//!
//! Pure; a field that has no value is left out.

use kiln_engine::api::Outcome;
use serde_json::{Map, Value, json};

/// The file's text.
pub fn json(outcome: &Outcome) -> String {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    put("containerimage.config.digest", outcome.image_id.map(|id| json!(id.to_string())));
    put("containerimage.digest", outcome.manifest.map(|id| json!(id.to_string())));
    put("image.name", Some(json!(outcome.names.join(","))).filter(|_| !outcome.names.is_empty()));
    put("kiln.image", outcome.image.map(|id| json!(id.to_string())));
    put("kiln.counts", serde_json::to_value(outcome.counts).ok());
    put("kiln.duration", Some(json!(outcome.duration)));
    let mut text = serde_json::to_string_pretty(&map).expect("all keys are text");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_fields_are_those_of_buildx_and_kilns_own() {
        insta::assert_snapshot!(json(&testing::outcome()));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let outcome = Outcome { image: None, image_id: None, manifest: None, names: vec![], ..testing::outcome() };
        insta::assert_snapshot!(json(&outcome));
    }
}

//! What `--metadata-file` writes: buildx's names where they mean the same, `kiln.…` for the rest.
//!
//! Pure; a field that has no value is left out.

use kiln_engine::api::{Built, Outcome};
use serde_json::{Map, Value, json};

/// The file's text: of one result its fields, of several an object for each by its name, as `docker buildx bake` has it.
pub fn json(outcome: &Outcome) -> String {
    let mut map = match outcome.only() {
        Some(built) => fields(built),
        None => outcome.results.iter().map(|built| (built.name.clone(), Value::Object(fields(built)))).collect(),
    };
    let counts = serde_json::to_value(outcome.counts).ok();
    map.extend(counts.map(|counts| ("kiln.counts".to_owned(), counts)));
    map.insert("kiln.duration".to_owned(), json!(outcome.duration));
    let mut text = serde_json::to_string_pretty(&map).expect("all keys are text");
    text.push('\n');
    text
}

fn fields(built: &Built) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(key.to_owned(), value);
        }
    };
    // An index has no config.
    let config = built.image_id.filter(|id| built.manifest != Some(*id) && built.images.len() == 1);
    put("containerimage.config.digest", config.map(|id| json!(id.to_string())));
    let digest = built.manifest.or_else(|| built.image_id.filter(|_| built.images.len() > 1));
    put("containerimage.digest", digest.map(|id| json!(id.to_string())));
    put("image.name", Some(json!(built.names.join(","))).filter(|_| !built.names.is_empty()));
    put("kiln.image", Some(json!(built.image.to_string())));
    if built.images.len() > 1 {
        let images: Map<String, Value> =
            built.images.iter().map(|(platform, image)| (platform.clone(), json!(image.to_string()))).collect();
        put("kiln.images", Some(Value::Object(images)));
    }
    map
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
        let built = Built { image_id: None, manifest: None, names: vec![], ..testing::built() };
        insta::assert_snapshot!(json(&Outcome { results: vec![built], ..testing::outcome() }));
    }

    #[test]
    fn several_results_are_told_by_name_and_several_platforms_by_theirs() {
        let web = testing::built();
        let images = ["linux/amd64", "linux/arm64"].map(|platform| (platform.to_owned(), web.image)).to_vec();
        let docs = Built { name: "docs".into(), manifest: web.image_id, images, ..testing::built() };
        insta::assert_snapshot!(json(&Outcome { results: vec![web, docs], ..testing::outcome() }));
    }
}

//! Which image a word means: a name, an id, or the beginning of an id.
//!
//! A name goes before an id, as in docker: an image called `cafe` is never taken for the one whose id
//! begins so.

use crate::api::ManageError;
use crate::digest::ImageKey;
use crate::registry::Reference;
use crate::store::{ImageRecord, IndexRecord, Store, StoreError};
use kiln_dsl::platform::Platform;
use kiln_dsl::suggest;

/// Fewer digits of an id are more likely a slip than meant.
const PREFIX_MIN_DIGITS: usize = 2;

/// What a word means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// The image that has this name, completed.
    Name(String, ImageKey),
    /// The image with an id of which this is at least the beginning.
    Id(ImageKey),
}

impl Meaning {
    pub fn key(&self) -> ImageKey {
        match self {
            Meaning::Name(_, key) | Meaning::Id(key) => *key,
        }
    }
}

/// The names as people write them, for suggestions.
pub(super) fn familiar(name: &str) -> String {
    Reference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

fn unknown(word: &str, names: &[(String, ImageKey)]) -> ManageError {
    let mut options: Vec<String> = Vec::new();
    for (name, _) in names {
        let short = familiar(name);
        options.extend(short.strip_suffix(":latest").map(str::to_owned));
        options.push(short);
    }
    let similar = suggest::nearest(word, options.iter().map(String::as_str)).map(str::to_owned).or_else(|| {
        // The right image with a tag that it does not have.
        let (path, _) = word.rsplit_once(':').unwrap_or((word, ""));
        options.iter().find(|option| option.rsplit_once(':').is_some_and(|(other, _)| other == path)).cloned()
    });
    ManageError::UnknownImage { name: word.to_owned(), similar }
}

/// All ids of which `word` is at least the beginning, as full ids with the image of each.
fn ids_with_prefix(store: &Store, word: &str) -> Result<Vec<(String, ImageKey)>, StoreError> {
    let (wants_key, wants_oci, digits) = match word.split_once(':') {
        Some(("b3", digits)) => (true, false, digits),
        Some(("sha256", digits)) => (false, true, digits),
        Some(_) => return Ok(Vec::new()),
        None => (true, true, word),
    };
    if digits.len() < PREFIX_MIN_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Vec::new());
    }
    let digits = digits.to_ascii_lowercase();
    let mut fits: Vec<(String, ImageKey)> = Vec::new();
    for (key, image) in store.db().images()? {
        if wants_key && key.to_hex().starts_with(&digits) {
            fits.push((key.to_string(), key));
        } else if let Some(id) = image.image_id.filter(|id| wants_oci && id.to_hex().starts_with(&digits)) {
            fits.push((id.to_string(), key));
        }
    }
    for (key, index) in store.db().indexes()? {
        if wants_key && key.to_hex().starts_with(&digits) {
            fits.push((key.to_string(), key));
        } else if let Some(digest) = index.digest.filter(|id| wants_oci && id.to_hex().starts_with(&digits)) {
            fits.push((digest.to_string(), key));
        }
    }
    Ok(fits)
}

/// What `word` means. The error for a word that means nothing offers the nearest name.
pub(super) fn meaning(
    store: &Store,
    word: &str,
    failed: &dyn Fn(StoreError) -> ManageError,
) -> Result<Meaning, ManageError> {
    let mut invalid = None;
    match Reference::parse(word) {
        Ok(reference) => {
            let name = reference.to_string();
            if let Some(key) = store.db().name(&name).map_err(failed)? {
                return Ok(Meaning::Name(name, key));
            }
        }
        Err(error) => invalid = Some(error.to_string()),
    }
    let fits = ids_with_prefix(store, word).map_err(failed)?;
    match fits.as_slice() {
        [] => {}
        [(_, key)] => return Ok(Meaning::Id(*key)),
        several => {
            let fits = several.iter().map(|(id, _)| id.clone()).collect();
            return Err(ManageError::AmbiguousImage { name: word.to_owned(), fits });
        }
    }
    let looks_like_id = word.starts_with("b3:") || word.starts_with("sha256:");
    match invalid.filter(|_| !looks_like_id) {
        Some(reason) => Err(ManageError::InvalidName { name: word.to_owned(), reason }),
        None => Err(unknown(word, &store.db().names().map_err(failed)?)),
    }
}

/// What a word led to.
pub(super) enum Found {
    Image(ImageKey, ImageRecord),
    /// Images for several platforms.
    Index(ImageKey, IndexRecord),
}

/// The image, or the images, that `word` means.
pub(super) fn any(
    store: Option<&Store>,
    word: &str,
    failed: &dyn Fn(StoreError) -> ManageError,
) -> Result<Found, ManageError> {
    let Some(store) = store else { return Err(unknown(word, &[])) };
    let key = meaning(store, word, failed)?.key();
    if let Some(index) = store.db().index(key).map_err(failed)? {
        return Ok(Found::Index(key, index));
    }
    let image = store.db().image(key).map_err(failed)?;
    let image = image.map(|image| Found::Image(key, image));
    image.ok_or_else(|| ManageError::UnknownImage { name: word.to_owned(), similar: None })
}

/// The image that `word` means; of images for several platforms that for this machine.
pub(super) fn image(
    store: Option<&Store>,
    word: &str,
    failed: &dyn Fn(StoreError) -> ManageError,
) -> Result<(ImageKey, ImageRecord), ManageError> {
    let index = match any(store, word, failed)? {
        Found::Image(key, image) => return Ok((key, image)),
        Found::Index(_, index) => index,
    };
    let lost = || ManageError::UnknownImage { name: word.to_owned(), similar: None };
    let (Some(store), Some(key)) = (store, index.image_for(&Platform::host())) else {
        return Err(ManageError::OtherPlatforms {
            name: word.to_owned(),
            platforms: index.images.iter().map(|(platform, _)| platform.clone()).collect(),
            images: index.images.iter().map(|(platform, key)| format!("{key} ({platform})")).collect(),
        });
    };
    let image = store.db().image(key).map_err(failed)?.ok_or_else(lost)?;
    Ok((key, image))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Shop;
    use super::*;

    fn find(shop: &Shop, word: &str) -> String {
        let store = shop.store();
        let failed = super::super::store_failed(shop.path());
        match meaning(&store, word, &failed) {
            Ok(Meaning::Name(name, _)) => format!("name {name}"),
            Ok(Meaning::Id(key)) => format!("id {key}"),
            Err(error) => format!("{error}; {}", error.advice().unwrap_or_default()),
        }
    }

    #[test]
    fn an_image_is_found_by_every_spelling_of_its_name_and_by_the_beginning_of_an_id() {
        let shop = Shop::new();
        let app = shop.image("app", &["a"]);
        let (hex, app) = (app.to_hex(), format!("id {app}"));
        for word in ["app", "app:latest", "docker.io/library/app"] {
            assert_eq!(find(&shop, word), "name docker.io/library/app:latest");
        }
        for word in [&hex, &hex[..7], &format!("b3:{}", &hex[..2]), &hex[..12].to_uppercase()] {
            // An upper-case word is no name, and the digits of an id may be.
            assert_eq!(find(&shop, word), app, "{word}");
        }
    }

    #[test]
    fn an_unknown_word_gets_the_nearest_name() {
        let shop = Shop::new();
        shop.image("web", &["a"]);
        shop.image("localhost:5000/team/api:2", &["b"]);
        assert_eq!(find(&shop, "wbe"), "there is no image \"wbe\" in the store; did you mean web?");
        let other = find(&shop, "localhost:5000/team/api:3");
        assert!(other.ends_with("did you mean localhost:5000/team/api:2?"), "{other}");
        let other = find(&shop, "something-else");
        assert!(other.ends_with("kiln images lists what is there"), "{other}");
        assert!(find(&shop, "We b").starts_with("\"We b\" is no image name"));
    }

    #[test]
    fn of_images_for_several_platforms_that_for_this_machine_is_meant_and_else_all_are_named() {
        let shop = Shop::new();
        let (one, two) = (shop.image("", &["a"]), shop.image("", &["b"]));
        let own = Platform::host().to_string();
        let put = |name: &str, platforms: [&str; 2]| {
            let images =
                platforms.iter().zip([one, two]).map(|(platform, key)| ((*platform).to_owned(), key)).collect();
            let store = shop.store();
            let key = store.db().put_index(&IndexRecord { images, created: 1, digest: None }).unwrap();
            store.db().put_name(&format!("docker.io/library/{name}:latest"), key).unwrap();
            store.flush().unwrap();
            key
        };
        put("both", ["linux/s390x", &own]);
        let foreign = put("foreign", ["linux/s390x", "linux/mips64"]);
        let store = shop.store();
        let failed = super::super::store_failed(shop.path());
        assert_eq!(image(Some(&store), "both", &failed).unwrap().0, two);
        assert!(
            matches!(any(Some(&store), &foreign.to_hex()[..9], &failed), Ok(Found::Index(key, _)) if key == foreign)
        );
        let error = image(Some(&store), "foreign", &failed).unwrap_err();
        assert_eq!(error.to_string(), "foreign is there for linux/s390x, linux/mips64, and not for this machine");
        assert_eq!(error.advice().unwrap(), format!("name one by its id: {one} (linux/s390x), {two} (linux/mips64)"));
    }

    #[test]
    fn a_beginning_that_fits_two_images_is_refused_with_both() {
        let shop = Shop::new();
        let mut keys = Vec::new();
        // Among so many ids, two begin alike.
        for number in 0..60 {
            keys.push(shop.image(&format!("app:{number}"), &[&number.to_string()]).to_hex());
        }
        keys.sort();
        let pair = keys.windows(2).find(|pair| pair[0][..2] == pair[1][..2]).unwrap();
        let said = find(&shop, &format!("b3:{}", &pair[0][..2]));
        assert!(said.contains("fits several images") && said.contains(&pair[1]), "{said}");
    }
}

//! The names of images in the store: always in full, so that one image is found by all spellings.

use crate::registry::Reference;

/// The full form of a name as typed, `docker.io/library/busybox:latest` for `busybox`. The store names by
/// tags only, so one with a digest is refused.
///
/// # Errors
/// A fragment that says why the text is no such name.
pub fn image_name(text: &str) -> Result<String, String> {
    let reference = Reference::parse(text).map_err(|error| error.to_string())?;
    match reference.digest() {
        Some(_) => Err("it has a digest, and names in the store have tags only".to_owned()),
        None => Ok(reference.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_name_are_one_and_digests_are_none() {
        for text in ["busybox", "busybox:latest", "library/busybox", "docker.io/busybox"] {
            assert_eq!(image_name(text).as_deref(), Ok("docker.io/library/busybox:latest"));
        }
        assert!(image_name(&format!("busybox@sha256:{}", "0".repeat(64))).unwrap_err().contains("digest"));
        assert!(image_name("Upper").unwrap_err().contains("lower case"));
    }
}

//! Whether a text can be the name of an image: `[host[:port]/]path[:tag][@digest]`.
//!
//! The grammar is that of github.com/distribution/reference. Knows nothing of registries.

/// Whether `name` names an image once `docker.io/` and `library/` are filled in.
pub(super) fn is_valid(name: &str) -> bool {
    const MAX_PATH_BYTES: usize = 255;
    let is_hex = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
    if name.len() == 64 && name.chars().all(is_hex) {
        // It would be taken for the id of an image.
        return false;
    }
    let (host, rest) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" || has_upper(host) => (host, rest),
        _ => ("docker.io", name),
    };
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest, None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    is_host(host)
        && path.len() <= MAX_PATH_BYTES
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

fn has_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase)
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
            return is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number));
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |label: &str| {
        label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    name.split('.').all(is_label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits, parted by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let separators = text.split(plain).filter(|separator| !separator.is_empty());
    text.starts_with(plain)
        && text.ends_with(plain)
        && separators
            .into_iter()
            .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    const MAX_TAG_BYTES: usize = 128;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word) && text.len() <= MAX_TAG_BYTES && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    const MIN_HEX_DIGITS: usize = 32;
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let length = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => hex.len() >= MIN_HEX_DIGITS,
    };
    algorithm.split(['-', '_', '+', '.']).all(is_part) && length && hex.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_is_none() {
        let digest = format!("a@sha256:{}", "0f".repeat(32));
        for name in [
            "alpine",
            "a/b/c",
            "alpine:3.20",
            "localhost/a",
            "localhost:5000/a:b",
            "ghcr.io/a-b/c__d.e:1_2-3",
            &digest,
            "[::1]:5000/a",
            "a--b",
            "HOST/a",
            "a:B",
            "x.y:1/a@sha512:",
        ] {
            assert_eq!(is_valid(name), !name.ends_with(':'), "{name}");
        }
        for name in [
            "",
            "A",
            "a/B",
            "a:",
            "a:b:c",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a b",
            "a:-x",
            "a@b",
            "a@sha256:00",
            "a.b:c/d",
            "é",
            ":latest",
            "$x",
            &"0".repeat(64),
            &"a".repeat(256),
        ] {
            assert!(!is_valid(name), "{name}");
        }
    }
}

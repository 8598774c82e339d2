//! Names of images as people write them and as archives hold them.
//!
//! `busybox` is `docker.io/library/busybox:latest`. Grammar:
//! <https://github.com/distribution/reference>. Knows nothing of registries.

use std::fmt;

/// A valid name with a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tagged {
    /// Host, and port where there is one.
    pub domain: String,
    /// The path on it.
    pub path: String,
    /// The tag.
    pub tag: String,
}

/// Why a name is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name:?} is no image name: {reason}")]
pub struct Error {
    /// As given.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";

impl Tagged {
    /// Reads `[HOST[:PORT]/]PATH[:TAG]`; without a tag it is `latest`. A digest is an error: what is being
    /// built has none yet.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let failed = |reason| Error { name: name.to_owned(), reason };
        if name.contains('@') {
            return Err(failed("a digest cannot be a tag"));
        }
        let (domain, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DEFAULT_DOMAIN, name),
        };
        let (path, tag) = rest.split_once(':').unwrap_or((rest, "latest"));
        let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
        if !is_domain(domain) {
            return Err(failed("the host is invalid"));
        }
        if name.len() > 255 || !path.split('/').all(is_component) {
            return Err(failed("the path must be of lower-case letters, digits and single separators"));
        }
        let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let valid_tag = tag.starts_with(first) && tag.chars().all(|c| first(c) || c == '.' || c == '-');
        if !valid_tag || tag.len() > 128 {
            return Err(failed("the tag must be of letters, digits, '_', '.' and '-'"));
        }
        let official = domain == DEFAULT_DOMAIN && !path.contains('/');
        let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
        Ok(Tagged { domain: domain.to_owned(), path, tag: tag.to_owned() })
    }

    /// The short form without the tag: `busybox`, `user/app`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The short form with the tag.
    pub fn familiar(&self) -> String {
        format!("{}:{}", self.familiar_name(), self.tag)
    }
}

impl fmt::Display for Tagged {
    /// The full form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.domain, self.path, self.tag)
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    host.split('.').all(|label| {
        let valid = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        valid && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    })
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(component: &str) -> bool {
    let separator = |c: char| matches!(c, '.' | '_' | '-');
    let edges = component.starts_with(separator) || component.ends_with(separator);
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || separator(c);
    if component.is_empty() || edges || !component.chars().all(valid) {
        return false;
    }
    component
        .split(|c: char| !separator(c))
        .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_have_a_full_form_and_back() {
        let cases = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("probe:two", "docker.io/library/probe:two", "probe:two"),
            ("user/app:1.0", "docker.io/user/app:1.0", "user/app:1.0"),
            ("localhost:5000/a__b/c-d:T_1", "localhost:5000/a__b/c-d:T_1", "localhost:5000/a__b/c-d:T_1"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("ghcr.io/o/r", "ghcr.io/o/r:latest", "ghcr.io/o/r:latest"),
            ("docker.io/library/a", "docker.io/library/a:latest", "a:latest"),
            ("[::1]:80/x", "[::1]:80/x:latest", "[::1]:80/x:latest"),
        ];
        for (name, full, familiar) in cases {
            let tagged = Tagged::parse(name).unwrap();
            assert_eq!((tagged.to_string().as_str(), tagged.familiar().as_str()), (full, familiar));
            assert_eq!(Tagged::parse(full), Ok(tagged));
        }
    }

    #[test]
    fn what_no_registry_would_take_is_refused() {
        let long = "a".repeat(300);
        let bad = [
            "",
            "Upper",
            "a//b",
            "a:",
            "a:b:c",
            "-a",
            "a..b",
            "a___b",
            "x/../y",
            "a@sha256:00",
            "a:-t",
            "host.:1/a",
            &long,
        ];
        for name in bad {
            assert!(Tagged::parse(name).is_err(), "{name:?}");
        }
    }
}

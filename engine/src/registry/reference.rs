//! The names of images: `node:12-alpine`, `ghcr.io/owner/app@sha256:…`, and what they mean in full.
//!
//! The rules are those of Docker (the grammar of the `distribution/reference` project), because these names stand in
//! everybody's Dockerfiles. Knows nothing of networks: a reference says what is wanted, not where it is fetched.

use crate::digest::Sha256;
use std::{fmt, str::FromStr};

/// The registry of names that state none.
pub const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub keeps images that are written without a user.
const HUB_NAMESPACE: &str = "library/";
/// Longest repository, in bytes; the limit of the grammar.
const REPOSITORY_MAX_BYTES: usize = 255;
/// Longest tag, in bytes; the limit of the grammar.
const TAG_MAX_BYTES: usize = 128;
const DEFAULT_TAG: &str = "latest";

/// A name of an image, in full.
///
/// ```
/// use kiln_engine::registry::reference::Reference;
/// let node = Reference::parse("node:12-alpine").unwrap();
/// assert_eq!(node.to_string(), "docker.io/library/node:12-alpine");
/// assert_eq!(node.familiar(), "node:12-alpine");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Sha256>,
}

/// Why a text names no image.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`text` is what was parsed, `part` the part of it that is wrong")]
pub enum ReferenceError {
    /// There is no text.
    #[error("an image reference must not be empty")]
    Empty,
    /// It is a URL.
    #[error("image reference {text:?} is a URL: write it without {part:?}")]
    Url { text: String, part: String },
    /// A user or password stands before the host. The text is not repeated.
    #[error("an image reference must not hold credentials: they belong into the docker configuration (docker login)")]
    Credentials,
    /// 64 hexadecimal digits would name an image by its id, which no registry knows.
    #[error("image reference {text:?} looks like an image id: a registry knows names and digests (name@sha256:…) only")]
    Identifier { text: String },
    /// The registry is not a host name or address with an optional port.
    #[error("image reference {text:?}: {part:?} is not a registry host")]
    Host { text: String, part: String },
    /// The repository has an upper-case letter.
    #[error("image reference {text:?}: the repository {part:?} must be lower case")]
    Uppercase { text: String, part: String },
    /// A part of the repository is empty or has a character that is not allowed there.
    #[error(
        "image reference {text:?}: {part:?} is not a valid part of a repository name (lower-case letters and digits, \
         with single '.', '_', '__' or '-'s between them)"
    )]
    Component { text: String, part: String },
    /// The repository is too long.
    #[error("image reference: the repository has {bytes} bytes, more than {REPOSITORY_MAX_BYTES}")]
    TooLong { bytes: usize },
    /// The tag is empty, too long or has a character that is not allowed there.
    #[error(
        "image reference {text:?}: {part:?} is not a tag (at most {TAG_MAX_BYTES} letters, digits, '_', '.' and '-', \
         not beginning with '.' or '-')"
    )]
    Tag { text: String, part: String },
    /// The digest is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("image reference {text:?}: {part:?} is not a digest (sha256: and 64 lower-case hexadecimal digits)")]
    Digest { text: String, part: String },
}

impl Reference {
    /// Reads a name as people write it, and completes it as Docker does.
    ///
    /// The part before the first `/` is a registry if it has a dot, a colon or an upper-case letter, or is `localhost`;
    /// without one the registry is `docker.io`, and there a name without a `/` is below `library/`. Without a tag and
    /// a digest the tag is `latest`.
    ///
    /// # Errors
    /// The text is not such a name; the error says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some(end) = text.find("://") {
            let (part, rest) = text.split_at(end + 3);
            return Err(match rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
                true => ReferenceError::Credentials,
                false => ReferenceError::Url { text: text.into(), part: part.into() },
            });
        }
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(ReferenceError::Identifier { text: text.into() });
        }
        let (registry, rest) = split_registry(text)?;
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => (rest, Some(parse_digest(text, digest)?)),
        };
        let (path, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((path, tag)) => (path, Some(parse_tag(text, tag)?)),
        };
        let repository = match registry == DOCKER_HUB && !path.contains('/') {
            true => format!("{HUB_NAMESPACE}{path}"),
            false => path.to_owned(),
        };
        check_repository(text, path, &repository)?;
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Reference { registry, repository, tag, digest })
    }

    /// The registry's host, with its port where one is written: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry: `library/node`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` where only a digest is written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest or index, where one is written. It decides; the tag beside it is a remark.
    pub fn digest(&self) -> Option<Sha256> {
        self.digest
    }

    /// The same name, fixed to a digest.
    pub fn with_digest(&self, digest: Sha256) -> Self {
        Reference { digest: Some(digest), ..self.clone() }
    }

    /// As people write it: without the parts that [`Reference::parse`] would complete, but with the tag.
    pub fn familiar(&self) -> String {
        let mut text = String::new();
        if self.registry == DOCKER_HUB {
            let short = self.repository.strip_prefix(HUB_NAMESPACE).filter(|rest| !rest.contains('/'));
            text.push_str(short.unwrap_or(&self.repository));
        } else {
            text.push_str(&self.registry);
            text.push('/');
            text.push_str(&self.repository);
        }
        self.push_version(&mut text);
        text
    }

    fn push_version(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut version = String::new();
        self.push_version(&mut version);
        write!(f, "{}/{}{version}", self.registry, self.repository)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Reference::parse(text)
    }
}

/// The name under which a registry is known: Docker Hub has several.
pub(super) fn canonical_registry(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DOCKER_HUB.to_owned(),
        _ => host.to_ascii_lowercase(),
    }
}

fn split_registry(text: &str) -> Result<(String, &str), ReferenceError> {
    let Some((first, rest)) = text.split_once('/') else {
        return Ok((DOCKER_HUB.to_owned(), text));
    };
    let is_host = first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase());
    if !is_host {
        return Ok((DOCKER_HUB.to_owned(), text));
    }
    if first.contains('@') && !rest.is_empty() {
        // `node@sha256:…/x` has no registry either, but what stands before an `@` here is more likely a password.
        return Err(ReferenceError::Credentials);
    }
    if !is_host_and_port(first) {
        return Err(ReferenceError::Host { text: text.into(), part: first.into() });
    }
    match first {
        "index.docker.io" => Ok((DOCKER_HUB.to_owned(), rest)),
        _ => Ok((first.to_owned(), rest)),
    }
}

/// Whether this is a host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((address, "")) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => match port.strip_prefix(':') {
                Some(port) => ("x", Some(port)),
                None => return false,
            },
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let good_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(good_label)
        && port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn check_repository(text: &str, path: &str, repository: &str) -> Result<(), ReferenceError> {
    let lower = path.to_ascii_lowercase();
    if lower != path && lower.split('/').all(is_component) {
        return Err(ReferenceError::Uppercase { text: text.into(), part: path.into() });
    }
    if let Some(part) = path.split('/').find(|part| !is_component(part)) {
        return Err(ReferenceError::Component { text: text.into(), part: part.into() });
    }
    if repository.len() > REPOSITORY_MAX_BYTES {
        return Err(ReferenceError::TooLong { bytes: repository.len() });
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    // Between two words of letters and digits stand only whole separators.
    word(*first)
        && word(*last)
        && part
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

fn parse_tag(text: &str, tag: &str) -> Result<String, ReferenceError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let ok = !tag.is_empty() && tag.len() <= TAG_MAX_BYTES && tag.bytes().all(good) && !tag.starts_with(['.', '-']);
    match ok {
        true => Ok(tag.to_owned()),
        false => Err(ReferenceError::Tag { text: text.into(), part: tag.into() }),
    }
}

fn parse_digest(text: &str, digest: &str) -> Result<Sha256, ReferenceError> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let parsed = Sha256::parse(digest).filter(|_| hex.bytes().all(is_lower_hex));
    parsed.ok_or_else(|| ReferenceError::Digest { text: text.into(), part: digest.into() })
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let at = format!("@sha256:{HEX}");
        let table: &[(&str, &str, &str)] = &[
            ("node", "docker.io/library/node:latest", "node:latest"),
            ("node:12-alpine", "docker.io/library/node:12-alpine", "node:12-alpine"),
            ("library/node", "docker.io/library/node:latest", "node:latest"),
            ("docker.io/node", "docker.io/library/node:latest", "node:latest"),
            ("index.docker.io/library/node", "docker.io/library/node:latest", "node:latest"),
            ("bitnami/redis:7.2", "docker.io/bitnami/redis:7.2", "bitnami/redis:7.2"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("host:5000/a/b/c", "host:5000/a/b/c:latest", "host:5000/a/b/c:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
            ("[2001:db8::1]/app", "[2001:db8::1]/app:latest", "[2001:db8::1]/app:latest"),
            ("127.0.0.1/app", "127.0.0.1/app:latest", "127.0.0.1/app:latest"),
            ("ghcr.io/Owner/app", "", ""),
            ("HOST/app", "HOST/app:latest", "HOST/app:latest"),
            ("foo/bar_baz/a__b/c--d", "docker.io/foo/bar_baz/a__b/c--d:latest", "foo/bar_baz/a__b/c--d:latest"),
            ("0.0/x", "0.0/x:latest", "0.0/x:latest"),
            ("node:5000", "docker.io/library/node:5000", "node:5000"),
            ("a:_T.a-g", "docker.io/library/a:_T.a-g", "a:_T.a-g"),
        ];
        for (text, canonical, familiar) in table {
            match Reference::parse(text) {
                Ok(reference) => {
                    assert_eq!(reference.to_string(), *canonical, "{text}");
                    assert_eq!(reference.familiar(), *familiar, "{text}");
                }
                Err(error) => assert!(canonical.is_empty(), "{text}: {error}"),
            }
        }
        let fixed = Reference::parse(&format!("node{at}")).unwrap();
        assert_eq!((fixed.tag(), fixed.to_string()), (None, format!("docker.io/library/node{at}")));
        let both = Reference::parse(&format!("ghcr.io/o/a:v1{at}")).unwrap();
        assert_eq!((both.tag(), both.familiar()), (Some("v1"), format!("ghcr.io/o/a:v1{at}")));
        assert_eq!(both.digest(), Some(Sha256::of(b"")));
    }

    #[test]
    fn an_error_names_the_part_that_is_wrong() {
        let long = "a".repeat(256);
        let table: &[(&str, &str)] = &[
            ("", "must not be empty"),
            ("https://ghcr.io/o/a", "is a URL: write it without \"https://\""),
            (HEX, "looks like an image id"),
            ("Node", "\"Node\" must be lower case"),
            ("ghcr.io/Owner/app", "\"Owner/app\" must be lower case"),
            ("node:", "\"\" is not a tag"),
            ("node:-x", "\"-x\" is not a tag"),
            ("node:a:b", "\"a:b\" is not a tag"),
            ("node:ä", "\"ä\" is not a tag"),
            ("no de", "\"no de\" is not a valid part"),
            ("a//b", "\"\" is not a valid part"),
            ("a/", "\"\" is not a valid part"),
            ("/a", "\"\" is not a valid part"),
            ("a..b", "\"a..b\" is not a valid part"),
            ("a___b", "\"a___b\" is not a valid part"),
            ("-a", "\"-a\" is not a valid part"),
            ("a._b", "\"a._b\" is not a valid part"),
            ("ho_st.io/a", "\"ho_st.io\" is not a registry host"),
            ("host:99999/a", "\"host:99999\" is not a registry host"),
            ("host:x/a", "\"host:x\" is not a registry host"),
            ("[::1/a", "\"[::1\" is not a registry host"),
            ("-host.io/a", "\"-host.io\" is not a registry host"),
            ("node@sha256:abc", "\"sha256:abc\" is not a digest"),
            ("node@md5:abc", "\"md5:abc\" is not a digest"),
            ("node@", "\"\" is not a digest"),
            ("${BASE}", "is not a valid part"),
            (&long, "264 bytes"),
        ];
        for (text, part) in table {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?} gave {error}");
        }
        let upper = format!("node@sha256:{}", HEX.to_uppercase());
        assert!(matches!(Reference::parse(&upper), Err(ReferenceError::Digest { .. })));
        let tag = format!("node:{}", "t".repeat(129));
        assert!(matches!(Reference::parse(&tag), Err(ReferenceError::Tag { .. })));
    }

    #[test]
    fn a_password_in_a_name_is_not_repeated_by_the_error() {
        for text in ["ann:hunter2@ghcr.io/o/a", "https://ann:hunter2@ghcr.io/o/a", "https://ann:hunter2@ghcr.io"] {
            let error = Reference::parse(text).unwrap_err();
            assert_eq!(error, ReferenceError::Credentials);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_that_reads_back_or_an_error(text in "\\PC{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference.clone()));
                prop_assert_eq!(Reference::parse(&reference.familiar()), Ok(reference));
            }
        }

        #[test]
        fn a_well_formed_name_reads_back(
            text in "([a-z0-9]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?/)?[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?(/[a-z0-9]{1,4})?(:[A-Za-z0-9_]{1,8})?"
        ) {
            let reference = Reference::parse(&text);
            prop_assert!(reference.is_ok(), "{text}: {reference:?}");
            let reference = reference.unwrap();
            prop_assert_eq!(Reference::parse(&reference.familiar()), Ok(reference));
        }
    }
}

//! What can go wrong between a name and its image, in words for the person who waits for the pull.
//!
//! An [`Error`] says which image and registry; its [`Kind`] says what happened; [`Error::advice`] says what to do about it.
//! Text that a server sent is cut and cleaned before it gets here; credentials never get here.

use crate::digest::Sha256;
use std::{fmt, io, time::Duration};

/// A pull that failed.
#[derive(Debug)]
pub struct Error {
    /// The image, as people write it.
    pub reference: String,
    /// The registry that was asked: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// What happened.
    pub kind: Box<Kind>,
    /// What the mirrors asked before it answered, one text each.
    pub mirrors: Vec<String>,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`host` is who was spoken to, `what` the thing asked for, `detail` words on it")]
pub enum Kind {
    /// No connection came about: what a user without a network sees.
    #[error("cannot reach {host}{}: {why}", via(proxy))]
    Unreachable { host: String, proxy: Option<String>, why: Unreachable },
    /// The other side cannot prove who it is, or speaks no TLS.
    #[error("no secure connection to {host}: {detail}")]
    Tls { host: String, detail: String },
    /// The connection ended or fell silent, as often as it was tried.
    #[error("the connection to {host} broke: {detail}")]
    Broken { host: String, detail: String },
    /// A redirect that is not followed.
    #[error("{host} redirects to an address that is not followed: {detail}")]
    Redirect { host: String, detail: String },
    /// The registry does not have it.
    #[error("{what} not found{}", colon(detail))]
    NotFound { what: String, detail: String, similar: Vec<String> },
    /// The registry wants to know who asks, or does not let them.
    #[error("access denied by {host} (status {status}){}", colon(detail))]
    Denied { host: String, status: u16, detail: String, login: Login },
    /// Too many pulls.
    #[error("{host} refuses further requests for now (status 429){}", colon(detail))]
    RateLimited { host: String, detail: String, retry_after: Option<Duration> },
    /// Any other answer.
    #[error("{host} answered {status} to the request for {what}{}", colon(detail))]
    Status { host: String, status: u16, what: String, detail: String },
    /// What arrived is not what was asked for.
    #[error("{what} has the digest {actual}, not {expected}")]
    Digest { what: String, expected: Sha256, actual: Sha256 },
    /// What arrived, or is announced, has another size than was stated.
    #[error("{what} has {actual} bytes, not {expected}")]
    Size { what: String, expected: u64, actual: u64 },
    /// More than is ever needed.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    /// The image is in the format that was given up in 2017.
    #[error("the image has a manifest of schema version 1, which is no longer supported")]
    Schema1,
    /// Something that is no container image, or a kind of layer that cannot be read.
    #[error("{what} has the media type {media_type:?}, which is not supported")]
    Unsupported { what: String, media_type: String },
    /// A document breaks its own rules.
    #[error("{what} is not valid: {detail}")]
    Malformed { what: String, detail: String },
    /// The image exists, but not for this platform.
    #[error("there is no image for {wanted}; there is {}", list(available))]
    NoPlatform { wanted: String, available: Vec<String> },
    /// What was fetched could not be written.
    #[error("cannot write {digest}")]
    Sink {
        digest: Sha256,
        #[source]
        source: io::Error,
    },
}

/// Why no connection came about.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreachable {
    /// The name has no address, or nobody is there to ask for it.
    #[error("its name does not resolve")]
    Name,
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// There is no way there.
    #[error("no route to it")]
    NoRoute,
    /// No answer.
    #[error("no connection within the time limit")]
    Timeout,
    /// The proxy did not make a way.
    #[error("the proxy refused: {0}")]
    Proxy(String),
    /// Something else, in the system's words.
    #[error("{0}")]
    Other(String),
}

/// Whether credentials were there when access was denied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Login {
    /// None are configured for this host.
    Anonymous,
    /// They were sent, and did not help.
    Sent,
    /// They are configured, but could not be had: why.
    Trouble(String),
}

impl Error {
    /// Whether the network or the registry could not be reached at all, so that what is already there may do.
    pub fn is_offline(&self) -> bool {
        matches!(*self.kind, Kind::Unreachable { .. })
    }

    /// Whether the registry answers that it does not have the image.
    pub fn is_not_found(&self) -> bool {
        matches!(*self.kind, Kind::NotFound { .. })
    }

    /// What the user can do about it; one or two sentences.
    pub fn advice(&self) -> Option<String> {
        let registry = match self.registry.as_str() {
            super::reference::DOCKER_HUB => "",
            other => other,
        };
        let login = format!("docker login {registry}");
        let login = login.trim_end();
        Some(match &*self.kind {
            Kind::Unreachable { why: Unreachable::Refused, .. } if self.is_local() => {
                "is the registry running, and is this its port?".to_owned()
            }
            Kind::Unreachable { .. } => {
                "is the network up? A proxy is taken from HTTPS_PROXY, a mirror from KILN_REGISTRY_MIRROR or kiln.ron"
                    .to_owned()
            }
            Kind::Tls { .. } => format!(
                "a private certificate authority can be named with SSL_CERT_FILE; a registry without TLS belongs into \
                 KILN_INSECURE_REGISTRIES ({})",
                self.registry
            ),
            Kind::NotFound { similar, .. } if !similar.is_empty() => format!("did you mean {}?", list(similar)),
            Kind::NotFound { .. } => "check the name and the tag".to_owned(),
            Kind::Denied { login: Login::Trouble(trouble), .. } => {
                format!("the credentials for it could not be had: {trouble}")
            }
            Kind::Denied { login: Login::Anonymous, .. } => {
                format!("the repository may not exist, or be private: check the name, or log in with `{login}`")
            }
            Kind::Denied { login: Login::Sent, .. } => {
                format!(
                    "the stored login is wrong or may not read this repository: check the name, or run `{login}` again"
                )
            }
            Kind::RateLimited { retry_after, .. } => {
                let wait = retry_after.map(|wait| format!("wait {} s, ", wait.as_secs())).unwrap_or_default();
                format!("{wait}log in with `{login}`, or set a mirror with KILN_REGISTRY_MIRROR")
            }
            Kind::Digest { .. } | Kind::Size { .. } => {
                "the registry, a mirror or a proxy on the way delivers damaged data".to_owned()
            }
            Kind::Schema1 => "push the image again with a current tool".to_owned(),
            Kind::NoPlatform { .. } => "state one of them with --platform".to_owned(),
            _ => return None,
        })
    }

    fn is_local(&self) -> bool {
        super::url::Url::of_host(super::url::Scheme::Http, &self.registry).is_some_and(|url| url.is_loopback())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}: {}", self.reference, self.registry, self.kind)?;
        self.mirrors.iter().try_for_each(|mirror| write!(f, "; before it, {mirror}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.kind)
    }
}

/// Something worth telling that does not stop a pull.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`mirror` is its address without credentials; `detail` and `reason` are words")]
pub enum Warning {
    /// A mirror did not serve; the registry itself is asked.
    #[error("registry mirror {mirror} failed, asking {registry} instead: {reason}")]
    Mirror { mirror: String, registry: String, reason: String },
    /// Credentials are configured, but cannot be had; the registry is asked without.
    #[error("cannot get the credentials for {host}: {detail}")]
    Credentials { host: String, detail: String },
    /// The image is for another platform than was asked for, and the only one there is.
    #[error("{reference} is an image for {found}, not for {wanted}")]
    Platform { reference: String, wanted: String, found: String },
}

/// Longest text of a server that is repeated, in characters.
const SERVER_TEXT_MAX_CHARS: usize = 300;

/// Text from a server, made safe to print: one line, no control characters, not long.
pub(crate) fn clean(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(SERVER_TEXT_MAX_CHARS).collect()
}

fn colon(detail: &str) -> String {
    match detail {
        "" => String::new(),
        detail => format!(": {detail}"),
    }
}

fn via(proxy: &Option<String>) -> String {
    proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

fn list(items: &[String]) -> String {
    match items {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(registry: &str, kind: Kind) -> Error {
        Error { reference: "node:12".into(), registry: registry.into(), kind: Box::new(kind), mirrors: Vec::new() }
    }

    #[test]
    fn an_error_reads_as_a_sentence_and_advises() {
        let offline = Kind::Unreachable { host: "registry-1.docker.io".into(), proxy: None, why: Unreachable::Name };
        let mut offline = error("docker.io", offline);
        offline.mirrors.push("mirror http://localhost:5000: connection refused".into());
        assert!(offline.is_offline());
        insta::assert_snapshot!(offline, @"node:12 from docker.io: cannot reach registry-1.docker.io: its name does not resolve; before it, mirror http://localhost:5000: connection refused");
        let missing =
            Kind::NotFound { what: "tag 12".into(), detail: String::new(), similar: vec!["a".into(), "b".into()] };
        assert_eq!(error("docker.io", missing).advice().unwrap(), "did you mean a and b?");
        let denied = |registry| {
            error(
                registry,
                Kind::Denied { host: "h".into(), status: 401, detail: "no".into(), login: Login::Anonymous },
            )
        };
        assert!(denied("docker.io").advice().unwrap().ends_with("`docker login`"));
        assert!(denied("ghcr.io").advice().unwrap().ends_with("`docker login ghcr.io`"));
        insta::assert_snapshot!(denied("ghcr.io"), @"node:12 from ghcr.io: access denied by h (status 401): no");
    }

    #[test]
    fn text_of_a_server_cannot_play_with_the_terminal() {
        assert_eq!(clean("a\x1b[31m\nb\t c"), "a[31m b c");
        assert_eq!(clean(&"x".repeat(1000)).len(), SERVER_TEXT_MAX_CHARS);
    }
}

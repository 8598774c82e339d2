//! What a [`Client`](super::Client) is told: mirrors, plain-HTTP hosts, credentials file, proxies, limits.
//!
//! The environment is read by one function with a look-up handed in, so that nothing below it depends on the process.

use super::{reference::canonical_registry, retry::Retry, url::Url};
use std::{fmt, path::PathBuf, time::Duration};

/// Another place that serves a registry's images; asked before the registry itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry that it stands in for: `docker.io`.
    pub registry: String,
    /// Where it is: `http://localhost:5000`. A path (`https://harbor.lan/hub`) is put before the repository, as
    /// pull-through caches expect it; a user and password in it are sent to it. Its scheme is taken as it is written.
    pub url: String,
}

impl Mirror {
    /// A mirror of `registry` at `url`.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(registry: &str, url: &str) -> Result<Self, OptionsError> {
        let mirror = Mirror { registry: canonical_registry(registry), url: url.to_owned() };
        check_mirror(&mirror).map(|_| mirror)
    }
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Asked in this order, then the registry itself.
    pub mirrors: Vec<Mirror>,
    /// Hosts (`host`, `host:port`, an address or a CIDR block) that are spoken to without TLS. Loopback always is.
    pub insecure: Vec<String>,
    /// Docker's `config.json`; a file that is not there means no credentials.
    pub docker_config: Option<PathBuf>,
    /// A PEM file of certificate authorities, instead of the system's.
    pub certificates: Option<PathBuf>,
    /// How to get out of the network.
    pub proxies: Proxies,
    /// Who we say we are.
    pub user_agent: String,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often and how long to try again.
    pub retry: Retry,
}

/// How long one operation may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the start of the name look-up, and again for the connection with its TLS handshake.
    pub connect: Duration,
    /// Between two arrivals of data. There is no limit for a whole transfer: layers may be large and lines slow.
    pub idle: Duration,
}

/// Proxies, as URLs. Loopback is never reached by one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// For `http://` addresses. The proxy must allow CONNECT for them.
    pub http: Option<String>,
    /// For `https://` addresses.
    pub https: Option<String>,
    /// Hosts, domains, addresses and CIDR blocks that are reached directly, separated by commas.
    pub exceptions: String,
}

/// Why a client cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "`reason` and `detail` say what is wrong in words; addresses have no credentials left")]
pub enum OptionsError {
    /// A mirror's address cannot be used.
    #[error("registry mirror for {registry} is not usable: {reason}")]
    Mirror { registry: String, reason: String },
    /// A proxy's address cannot be used.
    #[error("proxy {proxy} is not usable: {reason}")]
    Proxy { proxy: String, reason: String },
    /// The certificate authorities cannot be read.
    #[error("cannot read certificates from {}: {detail}", path.display())]
    Certificates { path: PathBuf, detail: String },
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(15), idle: Duration::from_secs(60) }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            docker_config: None,
            certificates: None,
            proxies: Proxies::default(),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
        }
    }
}

impl Options {
    /// What the environment says. `lookup` is [`std::env::var`] without its error, or a table in a test.
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `KILN_REGISTRY_MIRROR` | mirrors: see [`parse_mirrors`] |
    /// | `KILN_INSECURE_REGISTRIES` | hosts without TLS, separated by commas |
    /// | `DOCKER_CONFIG` | the directory of `config.json`; else `$HOME/.docker` |
    /// | `SSL_CERT_FILE` | the certificate authorities |
    /// | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies; lower case too, `ALL_PROXY` where no other is set |
    ///
    /// # Errors
    /// `KILN_REGISTRY_MIRROR` is not understood.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let either = |name: &str| get(name).or_else(|| get(&name.to_ascii_lowercase()));
        let config_directory = get("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| get("HOME").map(|home| PathBuf::from(home).join(".docker")));
        Ok(Options {
            mirrors: parse_mirrors(&get("KILN_REGISTRY_MIRROR").unwrap_or_default())?,
            insecure: split_list(&get("KILN_INSECURE_REGISTRIES").unwrap_or_default()).map(str::to_owned).collect(),
            docker_config: config_directory.map(|directory| directory.join("config.json")),
            certificates: get("SSL_CERT_FILE").map(PathBuf::from),
            proxies: Proxies {
                http: either("HTTP_PROXY").or_else(|| either("ALL_PROXY")),
                https: either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")),
                exceptions: either("NO_PROXY").unwrap_or_default(),
            },
            ..Options::default()
        })
    }
}

/// Reads mirrors as `KILN_REGISTRY_MIRROR` states them: `docker.io=http://localhost:5000,ghcr.io=https://mirror.lan`; an
/// address alone is one for `docker.io`. Several for one registry are asked in their order.
///
/// # Errors
/// An entry has no usable address.
pub fn parse_mirrors(text: &str) -> Result<Vec<Mirror>, OptionsError> {
    split_list(text)
        .map(|entry| {
            let (registry, url) = match entry.split_once('=') {
                // An `=` in the address itself (a path, a password) comes after its scheme.
                Some((registry, url)) if !registry.contains("://") => (registry.trim(), url.trim()),
                _ => (super::reference::DOCKER_HUB, entry),
            };
            Mirror::new(registry, url)
        })
        .collect()
}

/// Takes a mirror's address apart; an address without a scheme is refused rather than guessed.
pub(super) fn check_mirror(mirror: &Mirror) -> Result<(Url, Option<super::secret::Credential>), OptionsError> {
    let refuse = |reason: &str| OptionsError::Mirror {
        registry: mirror.registry.clone(),
        reason: format!("{reason}; write registry=http://host:port or registry=https://host"),
    };
    if mirror.registry.is_empty() {
        return Err(refuse("no registry is named"));
    }
    let (url, user) = Url::parse(&mirror.url).map_err(refuse)?;
    let credential = user.map(|(username, password)| super::secret::Credential::Basic { username, password });
    Ok((url, credential))
}

fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mirror({} at {})", self.registry, super::url::redact(&self.url))
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |proxy: &Option<String>| proxy.as_deref().map(super::url::redact);
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("exceptions", &self.exceptions)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read_in_both_forms() {
        let shown = |text| format!("{:?}", parse_mirrors(text).unwrap());
        assert_eq!(shown("http://localhost:5000"), "[Mirror(docker.io at http://localhost:5000)]");
        assert_eq!(
            shown("index.docker.io=http://u:p@localhost:5000, ghcr.io=https://m.lan/ghcr,"),
            "[Mirror(docker.io at http://localhost:5000), Mirror(ghcr.io at https://m.lan/ghcr)]"
        );
        assert_eq!(shown("https://m.lan/a=b"), "[Mirror(docker.io at https://m.lan/a=b)]");
        assert_eq!(shown(""), "[]");
    }

    #[test]
    fn a_mirror_without_a_scheme_is_refused_and_not_repeated() {
        let error = parse_mirrors("docker.io=ann:hunter2@localhost:5000").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        insta::assert_snapshot!(error, @"registry mirror for docker.io is not usable: it has no http:// or https://; write registry=http://host:port or registry=https://host");
        assert!(parse_mirrors("=http://x").is_err());
    }

    #[test]
    fn the_environment_sets_what_it_names() {
        let table = [
            ("HOME", "/home/ann"),
            ("https_proxy", "http://u:hunter2@proxy:3128"),
            ("NO_PROXY", "corp.lan"),
            ("KILN_INSECURE_REGISTRIES", "reg.lan:5000, 10.0.0.0/8"),
            ("SSL_CERT_FILE", ""),
        ];
        let lookup = |name: &str| table.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let options = Options::from_environment(lookup).unwrap();
        assert_eq!(options.docker_config, Some(PathBuf::from("/home/ann/.docker/config.json")));
        assert_eq!(options.insecure, ["reg.lan:5000", "10.0.0.0/8"]);
        assert_eq!((options.certificates.as_ref(), options.proxies.http.as_ref()), (None, None));
        assert_eq!(options.proxies.exceptions, "corp.lan");
        let shown = format!("{options:?}");
        assert!(shown.contains("http://proxy:3128") && !shown.contains("hunter2"), "{shown}");
    }
}

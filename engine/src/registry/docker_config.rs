//! Reads Docker's `config.json`: stored logins, and which helper program keeps the others.
//!
//! Knows nothing of how helpers are run. No error repeats any text of the file, because the file holds passwords.

use super::secret::{Credential, Secret};
use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What Docker Hub is called in this file.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The parts of the file that concern logins.
#[derive(Deserialize, Default)]
pub(super) struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl DockerConfig {
    /// Reads the file's bytes.
    ///
    /// # Errors
    /// Where it is not JSON of the expected form, without saying what stands there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| {
            format!("it is not a docker configuration (line {}, column {})", error.line(), error.column())
        })
    }

    /// The name of the helper that keeps the login of this host (`gcloud` for `docker-credential-gcloud`).
    pub(super) fn helper(&self, host: &str) -> Option<&str> {
        let own = self.helpers.iter().find(|(key, _)| names_host(key, host)).map(|(_, helper)| helper);
        own.or(self.store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The login of this host that stands in the file itself.
    ///
    /// # Errors
    /// There is one, but it cannot be read.
    pub(super) fn stored(&self, host: &str) -> Result<Option<Credential>, String> {
        let exact =
            self.auths.get(host).or_else(|| self.auths.iter().find(|(key, _)| names_host(key, host)).map(|(_, e)| e));
        let Some(entry) = exact else {
            return Ok(None);
        };
        if !entry.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer(Secret::new(&entry.registrytoken))));
        }
        if !entry.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(Secret::new(&entry.identitytoken))));
        }
        if !entry.username.is_empty() {
            let (username, password) = (entry.username.clone(), Secret::new(&entry.password));
            return Ok(Some(Credential::Basic { username, password }));
        }
        if entry.auth.is_empty() {
            // What `docker login` leaves behind when a helper keeps the login.
            return Ok(None);
        }
        let engine = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        let decoded = engine.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            // Docker wrote a trailing NUL into passwords once.
            Some((username, password)) if !username.is_empty() => Ok(Some(Credential::Basic {
                username: username.to_owned(),
                password: Secret::new(password.trim_end_matches('\0')),
            })),
            _ => Err("the entry \"auth\" is not user:password in base64".to_owned()),
        }
    }
}

/// Whether a key of the file (`ghcr.io`, `https://ghcr.io/v2/`) names this registry.
fn names_host(key: &str, host: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.split('/').next().unwrap_or_default();
    super::reference::canonical_registry(bare) == super::reference::canonical_registry(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(config: &DockerConfig, host: &str) -> Option<(String, String)> {
        match config.stored(host).unwrap()? {
            Credential::Basic { username, password } => Some((username, password.reveal().to_owned())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_login_is_found_under_every_spelling_of_its_host() {
        let text = r#"{
            "auths": {
                "https://index.docker.io/v1/": {"auth": "YW5uOmh1bnRlcjI="},
                "ghcr.io": {"auth": "Ym9iOnA6dw"},
                "http://localhost:5000/v2/": {"username": "u", "password": "p"},
                "helper.lan": {},
                "id.lan": {"identitytoken": "idt", "auth": "YW5uOg=="},
                "tok.lan": {"registrytoken": "rt"}
            },
            "HttpHeaders": {"User-Agent": "x"}, "psFormat": "y"
        }"#;
        let config = DockerConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(basic(&config, "docker.io"), Some(("ann".into(), "hunter2".into())));
        assert_eq!(basic(&config, "ghcr.io"), Some(("bob".into(), "p:w".into())));
        assert_eq!(basic(&config, "GHCR.io"), Some(("bob".into(), "p:w".into())));
        assert_eq!(basic(&config, "localhost:5000"), Some(("u".into(), "p".into())));
        assert_eq!(config.stored("localhost:5001"), Ok(None));
        assert_eq!(config.stored("helper.lan"), Ok(None));
        assert_eq!(config.stored("id.lan"), Ok(Some(Credential::Identity(Secret::new("idt")))));
        assert_eq!(config.stored("tok.lan"), Ok(Some(Credential::Bearer(Secret::new("rt")))));
        assert_eq!(config.helper("ghcr.io"), None);
    }

    #[test]
    fn a_helper_of_a_host_goes_before_the_store_of_all() {
        let text =
            r#"{"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud", "https://index.docker.io/v1/": "hub"}}"#;
        let config = DockerConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.helper("gcr.io"), Some("gcloud"));
        assert_eq!(config.helper("docker.io"), Some("hub"));
        assert_eq!(config.helper("ghcr.io"), Some("desktop"));
    }

    #[test]
    fn no_error_repeats_the_file() {
        for text in [r#"{"auths": {"a": {"auth": ["hunter2"]}}}"#, r#"{"auths": "hunter2"}"#, "hunter2"] {
            let error = DockerConfig::parse(text.as_bytes()).err().unwrap();
            assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
        }
        for auth in ["hunter2!", "aHVudGVyMg==", "OnB3"] {
            let config =
                DockerConfig::parse(format!(r#"{{"auths": {{"a.io": {{"auth": "{auth}"}}}}}}"#).as_bytes()).unwrap();
            let error = config.stored("a.io").unwrap_err();
            assert!(error.contains("not user:password") && !error.contains("hunter2"));
        }
    }
}

//! Pulls images from registries: names, logins, mirrors, manifests, blobs. Nothing here pushes, unpacks into a store, or prints.
//!
//! The way of a pull: [`Reference::parse`] → [`Client::resolve`] (manifest for the platform, configuration, list of layers)
//! → [`Client::fetch_layers`] (verified while they stream, resumed where a connection breaks) → [`Unpacked`] (the tar of
//! each, verified against its diff id).
//!
//! **Blocking, by `ureq`.** The protocol is a handful of GETs, and layers are fetched by as many threads as there are
//! transfers, so an asynchronous runtime would only be in the way. Measured on two cores in the debug profile of this
//! workspace: `ureq` with rustls is 27 crates and builds in 78 s; `oci-client` with tokio and reqwest is 187 crates and
//! builds in 413 s, and needs resuming, mirrors, proxies per scheme and logins written around it all the same.
//!
//! **Boundary.** The environment is read by [`Options::from_environment`] only, with a look-up handed in. Certificates are
//! the system's where there are any. HTTP through a proxy always uses CONNECT. Redirects never carry `Authorization` to
//! another origin, and no error, warning or `Debug` holds a credential or the query of a signed address.

mod auth;
mod blob;
mod challenge;
mod docker_config;
mod error;
mod hosts;
mod keyring;
mod layers;
mod manifest;
mod options;
pub mod platform;
pub mod reference;
mod resolve;
mod retry;
mod secret;
mod source;
mod suggest;
mod transport;
mod unpack;
mod url;

#[cfg(test)]
mod tests;

pub use blob::{BlobSink, MemorySink};
pub use error::{Error, Kind, Login, Unreachable, Warning};
pub use layers::OpenSink;
pub use manifest::{Compression, Descriptor};
pub use options::{Mirror, Options, OptionsError, Proxies, Timeouts, parse_mirrors};
pub use platform::Platform;
pub use reference::{Reference, ReferenceError};
pub use resolve::{Layer, Resolved};
pub use retry::Retry;
pub use unpack::{UnpackError, Unpacked};

// For what else is fetched over HTTP: the same connections, certificates, proxies and rules for redirects.
pub(crate) use error::clean;
pub(crate) use secret::Secret;
pub(crate) use transport::{Answer, Call, Transport};
pub(crate) use url::Url;

use auth::Grants;
use keyring::Keyring;
use source::Source;
use std::{fmt, sync::Arc};

/// Pulls images. Made once and shared by threads: it keeps connections, tokens and what it learned about mirrors.
pub struct Client {
    transport: Transport,
    retry: Retry,
    mirrors: Vec<(String, Arc<Source>)>,
    keyring: Keyring,
    grants: Grants,
    listener: Box<dyn Fn(&Warning) + Send + Sync>,
}

impl Client {
    /// A client that does as it is told. Opens no connection.
    ///
    /// # Errors
    /// A mirror's or proxy's address cannot be used, or the certificates cannot be read.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        let transport = Transport::new(&options)?;
        let mut mirrors = Vec::new();
        for mirror in &options.mirrors {
            let (url, login) = options::check_mirror(mirror)?;
            let registry = reference::canonical_registry(&mirror.registry);
            mirrors.push((registry, Arc::new(Source::mirror(&url, login))));
        }
        let (keyring, grants) = (Keyring::new(options.docker_config), Grants::default());
        Ok(Client { transport, retry: options.retry, mirrors, keyring, grants, listener: Box::new(|_| ()) })
    }

    /// Hands every [`Warning`] to `listener`, from whichever thread meets it.
    #[must_use]
    pub fn on_warning(self, listener: impl Fn(&Warning) + Send + Sync + 'static) -> Self {
        Client { listener: Box::new(listener), ..self }
    }

    fn warn(&self, warning: &Warning) {
        (self.listener)(warning);
    }

    /// Tries the mirrors of a name's registry, then the registry itself.
    fn try_sources<T>(
        &self,
        reference: &Reference,
        mut act: impl FnMut(&Source) -> Result<T, Kind>,
    ) -> Result<T, Error> {
        let name = reference::canonical_registry(reference.registry());
        let mut said = Vec::new();
        for (_, mirror) in self.mirrors.iter().filter(|(registry, _)| *registry == name) {
            if mirror.is_down() {
                said.push(format!("mirror {}: it could not be reached before", mirror.shown()));
                continue;
            }
            let kind = match act(mirror) {
                Ok(done) => return Ok(done),
                // What cannot be written cannot be written from elsewhere either.
                Err(kind @ Kind::Sink { .. }) => return Err(self.error(reference, kind, said)),
                Err(kind) => kind,
            };
            said.push(format!("mirror {}: {kind}", mirror.shown()));
            if matches!(kind, Kind::Unreachable { .. }) {
                mirror.set_down();
            }
            // A mirror need not have everything: what it lacks is told only if the registry cannot help either.
            if !matches!(kind, Kind::NotFound { .. }) {
                self.warn(&Warning::Mirror {
                    mirror: mirror.shown(),
                    registry: name.clone(),
                    reason: kind.to_string(),
                });
            }
        }
        let origin = Source::origin(&self.transport, reference).ok_or_else(|| Kind::Malformed {
            what: "the name of the registry".to_owned(),
            detail: format!("{:?} is no host", reference.registry()),
        });
        origin.and_then(|origin| act(&origin)).map_err(|kind| self.error(reference, kind, said))
    }

    fn error(&self, reference: &Reference, kind: Kind, mirrors: Vec<String>) -> Error {
        let (reference, registry) = (reference.familiar(), reference.registry().to_owned());
        Error { reference, registry, kind: Box::new(kind), mirrors }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mirrors: Vec<String> =
            self.mirrors.iter().map(|(name, mirror)| format!("{name} at {}", mirror.shown())).collect();
        f.debug_struct("Client").field("mirrors", &mirrors).field("retry", &self.retry).finish_non_exhaustive()
    }
}

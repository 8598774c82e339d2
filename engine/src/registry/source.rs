//! One place that serves images, a registry or a mirror of it, and how a request to it is made, answered and repeated.
//!
//! Knows the URL scheme of the distribution protocol and what its statuses mean; nothing of manifests or blobs.

use super::{
    Client, Warning,
    auth::{Asker, error_text},
    error::Kind,
    keyring::Found,
    reference::{DOCKER_HUB, Reference, canonical_registry},
    retry::{Retry, parse_retry_after},
    secret::Credential,
    transport::{Answer, Call, Transport},
    url::{Scheme, Url},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Where Docker Hub really is.
const HUB_HOST: &str = "registry-1.docker.io";
/// Largest body of an error that is read.
const ERROR_MAX_BYTES: u64 = 64 << 10;
/// An unreachable host is tried this often: once more, because name servers stumble, and no more, because a user
/// without a network should be told at once.
const UNREACHABLE_ATTEMPTS: u32 = 2;
/// How often one thing may fail at a mirror without progress.
const MIRROR_ATTEMPTS: u32 = 2;

/// A place that serves images.
#[derive(Debug)]
pub(super) struct Source {
    base: Url,
    /// Stands before the repository; empty or with a `/` at its end.
    prefix: String,
    /// What the login is stored under.
    login_host: String,
    /// A login that stands in the mirror's address.
    own_login: Option<Credential>,
    mirror: bool,
    /// A mirror that could not be reached is not asked again by this client: every layer would wait for it.
    down: AtomicBool,
}

impl Source {
    /// The registry of a name itself. Its address cannot fail to be understood, since the name was.
    pub(super) fn origin(transport: &Transport, reference: &Reference) -> Option<Source> {
        let host = match reference.registry() {
            DOCKER_HUB => HUB_HOST,
            other => other,
        };
        let mut base = Url::of_host(Scheme::Https, host)?;
        // A list that names the port means it, so the plain address is the one to look up.
        let plain = Url::of_host(Scheme::Http, host)?;
        if transport.allows_plain(&plain) {
            base = plain;
        }
        let login_host = canonical_registry(reference.registry());
        Some(Source {
            base,
            prefix: String::new(),
            login_host,
            own_login: None,
            mirror: false,
            down: AtomicBool::new(false),
        })
    }

    pub(super) fn mirror(url: &Url, own_login: Option<Credential>) -> Source {
        let path = url.path().trim_matches('/');
        // People copy the `/v2/` of the protocol along.
        let path = path.strip_prefix("v2").filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
        let prefix = match path.trim_matches('/') {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let (base, login_host) = (url.with_target("/"), canonical_registry(&url.authority()));
        Source { base, prefix, login_host, own_login, mirror: true, down: AtomicBool::new(false) }
    }

    pub(super) fn is_mirror(&self) -> bool {
        self.mirror
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Remembers that it could not be reached.
    pub(super) fn set_down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    /// For messages: the address without credentials.
    pub(super) fn shown(&self) -> String {
        match self.prefix.as_str() {
            "" => self.base.to_string(),
            prefix => format!("{}/{}", self.base, prefix.trim_end_matches('/')),
        }
    }
}

/// What is asked of a source.
pub(super) struct Ask<'a> {
    /// The repository, without the source's prefix.
    pub(super) repository: &'a str,
    /// What follows the repository: `manifests/latest`.
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    /// Words for it in an error.
    pub(super) what: &'a str,
    /// Statuses beside 200 that are no errors.
    pub(super) also: &'a [u16],
}

impl Client {
    /// Asks until there is an answer that counts.
    ///
    /// # Errors
    /// The answer is not 200 and not one of `also`, or there is none.
    pub(super) fn ask(&self, source: &Source, ask: &Ask<'_>) -> Result<Answer, Kind> {
        let retry = self.retry_for(source);
        let mut failures = 0;
        loop {
            let error = match self.ask_once(source, ask) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            let (attempts, asked) = match &error.kind {
                Kind::Unreachable { .. } if source.mirror => (1, None),
                Kind::Unreachable { .. } => (UNREACHABLE_ATTEMPTS, None),
                Kind::Broken { .. } => (u32::MAX, None),
                Kind::RateLimited { retry_after, .. } => (u32::MAX, *retry_after),
                Kind::Status { status: 408 | 500 | 502 | 503 | 504, .. } => (u32::MAX, error.retry_after),
                _ => return Err(error.kind),
            };
            match retry.delay(failures, asked).filter(|_| failures < attempts) {
                Some(delay) => std::thread::sleep(delay),
                None => return Err(error.kind),
            }
        }
    }

    /// A mirror gets one more try, and after that the registry itself is the next.
    pub(super) fn retry_for(&self, source: &Source) -> Retry {
        match source.mirror {
            true => self.retry.at_most(MIRROR_ATTEMPTS),
            false => self.retry,
        }
    }

    fn ask_once(&self, source: &Source, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let repository = format!("{}{}", source.prefix, ask.repository);
        let url = source.base.with_target(&format!("/v2/{repository}/{}", ask.path));
        let mut authorization = self.grants.current(&source.base, &repository);
        let mut answered = false;
        loop {
            let call = Call { url: &url, headers: ask.headers, authorization: authorization.as_ref(), form: None };
            let mut answer = self.transport.send(&call)?;
            if answer.status == 200 || ask.also.contains(&answer.status) {
                return Ok(answer);
            }
            // A storage that a registry redirects to has no say in who logs in.
            let own = answer.url.same_origin(&source.base);
            let asker = || Asker {
                transport: &self.transport,
                base: &source.base,
                repository: &repository,
                login: self.login(source),
            };
            if answer.status == 401 && own && !answered {
                answered = true;
                authorization = Some(self.grants.answer(&asker(), &answer, authorization.as_ref())?);
                continue;
            }
            let body = answer.body.read_all(ERROR_MAX_BYTES).ok().flatten().unwrap_or_default();
            let (host, detail) = (answer.url.authority(), error_text(&body));
            let retry_after = answer.header("retry-after").and_then(parse_retry_after);
            let what = ask.what.to_owned();
            let kind = match answer.status {
                401 | 403 if own => asker().denied(answer.status, &detail),
                404 if own => Kind::NotFound { what, detail, similar: Vec::new() },
                429 => Kind::RateLimited { host, detail, retry_after },
                status => Kind::Status { host, status, what, detail },
            };
            return Err(Refusal { kind, retry_after });
        }
    }

    /// The login for a source; trouble with it is told once.
    fn login(&self, source: &Source) -> Found {
        if let Some(own) = &source.own_login {
            return Found::Login(own.clone());
        }
        let (found, first) = self.keyring.find(&source.login_host);
        let found = match found {
            Found::Login(_) if !self.transport.is_safe(&source.base) => Found::Trouble(
                "they are not sent without TLS, unless the host is in the list of insecure ones".to_owned(),
            ),
            other => other,
        };
        if let (Found::Trouble(detail), true) = (&found, first) {
            self.warn(&Warning::Credentials { host: source.login_host.clone(), detail: detail.clone() });
        }
        found
    }
}

/// An answer that does not count, and when its server wants to be asked again.
struct Refusal {
    kind: Kind,
    retry_after: Option<Duration>,
}

impl From<Kind> for Refusal {
    fn from(kind: Kind) -> Self {
        Refusal { kind, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_mirror_stands_before_the_repository() {
        let table = [
            ("http://localhost:5000", "", "http://localhost:5000"),
            ("http://localhost:5000/v2/", "", "http://localhost:5000"),
            ("https://harbor.lan/hub/", "hub/", "https://harbor.lan/hub"),
            ("https://harbor.lan/v2/hub", "hub/", "https://harbor.lan/hub"),
            ("https://harbor.lan/v2x", "v2x/", "https://harbor.lan/v2x"),
        ];
        for (text, prefix, shown) in table {
            let source = Source::mirror(&Url::parse(text).unwrap().0, None);
            assert_eq!((source.prefix.as_str(), source.shown().as_str()), (prefix, shown), "{text}");
        }
    }

    #[test]
    fn only_loopback_and_listed_hosts_are_spoken_to_without_tls() {
        let options = super::super::Options { insecure: vec!["reg.lan:5000".into()], ..Default::default() };
        let transport = Transport::new(&options).unwrap();
        let shown = |text| Source::origin(&transport, &Reference::parse(text).unwrap()).unwrap().shown();
        assert_eq!(shown("node"), "https://registry-1.docker.io");
        assert_eq!(shown("localhost:5000/a"), "http://localhost:5000");
        assert_eq!(shown("127.0.0.2/a"), "http://127.0.0.2");
        assert_eq!(shown("[::1]:5000/a"), "http://[::1]:5000");
        assert_eq!(shown("reg.lan:5000/a"), "http://reg.lan:5000");
        assert_eq!(shown("reg.lan/a"), "https://reg.lan");
    }
}

//! Sends one HTTP request, follows its redirects, and says in [`Kind`]s what went wrong.
//!
//! Owns the connections, TLS, proxies and time limits; `Authorization` never leaves the origin that it was made for. Knows
//! nothing of registries: not what a status means, nor whether to try again.

use super::{
    error::{Kind, Unreachable, clean},
    hosts::{Names, covers},
    options::{Options, OptionsError},
    secret::Secret,
    url::{Scheme, Url, redact},
};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};
use ureq::{
    Agent,
    http::{HeaderMap, HeaderValue, Request},
    tls::{Certificate, PemItem, RootCerts, TlsConfig},
};

/// More redirects than blob storage ever needs.
const REDIRECTS_MAX: usize = 8;
/// Where systems keep their certificate authorities in one file; the first that is there serves.
const CERTIFICATE_FILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What is asked.
pub(crate) struct Call<'a> {
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(&'static str, &'a str)],
    /// Sent to the origin of `url` only.
    pub(crate) authorization: Option<&'a Secret>,
    /// A form to post; without one the request is a GET.
    pub(crate) form: Option<&'a Secret>,
}

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who answered, after all redirects.
    pub(crate) url: Url,
}

impl Answer {
    /// A header's text; `None` where it is missing or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The body of an answer as it arrives.
pub(crate) struct Body {
    reader: ureq::BodyReader<'static>,
    host: String,
    idle: Duration,
}

impl Body {
    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// [`Kind::Broken`]: the connection ended before the announced length, or fell silent.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Kind> {
        loop {
            match self.reader.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let detail = broken(&ureq::Error::from(error), self.idle);
                    return Err(Kind::Broken { host: self.host.clone(), detail });
                }
            }
        }
    }

    /// Reads the rest, at most `limit` bytes of it; `None` where there is more.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(crate) fn read_all(&mut self, limit: u64) -> Result<Option<Vec<u8>>, Kind> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(Some(bytes)),
                count if bytes.len() as u64 + count as u64 > limit => return Ok(None),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// Connections to the world.
pub(crate) struct Transport {
    direct: Agent,
    http: Option<Proxied>,
    https: Option<Proxied>,
    exceptions: String,
    insecure: Vec<String>,
    idle: Duration,
}

struct Proxied {
    agent: Agent,
    /// The proxy's address without its credentials.
    shown: String,
}

impl Transport {
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        let roots = certificates(options.certificates.as_deref())?;
        let agent = |proxy: Option<ureq::Proxy>| {
            let config = Agent::config_builder()
                .http_status_as_error(false)
                // Redirects are followed here, where it is known what they may be told.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .proxy(proxy)
                .user_agent(options.user_agent.as_str())
                .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
                .timeout_resolve(Some(options.timeouts.connect))
                .timeout_connect(Some(options.timeouts.connect))
                .timeout_recv_response(Some(options.timeouts.idle))
                .timeout_per_read(Some(options.timeouts.idle))
                .timeout_per_write(Some(options.timeouts.idle));
            config.build().new_agent()
        };
        let proxied = |address: &Option<String>| {
            let Some(address) = address.as_deref() else {
                return Ok(None);
            };
            let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
            let shown = redact(&address);
            let refuse = |reason: &str| OptionsError::Proxy { proxy: shown.clone(), reason: reason.to_owned() };
            Url::parse(&address).map_err(refuse)?;
            let proxy = ureq::Proxy::new(&address).map_err(|_| refuse("it is not understood"))?;
            Ok(Some(Proxied { agent: agent(Some(proxy)), shown }))
        };
        Ok(Transport {
            direct: agent(None),
            http: proxied(&options.proxies.http)?,
            https: proxied(&options.proxies.https)?,
            exceptions: options.proxies.exceptions.clone(),
            insecure: options.insecure.clone(),
            idle: options.timeouts.idle,
        })
    }

    /// Whether a host with its optional port may be spoken to without TLS.
    pub(crate) fn allows_plain(&self, url: &Url) -> bool {
        let list = self.insecure.iter().map(String::as_str);
        url.is_loopback() || covers(list, Names::Exact, url.host(), url.effective_port())
    }

    /// Whether what is sent to this address is safe from listeners, or the user accepts that it is not.
    pub(crate) fn is_safe(&self, url: &Url) -> bool {
        url.scheme() == Scheme::Https || self.allows_plain(url)
    }

    /// Sends a request, and again to wherever it is redirected.
    ///
    /// # Errors
    /// There is no answer. Any status is an answer.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Answer, Kind> {
        let mut url = call.url.clone();
        let mut authorization = call.authorization;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send_once(call, &url, authorization)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) || call.form.is_some() {
                return Ok(answer);
            }
            let refuse = |detail: &str| Kind::Redirect { host: url.authority(), detail: detail.to_owned() };
            let next = answer.header("location").ok_or_else(|| refuse("it names none"))?;
            let next = url.join(next).map_err(refuse)?;
            if url.scheme() == Scheme::Https && !self.is_safe(&next) {
                return Err(refuse(&format!("{} has no TLS", next.authority())));
            }
            if !url.same_origin(&next) {
                // For good: a redirect back may be made by the other side.
                authorization = None;
            }
            url = next;
        }
        Err(Kind::Redirect { host: call.url.authority(), detail: format!("more than {REDIRECTS_MAX} in a row") })
    }

    fn send_once(&self, call: &Call<'_>, url: &Url, authorization: Option<&Secret>) -> Result<Answer, Kind> {
        let (agent, proxy) = self.agent(url);
        let unusable = || Kind::Redirect { host: url.authority(), detail: "the address is not understood".to_owned() };
        let mut request = Request::builder().uri(url.wire());
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        if let Some(secret) = authorization {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| unusable())?;
            value.set_sensitive(true);
            request = request.header("authorization", value);
        }
        let response = match call.form {
            None => agent.run(request.body(()).map_err(|_| unusable())?),
            Some(form) => {
                let request = request.method("POST").header("content-type", "application/x-www-form-urlencoded");
                agent.run(request.body(form.reveal().as_bytes()).map_err(|_| unusable())?)
            }
        };
        let (parts, body) = response.map_err(|error| self.explain(url, proxy, &error))?.into_parts();
        let body = Body { reader: body.into_reader(), host: url.authority(), idle: self.idle };
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, url: url.clone() })
    }

    fn agent(&self, url: &Url) -> (&Agent, Option<&str>) {
        let proxied = match url.scheme() {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let exceptions = self.exceptions.split([',', ' ']);
        match proxied {
            Some(proxied)
                if !url.is_loopback() && !covers(exceptions, Names::Domains, url.host(), url.effective_port()) =>
            {
                (&proxied.agent, Some(&proxied.shown))
            }
            _ => (&self.direct, None),
        }
    }

    fn explain(&self, url: &Url, proxy: Option<&str>, error: &ureq::Error) -> Kind {
        use ureq::{Error, Timeout};
        let host = url.authority();
        let why = match error {
            Error::HostNotFound => Unreachable::Name,
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => Unreachable::Timeout,
            Error::ConnectProxyFailed(detail) => Unreachable::Proxy(clean(detail)),
            Error::ConnectionFailed => Unreachable::Other("no connection".to_owned()),
            Error::Rustls(detail) => return Kind::Tls { host, detail: clean(&detail.to_string()) },
            Error::Tls(detail) => return Kind::Tls { host, detail: (*detail).to_owned() },
            Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Unreachable::Refused,
                io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::AddrNotAvailable => Unreachable::NoRoute,
                // How rustls tells a certificate that is not trusted, and an answer that is not TLS.
                io::ErrorKind::InvalidData if url.scheme() == Scheme::Https => {
                    return Kind::Tls { host, detail: clean(&error.to_string()) };
                }
                // The standard library gives a failed look-up no kind of its own.
                _ if error.to_string().starts_with("failed to lookup address") => Unreachable::Name,
                _ => return Kind::Broken { host, detail: clean(&error.to_string()) },
            },
            other => return Kind::Broken { host, detail: broken(other, self.idle) },
        };
        Kind::Unreachable { host, proxy: proxy.map(str::to_owned), why }
    }
}

/// Words for a connection that ended early. Errors that may repeat an address are not quoted.
fn broken(error: &ureq::Error, idle: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no data for {} s", idle.as_secs_f32()),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it was closed too early".to_owned(),
        ureq::Error::BadUri(_) => "the address is not understood".to_owned(),
        other => clean(&other.to_string()),
    }
}

/// The named certificate authorities, else the system's, else Mozilla's as this program carries them.
fn certificates(named: Option<&Path>) -> Result<RootCerts, OptionsError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => match CERTIFICATE_FILES.iter().map(PathBuf::from).find(|path| path.is_file()) {
            Some(path) => path,
            None => return Ok(RootCerts::WebPki),
        },
    };
    let refuse = |detail: String| OptionsError::Certificates { path: path.clone(), detail };
    let pem = std::fs::read(&path).map_err(|error| refuse(error.to_string()))?;
    let found: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match (found.is_empty(), named) {
        (false, _) => Ok(RootCerts::new_with_certs(&found)),
        (true, Some(_)) => Err(refuse("it holds no certificate".to_owned())),
        (true, None) => Ok(RootCerts::WebPki),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_exceptions_are_reached_without_the_proxy() {
        let options = Options {
            proxies: super::super::Proxies {
                http: Some("proxy.lan:3128".into()),
                https: Some("http://ann:hunter2@proxy.lan:3128".into()),
                exceptions: "corp.lan,10.0.0.0/8".into(),
            },
            ..Options::default()
        };
        let transport = Transport::new(&options).unwrap();
        let proxy = |text: &str| transport.agent(&Url::parse(text).unwrap().0).1.map(str::to_owned);
        assert_eq!(proxy("https://ghcr.io/").as_deref(), Some("http://proxy.lan:3128"));
        assert_eq!(proxy("http://ghcr.io/").as_deref(), Some("http://proxy.lan:3128"));
        for direct in ["http://localhost:5000/", "https://127.0.0.1/", "https://r.corp.lan/", "http://10.1.2.3/"] {
            assert_eq!(proxy(direct), None, "{direct}");
        }
    }

    #[test]
    fn an_unusable_setting_is_named_without_its_password() {
        let proxies = super::super::Proxies { https: Some("socks5://u:hunter2@p:1".into()), ..Default::default() };
        let error = Transport::new(&Options { proxies, ..Options::default() }).err().unwrap();
        assert!(matches!(error, OptionsError::Proxy { .. }) && !error.to_string().contains("hunter2"), "{error}");
        let certificates = Some(PathBuf::from("/nonexistent/ca.pem"));
        let error = Transport::new(&Options { certificates, ..Options::default() }).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
    }
}

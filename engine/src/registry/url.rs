//! The URLs that registries are spoken to by: taking them apart, following redirects, and showing them safely.
//!
//! A [`Url`] never holds a user or password, and its `Display` leaves the query out, because signed addresses of blob
//! storage carry their secret there. Knows nothing of HTTP.

use super::secret::Secret;
use std::{fmt, net::IpAddr};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// The user and password that stood in an address.
pub(crate) type UserInfo = (String, Secret);

/// An absolute http or https address without credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: Scheme,
    /// In lower case; an IPv6 address is without its brackets.
    host: String,
    port: Option<u16>,
    /// Path and query as they are sent; begins with `/`.
    target: String,
}

impl Url {
    /// The address of `/` on a registry's host, which may have a port.
    pub(crate) fn of_host(scheme: Scheme, authority: &str) -> Option<Url> {
        Url::parse(&format!("{}://{authority}/", scheme.word())).ok().map(|(url, _)| url)
    }

    /// Reads an absolute address; credentials in it are given back apart.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not repeat it.
    pub(crate) fn parse(text: &str) -> Result<(Url, Option<UserInfo>), &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some((word, rest)) if word.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((word, rest)) if word.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some(_) => return Err("it is neither http nor https"),
            None => return Err("it has no http:// or https://"),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, port) = inner.split_once(']').ok_or("its IPv6 address is not closed")?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "its IPv6 address is not valid")?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or("its port is not a number")?)
            }
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(good) {
            return Err("it has no valid host");
        }
        let port = match port {
            "" => None,
            digits => Some(digits.parse().map_err(|_| "its port is not a number")?),
        };
        let target = target.split('#').next().unwrap_or_default();
        let target = match target.starts_with('/') {
            true => escape(target),
            false => format!("/{}", escape(target)),
        };
        let user = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (unescape(name), Secret::new(unescape(password)))
        });
        Ok((Url { scheme, host: host.to_ascii_lowercase(), port, target }, user))
    }

    /// Where a `Location` header leads from here. Credentials in it are dropped.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn join(&self, location: &str) -> Result<Url, &'static str> {
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location).map(|(url, _)| url);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme.word())).map(|(url, _)| url);
        }
        let path = self.path();
        let target = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            Some(_) => format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)]),
            None => return Err("it is empty"),
        };
        let target = target.split('#').next().unwrap_or_default();
        Ok(self.with_target(&escape(target)))
    }

    /// The same host with another path and query.
    pub(crate) fn with_target(&self, target: &str) -> Url {
        Url { target: target.to_owned(), ..self.clone() }
    }

    /// The same address with these parameters added to its query.
    pub(crate) fn with_query(&self, pairs: &[(&str, &str)]) -> Url {
        let mut target = self.target.clone();
        for (name, value) in pairs {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&form_pair(name, value));
        }
        self.with_target(&target)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn effective_port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Host and, where one is written, port; an IPv6 address in brackets.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The whole address, with what may be secret in its query: for the wire only.
    pub(crate) fn wire(&self) -> String {
        format!("{}://{}{}", self.scheme.word(), self.authority(), self.target)
    }

    /// Whether credentials for one may be sent to the other.
    pub(crate) fn same_origin(&self, other: &Url) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.effective_port() == other.effective_port()
    }

    /// Whether the host can only be this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.word(), self.authority(), self.path().trim_end_matches('/'))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// An address as it may be shown: without credentials and query, or nothing of it where it is not understood.
pub(crate) fn redact(text: &str) -> String {
    Url::parse(text).map_or_else(|_| "(an unreadable address)".to_owned(), |(url, _)| url.to_string())
}

/// `name=value` as forms and queries encode it.
pub(crate) fn form_pair(name: &str, value: &str) -> String {
    let encode = |text: &str, out: &mut String| {
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
    };
    let mut out = String::new();
    encode(name, &mut out);
    out.push('=');
    encode(value, &mut out);
    out
}

/// Escapes what may not stand in a path or query at all; redirects from blob storage are not always clean.
fn escape(target: &str) -> String {
    let mut out = String::with_capacity(target.len());
    for byte in target.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => out.push_str(&format!("%{byte:02X}")),
            0x21..=0x7e => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let code = match (first, rest) {
            (b'%', [a, b, ..]) => std::str::from_utf8(&[*a, *b]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        out.push(code.unwrap_or(*first));
        bytes = if code.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap().0
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let (url, user) = Url::parse("https://ann:p%40ss@Reg.lan:5000/v2/x?sig=secret#frag").unwrap();
        assert_eq!(url.to_string(), "https://reg.lan:5000/v2/x");
        assert_eq!(url.wire(), "https://reg.lan:5000/v2/x?sig=secret");
        let (name, password) = user.unwrap();
        assert_eq!((name.as_str(), password.reveal()), ("ann", "p@ss"));
        assert_eq!(format!("{url:?}"), "Url(https://reg.lan:5000/v2/x)");
        assert_eq!(redact("http://ann:pw@h/?q"), "http://h");
        assert!(!redact("ann:pw@h").contains("pw"));
    }

    #[test]
    fn a_redirect_leads_where_its_location_says() {
        let base = url("https://reg.lan/v2/a/blobs/x?y");
        assert_eq!(base.join("/z?q=1#f").unwrap().wire(), "https://reg.lan/z?q=1");
        assert_eq!(base.join("z").unwrap().wire(), "https://reg.lan/v2/a/blobs/z");
        assert_eq!(base.join("//cdn.lan/z").unwrap().wire(), "https://cdn.lan/z");
        assert_eq!(base.join("http://cdn.lan:81/a b|c").unwrap().wire(), "http://cdn.lan:81/a%20b%7Cc");
        assert_eq!(base.join("/to?next=http://x/").unwrap().wire(), "https://reg.lan/to?next=http://x/");
        assert!(base.join("").is_err() && base.join("ftp://x/").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_effective_port() {
        assert!(url("https://a/x").same_origin(&url("https://A:443/y")));
        for other in ["http://a/", "https://a:8443/", "https://b/"] {
            assert!(!url("https://a/").same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for text in ["http://localhost:5000", "http://127.8.0.1/", "http://[::1]:80/"] {
            assert!(url(text).is_loopback(), "{text}");
        }
        for text in ["http://localhost.evil.com", "http://128.0.0.1", "http://127.0.0.1.evil.com"] {
            assert!(!url(text).is_loopback(), "{text}");
        }
        assert_eq!(url("http://[::1]:80/").wire(), "http://[::1]:80/");
    }

    #[test]
    fn nonsense_is_no_address() {
        for text in ["", "reg.lan", "http://", "http://a b/", "http://a:x/", "http://[::1/", "file:///etc"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        let url = url("https://auth/token?a=1").with_query(&[("scope", "repository:a/b:pull"), ("s", "x y&z")]);
        assert_eq!(url.wire(), "https://auth/token?a=1&scope=repository%3Aa%2Fb%3Apull&s=x%20y%26z");
    }
}

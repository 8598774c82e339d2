//! A file behind an `http` or `https` address, asked for again only on a condition.
//!
//! What is remembered of an address is what its server said of the content (`ETag`, `Last-Modified`) and the layer that
//! the content became; a server that answers 304 costs one request and no byte. A content that is fetched again and is
//! the same gives the same layer. Mode, name and time are those of BuildKit's ADD.

use super::archive::{self, OneFile};
use super::{Fetched, Fetcher, Freshness, SourceError, memo_of};
use crate::digest::{LayerId, Sha256};
use crate::image::time::Timestamp;
use crate::registry::{Answer, Call, Secret, Url, clean};
use crate::tree::Mtime;
use base64::Engine as _;
use kiln_dsl::remote::Http;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::time::Duration;

/// A file behind an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpSource {
    /// The address.
    pub remote: Http,
    /// What the content must be.
    pub checksum: Option<Checksum>,
    /// What becomes of the content.
    pub shape: Shape,
}

/// What becomes of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A file with the address's name.
    File,
    /// The files of an archive; anything else is a file named `context`.
    Context,
}

/// The name of a context's file that is no archive, as in BuildKit.
pub const CONTEXT_FILE: &str = "context";

/// `sha256:…`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum(Sha256);

impl Checksum {
    /// Reads `sha256:` and 64 hexadecimal digits; the error says what is wrong, in words.
    pub fn parse(text: &str) -> Result<Checksum, &'static str> {
        match text.split_once(':') {
            Some(("sha256", _)) => Sha256::parse(text).map(Checksum).ok_or("it needs 64 hexadecimal digits"),
            Some(_) => Err("only sha256 is supported"),
            None => Err("it has no algorithm: write sha256:…"),
        }
    }
}

/// What is remembered of an address.
#[derive(Serialize, Deserialize)]
struct Known {
    etag: Option<String>,
    last_modified: Option<String>,
    content: Sha256,
    layer: LayerId,
}

/// How often one request is tried, and the wait before the second try.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) fn fetch(fetcher: &Fetcher<'_>, source: &HttpSource, begun: &dyn Fn()) -> Result<Fetched, SourceError> {
    let memo = memo_of(&["http", &source.remote.url, &format!("{:?}", source.shape)]);
    let known: Option<Known> = fetcher.store.db().memo(&memo)?;
    let known = match known {
        Some(known) => fetcher.store.layer(known.layer)?.map(|layer| (known, layer)),
        None => None,
    };
    let same = |layer| Ok(Fetched { layer, freshness: Freshness::Same });
    if let (Some((known, layer)), Some(Checksum(wanted))) = (&known, source.checksum)
        && known.content == wanted
    {
        // The content is named: what the server has by now does not matter.
        return same(layer.clone());
    }
    let request = Request::new(fetcher, source)?;
    let answer = request.send(known.as_ref().map(|(known, _)| known))?;
    if answer.status == 304
        && let Some((known, layer)) = known
    {
        request.check(source, known.content)?;
        return same(layer);
    }
    begun();
    let fresh = request.take(source, answer)?;
    let layer = fetcher.store.layer(fresh.layer)?.ok_or_else(|| crate::store::StoreError::Damaged {
        what: format!("layer {}", fresh.layer),
        detail: "it is no longer there".to_owned(),
    })?;
    fetcher.store.db().put_memo(&memo, &fresh)?;
    Ok(Fetched { layer, freshness: Freshness::Transferred })
}

struct Request<'a> {
    fetcher: &'a Fetcher<'a>,
    url: Url,
    shown: String,
    authorization: Option<Secret>,
}

impl<'a> Request<'a> {
    fn new(fetcher: &'a Fetcher<'a>, source: &HttpSource) -> Result<Self, SourceError> {
        let shown = source.remote.shown();
        let (url, user) = Url::parse(&source.remote.url)
            .map_err(|reason| SourceError::Http { url: shown.clone(), reason: reason.to_owned() })?;
        let host = source.remote.authority();
        let ids = [format!("HTTP_AUTH_HEADER_{host}"), format!("HTTP_AUTH_TOKEN_{host}")];
        let authorization = match (fetcher.secret(&ids)?, user) {
            (Some((0, header)), _) => Some(header),
            (Some((_, token)), _) => Some(Secret::new(format!("Bearer {}", token.reveal()))),
            (None, Some((name, password))) => {
                let pair = format!("{name}:{}", password.reveal());
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                Some(Secret::new(format!("Basic {pair}")))
            }
            (None, None) => None,
        };
        Ok(Request { fetcher, url, shown, authorization })
    }

    fn failed(&self, reason: &dyn std::fmt::Display) -> SourceError {
        SourceError::Http { url: self.shown.clone(), reason: reason.to_string() }
    }

    /// The answer, after as many tries as are worth it: a success, or 304 where there is a condition.
    fn send(&self, known: Option<&Known>) -> Result<Answer, SourceError> {
        let mut headers: Vec<(&'static str, &str)> = vec![("accept", "*/*"), ("accept-encoding", "identity")];
        if let Some(known) = known {
            headers.extend(known.etag.as_deref().map(|etag| ("if-none-match", etag)));
            headers.extend(known.last_modified.as_deref().map(|date| ("if-modified-since", date)));
        }
        let call = Call { url: &self.url, headers: &headers, authorization: self.authorization.as_ref(), form: None };
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            self.fetcher.check_cancel()?;
            let error = match self.fetcher.transport()?.send(&call) {
                Ok(answer) if matches!(answer.status, 200..=299) => return Ok(answer),
                Ok(answer) if answer.status == 304 && known.is_some() => return Ok(answer),
                Ok(answer) => {
                    let error = SourceError::Status { url: self.shown.clone(), status: answer.status };
                    if !matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504) {
                        return Err(error);
                    }
                    error
                }
                Err(kind @ crate::registry::Kind::Broken { .. }) => self.failed(&kind),
                Err(kind) => return Err(self.failed(&kind)),
            };
            if attempt == TRIES {
                return Err(error);
            }
            std::thread::sleep(wait);
            wait *= 2;
        }
        unreachable!("the last try returns")
    }

    fn check(&self, source: &HttpSource, actual: Sha256) -> Result<(), SourceError> {
        match source.checksum {
            Some(Checksum(expected)) if expected != actual => Err(SourceError::Checksum {
                url: self.shown.clone(),
                expected: expected.to_string(),
                actual: actual.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Makes the layer of what is answered.
    fn take(&self, source: &HttpSource, mut answer: Answer) -> Result<Known, SourceError> {
        let store = self.fetcher.store;
        let header = |name| answer.header(name).map(clean);
        let (etag, last_modified) = (header("etag"), header("last-modified"));
        let name = match source.shape {
            Shape::File => &source.remote.file_name,
            Shape::Context => CONTEXT_FILE,
        };
        let mut file = OneFile::new(store, name)?;
        let mut sha256 = sha2::Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.fetcher.check_cancel()?;
            let count = answer.body.read(&mut buffer).map_err(|kind| self.failed(&kind))?;
            if count == 0 {
                break;
            }
            sha256.update(&buffer[..count]);
            file.write(&buffer[..count])?;
        }
        let content = Sha256::from_bytes(sha256.finalize().into());
        self.check(source, content)?;
        let is_archive = match source.shape {
            Shape::File => false,
            Shape::Context => crate::tree::archive::is_archive(file.reader()?).map_err(|error| self.failed(&error))?,
        };
        let layer = match is_archive {
            true => archive::unpack(store, file.reader()?, &self.shown)?,
            false => {
                let date = last_modified.as_deref().and_then(parse_date).unwrap_or_default();
                file.finish(store, Mtime { seconds: date, nanos: 0 })?
            }
        };
        // A layer is found again once it is recorded.
        store.flush()?;
        Ok(Known { etag, last_modified, content, layer: layer.id() })
    }
}

/// Seconds since 1970 of `Wed, 21 Oct 2015 07:28:00 GMT`, the one form that servers may send (RFC 9110, 5.6.7).
fn parse_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = 1 + MONTHS.iter().position(|name| *name == month)?;
    (words.next() == Some("GMT") && words.next().is_none()).then_some(())?;
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{time}Z")).map(|moment| moment.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read_and_nothing_else() {
        assert_eq!(parse_date("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1));
        for wrong in ["", "yesterday", "Wed, 21 Oct 2015 07:28:00", "Wed, 21 Foo 2015 07:28:00 GMT", "Wed, 21 Oct"] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_checksum_names_its_algorithm() {
        let text = format!("sha256:{}", "0".repeat(64));
        assert!(Checksum::parse(&text).is_ok());
        assert_eq!(Checksum::parse("sha256:abc"), Err("it needs 64 hexadecimal digits"));
        assert_eq!(Checksum::parse(&format!("sha512:{}", "0".repeat(128))), Err("only sha256 is supported"));
        assert_eq!(Checksum::parse(&"0".repeat(64)), Err("it has no algorithm: write sha256:…"));
    }
}

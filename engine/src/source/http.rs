//! A file behind an `http` or `https` address, asked for again only on a condition.
//!
//! What is remembered of an address is what its server said of the content (`ETag`, `Last-Modified`) and the layer that
//! the content became; a server that answers 304 costs one request and no byte. A content that is fetched again and is
//! the same gives the same layer. Mode, name and time are those of BuildKit's ADD.

use super::archive::{self, OneFile};
use super::checksum::{Checksum, Hasher};
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

/// What is remembered of an address.
#[derive(Serialize, Deserialize)]
struct Known {
    etag: Option<String>,
    last_modified: Option<String>,
    content: Sha256,
    /// What the content was found to be by another algorithm than SHA-256.
    also: Option<String>,
    layer: LayerId,
}

impl Known {
    /// Whether the content is what `wanted` says; `None` where only the bytes could tell.
    fn is(&self, wanted: &Checksum) -> Option<bool> {
        match wanted.sha256() {
            Some(hex) => Some(hex == self.content.to_hex()),
            None => (self.also.as_ref() == Some(&wanted.to_string())).then_some(true),
        }
    }
}

/// How often one request is tried, and the wait before the second try.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(300);

/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) fn fetch(fetcher: &Fetcher<'_>, source: &HttpSource, begun: &dyn Fn()) -> Result<Fetched, SourceError> {
    let memo = memo_of(&["http with checksums", &source.remote.url, &format!("{:?}", source.shape)]);
    let known: Option<Known> = fetcher.store.db().memo(&memo)?;
    let known = match known {
        Some(known) => fetcher.store.layer(known.layer)?.map(|layer| (known, layer)),
        None => None,
    };
    let same = |layer| Ok(Fetched { layer, freshness: Freshness::Same });
    if let (Some((known, layer)), Some(wanted)) = (&known, &source.checksum)
        && known.is(wanted) == Some(true)
    {
        // The content is named: what the server has by now does not matter.
        return same(layer.clone());
    }
    let request = Request::new(fetcher, source)?;
    // Where only the bytes can tell whether they are what is wanted, there is no condition.
    let is_decided = |known: &Known| source.checksum.as_ref().is_none_or(|wanted| known.is(wanted).is_some());
    let condition = known.as_ref().map(|(known, _)| known).filter(|known| is_decided(known));
    let answer = request.send(condition)?;
    if answer.status == 304
        && let Some((known, layer)) = known
    {
        return match &source.checksum {
            Some(wanted) if known.is(wanted) != Some(true) => Err(request.mismatch(wanted, &known.content)),
            _ => same(layer),
        };
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

    fn mismatch(&self, expected: &Checksum, actual: &dyn std::fmt::Display) -> SourceError {
        let (expected, actual) = (expected.to_string(), actual.to_string());
        SourceError::Checksum { url: self.shown.clone(), expected, actual }
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
        let other = source.checksum.as_ref().filter(|wanted| wanted.sha256().is_none());
        let mut also = other.map(Checksum::hasher);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.fetcher.check_cancel()?;
            let count = answer.body.read(&mut buffer).map_err(|kind| self.failed(&kind))?;
            if count == 0 {
                break;
            }
            sha256.update(&buffer[..count]);
            if let Some(also) = &mut also {
                also.update(&buffer[..count]);
            }
            file.write(&buffer[..count])?;
        }
        let content = Sha256::from_bytes(sha256.finalize().into());
        let also = also.map(Hasher::finish);
        match (&source.checksum, &also) {
            (Some(wanted), Some(actual)) if wanted != actual => return Err(self.mismatch(wanted, actual)),
            (Some(wanted), None) if wanted.sha256() != Some(&content.to_hex()) => {
                return Err(self.mismatch(wanted, &content));
            }
            _ => {}
        }
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
        Ok(Known { etag, last_modified, content, also: also.map(|also| also.to_string()), layer: layer.id() })
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
}

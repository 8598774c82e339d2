//! Fetches one blob: hashed while it streams, resumed at the byte where a connection broke, moved to the next source where one fails.
//!
//! What the sink was given is always a prefix of the blob as far as anyone can know; only the digest at the end proves it.
//! A mismatch starts the blob over, once for each source.

use super::{
    Client, Error,
    error::Kind,
    manifest::Descriptor,
    reference::Reference,
    source::{Ask, Source},
    transport::{Answer, Call},
    url::Url,
};
use crate::digest::Sha256;
use sha2::Digest as _;
use std::io;

/// How much is read and written at a time.
const CHUNK_BYTES: usize = 128 << 10;
/// A source that breaks off again and again is given up after this many times the attempts that it has without progress.
const BREAKS_PER_ATTEMPT: u32 = 10;

/// Where a blob goes.
pub trait BlobSink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be kept: the transfer ends, and is not tried again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Forgets everything taken so far: the blob comes again from its first byte.
    ///
    /// # Errors
    /// As [`BlobSink::write`].
    fn restart(&mut self) -> io::Result<()>;

    /// Called once, when the whole blob has been taken and is verified: the moment to name it.
    ///
    /// # Errors
    /// As [`BlobSink::write`].
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps a blob in memory.
#[derive(Default, Debug)]
pub struct MemorySink {
    /// What was taken.
    pub bytes: Vec<u8>,
}

impl BlobSink for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.bytes.clear();
        Ok(())
    }
}

/// A blob under way.
struct Transfer<'a> {
    blob: &'a Descriptor,
    sink: &'a mut dyn BlobSink,
    /// Told how many bytes of the blob the sink holds.
    progress: &'a dyn Fn(u64),
    hasher: sha2::Sha256,
    at: u64,
}

/// Why an attempt ended early.
enum Stop {
    /// Another attempt, from the byte reached, may do better.
    Again(Kind),
    /// The source cannot deliver it.
    Final(Kind),
}

impl From<Kind> for Stop {
    fn from(kind: Kind) -> Self {
        Stop::Final(kind)
    }
}

impl Transfer<'_> {
    fn what(&self) -> String {
        format!("the blob {}", self.blob.digest)
    }

    fn unwritten(&self, source: io::Error) -> Kind {
        Kind::Sink { digest: self.blob.digest, source }
    }

    fn restart(&mut self) -> Result<(), Kind> {
        if self.at > 0 {
            self.sink.restart().map_err(|error| self.unwritten(error))?;
            (self.hasher, self.at) = (sha2::Sha256::new(), 0);
            (self.progress)(0);
        }
        Ok(())
    }

    /// Takes an answer's body to its end.
    fn take(&mut self, answer: &mut Answer) -> Result<(), Stop> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = answer.body.read(&mut buffer).map_err(Stop::Again)?;
            if count == 0 && self.at < self.blob.size {
                let detail = format!("it ended after {} of {} bytes", self.at, self.blob.size);
                return Err(Stop::Again(Kind::Broken { host: answer.url.authority(), detail }));
            }
            if count == 0 {
                return Ok(());
            }
            let end = self.at + count as u64;
            if end > self.blob.size {
                return Err(Stop::Final(Kind::Size { what: self.what(), expected: self.blob.size, actual: end }));
            }
            self.hasher.update(&buffer[..count]);
            self.sink.write(&buffer[..count]).map_err(|error| self.unwritten(error))?;
            self.at = end;
            (self.progress)(end);
        }
    }

    fn verify(&mut self) -> Result<(), Kind> {
        let actual = Sha256::from_bytes(self.hasher.finalize_reset().into());
        if actual != self.blob.digest {
            return Err(Kind::Digest { what: self.what(), expected: self.blob.digest, actual });
        }
        self.sink.finish().map_err(|error| self.unwritten(error))
    }
}

impl Client {
    /// Fetches a blob of a name's repository into `into`, verified by digest and size while it streams.
    ///
    /// A connection that breaks is resumed at the byte reached, where the server can do that; else the sink is restarted.
    /// `progress` is told how many bytes the sink holds; that falls to 0 at a restart.
    ///
    /// # Errors
    /// No source delivers it, or the sink does not take it. The sink was not finished then.
    pub fn fetch_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        into: &mut dyn BlobSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let mut transfer = Transfer { blob, sink: into, progress, hasher: sha2::Sha256::new(), at: 0 };
        self.try_sources(reference, |source| self.run(source, reference.repository(), &mut transfer))
    }

    /// Fetches a blob from one source.
    pub(super) fn transfer(
        &self,
        source: &Source,
        repository: &str,
        blob: &Descriptor,
        into: &mut dyn BlobSink,
        progress: &dyn Fn(u64),
    ) -> Result<(), Kind> {
        let mut transfer = Transfer { blob, sink: into, progress, hasher: sha2::Sha256::new(), at: 0 };
        self.run(source, repository, &mut transfer)
    }

    /// Goes on with a transfer at one source until it is whole and verified.
    fn run(&self, source: &Source, repository: &str, transfer: &mut Transfer<'_>) -> Result<(), Kind> {
        let retry = self.retry_for(source);
        let (mut failures, mut breaks, mut damaged) = (0, 0, false);
        loop {
            let before = transfer.at;
            match self.attempt(source, repository, transfer).map(|()| transfer.verify()) {
                Ok(Ok(())) => return Ok(()),
                // What was here before this source came may be what is wrong, or a connection may lie: once.
                Ok(Err(Kind::Digest { .. })) if !damaged => {
                    damaged = true;
                    transfer.restart()?;
                }
                Ok(Err(kind)) | Err(Stop::Final(kind)) => {
                    if damaged_by(&kind) {
                        transfer.restart()?;
                    }
                    return Err(kind);
                }
                Err(Stop::Again(kind)) => {
                    failures = if transfer.at > before { 1 } else { failures + 1 };
                    breaks += 1;
                    let delay = retry.delay(failures, None).filter(|_| breaks < retry.attempts * BREAKS_PER_ATTEMPT);
                    std::thread::sleep(delay.ok_or(kind)?);
                }
            }
        }
    }

    /// One request for what is still missing.
    fn attempt(&self, source: &Source, repository: &str, transfer: &mut Transfer<'_>) -> Result<(), Stop> {
        if transfer.at == transfer.blob.size {
            // Nothing is missing: an empty blob, or a connection that broke after the last byte.
            return Ok(());
        }
        let mut answer = match self.open(source, repository, transfer) {
            Ok(answer) => answer,
            // A storage's answer to an address that has expired or cannot be found: the registry makes a new one.
            Err(kind @ Kind::Status { status: 400 | 401 | 403 | 404, .. }) => return Err(Stop::Again(kind)),
            Err(kind @ Kind::NotFound { .. }) if !transfer.blob.urls.is_empty() => {
                self.open_elsewhere(transfer).ok_or(kind)?
            }
            Err(kind) => return Err(Stop::Final(kind)),
        };
        if transfer.at > 0 && !goes_on_at(&answer, transfer.at) {
            transfer.restart()?;
            if answer.status != 200 {
                let detail = format!("its answer {} does not go on where the last one ended", answer.status);
                return Err(Stop::Again(Kind::Broken { host: answer.url.authority(), detail }));
            }
        }
        transfer.take(&mut answer)
    }

    fn open(&self, source: &Source, repository: &str, transfer: &Transfer<'_>) -> Result<Answer, Kind> {
        let (path, range) = (format!("blobs/{}", transfer.blob.digest), format!("bytes={}-", transfer.at));
        let headers = headers(&range, transfer.at);
        let ask =
            Ask { repository, path: &path, headers: &headers, what: &transfer.what(), also: statuses(transfer.at) };
        self.ask(source, &ask)
    }

    /// Opens a layer that no registry may distribute at the addresses that the manifest gives, without any login.
    fn open_elsewhere(&self, transfer: &Transfer<'_>) -> Option<Answer> {
        let range = format!("bytes={}-", transfer.at);
        let headers = headers(&range, transfer.at);
        let addresses = transfer.blob.urls.iter().filter_map(|text| Url::parse(text).ok());
        addresses.filter(|(url, _)| self.transport.is_safe(url)).find_map(|(url, _)| {
            let call = Call { url: &url, headers: &headers, authorization: None, form: None };
            let answer = self.transport.send(&call).ok()?;
            (answer.status == 200 || statuses(transfer.at).contains(&answer.status)).then_some(answer)
        })
    }
}

/// Whether bytes that were taken may be the wrong ones after this, so that the next source must not build on them.
fn damaged_by(kind: &Kind) -> bool {
    matches!(kind, Kind::Digest { .. } | Kind::Size { .. })
}

/// What a blob is asked with: as it is, and from where the last answer ended.
fn headers(range: &str, at: u64) -> Vec<(&'static str, &str)> {
    // A proxy that packs the answer would break ranges and sizes.
    let mut headers = vec![("accept-encoding", "identity")];
    if at > 0 {
        headers.push(("range", range));
    }
    headers
}

fn statuses(at: u64) -> &'static [u16] {
    if at > 0 { &[206, 416] } else { &[] }
}

/// Whether an answer is the rest of the blob from byte `at`: 206 with a range that says so.
fn goes_on_at(answer: &Answer, at: u64) -> bool {
    let start = answer.header("content-range").and_then(|text| {
        let range = text.trim().strip_prefix("bytes")?.trim_start();
        range.split('-').next()?.trim().parse::<u64>().ok()
    });
    answer.status == 206 && start == Some(at)
}

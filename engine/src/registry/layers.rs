//! Fetches the layers of an image side by side.

use super::{BlobSink, Client, Error, Kind, Layer, Reference};
use crate::digest::Sha256;
use std::{
    collections::HashSet,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Makes the sink of a layer, in the thread that fetches it; `None` means that the layer is already there.
pub type OpenSink<'a> = dyn Fn(&Layer) -> io::Result<Option<Box<dyn BlobSink + 'a>>> + Sync + 'a;

/// Ends a transfer at its next bytes when another one has failed.
struct Stoppable<'a> {
    inner: Box<dyn BlobSink + 'a>,
    stop: &'a AtomicBool,
}

impl BlobSink for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(io::Error::other("another layer failed")),
            false => self.inner.write(bytes),
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        self.inner.restart()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inner.finish()
    }
}

impl Client {
    /// Fetches layers, up to `at_once` at a time, in their order; a layer that stands there twice is fetched once.
    ///
    /// `progress` is told, from any thread, how many bytes of a layer its sink holds. The threads are the client's own: they wait for the network, and
    /// would only block the pool that computes.
    ///
    /// # Errors
    /// The first that failed; transfers under way end as soon as they can, and their sinks were not finished.
    pub fn fetch_layers<'a>(
        &self,
        reference: &Reference,
        layers: &[Layer],
        at_once: usize,
        open: &OpenSink<'a>,
        progress: &(dyn Fn(&Layer, u64) + Sync),
    ) -> Result<(), Error> {
        let mut seen: HashSet<Sha256> = HashSet::new();
        let distinct: Vec<&Layer> = layers.iter().filter(|layer| seen.insert(layer.digest)).collect();
        let (next, stop, failed) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let Some(layer) = distinct.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                if let Err(error) = self.fetch_layer(reference, layer, open, progress, &stop) {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    // Those that come later were most likely stopped.
                    failed.get_or_insert(error);
                    stop.store(true, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..at_once.min(distinct.len()) {
                scope.spawn(work);
            }
            work();
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch_layer<'a>(
        &self,
        reference: &Reference,
        layer: &Layer,
        open: &OpenSink<'a>,
        progress: &(dyn Fn(&Layer, u64) + Sync),
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let unopened = |source| self.error(reference, Kind::Sink { digest: layer.digest, source }, Vec::new());
        match open(layer).map_err(unopened)? {
            None => Ok(()),
            Some(inner) => {
                let mut sink = Stoppable { inner, stop };
                self.fetch_blob(reference, &layer.descriptor(), &mut sink, &|at| progress(layer, at))
            }
        }
    }
}

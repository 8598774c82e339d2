//! What steps wrote, by key: `logs/HEX`, zstd over a list of pieces.
//!
//! Bounded: of a long output the beginning and the end are kept, which is where a failure is told. What comes
//! here has no value of a secret in it any more. A log that cannot be read is as good as none.

use super::{Store, StoreError, io_at};
use crate::digest::KeyId;
use crate::event::Stream;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;

/// How many bytes of the beginning of an output are kept.
const HEAD_BYTES: usize = 1 << 20;

/// How many bytes of its end are kept where it is longer.
const TAIL_BYTES: usize = 3 << 20;

/// Fast, and text shrinks well with it.
const COMPRESSION_LEVEL: i32 = 3;

/// The output of a running step, as far as it will be kept.
#[derive(Debug, Default)]
pub struct LogBuffer {
    head: Vec<Piece>,
    head_bytes: usize,
    tail: VecDeque<Piece>,
    tail_bytes: usize,
    left_out: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Piece {
    is_error: bool,
    text: String,
}

impl LogBuffer {
    /// Adds what a step wrote: whole lines, but for the last.
    pub fn push(&mut self, stream: Stream, text: &str) {
        let piece = Piece { is_error: stream == Stream::Stderr, text: text.to_owned() };
        if self.tail.is_empty() && self.head_bytes + piece.text.len() <= HEAD_BYTES {
            self.head_bytes += piece.text.len();
            self.head.push(piece);
            return;
        }
        self.tail_bytes += piece.text.len();
        self.tail.push_back(piece);
        while self.tail_bytes > TAIL_BYTES && self.tail.len() > 1 {
            let length = self.tail.pop_front().map_or(0, |piece| piece.text.len());
            self.tail_bytes -= length;
            self.left_out += length;
        }
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    fn pieces(self) -> Vec<Piece> {
        let mut all = self.head;
        if self.left_out > 0 {
            let text = format!("[{} bytes of output are not kept]\n", self.left_out);
            all.push(Piece { is_error: true, text });
        }
        all.extend(self.tail);
        all
    }
}

impl Store {
    fn log_path(&self, key: KeyId) -> PathBuf {
        self.directory("logs").join(key.to_hex())
    }

    /// Keeps the output of an execution under this key, in the place of an earlier one.
    pub fn put_log(&self, key: KeyId, log: LogBuffer) -> Result<(), StoreError> {
        let path = self.log_path(key);
        let data = postcard::to_stdvec(&log.pieces())
            .map_err(io::Error::other)
            .and_then(|data| zstd::encode_all(data.as_slice(), COMPRESSION_LEVEL))
            .map_err(io_at("failed to compress", &path))?;
        self.write_file(&path, &data)
    }

    /// Whether the output of an execution under this key is kept.
    pub fn has_log(&self, key: KeyId) -> bool {
        self.log_path(key).is_file()
    }

    /// The output of the last execution under this key, in its order; `None` where none is kept.
    pub fn log(&self, key: KeyId) -> Result<Option<Vec<(Stream, String)>>, StoreError> {
        let path = self.log_path(key);
        let data = match fs::read(&path) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_at("failed to read", &path)(error)),
        };
        let pieces: Option<Vec<Piece>> =
            zstd::decode_all(data.as_slice()).ok().and_then(|data| postcard::from_bytes(&data).ok());
        Ok(pieces.map(|pieces| {
            let stream = |is_error| if is_error { Stream::Stderr } else { Stream::Stdout };
            pieces.into_iter().map(|piece| (stream(piece.is_error), piece.text)).collect()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_back_with_its_streams() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let key = KeyId::from_bytes([1; 32]);
        assert_eq!(store.log(key).unwrap(), None);
        let mut log = LogBuffer::default();
        log.push(Stream::Stdout, "out\n");
        log.push(Stream::Stderr, "err\n");
        store.put_log(key, log).unwrap();
        let expected = [(Stream::Stdout, "out\n".to_owned()), (Stream::Stderr, "err\n".to_owned())];
        assert_eq!(store.log(key).unwrap().unwrap(), expected);
        fs::write(store.log_path(key), b"x").unwrap();
        assert_eq!(store.log(key).unwrap(), None);
    }

    #[test]
    fn of_a_long_output_the_beginning_and_the_end_are_kept() {
        let mut log = LogBuffer::default();
        let line = format!("{}\n", "x".repeat(1023));
        for number in 0..6 * 1024 {
            log.push(Stream::Stdout, &format!("{number:06}{}", &line[6..]));
        }
        let pieces = log.pieces();
        assert!(pieces.iter().map(|piece| piece.text.len()).sum::<usize>() <= HEAD_BYTES + TAIL_BYTES + 100);
        assert!(pieces[0].text.starts_with("000000"));
        assert!(pieces[1024].text.ends_with("bytes of output are not kept]\n"));
        assert!(pieces.last().unwrap().text.starts_with("006143"));
    }
}

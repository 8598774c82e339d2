//! Standard output and standard error as values that commands are given.
//!
//! Every write goes to the descriptor at once and whole: callers make their text first, so that
//! lines of one event never come apart. Knows nothing of what is written.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A place to write; clones are the same place.
#[derive(Clone)]
pub struct Stream {
    writer: Arc<Mutex<dyn Write + Send>>,
    is_terminal: bool,
}

impl Stream {
    /// Standard output.
    pub fn stdout() -> Self {
        let is_terminal = io::IsTerminal::is_terminal(&io::stdout());
        Stream { writer: Arc::new(Mutex::new(io::stdout())), is_terminal }
    }

    /// Standard error.
    pub fn stderr() -> Self {
        let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
        Stream { writer: Arc::new(Mutex::new(io::stderr())), is_terminal }
    }

    /// Whether a person sees it.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes all of it.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(bytes)?;
        writer.flush()
    }

    /// Writes all of it, for text that nobody may be there to read any more: progress and errors.
    pub fn write_or_forget(&self, bytes: &[u8]) {
        let _closed = self.write(bytes);
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Stream::write(self, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub mod memory {
    //! Streams that tests read again.

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    pub struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        /// A stream into this memory.
        pub fn stream(&self, is_terminal: bool) -> Stream {
            Stream { writer: Arc::new(Mutex::new(self.clone())), is_terminal }
        }

        /// All that was written.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// A writer that always fails in this way.
    pub struct Broken(pub io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Broken {
        /// A stream that fails.
        pub fn stream(self) -> Stream {
            Stream { writer: Arc::new(Mutex::new(self)), is_terminal: false }
        }
    }
}

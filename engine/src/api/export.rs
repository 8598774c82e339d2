//! Where a build's result goes beside the store, and in which form.
//!
//! Knows nothing of how an output is typed.

use std::path::PathBuf;

/// One form of the result and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// An OCI layout.
    Oci {
        /// Where to; standard output only as a tar.
        dest: Destination,
        /// One tar file, not a directory.
        tar: bool,
        /// How layers are compressed.
        compression: Compression,
    },
    /// An archive that `docker load` reads.
    Docker {
        /// Where to.
        dest: Destination,
    },
    /// The files of the result as a directory.
    Local {
        /// The directory; made if it is not there.
        dest: PathBuf,
    },
    /// The files of the result as a tar.
    Tar {
        /// Where to.
        dest: Destination,
    },
}

impl Output {
    /// Whether it is written to standard output.
    pub fn is_stdout(&self) -> bool {
        match self {
            Output::Oci { dest, .. } | Output::Docker { dest } | Output::Tar { dest } => *dest == Destination::Stdout,
            Output::Local { .. } => false,
        }
    }
}

/// Where bytes go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// Standard output, which is then used for nothing else.
    Stdout,
    /// A path, relative to the working directory; replaced as a whole once it is complete.
    Path(PathBuf),
}

/// How layers are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Its level; `None` is the algorithm's default.
    pub level: Option<i32>,
}

/// A way to compress a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// Not at all.
    None,
    /// gzip, which everything reads; levels 0 to 9.
    #[default]
    Gzip,
    /// Zstandard; levels 1 to 22.
    Zstd,
}

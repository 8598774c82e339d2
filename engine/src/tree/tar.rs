//! The tar format: what `pack` writes and what `unpack` and `archive` read, one member at a time.
//!
//! - [`header`]: numbers, check sums and header blocks, and the writing of a member's head.
//! - [`read`]: a streaming reader of POSIX, PAX and GNU archives, sparse files included.
//!
//! Formats: POSIX.1-2017 "pax interchange format"; GNU tar manual, "Basic Tar Format" and "Storing
//! Sparse Files". Knows nothing of layers, whiteouts or where a member goes.

pub mod header;
pub mod read;

/// Everything in a tar is a multiple of this.
pub const BLOCK_BYTES: usize = 512;

/// The PAX record that carries the extended attribute NAME is called by this prefix and NAME.
pub const PAX_XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// In an OCI layer, the entry `.wh.NAME` says that NAME was removed.
pub const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// In an OCI layer, an entry with this name says that its directory hides all below it.
pub const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// Names with this prefix, the opaque marker apart, are AUFS's own and mean nothing to others.
pub const AUFS_PREFIX: &[u8] = b".wh..wh.";

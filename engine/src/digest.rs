//! The identities of things: 32-byte BLAKE3 digests and the SHA-256 digests that OCI names.
//!
//! Different identities are different types, so that a layer is never taken for a file. Knows
//! nothing of what was hashed.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! blake3_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The identity with these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                $name(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 lower-case hexadecimal digits.
            pub fn to_hex(self) -> String {
                blake3::Hash::from_bytes(self.0).to_hex().to_string()
            }

            /// The identity that 64 hexadecimal digits name; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                blake3::Hash::from_hex(text).ok().map(|hash| $name(*hash.as_bytes()))
            }
        }

        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                $name(*hash.as_bytes())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(b3:{})"), &self.to_hex()[..12])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "b3:{}", self.to_hex())
            }
        }
    };
}

blake3_id!(
    /// BLAKE3 of a regular file's bytes.
    ContentId
);
blake3_id!(
    /// The digest of a layer's tree: see [`crate::tree::Tree::id`].
    LayerId
);
blake3_id!(
    /// The chain of the layers that a step sees as its root.
    SnapshotId
);
blake3_id!(
    /// The digest of a step's key.
    KeyId
);
blake3_id!(
    /// A step across builds: stage, place and text, whatever its inputs.
    StepId
);
blake3_id!(
    /// A kiln image: its configuration and its layers' trees. Known before any tar is packed.
    ImageKey
);

/// A SHA-256 digest: what OCI calls a digest, a diff id or an image id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Sha256(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// The 64 lower-case hexadecimal digits, without `sha256:`.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// Reads `sha256:` and 64 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        blake3::Hash::from_hex(hex).ok().map(|hash| Sha256(*hash.as_bytes()))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({})", &self.to_hex()[..12])
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_prints_its_algorithm_and_reads_its_hex() {
        let id = LayerId::from(blake3::hash(b"x"));
        assert_eq!(LayerId::from_hex(&id.to_hex()), Some(id));
        assert!(id.to_string().starts_with("b3:"));
        assert!(format!("{id:?}").starts_with("LayerId(b3:"));
        assert_eq!(LayerId::from_hex("short"), None);
    }

    #[test]
    fn a_sha256_reads_only_its_own_prefix() {
        let digest = Sha256::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Sha256::parse(&digest.to_string()), Some(digest));
        assert_eq!(Sha256::parse(&digest.to_hex()), None);
    }
}

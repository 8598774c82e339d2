//! What a file from elsewhere must be: a digest by one of the algorithms that OCI digests name.
//!
//! Knows nothing of where the bytes come from. The algorithms are those of the OCI image specification ("Digests") and of
//! Docker's digest library: SHA-256, SHA-384 and SHA-512.

use sha2::Digest as _;
use std::fmt;

/// `sha256:…`, `sha384:…` or `sha512:…`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checksum {
    algorithm: Algorithm,
    /// In lower case, as many digits as the algorithm has.
    hex: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    const fn digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha384 => 96,
            Algorithm::Sha512 => 128,
        }
    }
}

impl Checksum {
    /// Reads an algorithm, a colon and hexadecimal digits; the error says what is wrong, in words.
    pub fn parse(text: &str) -> Result<Checksum, String> {
        let Some((name, digits)) = text.split_once(':') else {
            return Err("it has no algorithm: write sha256:…".to_owned());
        };
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name) else {
            return Err("the algorithm must be sha256, sha384 or sha512".to_owned());
        };
        let wanted = algorithm.digits();
        if digits.len() != wanted || !digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        {
            return Err(format!("it needs {wanted} hexadecimal digits in lower case"));
        }
        Ok(Checksum { algorithm, hex: digits.to_owned() })
    }

    /// The SHA-256 digits, where it is one.
    pub(super) fn sha256(&self) -> Option<&str> {
        (self.algorithm == Algorithm::Sha256).then_some(&*self.hex)
    }

    /// Begins the digest of some bytes by the same algorithm.
    pub(super) fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// A digest that is being made.
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(state) => state.update(bytes),
            Hasher::Sha384(state) => state.update(bytes),
            Hasher::Sha512(state) => state.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Checksum {
        let (algorithm, bytes) = match self {
            Hasher::Sha256(state) => (Algorithm::Sha256, state.finalize().to_vec()),
            Hasher::Sha384(state) => (Algorithm::Sha384, state.finalize().to_vec()),
            Hasher::Sha512(state) => (Algorithm::Sha512, state.finalize().to_vec()),
        };
        Checksum { algorithm, hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_names_its_algorithm_and_has_its_length() {
        for (name, digits) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
            let text = format!("{name}:{}", "0a".repeat(digits / 2));
            assert_eq!(Checksum::parse(&text).map(|read| read.to_string()), Ok(text.clone()));
            let wrong = Err(format!("it needs {digits} hexadecimal digits in lower case"));
            for bad in [&text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase().replace("SHA", "sha")] {
                assert_eq!(Checksum::parse(bad).map(|read| read.to_string()), wrong, "{bad}");
            }
        }
        assert!(Checksum::parse("md5:00").unwrap_err().contains("sha384"));
        assert!(Checksum::parse(&"0".repeat(64)).unwrap_err().contains("no algorithm"));
    }

    #[test]
    fn the_digests_are_those_of_fips_180() {
        let abc = |name: &str, digits: usize| {
            let mut hasher = Checksum::parse(&format!("{name}:{}", "0".repeat(digits))).unwrap().hasher();
            hasher.update(b"a");
            hasher.update(b"bc");
            hasher.finish().to_string()
        };
        assert!(abc("sha256", 64).starts_with("sha256:ba7816bf8f01cfea414140de5dae2223"));
        assert!(abc("sha384", 96).starts_with("sha384:cb00753f45a35e8bb5a03d699ac65007"));
        assert!(abc("sha512", 128).starts_with("sha512:ddaf35a193617abacc417349ae204131"));
    }
}

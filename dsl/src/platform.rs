//! Platforms as images name them: `linux/amd64`, `linux/arm/v7`.
//!
//! Spelling and normal forms are containerd's. Knows nothing of which platform can run where.

use std::fmt;

/// An operating system, a processor and perhaps a variant of it, in normal form when parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, `arm`, …
    pub arch: String,
    /// `v7` of `arm`; `None` where the normal form has none, as for `arm64`.
    pub variant: Option<String>,
}

/// Why text is no platform.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlatformError {
    /// A part is empty or has characters that no part has.
    #[error("{part:?} is an invalid component of {text:?}")]
    Component {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
    /// A lone word that is neither a system nor a processor.
    #[error("{0:?}: unknown operating system or architecture")]
    Unknown(String),
    /// More than three parts.
    #[error("{0:?}: cannot parse platform specifier")]
    TooLong(String),
}

const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const PROCESSORS: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// Reads `os/arch[/variant]`, or one of os and arch, the other then being this program's own (`linux` for the os).
    ///
    /// # Errors
    /// On parts that no platform has, and on a lone word that is not known.
    pub fn parse(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        for part in &parts {
            let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if part.is_empty() || !part.chars().all(valid) {
                return Err(PlatformError::Component { part: (*part).to_owned(), text: text.to_owned() });
            }
        }
        match parts.as_slice() {
            [one] => {
                let system = system(one);
                if SYSTEMS.contains(&system.as_str()) {
                    return Ok(Platform { os: system, ..Platform::host() });
                }
                let platform = Platform::new("linux", one, "");
                if PROCESSORS.contains(&platform.arch.as_str()) {
                    Ok(platform)
                } else {
                    Err(PlatformError::Unknown(text.to_owned()))
                }
            }
            [os, arch] => Ok(Platform::new(os, arch, "")),
            [os, arch, variant] => Ok(Platform::new(os, arch, variant)),
            _ => Err(PlatformError::TooLong(text.to_owned())),
        }
    }

    /// The normal form of the parts; an empty variant is none.
    pub fn new(os: &str, arch: &str, variant: &str) -> Platform {
        let (arch, variant) = (arch.to_ascii_lowercase(), variant.to_ascii_lowercase());
        let (arch, variant) = match arch.as_str() {
            "i386" => ("386", ""),
            "x86_64" | "x86-64" | "amd64" => ("amd64", if variant == "v1" { "" } else { &variant }),
            "aarch64" | "arm64" => (
                "arm64",
                match variant.as_str() {
                    "8" | "v8" | "v8.0" => "",
                    "9" | "9.0" | "v9.0" => "v9",
                    other => other,
                },
            ),
            "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            "arm" => (
                "arm",
                match variant.as_str() {
                    "" | "7" => "v7",
                    "5" => "v5",
                    "6" => "v6",
                    "8" => "v8",
                    other => other,
                },
            ),
            other => (other, variant.as_str()),
        };
        let variant = (!variant.is_empty()).then(|| variant.to_owned());
        Platform { os: system(os), arch: arch.to_owned(), variant }
    }

    /// Linux on the processor that this program was made for.
    pub fn host() -> Platform {
        let arch = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::new("linux", arch, "")
    }
}

fn system(os: &str) -> String {
    let lower = os.to_ascii_lowercase();
    if lower == "macos" { "darwin".to_owned() } else { lower }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet_in_one_normal_form() {
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/unheard-of", "linux/unheard-of"),
        ] {
            let platform = Platform::parse(text).expect(text);
            assert_eq!(platform.to_string(), want);
            assert_eq!(Platform::parse(want), Ok(platform));
        }
        assert_eq!(Platform::parse("linux"), Ok(Platform::host()));
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "/", "linux/", "linux/*", "unheard-of", "a/b/c/d", "linux/a b"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }
}

//! What a platform is, and which entry of a multi-platform index serves it.
//!
//! The order of preference is containerd's: the exact platform, then older variants of the same architecture, then the
//! 32-bit architecture that such a machine also runs. Knows nothing of how manifests are written or fetched.

use std::fmt;

/// Where an image runs: `linux/amd64`, `linux/arm/v7`. Always in its normal form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Platform {
    os: String,
    arch: String,
    variant: Option<String>,
}

impl Platform {
    /// The platform of these parts, normalised as containerd does: `x86_64` is `amd64`, `aarch64` is `arm64`, `armhf` is
    /// `arm/v7`, and the variants that go without saying (`arm64/v8`, `amd64/v1`) are left out.
    pub fn new(os: &str, arch: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let given = variant.unwrap_or_default().to_ascii_lowercase();
        let (arch, variant) = match (arch.to_ascii_lowercase().as_str(), given.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64".to_owned(), String::new()),
            ("x86_64" | "x86-64" | "amd64", _) => ("amd64".to_owned(), given),
            ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386".to_owned(), String::new()),
            ("aarch64" | "arm64", "" | "8" | "v8" | "v8.0") => ("arm64".to_owned(), String::new()),
            ("aarch64" | "arm64", _) => ("arm64".to_owned(), given),
            ("armhf", _) => ("arm".to_owned(), "v7".to_owned()),
            ("armel", _) => ("arm".to_owned(), "v6".to_owned()),
            ("arm", "" | "7") => ("arm".to_owned(), "v7".to_owned()),
            ("arm", "5" | "6" | "8") => ("arm".to_owned(), format!("v{given}")),
            (other, _) => (other.to_owned(), given),
        };
        Platform { os, arch, variant: (!variant.is_empty()).then_some(variant) }
    }

    /// The platform on which this program runs, with `linux` as its system: that is what images are for.
    pub fn host() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::new("linux", arch, None)
    }

    /// The operating system: `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture, as Go names it: `amd64`.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// The variant of the architecture, where it matters: `v7`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The platforms whose images run here, the best first.
    fn acceptable(&self) -> Vec<Platform> {
        let of = |arch: &str, variant: Option<String>| Platform { os: self.os.clone(), arch: arch.to_owned(), variant };
        let older = |arch: &str, newest: u8, oldest: u8| -> Vec<Platform> {
            (oldest..=newest).rev().map(|version| of(arch, Some(format!("v{version}")))).collect()
        };
        let version = |variant: &str| variant.strip_prefix('v').and_then(|digits| digits.parse::<u8>().ok());
        let mut list = vec![self.clone()];
        match (self.arch.as_str(), self.variant.as_deref()) {
            ("amd64", variant) => {
                if let Some(newest @ 2..=9) = variant.and_then(version) {
                    list.extend(older("amd64", newest - 1, 2));
                    list.push(of("amd64", None));
                }
                list.push(of("386", None));
            }
            ("arm", Some(variant)) => {
                if let Some(newest @ 6..=9) = version(variant) {
                    list.extend(older("arm", newest - 1, 5));
                }
            }
            ("arm64", variant) => {
                if variant.is_some() {
                    list.push(of("arm64", None));
                }
                list.extend(older("arm", 8, 5));
            }
            _ => {}
        }
        list
    }

    /// How well an image for `offered` serves this platform: 0 is exact, more is worse, `None` is not at all.
    pub fn rank(&self, offered: &Platform) -> Option<usize> {
        self.acceptable().iter().position(|one| one == offered)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The best of `offers` for `wanted`: its place. Of equally good ones the first; those without a platform serve only
/// where nothing else does.
pub(super) fn best<'a>(wanted: &Platform, offers: impl Iterator<Item = Option<&'a Platform>>) -> Option<usize> {
    const UNSTATED: usize = usize::MAX;
    let ranked = offers.enumerate().filter_map(|(place, offer)| match offer {
        Some(offer) => Some((wanted.rank(offer)?, place)),
        None => Some((UNSTATED, place)),
    });
    ranked.min().map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Platform {
        let mut parts = text.split('/');
        Platform::new(parts.next().unwrap(), parts.next().unwrap(), parts.next())
    }

    #[test]
    fn the_many_names_of_an_architecture_are_one_platform() {
        let table = [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/riscv64", "linux/riscv64"),
        ];
        for (written, normal) in table {
            assert_eq!(read(written).to_string(), normal, "{written}");
        }
    }

    #[test]
    fn the_best_entry_is_the_one_that_containerd_would_take() {
        let table: &[(&str, &[&str], Option<&str>)] = &[
            ("linux/amd64", &["linux/arm64", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["linux/386", "linux/amd64"], Some("linux/amd64")),
            ("linux/amd64", &["linux/386", "windows/amd64"], Some("linux/386")),
            ("linux/amd64", &["linux/amd64/v2"], None),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some("linux/amd64/v2")),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some("linux/arm/v6")),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some("linux/arm/v5")),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64"], Some("linux/arm64")),
            ("linux/arm64", &["linux/arm/v6", "linux/arm/v7"], Some("linux/arm/v7")),
            ("linux/arm64", &["linux/amd64"], None),
            ("linux/s390x", &["linux/amd64"], None),
        ];
        for (wanted, offers, expected) in table {
            let offers: Vec<Platform> = offers.iter().map(|text| read(text)).collect();
            let found = best(&read(wanted), offers.iter().map(Some)).map(|place| offers[place].to_string());
            assert_eq!(found.as_deref(), *expected, "{wanted} of {offers:?}");
        }
    }

    #[test]
    fn an_entry_without_a_platform_serves_only_where_nothing_else_does() {
        let amd64 = read("linux/amd64");
        assert_eq!(best(&amd64, [None, Some(&amd64)].into_iter()), Some(1));
        assert_eq!(best(&read("linux/arm64"), [None, Some(&amd64)].into_iter()), Some(0));
    }
}

//! The environment variables that kiln reads: one table, and the only place that looks them up.
//!
//! Knows nothing of what their values are used for.

use std::ffi::OsString;
use std::path::PathBuf;

/// A variable and what it does.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does, as a sentence for the reference.
    pub doc: &'static str,
}

macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $name:ident)*) => {
        $(
            $(#[doc = $doc])+
            pub const $name: &str = stringify!($name);
        )*

        /// Every variable, in the order of the reference.
        pub const VARIABLES: &[Variable] = &[
            $(Variable { name: $name, doc: concat!($($doc),+) }),*
        ];
    };
}

variables! {
    /// The directory of the store. Without it the store is `$XDG_DATA_HOME/kiln`.
    KILN_STORE
    /// Where programs keep their data; `$HOME/.local/share` unless set.
    XDG_DATA_HOME
    /// The home directory, for the defaults of `XDG_DATA_HOME` and `DOCKER_CONFIG`.
    HOME
    /// The default of `--progress`.
    KILN_PROGRESS
    /// The default of `--jobs`.
    KILN_JOBS
    /// Mirrors that are asked first: `docker.io=http://localhost:5000,ghcr.io=https://mirror.lan`, or just an address
    /// for Docker Hub.
    KILN_REGISTRY_MIRROR
    /// Registries (`host:port`, separated by commas) that are spoken to without TLS; those on loopback always are.
    KILN_INSECURE_REGISTRIES
    /// A PEM file of certificate authorities for registries, in place of the system's.
    SSL_CERT_FILE
    /// The proxy for `https` registries.
    HTTPS_PROXY
    /// The proxy for `http` registries.
    HTTP_PROXY
    /// The proxy where neither of the two is set.
    ALL_PROXY
    /// Hosts that are reached without a proxy.
    NO_PROXY
    /// The directory of `config.json` with the credentials for registries; `$HOME/.docker` unless set.
    DOCKER_CONFIG
    /// The socket of the ssh agent that `--ssh default` lends.
    SSH_AUTH_SOCK
    /// Seconds since 1970 that stand for every time in the image, so that two builds give the same image id.
    SOURCE_DATE_EPOCH
    /// If set to anything but the empty text, nothing is coloured.
    NO_COLOR
    /// `dumb` stands for a terminal that can neither colour nor move its cursor.
    TERM
    /// Overrides `LC_CTYPE` and `LANG`.
    LC_ALL
    /// Overrides `LANG`.
    LC_CTYPE
    /// Errors are drawn with ASCII only unless the locale is one of UTF-8.
    LANG
}

/// Finds a variable's value.
type Lookup = dyn Fn(&str) -> Option<OsString>;

/// The variables of a process, or of a test.
pub struct Environment(Box<Lookup>);

impl Environment {
    /// The real ones. Nothing is copied: each is looked up when it is asked for.
    pub fn of_process() -> Self {
        Environment(Box::new(|name| std::env::var_os(name)))
    }

    /// The variable's value if it is set, not empty and UTF-8.
    pub fn text(&self, name: &str) -> Option<String> {
        self.any_text(name).filter(|value| !value.is_empty())
    }

    /// The variable's value if it is set and UTF-8, even if it is empty.
    pub fn any_text(&self, name: &str) -> Option<String> {
        (self.0)(name).and_then(|value| value.into_string().ok())
    }

    /// The variable's value as a path, if it is set and not empty.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        (self.0)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Where the store is; `None` where no variable says so.
    pub fn store(&self) -> Option<PathBuf> {
        self.path(KILN_STORE).or_else(|| {
            // The XDG rules say that a relative path is to be ignored.
            let data = self.path(XDG_DATA_HOME).filter(|path| path.is_absolute());
            let data = data.or_else(|| Some(self.path(HOME)?.join(".local/share")));
            Some(data?.join("kiln"))
        })
    }

    /// Whether colours are unwanted, whatever they are shown on.
    pub fn refuses_colour(&self) -> bool {
        self.text(NO_COLOR).is_some() || self.is_dumb()
    }

    /// Whether the terminal says that it cannot move its cursor.
    pub fn is_dumb(&self) -> bool {
        self.text(TERM).is_some_and(|term| term == "dumb")
    }

    /// Whether the locale's encoding is UTF-8.
    pub fn is_utf8(&self) -> bool {
        let locale = [LC_ALL, LC_CTYPE, LANG].into_iter().find_map(|name| self.text(name)).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    }
}

#[cfg(test)]
impl Environment {
    /// Exactly these variables.
    pub fn fixed(pairs: &[(&str, &str)]) -> Self {
        let pairs: Vec<(String, OsString)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.into())).collect();
        Environment(Box::new(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_where_the_first_variable_that_says_so_puts_it() {
        let store = |pairs: &[(&str, &str)]| Environment::fixed(pairs).store();
        assert_eq!(store(&[("KILN_STORE", "s"), ("HOME", "/h")]), Some("s".into()));
        assert_eq!(store(&[("KILN_STORE", ""), ("XDG_DATA_HOME", "/d"), ("HOME", "/h")]), Some("/d/kiln".into()));
        assert_eq!(store(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")]), Some("/h/.local/share/kiln".into()));
        assert_eq!(store(&[]), None);
    }

    #[test]
    fn an_empty_no_color_refuses_nothing() {
        assert!(!Environment::fixed(&[("NO_COLOR", "")]).refuses_colour());
        assert!(Environment::fixed(&[("NO_COLOR", "1")]).refuses_colour());
        assert!(Environment::fixed(&[("TERM", "dumb")]).refuses_colour());
    }

    #[test]
    fn the_most_specific_locale_decides() {
        assert!(Environment::fixed(&[("LANG", "de_DE.UTF-8")]).is_utf8());
        assert!(!Environment::fixed(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]).is_utf8());
        assert!(!Environment::fixed(&[]).is_utf8());
    }

    #[test]
    fn every_variable_is_documented_by_a_sentence() {
        for variable in VARIABLES {
            assert!(variable.doc.trim().ends_with('.'), "{}", variable.name);
        }
    }
}

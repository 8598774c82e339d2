//! Text that must not be seen: passwords, tokens, the headers made of them.
//!
//! It has no `Display`, and its `Debug` shows nothing, so that no error, log or assertion prints it by accident.

use std::fmt;

/// Text that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What proves to a registry, or to its token server, who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Credential {
    /// A name and a password (or an access token in its place).
    Basic {
        /// The account.
        username: String,
        /// Its password.
        password: Secret,
    },
    /// A refresh token: exchanged for bearer tokens by an OAuth 2 request.
    Identity(Secret),
    /// A bearer token, sent as it is.
    Bearer(Secret),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_any_debug_output() {
        let credential = Credential::Basic { username: "ann".into(), password: Secret::new("hunter2") };
        assert!(!format!("{credential:?}").contains("hunter2"));
        assert!(format!("{credential:?}").contains("ann"));
    }
}

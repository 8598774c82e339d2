//! Names of variables whose values are shown to nobody and kept nowhere.
//!
//! Only a guess by the name, on the side of hiding: a build argument is no place for a secret, but people
//! use it as one. What such an argument was expanded into is told with the argument's name in its place. Pure.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// Parts of a name, between underscores, that speak of a secret.
const PARTS: [&str; 14] = [
    "AUTH",
    "CRED",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PAT",
    "PRIVATE",
    "PWD",
    "SECRET",
    "TOKEN",
];

/// Ends of a name that speak of a secret, where a part alone would not.
const ENDS: [&str; 6] = ["APIKEY", "KEY", "PASSWORD", "SECRET", "SECRETS", "TOKEN"];

/// Whether the name of a variable says that its value is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // The shell's own working directory is no password.
    if name == "PWD" || name == "OLDPWD" {
        return false;
    }
    name.split(['_', '-', '.']).any(|part| PARTS.contains(&part)) || ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether an instruction gives a value to a variable whose name speaks of a secret.
pub fn sets_secret(instruction: &str) -> bool {
    let mut words = instruction.split_ascii_whitespace();
    let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
    if keyword != "ENV" && keyword != "ARG" {
        return false;
    }
    words.any(|word| is_secret(word.split('=').next().unwrap_or(word).trim_matches('"')))
}

/// Shorter values are too likely to be something else.
pub const SHORTEST_BYTES: usize = 4;

/// The values of a build's arguments whose names speak of secrets, as they may stand in a text.
#[derive(Clone, Default)]
pub struct SecretArguments {
    /// A part of a value, and the argument's name; longer parts first, because one may be in another.
    parts: Vec<(String, String)>,
}

impl fmt::Debug for SecretArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|(_, name)| name)).finish()
    }
}

impl SecretArguments {
    /// Those among these arguments.
    pub fn of(arguments: &[(String, String)]) -> Self {
        let mut parts = Vec::new();
        for (name, value) in arguments.iter().filter(|(name, _)| is_secret(name)) {
            // A text shows a value as it is, or line by line, or as its kind of quotes wants it.
            let lines = value.lines().chain([value.as_str()]).map(str::trim);
            let all = lines.flat_map(|line| [line.to_owned(), line.escape_debug().to_string()]);
            parts.extend(all.filter(|part| part.len() >= SHORTEST_BYTES).map(|part| (part, name.clone())));
        }
        parts.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        parts.dedup();
        SecretArguments { parts }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether a text has one of them.
    pub fn are_in(&self, text: &str) -> bool {
        self.parts.iter().any(|(part, _)| text.contains(part))
    }

    /// The text with the argument's name in the place of each: `LABEL key=$API_KEY`.
    pub fn named_in<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut told = Cow::Borrowed(text);
        for (part, name) in &self.parts {
            if told.contains(part) {
                told = Cow::Owned(told.replace(part, &format!("${name}")));
            }
        }
        told
    }

    /// An error that says the same with the names; itself where it has none of the values.
    pub fn named_in_error(&self, error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
        let mut texts = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            texts.push(source.to_string());
            next = source.source();
        }
        if !texts.iter().any(|text| self.are_in(text)) {
            return error;
        }
        let told = texts
            .iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Told { text: self.named_in(text).into_owned(), source })));
        told.map_or(error, |told| told as Box<dyn Error + Send + Sync>)
    }
}

/// An error in other words.
#[derive(Debug)]
struct Told {
    text: String,
    source: Option<Box<Told>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The names in the place of which a text has no values.
pub fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split('$').skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    names.filter(|name| is_secret(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_by_the_name_of_its_argument() {
        let arguments =
            [("API_KEY", "hunter2"), ("DB_PASSWORD", "hunter2-long\"er\nx"), ("PORT", "8080"), ("A_TOKEN", "1")];
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let secrets = SecretArguments::of(&arguments);
        assert_eq!(secrets.named_in("LABEL a=hunter2 b=8080 c=1"), "LABEL a=$API_KEY b=8080 c=1");
        assert_eq!(secrets.named_in("x \"hunter2-long\\\"er\\nx\""), "x \"$DB_PASSWORD\"");
        assert_eq!(secrets.named_in("hunter2-long\"er"), "$DB_PASSWORD");
        assert_eq!(
            names_in("LABEL a=$API_KEY b=${API_KEY} c=$PORT$DB_PASSWORD").collect::<Vec<_>>(),
            ["API_KEY", "DB_PASSWORD"]
        );
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn an_error_keeps_its_words_and_its_sources_but_for_the_values() {
        let secrets = SecretArguments::of(&[("API_KEY".to_owned(), "hunter2".to_owned())]);
        let inner = Told { text: "no hunter2".to_owned(), source: None };
        let error = Box::new(Told { text: "failed".to_owned(), source: Some(Box::new(inner)) });
        let told = secrets.named_in_error(error);
        assert_eq!(format!("{told}: {}", told.source().unwrap()), "failed: no $API_KEY");
        let plain = secrets.named_in_error(Box::new(std::io::Error::other("plain")));
        assert!(plain.is::<std::io::Error>());
    }

    #[test]
    fn only_what_sets_a_secret_is_hidden() {
        assert!(sets_secret("ENV A=1 DB_PASSWORD=x"));
        assert!(sets_secret("ARG NPM_TOKEN"));
        assert!(!sets_secret("RUN echo TOKEN"));
        assert!(!sets_secret("ENV A=1"));
    }

    #[test]
    fn names_of_secrets_are_known_and_others_are_not() {
        for name in
            ["NPM_TOKEN", "github_token", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "API_KEY", "MYTOKEN", "GH_PAT"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "NODE_ENV", "PWD", "AUTHOR", "COMPASS", "KEYBOARD", "TOKENIZERS_PARALLELISM", "PATTERN"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

//! Names of variables whose values are shown to nobody and kept nowhere.
//!
//! Only a guess by the name, on the side of hiding: a build argument is no place for a secret, but people
//! use it as one. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

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

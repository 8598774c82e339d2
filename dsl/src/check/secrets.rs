//! Whether the name of a variable says that its value is a secret.

/// Words that say so, as a whole part of a name that `_` divides.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// Words that say that it is not the secret itself.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// `DB_PASSWORD` and `token` are secret, `PASSWORD_FILE`, `PUBLIC_KEY` and `KEYBOARD` are not.
pub(super) fn is_secret(name: &str) -> bool {
    let has = |words: &[&str]| name.split('_').any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_secret_by_one_of_its_parts() {
        for name in ["TOKEN", "db_Password", "API_KEY_ID", "APIKEY", "AUTH__X", "X_PWORD_", "_KEY"] {
            assert!(is_secret(name), "{name}");
        }
        for name in
            ["KEYS", "TOKENS", "PASSWORDS", "PASSWORD_FILE", "PUBLIC_KEY", "KEY_VERSION", "KEYBOARD", "API-KEY", ""]
        {
            assert!(!is_secret(name), "{name}");
        }
    }
}

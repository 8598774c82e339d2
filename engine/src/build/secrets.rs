//! Keeps the values of secrets out of what a command prints.
//!
//! A command that prints a secret prints it into logs and events, which others read: each value, and each line of one
//! that has several, is replaced. Knows nothing of where values come from.

use crate::explain::secrecy::SHORTEST_BYTES;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// The values of a command's secrets.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Takes a value. What is not text cannot be told from other bytes in text.
    pub fn add(&mut self, value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else { return };
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_BYTES);
        self.0.extend(lines.map(str::to_owned));
        // A value that another one is part of has to go first.
        self.0.sort_by_key(|line| std::cmp::Reverse(line.len()));
    }

    /// The text without them.
    pub fn hidden_in(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| match text.contains(secret) {
            true => text.replace(secret, HIDDEN),
            false => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_and_each_of_its_lines_is_hidden() {
        let mut secrets = Secrets::default();
        secrets.add(b"hunter2\n");
        secrets.add(b"-----BEGIN-----\nabcdef\nx\n");
        secrets.add(b"hunter2-longer");
        secrets.add(&[0xff, 0xfe, b'a', b'b', b'c']);
        let hide = |text: &str| secrets.hidden_in(text.to_owned());
        assert_eq!(hide("is hunter2, and hunter2-longer\n"), "is ***, and ***\n");
        assert_eq!(hide("abcdef x"), "*** x");
        assert_eq!(hide("nothing"), "nothing");
    }
}

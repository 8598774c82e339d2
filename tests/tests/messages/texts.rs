//! The texts in source files: string literals that hold words.
//!
//! Knows as much of Rust as finding them needs.

use std::fmt;
use std::path::{Path, PathBuf};

/// A literal and where it stands.
pub struct Text {
    file: PathBuf,
    line: usize,
    text: String,
    /// What stands before it in its line.
    before: String,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// The texts of a file, or of all files of a folder, without those of tests.
pub fn of(path: &Path) -> Vec<Text> {
    let has_words = |text: &str| {
        text.trim().contains(' ') && text.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_lowercase))
    };
    literals(path).into_iter().filter(|one| has_words(&one.text)).collect()
}

/// The codes of findings: literals like `UnknownFlag`.
pub fn codes(path: &Path) -> Vec<String> {
    let is_code = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_alphabetic())
            && text.chars().filter(char::is_ascii_uppercase).count() > 1
            && text.chars().any(|c| c.is_ascii_lowercase())
    };
    literals(path).into_iter().map(|one| one.text).filter(|text| is_code(text)).collect()
}

fn literals(path: &Path) -> Vec<Text> {
    let is_test = path.file_name().is_some_and(|name| name == "tests.rs" || name == "snapshots");
    if is_test {
        return Vec::new();
    }
    if path.is_dir() {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        return paths.iter().flat_map(|path| literals(path)).collect();
    }
    let source = std::fs::read_to_string(path).unwrap();
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut all = Vec::new();
    let mut at = 0;
    while let Some((begin, end, text)) = next_literal(source, at) {
        at = end;
        let before = source[..begin].rsplit('\n').next().unwrap_or_default().trim_end().to_owned();
        let line = source[..begin].matches('\n').count() + 1;
        all.push(Text { file: path.to_owned(), line, text, before });
    }
    all
}

/// The next string literal from `at` on: where it begins and ends, and what it says.
fn next_literal(source: &str, mut at: usize) -> Option<(usize, usize, String)> {
    loop {
        let rest = &source[at..];
        let next = rest.find(['"', '/', '\''])?;
        let here = at + next;
        let rest = &source[here..];
        if rest.starts_with("//") {
            at = here + rest.find('\n')?;
        } else if let Some(raw) = rest.strip_prefix('"').filter(|_| source[..here].ends_with("r#")) {
            let end = raw.find("\"#")?;
            return Some((here, here + end + 3, raw[..end].to_owned()));
        } else if let Some(plain) = rest.strip_prefix('"') {
            let (text, length) = unescaped(plain)?;
            return Some((here, here + 1 + length, text));
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            at = here + 2 + escaped.find('\'').filter(|&end| end > 0).unwrap_or(1) + 1;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            // A character, or the name of a lifetime.
            at = match quoted.char_indices().nth(1) {
                Some((length, '\'')) => here + length + 2,
                _ => here + 1,
            };
        } else {
            at = here + 1;
        }
    }
}

/// What a literal says whose quote is open, and its length with the quote that ends it.
fn unescaped(literal: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = literal.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, at + 1)),
            '\\' => match chars.next()?.1 {
                '\n' => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                't' => text.push('\t'),
                other => text.push(other),
            },
            c => text.push(c),
        }
    }
    None
}

/// Texts that no error or warning is made of: how components of keys, base images and steps are called where a plan or an
/// explanation shows them, and what is said where nobody reads it.
const NO_MESSAGES: [&str; 11] = [
    "absence of {path}",
    "lines of {path} like {}",
    "output of {}",
    "answer of {shown}",
    "git head",
    "git dirty",
    "[{lane} {label} base] {instruction}",
    "[{label} base] {instruction}",
    "FROM context {name}",
    // How a condition is written again.
    "not ({one})",
    // The mount that has the size says more.
    "invalid size: '{0}'",
];

impl Text {
    /// Whether it reaches nobody who writes a file, or says nothing of what is wrong with it.
    pub fn is_no_message(&self) -> bool {
        let is_inside = self.before.ends_with(".expect(") || self.before.ends_with("reason =");
        is_inside || NO_MESSAGES.contains(&self.text.as_str())
    }

    /// Whether `said` has it, with anything for its placeholders.
    pub fn is_in(&self, said: &str) -> bool {
        let mut rest = said;
        pieces(&self.text).iter().all(|piece| match rest.find(piece.as_str()) {
            Some(at) => {
                rest = &rest[at + piece.len()..];
                true
            }
            None => false,
        })
    }
}

/// What stands between the placeholders of a format string.
fn pieces(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.next_if_eq(&c).is_some() => all.last_mut().unwrap().push(c),
            '{' => {
                while chars.next().is_some_and(|c| c != '}') {}
                all.push(String::new());
            }
            c => all.last_mut().unwrap().push(c),
        }
    }
    all.iter().map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

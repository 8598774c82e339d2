//! Where the keys and the texts of a project file stand, and what comments stand above them.
//!
//! The values themselves are RON's to read; this knows brackets, keys, strings and comments only, and makes nothing of
//! text that is no RON. Pure.

use kiln_dsl::span::Span;

/// A key or a text with the keys that lead to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The keys that lead to it; of a key, itself included.
    pub path: Vec<String>,
    /// Where it stands, quotes included.
    pub span: Span,
    /// What it is.
    pub kind: ItemKind,
}

/// What stands at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// A key, with the comment above it; empty where there is none.
    Key(String),
    /// A text.
    Text(String),
}

/// All keys and texts in their order.
pub fn scan(text: &str) -> Vec<Item> {
    let mut scan = Scan { text, at: 0, keys: Vec::new(), frames: Vec::new(), comment: Vec::new(), items: Vec::new() };
    scan.run();
    scan.items
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    keys: Vec<String>,
    /// How many keys lead to each open bracket.
    frames: Vec<usize>,
    /// The lines of the comment that ends where the walk is.
    comment: Vec<String>,
    items: Vec<Item>,
}

impl Scan<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn run(&mut self) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                _ if c.is_whitespace() => self.blank(),
                '/' if self.rest().starts_with("//") || self.rest().starts_with("/*") => self.take_comment(),
                '"' => {
                    let (span, value) = self.string();
                    self.word(span, value, true);
                }
                '(' | '[' | '{' => {
                    self.frames.push(self.keys.len());
                    self.step(1);
                }
                ')' | ']' | '}' => {
                    let depth = self.frames.pop().unwrap_or(0);
                    self.keys.truncate(depth);
                    self.step(1);
                }
                ',' => {
                    self.keys.truncate(self.frames.last().copied().unwrap_or(0));
                    self.step(1);
                }
                _ if c.is_alphanumeric() || c == '_' => {
                    let length =
                        self.rest().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest().len());
                    let (start, word) = (self.at, self.rest()[..length].to_owned());
                    self.at += length;
                    self.word(Span::new(start, self.at), word, false);
                }
                _ => self.step(c.len_utf8()),
            }
        }
    }

    fn step(&mut self, bytes: usize) {
        self.at += bytes;
        self.comment.clear();
    }

    /// White space; an empty line parts a comment from what is below it.
    fn blank(&mut self) {
        let length = self.rest().find(|c: char| !c.is_whitespace()).unwrap_or(self.rest().len());
        if self.rest()[..length].matches('\n').count() > 1 {
            self.comment.clear();
        }
        self.at += length;
    }

    fn take_comment(&mut self) {
        // A comment behind something is about that.
        let line = &self.text[self.text[..self.at].rfind('\n').map_or(0, |at| at + 1)..self.at];
        let is_own = line.trim().is_empty();
        let is_block = self.rest().starts_with("/*");
        let length = match is_block {
            true => self.rest().find("*/").map_or(self.rest().len(), |at| at + 2),
            false => self.rest().find('\n').unwrap_or(self.rest().len()),
        };
        let body = self.rest()[..length].to_owned();
        self.at += length;
        if is_own {
            let body = body.trim_start_matches(['/', '*', '!']).trim_end_matches("*/");
            self.comment.extend(body.lines().map(|line| line.trim().trim_start_matches("* ").to_owned()));
        }
    }

    fn string(&mut self) -> (Span, String) {
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        let mut end = self.text.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = start + 1 + at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, c)) => value.push(c),
                    None => {}
                },
                c => value.push(c),
            }
        }
        self.at = end;
        (Span::new(start, end), value)
    }

    /// A word or a text: a key where a colon follows.
    fn word(&mut self, span: Span, word: String, is_text: bool) {
        let comment = std::mem::take(&mut self.comment);
        let depth = self.frames.last().copied().unwrap_or(0);
        if self.rest().trim_start().starts_with(':') {
            self.keys.truncate(depth);
            self.keys.push(word);
            let comment = comment.join(" ").trim().to_owned();
            self.items.push(Item { path: self.keys.clone(), span, kind: ItemKind::Key(comment) });
        } else if is_text {
            self.items.push(Item { path: self.keys.clone(), span, kind: ItemKind::Text(word) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_have_the_comments_above_them_and_texts_the_keys_that_lead_to_them() {
        let text = "(\n  // Where\n  // it is.\n  targets: { // not this\n    /* The web. */\n    \"web\": (tags: [\"a:1\", \"b\"]),\n\n    \
                    // Of nothing.\n\n    \"api\": (file: \"D\\\"f\", secrets: {\"s\": env(\"T\")}), // nor this\n  },\n)";
        let shown: Vec<String> = scan(text)
            .into_iter()
            .map(|item| match item.kind {
                ItemKind::Key(comment) => format!("{} // {comment}", item.path.join(".")),
                ItemKind::Text(value) => format!(
                    "{} = {value} at {}",
                    item.path.join("."),
                    &text[item.span.start as usize..item.span.end as usize]
                ),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "targets // Where it is.",
                "targets.web // The web.",
                "targets.web.tags // ",
                "targets.web.tags = a:1 at \"a:1\"",
                "targets.web.tags = b at \"b\"",
                "targets.api // ",
                "targets.api.file // ",
                "targets.api.file = D\"f at \"D\\\"f\"",
                "targets.api.secrets // ",
                "targets.api.secrets.s // ",
                "targets.api.secrets.s = T at \"T\"",
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_walked_through(text in "[a-z\"(){}\\[\\],:/*\\\\\n é]{0,60}") {
            for item in scan(&text) {
                prop_assert!(text.get(item.span.start as usize..item.span.end as usize).is_some());
            }
        }
    }
}

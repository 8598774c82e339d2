//! An image as lines that can be compared, printed and kept: its configuration, its merged tree, and
//! what each layer changes.
//!
//! Times and digests are left out, because two builds of one image differ in them, and so is what the
//! base brings. Pure.

use super::image::Image;
use super::layer::{Kind, Node};
use super::tree::Tree;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The comment of history entries that a Dockerfile's instructions made.
pub const BUILD_COMMENT: &str = "buildkit.dockerfile.v0";

/// The sections of a listing, in their order.
const SECTIONS: [&str; 4] = ["config", "history", "tree", "layers"];

/// An image as lines: what a line is about, and what it says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    sections: [BTreeMap<String, String>; SECTIONS.len()],
}

/// What to leave out of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// Paths (with all below them) whose content is not compared.
    pub contents: Vec<String>,
    /// Paths (with all below them) that are not compared at all.
    pub paths: Vec<String>,
    /// History and layers: for images that are made by different instructions.
    pub making: bool,
}

/// A line in which two listings differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The section.
    pub section: &'static str,
    /// What the line is about.
    pub subject: String,
    /// What the expected listing says; nothing where it has no such line.
    pub expected: Option<String>,
    /// What the other one says.
    pub found: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |value: &Option<String>| value.as_deref().unwrap_or("(nothing)").to_owned();
        writeln!(f, "{} {}", self.section, self.subject)?;
        writeln!(f, "    expected {}", line(&self.expected))?;
        write!(f, "    kiln     {}", line(&self.found))
    }
}

impl Listing {
    /// Lists an image.
    pub fn of(image: &Image, mask: &Mask) -> Listing {
        let mut listing = Listing::default();
        let [config, history, tree, layers] = &mut listing.sections;
        list_config(&image.config, config);
        config.insert("layers".to_owned(), image.layers.len().to_string());
        let diff_ids = image.config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
        config.insert("rootfs.diff_ids".to_owned(), diff_ids.to_string());
        list_history(&image.config, history);
        let base_layers = image.base_layers();
        let mut merged = Tree::of(&image.layers[..base_layers]);
        let base: Lines = list_tree(&merged, mask).collect();
        let mut before = base.clone();
        for (index, layer) in image.layers[base_layers..].iter().enumerate() {
            merged.stack(layer);
            let after: Lines = list_tree(&merged, mask).collect();
            layers.extend(changes(&before, &after).map(|(path, line)| (format!("{} {path}", index + 1), line)));
            before = after;
        }
        tree.extend(changes(&base, &before));
        if mask.making {
            config.remove("layers");
            config.remove("rootfs.diff_ids");
            history.clear();
            layers.clear();
        }
        listing
    }

    /// The lines in which `found` differs from this one.
    pub fn differences(&self, found: &Listing) -> Vec<Difference> {
        let mut all = Vec::new();
        for (at, section) in SECTIONS.into_iter().enumerate() {
            let (expected, found) = (&self.sections[at], &found.sections[at]);
            let mut subjects: Vec<&String> = expected.keys().chain(found.keys()).collect();
            subjects.sort();
            subjects.dedup();
            for subject in subjects.into_iter().filter(|&subject| expected.get(subject) != found.get(subject)) {
                let (expected, found) = (expected.get(subject).cloned(), found.get(subject).cloned());
                all.push(Difference { section, subject: subject.clone(), expected, found });
            }
        }
        all
    }

    /// As text, which [`Listing::parse`] reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (section, lines) in SECTIONS.into_iter().zip(&self.sections) {
            let _ = writeln!(text, "[{section}]");
            for (subject, line) in lines {
                let _ = writeln!(text, "{subject}\t{line}");
            }
        }
        text
    }

    /// Reads what [`Listing::text`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Listing> {
        let mut listing = Listing::default();
        let mut current = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                current = Some(SECTIONS.iter().position(|section| *section == name)?);
                continue;
            }
            let (subject, value) = line.split_once('\t')?;
            listing.sections[current?].insert(subject.to_owned(), value.to_owned());
        }
        Some(listing)
    }
}

/// Lines by path.
type Lines = BTreeMap<String, String>;

/// What turns one tree into another. A directory that a layer only repeats, as some do with all above what
/// they change, is no change.
fn changes<'a>(before: &'a Lines, after: &'a Lines) -> impl Iterator<Item = (String, String)> + 'a {
    let added = after.iter().filter(|(path, line)| before.get(*path) != Some(line));
    let removed =
        before.keys().filter(|path| !after.contains_key(*path)).map(|path| (path.clone(), "removed".to_owned()));
    added.map(|(path, line)| (path.clone(), line.clone())).chain(removed)
}

impl Mask {
    fn hides(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|hidden| is_at_or_below(path, hidden))
    }

    fn hides_content(&self, path: &[u8]) -> bool {
        self.contents.iter().any(|hidden| is_at_or_below(path, hidden))
    }
}

fn is_at_or_below(path: &[u8], root: &str) -> bool {
    path.strip_prefix(root.trim_end_matches('/').as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// All fields but times, digests and the history. A field without a value is one that is not there.
fn list_config(config: &Value, into: &mut BTreeMap<String, String>) {
    let Some(fields) = config.as_object() else { return };
    for (name, value) in fields {
        match name.as_str() {
            "created" | "history" | "rootfs" => {}
            name => flatten(name, value, into),
        }
    }
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, value)| flatten(&format!("{name}.{}", key.escape_debug()), value, into));
        }
        value => drop(into.insert(name.to_owned(), value.to_string())),
    }
}

/// The entries behind those of the base.
fn list_history(config: &Value, into: &mut BTreeMap<String, String>) {
    let entries = config["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_base = |entry: &&Value| entry["comment"].as_str() != Some(BUILD_COMMENT);
    for (index, entry) in entries.iter().skip_while(is_base).enumerate() {
        let fields = entry.as_object().into_iter().flatten().filter(|(name, _)| *name != "created");
        for (name, value) in fields {
            flatten(&format!("{:02}.{name}", index + 1), value, into);
        }
    }
}

fn list_tree<'a>(tree: &'a Tree, mask: &'a Mask) -> impl Iterator<Item = (String, String)> + 'a {
    // The root directory itself stands in few layers, and its mode is the container's.
    let wanted = |path: &[u8]| path != b"/" && !mask.hides(path);
    tree.entries().filter(move |(path, ..)| wanted(path)).map(|(path, node, first)| {
        let mut text = line(node, mask.hides_content(path));
        if let Some(first) = first {
            let _ = write!(text, " links={}", quoted(first));
        }
        (quoted(path), text)
    })
}

/// `file 0644 0:0 …`
fn line(node: &Node, without_content: bool) -> String {
    let mut text = match &node.kind {
        // What a link's own mode says depends on the archiver and means nothing.
        Kind::Symlink(target) => format!("symlink {}:{} -> {}", node.uid, node.gid, quoted(target)),
        Kind::Hardlink(target) => return format!("hardlink to {}", quoted(target)),
        kind => {
            let word = match kind {
                Kind::Dir => "dir",
                Kind::Char(..) => "char",
                Kind::Block(..) => "block",
                Kind::Fifo => "fifo",
                _ => "file",
            };
            format!("{word} {:04o} {}:{}", node.mode, node.uid, node.gid)
        }
    };
    let _ = match &node.kind {
        Kind::File { .. } if without_content => Ok(()),
        Kind::File { text: Some(bytes), .. } => write!(text, " {}", quoted(bytes)),
        Kind::File { size, digest, .. } => write!(text, " {size} bytes b3:{}", &digest.to_hex()[..32]),
        Kind::Char(major, minor) | Kind::Block(major, minor) => write!(text, " {major}:{minor}"),
        _ => Ok(()),
    };
    for (name, value) in &node.xattrs {
        let _ = write!(text, " {}={}", String::from_utf8_lossy(name), quoted(value));
    }
    text
}

/// Bytes as a text without tabs and line feeds, in quotes where it has blanks or is empty.
fn quoted(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string().replace("\\'", "'"),
        Err(_) => bytes.escape_ascii().to_string(),
    };
    if text.is_empty() || text.contains(' ') || text.starts_with('"') { format!("\"{text}\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::layer::Layer;

    fn image(comment: &str, path: &str) -> Image {
        let text = Some(b"a b\n".to_vec());
        let kind = Kind::File { size: 4, digest: blake3::hash(b"a b\n"), text };
        let node = Node {
            kind,
            mode: 0o4755,
            uid: 1,
            gid: 2,
            mtime: 3,
            xattrs: BTreeMap::from([(b"user.x".to_vec(), b"y".to_vec())]),
        };
        let config = serde_json::json!({
            "created": "2026-01-01T00:00:00Z",
            "config": { "Env": ["A=b"], "OnBuild": null },
            "history": [{ "created": "now", "created_by": "COPY a b", "comment": comment }],
            "rootfs": { "diff_ids": ["sha256:0"] },
        });
        let nodes = BTreeMap::from([(path.as_bytes().to_vec(), node)]);
        Image { config, layers: vec![Layer { nodes, ..Layer::default() }] }
    }

    #[test]
    fn an_image_is_listed_and_the_text_is_read_back() {
        let listing = Listing::of(&image(BUILD_COMMENT, "/a b"), &Mask::default());
        let expected = "[config]\nconfig.Env\t[\"A=b\"]\nlayers\t1\nrootfs.diff_ids\t1\n[history]\n01.comment\t\"buildkit.dockerfile.v0\"\n\
            01.created_by\t\"COPY a b\"\n[tree]\n\"/a b\"\tfile 4755 1:2 \"a b\\n\" user.x=y\n[layers]\n1 \"/a b\"\tfile 4755 1:2 \"a b\\n\" user.x=y\n";
        assert_eq!(listing.text(), expected);
        assert_eq!(Listing::parse(expected), Some(listing));
        assert_eq!(Listing::parse("no listing"), None);
    }

    #[test]
    fn the_base_is_left_out() {
        let listing = Listing::of(&image("Imported from -", "/a"), &Mask::default());
        assert_eq!(
            listing.text(),
            "[config]\nconfig.Env\t[\"A=b\"]\nlayers\t1\nrootfs.diff_ids\t1\n[history]\n[tree]\n[layers]\n"
        );
    }

    #[test]
    fn differences_name_the_line_and_both_sides() {
        let one = Listing::of(&image(BUILD_COMMENT, "/a"), &Mask::default());
        let other =
            Listing::of(&image(BUILD_COMMENT, "/b"), &Mask { contents: vec!["/b".to_owned()], ..Mask::default() });
        let all: Vec<String> = one.differences(&other).iter().map(ToString::to_string).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all[1], "tree /b\n    expected (nothing)\n    kiln     file 4755 1:2 user.x=y");
        assert!(one.differences(&one).is_empty());
    }
}

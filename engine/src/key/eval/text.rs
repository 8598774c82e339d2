//! Normalisers of text: line ends, the order of lines, lines that are comments.
//!
//! Bytes that hold a zero byte are no text and stay as they are. Pure.

use kiln_dsl::key::Normaliser;
use std::borrow::Cow;

/// How lines that are comments begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comment {
    Hash,
    Slashes,
    Dashes,
    HashOrSemicolon,
}

/// The kinds of files whose comments are known, by extension.
const BY_EXTENSION: [(Comment, &[&str]); 4] = [
    (
        Comment::Hash,
        &[
            "bash",
            "bazel",
            "bzl",
            "cmake",
            "conf",
            "dockerfile",
            "env",
            "gemspec",
            "gradle.lockfile",
            "ex",
            "exs",
            "fish",
            "hcl",
            "jl",
            "kiln",
            "ksh",
            "lock",
            "mk",
            "nix",
            "nim",
            "pl",
            "pm",
            "properties",
            "ps1",
            "py",
            "pyi",
            "r",
            "rb",
            "sh",
            "tf",
            "toml",
            "txt",
            "yaml",
            "yml",
            "zsh",
        ],
    ),
    (
        Comment::Slashes,
        &[
            "c", "cc", "cjs", "cpp", "cs", "cts", "cxx", "dart", "fs", "go", "gradle", "groovy", "h", "hh", "hpp",
            "java", "js", "json5", "jsonc", "jsx", "kt", "kts", "less", "mjs", "mod", "mts", "php", "proto", "rs",
            "scala", "scss", "swift", "ts", "tsx", "v", "zig",
        ],
    ),
    (Comment::Dashes, &["elm", "hs", "lua", "sql", "adb", "ads"]),
    (Comment::HashOrSemicolon, &["cfg", "ini", "npmrc"]),
];

/// Files whose comments are known by their whole name.
const BY_NAME: [(Comment, &[&str]); 2] = [
    (
        Comment::Hash,
        &[
            ".bashrc",
            ".dockerignore",
            ".editorconfig",
            ".env",
            ".gitattributes",
            ".gitignore",
            ".profile",
            "BUILD",
            "CMakeLists.txt",
            "Containerfile",
            "Dockerfile",
            "GNUmakefile",
            "Gemfile",
            "Makefile",
            "Pipfile",
            "Procfile",
            "Rakefile",
            "crontab",
            "makefile",
            "robots.txt",
        ],
    ),
    (Comment::HashOrSemicolon, &[".npmrc", ".gitconfig", "pip.conf"]),
];

/// Applies the normalisers of text among `wanted` to the file `name`; the error says what is not known.
pub(super) fn normalise<'a>(bytes: &'a [u8], name: &[u8], wanted: &[Normaliser]) -> Result<Cow<'a, [u8]>, String> {
    if !wanted.iter().any(|one| one.is_about_text()) || bytes.contains(&0) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut text = Cow::Borrowed(bytes);
    if wanted.contains(&Normaliser::Eol) {
        text = Cow::Owned(line_feeds(&text));
    }
    if wanted.contains(&Normaliser::StripComments) {
        let comment = comment_of(name).ok_or_else(|| {
            format!("how comments look in {} is not known to strip_comments", String::from_utf8_lossy(name))
        })?;
        text = Cow::Owned(without_comments(&text, comment));
    }
    if wanted.contains(&Normaliser::SortedLines) {
        let mut lines: Vec<&[u8]> = lines(&text).map(|line| line.strip_suffix(b"\n").unwrap_or(line)).collect();
        lines.sort_unstable();
        text = Cow::Owned(lines.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect());
    }
    Ok(text)
}

/// The lines with their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

fn line_feeds(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in lines(text) {
        let (body, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |body| (body, b"\n"));
        let length = body.iter().rposition(|&byte| byte != b'\r').map_or(0, |at| at + 1);
        out.extend_from_slice(&body[..length]);
        out.extend_from_slice(end);
    }
    out
}

fn comment_of(name: &[u8]) -> Option<Comment> {
    let name = std::str::from_utf8(name).ok()?;
    if let Some((comment, _)) = BY_NAME.iter().find(|(_, names)| names.contains(&name)) {
        return Some(*comment);
    }
    let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
    BY_EXTENSION.iter().find(|(_, all)| all.contains(&extension.as_str())).map(|&(comment, _)| comment)
}

/// The text without the lines that are nothing but a comment; a first line that names an interpreter stays.
fn without_comments(text: &[u8], comment: Comment) -> Vec<u8> {
    let is_comment = |line: &[u8]| {
        let line = line.trim_ascii_start();
        match comment {
            Comment::Hash => line.starts_with(b"#"),
            Comment::Slashes => line.starts_with(b"//"),
            Comment::Dashes => line.starts_with(b"--"),
            Comment::HashOrSemicolon => line.starts_with(b"#") || line.starts_with(b";"),
        }
    };
    let kept =
        lines(text).enumerate().filter(|(number, line)| (*number == 0 && line.starts_with(b"#!")) || !is_comment(line));
    kept.flat_map(|(_, line)| line.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, name: &str, wanted: &[Normaliser]) -> String {
        match normalise(text.as_bytes(), name.as_bytes(), wanted) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => error,
        }
    }

    #[test]
    fn line_ends_order_and_comments_are_taken_out_where_asked() {
        assert_eq!(shown("a\r\nb\rc\r\n", "x", &[Normaliser::Eol]), "a\nb\rc\n");
        assert_eq!(shown("b\na\n", "x", &[Normaliser::SortedLines]), shown("a\nb", "x", &[Normaliser::SortedLines]));
        let strip = [Normaliser::StripComments];
        assert_eq!(shown("#!/bin/sh\n # x\necho # y\n", "a.sh", &strip), "#!/bin/sh\necho # y\n");
        assert_eq!(shown("// x\n#include <a>\n", "a.c", &strip), "#include <a>\n");
        assert_eq!(shown("; x\n# y\na=1\n", "a.ini", &strip), "a=1\n");
        assert_eq!(shown("-- x\nselect\n", "a.SQL", &strip), "select\n");
        assert_eq!(shown("# x\nall:\n", "Makefile", &strip), "all:\n");
        assert_eq!(shown("x", "a.foo", &strip), "how comments look in a.foo is not known to strip_comments");
        assert_eq!(shown("x", "foo", &[]), "x");
    }

    #[test]
    fn what_is_no_text_stays() {
        assert_eq!(
            normalise(b"b\r\n\0a", b"x", &[Normaliser::Eol, Normaliser::SortedLines]).unwrap(),
            &b"b\r\n\0a"[..]
        );
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(text in "[ab#\r\n]{0,20}", wanted in proptest::sample::subsequence(
            vec![Normaliser::Eol, Normaliser::SortedLines, Normaliser::StripComments], 0..3)) {
            let once = shown(&text, "a.sh", &wanted);
            prop_assert_eq!(shown(&once, "a.sh", &wanted), once);
        }
    }
}

//! Finds the tags that a mistyped one may have meant.

use serde::Deserialize;

/// How many are suggested.
const SUGGESTIONS_MAX: usize = 3;

/// The tags in an answer to `tags/list`; none where it is not understood.
pub(super) fn parse_tags(bytes: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct List {
        tags: Option<Vec<String>>,
    }
    serde_json::from_slice(bytes).ok().and_then(|list: List| list.tags).unwrap_or_default()
}

/// The tags nearest to `wanted`, the nearest first: those within a few changed characters, or that only go on.
pub(super) fn similar<'a>(wanted: &str, tags: &'a [String]) -> Vec<&'a str> {
    let near = wanted.chars().count().div_ceil(3);
    let mut ranked: Vec<(usize, &str)> = tags
        .iter()
        .map(String::as_str)
        .filter(|tag| super::error::clean(tag) == *tag)
        .filter_map(|tag| {
            let distance = distance(wanted, tag);
            // `12-alpine` is meant by `12-alpine3` more likely than by `13-alpine3`, however many characters follow.
            let goes_on = tag.starts_with(wanted) || wanted.starts_with(tag);
            (distance <= near || goes_on).then_some((distance, tag))
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(SUGGESTIONS_MAX).map(|(_, tag)| tag).collect()
}

/// The least number of characters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_tags_come_first() {
        let tags: Vec<String> = ["latest", "12-alpine", "12-alpine3.15", "13-alpine", "bookworm", "1"]
            .iter()
            .map(|tag| (*tag).to_owned())
            .collect();
        assert_eq!(similar("12-alpin", &tags), ["12-alpine", "13-alpine", "12-alpine3.15"]);
        assert_eq!(similar("latst", &tags), ["latest"]);
        assert!(similar("zzz", &tags).is_empty());
        assert!(similar("la\x1b[m", &["la\x1b[".to_owned()]).is_empty());
    }

    #[test]
    fn a_list_of_tags_may_be_null() {
        assert_eq!(parse_tags(br#"{"name":"a","tags":["x"]}"#), ["x"]);
        assert!(parse_tags(br#"{"name":"a","tags":null}"#).is_empty() && parse_tags(b"<").is_empty());
    }
}

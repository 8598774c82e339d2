//! "Did you mean": the known name that is nearest to a misspelled one.
//!
//! Knows nothing of what the names are names of.

/// Distances from here on are no slip of the fingers.
const TOO_FAR: usize = 3;
/// Longer words are not compared: no name is that long, and the comparison is quadratic.
const LONGEST_WORD_CHARS: usize = 64;

/// The option at the smallest edit distance from `word` (at most 2, case ignored); on a tie the first one.
///
/// `None` if nothing is near, or if `word` is one of the options: then the error lies elsewhere.
pub fn nearest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST_WORD_CHARS + 1).map(|c| c.to_ascii_lowercase()).collect();
    if word.len() > LONGEST_WORD_CHARS {
        return None;
    }
    let mut best = None;
    let mut best_distance = TOO_FAR;
    for option in options {
        let target: Vec<char> = option.chars().map(|c| c.to_ascii_lowercase()).collect();
        let distance = edit_distance(&word, &target);
        if distance == 0 {
            return None;
        }
        // Two edits turn any two-letter word into any other.
        if distance < best_distance && distance < target.len().max(word.len()) {
            (best, best_distance) = (Some(option), distance);
        }
    }
    best
}

/// Levenshtein's distance.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        assert_eq!(nearest("RNU", ["FROM", "RUN", "ARG"]), Some("RUN"));
        assert_eq!(nearest("form", ["FROM", "RUN"]), Some("FROM"));
        assert_eq!(nearest("platfrm", ["platform"]), Some("platform"));
        assert_eq!(nearest("apt-get", ["FROM", "RUN"]), None);
        assert_eq!(nearest("run", ["FROM", "RUN"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["FROM"]), None);
    }
}

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
        // Of a short word, two edits leave too little to recognise it by.
        if distance < best_distance && 2 * distance < target.len().max(word.len()) {
            (best, best_distance) = (Some(option), distance);
        }
    }
    best
}

/// The option at the smallest edit distance (at most 2, swaps count twice, case matters), as BuildKit looks for it.
///
/// For messages that must be the same as Docker's; [`nearest`] guesses better.
pub fn nearest_exact<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST_WORD_CHARS + 1).collect();
    let mut best = None;
    let mut best_distance = TOO_FAR;
    for option in options {
        let target: Vec<char> = option.chars().take(LONGEST_WORD_CHARS + 1).collect();
        if word.len().abs_diff(target.len()) >= TOO_FAR {
            continue;
        }
        let distance = distance(&word, &target, false);
        if distance == 0 {
            return None;
        }
        if distance < best_distance {
            (best, best_distance) = (Some(option), distance);
        }
    }
    best
}

/// The number of characters to insert, remove, replace or swap with their neighbour.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    distance(a, b, true)
}

fn distance(a: &[char], b: &[char], swaps: bool) -> usize {
    // The rows of the table for `a` up to two, one and no characters back.
    let mut oldest = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(previous[j] + 1).min(row[j - 1] + 1);
            if swaps && i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(oldest[j - 2] + 1);
            }
        }
        oldest = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_guess_minds_case_and_takes_short_words() {
        assert_eq!(nearest_exact("VERSON", ["version", "VERSION"]), Some("VERSION"));
        assert_eq!(nearest_exact("foo", ["FOO", "PATH"]), None);
        assert_eq!(nearest_exact("A", ["PATH", "B"]), Some("B"));
        assert_eq!(nearest_exact("A", ["A", "B"]), None);
    }

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        assert_eq!(nearest("RNU", ["FROM", "RUN", "ARG"]), Some("RUN"));
        assert_eq!(nearest("form", ["FROM", "RUN"]), Some("FROM"));
        assert_eq!(nearest("platfrm", ["platform"]), Some("platform"));
        assert_eq!(nearest("apt-get", ["FROM", "RUN"]), None);
        assert_eq!(nearest("FOO", ["FROM", "RUN"]), None);
        assert_eq!(nearest("run", ["FROM", "RUN"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["FROM"]), None);
    }
}

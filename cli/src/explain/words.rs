//! Two texts as one with what went and what came: `echo [-hello-]{+bye+}`.
//!
//! Pure. Words are runs of letters and digits, blanks, or single other characters.

/// Words of the unchanged text that are shown on each side of a change.
const CONTEXT_WORDS: usize = 6;

/// Texts with more words than this are told by what is around the first and the last difference.
const WORDS_MAX: usize = 2000;

/// What differs between two one-line texts.
pub fn diff(old: &str, new: &str) -> String {
    let (a, b) = (split(old), split(new));
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = a[start..].iter().rev().zip(b[start..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (a_middle, b_middle) = (&a[start..a.len() - end], &b[start..b.len() - end]);
    let mut out = String::new();
    if start > CONTEXT_WORDS {
        out.push('…');
    }
    out.extend(a[start.saturating_sub(CONTEXT_WORDS)..start].iter().copied());
    middle(&mut out, a_middle, b_middle);
    let after = &a[a.len() - end..];
    out.extend(after.iter().take(CONTEXT_WORDS).copied());
    if after.len() > CONTEXT_WORDS {
        out.push('…');
    }
    out
}

fn split(text: &str) -> Vec<&str> {
    let kind = |c: char| {
        if c.is_alphanumeric() || c == '_' || c == '.' {
            1
        } else if c == ' ' {
            2
        } else {
            0
        }
    };
    let mut words = Vec::new();
    let mut start = 0;
    let mut previous: Option<char> = None;
    for (at, c) in text.char_indices() {
        if let Some(before) = previous
            && (kind(before) != kind(c) || kind(c) == 0)
        {
            words.push(&text[start..at]);
            start = at;
        }
        previous = Some(c);
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

/// The part between what is the same at both ends, by the longest common sequence.
fn middle(out: &mut String, a: &[&str], b: &[&str]) {
    if a.len().saturating_mul(b.len()) > WORDS_MAX * WORDS_MAX {
        mark(out, &a.concat(), &b.concat());
        return;
    }
    let mut lengths = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] =
                if a[i] == b[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut gone, mut come) = (String::new(), String::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            mark(out, &std::mem::take(&mut gone), &std::mem::take(&mut come));
            out.push_str(a[i]);
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            gone.push_str(a[i]);
            i += 1;
        } else {
            come.push_str(b[j]);
            j += 1;
        }
    }
    mark(out, &gone, &come);
}

fn mark(out: &mut String, gone: &str, come: &str) {
    if !gone.is_empty() {
        out.push_str("[-");
        out.push_str(gone);
        out.push_str("-]");
    }
    if !come.is_empty() {
        out.push_str("{+");
        out.push_str(come);
        out.push_str("+}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_words_that_differ_are_marked() {
        assert_eq!(diff("echo hello", "echo bye"), "echo [-hello-]{+bye+}");
        assert_eq!(diff("a b c", "a c"), "a [-b -]c");
        assert_eq!(diff("left-pad@1.2.0", "left-pad@1.3.0"), "left-pad@[-1.2.0-]{+1.3.0+}");
        assert_eq!(diff("", "x"), "{+x+}");
    }

    #[test]
    fn far_text_is_left_out_on_both_sides() {
        let text = |word: &str| format!("1 2 3 4 5 6 7 8 9 {word} 1 2 3 4 5 6 7 8 9");
        assert_eq!(diff(&text("a"), &text("b")), "… 7 8 9 [-a-]{+b+} 1 2 3…".replace("… 7", "…7"));
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_the_marked_one(old in "[ab ]{0,6}", new in "[ab ]{0,6}") {
            let marked = diff(&old, &new);
            let side = |open: &str, close: &str, drop_open: &str, drop_close: &str| {
                let mut text = marked.replace(open, "").replace(close, "");
                while let Some(start) = text.find(drop_open) {
                    let end = text[start..].find(drop_close).map_or(text.len(), |end| start + end + drop_close.len());
                    text.replace_range(start..end, "");
                }
                text
            };
            prop_assert_eq!(side("[-", "-]", "{+", "+}"), old);
            prop_assert_eq!(side("{+", "+}", "[-", "-]"), new);
        }
    }
}

//! Which of two versions is the later one.
//!
//! Numbers compare as numbers (`1.9` is before `1.10`), what is missing counts as zero (`1` is `1.0`), and what stands
//! behind a dash comes before the release itself (`2.0-rc1` is before `2.0`). A leading `v` and what stands behind a plus
//! do not count. Words compare as text, and before numbers.

use std::cmp::Ordering;

/// Compares two versions.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((a, a_pre), (b, b_pre)) = (split(a), split(b));
    parts(a, b).then_with(|| match (a_pre, b_pre) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => parts(a, b),
    })
}

/// The release and what stands behind its first dash.
fn split(text: &str) -> (&str, Option<&str>) {
    let text =
        text.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(text);
    let text = text.split('+').next().unwrap_or_default();
    match text.split_once('-') {
        Some((release, pre)) => (release, Some(pre)),
        None => (text, None),
    }
}

fn parts(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (pieces(a).into_iter(), pieces(b).into_iter());
    loop {
        let (x, y) = (a.next(), b.next());
        if x.is_none() && y.is_none() {
            return Ordering::Equal;
        }
        let order = piece(x.unwrap_or("0"), y.unwrap_or("0"));
        if order.is_ne() {
            return order;
        }
    }
}

/// Runs of digits and runs of other characters, dots apart.
fn pieces(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    for word in text.split(['.', '-', '_']).filter(|word| !word.is_empty()) {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let is_digit = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
            all.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    all
}

fn piece(a: &str, b: &str) -> Ordering {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (is_number(a), is_number(b)) {
        // However long: without leading zeros the longer one is the larger.
        (true, true) => {
            let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
            a.len().cmp(&b.len()).then_with(|| a.cmp(b))
        }
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_in_the_order_in_which_they_come_out() {
        let order = ["0.9", "1.0-alpha", "1.0-rc1", "1.0-rc2", "1.0-rc10", "1.0", "1.0.1", "1.9", "1.10", "2", "10.0"];
        for (at, a) in order.iter().enumerate() {
            for (other, b) in order.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&other), "{a} {b}");
            }
        }
        for (a, b) in [("1", "1.0.0"), ("v1.2", "1.2"), ("1.2+build", "1.2"), ("1.02", "1.2"), ("", "0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
        let long = "9".repeat(40);
        assert_eq!(compare(&long, "1"), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn the_order_is_one_order(a in "[0-9a.-]{0,6}", b in "[0-9a.-]{0,6}", c in "[0-9a.-]{0,6}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le(), "{} {} {}", a, b, c);
            }
        }
    }
}

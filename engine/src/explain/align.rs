//! Which instruction of an earlier build is which of a later one.
//!
//! Stages are paired first, then the instructions of each pair: the longest common sequence of equal texts
//! stays, an equal text elsewhere was moved, and what is left between two that stayed was edited where the
//! keyword is the same. Pure.

use std::collections::HashMap;

/// An instruction: its stage and its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// The stage's name, or its number.
    pub stage: &'a str,
    /// The platform: a stage of two platforms is two stages.
    pub platform: &'a str,
    /// The instruction.
    pub text: &'a str,
}

/// Where an instruction of the later build comes from: a place in the earlier one's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The same text among the same neighbours.
    Same(usize),
    /// The same text elsewhere in the stage.
    Moved(usize),
    /// Another text in its place.
    Edited(usize),
    /// Nowhere: it was written since.
    New,
}

impl Origin {
    /// The earlier instruction.
    pub fn old(self) -> Option<usize> {
        match self {
            Origin::Same(old) | Origin::Moved(old) | Origin::Edited(old) => Some(old),
            Origin::New => None,
        }
    }
}

/// How two lists of instructions belong together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Alignment {
    /// For each instruction of the later list, its origin.
    pub origins: Vec<Origin>,
    /// The instructions that only the earlier list has.
    pub removed: Vec<usize>,
    /// Whether stages that both have stand in another order.
    pub stages_moved: bool,
}

/// Aligns `new` with `old`.
pub fn align(old: &[Item<'_>], new: &[Item<'_>]) -> Alignment {
    let (old_stages, new_stages) = (stages(old), stages(new));
    let pairs = pair_stages(old, &old_stages, new, &new_stages);
    let mut found = Alignment { origins: vec![Origin::New; new.len()], ..Alignment::default() };
    let mut used = vec![false; old.len()];
    for (stage, items) in new_stages.iter().enumerate() {
        if let Some(other) = pairs[stage] {
            one_stage(old, &old_stages[other].1, new, &items.1, &mut found.origins);
        }
    }
    for origin in &found.origins {
        if let Some(old) = origin.old() {
            used[old] = true;
        }
    }
    found.removed = (0..old.len()).filter(|&index| !used[index]).collect();
    found.stages_moved = !pairs.iter().flatten().is_sorted();
    found
}

/// A stage and its platform, with its instructions.
type Stage<'a> = ((&'a str, &'a str), Vec<usize>);

fn stages<'a>(items: &[Item<'a>]) -> Vec<Stage<'a>> {
    let mut all: Vec<Stage<'a>> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let place = *places.entry((item.stage, item.platform)).or_insert_with(|| {
            all.push(((item.stage, item.platform), Vec::new()));
            all.len() - 1
        });
        all[place].1.push(index);
    }
    all
}

fn is_number(stage: &str) -> bool {
    stage.bytes().all(|byte| byte.is_ascii_digit())
}

/// For each new stage the old one: by name, then by the first instruction, then in order. A stage of another platform is
/// its old one only where the two builds have no platform in common.
fn pair_stages(old: &[Item<'_>], olds: &[Stage<'_>], new: &[Item<'_>], news: &[Stage<'_>]) -> Vec<Option<usize>> {
    let mut pairs: Vec<Option<usize>> = vec![None; news.len()];
    let mut free: Vec<usize> = (0..olds.len()).collect();
    let mut take = |pairs: &mut Vec<Option<usize>>, matches: &dyn Fn(&Stage<'_>, &Stage<'_>) -> bool| {
        for (pair, stage) in pairs.iter_mut().zip(news).filter(|(pair, _)| pair.is_none()) {
            if let Some(at) = free.iter().position(|&other| matches(&olds[other], stage)) {
                *pair = Some(free.remove(at));
            }
        }
    };
    let first = |items: &[Item<'_>], stage: &Stage<'_>| stage.1.first().map(|&index| items[index].text.to_owned());
    let is_same = |a: &Stage<'_>, b: &Stage<'_>| a.0.1 == b.0.1;
    let is_other = !news.iter().any(|new| olds.iter().any(|old| is_same(old, new)));
    let fits = |a: &Stage<'_>, b: &Stage<'_>| is_other || is_same(a, b);
    take(&mut pairs, &|a, b| a.0.0 == b.0.0 && !is_number(a.0.0) && fits(a, b));
    take(&mut pairs, &|a, b| first(old, a) == first(new, b) && fits(a, b));
    take(&mut pairs, &|a, b| fits(a, b));
    pairs
}

fn one_stage(old: &[Item<'_>], olds: &[usize], new: &[Item<'_>], news: &[usize], origins: &mut [Origin]) {
    let same = |a: usize, b: usize| old[olds[a]].text == new[news[b]].text;
    let kept = common(olds.len(), news.len(), &same);
    let mut is_used = vec![false; olds.len()];
    for &(a, b) in &kept {
        is_used[a] = true;
        origins[news[b]] = Origin::Same(olds[a]);
    }
    for b in 0..news.len() {
        if origins[news[b]] == Origin::New
            && let Some(a) = (0..olds.len()).find(|&a| !is_used[a] && same(a, b))
        {
            is_used[a] = true;
            origins[news[b]] = Origin::Moved(olds[a]);
        }
    }
    let ends = std::iter::once((olds.len(), news.len()));
    let (mut a, mut b) = (0, 0);
    for (a_end, b_end) in kept.iter().copied().chain(ends) {
        for b in b..b_end {
            let keyword = keyword(new[news[b]].text);
            let next = (a..a_end).find(|&at| !is_used[at] && self::keyword(old[olds[at]].text) == keyword);
            if let Some(at) = next.filter(|_| origins[news[b]] == Origin::New) {
                is_used[at] = true;
                origins[news[b]] = Origin::Edited(olds[at]);
            }
        }
        (a, b) = (a_end + 1, b_end + 1);
    }
}

fn keyword(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}

/// The longest common sequence of `0..old` and `0..new`, as pairs.
fn common(old: usize, new: usize, same: &dyn Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let start = (0..old.min(new)).take_while(|&at| same(at, at)).count();
    let end = (0..old.min(new) - start).take_while(|&at| same(old - 1 - at, new - 1 - at)).count();
    let (rows, columns) = (old - start - end, new - start - end);
    // lengths[a][b]: of the longest sequence common to what is from a and from b on.
    let mut lengths = vec![vec![0usize; columns + 1]; rows + 1];
    for a in (0..rows).rev() {
        for b in (0..columns).rev() {
            lengths[a][b] = match same(start + a, start + b) {
                true => lengths[a + 1][b + 1] + 1,
                false => lengths[a + 1][b].max(lengths[a][b + 1]),
            };
        }
    }
    let mut pairs: Vec<(usize, usize)> = (0..start).map(|at| (at, at)).collect();
    let (mut a, mut b) = (0, 0);
    while a < rows && b < columns {
        if same(start + a, start + b) {
            pairs.push((start + a, start + b));
            (a, b) = (a + 1, b + 1);
        } else if lengths[a + 1][b] >= lengths[a][b + 1] {
            a += 1;
        } else {
            b += 1;
        }
    }
    pairs.extend((0..end).rev().map(|at| (old - 1 - at, new - 1 - at)));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use Origin::{Edited, Moved, New, Same};
    use proptest::prelude::*;

    fn items<'a>(lines: &[(&'a str, &'a str)]) -> Vec<Item<'a>> {
        lines.iter().map(|&(stage, text)| Item { stage, platform: "", text }).collect()
    }

    fn aligned(old: &[&str], new: &[&str]) -> Alignment {
        let with_stage =
            |lines: &[&'static str]| -> Vec<(&str, &str)> { lines.iter().map(|text| ("0", *text)).collect() };
        let leak = |lines: &[&str]| -> Vec<&'static str> {
            lines.iter().map(|line| &*Box::leak((*line).to_owned().into_boxed_str())).collect()
        };
        align(&items(&with_stage(&leak(old))), &items(&with_stage(&leak(new))))
    }

    #[test]
    fn an_inserted_instruction_is_new_and_the_others_stay() {
        let found = aligned(&["FROM a", "RUN 1", "RUN 2"], &["FROM a", "RUN x", "RUN 1", "RUN 2"]);
        assert_eq!(found.origins, [Same(0), New, Same(1), Same(2)]);
        assert_eq!(found.removed, Vec::<usize>::new());
    }

    #[test]
    fn a_removed_instruction_is_named() {
        let found = aligned(&["FROM a", "RUN 1", "RUN 2"], &["FROM a", "RUN 2"]);
        assert_eq!(
            (found.origins.as_slice(), found.removed.as_slice()),
            ([Same(0), Same(2)].as_slice(), [1].as_slice())
        );
    }

    #[test]
    fn an_edited_instruction_keeps_its_place_and_its_keyword() {
        let found = aligned(&["FROM a", "RUN 1", "COPY a /"], &["FROM a", "RUN 2", "ENV A=1", "COPY b /"]);
        assert_eq!(found.origins, [Same(0), Edited(1), New, Edited(2)]);
    }

    #[test]
    fn two_that_changed_places_are_one_that_moved() {
        let found = aligned(&["FROM a", "RUN 1", "RUN 2"], &["FROM a", "RUN 2", "RUN 1"]);
        assert_eq!(found.origins, [Same(0), Same(2), Moved(1)]);
    }

    #[test]
    fn stages_are_paired_by_name_and_unnamed_ones_by_how_they_begin() {
        let old = items(&[("build", "FROM a AS build"), ("build", "RUN 1"), ("1", "FROM b"), ("1", "RUN 2")]);
        let new = items(&[
            ("0", "FROM c"),
            ("build", "FROM a AS build"),
            ("build", "RUN 1"),
            ("2", "FROM b"),
            ("2", "RUN 2"),
        ]);
        let found = align(&old, &new);
        assert_eq!(found.origins, [New, Same(0), Same(1), Same(2), Same(3)]);
        assert!(!found.stages_moved);
        let swapped = align(
            &items(&[("a", "FROM x AS a"), ("b", "FROM x AS b")]),
            &items(&[("b", "FROM x AS b"), ("a", "FROM x AS a")]),
        );
        assert!(swapped.stages_moved);
        assert_eq!(swapped.origins, [Same(1), Same(0)]);
    }

    proptest! {
        #[test]
        fn every_earlier_instruction_is_used_once_or_removed(
            old in proptest::collection::vec(("[ab]", "[RC] [xyz]"), 0..8),
            new in proptest::collection::vec(("[ab]", "[RC] [xyz]"), 0..8),
        ) {
            let list = |lines: &[(String, String)]| -> Vec<(String, String)> { lines.to_vec() };
            let (old, new) = (list(&old), list(&new));
            let refer = |lines: &'static [(String, String)]| -> Vec<Item<'static>> {
                lines.iter().map(|(stage, text)| Item { stage, platform: "", text }).collect()
            };
            let found = align(&refer(Box::leak(old.clone().into_boxed_slice())), &refer(Box::leak(new.clone().into_boxed_slice())));
            let mut seen: Vec<usize> = found.origins.iter().filter_map(|origin| origin.old()).chain(found.removed).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..old.len()).collect::<Vec<_>>());
            if old == new {
                prop_assert!(found.origins.iter().enumerate().all(|(at, origin)| *origin == Same(at)));
            }
        }
    }
}

//! The name of a branch, or of several: `test[3.12]`, `test[3.12,alpine]`, `test[*]`, `test[3.12,*]`.
//!
//! Knows nothing of which branches there are.

use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, verify};
use nom::multi::separated_list1;
use nom::sequence::delimited;
use std::fmt;

/// A stage and the values of its branches that are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchName {
    /// The stage, as written.
    pub stage: String,
    /// A value for each variable, in the order of the FORs; one `*` alone stands for all variables.
    pub values: Vec<Choice>,
}

/// Which values of a variable are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// `*`
    All,
    /// This one.
    One(String),
}

impl BranchName {
    /// Whether a text has the form of a branch's name at all.
    pub fn is_meant(text: &str) -> bool {
        text.contains('[')
    }

    /// Reads `text`; `None` if it is no name of a branch.
    pub fn parse(text: &str) -> Option<BranchName> {
        let name = take_while1(|c: char| !is_special(c));
        let value = map(verify(take_while1(|c: char| !matches!(c, '[' | ']' | ',')), is_value_or_all), |text: &str| {
            if text == "*" { Choice::All } else { Choice::One(text.to_owned()) }
        });
        let values = delimited(char('['), separated_list1(char(','), value), char(']'));
        let read: nom::IResult<&str, (&str, Vec<Choice>)> = all_consuming((name, values)).parse(text);
        let (_, (stage, values)) = read.ok()?;
        Some(BranchName { stage: stage.to_owned(), values })
    }

    /// Whether it may mean several branches.
    pub fn is_pattern(&self) -> bool {
        self.values.contains(&Choice::All)
    }

    /// The variables, of `count`, for which any value will do.
    pub fn open(&self, count: usize) -> Vec<usize> {
        match self.values.as_slice() {
            [Choice::All] => (0..count).collect(),
            values => (0..count).filter(|&at| values.get(at) == Some(&Choice::All)).collect(),
        }
    }

    /// Whether a branch with these values is meant, without regard to case.
    pub fn matches(&self, values: &[String]) -> bool {
        if self.values == [Choice::All] {
            return true;
        }
        self.values.len() == values.len()
            && self.values.iter().zip(values).all(|(choice, value)| match choice {
                Choice::All => true,
                Choice::One(wanted) => wanted.eq_ignore_ascii_case(value),
            })
    }
}

/// What has a meaning in names of branches or where they are used.
fn is_special(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '[' | ']' | '{' | '}' | ',' | '*' | '$' | '"' | '\'' | '\\' | '`')
}

fn is_value_or_all(text: &str) -> bool {
    text == "*" || is_value(text)
}

/// Whether a text can be the value of a variable of FOR: it becomes a part of names.
pub fn is_value(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(is_special)
}

/// The name of the branch of `stage` with these values.
pub fn of(stage: &str, values: &[String]) -> String {
    format!("{stage}[{}]", values.join(","))
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(|choice| match choice {
            Choice::All => "*".to_owned(),
            Choice::One(value) => value.clone(),
        });
        f.write_str(&of(&self.stage, &values.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_mean_one_branch_or_several() {
        let values = ["3.12".to_owned(), "alpine".to_owned()];
        for (text, matches) in [
            ("t[3.12,alpine]", true),
            ("t[3.12,ALPINE]", true),
            ("t[*]", true),
            ("t[*,alpine]", true),
            ("t[3.12,*]", true),
            ("t[3.11,*]", false),
            ("t[3.12]", false),
            ("t[*,*,*]", false),
        ] {
            assert_eq!(BranchName::parse(text).unwrap().matches(&values), matches, "{text}");
        }
        for text in ["t", "t[", "t[]", "t[a", "t[a]b", "[a]", "t[a,]", "t[a*]", "t[a b]", "t[${X}]", "t[[a]]"] {
            assert_eq!(BranchName::parse(text), None, "{text}");
        }
        assert_eq!(BranchName::parse("t[*]").unwrap().open(2), [0, 1]);
        assert_eq!(BranchName::parse("t[a,*]").unwrap().open(2), [1]);
    }

    proptest! {
        #[test]
        fn a_name_reads_as_itself_and_no_text_makes_the_reader_panic(text in any::<String>(), values in proptest::collection::vec("[a-z0-9.+:/-]{1,5}", 1..4)) {
            let _ = BranchName::parse(&text);
            let name = of("stage", &values);
            let read = BranchName::parse(&name).unwrap();
            prop_assert_eq!(read.to_string(), name);
            prop_assert!(read.matches(&values) && !read.is_pattern());
        }
    }
}

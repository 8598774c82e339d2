//! What stands behind IF: comparisons of build arguments, joined by `and`, `or` and `not`.
//!
//! [`Condition::parse`] reads it with nom; [`Condition::holds`] decides it once the values are known. Knows nothing of the
//! instructions that depend on it.

use super::version;
use crate::diagnostic::Diagnostic;
use crate::fault::{Fault, Read};
use crate::span::{Span, Spanned};
use crate::suggest;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, none_of};
use nom::combinator::{map, value};
use nom::multi::many0;
use nom::sequence::{delimited, preceded};
use std::fmt;

/// Parentheses and `not` inside each other; every one costs call stack.
const MAX_DEPTH: usize = 64;

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// `a or b or …`
    Any(Vec<Condition>),
    /// `a and b and …`
    All(Vec<Condition>),
    /// `not a`
    Not(Box<Condition>),
    /// `defined(NAME)`: the argument has a value, empty or not.
    Defined(Spanned<String>),
    /// `NAME`: the argument's value is neither empty nor `0`, `false`, `no` or `off`.
    Truth(Operand),
    /// `a == b` and the like.
    Compare(Operand, Comparison, Operand),
    /// `a in (b, c, …)`
    In(Operand, Vec<Operand>),
}

/// What is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// A build argument's value.
    Name(Spanned<String>),
    /// The text itself.
    Text(Spanned<String>),
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `==`: the same text.
    Equal,
    /// `!=`: another text.
    Unequal,
    /// `<`: an earlier version.
    Less,
    /// `<=`: an earlier version, or the same.
    LessOrEqual,
    /// `>`: a later version.
    Greater,
    /// `>=`: a later version, or the same.
    GreaterOrEqual,
}

/// A name that no argument has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownName(pub Spanned<String>);

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// Words that no argument can be called by in a condition.
const WORDS: [&str; 5] = ["and", "or", "not", "in", "defined"];

impl Comparison {
    fn holds(self, a: &str, b: &str) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::Unequal => a != b,
            Comparison::Less => version::compare(a, b).is_lt(),
            Comparison::LessOrEqual => version::compare(a, b).is_le(),
            Comparison::Greater => version::compare(a, b).is_gt(),
            Comparison::GreaterOrEqual => version::compare(a, b).is_ge(),
        }
    }
}

impl Operand {
    /// Its value. `get` says of a name whether there is such an argument, and its value if it has one.
    fn value<'a>(&'a self, get: &dyn Fn(&str) -> Option<Option<&'a str>>) -> Result<&'a str, UnknownName> {
        match self {
            Operand::Text(text) => Ok(&text.value),
            Operand::Name(name) => match get(&name.value) {
                Some(value) => Ok(value.unwrap_or_default()),
                None => Err(UnknownName(name.clone())),
            },
        }
    }
}

impl Condition {
    /// Whether it holds. `get` says of a name whether there is such an argument, and its value if it has one; an argument
    /// without a value counts as empty.
    ///
    /// # Errors
    /// A name that no argument has; `defined` takes any.
    pub fn holds<'a>(&'a self, get: &dyn Fn(&str) -> Option<Option<&'a str>>) -> Result<bool, UnknownName> {
        // Every name is looked at, so that a misspelt one is told whatever the others say.
        Ok(match self {
            Condition::Any(all) => all.iter().map(|one| one.holds(get)).collect::<Result<Vec<_>, _>>()?.contains(&true),
            Condition::All(all) => {
                !all.iter().map(|one| one.holds(get)).collect::<Result<Vec<_>, _>>()?.contains(&false)
            }
            Condition::Not(one) => !one.holds(get)?,
            Condition::Defined(name) => get(&name.value).flatten().is_some(),
            Condition::Truth(operand) => {
                let value = operand.value(get)?.to_ascii_lowercase();
                !matches!(value.as_str(), "" | "0" | "false" | "no" | "off")
            }
            Condition::Compare(a, how, b) => how.holds(a.value(get)?, b.value(get)?),
            Condition::In(one, list) => {
                let one = one.value(get)?;
                list.iter().map(|other| other.value(get)).collect::<Result<Vec<_>, _>>()?.contains(&one)
            }
        })
    }

    /// Reads `text`; `locate` says where a range of it stands in the source.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str, locate: &dyn Fn(usize, usize) -> Span) -> Result<Condition, Box<Diagnostic>> {
        let reader = Reader { text, locate };
        match reader.any(text, 0) {
            Ok((rest, condition)) => match blanks(rest) {
                Ok(("", _)) => Ok(condition),
                Ok((rest, _)) => Err(reader.stray(rest)),
                Err(_) => Err(reader.stray(rest)),
            },
            Err(nom::Err::Error(Fault::Wrong(error)) | nom::Err::Failure(Fault::Wrong(error))) => Err(error),
            Err(_) => Err(reader.missing(text)),
        }
    }
}

fn blanks(text: &str) -> Read<'_, &str> {
    take_while(char::is_whitespace).parse(text)
}

fn word(text: &str) -> Read<'_, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':')).parse(text)
}

/// The word `wanted` and the blanks before it.
fn keyword<'a>(wanted: &'static str) -> impl FnMut(&'a str) -> Read<'a, ()> {
    move |text| match preceded(blanks, word).parse(text)? {
        (rest, found) if found == wanted => Ok((rest, ())),
        _ => Err(nom::Err::Error(Fault::Elsewhere)),
    }
}

fn quoted(text: &str) -> Read<'_, String> {
    let escaped = alt((value('"', tag("\\\"")), value('\\', tag("\\\\"))));
    delimited(char('"'), map(many0(alt((escaped, none_of("\"")))), String::from_iter), char('"')).parse(text)
}

struct Reader<'a> {
    text: &'a str,
    locate: &'a dyn Fn(usize, usize) -> Span,
}

impl<'a> Reader<'a> {
    fn span(&self, from: &str, to: &str) -> Span {
        (self.locate)(self.text.len() - from.len(), self.text.len() - to.len())
    }

    fn here(&self, rest: &str) -> Span {
        let length = match word(rest) {
            Ok((_, word)) => word.len(),
            Err(_) => rest.chars().next().map_or(0, char::len_utf8),
        };
        self.span(rest, &rest[length..])
    }

    fn error(&self, rest: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error("InvalidCondition", self.here(rest), message)
    }

    fn wrong<T>(diagnostic: Diagnostic) -> Read<'a, T> {
        Err(nom::Err::Failure(Fault::Wrong(Box::new(diagnostic))))
    }

    fn missing(&self, rest: &str) -> Box<Diagnostic> {
        let rest = rest.trim_start();
        let message = match rest.chars().next() {
            None => "a condition is missing here".to_owned(),
            Some(c) => format!("a condition cannot begin with {c:?}"),
        };
        Box::new(self.error(rest, message).with_help("for example: TARGETARCH == \"arm64\" or defined(DEBUG)"))
    }

    fn stray(&self, rest: &str) -> Box<Diagnostic> {
        let rest = rest.trim_start();
        Box::new(match rest.chars().next() {
            Some(')') => self.error(rest, "there is no ( for this )"),
            Some('=') => self.error(rest, "two values are compared with ==").with_help("write =="),
            Some('&') => self.error(rest, "conditions are joined with and").with_help("write and"),
            Some('|') => self.error(rest, "conditions are joined with or").with_help("write or"),
            _ => {
                self.error(rest, "this does not belong to the condition before it").with_help("join them with and, or")
            }
        })
    }

    fn any(&self, input: &'a str, depth: usize) -> Read<'a, Condition> {
        let (mut rest, first) = self.all(input, depth)?;
        let mut conditions = vec![first];
        while let Ok((behind, ())) = keyword("or")(rest) {
            let (next, condition) = self.behind(behind, |input| self.all(input, depth))?;
            conditions.push(condition);
            rest = next;
        }
        Ok((rest, if conditions.len() == 1 { conditions.remove(0) } else { Condition::Any(conditions) }))
    }

    fn all(&self, input: &'a str, depth: usize) -> Read<'a, Condition> {
        let (mut rest, first) = self.not(input, depth)?;
        let mut conditions = vec![first];
        while let Ok((behind, ())) = keyword("and")(rest) {
            let (next, condition) = self.behind(behind, |input| self.not(input, depth))?;
            conditions.push(condition);
            rest = next;
        }
        Ok((rest, if conditions.len() == 1 { conditions.remove(0) } else { Condition::All(conditions) }))
    }

    /// What has to stand behind a word.
    fn behind<T>(&self, input: &'a str, read: impl Fn(&'a str) -> Read<'a, T>) -> Read<'a, T> {
        match read(input) {
            Err(nom::Err::Error(_)) => Err(nom::Err::Failure(Fault::Wrong(self.missing(input)))),
            other => other,
        }
    }

    fn not(&self, input: &'a str, depth: usize) -> Read<'a, Condition> {
        let (start, _) = blanks(input)?;
        if depth == MAX_DEPTH {
            return Self::wrong(self.error(start, format!("more than {MAX_DEPTH} conditions inside each other")));
        }
        if let Ok((behind, ())) = keyword("not")(start) {
            let (rest, inner) = self.behind(behind, |input| self.not(input, depth + 1))?;
            return Ok((rest, Condition::Not(Box::new(inner))));
        }
        if let Some(inner) = start.strip_prefix('(') {
            let (rest, condition) = self.behind(inner, |input| self.any(input, depth + 1))?;
            let (rest, _) = blanks(rest)?;
            return match rest.strip_prefix(')') {
                Some(rest) => Ok((rest, condition)),
                None if rest.is_empty() => Self::wrong(self.error(start, "there is no ) for this (")),
                None => Err(nom::Err::Failure(Fault::Wrong(self.stray(rest)))),
            };
        }
        self.comparison(start)
    }

    fn comparison(&self, input: &'a str) -> Read<'a, Condition> {
        if let Ok((rest, "defined")) = word(input) as Read<'a, &str> {
            let call = delimited(char('('), delimited(blanks, word, blanks), char(')'));
            let mut call = map(call, |name: &'a str| name);
            return match call.parse(rest) as Read<'a, &str> {
                Ok((behind, name)) => {
                    let at = input.len() - rest.len() + rest.find(name).unwrap_or(0);
                    let span = self.span(&input[at..], &input[at + name.len()..]);
                    Ok((behind, Condition::Defined(Spanned::new(name.to_owned(), span))))
                }
                Err(_) => {
                    Self::wrong(self.error(input, "defined takes the name of an argument").with_help("defined(NAME)"))
                }
            };
        }
        let (rest, left) = self.operand(input)?;
        if let Ok((behind, ())) = keyword("in")(rest) {
            let (rest, list) = self.list(behind)?;
            return Ok((rest, Condition::In(left, list)));
        }
        let (sign, _) = blanks(rest)?;
        let Some(&(text, how)) = COMPARISONS.iter().find(|(text, _)| sign.starts_with(text)) else {
            if let Operand::Text(text) = &left {
                let error = Diagnostic::error("InvalidCondition", text.span, "a text alone decides nothing");
                return Self::wrong(error.with_help("compare it with an argument: NAME == \"…\""));
            }
            return Ok((rest, Condition::Truth(left)));
        };
        let (rest, right) = self.behind(&sign[text.len()..], |input| {
            let (input, _) = blanks(input)?;
            self.operand(input)
        })?;
        Ok((rest, Condition::Compare(left, how, right)))
    }

    /// A text in quotes, a number or version, or the name of an argument.
    fn operand(&self, input: &'a str) -> Read<'a, Operand> {
        if input.starts_with('"') {
            return match quoted(input) {
                Ok((rest, text)) => Ok((rest, Operand::Text(Spanned::new(text, self.span(input, rest))))),
                Err(_) => Self::wrong(self.error(input, "the text that begins here has no second quote")),
            };
        }
        let (rest, found) = word(input)?;
        let spanned = Spanned::new(found.to_owned(), self.span(input, rest));
        if found.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok((rest, Operand::Text(spanned)));
        }
        if WORDS.contains(&found) {
            return Err(nom::Err::Failure(Fault::Wrong(self.missing(input))));
        }
        if !crate::key::is_name(found) {
            let error = self.error(input, format!("{found:?} is no name of an argument"));
            return Self::wrong(error.with_help(format!("write \"{found}\" if it is a text")));
        }
        Ok((rest, Operand::Name(spanned)))
    }

    fn list(&self, input: &'a str) -> Read<'a, Vec<Operand>> {
        let (open, _) = blanks(input)?;
        let Some(mut rest) = open.strip_prefix('(') else {
            return Self::wrong(self.error(open, "a list stands in parentheses").with_help("NAME in (\"a\", \"b\")"));
        };
        let mut all = Vec::new();
        loop {
            let (start, _) = blanks(rest)?;
            let (behind, operand) = self.behind(start, |input| self.operand(input))?;
            all.push(operand);
            let (behind, _) = blanks(behind)?;
            match behind.chars().next() {
                Some(',') => rest = &behind[1..],
                Some(')') => return Ok((&behind[1..], all)),
                None => return Self::wrong(self.error(open, "there is no ) for this (")),
                Some(_) => {
                    return Self::wrong(self.error(behind, "values are parted by commas").with_help("write a comma"));
                }
            }
        }
    }
}

/// What to say of a name that no argument has; `known` are those that there are.
pub fn unknown_name<'a>(unknown: &UnknownName, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let name = &unknown.0.value;
    let error = Diagnostic::error("UnknownArgument", unknown.0.span, format!("no build argument is called {name}"));
    error.with_help(match suggest::nearest(name, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("declare it above, before the first FROM: ARG {name}"),
    })
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Name(name) => f.write_str(&name.value),
            Operand::Text(text) => write!(f, "\"{}\"", text.value.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

/// One form for each meaning, which reads back as the same condition.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |all: &[Condition], word: &str, f: &mut fmt::Formatter<'_>| {
            for (index, one) in all.iter().enumerate() {
                let separator = if index == 0 { String::new() } else { format!(" {word} ") };
                match one {
                    Condition::Any(_) | Condition::All(_) => write!(f, "{separator}({one})")?,
                    _ => write!(f, "{separator}{one}")?,
                }
            }
            Ok(())
        };
        match self {
            Condition::Any(all) => joined(all, "or", f),
            Condition::All(all) => joined(all, "and", f),
            Condition::Not(one) => match **one {
                Condition::Any(_) | Condition::All(_) => write!(f, "not ({one})"),
                _ => write!(f, "not {one}"),
            },
            Condition::Defined(name) => write!(f, "defined({})", name.value),
            Condition::Truth(operand) => write!(f, "{operand}"),
            Condition::Compare(a, how, b) => {
                let sign = COMPARISONS.iter().find(|(_, one)| one == how).map_or("", |(sign, _)| sign);
                write!(f, "{a} {sign} {b}")
            }
            Condition::In(one, list) => {
                let list: Vec<String> = list.iter().map(ToString::to_string).collect();
                write!(f, "{one} in ({})", list.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decided(text: &str) -> String {
        let condition = match Condition::parse(text, &Span::new) {
            Ok(condition) => condition,
            Err(error) => {
                let place = &text[error.span.start as usize..error.span.end as usize];
                let help = error.help.map(|help| format!(" [{help}]")).unwrap_or_default();
                return format!("'{place}': {}{help}", error.message);
            }
        };
        let get = |name: &str| match name {
            "ARCH" => Some(Some("arm64")),
            "V" => Some(Some("3.10")),
            "OFF" => Some(Some("false")),
            "EMPTY" => Some(Some("")),
            "UNSET" => Some(None),
            _ => None,
        };
        match condition.holds(&get) {
            Ok(holds) => holds.to_string(),
            Err(unknown) => unknown_name(&unknown, ["ARCH"].into_iter()).message,
        }
    }

    #[test]
    fn conditions_are_decided_by_the_arguments() {
        for (text, expected) in [
            (r#"ARCH == "arm64""#, true),
            (r#"ARCH != "arm64""#, false),
            ("V > 3.9", true),
            ("V <= 3.9", false),
            ("3.9 < V and V < 3.11", true),
            (r#"ARCH in ("amd64", "arm64")"#, true),
            (r#"ARCH in ("amd64", V)"#, false),
            ("ARCH", true),
            ("OFF or EMPTY or UNSET", false),
            ("not OFF and not (EMPTY or UNSET)", true),
            ("defined(EMPTY) and not defined(UNSET) and not defined(NONE)", true),
            (r#"UNSET == """#, true),
            (r#"OFF or ARCH == "arm64" and V == "3.10""#, true),
        ] {
            assert_eq!(decided(text), expected.to_string(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_way_out() {
        let all = [
            "",
            "and",
            "ARCH ==",
            "ARCH = 1",
            "ARCH && V",
            "ARCH V",
            "(ARCH",
            "ARCH)",
            "\"a\"",
            "\"a",
            "ARCH in V",
            "ARCH in (\"a\" \"b\")",
            "ARCH in (",
            "ARCH in ()",
            "defined ARCH",
            "defined()",
            "not",
            "ARCH or",
            "a-b == 1",
            "NONE == 1",
            "ARHC",
        ];
        let told: Vec<String> = all.iter().map(|text| format!("{text}\n    {}", decided(text))).collect();
        insta::assert_snapshot!(told.join("\n"));
        assert!(decided(&"(".repeat(10_000)).contains("more than 64 conditions"));
        assert!(decided(&"not ".repeat(10_000)).contains("more than 64 conditions"));
    }

    fn operand() -> impl Strategy<Value = Operand> {
        let spanned = |text: String| Spanned::new(text, Span::default());
        prop_oneof![
            "[A-Z]{1,3}".prop_map(move |name| Operand::Name(spanned(name))),
            ".{0,4}".prop_map(move |text| Operand::Text(Spanned::new(text, Span::default()))),
        ]
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let comparison = proptest::sample::select(COMPARISONS.map(|(_, how)| how).to_vec());
        let leaf = prop_oneof![
            "[A-Z]{1,3}".prop_map(|name| Condition::Defined(Spanned::new(name, Span::default()))),
            "[A-Z]{1,3}".prop_map(|name| Condition::Truth(Operand::Name(Spanned::new(name, Span::default())))),
            (operand(), comparison, operand()).prop_map(|(a, how, b)| Condition::Compare(a, how, b)),
            (operand(), proptest::collection::vec(operand(), 1..3)).prop_map(|(one, list)| Condition::In(one, list)),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Condition::Any),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Condition::All),
                inner.prop_map(|one| Condition::Not(Box::new(one))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_printed_condition_reads_as_itself(condition in condition()) {
            let text = condition.to_string();
            match Condition::parse(&text, &|_, _| Span::default()) {
                Ok(again) => prop_assert_eq!(again, condition, "{}", text),
                Err(error) => prop_assert!(false, "{}: {}", text, error.message),
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(
            text in any::<String>(),
            words in proptest::collection::vec(
                proptest::sample::select(vec!["A", "and", "or", "not", "in", "(", ")", "==", "<", "\"a\"", "\"", ",", "defined", " ", "é", "1.2"]),
                0..16,
            ),
        ) {
            let _ = decided(&text);
            let _ = decided(&words.concat());
        }
    }
}

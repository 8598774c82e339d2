//! `DEF name(parameter, …) … END` and `USE name(value, …)`: lines that are written once and stand in several places.
//!
//! A parameter is replaced as text, wherever its name stands behind a `$` in the body, before anything reads the body. So
//! a use is what the lines come to when they are written by hand, and nothing is left of it behind its END. Knows
//! nothing of where definitions are kept.

use super::{Body, Keyword, Line};
use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::key::is_name;
use crate::keyword::Keyword as Plain;
use crate::span::{Span, Spanned};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, none_of};
use nom::combinator::{consumed, map, opt, value};
use nom::multi::many0;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

/// A DEF.
#[derive(Debug)]
pub(crate) struct Definition {
    pub name: Word,
    pub parameters: Vec<Parameter>,
    /// Its lines in the source.
    pub body: Span,
    /// How many lines stand before them in their file.
    pub lines: u32,
    /// The escape character of its file.
    pub escape: char,
    /// The names that its ENVs set.
    env: Vec<String>,
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub name: Word,
    pub default: Option<String>,
}

/// A USE.
pub(crate) struct Call {
    pub name: Word,
    arguments: Vec<Argument>,
}

struct Argument {
    parameter: Option<Word>,
    value: Word,
}

const DEF_FORM: &str = "write DEF name(parameter, other=\"default\")";
const USE_FORM: &str = "write USE name(value, \"another value\", parameter=value)";

fn blanks(text: &str) -> IResult<&str, &str> {
    take_while(char::is_whitespace).parse(text)
}

fn word(text: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).parse(text)
}

/// A text in double quotes, in which `\"` and `\\` are the characters themselves, or one without blanks.
fn text_value(text: &str) -> IResult<&str, String> {
    let escaped = alt((value('"', tag("\\\"")), value('\\', tag("\\\\"))));
    let quoted = delimited(char('"'), map(many0(alt((escaped, none_of("\"")))), String::from_iter), char('"'));
    let bare = take_while1(|c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | '(' | ')' | '='));
    alt((quoted, map(bare, str::to_owned))).parse(text)
}

/// What stands between the parentheses: names with or without a value, and values.
type Items<'a> = Vec<(Option<&'a str>, Option<(&'a str, String)>)>;

fn items(text: &str) -> IResult<&str, Items<'_>> {
    let equals = delimited(blanks, char('='), blanks);
    let with_name = (word, preceded(equals, consumed(text_value)));
    let item = alt((
        map(with_name, |(name, value)| (Some(name), Some(value))),
        map(consumed(text_value), |value| (None, Some(value))),
    ));
    let item = delimited(blanks, item, blanks);
    delimited(char('('), alt((nom::multi::separated_list1(char(','), item), value(Vec::new(), blanks))), char(')'))
        .parse(text)
}

/// A name and what stands in parentheses behind it.
fn head<'a>(line: &'a Line, start: usize, form: &str) -> Result<(Word, Items<'a>), Box<Diagnostic>> {
    let text = &line.text[start..];
    let place = |part: &str| {
        let at = start + (part.as_ptr() as usize - text.as_ptr() as usize);
        line.place(at, at + part.len())
    };
    let error = |span, message: String| Box::new(Diagnostic::error("InvalidDefinition", span, message).with_help(form));
    let mut named = preceded(blanks, terminated(opt(word), blanks));
    let read: IResult<&str, Option<&str>> = named.parse(text);
    let Ok((rest, Some(name))) = read else { return Err(error(line.span, "a name is missing here".to_owned())) };
    if !is_name(&name.replace('-', "_")) {
        return Err(error(place(name), format!("{name:?} is no name: it begins with a letter or _")));
    }
    let name = Spanned::new(name.to_owned(), place(name));
    match items(rest) {
        Ok((behind, items)) if behind.trim().is_empty() => Ok((name, items)),
        Ok((behind, _)) => Err(error(place(behind.trim()), "this stands behind the closing parenthesis".to_owned())),
        Err(_) if rest.is_empty() => {
            Err(error(name.span, format!("the parentheses are missing behind {}", name.value)))
        }
        Err(_) => Err(error(place(rest.trim_end()), "this is no list of names and values in parentheses".to_owned())),
    }
}

impl Definition {
    /// Reads a DEF whose arguments begin at `start` in the line; what its body may not hold is told.
    pub fn read(line: &Line, body: &Body, start: usize, escape: char, out: &mut Vec<Diagnostic>) -> Option<Definition> {
        let (name, items) = match head(line, start, DEF_FORM) {
            Ok(head) => head,
            Err(error) => {
                out.push(*error);
                return None;
            }
        };
        let place = |part: &str| {
            let at = part.as_ptr() as usize - line.text.as_ptr() as usize;
            line.place(at, at + part.len())
        };
        let mut parameters: Vec<Parameter> = Vec::new();
        for item in &items {
            let (written, default) = match item {
                (Some(name), Some((_, default))) => (*name, Some(default.clone())),
                (_, Some((text, _))) => (*text, None),
                _ => continue,
            };
            let error = |message: String| Diagnostic::error("InvalidDefinition", place(written), message);
            if !is_name(written) {
                let message = format!("{written:?} is no name of a parameter");
                out.push(error(message).with_help("a name is a letter or _, then letters, digits and _"));
            } else if parameters.iter().any(|other| other.name.value == written) {
                out.push(error(format!("the parameter {written} is there twice")).with_help("remove one of the two"));
            } else {
                parameters.push(Parameter { name: Spanned::new(written.to_owned(), place(written)), default });
            }
        }
        let mut env = Vec::new();
        refuse(body, &parameters, &mut env, out);
        let span = Span::new(body.start, body.end);
        Some(Definition { name, parameters, body: span, lines: body.lines, escape, env })
    }

    /// The body's text with the values of a use; `source` is what the body's place counts in.
    pub fn expand(&self, source: &str, call: &Call) -> Result<String, Box<Diagnostic>> {
        let values = self.values(call)?;
        let body = source.get(self.body.start as usize..self.body.end as usize).unwrap_or_default();
        replaced(body, self.escape, &|name| values.iter().find(|(other, _)| *other == name).map(|(_, value)| *value))
            .map_err(|(at, name)| {
                let start = self.body.start as usize + at;
                let message = format!("the parameter {name} takes no operators: it is replaced as text");
                let error = Diagnostic::error("InvalidDefinition", Span::new(start, start + name.len() + 2), message);
                Box::new(error.with_help(format!("write ${{{name}}}, and a default in the DEF: {name}=\"…\"")))
            })
    }

    /// Each parameter with its value.
    fn values<'a>(&'a self, call: &'a Call) -> Result<Vec<(&'a str, &'a str)>, Box<Diagnostic>> {
        let error = |span, message: String| {
            let names: Vec<String> = self.parameters.iter().map(ToString::to_string).collect();
            let finding = Diagnostic::error("InvalidUse", span, message).with_related(self.name.span, "defined here");
            Box::new(finding.with_help(format!("it is DEF {}({})", self.name.value, names.join(", "))))
        };
        let mut given: Vec<Option<&Word>> = vec![None; self.parameters.len()];
        let mut next = 0;
        for Argument { parameter, value } in &call.arguments {
            let at = match parameter {
                Some(name) => {
                    self.parameters.iter().position(|one| one.name.value == name.value).ok_or_else(|| {
                        error(name.span, format!("{} has no parameter {}", self.name.value, name.value))
                    })?
                }
                None => next,
            };
            let Some(slot) = given.get_mut(at) else {
                return Err(error(value.span, format!("{} takes no more than {next} values", self.name.value)));
            };
            if slot.is_some() {
                let name = &self.parameters[at].name.value;
                return Err(error(value.span, format!("the parameter {name} has a value already")));
            }
            if value.value.ends_with(self.escape) {
                let message = "a value cannot end in the escape character: it would continue the line that it ends";
                return Err(error(value.span, message.to_owned()));
            }
            if let Some(name) = variables(&value.value).find(|name| self.env.iter().any(|own| own == name)) {
                let message = format!("this value reads ${name}, which {} sets for itself", self.name.value);
                return Err(error(value.span, message));
            }
            *slot = Some(value);
            if parameter.is_none() {
                next = at + 1;
            }
        }
        let mut values = Vec::with_capacity(given.len());
        for (parameter, given) in self.parameters.iter().zip(given) {
            let name = parameter.name.value.as_str();
            let value = given.map(|word| word.value.as_str()).or(parameter.default.as_deref());
            values.push((
                name,
                value.ok_or_else(|| error(call.name.span, format!("the parameter {name} has no value")))?,
            ));
        }
        Ok(values)
    }
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.default {
            None => f.write_str(&self.name.value),
            Some(default) => write!(f, "{}={default:?}", self.name.value),
        }
    }
}

impl Call {
    /// Reads a USE whose arguments begin at `start` in the line.
    pub fn read(line: &Line, start: usize) -> Result<Call, Box<Diagnostic>> {
        let (name, items) = head(line, start, USE_FORM)?;
        let place = |part: &str| {
            let at = part.as_ptr() as usize - line.text.as_ptr() as usize;
            line.place(at, at + part.len())
        };
        let arguments = items.into_iter().filter_map(|(parameter, value)| {
            let (written, value) = value?;
            let parameter = parameter.map(|name| Spanned::new(name.to_owned(), place(name)));
            Some(Argument { parameter, value: Spanned::new(value, place(written)) })
        });
        Ok(Call { name, arguments: arguments.collect() })
    }
}

/// The names of the variables that a text reads.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

/// `text` with the names that `get` knows replaced where they stand behind a `$`; what the escape character stands before
/// stays. Fails at a name with an operator, with its place.
fn replaced<'a>(
    text: &'a str,
    escape: char,
    get: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, (usize, &'a str)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', escape]) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let mut chars = from.chars();
        let first = chars.next().unwrap_or('$');
        if first != '$' || from.starts_with("$$") {
            // The escape character, or a `$` that another one follows, goes with what it stands before.
            let length = first.len_utf8() + chars.next().map_or(0, char::len_utf8);
            out.push_str(&from[..length]);
            rest = &from[length..];
            continue;
        }
        let (inner, is_braced) = match from.strip_prefix("${") {
            Some(inner) => (inner, true),
            None => (&from[1..], false),
        };
        let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let (name, behind) = inner.split_at(end);
        match get(name) {
            Some(value) if !is_braced => {
                out.push_str(value);
                rest = behind;
            }
            Some(value) => match behind.strip_prefix('}') {
                Some(behind) => {
                    out.push_str(value);
                    rest = behind;
                }
                None => return Err((text.len() - from.len(), name)),
            },
            None => {
                out.push('$');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Tells what would be left of a use behind its end, or be there twice, and notes the names that ENV sets.
fn refuse(body: &Body, parameters: &[Parameter], env: &mut Vec<String>, out: &mut Vec<Diagnostic>) {
    let error = |span, message: String| Diagnostic::error("InvalidDefinition", span, message);
    for node in &body.nodes {
        match node.kind {
            Some(Plain::Arg) => {
                let message = "an ARG in a DEF would be seen behind its END".to_owned();
                let help = "make it a parameter, and give its value with USE: \"${TARGETARCH}\"";
                out.push(error(node.keyword.span, message).with_help(help));
            }
            Some(Plain::Env) => env.extend(node.values.iter().step_by(2).map(|word| word.value.clone())),
            Some(Plain::From) => {
                let names_parameter = |word: &Word| {
                    variables(&word.value).any(|name| parameters.iter().any(|one| one.name.value == name))
                };
                let name = node.values.get(2).filter(|_| node.values[1].value.eq_ignore_ascii_case("as"));
                if let Some(name) = name.filter(|name| !names_parameter(name)) {
                    let message = format!("each use of this DEF would have a stage called {}", name.value);
                    let help = "put a parameter into the name: AS ${name}";
                    out.push(error(name.span, message).with_help(help));
                }
            }
            _ => {}
        }
    }
    for line in &body.extended {
        let word = line.text.split_whitespace().next().unwrap_or_default();
        let help = match Keyword::parse(word) {
            Some(Keyword::Key) => "write KEY above the DEF, or the expression itself behind --key=",
            Some(Keyword::Def) => "write the one above the other; a DEF may USE those above it",
            Some(Keyword::Include) => "write INCLUDE above the DEF",
            Some(Keyword::Target | Keyword::Check) => "write it outside, where there is one of it",
            _ => continue,
        };
        out.push(error(line.span, format!("a DEF holds no {}", word.to_ascii_uppercase())).with_help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_replaced_as_text_and_nothing_else_is() {
        let get = |name: &str| match name {
            "p" => Some("a b"),
            "q_1" => Some("$p"),
            _ => None,
        };
        for (text, expected) in [
            ("RUN x $p ${p} '$p' \"${p}\"", "RUN x a b a b 'a b' \"a b\""),
            ("$pp ${pp} $p-$q_1", "$pp ${pp} a b-$p"),
            ("\\$p $$p \\\\$p", "\\$p $$p \\\\a b"),
            ("${HOME:-$p} $ ${ $", "${HOME:-a b} $ ${ $"),
            ("é$pé", "éa bé"),
            ("x\\", "x\\"),
        ] {
            assert_eq!(replaced(text, '\\', &get).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(replaced("é ${p:-x}", '\\', &get), Err((3, "p")));
    }
}

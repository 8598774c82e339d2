//! YAML to a value: events composed, aliases put in, merge keys carried out.
//!
//! The parser is saphyr's; composing is done here because its own puts aliases in without a bound. A plain scalar that
//! looks like a number, a truth value or nothing stays what is written; any other is a text. Tags but `!!str` stay as a
//! part of what is written.

use super::{Data, DataError, MAX_DEPTH, MAX_VALUES};
use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// A list or mapping that is not yet closed.
struct Open {
    anchor: usize,
    tag: Option<String>,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Data>),
    Map {
        members: BTreeMap<String, Data>,
        /// What merge keys bring in, which a member of its own hides.
        merged: BTreeMap<String, Data>,
        /// A key whose value is to come.
        key: Option<Key>,
    },
}

enum Key {
    Name(String),
    Merge,
}

#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    anchors: HashMap<usize, Data>,
    root: Option<Data>,
    documents: usize,
    values: usize,
}

pub(super) fn read(text: &str) -> Result<Data, DataError> {
    let mut composer = Composer::default();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| DataError::Syntax(error.to_string()))?;
        composer.event(event)?;
    }
    Ok(composer.root.unwrap_or_else(|| Data::Scalar("null".to_owned())))
}

fn tag_text(tag: Option<Cow<'_, Tag>>) -> Option<String> {
    tag.map(|tag| format!("{}{}", tag.handle, tag.suffix))
}

const STR_TAG: &str = "tag:yaml.org,2002:str";

impl Composer {
    fn event(&mut self, event: Event<'_>) -> Result<(), DataError> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(DataError::Syntax("it holds more than one document".to_owned()));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1)?;
                let merge = style == ScalarStyle::Plain && text == "<<" && tag.is_none();
                let tag = tag_text(tag);
                let is_plain = style == ScalarStyle::Plain && tag.as_deref() != Some(STR_TAG);
                let data = match is_plain && is_scalar(&text) {
                    true if text.is_empty() => Data::Scalar("~".to_owned()),
                    true => Data::Scalar(text.into_owned()),
                    false => Data::Text(text.into_owned()),
                };
                self.node(tagged(data, tag.filter(|tag| tag != STR_TAG)), anchor, merge)?;
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag, OpenKind::List(Vec::new()))?,
            Event::MappingStart(anchor, tag) => {
                let kind = OpenKind::Map { members: BTreeMap::new(), merged: BTreeMap::new(), key: None };
                self.begin(anchor, tag, kind)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { anchor, tag, kind }) = self.open.pop() else { return Ok(()) };
                let data = match kind {
                    OpenKind::List(items) => Data::List(items),
                    OpenKind::Map { members, mut merged, .. } => {
                        merged.extend(members);
                        Data::Map(merged)
                    }
                };
                self.node(tagged(data, tag), anchor, false)?;
            }
            Event::Alias(anchor) => {
                let Some(data) = self.anchors.get(&anchor).cloned() else {
                    return Err(DataError::Syntax("an alias stands inside what it names".to_owned()));
                };
                self.count(data.count())?;
                self.node(data, 0, false)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), DataError> {
        self.values = self.values.saturating_add(more);
        if self.values > MAX_VALUES { Err(DataError::TooMuch) } else { Ok(()) }
    }

    fn begin(&mut self, anchor: usize, tag: Option<Cow<'_, Tag>>, kind: OpenKind) -> Result<(), DataError> {
        self.count(1)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(DataError::TooMuch);
        }
        self.open.push(Open { anchor, tag: tag_text(tag), kind });
        Ok(())
    }

    /// Puts a whole value where it belongs.
    fn node(&mut self, data: Data, anchor: usize, is_merge: bool) -> Result<(), DataError> {
        if anchor > 0 {
            // An alias below would nest the values deeper than the file does.
            if depth(&data) + self.open.len() > MAX_DEPTH {
                return Err(DataError::TooMuch);
            }
            self.anchors.insert(anchor, data.clone());
            self.count(data.count())?;
        } else if depth(&data) + self.open.len() > MAX_DEPTH {
            return Err(DataError::TooMuch);
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(data),
            Some(OpenKind::List(items)) => items.push(data),
            Some(OpenKind::Map { members, merged, key }) => match key.take() {
                None if is_merge => *key = Some(Key::Merge),
                None => {
                    *key = Some(Key::Name(match data {
                        Data::Text(text) | Data::Scalar(text) => text,
                        other => other.to_string(),
                    }));
                }
                Some(Key::Name(name)) => {
                    members.insert(name, data);
                }
                Some(Key::Merge) => merge(merged, data)?,
            },
        }
        Ok(())
    }
}

/// Takes the members of a mapping, or of a list of them, whose first one wins.
fn merge(merged: &mut BTreeMap<String, Data>, data: Data) -> Result<(), DataError> {
    match data {
        Data::Map(members) => {
            for (name, value) in members {
                merged.entry(name).or_insert(value);
            }
            Ok(())
        }
        Data::List(items) => items.into_iter().try_for_each(|item| match item {
            Data::Map(_) => merge(merged, item),
            _ => Err(DataError::Syntax("<< takes mappings only".to_owned())),
        }),
        _ => Err(DataError::Syntax("<< takes mappings only".to_owned())),
    }
}

/// A value with its tag as the only member of a mapping, so that another tag is another value.
fn tagged(data: Data, tag: Option<String>) -> Data {
    match tag {
        Some(tag) => Data::Map(BTreeMap::from([(format!("!{tag}"), data)])),
        None => data,
    }
}

fn depth(data: &Data) -> usize {
    match data {
        Data::Scalar(_) | Data::Text(_) => 0,
        Data::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Data::Map(members) => 1 + members.values().map(depth).max().unwrap_or(0),
    }
}

/// Whether a plain scalar may be something else than a text to some reader: a number, a truth value, nothing, a date.
/// What is taken for one wrongly is only shown without quotes; none holds a sign that parts values.
fn is_scalar(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(lower.as_str(), "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off")
        || text.is_empty()
        || text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | ':' | '_' | ' '))
}

//! JSON to a value, level by level, numbers as they are written.
//!
//! Knows nothing of selectors.

use super::{Data, DataError, MAX_DEPTH};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

pub(super) fn read(text: &str) -> Result<Data, DataError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    value(raw, 0)
}

fn syntax(error: &serde_json::Error) -> DataError {
    DataError::Syntax(error.to_string())
}

fn value(raw: &RawValue, depth: usize) -> Result<Data, DataError> {
    let text = raw.get();
    if depth > MAX_DEPTH {
        return Err(DataError::TooMuch);
    }
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|error| syntax(&error))?;
            let members = members.into_iter().map(|(name, raw)| Ok((name, value(raw, depth + 1)?)));
            Data::Map(members.collect::<Result<_, _>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| syntax(&error))?;
            Data::List(items.into_iter().map(|raw| value(raw, depth + 1)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Data::Text(serde_json::from_str(text).map_err(|error| syntax(&error))?),
        _ => Data::Scalar(text.to_owned()),
    })
}

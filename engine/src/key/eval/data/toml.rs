//! TOML to a value, numbers and dates as they are written.
//!
//! Knows nothing of selectors.

use super::{Data, DataError};
use toml::de::{DeTable, DeValue};

pub(super) fn read(text: &str) -> Result<Data, DataError> {
    let table = DeTable::parse(text).map_err(|error| DataError::Syntax(error.message().to_owned()))?;
    Ok(members(table.get_ref()))
}

fn members(table: &DeTable<'_>) -> Data {
    let members = table.iter().map(|(name, found)| (name.get_ref().to_string(), value(found.get_ref())));
    Data::Map(members.collect())
}

/// The library refuses values that lie too deep inside each other.
fn value(found: &DeValue<'_>) -> Data {
    match found {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(number) => Data::Scalar(match number.radix() {
            2 => format!("0b{}", number.as_str()),
            8 => format!("0o{}", number.as_str()),
            16 => format!("0x{}", number.as_str()),
            _ => number.as_str().to_owned(),
        }),
        DeValue::Float(number) => Data::Scalar(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Data::Scalar(truth.to_string()),
        DeValue::Datetime(moment) => Data::Scalar(moment.to_string()),
        DeValue::Array(items) => Data::List(items.iter().map(|item| value(item.get_ref())).collect()),
        DeValue::Table(table) => members(table),
    }
}

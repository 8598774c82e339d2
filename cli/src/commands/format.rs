//! `--format`: a table for people, JSON and RON for programs.

use serde::Serialize;

/// How a result is printed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Aligned columns
    Table,
    /// JSON, sizes in bytes and times in seconds since 1970
    Json,
    /// RON, with the same fields
    Ron,
}

/// `value` as a program reads it.
pub fn data(format: Format, value: &impl Serialize) -> Option<String> {
    let text = match format {
        Format::Table => return None,
        Format::Json => serde_json::to_string_pretty(value).expect("names are text and maps have text keys"),
        Format::Ron => ron::ser::to_string_pretty(value, ron::ser::PrettyConfig::default().struct_names(false))
            .expect("names are text, and RON has a form for every value"),
    };
    Some(text + "\n")
}

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

/// How an explanation is printed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prose {
    /// For people
    Text,
    /// JSON, times in seconds
    Json,
    /// RON, with the same fields
    Ron,
}

/// The flags of a command whose result is prose.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct ProseArgs {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Prose::Text)]
    format: Prose,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Show every line of every component and every step, however many
    #[arg(long)]
    pub all: bool,
}

impl ProseArgs {
    /// Whether a person reads it.
    pub fn is_text(self) -> bool {
        !self.json && self.format == Prose::Text
    }

    /// `value` as a program reads it; `None` where a person does.
    pub fn data(self, value: &impl Serialize) -> Option<String> {
        match (self.json, self.format) {
            (true, _) | (_, Prose::Json) => data(Format::Json, value),
            (_, Prose::Ron) => data(Format::Ron, value),
            (_, Prose::Text) => None,
        }
    }
}

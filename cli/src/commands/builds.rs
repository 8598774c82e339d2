//! `kiln builds`

use super::format::{Format, data};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::text::{clean, quantity, table::table};
use kiln_engine::explain::report::BuildRow;

/// Columns of a cause and of a context unless `--no-trunc` is given.
const CELL_COLUMNS: usize = 40;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
}

impl Args {
    /// Prints the builds.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let rows = session.engine.builds(&session.store()?)?;
        let text = data(self.format, &rows).unwrap_or_else(|| drawn(&rows, self.no_trunc, session.now));
        session.print(&text)?;
        Ok(Exit::Success)
    }
}

fn drawn(rows: &[BuildRow], whole: bool, now: i64) -> String {
    let cell = |text: &str| {
        let text = clean::one_line(text);
        if whole { text } else { clean::fit(&text, CELL_COLUMNS) }
    };
    let cells: Vec<[String; 7]> = rows
        .iter()
        .map(|row| {
            [
                row.build.clone(),
                quantity::age(row.started, now),
                row.end.to_owned(),
                quantity::duration(row.duration),
                format!("{} hit, {} ran", row.hits, row.ran),
                cell(&row.cause),
                cell(&row.context),
            ]
        })
        .collect();
    table(["BUILD", "STARTED", "END", "TIME", "STEPS", "CAUSE", "CONTEXT"], &cells)
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn builds_are_a_table_of_causes() {
        insta::assert_snapshot!(kiln(["builds"]));
    }

    #[test]
    fn builds_as_json_have_exact_values() {
        insta::assert_snapshot!(kiln(["builds", "--format", "json"]));
    }
}

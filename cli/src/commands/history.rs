//! `kiln history IMAGE`

use super::format::{Format, data};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::text::{clean, quantity, table::table};
use kiln_engine::api::HistoryRow;

/// Columns of an instruction unless `--no-trunc` is given; docker cuts at the same.
const CREATED_BY_COLUMNS: usize = 45;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A name, an id, or the beginning of an id
    image: String,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Cut no instruction and no layer id short
    #[arg(long)]
    no_trunc: bool,
}

impl Args {
    /// Prints the history.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let rows = session.engine.history(&session.store()?, &self.image)?;
        let text = data(self.format, &rows).unwrap_or_else(|| drawn(&rows, self.no_trunc, session.now));
        session.print(&text)?;
        Ok(Exit::Success)
    }
}

fn drawn(rows: &[HistoryRow], whole: bool, now: i64) -> String {
    let cells = rows.iter().map(|row| {
        let created_by = clean::one_line(&row.created_by);
        [
            row.layer.map_or_else(|| "<none>".into(), |layer| super::images::short(&layer, whole)),
            row.created.map_or_else(|| "unknown".into(), |created| quantity::age(created, now)),
            if whole { created_by } else { clean::fit(&created_by, CREATED_BY_COLUMNS) },
            quantity::size(row.size),
            clean::one_line(&row.comment),
        ]
    });
    table(["LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT"], &cells.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn the_history_is_a_table_of_instructions() {
        insta::assert_snapshot!(kiln(["history", "app"]));
    }

    #[test]
    fn nothing_is_cut_with_no_trunc() {
        insta::assert_snapshot!(kiln(["history", "--no-trunc", "app"]));
    }

    #[test]
    fn the_history_as_json_has_exact_values() {
        insta::assert_snapshot!(kiln(["history", "app", "--format", "json"]));
    }

    #[test]
    fn the_history_as_ron_has_the_same_fields() {
        insta::assert_snapshot!(kiln(["history", "app", "--format", "ron"]));
    }

    #[test]
    fn an_unknown_image_is_an_error_with_a_suggestion() {
        insta::assert_snapshot!(kiln(["history", "ap"]));
    }
}

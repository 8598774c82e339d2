//! `kiln inspect IMAGE…`

use super::format::{Format, data};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// How the result is printed
    #[arg(long, value_parser = ["json", "ron"], default_value = "json")]
    format: String,
}

impl Args {
    /// Prints a list with what is known of each image.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let store = session.store()?;
        let found = self.images.iter().map(|image| session.engine.inspect(&store, image));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let format = if self.format == "ron" { Format::Ron } else { Format::Json };
        session.print(&data(format, &found).unwrap_or_default())?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn an_image_is_shown_with_its_config() {
        insta::assert_snapshot!(kiln(["inspect", "app"]));
    }

    #[test]
    fn an_image_as_ron_has_the_same_fields() {
        insta::assert_snapshot!(kiln(["inspect", "app", "--format", "ron"]));
    }

    #[test]
    fn one_unknown_image_of_two_prints_no_half_of_the_list() {
        insta::assert_snapshot!(kiln(["inspect", "app", "nothing"]));
    }
}

//! `kiln images`

use super::format::{Format, data};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::text::{quantity, table::table};
use kiln_dsl::platform::Platform;
use kiln_engine::api::ImageSummary;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print only ids, whole: the OCI id where it is known, else kiln's
    #[arg(short, long, conflicts_with = "format")]
    quiet: bool,
    /// Cut no id short
    #[arg(long)]
    no_trunc: bool,
}

impl Args {
    /// Prints the images.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let images = session.engine.images(&session.store()?)?;
        let text = if self.quiet {
            let id = |image: &ImageSummary| match image.image_id {
                Some(id) => format!("{id}\n"),
                None => format!("{}\n", image.key),
            };
            images.iter().map(id).collect()
        } else {
            data(self.format, &images).unwrap_or_else(|| drawn(&images, self.no_trunc, session.now))
        };
        session.print(&text)?;
        Ok(Exit::Success)
    }
}

fn drawn(images: &[ImageSummary], whole: bool, now: i64) -> String {
    let mut rows = Vec::new();
    for image in images {
        let row = |name: &str| {
            [
                name.to_owned(),
                short(&image.key, whole),
                image.image_id.map_or_else(|| "not packed".into(), |id| short(&id, whole)),
                image.created.map_or_else(|| "unknown".into(), |created| quantity::age(created, now)),
                quantity::size(image.size),
                note(image),
            ]
        };
        match image.names.as_slice() {
            [] => rows.push(row("<none>")),
            names => rows.extend(names.iter().map(|name| row(name))),
        }
    }
    table(["NAME", "KEY", "IMAGE ID", "CREATED", "SIZE", "NOTE"], &rows)
}

/// What is out of the ordinary.
fn note(image: &ImageSummary) -> String {
    let platforms = match image.platforms.as_slice() {
        [] => None,
        [one] => Some(one.clone()).filter(|one| *one != Platform::host().to_string()),
        several => Some(format!("{} platforms: {}", several.len(), several.join(", "))),
    };
    let all = [platforms, (!image.portable).then(|| "not portable".to_owned())];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// An id as tables show it: its algorithm and twelve digits, or the `whole`.
pub fn short(id: &impl ToString, whole: bool) -> String {
    const DIGITS: usize = 12;
    let mut text = id.to_string();
    if !whole && let Some(colon) = text.find(':') {
        text.truncate(colon + 1 + DIGITS);
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::testing::{kiln, kiln_with};

    #[test]
    fn the_images_are_a_table_with_a_row_for_each_name() {
        insta::assert_snapshot!(kiln(["images"]));
    }

    #[test]
    fn quiet_prints_an_id_that_every_command_takes() {
        insta::assert_snapshot!(kiln(["images", "-q"]));
    }

    #[test]
    fn the_images_as_json_have_exact_values() {
        insta::assert_snapshot!(kiln(["images", "--format", "json"]));
    }

    #[test]
    fn the_images_as_ron_have_the_same_fields() {
        insta::assert_snapshot!(kiln(["images", "--format", "ron"]));
    }

    #[test]
    fn without_a_place_for_the_store_nothing_is_listed() {
        insta::assert_snapshot!(kiln_with(&[], ["images"]));
    }
}

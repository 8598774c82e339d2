//! `kiln tag IMAGE NAME…`

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A name, an id, or the beginning of an id
    image: String,
    /// The names that it gets; an image that had one loses it
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Args {
    /// Gives the names, and prints each as completed.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let store = session.store()?;
        for name in &self.names {
            let name = session.engine.tag(&store, &self.image, name)?;
            session.print(&format!("{name}\n"))?;
        }
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn each_new_name_is_printed_as_completed() {
        insta::assert_snapshot!(kiln(["tag", "app", "app:1", "app:2"]));
    }
}

//! `kiln rmi IMAGE…`

use crate::exit::Exit;
use crate::failure::Failure;
use crate::report;
use crate::session::Session;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Names to take away; an id takes away all names of its image
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Args {
    /// Takes each away, and says what that did. An unknown one does not keep the rest from going.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let store = session.store()?;
        let mut exit = Exit::Success;
        for image in &self.images {
            match session.engine.remove(&store, image) {
                Ok(removal) => {
                    let mut text: String = removal.untagged.iter().map(|name| format!("untagged {name}\n")).collect();
                    if let Some(key) = removal.forgotten {
                        text.push_str(&format!("forgot {key}\n"));
                    }
                    session.print(&text)?;
                }
                Err(error) => {
                    let text = report::failure(&error.into(), session.look());
                    session.err.write_or_forget(text.as_bytes());
                    exit = Exit::Failure;
                }
            }
        }
        Ok(exit)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn an_unknown_image_does_not_keep_the_others() {
        insta::assert_snapshot!(kiln(["rmi", "nothing", "app"]));
    }
}

//! `kiln completions SHELL`

use crate::app::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints the script.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kiln", &mut script);
        session.out.write(&script).map_err(Failure::stdout)?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let script = kiln(["completions", shell]);
            assert!(script.contains("no-cache-filter"), "{shell}");
        }
    }
}

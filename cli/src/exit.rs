//! The exit codes: one closed list, documented in the reference.

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Everything that was asked for is done.
    Success,
    /// What was asked for failed; the reason is on standard error.
    Failure,
    /// The arguments, or a variable that stands for one, mean nothing; nothing was done.
    Usage,
    /// A step missed its cache under `--fail-on-miss`; it did not run.
    Missed,
    /// Under `--verify`, a command made something else than before.
    NotDeterministic,
    /// Stopped by an interrupt or a termination signal.
    Interrupted,
    /// As the command did that `kiln run` was asked for.
    Command(u8),
}

impl Exit {
    /// Every way, in the order of the reference.
    pub const ALL: [Exit; 6] =
        [Exit::Success, Exit::Failure, Exit::Usage, Exit::Missed, Exit::NotDeterministic, Exit::Interrupted];

    /// The status for the shell.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Missed => 3,
            Exit::NotDeterministic => 4,
            // What a shell reports for a program that SIGINT ended: 128 + 2.
            Exit::Interrupted => 130,
            Exit::Command(code) => code,
        }
    }

    /// What it means, as a sentence for the reference.
    pub fn doc(self) -> &'static str {
        match self {
            Exit::Success => "Everything that was asked for is done.",
            Exit::Failure => "What was asked for failed; the reason is on standard error.",
            Exit::Usage => "The arguments, or a variable that stands for one, mean nothing; nothing was done.",
            Exit::Missed => "A step missed its cache under --fail-on-miss; it did not run.",
            Exit::NotDeterministic => "Under --verify, a command made something else than before.",
            Exit::Interrupted => "The build was stopped by Ctrl-C or by a termination signal.",
            Exit::Command(_) => "The exit code of the command of `kiln run`.",
        }
    }
}

//! `kiln parse FILE…`: the instructions as they are read, one list a file.
//!
//! Reads nothing but the files named, and runs everywhere. The fields are those that BuildKit's parser reports, and
//! what it accepts is accepted: whether an instruction exists and its arguments mean something is `kiln check`'s.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::report;
use crate::session::Session;
use kiln_dsl::diagnostic::Severity;
use kiln_dsl::parser::{self, RawInstruction};
use kiln_dsl::source::Sources;
use serde::Serialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Dockerfiles; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the instructions are printed: one list for each file
    #[arg(long, value_parser = ["json", "ron"], default_value = "json")]
    format: String,
}

/// An instruction as it is printed.
#[derive(Serialize)]
struct Printed<'a> {
    /// The keyword as written.
    cmd: &'a str,
    /// The keyword of ONBUILD's trigger; its `json` and `value` are the trigger's.
    sub: Option<&'a str>,
    /// Whether the arguments are a JSON array.
    json: bool,
    /// The flags, unquoted.
    flags: &'a [String],
    /// The flags of ONBUILD's trigger.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    sub_flags: &'a [String],
    /// The arguments; keys and values of ENV and LABEL alternate.
    value: &'a [String],
    /// Word, descriptor and body of each heredoc.
    heredocs: Vec<(&'a str, u64, &'a str)>,
    /// First and last line, from 1.
    line: (u32, u32),
    /// The same, one by one.
    start_line: u32,
    end_line: u32,
}

impl Args {
    /// Prints the instructions of each file; what is wrong goes to standard error.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let mut exit = Exit::Success;
        for path in &self.files {
            let (name, text) = match read(path) {
                Ok(read) => read,
                Err(source) => {
                    let failure = Failure::Read { from: path.display().to_string(), source };
                    session.err.write_or_forget(report::failure(&failure, session.look()).as_bytes());
                    exit = Exit::Failure;
                    continue;
                }
            };
            let raw = parser::parse_raw(&text);
            let sources = Sources::new(name.as_str(), text.as_str());
            let list: Vec<Printed<'_>> = raw.instructions.iter().map(printed).collect();
            session.print(&self.text(&list))?;
            for one in raw.diagnostics.iter().filter(|one| one.severity == Severity::Error) {
                session.err.write_or_forget((report::finding(one, &sources, session.look()) + "\n").as_bytes());
                exit = Exit::Failure;
            }
        }
        Ok(exit)
    }

    fn text(&self, list: &[Printed<'_>]) -> String {
        let text = if self.format == "ron" {
            ron::ser::to_string_pretty(&list, ron::ser::PrettyConfig::default())
                .expect("RON has a form for every value")
        } else {
            serde_json::to_string(list).expect("all keys are text")
        };
        text + "\n"
    }
}

/// A file's name for people and its text; what is no UTF-8 is replaced, as the build does it.
fn read(path: &Path) -> std::io::Result<(String, String)> {
    let (name, bytes) = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        ("standard input".to_owned(), bytes)
    } else {
        (path.display().to_string(), std::fs::read(path)?)
    };
    Ok((name, String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())))
}

fn printed(instruction: &RawInstruction) -> Printed<'_> {
    let heredocs = instruction.heredocs.iter();
    let heredocs = heredocs.map(|heredoc| (heredoc.name.as_str(), heredoc.descriptor, heredoc.content.as_str()));
    Printed {
        cmd: &instruction.cmd,
        sub: instruction.sub.as_deref(),
        json: instruction.json,
        flags: &instruction.flags,
        sub_flags: &instruction.sub_flags,
        value: &instruction.value,
        heredocs: heredocs.collect(),
        line: (instruction.first_line, instruction.last_line),
        start_line: instruction.first_line,
        end_line: instruction.last_line,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    const TEXT: &str = "# escape=`\nfrom --platform=$BUILDPLATFORM a `\n  as b\nENV x=1 y=\"2 3\"\nCMD [\"a\", \"é\"]\n\
                        COPY <<A <<-'B' /d/\n1\nA\n\t2\n\tB\nONBUILD RUN --network=none make\nNONSENSE x\n";

    fn on(text: &str, args: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Dockerfile");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        kiln(["parse"].into_iter().chain(args.iter().copied()).chain([path])).replace(path, "Dockerfile")
    }

    #[test]
    fn instructions_are_printed_as_they_are_read() {
        insta::assert_snapshot!(on(TEXT, &[]));
    }

    #[test]
    fn ron_has_the_same_fields() {
        insta::assert_snapshot!(on("FROM a\nRUN <<E\nx\nE\n", &["--format", "ron"]));
    }

    #[test]
    fn every_file_has_its_list_and_errors_are_told_for_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("good");
        std::fs::write(&path, "FROM a\n").unwrap();
        let missing = dir.path().join("missing");
        let (path, missing) = (path.to_str().unwrap(), missing.to_str().unwrap());
        let shown = on("FROM a\nRUN <<E\nx\n", &[path, missing]).replace(missing, "missing");
        insta::assert_snapshot!(shown);
    }
}

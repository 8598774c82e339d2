//! Writes `docs/cli.md` from the arguments, the tables and real events, and tests that it is up to date.

use crate::app::Cli;
use crate::commands::docker_only;
use crate::environment::VARIABLES;
use crate::exit::Exit;
use crate::render::{json::Json, plain::Plain, script};
use clap::{Arg, Command, CommandFactory as _};
use std::fmt::Write as _;
use std::path::Path;

/// Set to write the file anew.
const UPDATE: &str = "KILN_UPDATE_DOCS";

const STREAMS: &str = "\
Standard output is for data: ids, tables, JSON, archives. Progress, warnings and errors go to standard error. \
The one progress that is data, `--progress json`, goes to standard output.
";

const PLAIN: &str = "\
`--progress plain` prints a line when a step starts to run and a line when it has its result:
`NAME ... WORD (REASON) TIME`. The word is one of `running`, `hit`, `miss`, `failed` and `cancelled`; the reason is \
what kind of hit it was, or the first thing that changed. What a step prints follows its bracketed name and ` | `, \
whole. When a step failed, its last lines are repeated at the end, each after `failed:`. The last line counts \
the steps.
";

const JSON: &str = "\
`--progress json` prints one object a line. The names of events and fields are stable: fields may be added, none is \
renamed or removed. `build_started` is the first, unless the build fails before there is a plan; `build_finished` is \
always the last.

| event | fields |
|---|---|
| `build_started` | `build`: its name in the store. `steps`: all steps, each with `name`, `stage`, `instruction` and \
`line` (from 1; 0 where no line states the step), and `file` where the line is one of an included file. Later events name a step by its place in this list, from 0 |
| `step_started` | `step`. `reason`: why it runs. A hit has no such event |
| `step_log` | `step`. `stream`: `stdout` or `stderr`. `text`: what was written, with its newlines |
| `step_finished` | `step`. `verdict`: `hit`, `miss`, `failed` or `cancelled`. `reason`: in words. `duration`: seconds |
| `warning` | `message` |
| `change_seen` | only of `kiln watch`, before the build that follows. `paths`: what has changed, below the context or \
as it is named on the command line; empty where all that is known is that something did |
| `build_finished` | `ok`. `image`: kiln's name of it (`b3:…`) or null. `image_id`: the OCI id (`sha256:…`) or null. \
`counts`: `steps`, `hits`, `misses`, `failed`, `cancelled`. `duration`: seconds. `error`: text or null |
";

fn reference() -> String {
    let mut out = String::from("# The command line\n\n");
    let _ = writeln!(out, "This page is written from the program itself: `{UPDATE}=1 cargo test -p kiln reference`.\n");
    let cli = Cli::command();
    for command in cli.get_subcommands() {
        section(&mut out, command);
    }
    let _ = writeln!(out, "## Flags of docker build that kiln does not have\n");
    let _ = writeln!(out, "Each is an error that says what to do.\n\n| flag | in its place |\n|---|---|");
    for flag in docker_only::FLAGS {
        let short = flag.short.map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let _ = writeln!(out, "| {short}`--{}` | {} |", flag.name, cell(flag.advice));
    }
    let _ = writeln!(out, "\n## Streams\n\n{STREAMS}\n## Plain progress\n\n{PLAIN}");
    let _ = writeln!(out, "```text\n{}```\n", script::rendered(Plain::default(), &script::failing()));
    let _ = writeln!(out, "## JSON progress\n\n{JSON}");
    let _ = writeln!(out, "```json\n{}```\n", script::rendered(Json, &script::failing()));
    let _ = writeln!(out, "## Exit codes\n\n| code | meaning |\n|---|---|");
    for exit in Exit::ALL {
        let _ = writeln!(out, "| {} | {} |", exit.code(), exit.doc());
    }
    let _ = writeln!(
        out,
        "\nThe first Ctrl-C stops the build in good order, the second ends kiln at once. A command whose reader goes \
         away (`kiln images | head -1`) succeeds.\n"
    );
    let _ = writeln!(out, "## Environment variables\n\n| variable | meaning |\n|---|---|");
    for variable in VARIABLES {
        let _ = writeln!(out, "| `{}` | {} |", variable.name, cell(variable.doc.trim()));
    }
    out
}

fn section(out: &mut String, command: &Command) {
    let mut command = command.clone().bin_name(format!("kiln {}", command.get_name()));
    command.build();
    let _ = writeln!(out, "## kiln {}\n", command.get_name());
    let _ = writeln!(out, "{}.\n", command.get_about().map(ToString::to_string).unwrap_or_default());
    let usage = command.render_usage().to_string();
    let _ = writeln!(out, "```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    let _ = writeln!(out, "| argument | meaning |\n|---|---|");
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help") {
        let _ = writeln!(out, "| {} | {} |", typed(arg), cell(&meaning(arg)));
    }
    out.push('\n');
}

fn typed(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let takes_value = arg.get_action().takes_values();
    let forms: Vec<String> = [arg.get_short().map(|c| format!("-{c}")), arg.get_long().map(|name| format!("--{name}"))]
        .into_iter()
        .flatten()
        .collect();
    match (forms.is_empty(), takes_value) {
        (true, _) => format!("`{value}`"),
        (false, true) => format!("`{} {}`", forms.join("`, `"), cell(&value)),
        (false, false) => format!("`{}`", forms.join("`, `")),
    }
}

fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() && arg.get_id() != "shell" {
        let described: Vec<String> = values
            .iter()
            .map(|value| match value.get_help() {
                Some(help) => format!("`{}`: {help}", value.get_name()),
                None => format!("`{}`", value.get_name()),
            })
            .collect();
        let _ = write!(text, ". {}", described.join("; "));
    }
    if arg.get_action().takes_values()
        && let Some(default) = arg.get_default_values().first().and_then(|value| value.to_str())
    {
        let _ = write!(text, " [default: {default}]");
    }
    text
}

/// A pipe would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_reference_says_what_the_program_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let expected = reference();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/cli.md is out of date: run {UPDATE}=1 cargo test -p kiln reference");
}

#[test]
fn the_reference_has_every_variable_that_the_program_reads() {
    let text = reference();
    for variable in VARIABLES {
        assert!(text.contains(&format!("| `{}` |", variable.name)));
    }
}

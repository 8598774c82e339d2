//! The files that are wrong, and what kiln says of them.
//!
//! A case begins with `==== title | arguments`, each of its files with `---- name`; `-` is typed. `@@N{text}@@` is the text N times.

use kiln_tests::{Kiln, Project};
use std::fmt::Write as _;
use std::path::Path;

/// Longer lines are cut where they are shown, in characters.
const MAX_SHOWN: usize = 300;

/// Each case of a family with its exit code and everything that is said.
pub fn shown(family: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/messages/cases/{family}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let kiln = Kiln::new();
    let mut out = String::new();
    for case in text.split("==== ").skip(1) {
        let (head, files) = case.split_once('\n').unwrap();
        let (title, arguments) = head.split_once(" | ").unwrap();
        let project = Project::new(&[]);
        for file in files.split("---- ").skip(1) {
            let (name, content) = file.split_once('\n').unwrap();
            project.write(name, &repeated(content));
        }
        let mut command = kiln.command(arguments.split(' '));
        if let Ok(typed) = std::fs::File::open(project.at("-")) {
            command.stdin(typed);
        }
        let output = command.current_dir(project.path()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let said = said.replace(&project.path().display().to_string(), "PROJECT");
        let code = output.status.code().unwrap();
        let _ = write!(out, "==== {title}\nkiln {arguments} = {code}\n\n");
        for line in said.lines() {
            let _ = writeln!(out, "{}", cut(line));
        }
        out.push('\n');
    }
    out
}

fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("@@") else { return text.to_owned() };
    let (count, rest) = rest.split_once('{').unwrap();
    let (inner, rest) = rest.split_once("}@@").unwrap();
    format!("{before}{}{}", inner.repeat(count.parse().unwrap()), repeated(rest))
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(MAX_SHOWN) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}… ({} characters more)", &line[..at], line[at..].chars().count()),
    }
}

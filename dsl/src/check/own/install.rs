//! A COPY of everything before an installation of packages: each edit of any file repeats the installation.
//!
//! With traced keys kiln skips such an installation where it sees that only other files changed; Docker never does.

use super::super::stages::Stage;
use super::super::{Out, Rule};
use super::shell;
use super::text_of;
use crate::ast::{Command, Instruction, Source};
use std::collections::BTreeSet;

/// A program that installs packages: its subcommands (empty: none is needed), and the files that say which packages.
const INSTALLERS: [(&str, &[&str], &[&str]); 24] = [
    ("npm", &["install", "ci", "i"], &["package.json", "package-lock.json"]),
    ("yarn", &["", "install"], &["package.json", "yarn.lock"]),
    ("pnpm", &["install", "i"], &["package.json", "pnpm-lock.yaml"]),
    ("bun", &["install", "i"], &["package.json", "bun.lock"]),
    ("pip", &["install"], &["requirements.txt"]),
    ("pip3", &["install"], &["requirements.txt"]),
    ("pipenv", &["install", "sync"], &["Pipfile", "Pipfile.lock"]),
    ("poetry", &["install"], &["pyproject.toml", "poetry.lock"]),
    ("uv", &["sync"], &["pyproject.toml", "uv.lock"]),
    ("bundle", &["install"], &["Gemfile", "Gemfile.lock"]),
    ("composer", &["install"], &["composer.json", "composer.lock"]),
    ("go", &["mod"], &["go.mod", "go.sum"]),
    ("cargo", &["fetch"], &["Cargo.toml", "Cargo.lock"]),
    ("mvn", &["dependency:go-offline", "dependency:resolve"], &["pom.xml"]),
    ("mvnw", &["dependency:go-offline", "dependency:resolve"], &["pom.xml"]),
    ("dotnet", &["restore"], &["*.csproj"]),
    ("mix", &["deps.get"], &["mix.exs", "mix.lock"]),
    ("gem", &["install"], &[]),
    ("apt-get", &["install"], &[]),
    ("apt", &["install"], &[]),
    ("apk", &["add"], &[]),
    ("dnf", &["install"], &[]),
    ("yum", &["install"], &[]),
    ("microdnf", &["install"], &[]),
];

/// An installation that a command makes.
struct Installation<'a> {
    program: &'static str,
    files: Vec<&'a str>,
}

pub(in super::super) fn check(stage: &Stage<'_>, out: &mut Out) {
    let mut copies: Vec<&Instruction> = Vec::new();
    let mut installed = BTreeSet::new();
    for at in stage.instructions {
        match &at.command {
            Command::Copy(copy) if copy.from.is_none() && is_everything(&copy.sources) => copies.push(at),
            Command::Add(add) if is_everything(&add.sources) => copies.push(at),
            Command::Run(run) => {
                let text = text_of(run, at);
                for found in installations(&text) {
                    // A second installation by the same program is there on purpose.
                    if installed.insert(found.program)
                        && let Some(copy) = copies.first()
                    {
                        report(copy, at, &found, out);
                    }
                }
            }
            _ => {}
        }
    }
}

fn report(copy: &Instruction, run: &Instruction, found: &Installation<'_>, out: &mut Out) {
    let program = found.program;
    let message = format!(
        "{} brings every file of the context in before packages are installed with {program}",
        copy.keyword.value.to_uppercase()
    );
    let help = if found.files.is_empty() {
        format!("move the installation above this {}: it reads none of the files", copy.keyword.value.to_uppercase())
    } else {
        format!("copy {} first, then install, then copy the rest", found.files.join(" and "))
    };
    if out.wants(Rule::CopyBeforeInstall, run)
        && let Some(finding) = out.report(Rule::CopyBeforeInstall, copy, copy.span, message, help)
    {
        finding.related.push((run.span, "this runs again when any file changes".to_owned()));
    }
}

/// Whether the sources hold the whole context.
fn is_everything(sources: &[Source]) -> bool {
    sources.iter().any(|source| match source {
        Source::Path(word) => matches!(word.value.as_str(), "." | "./" | "/" | "*" | "./*" | "/*"),
        Source::Heredoc(_) => false,
    })
}

fn installations(text: &str) -> Vec<Installation<'_>> {
    shell::commands(text).iter().filter_map(|command| installation(command)).collect()
}

fn installation<'a>(command: &[&'a str]) -> Option<Installation<'a>> {
    let mut command = command;
    let mut name = shell::program(command);
    if matches!(name, "python" | "python3") && command.get(1..3) == Some(&["-m", "pip"]) {
        (name, command) = ("pip", &command[2..]);
    }
    let row = INSTALLERS.iter().find(|row| row.0 == name)?;
    let rest = command.get(1..).unwrap_or_default();
    let mut words = rest.iter().filter(|word| !word.starts_with('-'));
    let subcommand = words.next().copied().unwrap_or_default();
    if !row.1.contains(&subcommand) {
        return None;
    }
    let mut files = row.2.to_vec();
    match name {
        "go" if words.next() != Some(&"download") => return None,
        "pip" | "pip3" => {
            let lists = |flag: &&str| matches!(*flag, "-r" | "--requirement" | "-c");
            files = rest.windows(2).filter(|pair| lists(&pair[0])).map(|pair| pair[1]).collect();
            // What is installed from a directory needs the directory.
            let is_local = |word: &&&str| word.starts_with('.') || word.starts_with('/') || word.starts_with('$');
            let named: Vec<&&str> = words.filter(|word| !files.contains(*word)).collect();
            if named.iter().any(is_local) || rest.iter().any(|word| matches!(*word, "-e" | "--editable")) {
                return None;
            }
        }
        // A package file of the context is installed.
        "apt-get" | "apt" | "apk" | "dnf" | "yum" | "microdnf" | "gem" | "npm"
            if words.any(|word| word.starts_with('.') || word.starts_with('/')) =>
        {
            return None;
        }
        _ => {}
    }
    Some(Installation { program: row.0, files })
}

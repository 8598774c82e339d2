//! A cache mount in a place that no command of its RUN uses.
//!
//! Only well-known places are judged, and only where every program of the RUN is known.

use super::super::stages::Stage;
use super::super::{Out, Rule};
use super::shell;
use super::text_of;
use crate::ast::Command;
use crate::mount::{Mount, MountKind};

/// How a target begins or ends, and the programs that keep a cache there.
const PLACES: [(&str, &[&str]); 22] = [
    ("/var/cache/apt", &["apt-get", "apt", "aptitude"]),
    ("/var/lib/apt", &["apt-get", "apt", "aptitude"]),
    ("/var/cache/apk", &["apk"]),
    ("/etc/apk/cache", &["apk"]),
    ("/var/cache/dnf", &["dnf", "dnf5", "microdnf"]),
    ("/var/cache/yum", &["yum", "dnf"]),
    ("/.npm", &["npm", "npx"]),
    ("/.cache/yarn", &["yarn", "corepack"]),
    ("/.yarn/berry", &["yarn", "corepack"]),
    ("/pnpm/store", &["pnpm", "corepack"]),
    ("/.cache/pip", &["pip", "pip3", "python", "python3", "pipenv", "poetry", "tox"]),
    ("/.cache/uv", &["uv", "uvx"]),
    ("/.cache/pypoetry", &["poetry"]),
    ("/go/pkg/mod", &["go"]),
    ("/.cache/go-build", &["go"]),
    ("/cargo/registry", &["cargo"]),
    ("/cargo/git", &["cargo"]),
    ("/.m2", &["mvn", "mvnw"]),
    ("/.gradle", &["gradle", "gradlew"]),
    ("/.composer", &["composer", "php"]),
    ("/.nuget/packages", &["dotnet", "nuget"]),
    ("/usr/local/bundle", &["bundle", "gem"]),
];

/// Programs that keep no cache of packages.
const PLAIN: [&str; 58] = [
    ":",
    "[",
    "addgroup",
    "adduser",
    "awk",
    "basename",
    "cat",
    "cd",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "curl",
    "cut",
    "date",
    "dirname",
    "done",
    "echo",
    "esac",
    "exit",
    "export",
    "false",
    "fi",
    "find",
    "git",
    "grep",
    "groupadd",
    "gunzip",
    "gzip",
    "head",
    "id",
    "ldconfig",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "printf",
    "pwd",
    "rm",
    "rmdir",
    "sed",
    "set",
    "sha256sum",
    "sleep",
    "sort",
    "strip",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "tr",
    "true",
    "uname",
    "unzip",
    "useradd",
    "wc",
    "wget",
];

/// Flags with which a program leaves its cache alone.
const WITHOUT_CACHE: [(&str, &str); 3] = [("pip", "--no-cache-dir"), ("pip3", "--no-cache-dir"), ("apk", "--no-cache")];

pub(in super::super) fn check(stage: &Stage<'_>, out: &mut Out) {
    for at in stage.instructions {
        let Command::Run(run) = &at.command else { continue };
        if run.mounts.is_empty() {
            continue;
        }
        let text = text_of(run, at);
        let commands = shell::commands(&text);
        for word in &run.mounts {
            let Ok(mount) = Mount::parse(&word.value, &mut |value| Ok(value.to_owned())) else { continue };
            let Some(target) = mount.target.filter(|_| mount.kind == MountKind::Cache) else { continue };
            let place = target.trim_end_matches('/');
            let row = PLACES.iter().find(|(known, _)| place.ends_with(known));
            let Some((_, users)) = row.filter(|_| !text.contains(place)) else { continue };
            if let Some((message, help)) = judge(place, users, &commands) {
                out.report(Rule::UnusedCacheMount, at, word.span, message, help);
            }
        }
    }
}

/// What is wrong with a mount at `place`, if that is certain.
fn judge(place: &str, users: &[&str], commands: &[Vec<&str>]) -> Option<(String, String)> {
    let using: Vec<&Vec<&str>> = commands.iter().filter(|command| users.contains(&shell::program(command))).collect();
    if using.is_empty() {
        let is_known = |command: &Vec<&str>| {
            let program = shell::program(command);
            PLAIN.contains(&program) || PLACES.iter().any(|(_, users)| users.contains(&program))
        };
        return commands.iter().all(is_known).then(|| {
            let message = format!("Cache mount '{place}' is used by no command of this RUN");
            (message, format!("remove the mount: {} keeps its cache there, and is not called", users[0]))
        });
    }
    let off = |command: &Vec<&str>| {
        WITHOUT_CACHE.iter().find(|(program, flag)| *program == shell::program(command) && command.contains(flag))
    };
    let flags: Vec<_> = using.iter().filter_map(|command| off(command)).collect();
    let (_, flag) = flags.first().filter(|_| flags.len() == using.len())?;
    let message = format!("Cache mount '{place}' is not used: {flag} turns the cache off");
    Some((message, format!("remove {flag}, which only keeps the cache out of a layer, or remove the mount")))
}

//! Standard input as a context or as a Dockerfile.

use kiln_tests::project::archive;
use kiln_tests::{Kiln, Project, Ran};
use std::io::Write as _;
use std::process::Stdio;

fn fed(kiln: &Kiln, args: &[&str], input: &[u8]) -> Ran {
    let mut command = kiln.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that wants no input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    Ran::from(child.wait_with_output().unwrap())
}

const FILES: [(&str, &str); 3] =
    [("Dockerfile", "FROM scratch\nCOPY f /f\n"), ("f", "from the archive"), ("Other", "FROM scratch\nCOPY f /o\n")];

#[test]
fn a_dockerfile_alone_or_an_archive_is_read_from_standard_input() {
    let kiln = Kiln::new();
    let out = kiln.scratch().join("out");
    let to = out.to_str().unwrap();
    let _ = fed(&kiln, &["build", "-", "-o", to], b"FROM scratch\nCOPY <<f /g\ntext\nf\n").ok();
    assert_eq!(std::fs::read_to_string(out.join("g")).unwrap(), "text\n");
    let _ = fed(&kiln, &["build", "-", "-o", to], &archive(&FILES)).ok();
    assert_eq!(std::fs::read_to_string(out.join("f")).unwrap(), "from the archive");
    let _ = fed(&kiln, &["build", "-f", "Other", "-", "-o", to], &archive(&FILES)).ok();
    assert!(out.join("o").exists());
}

#[test]
fn a_dockerfile_on_standard_input_has_the_context_that_is_named() {
    let project = Project::new(&[("f", "1"), ("hidden", "2"), (".dockerignore", "hidden\n")]);
    let kiln = Kiln::new();
    let out = kiln.scratch().join("out");
    let (context, to) = (project.path().to_str().unwrap(), out.to_str().unwrap());
    let _ = fed(&kiln, &["build", "-f", "-", context, "-o", to], b"FROM scratch\nCOPY . /\n").ok();
    assert!(out.join("f").exists() && !out.join("hidden").exists());
}

#[test]
fn what_standard_input_cannot_be_is_told() {
    let kiln = Kiln::new();
    let said = |args: &[&str], input: &[u8]| {
        let ran = fed(&kiln, args, input);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        format!("$ kiln {}\n{}", args.join(" "), ran.stderr)
    };
    let all = [
        said(&["build", "-q", "-f", "-", "-"], b"FROM scratch\n"),
        said(&["build", "-q", "-f", "Dockerfile", "-"], b"FROM scratch\n"),
        said(&["build", "-q", "-"], b""),
        said(&["build", "-q", "-"], b"FROM scratch\nCOPY f /\n"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

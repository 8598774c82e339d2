//! `kiln run`, `kiln shell` and `kiln build --on-error=shell`, with a script where a person would type.

use kiln_tests::{Busybox, Kiln, Project, Ran};
use std::io::Write as _;
use std::process::Stdio;

/// Runs kiln with this on its standard input.
fn with_input(kiln: &Kiln, args: &[&str], input: &str) -> Ran {
    let mut command = kiln.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn an_image_runs_with_its_own_configuration_or_another() {
    let dockerfile = "FROM busybox\nENV A=image B=b\nWORKDIR /w\nRUN echo kept > file\nUSER nobody\n\
                      ENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"echo $A $B $C; pwd; id -un; exit 3\"]\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let _built = kiln.build(["-t", "app", project.path().to_str().unwrap()]).ok();
    let ran = kiln.run(["run", "-e", "B=mine", "-e", "C=c", "app"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "image mine c\n/w\nnobody\n"), "{}", ran.stderr);
    let ran = kiln.run(["run", "-u", "root", "-w", "/", "--entrypoint", "cat", "app", "/w/file"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "kept\n"), "{}", ran.stderr);
    // What a command changes is gone with it.
    let _ran = kiln.run(["run", "-u", "root", "app", "echo other > /w/file"]).ok();
    assert_eq!(kiln.run(["run", "app", "cat file"]).stdout, "kept\n");
    assert_eq!(kiln.run(["run", "app", "kill -9 $$"]).code, Some(137));
    let ran = kiln.run(["run", "--entrypoint", "nothing-here", "app"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("cannot run \"nothing-here\""), "{}", ran.stderr);
    let ran = kiln.run(["run", "ap"]);
    assert!(ran.code == Some(1) && ran.stderr.contains("did you mean app?"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_shell_reads_what_is_typed() {
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let ran = with_input(&kiln, &["shell", "-w", "/tmp", "busybox"], "pwd\necho $0\nexit 4\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), "/tmp\n/bin/sh\n"), "{}", ran.stderr);
}

#[test]
fn a_failed_step_can_be_looked_at_before_it_is_gone() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nENV A=b\nRUN echo half > /made; exit 9\n")]);
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let args = ["build", "--on-error=shell", project.path().to_str().unwrap()];
    let ran = with_input(&kiln, &args, "cat /made\necho $A\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), "half\nb\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("exit code 9"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_shell_stands_after_any_step_of_a_build_and_before_one_that_failed() {
    let dockerfile =
        "FROM busybox AS one\nENV A=b\nWORKDIR /w\nRUN echo first > file\nCOPY a .\nRUN echo second > file; exit 9\n";
    let project = Project::new(&[("Dockerfile", dockerfile), ("a", "copied")]);
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    assert_eq!(kiln.run(["build", project.path().to_str().unwrap()]).code, Some(1));
    let shell = |args: &[&str], input: &str| {
        let ran = with_input(&kiln, &[&["shell"], args].concat(), input);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        ran.stdout
    };
    assert_eq!(shell(&["4"], "cat file; ls; echo $A\n"), "first\nfile\nb\n");
    assert_eq!(shell(&["one:5"], "ls\n"), "a\nfile\n");
    assert_eq!(shell(&["exit 9"], "cat file a\n"), "first\ncopied");
    assert_eq!(shell(&["1"], "test -e /w || echo none\n"), "none\n");
    let ran = with_input(&kiln, &["shell", "nothing"], "");
    assert!(ran.code == Some(1) && ran.stderr.contains("there is no image"), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(kiln.store().join("tmp")).unwrap().count(), 0);
}

//! Alternatives in `*.kiln` files, built.

use kiln_tests::{Kiln, Project};

const TEXT: &str = "ARG FLAVOUR=plain\nIF FLAVOUR == \"plain\"\nFROM kiln/host AS base\nELSE\nFROM scratch AS base\nEND\n\
FROM base\nARG FLAVOUR\nIF FLAVOUR == \"plain\"\nRUN echo $FLAVOUR > /out\nELSE\nCOPY build.kiln /out\nEND\nLABEL flavour=$FLAVOUR\n";

#[test]
fn one_branch_is_built_and_the_other_is_as_if_it_were_not_there() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", TEXT)]));
    let plain = kiln.build([project.path()]).ok().instructions();
    assert_eq!(
        plain,
        ["FROM kiln/host AS base", "FROM base", "ARG FLAVOUR", "RUN echo $FLAVOUR > /out", "LABEL flavour=plain"]
    );
    let other = kiln.build(["--build-arg".as_ref(), "FLAVOUR=other".as_ref(), project.path().as_os_str()]).ok();
    let instructions = other.instructions();
    assert_eq!(instructions[3], "COPY build.kiln /out", "{instructions:#?}");
    assert_eq!(instructions.len(), 5);
}

#[test]
fn a_condition_that_cannot_be_decided_is_told_with_its_place() {
    let project = Project::new(&[("build.kiln", "FROM scratch\nARG FLAVOUR\nIF FLAVOUR\nCOPY a /\nEND\n"), ("a", "")]);
    let ran = Kiln::new().run(["build", "--progress", "quiet", project.path().to_str().unwrap()]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.stderr.replace(project.path().to_str().unwrap(), "PROJECT"));
}

const MATRIX: &str = "FROM kiln/host AS test FOR PY IN 3.11 3.12 FOR OS IN a b EXCEPT PY=3.11 OS=a\n\
RUN mkdir /out && echo $PY $OS > /out/result\nFROM scratch\nCOPY --from=test[*] /out /results/{PY}-{OS}/\n";

#[test]
fn the_branches_of_a_matrix_are_built_and_their_results_are_gathered() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", MATRIX)]));
    let output = format!("--output=type=local,dest={}", project.at("dist").display());
    let build = kiln.build([output.as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(build.ran_steps().len(), 6);
    let read = |name: &str| std::fs::read_to_string(project.at(&format!("dist/results/{name}/result"))).ok();
    let found = ["3.11-a", "3.11-b", "3.12-a", "3.12-b"].map(read);
    let line = |text: &str| Some(format!("{text}\n"));
    assert_eq!(found, [None, line("3.11 b"), line("3.12 a"), line("3.12 b")]);
    // One branch alone runs what is its own, and hits here.
    let one = kiln.build(["--target".as_ref(), "TEST[3.12,B]".as_ref(), project.path().as_os_str()]).ok();
    assert_eq!(one.instructions()[1], "ARG PY=3.12 OS=b");
    assert_eq!(one.ran_steps(), Vec::<String>::new());
}

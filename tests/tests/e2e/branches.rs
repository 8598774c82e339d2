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

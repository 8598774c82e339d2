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

const COMMON: &str = "DEF greet(who, how=\"Hello\")\nRUN echo \"$how, $who!\" >> /greetings\nEND\n";

#[test]
fn a_file_is_included_and_its_definitions_are_used_as_if_they_stood_there() {
    let text =
        "INCLUDE \"lib/common.kiln\"\nFROM kiln/host\nUSE greet(world)\nUSE greet(kiln, how=Hi)\nRUN cat /greetings\n";
    let by_hand = "FROM kiln/host\nRUN echo \"Hello, world!\" >> /greetings\nRUN echo \"Hi, kiln!\" >> /greetings\nRUN cat /greetings\n";
    let files = [("build.kiln", text), ("lib/common.kiln", COMMON), ("hand/build.kiln", by_hand)];
    let (kiln, project) = (Kiln::new(), Project::new(&files));
    assert_eq!(kiln.build([project.path()]).ok().log(), "Hello, world!\nHi, kiln!\n");
    let hand = kiln.build([project.at("hand")]).ok();
    assert_eq!(hand.ran_steps(), Vec::<String>::new(), "only the text counts");
}

#[test]
fn what_is_wrong_in_an_included_file_or_a_use_shows_all_places() {
    let failing = |main: &str, common: &str| {
        let project = Project::new(&[("app/build.kiln", main), ("app/lib/common.kiln", common), ("outside.kiln", "")]);
        let ran = Kiln::new().run(["build", "--progress", "quiet", project.at("app").to_str().unwrap()]);
        assert_eq!(ran.code, Some(1));
        ran.stderr.replace(project.path().to_str().unwrap(), "PROJECT")
    };
    let include = "INCLUDE \"lib/common.kiln\"\nFROM kiln/host\n";
    insta::assert_snapshot!(
        [
            failing(&format!("{include}USE greet(x, y, z)\n"), COMMON),
            failing(&format!("{include}USE greet(x)\n"), &COMMON.replace("RUN", "\nRUNN")),
            failing(&format!("{include}RUN true\n"), "# note\nRUN x\n"),
            failing("FROM scratch\nINCLUDE \"../outside.kiln\"\n", ""),
            failing("INCLUDE \"none.kiln\"\n", ""),
        ]
        .join("\n")
    );
    let failed = failing(&format!("{include}USE greet(\"\\\"; exit 7; \\\"\")\n"), COMMON);
    assert!(failed.contains("lib/common.kiln:2") && failed.contains("greet is used here"), "{failed}");
}

//! Flags that take stages: branches, targets, and what is none.

use kiln_tests::{Build, Kiln, Project};

const TEXT: &str = "FROM scratch AS test FOR PY IN 3.11 3.12 FOR OS IN a b\nCOPY f /$PY$OS\nFROM scratch\nCOPY f /last\nTARGET all = test[*]\n";

fn ran(build: &Build) -> Vec<String> {
    build.ran_steps().iter().map(|line| line.split(" = ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn flags_that_take_stages_take_branches_and_targets() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", TEXT), ("f", "1")]));
    let build = |more: &[&str]| {
        let all = ["--target", "all"].into_iter().chain(more.iter().copied()).chain([project.path().to_str().unwrap()]);
        kiln.build(all)
    };
    assert_eq!(build(&[]).ok().ran_steps().len(), 4);
    let filtered = |words: &[&str]| {
        let flags: Vec<String> = words.iter().map(|word| format!("--no-cache-filter={word}")).collect();
        ran(&build(&flags.iter().map(String::as_str).collect::<Vec<_>>()).ok())
    };
    assert_eq!(filtered(&["test[3.12,A]"]), ["COPY f /3.12a"]);
    assert_eq!(filtered(&["test[*,b]"]), ["COPY f /3.11b", "COPY f /3.12b"]);
    assert_eq!(filtered(&["test[3.11,a],test[3.11,b]"]), ["COPY f /3.11a", "COPY f /3.11b"]);
    assert_eq!(filtered(&["test[3.11,a]", "4"]), ["COPY f /3.11a"]);
    assert_eq!(filtered(&["all"]).len(), 4);
    let refused = |stages: &str| {
        let flag = format!("--fail-on-miss={stages}");
        build(&["--no-cache-filter=test[3.12,a]", &flag]).ran.code
    };
    assert_eq!((refused("test[3.12,*]"), refused("test[3.11,*]"), refused("test[*]")), (Some(3), Some(0), Some(3)));
}

#[test]
fn a_flag_that_names_no_stage_is_told_so() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("build.kiln", TEXT), ("f", "1")]));
    let told = |flag: &str| {
        let ran = kiln.run(["build", "--progress=plain", flag, project.path().to_str().unwrap()]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        format!("$ kiln build {flag}\n{}", ran.stderr.replace(project.path().to_str().unwrap(), "PROJECT"))
    };
    let all = [
        "--no-cache-filter=tset",
        "--no-cache-filter=test[3.13,a]",
        "--fail-on-miss=test[3.12,a],none",
        "--no-cache-filter=test",
    ];
    insta::assert_snapshot!(all.map(told).join("\n"));
}

#[test]
fn a_step_of_an_included_file_is_told_with_its_file() {
    let files = [
        ("build.kiln", "FROM scratch\nINCLUDE \"lib/common.kiln\"\nCOPY f /b\n"),
        ("lib/common.kiln", "# note\n\nCOPY f /$NONE\n"),
        ("f", "1"),
    ];
    let (kiln, project) = (Kiln::new(), Project::new(&files));
    let build = kiln.build([project.path()]).ok();
    let places = |steps: &serde_json::Value| -> Vec<(u64, Option<String>)> {
        let place = |step: &serde_json::Value| {
            (
                step["line"].as_u64().unwrap(),
                step["file"].as_str().map(|file| file.rsplit_once("/lib/").map_or(file, |(_, name)| name).to_owned()),
            )
        };
        steps.as_array().unwrap().iter().map(place).collect()
    };
    let expected = [(1, None), (3, Some("common.kiln".to_owned())), (3, None)];
    assert_eq!(
        places(
            &build.events[build.events.iter().position(|event| event["event"] == "build_started").unwrap()]["steps"]
        ),
        expected
    );
    let outline = kiln.run(["plan", "--graph", "--json", project.path().to_str().unwrap()]).ok().stdout;
    assert_eq!(places(&serde_json::from_str::<serde_json::Value>(&outline).unwrap()["steps"]), expected);
    let warned = kiln.run(["build", "--progress=plain", project.path().to_str().unwrap()]).ok().stderr;
    assert!(warned.contains("lib/common.kiln:3)"), "{warned}");
}

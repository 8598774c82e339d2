//! What runs again and what does not, told by the events of the second build.

use kiln_tests::{Busybox, Kiln, Project};

const FOUNDING: &str = "FROM kiln/host\nWORKDIR /app\nCOPY package.json .\nRUN cat package.json > installed\nCOPY . .\nRUN cat src/index.js > built\nCMD [\"cat\", \"built\"]\n";

fn founding() -> Project {
    Project::new(&[("Dockerfile", FOUNDING), ("package.json", "{}\n"), ("src/index.js", "one\n"), ("src/b.js", "b\n")])
}

#[test]
fn a_second_build_of_the_same_project_runs_nothing_and_is_the_same_image() {
    let (kiln, project) = (Kiln::new(), founding());
    let first = kiln.build([project.path()]).ok();
    assert_eq!(first.ran_steps().len(), 5, "{:#?}", first.verdicts());
    assert!(first.ran_steps().iter().all(|line| line.ends_with("(first time)")), "{:#?}", first.verdicts());
    let second = kiln.build([project.path()]).ok();
    assert_eq!(second.ran_steps(), Vec::<String>::new());
    assert_eq!(second.image(), first.image());
}

#[test]
fn an_edit_runs_what_reads_it_and_the_reason_names_the_file() {
    let (kiln, project) = (Kiln::new(), founding());
    let first = kiln.build([project.path()]).ok();
    project.write("src/index.js", "two\n");
    let second = kiln.build([project.path()]).ok();
    let ran = second.ran_steps();
    assert_eq!(ran[0], "COPY . . = miss (src/index.js changed)", "{ran:#?}");
    assert!(ran[1].starts_with("RUN cat src/index.js > built = miss"), "{ran:#?}");
    assert_eq!(ran.len(), 2);
    assert_ne!(second.image(), first.image());
}

#[test]
fn an_edit_that_keeps_size_and_times_is_seen() {
    let (kiln, project) = (Kiln::new(), founding());
    let _first = kiln.build([project.path()]).ok();
    let file = project.at("src/index.js");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    project.write("src/index.js", "six\n");
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    let second = kiln.build([project.path()]).ok();
    assert!(second.ran_steps()[0].contains("src/index.js changed"), "{:#?}", second.verdicts());
}

#[test]
fn a_touched_file_runs_nothing() {
    let (kiln, project) = (Kiln::new(), founding());
    let _first = kiln.build([project.path()]).ok();
    let file = std::fs::File::options().write(true).open(project.at("src/index.js")).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(kiln.build([project.path()]).ok().ran_steps(), Vec::<String>::new());
}

#[test]
fn a_run_that_makes_the_same_layer_again_stops_the_chain() {
    let kiln = Kiln::new();
    let text = |remark: &str| format!("FROM kiln/host\nRUN echo same > /out # {remark}\nRUN wc -c < /out > /count\n");
    let project = Project::new(&[("Dockerfile", &text("one"))]);
    let first = kiln.build([project.path()]).ok();
    project.write("Dockerfile", &text("two"));
    let second = kiln.build([project.path()]).ok();
    let verdicts = second.verdicts();
    assert!(verdicts[1].starts_with("RUN echo same > /out # two = miss"), "{verdicts:#?}");
    assert!(verdicts[2].starts_with("RUN wc -c < /out > /count = hit"), "{verdicts:#?}");
    assert_ne!(first.image(), second.image(), "the history says another command");
}

#[test]
fn two_files_with_the_same_beginning_share_their_layers() {
    let (kiln, project) = (Kiln::new(), founding());
    project.write(".dockerignore", "Other\n");
    let _first = kiln.build([project.path()]).ok();
    project.write("Other", &FOUNDING.replace("RUN cat src/index.js > built", "RUN wc src/index.js > built"));
    let other = kiln.build(["-f".as_ref(), project.at("Other").as_os_str(), project.path().as_os_str()]).ok();
    assert_eq!(other.ran_steps().len(), 1, "{:#?}", other.verdicts());
}

#[test]
fn stages_that_do_not_need_each_other_run_side_by_side() {
    let kiln = Kiln::new();
    // Each waits until the other has begun: one after the other neither would end.
    let wait = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,target=/meet touch /meet/{own}; n=0; while [ ! -e /meet/{other} ]; do sleep 0.05; n=$((n+1)); [ $n -lt 400 ] || exit 9; done; echo {own} > /{own}\n"
        )
    };
    let text = format!(
        "FROM kiln/host AS a\n{}FROM kiln/host AS b\n{}FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
        wait("a", "b"),
        wait("b", "a")
    );
    let project = Project::new(&[("Dockerfile", &text)]);
    let _build = kiln.build([project.path()]).ok();
}

#[test]
fn only_what_the_target_needs_is_run() {
    let kiln = Kiln::new();
    let text = "FROM kiln/host AS used\nRUN echo 1 > /1\nFROM kiln/host AS unused\nRUN exit 1\nFROM scratch\nCOPY --from=used /1 /\n";
    let project = Project::new(&[("Dockerfile", text)]);
    let build = kiln.build([project.path()]).ok();
    assert!(!build.instructions().iter().any(|line| line == "RUN exit 1"), "{:#?}", build.instructions());
}

#[test]
fn a_layer_that_comes_twice_is_stacked_twice() {
    let kiln = Kiln::new();
    let Some(()) = Busybox::import(&kiln) else { return };
    let dockerfile = "FROM busybox\nRUN echo a > /f\nRUN rm /f\nRUN echo a > /f\nRUN cat /f\n";
    let project = Project::new(&[("Dockerfile", dockerfile)]);
    assert_eq!(kiln.build([project.path()]).ok().log(), "a\n");
}

/// Stages that do the same from the same, beside one that does something else.
const TWINS: &str = "FROM kiln/host AS base\nFROM base AS a\nCOPY f /f\nRUN sleep 0.2; cat /f > /made; echo ran\n\
FROM base AS b\nCOPY f /f\nRUN sleep 0.2; cat /f > /made; echo ran\nFROM base AS c\nCOPY f /f\nRUN sleep 0.2; cat /f > /made; echo ran\n\
FROM base AS other\nRUN echo other > /h\n\
FROM scratch\nCOPY --from=a /made /a\nCOPY --from=b /made /b\nCOPY --from=c /made /c\nCOPY --from=other /h /h\n";

#[test]
fn of_steps_with_one_key_that_are_ready_together_one_runs_and_the_others_hit() {
    for jobs in ["1", "2", "16"] {
        let (kiln, project) = (Kiln::new(), Project::new(&[("Dockerfile", TWINS), ("f", "1")]));
        let args = |more: &[&str]| {
            let all = ["--jobs", jobs].into_iter().chain(more.iter().copied()).map(str::to_owned);
            all.chain([project.path().display().to_string()]).collect::<Vec<_>>()
        };
        let count = |build: &kiln_tests::Build, what: &str, verdict: &str| {
            let is = |line: &&String| line.starts_with(what) && line.contains(&format!(" = {verdict}"));
            build.verdicts().iter().filter(is).count()
        };
        let first = kiln.build(args(&[])).ok();
        assert_eq!(
            (count(&first, "COPY f", "miss"), count(&first, "COPY f", "hit")),
            (1, 2),
            "{:#?}",
            first.verdicts()
        );
        let runs = (count(&first, "RUN sleep", "miss"), count(&first, "RUN sleep", "hit"));
        assert_eq!(runs, (1, 2), "{:#?}", first.verdicts());
        assert_eq!(first.log().matches("ran\n").count(), 1);
        assert_eq!(kiln.build(args(&[])).ok().image(), first.image());
        // What is to run whatever is known runs for each.
        let anyway = kiln.build(args(&["--no-cache"])).ok();
        assert_eq!(count(&anyway, "RUN sleep", "miss"), 3, "{:#?}", anyway.verdicts());
        let verified = kiln.build(args(&["--verify"])).ok();
        assert_eq!(verified.log().matches("ran\n").count(), 3, "{:#?}", verified.verdicts());
    }
}

#[test]
fn where_the_one_that_runs_fails_the_others_do_not_wait_for_ever() {
    let text = TWINS.replace("cat /f > /made; echo ran", "exit 3");
    for jobs in ["1", "16"] {
        let (kiln, project) = (Kiln::new(), Project::new(&[("Dockerfile", &text), ("f", "1")]));
        let build = kiln.build(["--jobs", jobs, project.path().to_str().unwrap()]);
        assert_eq!(build.ran.code, Some(1));
        let failed = |line: &&String| line.contains(" = failed");
        assert_eq!(build.verdicts().iter().filter(failed).count(), 1, "{:#?}", build.verdicts());
    }
}

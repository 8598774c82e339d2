//! What a user reads when something is wrong: whole texts, as snapshots.

use kiln_tests::{Kiln, Project};

/// The errors of a build that fails, machine paths and times taken out.
fn failure(files: &[(&str, &str)]) -> String {
    let (kiln, project) = (Kiln::new(), Project::new(files));
    let ran = kiln.run(["build".as_ref(), "--progress=quiet".as_ref(), project.path().as_os_str()]);
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
    let tmp = kiln.store().join("tmp");
    let left = std::fs::read_dir(&tmp).map(|entries| entries.flatten().count()).unwrap_or(0);
    assert_eq!(left, 0, "a failed build leaves nothing half-made");
    let text = ran.stderr.replace(&project.path().display().to_string(), "CONTEXT");
    // The time that a failed step took.
    text.lines().map(|line| format!("{}\n", cut_time(line))).collect()
}

fn cut_time(line: &str) -> &str {
    let has_time = line.contains("(exit code ") && line.ends_with('s');
    match line.rsplit_once(' ') {
        Some((before, _)) if has_time => before,
        _ => line,
    }
}

#[test]
fn a_misspelt_instruction_is_shown_in_its_line_with_what_was_meant() {
    insta::assert_snapshot!(failure(&[("Dockerfile", "FROM scratch\nRUNN make\nCOPPY a b\n")]));
}

#[test]
fn a_failing_command_shows_its_code_its_output_and_its_step() {
    insta::assert_snapshot!(failure(&[("Dockerfile", "FROM kiln/host\nRUN echo one; echo two >&2; exit 7\n")]));
}

#[test]
fn a_missing_file_is_named_and_so_is_the_one_that_was_meant() {
    insta::assert_snapshot!(failure(&[("Dockerfile", "FROM scratch\nCOPY src/indx.js /\n"), ("src/index.js", "")]));
}

#[test]
fn a_file_that_the_ignore_file_hides_is_told_from_one_that_is_not_there() {
    let files = [("Dockerfile", "FROM scratch\nCOPY dist /dist\n"), (".dockerignore", "*.log\ndist\n"), ("dist/a", "")];
    insta::assert_snapshot!(failure(&files));
}

#[test]
fn a_stage_that_needs_itself_shows_both_lines() {
    insta::assert_snapshot!(failure(&[("Dockerfile", "FROM scratch AS a\nCOPY --from=a /x /\n")]));
    insta::assert_snapshot!(failure(&[(
        "Dockerfile",
        "FROM scratch AS a\nCOPY --from=b /x /\nFROM scratch AS b\nCOPY --from=a /x /\nFROM a\n"
    )]));
}

#[test]
fn a_build_tells_what_the_checks_find_and_refuses_what_the_file_forbids() {
    let (kiln, project) = (Kiln::new(), Project::new(&[("a", "1")]));
    let told = |dockerfile: &str| {
        project.write("Dockerfile", dockerfile);
        let ran = kiln.run(["build".as_ref(), "--progress=plain".as_ref(), project.path().as_os_str()]);
        let lines = ran.stderr.lines().filter(|line| line.contains("warning:") || line.contains("error"));
        format!(
            "{}\n",
            [format!("{:?}", ran.code)].into_iter().chain(lines.map(str::to_owned)).collect::<Vec<_>>().join("\n")
        )
    };
    let broken = "FROM scratch AS Base\nCOPY a /$X\nCMD [\"a\"] # why\n";
    // Advice, and what the built stage does not need, are for `kiln check`.
    let other = format!("FROM scratch AS other\nCOPY $Y /\n{broken}");
    let shown = [
        told(broken),
        told(&other),
        told(&format!("# check=skip=UndefinedVar\n{broken}")),
        told(&format!("# check=error=true\n{broken}")),
        told("# check=error=true;skip=all\nFROM scratch\nCOPY a /$X\n"),
    ];
    insta::assert_snapshot!(shown.concat().replace(&project.path().display().to_string(), "CONTEXT"));
}

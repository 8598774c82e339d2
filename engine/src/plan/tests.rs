//! What instructions come to, each as Docker 26 has it in its image. The whole of it is compared case by
//! case in the crate of end-to-end tests; here is what needs no build.

use super::*;

fn target(text: &str, build_args: &[(&str, &str)]) -> Result<Target, Vec<String>> {
    let document = kiln_dsl::parser::parse(text).document;
    let platform = Platform::parse("linux/amd64").expect("a platform");
    let build_args = build_args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = Options { build_args, ..Options::new(platform) };
    match plan(&document, &options, &Images::new()) {
        Ok(Planned::Plan(plan, _)) => Ok(plan.target),
        Err(PlanError::Findings(findings)) => Err(findings.into_iter().map(|one| one.message).collect()),
        other => panic!("neither a plan nor findings: {other:?}"),
    }
}

fn history(text: &str, build_args: &[(&str, &str)]) -> Vec<String> {
    let target = target(text, build_args).expect("a plan");
    target.config.history.into_iter().map(|entry| entry.created_by).collect()
}

#[test]
fn arguments_of_one_line_see_the_values_from_before_it() {
    let text = "FROM scratch\nARG x=1\nARG x=2 y=$x z=\"a $x\"\nENV E=$x$y\n";
    assert_eq!(history(text, &[("z", "given")]), ["ARG x=1", "ARG x=2 y=1 z=a 1", "ENV E=21"]);
}

#[test]
fn the_arguments_of_a_base_stage_are_variables_but_not_in_the_history() {
    let text = "FROM scratch AS a\nARG A=1\nFROM a\nARG B=$A\nRUN [\"x\"]\n";
    assert_eq!(history(text, &[]), ["ARG A=1", "ARG B=1", "RUN |1 B=1 x # buildkit"]);
}

#[test]
fn the_working_directory_is_kept_as_written_and_joined_cleanly() {
    let working_dir = |text: &str| target(text, &[]).expect("a plan").config.config.working_dir;
    assert_eq!(working_dir("FROM scratch\nWORKDIR /a/./b//\n"), "/a/./b//");
    assert_eq!(working_dir("FROM scratch\nWORKDIR /a/./b//\nWORKDIR c/../d/\n"), "/a/b/d");
}

#[test]
fn a_volume_without_a_path_is_an_error() {
    assert_eq!(
        target("FROM scratch\nVOLUME /a $NOPE\n", &[]).expect_err("no plan"),
        ["a volume cannot be an empty path"]
    );
}

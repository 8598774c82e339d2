//! What instructions come to, each as Docker 26 has it in its image. The whole of it is compared case by
//! case in the crate of end-to-end tests; here is what needs no build.

use super::*;

fn target(text: &str, build_args: &[(&str, &str)]) -> Result<Target, Vec<String>> {
    let document = kiln_dsl::parser::parse(text).document;
    let platform = Platform::parse("linux/amd64").expect("a platform");
    let build_args = build_args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = Options { build_args, ..Options::new(platform) };
    match plan(&[Wanted { document: &document, options: &options, stages: &[None] }], &Images::new()) {
        Ok(Planned::Plan(mut plan, _)) => Ok(plan.results.remove(0)),
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

#[test]
fn a_wrong_trigger_of_a_base_image_is_told_in_whole() {
    let told = |trigger: &str| {
        let document = kiln_dsl::parser::parse("FROM base AS app\n").document;
        let options = Options::new(Platform::parse("linux/amd64").expect("a platform"));
        let mut config = ImageConfig::default();
        config.config.on_build = vec![trigger.to_owned()];
        let known = KnownImage { key: ImageKey::from_bytes([0; 32]), config };
        let images = Images::from([(("base".to_owned(), options.platform.clone()), known)]);
        match plan(&[Wanted { document: &document, options: &options, stages: &[None] }], &images) {
            Err(PlanError::Findings(found)) => {
                found.iter().map(|one| format!("{} {:?}: {}\n", one.code, one.span, one.message)).collect::<String>()
            }
            other => panic!("no findings: {other:?}"),
        }
    };
    insta::assert_snapshot!([told("NONSENSE x"), told("RUN a\nRUN b"), told("COPY a")].join("\n"));
}

/// The names of all instructions of a plan for these platforms, and the number of its steps.
fn planned(text: &str, platforms: &[&str]) -> (Vec<String>, usize) {
    let document = kiln_dsl::parser::parse(text).document;
    let build_platform = Platform::parse("linux/amd64").expect("a platform");
    let options: Vec<Options> = platforms
        .iter()
        .map(|one| Options {
            platform: Platform::parse(one).expect("a platform"),
            ..Options::new(build_platform.clone())
        })
        .collect();
    let wanted: Vec<Wanted<'_>> =
        options.iter().map(|options| Wanted { document: &document, options, stages: &[None] }).collect();
    match plan(&wanted, &Images::new()) {
        Ok(Planned::Plan(plan, _)) => (plan.shown.iter().map(|shown| shown.name.clone()).collect(), plan.graph.len()),
        other => panic!("no plan: {other:?}"),
    }
}

#[test]
fn what_two_platforms_have_in_common_is_planned_once() {
    let text = "FROM --platform=$BUILDPLATFORM kiln/host AS build\nRUN deps\nARG TARGETARCH\nCOPY src /\nRUN make\n\
                FROM scratch\nCOPY --from=build /out /\n";
    let (names, steps) = planned(text, &["linux/amd64", "linux/arm64", "linux/arm/v7"]);
    // kiln/host, RUN deps and COPY src once; RUN make and the last COPY for each.
    assert_eq!(steps, 3 + 2 * 3);
    assert_eq!(names.iter().filter(|name| name.ends_with("RUN deps")).count(), 1);
    assert_eq!(names.iter().filter(|name| name.ends_with("COPY src /")).count(), 1);
    let makes: Vec<&str> = names.iter().filter(|name| name.ends_with("RUN make")).map(String::as_str).collect();
    assert_eq!(
        makes,
        [
            "[linux/amd64 build 5/5] RUN make",
            "[linux/amd64->arm64 build 5/5] RUN make",
            "[linux/amd64->arm/v7 build 5/5] RUN make",
        ]
    );
}

#[test]
fn a_stage_depends_on_the_target_through_an_argument_before_the_first_from_and_through_another_stage() {
    let text = "ARG SUFFIX=-$TARGETARCH\nFROM scratch AS files\nCOPY a /\n\
                FROM --platform=$BUILDPLATFORM kiln/host AS named\nARG SUFFIX\nRUN named\n\
                FROM --platform=$BUILDPLATFORM kiln/host AS packed\nCOPY --from=files / /\nRUN packed\n\
                FROM --platform=$BUILDPLATFORM kiln/host AS neither\nRUN neither\n\
                FROM scratch\nCOPY --from=named / /\nCOPY --from=packed / /\nCOPY --from=neither / /\n";
    let (names, _) = planned(text, &["linux/amd64", "linux/arm64"]);
    let of = |command: &str| names.iter().filter(|name| name.ends_with(command)).cloned().collect::<Vec<_>>();
    assert_eq!(of("RUN named"), ["[linux/amd64 named 3/3] RUN named", "[linux/amd64->arm64 named 3/3] RUN named"]);
    // Its files are the same for both, and so is what is made of them.
    assert_eq!(of("RUN packed"), ["[linux/amd64 packed 3/3] RUN packed"]);
    assert_eq!(of("RUN neither"), ["[linux/amd64 neither 2/2] RUN neither"]);
}

#[test]
fn what_an_if_decides_by_the_platform_is_of_that_platform() {
    let names = |text: &str| {
        let document = kiln_dsl::parser::parse_as(text, kiln_dsl::extended::Dialect::Kiln).document;
        let build_platform = Platform::parse("linux/amd64").expect("a platform");
        let all = ["linux/amd64", "linux/arm64"].map(|one| Options {
            platform: Platform::parse(one).expect("a platform"),
            ..Options::new(build_platform.clone())
        });
        let chosen = all.each_ref().map(|options| choose(&document, options, Unroll::All).expect("a choice"));
        let wanted: Vec<Wanted<'_>> =
            all.iter().zip(&chosen).map(|(options, document)| Wanted { document, options, stages: &[None] }).collect();
        match plan(&wanted, &Images::new()) {
            Ok(Planned::Plan(plan, _)) => plan.shown.iter().map(|shown| shown.name.clone()).collect::<Vec<_>>(),
            other => panic!("no plan: {other:?}"),
        }
    };
    let within = "FROM --platform=$BUILDPLATFORM kiln/host AS build\nRUN before\nIF TARGETARCH == \"arm64\"\nRUN arm\nELSE\n\
                  RUN other\nEND\nRUN after\nFROM --platform=$BUILDPLATFORM kiln/host AS next\nRUN next\n\
                  FROM scratch\nCOPY --from=build / /\nCOPY --from=next / /n\n";
    let around = "IF TARGETARCH == \"arm64\"\nARG V=1\nFROM --platform=$BUILDPLATFORM kiln/host AS build\nRUN arm\nELSE\nARG V=2\n\
                  FROM --platform=$BUILDPLATFORM kiln/host AS build\nRUN other\nEND\n\
                  FROM --platform=$BUILDPLATFORM kiln/host AS args\nARG V\nRUN args\n\
                  FROM --platform=$BUILDPLATFORM kiln/host AS neither\nRUN neither\n\
                  FROM scratch\nCOPY --from=build / /\nCOPY --from=args / /a\nCOPY --from=neither / /n\n";
    let below = "ARG IS_ARM=$TARGETARCH\nFROM --platform=$BUILDPLATFORM kiln/host AS build\nIF IS_ARM == \"arm64\"\nLABEL a=1\nEND\n\
                 FROM --platform=$BUILDPLATFORM kiln/host AS user\nCOPY --from=build / /\nRUN used\nFROM scratch\nCOPY --from=user / /\n";
    insta::assert_snapshot!([within, around, below].map(|text| names(text).join("\n")).join("\n\n"));
}

#[test]
fn one_platform_is_not_told() {
    let (names, steps) = planned("FROM scratch\nCOPY a /\n", &["linux/arm64"]);
    assert_eq!((names.as_slice(), steps), (["[1/2] FROM scratch", "[2/2] COPY a /"].map(String::from).as_slice(), 1));
}

/// The whole plan of a real file, whose images all set nothing.
fn whole(text: &str, dialect: kiln_dsl::extended::Dialect) -> String {
    let options = Options::new(Platform::parse("linux/amd64").expect("a platform"));
    let parsed = kiln_dsl::parser::parse_as(text, dialect);
    let document = match choose(&parsed.document, &options, Unroll::All) {
        Ok(document) => document,
        Err(findings) => return format!("{findings:?}"),
    };
    let mut images = Images::new();
    loop {
        let wanted = [Wanted { document: &document, options: &options, stages: &[None] }];
        match plan(&wanted, &images) {
            Ok(Planned::Needs(needs)) => {
                for need in needs {
                    let key = ImageKey::from(blake3::hash(need.name.as_bytes()));
                    let known = KnownImage { key, config: scratch(&need.platform) };
                    images.insert((need.name, need.platform), known);
                }
            }
            Ok(Planned::Plan(plan, findings)) => return format!("{plan:?} {findings:?}"),
            Err(error) => return format!("{error:?}"),
        }
    }
}

#[test]
fn every_real_dockerfile_is_planned_the_same_as_a_kiln_file() {
    use kiln_dsl::extended::Dialect;
    let beside = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or_else(beside, std::path::PathBuf::from).join("dockerfiles.jsonl");
    let Ok(cases) = std::fs::read_to_string(&path) else {
        let required = std::env::var_os("KILN_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "no corpus at {}", path.display());
        return println!("skipped: corpus (KILN_CORPUS)");
    };
    let (mut files, mut plans) = (0, 0);
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
        let text = case["text"].as_str().expect("text");
        let docker = kiln_dsl::parser::parse(text);
        let kiln = kiln_dsl::parser::parse_as(text, Dialect::Kiln);
        assert_eq!(docker.has_errors(), kiln.has_errors(), "{}", case["path"]);
        if docker.has_errors() {
            continue;
        }
        files += 1;
        let planned = whole(text, Dialect::Dockerfile);
        plans += usize::from(planned.starts_with("Plan {"));
        assert_eq!(planned, whole(text, Dialect::Kiln), "{}", case["path"]);
    }
    assert!(files > 400 && plans > 350, "{files} files, {plans} plans");
}

//! Each check with a file that breaks it and its twin that does not.

use super::*;
use crate::parser;

/// What a test chooses; the rest is a build for linux/amd64 on itself.
#[derive(Default)]
struct World {
    build_args: Vec<(String, String)>,
    ignore: Option<Ignore>,
    target: Option<&'static str>,
    base: Option<Base>,
}

impl World {
    fn of(&self, text: &str) -> Report {
        let parsed = parser::parse(text);
        assert!(!parsed.has_errors(), "{text}: {:?}", parsed.diagnostics);
        let platform = Platform::parse("linux/amd64").unwrap();
        let base = |_: &str, _: &Platform| self.base.clone();
        check(
            &parsed,
            &Options {
                build_args: &self.build_args,
                target: self.target,
                all_stages: true,
                platform: &platform,
                build_platform: &platform,
                ignore: self.ignore.as_ref(),
                base: &base,
            },
        )
    }
}

/// Findings and errors, each as `Rule 'place' (lines): message [help]`.
fn told_of(report: &Report, text: &str) -> String {
    let at = |span: Span| text[span.start as usize..span.end as usize].replace('\n', "\\n");
    let finding = |one: &Finding| {
        let lines = if one.lines.0 == one.lines.1 {
            one.lines.0.to_string()
        } else {
            format!("{}-{}", one.lines.0, one.lines.1)
        };
        let related: String = one.related.iter().map(|(span, word)| format!("\n  '{}': {word}", at(*span))).collect();
        format!("{} '{}' ({lines}): {} [{}]{related}", one.rule, at(one.span), one.message, one.help)
    };
    let findings = report.findings.iter().map(finding);
    let errors = report.errors.iter().map(|one| format!("error {} '{}': {}", one.code, at(one.span), one.message));
    findings.chain(errors).collect::<Vec<_>>().join("\n")
}

fn told(text: &str) -> String {
    told_of(&World::default().of(text), text)
}

/// That exactly `rule` is broken by each of the texts.
fn breaks(rule: Rule, texts: &[&str]) -> String {
    let mut all = String::new();
    for text in texts {
        let report = World::default().of(text);
        assert!(report.findings.iter().any(|finding| finding.rule == rule), "{text}: {report:?}");
        assert!(report.findings.iter().all(|finding| finding.rule == rule), "{text}: {report:?}");
        all += &told_of(&report, text);
        all.push('\n');
    }
    all
}

fn clean(texts: &[&str]) {
    for text in texts {
        assert_eq!(told(text), "", "{text}");
    }
}

#[test]
fn stage_names_are_in_lower_case() {
    insta::assert_snapshot!(breaks(Rule::StageNameCasing, &["FROM alpine AS Build"]));
    clean(&["FROM alpine AS build"]);
}

#[test]
fn as_is_written_like_from() {
    insta::assert_snapshot!(breaks(Rule::FromAsCasing, &["FROM alpine as build", "from alpine AS build"]));
    clean(&["FROM alpine AS build", "from alpine as build"]);
}

#[test]
fn a_continued_instruction_has_no_empty_line() {
    insta::assert_snapshot!(breaks(
        Rule::NoEmptyContinuation,
        &["FROM alpine\nRUN a \\\n\n  b", "FROM alpine\nRUN <<E \\\n\n cat\nx\nE\nUSER a"]
    ));
    clean(&["FROM alpine\nRUN a \\\n# c\n  b"]);
}

#[test]
fn keywords_are_written_like_most_of_them() {
    insta::assert_snapshot!(breaks(
        Rule::ConsistentInstructionCasing,
        &["FROM alpine\nRun a", "from alpine\nrun a\nRUN b", "FROM alpine\nrun a"]
    ));
    clean(&["FROM alpine\nRUN a", "from alpine\nrun a", "arg A=1\nFROM alpine:$A"]);
}

#[test]
fn a_stages_name_stands_once() {
    insta::assert_snapshot!(breaks(
        Rule::DuplicateStageName,
        &["FROM alpine AS a\nFROM a\nFROM busybox AS a\nFROM a\nCOPY --from=1 x /"]
    ));
    clean(&["FROM alpine AS a\nFROM busybox AS b\nCOPY --from=a x /"]);
}

#[test]
fn some_names_are_reserved() {
    insta::assert_snapshot!(breaks(Rule::ReservedStageName, &["FROM alpine AS scratch", "FROM alpine AS context"]));
    clean(&["FROM alpine AS scratch-pad"]);
}

#[test]
fn commands_of_the_image_are_json() {
    insta::assert_snapshot!(breaks(
        Rule::JSONArgsRecommended,
        &["FROM alpine\nCMD sleep 1", "FROM alpine\nENTRYPOINT exec $APP", "from alpine\ncmd"]
    ));
    clean(&[
        "FROM alpine\nCMD [\"a\"]",
        "FROM alpine\nSHELL [\"bash\", \"-c\"]\nCMD a",
        "FROM alpine AS a\nSHELL [\"bash\", \"-c\"]\nFROM a\nCMD a\nHEALTHCHECK CMD a",
    ]);
}

#[test]
fn maintainer_is_deprecated() {
    insta::assert_snapshot!(breaks(Rule::MaintainerDeprecated, &["FROM alpine\nMAINTAINER a \"b\" <c@d>"]));
    clean(&["FROM alpine\nLABEL maintainer=a"]);
}

#[test]
fn from_uses_declared_arguments() {
    insta::assert_snapshot!(breaks(
        Rule::UndefinedArgInFrom,
        &[
            "ARG VERSION=1\nFROM alpine:${VERSON:-$VERSION}",
            "FROM --platform=${BUILDPLATFROM:-$BUILDPLATFORM} alpine",
            "FROM alpine${X}"
        ]
    ));
    clean(&["ARG V=1\nFROM alpine:$V", "ARG V\nFROM alpine$V", "FROM --platform=$BUILDPLATFORM alpine"]);
}

#[test]
fn the_first_workdir_is_absolute() {
    insta::assert_snapshot!(breaks(
        Rule::WorkdirRelativePath,
        &["FROM alpine\nWORKDIR ./app", "FROM alpine AS a\nWORKDIR /a\nFROM alpine\nWORKDIR b\nCOPY --from=a x y"]
    ));
    clean(&[
        "FROM alpine\nWORKDIR /a\nWORKDIR b",
        "FROM alpine AS a\nWORKDIR /a\nFROM a\nWORKDIR b",
        "FROM alpine\nENV A=/a\nWORKDIR $A",
    ]);
}

#[test]
fn variables_are_declared_above_their_use() {
    insta::assert_snapshot!(breaks(
        Rule::UndefinedVar,
        &[
            "FROM alpine\nCOPY $A /",
            "FROM alpine\nARG VERSION\nENV V=$VERSON\nRUN x",
            "ARG A=1\nFROM alpine:$A\nENV B=$A C=$D",
            "FROM alpine\nCOPY <<E /f\n$A\nE",
            "FROM alpine\nENV a=1 b=$a",
            "FROM alpine\nLABEL ${k}=v",
            "FROM alpine\nUSER $u\nVOLUME /$v\nRUN --mount=type=cache,target=/$t,id=$i x",
            "FROM alpine\nENV A=${A:-x}"
        ]
    ));
    clean(&[
        "FROM alpine\nARG A\nCOPY $A /",
        "FROM alpine\nENV P=$PATH",
        "FROM alpine\nRUN echo $A",
        "FROM alpine\nCOPY <<'E' /f\n$A\nE",
        "FROM alpine\nEXPOSE $A 80",
        "FROM alpine\nENV A=1\nENV B=$A",
        "FROM alpine\nCMD [\"$A\"]",
        "FROM alpine AS a\nENV A=1\nFROM a\nENV B=$A",
    ]);
}

#[test]
fn of_some_instructions_only_the_last_counts() {
    insta::assert_snapshot!(breaks(
        Rule::MultipleInstructionsDisallowed,
        &[
            "FROM alpine\nCMD [\"a\"]\nCMD [\"b\"]",
            "FROM alpine\nENTRYPOINT [\"a\"]\nRUN x\nENTRYPOINT [\"b\"]",
            "FROM alpine\nHEALTHCHECK NONE\nHEALTHCHECK CMD a"
        ]
    ));
    clean(&["FROM alpine AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]", "FROM alpine\nCMD [\"a\"]\nENTRYPOINT [\"b\"]"]);
}

#[test]
fn keys_and_values_are_joined_by_an_equals_sign() {
    insta::assert_snapshot!(breaks(
        Rule::LegacyKeyValueFormat,
        &["FROM alpine\nENV a b c", "FROM alpine\nLABEL a \"b\"\nLABEL a b \"c\"\nENV a 'b c'"]
    ));
    clean(&["FROM alpine\nENV a=b", "FROM alpine\nONBUILD ENV a b"]);
}

#[test]
fn the_target_platform_is_the_default() {
    insta::assert_snapshot!(breaks(
        Rule::RedundantTargetPlatform,
        &["FROM --platform=$TARGETPLATFORM alpine", "FROM --platform=${TARGETPLATFORM} alpine"]
    ));
    clean(&["FROM --platform=$BUILDPLATFORM alpine", "FROM --platform=linux/$TARGETARCH alpine"]);
}

#[test]
fn secrets_are_no_variables() {
    insta::assert_snapshot!(breaks(
        Rule::SecretsUsedInArgOrEnv,
        &["FROM alpine\nARG GITHUB_TOKEN\nRUN x", "FROM alpine\nENV db_password=a API_KEY=b"]
    ));
    clean(&[
        "FROM alpine\nARG TOKEN_FILE PUBLIC_KEY\nRUN x",
        "FROM alpine\nENV KEYBOARD=us",
        "ARG TOKEN=alpine\nFROM $TOKEN",
    ]);
}

#[test]
fn defaults_name_an_image() {
    let world = World { build_args: vec![("TAG".to_owned(), "1".to_owned())], ..World::default() };
    let text = "ARG TAG\nFROM busybox:$TAG AS a\nFROM a";
    insta::assert_snapshot!(told_of(&world.of(text), text));
    clean(&[
        "ARG TAG=1\nFROM busybox:$TAG",
        "FROM ghcr.io/a/b:c@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ]);
}

#[test]
fn a_platform_is_no_constant() {
    insta::assert_snapshot!(breaks(
        Rule::FromPlatformFlagConstDisallowed,
        &["FROM --platform=linux/arm64 alpine", "FROM --platform=amd64 alpine AS build"]
    ));
    clean(&[
        "FROM --platform=linux/arm64 alpine AS build_arm64",
        "FROM --platform=linux/arm64 alpine AS linux",
        "FROM --platform=$BUILDPLATFORM alpine",
    ]);
}

#[test]
fn a_protocol_is_in_lower_case() {
    insta::assert_snapshot!(breaks(Rule::ExposeProtoCasing, &["FROM alpine\nEXPOSE 80/TCP 81/uDp"]));
    clean(&["FROM alpine\nEXPOSE 80/tcp 81"]);
}

#[test]
fn a_port_is_not_mapped() {
    insta::assert_snapshot!(breaks(Rule::ExposeInvalidFormat, &["FROM alpine\nEXPOSE 127.0.0.1:8080:80/udp 90:91"]));
    clean(&["FROM alpine\nEXPOSE 80 90-91/udp"]);
}

#[test]
fn packages_are_installed_before_everything_is_copied() {
    insta::assert_snapshot!(breaks(
        Rule::CopyBeforeInstall,
        &[
            "FROM node\nCOPY . .\nRUN npm ci && npm run build",
            "FROM alpine\nADD ./ /src\nRUN <<E\nset -e\napk add git\npip3 install -r requirements.txt\nE",
            "FROM golang\nCOPY / /src\nRUN [\"go\", \"mod\", \"download\"]",
            "FROM python\nCOPY . .\nRUN python3 -m pip install flask"
        ]
    ));
    clean(&[
        "FROM node\nCOPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm ci --omit=dev",
        "FROM python\nCOPY . .\nRUN pip install . && pip install -e .",
        "FROM node\nCOPY src .\nRUN npm ci",
        "FROM alpine\nCOPY . .\nRUN make && go mod tidy && echo npm ci",
        "FROM debian\nCOPY . .\nRUN apt-get install -y ./a.deb",
        "FROM alpine AS a\nFROM alpine\nCOPY --from=a . .\nRUN apk add git",
    ]);
}

#[test]
fn a_part_of_a_key_decides_something() {
    insta::assert_snapshot!(breaks(
        Rule::NeedlessKeyPart,
        &[
            "FROM a\n# kiln: --key=default + files(\"go.sum\")\nRUN true",
            "FROM a\n# kiln: --key=parent + json(\"package.json\", \".dependencies\")\nRUN true",
            "FROM a\n# kiln: --key=default + env(HOME)\nRUN true",
            "FROM a\n# kiln: KEY deps = default + parent\n# kiln: --key=deps\nRUN true",
            "FROM a\n# kiln: --key=files(\"go.sum\") + platform\nRUN true"
        ]
    ));
    clean(&[
        "FROM a\n# kiln: --key=default - parent + files(\"go.sum\")\nRUN true",
        "FROM a\n# kiln: --key=default + files(\"context:go.sum\")\nRUN true",
        "FROM a\n# kiln: --key=default + time(\"1d\")\nRUN true",
        "FROM a\n# kiln: --key=traced + files(\"go.sum\")\nRUN true",
        "FROM a\n# kiln: --key=default - env(HOME)\nRUN true",
    ]);
}

#[test]
fn a_cache_mount_is_used() {
    insta::assert_snapshot!(breaks(
        Rule::UnusedCacheMount,
        &[
            "FROM node\nRUN --mount=type=cache,target=/root/.npm mkdir -p /a && yarn install",
            "FROM python\nRUN --mount=type=cache,target=/root/.cache/pip pip install --no-cache-dir flask",
            "FROM alpine\nRUN --mount=type=cache,target=/var/cache/apk apk add --no-cache git"
        ]
    ));
    clean(&[
        "FROM node\nRUN --mount=type=cache,target=/root/.npm npm ci",
        "FROM node\nRUN --mount=type=cache,target=/root/.npm make",
        "FROM node\nRUN --mount=type=cache,target=/root/.npm ls /root/.npm",
        "FROM a\nRUN --mount=type=cache,target=/var/my echo",
        "FROM a\nRUN --mount=type=cache,target=/root/.cache/pip /usr/local/bin/pip3 install a",
    ]);
}

#[test]
fn an_argument_is_used() {
    insta::assert_snapshot!(breaks(
        Rule::UnusedArg,
        &[
            "ARG V=1\nFROM alpine",
            "FROM alpine\nRUN x\nARG V=1",
            "FROM alpine AS a\nARG V\nFROM busybox\nCOPY --from=a /x /x"
        ]
    ));
    clean(&[
        "ARG V=1\nFROM alpine:$V",
        "ARG V=1\nFROM alpine\nARG V\nRUN x",
        "ARG A=1\nARG B=$A\nFROM alpine:$B",
        "FROM alpine\nARG V\nLABEL v=$V",
        "FROM alpine AS a\nARG V\nFROM a\nRUN x",
        "FROM alpine\nARG TARGETARCH HTTP_PROXY",
        "FROM alpine\nARG V\nCOPY <<E /f\n${V}\nE",
    ]);
}

#[test]
fn a_stage_is_used() {
    insta::assert_snapshot!(breaks(
        Rule::UnusedStage,
        &["FROM alpine AS a\nFROM busybox", "FROM alpine\nFROM busybox"]
    ));
    clean(&[
        "FROM alpine AS a\nFROM a",
        "FROM alpine AS a\nFROM busybox\nCOPY --from=a x /",
        "FROM alpine\nFROM busybox\nRUN --mount=from=0,target=/x y\nCOPY --from=0 a b",
        "FROM alpine AS test\nFROM alpine AS lint\nFROM busybox",
        "FROM alpine AS lint\n# kiln: CHECK lint\nFROM busybox",
        "FROM alpine AS a\nFROM busybox AS b\n# kiln: TARGET all = a + b\n",
        "FROM alpine AS a\nFROM busybox\nRUN --mount=from=a,target=/x y",
    ]);
}

#[test]
fn what_the_ignore_file_excludes_is_not_copied() {
    let told = |ignore: &str, text: &str| {
        let world = World { ignore: Some(Ignore::parse(ignore).unwrap()), ..World::default() };
        told_of(&world.of(text), text)
    };
    let text = "FROM alpine\nCOPY a/b.log src /x/\nADD ./src/../src/y https://h/src /x\nCOPY --from=busybox src /x";
    insta::assert_snapshot!(told("*.md\n**/*.log\nsrc\n", text));
    insta::assert_snapshot!(told("**\n", "FROM alpine\nCOPY . /x\nCOPY x /x"));
    assert_eq!(told("*.log\n!a/b.log\n", text), "");
    assert_eq!(told("*\n!src\n", "FROM alpine\nCOPY . /x"), "");
    assert_eq!(told("src\n", "FROM alpine\nCOPY . /x"), "");
}

#[test]
fn descriptions_are_checked_where_the_file_asks_for_it() {
    let text = "# check=experimental=all\n# base The base.\nFROM alpine AS base\n# Version.\nARG V\n# A B\nARG A B=1\n\
                # X.\nARG X Y\n# x\n#\nARG Z\n# check=skip=UndefinedVar\nARG W\nRUN x";
    insta::assert_snapshot!(told(text));
    clean(&["# Base.\nFROM alpine AS base"]);
}

#[test]
fn an_image_for_another_platform_is_told() {
    let arm = Base { platform: Some(Platform::parse("linux/arm64/v8").unwrap()), ..Base::default() };
    let world = World { base: Some(arm), ..World::default() };
    let text = "FROM alpine AS a\nFROM --platform=linux/arm64 alpine AS arm64\nCOPY --from=a x /\nFROM scratch AS b\nFROM b\nCOPY --from=arm64 x /";
    insta::assert_snapshot!(told_of(&world.of(text), text));
}

#[test]
fn what_is_known_of_a_base_counts() {
    let base = Base {
        env: vec![("NODE_VERSION".to_owned(), "22".to_owned())],
        has_shell: true,
        on_build: vec!["COPY $SRC /".to_owned(), "ENV a b".to_owned()],
        platform: None,
    };
    let world = World { base: Some(base), ..World::default() };
    let text = "FROM node\nENV V=$NODE_VERSION\nCMD a";
    insta::assert_snapshot!(told_of(&world.of(text), text));
}

#[test]
fn checks_are_skipped_for_a_file_for_an_instruction_and_by_a_build_argument() {
    let broken = "FROM alpine AS Build\nMAINTAINER a\nCOPY $A $B\nCMD a\n";
    assert_eq!(World::default().of(broken).findings.len(), 5);
    assert_eq!(told(&format!("# check=skip=all\n{broken}")), "");
    let some = format!("# check=skip=UndefinedVar,JSONArgsRecommended;error=true\n{broken}");
    let report = World::default().of(&some);
    assert_eq!(report.violations(), [Rule::StageNameCasing, Rule::MaintainerDeprecated]);
    let one = "FROM alpine\n# check=skip=UndefinedVar\n# another comment\nCOPY $A /\nCOPY $B /\n# check=skip=all\n#\nCOPY $C /";
    insta::assert_snapshot!(told(one));
    let given = |value: &str| World { build_args: vec![(CHECK_ARG.to_owned(), value.to_owned())], ..World::default() };
    assert_eq!(given("skip=all").of(broken).findings, []);
    assert_eq!(given("").of(&some).findings.len(), 5);
    assert!(!given("").of(&some).error_on_findings && given("error=1").of(broken).error_on_findings);
    insta::assert_snapshot!(told_of(&given("skipp=a").of("FROM alpine"), "FROM alpine"));
}

#[test]
fn advice_is_no_violation() {
    let report = World::default().of("# check=error=true\nFROM alpine AS a\nFROM busybox");
    assert_eq!((report.findings.len(), report.violations()), (1, vec![]));
    assert!(report.findings[0].rule.is_advice());
}

#[test]
fn only_the_stages_of_a_target_are_walked() {
    let text = "FROM alpine AS a\nCOPY $A /\nFROM alpine AS b\nCOPY $B /\nFROM a AS c\nCOPY $C /\nFROM b AS d\nCOPY --from=c x /";
    let names = |target: Option<&'static str>| -> Vec<String> {
        let report = World { target, ..World::default() }.of(text);
        let undefined = report.findings.iter().filter(|finding| finding.rule == Rule::UndefinedVar);
        undefined.map(|finding| finding.message.chars().rev().nth(1).unwrap_or_default().to_string()).collect()
    };
    assert_eq!(names(None), ["A", "B", "C"]);
    assert_eq!(names(Some("c")), ["A", "C"]);
    assert_eq!(names(Some("b")), ["B"]);
    assert_eq!(names(Some("nothing")), [""; 0]);
}

#[test]
fn what_has_no_value_is_an_error_that_ends_its_stage_only() {
    let text = "ARG E=${\nFROM alpine\nENV a=\"x\nCOPY $A /\nFROM Alpine\nFROM ${N}\nFROM --platform=x/y/z/w alpine\nEXPOSE 99999\nFROM alpine\nRUN --mount=type=$T x\nCOPY <<E /\n${x/y}\nE\nCOPY $B /";
    insta::assert_snapshot!(told(text));
}

//! What matrices come to: the stages of a file as they would be written by hand, and what is told of wrong ones.

use crate::plan::{Images, Options, PlanError, Planned, Step, Unroll, Wanted, choose, plan};
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser;
use kiln_dsl::platform::Platform;
use proptest::prelude::*;

/// Everything that a plan says, spans and lines apart, or what is wrong.
fn planned(text: &str, options: &Options) -> Result<String, String> {
    let told = |all: Vec<Diagnostic>| {
        let line = |one: &Diagnostic| {
            let place = &text[one.span.start as usize..one.span.end as usize];
            let help = one.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
            format!("{} '{}': {}{help}", one.code, place.replace('\n', "\\n"), one.message)
        };
        all.iter().filter(|one| one.severity == Severity::Error).map(line).collect::<Vec<_>>().join("\n")
    };
    let parsed = parser::parse_as(text, Dialect::Kiln);
    if parsed.has_errors() {
        return Err(told(parsed.diagnostics));
    }
    let document = choose(&parsed.document, options, Unroll::All).map_err(told)?;
    choose(&parsed.document, options, Unroll::One).map_err(told)?;
    match plan(
        &[Wanted { document: &document, options, stages: std::slice::from_ref(&options.target) }],
        &Images::new(),
    ) {
        Ok(Planned::Plan(plan, _)) => {
            let shown = plan.shown.iter().map(|one| format!("{} | {:?}", one.name, one.node));
            let nodes = plan.graph.nodes().map(|(id, step)| {
                let Step { kind, parent, shown, stage, ordinal } = step;
                let kind = format!("{kind:?}");
                // The place of a source counts for nothing.
                let kind =
                    regex_lite::Regex::new(r"Span \{[^}]*\}").expect("a pattern").replace_all(&kind, "-").into_owned();
                let inputs: Vec<usize> = plan.graph.inputs(id).map(|id| id.index()).collect();
                format!("{id:?} {kind} {parent:?} {shown} {stage} {ordinal} {inputs:?}")
            });
            let target = format!("{:?}", plan.results);
            Ok(shown.chain(nodes).chain([target]).collect::<Vec<_>>().join("\n"))
        }
        Ok(Planned::Needs(needs)) => Ok(format!("{:?}", needs.iter().map(|need| &need.name).collect::<Vec<_>>())),
        Err(PlanError::Findings(all)) => Err(told(all)),
        Err(PlanError::UnknownTarget { stages, .. }) => Err(format!("no target; stages {stages:?}")),
    }
}

fn options(target: Option<&str>, args: &[(&str, &str)]) -> Options {
    let mut options = Options::new(Platform::parse("linux/amd64").expect("a platform"));
    options.target = target.map(str::to_owned);
    options.build_args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    options
}

/// Names of branches as they can be written by hand.
fn by_hand(text: &str) -> String {
    text.replace('[', "-").replace("] ", " ").replace(']', "").replace(',', "-")
}

fn same(matrix: &str, hand: &str, options: &Options) {
    let (matrix, hand) = (planned(matrix, options), planned(hand, options));
    // Signs of the texts are replaced in both, so that only what differs shows.
    assert_eq!(matrix.as_deref().map(by_hand), hand.as_deref().map(by_hand));
    assert!(matrix.is_ok(), "{matrix:?}");
}

#[test]
fn a_matrix_is_its_branches_written_by_hand() {
    let matrix = "ARG OSES=\"a b\"\nFROM scratch AS t FOR PY IN 3.11 3.12 FOR OS IN ${OSES} EXCEPT PY=3.11 OS=a\n\
                  ENV V=$PY\nIF PY >= 3.12 and OS == \"b\"\nLABEL last=$OS\nEND\nCOPY x /x$OS\n\
                  FROM scratch\nCOPY --from=t[*] /x /r/{PY}/{OS}\nCOPY --from=t[3.12,a] /x /one\n";
    let stage = |py: &str, os: &str, more: &str| {
        format!("FROM scratch AS t-{py}-{os}\nARG PY={py} OS={os}\nENV V=$PY\n{more}COPY x /x$OS\n")
    };
    let hand = [
        "ARG OSES=\"a b\"\n".to_owned(),
        stage("3.11", "b", ""),
        stage("3.12", "a", ""),
        stage("3.12", "b", "LABEL last=$OS\n"),
    ]
    .concat();
    let copies: String = [("3.11", "b"), ("3.12", "a"), ("3.12", "b")]
        .map(|(py, os)| format!("COPY --from=t-{py}-{os} /x /r/{py}/{os}\n"))
        .concat();
    let hand = format!("{hand}FROM scratch\n{copies}COPY --from=t-3.12-a /x /one\n");
    same(matrix, &hand, &options(None, &[]));
}

#[test]
fn branches_stand_on_branches_and_mounts_read_them() {
    let matrix = "FROM scratch AS a FOR X IN 1 2\nCOPY a$X /\n\
                  FROM a[${X}] AS b FOR X IN 1 2\nCOPY --from=a[${X}] / /two\nRUN --mount=type=bind,from=a[$X],target=/m [\"x\"]\n\
                  FROM b[2]\nCOPY --from=b[1] / /b1\n";
    let one = |x: u8| format!("FROM scratch AS a-{x}\nARG X={x}\nCOPY a$X /\n");
    let two = |x: u8| {
        format!(
            "FROM a-{x} AS b-{x}\nARG X={x}\nCOPY --from=a-{x} / /two\nRUN --mount=type=bind,from=a-{x},target=/m [\"x\"]\n"
        )
    };
    let hand = [one(1), one(2), two(1), two(2), "FROM b-2\nCOPY --from=b-1 / /b1\n".to_owned()].concat();
    let (matrix, hand) = (planned(matrix, &options(None, &[])), planned(&hand, &options(None, &[])));
    let plain = |text: &str| by_hand(text).replace("$X", "1").replace("${X}", "1").replace("a-2,target", "a-1,target");
    assert_eq!(matrix.as_deref().map(plain), hand.as_deref().map(plain));
    assert!(matrix.is_ok(), "{matrix:?}");
}

#[test]
fn a_branch_is_a_target_and_its_variable_is_its_own() {
    let text = "ARG X=9\nFROM img:${X} AS t FOR X IN 1 B\nRUN x\n";
    assert_eq!(planned(text, &options(Some("t[b]"), &[("X", "7")])).unwrap(), "[\"img:B\"]");
    assert_eq!(planned(text, &options(Some("T[1]"), &[])).unwrap(), "[\"img:1\"]");
    assert_eq!(planned(text, &options(Some("t"), &[])), Err("no target; stages [\"t[1]\", \"t[b]\"]".to_owned()));
}

#[test]
fn a_converted_file_is_planned_as_the_one_it_was_made_of() {
    let text = "ARG FAST=1\nDEF say(what)\nRUN [\"echo\", \"$what\"]\nCOPY <<-E /said\n\t$what\nE\nEND\n\
                FROM scratch AS t FOR X IN 1 2 FOR Y IN a:1 b/2\nUSE say(\"hello $X\")\nEXPORT /out AS \"out/$X\"\n\
                FROM t[2,b/2] AS last\nCOPY --from=t[*] --chmod=600 /a /a/{X}/{Y}\nIF FAST\n\
                # kiln: --key=default - parent + env(X)\nRUN --mount=from=t[1,a:1],target=/m [\"fast\"]\nELSE\nRUN [\"slow\"]\nEND\n";
    for args in [&[][..], &[("FAST", "0")]] {
        let options = options(None, args);
        let document = choose(&parser::parse_as(text, Dialect::Kiln).document, &options, Unroll::All).unwrap();
        let printed = kiln_dsl::convert::dockerfile(&document, None).unwrap();
        let parsed = parser::parse(&printed);
        assert!(!parsed.has_errors(), "{printed}: {:?}", parsed.diagnostics);
        let signs = |text: &str| by_hand(text).replace(['/', ':'], "-");
        let (before, after) = (planned(text, &options), planned(&printed, &options));
        assert_eq!(after.as_deref().map(signs), before.as_deref().map(signs), "{printed}");
        assert!(before.is_ok(), "{before:?}");
    }
}

/// What is told of a file that ends in `text`.
fn wrong(text: &str) -> String {
    let text = format!("ARG NONE\nFROM scratch AS t FOR PY IN 1 2 FOR OS IN a b\nCOPY x /\n{text}");
    format!(
        "{}\n  {}",
        text.lines().skip(3).collect::<Vec<_>>().join("\n"),
        planned(&text, &options(None, &[])).unwrap_err().replace('\n', "\n  ")
    )
}

#[test]
fn what_is_wrong_with_a_matrix_is_told_with_its_place() {
    let all = [
        "FROM scratch FOR X IN 1",
        "FROM scratch AS u FOR",
        "FROM scratch AS u FOR a-b IN 1",
        "FROM scratch AS u FOR X",
        "FROM scratch AS u FOR X 1 2",
        "FROM scratch AS u FOR X IN",
        "FROM scratch AS u FOR X IN 1 FOR X IN 2",
        "FROM scratch AS u FOR X IN 1 1",
        "FROM scratch AS u FOR X IN a A",
        "FROM scratch AS u FOR X IN a,b",
        "FROM scratch AS u FOR X IN ${NONE}",
        "FROM scratch AS u FOR X IN ${NONE:?nothing}",
        "FROM scratch AS u FOR X IN 1 EXCEPT",
        "FROM scratch AS u FOR X IN 1 EXCEPT 1",
        "FROM scratch AS u FOR X IN 1 EXCEPT Y=1",
        "FROM scratch AS u FOR X IN 1 EXCEPT X=1 X=2",
        "FROM scratch AS u FOR X IN 1 EXCEPT X=2",
        "FROM scratch AS u FOR X IN 1 EXCEPT X=1",
        "FROM scratch AS t",
        "FROM t",
        "FROM t[1]",
        "FROM t[*]",
        "FROM t[3,a]",
        "FROM t[1,]",
        "FROM tt[1]",
        "FROM scratch\nCOPY --from=t / /",
        "FROM scratch\nCOPY --from=t[1,c] / /",
        "FROM scratch\nCOPY --from=t[*] / /{PY}",
        "FROM scratch\nCOPY --from=t[1,*] / /x",
        "FROM scratch\nCOPY --from=none[1] / /x",
        "FROM scratch\nRUN --mount=from=t[*],target=/m [\"x\"]",
        "FROM scratch\nRUN --mount=from=t,target=/m [\"x\"]",
        "FROM scratch\nIF PY == 1\nCOPY a b\nEND",
        "FROM scratch AS u FOR X IN 1 2\nIF X == 1\nFROM scratch\nEND\nCOPY a /",
    ];
    let texts: Vec<String> = all.iter().map(|text| wrong(text)).collect();
    insta::assert_snapshot!(texts.join("\n"));
    let many = format!("FROM scratch AS u {}", (0..8).map(|at| format!("FOR X{at} IN 1 2 3 4 ")).collect::<String>());
    assert!(wrong(&many).contains("65536 branches are more than"), "{}", wrong(&many));
}

proptest! {
    /// Whatever the lists are, a matrix is its product without the exceptions, written by hand.
    #[test]
    fn unrolling_by_hand_equals_the_matrix(
        xs in proptest::sample::subsequence(vec!["1", "2.5", "a-b", "C"], 1..4),
        ys in proptest::sample::subsequence(vec!["p", "q:1", "r/s"], 0..3),
        out in proptest::option::of((0_usize..4, 0_usize..3)),
        body in proptest::sample::subsequence(vec!["COPY a /$X", "ENV V=${X}", "RUN [\"y\"]", "WORKDIR /w$X", "IF X == \"1\"\nLABEL l=$X\nEND"], 0..5),
        target in any::<prop::sample::Index>(),
    ) {
        let ys_or_none: Vec<&str> = if ys.is_empty() { vec![""] } else { ys.clone() };
        let except = out.map(|(x, y)| (xs[x % xs.len()], ys_or_none[y % ys_or_none.len()]));
        let mut head = format!("FROM scratch AS t FOR X IN {}", xs.join(" "));
        if !ys.is_empty() {
            head += &format!(" FOR Y IN {}", ys.join(" "));
        }
        if let Some((x, y)) = except {
            head += &format!(" EXCEPT X={x}");
            if !ys.is_empty() {
                head += &format!(" Y={y}");
            }
        }
        let matrix = format!("{head}\n{}\n", body.join("\n"));
        let (mut hand, mut names) = (String::new(), Vec::new());
        for x in &xs {
            for y in &ys_or_none {
                if except == Some((*x, *y)) {
                    continue;
                }
                let y_part = if y.is_empty() { String::new() } else { format!(",{}", y.to_lowercase()) };
                names.push(format!("t[{}{y_part}]", x.to_lowercase()));
                // A name by hand may hold no sign of an image.
                let arg = if y.is_empty() { format!("ARG X={x}") } else { format!("ARG X={x} Y={y}") };
                let lines: Vec<String> = body.iter().filter_map(|line| match line.strip_prefix("IF X == \"1\"\n") {
                    None => Some((*line).to_owned()),
                    Some(inner) => (*x == "1").then(|| inner.replace("\nEND", "")),
                }).collect();
                hand += &format!("FROM scratch AS n{}\n{arg}\n{}\n", names.len(), lines.join("\n"));
            }
        }
        prop_assume!(!names.is_empty());
        let at = target.index(names.len());
        let (name, written) = (&names[at], format!("n{}", at + 1));
        let of_matrix = planned(&matrix, &options(Some(name), &[])).map(|plan| plan.replace(name, &written));
        let of_hand = planned(&hand, &options(Some(&written), &[]));
        prop_assert!(of_matrix.is_ok(), "{:?}", of_matrix);
        // A file with one stage of no name alone is shown without it; these all have names.
        prop_assert_eq!(&of_matrix, &of_hand);
        // What is printed for Docker is planned the same.
        let document = choose(&parser::parse_as(&matrix, Dialect::Kiln).document, &options(None, &[]), Unroll::All);
        let printed = kiln_dsl::convert::dockerfile(&document.expect("a document"), None).expect("a Dockerfile");
        let sign = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '-' };
        let converted: String = name.trim_end_matches(']').chars().map(sign).collect();
        prop_assert!(!parser::parse(&printed).has_errors(), "{}", printed);
        let of_printed = planned(&printed, &options(Some(&converted), &[])).map(|plan| plan.replace(&converted, &written));
        prop_assert_eq!(of_printed, of_hand, "{}", printed);
    }
}

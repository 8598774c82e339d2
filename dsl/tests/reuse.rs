//! INCLUDE, DEF and USE in whole files: what they come to, and what is told of wrong ones, with both places.

use kiln_dsl::ast::Command;
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser::{self, Parsed};
use kiln_dsl::source::Sources;
use kiln_dsl::span::Span;
use proptest::prelude::*;

/// The first of `files` with what it includes of the others.
fn read(files: &[(&str, &str)]) -> Parsed {
    let mut load = |path: &str| match files.iter().find(|(name, _)| *name == path) {
        Some((_, text)) => Ok((*text).to_owned()),
        None => Err("there is no such file".to_owned()),
    };
    let (name, text) = files[0];
    parser::parse_file(name, text, Dialect::of_file(name.as_ref()), &mut load)
}

/// The instructions of a sound file, heredocs behind them.
fn lines(files: &[(&str, &str)]) -> Vec<String> {
    let parsed = read(files);
    assert!(!parsed.has_errors(), "{files:?}: {:?}", parsed.diagnostics);
    let heredocs = |one: &kiln_dsl::ast::Instruction| {
        one.heredocs.iter().map(|one| format!("\n{}", one.content)).collect::<String>()
    };
    parsed.document.instructions.iter().map(|one| format!("{}{}", one.original, heredocs(one))).collect()
}

fn place(sources: &Sources, span: Span) -> String {
    let shown = sources.shown(span);
    let text = &shown.text[shown.span.start as usize..shown.span.end as usize];
    format!("{}:{} '{}'", shown.name, sources.line(span), text.replace('\n', "\\n"))
}

/// All that is told of the files, with every place.
fn told(files: &[(&str, &str)]) -> String {
    let parsed = read(files);
    let mut out = String::new();
    for one in &parsed.diagnostics {
        out +=
            &format!("{:?} {}: {}\n  at {}\n", one.severity, one.code, one.message, place(&parsed.sources, one.span));
        for (span, words) in one.related.iter().chain(&parsed.sources.trail(one.span)) {
            out += &format!("  {words}: {}\n", place(&parsed.sources, *span));
        }
        out += &one.help.as_ref().map(|help| format!("  [{help}]\n")).unwrap_or_default();
    }
    out
}

#[test]
fn an_included_file_stands_where_it_is_named() {
    let files = [
        ("build.kiln", "INCLUDE \"lib/base.kiln\"\nCOPY a /\nINCLUDE \"tail\"\nRUN <<E\nINCLUDE \"no\"\nE\n"),
        ("lib/base.kiln", "ARG V=1\nINCLUDE \"more.kiln\"\n"),
        ("lib/more.kiln", "IF V == 1\nFROM a AS b\nEND\n"),
        ("tail", "# syntax=x\nRUN \\\n  tail\n"),
    ];
    assert_eq!(lines(&files), ["ARG V=1", "FROM a AS b", "COPY a /", "RUN   tail", "RUN <<E\nINCLUDE \"no\"\n"]);
    let parsed = read(&files);
    let from = &parsed.document.instructions[1];
    assert_eq!(place(&parsed.sources, from.span), "lib/more.kiln:2 'FROM a AS b'");
    assert_eq!((from.first_line, from.last_line), (2, 2));
}

#[test]
fn a_use_is_the_body_with_its_parameters_replaced() {
    let text = "DEF apt(packages, flags=\"-y\")\n# $packages\nRUN apt-get install $flags ${packages} '$packages' \\$packages $HOME\nCOPY <<E /list\n$packages\nE\nEND\n\
                DEF service(name)\nFROM base AS ${name}\nUSE apt(flags=\"-q\", \"lib-$name\")\nIF \"$name\" == \"b\"\nRUN b\nEND\nEND\n\
                FROM scratch AS base\nUSE apt(\"git curl\")\nUSE service(a)\nUSE SERVICE(name=b)\n";
    let apt = |flags: &str, packages: &str| {
        [
            format!("RUN apt-get install {flags} {packages} '{packages}' \\$packages $HOME"),
            format!("COPY <<E /list\n{packages}\n"),
        ]
    };
    let expected = [
        vec!["FROM scratch AS base".to_owned()],
        apt("-y", "git curl").to_vec(),
        vec!["FROM base AS a".to_owned()],
        apt("-q", "lib-a").to_vec(),
        vec!["RUN b".to_owned(), "FROM base AS b".to_owned()],
        apt("-q", "lib-b").to_vec(),
        vec!["RUN b".to_owned()],
    ];
    assert_eq!(lines(&[("build.kiln", text)]), expected.concat());
    let parsed = read(&[("build.kiln", text)]);
    assert_eq!(parsed.document.marks.len(), 4);
    let run = &parsed.document.instructions[1];
    assert_eq!(run.first_line, 3);
    assert!(matches!(&run.command, Command::Run(_)));
    assert_eq!(run.comments[0].value, "git curl");
}

#[test]
fn definitions_of_a_file_that_is_included_twice_are_the_same() {
    let files = [
        ("build.kiln", "INCLUDE \"a.kiln\"\nINCLUDE \"b.kiln\"\nFROM x\nUSE f()\n"),
        ("a.kiln", "INCLUDE \"f.kiln\"\n"),
        ("b.kiln", "INCLUDE \"f.kiln\"\n"),
        ("f.kiln", "DEF f()\nRUN f\nEND\n"),
    ];
    assert_eq!(lines(&files), ["FROM x", "RUN f"]);
}

#[test]
fn what_is_wrong_with_an_include_is_told_with_both_places() {
    let all: [&[(&str, &str)]; 10] = [
        &[(
            "build.kiln",
            "FROM a\nINCLUDE\nINCLUDE common.kiln\nINCLUDE \"a\" b\nINCLUDE \"\"\nINCLUDE \"$X\"\nINCLUDE \"/etc/x\"\nINCLUDE \"none\"\n",
        )],
        &[
            ("build.kiln", "INCLUDE \"a.kiln\"\n"),
            ("a.kiln", "FROM a\nINCLUDE \"lib/b.kiln\"\n"),
            ("lib/b.kiln", "RUN x\nINCLUDE \"../a.kiln\"\n"),
        ],
        &[("build.kiln", "INCLUDE \"build.kiln\"\n")],
        &[("build.kiln", "FROM a\n\nINCLUDE \"a.kiln\"\n"), ("a.kiln", "RUN x\nRUNN y\nIF A\n")],
        &[("build.kiln", "INCLUDE \"a.kiln\"\nRUN x\nEND\n"), ("a.kiln", "IF A\nRUN b\n")],
        &[
            ("build.kiln", "FROM a\nINCLUDE \"a\"\n"),
            ("a", "# escape=`\nRUN a\nFROM b AS c FOR X IN 1\nUSE x()\n# kiln: IF A\n"),
        ],
        &[("Dockerfile", "FROM a\n# kiln: INCLUDE \"a\"\n# kiln: USE a()\n")],
        &[("build.kiln", "INCLUDE \"a.kiln\"\n"), ("a.kiln", "# nothing\n")],
        &[("build.kiln", "# nothing\n")],
        &[("build.kiln", "FROM a\nINCLUDE \"a.kiln\"\nRUN x\n"), ("a.kiln", "--key=never\n# kiln: --key=never\n")],
    ];
    let texts: Vec<String> = all.iter().map(|files| format!("{}\n{}", files[0].1.trim_end(), told(files))).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn what_is_wrong_with_a_definition_or_its_use_is_told_with_both_places() {
    let head = "DEF two(a, b=\"x\")\nRUN $a ${b}\nRUNN $a\nEND\nDEF env(v)\nENV PATH=$v\nEND\nDEF op(v)\nCOPY a ${v:-x}\nEND\nFROM a\n";
    let uses = [
        "USE two(1)",
        "USE two()",
        "USE two(1, 2, 3)",
        "USE two(1, a=2)",
        "USE two(c=1)",
        "USE tow(1)",
        "USE nothing(1)",
        "USE two",
        "USE",
        "USE two(1) x",
        "USE two(1 2)",
        "USE two(\"1)",
        "USE 9(1)",
        "USE env(\"$HOME:${PATH}\")",
        "USE two(\"a\\\\\")",
        "USE op(1)",
    ];
    let mut texts = Vec::new();
    for one in uses {
        let text = format!("{head}{one}\n");
        texts.push(format!("{one}\n{}", told(&[("build.kiln", &text)])));
    }
    let definitions = [
        "DEF",
        "DEF f",
        "DEF f(a-b)\nEND",
        "DEF f(a, a)\nEND",
        "DEF f(\nEND",
        "DEF f() x\nEND",
        "DEF f()\nRUN <<E\nEND",
        "DEF f()\nIF A\nEND",
        "DEF f()\nEND\nDEF F()\nEND",
        "DEF f(a)\nARG x\nKEY k = never\nINCLUDE \"a\"\nDEF g()\nEND\nFROM x AS y\nFROM x AS y$a\nEND",
        "IF A\nDEF f()\nEND\nEND",
        "# kiln: DEF f()\n# kiln: END",
        "DEF f()\nUSE g()\nEND\nDEF g()\nUSE f()\nEND\nUSE f()",
        "DEF f(p)\nIF $p ==\nRUN x\nEND\nEND\nUSE f(1)",
    ];
    for one in definitions {
        let text = format!("FROM a\n{one}\n");
        texts.push(format!("{one}\n{}", told(&[("build.kiln", &text)])));
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_text_without_files_beside_it_includes_nothing() {
    let text = "FROM a\nINCLUDE \"b.kiln\"\n";
    let parsed = parser::parse_as(text, Dialect::Kiln);
    let told = |one: &kiln_dsl::diagnostic::Diagnostic| {
        format!("{}: {}\n  at {}\n", one.code, one.message, place(&parsed.sources, one.span))
    };
    insta::assert_snapshot!(parsed.diagnostics.iter().map(told).collect::<String>());
}

#[test]
fn definitions_that_grow_without_bound_are_stopped() {
    let mut text = "DEF f0()\n".to_owned() + &"# x\n".repeat(1_000) + "RUN x\nEND\n";
    for level in 1..40 {
        text += &format!("DEF f{level}()\nUSE f{0}()\nUSE f{0}()\nEND\n", level - 1);
    }
    text += "FROM a\nUSE f39()\n";
    let parsed = read(&[("build.kiln", &text)]);
    assert!(parsed.diagnostics.iter().any(|one| one.code == "TooMuchText"));
}

proptest! {
    /// Whatever the pieces are, taking them from files and definitions comes to what they are when they stand there.
    #[test]
    fn includes_and_definitions_expand_to_the_flat_text(
        pieces in proptest::collection::vec(
            (proptest::sample::subsequence(vec!["RUN a $v", "COPY <<E /x\nb $v\nE", "ENV K=\"$v\"", "LABEL a=b \\\n  c=$v", "# note\nRUN c"], 1..4), 0_u8..4, "[a-z0-9.]{1,8}"),
            1..6,
        ),
    ) {
        let mut files: Vec<(String, String)> = vec![("build.kiln".to_owned(), String::new())];
        let (mut definitions, mut main, mut flat) = (String::new(), "FROM x\n".to_owned(), "FROM x\n".to_owned());
        for (at, (piece, how, value)) in pieces.iter().enumerate() {
            let written = piece.join("\n") + "\n";
            let by_hand = written.replace("$v", value);
            flat += &by_hand;
            match how {
                0 => main += &by_hand,
                1 => {
                    files.push((format!("f{at}.kiln"), by_hand));
                    main += &format!("INCLUDE \"f{at}.kiln\"\n");
                }
                2 => {
                    definitions += &format!("DEF d{at}(v)\n{written}END\n");
                    main += &format!("USE d{at}(\"{value}\")\n");
                }
                _ => {
                    files.push((format!("f{at}.kiln"), format!("DEF d{at}(w, v=\"{value}\")\n{written}END\n")));
                    definitions += &format!("INCLUDE \"f{at}.kiln\"\nDEF e{at}(x)\nUSE d{at}(w=$x)\nEND\n");
                    main += &format!("USE e{at}(y)\n");
                }
            }
        }
        files[0].1 = definitions + &main;
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        prop_assert_eq!(lines(&files), lines(&[("build.kiln", &flat)]));
    }

    #[test]
    fn no_file_makes_the_reader_panic(
        lines in proptest::collection::vec(
            proptest::sample::select(vec![
                "DEF f(a)", "DEF g(é=\"", "END", "USE f(1)", "USE f(\"é$a\")", "USE g()", "INCLUDE \"b.kiln\"", "INCLUDE \"é", "IF A", "FROM x", "FROM x AS y FOR Z IN 1 EXCEPT Z=2",
                "RUN $a ${a:-é", "RUN <<E", "E", "RUN a \\", "# kiln: USE f(2) \\", "#  )", "# kiln: --key=never", "ELSE", "\u{feff}RUN", "# escape=`", "",
            ]),
            0..14,
        ),
        split in 0_usize..14,
    ) {
        let (main, other) = lines.split_at(split.min(lines.len()));
        let (main, other) = (main.join("\n"), other.join("\n"));
        let parsed = read(&[("build.kiln", &main), ("b.kiln", &other)]);
        for one in &parsed.diagnostics {
            for (span, _) in parsed.sources.trail(one.span).iter().chain(&one.related).chain([&(one.span, String::new())]) {
                let shown = parsed.sources.shown(*span);
                prop_assert!(shown.text.get(shown.span.start as usize..shown.span.end as usize).is_some(), "{:?}", one);
            }
        }
    }
}

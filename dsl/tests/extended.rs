//! The extended language in whole files: behind `# kiln:` and in `*.kiln`, with what is told of what is wrong.

use kiln_dsl::ast::Document;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::extended::Dialect;
use kiln_dsl::parser;
use proptest::prelude::*;

const DOCKERFILE: &str = r#"# kiln: KEY deps = json("package.json", ".dependencies") \
#   + files("yarn.lock")
FROM node
# What the app needs.
# kiln: --key=deps
RUN yarn install --production
"#;

const KILN: &str = r#"
KEY deps = json("package.json", ".dependencies") \
  + files("yarn.lock")
FROM node
# What the app needs.
RUN --mount=type=cache,target=/c --key=deps --network=none yarn install --production
"#;

fn sound(text: &str, dialect: Dialect) -> Document {
    let parsed = parser::parse_as(text, dialect);
    assert!(parsed.diagnostics.is_empty(), "{text}: {:?}", parsed.diagnostics);
    parsed.document
}

/// Each diagnostic as `severity code 'place': message [help]`.
fn told_as(text: &str, dialect: Dialect) -> String {
    let line = |diagnostic: &Diagnostic| {
        let place = &text[diagnostic.span.start as usize..diagnostic.span.end as usize];
        let help = diagnostic.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
        let place = place.replace('\n', "\\n");
        format!("{:?} {} '{place}': {}{help}", diagnostic.severity, diagnostic.code, diagnostic.message)
    };
    parser::parse_as(text, dialect).diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn told(text: &str) -> String {
    told_as(text, Dialect::Dockerfile)
}

fn keys(document: &Document) -> Vec<Option<String>> {
    document.instructions.iter().map(|one| one.key.as_ref().map(|key| key.expr.to_string())).collect()
}

#[test]
fn a_key_is_read_behind_comments_and_as_an_instruction_alike() {
    let (docker, kiln) = (sound(DOCKERFILE, Dialect::Dockerfile), sound(KILN, Dialect::Kiln));
    for document in [&docker, &kiln] {
        assert_eq!(keys(document), [None, Some("deps".to_owned())]);
        let expr = document.keys[0].expr.as_ref().map(ToString::to_string);
        assert_eq!(expr.as_deref(), Some(r#"json("package.json", ".dependencies") + files("yarn.lock")"#));
        let set = &document.instructions[1].key.as_ref().unwrap().set;
        assert_eq!(set.elements.len(), 2);
        assert_eq!(document.instructions[1].comments[0].value, "What the app needs.");
        assert_eq!(document.instructions[1].value, ["yarn install --production"]);
    }
    // Spans lead back into the source, across continuations too.
    let element = &docker.instructions[1].key.as_ref().unwrap().set.elements[1];
    assert_eq!(&DOCKERFILE[element.span.start as usize..element.span.end as usize], r#"files("yarn.lock")"#);
    let element = &kiln.instructions[1].key.as_ref().unwrap().set.elements[1];
    assert_eq!(&KILN[element.span.start as usize..element.span.end as usize], r#"files("yarn.lock")"#);
    let flag = kiln.instructions[1].key.as_ref().unwrap().span;
    assert_eq!(&KILN[flag.start as usize..flag.end as usize], "--key=deps");
}

#[test]
fn a_comment_above_changes_nothing_that_docker_sees() {
    let with = sound(DOCKERFILE, Dialect::Dockerfile);
    let without = sound("FROM node\nRUN yarn install --production\n", Dialect::Dockerfile);
    for (a, b) in with.instructions.iter().zip(&without.instructions) {
        assert_eq!((&a.original, &a.value, &a.flags), (&b.original, &b.value, &b.flags));
    }
    assert_eq!(parser::parse_raw(DOCKERFILE).instructions.len(), 2);
}

#[test]
fn an_expression_needs_no_quotes_on_an_instruction() {
    let text =
        "FROM a\nRUN --key=default - parent + files(\"go.sum\") go mod download\nRUN --key=traced (cd x && make)\n";
    let document = sound(text, Dialect::Kiln);
    assert_eq!(document.instructions[1].value, ["go mod download"]);
    assert_eq!(document.instructions[2].value, ["(cd x && make)"]);
    assert_eq!(keys(&document)[1].as_deref(), Some("default - parent + files(\"go.sum\")"));
}

#[test]
fn names_are_bound_once_before_their_use_and_are_used() {
    insta::assert_snapshot!(told(concat!(
        "FROM a\n",
        "# kiln: --key=late\n",
        "RUN x\n",
        "# kiln: KEY late = env(A)\n",
        "# kiln: KEY late = env(B)\n",
        "# kiln: KEY deps = late + files(\"a\")\n",
        "# kiln: KEY wrong = fiels(\"a\")\n",
        "# kiln: --key=wrong\n",
        "RUN y\n",
        "# kiln: KEY files = env(A)\n",
        "# kiln: KEY a-b = env(A)\n",
        "# kiln: KEY c env(A)\n",
        "# kiln: KEY\n",
        "# kiln: KEY d =\n",
    )), @r#"
    Error UnknownKeyName 'late': no key is called late [bind it above: KEY late = …]
    Error DuplicateKeyName 'late': late is bound twice [give it another name]
    Warning UnusedKeyName 'deps': the key deps is never used [write --key=deps for the step that it is meant for, or remove it]
    Error UnknownKeyAtom 'fiels': there is no atom fiels [did you mean files?]
    Error InvalidKeyName 'files': files is an atom of every key, and no name [give the key another name]
    Error InvalidKeyName 'a-b': "a-b" is no name of a key [a name is a letter or _, then letters, digits and _]
    Error InvalidKey 'env(A)': a = is missing behind KEY c [write KEY c = …]
    Error InvalidKeyName '# kiln: KEY': KEY needs a name [write KEY name = …]
    Error InvalidKey '': a key expression is missing here [for example: json("package.json", ".dependencies") + files("yarn.lock")]
    "#);
}

#[test]
fn flags_stand_right_above_their_instruction_once() {
    insta::assert_snapshot!(told(concat!(
        "FROM a\n",
        "# kiln: --kye=never\n",
        "RUN a\n",
        "# kiln: --key\n",
        "RUN b\n",
        "# kiln: --key=never --key=always\n",
        "RUN c\n",
        "# kiln: --key=never and more\n",
        "RUN d\n",
        "# kiln: --network=none\n",
        "RUN e\n",
        "# kiln: --key=env(A)\n",
        "COPY a b\n",
        "# kiln: --key=env(A)\n",
        "ONBUILD RUN f\n",
        "RUN --key=never g\n",
        "RUN h \\\n",
        "  # kiln: --key=never\n",
        "  i\n",
        "# kiln: --key=never \\\n",
        "RUN j\n",
        "# kiln: --key=never\n",
    )));
}

#[test]
fn an_unknown_instruction_behind_the_door_is_told() {
    insta::assert_snapshot!(told(
        "FROM a\n# kiln: KYE a = never\n# kiln: RUN x\n# kiln:\n# kiln: PARTY\n# kiln is fast\nRUN a\nKEY x = never\n"
    ), @r"
    Error UnknownExtension 'KYE': unknown instruction of the extended language: KYE [did you mean KEY?]
    Error UnknownExtension 'RUN': RUN is an instruction of every Dockerfile [write it without # kiln:, so that Docker reads it too]
    Error UnknownExtension '# kiln:': nothing stands behind # kiln: [write KEY name = …, or flags of the instruction below such as --key=…]
    Error UnknownExtension 'PARTY': unknown instruction of the extended language: PARTY [there is KEY, IF, ELSE, END, INCLUDE, DEF, USE, TARGET, CHECK, EXPORT]
    Error UnknownInstruction 'KEY': unknown instruction: KEY [write # kiln: KEY …, or call the file *.kiln]
    ");
    insta::assert_snapshot!(
        told_as("FROM a\nONBUILD RUN --key=never x\nRUN --key=fiels(\"a\") x\n", Dialect::Kiln),
        @r#"
    Error UnknownFlag '--key=never': ONBUILD's instruction takes no --key [a key belongs to the build that runs the step: state it there]
    Error UnknownKeyAtom 'fiels': there is no atom fiels [did you mean files?]
    "#
    );
}

#[test]
fn a_key_above_the_first_stage_and_behind_the_last_is_read() {
    let text = "# kiln: KEY a = never\nFROM x\n# kiln: --key=a\nRUN y\n# kiln: KEY b = env(A)\n";
    let parsed = parser::parse(text);
    assert_eq!(parsed.document.keys.len(), 2);
    assert_eq!(
        told(text),
        "Warning UnusedKeyName 'b': the key b is never used [write --key=b for the step that it is meant for, or remove it]"
    );
    // A comment of this kind ends the zone of directives, as every comment does.
    assert_eq!(parser::parse("# kiln: KEY a = never\n# escape=`\nFROM x\n").document.directives.escape, '\\');
}

#[test]
fn alternatives_pair_up_and_stand_in_kiln_files_only() {
    insta::assert_snapshot!(told("FROM a\n# kiln: IF A\nRUN x\n# kiln: END\n"), @r"
    Error NeedsKilnFile '# kiln: IF A': IF changes the image, and Docker would not see it [call the file *.kiln, and write it without # kiln:]
    Error NeedsKilnFile '# kiln: END': END changes the image, and Docker would not see it [call the file *.kiln, and write it without # kiln:]
    ");
    let text =
        "ARG A\nEND\nELSE\nELSE IF A\nIF A\nFROM a\nELSE\nFROM b\nELSE\nELSE IF A\nEND now\nIF A =\nIF\nELSE B\nEND\n";
    insta::assert_snapshot!(told_as(text, Dialect::Kiln), @r#"
    Error UnbalancedBranch 'END': there is no IF for this END [remove it]
    Error UnbalancedBranch 'ELSE': there is no IF for this ELSE [remove it]
    Error UnbalancedBranch 'ELSE IF A': there is no IF for this ELSE [remove it]
    Error UnbalancedBranch 'ELSE': this stands behind the ELSE of its IF [ELSE comes last, and once]
    Error UnbalancedBranch 'ELSE IF A': this stands behind the ELSE of its IF [ELSE comes last, and once]
    Error WrongArgumentCount 'now': END takes no arguments [write END alone]
    Error UnbalancedBranch 'IF A =': there is no END for this IF [write END behind its last instruction]
    Error InvalidCondition '=': two values are compared with == [write ==]
    Error InvalidCondition '': a condition is missing here [for example: TARGETARCH == "arm64" or defined(DEBUG)]
    Error WrongArgumentCount 'B': ELSE takes no arguments [write ELSE IF for another condition]
    "#);
    let document = sound("ARG A\nIF A\nFROM a\nELSE IF A == \"1\"\nFROM b\nELSE\nFROM c\nEND\nRUN x\n", Dialect::Kiln);
    let places: Vec<usize> = document.marks.iter().map(|mark| mark.at).collect();
    assert_eq!(places, [1, 2, 3, 4]);
}

#[test]
fn targets_checks_and_exports_are_read_in_any_dockerfile() {
    let text = "FROM a AS b\n# What all is.\n# kiln: TARGET all = b + c[*] + other\n# kiln: EXPORT /out AS \"dist\"\nRUN x\n# kiln: CHECK b c[1]\n";
    let document = sound(text, Dialect::Dockerfile);
    let members: Vec<&str> = document.targets[0].members.iter().map(|word| word.value.as_str()).collect();
    assert_eq!((document.targets[0].name.value.as_str(), members), ("all", vec!["b", "c[*]", "other"]));
    assert_eq!(document.targets[0].comments[0].value, "What all is.");
    assert_eq!(document.checks.iter().map(|word| word.value.as_str()).collect::<Vec<_>>(), ["b", "c[1]"]);
    let originals: Vec<&str> = document.instructions.iter().map(|one| one.original.as_str()).collect();
    assert_eq!(originals, ["FROM a AS b", "EXPORT /out AS \"dist\"", "RUN x"]);
    assert_eq!(document.instructions[1].first_line, 4);
    let kiln = sound(&text.replace("# kiln: ", ""), Dialect::Kiln);
    assert_eq!(kiln.instructions.len(), 3);
    assert_eq!(kiln.targets[0].comments[0].value, "What all is.");
    insta::assert_snapshot!(told_as(
        "EXPORT /a AS b\nTARGET\nTARGET x\nTARGET x = \nTARGET x = a b\nTARGET x[1] = a\nTARGET x = a\nTARGET X = b\nCHECK\nCHECK a + b\n\
         FROM a\nEXPORT\nEXPORT /a\nEXPORT /a AS\nEXPORT /a AS b c\nIF A\nTARGET y = a\nCHECK a\nEND\n",
        Dialect::Kiln
    ));
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(
        lines in proptest::collection::vec(
            proptest::sample::select(vec![
                "TARGET a = b + c", "TARGET é =", "CHECK a", "CHECK", "EXPORT a AS \"é", "EXPORT /a AS b", "IF A", "ELSE IF A == \"é", "ELSE", "END", "# kiln: KEY a = never", "# kiln: KEY b = a + env(A) \\", "#  + c", "# kiln:", "# kiln: --key=a", "#kiln: --key=b \\",
                "FROM x", "RUN --key=a y", "RUN --key=", "RUN <<E", "E", "KEY c = (", "COPY a b", "ONBUILD RUN --key=a z", "# kiln: é\\", "",
                "RUN a \\", "\\", "#", "# kiln: --key=files(\"a", "HEALTHCHECK --key=a NONE", "--key=a", "ENV a",
            ]),
            0..12,
        ),
        kiln in any::<bool>(),
        ends in proptest::sample::select(vec!["\n", "\r\n"]),
    ) {
        let text = lines.join(ends);
        let dialect = if kiln { Dialect::Kiln } else { Dialect::Dockerfile };
        for diagnostic in parser::parse_as(&text, dialect).diagnostics {
            let (start, end) = (diagnostic.span.start as usize, diagnostic.span.end as usize);
            prop_assert!(text.get(start..end).is_some(), "{:?} in {:?}", diagnostic, text);
        }
    }

    #[test]
    fn every_dockerfile_is_a_kiln_file_with_the_same_meaning(
        lines in proptest::collection::vec(
            proptest::sample::select(vec![
                "FROM x", "RUN --mount=type=tmpfs,target=/t a", "RUN a \\", "# note", "ENV a=b", "COPY <<E /x", "E", "", "ARG keys=1",
                "RUN key --key=a", "CMD [\"a\"]",
            ]),
            0..10,
        ),
    ) {
        let text = lines.join("\n");
        prop_assert_eq!(parser::parse_as(&text, Dialect::Dockerfile), parser::parse_as(&text, Dialect::Kiln));
    }
}

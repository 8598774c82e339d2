//! What a whole Dockerfile becomes: its document, its diagnostics, and the bounds on what a hostile one costs.

use kiln_dsl::ast::{Command, CommandLine, Healthcheck, Instruction, Source};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::expand;
use kiln_dsl::parser;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn sound(text: &str) -> Vec<Instruction> {
    let parsed = parser::parse(text);
    assert!(!parsed.has_errors(), "{text}: {:?}", parsed.diagnostics);
    parsed.document.instructions.iter().map(|one| (**one).clone()).collect()
}

fn only(text: &str) -> Command {
    let full = format!("FROM a\n{text}");
    sound(&full).pop().expect("an instruction").command
}

/// Each diagnostic as `code 'place': message [help]`.
fn told(text: &str) -> String {
    let line = |diagnostic: &Diagnostic| {
        let place = &text[diagnostic.span.start as usize..diagnostic.span.end as usize];
        let help = diagnostic.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
        format!("{} '{}': {}{help}", diagnostic.code, place.replace('\n', "\\n"), diagnostic.message)
    };
    parser::parse(text).diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn several_errors_are_told_at_once_each_with_its_place() {
    insta::assert_snapshot!(told(concat!(
        "FROM --platfrm=linux/amd64 alpine\n",
        "RNU echo hi\n",
        "COPY --form=x --chown=a --chown=b a b\n",
        "COPY a\n",
        "CMD [\"a\", 1]\n",
        "ENV name\n",
        "ENV a=1 b\n",
        "RUN --mount=type=cahce,target=/x --network=nope true\n",
        "HEALTHCHECK --interval=1us --retries=-1 CMD true\n",
        "SHELL bash -c\n",
        "ONBUILD FROM x\n",
        "WORKDIR\n",
        "ADD --link=maybe a b\n",
    )), @r#"
    UnknownFlag '--platfrm=linux/amd64': unknown flag: --platfrm [did you mean --platform?]
    UnknownInstruction 'RNU': unknown instruction: RNU [did you mean RUN?]
    UnknownFlag '--form=x': unknown flag: --form [did you mean --from?]
    DuplicateFlag '--chown=b': duplicate flag specified: --chown
    WrongArgumentCount 'a': COPY requires at least two arguments, but only one was provided. Destination could not be determined [write COPY source destination]
    JsonNotStrings '["a", 1]': when using JSON array syntax, arrays must be comprised of strings only [put each item in double quotes, or write the command without brackets]
    MissingValue 'name': ENV must have two arguments [write ENV name=value]
    MissingEquals 'b': Syntax error - can't find = in "b". Must be of the form: name=value [quote the value if it holds blanks]
    InvalidMount 'type=cahce,target=/x': unsupported mount type "cahce" [did you mean cache?]
    InvalidFlagValue 'nope': invalid network mode "nope" [--network is one of default, none, host]
    InvalidFlagValue '1us': Interval "interval" cannot be less than 1ms
    InvalidFlagValue '-1': --retries cannot be negative (-1)
    NotJson 'bash -c': SHELL requires the arguments to be in JSON form: bash -c [write SHELL ["/bin/bash", "-c"]]
    InvalidTrigger 'FROM': FROM isn't allowed as an ONBUILD trigger
    WrongArgumentCount 'WORKDIR': WORKDIR requires exactly one argument
    InvalidFlagValue '--link=maybe': expecting boolean value for flag --link, not: maybe
    "#);
}

#[test]
fn what_stands_before_the_first_stage_is_limited() {
    insta::assert_snapshot!(told("ARG v=1\nRUN true\nFROM a\n"), @"NoBuildStage 'RUN true': no build stage in current context: RUN stands before the first FROM [only ARG may stand before the first FROM]");
    insta::assert_snapshot!(told("FORM a\nRUN true\n"), @"UnknownInstruction 'FORM': unknown instruction: FORM [did you mean FROM?]");
    insta::assert_snapshot!(told("ARG v\n"), @"NoStages 'ARG v': dockerfile contains no stages to build: it has no FROM [add FROM with a base image, or FROM scratch]");
    insta::assert_snapshot!(told(" \n\n"), @r"EmptyFile ' \n\n': the Dockerfile cannot be empty [a Dockerfile needs at least one FROM]");
    insta::assert_snapshot!(told("# x\n"), @r"EmptyFile '# x\n': file with no instructions [a Dockerfile needs at least one FROM]");
}

#[test]
fn stages_and_their_names_are_checked() {
    insta::assert_snapshot!(told("from a as B\nFROM b as c\nFROM a AS 1x\nFROM a b\nFROM\n"), @r#"
    InvalidStageName '1x': invalid name for build stage: "1x", name can't start with a number or contain symbols [use letters, digits, `-`, `_` and `.`, and begin with a letter]
    WrongArgumentCount 'a': FROM requires either one or three arguments [write FROM image AS name]
    WrongArgumentCount 'FROM': FROM requires either one or three arguments [write FROM image, or FROM image AS name]
    "#);
}

#[test]
fn directives_stand_at_the_head_and_once() {
    let text =
        "# syntax=docker/dockerfile:1\n#escape=`\n# check=skip=all\n# escape=\\\n\n# escape=x\nFROM a\nRUN a `\n b\n";
    insta::assert_snapshot!(told(text), @r"DuplicateDirective '\': only one escape parser directive can be used");
    let parsed = parser::parse("# escape=`\r\nFROM a\r\nRUN a `\r\n  b\\c\r\n");
    assert_eq!(parsed.document.directives.escape, '`');
    assert_eq!(parsed.document.instructions[1].original, "RUN a   b\\c");
    insta::assert_snapshot!(told("FROM a\n\\\n"), @r"UnknownInstruction '\': this line says nothing: it holds the escape character alone [remove the line, or put it behind the instruction that it should continue]");
    insta::assert_snapshot!(told("# check=skip=UndefinedVars;error=true\nFROM a\n"), @r#"UnknownCheck 'skip=UndefinedVars;error=true': there is no check "UndefinedVars" [did you mean UndefinedVar?]"#);
    insta::assert_snapshot!(told("# check=skip\nFROM a\n"), @r#"InvalidCheck 'skip': invalid check option "skip" [write # check=skip=NAME,NAME;error=true;experimental=NAME, without blanks]"#);
    insta::assert_snapshot!(told("# escape=''\nFROM a\n"), @r"InvalidEscape '''': invalid escape token '''' does not match ` or \");
}

#[test]
fn logical_lines_drop_comments_and_empty_lines_and_know_their_places() {
    let text = "\u{feff}FROM a\n# about\n#\n# the run\nRUN a \\ \n# no\n\n  b \\\n\tc\n";
    let parsed = parser::parse(text);
    let run = &parsed.document.instructions[1];
    assert_eq!((run.first_line, run.last_line), (5, 9));
    assert_eq!(run.original, "RUN a   b \tc");
    assert_eq!(run.comments.iter().map(|comment| comment.value.as_str()).collect::<Vec<_>>(), ["the run"]);
    assert_eq!(&text[run.span.start as usize..run.span.end as usize], "RUN a \\ \n# no\n\n  b \\\n\tc");
    insta::assert_snapshot!(told(text), @"NoEmptyContinuation '': Empty continuation line [remove the empty line, or write `#` in it; a later Docker will refuse it]");
}

#[test]
fn two_escape_characters_continue_nothing() {
    let instructions = sound("FROM a\nENV a b\\\\\nENV c d\\\\\\\n");
    assert_eq!(instructions.len(), 3);
    assert_eq!(instructions[2].value, ["c", "d\\\\\\"]);
}

#[test]
fn heredocs_follow_their_line_in_order() {
    let Command::Copy(copy) = only("COPY <<A <<-\"B\" x /d/\n1\nA\n\t2 $v\n\tB\n") else { panic!("no COPY") };
    assert!(matches!(copy.sources.as_slice(), [Source::Heredoc(0), Source::Heredoc(1), Source::Path(_)]));
    let instructions = sound("FROM a\nCOPY <<A <<-\"B\" x /d/\n1\nA\n\t2 $v\n\tB\nRUN cat <<E | sh\r\nx\r\nE\r\n");
    let heredocs = &instructions[1].heredocs;
    assert_eq!((heredocs[0].content.as_str(), heredocs[0].expand), ("1\n", true));
    assert_eq!((heredocs[1].content.as_str(), heredocs[1].expand), ("2 $v\n", false));
    assert_eq!((instructions[1].first_line, instructions[1].last_line), (2, 6));
    assert_eq!(instructions[2].heredocs[0].content, "x\r\n");
    let Command::Run(run) = &instructions[2].command else { panic!("no RUN") };
    assert_eq!(run.line, CommandLine::Shell("cat <<E | sh".into()));
}

#[test]
fn heredocs_stand_only_where_they_may() {
    insta::assert_snapshot!(told("FROM a\nCOPY x <<E\nE\nRUN <<EOF\n x\n EOF\nRUN y\n"), @r"
    HeredocDestination '<<E': COPY cannot accept a heredoc as a destination
    UnterminatedHeredoc 'RUN <<EOF': unterminated heredoc: no line holds only 'EOF' [the word that ends a heredoc stands alone on its line, without blanks]
    ");
    // Not in other instructions, not in the JSON form.
    assert_eq!(sound("FROM a\nCMD cat <<E\nRUN [\"cat\", \"<<E\"]\nENV a=<<E\n").len(), 4);
}

#[test]
fn flags_and_forms_reach_the_typed_instruction() {
    let Command::Copy(copy) = only("COPY --from=b --link --chown=1:2 --chmod= --exclude=a --exclude=b x y /z/") else {
        panic!("no COPY")
    };
    assert_eq!(copy.from.as_ref().map(|word| word.value.as_str()), Some("b"));
    assert!(copy.link && !copy.parents && copy.chmod.is_none());
    assert_eq!((copy.excludes.len(), copy.sources.len(), copy.destination.value.as_str()), (2, 2, "/z/"));
    let Command::Add(add) = only("ADD --unpack=FALSE --keep-git-dir -- a b") else { panic!("no ADD") };
    assert_eq!((add.unpack, add.keep_git_dir), (Some(false), Some(true)));
    assert_eq!(only("CMD [\"a\", \"b\"]"), Command::Cmd(CommandLine::Exec(vec!["a".into(), "b".into()])));
    assert_eq!(only("CMD ['a']"), Command::Cmd(CommandLine::Shell("['a']".into())));
    assert_eq!(only("ENTRYPOINT []"), Command::Entrypoint(CommandLine::Exec(vec![])));
    assert_eq!(only("CMD"), Command::Cmd(CommandLine::Shell(String::new())));
    let Command::Healthcheck(Healthcheck::Cmd { interval, retries, line, timeout, .. }) =
        only("HEALTHCHECK --interval=1m30s --retries=3 CMD curl x")
    else {
        panic!("no HEALTHCHECK")
    };
    assert_eq!((interval, timeout, retries), (Some(90_000_000_000), None, Some(3)));
    assert_eq!(line, CommandLine::Shell("curl x".into()));
    assert_eq!(only("HEALTHCHECK none"), Command::Healthcheck(Healthcheck::None));
}

#[test]
fn assignments_keep_quotes_for_the_expansion() {
    let Command::Env(env) = only(r#"ENV a="b c" d=e\ f g="#) else { panic!("no ENV") };
    let pairs: Vec<(&str, &str)> =
        env.pairs.iter().map(|(key, value)| (key.value.as_str(), value.value.as_str())).collect();
    assert_eq!(pairs, [("a", "\"b c\""), ("d", "e\\ f"), ("g", "")]);
    let Command::Env(env) = only("ENV key  a b=c") else { panic!("no ENV") };
    assert!(env.legacy);
    assert_eq!(env.pairs[0].1.value, "a b=c");
    insta::assert_snapshot!(told("FROM a\nLABEL =x\nARG =x\nENV a b\n"), @r#"
    BlankName '': LABEL names can not be blank
    BlankName '=x': ARG names can not be blank
    "#);
}

#[test]
fn a_trigger_is_kept_as_text_and_checked() {
    let Command::OnBuild(trigger) = only("onbuild RUN <<E cat\n$x\nE\n") else { panic!("no ONBUILD") };
    assert_eq!(trigger.text, "RUN <<E cat\n$x\nE");
    assert_eq!(trigger.instruction.heredocs[0].content, "$x\n");
    let again = parser::parse_trigger(&trigger.text).expect("a trigger");
    assert_eq!(again.command, trigger.instruction.command);
    assert!(parser::parse_trigger("RUN a\nRUN b\n").is_err());
    assert!(parser::parse_trigger("").is_err());
    insta::assert_snapshot!(told("FROM a\nONBUILD ONBUILD RUN x\nONBUILD\nONBUILD FOO\nONBUILD COPY x\n"), @"
    InvalidTrigger 'ONBUILD': Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed
    WrongArgumentCount 'ONBUILD': ONBUILD requires at least one argument
    UnknownInstruction 'FOO': unknown instruction: FOO
    WrongArgumentCount 'x': COPY requires at least two arguments, but only one was provided. Destination could not be determined [write COPY source destination]
    ");
}

#[test]
fn a_line_may_have_65535_bytes_and_no_more() {
    let line = |length: usize| format!("FROM a\nRUN {}\nRUN b\n", "x".repeat(length - 4));
    assert_eq!(sound(&line(65_535)).len(), 3);
    let parsed = parser::parse(&line(65_536));
    assert_eq!(parsed.diagnostics.iter().map(|diagnostic| diagnostic.code).collect::<Vec<_>>(), ["LineTooLong"]);
    assert_eq!(parsed.document.instructions.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        parser::parse(&text);
    }

    #[test]
    fn no_dockerfile_like_text_makes_it_panic_or_point_outside(
        parts in prop::collection::vec(prop_oneof![
            "(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|ONBUILD|HEALTHCHECK|SHELL|CMD|EXPOSE|VOLUME|FROM a)",
            "[ \\t\\\\`\n\r#='\"$\\[\\]{},<-]{1,4}",
            "(--from=|--mount=|--chown=é|<<-?EOF|EOF|\n# escape=`\n|\u{85}|\u{a0}|\u{feff})",
            "[a-zé]{1,3}",
        ], 0..30)
    ) {
        let text = parts.concat();
        let parsed = parser::parse(&text);
        for diagnostic in &parsed.diagnostics {
            let (start, end) = (diagnostic.span.start as usize, diagnostic.span.end as usize);
            prop_assert!(text.get(start..end).is_some(), "{:?} in {:?}", diagnostic, text);
        }
        for instruction in &parsed.document.instructions {
            let span = instruction.span;
            prop_assert!(text.get(span.start as usize..span.end as usize).is_some(), "{:?} in {:?}", instruction, text);
        }
        let raw = parser::parse_raw(&text);
        prop_assert!(raw.instructions.len() >= parsed.document.instructions.len());
    }

    #[test]
    fn text_without_dollar_quotes_and_escapes_expands_to_itself(text in "[^<$'\"\\\\]{0,40}") {
        let vars: BTreeMap<String, String> = BTreeMap::new();
        prop_assert_eq!(expand::word(&text, '\\', &vars).expect("nothing to expand").value, text.as_str());
        prop_assert_eq!(expand::word(&format!("'{text}'"), '\\', &vars).expect("quoted").value, text.as_str());
        prop_assert_eq!(expand::word(&format!("\"{text}\""), '\\', &vars).expect("quoted").value, text.as_str());
        let words = expand::words(&text, '\\', &vars).expect("nothing to expand");
        prop_assert_eq!(words, text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    }

    #[test]
    fn expansion_never_panics(text in "([$'\"\\\\`{}:/#%?*+-]|[a-cé ]|\\PC){0,24}", value in "\\PC{0,8}") {
        let vars: BTreeMap<String, String> = [("a".to_owned(), value), ("b".to_owned(), String::new())].into();
        for escape in ['\\', '`'] {
            if let Err(error) = expand::word(&text, escape, &vars) {
                prop_assert!(text.get(error.range.clone()).is_some(), "{:?}", error);
            }
            let _ = expand::words(&text, escape, &vars);
        }
        let _ = expand::heredoc(&text, &vars);
    }
}
